// Waiting for something that other code of the same loop will do: the coroutine's side of a callback.
#pragma once

#include <memory>

#include "postern/base/clock.hpp"
#include "postern/io/loop.hpp"
#include "postern/io/task.hpp"

namespace postern::io {

// Level-triggered: set() wakes all who wait and lets later ones pass until reset(). One loop, no locks.
// The coroutines are resumed from the loop, never from inside set(). Whoever was woken is resumed even if
// reset() follows at once. Those who wait cost no heap memory beyond their coroutine's frame.
class Event {
 public:
  explicit Event(Loop& loop);
  ~Event();  // wakes whoever still waits
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void set();
  void reset();
  bool is_set() const;
  Task<> wait();
  // False when the deadline came first. True when the event was set, or ended.
  Task<bool> wait_until(MonotonicTime deadline);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace postern::io
