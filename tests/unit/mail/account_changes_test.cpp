// What Mailbox/changes, Email/changes and Thread/changes tell, and what that costs.
#include "unit/mail/account_changes_fixture.hpp"

namespace postern::mail {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

TEST_F(AccountChangesTest, NothingHasChanged) {
  open();
  const auto state = email_state();
  const auto none = told(state);
  EXPECT_THAT(none.data.created, IsEmpty());
  EXPECT_THAT(none.data.updated, IsEmpty());
  EXPECT_THAT(none.data.destroyed, IsEmpty());
  EXPECT_EQ(none.state, state);
  EXPECT_THAT(commands(), IsEmpty());
}

TEST_F(AccountChangesTest, WhatHappensInTheOpenMailboxIsToldAtTheCostOfAFetch) {
  open();
  const auto state = email_state();
  imapd->deliver("alice", "INBOX", "Subject: new\r\n\r\nhello\r\n");
  imapd->control("flag alice INBOX " + uid(ids[3]) + " +\\Flagged");
  imapd->control("expunge alice INBOX " + uid(ids[4]));
  Changes<EmailKey> changes;
  ASSERT_TRUE(pump_until([&] {
    changes = told(state);
    return changes.data.created.size() + changes.data.updated.size() + changes.data.destroyed.size() == 3;
  }));
  EXPECT_EQ(subject(changes.data.created[0]).substr(0, 12), "Subject: new");
  EXPECT_THAT(changes.data.updated, ElementsAre(ids[3]));
  EXPECT_THAT(changes.data.destroyed, ElementsAre(ids[4]));
  EXPECT_EQ(commands()["UID FETCH"], 2u);  // one of them for the subject
  EXPECT_THAT(told(changes.state).data.created, IsEmpty());
}

TEST_F(AccountChangesTest, NewMailInAMailboxNobodyOpenedIsTold) {
  open();
  const auto state = email_state();
  imapd->deliver("alice", "Archive", "Subject: new\r\n\r\nhello\r\n");
  clock.advance(31s);
  const auto changes = told(state);
  ASSERT_THAT(changes.data.created, SizeIs(1));
  EXPECT_EQ(changes.data.created[0].mailbox, archive);
  EXPECT_THAT(changes.data.updated, IsEmpty());
  auto counted = commands();
  EXPECT_EQ(counted["LIST"], 1u);
  EXPECT_EQ(counted["SELECT"], 1u);
  EXPECT_EQ(counted["UID SEARCH"], 2u);
  for (const auto* name : {"LIST", "SELECT", "UID SEARCH", "LOGIN", "AUTHENTICATE"}) counted.erase(name);
  EXPECT_THAT(counted, IsEmpty());
  // Nothing new again costs the list.
  clock.advance(31s);
  EXPECT_EQ(told(changes.state).state, changes.state);
  EXPECT_THAT(commands(), ElementsAre(Pair("LIST", 1)));
}

TEST_F(AccountChangesTest, FlagsInAMailboxNobodyOpenedAreNobodysNews) {
  open();
  const auto state = email_state();
  imapd->control("flag alice Archive 1 +\\Flagged");
  clock.advance(31s);
  EXPECT_EQ(told(state).state, state);
  EXPECT_THAT(commands(), ElementsAre(Pair("LIST", 1)));
}

INSTANTIATE_TEST_SUITE_P(Tiers, AccountTierTest, ::testing::Values(qresync, condstore, neither, copy, bare),
                         [](const auto& info) { return info.param.name; });

TEST_P(AccountTierTest, WhatHappenedInAMailboxThatWasLeftIsTold) {
  open();
  leave_inbox();
  const auto state = email_state();
  imapd->deliver("alice", "INBOX", "Subject: new\r\n\r\nhello\r\n");
  imapd->control("flag alice INBOX " + uid(ids[3]) + " +\\Flagged");
  imapd->control("expunge alice INBOX " + uid(ids[4]));
  clock.advance(31s);
  const auto changes = told(state);
  EXPECT_THAT(changes.data.created, SizeIs(1));
  EXPECT_THAT(changes.data.updated, ElementsAre(ids[3]));
  EXPECT_THAT(changes.data.destroyed, ElementsAre(ids[4]));
}

// Courier's SELECT tells no UIDNEXT: what a mailbox had when it was left, STATUS has told.
TEST_P(AccountTierTest, AMailboxThatWasLeftHasNoNewsWhereNothingHappened) {
  options.quirks.select_no_uidnext = true;
  open();
  leave_inbox();
  clock.advance(31s);
  const auto state = email_state();
  imapd->reset_counts();
  auto changes = told(state);
  EXPECT_THAT(changes.data.updated, IsEmpty());
  EXPECT_EQ(commands()["SELECT"], 0u);
  // And it has where something did.
  imapd->deliver("alice", "INBOX", "Subject: new\r\n\r\nhello\r\n");
  clock.advance(31s);
  changes = told(changes.state);
  EXPECT_THAT(changes.data.created, SizeIs(1));
  EXPECT_EQ(commands()["SELECT"], 1u);
}

// A mailbox that is behind takes the connection on which another one's news have come already.
TEST_P(AccountTierTest, WhatCameIntoManyMailboxesIsToldAtOnce) {
  open();
  const std::vector<std::string> names{"INBOX", "Archive", "Sent", "Junk"};
  for (const auto& name : names) page(mailbox(name));
  page(inbox);
  idle();
  const auto state = email_state();
  for (const auto& name : names) imapd->deliver("alice", name, "Subject: new\r\n\r\nhello\r\n");
  ASSERT_TRUE(pump_until([&] { return email_state() != state; }));  // INBOX's has been heard
  clock.advance(31s);
  EXPECT_THAT(told(state).data.created, SizeIs(4));
}

TEST_P(AccountTierTest, AMoveIsAnUpdate) {
  open();
  page(archive);
  idle();
  const auto state = email_state();
  ASSERT_TRUE(move(ids[2], archive));
  ASSERT_TRUE(move(ids[3], mailbox("Trash")));  // that nobody has opened
  for (int i = 0; i < 3; ++i) {
    clock.advance(31s);
    idle();
    const auto changes = told(state);
    EXPECT_THAT(changes.data.created, IsEmpty());
    EXPECT_THAT(changes.data.updated, UnorderedElementsAre(ids[2], ids[3]));
    EXPECT_THAT(changes.data.destroyed, IsEmpty());
  }
  page(mailbox("Trash"));
  const auto changes = told(state);
  EXPECT_THAT(changes.data.created, IsEmpty());
  EXPECT_THAT(changes.data.destroyed, IsEmpty());
}

TEST_P(AccountTierTest, WhatWasMovedAndTakenAwayBeforeWeHeardOfItIsDestroyed) {
  open();
  page(archive, 0, 20);
  page(mailbox("Sent"));
  page(mailbox("Junk"));  // both connections are elsewhere
  idle();
  const auto state = email_state();
  ASSERT_TRUE(move(ids[2], archive));
  ASSERT_TRUE(move(ids[3], archive));
  EXPECT_EQ(imapd->control("expunge alice Archive 6").substr(0, 2), "OK");
  imapd->control("flag alice Archive 7 +\\Deleted");
  clock.advance(31s);
  page(archive);
  const auto changes = told(state);
  EXPECT_THAT(changes.data.created, IsEmpty());
  EXPECT_THAT(changes.data.updated, IsEmpty());
  EXPECT_THAT(changes.data.destroyed, UnorderedElementsAre(ids[2], ids[3]));
}

TEST_P(AccountTierTest, WhatWasMovedAndIsTakenAwayWhileItIsAnnouncedIsDestroyed) {
  open();
  page(archive, 0, 20);
  idle();
  const auto state = email_state();
  ASSERT_TRUE(move(ids[2], archive));
  ASSERT_TRUE(move(ids[3], archive));
  imapd->control("expunge alice Archive 6");
  idle();
  ASSERT_TRUE(pump_until([&] { return told(state).data.destroyed.size() == 1; }));
  const auto changes = told(state);
  EXPECT_THAT(changes.data.created, IsEmpty());
  EXPECT_THAT(changes.data.updated, ElementsAre(ids[3]));
  EXPECT_THAT(changes.data.destroyed, ElementsAre(ids[2]));
}

TEST_P(AccountTierTest, FlagsThatChangeBeforeTheIndexIsFilledAreTold) {
  if (!GetParam().exact) GTEST_SKIP() << "can't be told anyhow";
  open();
  fetch(ids);
  leave_inbox();
  account->evict_views();
  const auto state = email_state();
  // Behind the page's own commands, before the index is asked for.
  imapd->control("on UID SEARCH do run_after flag alice INBOX " + uid(ids[15]) + " +\\Flagged");
  page(inbox, 0, 5);
  idle();
  ASSERT_TRUE(pump_until([&] {
    clock.advance(31s);
    const auto changes = told(state);
    return std::find(changes.data.updated.begin(), changes.data.updated.end(), ids[15]) !=
           changes.data.updated.end();
  }));
}

// A page that leaves out what has just been moved there would leave it out for good.
TEST_F(AccountChangesTest, WhatWasMovedToAnOpenMailboxIsFoundThereAtOnce) {
  options.capabilities = testimapd::capabilities_of("courier");
  open();
  page(archive, 0, 20);
  ASSERT_TRUE(move(ids[2], archive));
  EXPECT_THAT(page(archive, 0, 20).ids, ::testing::Contains(ids[2]));
  EmailQuery all;
  all.limit = 100;
  auto found = await(account->query(all));
  ASSERT_TRUE(found);
  EXPECT_THAT(found->ids, ::testing::Contains(ids[2]));
}

TEST_P(AccountTierTest, WhatHappenedToAViewThatWasGivenUp) {
  open();
  leave_inbox();
  const auto state = email_state();
  account->evict_views();
  EXPECT_EQ(email_state(), state);
  imapd->deliver("alice", "INBOX", "Subject: new\r\n\r\nhello\r\n");
  imapd->control("flag alice INBOX " + uid(ids[3]) + " +\\Flagged");
  imapd->control("expunge alice INBOX " + uid(ids[4]));
  clock.advance(31s);
  const auto changes = since(state);
  if (!GetParam().exact) {
    ASSERT_FALSE(changes);
    EXPECT_EQ(changes.error().code, make_error_code(Errc::cannot_calculate_changes));
    EXPECT_TRUE(since(email_state()));
    return;
  }
  ASSERT_TRUE(changes);
  EXPECT_THAT(changes->data.created, SizeIs(1));
  EXPECT_THAT(changes->data.updated, ElementsAre(ids[3]));
  EXPECT_THAT(changes->data.destroyed, ElementsAre(ids[4]));
}

TEST_F(AccountChangesTest, AStateOfAnotherLifeCantBeToldOf) {
  open();
  const auto state = email_state();
  for (const auto& other : std::vector<std::string>{"", "x", "0", "01", state + "0", "+1", " " + state}) {
    const auto changes = since(other);
    ASSERT_FALSE(changes) << other;
    EXPECT_EQ(changes.error().code, make_error_code(Errc::cannot_calculate_changes));
  }
  account.reset();
  open_account();
  EXPECT_FALSE(since(state));
}

TEST_F(AccountChangesTest, AnotherUidvalidityCantBeToldOf) {
  open();
  const auto state = email_state();
  imapd->control("roll_uidvalidity alice INBOX");
  imapd->control("drop alice");
  clock.advance(31s);
  ASSERT_TRUE(pump_until([&] { return !since(state); }));
  EXPECT_TRUE(since(email_state()));
}

TEST_F(AccountChangesTest, AMailboxThatComesOrGoesBringsOrTakesItsEmails) {
  open();
  page(archive, 0, 20);
  leave_inbox();
  const auto state = email_state();
  const auto mailboxes = mailbox_state();
  imapd->control("create alice Project");
  imapd->control("deliver alice Project 2");
  imapd->control("delete alice Archive");
  clock.advance(31s);
  auto changes = told(state);
  EXPECT_THAT(changes.data.created, SizeIs(2));
  EXPECT_THAT(changes.data.destroyed, SizeIs(5));
  const auto boxes = mailboxes_since(mailboxes);
  EXPECT_THAT(boxes.data.created, ElementsAre(mailbox("Project")));
  EXPECT_THAT(boxes.data.destroyed, ElementsAre(archive));
  EXPECT_THAT(boxes.data.updated, IsEmpty());
}

TEST_F(AccountChangesTest, MaxChangesGoesStepByStep) {
  open();
  auto state = email_state();
  imapd->control("deliver alice INBOX 5");
  ASSERT_TRUE(pump_until([&] { return told(state).data.created.size() == 5; }));
  std::size_t seen = 0;
  for (bool more = true; more;) {
    const auto some = told(state, 2);
    EXPECT_LE(some.data.created.size(), 2u);
    EXPECT_NE(some.state, state);
    seen += some.data.created.size();
    state = some.state;
    more = some.data.has_more;
  }
  EXPECT_EQ(seen, 5u);
  EXPECT_EQ(state, email_state());
}

TEST_F(AccountChangesTest, CountsAloneAreToldAsSuch) {
  open();
  const auto first = mailbox_state();
  EXPECT_EQ(mailbox_state(), first);
  ASSERT_TRUE(update(EmailUpdate{ids[0], {}, {{"$flagged", true}}, {}, {}}).done);
  EXPECT_EQ(mailbox_state(), first);  // nothing that a Mailbox tells
  imapd->deliver("alice", "INBOX", "Subject: new\r\n\r\nhello\r\n");
  imapd->deliver("alice", "Sent", "Subject: new\r\n\r\nhello\r\n");
  clock.advance(31s);
  ASSERT_TRUE(pump_until([&] { return mailboxes_since(first).data.updated.size() == 2; }));
  const auto changes = mailboxes_since(first);
  EXPECT_TRUE(changes.data.counts_only);
  EXPECT_THAT(changes.data.updated, UnorderedElementsAre(inbox, mailbox("Sent")));
  EXPECT_EQ(mailbox_state(), changes.state);
  imapd->control("rename alice Archive Attic");
  clock.advance(31s);
  const auto renamed = mailboxes_since(changes.state);
  EXPECT_FALSE(renamed.data.counts_only);
  EXPECT_THAT(renamed.data.updated, ElementsAre(archive));  // by its MAILBOXID
}

TEST_F(AccountChangesTest, ThreadsAreToldByTheirEmails) {
  offer({"OBJECTID", "X-GM-EXT-1"});
  open();
  const auto deliver = [&](const std::string& id, const std::string& rest) {
    imapd->deliver("alice", "INBOX",
                   "Message-ID: <" + id + "@example>\r\n" + rest + "Subject: t\r\n\r\nx\r\n");
  };
  deliver("one", "");
  ASSERT_TRUE(pump_until([&] { return page(inbox).total == 21; }));
  const auto first = page(inbox).ids[0];
  auto all = await(account->threads({1}));  // brings all keys
  ASSERT_TRUE(all);
  const auto state = all->state;
  EXPECT_THAT(threads_since(state).data.created, IsEmpty());
  deliver("two", "References: <one@example>\r\n");
  deliver("three", "");
  page(inbox);
  idle();
  Changes<ThreadKey> changes;
  ASSERT_TRUE(pump_until([&] {
    changes = threads_since(state);
    return changes.data.created.size() + changes.data.updated.size() == 2;
  }));
  EXPECT_THAT(changes.data.created, SizeIs(1));
  ASSERT_THAT(changes.data.updated, SizeIs(1));
  const auto thread = await(account->threads({changes.data.updated[0]}));
  ASSERT_TRUE(thread);
  EXPECT_THAT(thread->data[0].emails, SizeIs(2));
  // A move and a flag change nothing of a Thread.
  ASSERT_TRUE(move(first, archive));
  clock.advance(31s);
  EXPECT_THAT(threads_since(changes.state).data.updated, IsEmpty());
  EXPECT_THAT(threads_since(changes.state).data.destroyed, IsEmpty());
  ASSERT_TRUE(await(account->destroy(thread->data[0].emails, {})));
  const auto gone = threads_since(changes.state);
  EXPECT_THAT(gone.data.destroyed, ElementsAre(changes.data.updated[0]));
}

}  // namespace
}  // namespace postern::mail
