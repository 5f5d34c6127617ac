// What the tests of the segment share: a directory that goes away, records made from numbers, files as bytes.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>

#include "postern/base/clock.hpp"
#include "postern/store/session_table.hpp"

namespace postern::store {

inline bool same(const SessionRecord& a, const SessionRecord& b) {
  return a.token_hash == b.token_hash && a.account == b.account && a.login == b.login &&
         a.sealed == b.sealed && a.created == b.created && a.last_used == b.last_used &&
         a.expires == b.expires && a.idle_seconds == b.idle_seconds && a.flags == b.flags;
}

inline TokenHash hash_of(std::uint64_t number) { return sha256("token " + std::to_string(number)); }

// Tests that choose at random print the seed; POSTERN_TEST_SEED replays one.
inline std::uint64_t test_seed() {
  const char* given = std::getenv("POSTERN_TEST_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
}

class StoreTest : public ::testing::Test {
 protected:
  StoreTest() {
    // A memory file system where there is one: as the runtime directory is.
    std::string name =
        ::access("/dev/shm", W_OK) == 0 ? "/dev/shm/postern-store-XXXXXX" : "/tmp/postern-store-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    directory_ = name;
    options_.path = directory_ + "/segment";
    options_.sessions_max = 16;
    options_.sessions_per_account_max = 100'000;
    options_.accounts_max = 8;
    options_.redirects_max = 8;
  }
  ~StoreTest() override { std::filesystem::remove_all(directory_); }

  std::unique_ptr<SegmentWriter> open() {
    auto writer = SegmentWriter::open(options_, clock_, report_);
    EXPECT_TRUE(writer.has_value()) << writer.error().to_string();
    return writer ? std::move(*writer) : nullptr;
  }
  // Of a session that lasts an hour, idle at most 30 minutes; `version` varies what can vary.
  SessionRecord record(std::uint64_t number, std::uint64_t version = 0) const {
    SessionRecord r;
    r.token_hash = hash_of(number);
    r.account = 1000 + number % 5;
    r.login = "user" + std::to_string(number) + "@example.org";
    const std::size_t sizes[] = {44, 0, 100, 124 * 3 - r.login.size(), 1500, 45};
    r.sealed = std::string(sizes[(number + version) % std::size(sizes)],
                           static_cast<char>('a' + (number + version) % 26));
    r.created = unix_seconds(clock_.wall());
    r.last_used = r.created;
    r.expires = r.created + 3600;
    r.idle_seconds = 1800;
    r.flags = static_cast<std::uint32_t>(version);
    return r;
  }
  std::string read_file(const std::string& path) const {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write_file(const std::string& path, std::string_view bytes) const {
    std::filesystem::remove(path);
    std::ofstream out(path, std::ios::binary);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    out.close();
    ::chmod(path.c_str(), 0640);
  }

  std::string directory_;
  ManualClock clock_;
  SegmentOptions options_;
  RecoveryReport report_;
};

}  // namespace postern::store
