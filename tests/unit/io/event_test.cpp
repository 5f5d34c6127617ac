// Event: who is woken, when, and what becomes of those who wait when the Event goes.
#include "postern/io/event.hpp"

#include <memory>
#include <optional>

#include "support/loop_fixture.hpp"

namespace postern::io {
namespace {

using namespace std::chrono_literals;
using EventTest = test::LoopFixture;

Task<> count_wait(Event& event, int& count) {
  co_await event.wait();
  ++count;
}
Task<> wait_until(Event& event, MonotonicTime deadline, std::optional<bool>& came) {
  came = co_await event.wait_until(deadline);
}

TEST_F(EventTest, SetWakesAllFromTheLoopAndStaysSet) {
  Event event(loop);
  int count = 0;
  loop.spawn(count_wait(event, count));
  loop.spawn(count_wait(event, count));
  loop.poll();
  EXPECT_EQ(count, 0);
  event.set();
  EXPECT_EQ(count, 0);  // never from inside set()
  loop.poll();
  EXPECT_EQ(count, 2);
  loop.spawn(count_wait(event, count));
  loop.poll();
  EXPECT_EQ(count, 3);
  event.reset();
  loop.spawn(count_wait(event, count));
  loop.poll();
  EXPECT_EQ(count, 3);
  event.set();
  event.reset();  // whoever was woken is resumed all the same
  loop.poll();
  EXPECT_EQ(count, 4);
}

TEST_F(EventTest, TheDeadlineComesFirst) {
  Event event(loop);
  std::optional<bool> came, early;
  loop.spawn(wait_until(event, clock.now() + 1s, came));
  loop.spawn(wait_until(event, clock.now() + 3s, early));
  loop.poll();
  clock.advance(1s);
  loop.poll();
  EXPECT_EQ(came, false);
  EXPECT_FALSE(early.has_value());
  event.set();
  loop.poll();
  EXPECT_EQ(early, true);
  EXPECT_EQ(loop.timers().size(), 0u);
}

TEST_F(EventTest, SetAndDeadlineInOneTurn) {
  Event event(loop);
  std::optional<bool> came;
  loop.spawn(wait_until(event, clock.now() + 1s, came));
  loop.poll();
  event.set();
  clock.advance(2s);
  loop.poll();
  EXPECT_EQ(came, true);
}

TEST_F(EventTest, ItsEndWakesWhoeverWaits) {
  auto event = std::make_unique<Event>(loop);
  int count = 0;
  loop.spawn(count_wait(*event, count));
  loop.poll();
  event.reset();
  loop.poll();
  EXPECT_EQ(count, 1);
}

Task<> own_event(Loop& loop, std::shared_ptr<int> token) {
  Event event(loop);  // nobody else can set it
  co_await event.wait();
  ++*token;
}

TEST(Event, ACoroutineThatWaitsOnItsOwnEventIsUnwoundWithTheLoop) {
  auto token = std::make_shared<int>(0);
  {
    ManualClock clock;
    SystemRandom random;
    NullLogger logger;
    Loop loop(clock, random, logger);
    loop.spawn(own_event(loop, token));
    loop.poll();
    EXPECT_EQ(token.use_count(), 2);
  }
  EXPECT_EQ(token.use_count(), 1);
  EXPECT_EQ(*token, 0);
}

TEST(Event, WokenButNotYetResumedAtTheEndOfTheLoop) {
  auto token = std::make_shared<int>(0);
  {
    ManualClock clock;
    SystemRandom random;
    NullLogger logger;
    Loop loop(clock, random, logger);
    Event event(loop);
    loop.spawn([](Event& e, std::shared_ptr<int> t) -> Task<> {
      co_await e.wait();
      ++*t;
    }(event, token));
    loop.poll();
    event.set();
  }
  EXPECT_EQ(token.use_count(), 1);
  EXPECT_EQ(*token, 0);
}

}  // namespace
}  // namespace postern::io
