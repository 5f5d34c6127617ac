// The routes of JMAP: session resource and API. Who a request speaks for is in router_auth.cpp, blobs are in
// router_download.cpp and router_upload.cpp.
#include "broker/router.hpp"

#include <algorithm>
#include <utility>

#include "broker/router_support.hpp"
#include "postern/base/encoding.hpp"
#include "postern/io/label.hpp"

namespace postern::broker {
namespace {

// Is it one of "GET, HEAD"?
bool is_allowed(std::string_view methods, std::string_view method) {
  while (!methods.empty()) {
    const auto end = std::min(methods.find(", "), methods.size());
    if (methods.substr(0, end) == method) return true;
    methods.remove_prefix(std::min(end + 2, methods.size()));
  }
  return false;
}

}  // namespace

std::optional<std::vector<std::string>> path_parts(std::string_view path, std::string_view prefix) {
  if (!path.starts_with(prefix)) return std::nullopt;
  path.remove_prefix(prefix.size());
  std::vector<std::string> parts;
  while (true) {
    const auto slash = std::min(path.find('/'), path.size());
    auto part = percent_decode(path.substr(0, slash));
    if (!part) return std::nullopt;
    parts.push_back(std::move(*part));
    if (slash == path.size()) return parts;
    path.remove_prefix(slash + 1);
  }
}

namespace {

// What people may send; null where nothing is sent.
const outbox::Options* sending_options(const Config& config) {
  return config.smtp.is_on() ? &config.smtp.outbox : nullptr;
}

// What the configuration says of an account, and what there is besides it.
void add_configured(jmap::AccountFeatures& features, const Config& config, const std::string& base_url,
                    const std::string& application_server_key) {
  features.submission = sending_options(config);
  features.application_server_key = application_server_key;
  // https becomes wss, http ws.
  if (config.push.enabled && config.push.web_socket && base_url.starts_with("http"))
    features.websocket_url = "ws" + base_url.substr(4) + "/jmap/ws";
}

io::Task<jmap::AccountFeatures> ask_features(mail::Account& account, std::shared_ptr<const Config> config,
                                             std::string base_url, std::string application_server_key) {
  auto features = co_await jmap::ask_features(account);
  add_configured(features, *config, base_url, application_server_key);
  co_return features;
}

}  // namespace

Router::Router(io::Loop& loop, std::shared_ptr<const Config> config, std::vector<Shard*> shards,
               store::SegmentWriter& segment, blobs::UploadStore& uploads)
    : loop_(loop),
      config_(std::move(config)),
      shards_(std::move(shards)),
      segment_(segment),
      uploads_(uploads),
      throttle_(std::make_shared<limits::SignInThrottle>(config_->throttle)),
      throttle_key_(32, '\0') {
  loop_.random().fill({reinterpret_cast<std::uint8_t*>(throttle_key_.data()), throttle_key_.size()});
}

void Router::set_config(std::shared_ptr<const Config> config) {
  config_ = std::move(config);
  throttle_->set_options(config_->throttle);
}

io::Task<> Router::handle(std::shared_ptr<RequestStream> stream) {
  auto exchange = exchange_of(std::move(stream));
  const auto& head = exchange.head();
  loop_.logger().debug("request", {{"request", head.id},
                                   {"method", head.method},
                                   {"path", exchange.target.path},
                                   {"client", exchange.client_address}});
  co_await route(std::move(exchange));
}

Router::Exchange Router::exchange_of(std::shared_ptr<RequestStream> stream) const {
  Exchange exchange{stream, split_target(stream->head()), {}, {}};
  const auto& head = stream->head();
  const auto& proxies = config_->http.trusted_proxies;
  exchange.base_url = base_url(head, config_->http.public_url, is_trusted(proxies, head.remote_address));
  exchange.client_address = client_address(head, proxies);
  return exchange;
}

io::Task<> Router::route(Exchange exchange) {
  struct Route {
    std::string_view path, methods;
    io::Task<> (Router::*run)(Exchange&);
  };
  static constexpr Route routes[] = {
      {"/jmap/api", "POST", &Router::api},
      {"/.well-known/jmap", "GET, HEAD", &Router::session_resource},
      {"/jmap/session", "GET, HEAD", &Router::session_resource},
      {"/auth/login", "POST", &Router::login},
      {"/auth/logout", "POST", &Router::logout},
      {"/jmap/events/", "GET", &Router::events},
      {"/jmap/events", "GET", &Router::events},
      {"/events/", "GET", &Router::events},
      {"/events", "GET", &Router::events},
  };
  const auto& method = exchange.head().method;
  const auto& path = exchange.target.path;
  const Route* found = nullptr;
  static constexpr Route blob_routes[] = {
      {"/jmap/download/", "GET, HEAD", &Router::download},
      {"/jmap/upload/", "POST", &Router::upload},
  };
  for (const auto& route : routes)
    if (route.path == path) found = &route;
  for (const auto& route : blob_routes)
    if (found == nullptr && path.starts_with(route.path)) found = &route;
  if (found == nullptr) co_return co_await answer(exchange, not_found());
  if (!is_allowed(found->methods, method))
    co_return co_await answer(exchange, jmap::problem(405, "about:blank", "this method isn't allowed here"),
                              {{"allow", std::string(found->methods)}});
  co_await (this->*found->run)(exchange);
}

io::Task<> Router::answer(Exchange& exchange, Answer answer, ipc::Fields more, bool secret) {
  auto& count = answer.status < 300   ? counters_.answers_2xx
                : answer.status < 500 ? counters_.answers_4xx
                                      : counters_.answers_5xx;
  ++count;
  auto head = response_head(answer);
  for (auto& field : more) head.fields.push_back(std::move(field));
  for (auto& field : challenges(exchange, answer)) head.fields.push_back(std::move(field));
  const bool head_only = exchange.head().method == "HEAD";
  auto sent = co_await exchange.stream->respond(
      head, head_only ? std::string_view{} : std::string_view(answer.body), secret);
  if (secret) {
    wipe(answer.body.data(), answer.body.size());
    for (auto& [name, value] : head.fields) wipe(value.data(), value.size());
  }
  if (!sent && !exchange.stream->is_over())
    loop_.logger().warning("answer not sent",
                           {{"request", exchange.head().id}, {"error", sent.error().to_string()}});
}

// A browser's own script asks without a dialog; everybody else is told how to authenticate.
ipc::Fields Router::challenges(const Exchange& exchange, const Answer& answer) const {
  ipc::Fields fields;
  if (answer.status != 401 || !ipc::field(exchange.head().fields, "sec-fetch-site").empty()) return fields;
  if (config_->auth.basic)
    fields.emplace_back("www-authenticate", "Basic realm=\"Postern\", charset=\"UTF-8\"");
  if (config_->auth.oauth || config_->auth.login)
    fields.emplace_back("www-authenticate", "Bearer realm=\"Postern\"");
  return fields;
}

std::string Router::application_server_key() const {
  return subscriptions_ == nullptr ? std::string() : subscriptions_->application_server_key();
}

jmap::SessionInfo Router::session_info(const Exchange& exchange, const Identity& identity,
                                       const jmap::AccountFeatures& features) const {
  return {identity.login, mail::account_id(identity.key), exchange.base_url, features};
}

io::Task<> Router::session_resource(Exchange& exchange) {
  auto identity = co_await authenticate(exchange);
  if (!identity) co_return co_await answer(exchange, std::move(identity.error()));
  const auto entered = enter(*identity);
  if (!entered) co_return co_await answer(exchange, entered.error());
  auto& shard = shard_of(identity->key);
  auto features = co_await on_loop(
      shard.loop(), loop_, [account = identity->account.get()]() -> io::Task<Result<jmap::AccountFeatures>> {
        co_return co_await jmap::ask_features(*account);
      });
  Answer response;
  std::string state;
  add_configured(*features, *config_, exchange.base_url, application_server_key());
  response.body = jmap::session_resource(session_info(exchange, *identity, *features), config_->jmap, state);
  co_await answer(exchange, std::move(response));
}

// The IMAP server has refused the account, which may have been opened with an older or newer password than the one
// that this session has sealed: true if it is worth to try once more, with the session's own.
io::Task<bool> Router::try_own_credentials(Exchange& exchange, Identity& identity) {
  const auto record = identity.session ? segment_.find_session(*identity.session) : std::nullopt;
  auto own = record ? unsealed(*record, identity.token) : std::nullopt;
  if (!own) co_return false;
  auto& shard = shard_of(identity.key);
  auto again = co_await on_loop(
      shard.loop(), loop_, [&shard, &identity, &own, &exchange]() -> io::Task<Result<AccountPtr>> {
        co_return co_await shard.after_refusal(identity.key, identity.account.get(), *identity.session,
                                               std::move(*own), exchange.client_address);
      });
  if (!again || !*again) co_return false;
  identity.account = std::move(*again);
  co_return true;
}

// The IMAP server refuses the credentials that a live session has sealed (the password was changed): the
// session is over. So is the account, unless others have put better ones in their place.
io::Task<> Router::refused_by_server(Identity& identity) {
  if (identity.session) end_session(identity.key, *identity.session);
  auto& shard = shard_of(identity.key);
  co_await on_loop(
      shard.loop(), loop_,
      [&shard, key = identity.key, account = std::move(identity.account)]() mutable -> io::Task<Result<>> {
        const auto* only = account.get();
        const bool refused = account->pool().refused();
        account.reset();
        if (refused) co_await shard.close_unused(key, only);
        co_return Result<>{};
      });
}

// What the request asks of the IMAP server is logged under its id, where anybody wants to see that.
io::Task<> Router::labelled(io::Loop& loop, const Exchange& exchange, io::Task<> task) {
  if (!loop.logger().enabled(LogLevel::debug)) return task;
  return io::labelled(loop, exchange.head().id, std::move(task));
}

// Until it is answered: what waits for its turn is in memory as well.
std::expected<Router::Bodies::Share, Router::Answer> Router::room_for_body(
    const Exchange& exchange, store::AccountKey account, std::optional<std::uint64_t> known) {
  const auto& jmap = config_->jmap;
  const auto octets = std::min(known.value_or(jmap.max_size_request), jmap.max_size_request);
  const ShareLimits limits{jmap.max_size_request * jmap.max_concurrent_requests,
                           config_->request_bytes_total};
  auto share = bodies_.take(account, octets, limits);
  if (share) return std::move(*share);
  if (share.error() == ShareRefusal::of_one)
    return std::unexpected(
        jmap::problem(400, "limit", "too many large requests at once", "maxConcurrentRequests"));
  loop_.logger().warning("request refused: no memory for its body",
                         {{"request", exchange.head().id}, {"octets", octets}, {"taken", bodies_.taken()}});
  auto busy = jmap::problem(503, "about:blank", "too many large requests at once");
  busy.retry_after = retry_after_seconds;
  return std::unexpected(std::move(busy));
}

io::Task<> Router::api(Exchange& exchange) {
  ++counters_.api_requests;
  if (media_type(ipc::field(exchange.head().fields, "content-type")) != "application/json")
    co_return co_await answer(exchange,
                              jmap::problem(400, "notJSON", "the content type must be application/json"));
  auto identity = co_await authenticate(exchange);
  if (!identity) co_return co_await answer(exchange, std::move(identity.error()));
  if (auto wrong = forged(exchange); identity->by_cookie && wrong)
    co_return co_await answer(exchange, std::move(*wrong));
  if (auto wrong = forged_beside_web_server(exchange); identity->by_web_server && wrong)
    co_return co_await answer(exchange, std::move(*wrong));
  const auto entered = enter(*identity);
  if (!entered) co_return co_await answer(exchange, entered.error());
  const auto room = room_for_body(exchange, identity->key, exchange.head().content_length);
  if (!room) co_return co_await answer(exchange, room.error());
  auto body = co_await exchange.stream->read_body(config_->jmap.max_size_request);
  if (!body && exchange.stream->is_over()) co_return;
  if (!body)
    co_return co_await answer(
        exchange, jmap::problem(400, "limit", "the request is larger than maxSizeRequest", "maxSizeRequest"));

  auto outcome = co_await answer_api(exchange, *identity, std::move(*body));
  if (exchange.stream->is_over()) co_return;
  ipc::Fields more;
  if (outcome.stale) more.emplace_back("postern-stale", "imap-unavailable");
  co_await answer(exchange, std::move(outcome.answer), std::move(more));
}

// What the request is answered in the end, whichever way it came.
io::Task<Router::Outcome> Router::answer_api(Exchange& exchange, Identity& identity, std::string body) {
  // Parsed in place: a session's is kept for a second try with its own credentials.
  auto again = identity.session ? body : std::string();
  auto outcome = co_await run_api(exchange, identity, std::move(body));
  if (outcome && outcome->refused && co_await try_own_credentials(exchange, identity)) {
    outcome->tab.reset();
    outcome = co_await run_api(exchange, identity, std::move(again));
  }
  if (exchange.stream->is_over()) co_return Outcome{};
  if (!outcome) co_return Outcome{jmap::problem(500, "about:blank", "internal error")};
  if (outcome->refused) {
    co_await refused_by_server(identity);
    co_return Outcome{jmap::problem(401, "about:blank", "sign in again")};
  }
  if (outcome->stale) ++counters_.stale_answers;
  if (outcome->answer.unavailable) {
    outcome->answer = jmap::problem(503, "about:blank", "the mail server can't be reached");
    outcome->answer.retry_after = retry_after_seconds;
  }
  co_return std::move(*outcome);
}

io::Task<Result<Router::Outcome>> Router::run_api(Exchange& exchange, const Identity& identity,
                                                  std::string body) {
  auto& shard = shard_of(identity.key);
  auto* home = &loop_;
  const auto config = config_;  // a reload must not change the limits under the request
  OwnWrite own(events_, identity.key, session_name(identity.session));
  auto* write = &own;  // it outlives the request
  const auto server_key = application_server_key();
  const EventOwner owner{identity.account, identity.key, session_name(identity.session)};
  auto subscriptions =
      subscriptions_ == nullptr ? nullptr : subscriptions_->access(owner, identity.credential, shard.loop());
  co_return co_await on_loop(
      shard.loop(), loop_,
      [this, &config, &shard, home, &identity, &exchange, &body, write, &server_key,
       &subscriptions]() -> io::Task<Result<Outcome>> {
        auto in_flight = co_await shard.enter(identity.key, Shard::RequestKind::api);
        if (!in_flight) co_return Outcome{too_many_requests(), false, false};
        // The mark that forbids repeating the request is written by the connection's loop.
        auto stream = exchange.stream;
        // It may have stood in the queue for longer than the browser has waited.
        if (stream->is_over()) co_return Outcome{};
        auto& shard_loop = shard.loop();
        bool changes = false;
        mail::EffectsHook effects = [stream, home, &shard_loop, &changes, write]() -> io::Task<bool> {
          changes = true;
          auto told = co_await on_loop(*home, shard_loop, [stream, write]() -> io::Task<Result<bool>> {
            write->begin();
            co_return co_await stream->effects();
          });
          co_return told.value_or(false);
        };
        auto& account = *identity.account;
        auto features = jmap::known_features(account);
        add_configured(features, *config, exchange.base_url, server_key);
        const auto info = session_info(exchange, identity, features);
        jmap::CallContext context{account, info.account_id, config->jmap, std::move(effects),
                                  shard.session_states().of(info, config->jmap)};
        context.clock = &shard_loop.clock();
        context.random = &shard_loop.random();
        context.features = info.features;
        context.meter = &identity.account->meter();
        // Messages of a WebSocket share the id of its handshake, and are not sent again.
        const bool repeatable = !exchange.is_message;
        auto tab = std::make_shared<limits::Tab>(
            account.meter().shared_from_this(),
            repeatable ? stable_hash64("api\n" + exchange.head().id) : std::uint64_t{0});
        context.tab = tab;
        context.push_subscriptions = subscriptions.get();
        context.look_again = [&account, &config, &exchange, &server_key] {
          return ask_features(account, config, exchange.base_url, server_key);
        };
        std::optional<jmap::SubmissionAccess> sending;
        if (auto* outbox = shard.outbox(); outbox != nullptr)
          context.submission = &sending.emplace(*outbox, records::Owner{identity.key, identity.login}, [&] {
            return shard.outgoing_credentials(*identity.account);
          });
        context.next_turn = [&shard_loop] { return shard_loop.sleep(Duration::zero()); };
        context.is_over = [stream] { return stream->is_over(); };
        context.told_new_state = [write, &identity] {
          if (!write->told) write->told.emplace();
          using Type = push::DataType;
          push::merge_states(*write->told, states_of(*identity.account),
                             {Type::mailbox, Type::email, Type::thread, Type::email_delivery});
        };
        context.told_state = [write](push::DataType type, std::string_view state) {
          if (!write->told) write->told.emplace();
          (*write->told)[type] = state;
        };
        Answer response;
        auto handled = store_in(response, jmap::handle_api_request(std::move(body), std::move(context)));
        co_await labelled(shard.loop(), exchange, std::move(handled));
        tab->give_back();
        account.note_use();
        // Some of it may need no IMAP server, or was known. What may have changed something is told as it is, and not
        // done a second time: the next request hears of the refusal.
        const bool refused = response.partly_unavailable && !changes && identity.account->pool().refused();
        const bool stale = response.stale;
        co_return Outcome{std::move(response), stale, refused, std::move(tab)};
      });
}

}  // namespace postern::broker
