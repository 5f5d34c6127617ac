// The files of uploads, in a directory of the test's own.
#include "postern/blobs/upload_store.hpp"

#include <sys/resource.h>
#include <sys/stat.h>
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace postern::blobs {
namespace {

using namespace std::chrono_literals;

struct UploadStoreTest : ::testing::Test {
  ManualClock clock;
  SystemRandom random;
  UploadOptions options;
  std::unique_ptr<UploadStore> store;

  UploadStoreTest() {
    char name[] = "/tmp/postern-blobs-XXXXXX";
    options.directory = std::string(::mkdtemp(name)) + "/uploads";
    options.limits = {1'000, 5'000, 3'600};
  }
  ~UploadStoreTest() override {
    store.reset();
    std::filesystem::remove_all(std::filesystem::path(options.directory).parent_path());
  }
  Result<> open() {
    store.reset();
    Result<> problem;
    store = UploadStore::open(options, clock, random, problem);
    return problem;
  }
  std::size_t files() const {  // besides the lock
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(options.directory))
      count += entry.path().filename() != "lock" ? 1 : 0;
    return count;
  }
  UploadToken put(std::uint64_t account, std::string_view content) {
    auto writer = store->begin(account, 4);
    EXPECT_TRUE(writer);
    EXPECT_TRUE((*writer)->write(content));
    auto token = (*writer)->keep();
    EXPECT_TRUE(token);
    return token.value_or(UploadToken{});
  }
};

TEST_F(UploadStoreTest, IsWrittenAndReadInPieces) {
  ASSERT_TRUE(open());
  auto writer = store->begin(1, 4);
  ASSERT_TRUE(writer);
  ASSERT_TRUE((*writer)->write("hello "));
  ASSERT_TRUE((*writer)->write("world"));
  auto token = (*writer)->keep();
  ASSERT_TRUE(token);
  writer->reset();
  auto file = store->find(1, *token);
  ASSERT_TRUE(file);
  EXPECT_EQ((*file)->size(), 11u);
  EXPECT_EQ((*file)->read(0, 5), "hello");
  EXPECT_EQ((*file)->read(6, 100), "world");
  EXPECT_EQ((*file)->read(11, 1), "");
  EXPECT_FALSE(store->find(2, *token)) << "another account's";
}

TEST_F(UploadStoreTest, NobodyElseCanReadTheFiles) {
  ASSERT_TRUE(open());
  put(1, "secret");
  struct stat info{};
  ASSERT_EQ(::stat(options.directory.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  for (const auto& entry : std::filesystem::directory_iterator(options.directory)) {
    ASSERT_EQ(::stat(entry.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u) << entry.path();
  }
}

TEST_F(UploadStoreTest, WhatIsBrokenOffLeavesNothing) {
  ASSERT_TRUE(open());
  {
    auto writer = store->begin(1, 4);
    ASSERT_TRUE((*writer)->write("half"));
    EXPECT_EQ(files(), 1u);
  }
  EXPECT_EQ(files(), 0u);
  EXPECT_EQ(store->counters().octets, 0u);
  auto writer = store->begin(1, 0);
  ASSERT_TRUE((*writer)->write("never to be kept"));
  EXPECT_EQ(files(), 0u) << "it has no name from the start";
  EXPECT_FALSE((*writer)->keep());
  auto file = (*writer)->file();
  ASSERT_TRUE(file);
  writer->reset();
  EXPECT_EQ((*file)->read(0, 5), "never") << "as long as somebody reads it";
}

TEST_F(UploadStoreTest, SurvivesARestartButNoReboot) {
  ASSERT_TRUE(open());
  const auto token = put(0xABC, "kept");
  std::ofstream(options.directory + "/new-00") << "half";
  std::ofstream(options.directory + "/somebody-elses") << "file";
  clock.advance(std::chrono::system_clock::now() - clock.wall());  // as the files' times are
  options.keep_existing = true;
  ASSERT_TRUE(open());
  auto file = store->find(0xABC, token);
  ASSERT_TRUE(file);
  EXPECT_EQ((*file)->read(0, 9), "kept");
  EXPECT_EQ(files(), 2u) << "what was half written is gone, what isn't ours stays";
  options.keep_existing = false;
  ASSERT_TRUE(open());
  EXPECT_FALSE(store->find(0xABC, token));
  EXPECT_EQ(files(), 1u);
}

TEST_F(UploadStoreTest, EndsAfterItsLifetime) {
  ASSERT_TRUE(open());
  const auto token = put(1, "old");
  clock.advance(3'600s);
  EXPECT_FALSE(store->find(1, token));
  store->expire();
  EXPECT_EQ(files(), 0u);
  EXPECT_EQ(store->counters().expired, 1u);
}

TEST_F(UploadStoreTest, TheAccountsOldestGoesFirst) {
  ASSERT_TRUE(open());
  const auto first = put(1, std::string(600, 'a'));
  clock.advance(1s);
  const auto second = put(1, std::string(600, 'b'));
  EXPECT_FALSE(store->find(1, first));
  EXPECT_TRUE(store->find(1, second));
  EXPECT_EQ(files(), 1u);
  auto writer = store->begin(1, 4, 1'001);
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error().code, make_error_code(Errc::account_full));
  EXPECT_EQ(store->counters().refused, 1u);
}

TEST_F(UploadStoreTest, AFullDiskIsAnErrorOfItsOwn) {
  ASSERT_TRUE(open());
  auto writer = store->begin(1, 4);
  ASSERT_TRUE(writer);
  // The largest file there may be stands in for a full disk: both are no room for what is written.
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  auto* handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{100, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto written = (*writer)->write(std::string(200, 'x'));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, make_error_code(Errc::disk_full));
  writer->reset();
  EXPECT_EQ(files(), 0u);
}

TEST_F(UploadStoreTest, ADirectoryThatCantBeUsedRefusesAll) {
  ASSERT_TRUE(open());
  Result<> problem;
  const auto second = UploadStore::open(options, clock, random, problem);
  EXPECT_FALSE(problem) << "another broker is using it";
  const auto writer = second->begin(1, 4);
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error().code, make_error_code(Errc::unavailable));
  EXPECT_FALSE(second->find(1, {}));
  store.reset();
  ::chmod(options.directory.c_str(), 0777);
  EXPECT_FALSE(open()) << "others may write there";
  options.directory.clear();
  EXPECT_FALSE(open());
  options.directory = "/nowhere/uploads";
  EXPECT_FALSE(open());
}

}  // namespace
}  // namespace postern::blobs
