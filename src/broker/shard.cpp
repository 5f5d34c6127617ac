// The accounts of one shard: signed in, resumed from a session, kept while used, dropped by the housekeeping.
// Passwords that were good are known again by keyed digests (verifiers_per_account_max of them).
#include "broker/shard.hpp"

#include <malloc.h>

#include <algorithm>
#include <stdexcept>

#include "postern/base/encoding.hpp"

namespace postern::broker {
namespace {

constexpr Duration housekeeping_interval = std::chrono::seconds(15);
constexpr std::size_t verifiers_per_account_max = 16;
constexpr std::size_t refused_per_account_max = 16;
constexpr Duration close_all_timeout =
    std::chrono::seconds(3);                      // for the LOGOUTs of all accounts, when stopping
constexpr std::size_t closing_at_once_max = 256;  // accounts that say LOGOUT at a time when the broker stops

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

Shard::Shard(unsigned number, std::shared_ptr<const Config> config, store::SegmentWriter& segment,
             const Clock& clock, Random& random, Logger& logger,
             std::shared_ptr<session::LoginSlots> login_slots)
    : number_(number),
      config_(std::move(config)),
      segment_(segment),
      loop_(clock, random, logger),
      fragments_(config_->cache.fragments_bytes / std::max(1u, config_->server.shards)) {
  auto server = session::Server::make(loop_, config_->imap, std::move(login_slots));
  if (!server) throw std::runtime_error("[imap] " + server.error().to_string());
  server_ = std::move(*server);
  verifier_key_.resize(32);
  random.fill({reinterpret_cast<std::uint8_t*>(verifier_key_.data()), verifier_key_.size()});
  housekeeping_ = loop_.timers().add_after(housekeeping_interval, [this] { keep_house(); });
}

Shard::~Shard() { accounts_.clear(); }

void Shard::start_thread() {
  thread_ = std::thread([this] {
    owner_ = std::this_thread::get_id();
    loop_.run();
  });
}

void Shard::stop_thread() {
  loop_.stop();
  if (thread_.joinable()) thread_.join();
  owner_ = std::this_thread::get_id();
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

// --- Accounts ---

AccountPtr Shard::make_account(store::AccountKey key, session::Credentials credentials,
                               std::string client_address) {
  // Whoever lets go of it last, it ends on its own loop.
  auto let_go = [this](mail::Account* account) {
    if (std::this_thread::get_id() == owner_.load())
      delete account;
    else
      loop_.post([account] { delete account; });
  };
  return AccountPtr(
      new mail::Account(mail::AccountContext{loop_, *server_, segment_, fragments_, config_->mail}, key,
                        std::move(credentials), std::move(client_address)),
      std::move(let_go));
}

namespace {

// Two logins with one key: nobody gets at somebody else's mail by that.
Error another_login(Logger& logger, std::string_view login) {
  logger.error("two logins have the same account key, the second is refused", {{"login", login}});
  return Error(session::Errc::authentication, "the account key is somebody else's");
}

}  // namespace

AccountPtr Shard::use(Entry& entry) {
  entry.last_used = loop_.clock().now();
  entry.close_when_unused = false;
  return entry.account;
}

io::Task<Result<AccountPtr>> Shard::sign_in(store::AccountKey key, session::Credentials credentials,
                                            std::string client_address) {
  const auto digest = verifier_of(credentials);
  if (auto it = accounts_.find(key); it != accounts_.end()) {
    if (it->second.account->login() != credentials.login)
      co_return fail(another_login(loop_.logger(), credentials.login));
    if (is_verified(it->second, digest)) co_return use(it->second);
  }
  if (auto other = trying_.find(digest); other != trying_.end()) {
    auto trial = other->second;
    co_await trial->done.wait();
    co_return trial->result;
  }
  auto trial = std::make_shared<Trial>(loop_);
  trying_[digest] = trial;
  trial->result = co_await try_credentials(key, std::move(credentials), digest, std::move(client_address));
  trying_.erase(digest);
  trial->done.set();
  co_return trial->result;
}

io::Task<Result<AccountPtr>> Shard::try_credentials(store::AccountKey key, session::Credentials credentials,
                                                    Digest digest, std::string client_address) {
  AccountPtr fresh;
  if (accounts_.contains(key)) {
    // The account is open already: these credentials must prove themselves beside it.
    auto trial = session::Pool::make(loop_, *server_, credentials.clone(), nullptr, client_address);
    auto connected = co_await trial->connect();
    if (connected) co_await trial->close();
    if (!connected) co_return fail(connected.error());
  } else {
    fresh = make_account(key, credentials.clone(), client_address);
    if (auto connected = co_await fresh->pool().connect(); !connected) co_return fail(connected.error());
  }
  // Meanwhile others may have closed the account, or opened it by a session's credentials.
  auto& entry = accounts_[key];
  if (entry.account && entry.account->login() != credentials.login)
    co_return fail(another_login(loop_.logger(), credentials.login));
  if (!entry.account) {
    entry.account = fresh ? fresh : make_account(key, std::move(credentials), client_address);
  } else {
    entry.account->pool().replace_credentials(std::move(credentials));
    if (fresh) loop_.spawn(log_out(fresh));
  }
  entry.credentials = digest;
  entry.refused.clear();
  add_verifier(entry, digest);
  co_return use(entry);
}

io::Task<> Shard::log_out(AccountPtr account) { co_await account->pool().close(); }

Result<AccountPtr> Shard::resume(store::AccountKey key, session::Credentials credentials,
                                 std::string client_address) {
  if (account_key(config_->imap, credentials.login) != key)
    return fail(store::Errc::damaged, "a session's credentials");
  if (auto it = accounts_.find(key); it != accounts_.end()) {
    if (it->second.account->login() != credentials.login)
      return fail(another_login(loop_.logger(), credentials.login));
    return use(it->second);
  }
  auto& entry = accounts_[key];
  entry.credentials = verifier_of(credentials);
  entry.account = make_account(key, std::move(credentials), std::move(client_address));
  return use(entry);
}

// What the pool signs in with now has been refused: it's no proof of anything any more.
void Shard::note_refusal(Entry& entry) {
  const auto& digest = entry.credentials;
  std::erase_if(entry.verifiers, [&](const Verifier& v) { return v.digest == digest; });
  if (std::find(entry.refused.begin(), entry.refused.end(), digest) != entry.refused.end()) return;
  if (entry.refused.size() >= refused_per_account_max) entry.refused.erase(entry.refused.begin());
  entry.refused.push_back(digest);
}

AccountPtr Shard::after_refusal(store::AccountKey key, const mail::Account* refused, session::Credentials own,
                                std::string client_address) {
  auto it = accounts_.find(key);
  if (it == accounts_.end() || it->second.account.get() != refused) {
    auto again = resume(key, std::move(own), std::move(client_address));
    return again ? *again : nullptr;
  }
  auto& entry = it->second;
  if (entry.account->login() != own.login) return nullptr;
  auto& pool = entry.account->pool();
  if (pool.refused()) note_refusal(entry);
  const auto digest = verifier_of(own);
  if (std::find(entry.refused.begin(), entry.refused.end(), digest) != entry.refused.end()) return nullptr;
  if (pool.refused()) {
    pool.replace_credentials(std::move(own));
    entry.credentials = digest;
  }
  return use(entry);
}

Shard::InFlight::~InFlight() {
  if (!gate_) return;
  if (gate_->waiting.empty()) {
    --gate_->running;
    return;
  }
  gate_->waiting.front()->come.set();
  gate_->waiting.pop_front();
}

io::Task<std::optional<Shard::InFlight>> Shard::enter(store::AccountKey key, RequestKind kind) {
  auto it = accounts_.find(key);
  // Closed a moment ago: what still runs on it counts for nothing.
  auto gate = it == accounts_.end()      ? std::make_shared<Gate>()
              : kind == RequestKind::api ? it->second.api
                                         : it->second.downloads;
  if (it != accounts_.end()) it->second.views_evicted = false;
  const auto most =
      kind == RequestKind::api ? config_->jmap.max_concurrent_requests : concurrent_downloads_max;
  if (gate->running >= most || !gate->waiting.empty()) {
    if (gate->waiting.size() >= requests_waiting_max) co_return std::nullopt;
    auto turn = std::make_shared<Turn>(loop_);
    gate->waiting.push_back(turn);
    // A reload may have raised the limit: those who stand in front go first.
    for (; gate->running < most && !gate->waiting.empty(); gate->waiting.pop_front()) {
      ++gate->running;
      gate->waiting.front()->come.set();
    }
    co_await turn->come.wait();
  } else {
    ++gate->running;
  }
  co_return InFlight(std::move(gate));
}

void Shard::drop(store::AccountKey key) {
  accounts_.erase(key);
  fragments_.drop_account(key);
}

io::Task<> Shard::close_unused(store::AccountKey key, const mail::Account* only) {
  auto it = accounts_.find(key);
  if (it == accounts_.end() || (only != nullptr && it->second.account.get() != only)) co_return;
  if (it->second.account->pool().refused()) note_refusal(it->second);
  it->second.close_when_unused = true;
  if (!it->second.is_used()) co_await close_account(key);
}

io::Task<> Shard::close_account(store::AccountKey key) {
  auto it = accounts_.find(key);
  if (it == accounts_.end()) co_return;
  auto account = it->second.account;
  account->save_state();
  drop(key);
  co_await account->pool().close();
}

io::Task<> Shard::close_all() {
  save_states();
  std::vector<store::AccountKey> keys;
  keys.reserve(accounts_.size());
  for (const auto& [key, entry] : accounts_) keys.push_back(key);
  // Ten thousand round trips one after the other would take longer than whoever stops the broker waits.
  struct Closing {
    explicit Closing(io::Loop& loop) : done(loop) {}
    std::vector<store::AccountKey> keys;
    std::size_t closers = 0;
    io::Event done;
  };
  auto closing = std::make_shared<Closing>(loop_);
  closing->closers = std::min(keys.size(), closing_at_once_max);
  closing->keys = std::move(keys);
  if (closing->closers == 0) co_return;
  auto close_some = [](Shard& shard, std::shared_ptr<Closing> all) -> io::Task<> {
    while (!all->keys.empty()) {
      const auto key = all->keys.back();
      all->keys.pop_back();
      co_await shard.close_account(key);
    }
    if (--all->closers == 0) all->done.set();
  };
  for (auto closer = closing->closers; closer > 0; --closer) loop_.spawn(close_some(*this, closing));
  // Those whose turn hasn't come then end without LOGOUT: a server that hangs must not hold up a stop or an upgrade.
  co_await closing->done.wait_until(loop_.clock().now() + close_all_timeout);
  closing->keys.clear();
}

void Shard::save_states() {
  for (auto& [key, entry] : accounts_) entry.account->save_state();
}

// Gives up what nobody has used for a while, and what is over the budget.
void Shard::keep_house() {
  housekeeping_ = loop_.timers().add_after(housekeeping_interval, [this] { keep_house(); });
  if (number_ == 0) segment_.expire_sessions();
  const auto now = loop_.clock().now();
  std::size_t bytes = 0;
  std::vector<std::pair<MonotonicTime, Entry*>> with_views;
  std::vector<store::AccountKey> unused;
  bool given_up = false;
  for (auto& [key, entry] : accounts_) {
    entry.account->save_state();
    const bool busy = entry.is_busy();
    if (may_close(entry)) {
      unused.push_back(key);
      continue;
    }
    if (!busy && !entry.views_evicted && now - entry.last_used > config_->cache.view_idle) {
      given_up = given_up || entry.account->views() > 0;
      entry.account->evict_views();
      entry.views_evicted = entry.account->views() == 0;  // one whose index is being filled goes next time
    }
    if (const auto view_bytes = entry.account->view_bytes(); view_bytes > 0 && !busy) {
      bytes += view_bytes;
      with_views.emplace_back(entry.last_used, &entry);
    }
  }
  std::sort(with_views.begin(), with_views.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  const auto budget = config_->cache.views_bytes / std::max(1u, config_->server.shards);
  for (auto& [used, entry] : with_views) {
    if (bytes <= budget) break;
    bytes -= std::min(bytes, entry->account->view_bytes());
    entry->account->evict_views();
    given_up = true;
  }
  // Views are many small pieces among what lives on: without this the allocator keeps their pages.
  if (given_up) ::malloc_trim(0);
  // A turn of the loop later, when somebody may have come.
  for (auto key : unused) {
    auto close = [](Shard* self, store::AccountKey account) -> io::Task<> {
      auto it = self->accounts_.find(account);
      if (it != self->accounts_.end() && self->may_close(it->second)) co_await self->close_account(account);
    };
    loop_.spawn(close(this, key));
  }
}

bool Shard::may_close(const Entry& entry) const {
  return !entry.is_used() &&
         (entry.close_when_unused || loop_.clock().now() - entry.last_used > config_->cache.account_idle);
}

std::vector<AccountInfo> Shard::accounts() const {
  std::vector<AccountInfo> all;
  const auto now = loop_.clock().now();
  for (const auto& [key, entry] : accounts_) {
    AccountInfo info;
    info.login = entry.account->login();
    info.account_id = mail::account_id(key);
    info.connections = entry.account->pool().connections();
    info.views = entry.account->views();
    info.view_bytes = entry.account->view_bytes();
    info.requests_in_flight = entry.api->running + entry.downloads->running;
    info.idle_seconds = std::chrono::duration_cast<std::chrono::seconds>(now - entry.last_used).count();
    all.push_back(std::move(info));
  }
  return all;
}

}  // namespace postern::broker
