// Dates in and out, and the odd ones that servers write.
#include <gtest/gtest.h>

#include "postern/imap/parser.hpp"

namespace postern::imap {
namespace {

constexpr std::int64_t example = 837'596'665;  // 17-Jul-1996 09:44:25 UTC

TEST(DateTime, ReadsWhatTheGrammarSays) {
  EXPECT_EQ(parse_date_time("17-Jul-1996 02:44:25 -0700"), example);
  EXPECT_EQ(parse_date_time("17-Jul-1996 09:44:25 +0000"), example);
  EXPECT_EQ(parse_date_time("17-JUL-1996 15:14:25 +0530"), example);
  EXPECT_EQ(parse_date_time(" 1-Jan-1970 00:00:00 +0000"), 0);
  EXPECT_EQ(parse_date_time("31-Dec-1969 23:59:59 +0000"), -1);
  EXPECT_EQ(parse_date_time("29-Feb-2024 00:00:00 +0000"), 1'709'164'800);
}

TEST(DateTime, MissingLeadingZeros) {
  EXPECT_EQ(parse_date_time("1-Jan-1970 0:00:01 +0000"), 1);
  EXPECT_EQ(parse_date_time("01-Jan-1970 0:0:1 +0000"), 1);
}

TEST(DateTime, OddZones) {
  for (const char* zone : {"-07:00", "-700", "-7", "MST", "PDT", "mst"}) {
    EXPECT_EQ(parse_date_time(std::string("17-Jul-1996 02:44:25 ") + zone), example) << zone;
  }
  for (const char* zone :
       {"", " ", " GMT", " UTC", " UT", " Z", " +0000", " -0000", " X", " +9999", " (nonsense)"}) {
    EXPECT_EQ(parse_date_time(std::string("17-Jul-1996 09:44:25") + zone), example) << zone;
  }
}

TEST(DateTime, OtherSpellings) {
  EXPECT_EQ(parse_date_time("Wed, 17 Jul 1996 02:44:25 -0700"), example);
  EXPECT_EQ(parse_date_time("Wed 17 Jul 1996 02:44:25 -0700"), example);
  EXPECT_EQ(parse_date_time("17-July-1996 02:44:25 -0700"), example);
  EXPECT_EQ(parse_date_time("17-Jul-96 02:44:25 -0700"), example);
  EXPECT_EQ(parse_date_time("17-Jul-096 02:44:25 -0700"), example);
  EXPECT_EQ(parse_date_time("17-Jul-1996 02:44 -0700"), example - 25);
  EXPECT_EQ(parse_date_time("17-Jul-1996 02:44:25.123 -0700"), example);
  EXPECT_EQ(parse_date_time("17-Jul-1996"), example - 9 * 3600 - 44 * 60 - 25);
  EXPECT_EQ(parse_date_time("17-Jul-1996 09:44:60 +0000"), example + 34) << "a leap second is the one before";
}

TEST(DateTime, RefusesWhatIsNoDate) {
  for (const char* text :
       {"", " ", "-", "17", "17-", "17-Foo-1996 00:00:00 +0000", "32-Jan-2000 00:00:00 +0000",
        "00-Jan-2000 00:00:00 +0000", "30-Feb-2000 00:00:00 +0000", "1-Jan-2000 25:00:00 +0000",
        "1-Jan-2000 00:61:00 +0000", "1-Jan-2000 aa", "1-Jan-2000 10", "1-Jan", "1-Jan-2", "Mon,",
        "Jan 1 2000", ",", "1-Ja-2000"}) {
    EXPECT_EQ(parse_date_time(text), std::nullopt) << text;
  }
}

TEST(DateTime, IsWrittenInUtc) {
  EXPECT_EQ(format_date(example), "17-Jul-1996");
  EXPECT_EQ(format_date(0), "1-Jan-1970");
  EXPECT_EQ(format_date_time(example), "17-Jul-1996 09:44:25 +0000");
  EXPECT_EQ(format_date_time(0), " 1-Jan-1970 00:00:00 +0000");
  EXPECT_EQ(format_date_time(-1), "31-Dec-1969 23:59:59 +0000");
}

TEST(DateTime, IsReadAsWritten) {
  for (std::int64_t t = -3'000'000'000; t < 5'000'000'000; t += 12'345'678) {
    EXPECT_EQ(parse_date_time(format_date_time(t)), t);
  }
}

TEST(DateTime, YearsThatDontFitAreClamped) {
  EXPECT_EQ(format_date(INT64_MAX), "31-Dec-9999");
  EXPECT_EQ(format_date(INT64_MIN), "1-Jan-0000");
}

}  // namespace
}  // namespace postern::imap
