// The Text form: RFC 8621, 4.1.2.2; RFC 2047.
#include <gtest/gtest.h>

#include "postern/mail/mime/headers.hpp"

namespace postern::mail {
namespace {

TEST(AsText, UnfoldsAndTrimsTheBeginning) {
  EXPECT_EQ(as_text(" Hello"), "Hello");
  EXPECT_EQ(as_text("\r\n\t Hello"), "Hello");
  EXPECT_EQ(as_text("  a\r\n b\r\n\tc\r\n"), "a b\tc");
  EXPECT_EQ(as_text(" a  b "), "a  b ");
  EXPECT_EQ(as_text(""), "");
}

// RFC 2047, 8.
TEST(AsText, ExamplesOfRfc2047) {
  EXPECT_EQ(as_text("=?ISO-8859-1?Q?a?="), "a");
  EXPECT_EQ(as_text("=?ISO-8859-1?Q?a?= b"), "a b");
  EXPECT_EQ(as_text("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?="), "ab");
  EXPECT_EQ(as_text("=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?="), "ab");
  EXPECT_EQ(as_text("=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?="), "ab");
  EXPECT_EQ(as_text("=?ISO-8859-1?Q?a_b?="), "a b");
  EXPECT_EQ(as_text("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?="), "a b");
  EXPECT_EQ(
      as_text("=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBl"
              "eGFtcGxlLg==?="),
      "If you can read this you understand the example.");
  EXPECT_EQ(as_text("=?US-ASCII*EN?Q?Keith_Moore?="), "Keith Moore");  // RFC 2231, 5
}

TEST(AsText, MixesWordsAndText) {
  EXPECT_EQ(as_text(" Re: =?utf-8?q?caf=C3=A9?= au lait =?utf-8?b?4pyT?="),
            "Re: caf\xC3\xA9 au lait \xE2\x9C\x93");
}

TEST(AsText, JoinsCharactersCutBetweenWords) {
  EXPECT_EQ(as_text("=?UTF-8?B?4pw=?= =?utf-8?B?kw?="), "\xE2\x9C\x93");
  EXPECT_EQ(as_text("=?utf-8?Q?=E2=9C?= =?utf-8?Q?=93?="), "\xE2\x9C\x93");
}

// "Any text that looks like syntax per RFC 2047 but violates placement or white space rules MUST NOT be decoded."
TEST(AsText, LeavesWordsInTheWrongPlace) {
  for (const std::string text :
       {"x=?utf-8?Q?a?=", "=?utf-8?Q?a?=x", "=?utf-8?Q?a?==?utf-8?Q?b?=", "(=?utf-8?Q?a?=)",
        "=?utf-8?Q?a b?=", "=?utf-8?Q?a?b?=", "=?utf-8?X?a?=", "=?utf-8?Q?a", "=?utf-8?Q", "=?utf-8", "=?",
        "=??Q?a?=", "=?utf-8?Q?a\xC3\xA9?="})
    EXPECT_EQ(as_text(text), text);
}

TEST(AsText, LeavesUnknownCharsets) {
  EXPECT_EQ(as_text("=?x-martian?Q?a?="), "=?x-martian?Q?a?=");
  EXPECT_EQ(as_text("=?../../x?Q?a?="), "=?../../x?Q?a?=");
}

TEST(AsText, DropsEncodedControls) {
  EXPECT_EQ(as_text("=?utf-8?Q?a=00b=0D=0Ac=09d=7Fe=C2=85f?="), "abcdef");
}

TEST(AsText, ReplacesMalformedOctets) {
  EXPECT_EQ(as_text("=?utf-8?Q?a=E9b?="),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(as_text("=?utf-8?Q?a=E?="), "a=E");
  EXPECT_EQ(as_text("a\xFF"), "a\xEF\xBF\xBD");
  EXPECT_EQ(as_text("=?iso-2022-jp?B?GyRC?="), "");
}

TEST(AsText, Normalises) {
  EXPECT_EQ(as_text("cafe\xCC\x81"), "caf\xC3\xA9");
  EXPECT_EQ(as_text("=?utf-8?Q?cafe=CC=81?="), "caf\xC3\xA9");
}

TEST(AsText, CharsetsOfRealMail) {
  EXPECT_EQ(as_text("=?ISO-2022-JP?B?GyRCJDMkcyRLJEEkTxsoQg==?="),
            "\xE3\x81\x93\xE3\x82\x93\xE3\x81\xAB\xE3\x81\xA1\xE3\x81\xAF");
  EXPECT_EQ(as_text("=?gb2312?B?xOO6ww==?="), "\xE4\xBD\xA0\xE5\xA5\xBD");
  EXPECT_EQ(as_text("=?ks_c_5601-1987?B?vsiz5w==?="), "\xEC\x95\x88\xEB\x85\x95");
  EXPECT_EQ(as_text("=?koi8-r?B?8NLJ18XU?="), "\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82");
  EXPECT_EQ(as_text("=?windows-1252?Q?=80?="), "\xE2\x82\xAC");
  EXPECT_EQ(as_text("=?iso-8859-1?Q?=93x=94?="), "\xE2\x80\x9Cx\xE2\x80\x9D");
}

TEST(AsText, KeepsLineEndsOutOfTheValue) { EXPECT_EQ(as_text("a\r\nb\rc\nd"), "a b c d"); }

TEST(AsText, HostileInputIsLinear) {
  std::string text;
  while (text.size() < 500'000) text += "=?utf-8?Q?";
  EXPECT_EQ(as_text(text), text);
  text.clear();
  while (text.size() < 500'000) text += "=?utf-8?Q?a?= ";
  EXPECT_EQ(as_text(text).size(), 500'010 / 14 + 1);
}

}  // namespace
}  // namespace postern::mail
