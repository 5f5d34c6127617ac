// Who a request speaks for: session tokens, Basic, OAuth, and people the web server has authenticated.
#include <algorithm>

#include "broker/login_request.hpp"
#include "broker/router.hpp"
#include "postern/base/encoding.hpp"
#include "postern/jmap/json.hpp"

namespace postern::broker {
namespace {

constexpr std::size_t login_body_bytes_max = 64 * 1024;
constexpr std::string_view unavailable_retry_after = "10";

jmap::ApiResponse unauthorized() { return jmap::problem(401, "about:blank", "sign in first"); }

bool is_login(std::string_view login) {
  return !login.empty() && login.size() <= store::login_bytes_max && is_valid_utf8(login) &&
         std::none_of(login.begin(), login.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}

}  // namespace

std::string Router::canonical_login(std::string_view login) const {
  std::string canonical = config_->auth.lowercase_login ? ascii_lower(login) : std::string(login);
  if (!config_->auth.default_domain.empty() && canonical.find('@') == std::string::npos)
    canonical += "@" + config_->auth.default_domain;
  return canonical;
}

std::string Router::cookie(std::string_view value, std::int64_t max_age) const {
  std::string text =
      config_->http.cookie_name + "=" + std::string(value) + "; Path=/; HttpOnly; SameSite=Strict";
  if (config_->http.cookie_secure) text += "; Secure";
  text += "; Max-Age=" + std::to_string(max_age);
  return text;
}

// What a cookie authenticates must come from a page of ours (docs/threat-model.md, "Cross-site requests").
std::optional<jmap::ApiResponse> Router::forged(const Exchange& exchange) const {
  const auto& fields = exchange.head().fields;
  if (media_type(ipc::field(fields, "content-type")) != "application/json")
    return jmap::problem(403, "about:blank", "with a cookie, the content type must be application/json");
  return wrong_origin(exchange);
}

std::optional<jmap::ApiResponse> Router::wrong_origin(const Exchange& exchange) const {
  if (origin_of(ipc::field(exchange.head().fields, "origin")) != origin_of(exchange.base_url))
    return jmap::problem(403, "about:blank", "with a cookie, the request must have this site's Origin");
  return std::nullopt;
}

// What the web server vouches for, a browser repeats by itself as well (a client certificate, Kerberos). Programs send
// no Origin; a page of another site always does with a POST.
std::optional<jmap::ApiResponse> Router::forged_beside_web_server(const Exchange& exchange) const {
  const auto origin = ipc::field(exchange.head().fields, "origin");
  if (origin.empty() || origin_of(origin) == origin_of(exchange.base_url)) return std::nullopt;
  return jmap::problem(403, "about:blank", "the request comes from another site");
}

jmap::ApiResponse Router::sign_in_error(const Error& error) {
  using session::Errc;
  if (error.code == make_error_code(Errc::authentication)) {
    ++counters_.sign_in_failures;
    return jmap::problem(401, "about:blank", "wrong user name or password");
  }
  loop_.logger().warning("sign-in not possible", {{"error", error.to_string()}});
  std::string detail = "the mail server can't be reached";
  if (error.code == make_error_code(Errc::not_secure))
    detail = "the mail server can't be reached securely: its TLS certificate or protocol isn't accepted";
  if (error.code == make_error_code(Errc::no_mechanism)) detail = "the mail server offers no way to sign in";
  if (error.code == make_error_code(Errc::timeout)) detail = "the mail server doesn't answer";
  if (error.code == make_error_code(Errc::backing_off))
    detail = "the mail server can't be reached; it is tried again soon";
  auto response = jmap::problem(503, "about:blank", detail);
  response.retry_after = unavailable_retry_after;
  return response;
}

std::optional<session::Credentials> Router::unsealed(const store::SessionRecord& record,
                                                     const Secret& token) {
  const auto& hash = record.token_hash;
  auto packed = store::unseal_credential(token.expose(), hash, record.sealed);
  auto credentials = packed ? unpack_credentials(*packed) : std::nullopt;
  if (!credentials || credentials->login != record.login) {
    loop_.logger().warning(
        packed ? "a session's credentials are another's" : "a session's credentials can't be unsealed",
        {{"session", store::session_tag(hash)}});
    end_session(record.account, hash);
    return std::nullopt;
  }
  // The master user's password is the broker's own and isn't sealed with each session.
  if (credentials->kind == session::Credentials::Kind::master)
    credentials->secret = config_->auth.master_password.clone();
  return credentials;
}

// The credentials are unsealed once, and again only where they are needed: to open the account.
io::Task<Router::Authenticated> Router::by_session(Exchange& exchange, Secret token, bool by_cookie) {
  const auto hash = store::hash_token(token.expose());
  if (!hash) co_return std::unexpected(unauthorized());
  auto record = segment_.find_session(*hash);
  if (!record) co_return std::unexpected(unauthorized());
  auto& shard = shard_of(record->account);
  auto account = co_await on_loop(shard.loop(), loop_,
                                  [&shard, key = record->account, &hash]() -> io::Task<Result<AccountPtr>> {
                                    co_return shard.find_open(key, *hash);
                                  });
  if (account && !*account) {
    auto credentials = unsealed(*record, token);
    if (!credentials) co_return std::unexpected(unauthorized());
    account =
        co_await on_loop(shard.loop(), loop_,
                         [&shard, key = record->account, &hash, &credentials,
                          address = exchange.client_address]() -> io::Task<Result<AccountPtr>> {
                           co_return co_await shard.resume(key, *hash, std::move(*credentials), address);
                         });
  }
  if (!account) {
    // Not of that account, or not good any more: the session is over. Else the server could not be asked.
    const auto& code = account.error().code;
    if (code != make_error_code(store::Errc::damaged) &&
        code != make_error_code(session::Errc::authentication))
      co_return std::unexpected(sign_in_error(account.error()));
    end_session(record->account, *hash);
    co_return std::unexpected(unauthorized());
  }
  segment_.touch_session(*hash);
  Identity identity{*account, record->account, record->login, hash, by_cookie, false, std::move(token)};
  co_return identity;
}

io::Task<Router::Authenticated> Router::by_credentials(Exchange& exchange, session::Credentials credentials) {
  if (!is_login(credentials.login) || credentials.secret.expose().find('\0') != std::string_view::npos)
    co_return std::unexpected(unauthorized());
  credentials.login = canonical_login(credentials.login);
  auto credential = subscriptions_ == nullptr ? std::string() : subscriptions_->credential_of(credentials);
  auto identity = co_await throttled_sign_in(exchange, std::move(credentials));
  if (identity) identity->credential = std::move(credential);
  co_return identity;
}

// Credentials whose login is canonical.
io::Task<Router::Authenticated> Router::sign_in(Exchange& exchange, session::Credentials credentials) {
  const auto key = account_key(config_->imap, credentials.login);
  const auto login = credentials.login;
  auto& shard = shard_of(key);
  auto account = co_await on_loop(
      shard.loop(), loop_,
      [&shard, key, &credentials, address = exchange.client_address]() -> io::Task<Result<AccountPtr>> {
        co_return co_await shard.sign_in(key, std::move(credentials), address);
      });
  if (!account) co_return std::unexpected(sign_in_error(account.error()));
  Identity identity{*account, key, login, std::nullopt, false, false, {}};
  co_return identity;
}

void Router::end_session(store::AccountKey account, const store::TokenHash& hash) {
  segment_.end_session(hash);
  if (events_ != nullptr) events_->end_session(account, session_name(hash));
}

// The token of a session of ours that a request shows, in whatever place.
std::optional<Secret> Router::shown_token(const Exchange& exchange) const {
  const auto& fields = exchange.head().fields;
  if (auto bearer = parse_bearer(ipc::field(fields, "authorization"));
      bearer && store::hash_token(bearer->expose()))
    return bearer;
  auto value = cookie_value(ipc::field(fields, "cookie"), config_->http.cookie_name);
  if (!value) return std::nullopt;
  Secret token(*value);
  wipe(value->data(), value->size());
  if (!store::hash_token(token.expose())) return std::nullopt;
  return token;
}

// Credentials that have just proved good take the place of those that the session shown beside them has sealed (an
// OAuth token that has expired, an old password): so that session outlives the account's connection.
void Router::reseal_shown_session(const Exchange& exchange, store::AccountKey key,
                                  const session::Credentials& fresh) {
  const auto token = shown_token(exchange);
  if (!token) return;
  const auto hash = store::hash_token(token->expose());
  const auto record = segment_.find_session(*hash);
  if (!record || record->account != key || record->login != fresh.login) return;
  const auto sealed = store::unseal_credential(token->expose(), *hash, record->sealed);
  const auto packed = pack_credentials(fresh);
  if (!sealed || equal_constant_time(sealed->expose(), packed.expose())) return;
  const auto resealed =
      segment_.reseal_session(*hash, store::seal_credential(*token, *hash, packed, loop_.random()));
  if (!resealed)
    loop_.logger().warning("a session's credentials can't be replaced",
                           {{"session", store::session_tag(*hash)}, {"error", resealed.error().to_string()}});
}

io::Task<Router::Authenticated> Router::authenticate(Exchange& exchange) {
  auto identity = co_await identify(exchange);
  if (!identity || subscriptions_ == nullptr) co_return identity;
  if (identity->session) identity->credential = Subscriptions::credential_of(*identity->session);
  subscriptions_->seen({identity->account, identity->key, session_name(identity->session)},
                       identity->credential);
  co_return identity;
}

// A session of ours first; then whom the web server has authenticated (its own Authorization field may still
// be there); then what the client shows for itself.
io::Task<Router::Authenticated> Router::identify(Exchange& exchange) {
  const auto& head = exchange.head();
  const auto authorization = ipc::field(head.fields, "authorization");
  auto bearer = parse_bearer(authorization);
  if (bearer && store::hash_token(bearer->expose()))
    co_return co_await by_session(exchange, std::move(*bearer), false);
  if (config_->auth.trust_remote_user && !head.remote_user.empty()) {
    session::Credentials credentials;
    credentials.kind = session::Credentials::Kind::master;
    credentials.login = head.remote_user;
    credentials.master_login = config_->auth.master_user;
    credentials.secret = config_->auth.master_password.clone();
    auto identity = co_await by_credentials(exchange, std::move(credentials));
    if (identity) identity->by_web_server = true;
    co_return identity;
  }
  if (bearer && config_->auth.oauth) {
    auto login = jwt_claim(bearer->expose(), config_->auth.oauth_username_claims);
    if (!login)
      co_return std::unexpected(jmap::problem(
          401, "about:blank", "the token doesn't tell whose it is: sign in by /auth/login with a user name"));
    session::Credentials credentials;
    credentials.kind = session::Credentials::Kind::oauth;
    credentials.login = *login;
    credentials.secret = std::move(*bearer);
    auto fresh = credentials.clone();
    auto identity = co_await by_credentials(exchange, std::move(credentials));
    if (identity) {
      fresh.login = identity->login;
      reseal_shown_session(exchange, identity->key, fresh);
    }
    co_return identity;
  }
  if (!authorization.empty()) {
    auto basic = config_->auth.basic ? parse_basic(authorization) : std::nullopt;
    if (!basic) co_return std::unexpected(unauthorized());
    session::Credentials credentials;
    credentials.login = basic->login;
    credentials.secret = std::move(basic->password);
    co_return co_await by_credentials(exchange, std::move(credentials));
  }
  if (auto token = cookie_value(ipc::field(head.fields, "cookie"), config_->http.cookie_name);
      token && !token->empty()) {
    Secret secret(*token);
    wipe(token->data(), token->size());
    co_return co_await by_session(exchange, std::move(secret), true);
  }
  co_return std::unexpected(unauthorized());
}

// POST /auth/login (src/broker/login_request.hpp)
io::Task<> Router::login(Exchange& exchange) {
  if (!config_->auth.login)
    co_return co_await answer(exchange, jmap::problem(404, "about:blank", "there is nothing here"));
  const auto& fields = exchange.head().fields;
  if (media_type(ipc::field(fields, "content-type")) != "application/json")
    co_return co_await answer(exchange,
                              jmap::problem(400, "notJSON", "the content type must be application/json"));
  const auto origin = ipc::field(fields, "origin");
  if (!origin.empty() && origin_of(origin) != origin_of(exchange.base_url))
    co_return co_await answer(exchange,
                              jmap::problem(403, "about:blank", "the request comes from another site"));
  auto body = co_await exchange.stream->read_body(login_body_bytes_max);
  if (!body && exchange.stream->is_over()) co_return;
  if (!body)
    co_return co_await answer(exchange, jmap::problem(413, "about:blank", "the request is too large"));

  auto request = parse_login_request(*body, config_->auth.oauth);
  if (!request)
    co_return co_await answer(
        exchange,
        jmap::problem(400, "notRequest", "the request must be {\"username\": ..., \"password\": ...}"));

  auto sealed_credentials = request->credentials.clone();
  auto identity = co_await by_credentials(exchange, std::move(request->credentials));
  if (!identity) co_return co_await answer(exchange, std::move(identity.error()));
  sealed_credentials.login = identity->login;
  reseal_shown_session(exchange, identity->key, sealed_credentials);

  auto token = store::make_token(loop_.random());
  const auto hash = store::hash_token(token.expose());
  const auto now = unix_seconds(loop_.clock().wall());
  const auto seconds = [](Duration d) { return std::chrono::duration_cast<std::chrono::seconds>(d).count(); };
  store::SessionRecord record;
  record.token_hash = *hash;
  record.account = identity->key;
  record.login = identity->login;
  record.sealed = store::seal_credential(token, *hash, pack_credentials(sealed_credentials), loop_.random());
  record.created = record.last_used = now;
  record.expires = now + seconds(config_->auth.session_max);
  record.idle_seconds = static_cast<std::uint32_t>(seconds(config_->auth.session_idle));
  if (auto refused = too_many_sessions(*identity)) co_return co_await answer(exchange, std::move(*refused));
  if (!co_await exchange.stream->effects()) co_return;
  // Once more: others may have signed in meanwhile. From here on nothing suspends until the session is there.
  if (auto refused = too_many_sessions(*identity)) co_return co_await answer(exchange, std::move(*refused));
  if (auto put = segment_.put_session(record); !put) {
    loop_.logger().error("session not kept", {{"error", put.error().to_string()}});
    if (put.error().code == store::Errc::too_large)
      co_return co_await answer(
          exchange, jmap::problem(400, "limit",
                                  "the credentials are too long for a session: send them in Authorization",
                                  "credentials"));
    auto full = jmap::problem(503, "about:blank", "no more sessions can be opened now");
    full.retry_after = unavailable_retry_after;
    co_return co_await answer(exchange, std::move(full));
  } else {
    for (const auto& ended : *put) {
      end_session(identity->key, ended);
      loop_.logger().info("session ended: the account has too many",
                          {{"login", identity->login}, {"session", store::session_tag(ended)}});
    }
  }
  ++counters_.sign_ins;
  loop_.logger().info("signed in", {{"login", identity->login},
                                    {"session", store::session_tag(*hash)},
                                    {"client", exchange.client_address},
                                    {"request", exchange.head().id}});
  Answer response;
  jmap::JsonWriter writer(response.body);
  writer.start_object();
  writer.member("username", identity->login);
  writer.member("accountId", mail::account_id(identity->key));
  writer.member("sessionUrl", exchange.base_url + "/jmap/session");
  writer.member_uint("expires", static_cast<std::uint64_t>(record.expires));
  if (request->wants_token) writer.member("token", token.expose());
  writer.end_object();
  ipc::Fields more;
  if (!request->wants_token)
    more.emplace_back("set-cookie", cookie(token.expose(), seconds(config_->auth.session_max)));
  co_await answer(exchange, std::move(response), std::move(more), true);
}

io::Task<> Router::logout(Exchange& exchange) {
  const auto& fields = exchange.head().fields;
  const auto bearer = parse_bearer(ipc::field(fields, "authorization"));
  const bool by_cookie = !bearer || !store::hash_token(bearer->expose());
  const auto token = shown_token(exchange);
  const auto hash = token ? store::hash_token(token->expose()) : std::nullopt;
  auto record = hash ? segment_.find_session(*hash) : std::nullopt;
  if (by_cookie && record)
    if (auto wrong = forged(exchange)) co_return co_await answer(exchange, std::move(*wrong));
  if (record) {
    if (!co_await exchange.stream->effects()) co_return;
    end_session(record->account, *hash);
    ++counters_.sign_outs;
    loop_.logger().info("signed out", {{"login", record->login}, {"session", store::session_tag(*hash)}});
    if (segment_.sessions_of(record->account) == 0) {
      auto& shard = shard_of(record->account);
      co_await on_loop(shard.loop(), loop_, [&shard, key = record->account]() -> io::Task<Result<>> {
        co_await shard.close_unused(key);
        co_return Result<>{};
      });
    }
  }
  Answer response;
  response.body = "{}";
  co_await answer(exchange, std::move(response), {{"set-cookie", cookie({}, 0)}});
}

}  // namespace postern::broker
