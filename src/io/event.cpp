// Event's list of waiting coroutines, which outlives the Event itself while somebody waits.
#include "postern/io/event.hpp"

#include "io/waiter.hpp"

namespace postern::io {

struct Event::State {
  explicit State(Loop& l) : loop(l) {}
  void wake_all() {
    while (!waiters.empty()) waiters.front().wake();  // wake() takes it off the list
  }

  Loop& loop;
  WaiterList<EventTag> waiters;
  bool set = false;

  static Task<> wait(std::shared_ptr<State> state);
  static Task<bool> wait_until(std::shared_ptr<State> state, MonotonicTime deadline);
};

Task<> Event::State::wait(std::shared_ptr<State> state) {
  if (state->set) co_return;
  Waiter waiter(state->loop);
  state->waiters.push_back(waiter);
  co_await waiter.suspend();
}

Task<bool> Event::State::wait_until(std::shared_ptr<State> state, MonotonicTime deadline) {
  if (state->set) co_return true;
  Waiter waiter(state->loop);
  state->waiters.push_back(waiter);
  struct Timer {
    TimerQueue& timers;
    bool expired = false;
    TimerId id = 0;
    ~Timer() { timers.cancel(id); }
  } timer{state->loop.timers()};
  timer.id = timer.timers.add(deadline, [&timer, &waiter] {
    if (waiter.woken()) return;
    timer.expired = true;
    waiter.wake();
  });
  co_await waiter.suspend();
  co_return !timer.expired;
}

Event::Event(Loop& loop) : state_(std::make_shared<State>(loop)) {}
Event::~Event() { state_->wake_all(); }

void Event::set() {
  state_->set = true;
  state_->wake_all();
}
void Event::reset() { state_->set = false; }
bool Event::is_set() const { return state_->set; }
Task<> Event::wait() { return State::wait(state_); }
Task<bool> Event::wait_until(MonotonicTime deadline) { return State::wait_until(state_, deadline); }

}  // namespace postern::io
