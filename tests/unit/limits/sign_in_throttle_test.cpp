// The sign-in throttle: delays, refusals, who is spared, and that nobody is locked out for good.
#include "postern/limits/sign_in_throttle.hpp"

#include <gtest/gtest.h>

namespace postern::limits {
namespace {

using namespace std::chrono_literals;
using Action = SignInThrottle::Action;

class ThrottleTest : public ::testing::Test {
 protected:
  static Digest digest(std::uint64_t number) { return sha256(std::to_string(number)); }
  // A try with a password not seen before; what came of asking.
  SignInThrottle::Verdict fail(std::string_view login, std::string_view network) {
    const auto password = digest(++passwords_);
    const auto verdict = throttle_.ask(login, network, password, now());
    if (verdict.action == Action::go) throttle_.failed(login, network, password, now());
    return verdict;
  }
  SignInThrottle::Verdict succeed(std::string_view login, std::string_view network,
                                  std::uint64_t password = 1'000'000) {
    const auto verdict = throttle_.ask(login, network, digest(password), now());
    if (verdict.action == Action::go) throttle_.succeeded(login, network, digest(password), now());
    return verdict;
  }
  MonotonicTime now() const { return clock_.now(); }

  ManualClock clock_;
  ThrottleOptions options_;
  SignInThrottle throttle_{options_};
  std::uint64_t passwords_ = 0;
};

TEST_F(ThrottleTest, DelaysDoubleThenItIsRefused) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(fail("ann", "192.0.2.1").delay, 0s) << i;
  for (const auto expected : {1s, 2s, 4s, 8s, 16s, 30s, 30s}) {
    const auto verdict = fail("ann", "192.0.2.1");
    EXPECT_EQ(verdict.action, Action::go);
    EXPECT_EQ(verdict.delay, expected);
  }
  const auto verdict = fail("ann", "192.0.2.1");
  EXPECT_EQ(verdict.action, Action::refuse);
  EXPECT_EQ(verdict.delay, options_.window / options_.failures_max);
  EXPECT_EQ(fail("ann", "192.0.2.2").action, Action::go);  // somewhere else
  EXPECT_EQ(fail("bob", "192.0.2.1").action, Action::go);  // somebody else
  clock_.advance(options_.window);
  EXPECT_EQ(fail("ann", "192.0.2.1").delay, 0s);
  EXPECT_EQ(fail("ann", "192.0.2.1").action, Action::go);  // forgotten, not only let through
}

TEST_F(ThrottleTest, DelaysCountFromTheLastFailure) {
  for (int i = 0; i < 3; ++i) fail("ann", "192.0.2.1");
  clock_.advance(400ms);
  EXPECT_EQ(throttle_.ask("ann", "192.0.2.1", digest(1'000), now()).delay, 600ms);
  // Beside one that is under way the whole of it, whenever the last one failed: in parallel nobody gains anything.
  clock_.advance(10s);
  EXPECT_EQ(throttle_.ask("ann", "192.0.2.1", digest(1'001), now()).delay, 2s);
  for (std::uint64_t i : {1'000, 1'001}) throttle_.given_up("ann", "192.0.2.1", digest(i));
  EXPECT_EQ(fail("ann", "192.0.2.1").delay, 0s) << "long ago";
  EXPECT_EQ(fail("ann", "192.0.2.1").delay, 2s);
}

// As many tries a window as before the refusal, and no more, for as long as the attack lasts.
TEST_F(ThrottleTest, WhereItIsRefusedOneIsLetThroughNowAndThen) {
  for (int i = 0; i < 10; ++i) fail("ann", "192.0.2.1");
  const auto pause = options_.window / options_.failures_max;
  for (int i = 0; i < 1'000; ++i) {
    clock_.advance(pause - 1ns);
    ASSERT_EQ(fail("ann", "192.0.2.1").action, Action::refuse);
    clock_.advance(1ns);
    ASSERT_EQ(fail("ann", "192.0.2.1").action, Action::go);
    ASSERT_EQ(fail("ann", "192.0.2.1").action, Action::refuse);
  }
  clock_.advance(pause);
  EXPECT_EQ(succeed("ann", "192.0.2.1").action, Action::go);
  EXPECT_EQ(fail("ann", "192.0.2.1").delay, 0s);
}

TEST_F(ThrottleTest, TriesUnderWayCount) {
  for (std::uint64_t i = 0; i < 10; ++i)
    EXPECT_EQ(throttle_.ask("ann", "192.0.2.1", digest(i), now()).action, Action::go);
  EXPECT_EQ(throttle_.ask("ann", "192.0.2.1", digest(11), now()).action, Action::refuse);
  throttle_.given_up("ann", "192.0.2.1", digest(0));
  EXPECT_EQ(throttle_.ask("ann", "192.0.2.1", digest(11), now()).action, Action::go);
}

TEST_F(ThrottleTest, OnePasswordAtOnceIsOneTry) {
  for (int i = 0; i < 50; ++i) {
    const auto verdict = throttle_.ask("ann", "192.0.2.1", digest(1), now());
    ASSERT_EQ(verdict.action, Action::go);
    ASSERT_EQ(verdict.delay, 0s);
  }
  // Each of another password counts it as one.
  EXPECT_EQ(throttle_.ask("ann", "192.0.2.1", digest(2), now()).delay, 0s);
  EXPECT_EQ(throttle_.ask("ann", "192.0.2.1", digest(3), now()).delay, 0s);
  EXPECT_EQ(throttle_.ask("ann", "192.0.2.1", digest(4), now()).delay, options_.delay_min);
  // What is to wait waits also when it is asked for twice.
  EXPECT_EQ(throttle_.ask("ann", "192.0.2.1", digest(4), now()).delay, options_.delay_min);
  for (std::uint64_t i : {2, 3, 4, 4}) throttle_.given_up("ann", "192.0.2.1", digest(i));
  for (int i = 0; i < 49; ++i) throttle_.given_up("ann", "192.0.2.1", digest(1));
  throttle_.failed("ann", "192.0.2.1", digest(1), now());
  for (std::uint64_t i : {5, 6}) EXPECT_EQ(throttle_.ask("ann", "192.0.2.1", digest(i), now()).delay, 0s);
  EXPECT_EQ(throttle_.ask("ann", "192.0.2.1", digest(7), now()).delay, options_.delay_min);
}

TEST_F(ThrottleTest, AWrongPasswordIsntTriedAgainAndCountsOnce) {
  EXPECT_EQ(throttle_.ask("ann", "192.0.2.1", digest(1), now()).action, Action::go);
  throttle_.failed("ann", "192.0.2.1", digest(1), now());
  for (int hour = 0; hour < 24; ++hour)
    for (int i = 0; i < 60; ++i) {
      const auto verdict = throttle_.ask("ann", "192.0.2.1", digest(1), now());
      ASSERT_EQ(verdict.action, Action::known_wrong);
      ASSERT_LE(verdict.delay, options_.wrong_password_window);
      clock_.advance(options_.wrong_password_window);
      // Once a window the server is asked, for the password may have been changed to this one.
      ASSERT_EQ(throttle_.ask("ann", "192.0.2.1", digest(1), now()).action, Action::go);
      throttle_.failed("ann", "192.0.2.1", digest(1), now());
    }
  EXPECT_EQ(succeed("ann", "192.0.2.1").delay, 0s);
}

TEST_F(ThrottleTest, AGoodPasswordIsNotDelayedWhereItWasGood) {
  succeed("ann", "192.0.2.1");
  for (int i = 0; i < 9; ++i) fail("ann", "192.0.2.1");
  const auto verdict = succeed("ann", "192.0.2.1");
  EXPECT_EQ(verdict.action, Action::go);
  EXPECT_EQ(verdict.delay, 0s);
}

// Else somebody behind the owner's address could compare any number of passwords with the one that is remembered.
TEST_F(ThrottleTest, WhatWasGoodIsNoOracle) {
  succeed("ann", "192.0.2.1");
  for (int i = 0; i < 10; ++i) fail("ann", "192.0.2.1");
  EXPECT_EQ(fail("ann", "192.0.2.1").action, Action::refuse);
  EXPECT_EQ(succeed("ann", "192.0.2.1").action, Action::refuse);
  clock_.advance(options_.delay_max - 1ns);
  EXPECT_EQ(succeed("ann", "192.0.2.1").action, Action::refuse);
  clock_.advance(1ns);
  EXPECT_EQ(succeed("ann", "192.0.2.1").action, Action::go);
  EXPECT_EQ(succeed("ann", "192.0.2.1").action, Action::go);
}

// A client of the owner's shows the password each second; somebody behind the same address guesses at it.
TEST_F(ThrottleTest, TheOwnersRequestsDontCoverForGuessingAtTheirLogin) {
  int tried = 0, served = 0;
  const auto end = now() + 15min;
  while (now() < end) {
    served += succeed("ann", "192.0.2.1").action == Action::go ? 1 : 0;
    const auto verdict = fail("ann", "192.0.2.1");
    tried += verdict.action == Action::go ? 1 : 0;
    // One after the other, as its delay has it.
    if (verdict.action == Action::go) clock_.advance(verdict.delay);
    clock_.advance(1s);
  }
  EXPECT_LE(tried, 75);   // three a second if each request forgave
  EXPECT_GE(served, 40);  // and not held up for good
}

TEST_F(ThrottleTest, APasswordThatWasGoodAndIsNoLongerIsKnownToBeWrong) {
  succeed("ann", "192.0.2.1", 7);
  EXPECT_EQ(throttle_.ask("ann", "192.0.2.1", digest(7), now()).action, Action::go);
  EXPECT_TRUE(throttle_.failed("ann", "192.0.2.1", digest(7), now()));
  EXPECT_EQ(throttle_.ask("ann", "192.0.2.1", digest(7), now()).action, Action::known_wrong);
  clock_.advance(options_.wrong_password_window);
  EXPECT_EQ(throttle_.ask("ann", "192.0.2.1", digest(7), now()).action, Action::go);
  EXPECT_FALSE(throttle_.failed("ann", "192.0.2.1", digest(7), now())) << "counted already";
}

// What one level refuses takes nobody's place at another.
TEST_F(ThrottleTest, ARefusedTryTakesNoPlace) {
  for (int i = 0; i < 60; ++i) fail("ann", "10.0.0." + std::to_string(i));
  for (int i = 0; i < 250; ++i) fail("guess" + std::to_string(i), "192.0.2.1");
  clock_.advance(options_.delay_max - 1s);
  ASSERT_EQ(fail("bob", "192.0.2.1").action, Action::refuse) << "the address has to wait";
  clock_.advance(1s);
  ASSERT_EQ(fail("bob", "192.0.2.1").action, Action::go);
  clock_.advance(1s);
  // The login's place is free, the address's is not.
  EXPECT_EQ(fail("ann", "192.0.2.1").action, Action::refuse);
  // Nor does one that doesn't reach the server.
  ASSERT_EQ(throttle_.ask("ann", "198.51.100.7", digest(5'000'000), now()).action, Action::go);
  throttle_.given_up("ann", "198.51.100.7", digest(5'000'000));
  EXPECT_EQ(succeed("ann", "198.51.100.7").action, Action::go);
}

TEST_F(ThrottleTest, OneWhoSignsInAgainAndAgainDoesntCoverForTheirGuessing) {
  int tried = 0;
  for (int i = 0; i < 1'000; ++i) {
    succeed("mallory", "192.0.2.1");
    tried += fail("guess" + std::to_string(i), "192.0.2.1").action == Action::go ? 1 : 0;
  }
  EXPECT_LE(tried, 202);
}

TEST_F(ThrottleTest, AnAttackFromEverywhereLeavesTheOwnerIn) {
  succeed("ann", "192.0.2.1");
  for (int i = 0; i < 200; ++i) fail("ann", "10.0.0." + std::to_string(i));
  EXPECT_EQ(fail("ann", "10.0.1.1").action, Action::refuse);
  // From where they have been before, with a new password even.
  EXPECT_EQ(succeed("ann", "192.0.2.1", 2'000'000).action, Action::go);
  // From a new place when its turn has come.
  clock_.advance(options_.delay_max - 1s);
  EXPECT_EQ(fail("ann", "10.0.1.1").action, Action::refuse);
  clock_.advance(1s);
  EXPECT_EQ(succeed("ann", "198.51.100.7").action, Action::go);
}

TEST_F(ThrottleTest, ManyPeopleBehindOneAddress) {
  // 50 people sign in, and each has got it wrong twice before.
  for (int i = 0; i < 50; ++i) {
    const auto login = "person" + std::to_string(i);
    for (int j = 0; j < 2; ++j) ASSERT_EQ(fail(login, "192.0.2.1").delay, 0s) << i;
    ASSERT_EQ(succeed(login, "192.0.2.1").delay, 0s) << i;
  }
  // Somebody who tries all names is stopped, and those who are known there are not.
  int refused = 0;
  for (int i = 0; i < 400; ++i)
    refused += fail("guess" + std::to_string(i), "192.0.2.1").action == Action::refuse ? 1 : 0;
  EXPECT_GT(refused, 150);
  EXPECT_EQ(succeed("person7", "192.0.2.1", 2'000'000).action, Action::go);
}

TEST_F(ThrottleTest, WithoutAnAddressOnlyLoginsCount) {
  for (int i = 0; i < 300; ++i) fail("guess" + std::to_string(i), "");
  EXPECT_EQ(fail("another", "").action, Action::go);
}

TEST_F(ThrottleTest, OffMeansOff) {
  options_.enabled = false;
  throttle_.set_options(options_);
  for (int i = 0; i < 300; ++i) ASSERT_EQ(fail("ann", "192.0.2.1").action, Action::go);
}

TEST_F(ThrottleTest, MemoryIsBounded) {
  for (std::size_t i = 0; i < SignInThrottle::entries_max + 10; ++i) {
    const auto login = std::to_string(i);
    throttle_.ask(login, "192.0.2.1", Digest{}, now());
    throttle_.given_up(login, "192.0.2.1", Digest{});
  }
  EXPECT_EQ(throttle_.ask("0", "192.0.2.1", Digest{}, now()).action, Action::go);
}

TEST(NetworkOf, Ipv6CountsBySixtyFourBits) {
  EXPECT_EQ(network_of("192.0.2.1"), "192.0.2.1");
  EXPECT_EQ(network_of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
  EXPECT_EQ(network_of("2001:db8:1:2::9"), "2001:db8:1:2::/64");
  EXPECT_EQ(network_of("::ffff:192.0.2.1"), "192.0.2.1");
  EXPECT_EQ(network_of("fe80::1%eth0"), "fe80::/64");
  EXPECT_EQ(network_of(""), "");
  EXPECT_EQ(network_of("unix:"), "");
}

}  // namespace
}  // namespace postern::limits
