// State counters and redirects: values, bounds, chains, and that both survive.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "store_support.hpp"

namespace postern::store {
namespace {

class AccountTest : public StoreTest {
 protected:
  static StateCounters counters(std::uint64_t n) {
    return {n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7};
  }
  static Place place(std::uint32_t n) { return {n / 100, 7, n}; }
  static std::vector<Redirect> sorted(std::vector<Redirect> list) {
    std::sort(list.begin(), list.end(),
              [](const Redirect& a, const Redirect& b) { return a.origin.uid < b.origin.uid; });
    return list;
  }
};

TEST_F(AccountTest, CopiesAreBesideThePlaceAndSurvive) {
  {
    const auto writer = open();
    ASSERT_TRUE(writer->put_redirect({1, place(1), place(101)}).has_value());
    ASSERT_TRUE(writer->put_redirect({1, place(1), place(102), true}).has_value());
    ASSERT_TRUE(writer->put_redirect({1, place(1), place(103), true}).has_value());
    ASSERT_TRUE(writer->put_redirect({1, place(1), place(104)}).has_value());  // moved
    // One message a place.
    ASSERT_TRUE(writer->put_redirect({1, place(2), place(103), true}).has_value());
    EXPECT_EQ(writer->use().redirects, 3U);
  }
  const auto writer = open();
  EXPECT_EQ(writer->redirects(1), (std::vector<Redirect>{{1, place(1), place(102), true},
                                                         {1, place(1), place(104)},
                                                         {1, place(2), place(103), true}}));
  writer->drop_redirect(1, place(102));
  writer->drop_redirect(1, place(1));
  writer->drop_copy(2, place(102));
  EXPECT_EQ(writer->use().redirects, 2U);
  writer->drop_copy(1, place(102));
  EXPECT_EQ(writer->redirects(1), (std::vector<Redirect>{{1, place(2), place(103), true}}));
}

TEST_F(AccountTest, CountersKeepEveryValue) {
  const auto writer = open();
  EXPECT_EQ(writer->counters(1), StateCounters{});
  ASSERT_TRUE(writer->put_counters(1, counters(10)).has_value());
  ASSERT_TRUE(writer->put_counters(0, counters(20)).has_value());
  ASSERT_TRUE(writer->put_counters(1, counters(30)).has_value());
  EXPECT_EQ(writer->counters(1), counters(30));
  EXPECT_EQ(writer->counters(0), counters(20));
  EXPECT_EQ(writer->use().accounts, 2U);
}

TEST_F(AccountTest, WhenFullTheAccountGoesThatWasPutTheLongestAgo) {
  const auto writer = open();
  for (std::uint64_t i = 0; i < options_.accounts_max; ++i)
    ASSERT_TRUE(writer->put_counters(i, counters(i)).has_value());
  ASSERT_TRUE(writer->put_counters(0, counters(100)).has_value());
  EXPECT_EQ(writer->use().accounts, options_.accounts_max);
  ASSERT_TRUE(writer->put_counters(50, counters(50)).has_value());
  EXPECT_EQ(writer->use().accounts, options_.accounts_max);
  EXPECT_EQ(writer->counters(1), StateCounters{});
  EXPECT_EQ(writer->counters(0), counters(100));
  EXPECT_EQ(writer->counters(2), counters(2));
  EXPECT_EQ(writer->counters(50), counters(50));
}

TEST_F(AccountTest, FirstCountersGrowWithTimeAndFitAJsonNumber) {
  const StateCounters first = first_counters(clock_.wall());
  clock_.advance(std::chrono::seconds(1));
  const StateCounters later = first_counters(clock_.wall());
  EXPECT_GE(later.email - first.email, 1'000'000U);
  EXPECT_EQ(first.mailbox, first.quota);
  EXPECT_LT(first_counters(WallTime(std::chrono::hours(24 * 365 * 250))).email, 1ULL << 53);
  EXPECT_GT(first_counters(WallTime(std::chrono::seconds(-5))).email, 0U);
}

TEST_F(AccountTest, RedirectsByAccount) {
  const auto writer = open();
  ASSERT_TRUE(writer->put_redirect({1, place(1), place(101)}).has_value());
  ASSERT_TRUE(writer->put_redirect({2, place(1), place(201)}).has_value());
  ASSERT_TRUE(writer->put_redirect({1, place(2), place(102)}).has_value());
  EXPECT_EQ(writer->redirects(1),
            (std::vector<Redirect>{{1, place(1), place(101)}, {1, place(2), place(102)}}));
  EXPECT_EQ(writer->redirects(2), (std::vector<Redirect>{{2, place(1), place(201)}}));
  EXPECT_TRUE(writer->redirects(3).empty());
  writer->drop_redirect(1, place(1));
  writer->drop_redirect(1, place(77));
  EXPECT_EQ(writer->redirects(1), (std::vector<Redirect>{{1, place(2), place(102)}}));
  EXPECT_EQ(writer->use().redirects, 2U);
}

TEST_F(AccountTest, SameOriginIsReplaced) {
  const auto writer = open();
  ASSERT_TRUE(writer->put_redirect({1, place(1), place(101)}).has_value());
  ASSERT_TRUE(writer->put_redirect({1, place(1), place(102)}).has_value());
  EXPECT_EQ(writer->redirects(1), (std::vector<Redirect>{{1, place(1), place(102)}}));
}

TEST_F(AccountTest, ChainsCollapse) {
  const auto writer = open();
  ASSERT_TRUE(writer->put_redirect({1, place(1), place(101)}).has_value());
  ASSERT_TRUE(writer->put_redirect({2, place(1), place(101)}).has_value());
  ASSERT_TRUE(writer->put_redirect({1, place(101), place(201)}).has_value());
  EXPECT_EQ(sorted(writer->redirects(1)),
            (std::vector<Redirect>{{1, place(1), place(201)}, {1, place(101), place(201)}}));
  ASSERT_TRUE(writer->put_redirect({1, place(201), place(301)}).has_value());
  EXPECT_EQ(sorted(writer->redirects(1)),
            (std::vector<Redirect>{
                {1, place(1), place(301)}, {1, place(101), place(301)}, {1, place(201), place(301)}}));
  EXPECT_EQ(writer->redirects(2), (std::vector<Redirect>{{2, place(1), place(101)}})) << "another account's";
}

TEST_F(AccountTest, MovesToldInTheWrongOrder) {
  const auto writer = open();
  ASSERT_TRUE(writer->put_redirect({1, place(101), place(201)}).has_value());
  ASSERT_TRUE(writer->put_redirect({1, place(1), place(101)}).has_value());
  EXPECT_EQ(sorted(writer->redirects(1)),
            (std::vector<Redirect>{{1, place(1), place(201)}, {1, place(101), place(201)}}));
}

TEST_F(AccountTest, BackToTheOriginIsNoRedirect) {
  const auto writer = open();
  ASSERT_TRUE(writer->put_redirect({1, place(1), place(101)}).has_value());
  ASSERT_TRUE(writer->put_redirect({1, place(101), place(1)}).has_value());
  EXPECT_EQ(writer->redirects(1), (std::vector<Redirect>{{1, place(101), place(1)}}));
  ASSERT_TRUE(writer->put_redirect({1, place(5), place(5)}).has_value());
  EXPECT_EQ(writer->use().redirects, 1U);
}

TEST_F(AccountTest, WhenFullTheOldestRedirectsGo) {
  const auto writer = open();
  for (std::uint32_t i = 0; i < options_.redirects_max + 3; ++i)
    ASSERT_TRUE(writer->put_redirect({1, place(i), place(1000 + i)}).has_value());
  const auto left = writer->redirects(1);
  ASSERT_EQ(left.size(), options_.redirects_max);
  EXPECT_EQ(left.front().origin, place(3));
  EXPECT_EQ(left.back().origin, place(options_.redirects_max + 2));
  ASSERT_TRUE(writer->put_redirect({1, place(3), place(2000)}).has_value());  // is the newest now
  ASSERT_TRUE(writer->put_redirect({1, place(99), place(2001)}).has_value());
  EXPECT_EQ(writer->redirects(1).front().origin, place(5));
}

TEST_F(AccountTest, AFullTableOfOneChainCollapses) {
  const auto writer = open();
  for (std::uint32_t i = 0; i < 50; ++i)
    ASSERT_TRUE(writer->put_redirect({1, place(i), place(i + 1)}).has_value());
  const auto left = writer->redirects(1);
  EXPECT_EQ(left.size(), options_.redirects_max);
  for (const Redirect& r : left) EXPECT_EQ(r.current, place(50));
}

TEST_F(AccountTest, SurvivesReopeningInOrder) {
  {
    const auto writer = open();
    for (std::uint64_t i = 0; i < options_.accounts_max; ++i)
      ASSERT_TRUE(writer->put_counters(i, counters(i)).has_value());
    ASSERT_TRUE(writer->put_counters(0, counters(100)).has_value());
    for (std::uint32_t i = 0; i < options_.redirects_max; ++i)
      ASSERT_TRUE(writer->put_redirect({1, place(i), place(1000 + i)}).has_value());
  }
  for (int round = 0; round < 3; ++round) {
    const auto writer = open();
    EXPECT_EQ(report_.accounts_kept, options_.accounts_max);
    EXPECT_EQ(report_.redirects_kept, options_.redirects_max);
    EXPECT_EQ(report_.accounts_dropped + report_.redirects_dropped, 0U);
    EXPECT_EQ(writer->counters(0), counters(100));
  }
  const auto writer = open();
  ASSERT_TRUE(writer->put_counters(50, counters(50)).has_value());
  EXPECT_EQ(writer->counters(1), StateCounters{}) << "account 1 is still the oldest";
  EXPECT_EQ(writer->counters(0), counters(100));
  ASSERT_TRUE(writer->put_redirect({2, place(1), place(2000)}).has_value());
  EXPECT_EQ(writer->redirects(1).front().origin, place(1)) << "the redirect of place 0 was still the oldest";
}

// Random moves against a map from origin to current place.
TEST_F(AccountTest, RedirectsBehaveAsAMap) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE("POSTERN_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  options_.redirects_max = 2000;
  auto writer = open();
  std::map<std::uint32_t, std::uint32_t> model;
  std::uint32_t next = 1000;
  for (int step = 0; step < 3000; ++step) {
    // A message is moved on: from a first place, or from where another move left it.
    std::uint32_t from = static_cast<std::uint32_t>(random() % 300);
    if (!model.empty() && random() % 2 == 0)
      from = std::next(model.begin(), static_cast<long>(random() % model.size()))->second;
    if (model.size() >= 1900) break;
    const std::uint32_t to = next++;
    ASSERT_TRUE(writer->put_redirect({1, place(from), place(to)}).has_value());
    for (auto& [origin, current] : model)
      if (current == from) current = to;
    model[from] = to;
    if (random() % 10 == 0) {
      const std::uint32_t drop = model.begin()->first;
      writer->drop_redirect(1, place(drop));
      model.erase(drop);
    }
    if (step % 500 == 499) {
      writer.reset();
      writer = open();
    }
  }
  std::map<std::uint32_t, std::uint32_t> read;
  for (const Redirect& r : writer->redirects(1)) read[r.origin.uid] = r.current.uid;
  EXPECT_EQ(read, model);
}

}  // namespace
}  // namespace postern::store
