// Secret: what it holds, what a move leaves behind, that it can't be printed.
#include "postern/base/secret.hpp"

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <type_traits>
#include <utility>

namespace postern {
namespace {

template <typename T>
concept Printable = requires(std::ostream& out, const T& value) { out << value; };
template <typename T>
concept Comparable = requires(const T& a, const T& b) { a == b; };

static_assert(!Printable<Secret>);
static_assert(!Comparable<Secret>);
static_assert(!std::is_copy_constructible_v<Secret>);
static_assert(!std::is_convertible_v<Secret, std::string_view>);
static_assert(!std::is_convertible_v<std::string_view, Secret>);

TEST(Secret, HoldsWhatItWasGiven) {
  EXPECT_EQ(Secret("hunter2").expose(), "hunter2");
  EXPECT_EQ(Secret(std::string_view("a\0b", 3)).expose(), std::string_view("a\0b", 3));
  EXPECT_TRUE(Secret().empty());
  EXPECT_TRUE(Secret("").empty());
  EXPECT_EQ(Secret("hunter2").clone().expose(), "hunter2");
}

TEST(Secret, MoveLeavesNothing) {
  Secret a("short");
  const char* where = a.expose().data();
  Secret b(std::move(a));
  EXPECT_TRUE(a.empty());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(b.expose().data(), where) << "the bytes must not be copied";
  Secret c("other");
  c = std::move(b);
  EXPECT_TRUE(b.empty());  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(c.expose(), "short");
  auto& same = c;
  c = std::move(same);
  EXPECT_EQ(c.expose(), "short");
}

TEST(Secret, WipeOverwrites) {
  std::string text = "hunter2";
  wipe(text.data(), text.size());
  EXPECT_EQ(text, std::string(7, '\0'));
  wipe(nullptr, 0);
}

TEST(EqualConstantTime, ComparesSizeAndContent) {
  EXPECT_TRUE(equal_constant_time("", ""));
  EXPECT_TRUE(equal_constant_time("abc", "abc"));
  EXPECT_FALSE(equal_constant_time("abc", "abd"));
  EXPECT_FALSE(equal_constant_time("abc", "ab"));
  EXPECT_FALSE(equal_constant_time("abc", "abcd"));
}

}  // namespace
}  // namespace postern
