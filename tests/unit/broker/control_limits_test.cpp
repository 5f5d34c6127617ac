// posternctl limits at the broker's side: what it asks of the book, and what it refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/control.hpp"
#include "postern/base/encoding.hpp"

namespace postern::broker {
namespace {

using limits::Limit;
using ::testing::HasSubstr;

struct ControlLimitsTest : ::testing::Test {
  ControlLimitsTest() {
    actions.canonical = [](const std::string& login) { return ascii_lower(login); };
    actions.show = [](const std::string& login) {
      limits::Use use;
      use.login = login;
      use.plan = "guest";
      for (std::size_t i = 0; i < limits::limit_kinds; ++i)
        use.standings.push_back({limits::limit_at(i), 10 + i, i == 3 ? 100 : limits::unlimited});
      use.extra[3] = 40;
      use.extra_until = 1'700'000'060;
      use.month_mail_most = 3'000;
      use.month_files_most = 600;
      return use;
    };
    actions.top = [this](Limit by, std::size_t count) {
      asked_by = by;
      asked_count = count;
      return std::vector<limits::Use>{actions.show("ann")};
    };
    actions.grant = [this](const std::string& login, Limit limit, std::uint64_t amount, std::int64_t until) {
      granted = login + " " + std::string(to_string(limit)) + " " + std::to_string(amount) + " " +
                std::to_string(until);
    };
    actions.reset = [this](const std::string& login) { reset = login; };
    actions.now = [] { return std::int64_t{1'700'000'000}; };
  }
  std::string ask(std::string_view command, std::map<std::string, std::string> arguments) {
    std::string out;
    jmap::JsonWriter writer(out);
    writer.start_object();
    const auto done = answer_limits(
        command, [&](std::string_view name) { return arguments[std::string(name)]; }, actions, writer);
    writer.end_object();
    return done ? out : "refused: " + done.error();
  }
  std::string grant(const std::string& limit, const std::string& amount, const std::string& until) {
    granted.clear();
    const auto answer =
        ask("limits-grant", {{"login", "ann"}, {"limit", limit}, {"amount", amount}, {"until", until}});
    return answer.starts_with("refused") ? answer : granted;
  }

  LimitsActions actions;
  Limit asked_by{};
  std::size_t asked_count = 0;
  std::string granted, reset;
};

TEST_F(ControlLimitsTest, ShowsWhatSomebodyHasUsed) {
  const auto answer = ask("limits-show", {{"login", "ann"}});
  EXPECT_THAT(answer, HasSubstr(R"("login":"ann","plan":"guest")"));
  EXPECT_THAT(answer,
              HasSubstr(R"({"limit":"mailPerDay","unit":"octets","used":13,"amount":100,"extra":40})"));
  EXPECT_THAT(answer, HasSubstr(R"({"limit":"messagesPerHour","unit":"messages","used":16})"));
  EXPECT_THAT(answer, HasSubstr(R"({"limit":"recipientsPerDay","unit":"recipients","used":19})"));
  EXPECT_THAT(answer,
              HasSubstr(R"("mailPerMonth":3000,"filesPerMonth":600,"extraUntil":"2023-11-14T22:14:20Z")"));
  EXPECT_THAT(ask("limits-show", {}), HasSubstr("the login is missing"));
}

TEST_F(ControlLimitsTest, ShowsTheTop) {
  EXPECT_THAT(ask("limits-top", {}), HasSubstr(R"("people":[{"login":"ann","plan":"guest","unit":"octets")"));
  EXPECT_EQ(asked_by, Limit::mail_day);
  EXPECT_EQ(asked_count, 20U);
  ask("limits-top", {{"limit", "files_hour"}, {"count", "1000"}});
  EXPECT_EQ(asked_by, Limit::files_hour);
  EXPECT_EQ(asked_count, 1'000U);
  EXPECT_THAT(ask("limits-top", {{"count", "1001"}}), HasSubstr("refused"));
  EXPECT_THAT(ask("limits-top", {{"count", "0"}}), HasSubstr("refused"));
  EXPECT_THAT(ask("limits-top", {{"limit", "mail_month"}}), HasSubstr("no such limit"));
}

TEST_F(ControlLimitsTest, Grants) {
  EXPECT_EQ(grant("files_day", "500MB", "90m"), "ann filesPerDay 500000000 1700005400");
  EXPECT_EQ(grant("filesPerDay", "5", "12h"), "ann filesPerDay 5 1700043200");
  EXPECT_EQ(grant("messages_day", "5", "2d"), "ann messagesPerDay 5 1700172800");
  EXPECT_EQ(grant("files_day", "5", "2023-11-15T00:00:00Z"), "ann filesPerDay 5 1700006400");
}

TEST_F(ControlLimitsTest, RefusesWhatMakesNoSense) {
  for (const auto* limit : {"", "mail_month"})
    EXPECT_THAT(grant(limit, "5", "1h"), HasSubstr("no such limit"));
  for (const auto* amount : {"", "0", "-5", "5 potatoes", "1099511627776"})
    EXPECT_THAT(grant("files_day", amount, "1h"), HasSubstr("the amount")) << amount;
  EXPECT_THAT(grant("messages_day", "5MB", "1h"), HasSubstr("the amount"));
  for (const auto* until : {"", "0h", "1", "5x", "h", "2023-11-14T22:13:20Z", "2023-11-15",
                            "2024-13-01T00:00:00Z", "367d", "99999999999999999999d"})
    EXPECT_THAT(grant("files_day", "5", until), HasSubstr("the time")) << until;
}

TEST_F(ControlLimitsTest, ResetsAndRefusesTheUnknown) {
  ask("limits-reset", {{"login", "ann"}});
  EXPECT_EQ(reset, "ann");
  EXPECT_THAT(ask("limits-raise", {{"login", "ann"}}), HasSubstr("unknown command"));
}

}  // namespace
}  // namespace postern::broker
