// Whose an account is: credentials tried on the IMAP server, and known again; sessions that have shown theirs. On the
// shard's loop. Passwords that were good are known again by keyed digests (verifiers_per_account_max of them).
#include <algorithm>

#include "broker/shard.hpp"
#include "postern/base/encoding.hpp"

namespace postern::broker {
namespace {

constexpr std::size_t verifiers_per_account_max = 16;
constexpr std::size_t refused_per_account_max = 16;
constexpr std::size_t sessions_known_max = 32;  // of an account

// Two fields of a string, told apart by their lengths.
void append_field(std::string& out, std::string_view field) {
  out += std::to_string(field.size());
  out += ':';
  out += field;
}
std::optional<std::string_view> take_field(std::string_view& in) {
  std::size_t size = 0, i = 0;
  for (; i < in.size() && in[i] >= '0' && in[i] <= '9' && i < 8; ++i)
    size = size * 10 + static_cast<std::size_t>(in[i] - '0');
  if (i == 0 || i >= in.size() || in[i] != ':' || in.size() - i - 1 < size) return std::nullopt;
  auto field = in.substr(i + 1, size);
  in.remove_prefix(i + 1 + size);
  return field;
}

// Two logins with one key: nobody gets at somebody else's mail by that.
Error another_login(Logger& logger, std::string_view login) {
  logger.error("two logins have the same account key, the second is refused", {{"login", login}});
  return Error(session::Errc::authentication, "the account key is somebody else's");
}

}  // namespace

store::AccountKey account_key(const session::ServerOptions& server, std::string_view login) {
  return stable_hash64(ascii_lower(server.endpoint.host) + ":" + std::to_string(server.endpoint.port) + "\n" +
                       std::string(login));
}

Secret pack_credentials(const session::Credentials& credentials) {
  std::string packed(1, static_cast<char>('0' + static_cast<int>(credentials.kind)));
  append_field(packed, credentials.login);
  append_field(packed, credentials.master_login);
  append_field(packed, credentials.secret.expose());
  Secret secret(packed);
  wipe(packed.data(), packed.size());
  return secret;
}

std::optional<session::Credentials> unpack_credentials(const Secret& packed) {
  auto in = packed.expose();
  if (in.empty() || in[0] < '0' || in[0] > '2') return std::nullopt;
  session::Credentials credentials;
  credentials.kind = static_cast<session::Credentials::Kind>(in[0] - '0');
  in.remove_prefix(1);
  auto login = take_field(in);
  auto master = login ? take_field(in) : std::nullopt;
  auto secret = master ? take_field(in) : std::nullopt;
  if (!secret || !in.empty()) return std::nullopt;
  credentials.login = *login;
  credentials.master_login = *master;
  credentials.secret = Secret(*secret);
  return credentials;
}

// --- Verifiers: that these credentials were good a while ago, without keeping them ---

Digest Shard::verifier_of(const session::Credentials& credentials) const {
  const auto packed = pack_credentials(credentials);
  return hmac_sha256(verifier_key_, packed.expose());
}

bool Shard::is_verified(Entry& entry, const Digest& digest) {
  const auto now = loop_.clock().now();
  std::erase_if(entry.verifiers, [&](const Verifier& v) { return v.until <= now; });
  return std::any_of(entry.verifiers.begin(), entry.verifiers.end(),
                     [&](const Verifier& v) { return v.digest == digest; });
}

void Shard::add_verifier(Entry& entry, const Digest& digest) {
  if (entry.verifiers.size() >= verifiers_per_account_max) entry.verifiers.erase(entry.verifiers.begin());
  entry.verifiers.push_back({digest, loop_.clock().now() + config_->auth.verifier_lifetime});
}

// --- Who signs in ---

io::Task<Result<AccountPtr>> Shard::sign_in(store::AccountKey key, session::Credentials credentials,
                                            std::string client_address) {
  const auto digest = verifier_of(credentials);
  if (auto it = accounts_.find(key); it != accounts_.end()) {
    if (it->second.account->login() != credentials.login)
      co_return fail(another_login(loop_.logger(), credentials.login));
    if (is_verified(it->second, digest)) co_return use(it->second);
  }
  co_return co_await try_once(key, std::move(credentials), digest, std::move(client_address),
                              Proof::puts_into_force);
}

// The same credentials are tried once for all who come with them at the same time.
io::Task<Result<AccountPtr>> Shard::try_once(store::AccountKey key, session::Credentials credentials,
                                             Digest digest, std::string client_address, Proof proof) {
  if (auto other = trying_.find(digest); other != trying_.end()) {
    auto trial = other->second;
    co_await trial->done.wait();
    co_return trial->result;
  }
  // Whatever leaves the trial, nobody waits for it for ever.
  struct UnderWay {
    UnderWay(Shard& s, const Digest& d) : shard(s), digest(d), trial(std::make_shared<Trial>(shard.loop_)) {
      shard.trying_[digest] = trial;
    }
    UnderWay(const UnderWay&) = delete;
    UnderWay& operator=(const UnderWay&) = delete;
    ~UnderWay() {
      shard.trying_.erase(digest);
      trial->done.set();
    }
    Shard& shard;
    const Digest digest;
    const std::shared_ptr<Trial> trial;
  };
  const UnderWay under_way(*this, digest);
  under_way.trial->result =
      co_await try_credentials(key, std::move(credentials), digest, std::move(client_address), proof);
  co_return under_way.trial->result;
}

io::Task<Result<AccountPtr>> Shard::try_credentials(store::AccountKey key, session::Credentials credentials,
                                                    Digest digest, std::string client_address, Proof proof) {
  const bool by_password = credentials.kind == session::Credentials::Kind::password;
  AccountPtr fresh;
  if (accounts_.contains(key)) {
    // The account is open already: these credentials must prove themselves beside it.
    auto trial = session::Pool::make(loop_, *server_, credentials.clone(), nullptr, client_address);
    auto connected = co_await trial->connect();
    if (connected) co_await trial->close();
    if (!connected) co_return fail(connected.error());
  } else {
    fresh = make_account(key, credentials.clone(), client_address, Metered::once_proved);
    if (auto connected = co_await fresh->pool().connect(); !connected) co_return fail(connected.error());
  }
  // Meanwhile others may have closed the account, or opened it by a session's credentials.
  auto& entry = accounts_[key];
  if (entry.account && entry.account->login() != credentials.login)
    co_return fail(another_login(loop_.logger(), credentials.login));
  if (!entry.account) {
    if (fresh && book_ != nullptr) fresh->use_meter(book_->open(key, credentials.login));
    entry.account =
        fresh ? fresh : make_account(key, std::move(credentials), client_address, Metered::at_once);
    put_into_force(entry, digest, by_password);
  } else {
    if (proof == Proof::puts_into_force || entry.account->pool().refused()) {
      entry.account->pool().replace_credentials(std::move(credentials));
      put_into_force(entry, digest, by_password);
    }
    if (fresh) loop_.spawn(log_out(fresh));
  }
  add_verifier(entry, digest);
  co_return use(entry);
}

// Where another password takes the place of one, it may have been changed because somebody else has it: their sessions
// show that theirs is still good.
void Shard::put_into_force(Entry& entry, const Digest& digest, bool by_password) {
  if (entry.by_password && by_password && entry.credentials != digest) entry.sessions.clear();
  entry.credentials = digest;
  entry.by_password = by_password;
  entry.refused.clear();
}

io::Task<> Shard::log_out(AccountPtr account) { co_await account->pool().close(); }

void Shard::know_session(Entry& entry, const store::TokenHash& session) {
  auto& known = entry.sessions;
  if (std::find(known.begin(), known.end(), session) != known.end()) return;
  if (known.size() >= sessions_known_max) known.erase(known.begin());
  known.push_back(session);
}

AccountPtr Shard::find_open(store::AccountKey key, const store::TokenHash& session) {
  const auto it = accounts_.find(key);
  if (it == accounts_.end()) return nullptr;
  auto& entry = it->second;
  const auto& known = entry.sessions;
  if (std::find(known.begin(), known.end(), session) == known.end()) return nullptr;
  return use(entry);
}

io::Task<Result<AccountPtr>> Shard::resume(store::AccountKey key, store::TokenHash session,
                                           session::Credentials credentials, std::string client_address) {
  if (account_key(config_->imap, credentials.login) != key)
    co_return fail(store::Errc::damaged, "a session's credentials");
  const auto digest = verifier_of(credentials);
  const bool by_password = credentials.kind == session::Credentials::Kind::password;
  const auto it = accounts_.find(key);
  if (it == accounts_.end()) {
    auto& entry = accounts_[key];
    know_session(entry, session);
    // A session is there because its credentials were good.
    entry.account = make_account(key, std::move(credentials), std::move(client_address), Metered::at_once);
    put_into_force(entry, digest, by_password);
    co_return use(entry);
  }
  if (it->second.account->login() != credentials.login)
    co_return fail(another_login(loop_.logger(), credentials.login));
  if (!by_password || it->second.credentials == digest) {
    know_session(it->second, session);
    co_return use(it->second);
  }
  // Another password than the account's: an old one, or one of several that hold. Once in verifier_lifetime at most it
  // is tried on the server.
  if (is_verified(it->second, digest)) co_return use(it->second);
  auto proved =
      co_await try_once(key, std::move(credentials), digest, std::move(client_address), Proof::alone);
  if (!proved) co_return proved;
  if (const auto now = accounts_.find(key); now != accounts_.end() && now->second.account == *proved)
    know_session(now->second, session);
  co_return proved;
}

// What the pool signs in with now has been refused: it's no proof of anything any more.
void Shard::note_refusal(Entry& entry) {
  const auto& digest = entry.credentials;
  std::erase_if(entry.verifiers, [&](const Verifier& v) { return v.digest == digest; });
  if (std::find(entry.refused.begin(), entry.refused.end(), digest) != entry.refused.end()) return;
  if (entry.refused.size() >= refused_per_account_max) entry.refused.erase(entry.refused.begin());
  entry.refused.push_back(digest);
}

io::Task<AccountPtr> Shard::after_refusal(store::AccountKey key, const mail::Account* refused,
                                          store::TokenHash session, session::Credentials own,
                                          std::string client_address) {
  auto it = accounts_.find(key);
  if (it == accounts_.end() || it->second.account.get() != refused) {
    auto again = co_await resume(key, session, std::move(own), std::move(client_address));
    co_return again.value_or(nullptr);
  }
  auto& entry = it->second;
  if (entry.account->login() != own.login) co_return nullptr;
  auto& pool = entry.account->pool();
  if (pool.refused()) note_refusal(entry);
  const auto digest = verifier_of(own);
  if (std::find(entry.refused.begin(), entry.refused.end(), digest) != entry.refused.end()) co_return nullptr;
  if (pool.refused()) {
    entry.credentials = digest;
    entry.by_password = own.kind == session::Credentials::Kind::password;
    pool.replace_credentials(std::move(own));
  }
  co_return use(entry);
}

}  // namespace postern::broker
