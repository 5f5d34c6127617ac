// Pool and Lease as the mail layer sees them: thin handles on a PoolCore.
#include "postern/session/pool.hpp"

#include <utility>

#include "session/pool_core.hpp"

namespace postern::session {

namespace {

class PoolImpl final : public Pool {
 public:
  explicit PoolImpl(std::shared_ptr<PoolCore> core) : core_(std::move(core)) {}
  ~PoolImpl() override { core_->shut_down(); }

  io::Task<Result<>> connect() override { return connect(core_); }
  void replace_credentials(Credentials credentials) override {
    core_->replace_credentials(std::move(credentials));
  }
  io::Task<Result<Lease>> select(std::string encoded_mailbox, MailboxObserver& observer) override {
    return PoolCore::acquire(core_, PoolCore::Kind::select, std::move(encoded_mailbox), &observer);
  }
  io::Task<Result<Lease>> any() override {
    return PoolCore::acquire(core_, PoolCore::Kind::any, {}, nullptr);
  }
  void forget(MailboxObserver& observer) override { core_->forget(observer); }
  bool connected() const override { return core_->connected(); }
  const imap::CapabilitySet& capabilities() const override { return core_->capabilities; }
  const imap::Tiers& tiers() const override { return core_->tiers; }
  void set_idle(bool on) override { core_->set_idle(on); }
  std::vector<ConnectionInfo> connections() const override { return core_->connections(); }
  MonotonicTime last_used() const override { return core_->last_used; }
  MonotonicTime retry_at() const override { return core_->retry_at(); }
  bool refused() const override { return core_->refused(); }
  io::Task<> close() override { return PoolCore::close(core_); }

 private:
  static io::Task<Result<>> connect(std::shared_ptr<PoolCore> core) {
    auto lease = co_await PoolCore::acquire(core, PoolCore::Kind::connect, {}, nullptr);
    if (!lease) co_return fail(std::move(lease.error()));
    co_return Result<>();
  }

  std::shared_ptr<PoolCore> core_;
};

// One command of a lease, in the frame of the coroutine that waits for it.
class Execution final : public imap::CommandSink {
 public:
  Execution(io::Loop& loop, std::shared_ptr<Connection> connection, Lease::OnData on_data,
            imap::StatusResponse* refusal, bool repeatable)
      : connection_(std::move(connection)),
        on_data_(std::move(on_data)),
        refusal_(refusal),
        repeatable_(repeatable),
        done_(loop) {}
  ~Execution() override {
    if (!result_ && id_ != 0) connection_->abandon(id_);
  }

  Result<> start(imap::Command command, const io::Label& label) {
    auto id = connection_->submit(std::move(command), *this, label);
    if (!id) return fail(std::move(id.error()));
    id_ = *id;
    return {};
  }
  io::Task<> wait() { return done_.wait(); }
  Result<imap::StatusResponse> take() {
    if (!result_) return fail(Errc::connection_lost);
    return std::move(*result_);
  }

 private:
  void on_data(imap::Response& response) override {
    if (on_data_) on_data_(response);
  }
  void on_done(Result<imap::StatusResponse> result, const imap::StatusResponse* refusal) override {
    if (refusal != nullptr && refusal_ != nullptr) *refusal_ = *refusal;
    const auto code = result ? std::error_code() : result.error().code;
    const bool of_command =
        result || refusal != nullptr || code == imap::Errc::syntax || code == imap::Errc::too_large;
    if (of_command && code != imap::Errc::bye) {
      result_ = std::move(result);
    } else {
      const bool not_sent = connection_->was_not_sent() && !repeatable_;
      result_ = fail(not_sent ? Errc::unavailable : Errc::connection_lost, result.error().to_string());
    }
    done_.set();
  }

  std::shared_ptr<Connection> connection_;
  Lease::OnData on_data_;
  imap::StatusResponse* refusal_;
  bool repeatable_;
  io::Event done_;
  imap::CommandId id_ = 0;
  std::optional<Result<imap::StatusResponse>> result_;
};

io::Task<Result<imap::StatusResponse>> execute_on(std::shared_ptr<Lease::Impl> lease, imap::Command command,
                                                  Lease::OnData on_data, imap::StatusResponse* refusal) {
  const bool repeatable = command.repeatable;
  if (!lease->connection->up()) {
    co_return fail(repeatable ? Errc::connection_lost : Errc::unavailable, "the connection has ended");
  }
  io::Label label;
  if (lease->core->loop().logger().enabled(LogLevel::debug)) label = co_await io::current_label();
  Execution execution(lease->core->loop(), lease->connection, std::move(on_data), refusal, repeatable);
  auto started = execution.start(std::move(command), label);
  if (!started) co_return fail(std::move(started.error()));
  co_await execution.wait();
  co_return execution.take();
}

}  // namespace

std::unique_ptr<Pool> Pool::make(io::Loop& loop, Server& server, Credentials credentials,
                                 AccountObserver* observer, std::string client_address) {
  return std::make_unique<PoolImpl>(std::make_shared<PoolCore>(loop, static_cast<ServerHandle&>(server).impl,
                                                               std::move(credentials), observer,
                                                               std::move(client_address)));
}

Lease::Lease(Lease&&) noexcept = default;
Lease& Lease::operator=(Lease&&) noexcept = default;
Lease::~Lease() = default;
Lease::Lease(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
const imap::CapabilitySet& Lease::capabilities() const { return impl_->connection->capabilities(); }
const imap::Tiers& Lease::tiers() const { return impl_->connection->tiers(); }
const imap::StatusResponse& Lease::greeting() const { return impl_->connection->greeting(); }

io::Task<Result<imap::StatusResponse>> Lease::execute(imap::Command command, OnData on_data,
                                                      imap::StatusResponse* refusal) {
  return execute_on(impl_, std::move(command), std::move(on_data), refusal);
}

}  // namespace postern::session
