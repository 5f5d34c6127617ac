// ENVELOPE and BODYSTRUCTURE (RFC 3501 section 7.4.2), and what else is computed once per message body.
#include "body.hpp"

#include <fmt/format.h>

namespace postern::testimapd {

namespace {

class Writer {
 public:
  Writer(std::string& out, const RenderOptions& options) : out_(out), options_(options) {}

  void string(std::string_view text) { append_string(out_, text, options_.eight_bit_quoted); }
  void nstring(std::string_view text) {
    if (text.empty())
      out_ += "NIL";
    else
      string(text);
  }
  void raw(std::string_view text) { out_ += text; }
  void parameters(const Parameters& list) {
    if (list.empty()) {
      out_ += "NIL";
      return;
    }
    out_ += '(';
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (i > 0) out_ += ' ';
      string(list[i].first);
      out_ += ' ';
      if (options_.nil_strings)
        out_ += "NIL";
      else
        string(list[i].second);
    }
    out_ += ')';
  }
  void addresses(std::string_view value) {
    auto list = parse_addresses(value);
    if (list.empty()) {
      out_ += "NIL";
      return;
    }
    out_ += '(';
    for (const Address& address : list) {
      out_ += '(';
      nstring(address.name);
      out_ += ' ';
      nstring(address.route);
      out_ += ' ';
      if (address.group_end)
        out_ += "NIL";
      else
        string(address.mailbox);
      out_ += ' ';
      if (address.group_start || address.group_end)
        out_ += "NIL";
      else
        string(address.host);
      out_ += ')';
    }
    out_ += ')';
  }
  // body-fld-dsp, body-fld-lang, body-fld-loc
  void tail(const Part& part) {
    out_ += ' ';
    if (part.disposition.empty()) {
      out_ += "NIL";
    } else {
      out_ += '(';
      string(part.disposition);
      out_ += ' ';
      parameters(part.disposition_parameters);
      out_ += ')';
    }
    out_ += ' ';
    nstring(part.language);
    out_ += ' ';
    nstring(part.location);
  }

 private:
  std::string& out_;
  const RenderOptions& options_;
};

std::string_view value_of(const std::vector<HeaderField>& fields, std::string_view name) {
  for (const HeaderField& field : fields)
    if (iequals(field.name, name)) return field.value;
  return {};
}

std::string address_key(const std::vector<Address>& addresses) {
  return addresses.empty() ? std::string() : upper(addresses.front().mailbox);
}

std::string display_key(const std::vector<Address>& addresses) {
  if (addresses.empty()) return {};
  const Address& first = addresses.front();
  return upper(first.name.empty() ? first.mailbox + "@" + first.host : decode_words(first.name));
}

const Part* first_text(const Part& part) {
  if (part.type == "TEXT") return &part;
  if (part.is_multipart())
    for (const Part& child : part.children)
      if (const Part* found = first_text(child)) return found;
  return nullptr;
}

// RFC 8970: up to 200 characters, blanks collapsed.
std::string make_preview(std::string_view raw, const Part& root) {
  const Part* part = first_text(root);
  if (part == nullptr) return {};
  std::string text(
      raw.substr(part->body_begin, std::min<std::size_t>(part->body_end - part->body_begin, 2000)));
  if (part->encoding == "QUOTED-PRINTABLE")
    text = decode_quoted_printable(text);
  else if (part->encoding == "BASE64")
    text = base64_decode(text).value_or("");
  std::string out;
  bool in_tag = false;
  for (char c : text) {
    if (part->subtype == "HTML" && c == '<') in_tag = true;
    if (!in_tag && out.size() < 200) {
      bool blank = c == ' ' || c == '\r' || c == '\n' || c == '\t';
      if (!blank)
        out += c;
      else if (!out.empty() && out.back() != ' ')
        out += ' ';
    }
    if (c == '>') in_tag = false;
  }
  while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xC0U) == 0x80) out.pop_back();
  while (!out.empty() && static_cast<unsigned char>(out.back()) >= 0x80) out.pop_back();
  return out;
}

void set_threading(Body& body, const std::vector<HeaderField>& fields, bool with_slots) {
  auto ids = parse_message_ids(value_of(fields, "Message-ID"));
  if (!ids.empty()) body.message_id = Slotted(ids.front(), with_slots);
  auto references = parse_message_ids(value_of(fields, "References"));
  if (references.empty()) {
    references = parse_message_ids(value_of(fields, "In-Reply-To"));
    references.resize(std::min<std::size_t>(references.size(), 1));
  }
  for (std::string& reference : references) body.references.emplace_back(std::move(reference), with_slots);
}

}  // namespace

void render_envelope(std::string& out, std::string_view header, const RenderOptions& options) {
  auto fields = parse_header(header);
  Writer writer(out, options);
  auto get = [&](std::string_view name) { return unfold(value_of(fields, name)); };
  std::string from = get("From");
  std::string sender = get("Sender");
  std::string reply_to = get("Reply-To");
  writer.raw("(");
  writer.nstring(get("Date"));
  writer.raw(" ");
  writer.nstring(get("Subject"));
  writer.raw(" ");
  writer.addresses(from);
  writer.raw(" ");
  writer.addresses(sender.empty() ? from : sender);
  writer.raw(" ");
  writer.addresses(reply_to.empty() ? from : reply_to);
  for (std::string_view name : {"To", "Cc", "Bcc"}) {
    writer.raw(" ");
    writer.addresses(get(name));
  }
  writer.raw(" ");
  writer.nstring(get("In-Reply-To"));
  writer.raw(" ");
  writer.nstring(get("Message-ID"));
  writer.raw(")");
}

void render_structure(std::string& out, std::string_view raw, const Part& part, bool extended,
                      const RenderOptions& options) {
  Writer writer(out, options);
  out += '(';
  if (part.is_multipart()) {
    for (const Part& child : part.children) render_structure(out, raw, child, extended, options);
    out += ' ';
    writer.string(part.subtype);
    if (extended) {
      out += ' ';
      writer.parameters(part.parameters);
      writer.tail(part);
    }
    out += ')';
    return;
  }
  writer.string(part.type);
  out += ' ';
  writer.string(part.subtype);
  out += ' ';
  if (part.parameters.empty() && part.type == "TEXT")
    writer.parameters({{"CHARSET", "US-ASCII"}});
  else
    writer.parameters(part.parameters);
  out += ' ';
  writer.nstring(part.id);
  out += ' ';
  writer.nstring(part.description);
  out += ' ';
  if (options.nil_strings)
    out += "NIL";
  else
    writer.string(part.encoding.empty() ? "7BIT" : part.encoding);
  fmt::format_to(std::back_inserter(out), " {}", part.body_end - part.body_begin);
  if (part.is_message()) {
    const Part& inner = part.children.front();
    out += ' ';
    render_envelope(out, raw.substr(inner.header_begin, inner.body_begin - inner.header_begin), options);
    out += ' ';
    render_structure(out, raw, inner, extended, options);
  }
  if (part.is_message() || part.type == "TEXT") fmt::format_to(std::back_inserter(out), " {}", part.lines);
  if (extended) {
    out += ' ';
    writer.nstring(part.md5);
    writer.tail(part);
  }
  out += ')';
}

std::shared_ptr<const Body> make_body(std::string raw, bool with_slots, const RenderOptions& options) {
  auto body = std::make_shared<Body>();
  body->root = parse_mime(raw);
  auto header = std::string_view(raw).substr(0, body->root.body_begin);
  std::string text;
  render_envelope(text, header, options);
  body->envelope = Slotted(std::move(text), with_slots);
  text.clear();
  render_structure(text, raw, body->root, true, options);
  body->body_structure = Slotted(std::move(text), with_slots);
  text.clear();
  render_structure(text, raw, body->root, false, options);
  body->body = Slotted(std::move(text), with_slots);

  auto fields = parse_header(header);
  auto subject = base_subject(decode_words(unfold(value_of(fields, "Subject"))));
  body->base_subject = Slotted(std::move(subject.text), with_slots);
  body->reply_or_forward = subject.reply_or_forward;
  auto from = parse_addresses(unfold(value_of(fields, "From")));
  auto to = parse_addresses(unfold(value_of(fields, "To")));
  body->from_key = address_key(from);
  body->to_key = address_key(to);
  body->cc_key = address_key(parse_addresses(unfold(value_of(fields, "Cc"))));
  body->from_display = display_key(from);
  body->to_display = display_key(to);
  auto date = unfold(value_of(fields, "Date"));
  body->sent_slot = with_slots && date == slot_date;
  if (auto sent = parse_rfc5322_date(date)) {
    body->sent = *sent;
    body->sent_known = true;
  }
  set_threading(*body, fields, with_slots);
  body->preview = make_preview(raw, body->root);
  body->raw = Slotted(std::move(raw), with_slots);
  return body;
}

}  // namespace postern::testimapd
