// An account that is watched: what happens in any of its mailboxes is heard, for few commands, and after a restart.
#include <set>

#include "unit/mail/account_fixture.hpp"

namespace postern::mail {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

struct AccountWatchTest : AccountFixture, StateObserver {
  std::multiset<StateType> changed;
  bool refused = false;
  unsigned junk_uid_next = 1;

  // Reads the states afterwards, as what pushes them does: one that nobody has seen is used again.
  void on_state_changed(Account&, StateType type) override {
    changed.insert(type);
    loop.post([this, type] {
      if (account) (void)account->state(type);
    });
  }
  void on_watch_refused(Account&) override { refused = true; }

  void without(std::initializer_list<const char*> capabilities) {
    options.capabilities = testimapd::capabilities_of("full");
    for (const auto* name : capabilities) std::erase(options.capabilities, std::string(name));
  }
  void watch() {
    if (!imapd) start();
    session::Credentials credentials;
    credentials.login = "alice";
    credentials.secret = Secret("secret");
    account = std::make_shared<Account>(AccountContext{loop, *server, *segment, fragments, {}, this}, 42,
                                        std::move(credentials), "");
    account->set_watched(true);
    const auto& had = options.capabilities;
    if (had.empty() || std::ranges::find(had, "IDLE") != had.end())
      idle();
    else
      EXPECT_TRUE(await(account->mailboxes()));
    changed.clear();
  }
  ~AccountWatchTest() override {
    if (account) account->set_watched(false);
    loop.poll();
  }
  void deliver(const char* mailbox) {
    ASSERT_NE(imapd->deliver("alice", mailbox, "Subject: new\r\n\r\nhello\r\n"), 0u);
  }
  void pass_minutes(unsigned minutes) {
    for (; minutes > 0; --minutes) {
      clock.advance(1min);
      for (int i = 0; i < 3; ++i) loop.context().run_one_for(1ms), loop.poll();
      // On a busy machine answers take their time, of which none goes by for the connection.
      ASSERT_TRUE(pump_until([&] {
        const auto all = account->pool().connections();
        return std::none_of(all.begin(), all.end(),
                            [](const auto& one) { return one.state == "busy" || one.state == "opening"; });
      }));
    }
  }
  // On which connections such commands have come.
  std::set<std::string> connections_of(const std::string& command) const {
    std::set<std::string> found;
    const auto log = imapd->control("log");
    for (std::size_t at = 0; (at = log.find("{\"connection\":", at)) != std::string::npos; ++at) {
      const auto entry = log.substr(at, log.find('}', at) - at);
      if (entry.find("\"name\":\"" + command + "\"") != std::string::npos)
        found.insert(entry.substr(0, entry.find(',')));
    }
    return found;
  }
  std::uint64_t total_of(MailboxKey key) {
    auto all = await(account->mailboxes());
    EXPECT_TRUE(all);
    for (const auto& data : all->data)
      if (data.mailbox.key == key) return data.total_emails;
    return 0;
  }
  bool heard(StateType type) {
    return pump_until([&] { return changed.contains(type); });
  }
};

TEST_F(AccountWatchTest, NotifyTellsOfEveryMailbox) {
  watch();
  EXPECT_EQ(imapd->counts().command("NOTIFY"), 1u);
  deliver("Archive");
  EXPECT_TRUE(heard(StateType::email_delivery));
  EXPECT_TRUE(changed.contains(StateType::mailbox) && changed.contains(StateType::thread));
  changed.clear();
  deliver("INBOX");
  EXPECT_TRUE(heard(StateType::email_delivery));
}

TEST_F(AccountWatchTest, NotifyTellsOfFlagsInEveryMailbox) {
  watch();
  imapd->control("flag alice Archive 1 +\\Seen");
  EXPECT_TRUE(heard(StateType::email));
  EXPECT_FALSE(changed.contains(StateType::email_delivery));
}

TEST_F(AccountWatchTest, MailThatComesReadIsNewAsWell) {
  watch();
  imapd->control("deliver alice Archive 1 \\Seen");
  EXPECT_TRUE(heard(StateType::email_delivery));
}

TEST_F(AccountWatchTest, NotifyCostsNoMoreThanIdleItself) {
  watch();
  imapd->reset_counts();
  pass_minutes(60);
  EXPECT_LE(imapd->counts().commands_total(), 3u);
  EXPECT_TRUE(changed.empty());
}

TEST_F(AccountWatchTest, WithoutNotifyInboxIsSelectedAndHeard) {
  without({"NOTIFY"});
  watch();
  EXPECT_EQ(imapd->counts().command("SELECT"), 1u);
  deliver("INBOX");
  EXPECT_TRUE(heard(StateType::email_delivery));
  changed.clear();
  imapd->control("flag alice INBOX 1 +\\Flagged");
  EXPECT_TRUE(heard(StateType::email));
  EXPECT_FALSE(changed.contains(StateType::email_delivery));
}

TEST_F(AccountWatchTest, WithoutNotifyTheOthersAreLookedAtNowAndThen) {
  without({"NOTIFY"});
  watch();
  deliver("Archive");
  clock.advance(61s);
  EXPECT_TRUE(heard(StateType::email));
}

TEST_F(AccountWatchTest, ANewMessageIsFoundWhileAnotherWasRead) {
  without({"NOTIFY"});
  watch();
  deliver("Archive");
  imapd->control("flag alice Archive 1 +\\Seen");
  clock.advance(61s);
  EXPECT_TRUE(heard(StateType::email_delivery));
}

TEST_F(AccountWatchTest, WithoutIdleInboxIsLookedAtAsTheOthersAre) {
  without({"NOTIFY", "IDLE"});
  watch();
  deliver("INBOX");
  clock.advance(61s);
  EXPECT_TRUE(heard(StateType::email_delivery));
  EXPECT_TRUE(changed.contains(StateType::email));
  changed.clear();
  imapd->control("flag alice INBOX 1 +\\Seen");
  clock.advance(5min);
  EXPECT_TRUE(heard(StateType::email));
  EXPECT_FALSE(changed.contains(StateType::email_delivery));
  EXPECT_EQ(imapd->counts().command("IDLE") + imapd->counts().command("SELECT"), 0u);
}

TEST_F(AccountWatchTest, WithoutNotifyTheHourAtRestIsCheap) {
  without({"NOTIFY"});
  watch();
  pass_minutes(4 * 60);
  imapd->reset_counts();
  constexpr unsigned hours = 14;  // ten times three renewals
  pass_minutes(hours * 60);
  // Every third IDLE is begun behind a LIST.
  EXPECT_GE(imapd->counts().command("LIST"), 10u);
  EXPECT_LE(imapd->counts().commands_total(), 3 * hours);
  EXPECT_TRUE(changed.empty());
}

TEST_F(AccountWatchTest, AnOverflowOfNotifyIsMended) {
  watch();
  imapd->reset_counts();
  imapd->control("push alice * OK [NOTIFICATIONOVERFLOW] too much at once");
  for (int i = 0; i < 20; ++i) loop.context().run_one_for(5ms), loop.poll();
  EXPECT_EQ(imapd->counts().command("NOTIFY"), 0u);  // not at once: the server is busy
  clock.advance(2s);
  EXPECT_TRUE(pump_until([&] { return imapd->counts().command("NOTIFY") == 1; }));
  EXPECT_TRUE(pump_until([&] { return imapd->counts().command("LIST") >= 1; }));
  idle();
  changed.clear();
  deliver("Archive");
  EXPECT_TRUE(heard(StateType::email_delivery));
}

TEST_F(AccountWatchTest, NotifyIsSaidAgainWhereItOverflowed) {
  watch();
  page(mailbox("INBOX"));
  page(mailbox("Archive"));
  imapd->control("push alice * OK [NOTIFICATIONOVERFLOW] too much at once");
  for (int i = 0; i < 20; ++i) loop.context().run_one_for(5ms), loop.poll();
  clock.advance(2s);
  EXPECT_TRUE(pump_until([&] { return imapd->counts().command("NOTIFY") == 2; }));
  // That connection would tell nothing of its selected mailbox either (RFC 5465, 5.8).
  EXPECT_EQ(connections_of("NOTIFY").size(), 1u);
}

TEST_F(AccountWatchTest, OverflowAfterOverflowIsAnsweredLaterEachTime) {
  watch();
  imapd->reset_counts();
  for (int second = 0; second < 120; ++second) {
    imapd->control("push alice * OK [NOTIFICATIONOVERFLOW] too much at once");
    clock.advance(1s);
    for (int i = 0; i < 10; ++i) loop.context().run_one_for(1ms), loop.poll();
  }
  EXPECT_GE(imapd->counts().command("NOTIFY"), 3u);
  EXPECT_LE(imapd->counts().command("NOTIFY"), 8u);
}

TEST_F(AccountWatchTest, InboxIsHeardWhileAnotherMailboxIsRead) {
  without({"NOTIFY"});
  watch();
  page(mailbox("Archive"));
  changed.clear();
  deliver("INBOX");
  EXPECT_TRUE(heard(StateType::email_delivery));
}

TEST_F(AccountWatchTest, AViewThatIsGivenUpIsHeardAllTheSame) {
  without({"NOTIFY"});
  watch();
  page(mailbox("INBOX"));
  idle();
  changed.clear();
  account->evict_views();
  ASSERT_EQ(account->views(), 0u);
  EXPECT_TRUE(changed.empty());
  deliver("INBOX");
  EXPECT_TRUE(heard(StateType::email_delivery));
}

TEST_F(AccountWatchTest, TheServerRestartsAndTheWatchGoesOn) {
  watch();
  imapd->control("drop_all");
  const auto port = imapd->port();
  imapd->stop();
  pump_until([&] { return !account->pool().connected(); });
  EXPECT_FALSE(account->pool().connected());
  // The same server again, with a message that came meanwhile.
  options.listen[0].port = port;
  options.mailboxes[1].messages = 6;
  imapd = std::make_unique<testimapd::TestImapd>(options);
  imapd->start();
  changed.clear();
  EXPECT_TRUE(pump_until([&] {
    clock.advance(250ms);
    return changed.contains(StateType::email);
  }));
  changed.clear();
  idle();
  deliver("Archive");
  EXPECT_TRUE(heard(StateType::email_delivery));
}

TEST_F(AccountWatchTest, RefusedCredentialsEndTheWatch) {
  options.users["alice"] = "another";
  start();
  session::Credentials credentials;
  credentials.login = "alice";
  credentials.secret = Secret("secret");
  account = std::make_shared<Account>(AccountContext{loop, *server, *segment, fragments, {}, this}, 42,
                                      std::move(credentials), "");
  account->set_watched(true);
  EXPECT_TRUE(pump_until([&] { return refused; }));
  // Others may come with better credentials, and listen.
  EXPECT_FALSE(account->watched());
  session::Credentials good;
  good.login = "alice";
  good.secret = Secret("secret");
  account->pool().replace_credentials(std::move(good));
  account->set_watched(true);
  EXPECT_TRUE(account->watched());
}

TEST_F(AccountWatchTest, QuotasThatWereAskedForAreLookedAtBehindNewMail) {
  watch();
  deliver("INBOX");
  EXPECT_TRUE(heard(StateType::email_delivery));
  clock.advance(1h);
  idle();
  EXPECT_EQ(imapd->counts().command("GETQUOTAROOT"), 0u);
  ASSERT_TRUE(await(account->quotas()));
  imapd->reset_counts();
  changed.clear();
  clock.advance(1h);
  idle();
  EXPECT_EQ(imapd->counts().command("GETQUOTAROOT"), 0u);
  imapd->control("deliver alice INBOX 100");
  EXPECT_TRUE(heard(StateType::email_delivery));
  EXPECT_FALSE(changed.contains(StateType::quota));
  clock.advance(MailOptions{}.quota_fresh);
  EXPECT_TRUE(heard(StateType::quota));
  EXPECT_EQ(imapd->counts().command("GETQUOTAROOT"), 1u);
}

TEST_F(AccountWatchTest, TheEndOfTheWatchLeavesWhatIsSelected) {
  watch();
  page(mailbox("INBOX"));
  idle();
  account->set_watched(false);
  EXPECT_TRUE(pump_until([&] { return imapd->counts().command("NOTIFY") == 2; }));
  idle();
  EXPECT_EQ(imapd->control("log").find("personal", imapd->control("log").rfind("NOTIFY")), std::string::npos);
  changed.clear();
  deliver("INBOX");
  EXPECT_TRUE(heard(StateType::email));  // by the view
}

TEST_F(AccountWatchTest, WhoComesBackAtOnceHearsOfEveryMailbox) {
  watch();
  account->set_watched(false);
  account->set_watched(true);
  idle();
  changed.clear();
  deliver("Archive");
  EXPECT_TRUE(heard(StateType::email_delivery));
  account->set_watched(false);
  for (int i = 0; i < 3; ++i) loop.poll();
  account->set_watched(true);
  idle();
  changed.clear();
  deliver("Archive");
  EXPECT_TRUE(heard(StateType::email_delivery));
}

TEST_F(AccountWatchTest, WhatWeMoveIsCountedByWhatNotifyTells) {
  watch();
  const auto archive = mailbox("Archive");
  const auto inbox = mailbox("INBOX");
  const auto newest = page(inbox).ids;
  idle();
  const auto before = total_of(archive);
  commands();
  changed.clear();
  EXPECT_TRUE(update(EmailUpdate{newest[0], {}, {}, std::vector{archive}, {}}).done);
  ASSERT_TRUE(pump_until([&] { return total_of(archive) == before + 1; }));
  EXPECT_EQ(total_of(inbox), 19u);
  EXPECT_THAT(commands(), ElementsAre(Pair("UID MOVE", 1)));
  EXPECT_TRUE(changed.contains(StateType::mailbox));
  EXPECT_FALSE(changed.contains(StateType::email_delivery)) << "nothing has come";
  // What another client does there later is told as before.
  changed.clear();
  imapd->control("flag alice Archive 1 +\\Flagged");
  EXPECT_TRUE(heard(StateType::email));
}

TEST_F(AccountWatchTest, OnlyWhatSaysAllAndIsNewEnoughSpareAStatus) {
  without({"NOTIFY"});  // what it would tell, the test says
  watch();
  const auto archive = mailbox("Archive");
  const auto newest = page(mailbox("INBOX")).ids;
  idle();
  const auto told = [&](const std::string& items) {
    const auto before = account->state(StateType::email_delivery);
    imapd->control("push alice * STATUS Archive (" + items + ")");
    imapd->control("push alice * STATUS Junk (MESSAGES 1 UIDNEXT " + std::to_string(++junk_uid_next) + ")");
    EXPECT_TRUE(pump_until([&] { return account->state(StateType::email_delivery) != before; }));
  };
  const auto cost_after = [&](std::size_t n, const std::string& items) {
    commands();
    EXPECT_TRUE(update(EmailUpdate{newest[n], {}, {}, std::vector{archive}, {}}).done);
    told(items);
    EXPECT_EQ(total_of(archive), 6 + n);
    return commands()["STATUS"];
  };
  // The other STATUS is for Junk, whose unread messages aren't told.
  EXPECT_EQ(cost_after(0, "MESSAGES 6 UIDNEXT 7 UNSEEN 0 HIGHESTMODSEQ 99"), 1u);
  EXPECT_EQ(cost_after(1, "MESSAGES 7 UIDNEXT 8 HIGHESTMODSEQ 100"), 2u);
  EXPECT_EQ(cost_after(2, "MESSAGES 7 UIDNEXT 8 UNSEEN 0 HIGHESTMODSEQ 100"), 2u);
  EXPECT_EQ(cost_after(3, "MESSAGES 9 UNSEEN 0 HIGHESTMODSEQ 101"), 2u);
}

TEST_F(AccountWatchTest, NothingIsSaidOnceNobodyListens) {
  watch();
  account->set_watched(false);
  loop.poll();
  imapd->reset_counts();
  deliver("Archive");
  for (int i = 0; i < 20; ++i) loop.context().run_one_for(5ms), loop.poll();
  EXPECT_TRUE(changed.empty());
  EXPECT_FALSE(account->watched());
}

}  // namespace
}  // namespace postern::mail
