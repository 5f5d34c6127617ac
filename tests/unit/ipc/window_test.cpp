// Credit, at its limits and one past them.
#include "postern/ipc/window.hpp"

#include <gtest/gtest.h>

namespace postern::ipc {
namespace {

TEST(SendCredit, SpendsAndIsGranted) {
  SendCredit credit;
  EXPECT_EQ(credit.left(), window_bytes);
  credit.spend(window_bytes);
  EXPECT_EQ(credit.left(), 0u);
  EXPECT_TRUE(credit.grant(5));
  EXPECT_EQ(credit.left(), 5u);
}

TEST(SendCredit, GrantAtTheLimitAndOnePast) {
  SendCredit credit(0);
  EXPECT_TRUE(credit.grant(SendCredit::credit_max));
  EXPECT_FALSE(credit.grant(1));
  EXPECT_FALSE(credit.grant(0xffffffff));
  EXPECT_EQ(credit.left(), SendCredit::credit_max);
}

TEST(ReceiveCredit, AtTheLimitAndOnePast) {
  ReceiveCredit credit(100);
  EXPECT_TRUE(credit.receive(100));
  EXPECT_FALSE(credit.receive(1));
}

TEST(ReceiveCredit, GrantsHalvesAndNeverMoreThanAWindow) {
  ReceiveCredit credit(100);
  ASSERT_TRUE(credit.receive(100));
  EXPECT_EQ(credit.consume(49), 0u);
  EXPECT_EQ(credit.consume(1), 50u);
  EXPECT_FALSE(credit.receive(51));
  EXPECT_TRUE(credit.receive(50));
  EXPECT_EQ(credit.consume(100), 100u);
  EXPECT_FALSE(credit.receive(101));
}

}  // namespace
}  // namespace postern::ipc
