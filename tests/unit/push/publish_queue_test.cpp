// The order of a front end's queue, what it merges, and its pauses.
#include "postern/push/publish_queue.hpp"

#include <gtest/gtest.h>

#include "support/counting_random.hpp"

namespace postern::push {
namespace {

using namespace std::chrono_literals;

PublishJob publish(std::string channel, DataType type, std::string state) {
  PublishJob job{PublishJob::Kind::publish, std::move(channel), "a", {}, {type}};
  job.states[type] = std::move(state);
  return job;
}

struct PublishQueueTest : ::testing::Test {
  ManualClock clock;
  test::CountingRandom random;
  PublishOptions options;
  PublishQueue queue{options};
};

TEST_F(PublishQueueTest, InOrderOneAtATime) {
  queue.put(publish("x", DataType::email, "1"));
  queue.put(publish("y", DataType::email, "1"));
  EXPECT_EQ(queue.next(clock.now())->channel, "x");
  EXPECT_FALSE(queue.next(clock.now()));
  EXPECT_FALSE(queue.due());
  queue.done();
  EXPECT_EQ(queue.next(clock.now())->channel, "y");
}

TEST_F(PublishQueueTest, TheNewestStateWinsAndTypesAddUp) {
  queue.put(publish("x", DataType::email, "1"));
  queue.put(publish("x", DataType::mailbox, "5"));
  queue.put(publish("x", DataType::email, "2"));
  const auto job = queue.next(clock.now());
  EXPECT_EQ(job->states[DataType::email], "2");
  EXPECT_EQ(job->states[DataType::mailbox], "5");
  EXPECT_EQ(job->types, (TypeSet{DataType::email, DataType::mailbox}));
  queue.done();
  EXPECT_FALSE(queue.next(clock.now()));
}

TEST_F(PublishQueueTest, WhatChangesAChannelIsKnownUntilItIsDone) {
  queue.put({PublishJob::Kind::ask, "x", {}, {}, {}});
  EXPECT_FALSE(queue.changes("x"));
  queue.put(publish("x", DataType::email, "1"));
  queue.put({PublishJob::Kind::remove, "y", {}, {}, {}});
  EXPECT_TRUE(queue.changes("x") && queue.changes("y"));
  EXPECT_FALSE(queue.changes("z"));
  ASSERT_TRUE(queue.next(clock.now()));
  EXPECT_TRUE(queue.changes("x"));
  queue.done();
  EXPECT_FALSE(queue.changes("x"));
  // What is told behind a removal overrules it.
  queue.put(publish("y", DataType::email, "1"));
  EXPECT_EQ(queue.next(clock.now())->kind, PublishJob::Kind::publish);
}

TEST_F(PublishQueueTest, WhatFailedIsTriedAgainWithWhatCameMeanwhile) {
  queue.put(publish("x", DataType::mailbox, "1"));
  ASSERT_TRUE(queue.next(clock.now()));
  queue.put(publish("x", DataType::email, "2"));
  queue.failed(clock.now(), random);
  EXPECT_FALSE(queue.next(clock.now()));
  clock.advance(options.backoff_min);
  const auto job = queue.next(clock.now());
  ASSERT_TRUE(job);
  EXPECT_EQ(job->types, (TypeSet{DataType::email, DataType::mailbox}));
  EXPECT_EQ(queue.size(), 0u);
}

TEST_F(PublishQueueTest, PausesGrowUpToTheirLimitAndEndWithSuccess) {
  queue.put(publish("x", DataType::email, "1"));
  Duration last{};
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(queue.next(clock.now()));
    queue.failed(clock.now(), random);
    const auto pause = *queue.due() - clock.now();
    EXPECT_LE(pause, options.backoff_max);
    if (i < 5) {
      EXPECT_GT(pause, last / 2);
    }
    last = pause;
    clock.advance(pause);
  }
  EXPECT_GE(last, options.backoff_max / 2);
  ASSERT_TRUE(queue.next(clock.now()));
  queue.done();
  queue.put(publish("x", DataType::email, "2"));
  EXPECT_TRUE(queue.next(clock.now()));
}

TEST_F(PublishQueueTest, WhatOneChannelIsRefusedKeepsNobodyElseWaiting) {
  queue.put(publish("x", DataType::email, "1"));
  queue.put(publish("y", DataType::email, "1"));
  ASSERT_EQ(queue.next(clock.now())->channel, "x");
  queue.failed(clock.now(), random);
  clock.advance(options.backoff_min);
  EXPECT_EQ(queue.next(clock.now())->channel, "y");
}

TEST_F(PublishQueueTest, SomebodyFromThereEndsThePause) {
  queue.put(publish("x", DataType::email, "1"));
  ASSERT_TRUE(queue.next(clock.now()));
  queue.failed(clock.now(), random);
  queue.retry_now();
  EXPECT_TRUE(queue.next(clock.now()));
}

TEST_F(PublishQueueTest, AskingGivesWayAndRemovalIsFinal) {
  queue.put({PublishJob::Kind::ask, "x", "a", {}, {}});
  queue.put(publish("x", DataType::email, "1"));
  queue.put({PublishJob::Kind::ask, "x", "a", {}, {}});
  EXPECT_EQ(queue.next(clock.now())->kind, PublishJob::Kind::publish);
  queue.done();
  queue.put(publish("x", DataType::email, "1"));
  queue.put({PublishJob::Kind::remove, "x", "a", {}, {}});
  EXPECT_EQ(queue.next(clock.now())->kind, PublishJob::Kind::remove);
}

TEST_F(PublishQueueTest, NoMoreThanChannelsMax) {
  options.channels_max = 2;
  PublishQueue small(options);
  EXPECT_TRUE(small.put(publish("x", DataType::email, "1")));
  EXPECT_TRUE(small.put(publish("y", DataType::email, "1")));
  EXPECT_FALSE(small.put(publish("z", DataType::email, "1")));
  EXPECT_TRUE(small.put(publish("x", DataType::email, "2")));
}

}  // namespace
}  // namespace postern::push
