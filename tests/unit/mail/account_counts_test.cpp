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

}  // namespace
}  // namespace postern::mail
