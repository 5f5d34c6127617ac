// A worker's view: liveness, replacement of the segment, and readers beside a busy writer, as threads and as
// processes.
#include <sys/mman.h>
#include <sys/wait.h>

#include <atomic>
#include <new>
#include <thread>
#include <vector>

#include "store_support.hpp"

namespace postern::store {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class ReaderTest : public StoreTest {
 protected:
  std::unique_ptr<SegmentReader> reader() { return SegmentReader::open(options_.path, clock_); }
};

TEST_F(ReaderTest, SaysWhatASessionIs) {
  const auto writer = open();
  ASSERT_TRUE(writer->put_session(record(1)).has_value());
  const auto r = reader();
  EXPECT_EQ(r->liveness(hash_of(1)), Liveness::live);
  EXPECT_EQ(r->liveness(hash_of(2)), Liveness::unknown_token);
  ASSERT_TRUE(writer->put_session(record(2)).has_value());
  EXPECT_EQ(r->liveness(hash_of(2)), Liveness::live);
  writer->end_session(hash_of(1));
  EXPECT_EQ(r->liveness(hash_of(1)), Liveness::unknown_token);
  clock_.advance(seconds(1800 + 59));
  EXPECT_EQ(r->liveness(hash_of(2)), Liveness::live);
  clock_.advance(seconds(1));
  EXPECT_EQ(r->liveness(hash_of(2)), Liveness::expired);
  writer->expire_sessions();
  EXPECT_EQ(r->liveness(hash_of(2)), Liveness::unknown_token);
}

TEST_F(ReaderTest, SeesDraining) {
  const auto r = reader();
  EXPECT_FALSE(r->draining());
  const auto writer = open();
  clock_.advance(milliseconds(100));
  EXPECT_FALSE(r->draining());
  writer->set_draining(true);
  EXPECT_TRUE(r->draining());
  writer->set_draining(false);
  EXPECT_FALSE(r->draining());
}

TEST_F(ReaderTest, LooksForAMissingSegmentNowAndThen) {
  const auto r = reader();
  EXPECT_EQ(r->liveness(hash_of(1)), Liveness::no_segment);
  const auto writer = open();
  ASSERT_TRUE(writer->put_session(record(1)).has_value());
  EXPECT_EQ(r->liveness(hash_of(1)), Liveness::no_segment) << "it has just looked";
  clock_.advance(milliseconds(99));
  EXPECT_EQ(r->liveness(hash_of(1)), Liveness::no_segment);
  clock_.advance(milliseconds(1));
  EXPECT_EQ(r->liveness(hash_of(1)), Liveness::live);
}

TEST_F(ReaderTest, FollowsReplacementsAtOnce) {
  auto writer = open();
  const auto r = reader();
  for (std::uint64_t i = 0; i < 10; ++i) {
    ASSERT_TRUE(writer->put_session(record(i)).has_value());
    writer.reset();
    EXPECT_EQ(r->liveness(hash_of(i)), Liveness::live) << "without a broker, the segment is still right";
    options_.sessions_max = static_cast<std::uint32_t>(16 + i * 100);
    writer = open();
    for (std::uint64_t k = 0; k <= i; ++k) EXPECT_EQ(r->liveness(hash_of(k)), Liveness::live);
    writer->end_session(hash_of(i));
    EXPECT_EQ(r->liveness(hash_of(i)), Liveness::unknown_token);
    ASSERT_TRUE(writer->put_session(record(i)).has_value());
  }
}

TEST_F(ReaderTest, FileRemovedOrTruncatedUnderneath) {
  const auto writer = open();
  ASSERT_TRUE(writer->put_session(record(1)).has_value());
  const auto r = reader();
  const auto size = std::filesystem::file_size(options_.path);
  const std::string bytes = read_file(options_.path);
  ASSERT_EQ(::truncate(options_.path.c_str(), 4096), 0);
  EXPECT_EQ(r->liveness(hash_of(1)), Liveness::no_segment);
  EXPECT_FALSE(r->draining());
  ASSERT_EQ(::truncate(options_.path.c_str(), static_cast<off_t>(size)), 0);
  EXPECT_EQ(r->liveness(hash_of(1)), Liveness::unknown_token) << "zeros hold no session";
  std::filesystem::remove(options_.path);
  EXPECT_EQ(r->liveness(hash_of(1)), Liveness::no_segment);
  write_file(options_.path, bytes);
  clock_.advance(milliseconds(100));
  EXPECT_EQ(r->liveness(hash_of(1)), Liveness::live);
}

TEST_F(ReaderTest, FilesThatAreNoSegment) {
  for (const std::string& bytes : {std::string(), std::string("x"), std::string(100'000, 'P')}) {
    write_file(options_.path, bytes);
    const auto r = reader();
    EXPECT_EQ(r->liveness(hash_of(1)), Liveness::no_segment);
    EXPECT_FALSE(r->draining());
  }
}

TEST_F(ReaderTest, MappingIsReadOnly) {
  const auto writer = open();
  ASSERT_TRUE(writer->put_session(record(1)).has_value());
  writer.get();
  const pid_t child = ::fork();  // in a process of its own, whose maps hold no writer's mapping
  if (child == 0) {
    const auto r = SegmentReader::open(options_.path, clock_);
    if (r->liveness(hash_of(1)) != Liveness::live) ::_exit(2);
    std::ifstream maps("/proc/self/maps");
    int mine = 0, writable = 0;
    for (std::string line; std::getline(maps, line);) {
      if (line.find(options_.path) == std::string::npos) continue;
      ++mine;
      if (line.find(" rw-s ") != std::string::npos) ++writable;
    }
    ::_exit(mine == 2 && writable == 1 ? 0 : 1);  // the writer's, inherited, and the reader's
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

// A writer that was killed in the middle of a slot or of the index: readers don't hang, the broker decides.
TEST_F(ReaderTest, LeftInTheMiddleOfAWrite) {
  {
    const auto writer = open();
    ASSERT_TRUE(writer->put_session(record(1)).has_value());
  }
  const std::string bytes = read_file(options_.path);
  std::string in_index = bytes;
  in_index[1024] = '\x01';  // the index sequence, odd
  write_file(options_.path, in_index);
  {
    const auto r = reader();
    EXPECT_EQ(r->liveness(hash_of(1)), Liveness::live);
    EXPECT_EQ(r->liveness(hash_of(2)), Liveness::no_segment);
  }
  std::string in_slot = bytes;
  in_slot[8192 + 4096] = '\x03';  // the first session's sequence, odd
  write_file(options_.path, in_slot);
  EXPECT_EQ(reader()->liveness(hash_of(1)), Liveness::no_segment);
}

// Sessions 0..7 stay and change; 8..15 come and go; 100 and more never are.
class ChurnTest : public ReaderTest {
 protected:
  void SetUp() override {
    options_.sessions_max = 24;
    writer_ = open();
    for (std::uint64_t i = 0; i < 8; ++i) ASSERT_TRUE(writer_->put_session(record(i)).has_value());
  }
  void churn(std::mt19937_64& random, int steps) {
    for (int step = 0; step < steps; ++step) {
      const std::uint64_t key = random() % 16;
      if (key < 8) {
        ASSERT_TRUE(writer_->put_session(record(key, random() % 50)).has_value());
      } else if (random() % 2 == 0) {
        ASSERT_TRUE(writer_->put_session(record(key, random() % 50)).has_value());
      } else {
        writer_->end_session(hash_of(key));
      }
    }
  }
  // True if what is read is right in every state between two changes.
  static bool liveness_right(SegmentReader& r, std::uint64_t key, std::uint64_t& undecided) {
    const Liveness liveness = r.liveness(hash_of(key));
    if (liveness == Liveness::no_segment) ++undecided;
    if (key < 8) return liveness == Liveness::live || liveness == Liveness::no_segment;
    if (key >= 100) return liveness == Liveness::unknown_token || liveness == Liveness::no_segment;
    return liveness != Liveness::expired;
  }
  bool record_right(const std::optional<SessionRecord>& found, std::uint64_t key) const {
    if (!found) return key >= 8;
    return key < 100 && same(*found, record(key, found->flags));
  }
  std::unique_ptr<SegmentWriter> writer_;
};

TEST_F(ChurnTest, Threads) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE("POSTERN_TEST_SEED=" + std::to_string(seed));
  const auto r = reader();
  std::atomic<bool> stop = false;
  std::atomic<std::uint64_t> wrong = 0, reads = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&, t] {
      std::mt19937_64 random(seed + static_cast<std::uint64_t>(t));
      std::uint64_t undecided = 0;
      while (!stop.load()) {
        const std::uint64_t pick = random() % 20;
        const std::uint64_t key = pick < 16 ? pick : 100 + pick;
        if (!liveness_right(*r, key, undecided)) ++wrong;
        if (!record_right(writer_->find_session(hash_of(key)), key)) ++wrong;
        writer_->touch_session(hash_of(key));
        ++reads;
      }
    });
  std::mt19937_64 random(seed);
  churn(random, 20'000);
  while (reads.load() < 1000) churn(random, 100);
  stop.store(true);
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0U);
}

TEST_F(ChurnTest, Processes) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE("POSTERN_TEST_SEED=" + std::to_string(seed));
  struct Shared {
    std::atomic<bool> stop = false;
    std::atomic<std::uint64_t> wrong = 0, reads = 0;
  };
  void* memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* shared = new (memory) Shared;
  std::vector<pid_t> children;
  for (std::uint64_t c = 0; c < 2; ++c) {
    const pid_t child = ::fork();
    if (child == 0) {
      const auto r = reader();
      std::mt19937_64 random(seed + c);
      std::uint64_t undecided = 0;
      while (!shared->stop.load()) {
        const std::uint64_t pick = random() % 20;
        if (!liveness_right(*r, pick < 16 ? pick : 100 + pick, undecided)) ++shared->wrong;
        ++shared->reads;
      }
      ::_exit(0);
    }
    children.push_back(child);
  }
  std::mt19937_64 random(seed);
  churn(random, 20'000);
  // New segments beside them, too. (The lock is this process's; the children hold copies of its descriptor,
  // so it is handed over, as an upgrade does.)
  for (int round = 0; round < 20 || shared->reads.load() < 1000; ++round) {
    options_.lock_fd = ::dup(writer_->lock_fd());
    writer_.reset();
    writer_ = open();
    ASSERT_NE(writer_, nullptr);
    churn(random, 200);
  }
  shared->stop.store(true);
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(shared->wrong.load(), 0U);
  ::munmap(memory, 4096);
}

TEST_F(ChurnTest, ThreadsAcrossReplacement) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE("POSTERN_TEST_SEED=" + std::to_string(seed));
  const auto r = reader();
  std::atomic<bool> stop = false;
  std::atomic<std::uint64_t> wrong = 0, live = 0;
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 3; ++t)
    threads.emplace_back([&, t] {
      std::mt19937_64 random(seed + t);
      std::uint64_t undecided = 0;
      while (!stop.load()) {
        const std::uint64_t key = random() % 8;
        const std::uint64_t before = undecided;
        if (!liveness_right(*r, key, undecided)) ++wrong;
        if (undecided == before) ++live;
      }
    });
  for (int round = 0; round < 50; ++round) {
    writer_.reset();
    writer_ = open();
    const std::uint64_t before = live.load();
    while (live.load() < before + 10)
      std::this_thread::yield();  // they all found the new one, or had the old
  }
  stop.store(true);
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0U);
}

}  // namespace
}  // namespace postern::store
