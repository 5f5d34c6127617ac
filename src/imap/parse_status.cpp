// Status responses and response codes (RFC 3501, 7.1; RFC 4315; RFC 5530; RFC 7162; RFC 8474):
// resp-cond-state = ("OK" / "NO" / "BAD") SP resp-text
// resp-text       = ["[" resp-text-code "]" SP] text
// Seen too: no text at all, no SP behind the code, a code without "]".
#include "imap/response_parsers.hpp"
#include "postern/imap/limits.hpp"

namespace postern::imap {
namespace {

// Where the code that begins at `text`[0], behind "[", ends. A "]" inside quotes or parentheses belongs to
// the arguments; if that leaves no end, then the first "]" is it, and without any the code is all there is.
std::size_t code_end(std::string_view text) {
  std::size_t depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == '(') {
      ++depth;
    } else if (c == ')' && depth > 0) {
      --depth;
    } else if (c == ']' && depth == 0) {
      return i;
    }
  }
  return text.find(']');
}

// copy-uid = "COPYUID" SP nz-number SP uid-set SP uid-set ; the two in pairs
void parse_copy_uid(Cursor& in, ResponseCode& code) {
  CopyUid value;
  std::optional<std::uint32_t> validity;
  if (!in.lenient_number(validity) || !validity) return;
  value.uid_validity = *validity;
  in.spaces();
  const std::string_view source = in.word();
  in.spaces();
  const std::string_view destination = in.word();
  bool too_large = false;
  if (!source.empty() && !expand_set(source, value.source, too_large)) return;
  if (!destination.empty() && !expand_set(destination, value.destination, too_large)) return;
  if (value.source.size() == value.destination.size()) code.value = std::move(value);
}

// append-uid = "APPENDUID" SP nz-number SP uid-set
void parse_append_uid(Cursor& in, ResponseCode& code) {
  AppendUid value;
  std::optional<std::uint32_t> validity;
  if (!in.lenient_number(validity) || !validity) return;
  value.uid_validity = *validity;
  in.spaces();
  bool too_large = false;
  if (expand_set(in.word(), value.uids, too_large)) code.value = std::move(value);
}

// What can't be read is left as text in `arguments` alone: a status response is not refused for its code.
void parse_code_value(ResponseCode& code) {
  const std::string& name = code.name;
  Cursor in(code.arguments);
  in.spaces();
  if (name == "UIDVALIDITY" || name == "UIDNEXT" || name == "UNSEEN" || name == "HIGHESTMODSEQ" ||
      name == "APPENDLIMIT") {
    std::optional<std::uint64_t> number;
    if (in.lenient_number(number) && number) code.value = *number;
  } else if (name == "PERMANENTFLAGS") {
    Flags flags;
    if (in.flags(flags) || !in.is_too_large()) code.value = std::move(flags);
  } else if (name == "MODIFIED") {
    if (auto set = UidSet::parse(in.word())) code.value = std::move(*set);
  } else if (name == "COPYUID") {
    parse_copy_uid(in, code);
  } else if (name == "APPENDUID") {
    parse_append_uid(in, code);
  } else if (name == "CAPABILITY") {
    std::vector<std::string> names;
    if (parse_names(in, names)) code.value = std::move(names);
  } else if (name == "BADCHARSET") {
    std::vector<std::string> charsets;
    if (in.at_end() || in.string_list(charsets, capabilities_max)) code.value = std::move(charsets);
  } else if (name == "MAILBOXID") {  // "(" objectid ")"
    in.accept('(');
    in.spaces();
    std::string id;
    if (in.astring(id)) code.value = std::move(id);
  }
}

}  // namespace

bool is_status_word(std::string_view word, Status& out) {
  if (is_word(word, "OK")) {
    out = Status::ok;
  } else if (is_word(word, "NO")) {
    out = Status::no;
  } else if (is_word(word, "BAD")) {
    out = Status::bad;
  } else if (is_word(word, "PREAUTH")) {
    out = Status::preauth;
  } else if (is_word(word, "BYE")) {
    out = Status::bye;
  } else {
    return false;
  }
  return true;
}

bool parse_status_text(Cursor& in, ResponseCode& code, std::string& text) {
  in.spaces();
  if (in.accept('[')) {
    const std::string_view rest = in.rest();
    const std::size_t end = code_end(rest);
    std::string_view inside = rest.substr(0, end);
    in.seek(in.offset() + (end == std::string_view::npos ? rest.size() : end + 1));
    while (inside.starts_with(' ')) inside.remove_prefix(1);
    const std::size_t name_end = inside.find_first_of(" (\"");
    code.name = to_upper(inside.substr(0, name_end));
    if (name_end != std::string_view::npos) {
      inside.remove_prefix(name_end);
      if (inside.starts_with(' ')) inside.remove_prefix(1);
      code.arguments = inside;
    }
    parse_code_value(code);
    in.spaces();
  }
  text = in.rest();
  return true;
}

}  // namespace postern::imap
