// Asking an HTTP/1.1 server on this machine, over a Unix socket or loopback TCP: one request at a time, on a connection
// that is kept.
//
// For one loop and one coroutine at a time; may be destroyed while a request waits, which then ends with Errc::closed.
// Bounds: http_head_bytes_max, http_body_bytes_max, and the time-out of each request.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "postern/io/stream.hpp"

namespace postern::io {

inline constexpr std::size_t http_head_bytes_max = 16 * 1024;
inline constexpr std::size_t http_body_bytes_max = 64 * 1024;

// Where a server is, and below which path: "http://127.0.0.1:8085/publish/", or as nginx writes it for a Unix socket,
// "http://unix:/run/postern/nchan.sock:/publish/".
struct HttpAddress {
  std::string unix_path;  // or
  Endpoint endpoint;
  std::string host;  // for the Host field
  std::string path;  // begins with "/"
};
// nullopt: no such address, or one that is not on loopback.
std::optional<HttpAddress> parse_local_http(std::string_view text);

struct HttpRequest {
  std::string method, target;
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;
};
struct HttpResponse {
  unsigned status = 0;
  std::string content_type, body;
};

class HttpClient {
 public:
  HttpClient(Loop& loop, HttpAddress address);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // A kept connection that turns out to be closed is replaced once, and the request sent again: it must be repeatable.
  // Errc::connect, timeout, closed; io: what came is no HTTP, or too large.
  Task<Result<HttpResponse>> exchange(HttpRequest request, Duration timeout);
  void close();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace postern::io
