// Headers, addresses and MIME structure of messages; see body.hpp. Grammar: RFC 5322 and RFC 2045/2046,
// read liberally.
#include "body.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace postern::testimapd {

namespace {

// type "/" subtype *(";" parameter) and disposition *(";" parameter), RFC 2045 section 5.1.
std::pair<std::string, Parameters> parse_parameters(std::string_view value) {
  std::size_t at = 0;
  auto token = [&](std::string_view stop) {
    std::string out;
    while (at < value.size() && stop.find(value[at]) == std::string_view::npos) {
      if (value[at] == '"') {
        for (++at; at < value.size() && value[at] != '"'; ++at) {
          if (value[at] == '\\' && at + 1 < value.size()) ++at;
          out += value[at];
        }
        if (at < value.size()) ++at;
      } else {
        out += value[at++];
      }
    }
    return std::string(trim(out));
  };
  std::string head = token(";");
  Parameters parameters;
  while (at < value.size() && parameters.size() < 100) {
    ++at;  // ';' or '='
    std::string name = token("=;");
    if (at < value.size() && value[at] == '=') {
      ++at;
      parameters.emplace_back(std::move(name), token(";"));
    }
  }
  return {std::move(head), std::move(parameters)};
}

std::size_t end_of_header(std::string_view raw, std::size_t from, std::size_t end) {
  if (raw.substr(from, 2) == "\r\n" && from + 2 <= end) return from + 2;
  auto blank = raw.substr(0, end).find("\r\n\r\n", from);
  return blank == std::string_view::npos ? end : blank + 4;
}

struct MimeParser {
  std::string_view raw;
  unsigned parts = 0;

  Part parse(std::size_t begin, std::size_t end, unsigned depth, bool in_digest);
  void parse_children(Part& part, const std::string& boundary, unsigned depth);
};

void read_part_header(Part& part, std::string_view header) {
  for (const HeaderField& field : parse_header(header)) {
    if (iequals(field.name, "Content-Type")) {
      auto [type, parameters] = parse_parameters(unfold(field.value));
      auto slash = type.find('/');
      if (slash == std::string::npos) continue;
      part.type = upper(trim(std::string_view(type).substr(0, slash)));
      part.subtype = upper(trim(std::string_view(type).substr(slash + 1)));
      part.parameters = std::move(parameters);
    } else if (iequals(field.name, "Content-Transfer-Encoding")) {
      part.encoding = upper(trim(unfold(field.value)));
    } else if (iequals(field.name, "Content-ID")) {
      part.id = unfold(field.value);
    } else if (iequals(field.name, "Content-Description")) {
      part.description = unfold(field.value);
    } else if (iequals(field.name, "Content-MD5")) {
      part.md5 = unfold(field.value);
    } else if (iequals(field.name, "Content-Language")) {
      part.language = unfold(field.value);
    } else if (iequals(field.name, "Content-Location")) {
      part.location = unfold(field.value);
    } else if (iequals(field.name, "Content-Disposition")) {
      auto [disposition, parameters] = parse_parameters(unfold(field.value));
      part.disposition = upper(disposition);
      part.disposition_parameters = std::move(parameters);
    }
  }
}

Part MimeParser::parse(std::size_t begin, std::size_t end, unsigned depth, bool in_digest) {
  ++parts;
  Part part;
  part.header_begin = begin;
  part.body_begin = end_of_header(raw, begin, end);
  part.body_end = end;
  if (in_digest) {
    part.type = "MESSAGE";
    part.subtype = "RFC822";
  }
  read_part_header(part, raw.substr(begin, part.body_begin - begin));
  auto body = raw.substr(part.body_begin, end - part.body_begin);
  part.lines = static_cast<std::size_t>(std::count(body.begin(), body.end(), '\n'));
  if (!body.empty() && body.back() != '\n') ++part.lines;
  bool room = depth < mime_depth_max && parts < mime_parts_max;
  if (part.is_multipart()) {
    std::string boundary;
    for (const auto& [name, value] : part.parameters)
      if (iequals(name, "boundary")) boundary = value;
    if (room && !boundary.empty()) parse_children(part, boundary, depth);
    if (part.children.empty()) {
      part.type = "TEXT";
      part.subtype = "PLAIN";
    }
  } else if (part.type == "MESSAGE" && part.subtype == "RFC822" && room) {
    part.children.push_back(parse(part.body_begin, end, depth + 1, false));
  }
  return part;
}

void MimeParser::parse_children(Part& part, const std::string& boundary, unsigned depth) {
  std::string delimiter = "--" + boundary;
  std::size_t line = part.body_begin;
  std::size_t child_begin = std::string_view::npos;
  bool closed = false;
  while (line < part.body_end && !closed) {
    auto line_end = raw.find("\r\n", line);
    auto next =
        line_end == std::string_view::npos || line_end + 2 > part.body_end ? part.body_end : line_end + 2;
    if (raw.substr(line, delimiter.size()) == delimiter) {
      auto tail = trim(raw.substr(line + delimiter.size(), next - line - delimiter.size()));
      closed = tail == "--";
      if (closed || tail.empty()) {
        if (child_begin != std::string_view::npos && parts < mime_parts_max)
          part.children.push_back(
              parse(child_begin, std::max(child_begin, line - 2), depth + 1, part.subtype == "DIGEST"));
        child_begin = next;
      }
    }
    line = next;
  }
  if (!closed && child_begin != std::string_view::npos && child_begin < part.body_end &&
      parts < mime_parts_max)
    part.children.push_back(parse(child_begin, part.body_end, depth + 1, part.subtype == "DIGEST"));
}

// Reads one mailbox or group at a time; comments are dropped, RFC 5322 section 3.4.
class AddressReader {
 public:
  explicit AddressReader(std::string_view text) : text_(text) {}
  std::vector<Address> read();

 private:
  std::string collect(std::string_view stop);
  static void split(Address& address, std::string_view spec);
  std::string_view text_;
  std::size_t at_ = 0;
};

std::string AddressReader::collect(std::string_view stop) {
  std::string out;
  while (at_ < text_.size() && stop.find(text_[at_]) == std::string_view::npos) {
    char c = text_[at_];
    if (c == '"') {
      for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
        if (text_[at_] == '\\' && at_ + 1 < text_.size()) ++at_;
        out += text_[at_];
      }
      ++at_;
    } else if (c == '(') {
      int depth = 0;
      do {
        depth += text_[at_] == '(' ? 1 : text_[at_] == ')' ? -1 : 0;
        ++at_;
      } while (at_ < text_.size() && depth > 0);
    } else {
      out += c;
      ++at_;
    }
  }
  at_ = std::min(at_, text_.size());
  return std::string(trim(out));
}

void AddressReader::split(Address& address, std::string_view spec) {
  if (spec.starts_with('@')) {
    auto colon = spec.find(':');
    if (colon != std::string_view::npos) {
      address.route = trim(spec.substr(0, colon));
      spec = spec.substr(colon + 1);
    }
  }
  auto at = spec.rfind('@');
  address.mailbox = trim(spec.substr(0, at));
  if (at != std::string_view::npos) address.host = trim(spec.substr(at + 1));
}

std::vector<Address> AddressReader::read() {
  std::vector<Address> out;
  bool in_group = false;
  while (at_ < text_.size()) {
    std::string words = collect("<,:;");
    char stop = at_ < text_.size() ? text_[at_++] : '\0';
    if (stop == ':') {
      Address start;
      start.mailbox = words;
      start.group_start = true;
      out.push_back(start);
      in_group = true;
    } else if (stop == '<') {
      Address address;
      address.name = words;
      split(address, collect(">"));
      ++at_;
      out.push_back(address);
    } else {
      if (!words.empty()) {
        Address address;
        split(address, words);
        out.push_back(address);
      }
      if (stop == ';' && in_group) {
        Address end;
        end.group_end = true;
        out.push_back(end);
        in_group = false;
      }
    }
  }
  return out;
}

}  // namespace

Slotted::Slotted(std::string text, bool with_slots) : text_(std::move(text)) {
  if (!with_slots) return;
  for (std::size_t at = text_.find('~'); at != std::string::npos; at = text_.find('~', at + 1)) {
    std::string_view rest = std::string_view(text_).substr(at);
    for (std::string_view slot : {slot_number, slot_parent, slot_root, slot_date})
      if (rest.starts_with(slot)) {
        slots_.push_back({static_cast<std::uint32_t>(at), slot[1]});
        at += slot.size() - 1;
        break;
      }
  }
}

void Slotted::append_to(std::string& out, const SlotValues& values) const {
  std::size_t base = out.size();
  out += text_;
  auto digits = [&](std::size_t at, std::uint32_t value) {
    for (std::size_t i = 8; i-- > 0; value /= 10) out[base + at + i] = static_cast<char>('0' + value % 10);
  };
  for (const Slot& slot : slots_) {
    if (slot.kind == 'N')
      digits(slot.at, values.number);
    else if (slot.kind == 'P')
      digits(slot.at, values.parent);
    else if (slot.kind == 'R')
      digits(slot.at, values.root);
    else
      out.replace(base + slot.at, slot_date.size(), rfc5322_date_text(values.date));
  }
}

std::string Slotted::fill(const SlotValues& values) const {
  std::string out;
  out.reserve(text_.size());
  append_to(out, values);
  return out;
}

std::vector<HeaderField> parse_header(std::string_view header) {
  std::vector<HeaderField> fields;
  std::size_t at = 0;
  while (at < header.size()) {
    std::size_t begin = at;
    do {
      auto end = header.find('\n', at);
      at = end == std::string_view::npos ? header.size() : end + 1;
    } while (at < header.size() && (header[at] == ' ' || header[at] == '\t'));
    auto line = header.substr(begin, at - begin);
    auto colon = line.find(':');
    if (colon != std::string_view::npos)
      fields.push_back({trim(line.substr(0, colon)), line, line.substr(colon + 1)});
  }
  return fields;
}

std::string unfold(std::string_view value) {
  std::string out;
  for (char c : trim(value))
    if (c != '\r' && c != '\n') out += c == '\t' ? ' ' : c;
  return out;
}

std::vector<Address> parse_addresses(std::string_view value) { return AddressReader(value).read(); }

std::vector<std::string> parse_message_ids(std::string_view value) {
  std::vector<std::string> out;
  for (std::size_t at = value.find('<'); at != std::string_view::npos; at = value.find('<', at)) {
    auto end = value.find('>', at);
    if (end == std::string_view::npos) break;
    out.emplace_back(trim(value.substr(at + 1, end - at - 1)));
    at = end;
  }
  return out;
}

Part parse_mime(std::string_view raw) {
  MimeParser parser{raw};
  return parser.parse(0, raw.size(), 0, false);
}

const Part* find_part(const Part& root, const std::vector<std::uint32_t>& path) {
  const Part* part = &root;
  bool at_message = true;  // `part` stands for a whole message, so that 1 is its only part
  for (std::uint32_t number : path) {
    if (!at_message && part->is_message()) {
      part = part->children.data();
      at_message = true;
    }
    if (part->is_multipart()) {
      if (number == 0 || number > part->children.size()) return nullptr;
      part = &part->children[number - 1];
    } else if (!at_message || number != 1) {
      return nullptr;
    }
    at_message = false;
  }
  return part;
}

}  // namespace postern::testimapd
