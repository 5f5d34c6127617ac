// One message under way, the newest states, and pauses.
#include "postern/push/web_push_queue.hpp"

#include <gtest/gtest.h>

#include "hub_fixture.hpp"
#include "support/counting_random.hpp"

namespace postern::push {
namespace {

struct WebPushQueueTest : ::testing::Test {
  ManualClock clock;
  test::CountingRandom random;
  WebPushPace pace{1s, 5s, 1h};
  WebPushQueue queue{pace};

  void put(const std::string& email, TypeSet types = {DataType::email}) {
    queue.put(HubFixture::states(email), types);
  }
  std::optional<WebPushQueue::Message> next() { return queue.next(clock.now()); }
  void ended(WebPushOutcome outcome, std::optional<Duration> retry_after = std::nullopt) {
    queue.ended(outcome, retry_after, clock.now(), random);
  }
};

TEST_F(WebPushQueueTest, OneUnderWayAndTheNewestBehindIt) {
  EXPECT_FALSE(next());
  EXPECT_FALSE(queue.due());
  put("1");
  const auto first = next();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->states[DataType::email], "1");
  put("2");
  put("3", {DataType::mailbox});
  clock.advance(1min);
  EXPECT_FALSE(next());
  EXPECT_FALSE(queue.due());
  ended(WebPushOutcome::sent);
  const auto second = next();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->states[DataType::email], "3");
  EXPECT_EQ(second->types, (TypeSet{DataType::email, DataType::mailbox}));
}

TEST_F(WebPushQueueTest, APauseBetweenTwo) {
  put("1");
  ASSERT_TRUE(next());
  put("2");
  ended(WebPushOutcome::sent);
  EXPECT_FALSE(next());
  EXPECT_EQ(queue.due(), clock.now() + pace.interval);
  clock.advance(pace.interval);
  EXPECT_TRUE(next());
}

TEST_F(WebPushQueueTest, TypesThatAreNotWantedAnyMoreAreNotSent) {
  put("1", {DataType::email, DataType::mailbox});
  auto message = queue.next(clock.now(), {DataType::mailbox});
  ASSERT_TRUE(message);
  EXPECT_EQ(message->types, TypeSet{DataType::mailbox});
  // Nor with what is tried again; and nothing is due where nothing is left.
  ended(WebPushOutcome::again);
  EXPECT_TRUE(queue.due());
  clock.advance(pace.retry_min);
  EXPECT_FALSE(queue.next(clock.now(), {DataType::email}));
  EXPECT_FALSE(queue.due());
  EXPECT_FALSE(next());
}

TEST_F(WebPushQueueTest, WhatFailedIsTriedAgainWithWhatIsNew) {
  put("1", {DataType::email});
  ASSERT_TRUE(next());
  put("2", {DataType::mailbox});
  ended(WebPushOutcome::again);
  EXPECT_FALSE(next());
  clock.advance(pace.retry_min);
  const auto again = next();
  ASSERT_TRUE(again);
  EXPECT_EQ(again->states[DataType::email], "2");
  EXPECT_EQ(again->types, (TypeSet{DataType::email, DataType::mailbox}));
}

TEST_F(WebPushQueueTest, PausesGrowUpToTheLongest) {
  put("1");
  Duration last{};
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(next());
    ended(WebPushOutcome::again);
    const auto pause = *queue.due() - clock.now();
    EXPECT_LE(pause, pace.retry_max);
    EXPECT_GE(pause, std::min(last, pace.retry_max * 3 / 4));
    last = pause;
    clock.advance(pause);
  }
  EXPECT_GE(last, pace.retry_max * 3 / 4);
  ASSERT_TRUE(next());
  ended(WebPushOutcome::sent);
  put("2");
  clock.advance(pace.interval);
  ASSERT_TRUE(next());
  ended(WebPushOutcome::again);
  EXPECT_LE(*queue.due() - clock.now(), pace.retry_min);
}

TEST_F(WebPushQueueTest, TheServicesOwnWordCounts) {
  put("1");
  ASSERT_TRUE(next());
  ended(WebPushOutcome::again, 2h);
  EXPECT_EQ(queue.due(), clock.now() + 2h);
  clock.advance(2h);
  ASSERT_TRUE(next());
  put("2");
  ended(WebPushOutcome::sent, 1min);
  EXPECT_EQ(queue.due(), clock.now() + 1min);
}

TEST_F(WebPushQueueTest, WhatIsRefusedIsNotTriedAgain) {
  put("1");
  ASSERT_TRUE(next());
  ended(WebPushOutcome::refused);
  EXPECT_FALSE(queue.due());
  put("2");
  EXPECT_FALSE(next());
  clock.advance(pace.retry_min);
  EXPECT_TRUE(next());
}

}  // namespace
}  // namespace postern::push
