// When to try again: exponential, with jitter, so that those who failed together don't come back together.
//
// A value without I/O; its owner brings clock and randomness.
#pragma once

#include <algorithm>

#include "postern/base/clock.hpp"
#include "postern/base/crypto.hpp"

namespace postern::session {

class Backoff {
 public:
  Backoff(Duration min, Duration max) : min_(min), max_(max) {}

  // The n-th failure in a row waits between half of min * 2^(n-1) and all of it, `max` at most.
  void failed(MonotonicTime now, Random& random) {
    const Duration full = std::min(max_, min_ * (std::int64_t{1} << std::min(failures_, doublings_max)));
    ++failures_;
    const auto half = full / 2;
    const auto spread = static_cast<std::uint64_t>(std::max<std::int64_t>(1, (full - half).count()));
    due_ = now + half + Duration(static_cast<std::int64_t>(random.u64() % spread));
  }
  void succeeded() {
    failures_ = 0;
    due_ = {};
  }
  MonotonicTime due() const { return due_; }
  int failures() const { return failures_; }

 private:
  static constexpr int doublings_max = 20;
  Duration min_, max_;
  int failures_ = 0;
  MonotonicTime due_{};
};

}  // namespace postern::session
