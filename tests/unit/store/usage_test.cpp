// Use of accounts in the segment: words that anybody may change while they hold them, terms, bounds, what survives, and
// what workers see.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "store_support.hpp"

namespace postern::store {
namespace {

class UsageTest : public StoreTest {
 protected:
  static UsageTerms terms(std::uint64_t n) {
    UsageTerms t;
    t.login = "user" + std::to_string(n) + "@example.org";
    t.plan = "plan-" + std::to_string(n);
    for (std::size_t i = 0; i < usage_limits; ++i) t.limits[i] = n * 100 + i;
    t.extra[3] = n;
    t.extra_until = static_cast<std::int64_t>(n) + 5;
    return t;
  }
  static void set(const UsageCell& cell, std::size_t word, std::uint64_t value) {
    std::atomic_ref<std::uint64_t>((*cell)[word]).store(value);
  }
};

TEST_F(UsageTest, TermsAndWordsAreKept) {
  const auto writer = open();
  EXPECT_FALSE(writer->usage(7).has_value());
  const auto cell = writer->open_usage(7);
  ASSERT_TRUE(cell.has_value());
  set(*cell, 0, 11);
  set(*cell, usage_words - 1, 12);
  ASSERT_TRUE(writer->put_usage_terms(7, terms(7)).has_value());
  const auto record = writer->usage(7);
  ASSERT_TRUE(record.has_value());
  EXPECT_EQ(record->account, 7U);
  EXPECT_EQ(record->terms, terms(7));
  EXPECT_EQ(record->words[0], 11U);
  EXPECT_EQ(record->words[usage_words - 1], 12U);
  EXPECT_EQ(writer->use().usage, 1U);
}

TEST_F(UsageTest, LongNamesAreCutAtACharacter) {
  const auto writer = open();
  UsageTerms t;
  t.login = std::string(usage_login_bytes - 1, 'a') + "ü";
  t.plan = std::string(usage_plan_bytes, 'p');
  ASSERT_TRUE(writer->put_usage_terms(1, t).has_value());
  EXPECT_EQ(writer->usage(1)->terms.login, std::string(usage_login_bytes - 1, 'a'));
  EXPECT_EQ(writer->usage(1)->terms.plan, t.plan);
}

TEST_F(UsageTest, SurvivesARestart) {
  {
    const auto writer = open();
    const auto cell = writer->open_usage(7);
    ASSERT_TRUE(cell.has_value());
    ASSERT_TRUE(writer->put_usage_terms(7, terms(7)).has_value());
    set(*cell, 20, 99);
  }
  const auto writer = open();
  EXPECT_EQ(report_.usage_kept, 1U);
  EXPECT_EQ(report_.usage_dropped, 0U);
  const auto record = writer->usage(7);
  ASSERT_TRUE(record.has_value());
  EXPECT_EQ(record->terms, terms(7));
  EXPECT_EQ(record->words[20], 99U);
}

TEST_F(UsageTest, WhenFullThoseGoThatNobodyHolds) {
  const auto writer = open();
  std::vector<UsageCell> held;
  for (std::uint64_t i = 0; i < options_.accounts_max; ++i) {
    auto cell = writer->open_usage(i);
    ASSERT_TRUE(cell.has_value());
    if (i != 3 && i != 5) held.push_back(std::move(*cell));
  }
  ASSERT_TRUE(writer->open_usage(5).has_value());  // 3 was opened the longest ago now
  held.push_back(*writer->open_usage(100));
  EXPECT_FALSE(writer->usage(3).has_value());
  EXPECT_TRUE(writer->usage(5).has_value());
  held.push_back(*writer->open_usage(101));
  EXPECT_FALSE(writer->usage(5).has_value());
  EXPECT_EQ(writer->open_usage(102).error().code, Errc::full);
  held.pop_back();
  EXPECT_TRUE(writer->open_usage(102).has_value());
}

// Whoever signs in and moves nothing pushes nobody's counts out.
TEST_F(UsageTest, WhenFullThoseGoFirstThatHaveNothingCountedAndNothingGranted) {
  const auto writer = open();
  for (std::uint64_t i = 0; i < options_.accounts_max; ++i) {
    const auto cell = writer->open_usage(i);
    ASSERT_TRUE(cell.has_value());
    if (i < 5) set(*cell, 30, 1);
    if (i == 5) {  // granted something
      UsageTerms granted;
      granted.extra[1] = 7;
      granted.extra_until = unix_seconds(clock_.wall()) + 60;
      ASSERT_TRUE(writer->put_usage_terms(i, granted).has_value());
    }
  }
  const auto known = [&] {
    std::vector<std::uint64_t> accounts;
    for (std::uint64_t i = 0; i < 200; ++i)
      if (writer->usage(i)) accounts.push_back(i);
    return accounts;
  };
  ASSERT_TRUE(writer->open_usage(100).has_value());
  ASSERT_TRUE(writer->open_usage(101).has_value());
  EXPECT_EQ(known(), (std::vector<std::uint64_t>{0, 1, 2, 3, 4, 5, 100, 101})) << "6 and 7 have gone";
  ASSERT_TRUE(writer->open_usage(102).has_value());
  ASSERT_TRUE(writer->open_usage(103).has_value());
  EXPECT_EQ(known(), (std::vector<std::uint64_t>{0, 1, 2, 3, 4, 5, 102, 103}));
  // What was granted ends, and then goes before what is counted.
  clock_.advance(std::chrono::seconds(61));
  const auto held = writer->open_usage(104), also = writer->open_usage(105), third = writer->open_usage(106);
  EXPECT_EQ(known(), (std::vector<std::uint64_t>{0, 1, 2, 3, 4, 104, 105, 106}));
  // Nobody else is left: the one let go of the longest ago, which is not the one opened the longest ago.
  (void)writer->open_usage(0);
  const auto fourth = writer->open_usage(107);
  EXPECT_EQ(known(), (std::vector<std::uint64_t>{0, 2, 3, 4, 104, 105, 106, 107}));
}

TEST_F(UsageTest, WhatCountsIsAskedForAlsoAfterARestart) {
  // A word beyond the time counts nothing any more.
  options_.something_counted = [](const UsageWords& words, std::int64_t now) {
    return words[30] > static_cast<std::uint64_t>(now);
  };
  const auto now = static_cast<std::uint64_t>(unix_seconds(clock_.wall()));
  {
    const auto writer = open();
    for (std::uint64_t i = 0; i < options_.accounts_max; ++i)
      set(*writer->open_usage(i), 30, now + (i == 3 ? 10 : i == 6 ? 0 : 1'000));
  }
  const auto writer = open();
  (void)writer->open_usage(100);
  EXPECT_FALSE(writer->usage(6).has_value()) << "nothing was counted";
  (void)writer->open_usage(101);
  EXPECT_FALSE(writer->usage(100).has_value());
  const auto held = writer->open_usage(101);
  clock_.advance(std::chrono::seconds(20));
  (void)writer->open_usage(102);
  EXPECT_FALSE(writer->usage(3).has_value()) << "nothing is counted any more";
  EXPECT_TRUE(writer->usage(0).has_value());
}

TEST_F(UsageTest, AReplacedAccountBeginsWithNothing) {
  options_.accounts_max = 1;
  const auto writer = open();
  {
    const auto cell = writer->open_usage(1);
    set(*cell, 30, 1);
    ASSERT_TRUE(writer->put_usage_terms(1, terms(1)).has_value());
  }
  const auto cell = writer->open_usage(2);
  ASSERT_TRUE(cell.has_value());
  EXPECT_EQ((**cell)[30], 0U);
  EXPECT_EQ(writer->usage(2)->terms, UsageTerms{});
}

TEST_F(UsageTest, AFlippedBitInTheTermsDropsThatAccountAlone) {
  {
    const auto writer = open();
    for (std::uint64_t i = 1; i <= 2; ++i) {
      ASSERT_TRUE(writer->open_usage(i).has_value());
      ASSERT_TRUE(writer->put_usage_terms(i, terms(i)).has_value());
    }
  }
  std::string bytes = read_file(options_.path);
  bytes[bytes.find("plan-1")] ^= 1;
  write_file(options_.path, bytes);
  const auto writer = open();
  EXPECT_EQ(report_.usage_dropped, 1U);
  EXPECT_FALSE(writer->usage(1).has_value());
  EXPECT_TRUE(writer->usage(2).has_value());
}

TEST_F(UsageTest, WorkersSeeWhatAPersonHasUsedByTheirSession) {
  const auto writer = open();
  const auto session = record(1);
  const auto cell = writer->open_usage(session.account);
  ASSERT_TRUE(writer->put_usage_terms(session.account, terms(7)).has_value());
  ASSERT_TRUE(writer->put_session(session).has_value());
  const auto reader = SegmentReader::open(options_.path, clock_);
  set(*cell, 40, 123);
  const auto seen = reader->usage(session.token_hash);
  ASSERT_TRUE(seen.has_value());
  EXPECT_EQ(seen->terms, terms(7));
  EXPECT_EQ(seen->words[40], 123U);
  EXPECT_FALSE(reader->usage(hash_of(2)).has_value());
}

TEST_F(UsageTest, WorkersDontTakeSomebodyElsesUse) {
  options_.accounts_max = 1;
  const auto writer = open();
  const auto session = record(1);
  ASSERT_TRUE(writer->open_usage(session.account).has_value());
  ASSERT_TRUE(writer->put_session(session).has_value());
  const auto reader = SegmentReader::open(options_.path, clock_);
  EXPECT_TRUE(reader->usage(session.token_hash).has_value());
  ASSERT_TRUE(writer->open_usage(4'711).has_value());  // the slot is another's now
  EXPECT_FALSE(reader->usage(session.token_hash).has_value());
}

TEST_F(UsageTest, WorkersSeeThemAfterARestart) {
  const auto session = record(1);
  {
    const auto writer = open();
    ASSERT_TRUE(writer->put_session(session).has_value());
    ASSERT_TRUE(writer->open_usage(session.account).has_value());
    ASSERT_TRUE(writer->put_usage_terms(session.account, terms(1)).has_value());
  }
  const auto writer = open();
  const auto reader = SegmentReader::open(options_.path, clock_);
  ASSERT_TRUE(reader->usage(session.token_hash).has_value());
  EXPECT_EQ(reader->usage(session.token_hash)->terms, terms(1));
}

TEST_F(UsageTest, WorkersSeeLimitsOfBodies) {
  const auto writer = open();
  const auto reader = SegmentReader::open(options_.path, clock_);
  EXPECT_FALSE(reader->body_limits().has_value());
  writer->set_body_limits({1'000, 50'000});
  EXPECT_EQ(reader->body_limits(), (BodyLimits{1'000, 50'000}));
  writer->set_body_limits({2'000, 60'000});
  EXPECT_EQ(reader->body_limits(), (BodyLimits{2'000, 60'000}));
}

TEST_F(UsageTest, CountingWhileTermsChange) {
  const auto writer = open();
  const auto cell = writer->open_usage(1);
  ASSERT_TRUE(cell.has_value());
  std::thread counting([&] {
    for (int i = 0; i < 20'000; ++i) std::atomic_ref<std::uint64_t>((**cell)[50]).fetch_add(1);
  });
  for (std::uint64_t i = 0; i < 500; ++i) {
    ASSERT_TRUE(writer->put_usage_terms(1, terms(i)).has_value());
    ASSERT_EQ(writer->usage(1)->terms, terms(i));
  }
  counting.join();
  EXPECT_EQ(writer->usage(1)->words[50], 20'000U);
}

}  // namespace
}  // namespace postern::store
