// Header blocks: RFC 5322, 2.2; RFC 8621, 4.1.2.1 (Raw).
#include <gtest/gtest.h>

#include "postern/mail/mime/headers.hpp"
#include "postern/mail/mime/limits.hpp"

namespace postern::mail {
namespace {

TEST(HeaderBlock, KeepsOrderNamesAndRawValues) {
  const HeaderBlock header = parse_header_block(
      "Received: from a\r\n\tby b\r\nX-Empty:\r\nSUBJECT: one\r\n  two \r\nreceived: second\r\n\r\nBody: "
      "no\r\n");
  ASSERT_EQ(header.fields.size(), 4u);
  EXPECT_EQ(header.fields[0].name, "Received");
  EXPECT_EQ(header.fields[0].value, " from a\r\n\tby b");
  EXPECT_EQ(header.fields[1].name, "X-Empty");
  EXPECT_EQ(header.fields[1].value, "");
  EXPECT_EQ(header.fields[2].name, "SUBJECT");
  EXPECT_EQ(header.fields[2].value, " one\r\n  two ");
  EXPECT_EQ(header.fields[3].name, "received");
  EXPECT_FALSE(header.truncated);
}

TEST(HeaderBlock, LastIsTheLastInstanceInAnyCase) {
  const HeaderBlock header = parse_header_block("To: a\r\nTO: b\r\nCc: c\r\n");
  ASSERT_NE(header.last("to"), nullptr);
  EXPECT_EQ(header.last("to")->value, " b");
  EXPECT_EQ(header.last("Bcc"), nullptr);
}

TEST(HeaderBlock, ReplacesWhatIsNoUtf8AndDropsNul) {
  const HeaderBlock header = parse_header_block(std::string_view("A: x\xE9y\0z\r\nB: \xC3\xA9\r\n", 18));
  ASSERT_EQ(header.fields.size(), 2u);
  EXPECT_EQ(header.fields[0].value, " x\xEF\xBF\xBDyz");
  EXPECT_EQ(header.fields[1].value, " \xC3\xA9");
}

TEST(HeaderBlock, ReadsBareLineFeedsAndAMissingEnd) {
  const HeaderBlock header = parse_header_block("A: 1\n 2\nB: 3");
  ASSERT_EQ(header.fields.size(), 2u);
  EXPECT_EQ(header.fields[0].value, " 1\n 2");
  EXPECT_EQ(header.fields[1].value, " 3");
}

TEST(HeaderBlock, AcceptsSpaceBeforeTheColon) {
  const HeaderBlock header = parse_header_block("Subject \t: x\r\n");
  ASSERT_EQ(header.fields.size(), 1u);
  EXPECT_EQ(header.fields[0].name, "Subject");
  EXPECT_EQ(header.fields[0].value, " x");
}

TEST(HeaderBlock, SkipsLinesThatAreNoFields) {
  const HeaderBlock header = parse_header_block(
      " continuation of nothing\r\nFrom joe@example.com Mon Oct 13\r\nno colon at all\r\n and more\r\n: "
      "nameless\r\n"
      "sp ace: x\r\nN\xC3\xA9: x\r\nOk: y\r\n");
  ASSERT_EQ(header.fields.size(), 1u);
  EXPECT_EQ(header.fields[0].name, "Ok");
}

TEST(HeaderBlock, EndsAtTheFirstEmptyLine) {
  EXPECT_TRUE(parse_header_block("").fields.empty());
  EXPECT_TRUE(parse_header_block("\r\nA: b\r\n").fields.empty());
  EXPECT_EQ(parse_header_block("A: b\r\n\nC: d\r\n").fields.size(), 1u);
}

TEST(HeaderBlock, FoldedLineOfWhiteSpaceContinues) {
  const HeaderBlock header = parse_header_block("A: b\r\n \r\n c\r\nD: e\r\n");
  ASSERT_EQ(header.fields.size(), 2u);
  EXPECT_EQ(header.fields[0].value, " b\r\n \r\n c");
}

TEST(HeaderBlock, BoundsFields) {
  std::string block;
  for (std::size_t i = 0; i < header_fields_max; ++i) block += "A: b\r\n";
  EXPECT_FALSE(parse_header_block(block).truncated);
  block += "A: b\r\n";
  const HeaderBlock header = parse_header_block(block);
  EXPECT_EQ(header.fields.size(), header_fields_max);
  EXPECT_TRUE(header.truncated);
}

TEST(HeaderBlock, BoundsOctets) {
  std::string block = "A: ";
  block.resize(header_bytes_max - 2, 'x');
  block += "\r\n";
  EXPECT_FALSE(parse_header_block(block).truncated);
  EXPECT_EQ(parse_header_block(block).fields[0].value.size(), header_bytes_max - 4);
  block.insert(3, "x");
  EXPECT_TRUE(parse_header_block(block).truncated);
}

TEST(HeaderBlock, SurvivesBeingCutAnywhere) {
  const std::string block = "Subject: =?utf-8?Q?a?=\r\n b\r\nTo: \"a\r\n b\" <c@d>\r\n\r\n";
  for (std::size_t i = 0; i <= block.size(); ++i) {
    const HeaderBlock header = parse_header_block(std::string_view(block).substr(0, i));
    EXPECT_LE(header.fields.size(), 2u);
  }
}

}  // namespace
}  // namespace postern::mail
