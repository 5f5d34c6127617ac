// The data items of a FETCH response: RFC 3501 section 7.4.2 and extensions.
#include "session.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "server.hpp"

namespace postern::testimapd {

namespace {

using Kind = FetchItem::Kind;
using Text = FetchItem::Text;

std::string thread_root(const Message& message) {
  const Body& body = *message.body;
  return (body.references.empty() ? body.message_id : body.references.front()).fill(message.slots());
}

std::uint64_t thread_id(const Message& message) {
  auto root = thread_root(message);
  std::uint64_t hash = 0xCBF29CE484222325ULL;  // FNV-1a
  for (char c : root) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return (root.empty() ? message.email_id : hash) >> 1U;
}

std::string select_fields(std::string_view header, const std::vector<std::string>& names, bool chosen) {
  std::string out;
  for (const HeaderField& field : parse_header(header)) {
    bool named = std::any_of(names.begin(), names.end(),
                             [&](const std::string& name) { return iequals(name, field.name); });
    if (named == chosen) out += field.line;
  }
  return out + "\r\n";
}

// The header and body that section-text refers to: of the message itself, or of a message/rfc822 part.
struct Section {
  std::string_view header, body, whole;
  std::string_view mime;  // the part's own header
};

std::optional<Section> find_section(std::string_view raw, const Part& root, const FetchItem& item) {
  const Part* part = find_part(root, item.path);
  if (part == nullptr) return std::nullopt;
  auto cut = [&](std::size_t begin, std::size_t end) { return raw.substr(begin, end - begin); };
  Section section;
  section.mime = cut(part->header_begin, part->body_begin);
  if (item.path.empty())
    section.whole = raw;
  else
    section.whole = cut(part->body_begin, part->body_end);
  const Part* message = item.path.empty() ? part : part->is_message() ? part->children.data() : nullptr;
  if (message != nullptr) {
    section.header = cut(message->header_begin, message->body_begin);
    section.body = cut(message->body_begin, message->body_end);
  } else if (item.text != Text::whole && item.text != Text::mime) {
    return std::nullopt;
  }
  return section;
}

std::string decode_part(std::string_view body, const Part& part) {
  if (part.encoding == "BASE64") return base64_decode(body).value_or(std::string(body));
  if (part.encoding == "QUOTED-PRINTABLE") return decode_quoted_printable(body);
  return std::string(body);
}

void append_literal(std::string& out, std::string_view text, bool literal8) {
  fmt::format_to(std::back_inserter(out), "{}{{{}}}\r\n", literal8 ? "~" : "", text.size());
  out += text;
}

std::string_view cut_partial(std::string_view text, const FetchItem& item) {
  if (!item.partial) return text;
  return item.offset >= text.size() ? std::string_view() : text.substr(item.offset, item.length);
}

}  // namespace

void Session::append_section(std::string& out, const Message& message, const FetchItem& item,
                             std::string& raw) const {
  const Body& body = *message.body;
  if (raw.empty() && body.raw.has_slots()) raw = message.raw();
  std::string_view bytes = body.raw.has_slots() ? raw : body.raw.text();
  bool literal8 = server_.options().quirks.literal8;
  out += item.label;
  out += ' ';
  if (item.kind == Kind::binary || item.kind == Kind::binary_size) {
    const Part* part = find_part(body.root, item.path);
    std::string decoded;
    if (part != nullptr)
      decoded = item.path.empty()
                    ? std::string(bytes)
                    : decode_part(bytes.substr(part->body_begin, part->body_end - part->body_begin), *part);
    if (item.kind == Kind::binary_size)
      out += std::to_string(decoded.size());
    else if (part == nullptr)
      out += "NIL";
    else
      append_literal(out, cut_partial(decoded, item), decoded.find('\0') != std::string::npos);
    return;
  }
  auto section = find_section(bytes, body.root, item);
  if (!section) {
    out += "NIL";
    return;
  }
  std::string chosen;
  std::string_view text;
  switch (item.text) {
    case Text::whole: text = section->whole; break;
    case Text::header: text = section->header; break;
    case Text::text: text = section->body; break;
    case Text::mime: text = section->mime; break;
    case Text::fields:
    case Text::fields_not:
      chosen = select_fields(section->header, item.fields, item.text == Text::fields);
      text = chosen;
      break;
  }
  append_literal(out, cut_partial(text, item), literal8);
}

void Session::append_item(std::string& out, const Message& message, const FetchItem& item,
                          std::string& raw) const {
  const Body& body = *message.body;
  auto print = [&]<class... Values>(fmt::format_string<Values...> format, Values&&... values) {
    fmt::format_to(std::back_inserter(out), format, std::forward<Values>(values)...);
  };
  switch (item.kind) {
    case Kind::envelope:
      out += "ENVELOPE ";
      body.envelope.append_to(out, message.slots());
      break;
    case Kind::body:
      out += "BODY ";
      body.body.append_to(out, message.slots());
      break;
    case Kind::body_structure:
      out += "BODYSTRUCTURE ";
      body.body_structure.append_to(out, message.slots());
      break;
    case Kind::flags: print("FLAGS ({})", flags_of(message)); break;
    case Kind::internal_date: print("INTERNALDATE \"{}\"", internal_date_text(message.internal_date)); break;
    case Kind::save_date: print("SAVEDATE \"{}\"", internal_date_text(message.save_date)); break;
    case Kind::size: print("RFC822.SIZE {}", message.size()); break;
    case Kind::uid: print("UID {}", message.uid); break;
    case Kind::modseq: print("MODSEQ ({})", message.modseq); break;
    case Kind::email_id: print("EMAILID (M{:016x})", message.email_id); break;
    case Kind::thread_id: print("THREADID (T{:016x})", thread_id(message)); break;
    case Kind::guid: print("X-GUID {:032x}", message.email_id); break;
    case Kind::gm_msgid: print("X-GM-MSGID {}", message.email_id); break;
    case Kind::gm_thrid: print("X-GM-THRID {}", thread_id(message)); break;
    case Kind::gm_labels: out += "X-GM-LABELS ()"; break;
    case Kind::preview:
      out += "PREVIEW ";
      append_string(out, body.preview);
      break;
    case Kind::rfc822:
    case Kind::rfc822_header:
    case Kind::rfc822_text: {
      FetchItem section = item;
      section.kind = Kind::section;
      section.text = item.kind == Kind::rfc822          ? Text::whole
                     : item.kind == Kind::rfc822_header ? Text::header
                                                        : Text::text;
      append_section(out, message, section, raw);
      break;
    }
    case Kind::section:
    case Kind::binary:
    case Kind::binary_size: append_section(out, message, item, raw); break;
  }
}

}  // namespace postern::testimapd
