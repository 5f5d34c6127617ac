// The routes of JMAP: session resource, API and download. Who a request speaks for is in router_auth.cpp.
// A download is passed on piece by piece, as the worker grants credit.
#include "broker/router.hpp"

#include <algorithm>
#include <utility>

#include "postern/base/encoding.hpp"
#include "postern/imap/limits.hpp"
#include "postern/io/label.hpp"

namespace postern::broker {
namespace {

constexpr std::string_view retry_after_seconds = "10";

jmap::ApiResponse not_found() { return jmap::problem(404, "about:blank", "there is nothing here"); }

// "a/b/c" behind a prefix, each part percent-decoded.
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

template <typename T>
io::Task<> store_in(T& result, io::Task<T> task) {
  result = co_await std::move(task);
}

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

Router::Router(io::Loop& loop, std::shared_ptr<const Config> config, std::vector<Shard*> shards,
               store::SegmentWriter& segment)
    : loop_(loop), config_(std::move(config)), shards_(std::move(shards)), segment_(segment) {}

io::Task<> Router::handle(std::shared_ptr<RequestStream> stream) {
  Exchange exchange{stream, split_target(stream->head()), {}, {}};
  const auto& head = stream->head();
  const auto& proxies = config_->http.trusted_proxies;
  const bool trusted = std::any_of(proxies.begin(), proxies.end(), [&](const std::string& rule) {
    return address_matches(rule, head.remote_address);
  });
  exchange.base_url = base_url(head, config_->http.public_url, trusted);
  exchange.client_address = client_address(head, trusted);
  loop_.logger().debug("request", {{"request", head.id},
                                   {"method", head.method},
                                   {"path", exchange.target.path},
                                   {"client", exchange.client_address}});
  co_await route(std::move(exchange));
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
  };
  const auto& method = exchange.head().method;
  const auto& path = exchange.target.path;
  const Route* found = nullptr;
  static constexpr Route download_route{"/jmap/download/", "GET, HEAD", &Router::download};
  for (const auto& route : routes)
    if (route.path == path) found = &route;
  if (found == nullptr && path.starts_with(download_route.path)) found = &download_route;
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
  // A browser's own script asks without a dialog; everybody else is told how to authenticate.
  if (answer.status == 401 && ipc::field(exchange.head().fields, "sec-fetch-site").empty()) {
    if (config_->auth.basic)
      head.fields.emplace_back("www-authenticate", "Basic realm=\"Postern\", charset=\"UTF-8\"");
    if (config_->auth.oauth || config_->auth.login)
      head.fields.emplace_back("www-authenticate", "Bearer realm=\"Postern\"");
  }
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

io::Task<> Router::session_resource(Exchange& exchange) {
  auto identity = co_await authenticate(exchange);
  if (!identity) co_return co_await answer(exchange, std::move(identity.error()));
  Answer response;
  std::string state;
  response.body = jmap::session_resource(
      {identity->login, mail::account_id(identity->key), exchange.base_url}, config_->jmap, state);
  co_await answer(exchange, std::move(response));
}

// The IMAP server has refused the account, which may have been opened with an older or newer password than the one
// that this session has sealed: true if it is worth to try once more, with the session's own.
io::Task<bool> Router::try_own_credentials(Exchange& exchange, Identity& identity) {
  if (!identity.session) co_return false;
  auto& shard = shard_of(identity.key);
  auto again =
      co_await on_loop(shard.loop(), loop_, [&shard, &identity, &exchange]() -> io::Task<Result<AccountPtr>> {
        co_return shard.after_refusal(identity.key, identity.account.get(), identity.own.clone(),
                                      exchange.client_address);
      });
  if (!again || !*again) co_return false;
  identity.account = std::move(*again);
  co_return true;
}

// The IMAP server refuses the credentials that a live session has sealed (the password was changed): the
// session is over. So is the account, unless others have put better ones in their place.
io::Task<> Router::refused_by_server(Identity& identity) {
  if (identity.session) segment_.end_session(*identity.session);
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
  auto body = co_await exchange.stream->read_body(config_->jmap.max_size_request);
  if (!body && exchange.stream->is_over()) co_return;
  if (!body)
    co_return co_await answer(
        exchange, jmap::problem(400, "limit", "the request is larger than maxSizeRequest", "maxSizeRequest"));

  // Parsed in place: a session's is kept for a second try with its own credentials.
  auto again = identity->session ? *body : std::string();
  auto outcome = co_await run_api(exchange, *identity, std::move(*body));
  if (outcome && outcome->refused && co_await try_own_credentials(exchange, *identity))
    outcome = co_await run_api(exchange, *identity, std::move(again));
  if (exchange.stream->is_over()) co_return;
  if (!outcome) co_return co_await answer(exchange, jmap::problem(500, "about:blank", "internal error"));
  if (outcome->refused) {
    co_await refused_by_server(*identity);
    co_return co_await answer(exchange, jmap::problem(401, "about:blank", "sign in again"));
  }
  ipc::Fields more;
  if (outcome->stale) {
    ++counters_.stale_answers;
    more.emplace_back("postern-stale", "imap-unavailable");
  }
  if (outcome->answer.unavailable) {
    outcome->answer = jmap::problem(503, "about:blank", "the mail server can't be reached");
    outcome->answer.retry_after = retry_after_seconds;
  }
  co_await answer(exchange, std::move(outcome->answer), std::move(more));
}

io::Task<Result<Router::Outcome>> Router::run_api(Exchange& exchange, const Identity& identity,
                                                  std::string body) {
  auto& shard = shard_of(identity.key);
  auto* home = &loop_;
  const auto config = config_;  // a reload must not change the limits under the request
  const jmap::SessionInfo info{identity.login, mail::account_id(identity.key), exchange.base_url};
  co_return co_await on_loop(
      shard.loop(), loop_,
      [&config, &shard, home, &identity, &exchange, &info, &body]() -> io::Task<Result<Outcome>> {
        auto in_flight = co_await shard.enter(identity.key, Shard::RequestKind::api);
        if (!in_flight)
          co_return Outcome{jmap::problem(400, "limit", "too many requests at once", "maxConcurrentRequests"),
                            false, false};
        // The mark that forbids repeating the request is written by the connection's loop.
        auto stream = exchange.stream;
        // It may have stood in the queue for longer than the browser has waited.
        if (stream->is_over()) co_return Outcome{};
        auto& shard_loop = shard.loop();
        bool changes = false;
        mail::EffectsHook effects = [stream, home, &shard_loop, &changes]() -> io::Task<bool> {
          changes = true;
          auto told = co_await on_loop(*home, shard_loop, [stream]() -> io::Task<Result<bool>> {
            co_return co_await stream->effects();
          });
          co_return told.value_or(false);
        };
        jmap::CallContext context{*identity.account, info.account_id, config->jmap, std::move(effects),
                                  jmap::session_state_of(info, config->jmap)};
        context.is_over = [stream] { return stream->is_over(); };
        Answer response;
        auto handled = store_in(response, jmap::handle_api_request(std::move(body), std::move(context)));
        co_await labelled(shard.loop(), exchange, std::move(handled));
        // Some of it may need no IMAP server, or was known. What may have changed something is told as it is, and not
        // done a second time: the next request hears of the refusal.
        const bool refused = response.partly_unavailable && !changes && identity.account->pool().refused();
        const bool stale = response.stale;
        co_return Outcome{std::move(response), stale, refused};
      });
}

// GET /jmap/download/{accountId}/{blobId}/{name}?accept={type} (RFC 8620, 6.2)
io::Task<> Router::download(Exchange& exchange) {
  ++counters_.downloads;
  auto identity = co_await authenticate(exchange);
  if (!identity) co_return co_await answer(exchange, std::move(identity.error()));
  auto parts = path_parts(exchange.target.path, "/jmap/download/");
  if (!parts || parts->size() != 3) co_return co_await answer(exchange, not_found());
  if ((*parts)[0] != mail::account_id(identity->key)) co_return co_await answer(exchange, not_found());
  auto blob = mail::parse_blob_id((*parts)[1]);
  if (!blob) co_return co_await answer(exchange, not_found());
  auto type = query_value(exchange.target.query, "accept").value_or("application/octet-stream");
  if (!is_media_type(type)) type = "application/octet-stream";
  co_await stream_blob(exchange, std::move(*identity), std::move(*blob), (*parts)[2], std::move(type));
}

// The reader lives and ends on the account's shard.
struct Router::Download {
  std::optional<Shard::InFlight> in_flight;
  std::unique_ptr<mail::BlobReader> reader;
  std::string first;
};

io::Task<> Router::begin_download(mail::Account& account, const mail::BlobKey& blob, Download& download,
                                  Result<>& done) {
  auto reader = co_await account.open_blob(blob);
  if (reader) {
    download.reader = std::move(*reader);
    // The first piece tells whether the section exists, before anything is promised.
    auto piece = co_await download.reader->next();
    if (piece)
      download.first = std::move(*piece);
    else
      done = fail(piece.error());
  } else {
    done = fail(reader.error());
  }
}

io::Task<Result<>> Router::open_download(Exchange& exchange, const Identity& identity,
                                         const mail::BlobKey& blob, std::shared_ptr<Download> download) {
  auto& shard = shard_of(identity.key);
  co_return co_await on_loop(
      shard.loop(), loop_, [&shard, &exchange, &identity, &blob, download]() -> io::Task<Result<>> {
        download->in_flight.reset();  // of a first try
        auto entered = co_await shard.enter(identity.key, Shard::RequestKind::download);
        if (!entered) co_return fail(mail::Errc::too_large);
        download->in_flight.emplace(std::move(*entered));
        Result<> done;
        co_await labelled(shard.loop(), exchange, begin_download(*identity.account, blob, *download, done));
        co_return done;
      });
}

void Router::release(const Identity& identity, std::shared_ptr<Download> download) {
  shard_of(identity.key).loop().post([download = std::move(download)] {
    download->reader.reset();
    download->in_flight.reset();
  });
}

jmap::ApiResponse Router::download_error(const Error& error) const {
  auto failed = not_found();
  if (error.code == make_error_code(mail::Errc::too_large)) {
    failed = jmap::problem(429, "limit", "too many requests at once", "maxConcurrentRequests");
    failed.retry_after = "1";
  } else if (error.code == make_error_code(mail::Errc::server_unavailable)) {
    failed = jmap::problem(503, "about:blank", "the mail server can't be reached");
    failed.retry_after = retry_after_seconds;
  } else if (error.code == make_error_code(mail::Errc::authentication)) {
    failed = jmap::problem(401, "about:blank", "sign in again");
  } else if (error.code != make_error_code(mail::Errc::not_found)) {
    failed = jmap::problem(502, "about:blank", "the mail server refused to give the message");
  }
  return failed;
}

io::Task<> Router::stream_blob(Exchange& exchange, Identity identity, mail::BlobKey blob, std::string name,
                               std::string type) {
  auto& shard = shard_of(identity.key);
  auto open = std::make_shared<Download>();
  const auto is_refused = [](const Result<>& result) {
    return !result && result.error().code == make_error_code(mail::Errc::authentication);
  };
  auto opened = co_await open_download(exchange, identity, blob, open);
  if (is_refused(opened) && co_await try_own_credentials(exchange, identity))
    opened = co_await open_download(exchange, identity, blob, open);
  if (!opened) {
    release(identity, open);
    auto failed = download_error(opened.error());
    if (is_refused(opened)) co_await refused_by_server(identity);
    co_return co_await answer(exchange, std::move(failed));
  }
  const auto next_piece = [&shard, &exchange, this, open] {
    return on_loop(shard.loop(), loop_, [&shard, &exchange, open]() -> io::Task<Result<std::string>> {
      Result<std::string> piece;
      co_await labelled(shard.loop(), exchange, store_in(piece, open->reader->next()));
      co_return piece;
    });
  };
  const bool head_only = exchange.head().method == "HEAD";
  // How long the whole is, is told only where all of it is here: what servers say beforehand is often an estimate,
  // and a wrong Content-Length breaks a download.
  std::optional<Result<std::string>> ahead;
  const bool short_one = open->first.size() < imap::body_piece_bytes;
  if (!head_only && short_one && !open->first.empty()) ahead = co_await next_piece();
  const bool complete = short_one && (ahead ? *ahead && (*ahead)->empty() : open->reader->size().has_value());
  ++counters_.answers_2xx;
  ipc::ResponseHead head;
  // A blob never changes; it is somebody's own. It must never run as a page of this origin.
  head.fields = {{"content-type", std::move(type)},
                 {"content-disposition", content_disposition(name)},
                 {"cache-control", "private, immutable, max-age=31536000"},
                 {"x-content-type-options", "nosniff"},
                 {"content-security-policy", "sandbox; default-src 'none'"}};
  if (complete) head.fields.emplace_back("content-length", std::to_string(open->first.size()));
  if (head_only) {
    (void)co_await exchange.stream->respond(head, {});
    co_return release(identity, open);
  }
  auto sent = co_await exchange.stream->begin(head);
  auto piece = std::move(open->first);
  while (sent && !piece.empty()) {
    sent = co_await exchange.stream->send(piece, false);
    if (!sent) break;
    auto next = ahead ? std::move(*std::exchange(ahead, std::nullopt)) : co_await next_piece();
    if (!next) {
      // Half an answer must not look like a whole one.
      loop_.logger().warning("download broken off",
                             {{"request", exchange.head().id}, {"error", next.error().to_string()}});
      exchange.stream->cancel(ipc::CancelReason::broker_error);
      sent = fail(next.error());
      break;
    }
    piece = std::move(*next);
  }
  if (sent) (void)co_await exchange.stream->send({}, true);
  release(identity, open);
}

}  // namespace postern::broker
