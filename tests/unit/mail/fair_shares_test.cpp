// Fair shares of one loop: what others have to wait for while one person's requests take long. In steps of work, which
// are the same on every machine, and by a clock that stands still.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "mail/slices.hpp"
#include "support/loop_fixture.hpp"

namespace postern::mail {
namespace {

// A page that is in memory takes about as long as these steps, in a few turns of the loop: reading the request, the
// account's gate, the methods, writing the answer.
constexpr std::uint64_t page_steps = 15'000;
constexpr unsigned page_turns = 3;
constexpr std::size_t people = 100;

struct FairShares : test::LoopFixture {
  std::uint64_t work = 0;  // steps that anybody has done
  std::vector<std::uint64_t> waited;
  bool over = false;
  std::size_t abusing = 0, slices = 0;

  // One piece of work after the other: with somebody who never ends, the loop is never at rest.
  bool step_until(const std::function<bool()>& condition) {
    for (std::size_t steps = 0; steps < 1'000'000 && !condition(); ++steps) {
      loop.context().restart();
      loop.context().poll_one();
    }
    return condition();
  }
  static io::Task<> page(FairShares& test) {
    const auto begun = test.work;
    for (unsigned turn = 0; turn < page_turns; ++turn) {
      co_await next_turn(test.loop);
      test.work += page_steps / page_turns;
    }
    test.waited.push_back(test.work - begun);
  }
  // One person's request that looks at everything, for as long as the others are there.
  static io::Task<> search(FairShares& test, Lane& lane) {
    ++test.abusing;
    Slices counter;
    while (!test.over) {
      ++test.work;
      if (!counter.over(1)) continue;
      ++test.slices;
      co_await lane.turn();
    }
    --test.abusing;
  }
  // The same by sorting.
  static io::Task<> sort(FairShares& test, Lane& lane) {
    ++test.abusing;
    std::vector<std::uint32_t> all(50'000);
    const auto less = [&test](std::uint32_t a, std::uint32_t b) {
      ++test.work;
      return a < b;
    };
    while (!test.over) {
      std::uint32_t state = 1;
      for (auto& item : all) item = state = state * 1'664'525 + 1'013'904'223;
      co_await sort_in_slices(lane, all, less);
      ++test.slices;
    }
    --test.abusing;
  }
  // The median of what the people wait for, all of them coming at once, or one behind the other.
  std::uint64_t median(bool at_once) {
    waited.clear();
    for (std::size_t i = 0; i < people; ++i) {
      loop.spawn(page(*this));
      if (!at_once) EXPECT_TRUE(step_until([&] { return waited.size() == i + 1; }));
    }
    EXPECT_TRUE(step_until([&] { return waited.size() == people; }));
    std::sort(waited.begin(), waited.end());
    return waited[people / 2];
  }
  void abuse(unsigned requests, Lane& lane) {
    for (unsigned i = 0; i < requests; ++i) loop.spawn(i % 2 == 0 ? search(*this, lane) : sort(*this, lane));
    EXPECT_TRUE(step_until([&] { return abusing == requests && slices > requests; }));
  }
  void end() {
    over = true;
    EXPECT_TRUE(step_until([&] { return abusing == 0; }));
  }
};

TEST_F(FairShares, OneWhoSearchesEverythingHoldsUpAHundredOthersALittle) {
  const auto before = median(true);
  ASSERT_GT(before, people * page_steps / 2);
  Lane lane(loop);
  abuse(8, lane);  // as many as [jmap] max_concurrent_requests lets run at a time
  EXPECT_LT(median(true), before + before / 10);
  end();
}

// The hardest case: nobody else is there, so that a request alone would take its own time and nothing more.
TEST_F(FairShares, WhoComesAloneWaitsForASliceInATurn) {
  const auto before = median(false);
  ASSERT_EQ(before, page_steps);
  Lane lane(loop);
  abuse(8, lane);
  EXPECT_LT(median(false), 2 * before);
  end();
}

TEST_F(FairShares, OfOneAccountEachRequestGetsItsTurn) {
  Lane lane(loop);
  std::vector<unsigned> done(4);
  auto work_on = [](Lane& on, unsigned& count) -> io::Task<> {
    while (count < 100) {
      ++count;
      co_await on.turn();
    }
  };
  for (auto& count : done) loop.spawn(work_on(lane, count));
  ASSERT_TRUE(step_until([&] { return *std::max_element(done.begin(), done.end()) >= 50; }));
  EXPECT_GE(*std::min_element(done.begin(), done.end()), 49u);
  ASSERT_TRUE(step_until([&] { return *std::min_element(done.begin(), done.end()) == 100; }));
}

}  // namespace
}  // namespace postern::mail
