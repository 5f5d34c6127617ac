// MessageIds, Date and URLs: RFC 8621, 4.1.2.5 to 4.1.2.7.
#include <gtest/gtest.h>

#include "postern/mail/mime/headers.hpp"
#include "postern/mail/mime/limits.hpp"

namespace postern::mail {
namespace {

using Texts = std::vector<std::string>;

TEST(AsMessageIds, RemovesBracketsAndCfws) {
  EXPECT_EQ(as_message_ids(" <1234@local.machine.example>"), (Texts{"1234@local.machine.example"}));
  EXPECT_EQ(as_message_ids(" <1@a>\r\n\t<2@b> (comment <3@c>) <4@d>"), (Texts{"1@a", "2@b", "4@d"}));
  EXPECT_EQ(as_message_ids("<1@a><2@b>,<3@c>"), (Texts{"1@a", "2@b", "3@c"}));
  EXPECT_EQ(as_message_ids("< 1 @ a >"), (Texts{"1@a"}));
  EXPECT_EQ(as_message_ids("<(not)a(comment)@x>"), (Texts{"(not)a(comment)@x"}));
}

TEST(AsMessageIds, ReadsTheObsoleteAndTheBroken) {
  EXPECT_EQ(as_message_ids("Your message of Tue <1@a>"), (Texts{"1@a"}));
  EXPECT_EQ(as_message_ids("\"Joe <x@y>\" <1@a>"), (Texts{"1@a"}));
  EXPECT_EQ(as_message_ids("<1@a <2@b>"), (Texts{"1@a", "2@b"}));
  EXPECT_EQ(as_message_ids("<1@a"), (Texts{"1@a"}));
  EXPECT_EQ(as_message_ids("1@a 2@b"), (Texts{"1@a", "2@b"}));
  EXPECT_EQ(as_message_ids("\"unclosed <1@a>"), (Texts{"1@a"}));
}

TEST(AsMessageIds, NullWhereThereIsNone) {
  for (const std::string_view value : {"", " ", "<>", "< >", "words only", "(<1@a>)", "@", "a@", "\""})
    EXPECT_EQ(as_message_ids(value), std::nullopt) << value;
}

TEST(AsMessageIds, Bounded) {
  std::string value;
  for (std::size_t i = 0; i < header_message_ids_max; ++i) value += "<a@b> ";
  EXPECT_EQ(as_message_ids(value)->size(), header_message_ids_max);
  value += "<c@d>";
  EXPECT_EQ(as_message_ids(value)->size(), header_message_ids_max);
  EXPECT_EQ(as_message_ids(value)->back(), "a@b");
}

TEST(AsDate, KeepsTheOffset) {
  EXPECT_EQ(as_date(" Sun, 13 Oct 2013 14:12:00 +0200"), "2013-10-13T14:12:00+02:00");
  EXPECT_EQ(as_date("Fri, 21 Nov 1997 09:55:06 -0600"), "1997-11-21T09:55:06-06:00");
  EXPECT_EQ(as_date("13 Oct 2013 14:12 +0530"), "2013-10-13T14:12:00+05:30");
  EXPECT_EQ(as_date("Tue, 1 Jul 2003 10:52:37 +0000"), "2003-07-01T10:52:37Z");
  EXPECT_EQ(as_date("Tue, 1 Jul 2003 10:52:37 -0000"), "2003-07-01T10:52:37Z");
}

// RFC 5322, A.5 and A.6.2.
TEST(AsDate, ObsoleteForms) {
  EXPECT_EQ(
      as_date("Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n               -0330 "
              "(Newfoundland Time)"),
      "1969-02-13T23:32:00-03:30");
  EXPECT_EQ(as_date("21 Nov 97 09:55:06 GMT"), "1997-11-21T09:55:06Z");
  EXPECT_EQ(as_date("Fri, 21 Nov 1997 09(comment):   55  :  06 -0600"), std::nullopt);
  EXPECT_EQ(as_date("21 Nov 97 09:55:06 EST"), "1997-11-21T09:55:06-05:00");
  EXPECT_EQ(as_date("21 Nov 12 09:55:06 PDT"), "2012-11-21T09:55:06-07:00");
  EXPECT_EQ(as_date("21 Nov 103 09:55:06 UT"), "2003-11-21T09:55:06Z");
  EXPECT_EQ(as_date("21 Nov 1997 09:55:06 A"), "1997-11-21T09:55:06Z");
  EXPECT_EQ(as_date("21 Nov 1997 09:55:06 CEST"), "1997-11-21T09:55:06Z");
}

TEST(AsDate, FormsOfRealMail) {
  EXPECT_EQ(as_date("Sun Oct 13 14:12:00 2013"), "2013-10-13T14:12:00Z");
  EXPECT_EQ(as_date("Sun Oct 13 14:12:00 2013 +0200"), "2013-10-13T14:12:00+02:00");
  EXPECT_EQ(as_date("Sun Oct 13 14:12:00 EST 2013"), "2013-10-13T14:12:00-05:00");
  EXPECT_EQ(as_date("Sunday, 13-Oct-13 14:12:00 GMT"), "2013-10-13T14:12:00Z");
  EXPECT_EQ(as_date("Sunday, October 13, 2013 14:12:00 +0200"), "2013-10-13T14:12:00+02:00");
  EXPECT_EQ(as_date("2013-10-13T14:12:00Z"), "2013-10-13T14:12:00Z");
  EXPECT_EQ(as_date("2013-10-13 14:12:00 +02:00"), "2013-10-13T14:12:00+02:00");
  EXPECT_EQ(as_date("2013-10-13T14:12:00.123+02:00"), "2013-10-13T14:12:00+02:00");
  EXPECT_EQ(as_date("Sun, 13 Oct 2013 14:12:00 GMT+0200"), "2013-10-13T14:12:00+02:00");
  EXPECT_EQ(as_date("Sun, 13 Oct 2013 14:12:00 UTC +0200"), "2013-10-13T14:12:00+02:00");
  EXPECT_EQ(as_date("Sun, 13 Oct 2013 14:12:00"), "2013-10-13T14:12:00Z");
  EXPECT_EQ(as_date("Sun, 13 Oct 2013 9:05:7 +0200"), "2013-10-13T09:05:07+02:00");
  EXPECT_EQ(as_date("Sun, 13 Oct 2013 14:12:60 +0200"), "2013-10-13T14:12:59+02:00");
  EXPECT_EQ(as_date("Sun, 13 Oct 2013 14:12:00 +9900"), "2013-10-13T14:12:00Z");
}

TEST(AsDate, NullWhereThereIsNone) {
  for (const std::string_view value :
       {"", "yesterday", "31 Feb 2013 10:00 +0000", "29 Feb 2013 10:00 +0000", "0 Oct 2013 10:00 +0000",
        "32 Oct 2013 10:00 +0000", "13 Oct 2013", "13 Oct 2013 24:00:00 +0000", "13 Oct 2013 10:60 +0000",
        "13 Oct 10:00:00 +0000", "13 2013 10:00:00", "13 Oct 99999999999 10:00 +0000",
        "13 Oct 1 10:00 2013 :", "2013-13-01T00:00:00Z", "-- :: ++"})
    EXPECT_EQ(as_date(value),
              value == "13 Oct 1 10:00 2013 :" ? as_date("13 Oct 1901 10:00 +0000") : std::nullopt)
        << value;
  EXPECT_NE(as_date("29 Feb 2012 10:00 +0000"), std::nullopt);
}

TEST(AsDate, SecondsAreTheInstant) {
  EXPECT_EQ(as_date_seconds("Thu, 1 Jan 1970 00:00:00 +0000"), 0);
  EXPECT_EQ(as_date_seconds("Sun, 13 Oct 2013 14:12:00 +0200"), 1381666320);
  EXPECT_EQ(as_date_seconds("Sun, 13 Oct 2013 12:12:00 GMT"), 1381666320);
  EXPECT_EQ(as_date_seconds("Sun, 13 Oct 2013 06:42:00 -0530"), 1381666320);
  EXPECT_EQ(as_date_seconds("nonsense"), std::nullopt);
}

// RFC 2369, 2 and 3.
TEST(AsUrls, ExamplesOfRfc2369) {
  EXPECT_EQ(as_urls("<mailto:list@host.com?subject=help> (Texts Instructions)"),
            (Texts{"mailto:list@host.com?subject=help"}));
  EXPECT_EQ(as_urls("<ftp://ftp.host.com/list.txt>, <mailto:list@host.com?subject=help>"),
            (Texts{"ftp://ftp.host.com/list.txt", "mailto:list@host.com?subject=help"}));
  EXPECT_EQ(
      as_urls(
          "(Use this command to join the list)\r\n   <mailto:list-manager@host.com?body=subscribe%20list>"),
      (Texts{"mailto:list-manager@host.com?body=subscribe%20list"}));
  EXPECT_EQ(as_urls("NO (posting not allowed on this list)"), std::nullopt);
  EXPECT_EQ(as_urls("<http://a/\r\n b>"), (Texts{"http://a/b"}));
  EXPECT_EQ(as_urls("NO <http://a/>"), std::nullopt);
  EXPECT_EQ(as_urls("<http://a/>, junk, <http://b/>"), (Texts{"http://a/"}));
}

TEST(AsUrls, ReadsWithoutBrackets) {
  EXPECT_EQ(as_urls("https://a.example/x, mailto:b@c"), (Texts{"https://a.example/x", "mailto:b@c"}));
  EXPECT_EQ(as_urls("<http://a"), (Texts{"http://a"}));
}

TEST(AsUrls, NullWhereThereIsNone) {
  for (const std::string_view value : {"", "  ", "<>", "NO", "(<http://a/>)", ":", "a:", "1:2"})
    EXPECT_EQ(as_urls(value), std::nullopt) << value;
}

TEST(AsUrls, Bounded) {
  std::string value;
  for (std::size_t i = 0; i < header_urls_max; ++i) value += "<a:b>,";
  EXPECT_EQ(as_urls(value)->size(), header_urls_max);
  EXPECT_EQ(as_urls(value + "<c:d>")->size(), header_urls_max);
}

}  // namespace
}  // namespace postern::mail
