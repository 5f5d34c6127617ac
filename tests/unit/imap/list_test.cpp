// LIST, STATUS and NAMESPACE, as the grammar has them.
#include <gmock/gmock.h>

#include "parse_support.hpp"

namespace postern::imap {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(List, AttributesSeparatorAndName) {
  auto r = parsed<ListResponse>("* LIST (\\HasNoChildren \\Sent) \"/\" \"Sent Items\"");
  EXPECT_EQ(r.command, "LIST");
  EXPECT_THAT(r.attributes, ElementsAre("\\hasnochildren", "\\sent"));
  EXPECT_EQ(r.separator, '/');
  EXPECT_EQ(r.mailbox, "Sent Items");
  r = parsed<ListResponse>("* lsub () NIL {3}\r\na b");
  EXPECT_EQ(r.command, "LSUB");
  EXPECT_THAT(r.attributes, IsEmpty());
  EXPECT_EQ(r.separator, std::nullopt);
  EXPECT_EQ(r.mailbox, "a b");
  EXPECT_EQ(parsed<ListResponse>("* LIST () \"\\\\\" \"a\\\\b\"").separator, '\\');
  EXPECT_EQ(parsed<ListResponse>("* LIST () \"\\\\\" \"a\\\\b\"").mailbox, "a\\b");
}

TEST(List, InboxIsWrittenOneWay) {
  EXPECT_EQ(parsed<ListResponse>("* LIST () \"/\" Inbox").mailbox, "INBOX");
  EXPECT_EQ(parsed<ListResponse>("* LIST () \"/\" \"inbox\"").mailbox, "INBOX");
  EXPECT_EQ(parsed<ListResponse>("* LIST () \"/\" inbox/a").mailbox, "inbox/a");
}

TEST(List, ExtendedItems) {
  auto r = parsed<ListResponse>("* LIST (\\NonExistent) \"/\" \"Foo\" (\"CHILDINFO\" (\"SUBSCRIBED\"))");
  EXPECT_THAT(r.child_info, ElementsAre("SUBSCRIBED"));
  r = parsed<ListResponse>(
      "* LIST () \"/\" \"New\" (\"X\" ((1) 2) \"OLDNAME\" (\"Old \\\"one\\\"\") childinfo (a b))");
  EXPECT_EQ(r.old_name, "Old \"one\"");
  EXPECT_THAT(r.child_info, ElementsAre("a", "b"));
  EXPECT_EQ(r.mailbox, "New");
  r = parsed<ListResponse>("* LIST () \"/\" New (OLDNAME (Old))");
  EXPECT_EQ(r.mailbox, "New");
  EXPECT_EQ(r.old_name, "Old");
}

TEST(List, TheRoot) { EXPECT_EQ(parsed<ListResponse>("* LIST (\\Noselect) \"/\" \"\"").mailbox, ""); }

TEST(StatusData, AnIdThatIsNone) {  // RFC 8474, 7: 1*255(ALPHA / DIGIT / "_" / "-")
  auto id = [](const std::string& text) {
    return parsed<StatusDataResponse>("* STATUS INBOX (MAILBOXID (" + text + ") MESSAGES 3)");
  };
  EXPECT_EQ(id(std::string(255, 'a')).mailbox_id, std::string(255, 'a'));
  for (const auto& text : {std::string(256, 'a'), std::string("G8\xF0\x97\xC3U"), std::string("a.b")}) {
    const auto status = id(text);
    EXPECT_EQ(status.mailbox_id, std::nullopt) << text;
    EXPECT_EQ(status.messages, 3u);
  }
}

TEST(StatusData, AllItems) {
  const auto r = parsed<StatusDataResponse>(
      "* STATUS \"blurdy bloop\" (MESSAGES 231 RECENT 1 UIDNEXT 44292 UIDVALIDITY 7 UNSEEN 3 DELETED 2 "
      "HIGHESTMODSEQ "
      "9223372036854775807 SIZE 44421 APPENDLIMIT 100 MAILBOXID (F22))");
  EXPECT_EQ(r.mailbox, "blurdy bloop");
  EXPECT_EQ(r.messages, 231u);
  EXPECT_EQ(r.recent, 1u);
  EXPECT_EQ(r.uid_next, 44292u);
  EXPECT_EQ(r.uid_validity, 7u);
  EXPECT_EQ(r.unseen, 3u);
  EXPECT_EQ(r.deleted, 2u);
  EXPECT_EQ(r.highest_modseq, 9223372036854775807u);
  EXPECT_EQ(r.size, 44421u);
  EXPECT_EQ(r.append_limit, 100u);
  EXPECT_EQ(r.mailbox_id, "F22");
}

TEST(StatusData, UnknownItemsAreSkipped) {
  const auto r = parsed<StatusDataResponse>(
      "* STATUS inbox (X-FOO (1 (2)) MESSAGES 5 X-BAR \"a)b\" APPENDLIMIT NIL UNSEEN 1)");
  EXPECT_EQ(r.mailbox, "INBOX");
  EXPECT_EQ(r.messages, 5u);
  EXPECT_EQ(r.unseen, 1u);
  EXPECT_EQ(r.append_limit, std::nullopt);
}

TEST(StatusData, NamesAsLiterals) {
  EXPECT_EQ(parsed<StatusDataResponse>("* STATUS {4}\r\na (b (MESSAGES 5)").mailbox, "a (b");
}

TEST(Namespace, TheRfcsExamples) {
  auto r = parsed<NamespaceResponse>("* NAMESPACE ((\"\" \"/\")) NIL NIL");
  ASSERT_EQ(r.personal.size(), 1u);
  EXPECT_EQ(r.personal[0].prefix, "");
  EXPECT_EQ(r.personal[0].separator, '/');
  EXPECT_THAT(r.other_users, IsEmpty());
  r = parsed<NamespaceResponse>(
      "* NAMESPACE ((\"\" \"/\")(\"#mh/\" \"/\" \"X-PARAM\" (\"FLAG1\" \"FLAG2\"))) ((\"~\" \"/\")) "
      "((\"#shared/\" \"/\")(\"#news.\" \".\"))");
  EXPECT_EQ(r.personal.size(), 2u);
  EXPECT_EQ(r.other_users[0].prefix, "~");
  ASSERT_EQ(r.shared.size(), 2u);
  EXPECT_EQ(r.shared[1].prefix, "#news.");
  EXPECT_EQ(r.shared[1].separator, '.');
}

}  // namespace
}  // namespace postern::imap
