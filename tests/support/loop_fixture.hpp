// A loop whose clock the test moves, and sockets that are real: pump_until() lets I/O happen.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>

#include "postern/base/clock.hpp"
#include "postern/base/crypto.hpp"
#include "postern/io/loop.hpp"
#include "support/capture_log.hpp"

namespace postern::test {

struct LoopFixture : ::testing::Test {
  ManualClock clock;
  SystemRandom random;
  CaptureLogger logger;
  io::Loop loop{clock, random, logger};

  // False when it hasn't come true in ten (real) seconds.
  bool pump_until(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    for (;;) {
      loop.poll();
      if (condition()) return true;
      if (std::chrono::steady_clock::now() > end) return false;
      loop.context().run_one_for(std::chrono::milliseconds(5));
    }
  }
  // Runs a coroutine to its end and returns what it returns.
  template <typename T>
  T await(io::Task<T> task) {
    std::optional<T> result;
    loop.spawn(store(std::move(task), result));
    if (!pump_until([&] { return result.has_value(); })) throw std::runtime_error("the coroutine didn't end");
    return std::move(*result);
  }

 private:
  template <typename T>
  static io::Task<> store(io::Task<T> task, std::optional<T>& result) {
    result.emplace(co_await std::move(task));
  }
};

}  // namespace postern::test
