// Turns at the server, and one client for each message.
#include "postern/smtp/transport.hpp"

#include <deque>
#include <utility>

#include "postern/io/event.hpp"
#include "smtp/client.hpp"

namespace postern::smtp {
namespace {

class ServerTransport final : public Transport {
 public:
  ServerTransport(io::Loop& loop, ServerOptions options, std::shared_ptr<io::TlsContext> tls)
      : loop_(loop), options_(std::move(options)), tls_(std::move(tls)) {}
  ~ServerTransport() override { turns_->over = true; }
  ServerTransport(const ServerTransport&) = delete;
  ServerTransport& operator=(const ServerTransport&) = delete;

  io::Task<Outcome> send(Envelope envelope, Credentials credentials, ContentReader content,
                         Commit commit) override {
    Outcome outcome;
    if (!co_await enter()) {
      outcome.error = Error(Errc::unavailable, "too many messages wait for the outgoing mail server");
      co_return outcome;
    }
    const Turn turn(turns_);
    Client client(loop_, options_, tls_);
    if (co_await client.connect(outcome) && co_await client.authenticate(credentials, outcome))
      co_await client.deliver(envelope, content, commit, outcome);
    client.quit();
    co_return outcome;
  }

 private:
  struct Turns {
    std::size_t running = 0;
    std::deque<std::shared_ptr<io::Event>> waiting;
    bool over = false;  // the transport is gone: nobody is to be woken any more
  };
  // One of connections_max, which goes from hand to hand.
  class Turn {
   public:
    explicit Turn(std::shared_ptr<Turns> turns) : turns_(std::move(turns)) {}
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() {
      if (turns_->over) return;
      if (turns_->waiting.empty()) {
        --turns_->running;
        return;
      }
      turns_->waiting.front()->set();
      turns_->waiting.pop_front();
    }

   private:
    std::shared_ptr<Turns> turns_;
  };

  io::Task<bool> enter() {
    if (turns_->running < options_.connections_max) {
      ++turns_->running;
      co_return true;
    }
    if (turns_->waiting.size() >= sends_waiting_max) co_return false;
    auto come = std::make_shared<io::Event>(loop_);
    turns_->waiting.push_back(come);
    co_await come->wait();
    co_return true;
  }

  io::Loop& loop_;
  const ServerOptions options_;
  std::shared_ptr<io::TlsContext> tls_;
  std::shared_ptr<Turns> turns_ = std::make_shared<Turns>();
};

}  // namespace

Result<std::unique_ptr<Transport>> make_transport(io::Loop& loop, ServerOptions options) {
  std::shared_ptr<io::TlsContext> tls;
  if (options.tls != TlsMode::none) {
    auto made = io::TlsContext::make(options.tls_options);
    if (!made) return fail(made.error());
    tls = std::move(*made);
  }
  return std::make_unique<ServerTransport>(loop, std::move(options), std::move(tls));
}

}  // namespace postern::smtp
