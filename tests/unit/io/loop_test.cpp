// Loop: timers by an injected clock, work from other threads, and the unwinding of what is still suspended.
#include "postern/io/loop.hpp"

#include <stdexcept>
#include <thread>
#include <vector>

#include "support/loop_fixture.hpp"

namespace postern::io {
namespace {

using namespace std::chrono_literals;
using LoopTest = test::LoopFixture;

Task<> note_after(Loop& loop, Duration delay, std::vector<int>& order, int id) {
  co_await loop.sleep(delay);
  order.push_back(id);
}

TEST_F(LoopTest, SleepersWakeByTheInjectedClockInOrder) {
  std::vector<int> order;
  loop.spawn(note_after(loop, 3s, order, 3));
  loop.spawn(note_after(loop, 1s, order, 1));
  loop.spawn(note_after(loop, 2s, order, 2));
  loop.poll();
  EXPECT_TRUE(order.empty());
  clock.advance(1s - 1ns);
  loop.poll();
  EXPECT_TRUE(order.empty());
  clock.advance(1ns);
  loop.poll();
  EXPECT_EQ(order, std::vector<int>({1}));
  clock.advance(5s);
  loop.poll();
  EXPECT_EQ(order, std::vector<int>({1, 2, 3}));
  EXPECT_EQ(loop.timers().size(), 0u);
}

TEST_F(LoopTest, OtherThreadsPost) {
  int ran = 0;
  std::thread other([&] {
    for (int i = 0; i < 100; ++i) loop.post([&] { ++ran; });
  });
  EXPECT_TRUE(pump_until([&] { return ran == 100; }));
  other.join();
}

TEST_F(LoopTest, RunReturnsAtStopAndCanRunAgain) {
  for (int round = 0; round < 2; ++round) {
    bool ran = false;
    loop.post([&] {
      ran = true;
      loop.stop();
    });
    loop.run();
    EXPECT_TRUE(ran);
  }
}

Task<> throws() {
  throw std::runtime_error("a bug");
  co_return;
}

TEST_F(LoopTest, AnExceptionOutOfACoroutineIsLoggedAndRethrown) {
  loop.spawn(throws());
  EXPECT_THROW(loop.poll(), std::runtime_error);
  EXPECT_EQ(logger.count("a bug"), 1u);
  bool ran = false;
  loop.post([&] { ran = true; });
  loop.poll();
  EXPECT_TRUE(ran);
}

struct Unwound {
  int& count;
  ~Unwound() { ++count; }
};
Task<> hold(Loop& loop, int& unwound) {
  Unwound guard{unwound};
  co_await loop.sleep(std::chrono::hours(1));
}

TEST(Loop, ItsEndUnwindsWhoeverIsSuspended) {
  int unwound = 0;
  {
    ManualClock clock;
    SystemRandom random;
    NullLogger logger;
    Loop loop(clock, random, logger);
    loop.spawn(hold(loop, unwound));
    loop.spawn(hold(loop, unwound));
    loop.poll();
    loop.spawn(hold(loop, unwound));  // never started
  }
  EXPECT_EQ(unwound, 2);
}

TEST(Loop, TheSystemClockDrivesTimersWhileItRuns) {
  SystemClock clock;
  SystemRandom random;
  NullLogger logger;
  Loop loop(clock, random, logger);
  std::vector<int> order;
  loop.timers().add_after(2ms, [&] {
    order.push_back(2);
    loop.stop();
  });
  loop.timers().add_after(1ms, [&] { order.push_back(1); });
  loop.run();
  EXPECT_EQ(order, std::vector<int>({1, 2}));
}

}  // namespace
}  // namespace postern::io
