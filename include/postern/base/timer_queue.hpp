// Deadlines of one shard, without I/O: callbacks in order of their deadline.
//
// Whoever owns the loop asks next() how long it may sleep and calls run_due() afterwards; tests move a
// ManualClock and call run_due() themselves. Not thread-safe: one queue a shard. A callback may add and
// cancel timers, also itself.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>

#include "postern/base/clock.hpp"

namespace postern {

using TimerId = std::uint64_t;  // 0 is no timer

class TimerQueue {
 public:
  explicit TimerQueue(const Clock& clock) : clock_(clock) {}
  TimerQueue(const TimerQueue&) = delete;
  TimerQueue& operator=(const TimerQueue&) = delete;

  TimerId add(MonotonicTime deadline, std::function<void()> callback);
  TimerId add_after(Duration delay, std::function<void()> callback) {
    return add(clock_.now() + delay, std::move(callback));
  }
  // False if it has run or never was.
  bool cancel(TimerId id);

  std::optional<MonotonicTime> next() const;
  // Runs what is due now; returns how many ran.
  std::size_t run_due();
  std::size_t size() const { return by_deadline_.size(); }
  // Drops all timers; their callbacks end (and may cancel timers while they do).
  void clear() {
    deadline_of_.clear();
    auto gone = std::exchange(by_deadline_, {});
  }
  const Clock& clock() const { return clock_; }
  // Called when a timer is added that is earlier than all others, so that the loop can wake sooner.
  void on_earlier(std::function<void()> hook) { earlier_ = std::move(hook); }

 private:
  const Clock& clock_;
  std::map<std::pair<MonotonicTime, TimerId>, std::function<void()>> by_deadline_;
  std::unordered_map<TimerId, MonotonicTime> deadline_of_;
  std::function<void()> earlier_;
  TimerId last_ = 0;
};

}  // namespace postern
