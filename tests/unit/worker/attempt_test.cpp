// When a request may be sent again: each state against each event.
#include "worker/attempt.hpp"

#include <gtest/gtest.h>

namespace postern::worker {
namespace {

using Action = Attempt::Action;
using State = Attempt::State;
using namespace std::chrono_literals;

struct AttemptTest : ::testing::Test {
  ManualClock clock;
  Attempt attempt{clock, 5s};
};

TEST_F(AttemptTest, LostBeforeEffectsIsSentAgain) {
  EXPECT_EQ(attempt.begin(), Action::send);
  attempt.sent();
  EXPECT_EQ(attempt.connection_lost(), Action::send);
  EXPECT_EQ(attempt.state(), State::waiting);
  attempt.sent();
  attempt.response_begun();
  EXPECT_EQ(attempt.finished(), Action::none);
  EXPECT_EQ(attempt.state(), State::finished);
}

TEST_F(AttemptTest, LostAfterEffectsIsUnknown) {
  attempt.sent();
  attempt.effects_announced();
  EXPECT_EQ(attempt.connection_lost(), Action::answer);
  EXPECT_EQ(attempt.why(), Unavailable::outcome_unknown);
}

TEST_F(AttemptTest, LostWithinTheAnswerIsCutOff) {
  attempt.sent();
  attempt.response_begun();
  EXPECT_EQ(attempt.connection_lost(), Action::cut_off);
}

TEST_F(AttemptTest, EffectsAfterTheAnswerBeganChangeNothing) {
  attempt.sent();
  attempt.response_begun();
  attempt.effects_announced();
  EXPECT_EQ(attempt.state(), State::responding);
}

TEST_F(AttemptTest, LostWithABodyThatIsGoneIsNotSentAgain) {
  attempt.sent();
  attempt.body_dropped();
  EXPECT_EQ(attempt.connection_lost(), Action::answer);
  EXPECT_EQ(attempt.why(), Unavailable::broker_away);
}

TEST_F(AttemptTest, TheWaitBeginsAnewWithTheFirstLossOnly) {
  attempt.deadline();
  clock.advance(1h);  // a long poll
  attempt.sent();
  EXPECT_EQ(attempt.connection_lost(), Action::send);
  EXPECT_EQ(attempt.deadline(), clock.now() + 5s);
  clock.advance(4s);
  attempt.sent();
  EXPECT_EQ(attempt.connection_lost(), Action::send);
  EXPECT_EQ(attempt.deadline(), clock.now() + 1s);
  clock.advance(1s);
  EXPECT_EQ(attempt.connection_lost(), Action::answer);
}

TEST_F(AttemptTest, SentAtMostSoManyTimes) {
  for (unsigned i = 1; i < Attempt::sends_max; ++i) {
    attempt.sent();
    ASSERT_EQ(attempt.connection_lost(), Action::send) << i;
  }
  attempt.sent();
  EXPECT_EQ(attempt.connection_lost(), Action::answer);
  EXPECT_EQ(attempt.why(), Unavailable::broker_away);
}

TEST_F(AttemptTest, NoBroker) {
  EXPECT_EQ(attempt.no_broker(Unavailable::too_many_waiting), Action::answer);
  EXPECT_EQ(attempt.why(), Unavailable::too_many_waiting);
  EXPECT_EQ(attempt.connection_lost(), Action::none) << "finished";
}

TEST_F(AttemptTest, Cancelled) {
  attempt.sent();
  EXPECT_EQ(attempt.cancelled(true), Action::send);
  attempt.sent();
  EXPECT_EQ(attempt.cancelled(false), Action::answer);
  EXPECT_EQ(attempt.why(), Unavailable::broker_failed);
}

TEST_F(AttemptTest, WhatWasRefusedCountsForNothingUntilTheDeadline) {
  attempt.deadline();
  for (unsigned i = 0; i < 3 * Attempt::sends_max; ++i) {
    attempt.sent();
    ASSERT_EQ(attempt.cancelled(true), Action::send) << i;
  }
  attempt.sent();
  clock.advance(5s);
  EXPECT_EQ(attempt.cancelled(true), Action::answer);
  EXPECT_EQ(attempt.why(), Unavailable::broker_away);
}

TEST_F(AttemptTest, WhatWasRefusedCanBeSentAgainOnlyWithItsWholeBody) {
  attempt.sent();
  attempt.body_dropped();
  EXPECT_EQ(attempt.cancelled(true), Action::answer);
  EXPECT_EQ(attempt.why(), Unavailable::broker_away);
}

TEST_F(AttemptTest, RefusedAfterEffectsIsUnknown) {
  attempt.sent();
  attempt.effects_announced();
  EXPECT_EQ(attempt.cancelled(true), Action::answer);
  EXPECT_EQ(attempt.why(), Unavailable::outcome_unknown);
}

TEST_F(AttemptTest, CancelledWithinTheAnswerIsCutOff) {
  attempt.sent();
  attempt.response_begun();
  EXPECT_EQ(attempt.cancelled(false), Action::cut_off);
}

}  // namespace
}  // namespace postern::worker
