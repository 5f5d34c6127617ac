// One WebSocket (RFC 6455) on a connected Unix socket, by Boost.Beast: messages of text in and out.
//
// Runs on one loop, by two coroutines that own its inside: one reads, one writes while there is something. While more
// than send_bytes_max waits to be sent, nothing further is read; a client that hasn't taken a message within
// write_timeout is given up. Pings find out whether it is still there. Bounds: message_bytes_max, send_bytes_max,
// write_timeout, idle_timeout.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "postern/io/stream.hpp"

namespace postern::push {

struct WebSocketOptions {
  std::size_t message_bytes_max = 10'000'000;
  // With more than that waiting to be sent, nothing further is read.
  std::size_t send_bytes_max = 1 << 20;
  Duration write_timeout = std::chrono::seconds(60);
  // Without anything from the client; a ping is sent when half of it has gone.
  Duration idle_timeout = std::chrono::seconds(60);
};

enum class CloseCode : std::uint16_t {  // RFC 6455, 7.4.1, and IANA's registry
  normal = 1000,
  going_away = 1001,
  unknown_data = 1003,
  policy = 1008,
  try_again = 1013,
};

class WebSocket {
 public:
  class User {
   public:
    virtual ~User() = default;
    virtual void on_begin(WebSocket& socket) = 0;  // which is there until on_end()
    virtual void on_text(std::string text) = 0;    // a whole message, of valid UTF-8
    virtual void on_sent() {}                      // nothing waits to be sent any more
    virtual void on_end() = 0;                     // the last call, also behind close()
  };
  using Fields = std::vector<std::pair<std::string, std::string>>;
  // Takes over a socket from which the request's head, and nothing more, has been read. The answer to it says
  // `protocol`. `user` is called from the loop, until on_end(), and held so long.
  WebSocket(io::Loop& loop, std::unique_ptr<io::ByteStream> socket, const Fields& request_fields,
            std::string target, std::string protocol, WebSocketOptions options, std::shared_ptr<User> user);
  ~WebSocket();  // ends at once
  WebSocket(const WebSocket&) = delete;
  WebSocket& operator=(const WebSocket&) = delete;

  // Ignored once it has ended, or is to be closed.
  void send(std::string text);
  bool is_sending() const;
  // What waits is sent first, within write_timeout.
  void close(CloseCode code, std::string_view reason);

  // Does the request ask for a WebSocket (RFC 6455, 4.2.1), and for that protocol?
  static bool is_upgrade(const Fields& request_fields);
  static bool offers(const Fields& request_fields, std::string_view protocol);
  static bool is_own_field(std::string_view name);  // is it what the handshake itself is about?

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace postern::push
