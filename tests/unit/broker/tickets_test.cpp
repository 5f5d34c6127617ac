// A ticket is good once, and for its time.
#include "broker/tickets.hpp"

#include <gtest/gtest.h>

#include "support/counting_random.hpp"

namespace postern::broker {
namespace {

using namespace std::chrono_literals;

struct TicketsTest : ::testing::Test {
  ManualClock clock;
  test::CountingRandom random;
  Tickets<int> tickets{2, 15s};
  std::string make(int value) { return tickets.make(value, clock.now(), random); }
  std::optional<int> redeem(const std::string& name) { return tickets.redeem(name, clock.now()); }
};

TEST_F(TicketsTest, GoodOnce) {
  const auto one = make(1), other = make(2);
  EXPECT_EQ(one.size(), 32u);
  EXPECT_EQ(redeem(one), 1);
  EXPECT_EQ(redeem(one), std::nullopt);
  EXPECT_EQ(redeem(other), 2);
}

TEST_F(TicketsTest, GoodForItsTime) {
  const auto one = make(1), other = make(2);
  clock.advance(15s - 1ms);
  EXPECT_EQ(redeem(one), 1);
  clock.advance(1ms);
  EXPECT_EQ(redeem(other), std::nullopt);
}

TEST_F(TicketsTest, AForgedOneIsNone) {
  EXPECT_EQ(redeem(""), std::nullopt);
  EXPECT_EQ(redeem(std::string(32, 'A')), std::nullopt);
}

TEST_F(TicketsTest, NoMoreThanTheirNumberUntilOldOnesAreForgotten) {
  EXPECT_NE(make(1), "");
  EXPECT_NE(make(2), "");
  EXPECT_EQ(make(3), "");
  clock.advance(15s);
  tickets.forget_old(clock.now());
  EXPECT_EQ(tickets.size(), 0u);
  EXPECT_NE(make(3), "");
}

}  // namespace
}  // namespace postern::broker
