// Windows: at the limit of each bucket and window, with the clock set back, a flipped bit, and many threads.
#include "postern/limits/windows.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace postern::limits {
namespace {

constexpr std::int64_t start = 1'700'000'000 / 3'600 * 3'600;  // a full hour
constexpr std::int64_t minute = 60, hour = 3'600;

class WindowsTest : public ::testing::Test {
 protected:
  void add(Count count, std::uint64_t amount, std::int64_t at) { windows_.add(amount_of(count, amount), at); }
  store::UsageWords words_{};
  Windows windows_{words_};
};

TEST_F(WindowsTest, EachCountGoesIntoItsWindows) {
  add(Count::received, 1, start);
  add(Count::sent, 20, start);
  add(Count::files, 300, start);
  add(Count::messages, 4'000, start);
  add(Count::recipients, 50'000, start);
  EXPECT_EQ(windows_.used(Limit::received_hour, start), 1U);
  EXPECT_EQ(windows_.used(Limit::sent_hour, start), 20U);
  EXPECT_EQ(windows_.used(Limit::mail_hour, start), 21U);
  EXPECT_EQ(windows_.used(Limit::mail_day, start), 21U);
  EXPECT_EQ(windows_.used(Limit::files_hour, start), 300U);
  EXPECT_EQ(windows_.used(Limit::files_day, start), 300U);
  EXPECT_EQ(windows_.used(Limit::messages_hour, start), 4'000U);
  EXPECT_EQ(windows_.used(Limit::messages_day, start), 4'000U);
  EXPECT_EQ(windows_.used(Limit::recipients_hour, start), 50'000U);
  EXPECT_EQ(windows_.used(Limit::recipients_day, start), 50'000U);
}

TEST_F(WindowsTest, AnHourCountsUntilAnHourAfterItsFiveMinutes) {
  add(Count::files, 10, start);
  add(Count::files, 5, start + 4 * minute + 59);
  add(Count::files, 1, start + 5 * minute);
  EXPECT_EQ(windows_.used(Limit::files_hour, start + hour + 5 * minute - 1), 16U);
  EXPECT_EQ(windows_.used(Limit::files_hour, start + hour + 5 * minute), 1U);
  EXPECT_EQ(windows_.used(Limit::files_hour, start + hour + 10 * minute), 0U);
  EXPECT_EQ(windows_.used(Limit::files_day, start + 25 * hour - 1), 16U);
  EXPECT_EQ(windows_.used(Limit::files_day, start + 25 * hour), 0U);
}

TEST_F(WindowsTest, BucketsAreUsedAgain) {
  for (int day = 0; day < 400; ++day) {
    const auto at = start + day * 25 * hour;
    add(Count::sent, 7, at);
    ASSERT_EQ(windows_.used(Limit::sent_hour, at), 7U);
    ASSERT_EQ(windows_.used(Limit::mail_day, at), 7U);
  }
}

TEST_F(WindowsTest, FreesUpWhenEnoughIsOutOfTheWindow) {
  add(Count::files, 60, start);
  add(Count::files, 40, start + 20 * minute);
  const auto now = start + 30 * minute;
  EXPECT_EQ(windows_.free_at(Limit::files_hour, 100, 0, now), now);
  EXPECT_EQ(windows_.free_at(Limit::files_hour, 100, 1, now), start + 65 * minute);
  EXPECT_EQ(windows_.free_at(Limit::files_hour, 100, 60, now), start + 65 * minute);
  EXPECT_EQ(windows_.free_at(Limit::files_hour, 100, 61, now), start + 85 * minute);
  EXPECT_EQ(windows_.free_at(Limit::files_hour, 100, 100, now), start + 85 * minute);
  EXPECT_EQ(windows_.free_at(Limit::files_hour, 100, 101, now), std::nullopt);
  EXPECT_EQ(windows_.free_at(Limit::files_day, 100, 1, now), start + 25 * hour);
  EXPECT_EQ(windows_.used(Limit::files_hour, start + 65 * minute), 40U);
  EXPECT_EQ(windows_.used(Limit::files_hour, start + 65 * minute - 1), 100U);
}

TEST_F(WindowsTest, OfBothDirectionsTheHourIsAddedUp) {
  add(Count::received, 60, start);
  add(Count::sent, 40, start + 5 * minute);
  EXPECT_EQ(windows_.free_at(Limit::mail_hour, 100, 61, start + 6 * minute), start + 70 * minute);
}

TEST_F(WindowsTest, WhatIsTakenBackIsNotCounted) {
  add(Count::files, 10, start);
  windows_.take_back(amount_of(Count::files, 4), start + 1);
  EXPECT_EQ(windows_.used(Limit::files_hour, start), 6U);
  EXPECT_EQ(windows_.used(Limit::files_day, start), 6U);
  windows_.take_back(amount_of(Count::files, 100), start);
  EXPECT_EQ(windows_.used(Limit::files_hour, start), 0U);
  windows_.take_back(amount_of(Count::files, 1), start - 70 * minute);  // gone already
  EXPECT_EQ(windows_.used(Limit::files_hour, start), 0U);
}

TEST_F(WindowsTest, WhatIsOutOfItsWindowsCountsNothing) {
  EXPECT_FALSE(windows_.counts_something(start));
  for (const auto count : {Count::received, Count::sent, Count::files, Count::messages, Count::recipients}) {
    windows_.clear();
    add(count, 1, start);
    EXPECT_TRUE(windows_.counts_something(start + 25 * hour - 1));
    EXPECT_FALSE(windows_.counts_something(start + 25 * hour));
    windows_.take_back(amount_of(count, 1), start);
    EXPECT_FALSE(windows_.counts_something(start)) << "given back";
  }
}

TEST_F(WindowsTest, ABucketIsFullAtItsMost) {
  add(Count::files, limit_max, start);
  EXPECT_EQ(windows_.used(Limit::files_hour, start), limit_max);
  add(Count::files, ~0ULL, start);
  EXPECT_EQ(windows_.used(Limit::files_hour, start), limit_max);
}

TEST_F(WindowsTest, AClockSetBackForgetsNothing) {
  add(Count::files, 10, start);
  EXPECT_EQ(windows_.used(Limit::files_hour, start - 60 * minute), 10U);
  add(Count::files, 1, start - 30 * minute);
  EXPECT_EQ(windows_.used(Limit::files_hour, start - 30 * minute), 11U);
  EXPECT_TRUE(windows_.free_at(Limit::files_hour, 11, 11, start - 30 * minute).has_value());
  EXPECT_EQ(windows_.used(Limit::files_hour, start - 10 * hour), 0U);  // by more than a window
}

TEST_F(WindowsTest, AFlippedBitCostsOneBucket) {
  add(Count::files, 10, start);
  add(Count::files, 5, start + 5 * minute);
  for (auto& word : words_) {
    if (word == 0) continue;
    for (int bit = 0; bit < 64; ++bit) {
      word ^= std::uint64_t{1} << bit;
      const auto used = windows_.used(Limit::files_hour, start + 6 * minute);
      EXPECT_TRUE(used == 15 || used == 10 || used == 5) << used << " bit " << bit;
      word ^= std::uint64_t{1} << bit;
    }
  }
}

TEST_F(WindowsTest, ManyThreadsLoseNothing) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([this] {
      for (int i = 0; i < 5'000; ++i) {
        add(Count::files, 3, start + i % 600);
        windows_.take_back(amount_of(Count::files, 1), start + i % 600);
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(windows_.used(Limit::files_hour, start + 600), 4U * 5'000 * 2);
  EXPECT_EQ(windows_.used(Limit::files_day, start + 600), 4U * 5'000 * 2);
}

// --- What a request has reserved that may come again ---

TEST_F(WindowsTest, AnEarlierProcesssReservationIsClaimedOnce) {
  ASSERT_TRUE(windows_.remember(77, 1, Count::files, 500, start));
  EXPECT_FALSE(windows_.claim(77, 1, Count::files, start).has_value());  // its own
  EXPECT_FALSE(windows_.claim(78, 2, Count::files, start).has_value());
  EXPECT_FALSE(windows_.claim(77, 2, Count::sent, start).has_value());
  const auto claimed = windows_.claim(77, 2, Count::files, start + 10);
  ASSERT_TRUE(claimed.has_value());
  EXPECT_EQ(claimed->amount, 500U);
  EXPECT_EQ(claimed->at, start);
  EXPECT_FALSE(windows_.claim(77, 2, Count::files, start + 10).has_value());
}

TEST_F(WindowsTest, WhatWasSettledIsNotClaimed) {
  const auto place = windows_.remember(77, 1, Count::files, 500, start);
  ASSERT_TRUE(place.has_value());
  windows_.forget(*place, 78);  // somebody else's by now
  ASSERT_TRUE(windows_.claim(77, 2, Count::files, start).has_value());
  windows_.forget(*place, 77);
  EXPECT_FALSE(windows_.claim(77, 3, Count::files, start).has_value());
}

TEST_F(WindowsTest, WhatNobodyCameForInTimeIsNotClaimed) {
  ASSERT_TRUE(windows_.remember(77, 1, Count::files, 500, start));
  EXPECT_FALSE(windows_.claim(77, 2, Count::files, start + 10 * minute).has_value());
  EXPECT_FALSE(windows_.claim(77, 2, Count::files, start - 10 * minute).has_value());
  EXPECT_TRUE(windows_.claim(77, 2, Count::files, start + 10 * minute - 1).has_value());
  // The clock was set back a little.
  const auto claimed = windows_.claim(77, 3, Count::files, start - 5 * minute);
  ASSERT_TRUE(claimed.has_value());
  EXPECT_EQ(claimed->at, start);
}

TEST_F(WindowsTest, WhatIsPendingGrowsAndShrinks) {
  const auto place = windows_.remember(77, 1, Count::files, 500, start);
  ASSERT_TRUE(place.has_value());
  windows_.change(*place, 77, 20, 0);
  windows_.change(*place, 77, 0, 120);
  windows_.change(*place, 78, 9'000, 0);  // another's
  const auto claimed = windows_.claim(77, 2, Count::files, start);
  ASSERT_TRUE(claimed.has_value());
  EXPECT_EQ(claimed->amount, 400U);
  windows_.change(claimed->place, 77, ~0ULL, 0);
  EXPECT_EQ(windows_.claim(77, 3, Count::files, start)->amount, limit_max);
  windows_.change(claimed->place, 77, 0, ~0ULL);
  EXPECT_EQ(windows_.claim(77, 4, Count::files, start)->amount, 0U);
}

TEST_F(WindowsTest, WhatIsPendingIsBounded) {
  for (std::uint64_t i = 1; i <= store::usage_pending_words / 2; ++i)
    ASSERT_TRUE(windows_.remember(i, 1, Count::files, i, start));
  EXPECT_FALSE(windows_.remember(100, 1, Count::files, 1, start));
  EXPECT_FALSE(windows_.remember(100, 2, Count::files, 1, start + 9 * minute));
  // Those that an earlier process has left, and nobody came for.
  EXPECT_TRUE(windows_.remember(100, 2, Count::files, 1, start + 10 * minute));
  EXPECT_TRUE(windows_.claim(100, 3, Count::files, start + 10 * minute).has_value());
  // One that it was just taking when it ended.
  words_.fill(0);
  for (std::uint64_t i = 1; i <= store::usage_pending_words / 2; ++i)
    windows_.remember(i, 1, Count::files, i, start);
  words_[4] = 0;
  EXPECT_FALSE(windows_.remember(100, 1, Count::files, 1, start)) << "by a thread of this one";
  EXPECT_EQ(windows_.remember(100, 2, Count::files, 1, start), 4U);
}

}  // namespace
}  // namespace postern::limits
