// Plan maps: who gets which plan, and what is wrong with a map, by line.
#include "postern/limits/plan_map.hpp"

#include <gtest/gtest.h>

namespace postern::limits {
namespace {

const Plans plans{{"unlimited", {}}, {"guest", {}}, {"family-lite", {}}};

TEST(PlanMap, LoginsGoBeforeDomainsAndThoseBeforeTheDefault) {
  PlanTable table;
  table.plans = plans;
  table.default_plan = "guest";
  ASSERT_TRUE(table.map
                  .add("# who plan\n"
                       "Ann@Example.org\tunlimited   # the boss\n"
                       "\n"
                       "@example.org  family-lite\r\n"
                       "root unlimited",
                       "plans", plans)
                  .has_value());
  EXPECT_EQ(table.map.size(), 3U);
  EXPECT_EQ(table.plan_of("ann@example.org"), "unlimited");
  EXPECT_EQ(table.plan_of("ANN@example.org"), "unlimited");
  EXPECT_EQ(table.plan_of("bob@Example.ORG"), "family-lite");
  EXPECT_EQ(table.plan_of("bob@sub.example.org"), "guest");
  EXPECT_EQ(table.plan_of("root"), "unlimited");
  EXPECT_EQ(table.plan_of("root2"), "guest");
  EXPECT_EQ(table.plan_of(""), "guest");
}

std::string wrong_with(std::string_view text) {
  PlanMap map;
  const auto added = map.add(text, "plans", plans);
  return added ? "" : added.error().context;
}

TEST(PlanMap, AByteOrderMarkIsNoPartOfTheFirstLogin) {
  PlanTable table;
  table.plans = plans;
  ASSERT_TRUE(table.map
                  .add("\xEF\xBB\xBF"
                       "ann@example.org guest\r\n",
                       "plans", plans)
                  .has_value());
  EXPECT_NE(table.map.find("ann@example.org"), nullptr);
}

TEST(PlanMap, WhatIsWrongIsToldWithItsLine) {
  EXPECT_EQ(wrong_with("a guest\nb"), "plans:2: a line must be LOGIN PLAN or @DOMAIN PLAN");
  EXPECT_EQ(wrong_with("a guest guest"), "plans:1: a line must be LOGIN PLAN or @DOMAIN PLAN");
  EXPECT_EQ(wrong_with("@ guest"), "plans:1: a line must be LOGIN PLAN or @DOMAIN PLAN");
  EXPECT_EQ(wrong_with("\xff guest"), "plans:1: a line must be LOGIN PLAN or @DOMAIN PLAN");
  EXPECT_EQ(wrong_with("a guest\n\nb gold"), "plans:3: no such plan: gold");
  EXPECT_EQ(wrong_with("a guest\nb guest\nA unlimited"), "plans:3: a has a plan at plans:1 already");
  EXPECT_EQ(wrong_with(std::string(store::login_bytes_max, 'a') + " guest"), "");
  EXPECT_NE(wrong_with(std::string(store::login_bytes_max + 1, 'a') + " guest"), "");
}

TEST(PlanMap, FilesMustNotOverlap) {
  PlanMap map;
  ASSERT_TRUE(map.add("@example.org guest", "first", plans).has_value());
  const auto second = map.add("x guest\n@EXAMPLE.org unlimited", "second", plans);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, Errc::overlap);
  EXPECT_EQ(second.error().context, "second:2: @example.org has a plan at first:1 already");
}

TEST(PlanMap, IsBounded) {
  PlanMap map;
  EXPECT_TRUE(map.add(std::string(plan_map_octets_max, '#'), "plans", plans).has_value());
  const auto larger = map.add(std::string(plan_map_octets_max + 1, '#'), "plans", plans);
  EXPECT_EQ(larger.error().code, Errc::too_large);
}

TEST(PlanMap, HasSoManyEntriesAndNoMore) {
  std::string text;
  for (std::size_t i = 0; i < plan_map_entries_max; ++i) text += std::to_string(i) + " guest\n";
  PlanMap map;
  ASSERT_TRUE(map.add(text, "plans", plans).has_value());
  EXPECT_EQ(map.add("one-more guest", "more", plans).error().code, Errc::too_large);
}

TEST(PlanName, HasFewCharacters) {
  EXPECT_TRUE(is_plan_name("personal-ad-free"));
  EXPECT_TRUE(is_plan_name(std::string(plan_name_bytes_max, 'a')));
  EXPECT_FALSE(is_plan_name(std::string(plan_name_bytes_max + 1, 'a')));
  for (const char* name : {"", "a b", "a\"", "ü", "a/b"}) EXPECT_FALSE(is_plan_name(name)) << name;
}

TEST(Plan, ASubmissionCountsOnceOrForEachRecipient) {
  Plan plan;
  EXPECT_EQ(plan.submission(1'000, 3), (Amounts{0, 1'000, 0, 1, 3}));
  plan.sent_times_recipients = true;
  EXPECT_EQ(plan.submission(1'000, 3), (Amounts{0, 3'000, 0, 1, 3}));
  EXPECT_EQ(plan.submission(limit_max, 2)[static_cast<std::size_t>(Count::sent)], limit_max);
}

TEST(LimitName, IsFoundByKeyAndByName) {
  for (std::size_t i = 0; i < limit_kinds; ++i) {
    EXPECT_EQ(limit_of_key(key_of(limit_at(i))), limit_at(i));
    EXPECT_EQ(limit_of_key(to_string(limit_at(i))), limit_at(i));
    EXPECT_EQ(is_daily(limit_at(i)), to_string(limit_at(i)).ends_with("PerDay"));
  }
  EXPECT_FALSE(limit_of_key("mail_month").has_value());
}

}  // namespace
}  // namespace postern::limits
