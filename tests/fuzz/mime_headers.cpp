// Header blocks and every form of every field: any octets give valid UTF-8 within the bounds.
#include <cstdint>
#include <string>
#include <string_view>

#include "postern/base/encoding.hpp"
#include "postern/mail/mime/headers.hpp"
#include "postern/mail/mime/limits.hpp"
#include "require.hpp"

using namespace postern;
using namespace postern::mail;

namespace {

void require_text(std::string_view text) {
  require(is_valid_utf8(text));
  require(text.find('\0') == text.npos);
}

void check_groups(std::string_view raw) {
  const auto groups = as_grouped_addresses(raw);
  require(groups.size() <= header_groups_max);
  std::size_t count = 0;
  for (const auto& group : groups) {
    if (group.name) require_text(*group.name);
    for (const auto& address : group.addresses) {
      if (address.name) require_text(*address.name);
      require_text(address.email);
      require(address.email.find_first_of("\r\n") == std::string::npos);
      ++count;
    }
  }
  require(count <= header_addresses_max);
  require(as_addresses(raw).size() == count);
}

void check_forms(std::string_view raw) {
  const std::string text = as_text(raw);
  require_text(text);
  require(text.find_first_of("\r\n") == std::string::npos);
  check_groups(raw);
  if (const auto ids = as_message_ids(raw)) {
    require(!ids->empty() && ids->size() <= header_message_ids_max);
    for (const auto& id : *ids) require_text(id);
  }
  const auto date = as_date(raw);
  require(date.has_value() == as_date_seconds(raw).has_value());
  if (date) {
    require(date->size() == 20 || date->size() == 25);
    require(as_date_seconds(*date) == as_date_seconds(raw));  // RFC 3339 is read, too
  }
  if (const auto urls = as_urls(raw)) {
    require(!urls->empty() && urls->size() <= header_urls_max);
    for (const auto& url : *urls) require_text(url);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(bytes), size);
  check_forms(input);
  const HeaderBlock header = parse_header_block(input);
  require(header.fields.size() <= header_fields_max);
  for (const auto& field : header.fields) {
    require_text(field.name);
    require_text(field.value);
    require(header.last(field.name) != nullptr);
    check_forms(field.value);
  }
  return 0;
}
