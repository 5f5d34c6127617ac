// The counts of mailboxes and the states that tell of them.
#include "unit/mail/account_fixture.hpp"

namespace postern::mail {
namespace {

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
  EXPECT_NE(third.first, second.first);
  // What we do ourselves has been told already.
  ASSERT_TRUE(update(EmailUpdate{page(inbox).ids[0], {}, {}, std::vector{archive}, {}}).done);
  const auto moved = account->state(StateType::email);
  EXPECT_EQ(states().first, moved);
}

}  // namespace
}  // namespace postern::mail
