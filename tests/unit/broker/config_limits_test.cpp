// Plans in the configuration: what is refused, with its line; and each cell of the sample's table by a virtual clock.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/config.hpp"
#include "postern/limits/meter.hpp"
#include "support/temporary_file.hpp"

namespace postern::broker {
namespace {

using limits::Count;
using limits::Limit;
using ::testing::HasSubstr;

Result<Config> parse_limits(const std::string& more) {
  return parse_config("[imap]\nhost = \"imap.example.com\"\n" + more, "t.toml");
}
std::string refused(const std::string& more) {
  const auto config = parse_limits(more);
  return config ? "accepted" : config.error().context;
}

TEST(PlanConfig, RowsAndNamedLimits) {
  const auto config = parse_limits(
      "[plans]\n"
      "row = [\"1MB\", 2000000, \"unlimited\", \"4MB\", 0, \"6GB\"]\n"
      "named = { files_day = \"5MB\", messages_hour = 20, recipients_day = \"unlimited\", requests = 2, "
      "sessions = 3, sent_times_recipients = true }\n"
      "[limits]\ndefault_plan = \"named\"\nreading_reserve = 0\n");
  ASSERT_TRUE(config) << config.error().context;
  const auto& table = *config->limits.table;
  EXPECT_EQ(table.default_plan, "named");
  EXPECT_EQ(table.reading_reserve_bytes, 0U);
  const auto& row = table.plan("row");
  EXPECT_EQ(row.of(Limit::received_hour), 1'000'000U);
  EXPECT_EQ(row.of(Limit::sent_hour), 2'000'000U);
  EXPECT_EQ(row.of(Limit::mail_hour), limits::unlimited);
  EXPECT_EQ(row.of(Limit::mail_day), 4'000'000U);
  EXPECT_EQ(row.of(Limit::files_hour), 0U);
  EXPECT_EQ(row.of(Limit::files_day), 6'000'000'000U);
  EXPECT_EQ(row.of(Limit::messages_hour), limits::unlimited);
  const auto& named = table.plan("named");
  EXPECT_EQ(named.of(Limit::files_day), 5'000'000U);
  EXPECT_EQ(named.of(Limit::messages_hour), 20U);
  EXPECT_EQ(named.of(Limit::recipients_day), limits::unlimited);
  EXPECT_EQ(named.requests, 2U);
  EXPECT_EQ(named.sessions, 3U);
  EXPECT_TRUE(named.sent_times_recipients);
}

TEST(PlanConfig, WhatIsWrongIsToldWithItsLine) {
  EXPECT_THAT(refused("[plans]\na = [1, 2, 3, 4, 5]\n"),
              HasSubstr("t.toml:4: [plans] a must have 6 columns"));
  EXPECT_THAT(refused("[plans]\na = [1, 2, 3, 4, 5, 6, 7]\n"), HasSubstr("t.toml:4: "));
  EXPECT_THAT(refused("[plans]\n\na = [1, 2, -3, 4, 5, 6]\n"),
              HasSubstr("t.toml:5: [plans] a: mail_hour must be a size"));
  EXPECT_THAT(refused("[plans]\na = [1, 2, \"3 potatoes\", 4, 5, 6]\n"), HasSubstr("t.toml:4: "));
  EXPECT_THAT(refused("[plans]\na = { files_day = -1 }\n"),
              HasSubstr("t.toml:4: [plans] a: files_day must be"));
  EXPECT_THAT(refused("[plans]\na = { messages_day = -1 }\n"),
              HasSubstr("messages_day must be a number that is not negative"));
  EXPECT_THAT(refused("[plans]\na = { messages_day = \"5MB\" }\n"), HasSubstr("messages_day"));
  EXPECT_THAT(refused("[plans]\na = { mail_month = 1 }\n"), HasSubstr("mail_month is no key of a plan"));
  EXPECT_THAT(refused("[plans]\na = { mailPerDay = 1 }\n"), HasSubstr("is no key of a plan"));
  EXPECT_THAT(refused("[plans]\na = { requests = 0 }\n"), HasSubstr("requests must be at least 1"));
  EXPECT_THAT(refused("[plans]\na = \"5MB\"\n"), HasSubstr("t.toml:4: [plans] a must be an array"));
  EXPECT_THAT(refused("[plans]\n\"a b\" = {}\n"), HasSubstr("is no name for a plan"));
  EXPECT_THAT(refused("[plans]\nunlimited = { files_day = 1 }\n"), HasSubstr("is there by itself"));
  EXPECT_EQ(refused("[limits]\n\ndefault_plan = \"gold\"\n"),
            "t.toml:5: [limits] default_plan: no such plan: gold");
  EXPECT_EQ(refused("[limits]\ndefault_plan = \"gold\"\n[plans]\nsilver = {}\n"),
            "t.toml:4: [limits] default_plan: no such plan: gold");
  EXPECT_THAT(refused("[limits]\ndefault_plans = \"gold\"\n"), HasSubstr("did you mean default_plan"));
}

TEST(PlanConfig, AtTheMostAndPastIt) {
  EXPECT_EQ(refused("[plans]\na = { files_day = 1099511627775 }\n"), "accepted");
  EXPECT_THAT(refused("[plans]\na = { files_day = 1099511627776 }\n"), HasSubstr("1099511627775"));
  EXPECT_EQ(refused("[limits]\nreading_reserve = \"1GB\"\n"), "accepted");
  EXPECT_NE(refused("[limits]\nreading_reserve = 1000000001\n"), "accepted");
}

TEST(PlanConfig, SoManyPlansAndNoMore) {
  std::string plans = "[plans]\n";
  for (std::size_t i = 0; i < limits::plans_max; ++i) plans += "p" + std::to_string(i) + " = {}\n";
  EXPECT_EQ(refused(plans), "accepted");
  EXPECT_THAT(refused(plans + "more = {}\n"), HasSubstr("more than 1000 plans"));
}

TEST(PlanConfig, MapsAreReadAndRefusedWithTheirLine) {
  const test::TemporaryFile first("anna@example.org guest\n"), second("@example.org unlimited\n");
  const std::string plans = "[plans]\nguest = { files_day = 1 }\n[limits]\n";
  const auto maps = [](const std::string& a, const std::string& b) {
    return "plan_maps = [\"" + a + "\", \"" + b + "\"]\n";
  };
  const auto config = parse_limits(plans + maps(first.path(), second.path()));
  ASSERT_TRUE(config) << config.error().context;
  EXPECT_EQ(config->limits.table->plan_of("anna@example.org"), "guest");
  EXPECT_EQ(config->limits.table->plan_of("bob@example.org"), "unlimited");
  EXPECT_EQ(config->limits.table->plan_of("bob@example.com"), "unlimited");
  const test::TemporaryFile overlapping("\nANNA@example.org unlimited\n");
  EXPECT_EQ(refused(plans + maps(first.path(), overlapping.path())),
            overlapping.path() + ":2: anna@example.org has a plan at " + first.path() + ":1 already");
  EXPECT_THAT(refused(plans + maps(first.path(), "/nowhere/plans")),
              HasSubstr("t.toml:6: [limits] plan_maps: /nowhere/plans: "));
  EXPECT_THAT(refused(plans + maps(first.path(), "/")), HasSubstr("t.toml:6: [limits] plan_maps: /: "));
  const test::TemporaryFile empty("");
  EXPECT_EQ(refused(plans + maps(first.path(), empty.path())), "accepted");
}

TEST(PlanConfig, PlansFromElsewhere) {
  const auto command = parse_limits(
      "[limits]\nplan_command = [\"/bin/plan\", \"-x\"]\nplan_command_timeout = \"2s\"\nplan_cache = "
      "\"1m\"\n");
  ASSERT_TRUE(command) << command.error().context;
  EXPECT_EQ(command->limits.lookup.command, (std::vector<std::string>{"/bin/plan", "-x"}));
  EXPECT_EQ(command->limits.lookup.timeout, std::chrono::seconds(2));
  EXPECT_EQ(command->limits.lookup.cache, std::chrono::minutes(1));
  EXPECT_TRUE(command->limits.table->looked_up);
  const auto entry = parse_limits("[limits]\nplan_metadata = \"/shared/vendor/example/plan\"\n");
  ASSERT_TRUE(entry) << entry.error().context;
  EXPECT_TRUE(entry->limits.table->looked_up);
  EXPECT_FALSE(parse_limits("")->limits.table->looked_up);
  EXPECT_THAT(refused("[limits]\nplan_command = [\"/a\"]\nplan_metadata = \"/shared/a\"\n"),
              HasSubstr("t.toml:5: [limits] plan_metadata and plan_command: one of them at most"));
  EXPECT_THAT(refused("[limits]\n\nplan_command = [\"plan\"]\n"),
              HasSubstr("t.toml:5: [limits] plan_command must be"));
  EXPECT_THAT(refused("[limits]\nplan_command = \"/bin/plan\"\n"), HasSubstr("plan_command"));
  EXPECT_THAT(refused("[limits]\nplan_command = [\"/a\", \"b\\u0000c\"]\n"), HasSubstr("plan_command"));
  EXPECT_THAT(refused("[limits]\nplan_command_timeout = \"11s\"\n"), HasSubstr("plan_command_timeout"));
  std::string most = "[limits]\nplan_command = [\"/a\"";
  for (int i = 0; i < 31; ++i) most += ", \"b\"";
  EXPECT_EQ(refused(most + "]\n"), "accepted");
  EXPECT_THAT(refused(most + ", \"c\"]\n"), HasSubstr("at most 31 arguments"));
  for (const char* wrong : {"/private/vendor/example/plan", "/shared/", "/shared/a/", "/shared//a",
                            "/shared/a*", "/shared/a b", "/shared/\\u00e4", "plan"})
    EXPECT_THAT(refused("[limits]\nplan_metadata = \"" + std::string(wrong) + "\"\n"),
                HasSubstr("plan_metadata"))
        << wrong;
}

// --- The table of the sample, row by row ---

struct Row {
  const char* plan;
  std::array<std::uint64_t, 6> megabytes;
};
constexpr std::array rows{
    Row{"personal-guest", {30, 30, 60, 120, 10, 20}},
    Row{"personal-member", {60, 60, 120, 240, 10, 20}},
    Row{"personal-ad-free", {60, 60, 120, 240, 10, 20}},
    Row{"personal-full", {300, 300, 600, 1'200, 500, 1'000}},
    Row{"personal-enhanced", {1'000, 1'000, 2'000, 4'000, 2'000, 4'000}},
    Row{"family-lite", {300, 300, 600, 1'200, 500, 1'000}},
    Row{"family-everyday", {1'000, 1'000, 2'000, 4'000, 2'000, 4'000}},
    Row{"family-superior", {2'000, 2'000, 4'000, 8'000, 3'000, 6'000}},
    Row{"business-basic", {300, 300, 600, 1'200, 500, 1'000}},
    Row{"business-standard", {1'000, 1'000, 2'000, 4'000, 2'000, 4'000}},
    Row{"business-professional", {2'000, 2'000, 4'000, 8'000, 3'000, 6'000}},
};

class PlanRow : public ::testing::TestWithParam<Row> {
 protected:
  PlanRow() : config_(load_config(POSTERN_SAMPLE)) {
    if (!config_) throw std::runtime_error(config_.error().context);
    const auto& plan = config_->limits.table->plan(GetParam().plan);
    store::UsageTerms terms;
    terms.plan = GetParam().plan;
    terms.limits = plan.limits;
    meter_->set_terms(terms, plan, 0, nullptr);
  }
  // The limit that said no; nullopt: it was granted.
  std::optional<Limit> move(Count count, std::uint64_t octets) {
    auto granted = meter_->reserve({limits::amount_of(count, octets)});
    if (!granted) {
      free_at_ = granted.error().free_at;
      return granted.error().limit;
    }
    granted->settle_all();
    return std::nullopt;
  }
  std::uint64_t octets(std::size_t column) const { return GetParam().megabytes[column] * 1'000'000; }
  std::int64_t now() const { return unix_seconds(clock_.wall()); }
  // Not before the moment that was told, and then.
  void frees_up(Count count, std::uint64_t amount) {
    ASSERT_TRUE(free_at_.has_value());
    const auto at = *free_at_;
    clock_.advance(std::chrono::seconds(at - 1 - now()));
    EXPECT_TRUE(move(count, amount).has_value());
    clock_.advance(std::chrono::seconds(1));
    EXPECT_FALSE(move(count, amount).has_value());
  }

  ManualClock clock_;
  Result<Config> config_;
  std::shared_ptr<limits::Meter> meter_ = std::make_shared<limits::Meter>(nullptr, clock_, 1);
  std::optional<std::int64_t> free_at_;
};

TEST_P(PlanRow, MailReceivedWithinAnHour) {
  EXPECT_EQ(move(Count::received, octets(0)), std::nullopt);
  EXPECT_EQ(move(Count::received, 1), Limit::received_hour);
  frees_up(Count::received, 1);
}

TEST_P(PlanRow, MailSentWithinAnHour) {
  EXPECT_EQ(move(Count::sent, octets(1)), std::nullopt);
  EXPECT_EQ(move(Count::sent, 1), Limit::sent_hour);
  frees_up(Count::sent, 1);
}

TEST_P(PlanRow, MailBothWithinAnHour) {
  EXPECT_EQ(move(Count::received, octets(0)), std::nullopt);
  EXPECT_EQ(move(Count::sent, octets(2) - octets(0)), std::nullopt);
  const auto refused = move(Count::sent, 1);
  EXPECT_TRUE(refused == Limit::mail_hour || refused == Limit::sent_hour);
  EXPECT_TRUE(meter_->standings()[2].used == octets(2));
  frees_up(Count::sent, 1);
}

TEST_P(PlanRow, MailBothWithinADay) {
  const auto begin = now();
  EXPECT_EQ(move(Count::received, octets(0)), std::nullopt);
  EXPECT_EQ(move(Count::sent, octets(1)), std::nullopt);
  clock_.advance(std::chrono::hours(2));
  EXPECT_EQ(move(Count::received, octets(0)), std::nullopt);
  EXPECT_EQ(move(Count::sent, octets(3) - 2 * octets(0) - octets(1)), std::nullopt);
  clock_.advance(std::chrono::hours(2));
  EXPECT_EQ(move(Count::received, 1), Limit::mail_day);
  EXPECT_EQ(move(Count::sent, 1), Limit::mail_day);
  frees_up(Count::received, 1);
  EXPECT_GE(now(), begin + 24 * 3'600);
  EXPECT_LE(now(), begin + 25 * 3'600);
}

TEST_P(PlanRow, FilesWithinAnHour) {
  const auto begin = now();
  EXPECT_EQ(move(Count::files, octets(4)), std::nullopt);
  EXPECT_EQ(move(Count::files, 1), Limit::files_hour);
  frees_up(Count::files, 1);
  EXPECT_GE(now(), begin + 60 * 60);
  EXPECT_LE(now(), begin + 65 * 60);
}

TEST_P(PlanRow, FilesWithinADay) {
  EXPECT_EQ(move(Count::files, octets(4)), std::nullopt);
  clock_.advance(std::chrono::hours(2));
  EXPECT_EQ(move(Count::files, octets(5) - octets(4)), std::nullopt);
  clock_.advance(std::chrono::hours(2));
  EXPECT_EQ(move(Count::files, 1), Limit::files_day);
  frees_up(Count::files, 1);
}

INSTANTIATE_TEST_SUITE_P(Sample, PlanRow, ::testing::ValuesIn(rows), [](const auto& info) {
  std::string name = info.param.plan;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace postern::broker
