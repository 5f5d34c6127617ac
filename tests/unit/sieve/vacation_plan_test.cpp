// What is to be done for each state of the scripts on the server, and what is refused.
#include "sieve/vacation_plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postern::sieve {
namespace {

const std::string ours(vacation_script_name);

Capabilities all_extensions() {
  Capabilities capabilities;
  capabilities.sieve = {"vacation", "include", "date", "relational"};
  return capabilities;
}

mail::VacationResponse response(bool is_enabled, std::string text = "away") {
  mail::VacationResponse vacation;
  vacation.is_enabled = is_enabled;
  vacation.text_body = std::move(text);
  return vacation;
}

Scripts scripts(std::vector<std::string> names, std::string active,
                std::optional<VacationScript> mine = std::nullopt) {
  Scripts all{{std::move(names), std::move(active)}, std::nullopt};
  if (mine) all.list.names.push_back(ours);
  if (mine) all.ours = write_vacation_script(*mine);
  return all;
}

Plan plan(const Scripts& all, const mail::VacationResponse& wanted) {
  auto made = plan_change(all, wanted, all_extensions(), {});
  EXPECT_TRUE(made) << made.error().description;
  return made.value_or(Plan{});
}

std::string refusal(const Scripts& all, const mail::VacationResponse& wanted,
                    const Capabilities& capabilities = all_extensions()) {
  auto made = plan_change(all, wanted, capabilities, {});
  return made ? "" : made.error().error_type;
}

TEST(VacationPlan, EnablesWhereNothingRuns) {
  const auto steps = plan(scripts({}, ""), response(true));
  EXPECT_EQ(read_vacation_script(*steps.put), (VacationScript{response(true), ""}));
  EXPECT_TRUE(steps.activate);
  EXPECT_FALSE(steps.include || steps.activate_before);
}

TEST(VacationPlan, IncludesTheActiveScriptAndActivatesItAgain) {
  const auto on = plan(scripts({"mine", "old"}, "mine"), response(true));
  EXPECT_EQ(on.include, "mine");
  EXPECT_EQ(read_vacation_script(*on.put), (VacationScript{response(true), "mine"}));
  EXPECT_TRUE(on.activate);

  const auto running = scripts({"mine", "old"}, ours, VacationScript{response(true), "mine"});
  const auto changed = plan(running, response(true, "away for longer"));
  EXPECT_EQ(read_vacation_script(*changed.put)->include, "mine");
  EXPECT_FALSE(changed.activate || changed.activate_before);

  const auto off = plan(running, response(false));
  EXPECT_EQ(off.activate_before, "mine");
  EXPECT_FALSE(off.activate);
  EXPECT_FALSE(read_vacation_script(*off.put)->response.is_enabled);
}

TEST(VacationPlan, ActivatesNothingThatHasBeenDeleted) {
  EXPECT_EQ(plan(scripts({}, ours, VacationScript{response(true), "gone"}), response(false)).activate_before,
            "");
  EXPECT_EQ(
      plan(scripts({"other"}, ours, VacationScript{response(true), ""}), response(false)).activate_before,
      "");
}

// Somebody has made another script the active one.
TEST(VacationPlan, LeavesWhatOthersHaveActivated) {
  const auto all = scripts({"mine", "theirs"}, "theirs", VacationScript{response(true), "mine"});
  EXPECT_FALSE(in_force(all).response.is_enabled);
  EXPECT_EQ(in_force(all).response.text_body, "away");
  const auto off = plan(all, response(false, "later"));
  EXPECT_FALSE(off.activate || off.activate_before);
  EXPECT_EQ(plan(all, response(true)).include, "theirs");
  // As it is in force already.
  EXPECT_FALSE(plan(all, response(false)).put);
}

// Somebody has activated ours by hand while it was off.
TEST(VacationPlan, KnowsThatAnActiveScriptMayBeOff) {
  const auto all = scripts({"mine"}, ours, VacationScript{response(false), "mine"});
  EXPECT_FALSE(in_force(all).response.is_enabled);
  const auto on = plan(all, response(true));
  EXPECT_EQ(read_vacation_script(*on.put)->include, "mine");
  EXPECT_FALSE(on.activate);
}

TEST(VacationPlan, NeverTouchesAScriptOfItsNameThatIsNotItsOwn) {
  Scripts all{{{ours}, ours}, "keep;\r\n"};
  EXPECT_TRUE(in_force(all).foreign);
  EXPECT_EQ(in_force(all).response, mail::VacationResponse{});
  EXPECT_EQ(refusal(all, response(true)), "forbidden");
  EXPECT_EQ(refusal(all, response(false)), "forbidden");
  all.ours = write_vacation_script({response(true), ""}) + "# edited\r\n";
  EXPECT_EQ(refusal(all, response(true)), "forbidden");
}

TEST(VacationPlan, RefusesWhatTheServerCannotDo) {
  auto few = all_extensions();
  few.sieve = {"vacation"};
  EXPECT_EQ(refusal(scripts({"mine"}, "mine"), response(true), few), "forbidden");
  EXPECT_EQ(refusal(scripts({"mine"}, "mine"), response(false), few), "");
  EXPECT_EQ(refusal(scripts({"mine"}, ""), response(true), few), "");
  auto dated = response(true);
  dated.from_date = 1;
  EXPECT_EQ(refusal(scripts({}, ""), dated, few), "invalidProperties");
  dated.is_enabled = false;
  EXPECT_EQ(refusal(scripts({}, ""), dated, few), "");
}

TEST(VacationPlan, RefusesWhatAScriptCannotSay) {
  auto wanted = response(true);
  wanted.subject = "a\r\nBcc: x@example.com";
  EXPECT_EQ(refusal(scripts({}, ""), wanted), "invalidProperties");
  wanted.subject = std::string(mail::vacation_subject_octets_max, 's');
  EXPECT_EQ(refusal(scripts({}, ""), wanted), "");
  *wanted.subject += 's';
  EXPECT_EQ(refusal(scripts({}, ""), wanted), "tooLarge");
  wanted = response(true, std::string("a\0b", 3));
  EXPECT_EQ(refusal(scripts({}, ""), wanted), "invalidProperties");
  wanted = response(true, std::string(mail::vacation_body_octets_max, 't'));
  EXPECT_EQ(refusal(scripts({}, ""), wanted), "");
  EXPECT_EQ(read_vacation_script(*plan(scripts({}, ""), wanted).put)->response, wanted);
  wanted = response(true, std::string(mail::vacation_body_octets_max + 1, 't'));
  EXPECT_EQ(refusal(scripts({}, ""), wanted), "tooLarge");
}

TEST(VacationPlan, TheStateFollowsTheResponse) {
  const auto state = state_of(response(true));
  EXPECT_EQ(state, state_of(response(true)));
  EXPECT_NE(state, state_of(response(false)));
  auto other = response(true);
  std::swap(other.text_body, other.html_body);
  EXPECT_NE(state, state_of(other));
  other = response(true);
  other.from_date = 0;
  EXPECT_NE(state, state_of(other));
  auto empty = response(true, ""), none = response(true);
  none.text_body.reset();
  EXPECT_NE(state_of(empty), state_of(none));
}

TEST(VacationPlan, WhatARefusalMeans) {
  const auto type = [](std::string code) {
    return outcome_of({Status::no, std::move(code), {}, {}}).error_type;
  };
  EXPECT_EQ(type("QUOTA/MAXSIZE"), "tooLarge");
  EXPECT_EQ(type("QUOTA/MAXSCRIPTS"), "overQuota");
  EXPECT_EQ(type("QUOTA"), "overQuota");
  EXPECT_EQ(type("TRYLATER"), "serverUnavailable");
  EXPECT_EQ(type(""), "serverFail");
}

TEST(ScriptList, IsRead) {
  auto list = parse_script_list({{{"a", true}}, {{"b", true}, {"active", false}}});
  ASSERT_TRUE(list);
  EXPECT_EQ(list->active, "b");
  EXPECT_TRUE(list->has("a") && list->has("b") && !list->has("c"));
  EXPECT_FALSE(parse_script_list({{{"a", true}, {"ODD", false}}}));
  EXPECT_FALSE(parse_script_list({{{"a", false}}}));
}

}  // namespace
}  // namespace postern::sieve
