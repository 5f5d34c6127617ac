// Cuts a header block into fields, up to header_bytes_max and header_fields_max. Lines that are no fields are passed
// over.
#include <algorithm>
#include <optional>

#include "mail/mime/characters.hpp"
#include "mail/mime/encoded_words.hpp"
#include "postern/base/encoding.hpp"
#include "postern/mail/mime/headers.hpp"
#include "postern/mail/mime/limits.hpp"

namespace postern::mail {
namespace {

// RFC 8621, 4.1.2.1.
std::string raw_value(std::string_view octets) {
  std::string value(octets);
  std::erase(value, '\0');
  if (!is_valid_utf8(value)) value = sanitize_utf8(value);
  return value;
}

std::string_view without_line_end(std::string_view s) {
  if (s.ends_with('\n')) s.remove_suffix(1);
  if (s.ends_with('\r')) s.remove_suffix(1);
  return s;
}

// RFC 5322, 2.2: field = field-name ":" field-body CRLF, field-name of printable US-ASCII; 4.5: white space before
// the colon is the obsolete form. nullopt: this is no field.
std::optional<std::string_view> field_name(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view name = line.substr(0, colon);
  while (!name.empty() && is_wsp(name.back())) name.remove_suffix(1);
  if (name.empty()) return std::nullopt;
  if (!std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < 0x7F; })) return std::nullopt;
  return name;
}

}  // namespace

const HeaderField* HeaderBlock::last(std::string_view name) const {
  const auto found = std::find_if(fields.rbegin(), fields.rend(),
                                  [&](const HeaderField& field) { return iequals_ascii(field.name, name); });
  return found == fields.rend() ? nullptr : &*found;
}

HeaderBlock parse_header_block(std::string_view block) {
  HeaderBlock header;
  if (block.size() > header_bytes_max) {
    block = block.substr(0, header_bytes_max);
    header.truncated = true;
  }
  std::size_t begin = 0;
  while (begin < block.size()) {
    // One field: its line and the continuation lines behind it.
    std::size_t end = begin;
    do {
      const std::size_t newline = block.find('\n', end);
      end = newline == std::string_view::npos ? block.size() : newline + 1;
      if (without_line_end(block.substr(begin, end - begin)).empty()) break;  // the block's end
    } while (end < block.size() && is_wsp(block[end]));
    const std::string_view octets = without_line_end(block.substr(begin, end - begin));
    if (octets.empty()) break;
    if (const auto name = field_name(octets); name && !is_wsp(octets.front())) {
      if (header.fields.size() == header_fields_max) {
        header.truncated = true;
        break;
      }
      header.fields.push_back({std::string(*name), raw_value(octets.substr(octets.find(':') + 1))});
    }
    begin = end;
  }
  return header;
}

std::string as_text(std::string_view raw) {
  const std::string unfolded = unfold(raw);
  std::string_view text = unfolded;
  while (!text.empty() && is_wsp(text.front())) text.remove_prefix(1);
  return decode_words(text);
}

}  // namespace postern::mail
