// Meters: grants up to the limit and not one more, what requests at the same time can do together, and properties over
// random histories with crashes.
#include "postern/limits/meter.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <thread>
#include <vector>

namespace postern::limits {
namespace {

using namespace std::chrono_literals;

std::uint64_t seed() {
  const char* given = std::getenv("POSTERN_TEST_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
}

class MeterTest : public ::testing::Test {
 protected:
  MeterTest() { restart(); }
  // A new process over the same counts.
  void restart() {
    meter_ = std::make_shared<Meter>(cell_, clock_, ++generation_);
    meter_->set_terms(terms_, plan_, reading_reserve_, &totals_);
  }
  void limit(Limit limit, std::uint64_t most) {
    terms_.limits[static_cast<std::size_t>(limit)] = most;
    terms_.plan = "small";
    meter_->set_terms(terms_, plan_, reading_reserve_, &totals_);
  }
  bool spend(Count count, std::uint64_t amount, bool small = false) {
    auto granted = meter_->reserve({amount_of(count, amount), small});
    if (granted) granted->settle_all();
    return granted.has_value();
  }
  std::uint64_t used(Limit limit) const { return Windows(*cell_).used(limit, unix_seconds(clock_.wall())); }

  ManualClock clock_;
  store::UsageCell cell_ = std::make_shared<store::UsageWords>();
  store::UsageTerms terms_;
  Plan plan_;
  std::uint64_t reading_reserve_ = 0;
  PlanTotals totals_;
  unsigned generation_ = 0;
  std::shared_ptr<Meter> meter_;
};

TEST_F(MeterTest, WithoutLimitsAllIsGrantedAndCounted) {
  EXPECT_TRUE(spend(Count::received, 1ULL << 39));
  EXPECT_EQ(used(Limit::received_hour), 1ULL << 39);
  EXPECT_TRUE(meter_->standings().empty());
  EXPECT_EQ(meter_->standings(true).size(), limit_kinds);
}

TEST_F(MeterTest, UpToTheLimitAndNotOneMore) {
  limit(Limit::files_hour, 100);
  EXPECT_TRUE(spend(Count::files, 60));
  EXPECT_FALSE(spend(Count::files, 41));
  EXPECT_TRUE(spend(Count::files, 40));
  EXPECT_FALSE(spend(Count::files, 1));
  EXPECT_TRUE(spend(Count::files, 0));
  EXPECT_TRUE(spend(Count::received, 1'000));
  EXPECT_EQ(used(Limit::files_hour), 100U);
}

TEST_F(MeterTest, ARefusalTellsAllThatIsKnown) {
  limit(Limit::files_hour, 100);
  const auto begin = unix_seconds(clock_.wall());
  ASSERT_TRUE(spend(Count::files, 70));
  const auto refused = meter_->reserve({amount_of(Count::files, 40)});
  ASSERT_FALSE(refused.has_value());
  const auto& why = refused.error();
  EXPECT_EQ(why.limit, Limit::files_hour);
  EXPECT_EQ(why.plan, "small");
  EXPECT_EQ(why.most, 100U);
  EXPECT_EQ(why.used, 70U);
  EXPECT_EQ(why.asked, 40U);
  ASSERT_TRUE(why.free_at.has_value());
  EXPECT_EQ(*why.free_at, begin / 300 * 300 + 3'900);
  EXPECT_EQ(why.retry_after(begin), static_cast<std::uint64_t>(*why.free_at - begin));
  EXPECT_NE(why.description().find("files within an hour"), std::string::npos);
  EXPECT_EQ(Refusal::decode(why.encode()), why);
  clock_.advance(std::chrono::seconds(*why.free_at - begin - 1));
  EXPECT_FALSE(spend(Count::files, 40));
  clock_.advance(1s);
  EXPECT_TRUE(spend(Count::files, 40));
}

// It may need less than was reserved, and then there is room at once.
TEST_F(MeterTest, WhatOnlyReservationsUnderWayAreInTheWayOfFitsSoon) {
  limit(Limit::files_hour, 100);
  const auto begin = unix_seconds(clock_.wall());
  ASSERT_TRUE(spend(Count::files, 30));
  auto moving = meter_->reserve({amount_of(Count::files, 70)});
  ASSERT_TRUE(moving.has_value());
  const auto refusal_of = [this](std::uint64_t amount) {
    const auto granted = meter_->reserve({amount_of(Count::files, amount)});
    EXPECT_FALSE(granted.has_value());
    return granted ? Refusal{} : granted.error();
  };
  EXPECT_EQ(refusal_of(70).free_at, begin + 10);
  EXPECT_EQ(refusal_of(70).used, 100U);
  EXPECT_GT(refusal_of(71).free_at, begin + 10);  // not even when nothing of it moves
  moving->settle(10);
  EXPECT_TRUE(spend(Count::files, 60));
  EXPECT_GT(refusal_of(1).free_at, begin + 10);
}

TEST_F(MeterTest, WhatIsLargerThanTheLimitNeverFits) {
  limit(Limit::files_hour, 100);
  const auto refused = meter_->reserve({amount_of(Count::files, 101)});
  ASSERT_FALSE(refused.has_value());
  EXPECT_FALSE(refused.error().free_at.has_value());
  EXPECT_EQ(refused.error().retry_after(0), 86'400U);
  EXPECT_EQ(Refusal::decode(refused.error().encode()), refused.error());
}

TEST_F(MeterTest, OfSeveralLimitsTheOneIsToldThatFreesUpLast) {
  limit(Limit::files_hour, 100);
  limit(Limit::files_day, 100);
  ASSERT_TRUE(spend(Count::files, 100));
  EXPECT_EQ(meter_->reserve({amount_of(Count::files, 1)}).error().limit, Limit::files_day);
}

TEST_F(MeterTest, MalformedRefusalsAreNone) {
  for (const char* text : {"", "1", "1 2 3 4 5 ", "x 2 3 4 5 plan", "12 2 3 4 5 plan", "-1 2 3 4 5 plan",
                           "1 -2 3 4 5 plan", "1 2 3 4 5 a plan", "99999999999999999999 2 3 4 5 plan"})
    EXPECT_FALSE(Refusal::decode(text).has_value()) << text;
}

TEST_F(MeterTest, WhatIsLimitedAtATimeIsToldInTheSameWay) {
  plan_.sessions = 2;
  plan_.uploads = 1'000;
  limit(Limit::files_hour, 100);
  const auto now = unix_seconds(clock_.wall());
  const auto session = meter_->refuse_session(2, now + 7'200);
  EXPECT_EQ(session, (Refusal{Limit::sessions, "small", 2, 2, 1, now + 7'200}));
  EXPECT_EQ(Refusal::decode(session.encode()), session);
  EXPECT_EQ(session.retry_after(now), 60U) << "somebody may sign out at any time";
  EXPECT_EQ(
      session.description(),
      "the plan small allows 2 sessions at a time; 2 are used, 1 more were asked for; sign out elsewhere "
      "first, or come again at " +
          utc_date(now + 7'200) + ", when the first ends by itself");
  const auto upload = meter_->refuse_upload(900, 0, 101);
  EXPECT_EQ(upload, (Refusal{Limit::uploads, "small", 1'000, 900, 101, now + 10}));
  EXPECT_EQ(upload.retry_after(now), 10U);
  EXPECT_EQ(Refusal::decode(upload.encode()), upload);
  EXPECT_NE(upload.description().find("1000 octets of uploads that are kept"), std::string::npos);
  EXPECT_EQ(meter_->refuse_upload(900, 900, 101).free_at, std::nullopt) << "one upload alone is too large";
  EXPECT_EQ(meter_->refuse_upload(0, 0, 1'001).free_at, std::nullopt);
  EXPECT_TRUE(meter_->refuse_upload(0, 0, 1'000).free_at.has_value());
  EXPECT_EQ(totals_.refused[static_cast<std::size_t>(Limit::sessions)], 1U);
  EXPECT_EQ(totals_.refused[static_cast<std::size_t>(Limit::uploads)], 4U);
}

TEST_F(MeterTest, WhatIsAskedForByEstimateIsNoRefusal) {
  limit(Limit::files_hour, 100);
  Charge charge{amount_of(Count::files, 101)};
  charge.is_estimate = true;
  EXPECT_FALSE(meter_->reserve(charge).has_value());
  EXPECT_EQ(totals_.refused[static_cast<std::size_t>(Limit::files_hour)], 0U);
  charge.is_estimate = false;
  EXPECT_FALSE(meter_->reserve(charge).has_value());
  EXPECT_EQ(totals_.refused[static_cast<std::size_t>(Limit::files_hour)], 1U);
}

TEST_F(MeterTest, RequestsAtTheSameTimeCantOvershootTogether) {
  limit(Limit::files_hour, 100);
  auto first = meter_->reserve({amount_of(Count::files, 60)});
  ASSERT_TRUE(first.has_value());
  EXPECT_FALSE(meter_->reserve({amount_of(Count::files, 60)}).has_value());
  first->settle(10);  // it was less
  EXPECT_TRUE(meter_->reserve({amount_of(Count::files, 60)}).has_value());
}

TEST_F(MeterTest, WhatHasMovedCountsWhateverEnds) {
  {
    auto granted = meter_->reserve({amount_of(Count::files, 60)});
    granted->moved(10);
    granted->moved(15);
    const auto taken_over = std::move(*granted);
  }
  EXPECT_EQ(used(Limit::files_hour), 25U);
  auto more = meter_->reserve({amount_of(Count::files, 10)});
  more->settle(30);  // more than was thought has moved already
  EXPECT_EQ(used(Limit::files_hour), 55U);
  more->settle(1'000);  // settled is settled
  EXPECT_EQ(used(Limit::files_hour), 55U);
  EXPECT_EQ(totals_.moved[static_cast<std::size_t>(Count::files)], 55U);
}

TEST_F(MeterTest, SeveralCountsAreGrantedAsOneOrNotAtAll) {
  limit(Limit::recipients_hour, 5);
  Charge charge;
  charge.amounts[static_cast<std::size_t>(Count::sent)] = 1'000;
  charge.amounts[static_cast<std::size_t>(Count::messages)] = 1;
  charge.amounts[static_cast<std::size_t>(Count::recipients)] = 3;
  auto granted = meter_->reserve(charge);
  ASSERT_TRUE(granted.has_value());
  granted->settle_all();
  EXPECT_EQ(meter_->reserve(charge).error().limit, Limit::recipients_hour);
  EXPECT_EQ(used(Limit::sent_hour), 1'000U);
  EXPECT_EQ(used(Limit::messages_day), 1U);
  EXPECT_EQ(used(Limit::recipients_hour), 3U);
}

TEST_F(MeterTest, SmallReadsHaveAReserve) {
  reading_reserve_ = 50;
  limit(Limit::received_hour, 100);
  limit(Limit::mail_day, 100);
  limit(Limit::files_hour, 0);
  ASSERT_TRUE(spend(Count::received, 100));
  EXPECT_FALSE(spend(Count::received, 1));
  EXPECT_TRUE(spend(Count::received, 50, true));
  EXPECT_FALSE(spend(Count::received, 1, true));
  EXPECT_EQ(meter_->check({amount_of(Count::received, 1), true})->most, 100U) << "the plan's, without it";
  EXPECT_FALSE(spend(Count::files, 1, true));
}

TEST_F(MeterTest, WhatIsGrantedOnTopEnds) {
  terms_.extra[static_cast<std::size_t>(Limit::files_hour)] = 20;
  terms_.extra_until = unix_seconds(clock_.wall()) + 60;
  limit(Limit::files_hour, 100);
  EXPECT_TRUE(spend(Count::files, 120));
  EXPECT_FALSE(spend(Count::files, 1));
  clock_.advance(70min);
  EXPECT_FALSE(spend(Count::files, 101));
  EXPECT_TRUE(spend(Count::files, 100));
}

// 120 are used, of 100 and 50 on top: 40 more fit when the bucket of 30 has gone, if that is soon enough.
TEST_F(MeterTest, WhenThatFitsIsToldWithoutWhatEndsBefore) {
  limit(Limit::files_hour, 100);
  terms_.extra[static_cast<std::size_t>(Limit::files_hour)] = 50;
  for (const auto& [lasts, fits] : {std::pair{90min, 60min}, std::pair{30min, 70min}}) {
    const auto begin = unix_seconds(clock_.wall());
    meter_->clear();
    terms_.extra_until = begin + std::chrono::seconds(lasts).count();
    limit(Limit::files_hour, 100);
    ASSERT_TRUE(spend(Count::files, 30));
    clock_.advance(10min);
    ASSERT_TRUE(spend(Count::files, 90));
    const auto refusal = meter_->check({amount_of(Count::files, 40)});
    ASSERT_TRUE(refusal.has_value());
    ASSERT_TRUE(refusal->free_at.has_value());
    EXPECT_GE(*refusal->free_at, begin + std::chrono::seconds(fits).count());
    EXPECT_LE(*refusal->free_at, begin + std::chrono::seconds(fits + 5min).count());
    const store::UsageRecord record{1, terms_, *cell_};
    EXPECT_EQ(check(record, amount_of(Count::files, 40), unix_seconds(clock_.wall())), refusal);
  }
}

TEST_F(MeterTest, AResetTakesNothingFromOthersWhoCountAfterIt) {
  limit(Limit::files_hour, 100);
  auto reserved = meter_->reserve({amount_of(Count::files, 50)});
  ASSERT_TRUE(reserved.has_value());
  meter_->clear();
  ASSERT_TRUE(spend(Count::files, 30));
  reserved->settle(10);
  EXPECT_EQ(used(Limit::files_hour), 40U);
}

TEST_F(MeterTest, WhatNeverFitsIsToldBeforeWhatDoesLater) {
  limit(Limit::files_hour, 10);
  limit(Limit::files_day, 20);
  ASSERT_TRUE(spend(Count::files, 8));
  clock_.advance(2h);
  ASSERT_TRUE(spend(Count::files, 7));
  const auto refused = meter_->reserve({amount_of(Count::files, 12)});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().limit, Limit::files_hour);
  EXPECT_FALSE(refused.error().free_at.has_value());
}

TEST_F(MeterTest, CheckingCountsNothing) {
  limit(Limit::files_hour, 100);
  EXPECT_FALSE(meter_->check({amount_of(Count::files, 100)}).has_value());
  EXPECT_FALSE(meter_->check({amount_of(Count::files, 100)}).has_value());
  EXPECT_TRUE(meter_->check({amount_of(Count::files, 101)}).has_value());
  EXPECT_EQ(used(Limit::files_hour), 0U);
}

TEST_F(MeterTest, AReaderSaysTheSame) {
  limit(Limit::files_hour, 100);
  ASSERT_TRUE(spend(Count::files, 70));
  const store::UsageRecord record{1, terms_, *cell_};
  const auto now = unix_seconds(clock_.wall());
  EXPECT_FALSE(check(record, amount_of(Count::files, 30), now).has_value());
  EXPECT_EQ(check(record, amount_of(Count::files, 31), now), meter_->check({amount_of(Count::files, 31)}));
}

// --- Properties ---

// Whatever the order of reservations, ends, crashes and restarts: in no 60 minutes (24 hours) more is granted than the
// limit, but for what moved beyond its reservation; and all that moved is counted.
TEST_F(MeterTest, NoWindowEverHoldsMoreThanTheLimit) {
  const auto number = seed();
  SCOPED_TRACE("POSTERN_TEST_SEED=" + std::to_string(number));
  std::mt19937_64 random(number);
  const auto below = [&random](std::uint64_t most) { return random() % most; };
  constexpr std::uint64_t hour_most = 1'000, day_most = 5'000;
  limit(Limit::files_hour, hour_most);
  limit(Limit::files_day, day_most);
  struct Moved {
    std::int64_t at;
    std::uint64_t amount;
  };
  struct Held {
    Reservation reservation;
    std::uint64_t reserved;
  };
  std::vector<Moved> moved;  // when it was granted
  std::deque<std::pair<std::int64_t, Held>> open;
  for (int step = 0; step < 4'000; ++step) {
    const auto what = below(100);
    if (what < 55) {
      const auto amount = 1 + below(300);
      auto granted = meter_->reserve({amount_of(Count::files, amount)});
      if (granted) open.emplace_back(unix_seconds(clock_.wall()), Held{std::move(*granted), amount});
    } else if (what < 85 && !open.empty()) {
      auto& [at, held] = open.front();
      const auto amount = below(held.reserved + 1);
      held.reservation.settle(amount);
      moved.push_back({at, amount});
      open.pop_front();
    } else if (what < 98) {
      clock_.advance(std::chrono::seconds(below(600)));
    } else {
      // A crash: what is reserved stays counted, and nobody settles it.
      const auto words = *cell_;
      open.clear();
      *cell_ = words;
      restart();
    }
  }
  open.clear();
  ASSERT_GT(moved.size(), 100U);
  const auto most_within = [&moved](std::int64_t seconds) {
    std::uint64_t most = 0;
    for (const auto& first : moved) {
      std::uint64_t sum = 0;
      for (const auto& other : moved)
        if (other.at >= first.at && other.at < first.at + seconds) sum += other.amount;
      most = std::max(most, sum);
    }
    return most;
  };
  EXPECT_LE(most_within(3'600), hour_most);
  EXPECT_LE(most_within(86'400), day_most);
  EXPECT_GT(most_within(3'600), hour_most / 2);  // the test has come near it
  std::uint64_t lately = 0;
  for (const auto& m : moved)
    if (m.at > unix_seconds(clock_.wall()) - 3'600) lately += m.amount;
  EXPECT_GE(used(Limit::files_hour), lately);
}

TEST_F(MeterTest, ManyThreadsStayBelowTheLimit) {
  limit(Limit::files_hour, 10'000);
  std::atomic<std::uint64_t> granted = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([this, &granted] {
      for (int i = 0; i < 2'000; ++i)
        if (auto some = meter_->reserve({amount_of(Count::files, 7)})) {
          some->settle_all();
          granted += 7;
        }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_LE(granted, 10'000U);
  EXPECT_EQ(used(Limit::files_hour), granted);
}

}  // namespace
}  // namespace postern::limits
