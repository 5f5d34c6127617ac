// Emails that are in several mailboxes, on servers that know only copies.
#include "unit/mail/account_changes_fixture.hpp"

namespace postern::mail {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

struct SharedEmailTest : AccountChangesTest {
  SetOutcome change(const EmailKey& id, std::vector<std::pair<MailboxKey, bool>> mailboxes) {
    return update(EmailUpdate{id, {}, {}, {}, std::move(mailboxes)});
  }
  std::vector<MailboxKey> mailboxes_of(const EmailKey& id) {
    const auto items = fetch({id});
    return items.size() == 1 && items[0].found ? *items[0].mailboxes : std::vector<MailboxKey>{};
  }
  static Filter condition(Filter::Kind kind, std::vector<MailboxKey> mailboxes, std::string text = {}) {
    Filter filter;
    filter.kind = kind;
    filter.mailboxes = std::move(mailboxes);
    filter.text = std::move(text);
    return filter;
  }
  static Filter both(Filter::Kind kind, std::vector<Filter> children) {
    Filter filter;
    filter.kind = kind;
    filter.children = std::move(children);
    return filter;
  }
  std::vector<EmailKey> found(Filter filter, bool collapse = false) {
    EmailQuery query;
    query.filter = std::move(filter);
    query.limit = 100;
    query.collapse_threads = collapse;
    auto result = await(account->query(std::move(query)));
    EXPECT_TRUE(result) << (result ? "" : result.error().to_string());
    if (result) EXPECT_EQ(result->total, result->ids.size());
    return result ? result->ids : std::vector<EmailKey>{};
  }
  void restart() {
    account.reset();
    segment.reset();
    fragments.clear();
    open_segment();
    open_account();
  }
};

struct SharedKindTest : SharedEmailTest, ::testing::WithParamInterface<const char*> {
  SharedKindTest() {
    options.capabilities = testimapd::capabilities_of(GetParam());
    if (GetParam() == std::string("courier")) {
      options.prefix = "INBOX.";
      options.separator = '.';
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Servers, SharedKindTest, ::testing::Values("full", "dovecot", "cyrus", "courier"));

TEST_P(SharedKindTest, OneEmailInTwoMailboxes) {
  start();
  std::map<std::string, MailboxKey> keys;
  auto all = await(account->mailboxes());
  ASSERT_TRUE(all);
  for (const auto& data : all->data) keys[data.mailbox.name] = data.mailbox.key;
  inbox = keys.at("INBOX");
  archive = keys.at("Archive");
  const auto ids = page(inbox, 0, 20).ids;
  const auto id = ids.at(2);
  const auto text = subject(id);
  const auto state = email_state();
  ASSERT_TRUE(change(id, {{archive, true}}).done);
  EXPECT_EQ(subject(id), text);
  EXPECT_THAT(mailboxes_of(id), UnorderedElementsAre(inbox, archive));
  EXPECT_THAT(page(inbox, 0, 50).ids, Contains(id));
  EXPECT_THAT(page(archive, 0, 50).ids, Contains(id));
  EXPECT_EQ(page(archive).total, 6u);
  EXPECT_THAT(found({}), SizeIs(30));
  EXPECT_THAT(found({}, true), Contains(id));
  clock.advance(31s);
  auto changes = told(state);
  EXPECT_THAT(changes.data.created, IsEmpty());
  EXPECT_THAT(changes.data.updated, ElementsAre(id));
  EXPECT_THAT(changes.data.destroyed, IsEmpty());
  // Keywords are those of all copies.
  ASSERT_TRUE(update(EmailUpdate{id, {}, {{"$flagged", true}}, {}, {}}).done);
  for (auto key : {inbox, archive})
    EXPECT_THAT(found(both(Filter::Kind::all_of, {condition(Filter::Kind::in_mailbox, {key}),
                                                  condition(Filter::Kind::has_keyword, {}, "$flagged")})),
                Contains(id));
  // Out of the mailbox where it was first seen: it stays in the other.
  ASSERT_TRUE(change(id, {{inbox, false}}).done);
  EXPECT_EQ(subject(id), text);
  EXPECT_THAT(mailboxes_of(id), ElementsAre(archive));
  EXPECT_THAT(page(inbox, 0, 50).ids, Not(Contains(id)));
  EXPECT_THAT(page(archive, 0, 50).ids, Contains(id));
  clock.advance(31s);
  changes = told(changes.state);
  EXPECT_THAT(changes.data.created, IsEmpty());
  EXPECT_THAT(changes.data.updated, ElementsAre(id));
  EXPECT_THAT(changes.data.destroyed, IsEmpty());
  // And back, and elsewhere at once.
  ASSERT_TRUE(
      update(EmailUpdate{id, {}, {}, std::vector{inbox, keys.at("Trash"), keys.at("Sent")}, {}}).done);
  EXPECT_THAT(mailboxes_of(id), UnorderedElementsAre(inbox, keys.at("Trash"), keys.at("Sent")));
  EXPECT_EQ(page(archive).total, 5u);
  EXPECT_EQ(subject(id), text);
  // Destroyed, it is nowhere.
  auto outcomes = await(account->destroy({id}, {}));
  ASSERT_TRUE(outcomes);
  EXPECT_TRUE(outcomes->front().done) << outcomes->front().error_type;
  EXPECT_EQ(subject(id), "not found");
  EXPECT_EQ(page(inbox).total, 19u);
  EXPECT_EQ(page(keys.at("Trash")).total, 0u);
  EXPECT_EQ(page(keys.at("Sent")).total, 5u);
  clock.advance(31s);
  // Without CONDSTORE, what is opened again before its index is filled can't be told of.
  const auto last = since(changes.state);
  if (last || GetParam() != std::string("courier")) {
    ASSERT_TRUE(last);
    EXPECT_THAT(last->data.destroyed, ElementsAre(id));
  }
}

TEST_F(SharedEmailTest, AddingCostsOneCopy) {
  open();
  ASSERT_TRUE(change(ids[0], {{archive, true}}).done);
  EXPECT_THAT(commands(), ElementsAre(Pair("UID COPY", 1)));
  EXPECT_THAT(mailboxes_of(ids[0]), UnorderedElementsAre(inbox, archive));
  EXPECT_THAT(commands(), ElementsAre(Pair("UID FETCH", 1)));
}

TEST_F(SharedEmailTest, WhatWasCopiedIsOneEmailAfterARestart) {
  open();
  ASSERT_TRUE(change(ids[0], {{archive, true}}).done);
  ASSERT_TRUE(change(ids[1], {{archive, true}}).done);
  ASSERT_TRUE(change(ids[1], {{inbox, false}}).done);
  restart();
  EXPECT_THAT(mailboxes_of(ids[0]), UnorderedElementsAre(inbox, archive));
  EXPECT_THAT(mailboxes_of(ids[1]), ElementsAre(archive));
  EXPECT_THAT(found({}), SizeIs(30));
  EXPECT_THAT(page(archive, 0, 20).ids, Contains(ids[0]));
  // What another program did while nobody listened.
  account.reset();
  imapd->control("expunge alice INBOX " + uid(ids[0]));
  restart();
  EXPECT_THAT(page(archive, 0, 20).ids, Contains(ids[0]));
  EXPECT_THAT(page(inbox, 0, 20).ids, Not(Contains(ids[0])));
  EXPECT_THAT(mailboxes_of(ids[0]), ElementsAre(archive));
  EXPECT_TRUE(await(account->destroy({ids[0]}, {}))->front().done);
  EXPECT_EQ(page(archive).total, 6u);
}

TEST_F(SharedEmailTest, ACopyThatAnotherProgramTakesAwayIsAnUpdate) {
  open();
  page(archive, 0, 20);
  ASSERT_TRUE(change(ids[0], {{archive, true}}).done);
  page(archive, 0, 20);
  idle();
  auto state = email_state();
  imapd->control("expunge alice INBOX " + uid(ids[0]));
  ASSERT_TRUE(pump_until([&] { return page(inbox).total == 19; }));
  auto changes = told(state);
  EXPECT_THAT(changes.data.updated, ElementsAre(ids[0]));
  EXPECT_THAT(changes.data.destroyed, IsEmpty());
  EXPECT_THAT(mailboxes_of(ids[0]), ElementsAre(archive));
  idle();
  imapd->control("expunge alice Archive 6");
  ASSERT_TRUE(pump_until([&] {
    clock.advance(250ms);
    return page(archive).total == 5;
  }));
  changes = told(changes.state);
  EXPECT_THAT(changes.data.updated, IsEmpty());
  EXPECT_THAT(changes.data.destroyed, ElementsAre(ids[0]));
}

// Until a mailbox is listed, nobody knows which of its messages are \Deleted.
TEST_F(SharedEmailTest, ADeletedCopyInAMailboxThatIsntInMemoryIsToldWhenItIsListed) {
  open();
  page(archive, 0, 20);
  ASSERT_TRUE(change(ids[0], {{archive, true}}).done);
  imapd->control("flag alice Archive 6 +\\Deleted");
  ASSERT_TRUE(pump_until([&] {
    clock.advance(250ms);
    return page(archive).total == 5;
  }));
  EXPECT_THAT(mailboxes_of(ids[0]), ElementsAre(inbox));
  account->evict_views();
  ASSERT_THAT(mailboxes_of(ids[0]), SizeIs(2));
  const auto state = email_state();
  page(archive, 0, 20);
  EXPECT_THAT(mailboxes_of(ids[0]), ElementsAre(inbox));
  EXPECT_THAT(told(state).data.updated, Contains(ids[0]));
}

TEST_F(SharedEmailTest, FiltersAreAboutAllMailboxesOfAnEmail) {
  using Kind = Filter::Kind;
  open();
  const auto id = ids[0];
  ASSERT_TRUE(change(id, {{archive, true}}).done);
  EXPECT_THAT(found(both(Kind::all_of,
                         {condition(Kind::in_mailbox, {inbox}), condition(Kind::in_mailbox, {archive})})),
              ElementsAre(id));
  EXPECT_THAT(found(both(Kind::none_of, {condition(Kind::in_mailbox, {archive})})),
              ::testing::AllOf(SizeIs(24), Not(Contains(id))));
  EXPECT_THAT(found(condition(Kind::in_mailbox_other_than, {archive})),
              ::testing::AllOf(SizeIs(25), Contains(id)));
  EXPECT_THAT(found(condition(Kind::in_mailbox_other_than, {archive, inbox})), SizeIs(5));
  EXPECT_THAT(found(both(Kind::all_of, {condition(Kind::in_mailbox, {inbox}),
                                        both(Kind::none_of, {condition(Kind::in_mailbox, {archive})})})),
              ::testing::AllOf(SizeIs(19), Not(Contains(id))));
  EXPECT_THAT(found(both(Kind::any_of,
                         {condition(Kind::in_mailbox, {inbox}), condition(Kind::in_mailbox, {archive})})),
              SizeIs(25));
}

TEST_F(SharedEmailTest, AThreadHasItOnce) {
  open();
  ASSERT_TRUE(change(ids[0], {{archive, true}}).done);
  ThreadKey thread = 0;
  auto plan = field_plan("SUBJECT", "thread-");
  plan.thread = true;
  plan.render = [&thread](const MessageSource& source) {
    thread = source.thread;
    return Fragment{};
  };
  ASSERT_TRUE(await(account->fetch({ids[0]}, plan)));
  const auto threads = await(account->threads({thread}));
  ASSERT_TRUE(threads);
  EXPECT_EQ(std::count(threads->data[0].emails.begin(), threads->data[0].emails.end(), ids[0]), 1);
}

TEST_F(SharedEmailTest, AMessageIsFiledInSeveralMailboxes) {
  open();
  struct Reader final : BlobReader {
    std::string text;
    std::optional<std::uint64_t> size() const override { return text.size(); }
    io::Task<Result<std::string>> next() override { co_return std::exchange(text, {}); }
    void skip(std::uint64_t) override {}
    bool is_local() const override { return true; }
  };
  const auto file = [&] {
    EmailAppend email;
    email.mailboxes = {archive, inbox};
    email.header = "Subject: both\r\n\r\n";
    auto reader = std::make_unique<Reader>();
    reader->text = email.header + "text\r\n";
    email.size = reader->text.size();
    email.content = std::move(reader);
    return await(account->append(std::move(email), {}));
  };
  const auto filed = file();
  ASSERT_TRUE(filed && filed->outcome.done);
  EXPECT_THAT(mailboxes_of(filed->id), UnorderedElementsAre(inbox, archive));
  EXPECT_THAT(found({}), SizeIs(31));
  imapd->control("on UID COPY do reply NO [OVERQUOTA] full");
  const auto refused = file();
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->outcome.error_type, "overQuota");
  EXPECT_THAT(found({}), SizeIs(31));
}

TEST_F(SharedEmailTest, WhereCopiesAreNotToldThereAreNone) {
  offer({"UIDPLUS", "MOVE"});
  open();
  EXPECT_EQ(change(ids[0], {{archive, true}}).error_type, "tooManyMailboxes");
  EXPECT_EQ(page(archive).total, 5u);
  EXPECT_FALSE(account->known_features().several_mailboxes);
}

TEST_F(SharedEmailTest, ACopyThatIsRefusedChangesNothing) {
  open();
  imapd->control("on UID COPY do reply NO [NOPERM] not there");
  EXPECT_EQ(update(EmailUpdate{ids[0], {}, {}, std::vector{archive, mailbox("Trash")}, {}}).error_type,
            "forbidden");
  EXPECT_THAT(mailboxes_of(ids[0]), ElementsAre(inbox));
}

TEST_F(SharedEmailTest, ADestroyedMailboxLeavesTheOtherCopy) {
  open();
  ASSERT_TRUE(change(ids[0], {{archive, true}}).done);
  ASSERT_TRUE(move(ids[1], archive));
  const auto state = email_state();
  ASSERT_TRUE(await(account->destroy_mailbox(archive, true, {})).outcome.done);
  clock.advance(31s);
  const auto changes = since(state);
  if (changes) {
    EXPECT_THAT(changes->data.destroyed, Not(Contains(ids[0])));
    EXPECT_THAT(changes->data.destroyed, Contains(ids[1]));
  }
  EXPECT_THAT(mailboxes_of(ids[0]), ElementsAre(inbox));
  EXPECT_EQ(subject(ids[1]), "not found");
}

// --- What a page over all mailboxes costs ---

TEST_F(SharedEmailTest, AnotherPageOfAllMailboxesCostsNothing) {
  open();
  const auto first = found({});
  fetch(first);
  idle();
  commands();
  EXPECT_EQ(found({}), first);
  EXPECT_EQ(found({}, true).size(), found({}, true).size());
  fetch(first);
  const auto costs = commands();
  EXPECT_EQ(costs.count("SELECT"), costs.count("UID FETCH"));  // the threads, once
  found({}, true);
  fetch(first);
  EXPECT_THAT(commands(), IsEmpty());
}

}  // namespace
}  // namespace postern::mail
