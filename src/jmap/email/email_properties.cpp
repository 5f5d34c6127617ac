// The tables of properties, the parsing of their names, and what follows from them for the
// FETCH: single header fields up to fetched_field_names_bytes_max, else the whole header.
#include "postern/jmap/email_properties.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "postern/base/encoding.hpp"

namespace postern::jmap {
namespace {

using Kind = EmailProperty::Kind;
using BodyKind = EmailBodyProperty::Kind;

struct NamedProperty {
  std::string_view key;
  Kind kind;
};
constexpr NamedProperty email_properties[] = {
    {"id", Kind::id},
    {"blobId", Kind::blob_id},
    {"threadId", Kind::thread_id},
    {"mailboxIds", Kind::mailbox_ids},
    {"keywords", Kind::keywords},
    {"size", Kind::size},
    {"receivedAt", Kind::received_at},
    {"messageId", Kind::header},
    {"inReplyTo", Kind::header},
    {"references", Kind::header},
    {"sender", Kind::header},
    {"from", Kind::header},
    {"to", Kind::header},
    {"cc", Kind::header},
    {"bcc", Kind::header},
    {"replyTo", Kind::header},
    {"subject", Kind::header},
    {"sentAt", Kind::header},
    {"hasAttachment", Kind::has_attachment},
    {"preview", Kind::preview},
    {"bodyValues", Kind::body_values},
    {"textBody", Kind::text_body},
    {"htmlBody", Kind::html_body},
    {"attachments", Kind::attachments},
    {"headers", Kind::headers},
    {"bodyStructure", Kind::body_structure},
};
// RFC 8621, 4.2: without the last two, these are the default.
constexpr std::size_t default_properties = std::size(email_properties) - 2;
// RFC 8621, 4.9: and without the metadata, those of Email/parse.
constexpr std::size_t metadata_properties = 7;

struct NamedBodyProperty {
  std::string_view key;
  BodyKind kind;
};
constexpr NamedBodyProperty email_body_properties[] = {
    {"partId", BodyKind::part_id},
    {"blobId", BodyKind::blob_id},
    {"size", BodyKind::size},
    {"name", BodyKind::name},
    {"type", BodyKind::type},
    {"charset", BodyKind::charset},
    {"disposition", BodyKind::disposition},
    {"cid", BodyKind::cid},
    {"language", BodyKind::language},
    {"location", BodyKind::location},
    {"headers", BodyKind::headers},
    {"subParts", BodyKind::sub_parts},
};
constexpr std::size_t default_body_properties = std::size(email_body_properties) - 2;

// True if `key` is a header:... property, which has been put into `property` then; an error's text otherwise.
template <typename Property>
std::expected<bool, std::string> parse_if_header(std::string_view key, Property& property) {
  property.key = key;
  if (!key.starts_with("header:")) return false;
  auto header = parse_header_property(key);
  if (!header) return std::unexpected(std::move(header.error()));
  property.kind = decltype(property.kind)::header;
  property.header = std::move(*header);
  return true;
}

std::expected<EmailProperty, std::string> parse_property(std::string_view key) {
  EmailProperty property;
  const auto is_header = parse_if_header(key, property);
  if (!is_header) return std::unexpected(is_header.error());
  if (*is_header) return property;
  for (const auto& known : email_properties) {
    if (known.key != key) continue;
    property.kind = known.kind;
    if (const auto* convenience = find_convenience_property(key)) property.header = convenience->property();
    return property;
  }
  return std::unexpected("is no property of an Email");
}

std::expected<EmailBodyProperty, std::string> parse_body_property(std::string_view key) {
  EmailBodyProperty property;
  const auto is_header = parse_if_header(key, property);
  if (!is_header) return std::unexpected(is_header.error());
  if (*is_header) return property;
  for (const auto& known : email_body_properties) {
    if (known.key != key) continue;
    property.kind = known.kind;
    return property;
  }
  return std::unexpected("is no property of an EmailBodyPart");
}

// The list of that name, parsed item by item, without duplicates; nullopt where the default is to be used.
template <typename Property, typename Parse>
Argument<std::optional<std::vector<Property>>> parse_list(const rapidjson::Value& arguments,
                                                          std::string_view name, Parse parse) {
  auto keys = get_strings(arguments, name, email_properties_max);
  if (!keys) return std::unexpected(std::move(keys.error()));
  if (!*keys) return std::optional<std::vector<Property>>();
  std::vector<Property> list;
  std::size_t index = 0;
  for (const std::string_view key : **keys) {
    auto property = parse(key);
    if (!property) return bad_argument(json_pointer(json_pointer("", name), index), property.error());
    ++index;
    if (std::none_of(list.begin(), list.end(), [&](const Property& other) { return other.key == key; }))
      list.push_back(std::move(*property));
  }
  return list;
}

bool is_body_list(Kind kind) {
  return kind == Kind::body_structure || kind == Kind::text_body || kind == Kind::html_body ||
         kind == Kind::attachments;
}

void add_need(const EmailProperty& property, const EmailProperties& request, FetchNeeds& needs) {
  switch (property.kind) {
    case Kind::id:
    case Kind::blob_id: break;
    case Kind::thread_id: needs.thread_id = true; break;
    case Kind::mailbox_ids: needs.mailbox_ids = true; break;
    case Kind::keywords: needs.flags = true; break;
    case Kind::size: needs.size = true; break;
    case Kind::received_at: needs.internal_date = true; break;
    case Kind::header: needs.header_fields.push_back(property.header.field); break;
    case Kind::headers: needs.full_header = true; break;
    case Kind::body_structure:
    case Kind::text_body:
    case Kind::html_body:
    case Kind::attachments:
    case Kind::has_attachment: needs.body_structure = true; break;
    case Kind::preview: needs.preview = needs.body_structure = true; break;
    case Kind::body_values:
      needs.body_values =
          request.fetch_text_body_values || request.fetch_html_body_values || request.fetch_all_body_values;
      needs.body_structure = needs.body_structure || needs.body_values;
      break;
  }
}

// RFC 3501, 9: header-fld-name = astring. What is no atom is rare enough to be looked for in the whole header.
bool can_fetch_one_by_one(const std::vector<std::string>& fields) {
  std::size_t bytes = 0;
  for (const auto& field : fields) {
    bytes += field.size() + 1;
    if (field.find_first_of("(){%*\"\\]") != std::string_view::npos) return false;
  }
  return bytes <= fetched_field_names_bytes_max;
}

FetchNeeds needs_of(const EmailProperties& request) {
  FetchNeeds needs;
  bool body_lists = false;
  for (const auto& property : request.properties) {
    add_need(property, request, needs);
    body_lists = body_lists || is_body_list(property.kind);
  }
  if (body_lists) {
    for (const auto& property : request.body_properties) {
      if (property.kind == BodyKind::headers) {
        needs.part_headers = needs.full_header = true;  // the outermost part's fields are the message's
      } else if (property.kind == BodyKind::header) {
        needs.part_headers = true;
        needs.header_fields.push_back(property.header.field);
      }
    }
  }
  std::sort(needs.header_fields.begin(), needs.header_fields.end());
  const auto duplicates = std::unique(needs.header_fields.begin(), needs.header_fields.end());
  needs.header_fields.erase(duplicates, needs.header_fields.end());
  needs.full_header = needs.full_header || !can_fetch_one_by_one(needs.header_fields);
  if (needs.full_header) needs.header_fields.clear();
  return needs;
}

// Keys have neither spaces nor colons but their own, so a space separates.
std::string signature_of(const EmailProperties& request) {
  std::string signature;
  bool body_lists = false;
  for (const auto& property : request.properties) {
    signature += property.key;
    signature += ' ';
    body_lists = body_lists || is_body_list(property.kind);
  }
  if (body_lists) {
    signature += "| ";
    for (const auto& property : request.body_properties) {
      signature += property.key;
      signature += ' ';
    }
  }
  if (request.needs.body_values)
    signature += fmt::format("= {}{}{} {}", request.fetch_text_body_values ? "t" : "",
                             request.fetch_html_body_values ? "h" : "",
                             request.fetch_all_body_values ? "a" : "", request.max_body_value_bytes);
  return signature;
}

}  // namespace

Argument<EmailProperties> parse_email_properties(const rapidjson::Value& arguments, EmailSource source) {
  EmailProperties request;
  request.source = source;
  auto properties = parse_list<EmailProperty>(arguments, "properties", parse_property);
  if (!properties) return std::unexpected(std::move(properties.error()));
  if (*properties) {
    request.properties = std::move(**properties);
  } else {
    for (std::size_t i = source == EmailSource::blob ? metadata_properties : 0; i < default_properties; ++i)
      request.properties.push_back(*parse_property(email_properties[i].key));
  }
  // RFC 8620, 5.1: "The id property of the object is always returned, even if not explicitly requested."
  if (source == EmailSource::mailbox &&
      std::none_of(request.properties.begin(), request.properties.end(),
                   [](const EmailProperty& property) { return property.kind == Kind::id; }))
    request.properties.insert(request.properties.begin(), *parse_property("id"));

  auto body_properties = parse_list<EmailBodyProperty>(arguments, "bodyProperties", parse_body_property);
  if (!body_properties) return std::unexpected(std::move(body_properties.error()));
  if (*body_properties) {
    request.body_properties = std::move(**body_properties);
  } else {
    for (std::size_t i = 0; i < default_body_properties; ++i)
      request.body_properties.push_back(*parse_body_property(email_body_properties[i].key));
  }

  const std::pair<std::string_view, bool*> flags[] = {
      {"fetchTextBodyValues", &request.fetch_text_body_values},
      {"fetchHTMLBodyValues", &request.fetch_html_body_values},
      {"fetchAllBodyValues", &request.fetch_all_body_values}};
  for (const auto& [name, target] : flags) {
    auto value = get_bool(arguments, name, false);
    if (!value) return std::unexpected(std::move(value.error()));
    *target = *value;
  }
  auto bytes_max = get_uint(arguments, "maxBodyValueBytes");
  if (!bytes_max) return std::unexpected(std::move(bytes_max.error()));
  request.max_body_value_bytes = bytes_max->value_or(0);

  request.needs = needs_of(request);
  request.signature = signature_of(request);
  return request;
}

}  // namespace postern::jmap
