// What the vacation stores of one shard share: options, TLS context, what the server can do, how many connections there
// are. Private to the sieve layer.
//
// Held by the Server and by its stores. One loop.
#pragma once

#include <deque>
#include <memory>
#include <optional>

#include "postern/io/event.hpp"
#include "postern/sieve/server.hpp"
#include "sieve/connection.hpp"

namespace postern::sieve {

class SharedServer : public std::enable_shared_from_this<SharedServer> {
 public:
  SharedServer(io::Loop& loop, ServerOptions options, std::shared_ptr<io::TlsContext> tls)
      : loop_(loop), options_(std::move(options)), tls_(std::move(tls)), asked_(loop) {}

  io::Loop& loop() { return loop_; }
  const ServerOptions& options() const { return options_; }
  const std::shared_ptr<io::TlsContext>& tls() const { return tls_; }

  // The right to one of connections_max connections, while it lives.
  class Slot {
   public:
    explicit Slot(std::shared_ptr<SharedServer> server) : server_(std::move(server)) {}
    Slot(Slot&&) noexcept = default;
    Slot& operator=(Slot&&) = delete;
    ~Slot();

   private:
    std::shared_ptr<SharedServer> server_;
  };
  // In order. unavailable: too many wait (use_waiting_max), or nobody has finished within use_timeout.
  io::Task<Result<Slot>> take_slot();

  // The last that is known; null: nothing.
  const Capabilities* known() const { return known_ ? &*known_ : nullptr; }
  void learn(Capabilities capabilities);
  // Starts to ask, unless what is known is fresh, or the server failed a moment ago.
  void ask();
  // Waits for what ask() has started, ask_wait_max at most.
  io::Task<> asked();

 private:
  static io::Task<> ask_now(std::shared_ptr<SharedServer> self);

  io::Loop& loop_;
  const ServerOptions options_;
  const std::shared_ptr<io::TlsContext> tls_;
  unsigned in_use_ = 0;
  std::deque<std::shared_ptr<io::Event>> waiting_;
  std::optional<Capabilities> known_;
  MonotonicTime ask_again_{};
  bool asking_ = false;
  io::Event asked_;
};

}  // namespace postern::sieve
