// The book of meters over a real segment: restarts, reloads, what an administrator grants and resets.
#include "postern/limits/book.hpp"

#include <gtest/gtest.h>

#include "postern/limits/tab.hpp"
#include "support/capture_log.hpp"
#include "support/temporary_folder.hpp"

namespace postern::limits {
namespace {

using namespace std::chrono_literals;

class BookTest : public ::testing::Test {
 protected:
  BookTest() {
    options_.path = folder_.path() + "/segment";
    options_.sessions_max = 16;
    options_.accounts_max = 4;
    options_.redirects_max = 16;
    auto table = std::make_shared<PlanTable>();
    table->plans["guest"].limits[static_cast<std::size_t>(Limit::files_hour)] = 100;
    table->plans["guest"].limits[static_cast<std::size_t>(Limit::mail_day)] = 1'000;
    table->plans["gold"].limits[static_cast<std::size_t>(Limit::files_hour)] = 500;
    table->default_plan = "guest";
    table->reading_reserve_bytes = 0;
    table_ = std::move(table);
    start();
  }
  void start() {
    book_.reset();
    segment_.reset();
    store::RecoveryReport report;
    auto opened = store::SegmentWriter::open(options_, clock_, report);
    ASSERT_TRUE(opened.has_value()) << opened.error().to_string();
    segment_ = std::move(*opened);
    book_ = std::make_unique<Book>(*segment_, clock_, logger_, table_);
  }
  static bool spend(Meter& meter, Count count, std::uint64_t amount) {
    auto granted = meter.reserve({amount_of(count, amount)});
    if (granted) granted->settle_all();
    return granted.has_value();
  }
  std::int64_t now() const { return unix_seconds(clock_.wall()); }

  test::TemporaryFolder folder_;
  ManualClock clock_;
  test::CaptureLogger logger_;
  store::SegmentOptions options_;
  std::shared_ptr<const PlanTable> table_;
  std::unique_ptr<store::SegmentWriter> segment_;
  std::unique_ptr<Book> book_;
};

TEST_F(BookTest, OnePersonHasOneMeter) {
  const auto meter = book_->open(1, "ann");
  EXPECT_EQ(book_->open(1, "ann"), meter);
  EXPECT_NE(book_->open(2, "bob"), meter);
  EXPECT_EQ(meter->plan_name(), "guest");
}

TEST_F(BookTest, CountsSurviveTheMeterAndTheProcess) {
  EXPECT_TRUE(spend(*book_->open(1, "ann"), Count::files, 60));
  EXPECT_FALSE(spend(*book_->open(1, "ann"), Count::files, 41));
  start();
  EXPECT_FALSE(spend(*book_->open(1, "ann"), Count::files, 41));
  EXPECT_TRUE(spend(*book_->open(1, "ann"), Count::files, 40));
}

TEST_F(BookTest, AReloadCountsForEverybodyAtOnce) {
  const auto ann = book_->open(1, "ann");
  EXPECT_TRUE(spend(*book_->open(2, "bob"), Count::files, 100));  // gone again
  EXPECT_FALSE(spend(*ann, Count::files, 101));
  auto fresh = std::make_shared<PlanTable>(*table_);
  ASSERT_TRUE(fresh->map.add("ann gold\nbob gold", "plans", fresh->plans).has_value());
  book_->set_plans(fresh);
  EXPECT_EQ(ann->plan_name(), "gold");
  EXPECT_TRUE(spend(*ann, Count::files, 500));
  EXPECT_EQ(segment_->usage(2)->terms.plan, "gold");  // workers hear of it, too
  EXPECT_EQ(segment_->usage(2)->terms.limits[static_cast<std::size_t>(Limit::files_hour)], 500U);
  EXPECT_FALSE(spend(*book_->open(2, "bob"), Count::files, 401));
  EXPECT_TRUE(spend(*book_->open(2, "bob"), Count::files, 400));
}

TEST_F(BookTest, GrantsLastUntilTheyEndAndOverARestart) {
  EXPECT_TRUE(spend(*book_->open(1, "ann"), Count::files, 100));
  book_->grant(1, "ann", Limit::files_hour, 50, now() + 600);
  start();
  auto use = book_->use_of(1, "ann");
  EXPECT_EQ(use.extra_until, now() + 600);
  EXPECT_EQ(use.standings[static_cast<std::size_t>(Limit::files_hour)].most, 150U);
  EXPECT_TRUE(spend(*book_->open(1, "ann"), Count::files, 50));
  EXPECT_FALSE(spend(*book_->open(1, "ann"), Count::files, 1));
  clock_.advance(601s);
  use = book_->use_of(1, "ann");
  EXPECT_EQ(use.extra_until, 0);
  EXPECT_EQ(use.standings[static_cast<std::size_t>(Limit::files_hour)].most, 100U);
}

TEST_F(BookTest, AResetForgetsCountsAndGrants) {
  const auto meter = book_->open(1, "ann");
  book_->grant(1, "ann", Limit::files_hour, 50, now() + 600);
  EXPECT_TRUE(spend(*meter, Count::files, 150));
  book_->reset(1, "ann");
  EXPECT_TRUE(spend(*meter, Count::files, 100));
  EXPECT_FALSE(spend(*meter, Count::files, 1));
}

TEST_F(BookTest, TellsWhatAPersonHasUsed) {
  EXPECT_TRUE(spend(*book_->open(1, "ann"), Count::received, 30));
  const auto use = book_->use_of(1, "ann");
  EXPECT_EQ(use.login, "ann");
  EXPECT_EQ(use.plan, "guest");
  EXPECT_EQ(use.month_mail_most, 30'000U);
  EXPECT_EQ(use.month_files_most, unlimited);
  ASSERT_EQ(use.standings.size(), limit_kinds);
  EXPECT_EQ(use.standings[static_cast<std::size_t>(Limit::mail_day)].used, 30U);
  EXPECT_EQ(use.standings[static_cast<std::size_t>(Limit::received_hour)].most, unlimited);
}

TEST_F(BookTest, TellsWhoHasUsedMost) {
  EXPECT_TRUE(spend(*book_->open(1, "ann"), Count::files, 30));
  EXPECT_TRUE(spend(*book_->open(2, "bob"), Count::files, 50));
  EXPECT_TRUE(spend(*book_->open(3, "eve"), Count::files, 40));
  EXPECT_TRUE(spend(*book_->open(4, "idle"), Count::received, 1));
  const auto top = book_->top(Limit::files_hour, 2);
  ASSERT_EQ(top.size(), 2U);
  EXPECT_EQ(top[0].login, "bob");
  EXPECT_EQ(top[1].login, "eve");
  EXPECT_EQ(book_->top(Limit::files_hour, 10).size(), 3U);
}

TEST_F(BookTest, WhatWasFoundIsThePlanAlsoAfterARestart) {
  const auto with = [this](bool looked_up, const std::string& map) {
    auto table = std::make_shared<PlanTable>(*table_);
    table->looked_up = looked_up;
    table->map = {};
    EXPECT_TRUE(table->map.add(map, "map", table->plans));
    table_ = std::move(table);
  };
  with(true, "");
  start();
  auto meter = book_->open(1, "ann");
  EXPECT_EQ(meter->plan_name(), "guest");
  ASSERT_TRUE(spend(*meter, Count::files, 90));
  EXPECT_TRUE(book_->found_plan(1, "ann", "gold"));
  EXPECT_EQ(meter->plan_name(), "gold");
  EXPECT_TRUE(spend(*meter, Count::files, 400));  // counts stay
  EXPECT_FALSE(book_->found_plan(1, "ann", "platinum"));
  EXPECT_EQ(meter->plan_name(), "gold");
  EXPECT_EQ(segment_->usage(1)->terms.plan, "gold");  // for workers
  book_->reset(1, "ann");
  EXPECT_EQ(meter->plan_name(), "gold");
  meter.reset();
  start();
  EXPECT_EQ(book_->open(1, "ann")->plan_name(), "gold");
  // A map goes before, and what is found no longer counts where nobody looks.
  with(true, "ann unlimited\n");
  book_->set_plans(table_);
  EXPECT_EQ(book_->use_of(1, "ann").plan, "unlimited");
  EXPECT_TRUE(book_->found_plan(1, "ann", "gold"));
  EXPECT_EQ(book_->use_of(1, "ann").plan, "unlimited");
  with(true, "");
  book_->set_plans(table_);
  EXPECT_TRUE(book_->found_plan(1, "ann", "gold"));
  with(false, "");
  book_->set_plans(table_);
  EXPECT_EQ(book_->use_of(1, "ann").plan, "guest");
  // Nothing found: the default plan.
  with(true, "");
  book_->set_plans(table_);
  EXPECT_TRUE(book_->found_plan(1, "ann", "gold"));
  EXPECT_TRUE(book_->found_plan(1, "ann", ""));
  EXPECT_EQ(book_->use_of(1, "ann").plan, "guest");
}

TEST_F(BookTest, ToAskAboutSomebodyTakesNobodysPlace) {
  for (store::AccountKey account = 1; account <= 4; ++account)
    ASSERT_TRUE(spend(*book_->open(account, "person" + std::to_string(account)), Count::files, 1));
  const auto unknown = book_->use_of(99, "nobody");
  EXPECT_EQ(unknown.plan, "guest");
  EXPECT_EQ(unknown.standings.size(), limit_kinds);
  for (store::AccountKey account = 1; account <= 4; ++account)
    EXPECT_TRUE(segment_->usage(account)) << account;
}

TEST_F(BookTest, WithoutRoomItCountsInMemory) {
  std::vector<std::shared_ptr<Meter>> held;
  for (store::AccountKey i = 1; i <= 4; ++i) held.push_back(book_->open(i, "p" + std::to_string(i)));
  const auto meter = book_->open(5, "late");
  EXPECT_EQ(logger_.count("use is counted in memory alone"), 1U);
  EXPECT_TRUE(spend(*meter, Count::files, 100));
  EXPECT_FALSE(spend(*book_->open(5, "late"), Count::files, 1));
  EXPECT_EQ(book_->use_of(5, "late").standings[static_cast<std::size_t>(Limit::files_hour)].used, 100U);
}

// However often: a process that took a dead one's number for its own would count the request once more.
TEST_F(BookTest, ARequestThatEveryProcessDiesInCountsOnce) {
  constexpr std::uint64_t request = 4'711;
  for (unsigned i = 0; i < 2 * Windows::generations; ++i) {
    {
      const auto cell = segment_->open_usage(1);
      ASSERT_TRUE(cell.has_value());
      store::UsageWords at_the_crash;
      {
        const auto tab = std::make_shared<Tab>(book_->open(1, "ann"), request);
        const auto granted = tab->reserve(Count::files, 60);
        ASSERT_TRUE(granted.has_value()) << "after " << i << " deaths";
        at_the_crash = **cell;
      }
      **cell = at_the_crash;
    }
    start();
  }
  EXPECT_EQ(book_->use_of(1, "ann").standings[static_cast<std::size_t>(Limit::files_hour)].used, 60U);
}

TEST_F(BookTest, WhatAStopCutsOffIsCountedOnceByTheNextProcess) {
  const auto used = [this](Limit limit) {
    return book_->use_of(1, "ann").standings[static_cast<std::size_t>(limit)].used;
  };
  const auto reserved = [this](std::uint64_t request, Count count, std::uint64_t amount) {
    auto granted = std::make_shared<Tab>(book_->open(1, "ann"), request)->reserve(count, amount);
    EXPECT_TRUE(granted.has_value());
    return granted;
  };
  {
    const auto ended = reserved(1, Count::files, 20);
    auto early = reserved(2, Count::files, 30);
    early->moved(10);
    auto never_again = reserved(0, Count::received, 40);
    never_again->moved(5);
    book_->leave_as_is();
    auto late = book_->open(2, "bob");  // somebody's who comes in the last moment
    auto of_late = std::make_shared<Tab>(late, 3)->reserve(Count::files, 70);
    ASSERT_TRUE(of_late.has_value());
  }
  EXPECT_EQ(used(Limit::files_hour), 50U);
  EXPECT_EQ(used(Limit::received_hour), 5U) << "what isn't sent again is settled";
  start();
  EXPECT_EQ(used(Limit::files_hour), 50U);
  reserved(1, Count::files, 20)->settle_all();
  reserved(2, Count::files, 30)->settle_all();
  auto bobs = std::make_shared<Tab>(book_->open(2, "bob"), 3)->reserve(Count::files, 70);
  ASSERT_TRUE(bobs.has_value());
  bobs->settle_all();
  EXPECT_EQ(used(Limit::files_hour), 50U);
  EXPECT_EQ(book_->use_of(2, "bob").standings[static_cast<std::size_t>(Limit::files_hour)].used, 70U);
}

TEST_F(BookTest, ANumberInUseIsTakenOnlyWhereAllAreTheOldest) {
  constexpr unsigned oldest = 7, other = 9;
  constexpr auto places = static_cast<unsigned>(store::usage_pending_words / 2);
  static_assert(4 * places == Windows::generations);
  for (unsigned generation = 0; generation < Windows::generations; ++generation) {
    const auto cell = segment_->open_usage(1 + generation / places);
    ASSERT_TRUE(cell.has_value());
    const auto at = now() + (generation == oldest ? 0 : 300);
    ASSERT_TRUE(Windows(**cell).remember(100 + generation, generation, Count::files, 5, at));
  }
  clock_.advance(5min);
  start();
  const auto tab = std::make_shared<Tab>(book_->open(1 + other / places, "ann"), 100 + other);
  const auto granted = tab->reserve(Count::files, 5);
  ASSERT_TRUE(granted.has_value());
  const auto record = segment_->usage(1 + other / places);
  ASSERT_TRUE(record.has_value());
  EXPECT_EQ(record->words[2 * (other % places) + 1] >> 43 & 31, oldest);
}

TEST_F(BookTest, SumsAreByPlan) {
  EXPECT_TRUE(spend(*book_->open(1, "ann"), Count::files, 60));
  EXPECT_TRUE(spend(*book_->open(2, "bob"), Count::files, 20));
  EXPECT_FALSE(spend(*book_->open(2, "bob"), Count::files, 99));
  const auto totals = book_->totals();
  ASSERT_EQ(totals.size(), 1U);
  EXPECT_EQ(totals[0]->plan, "guest");
  EXPECT_EQ(totals[0]->moved[static_cast<std::size_t>(Count::files)], 80U);
  EXPECT_EQ(totals[0]->refused[static_cast<std::size_t>(Limit::files_hour)], 1U);
}

}  // namespace
}  // namespace postern::limits
