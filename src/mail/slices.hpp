// Long work over what is in memory, done in slices that let the loop's other work come between. Private.
//
// A slice is so short that others hardly notice one, and an account has but one of them in a turn of the loop, however
// many of its requests take long: so nobody's requests hold up others' on the same shard (docs/limits.md, "Fair
// shares").
#pragma once

#include <algorithm>
#include <cstddef>
#include <list>
#include <memory>
#include <utility>
#include <vector>

#include "mail/account_support.hpp"

namespace postern::mail {

// Evaluations of a condition or comparisons in one slice: some hundredths of a millisecond.
inline constexpr std::size_t slice_steps = 2'000;

// An account's long work: whose slice comes next. On the loop that outlives it.
class Lane {
 public:
  explicit Lane(io::Loop& loop) : state_(std::make_shared<State>(loop)) {}
  // Behind everything else of the loop that is ready, and what of this account has waited longer.
  io::Task<> turn() {
    const auto state = state_;
    const auto come = std::make_shared<io::Event>(state->loop);
    state->waiting.push_back(come);
    if (state->waiting.size() == 1) post(state);
    co_await come->wait();
  }

 private:
  struct State {
    explicit State(io::Loop& l) : loop(l) {}
    io::Loop& loop;
    std::list<std::shared_ptr<io::Event>> waiting;  // which takes no memory while it is empty
  };
  static void post(const std::shared_ptr<State>& state) {
    state->loop.post([state] {
      const auto next = state->waiting.front();
      state->waiting.pop_front();
      if (!state->waiting.empty()) post(state);
      next->set();
    });
  }
  const std::shared_ptr<State> state_;
};

// Counts steps. After a true, the caller waits for its Lane: what it knew of anything may have changed then.
class Slices {
 public:
  bool over(std::size_t steps) {
    done_ += steps;
    if (done_ < slice_steps) return false;
    done_ = 0;
    return true;
  }

 private:
  std::size_t done_ = 0;
};

// Sorts values that are nobody else's, by a total order: runs, then merged in pairs.
template <typename T, typename Less>
io::Task<> sort_in_slices(Lane& lane, std::vector<T>& items, const Less& less) {
  constexpr std::size_t run = 128;
  Slices slices;
  const auto at = [&items](std::size_t i) {
    return items.begin() + static_cast<std::ptrdiff_t>(std::min(i, items.size()));
  };
  for (std::size_t i = 0; i < items.size(); i += run) {
    std::sort(at(i), at(i + run), less);
    if (slices.over(run * 9)) co_await lane.turn();
  }
  std::vector<T> merged;
  for (auto width = run; width < items.size(); width *= 2) {
    merged.clear();
    merged.reserve(items.size());
    for (std::size_t i = 0; i < items.size(); i += 2 * width) {
      auto left = at(i), right = at(i + width);
      const auto left_end = right, right_end = at(i + 2 * width);
      while (left != left_end || right != right_end) {
        const bool from_right = left == left_end || (right != right_end && less(*right, *left));
        merged.push_back(std::move(from_right ? *right++ : *left++));
        if (slices.over(1)) co_await lane.turn();
      }
    }
    items.swap(merged);
  }
}

}  // namespace postern::mail
