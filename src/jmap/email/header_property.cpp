// The table of header forms, and the parsing of the names of header properties.
#include "postern/jmap/header_property.hpp"

#include <algorithm>

#include "postern/base/encoding.hpp"

namespace postern::jmap {
namespace {

constexpr ConvenienceProperty convenience_properties[] = {
    {"messageId", "Message-ID", HeaderForm::message_ids},
    {"inReplyTo", "In-Reply-To", HeaderForm::message_ids},
    {"references", "References", HeaderForm::message_ids},
    {"sender", "Sender", HeaderForm::addresses},
    {"from", "From", HeaderForm::addresses},
    {"to", "To", HeaderForm::addresses},
    {"cc", "Cc", HeaderForm::addresses},
    {"bcc", "Bcc", HeaderForm::addresses},
    {"replyTo", "Reply-To", HeaderForm::addresses},
    {"subject", "Subject", HeaderForm::text},
    {"sentAt", "Date", HeaderForm::date},
};

bool contains(std::initializer_list<std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_address_field(std::string_view upper) {
  return contains({"FROM", "SENDER", "REPLY-TO", "TO", "CC", "BCC", "RESENT-FROM", "RESENT-SENDER",
                   "RESENT-REPLY-TO", "RESENT-TO", "RESENT-CC", "RESENT-BCC"},
                  upper);
}
bool is_text_field(std::string_view upper) {
  return contains({"SUBJECT", "COMMENTS", "KEYWORDS", "LIST-ID"}, upper);
}
bool is_message_id_field(std::string_view upper) {
  return contains({"MESSAGE-ID", "IN-REPLY-TO", "REFERENCES", "RESENT-MESSAGE-ID"}, upper);
}
bool is_date_field(std::string_view upper) { return contains({"DATE", "RESENT-DATE"}, upper); }
bool is_url_field(std::string_view upper) {
  return contains(
      {"LIST-HELP", "LIST-UNSUBSCRIBE", "LIST-SUBSCRIBE", "LIST-POST", "LIST-OWNER", "LIST-ARCHIVE"}, upper);
}

// Defined in RFC 5322 or RFC 2369.
bool is_defined_field(std::string_view upper) {
  return is_address_field(upper) || is_message_id_field(upper) || is_date_field(upper) ||
         is_url_field(upper) ||
         contains({"SUBJECT", "COMMENTS", "KEYWORDS", "RETURN-PATH", "RECEIVED"}, upper);
}

std::optional<HeaderForm> form_of(std::string_view suffix) {
  if (suffix == "asRaw") return HeaderForm::raw;
  if (suffix == "asText") return HeaderForm::text;
  if (suffix == "asAddresses") return HeaderForm::addresses;
  if (suffix == "asGroupedAddresses") return HeaderForm::grouped_addresses;
  if (suffix == "asMessageIds") return HeaderForm::message_ids;
  if (suffix == "asDate") return HeaderForm::date;
  if (suffix == "asURLs") return HeaderForm::urls;
  return std::nullopt;
}

}  // namespace

HeaderProperty ConvenienceProperty::property() const { return {ascii_upper(name), form, false}; }

const ConvenienceProperty* find_convenience_property(std::string_view key) {
  const auto* found = std::find_if(std::begin(convenience_properties), std::end(convenience_properties),
                                   [key](const ConvenienceProperty& known) { return known.key == key; });
  return found == std::end(convenience_properties) ? nullptr : found;
}

// RFC 8621, 4.1.3:  header:{header-field-name}[:as{header-form}][:all]
std::expected<HeaderProperty, std::string> parse_header_property(std::string_view key) {
  std::string_view rest = key.substr(std::string_view("header:").size());
  const std::size_t name_end = std::min(rest.find(':'), rest.size());
  const std::string_view name = rest.substr(0, name_end);
  rest.remove_prefix(name_end);
  if (name.empty() || name.size() > header_property_name_bytes_max ||
      !std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < 0x7F; }))
    return std::unexpected("names no header field");
  HeaderProperty property;
  property.field = ascii_upper(name);
  if (rest.starts_with(":as")) {
    const std::string_view suffix = rest.substr(1, rest.find(':', 1) - 1);
    const auto form = form_of(suffix);
    if (!form) return std::unexpected("has an unknown header form");
    property.form = *form;
    rest.remove_prefix(1 + suffix.size());
  }
  if (rest == ":all") {
    property.all = true;
    rest = {};
  }
  if (!rest.empty()) return std::unexpected("has an unknown suffix");
  if (!is_form_allowed(property.field, property.form))
    return std::unexpected("asks for a form that this header field may not be fetched in");
  return property;
}

bool is_form_allowed(std::string_view field_name, HeaderForm form) {
  const std::string upper = ascii_upper(field_name);
  switch (form) {
    case HeaderForm::raw: return true;
    case HeaderForm::text: return is_text_field(upper) || !is_defined_field(upper);
    case HeaderForm::addresses:
    case HeaderForm::grouped_addresses: return is_address_field(upper) || !is_defined_field(upper);
    case HeaderForm::message_ids: return is_message_id_field(upper) || !is_defined_field(upper);
    case HeaderForm::date: return is_date_field(upper) || !is_defined_field(upper);
    case HeaderForm::urls: return is_url_field(upper) || !is_defined_field(upper);
  }
  return false;
}

}  // namespace postern::jmap
