// What requests ask of push subscriptions: a port that goes over to the service's loop, and what is done there.
#include <algorithm>

#include "broker/subscription_entry.hpp"
#include "postern/base/encoding.hpp"

namespace postern::broker {
namespace {

constexpr std::size_t code_bytes = 16;

mail::SetOutcome set_refusal(std::string type, std::string description,
                             std::vector<std::string> properties = {}) {
  return {false, std::move(type), std::move(description), std::move(properties)};
}

}  // namespace

jmap::PushSubscriptionInfo Subscriptions::info_of(const records::PushSubscription& record) {
  jmap::PushSubscriptionInfo info{subscription_id(record.id), record.device, std::nullopt, std::nullopt,
                                  record.types};
  if (record.verified) info.verification_code = record.code;
  if (record.expires != 0) info.expires = record.expires;
  return info;
}

// RFC 8620, 7.2: those of a session end with it and are not bounded; others are.
std::optional<std::int64_t> Subscriptions::clamped(const std::string& credential,
                                                   std::optional<std::int64_t> expires) const {
  if (credential.starts_with(of_session)) return expires;
  const auto latest = unix_seconds(loop_.clock().wall()) +
                      std::chrono::duration_cast<std::chrono::seconds>(config_->webpush.lifetime_max).count();
  return std::min(expires.value_or(latest), latest);
}

bool Subscriptions::has_room(store::AccountKey account) const {
  const auto own = of_account_.find(account);
  const auto making = being_made_.find(account);
  auto count = own == of_account_.end() ? 0 : own->second.size();
  if (making != being_made_.end()) count += making->second;
  return count < config_->webpush.subscriptions_per_account &&
         entries_.size() + being_made_.size() < config_->webpush.subscriptions_max;
}

bool Subscriptions::may_create(store::AccountKey account) {
  const auto now = loop_.clock().now();
  auto& times = created_[account];
  while (!times.empty() && now - times.front() >= std::chrono::hours(1)) times.pop_front();
  if (times.size() >= creations_per_hour_max) return false;
  times.push_back(now);
  return true;
}

class Subscriptions::Access final : public jmap::PushSubscriptions {
 public:
  Access(broker::Subscriptions& service, EventOwner owner, std::string credential, io::Loop& home)
      : service_(service.alive_),
        router_(service.loop_),
        owner_(std::move(owner)),
        credential_(std::move(credential)),
        home_(home) {}

  io::Task<std::vector<jmap::PushSubscriptionInfo>> all() override {
    auto found = co_await there<std::vector<jmap::PushSubscriptionInfo>>(
        [this](broker::Subscriptions& service) { return service.all(owner_, credential_); });
    co_return std::move(found).value_or(std::vector<jmap::PushSubscriptionInfo>{});
  }
  io::Task<Outcome> create(jmap::NewPushSubscription subscription) override {
    auto made = co_await there<Outcome>([this, &subscription](broker::Subscriptions& service) {
      return service.create(owner_, credential_, std::move(subscription));
    });
    co_return made ? std::move(*made) : std::unexpected(stopping());
  }
  io::Task<Outcome> update(std::string id, jmap::PushSubscriptionPatch patch) override {
    auto updated = co_await there<Outcome>([this, &id, &patch](broker::Subscriptions& service) {
      return service.update(owner_, credential_, std::move(id), std::move(patch));
    });
    co_return updated ? std::move(*updated) : std::unexpected(stopping());
  }
  io::Task<mail::SetOutcome> destroy(std::string id) override {
    auto destroyed = co_await there<mail::SetOutcome>([this, &id](broker::Subscriptions& service) {
      return service.destroy(owner_, credential_, std::move(id));
    });
    co_return destroyed ? std::move(*destroyed) : stopping();
  }

 private:
  static mail::SetOutcome stopping() { return set_refusal("serverFail", "the gateway is being stopped"); }
  // On the service's loop, if it is still there. It may go while this waits: only whether it is there is kept.
  template <typename T, typename F>
  io::Task<Result<T>> there(F work) {
    co_return co_await on_loop(router_, home_, [this, &work]() -> io::Task<Result<T>> {
      broker::Subscriptions* service = nullptr;
      if (const auto alive = service_.lock()) service = *alive;
      if (service == nullptr) co_return fail(io::Errc::closed);
      co_return co_await work(*service);
    });
  }

  const std::weak_ptr<broker::Subscriptions*> service_;
  io::Loop& router_;
  const EventOwner owner_;
  const std::string credential_;
  io::Loop& home_;
};

std::unique_ptr<jmap::PushSubscriptions> Subscriptions::access(EventOwner owner, std::string credential,
                                                               io::Loop& home) {
  return std::make_unique<Access>(*this, std::move(owner), std::move(credential), home);
}

io::Task<std::vector<jmap::PushSubscriptionInfo>> Subscriptions::all(EventOwner owner,
                                                                     std::string credential) {
  const auto weak = std::weak_ptr(alive_);
  co_await loaded_.wait();
  std::vector<jmap::PushSubscriptionInfo> infos;
  if (weak.expired()) co_return infos;
  const records::Owner person{owner.key, owner.account->login()};
  if (const auto ids = of_account_.find(owner.key); ids != of_account_.end())
    for (const auto id : ids->second)
      if (const auto* entry = find(id); entry != nullptr && entry->record.owner == person &&
                                        entry->record.credential == credential && is_live(entry->record))
        infos.push_back(info_of(entry->record));
  co_return infos;
}

io::Task<jmap::PushSubscriptions::Outcome> Subscriptions::create(EventOwner owner, std::string credential,
                                                                 jmap::NewPushSubscription wanted) {
  const auto weak = std::weak_ptr(alive_);
  co_await loaded_.wait();
  if (weak.expired()) co_return std::unexpected(set_refusal("serverFail", "the gateway is being stopped"));
  if (load_failed_) co_return std::unexpected(set_refusal("serverFail", "the records can't be read"));
  const auto& limits = config_->webpush;
  const auto now = unix_seconds(loop_.clock().wall());
  const auto url = push::parse_push_url(wanted.url->expose());
  if (!url || policy_.forbids(url->host))
    co_return std::unexpected(set_refusal(
        "invalidProperties", "must not point to this machine or into a private network", {"url"}));
  if (wanted.expires && *wanted.expires <= now)
    co_return std::unexpected(set_refusal("invalidProperties", "is in the past", {"expires"}));
  if (!has_room(owner.key))
    co_return std::unexpected(set_refusal("overQuota", "there are too many push subscriptions"));
  if (!may_create(owner.key))
    co_return std::unexpected(
        set_refusal("rateLimit", "too many push subscriptions were made within an hour"));

  records::PushSubscription record;
  record.owner = {owner.key, owner.account->login()};
  record.credential = credential;
  record.device = std::move(wanted.device_client_id);
  record.url = std::move(wanted.url);
  if (wanted.keys) {
    record.p256dh = wanted.keys->p256dh;
    record.auth = wanted.keys->auth;
  }
  record.server_key = application_server_key();
  std::string code(code_bytes, '\0');
  loop_.random().fill({reinterpret_cast<std::uint8_t*>(code.data()), code.size()});
  record.code = base64url_encode(code);
  record.created_at = now;
  record.expires = clamped(credential, wanted.expires).value_or(0);
  record.types = std::move(wanted.types);
  ++being_made_[owner.key];
  const auto id = co_await records_->add_push_subscription(record);
  if (weak.expired()) co_return std::unexpected(set_refusal("serverFail", "the gateway is being stopped"));
  if (--being_made_[owner.key] == 0) being_made_.erase(owner.key);
  if (!id) {
    loop_.logger().error("push subscription not kept", {{"error", id.error().to_string()}});
    co_return std::unexpected(set_refusal("serverFail", "it can't be kept"));
  }
  record.id = *id;
  const auto info = info_of(record);
  of_account_[owner.key].insert(*id);
  entries_.emplace(
      *id, std::make_unique<Entry>(*this, std::move(record), push::WebPushPace{.interval = limits.interval}));
  loop_.logger().info("push subscription made", {{"id", info.id}, {"service", url->origin}});
  send_verification(*id);
  co_return info;
}

io::Task<jmap::PushSubscriptions::Outcome> Subscriptions::update(EventOwner owner, std::string credential,
                                                                 std::string id,
                                                                 jmap::PushSubscriptionPatch patch) {
  const auto weak = std::weak_ptr(alive_);
  co_await loaded_.wait();
  if (weak.expired()) co_return std::unexpected(set_refusal("serverFail", "the gateway is being stopped"));
  auto* entry = find_own({owner.key, owner.account->login()}, credential, id);
  if (entry == nullptr || !is_live(entry->record))
    co_return std::unexpected(set_refusal("notFound", "no such PushSubscription"));
  const auto before = entry->record;
  auto changed = before;
  if (patch.verification_code) {
    if (!equal_constant_time(*patch.verification_code, changed.code))
      co_return std::unexpected(
          set_refusal("invalidProperties", "isn't the code that was pushed", {"verificationCode"}));
    changed.verified = true;
  }
  if (patch.expires) {
    if (*patch.expires && **patch.expires <= unix_seconds(loop_.clock().wall()))
      co_return std::unexpected(set_refusal("invalidProperties", "is in the past", {"expires"}));
    changed.expires = clamped(credential, *patch.expires).value_or(0);
  }
  if (patch.types) changed.types = *patch.types;
  // At once: another request that changes it while this one is written down adds to it.
  entry->record = changed;
  const auto kept = co_await records_->update_push_subscription(changed);
  if (weak.expired()) co_return std::unexpected(set_refusal("serverFail", "the gateway is being stopped"));
  entry = find(changed.id);
  if (entry == nullptr || (!kept && kept.error().code == records::Errc::not_found))
    co_return std::unexpected(set_refusal("notFound", "no such PushSubscription"));
  if (!kept) {
    if (patch.verification_code) entry->record.verified = before.verified;
    if (patch.expires) entry->record.expires = before.expires;
    if (patch.types) entry->record.types = before.types;
    co_return std::unexpected(set_refusal("serverFail", "it can't be kept"));
  }
  if (before.types != changed.types && entry->listener != 0) {
    events_.hub().remove(std::exchange(entry->listener, 0));
    run(activate(changed.id, owner, false));
  }
  if (!before.verified && changed.verified) run(activate(changed.id, owner, true));
  co_return info_of(changed);
}

io::Task<mail::SetOutcome> Subscriptions::destroy(EventOwner owner, std::string credential, std::string id) {
  const auto weak = std::weak_ptr(alive_);
  co_await loaded_.wait();
  if (weak.expired()) co_return set_refusal("serverFail", "the gateway is being stopped");
  auto* entry = find_own({owner.key, owner.account->login()}, credential, id);
  if (entry == nullptr) co_return set_refusal("notFound", "no such PushSubscription");
  std::vector<Id> one{entry->record.id};
  co_await remove(std::move(one), "destroyed by its client");
  co_return mail::SetOutcome{true, {}, {}, {}};
}

}  // namespace postern::broker
