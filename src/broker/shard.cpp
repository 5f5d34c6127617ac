// The accounts of one shard: made, kept while used, dropped by the housekeeping. Who gets at them is in
// shard_sign_in.cpp.
#include "broker/shard.hpp"

#include <malloc.h>

#include <algorithm>
#include <stdexcept>

#include "broker/mailbox_orders.hpp"
#include "postern/base/encoding.hpp"
#include "postern/session/sasl.hpp"

namespace postern::broker {
namespace {

constexpr Duration housekeeping_interval = std::chrono::seconds(15);
constexpr Duration close_all_timeout =
    std::chrono::seconds(3);                      // for the LOGOUTs of all accounts, when stopping
constexpr std::size_t closing_at_once_max = 256;  // accounts that say LOGOUT at a time when the broker stops

}  // namespace

Shard::Shard(unsigned number, std::shared_ptr<const Config> config, store::SegmentWriter& segment,
             const Clock& clock, Random& random, Logger& logger,
             std::shared_ptr<session::LoginSlots> login_slots, records::Store* records)
    : number_(number),
      config_(std::move(config)),
      segment_(segment),
      loop_(clock, random, logger),
      fragments_(config_->cache.fragments_bytes / std::max(1u, config_->server.shards)) {
  auto server = session::Server::make(loop_, config_->imap, std::move(login_slots));
  if (!server) throw std::runtime_error("[imap] " + server.error().to_string());
  server_ = std::move(*server);
  if (!config_->sieve.server.endpoint.host.empty()) {
    auto sieve = sieve::Server::make(loop_, config_->sieve);
    if (!sieve) throw std::runtime_error("[sieve] " + sieve.error().to_string());
    sieve_ = std::move(*sieve);
    sieve_->ask();
  }
  verifier_key_.resize(32);
  random.fill({reinterpret_cast<std::uint8_t*>(verifier_key_.data()), verifier_key_.size()});
  housekeeping_ = loop_.timers().add_after(housekeeping_interval, [this] { keep_house(); });
  if (records == nullptr) return;
  records_ = records->on(loop_);
  if (!config_->smtp.is_on()) return;
  const auto shards = std::max(1u, config_->server.shards);
  auto outgoing = config_->smtp.server;
  outgoing.connections_max = std::max(1u, outgoing.connections_max / shards);
  auto transport = smtp::make_transport(loop_, std::move(outgoing));
  if (!transport) throw std::runtime_error("[smtp] " + transport.error().to_string());
  outbox_ = std::make_unique<outbox::Outbox>(loop_, records->on(loop_), std::move(*transport),
                                             config_->smtp.outbox);
  outbox_->start(number_, shards);
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

// --- Accounts ---

AccountPtr Shard::make_account(store::AccountKey key, session::Credentials credentials,
                               std::string client_address, Metered metered) {
  // Whoever lets go of it last, it ends on its own loop.
  auto let_go = [this](mail::Account* account) {
    if (std::this_thread::get_id() == owner_.load())
      delete account;
    else
      loop_.post([account] { delete account; });
  };
  mail::AccountContext context{loop_, *server_, segment_, fragments_, config_->mail, states_, uploads_};
  if (book_ != nullptr && metered == Metered::at_once) context.meter = book_->open(key, credentials.login);
  AccountPtr account(
      new mail::Account(std::move(context), key, std::move(credentials), std::move(client_address)),
      std::move(let_go));
  if (records_)
    account->set_order_store(
        std::make_unique<MailboxOrders>(*records_, records::Owner{key, account->login()}));
  if (sieve_)
    account->set_vacation(sieve_->vacation_store([pool = &account->pool()] { return pool->credentials(); }));
  return account;
}

AccountPtr Shard::use(Entry& entry) {
  entry.last_used = loop_.clock().now();
  entry.close_when_unused = false;
  look_up_plan(entry);
  if (outbox_)
    if (const records::Owner owner{entry.account->key(), entry.account->login()}; outbox_->has_waiting(owner))
      outbox_->take_credentials(owner, outgoing_credentials(*entry.account));
  return entry.account;
}

smtp::Credentials Shard::outgoing_credentials(mail::Account& account) const {
  const auto own = account.pool().credentials();
  using Kind = session::Credentials::Kind;
  smtp::Credentials outgoing{smtp::Credentials::Kind::password, own.login, {}, own.secret.clone()};
  if (own.kind == Kind::oauth) outgoing.kind = smtp::Credentials::Kind::oauth;
  if (own.kind == Kind::master) {
    outgoing.login = session::SaslClient(session::AuthMethod::plain, own, config_->imap).login();
    if (config_->imap.master_user_format.empty()) outgoing.authzid = own.login;
  }
  return outgoing;
}

io::Task<> Shard::stop_sending(MonotonicTime deadline) {
  if (outbox_) co_await outbox_->stop(deadline);
}

Shard::InFlight::~InFlight() {
  if (!gate_) return;
  // A reload may have lowered the limit.
  if (gate_->waiting.empty() || gate_->running > gate_->most) {
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
  auto most = kind == RequestKind::api ? config_->jmap.max_concurrent_requests : concurrent_downloads_max;
  if (it != accounts_.end() && kind == RequestKind::api)
    most =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(most, it->second.account->meter().requests_max()));
  gate->most = most;
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
  if (number_ == 0 && uploads_ != nullptr) uploads_->expire();
  const auto now = loop_.clock().now();
  std::size_t bytes = 0;
  std::vector<std::pair<MonotonicTime, Entry*>> with_views;
  std::vector<store::AccountKey> unused;
  bool given_up = false;
  for (auto& [key, entry] : accounts_) {
    if (entry.account->watched()) entry.account->note_use();
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
