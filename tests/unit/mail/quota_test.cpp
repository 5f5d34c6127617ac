// Quotas from QUOTA responses, and what has changed in them.
#include "postern/mail/quota.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postern::mail {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Quota quota(std::string id, std::uint64_t used, std::uint64_t limit = 100) {
  Quota q;
  q.id = std::move(id);
  q.used = used;
  q.hard_limit = limit;
  return q;
}

TEST(Quota, IsInOctetsOrInNumbers) {
  imap::QuotaResponse response{"User quota", {{"STORAGE", 10, 512}, {"MESSAGE", 3, 1000}, {"OTHER", 1, 2}}};
  const auto all = quotas_of(response);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].used, 10'240u);
  EXPECT_EQ(all[0].hard_limit, 524'288u);
  EXPECT_EQ(all[0].resource, Quota::Resource::octets);
  EXPECT_EQ(all[0].name, "User quota (Storage)");
  EXPECT_EQ(all[1].used, 3u);
  EXPECT_EQ(all[1].resource, Quota::Resource::count);
  EXPECT_NE(all[0].id, all[1].id);
  response.root = "Other";
  EXPECT_NE(quotas_of(response)[0].id, all[0].id);
}

TEST(Quota, IsNoNumberThatJsonHasNot) {
  const auto all = quotas_of({"", {{"STORAGE", 1, ~std::uint64_t{0}}}});
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].hard_limit, (std::uint64_t{1} << 53) - 1);
  EXPECT_EQ(all[0].name, "Storage");
}

TEST(Quota, OfAPlanIsEachLimitThatItSets) {
  ManualClock clock;
  const auto meter = std::make_shared<limits::Meter>(nullptr, clock, 0);
  EXPECT_TRUE(quotas_of(*meter).empty());
  store::UsageTerms terms;
  terms.plan = "guest";
  terms.limits[static_cast<std::size_t>(limits::Limit::files_day)] = 20'000'000;
  terms.limits[static_cast<std::size_t>(limits::Limit::messages_hour)] = 10;
  meter->set_terms(terms, {}, 0, nullptr);
  meter->reserve({limits::amount_of(limits::Count::files, 5'000'000)})->settle_all();
  const auto all = quotas_of(*meter);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].id, "plan-filesPerDay");
  EXPECT_EQ(all[0].resource, Quota::Resource::octets);
  EXPECT_EQ(all[0].scope, Quota::Scope::account);
  EXPECT_EQ(all[0].used, 5'000'000u);
  EXPECT_EQ(all[0].hard_limit, 20'000'000u);
  EXPECT_EQ(all[0].soft_limit, 18'000'000u);
  EXPECT_EQ(all[0].warn_limit, 16'000'000u);
  EXPECT_EQ(all[0].description, "the plan guest");
  EXPECT_THAT(all[0].types, ElementsAre("Blob"));
  EXPECT_EQ(all[1].resource, Quota::Resource::count);
  EXPECT_EQ(all[1].warn_limit, 8u);
}

TEST(QuotaLog, TellsWhatHasChangedSinceAState) {
  QuotaLog log;
  EXPECT_TRUE(log.take({quota("a", 1), quota("b", 1)}, 10));
  EXPECT_FALSE(log.take({quota("a", 1), quota("b", 1)}, 11));
  EXPECT_TRUE(log.take({quota("a", 2), quota("b", 1)}, 11));
  auto changes = log.since(10, 11);
  ASSERT_TRUE(changes);
  EXPECT_THAT(changes->updated, ElementsAre("a"));
  EXPECT_TRUE(changes->only_used);
  EXPECT_THAT(changes->created, IsEmpty());
  EXPECT_TRUE(log.take({quota("a", 2, 200), quota("c", 1)}, 12));
  changes = log.since(10, 12);
  ASSERT_TRUE(changes);
  EXPECT_THAT(changes->updated, ElementsAre("a"));
  EXPECT_FALSE(changes->only_used);
  EXPECT_THAT(changes->created, ElementsAre("c"));
  EXPECT_THAT(changes->destroyed, ElementsAre("b"));
  changes = log.since(12, 12);
  ASSERT_TRUE(changes);
  EXPECT_TRUE(changes->updated.empty() && changes->created.empty() && changes->destroyed.empty());
  EXPECT_FALSE(log.since(9, 12));
  EXPECT_FALSE(log.since(13, 12));
}

TEST(QuotaLog, PutsEachInOneList) {
  QuotaLog log;
  log.take({quota("a", 1)}, 1);
  log.take({}, 2);
  log.take({quota("a", 1)}, 3);  // gone and come again
  log.take({quota("a", 1), quota("b", 1)}, 4);
  log.take({quota("a", 1), quota("b", 2)}, 5);
  log.take({quota("a", 1)}, 6);  // b has come and gone
  const auto changes = log.since(1, 6);
  ASSERT_TRUE(changes);
  EXPECT_THAT(changes->created, IsEmpty());
  EXPECT_THAT(changes->updated, ElementsAre("a"));
  EXPECT_FALSE(changes->only_used);
  EXPECT_THAT(changes->destroyed, IsEmpty());
}

TEST(QuotaLog, IsBounded) {
  QuotaLog log;
  for (std::uint64_t i = 1; i <= quota_log_entries_max + 1; ++i) log.take({quota("a", i)}, i);
  EXPECT_TRUE(log.since(1, quota_log_entries_max + 1));
  log.take({quota("a", 0)}, quota_log_entries_max + 2);
  EXPECT_FALSE(log.since(1, quota_log_entries_max + 2));
  EXPECT_TRUE(log.since(2, quota_log_entries_max + 2));
  std::vector<Quota> many;
  for (std::size_t i = 0; i <= quotas_max; ++i) many.push_back(quota(std::to_string(i), 1));
  log.take(many, quota_log_entries_max + 3);
  EXPECT_EQ(log.all().size(), quotas_max);
}

}  // namespace
}  // namespace postern::mail
