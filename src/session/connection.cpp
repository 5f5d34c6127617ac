// Octets between stream and multiplexer, commands flushed once a turn of the loop, and one timer for everything
// that can take too long. IDLE is begun where nothing runs and ended before anything is sent.
#include "session/connection.hpp"

#include <algorithm>
#include <utility>

#include "postern/io/readable.hpp"

namespace postern::session {

namespace {

imap::Command fixed_command(std::string name, bool exclusive) {
  imap::Command command;
  command.chunks.push_back(name);
  command.name = std::move(name);
  command.exclusive = exclusive;
  return command;
}

// RFC 5530: what says nothing about whether the mailbox exists.
bool is_passing(const std::string& code) {
  return code == "UNAVAILABLE" || code == "INUSE" || code == "LIMIT" || code == "SERVERBUG";
}
bool is_forbidding(const std::string& code) { return code == "NOPERM" || code == "AUTHORIZATIONFAILED"; }

}  // namespace

Connection::Connection(io::Loop& loop, std::shared_ptr<ServerImpl> server, Owner& owner, bool may_idle)
    : loop_(loop), server_(std::move(server)), owner_(&owner), mux_(this), may_idle_(may_idle) {}

Connection::~Connection() { loop_.timers().cancel(timer_); }

io::Task<Result<>> Connection::open(std::shared_ptr<Connection> self, Credentials credentials,
                                    std::string client_address, bool& reached, io::Label label) {
  Login login(self->loop_, *self->server_, self->mux_, self->stream_, credentials, std::move(client_address),
              std::move(label));
  self->login_ = &login;
  struct Forget {
    Connection& connection;
    ~Forget() { connection.login_ = nullptr; }
  } forget{*self};
  auto done = co_await login.run();
  reached = login.reached();
  self->bytes_in_ += login.bytes_in;
  self->bytes_out_ += login.bytes_out;
  auto& counters = self->server_->count();
  counters.bytes_in += login.bytes_in;
  counters.bytes_out += login.bytes_out;
  if (done && self->state_ == State::closed) done = fail(Errc::unavailable, "closed");
  if (!done) {
    self->state_ = State::closed;
    if (self->stream_) self->stream_->close();
    co_return done;
  }
  self->capabilities_ = login.capabilities;
  self->tiers_ = imap::tiers_of(self->capabilities_);
  self->state_ = State::up;
  ++counters.connections_open;
  self->connected_at_ = self->last_used_ = self->last_progress_ = self->loop_.clock().now();
  self->arm_timer();
  self->mux_.trim_greeting();
  self->listen();
  co_return Result<>();
}

void Connection::listen() {
  io::when_readable(*stream_, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->on_readable();
  });
}

// Takes what is there, some scratch buffers full at most, so that other connections have their turn.
void Connection::on_readable() {
  constexpr int rounds_max = 4;
  const auto scratch = loop_.scratch();
  for (int round = 0; round < rounds_max && state_ != State::closed; ++round) {
    auto size = io::read_now(*stream_, scratch);
    if (state_ == State::closed) return;
    if (!size) return lose(size.error());
    if (*size > 0) fed(*size);
    if (*size < scratch.size()) break;
  }
  if (state_ != State::closed) listen();
}

void Connection::fed(std::size_t octets) {
  bytes_in_ += octets;
  server_->count().bytes_in += octets;
  last_progress_ = loop_.clock().now();
  const bool working = commands_in_flight() > 0;
  auto result = mux_.feed({loop_.scratch().data(), octets});
  if (state_ == State::closed) return;
  if (!result) return lose(result.error());
  if (working && !busy()) last_used_ = last_progress_;  // idle_after counts from here
  if (mux_.wants_output()) schedule_flush();
  arm_timer();
}

void Connection::on_untagged(imap::Response& response) {
  if (login_ != nullptr) return login_->on_untagged(response);
  if (const auto* status = std::get_if<imap::StatusResponse>(&response);
      status && status->code.name == "ALERT") {
    loop_.logger().warning(
        "imap alert", {{"server", server_->options().endpoint.host}, {"text", server_text(status->text)}});
  }
  if (const auto* status = std::get_if<imap::StatusResponse>(&response);
      status && status->code.name == "NOTIFICATIONOVERFLOW" && owner_ != nullptr)
    return owner_->on_notification_overflow();
  if (selection_.on_untagged(response)) return;
  if (owner_ != nullptr && (std::holds_alternative<imap::StatusDataResponse>(response) ||
                            std::holds_alternative<imap::ListResponse>(response))) {
    owner_->on_account_data(response);
  } else if (owner_ != nullptr && selection_.is_unheard() &&
             (std::holds_alternative<imap::ExistsResponse>(response) ||
              std::holds_alternative<imap::ExpungeResponse>(response) ||
              std::holds_alternative<imap::VanishedResponse>(response) ||
              std::holds_alternative<imap::FetchResponse>(response))) {
    owner_->on_unheard(selection_.mailbox(), response);
  }
}

// --- Commands ---

Result<imap::CommandId> Connection::submit(imap::Command command, imap::CommandSink& sink,
                                           const io::Label& label) {
  if (state_ != State::up) return fail(Errc::unavailable, "not connected");
  const auto now = loop_.clock().now();
  if (!busy()) last_progress_ = now;
  server_->count_command(command.name);
  ++commands_;
  const auto name = label ? command.name : std::string();
  auto id = mux_.submit(std::move(command), sink);
  if (!id) return fail(Errc::overloaded, id.error().context);
  log_command(loop_.logger(), label, *id, name);
  last_used_ = now;
  end_idle();
  schedule_flush();
  arm_timer();
  return id;
}

bool Connection::busy() const {
  if (writing_ || mux_.waiting() > 0) return true;
  return mux_.in_flight() > 0 && !idle_parked();
}

// Posted, so that all commands of one turn leave in one write.
void Connection::schedule_flush() {
  if (flush_scheduled_ || writing_ || state_ == State::closed) return;
  flush_scheduled_ = true;
  loop_.post([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->flush_scheduled_ = false;
    self->flush();
  });
}

void Connection::flush() {
  if (writing_ || state_ == State::closed) return;
  auto output = mux_.take_output();
  if (output.empty()) return;
  const bool secret = mux_.output_secret();
  bytes_out_ += output.size();
  server_->count().bytes_out += output.size();
  auto written = stream_->write_now(output);
  if (!written) return lose(written.error());
  // A large literal takes its time; the server has nothing to say meanwhile.
  if (*written > 0 && mux_.in_streamed_literal()) last_progress_ = loop_.clock().now();
  arm_timer();
  if (*written == output.size()) {
    if (secret) wipe(output.data(), output.size());
    return;
  }
  writing_ = true;
  output.erase(0, *written);
  loop_.spawn(write_rest(shared_from_this(), std::move(output), secret));
}

// What the socket didn't take at once, in steps, so that progress keeps the time limit away.
io::Task<> Connection::write_rest(std::shared_ptr<Connection> self, std::string rest, bool secret) {
  constexpr std::size_t step = 64 * 1024;
  std::string_view left = rest;
  while (!left.empty() && self->state_ != State::closed) {
    auto written = co_await self->stream_->write_all(left.substr(0, step));
    if (self->state_ == State::closed) break;
    if (!written) {
      self->lose(written.error());
      break;
    }
    self->last_progress_ = self->loop_.clock().now();
    left.remove_prefix(std::min(step, left.size()));
  }
  if (secret) wipe(rest.data(), rest.size());
  self->writing_ = false;
  self->schedule_flush();
  self->arm_timer();
}

// --- Selection ---

Result<imap::Command> Connection::select_command(const std::string& mailbox,
                                                 const std::optional<SelectParameters>& known) {
  const bool qresync = capabilities_.has(imap::Capability::qresync);
  for (const bool with_uids : {true, false}) {
    imap::CommandBuilder builder("SELECT", capabilities_);
    builder.exclusive().sp().encoded_mailbox(mailbox);
    if (known) {
      builder.raw(" (QRESYNC (").number(known->uid_validity).sp().number(known->modseq);
      if (with_uids && !known->known_uids.empty()) builder.sp().raw(known->known_uids);
      builder.raw("))");
    } else if (!qresync && capabilities_.has(imap::Capability::condstore)) {
      builder.raw(" (CONDSTORE)");  // where ENABLE did it already, it does no harm
    }
    auto made = builder.finish();
    if (made || made.error().code != imap::Errc::too_large) return made;
  }
  return fail(imap::Errc::too_large, "SELECT");
}

void Connection::select(std::string mailbox, MailboxObserver& observer, const io::Label& label) {
  auto known = observer.select_parameters();
  if (known &&
      (!capabilities_.has(imap::Capability::qresync) || known->modseq == 0 || known->uid_validity == 0)) {
    known.reset();
  }
  auto command = select_command(mailbox, known);
  if (!command) {
    if (owner_ != nullptr)
      owner_->on_select_done(*this, fail(Errc::no_such_mailbox, command.error().to_string()));
    return;
  }
  selection_.begin(std::move(mailbox), observer, std::move(known));
  ++server_->count().selects;
  auto submitted = submit(std::move(*command), select_sink_, label);
  if (!submitted) select_sink_.on_done(fail(std::move(submitted.error())), nullptr);
}

void Connection::SelectSink::on_done(Result<imap::StatusResponse> result,
                                     const imap::StatusResponse* refusal) {
  auto& c = connection;
  Result<> outcome;
  if (result) {
    c.selection_.succeeded(*result);
  } else {
    c.selection_.failed();
    if (refusal == nullptr) {
      outcome = fail(Errc::connection_lost, result.error().context);
    } else if (is_passing(refusal->code.name)) {
      outcome = fail(Errc::unavailable, server_text(result.error().context));
    } else if (result.error().code == imap::Errc::no && !is_forbidding(refusal->code.name)) {
      const bool gone = refusal->code.name == "NONEXISTENT";
      outcome =
          fail(gone ? Errc::no_such_mailbox : Errc::mailbox_refused, server_text(result.error().context));
    } else {
      outcome = fail(Error(result.error().code, server_text(result.error().context)));
    }
  }
  if (c.owner_ != nullptr) c.owner_->on_select_done(c, outcome);
}

// CLOSE would expunge. Without UNSELECT (RFC 3691), another mailbox is looked at: what is about it, nobody hears.
void Connection::deselect(const io::Label& label) {
  deselecting_ = true;
  selection_.failed();
  auto command = fixed_command(tiers_.unselect ? "UNSELECT" : "EXAMINE", true);
  if (!tiers_.unselect) command.chunks.front() += " INBOX";
  auto submitted = submit(std::move(command), deselect_sink_, label);
  if (!submitted) deselect_sink_.on_done(fail(std::move(submitted.error())), nullptr);
}

// Refused, EXAMINE leaves nothing selected either (RFC 3501, 6.3.1).
void Connection::DeselectSink::on_done(Result<imap::StatusResponse>, const imap::StatusResponse*) {
  connection.deselecting_ = false;
  if (connection.owner_ != nullptr) connection.owner_->on_deselected();
}

// --- IDLE (RFC 2177) ---

void Connection::start_idle() {
  idle_continued_ = idle_ending_ = idle_again_ = false;
  server_->count_command("IDLE");
  ++commands_;
  auto id = mux_.submit(fixed_command("IDLE", true), idle_sink_);
  if (!id) return;
  idle_id_ = *id;
  last_progress_ = idle_since_ = loop_.clock().now();
  schedule_flush();
}

void Connection::end_idle() {
  if (idle_id_ == 0 || idle_ending_) return;
  idle_ending_ = true;
  mux_.finish_idle(idle_id_);
  schedule_flush();
}

std::optional<std::string> Connection::IdleSink::on_continuation(const imap::Continuation&) {
  connection.idle_continued_ = true;
  connection.arm_timer();
  return std::nullopt;
}

void Connection::IdleSink::on_done(Result<imap::StatusResponse> result, const imap::StatusResponse* refusal) {
  auto& c = connection;
  c.idle_id_ = 0;
  if (refusal != nullptr) c.idle_refused_ = true;  // NOOP from now on
  if (!result || c.state_ != State::up) return;
  if (std::exchange(c.idle_again_, false) && c.may_idle_ && !c.busy()) c.start_idle();
  c.arm_timer();
}

void Connection::set_idle(bool on) {
  may_idle_ = on;
  if (state_ != State::up) return;
  if (!on) {
    idle_again_ = false;
    end_idle();
  }
  arm_timer();
}

// --- Time ---

MonotonicTime Connection::next_deadline() const {
  const auto& options = server_->options();
  if (busy()) return last_progress_ + options.command_timeout;
  if (idle_parked()) return idle_since_ + options.idle_renew;
  if (may_idle_ && !idle_refused_ && tiers_.idle_ok) return last_used_ + options.idle_after;
  return std::max(last_used_, last_progress_) + options.keepalive;
}

// A timer that is too early stays: it finds nothing due and is set anew. So a burst of commands costs one.
void Connection::arm_timer() {
  if (state_ != State::up && state_ != State::logging_out) return;
  const auto at = next_deadline();
  if (timer_ != 0 && timer_at_ <= at) return;
  loop_.timers().cancel(timer_);
  timer_at_ = at;
  timer_ = loop_.timers().add(at, [this] { on_timer(); });
}

void Connection::on_timer() {
  timer_ = 0;
  const auto self = shared_from_this();
  if (next_deadline() <= loop_.clock().now()) act_on_deadline();
  arm_timer();
}

void Connection::act_on_deadline() {
  if (busy()) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(server_->options().command_timeout);
    return lose(
        Error(Errc::timeout, "nothing from the server for " + std::to_string(seconds.count()) + " s"));
  }
  if (idle_parked()) {
    idle_again_ = true;
    last_progress_ = loop_.clock().now();
    return end_idle();
  }
  if (may_idle_ && !idle_refused_ && tiers_.idle_ok) return start_idle();
  last_progress_ = loop_.clock().now();
  server_->count_command("NOOP");
  ++commands_;
  if (mux_.submit(fixed_command("NOOP", false), noop_sink_)) schedule_flush();
}

// --- The end ---

void Connection::lose(const Error& reason) {
  if (state_ == State::closed) return;
  const auto self = shared_from_this();
  const bool expected = state_ == State::logging_out;
  const bool was_up = state_ != State::opening;
  // The reason may be a part of what ends here.
  const Error why = reason;  // NOLINT(performance-unnecessary-copy-initialization)
  state_ = State::closed;
  loop_.timers().cancel(std::exchange(timer_, 0));
  stream_->close();
  waiting_at_end_ = mux_.waiting();
  mux_.fail_all(why);
  selection_.failed();
  if (was_up) --server_->count().connections_open;
  if (!expected) {
    ++server_->count().connections_lost;
    loop_.logger().info("imap connection lost",
                        {{"peer", stream_->peer()}, {"reason", server_text(why.to_string())}});
  }
  if (logged_out_) logged_out_->set();
  if (auto* owner = owner_) owner->on_lost(*this, why);
}

void Connection::close(const Error& reason) {
  if (state_ == State::closed) return;
  if (state_ == State::opening) {
    state_ = State::closed;
    if (stream_) stream_->close();
    return;
  }
  state_ = State::logging_out;  // wanted: no loss
  lose(reason);
}

void Connection::log_out(std::shared_ptr<io::Event> done) {
  if (state_ != State::up) {
    if (state_ == State::opening) close(Error(Errc::unavailable, "closed"));
    return done->set();
  }
  logged_out_ = std::move(done);
  static_cast<void>(submit(fixed_command("LOGOUT", true), noop_sink_));
  state_ = State::logging_out;  // the server closes (RFC 3501, 6.1.3)
}

ConnectionInfo Connection::info() const {
  ConnectionInfo info;
  switch (state_) {
    case State::opening: info.state = "opening"; break;
    case State::up:
      info.state = selection_.state() == Selection::State::selecting ? "selecting"
                   : busy()                                          ? "busy"
                   : idle_parked()                                   ? "idle"
                                                                     : "ready";
      break;
    case State::logging_out: info.state = "logging out"; break;
    case State::closed: info.state = "closed"; break;
  }
  if (stream_) {
    info.peer = stream_->peer();
    info.tls = stream_->is_tls();
  }
  info.selected = selection_.mailbox();
  info.tier = std::string(imap::to_string(tiers_.sync)) + "/" + std::string(imap::to_string(tiers_.watch));
  if (connected_at_ != MonotonicTime{}) {
    info.connected_since = unix_seconds(loop_.clock().wall() - (loop_.clock().now() - connected_at_));
  }
  info.commands = commands_;
  info.bytes_in = bytes_in_;
  info.bytes_out = bytes_out_;
  return info;
}

}  // namespace postern::session
