// Private to the push subscriptions (subscriptions.hpp): one of them, and the names of credentials.
//
// An entry is a listener of the hub's; what coroutines and answers come back to is looked up again by its id, since it
// may have gone meanwhile.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "broker/subscriptions.hpp"
#include "postern/push/target_policy.hpp"

namespace postern::broker {

// What a credential's name begins with.
inline constexpr char of_session = 's', of_password = 'p', of_token = 'o', of_web_server = 'r';

// "p12"
inline std::string subscription_id(std::uint64_t id) { return "p" + std::to_string(id); }

inline std::string_view octets_in(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

class Subscriptions::Entry final : public push::Sink {
 public:
  Entry(Subscriptions& service, records::PushSubscription known, push::WebPushPace pace)
      : record(std::move(known)), queue(pace), service_(service) {
    if (const auto url = push::parse_push_url(record.url->expose())) target = *url;
    if (record.p256dh && record.auth) keys = push::ClientKeys{record.p256dh, record.auth};
  }
  ~Entry() override {
    service_.loop_.timers().cancel(timer);
    if (listener != 0 && service_.events_.is_running()) service_.events_.hub().remove(listener);
  }
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;

  records::PushSubscription record;
  push::PushUrl target;
  std::optional<push::ClientKeys> keys;
  push::WebPushQueue queue;
  push::States told;  // as far as the hub has said
  push::ListenerId listener = 0;
  bool activating = false;
  AccountPtr account;  // while it is active
  unsigned verifications = 0;
  TimerId timer = 0;

 private:
  void on_event(const push::StateEvent& event) override {
    queue.put(event.states, event.types);
    push::merge_states(told, event.states);
    // Not from within the hub: what is sent may remove this.
    service_.loop_.post([weak = std::weak_ptr(service_.alive_), id = record.id] {
      if (const auto service = weak.lock()) (*service)->pump(id);
    });
  }
  void on_end(push::EndReason reason) override {
    listener = 0;
    service_.loop_.post([weak = std::weak_ptr(service_.alive_), id = record.id, reason] {
      if (const auto service = weak.lock()) (*service)->on_end(id, reason);
    });
  }
  Subscriptions& service_;
};

}  // namespace postern::broker
