// Time comes in from outside, so that tests can set it.
#pragma once

#include <chrono>
#include <cstdint>

namespace postern {

using Duration = std::chrono::nanoseconds;
using MonotonicTime = std::chrono::time_point<std::chrono::steady_clock, Duration>;
using WallTime = std::chrono::time_point<std::chrono::system_clock, Duration>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual MonotonicTime now() const = 0;  // for deadlines and ages within one process
  virtual WallTime wall() const = 0;      // for what is written down
};

class SystemClock final : public Clock {
 public:
  MonotonicTime now() const override { return std::chrono::steady_clock::now(); }
  WallTime wall() const override { return std::chrono::system_clock::now(); }
};

class ManualClock final : public Clock {
 public:
  MonotonicTime now() const override { return MonotonicTime(elapsed_); }
  WallTime wall() const override { return start_ + elapsed_; }
  void advance(Duration by) { elapsed_ += by; }

 private:
  Duration elapsed_ = std::chrono::hours(24);
  WallTime start_ = WallTime(std::chrono::seconds(1'700'000'000));
};

inline std::int64_t unix_seconds(WallTime t) {
  return std::chrono::duration_cast<std::chrono::seconds>(t.time_since_epoch()).count();
}

}  // namespace postern
