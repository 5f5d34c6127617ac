// What uploads there are: room, age and whose they are.
#include "postern/blobs/upload_index.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postern::blobs {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::int64_t now = 1'700'000'000;

UploadToken token(std::uint8_t number) { return {number}; }
UploadName upload(std::uint64_t account, std::uint8_t number) { return {account, token(number)}; }

struct UploadIndexTest : ::testing::Test {
  UploadIndex index{{100, 150, 3'600}};
  std::vector<UploadName> gone;

  Result<> write(std::uint64_t account, std::uint8_t number, std::uint64_t octets, std::int64_t at = now) {
    auto ticket = index.begin(account, 4);
    if (!ticket) return fail(ticket.error());
    if (auto grown = index.grow(*ticket, octets, gone); !grown) {
      index.drop(*ticket);
      return grown;
    }
    index.keep(*ticket, token(number), at, gone);
    return {};
  }
};

TEST_F(UploadIndexTest, IsFoundByItsAccountAlone) {
  ASSERT_TRUE(write(1, 7, 10));
  EXPECT_EQ(index.find(upload(1, 7), now), 10u);
  EXPECT_FALSE(index.find(upload(2, 7), now));
  EXPECT_FALSE(index.find(upload(1, 8), now));
  EXPECT_EQ(index.octets(), 10u);
}

TEST_F(UploadIndexTest, NothingIsFoundBeforeItIsKept) {
  auto ticket = index.begin(1, 4);
  ASSERT_TRUE(ticket);
  ASSERT_TRUE(index.grow(*ticket, 10, gone));
  EXPECT_EQ(index.uploads(), 0u);
  EXPECT_EQ(index.octets(), 10u);
  index.drop(*ticket);
  EXPECT_EQ(index.octets(), 0u);
  EXPECT_FALSE(index.grow(*ticket, 1, gone));
}

TEST_F(UploadIndexTest, CountsWhatIsWrittenAtATime) {
  auto first = index.begin(1, 2), second = index.begin(1, 2);
  ASSERT_TRUE(first && second);
  const auto third = index.begin(1, 2);
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code, make_error_code(Errc::too_many));
  EXPECT_TRUE(index.begin(1, 0)) << "what isn't counted is never one too many";
  EXPECT_TRUE(index.begin(2, 2)) << "another account";
  index.drop(*first);
  EXPECT_TRUE(index.begin(1, 2));
}

TEST_F(UploadIndexTest, TheOldestOfTheAccountMakeRoom) {
  ASSERT_TRUE(write(1, 1, 40, now));
  ASSERT_TRUE(write(1, 2, 40, now + 1));
  ASSERT_TRUE(write(2, 3, 30, now));
  EXPECT_THAT(gone, IsEmpty());
  ASSERT_TRUE(write(1, 4, 20, now + 2)) << "100 of 100";
  EXPECT_THAT(gone, IsEmpty());
  ASSERT_TRUE(write(1, 5, 1, now + 3)) << "one past it";
  EXPECT_THAT(gone, ElementsAre(upload(1, 1)));
  EXPECT_TRUE(index.find(upload(2, 3), now));
  EXPECT_EQ(index.octets_of(1), 61u);
}

TEST_F(UploadIndexTest, NobodyGivesWayToSomebodyElse) {
  ASSERT_TRUE(write(1, 1, 100));
  ASSERT_TRUE(write(2, 2, 50)) << "150 of 150";
  const auto full = write(3, 3, 1);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, make_error_code(Errc::full));
  EXPECT_THAT(gone, IsEmpty());
  ASSERT_TRUE(write(2, 4, 50)) << "one's own makes room";
  EXPECT_THAT(gone, ElementsAre(upload(2, 2)));
}

TEST_F(UploadIndexTest, WhatIsBeingWrittenIsNotGivenUp) {
  auto ticket = index.begin(1, 0);
  ASSERT_TRUE(index.grow(*ticket, 60, gone));
  const auto too_much = write(1, 1, 41);
  ASSERT_FALSE(too_much);
  EXPECT_EQ(too_much.error().code, make_error_code(Errc::account_full));
  EXPECT_TRUE(write(1, 1, 40));
  EXPECT_FALSE(index.check_room(1, 41));
  EXPECT_TRUE(index.check_room(1, 40)) << "in place of the upload";
}

TEST_F(UploadIndexTest, NothingIsGivenUpForWhatIsNotCounted) {
  ASSERT_TRUE(write(1, 1, 60));
  auto scratch = index.begin(1, 0);
  ASSERT_TRUE(index.grow(*scratch, 40, gone));
  const auto full = index.grow(*scratch, 1, gone);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, make_error_code(Errc::account_full));
  EXPECT_TRUE(index.find(upload(1, 1), now));
  EXPECT_THAT(gone, IsEmpty());
}

TEST_F(UploadIndexTest, OfAnAccountOneMayHaveLessRoom) {
  const auto write_within = [this](int number, std::uint64_t octets, std::uint64_t bytes_max) {
    auto ticket = index.begin(1, 4, bytes_max);
    auto grown = index.grow(*ticket, octets, gone);
    grown ? index.keep(*ticket, upload(1, number).token, now, gone) : index.drop(*ticket);
    return grown;
  };
  ASSERT_TRUE(write_within(1, 20, 30));
  const auto refused = write_within(2, 31, 30);
  EXPECT_EQ(refused.error().code, make_error_code(Errc::own_room));
  EXPECT_EQ(used_of_own_room(refused.error()), 0u) << "what is kept would give way";
  auto under_way = index.begin(1, 4, 30);
  ASSERT_TRUE(index.grow(*under_way, 4, gone));
  EXPECT_EQ(used_of_own_room(index.check_room(1, 27, 30).error()), 4u);
  EXPECT_EQ(used_of_own_room(index.check_room(1, 101, ~0ull).error()), std::nullopt) << "of all accounts'";
  index.drop(*under_way);
  EXPECT_FALSE(index.check_room(1, 31, 30));
  EXPECT_TRUE(index.check_room(1, 30, 30));
  EXPECT_THAT(gone, IsEmpty());
  // What is put aside for a moment takes nothing of it.
  auto aside = index.begin(1, 0);
  ASSERT_TRUE(index.grow(*aside, 50, gone));
  ASSERT_TRUE(write_within(3, 10, 30));
  EXPECT_THAT(gone, IsEmpty());
  ASSERT_TRUE(write_within(4, 1, 30));
  EXPECT_THAT(gone, ElementsAre(upload(1, 1)));
  index.drop(*aside);
  EXPECT_EQ(index.octets_of(1), 11u);
  EXPECT_FALSE(write_within(5, 1, 0));
}

TEST_F(UploadIndexTest, NumbersThatWouldOverflowHaveNoRoom) {
  ASSERT_TRUE(write(1, 1, 10));
  EXPECT_FALSE(index.check_room(1, ~0ull));
  EXPECT_FALSE(index.check_room(1, ~0ull - 5));
}

TEST_F(UploadIndexTest, EndsAfterItsLifetime) {
  ASSERT_TRUE(write(1, 1, 10, now));
  ASSERT_TRUE(write(1, 2, 10, now + 1));
  EXPECT_TRUE(index.find(upload(1, 1), now + 3'599));
  EXPECT_FALSE(index.find(upload(1, 1), now + 3'600)) << "whether it has been tidied up or not";
  EXPECT_THAT(index.expire(now + 3'600), ElementsAre(upload(1, 1)));
  EXPECT_EQ(index.octets(), 10u);
  EXPECT_THAT(index.expire(now + 3'601), ElementsAre(upload(1, 2)));
  EXPECT_EQ(index.octets(), 0u);
}

TEST_F(UploadIndexTest, KeepsSoManyOfAnAccount) {
  for (std::size_t i = 0; i < uploads_per_account_max; ++i) {
    UploadToken one{};
    one[0] = static_cast<std::uint8_t>(i);
    one[1] = static_cast<std::uint8_t>(i >> 8);
    index.add({1, one}, 0, now);
  }
  EXPECT_EQ(index.uploads(), uploads_per_account_max);
  ASSERT_TRUE(write(1, 1, 0, now + 1));
  EXPECT_EQ(index.uploads(), uploads_per_account_max) << "one took the place of one with its token";
  UploadToken other{};
  other[5] = 1;
  auto ticket = index.begin(1, 0);
  index.keep(*ticket, other, now + 2, gone);
  EXPECT_EQ(index.uploads(), uploads_per_account_max);
  ASSERT_EQ(gone.size(), 1u);
  EXPECT_EQ(gone[0], upload(1, 0)) << "the oldest";
}

}  // namespace
}  // namespace postern::blobs
