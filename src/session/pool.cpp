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
  Credentials credentials() const override { return core_->credentials(); }
  io::Task<Result<Lease>> select(std::string encoded_mailbox, MailboxObserver& observer) override {
    return PoolCore::acquire(core_, PoolCore::Kind::select, std::move(encoded_mailbox), &observer);
  }
  io::Task<Result<Lease>> any() override {
    return PoolCore::acquire(core_, PoolCore::Kind::any, {}, nullptr);
  }
  io::Task<Result<Lease>> without(MailboxMatch mailboxes) override {
    return PoolCore::acquire(core_, PoolCore::Kind::without, {}, nullptr, std::move(mailboxes));
  }
  void forget(MailboxObserver& observer) override { core_->forget(observer); }
  bool connected() const override { return core_->connected(); }
  const imap::CapabilitySet& capabilities() const override { return core_->capabilities; }
  const imap::Tiers& tiers() const override { return core_->tiers; }
  void set_home(std::string encoded_mailbox) override { core_->set_home(std::move(encoded_mailbox)); }
  bool is_selected(std::string_view encoded_mailbox) const override {
    return core_->is_selected(encoded_mailbox);
  }
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
            imap::StatusResponse* refusal, const imap::Command& command)
      : connection_(std::move(connection)),
        on_data_(std::move(on_data)),
        refusal_(refusal),
        repeatable_(command.repeatable),
        literal_left_(command.streamed_octets),
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

  // Feeds the literal until all of it has been taken, or the command has ended.
  io::Task<Result<>> stream(Lease::LiteralPieces& literal) {
    for (auto left = literal_left_; left > 0;) {
      co_await done_.wait();
      if (result_) break;
      done_.reset();
      auto piece = co_await literal();
      if (result_) break;
      if (piece && (piece->empty() || piece->size() > left))
        piece = fail(imap::Errc::unencodable, "a literal's size");
      if (!piece) {
        connection_->close(piece.error());
        co_return fail(std::move(piece.error()));
      }
      left -= piece->size();
      piece_ = std::move(*piece);
      connection_->literal_ready();
    }
    co_return Result<>();
  }

  Result<imap::StatusResponse> take() {
    if (!result_) return fail(Errc::connection_lost);
    return std::move(*result_);
  }

 private:
  void on_data(imap::Response& response) override {
    if (on_data_) on_data_(response);
  }
  // Whoever loads the next piece is woken when there is none, and when this one goes.
  std::string on_literal(std::uint64_t) override {
    literal_left_ -= piece_.size();
    if (literal_left_ > 0 && (!piece_.empty() || !asked_)) done_.set();
    asked_ = true;
    return std::exchange(piece_, {});
  }
  void on_done(Result<imap::StatusResponse> result, const imap::StatusResponse* refusal) override {
    if (refusal != nullptr && refusal_ != nullptr) *refusal_ = *refusal;
    const auto code = result ? std::error_code() : result.error().code;
    const bool of_command =
        result || refusal != nullptr || code == imap::Errc::syntax || code == imap::Errc::too_large;
    if (of_command && code != imap::Errc::bye) {
      result_ = std::move(result);
    } else {
      const bool not_sent = (connection_->was_not_sent() && !repeatable_) || literal_left_ > 0;
      result_ = fail(not_sent ? Errc::unavailable : Errc::connection_lost, result.error().to_string());
    }
    done_.set();
  }

  std::shared_ptr<Connection> connection_;
  Lease::OnData on_data_;
  imap::StatusResponse* refusal_;
  bool repeatable_, asked_ = false;  // asked_: the literal's turn has come
  std::uint64_t literal_left_;       // that hasn't been handed over yet
  std::string piece_;                // to be handed over next
  io::Event done_;                   // the end; or the next piece is wanted
  imap::CommandId id_ = 0;
  std::optional<Result<imap::StatusResponse>> result_;
};

io::Task<Result<imap::StatusResponse>> execute_on(std::shared_ptr<Lease::Impl> lease, imap::Command command,
                                                  Lease::OnData on_data, imap::StatusResponse* refusal,
                                                  Lease::LiteralPieces literal = {}) {
  if (!lease->connection->up()) {
    co_return fail(command.repeatable ? Errc::connection_lost : Errc::unavailable,
                   "the connection has ended");
  }
  io::Label label;
  if (lease->core->loop().logger().enabled(LogLevel::debug)) label = co_await io::current_label();
  Execution execution(lease->core->loop(), lease->connection, std::move(on_data), refusal, command);
  auto started = execution.start(std::move(command), label);
  if (!started) co_return fail(std::move(started.error()));
  if (literal) {
    if (auto streamed = co_await execution.stream(literal); !streamed) co_return fail(streamed.error());
  }
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
bool Lease::alive() const { return impl_ != nullptr && impl_->connection->up(); }
const imap::Tiers& Lease::tiers() const { return impl_->connection->tiers(); }
const imap::StatusResponse& Lease::greeting() const { return impl_->connection->greeting(); }

io::Task<Result<imap::StatusResponse>> Lease::execute(imap::Command command, OnData on_data,
                                                      imap::StatusResponse* refusal) {
  return execute_on(impl_, std::move(command), std::move(on_data), refusal);
}

io::Task<Result<>> Lease::execute_both(Request first, Request second) {
  auto* connection = impl_->connection.get();
  if (!connection->up()) co_return fail(Errc::connection_lost, "the connection has ended");
  auto& loop = impl_->core->loop();
  io::Label label;
  if (loop.logger().enabled(LogLevel::debug)) label = co_await io::current_label();
  Execution one(loop, impl_->connection, std::move(first.on_data), nullptr, first.command);
  Execution other(loop, impl_->connection, std::move(second.on_data), nullptr, second.command);
  if (auto started = one.start(std::move(first.command), label); !started) co_return started;
  if (auto started = other.start(std::move(second.command), label); !started) co_return started;
  co_await one.wait();
  co_await other.wait();
  if (auto done = one.take(); !done) co_return fail(std::move(done.error()));
  if (auto done = other.take(); !done) co_return fail(std::move(done.error()));
  co_return Result<>();
}

io::Task<Result<imap::StatusResponse>> Lease::execute_streamed(imap::Command command, LiteralPieces literal,
                                                               imap::StatusResponse* refusal) {
  return execute_on(impl_, std::move(command), {}, refusal, std::move(literal));
}

}  // namespace postern::session
