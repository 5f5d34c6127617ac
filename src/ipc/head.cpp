// The heads of requests and responses, as the payload of their frames. See docs/frame-protocol.md.
//
//   request-head  = id method scheme host target script_name remote_address remote_user   ; eight texts
//                   has_length:u8 [content_length:u64] fields
//   response-head = status:u16 fields
//   fields        = count:u16 *(name value)
//   text          = length:u16 octets ; id, method, ..., name, value
//
// Nothing follows the last field. A head that is not to be parsed is not encoded either, so that a mistake
// shows where it was made.
#include <algorithm>
#include <fmt/format.h>

#include "ipc/wire.hpp"
#include "postern/ipc/frame.hpp"

namespace postern::ipc {
namespace {

static_assert(head_bytes_max <= 0x10000, "a text's length is 16 bits");

bool is_tchar(unsigned char c) {
  if (c >= '0' && c <= '9') return true;
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
  return c != 0 && std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos;
}

bool is_token(std::string_view s) { return !s.empty() && std::ranges::all_of(s, is_tchar); }

bool take_text(std::string_view& data, std::string& text) {
  std::uint16_t length = 0;
  if (!wire::take(data, length) || data.size() < length) return false;
  text.assign(data.substr(0, length));
  data.remove_prefix(length);
  return true;
}

void put_text(std::string& out, std::string_view text) {
  wire::put<std::uint16_t>(out, static_cast<std::uint16_t>(text.size()));
  out.append(text);
}

Result<> check_fields(const Fields& fields) {
  if (fields.size() > head_fields_max) return fail(Errc::too_large, fmt::format("{} fields", fields.size()));
  for (const auto& [name, value] : fields) {
    if (!is_field_name(name)) return fail(Errc::bad_head, "name of a field");
    if (!is_field_value(value)) return fail(Errc::bad_head, fmt::format("value of {}", name));
  }
  return {};
}

std::size_t size_of(const Fields& fields) {
  std::size_t size = 2;
  for (const auto& [name, value] : fields) size += 4 + name.size() + value.size();
  return size;
}

void put_fields(std::string& out, const Fields& fields) {
  wire::put<std::uint16_t>(out, static_cast<std::uint16_t>(fields.size()));
  for (const auto& [name, value] : fields) {
    put_text(out, name);
    put_text(out, value);
  }
}

Result<> take_fields(std::string_view data, Fields& fields) {
  std::uint16_t count = 0;
  if (!wire::take(data, count)) return fail(Errc::bad_head, "fields are missing");
  if (count > head_fields_max) return fail(Errc::too_large, fmt::format("{} fields", count));
  fields.reserve(count);
  for (std::uint16_t i = 0; i < count; ++i) {
    auto& [name, value] = fields.emplace_back();
    if (!take_text(data, name) || !take_text(data, value)) return fail(Errc::bad_head, "cut off in a field");
  }
  if (!data.empty()) return fail(Errc::bad_head, "octets after the last field");
  return check_fields(fields);
}

Result<> check_request(const RequestHead& head) {
  if (!is_token(head.method)) return fail(Errc::bad_head, "method");
  for (const auto* text : {&head.id, &head.scheme, &head.host, &head.target, &head.script_name,
                           &head.remote_address, &head.remote_user}) {
    if (!is_field_value(*text)) return fail(Errc::bad_head, "control character");
  }
  return {};
}

Result<> check_response(const ResponseHead& head) {
  // No interim responses (1xx): FastCGI has no way to send them.
  if (head.status < 200 || head.status > 599)
    return fail(Errc::bad_head, fmt::format("status {}", head.status));
  return {};
}

}  // namespace

bool is_field_name(std::string_view s) {
  return is_token(s) && std::ranges::none_of(s, [](char c) { return c >= 'A' && c <= 'Z'; });
}

bool is_field_value(std::string_view s) {
  return std::ranges::none_of(s, [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; });
}

std::string_view field(const Fields& fields, std::string_view name) {
  for (const auto& [field_name, value] : fields) {
    if (field_name == name) return value;
  }
  return {};
}

Result<std::string> encode_request_head(const RequestHead& head) {
  if (auto ok = check_request(head); !ok) return fail(std::move(ok.error()));
  if (auto ok = check_fields(head.fields); !ok) return fail(std::move(ok.error()));
  const std::string* const texts[] = {
      &head.id,     &head.method,      &head.scheme,         &head.host,
      &head.target, &head.script_name, &head.remote_address, &head.remote_user};
  std::size_t size = 1 + (head.content_length ? 8 : 0) + size_of(head.fields);
  for (const auto* text : texts) size += 2 + text->size();
  if (size > head_bytes_max) return fail(Errc::too_large, fmt::format("request head of {} octets", size));

  std::string out;
  out.reserve(size);
  for (const auto* text : texts) put_text(out, *text);
  out.push_back(head.content_length ? '\1' : '\0');
  if (head.content_length) wire::put<std::uint64_t>(out, *head.content_length);
  put_fields(out, head.fields);
  return out;
}

Result<RequestHead> parse_request_head(std::string_view payload) {
  if (payload.size() > head_bytes_max) return fail(Errc::too_large, "request head");
  RequestHead head;
  for (auto* text : {&head.id, &head.method, &head.scheme, &head.host, &head.target, &head.script_name,
                     &head.remote_address, &head.remote_user}) {
    if (!take_text(payload, *text)) return fail(Errc::bad_head, "cut off in a text");
  }
  std::uint8_t has_length = 0;
  if (!wire::take(payload, has_length) || has_length > 1) return fail(Errc::bad_head, "content length");
  if (has_length == 1) {
    std::uint64_t length = 0;
    if (!wire::take(payload, length)) return fail(Errc::bad_head, "cut off in the content length");
    head.content_length = length;
  }
  if (auto ok = take_fields(payload, head.fields); !ok) return fail(std::move(ok.error()));
  if (auto ok = check_request(head); !ok) return fail(std::move(ok.error()));
  return head;
}

Result<std::string> encode_response_head(const ResponseHead& head) {
  if (auto ok = check_response(head); !ok) return fail(std::move(ok.error()));
  if (auto ok = check_fields(head.fields); !ok) return fail(std::move(ok.error()));
  const auto size = 2 + size_of(head.fields);
  if (size > head_bytes_max) return fail(Errc::too_large, fmt::format("response head of {} octets", size));
  std::string out;
  out.reserve(size);
  wire::put<std::uint16_t>(out, head.status);
  put_fields(out, head.fields);
  return out;
}

Result<ResponseHead> parse_response_head(std::string_view payload) {
  if (payload.size() > head_bytes_max) return fail(Errc::too_large, "response head");
  ResponseHead head;
  if (!wire::take(payload, head.status)) return fail(Errc::bad_head, "status is missing");
  if (auto ok = check_response(head); !ok) return fail(std::move(ok.error()));
  if (auto ok = take_fields(payload, head.fields); !ok) return fail(std::move(ok.error()));
  return head;
}

}  // namespace postern::ipc
