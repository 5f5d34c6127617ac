// Login slots handed on in the order of asking, and the back-off that all pools of one server share.
#include "session/server_impl.hpp"

namespace postern::session {

Result<std::unique_ptr<Server>> Server::make(io::Loop& loop, ServerOptions options) {
  std::shared_ptr<io::TlsContext> tls;
  if (options.tls != TlsMode::none) {
    auto made = io::TlsContext::make(options.tls_options);
    if (!made) return fail(std::move(made.error()));
    tls = std::move(*made);
  }
  return std::make_unique<ServerHandle>(
      std::make_shared<ServerImpl>(loop, std::move(options), std::move(tls)));
}

ServerImpl::ServerImpl(io::Loop& loop, ServerOptions options, std::shared_ptr<io::TlsContext> tls)
    : loop_(loop),
      options_(std::move(options)),
      tls_(std::move(tls)),
      backoff_(options_.backoff_min, options_.backoff_max) {}

void ServerImpl::count_command(const std::string& name) {
  const auto found = counters_.commands.find(name);
  if (found != counters_.commands.end()) {
    ++found->second;
  } else {
    counters_.commands.emplace(name, 1);
  }
}

io::Task<Result<LoginSlot>> ServerImpl::login_slot(std::shared_ptr<ServerImpl> self, MonotonicTime deadline) {
  auto& counters = self->counters_;
  if (counters.logins_in_flight < std::max(1u, self->options_.logins_in_flight) && self->waiting_.empty()) {
    ++counters.logins_in_flight;
    co_return LoginSlot(self);
  }
  Waiting waiting(self->loop_);
  self->waiting_.push_back(waiting);
  ++counters.logins_waiting;
  struct Count {
    unsigned& gauge;
    ~Count() { --gauge; }
  } count{counters.logins_waiting};
  const bool in_time = co_await waiting.turn.wait_until(deadline);
  if (!in_time && !waiting.served) co_return fail(Errc::overloaded, "logins to the IMAP server");
  co_return std::move(waiting.slot);
}

LoginSlot::~LoginSlot() {
  if (server_) server_->give_back();
}

// The slot goes from hand to hand; a waiter that goes away with its slot unused gives it back.
void ServerImpl::give_back() {
  if (waiting_.empty()) {
    --counters_.logins_in_flight;
    return;
  }
  auto& next = waiting_.front();
  waiting_.pop_front();
  next.slot = LoginSlot(shared_from_this());
  next.served = true;
  next.turn.set();
}

void ServerImpl::reached() {
  backoff_.succeeded();
  failure_.reset();
}

void ServerImpl::not_reached(MonotonicTime started, const Error& error) {
  failure_ = error;
  if (backoff_.failures() > 0 && started < failed_at_) return;
  failed_at_ = loop_.clock().now();
  backoff_.failed(failed_at_, loop_.random());
}

}  // namespace postern::session
