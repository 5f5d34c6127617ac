// Counters of a server, and the back-off that all pools of one server share.
#include "session/server_impl.hpp"

namespace postern::session {

Result<std::unique_ptr<Server>> Server::make(io::Loop& loop, ServerOptions options,
                                             std::shared_ptr<LoginSlots> slots) {
  std::shared_ptr<io::TlsContext> tls;
  if (options.tls != TlsMode::none) {
    auto made = io::TlsContext::make(options.tls_options);
    if (!made) return fail(std::move(made.error()));
    tls = std::move(*made);
  }
  if (!slots) slots = make_login_slots(options.logins_in_flight);
  return std::make_unique<ServerHandle>(
      std::make_shared<ServerImpl>(loop, std::move(options), std::move(tls), std::move(slots)));
}

ServerImpl::ServerImpl(io::Loop& loop, ServerOptions options, std::shared_ptr<io::TlsContext> tls,
                       std::shared_ptr<LoginSlots> slots)
    : loop_(loop),
      options_(std::move(options)),
      tls_(std::move(tls)),
      slots_(std::move(slots)),
      backoff_(options_.backoff_min, options_.backoff_max) {}

void ServerImpl::count_command(const std::string& name) {
  const auto found = counters_.commands.find(name);
  if (found != counters_.commands.end()) {
    ++found->second;
  } else {
    counters_.commands.emplace(name, 1);
  }
}

CountedSlot::CountedSlot(std::shared_ptr<ServerImpl> server, LoginSlot slot)
    : server_(std::move(server)), slot_(std::move(slot)) {
  ++server_->count().logins_in_flight;
}

CountedSlot::~CountedSlot() {
  if (server_) --server_->count().logins_in_flight;
}

io::Task<Result<CountedSlot>> ServerImpl::login_slot(std::shared_ptr<ServerImpl> self,
                                                     MonotonicTime deadline) {
  auto slot = co_await LoginSlots::take(self->slots_, self->loop_, deadline, self->counters_.logins_waiting);
  if (!slot) co_return fail(std::move(slot.error()));
  co_return CountedSlot(self, std::move(*slot));
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
