// FETCH (RFC 3501, 7.4.2; RFC 7162, RFC 8474, RFC 8514, RFC 8970, RFC 3516; Gmail's and Dovecot's own items):
// msg-att = "(" msg-att-item *(SP msg-att-item) ")"
// An item that is unknown or broken is skipped, and the others stand. An item that can't even be skipped
// ends the response; what came before it is kept if it says which message it is about (UID).
#include "imap/response_parsers.hpp"
#include "postern/imap/limits.hpp"
#include "postern/imap/parser.hpp"

namespace postern::imap {
namespace {

// date-time, in quotes; NIL or nonsense leaves the item out
bool parse_date_item(Cursor& in, std::optional<std::int64_t>& out) {
  if (in.peek() == '"') {  // the one string of every message of an index: taken in place
    const std::string_view rest = in.rest().substr(1);
    const std::size_t end = rest.find('"');
    if (end == std::string_view::npos) return in.fail("date without an end");
    out = parse_date_time(rest.substr(0, end));
    in.seek(in.offset() + end + 2);
    return true;
  }
  NString text;
  if (!in.nstring(text)) return false;
  if (text) out = parse_date_time(*text);
  return true;
}

// permsg-modsequence = "(" mod-sequence-value ")"; X-GM-... and others without the parentheses
bool parse_number_item(Cursor& in, std::optional<std::uint64_t>& out) {
  const bool open = in.accept('(');
  in.spaces();
  if (!in.lenient_number(out)) return false;
  in.spaces();
  return !open || in.accept(')');
}

// "(" objectid ")" / NIL (RFC 8474); a plain string for X-GUID
bool parse_id_item(Cursor& in, NString& out) {
  const bool open = in.accept('(');
  in.spaces();
  if (open && in.accept(')')) return true;
  if (!in.nstring(out)) return false;
  in.spaces();
  return !open || in.accept(')');
}

// "PREVIEW" SP nstring; before it was RFC 8970: "PREVIEW" SP "(" "FUZZY" SP nstring ")"
bool parse_preview_item(Cursor& in, NString& out) {
  const bool open = in.accept('(');
  if (open) {
    in.spaces();
    in.word();
    in.spaces();
  }
  if (!in.nstring(out)) return false;
  in.spaces();
  return !open || in.accept(')');
}

// section = "[" [section-spec] "]", written one way: capitals, single spaces, header names without quotes
bool parse_section(Cursor& in, std::string& out) {
  if (!in.accept('[')) return in.fail("section expected");
  for (;;) {
    if (in.at_end()) return in.fail("section without an end");
    if (in.accept(']')) break;
    if (in.peek() == '"' || in.at_literal()) {
      std::string name;
      if (!in.astring(name)) return false;
      out += to_upper(name);
      continue;
    }
    const char c = in.peek();
    in.advance();
    if (c == ' ') {
      if (!out.empty() && out.back() != ' ' && out.back() != '(') out += ' ';
      continue;
    }
    if (out.ends_with(' ') && c == ')') out.pop_back();
    if (c == '(' && !out.empty() && out.back() != ' ') out += ' ';
    out += upper(c);
  }
  if (out.ends_with(' ')) out.pop_back();
  return true;
}

// msg-att-static = "BODY" section ["<" number ">"] SP nstring / "BINARY" section-binary SP (nstring / literal8)
bool parse_body_section(Cursor& in, FetchData& out, bool binary) {
  BodySection section;
  section.binary = binary;
  if (!parse_section(in, section.section)) return false;
  if (in.accept('<')) {
    std::uint64_t origin = 0;
    if (!in.number(origin)) return in.fail("origin expected");
    section.origin = origin;
    while (!in.at_end() && !in.accept('>')) in.advance();
  }
  in.spaces();
  if (!in.nstring(section.data)) return false;
  out.sections.push_back(std::move(section));
  return true;
}

// "BINARY.SIZE" section-binary SP number
bool parse_binary_size(Cursor& in, FetchData& out) {
  std::string section;
  std::optional<std::uint64_t> size;
  if (!parse_section(in, section)) return false;
  in.spaces();
  if (!in.lenient_number(size)) return false;
  if (size) out.binary_sizes.emplace_back(std::move(section), *size);
  return true;
}

bool parse_whole(Cursor& in, FetchData& out, std::string_view section) {
  NString data;
  if (!in.nstring(data)) return false;
  out.sections.push_back({std::string(section), std::nullopt, false, std::move(data)});
  return true;
}

bool parse_labels(Cursor& in, FetchData& out) {
  std::vector<std::string> labels;
  if (!in.string_list(labels, flags_max)) return false;
  out.gm_labels = std::move(labels);
  return true;
}

bool parse_uid(Cursor& in, FetchData& out) {
  std::optional<std::uint32_t> uid;
  if (!in.lenient_number(uid)) return false;
  if (uid && *uid != 0) out.uid = uid;
  return true;
}

bool parse_flags(Cursor& in, FetchData& out) {
  Flags flags;
  if (!in.flags(flags)) return false;
  out.flags = std::move(flags);
  return true;
}

bool parse_item(Cursor& in, std::string_view name, FetchData& out) {
  const bool section = in.peek() == '[';
  in.spaces();
  if (is_word(name, "UID")) return parse_uid(in, out);
  if (is_word(name, "FLAGS")) return parse_flags(in, out);
  if (is_word(name, "INTERNALDATE")) return parse_date_item(in, out.internal_date);
  if (is_word(name, "RFC822.SIZE")) return in.lenient_number(out.size);
  if (is_word(name, "MODSEQ")) return parse_number_item(in, out.modseq);
  if (is_word(name, "ENVELOPE")) return parse_envelope(in, out.envelope);
  if (is_word(name, "BODYSTRUCTURE")) return parse_body_structure(in, out.body_structure);
  if (section && (is_word(name, "BODY") || is_word(name, "BODY.PEEK")))
    return parse_body_section(in, out, false);
  if (section && (is_word(name, "BINARY") || is_word(name, "BINARY.PEEK")))
    return parse_body_section(in, out, true);
  if (section && is_word(name, "BINARY.SIZE")) return parse_binary_size(in, out);
  if (is_word(name, "BODY")) {
    if (in.peek() == '[') return parse_body_section(in, out, false);  // seen: "BODY []"
    return out.body_structure ? in.skip_value() : parse_body_structure(in, out.body_structure);
  }
  if (is_word(name, "RFC822")) return parse_whole(in, out, "");
  if (is_word(name, "RFC822.HEADER")) return parse_whole(in, out, "HEADER");
  if (is_word(name, "RFC822.TEXT")) return parse_whole(in, out, "TEXT");
  if (is_word(name, "EMAILID")) return parse_id_item(in, out.email_id);
  if (is_word(name, "THREADID")) return parse_id_item(in, out.thread_id);
  if (is_word(name, "X-GUID")) return parse_id_item(in, out.guid);
  if (is_word(name, "X-GM-MSGID")) return parse_number_item(in, out.gm_msgid);
  if (is_word(name, "X-GM-THRID")) return parse_number_item(in, out.gm_thrid);
  if (is_word(name, "X-GM-LABELS")) return parse_labels(in, out);
  if (is_word(name, "PREVIEW")) return parse_preview_item(in, out.preview);
  if (is_word(name, "SAVEDATE")) return parse_date_item(in, out.save_date);
  if (section) {
    std::string unknown;
    if (!parse_section(in, unknown)) return false;
  }
  return in.skip_value();
}

// Behind an item that could not be read: over its whole value, sections and all.
bool skip_item(Cursor& in) {
  std::string section;
  if (in.peek() == '[' && !parse_section(in, section)) return false;
  if (in.peek() == '<') in.word();
  return in.skip_value();
}

}  // namespace

bool parse_fetch(Cursor& in, FetchData& out) {
  in.spaces();
  if (!in.accept('(')) return in.fail("items expected");
  for (;;) {
    in.spaces();
    if (in.at_end() || in.accept(')')) return true;  // seen without its last ")"
    const std::string_view name = in.item_name();
    const std::size_t value = in.offset();
    if (!name.empty() && parse_item(in, name, out)) continue;
    in.clear_error();
    in.seek(value);
    if (!skip_item(in)) return out.uid.has_value();
  }
}

}  // namespace postern::imap
