// Escaping and dates of the writer, and the checks of method arguments with the JSON pointer of what is wrong.
#include "postern/jmap/json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "postern/base/encoding.hpp"

namespace postern::jmap {
namespace {

using rapidjson::Value;

// RFC 8259, 7: what may not stand in a string as it is.
bool needs_escape(char c) { return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\'; }

void append_escape(char c, std::string& out) {
  switch (c) {
    case '"': out += "\\\""; return;
    case '\\': out += "\\\\"; return;
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    default: break;
  }
  constexpr std::string_view digits = "0123456789abcdef";
  out += "\\u00";
  out += digits[static_cast<unsigned char>(c) >> 4];
  out += digits[static_cast<unsigned char>(c) & 15];
}

}  // namespace

void parse_in_place(std::string& text, rapidjson::Document& document) {
  // RapidJSON takes all octets that the first of a UTF-8 sequence promises, also past the end.
  text.append(parse_spare_bytes, '\0');
  document.ParseInsitu<rapidjson::kParseValidateEncodingFlag | rapidjson::kParseIterativeFlag>(text.data());
}

JsonShape json_shape(std::string_view json) {
  JsonShape shape{0, 1};
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      ++shape.values;  // the first one in it
      shape.depth = std::max(shape.depth, ++depth);
    } else if (c == '}' || c == ']') {
      depth -= depth > 0 ? 1 : 0;
    } else if (c == ',' || c == ':') {
      ++shape.values;
    }
  }
  return shape;
}

JsonText::JsonText(std::string text, Source source)
    : text_(std::move(text)),
      pool_(std::clamp<std::size_t>(2 * text_.size(), 1'024, 65'536)),
      document_(&pool_) {
  if (source == Source::client)
    parse_in_place(text_, document_);
  else
    document_.ParseInsitu<rapidjson::kParseIterativeFlag>(text_.data());
}

std::string& JsonWriter::Writer::raw_value() {
  Prefix(rapidjson::kStringType);
  EndValue(true);
  return *os_->out;
}

void JsonWriter::Writer::raw(std::string_view json) { raw_value().append(json); }

void JsonWriter::Writer::escaped(std::string_view valid_utf8) {
  Prefix(rapidjson::kStringType);
  std::string& out = *os_->out;
  out += '"';
  while (!valid_utf8.empty()) {
    const auto special = std::find_if(valid_utf8.begin(), valid_utf8.end(), needs_escape);
    const auto plain = static_cast<std::size_t>(special - valid_utf8.begin());
    out.append(valid_utf8.substr(0, plain));
    valid_utf8.remove_prefix(plain);
    if (valid_utf8.empty()) break;
    append_escape(valid_utf8.front(), out);
    valid_utf8.remove_prefix(1);
  }
  out += '"';
  EndValue(true);
}

void JsonWriter::string(std::string_view value) {
  if (is_valid_utf8(value)) {
    writer_.escaped(value);
  } else {
    writer_.escaped(sanitize_utf8(value));
  }
}

void JsonWriter::string_or_null(const std::optional<std::string>& value) {
  if (value) {
    string(*value);
  } else {
    null();
  }
}

void JsonWriter::value(const Value& value) {
  switch (value.GetType()) {
    case rapidjson::kNullType: null(); return;
    case rapidjson::kFalseType: boolean(false); return;
    case rapidjson::kTrueType: boolean(true); return;
    case rapidjson::kStringType: string(text_of(value)); return;
    case rapidjson::kNumberType: value.Accept(writer_); return;
    case rapidjson::kArrayType:
      start_array();
      for (const Value& item : value.GetArray()) this->value(item);
      end_array();
      return;
    case rapidjson::kObjectType:
      start_object();
      for (const auto& member : value.GetObject()) {
        key(text_of(member.name));
        this->value(member.value);
      }
      end_object();
      return;
  }
}

void JsonWriter::member_utc_date(std::string_view name, std::int64_t seconds) {
  member(name, utc_date(seconds));
}

std::string utc_date(std::int64_t seconds) {
  using namespace std::chrono;  // NOLINT(google-build-using-namespace)
  constexpr std::int64_t first = -62'167'219'200, last = 253'402'300'799;  // years 0 to 9999
  const sys_seconds time{std::chrono::seconds{std::clamp(seconds, first, last)}};
  const sys_days days = floor<std::chrono::days>(time);
  const year_month_day date{days};
  const hh_mm_ss clock{time - days};
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count());
}

// --- Reading ---

std::unexpected<ArgumentError> bad_argument(std::string pointer, std::string reason) {
  return std::unexpected<ArgumentError>(ArgumentError{std::move(pointer), std::move(reason)});
}

// RFC 6901, 3: "~" is "~0" and "/" is "~1". The name may be a client's: cut, for the sake of the message.
std::string json_pointer(std::string_view prefix, std::string_view name) {
  constexpr std::size_t name_bytes_max = 256;
  std::string out(prefix);
  out += '/';
  for (const char c : name.substr(0, name_bytes_max)) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

std::string json_pointer(std::string_view prefix, std::size_t index) {
  return fmt::format("{}/{}", prefix, index);
}

const Value* find_member(const Value& object, std::string_view name) {
  if (!object.IsObject()) return nullptr;
  const Value key(rapidjson::StringRef(name.data(), static_cast<rapidjson::SizeType>(name.size())));
  const auto member = object.FindMember(key);
  if (member == object.MemberEnd() || member->value.IsNull()) return nullptr;
  return &member->value;
}

Argument<std::optional<std::string_view>> get_string(const Value& object, std::string_view name,
                                                     std::string_view prefix) {
  const Value* value = find_member(object, name);
  if (value == nullptr) return std::optional<std::string_view>();
  if (!value->IsString()) return bad_argument(json_pointer(prefix, name), "must be a string");
  return text_of(*value);
}

Argument<std::optional<std::uint64_t>> get_uint(const Value& object, std::string_view name,
                                                std::string_view prefix) {
  const Value* value = find_member(object, name);
  if (value == nullptr) return std::optional<std::uint64_t>();
  if (!value->IsUint64() || value->GetUint64() > json_uint_max)
    return bad_argument(json_pointer(prefix, name), "must be an integer from 0 to 2^53-1");
  return value->GetUint64();
}

Argument<std::optional<std::int64_t>> get_int(const Value& object, std::string_view name,
                                              std::string_view prefix) {
  constexpr auto largest = static_cast<std::int64_t>(json_uint_max);
  const Value* value = find_member(object, name);
  if (value == nullptr) return std::optional<std::int64_t>();
  if (!value->IsInt64() || value->GetInt64() > largest || value->GetInt64() < -largest)
    return bad_argument(json_pointer(prefix, name), "must be an integer from -2^53+1 to 2^53-1");
  return value->GetInt64();
}

Argument<bool> get_bool(const Value& object, std::string_view name, bool otherwise, std::string_view prefix) {
  const Value* value = find_member(object, name);
  if (value == nullptr) return otherwise;
  if (!value->IsBool()) return bad_argument(json_pointer(prefix, name), "must be true or false");
  return value->GetBool();
}

Argument<std::optional<std::string_view>> get_id(const Value& object, std::string_view name,
                                                 std::string_view prefix) {
  auto value = get_string(object, name, prefix);
  if (value && *value && !is_valid_id(**value))
    return bad_argument(json_pointer(prefix, name), "must be an id (1 to 255 of A-Z a-z 0-9 - _)");
  return value;
}

Argument<std::optional<std::vector<std::string_view>>> get_strings(const Value& object, std::string_view name,
                                                                   std::size_t items_max,
                                                                   std::string_view prefix) {
  const Value* value = find_member(object, name);
  if (value == nullptr) return std::optional<std::vector<std::string_view>>();
  if (!value->IsArray()) return bad_argument(json_pointer(prefix, name), "must be an array of strings");
  if (value->Size() > items_max)
    return bad_argument(json_pointer(prefix, name),
                        fmt::format("must not have more than {} items", items_max));
  std::vector<std::string_view> items;
  items.reserve(value->Size());
  for (const Value& item : value->GetArray()) {
    if (!item.IsString())
      return bad_argument(json_pointer(json_pointer(prefix, name), items.size()), "must be a string");
    items.push_back(text_of(item));
  }
  return items;
}

Argument<std::string_view> require_string(const Value& object, std::string_view name,
                                          std::string_view prefix) {
  auto value = get_string(object, name, prefix);
  if (!value) return std::unexpected(std::move(value.error()));
  if (!*value) return bad_argument(json_pointer(prefix, name), "is missing");
  return **value;
}

Argument<std::string_view> require_id(const Value& object, std::string_view name, std::string_view prefix) {
  auto value = get_id(object, name, prefix);
  if (!value) return std::unexpected(std::move(value.error()));
  if (!*value) return bad_argument(json_pointer(prefix, name), "is missing");
  return **value;
}

bool is_valid_id(std::string_view id) {
  if (id.empty() || id.size() > 255) return false;
  return std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

}  // namespace postern::jmap
