// Metrics in Prometheus' text format (version 0.0.4), and the little HTTP server that gives them away.
//
// GET /metrics and GET /healthz over HTTP/1.1, one request a connection, on [metrics] listen: an address
// ("127.0.0.1:9464", "[::1]:9464") or a Unix socket's path. Nothing in it is about one person. Runs on the loop it
// is given. Bounds: metrics_connections_max, metrics_request_bytes_max, metrics_wait_max.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/snapshot.hpp"

namespace postern::broker {

inline constexpr std::size_t metrics_request_bytes_max = 8'192;
inline constexpr unsigned metrics_connections_max = 32;
inline constexpr Duration metrics_wait_max =
    std::chrono::seconds(10);  // for a request, and for writing an answer

// https://prometheus.io/docs/instrumenting/exposition_formats/
class MetricsWriter {
 public:
  enum class Type : std::uint8_t { counter, gauge };
  using Labels = std::vector<std::pair<std::string_view, std::string_view>>;

  // What follows are samples of this family. A counter's name ends in _total.
  void family(std::string_view name, Type type, std::string_view help);
  void sample(std::uint64_t value, const Labels& labels = {});
  const std::string& text() const { return text_; }

 private:
  std::string text_, name_;
};

std::string metrics_text(const Snapshot& snapshot);
// A whole answer to a request's head: 200, 503 while draining (/healthz), 400, 404 or 405.
std::string answer_metrics(std::string_view request_head, const Snapshot& snapshot);

// Host and port of "127.0.0.1:9464" or "[::1]:9464"; nullopt for what is no numerical address and port.
struct ListenAddress {
  std::string host;
  std::uint16_t port = 0;
};
std::optional<ListenAddress> parse_listen_address(std::string_view text);
// io::Errc::io, with the reason, for what MetricsServer::open() can't listen on whatever the machine is like: neither
// such an address nor a Unix socket's path.
Result<> check_listen(const std::string& listen);

class MetricsServer {
 public:
  using Take = std::function<io::Task<Snapshot>()>;
  // Listens from now on; an error has the reason, for the administrator.
  static Result<std::unique_ptr<MetricsServer>> open(io::Loop& loop, const std::string& listen, Take take);
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  std::uint16_t port() const;  // 0 for a Unix socket

 private:
  struct State;
  explicit MetricsServer(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace postern::broker
