// One shard's view of the ManageSieve server. Bounds: ServerOptions, use_waiting_max.
#include "sieve/server.hpp"

#include <algorithm>

#include "postern/io/scoped_timer.hpp"
#include "sieve/vacation_store.hpp"

namespace postern::sieve {

SharedServer::Slot::~Slot() {
  if (!server_) return;
  if (server_->waiting_.empty()) {
    --server_->in_use_;
    return;
  }
  server_->waiting_.front()->set();  // the slot goes from hand to hand
  server_->waiting_.pop_front();
}

io::Task<Result<SharedServer::Slot>> SharedServer::take_slot() {
  auto self = shared_from_this();
  if (in_use_ < options_.connections_max) {
    ++in_use_;
    co_return Slot(std::move(self));
  }
  if (waiting_.size() >= use_waiting_max) co_return fail(Errc::unavailable, "too many requests wait");
  auto turn = std::make_shared<io::Event>(loop_);
  waiting_.push_back(turn);
  const bool come = co_await turn->wait_until(loop_.clock().now() + options_.use_timeout);
  if (come || turn->is_set()) co_return Slot(std::move(self));
  std::erase(waiting_, turn);
  co_return fail(Errc::unavailable, "all connections are in use");
}

void SharedServer::learn(Capabilities capabilities) {
  known_ = std::move(capabilities);
  ask_again_ = loop_.clock().now() + options_.capabilities_fresh;
}

void SharedServer::ask() {
  if (asking_ || loop_.clock().now() < ask_again_) return;
  asking_ = true;
  asked_.reset();
  loop_.spawn(ask_now(shared_from_this()));
}

io::Task<> SharedServer::asked() {
  if (asking_) co_await asked_.wait_until(loop_.clock().now() + options_.ask_wait_max);
}

// What is told before anybody has signed in.
io::Task<> SharedServer::ask_now(std::shared_ptr<SharedServer> self) {
  Connection connection(self->loop_, self->options_.server, self->tls_);
  const io::ScopedTimer timer(self->loop_.timers(), self->options_.use_timeout,
                              [&connection] { connection.close(); });
  auto opened = co_await connection.open();
  if (opened) {
    self->learn(connection.capabilities());
    co_await connection.log_out();
  } else {
    self->ask_again_ = self->loop_.clock().now() + self->options_.retry_after;
    self->loop_.logger().warning(
        "ManageSieve server: what it can do is unknown",
        {{"server", self->options_.server.endpoint.host}, {"error", opened.error().to_string()}});
  }
  self->asking_ = false;
  self->asked_.set();
}

namespace {

class ServerImpl final : public Server {
 public:
  explicit ServerImpl(std::shared_ptr<SharedServer> shared) : shared_(std::move(shared)) {}
  void ask() override { shared_->ask(); }
  std::unique_ptr<mail::VacationStore> vacation_store(
      std::function<session::Credentials()> credentials) override {
    return make_vacation_store(shared_, std::move(credentials));
  }

 private:
  std::shared_ptr<SharedServer> shared_;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::make(io::Loop& loop, ServerOptions options) {
  std::shared_ptr<io::TlsContext> tls;
  if (options.server.tls != session::TlsMode::none) {
    auto made = io::TlsContext::make(options.server.tls_options);
    if (!made) return fail(made.error());
    tls = std::move(*made);
  }
  return std::make_unique<ServerImpl>(
      std::make_shared<SharedServer>(loop, std::move(options), std::move(tls)));
}

}  // namespace postern::sieve
