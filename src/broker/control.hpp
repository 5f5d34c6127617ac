// The control socket: what posternctl asks of a running broker.
//
// A Unix socket; one request a connection: a line with a JSON object {"command": "status", ...}, answered by a
// line with a JSON object whose "ok" is true, or false beside an "error". Only root and the broker's own user
// get an answer (SO_PEERCRED). No answer holds a token, a password or anything sealed.
//
//   status | version | drain | undrain | reload | upgrade
//   sessions {"login"?}   accounts {"login"?}   end-session {"tag"}   log-level {"level"}
//   limits-show {"login"}   limits-top {"limit"?, "count"?}   limits-grant {"login", "limit", "amount", "until"}
//   limits-reset {"login"}                                                  (src/broker/control_limits.cpp)
//
// Runs on the loop it is given. Bounds: control_connections_max, control_request_bytes_max, control_rows_max, and
// control_wait_max for reading a request and for writing an answer.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "broker/snapshot.hpp"
#include "postern/io/stream.hpp"
#include "postern/jmap/json.hpp"

namespace postern::broker {

inline constexpr std::size_t control_request_bytes_max = 4'096;
inline constexpr std::size_t control_rows_max = 10'000;  // of sessions and accounts; "more" counts the rest
inline constexpr unsigned control_connections_max = 16;
inline constexpr Duration control_wait_max = std::chrono::seconds(30);

struct SessionInfo {
  std::string tag, login, account_id;
  std::int64_t created = 0, last_used = 0, expires = 0;  // Unix seconds
};

// See limits::Book.
struct LimitsActions {
  std::function<std::string(const std::string& login)> canonical;  // the others are given logins like that
  std::function<limits::Use(const std::string& login)> show;
  std::function<std::vector<limits::Use>(limits::Limit by, std::size_t count)> top;
  std::function<void(const std::string& login, limits::Limit limit, std::uint64_t amount, std::int64_t until)>
      grant;
  std::function<void(const std::string& login)> reset;
  std::function<std::int64_t()> now;  // Unix seconds
};

// What the daemon can be asked for. All on the control socket's loop.
struct ControlActions {
  std::function<io::Task<Snapshot>()> snapshot;
  std::function<std::vector<SessionInfo>(const std::string& login)> sessions;  // empty login: all
  std::function<io::Task<std::vector<AccountInfo>>(std::string login)> accounts;
  std::function<io::Task<std::vector<SessionInfo>>(std::string tag)> end_session;  // those that it has ended
  LimitsActions limits;
  std::function<void(bool draining)> set_draining;
  // The sections of the configuration that need a restart to count.
  std::function<Result<std::vector<std::string>>()> reload;
  std::function<void(LogLevel level)> set_log_level;
  std::function<Result<>()> may_upgrade;
  std::function<void()> upgrade;  // after the answer was sent
};

struct ControlAnswer {
  std::string line;
  bool upgrade = false;
};
// The answer to one request, without its line end. `actions` outlives it.
io::Task<ControlAnswer> answer_control(std::string request, const ControlActions& actions);

// The answer to a command that begins with "limits-": the members behind "ok", or what is wrong with it. `argument`
// gives a member of the request, empty where there is none.
using ControlArgument = std::function<std::string(std::string_view name)>;
std::expected<void, std::string> answer_limits(std::string_view command, const ControlArgument& argument,
                                               const LimitsActions& actions, jmap::JsonWriter& writer);

class ControlServer {
 public:
  ControlServer(io::Loop& loop, std::unique_ptr<io::UnixListener> listener, ControlActions actions);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  void start();
  void close();
  io::UnixListener& listener();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace postern::broker
