// VacationResponse over one short-lived connection a use. What is to be done is vacation_plan.hpp's; here it is done.
//
// One use at a time for each account: what was read is what is changed. Bounds: use_timeout, connections_max,
// scripts_looked_at_max.
#include "sieve/vacation_store.hpp"

#include <set>

#include "postern/io/scoped_timer.hpp"
#include "sieve/vacation_plan.hpp"

namespace postern::sieve {
namespace {

constexpr std::size_t scripts_looked_at_max = 16;  // of those that the included one includes

std::unexpected<Error> mail_error(const Error& error) {
  if (error.code == Errc::authentication) return fail(mail::Errc::authentication, error.to_string());
  if (error.code == Errc::connection_lost) return fail(mail::Errc::outcome_unknown, error.context);
  if (error.code == Errc::unavailable || error.code == Errc::not_secure)
    return fail(mail::Errc::server_unavailable, error.to_string());
  return fail(mail::Errc::server_refused, error.to_string());
}

mail::SetOutcome forbidden(std::string why) { return {false, "forbidden", std::move(why), {}}; }

class VacationStoreImpl final : public mail::VacationStore {
 public:
  VacationStoreImpl(std::shared_ptr<SharedServer> server, std::function<session::Credentials()> credentials)
      : server_(std::move(server)),
        credentials_(std::move(credentials)),
        turn_(std::make_shared<Turn>(server_->loop())) {}

  bool is_offered() const override {
    const auto* known = server_->known();
    return known != nullptr && known->has("vacation");
  }
  io::Task<bool> ask_whether_offered() override {
    server_->ask();
    if (server_->known() == nullptr) co_await server_->asked();
    co_return is_offered();
  }
  std::string known_state() const override { return known_state_; }
  void on_new_state(std::function<void()> hook) override { new_state_ = std::move(hook); }
  io::Task<Result<mail::Snapshot<mail::VacationResponse>>> get() override;
  io::Task<Result<mail::VacationUpdate>> update(std::function<void(mail::VacationResponse&)> change,
                                                std::optional<std::string> if_in_state,
                                                mail::EffectsHook effects) override;

 private:
  // Uses of one account go one after another.
  struct Turn {
    explicit Turn(io::Loop& loop) : free(loop) { free.set(); }
    io::Event free;
  };
  class Use {
   public:
    Use(SharedServer& server, std::shared_ptr<Turn> turn, SharedServer::Slot slot)
        : connection(server.loop(), server.options().server, server.tls()),
          slot_(std::move(slot)),
          turn_(std::move(turn)),
          timer_(server.loop().timers(), server.options().use_timeout, [this] { connection.close(); }) {}
    ~Use() { turn_->free.set(); }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    Connection connection;
    std::string login;

   private:
    SharedServer::Slot slot_;
    std::shared_ptr<Turn> turn_;
    io::ScopedTimer timer_;
  };

  io::Task<Result<std::unique_ptr<Use>>> begin();
  io::Task<Result<>> sign_in(Use& use);
  static io::Task<Result<Reply>> ok(Connection& connection, Result<std::string> command);
  static io::Task<Result<std::optional<std::string>>> script(Connection& connection, std::string name);
  static io::Task<Result<Scripts>> read(Connection& connection);
  static io::Task<Result<bool>> is_passed_over(Connection& connection, std::string name);
  static io::Task<Result<mail::SetOutcome>> may_include(Connection& connection, std::string name);
  static io::Task<Result<mail::SetOutcome>> carry_out(Connection& connection, Plan plan);
  static io::Task<Result<mail::SetOutcome>> activate(Connection& connection, std::string name);

  const std::shared_ptr<SharedServer> server_;
  void learn(const std::string& state) {
    if (std::exchange(known_state_, state) != state && new_state_) new_state_();
  }

  const std::function<session::Credentials()> credentials_;
  const std::shared_ptr<Turn> turn_;
  std::string known_state_;
  std::function<void()> new_state_;
};

io::Task<Result<std::unique_ptr<VacationStoreImpl::Use>>> VacationStoreImpl::begin() {
  const auto deadline = server_->loop().clock().now() + server_->options().use_timeout;
  while (!turn_->free.is_set())
    if (!co_await turn_->free.wait_until(deadline))
      co_return fail(Errc::unavailable, "another use takes too long");
  turn_->free.reset();
  auto slot = co_await server_->take_slot();
  if (!slot) {
    turn_->free.set();
    co_return fail(slot.error());
  }
  auto use = std::make_unique<Use>(*server_, turn_, std::move(*slot));
  auto done = co_await sign_in(*use);
  if (!done) {
    server_->loop().logger().warning("ManageSieve",
                                     {{"user", use->login}, {"error", done.error().to_string()}});
    co_return fail(done.error());
  }
  server_->learn(use->connection.capabilities());
  co_return use;
}

io::Task<Result<>> VacationStoreImpl::sign_in(Use& use) {
  const auto credentials = credentials_();
  use.login = credentials.login;
  auto done = co_await use.connection.open();
  if (done) done = co_await use.connection.authenticate(credentials);
  co_return done;
}

io::Task<Result<Reply>> VacationStoreImpl::ok(Connection& connection, Result<std::string> command) {
  auto reply = co_await connection.execute(std::move(command));
  if (reply && reply->completion.status != Status::ok)
    co_return fail(Errc::refused, reply->completion.code + " " + reply->completion.text.substr(0, 200));
  co_return reply;
}

// Its text; nullopt if there is none of that name.
io::Task<Result<std::optional<std::string>>> VacationStoreImpl::script(Connection& connection,
                                                                       std::string name) {
  auto reply = co_await connection.execute(CommandBuilder("GETSCRIPT").script_name(name).finish());
  if (!reply) co_return fail(reply.error());
  if (reply->completion.status != Status::ok) {
    if (reply->completion.code == "NONEXISTENT") co_return std::nullopt;
    co_return fail(Errc::refused, "GETSCRIPT " + reply->completion.code);
  }
  if (reply->data.size() != 1 || reply->data[0].size() != 1) co_return fail(Errc::syntax, "GETSCRIPT");
  co_return std::move(reply->data[0][0].text);
}

io::Task<Result<Scripts>> VacationStoreImpl::read(Connection& connection) {
  auto listed = co_await ok(connection, CommandBuilder("LISTSCRIPTS").finish());
  if (!listed) co_return fail(listed.error());
  auto list = parse_script_list(listed->data);
  if (!list) co_return fail(list.error());
  Scripts scripts{std::move(*list), std::nullopt};
  if (scripts.list.has(vacation_script_name)) {
    auto text = co_await script(connection, std::string(vacation_script_name));
    if (!text) co_return fail(text.error());
    scripts.ours = std::move(*text);
  }
  co_return scripts;
}

// A server may list as active what isn't one of the person's own scripts (Pigeonhole's sieve_default_name). Included as
// :optional it would be passed over in silence, and included otherwise it is warned of.
io::Task<Result<bool>> VacationStoreImpl::is_passed_over(Connection& connection, std::string name) {
  const auto is_clean = [](const Completion& c) { return c.status == Status::ok && c.code != "WARNINGS"; };
  auto strict = co_await connection.execute(
      CommandBuilder("CHECKSCRIPT").string(write_include_probe(name, false)).finish());
  if (!strict) co_return fail(strict.error());
  if (is_clean(strict->completion)) co_return false;
  auto lenient = co_await connection.execute(
      CommandBuilder("CHECKSCRIPT").string(write_include_probe(name, true)).finish());
  if (!lenient) co_return fail(lenient.error());
  co_return is_clean(lenient->completion);
}

// Two answers to one message exclude each other (RFC 5230, 4.7), and a script that includes itself is an error: looks
// at the script and at what it includes.
io::Task<Result<mail::SetOutcome>> VacationStoreImpl::may_include(Connection& connection, std::string name) {
  std::vector<std::string> to_see{name};
  std::set<std::string> seen;
  while (!to_see.empty()) {
    const auto next = std::move(to_see.back());
    to_see.pop_back();
    if (!is_script_name(next) || !seen.insert(next).second) continue;
    if (next == vacation_script_name) co_return forbidden("the active script includes Postern's");
    if (seen.size() > scripts_looked_at_max)
      co_return forbidden("the active script includes too many others");
    auto text = co_await script(connection, next);
    if (!text) co_return fail(text.error());
    if (!*text) continue;
    auto use = scan_script(**text);
    if (use.answers)
      co_return forbidden("the script \"" + next +
                          "\" is active and answers messages by itself (vacation or reject)");
    std::move(use.includes.begin(), use.includes.end(), std::back_inserter(to_see));
  }
  co_return mail::SetOutcome{true, {}, {}, {}};
}

io::Task<Result<mail::SetOutcome>> VacationStoreImpl::activate(Connection& connection, std::string name) {
  auto reply = co_await connection.execute(CommandBuilder("SETACTIVE").script_name(name).finish());
  if (!reply) co_return fail(reply.error());
  if (reply->completion.status == Status::ok) co_return mail::SetOutcome{true, {}, {}, {}};
  co_return outcome_of(reply->completion);
}

io::Task<Result<mail::SetOutcome>> VacationStoreImpl::carry_out(Connection& connection, Plan plan) {
  mail::SetOutcome done{true, {}, {}, {}};
  if (plan.activate_before) {
    auto activated = co_await activate(connection, *plan.activate_before);
    if (!activated || !activated->done) co_return activated;
  }
  if (plan.put) {
    auto command = CommandBuilder("PUTSCRIPT").script_name(vacation_script_name).string(*plan.put).finish();
    auto reply = co_await connection.execute(std::move(command));
    if (!reply) co_return fail(reply.error());
    if (reply->completion.status != Status::ok) co_return outcome_of(reply->completion);
  }
  if (plan.activate) co_return co_await activate(connection, std::string(vacation_script_name));
  co_return done;
}

io::Task<Result<mail::Snapshot<mail::VacationResponse>>> VacationStoreImpl::get() {
  auto use = co_await begin();
  if (!use) co_return mail_error(use.error());
  auto& connection = (*use)->connection;
  auto scripts = co_await read(connection);
  if (!scripts) co_return mail_error(scripts.error());
  co_await connection.log_out();
  auto now = in_force(*scripts);
  auto state = state_of(now.response);
  learn(state);
  co_return mail::Snapshot<mail::VacationResponse>{std::move(now.response), std::move(state)};
}

io::Task<Result<mail::VacationUpdate>> VacationStoreImpl::update(
    std::function<void(mail::VacationResponse&)> change, std::optional<std::string> if_in_state,
    mail::EffectsHook effects) {
  auto use = co_await begin();
  if (!use) co_return mail_error(use.error());
  auto& connection = (*use)->connection;
  auto scripts = co_await read(connection);
  if (!scripts) co_return mail_error(scripts.error());
  auto wanted = in_force(*scripts).response;
  mail::VacationUpdate update;
  update.old_state = update.new_state = state_of(wanted);
  update.state_mismatch = if_in_state && *if_in_state != update.old_state;
  if (update.state_mismatch) co_return update;
  change(wanted);
  std::vector<std::string> addresses;
  if ((*use)->login.find('@') != std::string::npos) addresses.push_back((*use)->login);
  auto plan = plan_change(*scripts, wanted, connection.capabilities(), addresses);
  if (!plan) update.outcome = std::move(plan.error());
  if (!plan) co_return update;
  Result<mail::SetOutcome> done = mail::SetOutcome{true, {}, {}, {}};
  if (plan->include_listed) {
    auto passed_over = co_await is_passed_over(connection, *plan->include);
    if (!passed_over) co_return mail_error(passed_over.error());
    if (*passed_over)
      done = forbidden("the script \"" + *plan->include + "\" is active and can't be included");
  }
  if (plan->include && done->done) done = co_await may_include(connection, *plan->include);
  if (done && done->done && plan->put) {
    if (effects && !co_await effects())
      co_return fail(mail::Errc::server_unavailable, "nobody waits for it any more");
    done = co_await carry_out(connection, std::move(*plan));
  }
  if (!done) co_return mail_error(done.error());
  update.outcome = std::move(*done);
  if (update.outcome.done) {
    update.new_state = state_of(wanted);
  } else if (auto left = co_await read(connection)) {  // a part of it may have been done
    update.new_state = state_of(in_force(*left).response);
  }
  learn(update.new_state);
  co_await connection.log_out();
  co_return update;
}

}  // namespace

std::unique_ptr<mail::VacationStore> make_vacation_store(std::shared_ptr<SharedServer> server,
                                                         std::function<session::Credentials()> credentials) {
  return std::make_unique<VacationStoreImpl>(std::move(server), std::move(credentials));
}

}  // namespace postern::sieve
