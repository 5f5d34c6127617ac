// What the hub tells, to whom and when.
#include "postern/push/hub.hpp"

#include <gtest/gtest.h>

#include "hub_fixture.hpp"

namespace postern::push {
namespace {

TEST_F(HubFixture, ANewStreamIsToldAllThatIsKnown) {
  auto [id, sink] = listen({.account = 1, .session = "s"}, states("5"));
  ASSERT_EQ(sink->events.size(), 1u);
  EXPECT_EQ(sink->types[0], (TypeSet{DataType::email, DataType::mailbox}));
  EXPECT_EQ(watch.calls, (std::vector<std::pair<AccountKey, bool>>{{1, true}}));
}

TEST_F(HubFixture, WhoComesBackIsToldWhatItHasMissed) {
  auto [a, current] = listen({.account = 1, .session = "s", .known = states("5")}, states("5"));
  EXPECT_TRUE(current->events.empty());
  auto [b, behind] = listen({.account = 1, .session = "s", .known = states("4")}, states("5"));
  ASSERT_EQ(behind->types.size(), 1u);
  EXPECT_EQ(behind->types[0], TypeSet{DataType::email});
}

TEST_F(HubFixture, FirstChangeAtOnceTheRestTogether) {
  auto [id, sink] = listen({.account = 1, .session = "s", .known = states("1")}, states("1"));
  hub->on_states(1, states("2"));
  EXPECT_EQ(sink->events.size(), 1u);
  hub->on_states(1, states("3"));
  pass(20ms);
  hub->on_states(1, states("4", "2"));
  EXPECT_EQ(sink->events.size(), 1u);
  pass(30ms);
  ASSERT_EQ(sink->events.size(), 2u);
  EXPECT_EQ(sink->events[1][DataType::email], "4");
  EXPECT_EQ(sink->types[1], (TypeSet{DataType::email, DataType::mailbox}));
  pass(1h);
  EXPECT_EQ(sink->events.size(), 2u);
}

TEST_F(HubFixture, TypesThatWereNotAskedForAreNoEvent) {
  auto [id, sink] = listen(
      {.account = 1, .session = "s", .types = {DataType::email_delivery}, .known = states("1")}, states("1"));
  hub->on_states(1, states("2"));
  EXPECT_TRUE(sink->events.empty());
  auto news = states("3");
  news[DataType::email_delivery] = "9";
  hub->on_states(1, news);
  ASSERT_EQ(sink->types.size(), 1u);
  EXPECT_EQ(sink->types[0], TypeSet{DataType::email_delivery});
}

TEST_F(HubFixture, OneEventOnlyForCloseAfterState) {
  auto [id, sink] =
      listen({.account = 1, .session = "s", .close_after_state = true, .known = states("1")}, states("1"));
  hub->on_states(1, states("2"));
  hub->on_states(1, states("3"));
  pass(1s);
  EXPECT_EQ(sink->events.size(), 1u);
  EXPECT_EQ(sink->ends, std::vector{EndReason::event_sent});
  EXPECT_EQ(hub->listeners(), 0u);
}

TEST_F(HubFixture, AChangeBetweenTwoPollsIsToldAtOnce) {
  auto [a, first] = listen({.account = 1, .session = "s", .close_after_state = true}, states("2"));
  ASSERT_EQ(first->events.size(), 1u);  // it knows nothing yet
  hub->on_states(1, states("3"));
  auto [b, second] = listen({.account = 1, .session = "s", .close_after_state = true}, states("3"));
  ASSERT_EQ(second->events.size(), 1u);
  EXPECT_EQ(second->events[0][DataType::email], "3");
}

TEST_F(HubFixture, APollThatKnowsTheStatesOfNowWaits) {
  auto [a, first] = listen({.account = 1, .session = "s", .close_after_state = true}, states("2"));
  auto [b, second] = listen({.account = 1, .session = "s", .close_after_state = true}, states("2"));
  EXPECT_EQ(first->events.size(), 1u);
  EXPECT_TRUE(second->events.empty());
}

TEST_F(HubFixture, APollForSomeTypesKeepsTheOthersChanges) {
  listen({.account = 1, .session = "s", .close_after_state = true}, states("2"));
  hub->on_states(1, states("3", "2"));
  auto [a, email] =
      listen({.account = 1, .session = "s", .types = {DataType::email}, .close_after_state = true},
             states("3", "2"));
  ASSERT_EQ(email->types, std::vector{TypeSet{DataType::email}});
  auto [b, mailbox] =
      listen({.account = 1, .session = "s", .types = {DataType::mailbox}, .close_after_state = true},
             states("3", "2"));
  EXPECT_EQ(mailbox->types, std::vector{TypeSet{DataType::mailbox}});
}

TEST_F(HubFixture, WhatIsToldWhileAListenerIsOnItsWayCounts) {
  hub->expect(1);
  EXPECT_EQ(watch.calls, (std::vector<std::pair<AccountKey, bool>>{{1, true}}));
  const auto read = states("1");
  hub->on_states(1, states("2"));
  auto [a, sink] = listen({.account = 1, .session = "s", .known = read}, read);
  ASSERT_EQ(sink->events.size(), 1u);
  EXPECT_EQ(sink->events[0][DataType::email], "2");
  pass(1h);
  EXPECT_TRUE(hub->is_watched(1));
}

TEST_F(HubFixture, WhoIsExpectedAndNeverComesIsForgotten) {
  hub->expect(1);
  pass(29s);
  hub->expect(1);
  pass(options.grace - 1s);
  EXPECT_TRUE(hub->is_watched(1));
  pass(1s);
  EXPECT_FALSE(hub->is_watched(1));
  EXPECT_EQ(watch.calls.back(), (std::pair<AccountKey, bool>{1, false}));
}

TEST_F(HubFixture, OwnChangesAreNotToldToTheSessionButToOthers) {
  auto [a, own] = listen({.account = 1, .session = "own", .known = states("1")}, states("1"));
  auto [b, other] = listen({.account = 1, .session = "other", .known = states("1")}, states("1"));
  hub->write_begins(1, "own");
  hub->on_states(1, states("2"));
  EXPECT_EQ(other->events.size(), 1u);
  hub->write_ends(1, "own", states("2"));
  pass(1min);
  EXPECT_TRUE(own->events.empty());
  hub->on_states(1, states("3"));
  EXPECT_EQ(own->events.size(), 1u);
}

TEST_F(HubFixture, AnothersChangeDuringAWriteIsToldBehindIt) {
  auto [a, own] = listen({.account = 1, .session = "own", .known = states("1")}, states("1"));
  hub->write_begins(1, "own");
  hub->on_states(1, states("2"));
  hub->on_states(1, states("3"));  // somebody else's, which the answer doesn't know
  EXPECT_TRUE(own->events.empty());
  hub->write_ends(1, "own", states("2"));
  ASSERT_EQ(own->events.size(), 1u);
  EXPECT_EQ(own->events[0][DataType::email], "3");
}

TEST_F(HubFixture, AnAnswerThatComesBeforeTheAccountsOwnWordIsNoEvent) {
  auto [a, own] = listen({.account = 1, .session = "own", .known = states("1")}, states("1"));
  auto [b, other] = listen({.account = 1, .session = "other", .known = states("1")}, states("1"));
  hub->write_begins(1, "own");
  hub->write_ends(1, "own", states("10"));
  hub->on_states(1, states("10"));
  pass(1s);
  EXPECT_TRUE(own->events.empty());
  ASSERT_EQ(other->events.size(), 1u);
  EXPECT_EQ(other->events[0][DataType::email], "10");
}

TEST_F(HubFixture, AWriteThatHangsKeepsNobodyWaitingForEver) {
  auto [a, own] = listen({.account = 1, .session = "own", .known = states("1")}, states("1"));
  hub->write_begins(1, "own");
  hub->on_states(1, states("2"));
  pass(options.own_write_max - 1ms);
  EXPECT_TRUE(own->events.empty());
  pass(1ms);
  EXPECT_EQ(own->events.size(), 1u);
}

TEST_F(HubFixture, ListenersWithoutASessionHearEverything) {
  auto [a, sink] = listen({.account = 1, .known = states("1")}, states("1"));
  hub->write_begins(1, "");
  hub->on_states(1, states("2"));
  EXPECT_EQ(sink->events.size(), 1u);
}

States vacation(std::string state, std::string email = "1") {
  auto made = HubFixture::states(std::move(email));
  made[DataType::vacation_response] = std::move(state);
  return made;
}

TEST_F(HubFixture, StatesThatAreHashesHaveNoOrder) {
  auto [a, own] = listen({.account = 1, .session = "own", .known = vacation("9")}, vacation("9"));
  auto [b, other] = listen({.account = 1, .session = "other", .known = vacation("9")}, vacation("9"));
  hub->write_begins(1, "own");
  hub->write_ends(1, "own", vacation("3"));  // before the account has said so
  hub->on_states(1, vacation("3"));
  pass(1s);
  EXPECT_TRUE(own->events.empty());
  ASSERT_EQ(other->events.size(), 1u);
  EXPECT_EQ(other->events[0][DataType::vacation_response], "3");
  // Somebody else's, of which the account has heard before the answer of one's own was there.
  hub->write_begins(1, "own");
  hub->on_states(1, vacation("7"));
  hub->write_ends(1, "own", vacation("5"));
  ASSERT_EQ(own->events.size(), 1u);
  EXPECT_EQ(own->events[0][DataType::vacation_response], "7");
}

TEST_F(HubFixture, StatesOfRecordsAreNumberedBehindTheirFilesMark) {
  const auto identity = [](std::string state) {
    States made = HubFixture::states("1");
    made[DataType::identity] = std::move(state);
    return made;
  };
  auto [a, own] = listen({.account = 1, .session = "own", .known = identity("77-9")}, identity("77-9"));
  hub->write_begins(1, "own");
  hub->write_ends(1, "own", identity("77-10"));
  hub->on_states(1, identity("77-10"));
  pass(1s);
  EXPECT_TRUE(own->events.empty());
  hub->write_begins(1, "own");
  hub->on_states(1, identity("77-12"));
  hub->write_ends(1, "own", identity("77-11"));
  ASSERT_EQ(own->events.size(), 1u);
  EXPECT_EQ(own->events[0][DataType::identity], "77-12");
}

TEST_F(HubFixture, NewMailDuringAWriteIsNotTheWritersOwn) {
  const auto with_mail = [](std::string email, std::string delivery) {
    auto made = HubFixture::states(std::move(email));
    made[DataType::email_delivery] = std::move(delivery);
    return made;
  };
  auto [a, own] = listen({.account = 1, .session = "own", .known = with_mail("1", "1")}, with_mail("1", "1"));
  hub->write_begins(1, "own");
  hub->on_states(1, with_mail("3", "2"));
  hub->write_ends(1, "own", with_mail("3", "2"));
  ASSERT_EQ(own->events.size(), 1u);
  EXPECT_EQ(own->types[0], (TypeSet{DataType::email, DataType::email_delivery}));
}

TEST_F(HubFixture, AListenerInTheBackgroundIsNoStreamOfItsSession) {
  options.listeners_per_session_max = 1;
  hub->set_options(options);
  auto [a, device] = listen({.account = 1, .session = "s", .in_background = true}, states("1"));
  auto [b, first] = listen({.account = 1, .session = "s"}, states("1"));
  EXPECT_TRUE(device->ends.empty() && first->ends.empty());
  auto [c, second] = listen({.account = 1, .session = "s"}, states("1"));
  EXPECT_TRUE(device->ends.empty());
  EXPECT_EQ(first->ends, std::vector{EndReason::replaced});
  hub->remove(c);
  // What the device was told, a poll of the page wasn't.
  pass(1s);
  hub->on_states(1, states("2"));
  EXPECT_EQ(device->events.size(), 2u);
  auto [d, poll] = listen({.account = 1, .session = "s", .close_after_state = true}, states("2"));
  EXPECT_EQ(poll->events.size(), 1u);
  hub->end_session(1, "s");
  EXPECT_EQ(device->ends, std::vector{EndReason::session_ended});
}

TEST_F(HubFixture, TheWatchOutlivesTheLastListenerByTheGrace) {
  auto [a, sink] = listen({.account = 1, .session = "s"}, states("1"));
  hub->remove(a);
  pass(options.grace - 1s);
  auto [b, again] = listen({.account = 1, .session = "s"}, states("1"));
  pass(1h);
  EXPECT_EQ(watch.calls.size(), 1u);
  hub->remove(b);
  pass(options.grace);
  ASSERT_EQ(watch.calls.size(), 2u);
  EXPECT_EQ(watch.calls[1], (std::pair<AccountKey, bool>{1, false}));
  EXPECT_FALSE(hub->is_watched(1));
}

TEST_F(HubFixture, PingsComeSinceTheLastEvent) {
  auto [a, sink] =
      listen({.account = 1, .session = "s", .ping_seconds = 30, .known = states("1")}, states("1"));
  pass(20s);
  hub->on_states(1, states("2"));
  pass(20s);
  EXPECT_TRUE(sink->pings.empty());
  pass(10s);
  pass(30s);
  EXPECT_EQ(sink->pings, (std::vector<std::uint32_t>{30, 30}));
  hub->remove(a);
  pass(1h);
  EXPECT_EQ(sink->pings.size(), 2u);
}

TEST_F(HubFixture, TheEndOfASessionEndsItsListenersAlone) {
  auto [a, gone] = listen({.account = 1, .session = "a"}, states("1"));
  auto [b, stays] = listen({.account = 1, .session = "b"}, states("1"));
  hub->end_session(1, "a");
  EXPECT_EQ(gone->ends, std::vector{EndReason::session_ended});
  EXPECT_TRUE(stays->ends.empty());
  EXPECT_EQ(hub->listeners_of(1), 1u);
  hub->end_account(1);
  EXPECT_EQ(stays->ends, std::vector{EndReason::session_ended});
}

TEST_F(HubFixture, TheOldestOfTooManyStreamsOfASessionGoes) {
  options.listeners_per_session_max = 2;
  hub->set_options(options);
  auto [a, first] = listen({.account = 1, .session = "s"}, states("1"));
  auto [b, second] = listen({.account = 1, .session = "s"}, states("1"));
  EXPECT_TRUE(first->ends.empty());
  auto [c, third] = listen({.account = 1, .session = "s"}, states("1"));
  EXPECT_EQ(first->ends, std::vector{EndReason::replaced});
  EXPECT_TRUE(second->ends.empty());
  EXPECT_TRUE(third->ends.empty());
}

TEST_F(HubFixture, NoMoreThanListenersMax) {
  options.listeners_max = 2;
  hub->set_options(options);
  EXPECT_NE(listen({.account = 1}, states("1")).first, 0u);
  EXPECT_NE(listen({.account = 2}, states("1")).first, 0u);
  EXPECT_EQ(listen({.account = 3}, states("1")).first, 0u);
  EXPECT_FALSE(hub->is_watched(3));
}

}  // namespace
}  // namespace postern::push
