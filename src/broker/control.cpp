// Requests and answers as JSON, and the connections that they come by.
#include "broker/control.hpp"

#include <unistd.h>

#include "postern/base/json_misuse.hpp"
#include "postern/io/scoped_timer.hpp"
#include "postern/jmap/json.hpp"

namespace postern::broker {
namespace {

using jmap::JsonWriter;

std::string refusal(std::string_view why) {
  std::string line;
  JsonWriter writer(line);
  writer.start_object();
  writer.member_bool("ok", false);
  writer.member("error", why);
  writer.end_object();
  return line;
}

// {"ok":true, and what `more` writes}
template <typename F>
std::string success(F more) {
  std::string line;
  JsonWriter writer(line);
  writer.start_object();
  writer.member_bool("ok", true);
  more(writer);
  writer.end_object();
  return line;
}

void member_int(JsonWriter& writer, std::string_view name, std::int64_t value) {
  writer.key(name);
  writer.integer(value);
}

void write_imap(JsonWriter& writer, const Snapshot& s) {
  writer.start_object();
  writer.member("server", s.imap_server);
  writer.member_bool("backingOff", s.imap_backing_off);
  writer.member_uint("connectionsOpen", s.imap.connections_open);
  writer.member_uint("connects", s.imap.connects);
  writer.member_uint("connectFailures", s.imap.connect_failures);
  writer.member_uint("connectionsLost", s.imap.connections_lost);
  writer.member_uint("logins", s.imap.logins);
  writer.member_uint("loginRefusals", s.imap.login_refusals);
  writer.member_uint("loginFailures", s.imap.login_failures);
  writer.member_uint("loginsInFlight", s.imap.logins_in_flight);
  writer.member_uint("loginsWaiting", s.imap.logins_waiting);
  writer.member_uint("reconnects", s.imap.reconnects);
  writer.member_uint("tlsResumptions", s.imap.tls_resumptions);
  writer.member_uint("bytesIn", s.imap.bytes_in);
  writer.member_uint("bytesOut", s.imap.bytes_out);
  writer.key("commands");
  writer.start_object();
  for (const auto& [name, count] : s.imap.commands) writer.member_uint(name, count);
  writer.end_object();
  writer.end_object();
}

void write_requests(JsonWriter& writer, const Snapshot& s) {
  writer.start_object();
  writer.member_uint("total", s.ipc.requests);
  writer.member_uint("open", s.ipc.streams_open);
  writer.member_uint("api", s.requests.api_requests);
  writer.member_uint("downloads", s.requests.downloads);
  writer.member_uint("answers2xx", s.requests.answers_2xx);
  writer.member_uint("answers4xx", s.requests.answers_4xx);
  writer.member_uint("answers5xx", s.requests.answers_5xx);
  writer.member_uint("answersStale", s.requests.stale_answers);
  writer.member_uint("signIns", s.requests.sign_ins);
  writer.member_uint("signInFailures", s.requests.sign_in_failures);
  writer.member_uint("signOuts", s.requests.sign_outs);
  writer.end_object();
}

void write_uses(JsonWriter& writer, const Snapshot& s) {
  writer.key("workers");
  writer.start_object();
  writer.member_uint("connectionsOpen", s.ipc.connections_open);
  writer.member_uint("connections", s.ipc.connections);
  writer.member_uint("connectionsRefused", s.ipc.connections_refused);
  writer.member_uint("protocolErrors", s.ipc.protocol_errors);
  writer.end_object();
  writer.key("cache");
  writer.start_object();
  writer.member_uint("accounts", s.cache.accounts);
  writer.member_uint("views", s.cache.views);
  writer.member_uint("viewBytes", s.cache.view_bytes);
  writer.member_uint("fragments", s.cache.fragments);
  writer.member_uint("fragmentBytes", s.cache.fragment_bytes);
  writer.member_uint("fragmentHits", s.cache.fragment_hits);
  writer.member_uint("fragmentMisses", s.cache.fragment_misses);
  writer.end_object();
  writer.key("segment");
  writer.start_object();
  writer.member_uint("sessions", s.segment.sessions);
  writer.member_uint("sessionsMax", s.segment.sessions_max);
  writer.member_uint("accounts", s.segment.accounts);
  writer.member_uint("accountsMax", s.segment.accounts_max);
  writer.member_uint("redirects", s.segment.redirects);
  writer.member_uint("redirectsMax", s.segment.redirects_max);
  writer.member_uint("bytes", s.segment.bytes);
  writer.end_object();
}

std::string status_line(const Snapshot& s) {
  return success([&](JsonWriter& writer) {
    writer.member("version", POSTERN_VERSION);
    member_int(writer, "pid", s.pid);
    writer.member_utc_date("started", s.started);
    member_int(writer, "uptimeSeconds", s.uptime_seconds);
    writer.member_bool("draining", s.draining);
    writer.member("logLevel", to_string(s.log_level));
    writer.member_uint("shards", s.shards);
    writer.key("requests");
    write_requests(writer, s);
    writer.key("imap");
    write_imap(writer, s);
    write_uses(writer, s);
  });
}

void write_session(JsonWriter& writer, const SessionInfo& session) {
  writer.start_object();
  writer.member("tag", session.tag);
  writer.member("login", session.login);
  writer.member("accountId", session.account_id);
  writer.member_utc_date("created", session.created);
  writer.member_utc_date("lastUsed", session.last_used);
  writer.member_utc_date("expires", session.expires);
  writer.end_object();
}

void write_account(JsonWriter& writer, const AccountInfo& account) {
  writer.start_object();
  writer.member("login", account.login);
  writer.member("accountId", account.account_id);
  member_int(writer, "idleSeconds", account.idle_seconds);
  writer.member_uint("requestsInFlight", account.requests_in_flight);
  writer.member_uint("views", account.views);
  writer.member_uint("viewBytes", account.view_bytes);
  writer.key("connections");
  writer.start_array();
  for (const auto& connection : account.connections) {
    writer.start_object();
    writer.member("state", connection.state);
    writer.member("peer", connection.peer);
    writer.member("tier", connection.tier);
    writer.member_bool("tls", connection.tls);
    writer.member("selected", connection.selected);
    writer.member_utc_date("connectedSince", connection.connected_since);
    writer.member_uint("commands", connection.commands);
    writer.member_uint("bytesIn", connection.bytes_in);
    writer.member_uint("bytesOut", connection.bytes_out);
    writer.end_object();
  }
  writer.end_array();
  writer.end_object();
}

template <typename Row>
std::string rows_line(std::string_view name, const std::vector<Row>& rows,
                      void (*write)(JsonWriter&, const Row&)) {
  return success([&](JsonWriter& writer) {
    writer.key(name);
    writer.start_array();
    const auto shown = std::min(rows.size(), control_rows_max);
    for (std::size_t i = 0; i < shown; ++i) write(writer, rows[i]);
    writer.end_array();
    writer.member_uint("more", rows.size() - shown);
  });
}

std::string reload_line(const ControlActions& actions) {
  auto restart = actions.reload();
  if (!restart) return refusal(restart.error().to_string());
  return success([&](JsonWriter& writer) {
    writer.key("needRestart");
    writer.start_array();
    for (const auto& section : *restart) writer.string(section);
    writer.end_array();
  });
}

std::string limits_line(std::string_view command, const ControlArgument& argument,
                        const LimitsActions& actions) {
  std::expected<void, std::string> done;
  auto line = success([&](JsonWriter& writer) { done = answer_limits(command, argument, actions, writer); });
  return done ? line : refusal(done.error());
}

io::Task<ControlAnswer> carry_out(std::string request, const ControlActions& actions) {
  constexpr auto nothing = [](JsonWriter&) {};
  rapidjson::Document document;
  document.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag>(request.data(),
                                                                                         request.size());
  if (document.HasParseError() || !document.IsObject())
    co_return ControlAnswer{refusal("the request is no JSON object")};
  const auto command = jmap::require_string(document, "command");
  if (!command) co_return ControlAnswer{refusal(command.error().description())};
  const auto argument = [&](std::string_view name) -> std::string {
    const auto value = jmap::get_string(document, name);
    return value && *value ? std::string(**value) : std::string();
  };

  if (*command == "version")
    co_return ControlAnswer{success([](JsonWriter& writer) { writer.member("version", POSTERN_VERSION); })};
  if (*command == "status") {
    const auto snapshot = co_await actions.snapshot();
    co_return ControlAnswer{status_line(snapshot)};
  }
  if (*command == "sessions")
    co_return ControlAnswer{rows_line("sessions", actions.sessions(argument("login")), write_session)};
  if (*command == "accounts") {
    const auto accounts = co_await actions.accounts(argument("login"));
    co_return ControlAnswer{rows_line("accounts", accounts, write_account)};
  }
  if (*command == "end-session") {
    const auto tag = argument("tag");
    const auto ended = co_await actions.end_session(tag);
    if (ended.empty()) co_return ControlAnswer{refusal("no session has the tag " + tag)};
    co_return ControlAnswer{rows_line("ended", ended, write_session)};
  }
  if (*command == "drain" || *command == "undrain") {
    actions.set_draining(*command == "drain");
    co_return ControlAnswer{success(nothing)};
  }
  if (*command == "reload") co_return ControlAnswer{reload_line(actions)};
  if (*command == "log-level") {
    LogLevel level{};
    if (!parse_log_level(argument("level"), level))
      co_return ControlAnswer{refusal("the level must be trace, debug, info, warning or error")};
    actions.set_log_level(level);
    co_return ControlAnswer{success(nothing)};
  }
  if (*command == "upgrade") {
    if (auto ready = actions.may_upgrade(); !ready)
      co_return ControlAnswer{refusal(ready.error().to_string())};
    co_return ControlAnswer{success(nothing), true};
  }
  if (command->starts_with("limits-"))
    co_return ControlAnswer{limits_line(*command, argument, actions.limits)};
  co_return ControlAnswer{refusal("unknown command: " + std::string(*command))};
}

}  // namespace

io::Task<ControlAnswer> answer_control(std::string request, const ControlActions& actions) {
  try {
    co_return co_await carry_out(std::move(request), actions);
  } catch (const JsonMisuse& misuse) {
    co_return ControlAnswer{refusal(std::string("internal error: ") + misuse.what())};
  }
}

// Shared with the coroutines that serve connections, which may be on their way when the server goes.
struct ControlServer::State : std::enable_shared_from_this<State> {
  State(io::Loop& l, std::unique_ptr<io::UnixListener> li, ControlActions a)
      : loop(l), listener(std::move(li)), actions(std::move(a)) {}

  io::Loop& loop;
  std::unique_ptr<io::UnixListener> listener;
  ControlActions actions;
  unsigned open = 0;
  bool closed = false;

  static io::Task<> accept_all(std::shared_ptr<State> self);
  static io::Task<> serve(std::shared_ptr<State> self, std::unique_ptr<io::ByteStream> stream);
  static io::Task<Result<std::string>> read_request(State& self, io::ByteStream& stream);
};

io::Task<> ControlServer::State::accept_all(std::shared_ptr<State> self) {
  while (true) {
    auto accepted = co_await self->listener->accept();
    if (!accepted) co_return;
    if (accepted->uid != 0 && accepted->uid != geteuid()) {
      self->loop.logger().warning("control connection refused",
                                  {{"uid", accepted->uid}, {"pid", accepted->pid}});
      continue;
    }
    if (self->open >= control_connections_max) {
      self->loop.logger().warning("too many control connections", {{"limit", control_connections_max}});
      continue;
    }
    ++self->open;
    self->loop.spawn(serve(self, std::move(accepted->stream)));
  }
}

io::Task<Result<std::string>> ControlServer::State::read_request(State& self, io::ByteStream& stream) {
  std::string line;
  io::ScopedTimer deadline(self.loop.timers(), control_wait_max, [&stream] { stream.close(); });
  while (true) {
    auto got = co_await stream.read_some(self.loop.scratch());
    if (!got) co_return fail(got.error());
    line.append(self.loop.scratch().data(), *got);
    // Where there is none yet, npos is beyond the bound, too.
    if (const auto end = line.find('\n'); end <= control_request_bytes_max) co_return line.substr(0, end);
    if (line.size() > control_request_bytes_max) co_return std::string();
  }
}

io::Task<> ControlServer::State::serve(std::shared_ptr<State> self, std::unique_ptr<io::ByteStream> stream) {
  auto request = co_await read_request(*self, *stream);
  if (request && !self->closed) {
    ControlAnswer answer;
    if (request->empty())
      answer.line = refusal("the request is empty or longer than " +
                            std::to_string(control_request_bytes_max) + " octets");
    else
      answer = co_await answer_control(std::move(*request), self->actions);
    answer.line += '\n';
    {
      auto* target = stream.get();
      io::ScopedTimer deadline(self->loop.timers(), control_wait_max, [target] { target->close(); });
      (void)co_await stream->write_all(answer.line);
    }
    stream->close();
    if (answer.upgrade && !self->closed) self->actions.upgrade();
  }
  --self->open;
}

ControlServer::ControlServer(io::Loop& loop, std::unique_ptr<io::UnixListener> listener,
                             ControlActions actions)
    : state_(std::make_shared<State>(loop, std::move(listener), std::move(actions))) {}

ControlServer::~ControlServer() { close(); }

void ControlServer::start() { state_->loop.spawn(State::accept_all(state_)); }

void ControlServer::close() {
  state_->closed = true;
  state_->listener->close();
}

io::UnixListener& ControlServer::listener() { return *state_->listener; }

}  // namespace postern::broker
