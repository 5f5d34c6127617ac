// The inside of a Server, for pools: login slots, what is known about its health, counters.
//
// One per IMAP server and shard. Shared by the Server the broker holds, by pools and by logins under way,
// so that a loop which ends in the middle of one finds it there. One loop, no locks.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <boost/intrusive/list.hpp>

#include "postern/io/event.hpp"
#include "postern/session/server.hpp"
#include "session/backoff.hpp"

namespace postern::session {

class ServerImpl;

// The right to have one login in flight; given back at its end.
class LoginSlot {
 public:
  LoginSlot() = default;
  explicit LoginSlot(std::shared_ptr<ServerImpl> server) : server_(std::move(server)) {}
  LoginSlot(LoginSlot&&) noexcept = default;
  LoginSlot& operator=(LoginSlot&& other) noexcept {
    std::swap(server_, other.server_);
    return *this;
  }
  ~LoginSlot();

 private:
  std::shared_ptr<ServerImpl> server_;
};

class ServerImpl final : public std::enable_shared_from_this<ServerImpl> {
 public:
  ServerImpl(io::Loop& loop, ServerOptions options, std::shared_ptr<io::TlsContext> tls);
  const ServerOptions& options() const { return options_; }
  const Counters& counters() const { return counters_; }
  MonotonicTime retry_at() const { return backoff_.due(); }

  Counters& count() { return counters_; }
  void count_command(const std::string& name);
  const std::shared_ptr<io::TlsContext>& tls() const { return tls_; }
  // First come, first served. overloaded when none was free until the deadline.
  static io::Task<Result<LoginSlot>> login_slot(std::shared_ptr<ServerImpl> self, MonotonicTime deadline);

  // An attempt to reach the server that began at `started` ended so. Failures of attempts that were under
  // way when it was already known to be down count once.
  void reached();
  void not_reached(MonotonicTime started, const Error& error);
  const std::optional<Error>& last_failure() const { return failure_; }

 private:
  friend class LoginSlot;
  struct Waiting
      : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
    explicit Waiting(io::Loop& loop) : turn(loop) {}
    io::Event turn;
    LoginSlot slot;
    bool served = false;
  };
  void give_back();

  io::Loop& loop_;
  const ServerOptions options_;
  std::shared_ptr<io::TlsContext> tls_;
  Counters counters_;
  Backoff backoff_;
  MonotonicTime failed_at_{};
  std::optional<Error> failure_;  // of the last attempt, while it fails
  boost::intrusive::list<Waiting, boost::intrusive::constant_time_size<false>> waiting_;
};

// What Server::make() gives out.
class ServerHandle final : public Server {
 public:
  explicit ServerHandle(std::shared_ptr<ServerImpl> i) : impl(std::move(i)) {}
  const ServerOptions& options() const override { return impl->options(); }
  const Counters& counters() const override { return impl->counters(); }
  MonotonicTime retry_at() const override { return impl->retry_at(); }

  const std::shared_ptr<ServerImpl> impl;
};

}  // namespace postern::session
