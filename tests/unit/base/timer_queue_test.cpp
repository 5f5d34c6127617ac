// TimerQueue with a ManualClock: order, cancellation, callbacks that change the queue.
#include "postern/base/timer_queue.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <vector>

namespace postern {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class TimerQueueTest : public ::testing::Test {
 protected:
  ManualClock clock_;
  TimerQueue queue_{clock_};
  std::vector<int> ran_;

  TimerId add(Duration after, int tag) {
    return queue_.add_after(after, [this, tag] { ran_.push_back(tag); });
  }
};

TEST_F(TimerQueueTest, RunsInOrderOfDeadlineThenOfAdding) {
  add(seconds(3), 3);
  add(seconds(1), 1);
  add(seconds(2), 20);
  add(seconds(2), 21);
  EXPECT_EQ(queue_.size(), 4U);
  EXPECT_EQ(queue_.next(), clock_.now() + seconds(1));
  EXPECT_EQ(queue_.run_due(), 0U);
  clock_.advance(seconds(2));
  EXPECT_EQ(queue_.run_due(), 3U);
  EXPECT_EQ(ran_, (std::vector{1, 20, 21}));
  clock_.advance(seconds(1));
  EXPECT_EQ(queue_.run_due(), 1U);
  EXPECT_EQ(queue_.next(), std::nullopt);
  EXPECT_EQ(queue_.size(), 0U);
}

TEST_F(TimerQueueTest, DueExactlyAtItsDeadlineAndNotBefore) {
  add(seconds(1), 1);
  clock_.advance(seconds(1) - Duration(1));
  EXPECT_EQ(queue_.run_due(), 0U);
  clock_.advance(Duration(1));
  EXPECT_EQ(queue_.run_due(), 1U);
}

TEST_F(TimerQueueTest, CancelTellsWhetherItWasStillThere) {
  const TimerId id = add(seconds(1), 1);
  EXPECT_NE(id, 0U);
  EXPECT_TRUE(queue_.cancel(id));
  EXPECT_FALSE(queue_.cancel(id));
  EXPECT_FALSE(queue_.cancel(0));
  const TimerId run = add(seconds(1), 2);
  clock_.advance(seconds(1));
  queue_.run_due();
  EXPECT_FALSE(queue_.cancel(run));
  EXPECT_EQ(ran_, (std::vector{2}));
}

TEST_F(TimerQueueTest, CallbackCancelsAnotherThatIsDueAndCannotCancelItself) {
  TimerId self = 0, other = 0;
  bool cancelled_self = true, cancelled_other = false;
  self = queue_.add_after(seconds(1), [&] {
    cancelled_self = queue_.cancel(self);
    cancelled_other = queue_.cancel(other);
  });
  other = add(seconds(1), 9);
  clock_.advance(seconds(1));
  EXPECT_EQ(queue_.run_due(), 1U);
  EXPECT_FALSE(cancelled_self);
  EXPECT_TRUE(cancelled_other);
  EXPECT_TRUE(ran_.empty());
}

TEST_F(TimerQueueTest, CallbackThatAddsADueTimerDoesNotLoop) {
  int count = 0;
  std::function<void()> again = [&] {
    ++count;
    queue_.add(clock_.now(), again);
  };
  queue_.add(clock_.now(), again);
  EXPECT_EQ(queue_.run_due(), 1U);
  EXPECT_EQ(count, 1);
  EXPECT_EQ(queue_.run_due(), 1U);
  EXPECT_EQ(count, 2);
  EXPECT_EQ(queue_.size(), 1U);
}

TEST_F(TimerQueueTest, TellsWhenATimerIsEarlierThanAllOthers) {
  int told = 0;
  queue_.on_earlier([&] { ++told; });
  add(seconds(5), 1);
  EXPECT_EQ(told, 1);
  add(seconds(5), 2);
  add(seconds(6), 3);
  EXPECT_EQ(told, 1);
  add(milliseconds(4999), 4);
  EXPECT_EQ(told, 2);
}

}  // namespace
}  // namespace postern
