// The pace of nudges: so many at once, and who doesn't come holds up the others for a while only.
#include "broker/events_nudge.hpp"

#include <gtest/gtest.h>

#include "support/loop_fixture.hpp"

namespace postern::broker {
namespace {

using namespace std::chrono_literals;

struct NudgePaceTest : test::LoopFixture {
  NudgePace pace{loop, 2};
  std::vector<std::string> turns;

  static io::Task<> take(NudgePaceTest& self, std::string channel) {
    co_await self.pace.turn(channel);
    self.turns.push_back(std::move(channel));
  }
  void SetUp() override {
    for (const auto* channel : {"a", "b", "c", "d"}) {
      loop.spawn(take(*this, channel));
      loop.poll();
    }
  }
  void TearDown() override {
    clock.advance(1min);
    loop.poll();
    clock.advance(1min);
    loop.poll();
  }
};

TEST_F(NudgePaceTest, SoManyAtOnce) {
  EXPECT_EQ(turns, (std::vector<std::string>{"a", "b"}));
  clock.advance(1s);
  loop.poll();
  EXPECT_EQ(turns.size(), 2u);
}

TEST_F(NudgePaceTest, WhoComesMakesRoom) {
  pace.came("b");
  pace.came("not nudged");
  loop.poll();
  EXPECT_EQ(turns.size(), 3u);
  EXPECT_EQ(pace.under_way(), 2u);
}

TEST_F(NudgePaceTest, WhoDoesNotComeHoldsUpForAWhile) {
  clock.advance(3s);
  loop.poll();
  EXPECT_EQ(turns.size(), 4u);
}

}  // namespace
}  // namespace postern::broker
