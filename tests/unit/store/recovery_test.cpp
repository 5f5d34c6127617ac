// What is kept and what is dropped when a segment is opened again: truncated, with flipped bits, of another
// version, owner or size, on a full disk, in use. Whatever is returned is exactly what was put.
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <cstring>
#include <functional>
#include <set>
#include <vector>

#include "store/crc32c.hpp"
#include "store/segment_format.hpp"
#include "store_support.hpp"

namespace postern::store {
namespace {

class RecoveryTest : public StoreTest {
 protected:
  static constexpr std::uint64_t sessions = 10, accounts = 5;
  static constexpr std::uint32_t redirects = 6;

  static StateCounters counters(std::uint64_t n) { return {n, n * 2, n * 3, n, n, n, n, n}; }
  static Redirect redirect(std::uint32_t n) { return {1, {1, 7, n}, {2, 7, n}}; }

  void fill(SegmentWriter& writer) {
    for (std::uint64_t i = 0; i < sessions; ++i) ASSERT_TRUE(writer.put_session(record(i)).has_value());
    for (std::uint64_t i = 1; i <= accounts; ++i)
      ASSERT_TRUE(writer.put_counters(i, counters(i)).has_value());
    for (std::uint32_t i = 0; i < redirects; ++i) ASSERT_TRUE(writer.put_redirect(redirect(i)).has_value());
  }
  std::string filled_file() {
    const auto writer = open();
    fill(*writer);
    return read_file(options_.path);
  }
  struct Kept {
    std::uint64_t sessions = 0, accounts = 0, redirects = 0;
    std::uint64_t all() const { return sessions + accounts + redirects; }
  };
  // Counts what is there, and fails on anything that is not what was put.
  Kept check(const SegmentWriter& writer) {
    Kept kept;
    for (std::uint64_t i = 0; i < sessions; ++i)
      if (const auto found = writer.find_session(hash_of(i))) {
        EXPECT_TRUE(same(*found, record(i))) << i;
        ++kept.sessions;
      }
    std::uint64_t visited = 0;
    writer.for_each_session([&](const SessionRecord&) { ++visited; });
    EXPECT_EQ(visited, kept.sessions);
    for (std::uint64_t i = 1; i <= accounts; ++i) {
      const StateCounters found = writer.counters(i);
      if (found == StateCounters{}) continue;
      EXPECT_EQ(found, counters(i));
      ++kept.accounts;
    }
    for (const Redirect& r : writer.redirects(1)) {
      EXPECT_EQ(r, redirect(r.origin.uid));
      ++kept.redirects;
    }
    return kept;
  }
  static constexpr std::uint64_t all = sessions + accounts + redirects;
};

TEST_F(RecoveryTest, EmptyAndForeignFiles) {
  const std::pair<std::string, const char*> files[] = {
      {"", "too short"},
      {"x", "too short"},
      {std::string(1023, 'P'), "too short"},
      {std::string(100'000, '\0'), "no segment header"},
      {"#!/bin/sh\n" + std::string(100'000, 'x'), "no segment header"},
  };
  for (const auto& [bytes, reason] : files) {
    write_file(options_.path, bytes);
    const auto writer = open();
    EXPECT_TRUE(report_.created);
    EXPECT_NE(report_.discarded_reason.find(reason), std::string::npos) << report_.discarded_reason;
    fill(*writer);
    EXPECT_EQ(check(*writer).all(), all);
  }
}

TEST_F(RecoveryTest, TruncatedAtManyLengths) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE("POSTERN_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const std::string bytes = filled_file();
  std::set<std::size_t> lengths = {
      0, 1, sizeof(HeaderFixed) - 1, sizeof(HeaderFixed), header_bytes, tables_offset};
  for (std::size_t length = 0; length <= bytes.size(); length += 512) lengths.insert(length);
  for (int i = 0; i < 200; ++i) lengths.insert(random() % bytes.size());
  lengths.insert(bytes.size());
  std::uint64_t before = 0;
  for (const std::size_t length : lengths) {
    write_file(options_.path, std::string_view(bytes).substr(0, length));
    const auto writer = open();
    ASSERT_NE(writer, nullptr);
    const Kept kept = check(*writer);
    EXPECT_EQ(kept.sessions, report_.sessions_kept);
    EXPECT_GE(kept.all(), before) << "a longer file has no less, at " << length;
    before = kept.all();
    EXPECT_EQ(report_.discarded_reason.empty(), length == bytes.size()) << length;
    if (length >= sizeof(HeaderFixed) && length < bytes.size())
      EXPECT_NE(report_.discarded_reason.find("truncated to " + std::to_string(length)), std::string::npos);
  }
  EXPECT_EQ(before, all);
}

TEST_F(RecoveryTest, OneFlippedBitLosesAtMostOneRecord) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE("POSTERN_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const std::string bytes = filled_file();
  std::uint64_t lost = 0;
  const auto try_bit = [&](std::size_t bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    write_file(options_.path, flipped);
    const auto writer = open();
    ASSERT_NE(writer, nullptr);
    const Kept kept = check(*writer);
    ASSERT_GE(kept.all(), all - 1) << "bit " << bit;
    lost += all - kept.all();
    // The file is whole again.
    ASSERT_TRUE(writer->put_session(record(50)).has_value());
  };
  // Every bit of what isn't zero would take minutes; a few thousand of them, and some of the rest.
  for (std::size_t at = 0; at < bytes.size(); ++at)
    if (bytes[at] != 0 && random() % 4 == 0) try_bit(at * 8 + random() % 8);
  for (int i = 0; i < 500; ++i) try_bit(random() % (bytes.size() * 8));
  EXPECT_GT(lost, 50U) << "the test must have hit records";
}

TEST_F(RecoveryTest, ManyFlippedBits) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE("POSTERN_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const std::string bytes = filled_file();
  for (int round = 0; round < 200; ++round) {
    std::string flipped = bytes;
    for (std::uint64_t i = 0, count = 1ULL << random() % 16; i < count; ++i) {
      const std::size_t bit = header_bytes * 8 + random() % ((bytes.size() - header_bytes) * 8);
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    }
    write_file(options_.path, flipped);
    const auto writer = open();
    ASSERT_NE(writer, nullptr);
    check(*writer);
  }
}

// The same under a running broker and worker: a damaged record isn't there, and nothing else is wrong.
TEST_F(RecoveryTest, BitsFlippedWhileInUse) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE("POSTERN_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const auto writer = open();
  fill(*writer);
  const auto reader = SegmentReader::open(options_.path, clock_);
  const std::string bytes = read_file(options_.path);
  // Sessions and their blocks, with the index: what is read in place.
  const Layout layout = *layout_for(options_);
  const int fd = ::open(options_.path.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  std::uint64_t lost = 0;
  for (std::size_t at = tables_offset; at < layout.counters.offset; ++at) {
    if (bytes[at] == 0 && random() % 64 != 0) continue;
    const char flipped = static_cast<char>(bytes[at] ^ (1 << random() % 8));
    ASSERT_EQ(::pwrite(fd, &flipped, 1, static_cast<off_t>(at)), 1);
    for (std::uint64_t i = 0; i < sessions; ++i) {
      const auto found = writer->find_session(hash_of(i));
      if (found)
        ASSERT_TRUE(same(*found, record(i)));
      else
        ++lost;
      const Liveness liveness = reader->liveness(hash_of(i));
      ASSERT_NE(liveness, Liveness::expired);
      if (found) ASSERT_EQ(liveness, Liveness::live);
    }
    ASSERT_EQ(::pwrite(fd, &bytes[at], 1, static_cast<off_t>(at)), 1);
  }
  ::close(fd);
  EXPECT_GT(lost, 50U);
  EXPECT_EQ(check(*writer).all(), all);
}

TEST_F(RecoveryTest, DamagedHeaderIsReadFromItsCopy) {
  std::string bytes = filled_file();
  bytes[20] = '\x7f';
  write_file(options_.path, bytes);
  const auto reader = SegmentReader::open(options_.path, clock_);
  EXPECT_EQ(reader->liveness(hash_of(1)), Liveness::live);
  const auto writer = open();
  EXPECT_FALSE(report_.created);
  EXPECT_NE(report_.discarded_reason.find("copy"), std::string::npos) << report_.discarded_reason;
  EXPECT_EQ(check(*writer).all(), all);
}

TEST_F(RecoveryTest, AnotherVersionIsReplaced) {
  for (const std::uint32_t version : {0U, segment_format_version + 1}) {
    std::string bytes = filled_file();
    HeaderFixed header;
    std::memcpy(&header, bytes.data(), sizeof header);
    header.version = version;
    header.checksum = crc32c(&header, offsetof(HeaderFixed, checksum));
    std::memcpy(bytes.data(), &header, sizeof header);
    std::memcpy(bytes.data() + header_bytes, &header, sizeof header);
    write_file(options_.path, bytes);
    const auto reader = SegmentReader::open(options_.path, clock_);
    EXPECT_EQ(reader->liveness(hash_of(1)), Liveness::no_segment);
    const auto writer = open();
    EXPECT_TRUE(report_.created);
    EXPECT_NE(report_.discarded_reason.find("version " + std::to_string(version)), std::string::npos);
    EXPECT_EQ(check(*writer).all(), 0U);
    std::filesystem::remove(options_.path);
  }
}

// Version 1 is the same without the table of use, which is the last one, and without limits of bodies.
TEST_F(RecoveryTest, FirstVersionIsTakenOver) {
  std::string bytes = filled_file();
  HeaderFixed header;
  std::memcpy(&header, bytes.data(), sizeof header);
  header.version = 1;
  header.file_bytes = header.tables[5].offset;
  header.tables[5] = {};
  header.table_count = 5;
  header.checksum = crc32c(&header, offsetof(HeaderFixed, checksum));
  std::memcpy(bytes.data(), &header, sizeof header);
  std::memcpy(bytes.data() + header_bytes, &header, sizeof header);
  bytes.resize(header.file_bytes);
  write_file(options_.path, bytes);
  const auto reader = SegmentReader::open(options_.path, clock_);
  EXPECT_EQ(reader->liveness(hash_of(1)), Liveness::live);
  EXPECT_FALSE(reader->usage(hash_of(1)).has_value() || reader->body_limits().has_value());
  const auto writer = open();
  EXPECT_FALSE(report_.created);
  EXPECT_EQ(report_.discarded_reason, "");
  EXPECT_EQ(check(*writer).all(), all);
}

TEST_F(RecoveryTest, OtherSizesAreMigrated) {
  filled_file();
  options_.sessions_max = 1000;
  options_.accounts_max = 500;
  options_.redirects_max = 100;
  {
    const auto writer = open();
    EXPECT_FALSE(report_.created);
    EXPECT_EQ(report_.discarded_reason, "");
    EXPECT_EQ(check(*writer).all(), all);
    EXPECT_EQ(writer->use().sessions_max, 1000U);
  }
  options_.sessions_max = 4;  // the most recently used stay
  options_.accounts_max = 2;  // and the latest
  options_.redirects_max = 3;
  {
    clock_.advance(std::chrono::seconds(100));
    options_.sessions_max = 10;
    const auto writer = open();
    for (const std::uint64_t i : {1, 4, 7, 9}) writer->touch_session(hash_of(i));
    options_.sessions_max = 4;
  }
  const auto writer = open();
  EXPECT_EQ(report_.sessions_kept, 4U);
  EXPECT_EQ(report_.sessions_dropped, 6U);
  EXPECT_EQ(writer->use().accounts, 2U);
  EXPECT_EQ(writer->use().redirects, 3U);
  for (std::uint64_t i = 0; i < sessions; ++i)
    EXPECT_EQ(writer->find_session(hash_of(i)).has_value(), i == 1 || i == 4 || i == 7 || i == 9);
  EXPECT_EQ(writer->counters(accounts), counters(accounts));
  EXPECT_EQ(writer->counters(1), StateCounters{});
  EXPECT_EQ(writer->redirects(1).back(), redirect(redirects - 1));
  EXPECT_EQ(writer->put_session(record(70)).error().code, Errc::full);
}

TEST_F(RecoveryTest, ExpiredOnesAreNeitherKeptNorDropped) {
  filled_file();
  clock_.advance(std::chrono::seconds(3600));
  const auto writer = open();
  EXPECT_EQ(report_.sessions_expired, sessions);
  EXPECT_EQ(report_.sessions_kept + report_.sessions_dropped, 0U);
  EXPECT_EQ(report_.accounts_kept, accounts);
}

// A crash between writing the new slot and freeing the old leaves both: the newer counts.
TEST_F(RecoveryTest, OfTwoSlotsForOneThingTheNewerIsKept) {
  std::string older, newer;
  Layout layout = *layout_for(options_);
  {
    const auto writer = open();
    ASSERT_TRUE(writer->put_session(record(1)).has_value());
    ASSERT_TRUE(writer->put_counters(1, counters(1)).has_value());
    older = read_file(options_.path);
    ASSERT_TRUE(writer->put_session(record(1, 1)).has_value());
    ASSERT_TRUE(writer->put_counters(1, counters(2)).has_value());
    newer = read_file(options_.path);
  }
  // Slot 0 and its block as they were before, slot 1 as it is.
  newer.replace(layout.sessions.offset, sizeof(SessionSlot), older, layout.sessions.offset,
                sizeof(SessionSlot));
  newer.replace(layout.counters.offset, sizeof(CounterSlot), older, layout.counters.offset,
                sizeof(CounterSlot));
  newer.replace(layout.blocks.offset, sizeof(Block), older, layout.blocks.offset, sizeof(Block));
  write_file(options_.path, newer);
  const auto writer = open();
  EXPECT_TRUE(same(*writer->find_session(hash_of(1)), record(1, 1)));
  EXPECT_EQ(writer->counters(1), counters(2));
  EXPECT_EQ(writer->use().sessions, 1U);
}

TEST_F(RecoveryTest, WhatIsNotOursAloneIsNotRead) {
  const std::string bytes = filled_file();
  ::chmod(options_.path.c_str(), 0660);
  {
    const auto writer = open();
    EXPECT_EQ(report_.discarded_reason, "writable for others");
    EXPECT_EQ(check(*writer).all(), 0U);
  }
  write_file(directory_ + "/elsewhere", bytes);
  std::filesystem::remove(options_.path);
  std::filesystem::create_symlink(directory_ + "/elsewhere", options_.path);
  {
    const auto writer = open();
    EXPECT_EQ(report_.discarded_reason, "a symbolic link");
    EXPECT_EQ(check(*writer).all(), 0U);
    EXPECT_EQ(read_file(directory_ + "/elsewhere"), bytes);
    EXPECT_FALSE(std::filesystem::is_symlink(options_.path));
  }
  std::filesystem::remove(options_.path);
  ASSERT_EQ(::mkfifo(options_.path.c_str(), 0600), 0);
  {
    const auto writer = open();
    EXPECT_EQ(report_.discarded_reason, "not a regular file");
  }
  if (::geteuid() != 0) GTEST_SKIP() << "another owner's file can be made by root only";
  write_file(options_.path, bytes);
  ASSERT_EQ(::chown(options_.path.c_str(), 4711, 4711), 0);
  const auto writer = open();
  EXPECT_TRUE(report_.created);
  EXPECT_EQ(report_.discarded_reason, "owned by user 4711, not 0");
  EXPECT_EQ(check(*writer).all(), 0U);
}

TEST_F(RecoveryTest, ADirectoryUnderTheNameIsAnError) {
  std::filesystem::create_directory(options_.path);
  const auto writer = SegmentWriter::open(options_, clock_, report_);
  ASSERT_FALSE(writer.has_value());
  EXPECT_EQ(writer.error().code, Errc::io);
  EXPECT_FALSE(std::filesystem::exists(options_.path + ".new"));
}

TEST_F(RecoveryTest, DirectoryMissingOrOpenToEverybody) {
  options_.path = directory_ + "/missing/segment";
  EXPECT_EQ(SegmentWriter::open(options_, clock_, report_).error().code, Errc::io);
  options_.path = directory_ + "/segment";
  ::chmod(directory_.c_str(), 0777);
  const auto writer = SegmentWriter::open(options_, clock_, report_);
  ASSERT_FALSE(writer.has_value());
  EXPECT_NE(writer.error().to_string().find("everybody"), std::string::npos);
  ::chmod(directory_.c_str(), 0700);
  options_.mode = 0660;
  EXPECT_EQ(SegmentWriter::open(options_, clock_, report_).error().code, Errc::io);
}

TEST_F(RecoveryTest, FileHasItsModeWhateverTheUmask) {
  const mode_t before = ::umask(0077);
  const auto writer = open();
  ::umask(before);
  struct stat info{};
  ASSERT_EQ(::stat(options_.path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0640U);
  EXPECT_FALSE(std::filesystem::exists(options_.path + ".new"));
}

TEST_F(RecoveryTest, LeftOverTemporaryFileIsRemoved) {
  write_file(options_.path + ".new", "left by a crash");
  const auto writer = open();
  EXPECT_FALSE(std::filesystem::exists(options_.path + ".new"));
}

TEST_F(RecoveryTest, TwoWriters) {
  auto first = open();
  RecoveryReport report;
  const auto second = SegmentWriter::open(options_, clock_, report);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, Errc::in_use);
  ASSERT_TRUE(first->put_session(record(1)).has_value());
  EXPECT_TRUE(first->find_session(hash_of(1)).has_value()) << "the one that has it goes on";
  first.reset();
  EXPECT_NE(open(), nullptr);
}

// An upgrade: the new program gets the lock's descriptor by number while the old mapping still exists.
TEST_F(RecoveryTest, LockIsInherited) {
  auto first = open();
  fill(*first);
  options_.lock_fd = ::dup(first->lock_fd());
  first.reset();  // the lock lives on in the duplicate
  RecoveryReport report;
  SegmentOptions without = options_;
  without.lock_fd = -1;
  EXPECT_EQ(SegmentWriter::open(without, clock_, report).error().code, Errc::in_use);
  const auto second = open();
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(second->lock_fd(), options_.lock_fd);
  EXPECT_EQ(::fcntl(second->lock_fd(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(check(*second).all(), all);
}

TEST_F(RecoveryTest, ADescriptorThatIsNotTheLockIsRefused) {
  open();
  options_.lock_fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  EXPECT_EQ(SegmentWriter::open(options_, clock_, report_).error().code, Errc::io);
  EXPECT_EQ(::fcntl(options_.lock_fd, F_GETFD), -1) << "it was taken over all the same";
  EXPECT_EQ(SegmentWriter::open(options_, clock_, report_).error().code, Errc::io);
}

TEST_F(RecoveryTest, FileIsSparse) {
  options_.sessions_max = 65'536;
  options_.accounts_max = 65'536;
  options_.redirects_max = 262'144;
  const auto writer = open();
  fill(*writer);
  EXPECT_LT(writer->use().bytes, 4U << 20);
  EXPECT_GT(std::filesystem::file_size(options_.path), 64U << 20);
  EXPECT_EQ(report_.bytes_missing, 0U);
}

// A full disk, in a child process so that its limits don't stay: the file size limit is how anybody can make
// posix_fallocate fail, with EFBIG instead of ENOSPC.
int in_child(const std::function<bool()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body() ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

TEST_F(RecoveryTest, FullDiskAtStartIsAnErrorAndKeepsTheOldFile) {
  const std::string bytes = filled_file();
  EXPECT_EQ(in_child([&] {
              ::signal(SIGXFSZ, SIG_IGN);
              const rlimit limit{8192, 8192};
              ::setrlimit(RLIMIT_FSIZE, &limit);
              const auto writer = SegmentWriter::open(options_, clock_, report_);
              return !writer && writer.error().code == Errc::io;
            }),
            0);
  EXPECT_FALSE(std::filesystem::exists(options_.path + ".new"));
  EXPECT_EQ(read_file(options_.path), bytes);
  EXPECT_EQ(check(*open()).all(), all);
}

TEST_F(RecoveryTest, FullFileSystemIsAnErrorNeverASignal) {
  if (::geteuid() != 0) GTEST_SKIP() << "mounting a small file system takes root";
  const std::string mount_point = directory_ + "/small";
  std::filesystem::create_directory(mount_point);
  if (::mount("tmpfs", mount_point.c_str(), "tmpfs", 0, "size=2m,mode=700") != 0)
    GTEST_SKIP() << "mounting a small file system isn't possible here";
  options_.path = mount_point + "/segment";
  options_.sessions_max = 131'072;
  options_.accounts_max = 65'536;
  options_.redirects_max = 65'536;
  const int status = in_child([&] {
    // The index alone takes 2 MiB for that many sessions: a clear error.
    const auto refused = SegmentWriter::open(options_, clock_, report_);
    if (refused || refused.error().to_string().find("No space left") == std::string::npos) return false;
    options_.sessions_max = 8192;
    auto writer = SegmentWriter::open(options_, clock_, report_);
    if (!writer || report_.bytes_missing == 0) return false;
    // Sessions until there is no room: an error, the same again, and everything before it is there.
    std::uint64_t stored = 0;
    Result<std::vector<TokenHash>> result;
    while ((result = (*writer)->put_session(record(stored))).has_value()) ++stored;
    if (result.error().code != Errc::io || stored < 100) return false;
    if ((*writer)->put_session(record(stored)).has_value()) return false;
    if ((*writer)->put_counters(1, counters(1)).has_value()) return false;
    if ((*writer)->put_redirect(redirect(1)).has_value()) return false;
    for (std::uint64_t i = 0; i < stored; ++i) {
      const auto found = (*writer)->find_session(hash_of(i));
      if (!found || !same(*found, record(i))) return false;
    }
    const auto reader = SegmentReader::open(options_.path, clock_);
    for (std::uint64_t i = 0; i < 100'000; ++i)  // wherever in the index the lookup lands
      if (reader->liveness(hash_of(i)) != (i < stored ? Liveness::live : Liveness::unknown_token))
        return false;
    return true;
  });
  EXPECT_EQ(::umount(mount_point.c_str()), 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace postern::store
