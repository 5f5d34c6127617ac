// A server that says NO where it shouldn't: what can't be known isn't told, no id becomes another, and nothing is left
// out that may be read.
#include "unit/mail/account_fixture.hpp"

namespace postern::mail {
namespace {

using ::testing::Contains;
using ::testing::Not;
using ::testing::SizeIs;

struct RefusalsTest : AccountFixture {
  MailboxKey inbox = 0, archive = 0;

  void open(const char* kind = "full", const std::vector<std::string>& without = {}) {
    options.capabilities = testimapd::capabilities_of(kind);
    for (const auto& name : without) std::erase(options.capabilities, name);
    options.mailboxes = {{"INBOX", "", 4}, {"Archive", "\\Archive", 2}, {"Sent", "\\Sent", 1}};
    start();
    archive = mailbox("Archive");
    inbox = mailbox("INBOX");
  }
  void open_anew(const char* kind, const std::vector<std::string>& without = {}) {
    account.reset();
    server.reset();
    segment.reset();
    imapd.reset();
    std::filesystem::remove(directory + "/segment");
    fragments.clear();
    open(kind, without);
  }
  void open_again() {
    account.reset();
    fragments.clear();
    open_account();
  }
  // By path; empty where they can't be had.
  std::map<std::string, MailboxData> list() {
    std::map<std::string, MailboxData> all;
    if (auto told = await(account->mailboxes()))
      for (auto& data : told->data) all[data.mailbox.path] = data;
    return all;
  }
  static std::map<std::string, MailboxKey> keys_of(const std::map<std::string, MailboxData>& all) {
    std::map<std::string, MailboxKey> keys;
    for (const auto& [path, data] : all) keys[path] = data.mailbox.key;
    return keys;
  }
  Result<EmailQueryResult> everything() {
    EmailQuery query;
    query.limit = 100;
    return await(account->query(std::move(query)));
  }
  void refuse(const std::string& what, const std::string& reply = "NO not now") {
    imapd->control("on " + what + " do reply " + reply);
  }
};

TEST_F(RefusalsTest, AQueryOfAllMailboxesLeavesNoneOutThatMayBeRead) {
  open();
  refuse("SELECT nth=2");
  const auto refused = everything();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, make_error_code(Errc::server_refused));
  ASSERT_TRUE(everything());
  EXPECT_EQ(everything()->total, 7u);
}

TEST_F(RefusalsTest, WhatMayNotBeReadIsLeftOutWithoutBeingTold) {
  for (const bool by_rights : {true, false}) {
    open_anew("full");
    page(inbox);
    if (by_rights) imapd->control("rights alice Archive lp");
    refuse("SELECT", by_rights ? "NO Unable to open this mailbox." : "NO [NOPERM] not yours");
    const auto rest = everything();
    ASSERT_TRUE(rest) << rest.error().to_string();
    EXPECT_EQ(rest->total, 5u);
  }
}

TEST_F(RefusalsTest, ThreadsAreThoseOfAllMailboxes) {
  open();
  refuse("SELECT nth=2");
  const auto refused = await(account->threads({1}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, make_error_code(Errc::server_refused));
  EXPECT_TRUE(await(account->threads({1})));
}

TEST_F(RefusalsTest, NewsBehindARefusalAreToldLater) {
  open();
  page(archive);
  page(inbox);
  idle();
  const auto since = account->state(StateType::email);
  imapd->deliver("alice", "Archive", "Subject: new\r\n\r\nhello\r\n");
  clock.advance(31s);
  refuse("SELECT");
  EXPECT_FALSE(await(account->email_changes(since, 100)));
  const auto told = await(account->email_changes(since, 100));
  ASSERT_TRUE(told) << told.error().to_string();
  EXPECT_THAT(told->data.created, SizeIs(1));
}

TEST_F(RefusalsTest, NoEmailHasGoneWhereItsMailboxIsRefused) {
  open();
  const auto id = page(archive).ids.at(0);
  page(inbox);
  refuse("SELECT");
  EXPECT_FALSE(await(account->fetch({id}, field_plan("FROM"))));
  page(inbox);
  refuse("SELECT");
  EXPECT_EQ(await(account->destroy({id}, {}))->front().error_type, "serverUnavailable");
  EXPECT_NE(subject(id), "not found");
}

// On servers without LIST-STATUS, with MAILBOXID asked for behind it or without.
TEST_F(RefusalsTest, AMailboxHasTheIdThatItWillHaveOrNone) {
  for (const auto* kind : {"courier", "full"}) {
    SCOPED_TRACE(kind);
    open_anew(kind, {"LIST-STATUS"});
    const auto keys = keys_of(list());
    ASSERT_EQ(keys.size(), 3u);
    for (int nth = 1; nth <= (kind == std::string("full") ? 6 : 3); ++nth) {
      SCOPED_TRACE(nth);
      open_again();
      refuse("STATUS nth=" + std::to_string(nth));  // asked once more
      EXPECT_EQ(keys_of(list()), keys);
      imapd->control("clear_rules");
      open_again();
      refuse("STATUS times=2 nth=" + std::to_string(nth));
      const auto unknown = await(account->mailboxes());
      ASSERT_FALSE(unknown);
      EXPECT_EQ(unknown.error().code, make_error_code(Errc::server_unavailable));
      EXPECT_EQ(keys_of(list()), keys);
    }
  }
}

TEST_F(RefusalsTest, AMailboxThatIsNeverToldOfIsShownByItsName) {
  open("courier");
  const auto keys = keys_of(list());
  open_again();
  refuse("STATUS times=always", "NO broken");
  EXPECT_FALSE(await(account->mailboxes()));
  clock.advance(11s);
  auto all = list();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_TRUE(all["Archive"].mailbox.unreadable);
  imapd->control("clear_rules");
  clock.advance(31s);
  all = list();
  EXPECT_EQ(keys_of(all), keys);
  EXPECT_FALSE(all["Archive"].mailbox.unreadable);
  // What has been refused for good is that at once.
  open_again();
  refuse("STATUS", "NO [NOPERM] not yours");
  all = list();
  EXPECT_TRUE(all["Archive"].mailbox.unreadable);
  EXPECT_EQ(all["INBOX"].mailbox.key, inbox);
}

TEST_F(RefusalsTest, WhatWasKnownStays) {
  open("courier");
  const auto before = list();
  clock.advance(31s);
  refuse("STATUS times=always", "NO [INUSE] locked");
  const auto after = list();
  EXPECT_EQ(keys_of(after), keys_of(before));
  for (const auto& [path, data] : before) {
    EXPECT_EQ(after.at(path).total_emails, data.total_emails) << path;
    EXPECT_EQ(after.at(path).unread_emails, data.unread_emails) << path;
  }
  imapd->deliver("alice", "Archive", "Subject: new\r\n\r\nhello\r\n");
  imapd->control("clear_rules");
  const auto delivered = account->state(StateType::email_delivery);
  clock.advance(31s);
  EXPECT_EQ(list().at("Archive").total_emails, 3u);
  EXPECT_NE(account->state(StateType::email_delivery), delivered);
}

TEST_F(RefusalsTest, RightsAreNotForgotten) {
  open("dovecot");
  imapd->control("rights alice Archive lr");
  clock.advance(3601s);
  EXPECT_EQ(list()["Archive"].mailbox.rights, "lr");
  clock.advance(3601s);
  refuse("MYRIGHTS times=always");
  EXPECT_EQ(list()["Archive"].mailbox.rights, "lr");
}

TEST_F(RefusalsTest, AMailboxHasGoneOnlyWhereTheServerSaysSo) {
  open();
  const auto destroyed = [&] {
    return await(account->destroy_mailbox(archive, true, {})).outcome.error_type;
  };
  refuse("STATUS");
  EXPECT_EQ(destroyed(), "serverUnavailable");
  refuse("STATUS", "NO [NOPERM] not yours");
  EXPECT_EQ(destroyed(), "forbidden");
  MailboxUpdate update;
  update.key = archive;
  update.name = "Attic";
  refuse("STATUS");
  EXPECT_EQ(await(account->update_mailbox(update, {})).outcome.error_type, "serverUnavailable");
  EXPECT_EQ(page(archive).total, 2u);
  imapd->control("delete alice Archive");
  refuse("STATUS");
  EXPECT_EQ(destroyed(), "notFound");
}

TEST_F(RefusalsTest, AnEmailThatHasGoneFromOneOfItsMailboxesIsToldAsThat) {
  server_options.connections_per_account = 1;
  open();
  const auto id = page(inbox).ids.at(0);
  ASSERT_TRUE(update(EmailUpdate{id, {}, {}, {}, {{archive, true}}}).done);
  page(archive);
  page(inbox);
  const auto since = account->state(StateType::email);
  imapd->control("on UID EXPUNGE do run on SELECT times=always do drop");
  EXPECT_EQ(await(account->destroy({id}, {}))->front().error_type, "serverFail");
  imapd->control("clear_rules");
  Result<Changes<EmailKey>> told = fail(Errc::server_unavailable);
  ASSERT_TRUE(pump_until([&] {
    clock.advance(31s);
    told = await(account->email_changes(since, 100));
    return told && told->freshness == Freshness::current;
  }));
  EXPECT_THAT(told->data.updated, Contains(id));
  EXPECT_THAT(told->data.destroyed, Not(Contains(id)));
  EXPECT_THAT(*fetch({id})[0].mailboxes, SizeIs(1));
}

}  // namespace
}  // namespace postern::mail
