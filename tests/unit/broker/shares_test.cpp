// What there is of something, for one and for all.
#include "broker/shares.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace postern::broker {
namespace {

using Bodies = Shares<std::uint64_t>;
constexpr ShareLimits share_limits{100, 250};

TEST(Shares, AnAccountAtItsLimitAndPastIt) {
  Bodies budget;
  {
    const auto first = budget.take(1, 60, share_limits), second = budget.take(1, 40, share_limits);
    EXPECT_TRUE(first && second);
    const auto past = budget.take(1, 1, share_limits);
    ASSERT_FALSE(past);
    EXPECT_EQ(past.error(), ShareRefusal::of_one);
    EXPECT_TRUE(budget.take(2, 100, share_limits)) << "somebody else's";
    EXPECT_EQ(budget.taken(), 100u);
  }
  EXPECT_EQ(budget.taken(), 0u);
  EXPECT_TRUE(budget.take(1, 100, share_limits)) << "given back";
}

TEST(Shares, AllAtTheLimitAndPastIt) {
  Bodies budget;
  std::vector<Bodies::Share> shares;
  shares.push_back(*budget.take(1, 100, share_limits));
  shares.push_back(*budget.take(2, 100, share_limits));
  const auto past = budget.take(3, 51, share_limits);
  ASSERT_FALSE(past);
  EXPECT_EQ(past.error(), ShareRefusal::of_all);
  EXPECT_TRUE(budget.take(3, 50, share_limits));
  shares.pop_back();
  EXPECT_TRUE(budget.take(3, 51, share_limits));
}

// A limit that a reload has lowered below what one request may hold must not refuse that for ever.
TEST(Shares, OneBodyAlwaysFits) {
  Bodies budget;
  const auto large = budget.take(1, 1'000, share_limits);
  EXPECT_TRUE(large);
  EXPECT_FALSE(budget.take(1, 1, share_limits));
  EXPECT_FALSE(budget.take(2, 1, share_limits));
}

TEST(Shares, AShareMayOutliveIt) {
  auto budget = std::make_unique<Bodies>();
  auto share = budget->take(1, 10, share_limits);
  auto moved = std::move(*share);
  budget.reset();
}

}  // namespace
}  // namespace postern::broker
