// What a request has counted when the process ends in the middle of it and the request comes again; and many threads'
// requests over a real segment, killed at random moments.
#include "postern/limits/tab.hpp"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <csignal>
#include <new>
#include <optional>
#include <random>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/temporary_folder.hpp"

namespace postern::limits {
namespace {

class TabTest : public ::testing::Test {
 protected:
  TabTest() { restart(); }
  void restart() {
    meter_ = std::make_shared<Meter>(cell_, clock_, ++generation_);
    store::UsageTerms terms;
    terms.plan = "small";
    terms.limits[static_cast<std::size_t>(Limit::files_hour)] = most_;
    meter_->set_terms(terms, {}, 0, &totals_);
  }
  void limit(std::uint64_t most) {
    most_ = most;
    restart();
  }
  // What the process does until it is killed: nothing is settled by its end.
  template <typename Work>
  void killed_in(Work work) {
    store::UsageWords at_the_crash;
    {
      std::vector<Reservation> open;
      const auto tab = tab_of(request);
      work(*tab, open);
      at_the_crash = *cell_;
    }
    *cell_ = at_the_crash;
    restart();
  }
  std::shared_ptr<Tab> tab_of(std::uint64_t id) const { return std::make_shared<Tab>(meter_, id); }
  static void spend(Tab& tab, std::uint64_t reserved, std::uint64_t moved, Count count = Count::files) {
    auto granted = tab.reserve(count, reserved);
    ASSERT_TRUE(granted.has_value());
    granted->settle(moved);
  }
  std::uint64_t used(Limit limit = Limit::files_hour) const {
    return Windows(*cell_).used(limit, unix_seconds(clock_.wall()));
  }
  std::uint64_t moved() const { return totals_.moved[static_cast<std::size_t>(Count::files)]; }

  static constexpr std::uint64_t request = 4'711;
  ManualClock clock_;
  store::UsageCell cell_ = std::make_shared<store::UsageWords>();
  PlanTotals totals_;
  std::uint64_t most_ = 1'000;
  unsigned generation_ = 0;
  std::shared_ptr<Meter> meter_;
};

TEST_F(TabTest, CountsWhatMoves) {
  {
    const auto tab = tab_of(request);
    spend(*tab, 100, 80);
    spend(*tab, 50, 70);  // more than was thought
    spend(*tab, 30, 30, Count::received);
    auto open = tab->reserve(Count::files, 10);
    ASSERT_TRUE(open.has_value());
    open->moved(4);
    EXPECT_EQ(used(), 160U);
  }
  EXPECT_EQ(used(), 154U);
  EXPECT_EQ(used(Limit::received_hour), 30U);
  EXPECT_EQ(moved(), 154U);
  EXPECT_EQ(*cell_, [this] {
    auto words = *cell_;
    std::fill_n(words.begin(), store::usage_pending_words, 0);
    return words;
  }()) << "nothing is pending any more";
}

TEST_F(TabTest, ARequestThatComesAgainIsCountedOnce) {
  killed_in([](Tab& tab, std::vector<Reservation>& open) {
    spend(tab, 300, 250);
    open.push_back(std::move(*tab.reserve(Count::files, 400)));
  });
  EXPECT_EQ(used(), 650U) << "what had moved, and what was about to";
  {
    const auto tab = tab_of(request);
    spend(*tab, 300, 250);
    EXPECT_EQ(used(), 650U);
    spend(*tab, 400, 380);
    EXPECT_EQ(used(), 650U);
  }
  EXPECT_EQ(used(), 630U);
  // The same id once more is another request.
  spend(*tab_of(request), 10, 10);
  EXPECT_EQ(used(), 640U);
}

// The work is done and the answer isn't out: what isn't needed is free, what is needed counts once all the same.
TEST_F(TabTest, WhatIsGivenBackBeforeTheEndIsNotGivenBackTwice) {
  const auto attempt = [](Tab& tab, std::vector<Reservation>&) {
    spend(tab, 100, 100);
    tab.give_back();
  };
  killed_in([](Tab& tab, std::vector<Reservation>& open) {
    open.push_back(std::move(*tab.reserve(Count::files, 400)));
  });
  killed_in(attempt);
  EXPECT_EQ(used(), 100U);
  killed_in(attempt);
  EXPECT_EQ(used(), 100U);
  std::vector<Reservation> none;
  attempt(*tab_of(request), none);
  EXPECT_EQ(used(), 100U);
}

TEST_F(TabTest, HoweverOftenItComesAgain) {
  for (int i = 0; i < 3; ++i)
    killed_in([](Tab& tab, std::vector<Reservation>& open) {
      spend(tab, 100, 100);
      auto more = tab.reserve(Count::files, 200);
      more->moved(50);
      open.push_back(std::move(*more));
    });
  EXPECT_EQ(used(), 300U);
  const auto tab = tab_of(request);
  spend(*tab, 100, 100);
  spend(*tab, 200, 200);
  spend(*tab, 50, 50);  // more than the attempts before
  EXPECT_EQ(used(), 350U);
}

TEST_F(TabTest, WhatIsAskedForBesidesIsHeldAgainstTheLimit) {
  limit(500);
  killed_in([](Tab& tab, std::vector<Reservation>& open) {
    open.push_back(std::move(*tab.reserve(Count::files, 400)));
  });
  EXPECT_FALSE(meter_->reserve({amount_of(Count::files, 101)}).has_value()) << "others have what is left";
  const auto tab = tab_of(request);
  const auto refused = tab->reserve(Count::files, 501);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(used(), 400U);
  spend(*tab, 500, 500);
  EXPECT_EQ(used(), 500U);
  EXPECT_FALSE(tab->reserve(Count::files, 1).has_value());
}

TEST_F(TabTest, OnlyTheSameRequestAndTheSameCount) {
  killed_in([](Tab& tab, std::vector<Reservation>& open) {
    open.push_back(std::move(*tab.reserve(Count::files, 400)));
  });
  spend(*tab_of(request + 1), 100, 100);
  spend(*tab_of(request), 100, 100, Count::received);
  EXPECT_EQ(used(), 500U);
  // Who was quicker has it.
  const auto first = tab_of(request), second = tab_of(request);
  spend(*first, 400, 400);
  EXPECT_EQ(used(), 500U);
  spend(*second, 400, 400);
  EXPECT_EQ(used(), 900U);
}

TEST_F(TabTest, AnIdBuysNothingInTheSameProcess) {
  limit(100);
  const auto tab = tab_of(request);
  spend(*tab, 60, 60);
  EXPECT_FALSE(tab_of(request)->reserve(Count::files, 60).has_value());
}

TEST_F(TabTest, WhatIsNeverSentAgainIsNotRemembered) {
  const auto tab = tab_of(0);
  const auto open = tab->reserve(Count::files, 400);
  for (std::size_t i = 0; i < store::usage_pending_words; ++i) EXPECT_EQ((*cell_)[i], 0U);
  EXPECT_EQ(used(), 400U);
}

TEST_F(TabTest, MoreRequestsThanThereArePlacesFor) {
  constexpr std::uint64_t places = store::usage_pending_words / 2;
  {
    std::vector<std::shared_ptr<Tab>> tabs;
    store::UsageWords at_the_crash;
    for (std::uint64_t i = 1; i <= places + 1; ++i) spend(*tabs.emplace_back(tab_of(i)), 10, 10);
    at_the_crash = *cell_;
    tabs.clear();
    *cell_ = at_the_crash;
  }
  restart();
  EXPECT_EQ(used(), (places + 1) * 10);
  for (std::uint64_t i = 1; i <= places; ++i) spend(*tab_of(i), 10, 10);
  EXPECT_EQ(used(), (places + 1) * 10);
  spend(*tab_of(places + 1), 10, 10);
  EXPECT_EQ(used(), (places + 2) * 10) << "counted anew";
}

// --- Threads, killed ---

constexpr unsigned thread_count = 3;
constexpr std::uint64_t parts = 30, slack = 20, part_max = 50;

// What each part of each thread's requests moves.
std::uint64_t amount_of_part(unsigned thread, std::uint64_t request, std::uint64_t part) {
  return 1 + (thread * 31 + request * 17 + part * 7) % part_max;
}
std::uint64_t amount_of_request(unsigned thread, std::uint64_t request) {
  std::uint64_t sum = 0;
  for (std::uint64_t part = 0; part < parts; ++part) sum += amount_of_part(thread, request, part);
  return sum;
}

// What outlives the process that is killed.
struct Seen {
  std::atomic<std::uint64_t> steps = 0, steps_max = 0;
  // The thread whose step is the last kills them all, wherever the others are then.
  void step() {
    if (++steps == steps_max) ::kill(::getpid(), SIGKILL);
  }
  struct OfThread {
    std::atomic<std::uint64_t> request = 0;  // that is under way
    std::atomic<std::uint64_t> moved = 0;    // of it; or in all, where requests don't come again
  };
  std::array<OfThread, thread_count> threads;
};

class KilledTest : public ::testing::Test {
 protected:
  KilledTest() {
    options_.path = folder_.path() + "/segment";
    options_.sessions_max = options_.redirects_max = 16;
    options_.accounts_max = 4;
    void* shared = ::mmap(nullptr, sizeof(Seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) throw std::runtime_error("mmap");
    seen_ = new (shared) Seen;
  }
  ~KilledTest() override { ::munmap(seen_, sizeof(Seen)); }
  std::unique_ptr<store::SegmentWriter> open() {
    store::RecoveryReport report;
    auto writer = store::SegmentWriter::open(options_, clock_, report);
    return writer ? std::move(*writer) : nullptr;
  }
  std::uint64_t used() {
    const auto writer = open();
    const auto record = writer ? writer->usage(1) : std::nullopt;
    if (!record) return 0;
    auto words = record->words;
    return Windows(words).used(Limit::files_hour, unix_seconds(clock_.wall()));
  }
  // A process with a thread each that runs `work`, killed after so many steps of all together unless it ends before.
  template <typename Work>
  bool kill_after(std::uint64_t steps, unsigned generation, std::uint64_t most, Work work) {
    seen_->steps = 0;
    seen_->steps_max = steps;
    const pid_t child = ::fork();
    if (child == 0) {
      const auto writer = open();
      auto cell = writer ? writer->open_usage(1) : fail(store::Errc::io);
      if (!cell) ::_exit(3);
      const auto meter = std::make_shared<Meter>(*cell, clock_, generation);
      store::UsageTerms terms;
      terms.limits[static_cast<std::size_t>(Limit::files_hour)] = most;
      terms.plan = "small";
      meter->set_terms(terms, {}, 0, nullptr);
      std::vector<std::thread> threads;
      for (unsigned t = 0; t < thread_count; ++t) threads.emplace_back([&, t] { work(*seen_, t, meter); });
      for (auto& thread : threads) thread.join();
      ::_exit(0);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0) << status;
    return WIFSIGNALED(status);
  }
  static std::uint64_t seed() {
    const char* given = std::getenv("POSTERN_TEST_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  }

  test::TemporaryFolder folder_;
  ManualClock clock_;
  store::SegmentOptions options_;
  Seen* seen_ = nullptr;
};

// Requests of many reservations, each begun again by the next process where it was cut off.
constexpr std::uint64_t requests_of_thread = 40;
void run_requests(Seen& seen, unsigned thread, const std::shared_ptr<Meter>& meter) {
  auto& mine = seen.threads[thread];
  while (mine.request < requests_of_thread) {
    const auto number = mine.request.load();
    const auto tab = std::make_shared<Tab>(meter, 1 + thread * 1'000 + number);
    mine.moved = 0;
    for (std::uint64_t part = 0; part < parts; ++part) {
      const auto amount = amount_of_part(thread, number, part);
      auto granted = tab->reserve(Count::files, amount + slack);
      if (!granted) ::_exit(4);
      mine.moved += amount;
      seen.step();
      granted->settle(amount);
      seen.step();
    }
    mine.moved = 0;
    mine.request = number + 1;
  }
}

TEST_F(KilledTest, NothingIsLostAndNothingCountedTwice) {
  const auto number = seed();
  SCOPED_TRACE("POSTERN_TEST_SEED=" + std::to_string(number));
  std::mt19937_64 random(number);
  std::uint64_t kills = 0;
  for (unsigned generation = 1; generation < 1'000; ++generation) {
    // So early as well that a request is cut off several times.
    if (!kill_after(1 + random() % 300, generation, unlimited, run_requests)) break;
    ++kills;
    std::uint64_t moved = 0;
    for (unsigned t = 0; t < thread_count; ++t) {
      const auto& thread = seen_->threads[t];
      moved += thread.moved;
      for (std::uint64_t i = 0; i < thread.request; ++i) moved += amount_of_request(t, i);
    }
    ASSERT_GE(used(), moved) << "after " << kills << " kills";
  }
  std::uint64_t all = 0;
  for (unsigned t = 0; t < thread_count; ++t) {
    ASSERT_EQ(seen_->threads[t].request, requests_of_thread);
    for (std::uint64_t i = 0; i < requests_of_thread; ++i) all += amount_of_request(t, i);
  }
  EXPECT_GT(kills, 10U);
  EXPECT_GE(used(), all);
  // Between two of its writes each thread may leave one reservation too much.
  EXPECT_LE(used(), all + kills * thread_count * (part_max + slack));
}

void run_to_the_limit(Seen& seen, unsigned thread, const std::shared_ptr<Meter>& meter) {
  for (std::uint64_t i = 0; i < 200; ++i) {
    const auto amount = amount_of_part(thread, i, seen.steps);
    auto granted = meter->reserve({amount_of(Count::files, amount + slack)});
    seen.step();
    if (!granted) continue;
    seen.threads[thread].moved += amount;
    seen.step();
    granted->settle(amount);
  }
}

TEST_F(KilledTest, TheLimitHoldsWhateverIsKilled) {
  const auto number = seed();
  SCOPED_TRACE("POSTERN_TEST_SEED=" + std::to_string(number));
  std::mt19937_64 random(number);
  constexpr std::uint64_t most = 20'000;
  std::uint64_t moved = 0;
  for (unsigned generation = 1; generation <= 40; ++generation) {
    kill_after(1 + random() % 200, generation, most, run_to_the_limit);
    moved = 0;
    for (const auto& thread : seen_->threads) moved += thread.moved;
    ASSERT_LE(moved, most);
    ASSERT_GE(used(), moved);
  }
  EXPECT_GT(moved, most / 4) << "the test has come near it";
}

}  // namespace
}  // namespace postern::limits
