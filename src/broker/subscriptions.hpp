// Push subscriptions (RFC 8620, 7.2) as the broker keeps them: made by a request's credentials, heard of by the hub,
// and told through push services.
//
// Lives on the router's loop (shard 0's), where all of it runs but what a request's port waits for. It owns what is
// known of each subscription; the database keeps it over a restart. A subscription is active while its account is
// watched for it: from its verification, or after a restart from the first request whose credentials make the account
// available, until the credentials are refused or end. Bounds: Config::webpush, creations_per_hour_max.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "broker/config.hpp"
#include "broker/events.hpp"
#include "postern/jmap/push_subscriptions.hpp"
#include "postern/push/web_client.hpp"
#include "postern/push/web_push.hpp"
#include "postern/push/web_push_queue.hpp"
#include "postern/records/records.hpp"

namespace postern::broker {

struct SubscriptionCounters {
  std::size_t subscriptions = 0, active = 0;
  std::uint64_t sent = 0, failures = 0, forbidden_targets = 0;
};

class Subscriptions {
 public:
  // An account's subscriptions that are made within an hour (RFC 8620, 8.6).
  static constexpr std::size_t creations_per_hour_max = 60;

  // What it refers to outlives it. `credential_key`: by which passwords are known again.
  Subscriptions(std::shared_ptr<const Config> config, const store::SegmentWriter& segment,
                EventService& events, std::vector<Shard*> shards, records::Store& store, push::VapidKey key,
                std::string credential_key);
  ~Subscriptions();
  Subscriptions(const Subscriptions&) = delete;
  Subscriptions& operator=(const Subscriptions&) = delete;

  const std::string& application_server_key() const { return vapid_.application_server_key(); }

  // Which credentials these are: those of a session, or else what a request has shown. Two are the same exactly if
  // their names are; a name tells nothing of a secret without the key.
  static std::string credential_of(const store::TokenHash& session);
  std::string credential_of(const session::Credentials& credentials) const;

  // A request of this person has come: what waits for their account goes on. Cheap where nothing does.
  void seen(const EventOwner& owner, const std::string& credential);
  // For a request with these credentials, on the loop `home` of its account.
  std::unique_ptr<jmap::PushSubscriptions> access(EventOwner owner, std::string credential, io::Loop& home);
  SubscriptionCounters counters() const;

 private:
  class Entry;
  class Access;
  using Id = std::uint64_t;

  io::Task<> load();
  Entry* find(Id id);
  Entry* find_own(const records::Owner& owner, const std::string& credential, const std::string& id);
  bool is_live(const records::PushSubscription& record) const;
  static jmap::PushSubscriptionInfo info_of(const records::PushSubscription& record);
  std::optional<std::int64_t> clamped(const std::string& credential,
                                      std::optional<std::int64_t> expires) const;
  bool has_room(store::AccountKey account) const;
  bool may_create(store::AccountKey account);

  // --- For Access ---
  io::Task<std::vector<jmap::PushSubscriptionInfo>> all(EventOwner owner, std::string credential);
  io::Task<jmap::PushSubscriptions::Outcome> create(EventOwner owner, std::string credential,
                                                    jmap::NewPushSubscription wanted);
  io::Task<jmap::PushSubscriptions::Outcome> update(EventOwner owner, std::string credential, std::string id,
                                                    jmap::PushSubscriptionPatch patch);
  io::Task<mail::SetOutcome> destroy(EventOwner owner, std::string credential, std::string id);

  // --- Hearing and telling ---
  void run(io::Task<> task);
  io::Task<> activate(Id id, EventOwner owner, bool silent);
  io::Task<> look_at_refusal(Id id);
  void on_end(Id id, push::EndReason reason);
  void pump(Id id);
  void send_states(Entry& entry, const push::WebPushQueue::Message& message);
  void send_verification(Id id);
  bool send(Entry& entry, const std::string& json, std::string_view urgency, const std::string& topic,
            push::WebClient::OnAnswer on_answer);
  void on_answer(Id id, const push::WebAnswer& answer);
  void on_verification_answer(Id id, const push::WebAnswer& answer);
  // True: it has been removed, since its service doesn't know it, or it points inside.
  bool removed_by(Entry& entry, const push::WebAnswer& answer);
  io::Task<> remove(std::vector<Id> ids, std::string_view why);
  void keep_house();

  std::shared_ptr<const Config> config_;
  const store::SegmentWriter& segment_;
  EventService& events_;
  const std::vector<Shard*> shards_;
  io::Loop& loop_;
  std::unique_ptr<records::Records> records_;
  const push::VapidKey vapid_;
  const std::string credential_key_, contact_;
  const push::TargetPolicy policy_;
  std::shared_ptr<Subscriptions*> alive_;  // what is posted and spawned holds a weak one
  io::Event loaded_;
  bool load_failed_ = false;
  std::map<Id, std::unique_ptr<Entry>> entries_;
  std::unordered_map<store::AccountKey, std::set<Id>> of_account_;
  std::unordered_map<store::AccountKey, std::deque<MonotonicTime>> created_;
  std::unordered_map<store::AccountKey, std::size_t> being_made_;
  std::vector<std::pair<EventOwner, std::string>> seen_before_load_;
  SubscriptionCounters counters_;
  TimerId housekeeping_ = 0;
  std::unique_ptr<push::WebClient> client_;  // first to go
};

}  // namespace postern::broker
