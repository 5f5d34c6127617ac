// What LIST, LSUB and STATUS say, as a list of mailboxes; without a server.
#include "postern/mail/mailbox_list.hpp"

#include <gtest/gtest.h>

namespace postern::mail {
namespace {

imap::ListResponse listed(std::string name, std::vector<std::string> attributes = {}, char separator = '/') {
  imap::ListResponse r;
  r.command = "LIST";
  r.mailbox = std::move(name);
  r.attributes = std::move(attributes);
  r.separator = separator;
  return r;
}

TEST(MailboxList, OneMailboxARoleAndParents) {
  MailboxListBuilder builder;
  builder.add(listed("INBOX"));
  builder.add(listed("Sent", {"\\sent"}));
  builder.add(listed("Sent too", {"\\sent"}));
  builder.add(listed("Work"));
  builder.add(listed("Work/Entw&APw-rfe"));
  const auto all = builder.finish(false);
  ASSERT_EQ(all.size(), 5u);
  int sent = 0;
  for (const auto& m : all) sent += m.role == Role::sent ? 1 : 0;
  EXPECT_EQ(sent, 1);
  EXPECT_EQ(all[4].name, "Entwürfe");
  EXPECT_EQ(all[4].parent, all[3].key);
  EXPECT_EQ(all[0].role, Role::inbox);
}

TEST(MailboxList, AnIdMayComeByItself) {
  imap::StatusDataResponse counts;
  counts.mailbox = "Work";
  counts.messages = 7;
  imap::StatusDataResponse id;
  id.mailbox = "Work";
  id.mailbox_id = "F1";
  for (const bool id_first : {true, false}) {
    MailboxListBuilder builder;
    builder.add(listed("Work"));
    builder.add(id_first ? id : counts);
    builder.add(id_first ? counts : id);
    const auto all = builder.finish(false);
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].object_id, "F1");
    EXPECT_EQ(all[0].status.messages, 7u);
    EXPECT_TRUE(all[0].status.known);
  }
}

TEST(MailboxList, RolesByNameOnlyWhereTheServerTellsNone) {
  MailboxListBuilder named;
  named.add(listed("INBOX"));
  named.add(listed("INBOX.Papierkorb", {}, '.'));
  EXPECT_EQ(named.finish(false)[1].role, Role::trash);
  MailboxListBuilder told;
  told.add(listed("Trash"));
  told.add(listed("Bin", {"\\trash"}));
  for (const auto& m : told.finish(false)) EXPECT_EQ(m.role == Role::trash, m.name == "Bin");
}

// Between the answer that was asked for and its end (RFC 5465, 5.3).
TEST(MailboxList, ANotificationThatLeavesSomethingOutTakesNothingBack) {
  imap::StatusDataResponse asked;
  asked.mailbox = "Work";
  asked.messages = 7;
  asked.unseen = 3;
  asked.uid_next = 100;
  asked.uid_validity = 5;
  imap::StatusDataResponse notified;
  notified.mailbox = "Work";
  notified.messages = 8;
  notified.uid_next = 101;
  notified.uid_validity = 5;
  MailboxListBuilder builder;
  builder.add(listed("Work"));
  builder.add(asked);
  builder.add(notified);
  auto status = builder.finish(false).front().status;
  EXPECT_EQ(status.messages, 8u);
  EXPECT_EQ(status.unseen, 3u);
  EXPECT_EQ(status.uid_next, 101u);
  // Another mailbox of that name has nothing of the old one's.
  notified.uid_validity = 6;
  builder.add(listed("Work"));
  builder.add(asked);
  builder.add(notified);
  status = builder.finish(false).front().status;
  EXPECT_EQ(status.uid_validity, 6u);
  EXPECT_EQ(status.unseen, 0u);
}

TEST(MailboxList, WhatIsToldOfMailboxesIsBounded) {
  MailboxListBuilder builder;
  const auto status_of = [](const std::string& name) {
    imap::StatusDataResponse status;
    status.mailbox = name;
    status.messages = 1;
    return status;
  };
  builder.add(listed("a"));
  builder.add(listed("b"));
  builder.add(status_of("a"));
  auto subscription = listed("a");
  subscription.command = "LSUB";
  builder.add(subscription);
  for (std::size_t i = 1; i < mailboxes_max; ++i) {
    builder.add(status_of("x" + std::to_string(i)));
    subscription.mailbox = "x" + std::to_string(i);
    builder.add(subscription);
  }
  builder.add(status_of("b"));  // one more than are kept
  subscription.mailbox = "b";
  builder.add(subscription);
  const auto all = builder.finish(false);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_TRUE(all[0].status.known && all[0].subscribed);
  EXPECT_FALSE(all[1].status.known || all[1].subscribed);
}

TEST(MailboxList, AMailboxMadeAnewUnderAnOldNameIsAnotherOne) {
  const auto key_with = [](std::string name, std::uint32_t uid_validity, std::string id = {}) {
    MailboxListBuilder builder;
    builder.add(listed(name));
    imap::StatusDataResponse status;
    status.mailbox = name;
    status.messages = 1;
    status.uid_validity = uid_validity;
    if (!id.empty()) status.mailbox_id = id;
    builder.add(status);
    return builder.finish(false).front().key;
  };
  EXPECT_NE(key_with("Work", 1), key_with("Work", 2));
  EXPECT_EQ(key_with("Work", 1), key_with("Work", 1));
  EXPECT_EQ(key_with("INBOX", 1), key_with("INBOX", 2));  // there is but one
  EXPECT_EQ(key_with("Work", 1, "F1"), key_with("Other", 2, "F1"));
}

TEST(MailboxList, ASeparatorWithinANameIsNone) {
  MailboxListBuilder builder;
  builder.add(listed("INBOX.v1&AC4-2", {}, '.'));
  builder.add(listed("INBOX.a/b", {}, '.'));
  const auto all = builder.finish(false);
  EXPECT_EQ(all[0].name, "a/b");
  EXPECT_EQ(all[1].name, "v1.2");
}

TEST(MailboxList, RightsGoWithTheirMailbox) {
  MailboxListBuilder builder;
  builder.add(listed("Work"));
  builder.add(listed("Play"));
  builder.add(imap::MyRightsResponse{"Work", "lr"});
  const auto all = builder.finish(false);
  EXPECT_FALSE(all[0].rights);
  EXPECT_EQ(all[1].rights, "lr");
}

TEST(MailboxList, IsBounded) {
  MailboxListBuilder builder;
  for (std::size_t i = 0; i < mailboxes_max; ++i) builder.add(listed("m" + std::to_string(i)));
  EXPECT_FALSE(builder.truncated());
  builder.add(listed("one more"));
  EXPECT_TRUE(builder.truncated());
  EXPECT_EQ(builder.finish(false).size(), mailboxes_max);
}

}  // namespace
}  // namespace postern::mail
