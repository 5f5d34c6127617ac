// The broker's own event streams: HTTP on a Unix socket, behind nginx's proxy_pass or Apache's mod_proxy.
//
// Runs on one loop. Reads a request's head, asks the handler who that is, and holds the stream (RFC 8620, 7.3) with the
// hub, or gives the connection to a WebSocket (web_socket.hpp). A stream that waits has a socket, a listener in the hub
// and no coroutine. A client that doesn't read is told the newest states once it does; one that hasn't taken an event
// within write_timeout is given up. Bounds: streams_max, stream_head_bytes_max, head_timeout.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "postern/io/stream.hpp"
#include "postern/push/hub.hpp"
#include "postern/push/web_socket.hpp"

namespace postern::push {

inline constexpr std::size_t stream_head_bytes_max = 16 * 1024;

struct StreamRequest {
  std::string method, target, host;
  std::vector<std::pair<std::string, std::string>> fields;  // names in lower case
};
struct StreamRefusal {
  unsigned status = 500;
  std::string content_type, body;
  std::vector<std::pair<std::string, std::string>> fields;
};
struct StreamOpening {
  ListenerOptions options;
  std::string account_id;
  States now;
  // Pings are comments, which no client hears of: they only find out whether it is still there.
  bool silent_pings = false;
};
// The request becomes a WebSocket of this protocol.
struct SocketOpening {
  std::string protocol;
  WebSocketOptions options;
  std::shared_ptr<WebSocket::User> user;
};
using StreamAnswer = std::variant<StreamRefusal, StreamOpening, SocketOpening>;
using StreamHandler = std::function<io::Task<StreamAnswer>(StreamRequest)>;

struct StreamServerOptions {
  std::size_t streams_max = 50'000;  // connections, those whose head is still being read among them
  Duration head_timeout = std::chrono::seconds(10);
  Duration write_timeout = std::chrono::seconds(60);
};

struct StreamCounters {
  std::uint64_t opened = 0, refused = 0, events = 0, given_up = 0, sockets_opened = 0;
  std::size_t open = 0, sockets_open = 0;
};

class StreamServer {
 public:
  // `hub` outlives it.
  StreamServer(io::Loop& loop, std::unique_ptr<io::UnixListener> listener, Hub& hub, StreamHandler handler,
               StreamServerOptions options);
  ~StreamServer();  // closes all streams
  StreamServer(const StreamServer&) = delete;
  StreamServer& operator=(const StreamServer&) = delete;
  const StreamCounters& counters() const;
  io::UnixListener& listener();

 private:
  struct State;
  class Stream;
  class HeldSocket;
  std::shared_ptr<State> state_;
};

// One event of a stream (HTML, "Server-sent events"); `data` has no line ends.
std::string stream_event(std::string_view name, std::string_view id, std::string_view data);

}  // namespace postern::push
