// Backoff with random bytes of the test's choice: growth, maximum, jitter.
#include "session/backoff.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace postern::session {
namespace {

using namespace std::chrono_literals;

struct FixedRandom final : Random {
  std::uint8_t byte = 0;
  void fill(std::span<std::uint8_t> out) override { std::fill(out.begin(), out.end(), byte); }
};

TEST(Backoff, DoublesUpToTheMaximumAndStartsAnew) {
  FixedRandom low;
  Backoff backoff(500ms, 5min);
  const MonotonicTime now{1h};
  EXPECT_EQ(backoff.due(), MonotonicTime{});
  Duration expected = 250ms;  // half of the first delay is certain
  for (int i = 0; i < 40; ++i) {
    backoff.failed(now, low);
    EXPECT_EQ(backoff.due() - now, std::min<Duration>(expected, 150s)) << i;
    expected = std::min<Duration>(expected * 2, 150s);
  }
  backoff.succeeded();
  EXPECT_EQ(backoff.due(), MonotonicTime{});
  backoff.failed(now, low);
  EXPECT_EQ(backoff.due() - now, 250ms);
}

TEST(Backoff, JitterStaysBetweenHalfAndAll) {
  SystemRandom random;
  const MonotonicTime now{1h};
  Duration least = 1h, most = 0s;
  for (int i = 0; i < 200; ++i) {
    Backoff backoff(1s, 5min);
    backoff.failed(now, random);
    least = std::min<Duration>(least, backoff.due() - now);
    most = std::max<Duration>(most, backoff.due() - now);
  }
  EXPECT_GE(least, 500ms);
  EXPECT_LT(most, 1s);
  EXPECT_GT(most - least, 100ms);
}

}  // namespace
}  // namespace postern::session
