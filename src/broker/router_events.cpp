// GET /jmap/events/ (RFC 8620, 7.3): who it is, which states they want, and where nginx gets the stream from: a channel
// of its nchan, or the broker's own listener, which takes requests itself as well.
#include <utility>

#include "broker/router.hpp"
#include "postern/base/encoding.hpp"

namespace postern::broker {
namespace {

constexpr std::string_view ticket_path = "/ticket/";
constexpr std::string_view web_socket_path = "/jmap/ws";
constexpr std::uint32_t silent_ping_seconds = 60;

// Only the web server can connect here, so the last of what says for whom it asks, and how it was asked, is its own
// word; it stands in place of what a worker would tell. What stands before that was said by whoever asked it.
void take_forwarded(ipc::RequestHead& head) {
  const auto take_last = [](std::string& list, std::string& into) {
    const auto comma = list.rfind(',');
    into = trim_ascii(std::string_view(list).substr(comma == std::string::npos ? 0 : comma + 1));
    list.resize(comma == std::string::npos ? 0 : comma);
  };
  for (auto& [name, value] : head.fields) {
    if (name == "x-forwarded-for") take_last(value, head.remote_address);
    if (name == "x-forwarded-proto") take_last(value, head.scheme);
    if (name == "x-forwarded-host") take_last(value, head.host);
  }
}

}  // namespace

std::expected<EventParameters, Router::Answer> Router::event_parameters(const Exchange& exchange) {
  auto parameters = parse_event_parameters(exchange.target.query, exchange.head().fields);
  if (!parameters) return std::unexpected(jmap::problem(400, "about:blank", parameters.error()));
  return std::move(*parameters);
}

// A browser lets any page open an event stream anywhere, sends along what it knows by itself (a cookie, Basic, a client
// certificate), and nchan lets that page read it. A Bearer token it doesn't know. An image's request has no Origin, and
// would still take the place of another stream of the session's.
std::optional<Router::Answer> Router::foreign_stream(const Exchange& exchange) const {
  const auto& fields = exchange.head().fields;
  if (parse_bearer(ipc::field(fields, "authorization"))) return std::nullopt;
  const auto site = ipc::field(fields, "sec-fetch-site");
  if (site == "cross-site" || site == "same-site")
    return jmap::problem(403, "about:blank", "the request comes from another site");
  return forged_beside_web_server(exchange);
}

push::ListenerOptions Router::listener_options(const EventParameters& parameters, const EventOwner& owner) {
  push::ListenerOptions options;
  options.account = owner.key;
  options.session = owner.session;
  options.types = parameters.types;
  options.close_after_state = parameters.close_after_state || parameters.long_poll;
  options.ping_seconds = parameters.ping;
  options.known = push::parse_event_id(parameters.last_event_id);
  return options;
}

io::Task<> Router::events(Exchange& exchange) {
  if (events_ == nullptr || !config_->push.enabled)
    co_return co_await answer(exchange, jmap::problem(404, "about:blank", "there is nothing here"));
  if (auto wrong = foreign_stream(exchange)) co_return co_await answer(exchange, std::move(*wrong));
  auto identity = co_await authenticate(exchange);
  if (!identity) co_return co_await answer(exchange, std::move(identity.error()));
  auto parameters = event_parameters(exchange);
  if (!parameters) co_return co_await answer(exchange, std::move(parameters.error()));
  if (events_ == nullptr)  // the broker stops
    co_return co_await answer(exchange,
                              jmap::problem(503, "about:blank", "the mail service is being restarted"));
  EventOwner owner{identity->account, identity->key, session_name(identity->session)};
  if (!config_->push.frontends.empty() && nchan_has(*parameters))
    co_return co_await nchan_stream(exchange, std::move(*parameters), std::move(owner));
  auto options = listener_options(*parameters, owner);
  const auto ticket =
      events_->hub().is_full() ? std::string() : events_->make_ticket({std::move(owner), std::move(options)});
  if (ticket.empty()) {
    auto full = jmap::problem(503, "about:blank", "too many event streams are open");
    full.retry_after = "10";
    co_return co_await answer(exchange, std::move(full));
  }
  Answer redirect;
  redirect.content_type = "text/event-stream";
  co_await answer(exchange, std::move(redirect),
                  {{"x-accel-redirect", config_->push.stream_location + "ticket/" + ticket}});
}

io::Task<> Router::nchan_stream(Exchange& exchange, EventParameters parameters, EventOwner owner) {
  const auto name = std::string(ipc::field(exchange.head().fields, "x-frontend"));
  // It would send requests to wherever the client says.
  if (!events_->has_frontend(name)) {
    loop_.logger().warning("event stream from a front end that isn't configured",
                           {{"frontend", name}, {"request", exchange.head().id}});
    co_return co_await answer(exchange, jmap::problem(403, "about:blank", "this front end isn't configured"));
  }
  const bool poll = parameters.long_poll;
  // A stream that comes back is told all as well: what nginx kept for it goes when nginx is reloaded. A poll that knows
  // something would be answered at once each time.
  const bool fresh = !poll || parameters.last_event_id == push::no_states_id;
  if (!is_message_id(parameters.last_event_id)) parameters.last_event_id.clear();
  auto channel = co_await events_->open_channel(name, std::move(owner), fresh);
  if (!channel) {
    // What a publisher doesn't answer is said once, there; its clients ask by the thousand.
    const bool said = channel.error().code == make_error_code(io::Errc::timeout);
    loop_.logger().log(
        said ? LogLevel::debug : LogLevel::warning, "event stream not opened",
        {{"frontend", name}, {"request", exchange.head().id}, {"error", channel.error().to_string()}});
    auto away = jmap::problem(503, "about:blank", "event streams can't be opened now");
    away.retry_after = "10";
    co_return co_await answer(exchange, std::move(away));
  }
  const auto* kind = poll ? "poll/" : parameters.ping == 0 ? "silent/" : "stream/";
  auto location = config_->push.frontends.at(name).subscriber + kind + *channel;
  if (!parameters.last_event_id.empty()) location += "?last_event_id=" + parameters.last_event_id;
  Answer redirect;
  redirect.content_type = poll ? "application/json" : "text/event-stream";
  co_await answer(exchange, std::move(redirect), {{"x-accel-redirect", std::move(location)}});
}

// --- The broker's own streams ---

push::StreamRefusal Router::refusal_of(const Exchange& exchange, Answer answer) {
  push::StreamRefusal refusal;
  refusal.status = answer.status;
  refusal.content_type = std::move(answer.content_type);
  refusal.fields = challenges(exchange, answer);
  if (!answer.retry_after.empty()) refusal.fields.emplace_back("Retry-After", answer.retry_after);
  refusal.body = std::move(answer.body);
  return refusal;
}

io::Task<push::StreamAnswer> Router::open_stream(push::StreamRequest request) {
  ipc::RequestHead head;
  head.method = std::move(request.method);
  head.target = std::move(request.target);
  head.host = std::move(request.host);
  head.fields = std::move(request.fields);
  take_forwarded(head);
  auto exchange = exchange_of(std::make_shared<RequestStream>(loop_, std::move(head)));
  const auto refuse = [&](std::uint16_t status, std::string_view why) -> push::StreamAnswer {
    return refusal_of(exchange, jmap::problem(status, "about:blank", why));
  };
  if (exchange.head().method != "GET") co_return refuse(405, "this method isn't allowed here");
  constexpr std::string_view stopping = "the mail service is being restarted";
  if (events_ == nullptr) co_return refuse(503, stopping);
  std::optional<EventService::Admission> admission;
  push::StreamOpening opening;
  const auto& path = exchange.target.path;
  if (path.starts_with(ticket_path)) {
    admission = events_->redeem(path.substr(ticket_path.size()));
    if (!admission) co_return refuse(403, "this stream isn't expected any more");
  } else if (path.ends_with("/events/") || path.ends_with("/events")) {
    if (auto wrong = foreign_stream(exchange)) co_return refusal_of(exchange, std::move(*wrong));
    auto identity = co_await authenticate(exchange);
    if (!identity) co_return refusal_of(exchange, std::move(identity.error()));
    auto parameters = event_parameters(exchange);
    if (!parameters) co_return refusal_of(exchange, std::move(parameters.error()));
    EventOwner owner{identity->account, identity->key, session_name(identity->session)};
    auto options = listener_options(*parameters, owner);
    // Apache notices only by what it can't pass on that a browser has gone, and a thread of its waits until then.
    if (options.ping_seconds == 0) {
      options.ping_seconds = silent_ping_seconds;
      opening.silent_pings = true;
    }
    admission = EventService::Admission{std::move(owner), std::move(options)};
  } else if (path.ends_with(web_socket_path)) {
    co_return co_await open_socket(exchange);
  } else {
    co_return refuse(404, "there is nothing here");
  }
  if (events_ == nullptr) co_return refuse(503, stopping);
  auto states = co_await events_->states_of_account(admission->owner);
  if (!states) co_return refuse(503, "event streams can't be opened now");
  opening.account_id = mail::account_id(admission->owner.key);
  opening.options = std::move(admission->options);
  opening.now = std::move(*states);
  co_return opening;
}

}  // namespace postern::broker
