// What MYRIGHTS doesn't allow is refused without asking the server; roles that other clients give; the order that
// clients give, kept beyond the segment.
#include "unit/mail/account_fixture.hpp"

namespace postern::mail {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Key;
using ::testing::Not;
using ::testing::Pair;

struct AccountRightsTest : AccountFixture {
  MailboxKey inbox = 0, archive = 0;
  EmailKey email;

  void open(const std::string& archive_rights, const std::string& inbox_rights = "lrswipkteacd") {
    start();
    imapd->control("rights alice Archive " + archive_rights);
    imapd->control("rights alice INBOX " + inbox_rights);
    inbox = mailbox("INBOX");
    archive = mailbox("Archive");
    email = page(inbox).ids.at(0);
    page(archive);
    clock.advance(31s);
    mailbox("INBOX");
    commands();
  }
  // The SetError of an update; "" where it is done.
  std::string error_of(const SetOutcome& outcome) { return outcome.done ? "" : outcome.error_type; }
  std::string flag(const EmailKey& id, std::string keyword, bool on = true) {
    return error_of(update(EmailUpdate{id, {}, {{std::move(keyword), on}}, {}, {}}));
  }
  std::string move(const EmailKey& id, MailboxKey target) {
    return error_of(update(EmailUpdate{id, {}, {}, std::vector{target}, {}}));
  }
  std::string destroy(const EmailKey& id) {
    auto outcomes = await(account->destroy({id}, {}));
    return outcomes ? error_of(outcomes->front()) : "?";
  }
  std::string append(MailboxKey to, std::vector<std::string> keywords) {
    struct Reader final : BlobReader {
      std::string text;
      std::optional<std::uint64_t> size() const override { return text.size(); }
      void skip(std::uint64_t) override {}
      bool is_local() const override { return true; }
      io::Task<Result<std::string>> next() override { co_return std::exchange(text, {}); }
    };
    EmailAppend made;
    made.mailboxes = {to};
    made.keywords = std::move(keywords);
    made.header = "Subject: new\r\n\r\n";
    made.size = made.header.size();
    auto reader = std::make_unique<Reader>();
    reader->text = made.header;
    made.content = std::move(reader);
    auto done = await(account->append(std::move(made), {}));
    return done ? error_of(done->outcome) : "?";
  }
};

TEST_F(AccountRightsTest, WhatIsntAllowedIsNotSent) {
  open("lr");
  const auto theirs = page(archive).ids.at(0);
  commands();
  EXPECT_EQ(flag(theirs, "$seen"), "forbidden");
  EXPECT_EQ(flag(theirs, "$flagged"), "forbidden");
  EXPECT_EQ(move(theirs, inbox), "forbidden");
  EXPECT_EQ(destroy(theirs), "forbidden");
  EXPECT_EQ(move(email, archive), "forbidden");
  EXPECT_EQ(append(archive, {}), "forbidden");
  // Once whether it is still so, and nothing that changes anything.
  const auto asked = commands();
  EXPECT_THAT(asked, Contains(Pair("MYRIGHTS", 1)));
  for (const char* name : {"UID STORE", "UID MOVE", "UID COPY", "UID EXPUNGE", "APPEND"})
    EXPECT_THAT(asked, Not(Contains(Key(name))));
  EXPECT_NE(subject(theirs), "not found");
}

TEST_F(AccountRightsTest, EachRightAllowsItsOwn) {
  open("lrsi");
  const auto theirs = page(archive).ids.at(0);
  EXPECT_EQ(flag(theirs, "$seen"), "");
  EXPECT_EQ(flag(theirs, "$seen", false), "");
  EXPECT_EQ(flag(theirs, "work"), "forbidden");
  EXPECT_EQ(move(theirs, inbox), "forbidden");
  EXPECT_EQ(append(archive, {"$seen"}), "");
  EXPECT_EQ(append(archive, {"$seen", "$flagged"}), "forbidden");
  EXPECT_EQ(move(email, archive), "");
}

TEST_F(AccountRightsTest, ARightThatWasGivenSinceCountsAtOnce) {
  open("lr");
  imapd->control("rights alice Archive lrswite");
  const auto state = account->state(StateType::mailbox);
  EXPECT_EQ(move(email, archive), "");
  EXPECT_NE(account->state(StateType::mailbox), state);
  commands();
  // What has all that it needs isn't asked about again before mailbox_list_fresh.
  EXPECT_EQ(flag(page(archive).ids.at(0), "$flagged"), "");
  EXPECT_THAT(commands(), Not(Contains(Key("MYRIGHTS"))));
}

TEST_F(AccountRightsTest, MailboxesAreMadeAndChangedByRight) {
  open("lrswipte");
  MailboxUpdate rename;
  rename.key = archive;
  rename.name = "Attic";
  EXPECT_EQ(error_of(await(account->update_mailbox(rename, {})).outcome), "forbidden");
  EXPECT_EQ(error_of(await(account->destroy_mailbox(archive, true, {})).outcome), "forbidden");
  EXPECT_EQ(error_of(await(account->create_mailbox({"Below", archive, Role::none, true, {}}, {})).outcome),
            "forbidden");
  EXPECT_THAT(commands(), ElementsAre(Pair("MYRIGHTS", 1)));
  imapd->control("rights alice Archive lrswipkxte");
  clock.advance(31s);
  EXPECT_EQ(error_of(await(account->create_mailbox({"Below", archive, Role::none, true, {}}, {})).outcome),
            "");
  EXPECT_EQ(error_of(await(account->update_mailbox(rename, {})).outcome), "");
}

TEST_F(AccountRightsTest, RolesOfOtherClientsAreSeen) {
  start();
  const auto role_of = [&](MailboxKey key) {
    for (const auto& data : await(account->mailboxes())->data)
      if (data.mailbox.key == key) return data.mailbox.role;
    return Role::none;
  };
  imapd->control("create alice Work");
  const auto work = mailbox("Work");
  archive = mailbox("Archive");
  EXPECT_EQ(role_of(work), Role::none);
  const auto state = account->state(StateType::mailbox);
  imapd->control("special_use alice Archive");
  imapd->control("special_use alice Work \\Archive");
  clock.advance(31s);
  EXPECT_EQ(role_of(work), Role::archive);
  EXPECT_EQ(role_of(archive), Role::none);
  const auto changes = await(account->mailbox_changes(state, changes_unlimited));
  ASSERT_TRUE(changes);
  EXPECT_THAT(changes->data.updated, testing::UnorderedElementsAre(work, archive));
  EXPECT_FALSE(changes->data.counts_only);
}

// Outlives accounts, as a database does.
struct SharedOrders {
  std::unordered_map<MailboxKey, std::uint32_t> kept;
  bool broken = false;
  int puts = 0;
};
struct FakeOrderStore final : OrderStore {
  explicit FakeOrderStore(SharedOrders& all) : shared(all) {}
  SharedOrders& shared;
  io::Task<Result<std::unordered_map<MailboxKey, std::uint32_t>>> orders() override {
    if (shared.broken) co_return fail(Errc::no_room);
    co_return shared.kept;
  }
  io::Task<Result<>> put(MailboxKey key, std::optional<std::uint32_t> order) override {
    if (shared.broken) co_return fail(Errc::no_room);
    ++shared.puts;
    if (order)
      shared.kept[key] = *order;
    else
      shared.kept.erase(key);
    co_return Result<>{};
  }
};

struct SortOrderTest : AccountRightsTest {
  SharedOrders orders;

  void begin() { account->set_order_store(std::make_unique<FakeOrderStore>(orders)); }
  // As after a restart of the machine: the segment is gone.
  void reboot() {
    account.reset();
    segment.reset();
    ASSERT_EQ(::unlink((directory + "/segment").c_str()), 0);
    open_segment();
    open_account();
    begin();
  }
  std::string set(MailboxKey key, std::uint32_t order) {
    MailboxUpdate update;
    update.key = key;
    update.sort_order = order;
    return error_of(await(account->update_mailbox(update, {})).outcome);
  }
  std::optional<std::uint32_t> order_of(const std::string& path) {
    for (const auto& data : await(account->mailboxes())->data)
      if (data.mailbox.path == path) return data.mailbox.sort_order;
    return std::nullopt;
  }
};

TEST_F(SortOrderTest, OutlivesTheMachineAndANewName) {
  options.capabilities = testimapd::capabilities_of("courier");  // ids are those of the names
  start();
  begin();
  EXPECT_EQ(set(mailbox("Archive"), 77), "");
  const auto work = await(account->create_mailbox({"Work", {}, Role::none, true, 50}, {})).key;
  EXPECT_EQ(order_of("Work"), 50u);
  MailboxUpdate rename;
  rename.key = work;
  rename.name = "Arbeit";
  EXPECT_EQ(error_of(await(account->update_mailbox(rename, {})).outcome), "");
  EXPECT_EQ(order_of("Arbeit"), 50u);
  reboot();
  EXPECT_EQ(order_of("Archive"), 77u);
  EXPECT_EQ(order_of("Arbeit"), 50u);
  EXPECT_EQ(set(mailbox("Arbeit"), 51), "");
  reboot();
  EXPECT_EQ(order_of("Arbeit"), 51u);
  EXPECT_EQ(order_of("INBOX"), 1u);
}

TEST_F(SortOrderTest, GoesWithItsMailbox) {
  start();
  begin();
  const auto work = await(account->create_mailbox({"Work", {}, Role::none, true, 50}, {})).key;
  EXPECT_THAT(orders.kept, ElementsAre(Pair(work, 50)));
  EXPECT_EQ(error_of(await(account->destroy_mailbox(work, false, {})).outcome), "");
  EXPECT_THAT(orders.kept, IsEmpty());
}

TEST_F(SortOrderTest, WhatCantBeKeptIsNotTold) {
  start();
  begin();
  orders.broken = true;
  const auto state = account->state(StateType::mailbox);
  EXPECT_EQ(set(mailbox("Archive"), 77), "serverFail");
  EXPECT_NE(order_of("Archive"), 77u);
  const auto made = await(account->create_mailbox({"Work", {}, Role::none, true, 50}, {}));
  EXPECT_TRUE(made.outcome.done);
  EXPECT_NE(order_of("Work"), 50u);
  orders.broken = false;
  EXPECT_EQ(set(made.key, 50), "");
  EXPECT_EQ(order_of("Work"), 50u);
}

TEST_F(SortOrderTest, ComesFromTheSegmentWhereThereWasNoStore) {
  start();
  EXPECT_EQ(set(mailbox("Archive"), 77), "");
  account->save_state();
  account.reset();
  open_account();
  begin();
  EXPECT_EQ(order_of("Archive"), 77u);
  EXPECT_EQ(set(mailbox("Archive"), 78), "");
  reboot();
  EXPECT_EQ(order_of("Archive"), 78u);
}

}  // namespace
}  // namespace postern::mail
