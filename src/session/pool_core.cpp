// The queue and its pump: who can be served is, in order; else a connection is opened, or turned from a mailbox that
// nobody uses. A connection that is lost young too often counts as a failed login.
#include "session/pool_core.hpp"

#include <algorithm>
#include <utility>

namespace postern::session {

namespace {

// A connection that is lost sooner counts as a failed login, from the third in a row on: an account whose
// every request makes the server close must not sign in at that pace.
constexpr Duration short_life = std::chrono::seconds(10);
constexpr int short_lives_free = 2;
constexpr Duration logout_timeout = std::chrono::seconds(2);
constexpr Duration surplus_recheck = std::chrono::seconds(15);  // of a connection that is surplus but in use

Error closed_error() { return Error(Errc::unavailable, "the account is closed"); }

}  // namespace

PoolCore::PoolCore(io::Loop& loop, std::shared_ptr<ServerImpl> server, Credentials credentials,
                   AccountObserver* observer, std::string client_address)
    : last_used(loop.clock().now()),
      loop_(loop),
      server_(std::move(server)),
      credentials_(std::move(credentials)),
      observer_(observer),
      client_address_(std::move(client_address)),
      backoff_(server_->options().backoff_min, server_->options().backoff_max) {}

Lease::Impl::~Impl() {
  if (core && connection) core->released(*this);
}

// --- Waiting and being served ---

io::Task<Result<Lease>> PoolCore::acquire(std::shared_ptr<PoolCore> self, Kind kind, std::string mailbox,
                                          MailboxObserver* observer, MailboxMatch bars) {
  self->last_used = self->loop_.clock().now();
  if (self->closed_ || self->closing_) co_return fail(closed_error());
  if (self->queue_.size() + self->selecting_.size() >= pool_waiting_max) co_return fail(Errc::overloaded);
  Waiting waiting;
  waiting.kind = kind;
  waiting.mailbox = std::move(mailbox);
  waiting.observer = observer;
  waiting.bars = std::move(bars);
  if (self->loop_.logger().enabled(LogLevel::debug)) waiting.label = co_await io::current_label();
  self->queue_.push_back(waiting);
  self->pump();
  if (!waiting.result) {
    waiting.done.emplace(self->loop_);
    if (waiting.result) waiting.done->set();
    co_await waiting.done->wait_until(self->loop_.clock().now() + acquire_timeout);
    if (!waiting.result) co_return fail(Errc::overloaded, "no connection of the account came free");
  }
  co_return std::move(*waiting.result);
}

void PoolCore::finish(Waiting& waiting, Result<Lease> result) {
  waiting.unlink();
  waiting.result = std::move(result);
  if (waiting.done) waiting.done->set();
}

void PoolCore::grant(Waiting& waiting, Connection& connection, bool pinned) {
  if (waiting.kind == Kind::connect) return finish(waiting, Lease());
  auto impl = std::make_shared<Lease::Impl>();
  impl->core = shared_from_this();
  impl->connection = connection.shared_from_this();
  impl->pinned = pinned;
  if (waiting.kind == Kind::without) {
    impl->bars = std::move(waiting.bars);
    barring_.push_back(impl.get());
  }
  ++connection.leases;
  if (pinned) ++connection.pins;
  finish(waiting, Lease(std::move(impl)));
}

void PoolCore::released(Lease::Impl& lease) {
  last_used = loop_.clock().now();
  auto& connection = *lease.connection;
  --connection.leases;
  if (lease.bars) std::erase(barring_, &lease);
  if (lease.pinned) --connection.pins;
  // Later, as this may run in anybody's destructor, and observers will be called.
  const bool frees = lease.bars || (lease.pinned && connection.pins == 0);
  if (frees && !queue_.empty()) schedule_pump();
}

void PoolCore::schedule_pump() {
  if (pump_scheduled_ || closed_) return;
  pump_scheduled_ = true;
  loop_.post([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->pump_scheduled_ = false;
    self->pump();
  });
}

// From the front, in order. Who can't be served yet blocks those behind it, so that nobody starves; except
// that joining what is selected, or any(), does no harm to one for whom a connection is being opened.
void PoolCore::pump() {
  if (pumping_) return schedule_pump();  // from an observer
  pumping_ = true;
  const auto self = shared_from_this();
  while (!closed_ && serve_next()) {
  }
  pumping_ = false;
}

// Serves one and returns true: the queue may have changed in more places (an observer forgot another).
bool PoolCore::serve_next() {
  bool blocked = false, joins_only = false;
  for (auto& waiting : queue_) {
    if (blocked && (waiting.kind == Kind::select || waiting.kind == Kind::without)) continue;
    switch (serve(waiting, joins_only)) {
      case Outcome::served: return true;
      case Outcome::opening: joins_only = true; break;
      case Outcome::blocked: blocked = blocked || !joins_only; break;
    }
  }
  return false;
}

PoolCore::Outcome PoolCore::serve(Waiting& waiting, bool join_only) {
  if (refused()) {
    finish(waiting, fail(*refused_));
    return Outcome::served;
  }
  if (waiting.kind == Kind::select) return serve_select(waiting, join_only);
  if (waiting.kind == Kind::without) return serve_without(waiting, join_only);
  if (auto* connection = least_busy()) {
    grant(waiting, *connection, false);
    return Outcome::served;
  }
  return want_connection(waiting.label);
}

bool PoolCore::is_barred(const std::string& mailbox) const {
  return std::any_of(barring_.begin(), barring_.end(),
                     [&mailbox](const Lease::Impl* lease) { return lease->bars(mailbox); });
}

// Those behind wait while what they may want to select is let go of.
PoolCore::Outcome PoolCore::serve_without(Waiting& waiting, bool join_only) {
  if (join_only) return Outcome::blocked;
  bool wait = false;
  for (const auto& connection : connections_) {
    const auto& selection = connection->selection();
    const bool concerned = selection.state() != Selection::State::none && waiting.bars(selection.mailbox());
    if (concerned && connection->pins == 0 && selection.state() == Selection::State::selected)
      connection->deselect(waiting.label);
    wait = wait || concerned || connection->deselecting();
  }
  if (wait) return Outcome::blocked;
  auto* connection = least_busy();
  if (connection == nullptr) return want_connection(waiting.label);
  grant(waiting, *connection, false);
  return Outcome::served;
}

PoolCore::Outcome PoolCore::serve_select(Waiting& waiting, bool join_only) {
  if (is_barred(waiting.mailbox)) return Outcome::blocked;
  Connection* target = nullptr;
  for (const auto& connection : connections_) {
    auto& selection = connection->selection();
    if (selection.state() == Selection::State::none || selection.mailbox() != waiting.mailbox) continue;
    if (selection.observer() == waiting.observer) {
      if (selection.state() == Selection::State::selected) {
        grant(waiting, *connection, true);
      } else {
        waiting.unlink();
        waiting.selecting = connection.get();
        selecting_.push_back(waiting);
      }
      return Outcome::served;
    }
    // Selected for somebody else: there it must be selected anew, as a mailbox is on one connection only.
    if (join_only || connection->pins > 0 || selection.state() == Selection::State::selecting) {
      return Outcome::blocked;
    }
    target = connection.get();
  }
  if (join_only) return Outcome::blocked;
  if (target == nullptr) target = free_for_select(false);
  if (target == nullptr) {
    const auto outcome = want_connection(waiting.label);
    if (outcome != Outcome::blocked) return outcome;
    target = free_for_select(true);
    if (target == nullptr) return outcome;
  }
  waiting.unlink();
  waiting.selecting = target;
  selecting_.push_back(waiting);
  target->select(waiting.mailbox, *waiting.observer, waiting.label);  // copies: the queue may change
  return Outcome::served;
}

Connection* PoolCore::least_busy() const {
  Connection* best = nullptr;
  for (const auto& connection : connections_) {
    const auto load = [](const Connection& c) { return c.leases + c.commands_in_flight(); };
    if (best == nullptr || load(*connection) < load(*best)) best = connection.get();
  }
  return best;
}

// One without a lease that needs its mailbox: first one whose mailbox nobody listens to, then the one that
// was used least lately.
Connection* PoolCore::free_for_select(bool home_too) const {
  Connection* best = nullptr;
  for (const auto& connection : connections_) {
    if (!home_too && is_home(*connection)) continue;
    if (connection->pins > 0 || connection->deselecting()) continue;
    if (connection->selection().state() == Selection::State::selecting) continue;
    const auto rank = [](const Connection& c) {
      return std::pair(c.selection().observer() != nullptr, c.last_used());
    };
    if (best == nullptr || rank(*connection) < rank(*best)) best = connection.get();
  }
  return best;
}

bool PoolCore::is_home(const Connection& connection) const {
  return !home_.empty() && connection.selection().mailbox() == home_;
}

bool PoolCore::is_selected(std::string_view encoded_mailbox) const {
  return std::any_of(connections_.begin(), connections_.end(), [&](const auto& connection) {
    const auto& selection = connection->selection();
    return selection.state() != Selection::State::none && selection.mailbox() == encoded_mailbox;
  });
}

PoolCore::Outcome PoolCore::want_connection(const io::Label& label) {
  if (opening_) return Outcome::opening;
  if (connections_.size() >= std::max(1u, server_->options().connections_per_account))
    return Outcome::blocked;
  // With another connection up, it is only a matter of patience.
  if (!connections_.empty() && (refused_ || retry_at() > loop_.clock().now())) return Outcome::blocked;
  opening_ = true;
  loop_.spawn(open(shared_from_this(), label));
  return Outcome::opening;
}

void PoolCore::fail_waiting(const Error& error) {
  for (auto* queue : {&queue_, &selecting_}) {
    while (!queue->empty()) finish(queue->front(), fail(error));
  }
}

// --- Opening ---

MonotonicTime PoolCore::retry_at() const { return std::max(backoff_.due(), server_->retry_at()); }

io::Task<> PoolCore::open(std::shared_ptr<PoolCore> self, io::Label label) {
  auto result = co_await sign_in(self, std::move(label));
  self->opening_connection_.reset();
  self->opening_ = false;
  self->opened(std::move(result));
}

io::Task<Result<std::shared_ptr<Connection>>> PoolCore::sign_in(std::shared_ptr<PoolCore> self,
                                                                io::Label label) {
  auto& loop = self->loop_;
  const auto wait = self->retry_at() - loop.clock().now();
  if (wait > self->server_->options().backoff_wait_max) {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(wait).count();
    std::string context = "next attempt in " + std::to_string(seconds) + " s";
    const auto& why = self->backoff_.due() >= self->server_->retry_at() ? self->last_failure_
                                                                        : self->server_->last_failure();
    if (why) context += "; " + why->to_string();
    co_return fail(Errc::backing_off, std::move(context));
  }
  if (wait > Duration::zero()) co_await loop.sleep(wait);
  if (self->closed_) co_return fail(closed_error());

  auto slot = co_await ServerImpl::login_slot(self->server_,
                                              loop.clock().now() + self->server_->options().login_timeout);
  if (!slot) co_return fail(std::move(slot.error()));
  if (self->closed_) co_return fail(closed_error());
  const auto started = loop.clock().now();
  auto connection = std::make_shared<Connection>(loop, self->server_, *self, self->may_idle_);
  self->opening_connection_ = connection;
  bool server_was_there = false;
  auto done = co_await Connection::open(connection, self->credentials_.clone(), self->client_address_,
                                        server_was_there, std::move(label));
  if (!done) {
    if (!self->closed_) self->note_failure(done.error(), server_was_there, started);
    co_return fail(std::move(done.error()));
  }
  if (self->closed_) {
    connection->detach();
    connection->close(closed_error());
    co_return fail(closed_error());
  }
  self->server_->reached();
  co_return connection;
}

void PoolCore::note_failure(const Error& error, bool server_was_there, MonotonicTime started) {
  auto& counters = server_->count();
  const bool wrong = error.code == Errc::authentication;
  if (server_was_there || wrong) {
    if (server_was_there) server_->reached();
    ++(wrong ? counters.login_refusals : counters.login_failures);
    if (wrong) {
      refused_ = error;
    } else {
      backoff_.failed(loop_.clock().now(), loop_.random());
    }
  } else {
    ++counters.connect_failures;
    server_->not_reached(started, error);
  }
  last_failure_ = error;
  loop_.logger().log(wrong ? LogLevel::info : LogLevel::warning,
                     wrong ? "imap login refused" : "imap login failed",
                     {{"server", server_->options().endpoint.host},
                      {"user", credentials_.login},
                      {"reason", error.to_string()}});
}

void PoolCore::opened(Result<std::shared_ptr<Connection>> result) {
  if (closed_) return;
  if (!result) {
    // Those who have a connection to wait for wait on; the others are told.
    if (connections_.empty()) fail_waiting(result.error());
    return pump();
  }
  auto& connection = **result;
  auto& counters = server_->count();
  ++counters.logins;
  if (was_connected_) ++counters.reconnects;
  was_connected_ = true;
  if (short_lives_ < short_lives_free) backoff_.succeeded();
  last_failure_.reset();
  capabilities = connection.capabilities();
  tiers = connection.tiers();
  connection.set_idle(may_idle_);
  connections_.push_back(std::move(*result));
  const auto info = connections_.back()->info();
  loop_.logger().info("imap login", {{"server", server_->options().endpoint.host},
                                     {"user", credentials_.login},
                                     {"peer", info.peer},
                                     {"tls", info.tls ? "yes" : "no"}});
  arm_surplus_timer();
  if (observer_ != nullptr) observer_->on_connected(capabilities);
  pump();
}

// --- Connections that nobody needs any more ---

// For the one used least lately. Use puts that off, so a timer that has been set is never too late; one that somebody
// holds is looked at again later.
void PoolCore::arm_surplus_timer() {
  loop_.timers().cancel(std::exchange(surplus_timer_, 0));
  if (connections_.size() < 2) return;
  const auto oldest =
      *std::min_element(connections_.begin(), connections_.end(),
                        [](const auto& a, const auto& b) { return a->last_used() < b->last_used(); });
  const auto now = loop_.clock().now();
  const auto due = oldest->last_used() + server_->options().surplus_idle;
  const auto at = due > now ? due : now + surplus_recheck;
  surplus_timer_ = loop_.timers().add(at, [this] { close_surplus(); });
}

// The one used last stays, and what was used within the time. What somebody holds is in use now.
void PoolCore::close_surplus() {
  surplus_timer_ = 0;
  const auto self = shared_from_this();
  const auto unused_since = loop_.clock().now() - server_->options().surplus_idle;
  const auto in_use = [this](const Connection& c) {
    return c.leases > 0 || c.commands_in_flight() > 0 || is_home(c);
  };
  const auto keep =
      *std::max_element(connections_.begin(), connections_.end(), [&in_use](const auto& a, const auto& b) {
        return std::pair(in_use(*a), a->last_used()) < std::pair(in_use(*b), b->last_used());
      });
  std::vector<std::shared_ptr<Connection>> surplus;
  for (const auto& connection : connections_) {
    if (connection == keep || in_use(*connection)) continue;
    if (connection->last_used() <= unused_since) surplus.push_back(connection);
  }
  for (const auto& connection : surplus) {
    std::erase(connections_, connection);
    // Now, as nobody could make it forget its observer any more; and its mailbox may be selected elsewhere.
    connection->detach();
    connection->selection().failed();
    loop_.spawn(retire(self, connection));
  }
  arm_surplus_timer();
}

io::Task<> PoolCore::retire(std::shared_ptr<PoolCore> self, std::shared_ptr<Connection> connection) {
  auto done = std::make_shared<io::Event>(self->loop_);
  connection->log_out(done);
  co_await done->wait_until(self->loop_.clock().now() + logout_timeout);
  connection->close(closed_error());
}

// --- What connections tell ---

void PoolCore::on_account_data(imap::Response& response) {
  if (observer_ == nullptr) return;
  if (const auto* status = std::get_if<imap::StatusDataResponse>(&response)) observer_->on_status(*status);
  if (const auto* list = std::get_if<imap::ListResponse>(&response)) observer_->on_list(*list);
}

void PoolCore::on_unheard(const std::string& mailbox, const imap::Response& response) {
  if (observer_ != nullptr) observer_->on_unheard(mailbox, response);
}

void PoolCore::on_notification_overflow() {
  if (observer_ != nullptr) observer_->on_notification_overflow();
}

void PoolCore::on_select_done(Connection& connection, const Result<>& result) {
  for (auto it = selecting_.begin(); it != selecting_.end();) {
    Waiting& waiting = *it;
    ++it;
    if (waiting.selecting != &connection) continue;
    if (result) {
      grant(waiting, connection, true);
    } else {
      finish(waiting, fail(result.error()));
    }
  }
  if (!queue_.empty()) schedule_pump();
}

void PoolCore::on_lost(Connection& connection, const Error& reason) {
  const auto now = loop_.clock().now();
  if (now - connection.connected_at() >= short_life) {
    short_lives_ = 0;
    backoff_.succeeded();
  } else if (++short_lives_ > short_lives_free) {
    backoff_.failed(now, loop_.random());
    last_failure_ = reason;
  }
  std::erase_if(connections_, [&](const auto& c) { return c.get() == &connection; });
  if (connections_.size() < 2) arm_surplus_timer();
  // A further connection was refused (some servers say so where there are too many): no word about the credentials
  // with which this one was up. Alone, the server is asked once more.
  if (connections_.empty()) refused_.reset();
  if (connections_.empty() && observer_ != nullptr) observer_->on_disconnected(reason);
  if (observer_ != nullptr) observer_->on_connection_lost();
  if (!queue_.empty()) schedule_pump();
}

// --- The pool's own calls ---

void PoolCore::replace_credentials(Credentials credentials) {
  credentials_ = std::move(credentials);
  refused_.reset();
}

void PoolCore::forget(MailboxObserver& observer) {
  for (const auto& connection : connections_) connection->selection().forget(observer);
  for (auto* queue : {&queue_, &selecting_}) {
    for (auto it = queue->begin(); it != queue->end();) {
      Waiting& waiting = *it;
      ++it;
      if (waiting.observer == &observer) finish(waiting, fail(Errc::unavailable, "the observer went away"));
    }
  }
}

void PoolCore::set_idle(bool on) {
  may_idle_ = on;
  for (const auto& connection : connections_) connection->set_idle(on);
}

bool PoolCore::connected() const { return !connections_.empty(); }

std::vector<ConnectionInfo> PoolCore::connections() const {
  std::vector<ConnectionInfo> all;
  all.reserve(connections_.size() + 1);
  for (const auto& connection : connections_) all.push_back(connection->info());
  if (opening_connection_) all.push_back(opening_connection_->info());
  return all;
}

void PoolCore::shut_down() {
  if (std::exchange(closed_, true)) return;
  observer_ = nullptr;
  loop_.timers().cancel(std::exchange(surplus_timer_, 0));
  fail_waiting(closed_error());
  const auto connections = std::exchange(connections_, {});
  for (const auto& connection : connections) {
    connection->detach();
    connection->selection().forget_all();
    connection->close(closed_error());
  }
  if (opening_connection_) opening_connection_->close(closed_error());
}

io::Task<> PoolCore::close(std::shared_ptr<PoolCore> self) {
  if (self->closed_ || std::exchange(self->closing_, true)) co_return;
  self->fail_waiting(closed_error());
  const auto deadline = self->loop_.clock().now() + logout_timeout;
  std::vector<std::shared_ptr<io::Event>> ends;
  const auto connections = self->connections_;
  ends.reserve(connections.size());
  for (const auto& connection : connections) {
    ends.push_back(std::make_shared<io::Event>(self->loop_));
    connection->log_out(ends.back());
  }
  for (const auto& end : ends) co_await end->wait_until(deadline);
  self->shut_down();
}

}  // namespace postern::session
