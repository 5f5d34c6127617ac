// header:{name}[:as{form}][:all] (RFC 8621, 4.1.3), and the convenience properties that stand for one.
//
// Plain values; free functions: any thread. Bounded by header_property_name_bytes_max.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace postern::jmap {

inline constexpr std::size_t header_property_name_bytes_max = 256;

enum class HeaderForm : std::uint8_t { raw, text, addresses, grouped_addresses, message_ids, date, urls };

// RFC 8621, 4.1.2: which forms a header field may be fetched and set in.
bool is_form_allowed(std::string_view field_name, HeaderForm form);

struct HeaderProperty {
  std::string field;  // upper case
  HeaderForm form = HeaderForm::raw;
  bool all = false;
};

// The error is the reason.
std::expected<HeaderProperty, std::string> parse_header_property(std::string_view key);
// "from", "subject", ...
struct ConvenienceProperty {
  std::string_view key, name;  // "messageId", "Message-ID"
  HeaderForm form;
  HeaderProperty property() const;
};
// Null if it is none of them.
const ConvenienceProperty* find_convenience_property(std::string_view key);

}  // namespace postern::jmap
