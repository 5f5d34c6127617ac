// One pass over a message, which looks at its outermost members only; a Request is read as a whole by api.cpp.
#include "postern/jmap/socket_message.hpp"

#include <rapidjson/reader.h>

#include <utility>

#include "postern/base/json_misuse.hpp"
#include "postern/jmap/json.hpp"

namespace postern::jmap {
namespace {

// RapidJSON calls it for each token; false ends the parsing.
class Outline : public rapidjson::BaseReaderHandler<rapidjson::UTF8<>, Outline> {
 public:
  std::optional<std::string> type, id, push_state;
  std::optional<std::vector<std::string>> types;
  const char* wrong = nullptr;

  // NOLINTBEGIN(readability-identifier-naming): RapidJSON's names
  bool Default() { return scalar(false); }
  bool Null() { return scalar(true); }
  bool RawNumber(const char*, rapidjson::SizeType, bool) { return scalar(false); }
  bool Key(const char* text, rapidjson::SizeType size, bool) {
    if (depth_ == 1) key_ = member_of({text, size});
    return true;
  }
  bool String(const char* text, rapidjson::SizeType size, bool) {
    const std::string_view value(text, size);
    if (depth_ == 2 && in_types_) {
      if (types->size() >= socket_types_max || value.size() > socket_type_bytes_max)
        return refuse("dataTypes holds too much");
      types->emplace_back(value);
      return true;
    }
    if (depth_ != 1) return scalar(false);
    switch (key_) {
      case Member::type: type = value; return true;
      case Member::id: return take(value, socket_id_bytes_max, id, "id is too long");
      case Member::push_state:
        return take(value, socket_push_state_bytes_max, push_state, "pushState is too long");
      case Member::types: return refuse("dataTypes must be an array of strings, or null");
      case Member::other: break;
    }
    return scalar(false);
  }
  bool StartObject() { return deeper(false); }
  bool EndObject(rapidjson::SizeType) { return --depth_, true; }
  bool StartArray() { return deeper(true); }
  bool EndArray(rapidjson::SizeType) {
    if (--depth_ == 1) in_types_ = false;
    return true;
  }
  // NOLINTEND(readability-identifier-naming)

 private:
  enum class Member : std::uint8_t { other, type, id, types, push_state };
  static Member member_of(std::string_view name) {
    if (name == "@type") return Member::type;
    if (name == "id") return Member::id;
    if (name == "dataTypes") return Member::types;
    if (name == "pushState") return Member::push_state;
    return Member::other;
  }
  bool refuse(const char* why) {
    wrong = why;
    return false;
  }
  bool take(std::string_view value, std::size_t bytes_max, std::optional<std::string>& into,
            const char* why) {
    if (value.size() > bytes_max) return refuse(why);
    into = value;
    return true;
  }
  // Anything that isn't a string.
  bool scalar(bool is_null) {
    if (depth_ == 0) return refuse("a message must be an object");
    if (in_types_) return refuse("dataTypes must be an array of strings, or null");
    if (depth_ > 1 || key_ == Member::other || is_null) return true;
    return refuse("@type, id and pushState must be strings, dataTypes an array of strings or null");
  }
  bool deeper(bool is_array) {
    if (depth_ == 0 && is_array) return refuse("a message must be an object");
    if (depth_ == 1 && key_ != Member::other) {
      if (!is_array || key_ != Member::types) return scalar(false);
      in_types_ = true;
      types.emplace();
    } else if (in_types_) {
      return scalar(false);
    }
    if (++depth_ > json_depth_max) return refuse("the message is nested too deeply");
    return true;
  }

  std::size_t depth_ = 0;
  Member key_ = Member::other;
  bool in_types_ = false;
};

std::unexpected<SocketRefusal> refusal(const Outline& outline, std::string_view type, std::string_view why) {
  return std::unexpected(SocketRefusal{outline.id, problem(400, type, why)});
}

}  // namespace

std::expected<SocketMessage, SocketRefusal> parse_socket_message(std::string& text) try {
  Outline outline;
  if (text.find('\0') != std::string::npos) return refusal(outline, "notJSON", "the message holds a NUL");
  const auto size = text.size();
  text.append(parse_spare_bytes, '\0');  // see parse_in_place()
  rapidjson::StringStream stream(text.c_str());
  rapidjson::Reader reader;
  constexpr unsigned flags = rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag |
                             rapidjson::kParseNumbersAsStringsFlag;
  const auto result = reader.Parse<flags>(stream, outline);
  text.resize(size);
  if (outline.wrong != nullptr) return refusal(outline, "notRequest", outline.wrong);
  if (result.IsError()) return refusal(outline, "notJSON", "the message is no JSON");
  SocketMessage message;
  message.id = std::move(outline.id);
  message.data_types = std::move(outline.types);
  message.push_state = std::move(outline.push_state);
  if (outline.type == "Request") {
    message.kind = SocketMessage::Kind::request;
  } else if (outline.type == "WebSocketPushEnable") {
    message.kind = SocketMessage::Kind::push_enable;
  } else if (outline.type == "WebSocketPushDisable") {
    message.kind = SocketMessage::Kind::push_disable;
  } else {
    outline.id = std::move(message.id);
    return refusal(outline, "notRequest",
                   "@type must be Request, WebSocketPushEnable or WebSocketPushDisable");
  }
  return message;
} catch (const JsonMisuse& misuse) {
  return std::unexpected(SocketRefusal{std::nullopt, problem(400, "notJSON", misuse.what())});
}

std::string socket_answer(ApiResponse response, const std::optional<std::string>& id) {
  const bool is_error = response.status >= 300;
  std::string text;
  JsonWriter writer(text);
  writer.start_object();
  writer.member("@type", is_error ? "RequestError" : "Response");
  if (id || is_error) {
    writer.key("requestId");
    writer.string_or_null(id);
  }
  // What comes is an object, whose members follow.
  if (response.body.size() > 2) text += ',';
  response.body.replace(0, 1, text);
  return std::move(response.body);
}

}  // namespace postern::jmap
