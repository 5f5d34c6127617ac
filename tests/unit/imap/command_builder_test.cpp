// What is written: quoting, literals of each kind, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "postern/imap/command.hpp"
#include "postern/imap/limits.hpp"

namespace postern::imap {
namespace {

using testing::ElementsAre;
using Names = std::vector<std::string>;

const CapabilitySet plain(Names{"IMAP4rev1"});
const CapabilitySet literal_plus(Names{"IMAP4rev1", "LITERAL+"});
const CapabilitySet literal_minus(Names{"IMAP4rev1", "LITERAL-"});

std::vector<std::string> chunks(CommandBuilder& builder) {
  auto command = builder.finish();
  if (!command) return {"error: " + command.error().to_string()};
  return command->chunks;
}
std::vector<std::string> astring(std::string_view text, const CapabilitySet& capabilities = plain) {
  CommandBuilder builder("X", capabilities);
  return chunks(builder.sp().astring(text));
}

TEST(CommandBuilder, BuildsALine) {
  CommandBuilder builder("UID FETCH", plain);
  builder.sp().set(*UidSet::parse("1:3,5")).sp().raw("(UID FLAGS)").expect(Expect::fetch);
  const auto command = builder.finish();
  ASSERT_TRUE(command);
  EXPECT_EQ(command->name, "UID FETCH");
  EXPECT_THAT(command->chunks, ElementsAre("UID FETCH 1:3,5 (UID FLAGS)"));
  EXPECT_EQ(command->expect, Expect::fetch);
  EXPECT_TRUE(command->repeatable);
  EXPECT_FALSE(command->exclusive || command->secret);
}

TEST(CommandBuilder, SaysWhatKindOfCommandItIs) {
  CommandBuilder builder("X", plain);
  builder.expect(Expect::list).expect(Expect::status).write().exclusive().secret();
  const auto command = builder.finish();
  ASSERT_TRUE(command);
  EXPECT_EQ(command->expect, Expect::list | Expect::status);
  EXPECT_FALSE(command->repeatable);
  EXPECT_TRUE(command->exclusive && command->secret);
}

TEST(CommandBuilder, AtomsAndQuotedStrings) {
  EXPECT_THAT(astring("INBOX"), ElementsAre("X INBOX"));
  EXPECT_THAT(astring("a]b"), ElementsAre("X a]b"));
  EXPECT_THAT(astring("Sent Items"), ElementsAre("X \"Sent Items\""));
  EXPECT_THAT(astring(""), ElementsAre("X \"\""));
  EXPECT_THAT(astring("nil"), ElementsAre("X \"nil\"")) << "NIL is no string";
  EXPECT_THAT(astring("a\"b\\c"), ElementsAre("X \"a\\\"b\\\\c\""));
  for (const char* special : {"(", ")", "{", "%", "*", "{3}", "{3+}"}) {
    EXPECT_THAT(astring(special), ElementsAre("X \"" + std::string(special) + "\"")) << special;
  }
}

TEST(CommandBuilder, NumbersAndString) {
  CommandBuilder builder("X", plain);
  EXPECT_THAT(chunks(builder.sp().number(0).sp().number(18446744073709551615u).sp().string("a")),
              ElementsAre("X 0 18446744073709551615 \"a\""));
}

TEST(CommandBuilder, WhatCantBeQuotedIsALiteral) {
  EXPECT_THAT(astring("a\r\nb"), ElementsAre("X {4}\r\n", "a\r\nb"));
  EXPECT_THAT(astring("\xc3\xa9"), ElementsAre("X {2}\r\n", "\xc3\xa9"));
  EXPECT_THAT(astring("\x01"), ElementsAre("X {1}\r\n", "\x01"));
  EXPECT_THAT(astring("\x7f"), ElementsAre("X {1}\r\n", "\x7f"));
  EXPECT_THAT(astring("a\nb", literal_plus), ElementsAre("X {3+}\r\na\nb"));
  EXPECT_THAT(astring("a\nb", literal_minus), ElementsAre("X {3+}\r\na\nb"));
}

TEST(CommandBuilder, TheServerIsAskedOnceForEachLiteral) {
  CommandBuilder builder("LOGIN", plain);
  EXPECT_THAT(chunks(builder.sp().string("\xc3\xa9").sp().string("\xc3\xa8").raw(" x")),
              ElementsAre("LOGIN {2}\r\n", "\xc3\xa9 {2}\r\n", "\xc3\xa8 x"));
}

TEST(CommandBuilder, LiteralMinusEndsAtItsBound) {
  const std::string small(literal_minus_bytes_max, 'x'), large(literal_minus_bytes_max + 1, 'x');
  CommandBuilder at("A", literal_minus);
  EXPECT_THAT(chunks(at.sp().literal(small)), ElementsAre("A {4096+}\r\n" + small));
  CommandBuilder past("A", literal_minus);
  EXPECT_THAT(chunks(past.sp().literal(large)), ElementsAre("A {4097}\r\n", large));
  CommandBuilder plus("A", literal_plus);
  EXPECT_THAT(chunks(plus.sp().literal(large)), ElementsAre("A {4097+}\r\n" + large));
}

TEST(CommandBuilder, ALineEndsAtItsBound) {
  CommandBuilder at("A", plain);
  EXPECT_TRUE(at.raw(std::string(command_line_bytes_max - 1, 'x')).finish());
  CommandBuilder past("A", plain);
  EXPECT_EQ(past.raw(std::string(command_line_bytes_max, 'x')).finish().error().code, Errc::too_large);
  CommandBuilder literal("A", literal_plus);
  EXPECT_TRUE(literal.sp().literal(std::string(2 * command_line_bytes_max, 'x')).finish())
      << "literals don't count";
}

TEST(CommandBuilder, NulIsUnencodable) {
  const std::string_view nul("a\0b", 3);
  for (const CapabilitySet* c : {&plain, &literal_plus, &literal_minus}) {
    EXPECT_EQ(CommandBuilder("X", *c).astring(nul).finish().error().code, Errc::unencodable);
    EXPECT_EQ(CommandBuilder("X", *c).string(nul).finish().error().code, Errc::unencodable);
    EXPECT_EQ(CommandBuilder("X", *c).literal(nul).finish().error().code, Errc::unencodable);
    EXPECT_EQ(CommandBuilder("X", *c).mailbox(nul).finish().error().code, Errc::unencodable);
    EXPECT_EQ(CommandBuilder("X", *c).encoded_mailbox(nul).finish().error().code, Errc::unencodable);
    EXPECT_EQ(CommandBuilder("X", *c).flag(nul).finish().error().code, Errc::unencodable);
    EXPECT_EQ(CommandBuilder("X", *c).raw(nul).finish().error().code, Errc::unencodable);
  }
}

TEST(CommandBuilder, OurOwnWordsHoldNoLineBreak) {
  EXPECT_EQ(CommandBuilder("X\r\nY", plain).finish().error().code, Errc::unencodable);
  EXPECT_EQ(CommandBuilder("X", plain).raw("a\rb").finish().error().code, Errc::unencodable);
  EXPECT_EQ(CommandBuilder("X", plain).raw("a\nb").finish().error().code, Errc::unencodable);
}

TEST(CommandBuilder, AnErrorNamesTheCommandAndNotItsArguments) {
  const auto result = CommandBuilder("LOGIN", plain).sp().string(std::string_view("se\0cret", 7)).finish();
  EXPECT_EQ(result.error().context, "LOGIN: NUL");
}

TEST(CommandBuilder, Flags) {
  CommandBuilder good("X", plain);
  EXPECT_THAT(chunks(good.sp().flag("\\Seen").sp().flag("$Forwarded").sp().flag("a[b+c")),
              ElementsAre("X \\Seen $Forwarded a[b+c"));
  for (const char* flag : {"", "\\", "a b", "a)", "(a", "a\"", "a\\b", "\\\\Seen", "a]", "a*", "\\*", "%",
                           "a{", "\x7f", "a\r\nX", "\xc3\xa9"}) {
    EXPECT_EQ(CommandBuilder("X", plain).flag(flag).finish().error().code, Errc::unencodable) << flag;
  }
}

TEST(CommandBuilder, AnEmptySetIsRefused) {
  EXPECT_EQ(CommandBuilder("X", plain).set(UidSet()).finish().error().code, Errc::unencodable);
}

TEST(CommandBuilder, MailboxNames) {
  CommandBuilder a("X", plain), b("X", plain), c("X", plain);
  EXPECT_THAT(chunks(a.sp().mailbox("Entwürfe & mehr")), ElementsAre("X \"Entw&APw-rfe &- mehr\""));
  EXPECT_THAT(chunks(b.sp().mailbox("a\r\nb")), ElementsAre("X a&AA0ACg-b"));
  EXPECT_THAT(chunks(c.sp().encoded_mailbox("Entw&APw-rfe")), ElementsAre("X Entw&APw-rfe"));
}

TEST(CommandBuilder, Utf8OnlyOnceItIsEnabled) {
  CapabilitySet capabilities(Names{"UTF8=ACCEPT"});
  CommandBuilder before("X", capabilities);
  EXPECT_THAT(chunks(before.sp().mailbox("é")), ElementsAre("X &AOk-"));
  capabilities.set_utf8_enabled();
  CommandBuilder after("X", capabilities), broken("X", capabilities);
  EXPECT_THAT(chunks(after.sp().mailbox("é&").sp().astring("ü")), ElementsAre("X \"é&\" \"ü\""));
  EXPECT_THAT(chunks(broken.sp().astring("\xff")), ElementsAre("X {1}\r\n", "\xff")) << "no UTF-8, no quotes";
}

TEST(CommandBuilder, ASecretCommandHoldsTheSameOctets) {
  CommandBuilder builder("LOGIN", literal_plus);
  std::string expected = "LOGIN";
  builder.secret();
  for (int i = 0; i < 200; ++i) {
    builder.sp().string("p\"w").sp().string("\xc3\xa9");
    expected += " \"p\\\"w\" {2+}\r\n\xc3\xa9";
  }
  auto command = builder.finish();
  ASSERT_TRUE(command);
  EXPECT_THAT(command->chunks, ElementsAre(expected));
  wipe(*command);
  EXPECT_THAT(command->chunks, ElementsAre(""));
}

}  // namespace
}  // namespace postern::imap
