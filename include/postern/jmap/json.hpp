// JSON out and in for JMAP: a writer that can only make valid UTF-8, and typed reading of method arguments.
//
// A JsonWriter appends to a string of its owner's; one thread at a time. Reading helpers are free functions over
// RapidJSON values that their caller keeps alive. Depth and size of a document are bounded where it is parsed.
#pragma once

#include <rapidjson/document.h>
#include <rapidjson/writer.h>

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::jmap {

// Octets that parse_in_place() puts behind the text.
inline constexpr std::size_t parse_spare_bytes = 4;
// Parses text that holds no NUL, strictly as UTF-8 and without recursion; `document` refers to it from then on, and
// says whether it is JSON. Text with room for parse_spare_bytes is not copied anywhere.
void parse_in_place(std::string& text, rapidjson::Document& document);

// What parsing a text will need, without parsing it. Of any text; of JSON, `depth` is how deep its arrays and objects
// are nested, and `values` at least how many values and names of members it holds.
struct JsonShape {
  std::size_t depth = 0, values = 0;
};
JsonShape json_shape(std::string_view json);

// A text together with what was parsed of it in place. Values stay valid as long as it lives.
class JsonText {
 public:
  enum class Source : std::uint8_t {
    client,      // by parse_in_place(), which see
    json_writer  // made by a JsonWriter, and taken as it is
  };
  JsonText(std::string text, Source source);
  JsonText(const JsonText&) = delete;
  JsonText& operator=(const JsonText&) = delete;
  rapidjson::Document& document() { return document_; }

 private:
  std::string text_;
  rapidjson::MemoryPoolAllocator<> pool_;  // takes pieces that fit the text, instead of 64 KB at a time
  rapidjson::Document document_;
};

namespace detail {
// RapidJSON's output stream over a string.
struct StringStream {
  using Ch = char;
  std::string* out;
  // NOLINTBEGIN(readability-identifier-naming): RapidJSON's names
  void Put(char c) { out->push_back(c); }
  void Flush() {}
  // NOLINTEND(readability-identifier-naming)
};
}  // namespace detail

class JsonWriter {
 public:
  explicit JsonWriter(std::string& out) : stream_{&out}, writer_(stream_) {}
  JsonWriter(const JsonWriter&) = delete;
  JsonWriter& operator=(const JsonWriter&) = delete;

  void start_object() { writer_.StartObject(); }
  void end_object() { writer_.EndObject(); }
  void start_array() { writer_.StartArray(); }
  void end_array() { writer_.EndArray(); }

  void key(std::string_view name) { string(name); }
  // Octets that are no UTF-8 become U+FFFD.
  void string(std::string_view value);
  void string_or_null(const std::optional<std::string>& value);
  void uint(std::uint64_t value) { writer_.Uint64(value); }
  void integer(std::int64_t value) { writer_.Int64(value); }
  void boolean(bool value) { writer_.Bool(value); }
  void null() { writer_.Null(); }
  // A whole value that is JSON already, such as a cached fragment. Not looked at.
  void raw(std::string_view json) { writer_.raw(json); }
  // The same, in pieces: what is appended to the string that comes back, before anything else is written.
  std::string& raw_value() { return writer_.raw_value(); }
  void value(const rapidjson::Value& value);

  void member(std::string_view name, std::string_view value) { key(name), string(value); }
  void member_uint(std::string_view name, std::uint64_t value) { key(name), uint(value); }
  void member_bool(std::string_view name, bool value) { key(name), boolean(value); }
  void member_null(std::string_view name) { key(name), null(); }
  // RFC 8620, 1.4: UTCDate, from seconds since 1970.
  void member_utc_date(std::string_view name, std::int64_t seconds);

  // True once a whole document has been written.
  bool complete() const { return writer_.IsComplete(); }

 private:
  class Writer : public rapidjson::Writer<detail::StringStream> {
   public:
    explicit Writer(detail::StringStream& stream)
        : rapidjson::Writer<detail::StringStream>(stream, nullptr, 16) {}
    void raw(std::string_view json);
    std::string& raw_value();
    void escaped(std::string_view valid_utf8);
  };
  detail::StringStream stream_;
  Writer writer_;
};

// RFC 8620, 1.4: "2013-10-13T14:12:00Z". Years outside 0..9999 are clamped.
std::string utc_date(std::int64_t seconds);

// --- Reading arguments ---

// Why an argument is refused: becomes the description of an invalidArguments error (RFC 8620, 3.6.2).
struct ArgumentError {
  std::string pointer;  // JSON Pointer (RFC 6901) into the method's arguments: "/properties/3"
  std::string reason;   // "must be a string"
  std::string description() const { return pointer + ": " + reason; }
};
template <typename T>
using Argument = std::expected<T, ArgumentError>;

std::unexpected<ArgumentError> bad_argument(std::string pointer, std::string reason);
// `prefix` + "/" + `name` with "~" and "/" escaped.
std::string json_pointer(std::string_view prefix, std::string_view name);
std::string json_pointer(std::string_view prefix, std::size_t index);

// A string's octets, NULs among them; asked only of strings.
inline std::string_view text_of(const rapidjson::Value& value) {
  return {value.GetString(), value.GetStringLength()};
}
// The member, or null if `object` is no object, hasn't one, or it is JSON null.
const rapidjson::Value* find_member(const rapidjson::Value& object, std::string_view name);

// Each takes an optional member: nullopt (or the default) if it is absent or null, an error if it is of another
// type. `prefix` is the pointer to `object`. The views live as long as the document.
Argument<std::optional<std::string_view>> get_string(const rapidjson::Value& object, std::string_view name,
                                                     std::string_view prefix = {});
Argument<std::optional<std::uint64_t>> get_uint(const rapidjson::Value& object, std::string_view name,
                                                std::string_view prefix = {});  // 0 to 2^53-1
Argument<std::optional<std::int64_t>> get_int(const rapidjson::Value& object, std::string_view name,
                                              std::string_view prefix = {});  // -(2^53-1) to 2^53-1
Argument<bool> get_bool(const rapidjson::Value& object, std::string_view name, bool otherwise,
                        std::string_view prefix = {});
Argument<std::optional<std::string_view>> get_id(const rapidjson::Value& object, std::string_view name,
                                                 std::string_view prefix = {});
Argument<std::optional<std::vector<std::string_view>>> get_strings(const rapidjson::Value& object,
                                                                   std::string_view name,
                                                                   std::size_t items_max,
                                                                   std::string_view prefix = {});
// The same for a member that must be there.
Argument<std::string_view> require_string(const rapidjson::Value& object, std::string_view name,
                                          std::string_view prefix = {});
Argument<std::string_view> require_id(const rapidjson::Value& object, std::string_view name,
                                      std::string_view prefix = {});

// RFC 8620, 1.2: 1 to 255 octets of A-Z a-z 0-9 - _.
bool is_valid_id(std::string_view id);
inline constexpr std::uint64_t json_uint_max = (std::uint64_t{1} << 53) - 1;  // RFC 8620, 1.3

}  // namespace postern::jmap
