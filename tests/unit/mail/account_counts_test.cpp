// The counts of mailboxes and the states that tell of them.
#include "unit/mail/account_fixture.hpp"

namespace postern::mail {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

struct AccountCountsTest : AccountFixture {
  MailboxKey inbox = 0;
  void open() {
    start();
    inbox = mailbox("INBOX");
    page(inbox);
    idle();
    imapd->reset_counts();
  }
  MailboxData counts_of(MailboxKey key, std::string* state = nullptr) {
    auto all = await(account->mailboxes());
    EXPECT_TRUE(all) << (all ? "" : all.error().to_string());
    if (state != nullptr) *state = all->state;
    for (const auto& data : all->data)
      if (data.mailbox.key == key) return data;
    ADD_FAILURE() << "no such mailbox";
    return {};
  }
  SetOutcome move_to(MailboxKey target) {
    return update(EmailUpdate{page(inbox).ids[0], {}, {}, std::vector{target}, {}});
  }
};

TEST_F(AccountCountsTest, NewMailInTheOpenMailboxIsCountedWithoutAQuery) {
  open();
  std::string before, after;
  const auto unread = counts_of(inbox, &before).unread_emails;
  imapd->deliver("alice", "INBOX", "Subject: new\r\n\r\nhello\r\n");
  MailboxData now;
  ASSERT_TRUE(pump_until([&] {
    now = counts_of(inbox, &after);
    return now.total_emails == 21;
  }));
  EXPECT_EQ(now.unread_emails, unread + 1);
  EXPECT_NE(after, before);
  auto counted = commands();
  EXPECT_EQ(counted["UID FETCH"], 1u);
  EXPECT_EQ(counted.size(), 1u);
}

// Its view doesn't know yet who is unread, and the last list is from before.
TEST_F(AccountCountsTest, AMailboxWhoseIndexIsNotFilledIsAskedAbout) {
  start();
  inbox = mailbox("INBOX");
  imapd->control("on UID FETCH times=always do reply NO later");
  page(inbox);
  idle();
  const auto before = counts_of(inbox);
  ASSERT_EQ(before.total_emails, 20u);
  imapd->reset_counts();
  imapd->control("expunge alice INBOX 7");
  EXPECT_TRUE(pump_until([&] { return counts_of(inbox).total_emails == 19; }));
  EXPECT_THAT(commands(), ElementsAre(Pair("STATUS", 1u)));
}

TEST_F(AccountCountsTest, NewMailChangesTheStatesBeforeItIsAskedFor) {
  open();
  const auto email = account->state(StateType::email), thread = account->state(StateType::thread);
  imapd->deliver("alice", "INBOX", "Subject: new\r\n\r\nhello\r\n");
  EXPECT_TRUE(pump_until([&] { return account->state(StateType::email) != email; }));
  EXPECT_NE(account->state(StateType::thread), thread);
  EXPECT_TRUE(commands().empty());
}

TEST_F(AccountCountsTest, OtherNumbersHaveAnotherState) {
  open();
  const auto archive = mailbox("Archive");
  imapd->control("flag alice INBOX 1 +\\Deleted");  // STATUS counts it, the index doesn't
  ASSERT_TRUE(pump_until([&] { return counts_of(inbox).total_emails == 19; }));
  std::string before, after;
  counts_of(inbox, &before);
  page(archive);
  EXPECT_EQ(counts_of(inbox).total_emails, 19u);
  clock.advance(31s);
  if (counts_of(inbox, &after).total_emails != 19) EXPECT_NE(after, before);
  EXPECT_EQ(counts_of(inbox).total_emails, 20u);
}

TEST_F(AccountCountsTest, TheStateBeforeAChangeIsThatOfTheMailbox) {
  open();
  page(mailbox("Archive"));
  imapd->control("flag alice INBOX 1 +\\Flagged");
  const auto known = account->state(StateType::email);
  auto before = await(account->email_state_of({EmailKey{inbox, options.uidvalidity, 1}}));
  ASSERT_TRUE(before);
  EXPECT_NE(*before, known);
  EXPECT_TRUE(update(EmailUpdate{{inbox, options.uidvalidity, 2}, {}, {{"$flagged", true}}, {}, {}}).done);
  EXPECT_NE(account->state(StateType::email), *before);
}

TEST_F(AccountCountsTest, NewsOfAMailboxThatNobodyHearsChangesTheStates) {
  open();
  const auto archive = mailbox("Archive");
  const auto states = [&] {
    clock.advance(31s);
    mailbox("INBOX");
    return std::pair(account->state(StateType::email), account->state(StateType::thread));
  };
  const auto first = states();
  EXPECT_EQ(states(), first);
  imapd->deliver("alice", "Archive", "Subject: new\r\n\r\nhello\r\n");
  const auto second = states();
  EXPECT_NE(second.first, first.first);
  EXPECT_NE(second.second, first.second);
  imapd->control("create alice Project");
  const auto third = states();
  EXPECT_EQ(third.first, second.first);  // there is nothing in it
  imapd->control("deliver alice Project 1");
  const auto fourth = states();
  EXPECT_NE(fourth.first, third.first);
  // What we do ourselves has been told already.
  ASSERT_TRUE(update(EmailUpdate{page(inbox).ids[0], {}, {}, std::vector{archive}, {}}).done);
  const auto moved = account->state(StateType::email);
  EXPECT_EQ(states().first, moved);
}

TEST_F(AccountCountsTest, AMoveIntoAMailboxThatWasOpenBeforeIsCounted) {
  open();
  const auto archive = mailbox("Archive");
  page(archive);
  idle();
  page(inbox);
  idle();
  const auto before = counts_of(archive), inbox_before = counts_of(inbox);
  ASSERT_TRUE(move_to(archive).done);
  EXPECT_EQ(counts_of(archive).total_emails, before.total_emails + 1);
  EXPECT_EQ(counts_of(inbox).total_emails, inbox_before.total_emails - 1);
}

TEST_F(AccountCountsTest, AfterAMoveTheOtherMailboxIsAskedAboutAndNoneElse) {
  open();
  const auto archive = mailbox("Archive");
  const auto before = counts_of(archive);
  imapd->control("flag alice INBOX 1:20 +\\Seen");
  imapd->control("flag alice INBOX " + std::to_string(page(inbox).ids[1].uid) + " -\\Seen");
  ASSERT_TRUE(pump_until([&] { return counts_of(inbox).unread_emails == 1; }));
  for (unsigned i = 0; i < 3; ++i) {  // the second is unread
    commands();
    ASSERT_TRUE(move_to(archive).done);
    const auto now = counts_of(archive);
    EXPECT_EQ(now.total_emails, before.total_emails + i + 1);
    EXPECT_EQ(now.unread_emails, before.unread_emails + (i > 0 ? 1 : 0));
    EXPECT_EQ(counts_of(inbox).total_emails, 19u - i);
    EXPECT_EQ(counts_of(inbox).unread_emails, i > 0 ? 0u : 1u);
    EXPECT_THAT(commands(), ElementsAre(Pair("STATUS", 1), Pair("UID MOVE", 1)));
  }
}

TEST_F(AccountCountsTest, WhatOthersDoThereMeanwhileIsCounted) {
  open();
  const auto archive = mailbox("Archive");
  const auto before = counts_of(archive);
  const auto email = account->state(StateType::email);
  ASSERT_TRUE(move_to(archive).done);
  const auto moved = account->state(StateType::email);
  EXPECT_NE(moved, email);
  imapd->deliver("alice", "Archive", "Subject: new\r\n\r\nhello\r\n");
  EXPECT_EQ(counts_of(archive).total_emails, before.total_emails + 2);
  EXPECT_NE(account->state(StateType::email), moved);  // one of them is somebody else's
}

TEST_F(AccountCountsTest, AStatusThatIsRefusedCostsTheList) {
  open();
  const auto archive = mailbox("Archive");
  const auto before = counts_of(archive);
  for (const auto* reply : {"NO not now", "OK nothing of that"}) {
    commands();
    ASSERT_TRUE(move_to(archive).done);
    imapd->control(std::string("on STATUS do reply ") + reply);
    const auto moved = 20 - counts_of(inbox).total_emails;
    EXPECT_EQ(counts_of(archive).total_emails, before.total_emails + moved);
    EXPECT_THAT(commands(), ElementsAre(Pair("LIST", 1), Pair("STATUS", 1), Pair("UID MOVE", 1)));
  }
}

TEST_F(AccountCountsTest, AConnectionThatBreaksAtAStatusIsMadeAnew) {
  open();
  const auto archive = mailbox("Archive");
  const auto before = counts_of(archive);
  ASSERT_TRUE(move_to(archive).done);
  imapd->control("on STATUS do drop");
  EXPECT_EQ(counts_of(archive).total_emails, before.total_emails + 1);
}

TEST_F(AccountCountsTest, MailboxesMadeOfOthersAreCountedAnewBehindAMove) {
  options.mailboxes.push_back({"Everything", "\\All", 20});
  open();
  const auto archive = mailbox("Archive");
  commands();
  ASSERT_TRUE(move_to(archive).done);
  imapd->control("expunge alice Everything 1");  // as it loses what is moved to the trash
  EXPECT_EQ(counts_of(mailbox("Everything")).total_emails, 19u);
  EXPECT_EQ(commands()["LIST"], 1u);
}

TEST_F(AccountCountsTest, ManyMailboxesAtATimeAreAskedAboutByOneList) {
  for (int i = 0; i < 4; ++i) options.mailboxes.push_back({"Project " + std::to_string(i), "", 0});
  open();
  std::vector<MailboxKey> targets;
  for (int i = 0; i < 4; ++i) targets.push_back(mailbox("Project " + std::to_string(i)));
  commands();
  for (auto target : targets) ASSERT_TRUE(move_to(target).done);
  for (auto target : targets) EXPECT_EQ(counts_of(target).total_emails, 1u);
  auto counted = commands();
  EXPECT_EQ(counted["LIST"], 1u);
  EXPECT_EQ(counted.count("STATUS"), 0u);
}

}  // namespace
}  // namespace postern::mail
