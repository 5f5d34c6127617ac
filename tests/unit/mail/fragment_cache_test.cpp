// The cache of serialised Emails: what is dropped with an account, and what goes when the budget is used up.
#include "postern/mail/fragment_cache.hpp"

#include <gtest/gtest.h>

namespace postern::mail {
namespace {

std::shared_ptr<const Fragment> fragment(std::string text) {
  return std::make_shared<const Fragment>(Fragment{std::move(text), {}, {}});
}
FragmentCache::Key key(store::AccountKey account, std::uint32_t uid) { return {account, {1, 1, uid}, {}}; }

TEST(FragmentCache, DroppingAnAccountLeavesTheOthers) {
  FragmentCache cache(1 << 20);
  for (std::uint32_t uid = 1; uid <= 10; ++uid) {
    cache.put(key(1, uid), fragment("one"));
    cache.put(key(2, uid), fragment("two"));
  }
  const auto both = cache.bytes();
  cache.drop_account(1);
  EXPECT_EQ(cache.size(), 10u);
  EXPECT_EQ(cache.bytes() * 2, both);
  for (std::uint32_t uid = 1; uid <= 10; ++uid) {
    EXPECT_EQ(cache.find(key(1, uid)), nullptr);
    ASSERT_NE(cache.find(key(2, uid)), nullptr);
    EXPECT_EQ(cache.find(key(2, uid))->bytes, "two");
  }
  cache.drop_account(1);  // nothing is left of it
  cache.drop_account(2);
  EXPECT_EQ(cache.size(), 0u);
  EXPECT_EQ(cache.bytes(), 0u);
}

TEST(FragmentCache, TheLeastRecentlyUsedGoes) {
  FragmentCache cache(3000);
  for (std::uint32_t uid = 1; uid <= 3; ++uid) cache.put(key(uid, uid), fragment(std::string(700, 'x')));
  EXPECT_EQ(cache.size(), 3u);
  EXPECT_NE(cache.find(key(1, 1)), nullptr);
  cache.put(key(4, 4), fragment(std::string(700, 'x')));
  EXPECT_EQ(cache.size(), 3u);
  EXPECT_LE(cache.bytes(), 3000u);
  EXPECT_NE(cache.find(key(1, 1)), nullptr);
  EXPECT_EQ(cache.find(key(2, 2)), nullptr);
  cache.drop_account(2);  // gone by itself already
  EXPECT_EQ(cache.size(), 3u);
}

TEST(FragmentCache, PuttingTheSameAgainReplacesIt) {
  FragmentCache cache(1 << 20);
  cache.put(key(1, 1), fragment("before"));
  cache.put(key(1, 1), fragment("after"));
  EXPECT_EQ(cache.size(), 1u);
  EXPECT_EQ(cache.find(key(1, 1))->bytes, "after");
}

TEST(FragmentCache, StructuresCountWithTheRest) {
  FragmentCache cache(1 << 20);
  Fragment large;
  large.shape = std::make_shared<const MessageShape>(MessageShape{nullptr, std::nullopt, {}, {}, 5'000});
  cache.put(key(1, 1), fragment(""));
  const auto before = cache.bytes();
  cache.put(key(1, 1), std::make_shared<const Fragment>(large));
  EXPECT_EQ(cache.bytes(), before + 5'000);
  cache.drop_account(1);
  EXPECT_EQ(cache.bytes(), 0u);
}

}  // namespace
}  // namespace postern::mail
