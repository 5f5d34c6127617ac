// What is said over a WebSocket (RFC 8887, 4.3): requests and wishes to be told of changes, and the answers to them.
// Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "postern/jmap/api.hpp"

namespace postern::jmap {

inline constexpr std::size_t socket_id_bytes_max = 255;   // of a Request
inline constexpr std::size_t socket_types_max = 64;       // of WebSocketPushEnable
inline constexpr std::size_t socket_type_bytes_max = 64;  // each
inline constexpr std::size_t socket_push_state_bytes_max = 1'024;

struct SocketMessage {
  enum class Kind : std::uint8_t {
    request,       // RFC 8887, 4.3.2: the text is a Request object, with what is left of this here
    push_enable,   // 4.3.5.2
    push_disable,  // 4.3.5.3
  };
  Kind kind = Kind::request;
  std::optional<std::string> id;                       // of a Request
  std::optional<std::vector<std::string>> data_types;  // nullopt: all
  std::optional<std::string> push_state;
};
struct SocketRefusal {
  std::optional<std::string> id;  // as far as it could be read
  ApiResponse problem;            // notJSON, notRequest
};
// `text` is as it was when this returns.
std::expected<SocketMessage, SocketRefusal> parse_socket_message(std::string& text);

// A Response (4.3.3), or a RequestError (4.3.4) where the answer is a problem.
std::string socket_answer(ApiResponse response, const std::optional<std::string>& id);

}  // namespace postern::jmap
