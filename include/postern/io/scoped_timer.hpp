// A timer that ends with its scope: a deadline of what a coroutine does there.
#pragma once

#include <functional>
#include <utility>

#include "postern/base/timer_queue.hpp"

namespace postern::io {

class ScopedTimer {
 public:
  ScopedTimer(TimerQueue& timers, Duration delay, std::function<void()> callback)
      : timers_(timers), id_(timers.add_after(delay, std::move(callback))) {}
  ~ScopedTimer() { timers_.cancel(id_); }
  ScopedTimer(const ScopedTimer&) = delete;
  ScopedTimer& operator=(const ScopedTimer&) = delete;

 private:
  TimerQueue& timers_;
  TimerId id_;
};

}  // namespace postern::io
