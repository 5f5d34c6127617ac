// UidSet: parsing, joining, splitting.
#include "postern/imap/uid_set.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "postern/imap/errors.hpp"

namespace postern::imap {
namespace {

using testing::ElementsAre;
using Uids = std::vector<std::uint32_t>;

std::string normalised(std::string_view text, std::uint32_t largest = 100) {
  auto set = UidSet::parse(text, largest);
  return set ? set->to_string() : "error";
}

TEST(UidSet, IsWrittenAsSortedDisjointRanges) {
  EXPECT_EQ(normalised("1"), "1");
  EXPECT_EQ(normalised("1:4,7,9:*"), "1:4,7,9:100");
  EXPECT_EQ(normalised("9,7,1:4"), "1:4,7,9");
  EXPECT_EQ(normalised("1:5,3:9"), "1:9");
  EXPECT_EQ(normalised("1:5,6:9"), "1:9");
  EXPECT_EQ(normalised("4:1"), "1:4");
  EXPECT_EQ(normalised("2:9,3:4"), "2:9");
  EXPECT_EQ(normalised("007"), "7");
}

TEST(UidSet, StarIsTheLargest) {
  EXPECT_EQ(normalised("*", 5), "5");
  EXPECT_EQ(normalised("9:*", 5), "5:9");
  EXPECT_EQ(normalised("*:*", 5), "5");
  EXPECT_EQ(UidSet::parse("3:*")->to_string(), "3:4294967295");
  EXPECT_EQ(normalised("1:*", 0), "error") << "a mailbox without messages has no largest";
}

TEST(UidSet, RefusesWhatIsNoSet) {
  for (const char* text :
       {"", ",", "1,", ",1", "0", "1:0", "1:", ":1", "1::2", "a", "1 2", "4294967296", "-1", "1,,2"}) {
    EXPECT_EQ(normalised(text), "error") << text;
    EXPECT_EQ(UidSet::parse(text).error().code, Errc::syntax);
  }
}

TEST(UidSet, TakesTheLargestNumberThereIs) {
  const auto set = UidSet::parse("4294967295,4294967294");
  ASSERT_TRUE(set);
  EXPECT_EQ(set->to_string(), "4294967294:4294967295");
  EXPECT_EQ(set->count(), 2u);
  EXPECT_THAT(set->to_vector(), ElementsAre(4294967294u, 4294967295u));
  UidSet all = UidSet::range(1, 4294967295u);
  EXPECT_EQ(all.count(), 4294967295u);
  all.add(4294967295u);
  EXPECT_EQ(all.to_string(), "1:4294967295");
}

TEST(UidSet, AddJoinsWhatOverlapsOrTouches) {
  UidSet set;
  set.add(5);
  set.add(7);
  set.add(1);
  EXPECT_EQ(set.to_string(), "1,5,7");
  set.add(6);
  EXPECT_EQ(set.to_string(), "1,5:7");
  set.add(2, 4);
  EXPECT_EQ(set.to_string(), "1:7");
  set.add(20, 10);
  EXPECT_EQ(set.to_string(), "1:7,10:20");
  set.add(3, 12);
  EXPECT_EQ(set.to_string(), "1:20");
}

TEST(UidSet, ZeroIsNoUid) {
  UidSet set;
  set.add(0);
  EXPECT_TRUE(set.empty());
  set.add(0, 3);
  EXPECT_EQ(set.to_string(), "1:3");
}

TEST(UidSet, OfTakesAnyOrderAndDuplicates) {
  EXPECT_EQ(UidSet::of({5, 3, 4, 4, 9}).to_string(), "3:5,9");
  EXPECT_TRUE(UidSet::of({}).empty());
}

TEST(UidSet, Contains) {
  const auto set = *UidSet::parse("2:4,8");
  for (const std::uint32_t uid : {2u, 3u, 4u, 8u}) EXPECT_TRUE(set.contains(uid)) << uid;
  for (const std::uint32_t uid : {0u, 1u, 5u, 7u, 9u}) EXPECT_FALSE(set.contains(uid)) << uid;
}

TEST(UidSet, SplitKeepsEachPieceWithinItsOctets) {
  const auto set = *UidSet::parse("1,3,5:7,1000000:1000009,4000000000");
  for (std::size_t octets = 16; octets < 60; ++octets) {
    UidSet joined;
    for (const UidSet& piece : set.split(octets)) {
      EXPECT_LE(piece.to_string().size(), octets);
      EXPECT_FALSE(piece.empty());
      for (const auto& r : piece.ranges()) joined.add(r.first, r.last);
    }
    EXPECT_EQ(joined, set);
  }
  EXPECT_EQ(set.split(set.to_string().size()).size(), 1u);
  EXPECT_EQ(set.split(set.to_string().size() - 1).size(), 2u);
  EXPECT_TRUE(UidSet().split(10).empty());
}

TEST(UidSet, AgreesWithAPlainSet) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 200; ++round) {
    UidSet set;
    std::set<std::uint32_t> uids;
    for (int i = 0; i < 30; ++i) {
      const std::uint32_t first = random() % 60, last = first + random() % 5;
      set.add(first, last);
      for (std::uint32_t n = std::max(first, 1u); n <= last; ++n) uids.insert(n);
      ASSERT_EQ(set.to_vector(), Uids(uids.begin(), uids.end()));
      if (!set.empty()) ASSERT_EQ(*UidSet::parse(set.to_string()), set);
      ASSERT_EQ(UidSet::of(Uids(uids.begin(), uids.end())), set);
      ASSERT_EQ(set.count(), uids.size());
    }
  }
}

}  // namespace
}  // namespace postern::imap
