// ManageSieve's lines, commands and capabilities (RFC 5804), whole and cut anywhere.
#include "postern/sieve/protocol.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postern::sieve {
namespace {

using ::testing::ElementsAre;

Word atom(std::string text) { return {std::move(text), false}; }
Word string_word(std::string text) { return {std::move(text), true}; }

std::vector<Line> lines_of(std::string_view text, std::size_t piece, ReplyLimits limits = {}) {
  ReplyParser parser(limits);
  std::vector<Line> lines;
  for (std::size_t at = 0; at < text.size(); at += piece) {
    parser.feed(text.substr(at, piece));
    for (;;) {
      auto line = parser.next();
      EXPECT_TRUE(line) << line.error().to_string();
      if (!line || !*line) break;
      lines.push_back(std::move(**line));
    }
  }
  EXPECT_EQ(parser.pending(), 0U);
  return lines;
}

std::error_code error_of(std::string_view text, ReplyLimits limits = {}) {
  ReplyParser parser(limits);
  parser.feed(text);
  for (;;) {
    auto line = parser.next();
    if (!line) return line.error().code;
    if (!*line) return {};
  }
}

TEST(ManageSieveReplies, AreReadWhereverTheyAreCut) {
  const std::string text =
      "\"mine \\\"&\\\\\" ACTIVE\r\n{4}\r\na\r\nb\r\n{0}\r\n\r\n"
      "NO (QUOTA/MAXSIZE) \"too (large)\"\r\nOK (SASL \"c)=\")\r\nOK\r\n";
  for (std::size_t piece = 1; piece <= text.size(); ++piece)
    EXPECT_THAT(lines_of(text, piece),
                ElementsAre(Line{string_word("mine \"&\\"), atom("ACTIVE")}, Line{string_word("a\r\nb")},
                            Line{string_word("")},
                            Line{atom("NO"), atom("(QUOTA/MAXSIZE)"), string_word("too (large)")},
                            Line{atom("OK"), atom("(SASL \"c)=\")")}, Line{atom("OK")}))
        << piece;
}

TEST(ManageSieveReplies, AreRefusedWhereTheyAreNone) {
  for (const char* text :
       {"\"a\rb\"\r\n", "{x}\r\n", "{5}a\r\n", "{5\r\n", "OK \"a\r\n", "a\rb\r\n", "(a\r\n", "\x01\r\n"})
    EXPECT_EQ(error_of(text), Errc::syntax) << text;
}

TEST(ManageSieveReplies, AreBounded) {
  const ReplyLimits limits{.line_bytes_max = 12, .literal_bytes_max = 4, .words_max = 2};
  EXPECT_EQ(error_of("\"12345678\"\r\n", limits), std::error_code());
  EXPECT_EQ(error_of("\"123456789\"\r\n", limits), Errc::too_large);
  EXPECT_EQ(error_of("\"1234567890123", limits), Errc::too_large);  // before its end has come
  EXPECT_EQ(error_of("{4}\r\n1234\r\n", limits), std::error_code());
  EXPECT_EQ(error_of("{5}\r\n", limits), Errc::too_large);
  EXPECT_EQ(error_of("{99999999999999999999}\r\n", limits), Errc::too_large);
  EXPECT_EQ(error_of("a b\r\n", limits), std::error_code());
  EXPECT_EQ(error_of("a b c\r\n", limits), Errc::too_large);
}

TEST(ManageSieveReplies, EndWithACompletion) {
  const auto completion = [](std::string_view text) {
    return parse_completion(lines_of(text, text.size()).at(0));
  };
  auto no = completion("no (quota/maxscripts) \"enough\"\r\n");
  ASSERT_TRUE(no && *no);
  EXPECT_EQ((*no)->status, Status::no);
  EXPECT_EQ((*no)->code, "QUOTA/MAXSCRIPTS");
  EXPECT_EQ((*no)->text, "enough");
  auto bye = completion("BYE (REFERRAL \"sieve://b\") {2}\r\ngo\r\n");
  ASSERT_TRUE(bye && *bye);
  EXPECT_EQ((*bye)->status, Status::bye);
  EXPECT_EQ((*bye)->code_argument, "sieve://b");
  EXPECT_EQ((*bye)->text, "go");
  auto data = completion("\"OK\"\r\n");
  ASSERT_TRUE(data);
  EXPECT_FALSE(*data);
  EXPECT_FALSE(completion("MAYBE\r\n"));
  EXPECT_FALSE(completion("OK \"a\" \"b\"\r\n"));
  EXPECT_FALSE(completion("\r\n"));
}

TEST(ManageSieveCommands, EscapeEverything) {
  EXPECT_EQ(CommandBuilder("LISTSCRIPTS").finish(), "LISTSCRIPTS\r\n");
  EXPECT_EQ(CommandBuilder("SETACTIVE").script_name("a\"b\\c").finish(), "SETACTIVE \"a\\\"b\\\\c\"\r\n");
  EXPECT_EQ(CommandBuilder("SETACTIVE").script_name("").finish(), "SETACTIVE \"\"\r\n");
  EXPECT_EQ(CommandBuilder("PUTSCRIPT").script_name("n").string("keep;\r\nSETACTIVE \"x\"\r\n").finish(),
            "PUTSCRIPT \"n\" {22+}\r\nkeep;\r\nSETACTIVE \"x\"\r\n\r\n");
  EXPECT_EQ(CommandBuilder("X").string("\xff").finish(), "X {1+}\r\n\xff\r\n");
  EXPECT_EQ(CommandBuilder("X").string(std::string("a\0b", 3)).finish().error().code, Errc::bad_argument);
  for (std::string_view name : {"a\nb", "a\x7f", "\xc2\x85", "\xe2\x80\xa8", "\xff"})
    EXPECT_EQ(CommandBuilder("SETACTIVE").script_name(name).finish().error().code, Errc::bad_argument)
        << name;
  EXPECT_TRUE(is_script_name("Fr\xc3\xbchling \xe2\x98\xba"));
}

TEST(ManageSieveCommands, QuoteUpToTheLimit) {
  EXPECT_EQ(wire_string(std::string(quoted_octets_max, 'a')).front(), '"');
  EXPECT_EQ(wire_string(std::string(quoted_octets_max + 1, 'a')).front(), '{');
  EXPECT_EQ(wire_string(std::string(quoted_octets_max / 2, '"')).front(), '"');
  EXPECT_EQ(wire_string(std::string(quoted_octets_max / 2 + 1, '"')).front(), '{');
}

TEST(ManageSieveCapabilities, AreHeard) {
  Capabilities capabilities;
  for (const auto& line : lines_of("\"IMPLEMENTATION\" \"Test\"\r\n\"sieve\" \"Vacation  include\"\r\n"
                                   "\"SASL\" \"PLAIN LOGIN\"\r\n\"STARTTLS\"\r\n\"X-OTHER\" \"1\"\r\n",
                                   7))
    capabilities.add(line);
  EXPECT_EQ(capabilities.implementation, "Test");
  EXPECT_TRUE(capabilities.has("vacation") && capabilities.has("include") && capabilities.starttls);
  EXPECT_FALSE(capabilities.has("date"));
  EXPECT_THAT(capabilities.sasl, ElementsAre("PLAIN", "LOGIN"));
}

}  // namespace
}  // namespace postern::sieve
