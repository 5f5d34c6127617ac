// See timer_queue.hpp. Bounded by its users: one entry for each timer they hold.
#include "postern/base/timer_queue.hpp"

#include <vector>

namespace postern {

TimerId TimerQueue::add(MonotonicTime deadline, std::function<void()> callback) {
  const bool earlier = by_deadline_.empty() || deadline < by_deadline_.begin()->first.first;
  const TimerId id = ++last_;
  by_deadline_.emplace(std::pair(deadline, id), std::move(callback));
  deadline_of_.emplace(id, deadline);
  if (earlier && earlier_) earlier_();
  return id;
}

bool TimerQueue::cancel(TimerId id) {
  const auto found = deadline_of_.find(id);
  if (found == deadline_of_.end()) return false;
  by_deadline_.erase({found->second, id});
  deadline_of_.erase(found);
  return true;
}

std::optional<MonotonicTime> TimerQueue::next() const {
  if (by_deadline_.empty()) return std::nullopt;
  return by_deadline_.begin()->first.first;
}

std::size_t TimerQueue::run_due() {
  // The list is taken first: a callback that adds a timer which is due at once gets it in the next call,
  // so that one call always ends. A timer that a callback cancels is missing when its turn comes.
  const MonotonicTime now = clock_.now();
  std::vector<std::pair<MonotonicTime, TimerId>> due;
  for (const auto& [key, callback] : by_deadline_) {
    if (key.first > now) break;
    due.push_back(key);
  }
  std::size_t ran = 0;
  for (const auto& key : due) {
    auto node = by_deadline_.extract(key);
    if (node.empty()) continue;
    deadline_of_.erase(key.second);
    ++ran;
    if (node.mapped()) node.mapped()();
  }
  return ran;
}

}  // namespace postern
