// What there is of push subscriptions: read at the start, active while their accounts are, removed when they are over.
#include "broker/subscriptions.hpp"

#include <algorithm>

#include "broker/subscription_entry.hpp"
#include "postern/base/encoding.hpp"

namespace postern::broker {
namespace {

constexpr Duration sweep_interval = std::chrono::minutes(1);
constexpr std::int64_t unverified_lifetime_s = 24 * 3'600;
constexpr std::size_t seen_before_load_max = 1'000;

std::optional<store::TokenHash> session_of(const std::string& credential) {
  if (credential.empty() || credential[0] != of_session) return std::nullopt;
  store::TokenHash hash{};
  if (!base64url_decode_to(std::string_view(credential).substr(1),
                           {reinterpret_cast<char*>(hash.data()), hash.size()}))
    return std::nullopt;
  return hash;
}

push::TargetPolicy policy_of(const WebPushConfig& config) {
  push::TargetPolicy policy;
  for (const auto& target : config.allow) (void)policy.allow(target);  // checked with the configuration
  return policy;
}

push::WebClientOptions client_options(const WebPushConfig& config, push::TargetPolicy policy) {
  push::WebClientOptions options;
  options.policy = std::move(policy);
  options.ca_file = config.ca_file;
  options.connect_timeout = config.connect_timeout;
  options.timeout = config.timeout;
  return options;
}

}  // namespace

Subscriptions::Subscriptions(std::shared_ptr<const Config> config, const store::SegmentWriter& segment,
                             EventService& events, std::vector<Shard*> shards, records::Store& store,
                             push::VapidKey key, std::string credential_key)
    : config_(std::move(config)),
      segment_(segment),
      events_(events),
      shards_(std::move(shards)),
      loop_(shards_.front()->loop()),
      records_(store.on(loop_)),
      vapid_(std::move(key)),
      credential_key_(std::move(credential_key)),
      contact_(config_->webpush.contact.empty() ? config_->http.public_url : config_->webpush.contact),
      policy_(policy_of(config_->webpush)),
      alive_(std::make_shared<Subscriptions*>(this)),
      loaded_(loop_),
      client_(std::make_unique<push::WebClient>(loop_, client_options(config_->webpush, policy_))) {
  run(load());
  housekeeping_ = loop_.timers().add_after(sweep_interval, [this] { keep_house(); });
}

// Nothing of it is begun once this has gone.
void Subscriptions::run(io::Task<> task) {
  loop_.spawn([](std::weak_ptr<Subscriptions*> weak, io::Task<> work) -> io::Task<> {
    if (!weak.expired()) co_await std::move(work);
  }(alive_, std::move(task)));
}

Subscriptions::~Subscriptions() {
  alive_.reset();
  loop_.timers().cancel(housekeeping_);
  client_.reset();
}

SubscriptionCounters Subscriptions::counters() const {
  auto counters = counters_;
  counters.subscriptions = entries_.size();
  for (const auto& [id, entry] : entries_)
    if (entry->listener != 0) ++counters.active;
  return counters;
}

// --- Credentials ---

std::string Subscriptions::credential_of(const store::TokenHash& session) {
  return of_session + session_name(session);
}

// Behind the digest's mark stands which key it was made with: with another one, nobody is known again.
std::string Subscriptions::credential_of(const session::Credentials& credentials) const {
  using Kind = session::Credentials::Kind;
  if (credentials.kind == Kind::oauth) return std::string(1, of_token);
  if (credentials.kind == Kind::master) return std::string(1, of_web_server);
  const auto packed = pack_credentials(credentials);
  const auto digest =
      hmac_sha256(octets_in(hmac_sha256(credential_key_, "push credential")), packed.expose());
  const auto tag = hmac_sha256(credential_key_, "tag");
  return of_password + base64url_encode(octets_in(tag).substr(0, 6)) + base64url_encode(octets_in(digest));
}

bool Subscriptions::is_live(const records::PushSubscription& record) const {
  const auto now = unix_seconds(loop_.clock().wall());
  if (record.expires != 0 && record.expires <= now) return false;
  if (!record.verified && record.created_at + unverified_lifetime_s <= now) return false;
  if (record.credential.starts_with(of_session)) {
    const auto hash = session_of(record.credential);
    const auto session = hash ? segment_.find_session(*hash) : std::nullopt;
    return session && session->account == record.owner.key && session->login == record.owner.login;
  }
  if (!record.credential.starts_with(of_password)) return true;
  const auto tag = hmac_sha256(credential_key_, "tag");
  return record.credential.substr(1).starts_with(base64url_encode(octets_in(tag).substr(0, 6)));
}

// --- What there is ---

io::Task<> Subscriptions::load() {
  const auto weak = std::weak_ptr(alive_);
  auto all = co_await records_->push_subscriptions();
  if (weak.expired()) co_return;
  if (!all) {
    loop_.logger().error("push subscriptions can't be read", {{"error", all.error().to_string()}});
    load_failed_ = true;
    loaded_.set();
    co_return;
  }
  std::vector<Id> dead;
  for (auto& record : *all) {
    // RFC 9749, 5: those of another key are over.
    const bool usable = record.url && record.server_key == application_server_key() && is_live(record);
    if (!usable) {
      dead.push_back(record.id);
      continue;
    }
    const auto id = record.id;
    of_account_[record.owner.key].insert(id);
    entries_.emplace(id, std::make_unique<Entry>(*this, std::move(record),
                                                 push::WebPushPace{.interval = config_->webpush.interval}));
  }
  loop_.logger().info("push subscriptions read", {{"kept", entries_.size()}, {"over", dead.size()}});
  loaded_.set();
  for (const auto& [owner, credential] : std::exchange(seen_before_load_, {})) seen(owner, credential);
  if (!dead.empty()) co_await remove(std::move(dead), "over before the start");
}

Subscriptions::Entry* Subscriptions::find(Id id) {
  const auto it = entries_.find(id);
  return it == entries_.end() ? nullptr : it->second.get();
}

Subscriptions::Entry* Subscriptions::find_own(const records::Owner& owner, const std::string& credential,
                                              const std::string& id) {
  const auto ids = of_account_.find(owner.key);
  if (ids == of_account_.end()) return nullptr;
  for (const auto one : ids->second) {
    auto* entry = find(one);
    if (entry != nullptr && subscription_id(one) == id && entry->record.owner == owner &&
        entry->record.credential == credential)
      return entry;
  }
  return nullptr;
}

io::Task<> Subscriptions::remove(std::vector<Id> ids, std::string_view why) {
  for (const auto id : ids) {
    const auto node = entries_.extract(id);
    if (node.empty()) continue;
    const auto key = node.mapped()->record.owner.key;
    if (const auto of = of_account_.find(key); of != of_account_.end()) {
      of->second.erase(id);
      if (of->second.empty()) of_account_.erase(of);
    }
    loop_.logger().info("push subscription ended", {{"id", subscription_id(id)}, {"reason", why}});
  }
  auto& logger = loop_.logger();
  const auto gone = co_await records_->remove_push_subscriptions(std::move(ids));
  if (!gone) logger.error("push subscriptions can't be removed", {{"error", gone.error().to_string()}});
}

// --- Hearing ---

void Subscriptions::seen(const EventOwner& owner, const std::string& credential) {
  if (!loaded_.is_set()) {
    if (seen_before_load_.size() < seen_before_load_max) seen_before_load_.emplace_back(owner, credential);
    return;
  }
  const auto ids = of_account_.find(owner.key);
  if (ids == of_account_.end()) return;
  for (const auto id : ids->second) {
    auto* entry = find(id);
    if (entry == nullptr || entry->listener != 0 || entry->activating || !entry->record.verified) continue;
    if (entry->record.owner.login != owner.account->login() || !is_live(entry->record)) continue;
    // A session that lives is good, whoever has made its account available; of other credentials nobody knows that
    // before they come.
    if (entry->record.credential == credential || entry->record.credential.starts_with(of_session))
      run(activate(id, owner, false));
  }
}

// `silent`: what is now is known to its client.
io::Task<> Subscriptions::activate(Id id, EventOwner owner, bool silent) {
  const auto weak = std::weak_ptr(alive_);
  auto* entry = find(id);
  if (entry == nullptr || entry->listener != 0 || entry->activating || !events_.is_running()) co_return;
  entry->activating = true;
  const auto hash = session_of(entry->record.credential);
  owner.session = session_name(hash);
  const auto states = co_await events_.states_of_account(owner);
  if (weak.expired()) co_return;
  entry = find(id);
  if (entry == nullptr) co_return;
  entry->activating = false;
  if (!states || !events_.is_running()) co_return;
  push::ListenerOptions options;
  options.account = owner.key;
  options.session = owner.session;
  options.types = push::types_of(entry->record.types);
  options.in_background = true;
  if (silent || entry->told != push::States{}) options.known = silent ? *states : entry->told;
  if (silent) entry->told = *states;
  entry->account = owner.account;
  const auto listener = events_.hub().add(std::move(options), *states, *entry);
  if (!listener) {
    loop_.logger().warning("push subscription not active: there are too many listeners",
                           {{"id", subscription_id(id)}});
    co_return;
  }
  entry = find(id);
  if (entry != nullptr) entry->listener = *listener;
}

void Subscriptions::on_end(Id id, push::EndReason reason) {
  auto* entry = find(id);
  if (entry == nullptr || reason != push::EndReason::session_ended) return;
  if (!is_live(entry->record))
    run(remove({id}, "its session has ended"));
  else
    run(look_at_refusal(id));
}

// The IMAP server refuses what the account was opened with. Are these the credentials that the subscription was made
// with? They are revoked then (RFC 8620, 7.2). Others show again that they are good, or aren't.
io::Task<> Subscriptions::look_at_refusal(Id id) {
  const auto weak = std::weak_ptr(alive_);
  auto* entry = find(id);
  const auto account = entry == nullptr ? nullptr : std::exchange(entry->account, nullptr);
  if (!account) co_return;
  auto refused = co_await on_loop(
      shards_[account->key() % shards_.size()]->loop(), loop_,
      [account]() -> io::Task<Result<session::Credentials>> { co_return account->pool().credentials(); });
  if (weak.expired() || !refused) co_return;
  entry = find(id);
  if (entry != nullptr && entry->record.credential.starts_with(of_password) &&
      entry->record.credential == credential_of(*refused))
    co_await remove({id}, "its credentials are refused");
}

void Subscriptions::keep_house() {
  housekeeping_ = loop_.timers().add_after(sweep_interval, [this] { keep_house(); });
  std::vector<Id> dead;
  for (const auto& [id, entry] : entries_)
    if (!is_live(entry->record)) dead.push_back(id);
  if (!dead.empty()) run(remove(std::move(dead), "it has run out"));
  const auto now = loop_.clock().now();
  std::erase_if(created_, [&](const auto& created) {
    return created.second.empty() || now - created.second.back() >= std::chrono::hours(1);
  });
}

}  // namespace postern::broker
