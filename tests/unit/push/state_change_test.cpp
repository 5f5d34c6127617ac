// StateChange, event ids and parameters as text.
#include "postern/push/state_change.hpp"

#include <gtest/gtest.h>

namespace postern::push {
namespace {

TEST(Types, StarIsAllAndNamesAreThose) {
  EXPECT_EQ(parse_types("*"), TypeSet::all());
  EXPECT_EQ(parse_types("Email,Mailbox"), (TypeSet{DataType::mailbox, DataType::email}));
  EXPECT_EQ(parse_types("EmailDelivery,CalendarEvent"), TypeSet{DataType::email_delivery});
  EXPECT_EQ(parse_types("Nothing"), TypeSet{});
  EXPECT_EQ(types_of(std::nullopt), TypeSet::all());
  EXPECT_EQ(types_of(std::vector<std::string>{"Email", "CalendarEvent"}), TypeSet{DataType::email});
  EXPECT_EQ(types_of(std::vector<std::string>{}), TypeSet{});
}

TEST(Types, WhatIsNoListIsRefused) {
  for (const auto* text : {"", ",", "Email,", ",Email", "Email Mailbox", "*,Email", "E\"mail"})
    EXPECT_FALSE(parse_types(text)) << text;
  EXPECT_TRUE(parse_types(std::string(types_bytes_max, 'x')));
  EXPECT_FALSE(parse_types(std::string(types_bytes_max + 1, 'x')));
}

TEST(StateChange, HoldsExactlyTheTypesAskedFor) {
  States states;
  states[DataType::mailbox] = "7";
  states[DataType::email] = "12";
  states[DataType::thread] = "3";
  EXPECT_EQ(state_change_json("a\"1", states, {DataType::email, DataType::thread, DataType::quota}),
            R"({"@type":"StateChange","changed":{"a\"1":{"Email":"12","Thread":"3"}}})");
}

TEST(StateChange, EscapesWhatIsNoPlainText) {
  States states;
  states[DataType::email] = "\x01\xE4";
  EXPECT_EQ(state_change_json("a", states, TypeSet::all()),
            R"({"@type":"StateChange","changed":{"a":{"Email":"\u0001\u00e4"}}})");
}

TEST(EventId, ComesBackAsWhatItWas) {
  States states;
  states[DataType::mailbox] = "7";
  states[DataType::email] = "a-B_9";
  states[DataType::quota] = std::string(state_bytes_max, 'z');
  const auto id = event_id(states);
  EXPECT_EQ(id, "1.7.a-B_9......" + std::string(state_bytes_max, 'z'));
  EXPECT_EQ(parse_event_id(id), states);
  EXPECT_EQ(parse_event_id("1.7.a-B_9")->of[1], "a-B_9");  // of a version that knew fewer types
}

TEST(EventId, LeavesOutAStateThatDoesNotFit) {
  States states;
  states[DataType::email] = "a.b";
  states[DataType::thread] = std::string(state_bytes_max + 1, 'z');
  EXPECT_EQ(event_id(states), "1........");
}

TEST(EventId, RefusesWhatIsNoneOfOurs) {
  for (const auto* text : {"", "1", "2.7", "1.7,8", "1.\n", "1.a b", "1.........", "1700000000:0"})
    EXPECT_FALSE(parse_event_id(text)) << text;
  EXPECT_FALSE(parse_event_id("1." + std::string(state_bytes_max + 1, 'z')));
  EXPECT_FALSE(parse_event_id("1." + std::string(event_id_bytes_max, '.')));
}

TEST(Ping, IsClamped) {
  EXPECT_EQ(parse_ping("0"), 0u);
  EXPECT_EQ(parse_ping("000"), 0u);
  EXPECT_EQ(parse_ping("1"), ping_seconds_min);
  EXPECT_EQ(parse_ping("30"), 30u);
  EXPECT_EQ(parse_ping("601"), ping_seconds_max);
  EXPECT_EQ(parse_ping("99999999999999999999"), ping_seconds_max);
  for (const auto* text : {"", "-1", "3s", " 3"}) EXPECT_FALSE(parse_ping(text)) << text;
}

TEST(Channel, IsOfPersonSessionAndKey) {
  const auto id = channel_id("key", 1, "session");
  EXPECT_EQ(id.size(), channel_id_bytes);
  EXPECT_EQ(id, channel_id("key", 1, "session"));
  EXPECT_NE(id, channel_id("other", 1, "session"));
  EXPECT_NE(id, channel_id("key", 2, "session"));
  EXPECT_NE(id, channel_id("key", 1, "sessio"));
}

TEST(States, ChangeWhereWhatIsKnownDiffers) {
  States before, now;
  before[DataType::email] = "1";
  now[DataType::email] = "2";
  now[DataType::thread] = "5";
  before[DataType::quota] = "9";
  EXPECT_EQ(changed_types(before, now), (TypeSet{DataType::email, DataType::thread}));
  merge_states(before, now);
  EXPECT_TRUE(changed_types(before, now).empty());
  EXPECT_EQ(before[DataType::quota], "9");
}

}  // namespace
}  // namespace postern::push
