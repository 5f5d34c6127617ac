// A writer killed at any instruction: when the segment is opened again, each record is what it was before the
// operation that was under way, or what that operation makes of it; everything else is as it was.
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include <atomic>
#include <csignal>
#include <map>
#include <new>
#include <vector>

#include "store_support.hpp"

namespace postern::store {
namespace {

constexpr std::uint64_t key_count = 12;
constexpr std::uint32_t operations_max = 4000;

struct Operation {
  enum class Kind { put, reseal, end, counters, redirect } kind;
  std::uint64_t key, value;
};

struct State {
  std::map<std::uint64_t, SessionRecord> sessions;
  std::map<std::uint64_t, StateCounters> counters;
  std::map<std::uint32_t, Place> redirects;  // by the origin's UID
};

class CrashTest : public StoreTest {
 protected:
  static Place place(std::uint64_t uid) { return {3, 7, static_cast<std::uint32_t>(uid)}; }
  static StateCounters counters(std::uint64_t v) { return {v, v, v, v, v, v, v, v}; }

  static std::vector<Operation> operations(std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<Operation> list;
    for (std::uint32_t i = 0; i < operations_max; ++i)
      list.push_back({static_cast<Operation::Kind>(random() % 5), random() % key_count, random() % 1000});
    return list;
  }
  void perform(SegmentWriter& writer, const Operation& op) const {
    switch (op.kind) {
      case Operation::Kind::put: (void)writer.put_session(record(op.key, op.value)); break;
      case Operation::Kind::reseal:
        (void)writer.reseal_session(hash_of(op.key), std::string(op.value, 'r'));
        break;
      case Operation::Kind::end: writer.end_session(hash_of(op.key)); break;
      case Operation::Kind::counters: (void)writer.put_counters(op.key % 8, counters(op.value)); break;
      case Operation::Kind::redirect:
        (void)writer.put_redirect({1, place(op.key % 8), place(100 + op.value)});
        break;
    }
  }
  void perform(State& state, const Operation& op) const {
    switch (op.kind) {
      case Operation::Kind::put: state.sessions[op.key] = record(op.key, op.value); break;
      case Operation::Kind::reseal:
        if (const auto found = state.sessions.find(op.key); found != state.sessions.end())
          found->second.sealed = std::string(op.value, 'r');
        break;
      case Operation::Kind::end: state.sessions.erase(op.key); break;
      case Operation::Kind::counters: state.counters[op.key % 8] = counters(op.value); break;
      case Operation::Kind::redirect:
        state.redirects[static_cast<std::uint32_t>(op.key % 8)] = place(100 + op.value);
        break;
    }
  }
  static bool session_is(const std::optional<SessionRecord>& found, const State& state, std::uint64_t key) {
    const auto expected = state.sessions.find(key);
    if (expected == state.sessions.end()) return !found;
    return found && same(*found, expected->second);
  }
  void expect_either(const SegmentWriter& writer, const State& before, const State& after) const {
    for (std::uint64_t key = 0; key < key_count; ++key) {
      const auto found = writer.find_session(hash_of(key));
      EXPECT_TRUE(session_is(found, before, key) || session_is(found, after, key)) << "session " << key;
      const StateCounters counted = writer.counters(key);
      const auto old_count = before.counters.find(key), new_count = after.counters.find(key);
      EXPECT_TRUE(counted == (old_count == before.counters.end() ? StateCounters{} : old_count->second) ||
                  counted == (new_count == after.counters.end() ? StateCounters{} : new_count->second))
          << "counters " << key;
    }
    std::map<std::uint32_t, Place> redirects;
    for (const Redirect& r : writer.redirects(1)) redirects[r.origin.uid] = r.current;
    EXPECT_TRUE(redirects == before.redirects || redirects == after.redirects);
  }
};

// Kills this process with SIGKILL after that time, wherever it is then.
void arm_kill_timer(long nanoseconds) {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGKILL;
  timer_t timer{};
  itimerspec when{};
  when.it_value.tv_nsec = nanoseconds;
  if (::timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 || ::timer_settime(timer, 0, &when, nullptr) != 0)
    ::_exit(2);
}

TEST_F(CrashTest, KilledAtRandomInstants) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE("POSTERN_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  void* shared = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(shared, MAP_FAILED);
  auto* done = new (shared) std::atomic<std::uint32_t>(0);

  State state;
  std::uint64_t killed = 0, dropped = 0;
  for (int round = 0; round < 300; ++round) {
    const auto list = operations(random());
    const long life_ns = 1 + static_cast<long>(random() % 2'000'000);
    done->store(0);
    const pid_t child = ::fork();
    if (child == 0) {
      // The timer also hits the opening, with its migration and renaming, now and then.
      const bool early = random() % 8 == 0;
      if (early) arm_kill_timer(1 + life_ns / 4);
      auto writer = SegmentWriter::open(options_, clock_, report_);
      if (!writer) ::_exit(3);
      if (!early) arm_kill_timer(life_ns);
      for (const Operation& op : list) {
        perform(**writer, op);
        done->fetch_add(1);
      }
      ::_exit(0);
    }
    random();  // as the child did
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0) << status;
    killed += WIFSIGNALED(status) ? 1 : 0;
    for (std::uint32_t i = 0; i < done->load(); ++i) perform(state, list[i]);
    State after = state;
    if (done->load() < list.size()) perform(after, list[done->load()]);
    const auto writer = open();
    ASSERT_NE(writer, nullptr);
    dropped += report_.sessions_dropped + report_.accounts_dropped + report_.redirects_dropped;
    EXPECT_EQ(report_.discarded_reason, "");
    expect_either(*writer, state, after);
    ASSERT_FALSE(HasFailure()) << "round " << round << ", operation " << done->load();
    // The operation under way may have been done or not: go on from what is there.
    State next = state;
    for (std::uint64_t key = 0; key < key_count; ++key) {
      if (!session_is(writer->find_session(hash_of(key)), state, key)) {
        if (after.sessions.contains(key))
          next.sessions[key] = after.sessions.at(key);
        else
          next.sessions.erase(key);
      }
      if (writer->counters(key) != StateCounters{}) next.counters[key] = writer->counters(key);
    }
    for (const Redirect& r : writer->redirects(1)) next.redirects[r.origin.uid] = r.current;
    state = std::move(next);
  }
  ::munmap(shared, 4096);
  EXPECT_GT(killed, 100U) << "the test must have killed writers";
  RecordProperty("dropped_torn_slots", static_cast<int>(dropped));
}

}  // namespace
}  // namespace postern::store
