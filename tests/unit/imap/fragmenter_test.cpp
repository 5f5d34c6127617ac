// Fragmenter: where responses end, however they come, and what is skipped.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "postern/imap/parser.hpp"

namespace postern::imap {
namespace {

using testing::ElementsAre;
using Pieces = std::vector<std::string>;

// All responses in `data`, given `step` octets at a time; "!" for each that was refused.
Pieces fragments(std::string_view data, std::size_t step, FragmenterLimits limits = {}) {
  Fragmenter fragmenter(limits);
  Pieces out;
  while (!data.empty()) {
    std::string_view piece = data.substr(0, step);
    data.remove_prefix(piece.size());
    for (;;) {
      auto next = fragmenter.next(piece);
      if (!next) {
        EXPECT_EQ(next.error().code, Errc::too_large);
        out.emplace_back("!");
        continue;
      }
      if (!*next) break;
      out.emplace_back(**next);
    }
    EXPECT_TRUE(piece.empty());
  }
  if (!fragmenter.idle()) out.emplace_back("?");
  return out;
}

// The same responses, whether they come at once, in any two pieces or octet by octet.
void expect_fragments(const std::string& data, const Pieces& expected, FragmenterLimits limits = {}) {
  for (std::size_t step = 1; step <= data.size(); ++step) {
    ASSERT_EQ(fragments(data, step, limits), expected) << "in steps of " << step;
  }
  for (std::size_t split = 0; split <= data.size(); ++split) {
    Fragmenter fragmenter(limits);
    Pieces out;
    for (std::string_view piece :
         {std::string_view(data).substr(0, split), std::string_view(data).substr(split)}) {
      for (;;) {
        auto next = fragmenter.next(piece);
        if (next && !*next) break;
        out.emplace_back(next ? **next : "!");
      }
    }
    ASSERT_EQ(out, expected) << "split at " << split;
    ASSERT_TRUE(fragmenter.idle());
  }
}

TEST(Fragmenter, Lines) {
  expect_fragments("* OK hi\r\n* 1 EXISTS\r\na1 OK done\r\n", {"* OK hi", "* 1 EXISTS", "a1 OK done"});
}

TEST(Fragmenter, LiteralsBelongToTheirResponse) {
  expect_fragments("* 1 FETCH (BODY[] {5}\r\nab\r\nc UID 3)\r\n* 2 EXISTS\r\n",
                   {"* 1 FETCH (BODY[] {5}\r\nab\r\nc UID 3)", "* 2 EXISTS"});
  expect_fragments("* LIST () {1}\r\n/ {3}\r\na\r\n\r\n", {"* LIST () {1}\r\n/ {3}\r\na\r\n"});
  expect_fragments("* 1 FETCH (A ~{2}\r\n\r\n B {0}\r\n C {2+}\r\nxy)\r\n",
                   {"* 1 FETCH (A ~{2}\r\n\r\n B {0}\r\n C {2+}\r\nxy)"});
}

TEST(Fragmenter, BareLineFeedsAreLineEnds) {
  expect_fragments("* OK hi\n* X {2}\nab c\n", {"* OK hi", "* X {2}\nab c"});
}

TEST(Fragmenter, EmptyLines) { expect_fragments("\r\n\n* OK\r\n", {"", "", "* OK"}); }

TEST(Fragmenter, TextThatLooksLikeALiteralIsText) {
  expect_fragments(
      "* OK see {5}\r\na1 NO no {7}\r\n* BAD[X] {1}\r\n+ go {3}\r\n* BYE {9}\r\n* PREAUTH {1}\r\n* 1 "
      "EXISTS\r\n",
      {"* OK see {5}", "a1 NO no {7}", "* BAD[X] {1}", "+ go {3}", "* BYE {9}", "* PREAUTH {1}",
       "* 1 EXISTS"});
  expect_fragments("* X {}\r\n* X {a}\r\n* X 5}\r\n* X {5 }\r\n",
                   {"* X {}", "* X {a}", "* X 5}", "* X {5 }"});
}

TEST(Fragmenter, ALineEndsAtItsBound) {
  const FragmenterLimits limits{.line_bytes = 12, .literal_bytes = 100, .response_bytes = 1000};
  expect_fragments("* 1234567\r\n* 12345678\r\n* OK\r\n", {"* 1234567", "* 12345678", "* OK"}, limits);
  expect_fragments("* 123456789\r\n* OK\r\n", {"!", "* OK"}, limits);
  expect_fragments("* 1234567890123456789012345678901234567890\r\n* OK\r\n", {"!", "* OK"}, limits);
}

TEST(Fragmenter, LinesOfOneResponseCountTogether) {
  const FragmenterLimits limits{.line_bytes = 12, .literal_bytes = 100, .response_bytes = 1000};
  expect_fragments("* {5}\r\n12345 x\r\n* OK\r\n", {"* {5}\r\n12345 x", "* OK"}, limits);
  expect_fragments("* {5}\r\n12345 xyz\r\n* OK\r\n", {"!", "* OK"}, limits);
}

TEST(Fragmenter, ALiteralEndsAtItsBound) {
  const FragmenterLimits limits{.line_bytes = 100, .literal_bytes = 5, .response_bytes = 1000};
  expect_fragments("* X {5}\r\n\r\n\r\n1\r\n* OK\r\n", {"* X {5}\r\n\r\n\r\n1", "* OK"}, limits);
  expect_fragments("* X {6}\r\n\r\n\r\n12\r\n* OK\r\n", {"!", "* OK"}, limits);
}

TEST(Fragmenter, ASkippedResponseIsSkippedWhole) {
  const FragmenterLimits limits{.line_bytes = 100, .literal_bytes = 5, .response_bytes = 1000};
  expect_fragments("* X {8}\r\n\r\n* OK\r\n {7}\r\n* OK\r\n\n {3}\r\nabc)\r\n* OK\r\n", {"!", "* OK"},
                   limits);
}

TEST(Fragmenter, AResponseEndsAtItsBound) {
  const FragmenterLimits limits{.line_bytes = 100, .literal_bytes = 100, .response_bytes = 20};
  expect_fragments("* X {4}\r\n1234 12345\r\n* OK\r\n", {"!", "* OK"}, limits);
  expect_fragments("* X {4}\r\n1234 1234\r\n* OK\r\n", {"* X {4}\r\n1234 1234", "* OK"}, limits);
  expect_fragments("* X {11}\r\n12345678901\r\n* OK\r\n", {"!", "* OK"}, limits);
}

TEST(Fragmenter, ALongLineThatEndsInALiteralIsSkippedWithIt) {
  const FragmenterLimits limits{.line_bytes = 10, .literal_bytes = 100, .response_bytes = 1000};
  expect_fragments("* 12345678901234567890 {8}\r\n* OK A\r\n)\r\n* OK\r\n", {"!", "* OK"}, limits);
  expect_fragments("* 1234567890123 {00000000000000000008+}\r\n* OK A\r\n)\r\n* OK\r\n", {"!", "* OK"},
                   limits);
}

TEST(Fragmenter, ALongStatusTextIsNoLiteralEither) {
  const FragmenterLimits limits{.line_bytes = 10, .literal_bytes = 100, .response_bytes = 1000};
  expect_fragments("* NO 12345678901234567890 {8}\r\n* OK\r\n", {"!", "* OK"}, limits);
}

TEST(Fragmenter, ALiteralTooLargeToCountNeverEnds) {
  std::string data = "* X {99999999999999999999999}\r\n";
  EXPECT_THAT(fragments(data + "* OK\r\n", 7), ElementsAre("!", "?"));
  EXPECT_THAT(fragments(data + "* OK\r\n", 1000), ElementsAre("!", "?"));
}

TEST(Fragmenter, LiteralsOfOneResponseAreCounted) {
  const auto response = [](std::size_t literals) {
    std::string out = "* X";
    for (std::size_t i = 0; i < literals; ++i) out += " {1}\r\nx";
    return out;
  };
  EXPECT_THAT(fragments(response(literals_per_response_max) + "\r\n* OK\r\n", 1'000'000),
              ElementsAre(response(literals_per_response_max), "* OK"));
  EXPECT_THAT(fragments(response(literals_per_response_max + 1) + "\r\n* OK\r\n", 1'000'000),
              ElementsAre("!", "* OK"));
}

TEST(Fragmenter, TheBoundsAreTheNamedOnes) {
  const FragmenterLimits limits;
  EXPECT_EQ(limits.line_bytes, line_bytes_max);
  EXPECT_EQ(limits.literal_bytes, literal_bytes_max);
  EXPECT_EQ(limits.response_bytes, response_bytes_max);
}

TEST(Fragmenter, APieceOfABodyIsWellWithinTheBounds) {
  EXPECT_LE(body_piece_bytes * 2, literal_bytes_max);
  const std::string response = "* 1 FETCH (BODY[]<0> {" + std::to_string(body_piece_bytes) + "}\r\n" +
                               std::string(body_piece_bytes, 'x') + ")";
  EXPECT_THAT(fragments(response + "\r\n", 16'384), ElementsAre(response));
}

TEST(Fragmenter, AWholeResponseIsNotCopied) {
  const std::string data = "* 1 FETCH (BODY[] {3}\r\nabc)\r\n* 2 EXISTS\r\n* 3";
  std::string_view left = data;
  Fragmenter fragmenter;
  EXPECT_EQ((*fragmenter.next(left))->data(), data.data());
  EXPECT_EQ((*fragmenter.next(left))->data(), data.data() + data.find("* 2"));
  EXPECT_TRUE(fragmenter.idle());
  EXPECT_EQ(*fragmenter.next(left), std::nullopt);
  EXPECT_FALSE(fragmenter.idle());
}

TEST(Fragmenter, ThePieceBehindAResponseIsLeft) {
  std::string_view first = "* 1 EX", second = "ISTS\r\n* OK\r\n", none;
  Fragmenter fragmenter;
  EXPECT_EQ(*fragmenter.next(first), std::nullopt);
  EXPECT_EQ(*fragmenter.next(second), "* 1 EXISTS");
  EXPECT_EQ(second, "* OK\r\n");
  EXPECT_TRUE(fragmenter.idle());
  EXPECT_EQ(*fragmenter.next(second), "* OK");
  EXPECT_EQ(*fragmenter.next(none), std::nullopt);
}

TEST(Fragmenter, TheHeadOfWhatWasSkippedIsKnown) {
  const FragmenterLimits limits{.line_bytes = 20, .literal_bytes = 5, .response_bytes = 1000};
  for (const std::size_t step : {1u, 3u, 100u}) {
    Fragmenter fragmenter(limits);
    std::string_view data = "* SORT 1 2 3 4 5 6 7 8 9\r\n";
    for (bool refused = false; !refused && !data.empty();) {
      std::string_view piece = data.substr(0, step);
      data.remove_prefix(piece.size());
      refused = !fragmenter.next(piece);
    }
    EXPECT_TRUE(fragmenter.skipped_head().starts_with("* SORT 1")) << step;
  }
}

}  // namespace
}  // namespace postern::imap
