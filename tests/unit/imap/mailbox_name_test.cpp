// Modified UTF-7.
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "postern/imap/command.hpp"

namespace postern::imap {
namespace {

struct NamePair {
  const char* utf8;
  const char* name;
};
constexpr NamePair pairs[] = {
    {"", ""},
    {"INBOX", "INBOX"},
    {"a&b", "a&-b"},
    {"&", "&-"},
    {"&&", "&-&-"},
    {"~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"},  // RFC 3501, 5.1.3
    {"Entwürfe", "Entw&APw-rfe"},
    {"Отправленные", "&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-"},
    {"😀", "&2D3eAA-"},
    {"a😀b", "a&2D3eAA-b"},
    {"é-", "&AOk--"},
    {"é&", "&AOk-&-"},
    {"\t", "&AAk-"},
    {"a\r\nb", "a&AA0ACg-b"},
    {"\x7f", "&AH8-"},
};

TEST(MailboxName, Encodes) {
  for (const NamePair& p : pairs) EXPECT_EQ(encode_mailbox_utf7(p.utf8), p.name);
}

TEST(MailboxName, Decodes) {
  for (const NamePair& p : pairs) {
    const std::string_view utf8 = p.utf8;
    if (utf8.find_first_of("\t\r\n\x7f") == utf8.npos) EXPECT_EQ(decode_mailbox_utf7(p.name), p.utf8);
  }
}

TEST(MailboxName, WhatIsNoEncodingStandsForItself) {
  for (const char* name : {"&", "a&", "&b", "R&D", "Q&A 2", "&AOk", "&AO-", "&A-", "&=-", "&AOk=-", "& -",
                           "&!-", "&2D0-", "&3gA-", "&2D3YPQ-", "&3gDYPQ-", "&AAA-", "&AAo-", "&AGEB-"}) {
    EXPECT_EQ(decode_mailbox_utf7(name), name) << name;
  }
  EXPECT_EQ(decode_mailbox_utf7("R&D &- &AOk-"), "R&D & é");
  EXPECT_EQ(decode_mailbox_utf7("&&AOk-"), "&é");
}

TEST(MailboxName, DecodesWhatNeedNotHaveBeenEncoded) { EXPECT_EQ(decode_mailbox_utf7("&AGE-"), "a"); }

TEST(MailboxName, KeepsEightBitNames) {
  EXPECT_EQ(decode_mailbox_utf7("Entw\xc3\xbcrfe"), "Entw\xc3\xbcrfe");
}

TEST(MailboxName, IllFormedUtf8IsReplaced) {
  EXPECT_EQ(encode_mailbox_utf7("\xff"), "&,,0-");
  EXPECT_EQ(encode_mailbox_utf7("\xc3"), "&,,0-");
  EXPECT_EQ(encode_mailbox_utf7("\xc0\xaf"), "&,,3,,Q-");
  EXPECT_EQ(encode_mailbox_utf7("\xed\xa0\x80"), "&,,3,,f,9-");
}

TEST(MailboxName, RandomNamesComeBack) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const std::string pieces[] = {"a", "&", "-", ",", "é", "日", "😀", "/", " ", "\"", "\\", "ÿ", "+"};
  for (int i = 0; i < 2000; ++i) {
    std::string name;
    for (unsigned n = random() % 12; n > 0; --n) name += pieces[random() % std::size(pieces)];
    const std::string encoded = encode_mailbox_utf7(name);
    ASSERT_EQ(decode_mailbox_utf7(encoded), name);
    for (const char c : encoded) ASSERT_TRUE(c >= 0x20 && c < 0x7f);
  }
}

TEST(MailboxName, ManyShiftsAreReadInLinearTime) {
  const std::string name(1'000'000, '&');
  EXPECT_EQ(decode_mailbox_utf7(name), name);
  std::string shifts;
  for (int i = 0; i < 200'000; ++i) shifts += "&AAAA";
  EXPECT_EQ(decode_mailbox_utf7(shifts), shifts);
}

}  // namespace
}  // namespace postern::imap
