// What is to be sent to one push subscription, and when: one message under way, the newest states win, pauses after
// failures and between messages. No I/O.
#pragma once

#include <cstdint>
#include <optional>

#include "postern/base/clock.hpp"
#include "postern/base/crypto.hpp"
#include "postern/push/state_change.hpp"

namespace postern::push {

struct WebPushPace {
  Duration interval = std::chrono::seconds(1);  // between two messages, at least
  Duration retry_min = std::chrono::seconds(5), retry_max = std::chrono::hours(1);
};

// What a push service has said (RFC 8030, 5 and 7).
enum class WebPushOutcome : std::uint8_t {
  sent,
  again,    // for the moment not possible
  refused,  // nor ever, this message
};

class WebPushQueue {
 public:
  explicit WebPushQueue(WebPushPace pace) : pace_(pace) {}

  void put(const States& states, TypeSet types);
  struct Message {
    States states;
    TypeSet types;
  };
  // What may be sent now; under way until ended(). Types that aren't `wanted` any more are forgotten.
  std::optional<Message> next(MonotonicTime now, TypeSet wanted = TypeSet::all());
  // `retry_after`: what the service has asked for; `random` spreads the next attempt.
  void ended(WebPushOutcome outcome, std::optional<Duration> retry_after, MonotonicTime now, Random& random);
  // When next() is worth a call; nullopt: nothing waits, or a message is under way.
  std::optional<MonotonicTime> due() const;
  bool is_under_way() const { return under_way_.has_value(); }

 private:
  WebPushPace pace_;
  Message waiting_;
  std::optional<Message> under_way_;
  MonotonicTime not_before_{};
  unsigned failures_ = 0;
};

}  // namespace postern::push
