// The inside of a Server, for pools: its login slots, what is known about its health, counters.
//
// One per IMAP server and shard. Shared by the Server the broker holds, by pools and by logins under way,
// so that a loop which ends in the middle of one finds it there. One loop, no locks.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "postern/session/server.hpp"
#include "session/backoff.hpp"
#include "session/login_slots.hpp"

namespace postern::session {

class ServerImpl;

// A login slot, counted in the shard's own gauge while it is held.
class CountedSlot {
 public:
  CountedSlot(std::shared_ptr<ServerImpl> server, LoginSlot slot);
  CountedSlot(CountedSlot&&) noexcept = default;
  CountedSlot& operator=(CountedSlot&&) = delete;
  ~CountedSlot();

 private:
  std::shared_ptr<ServerImpl> server_;
  LoginSlot slot_;
};

class ServerImpl final : public std::enable_shared_from_this<ServerImpl> {
 public:
  ServerImpl(io::Loop& loop, ServerOptions options, std::shared_ptr<io::TlsContext> tls,
             std::shared_ptr<LoginSlots> slots);
  const ServerOptions& options() const { return options_; }
  const Counters& counters() const { return counters_; }
  MonotonicTime retry_at() const { return backoff_.due(); }

  Counters& count() { return counters_; }
  void count_command(const std::string& name);
  const std::shared_ptr<io::TlsContext>& tls() const { return tls_; }
  // First come, first served. overloaded when none was free until the deadline.
  static io::Task<Result<CountedSlot>> login_slot(std::shared_ptr<ServerImpl> self, MonotonicTime deadline);

  // An attempt to reach the server that began at `started` ended so. Failures of attempts that were under
  // way when it was already known to be down count once.
  void reached();
  void not_reached(MonotonicTime started, const Error& error);
  const std::optional<Error>& last_failure() const { return failure_; }

 private:
  io::Loop& loop_;
  const ServerOptions options_;
  std::shared_ptr<io::TlsContext> tls_;
  const std::shared_ptr<LoginSlots> slots_;
  Counters counters_;
  Backoff backoff_;
  MonotonicTime failed_at_{};
  std::optional<Error> failure_;  // of the last attempt, while it fails
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
