// Emails that another program moves and copies, on servers that tell which message is which.
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

struct IdentityTest : AccountChangesTest {
  IdentityTest() { mail_options.join_by_identity = true; }
  // Both in memory and heard, with all that the index holds.
  void open_both() {
    open();
    page(archive, 0, 20);
    idle();
    page(inbox, 0, 20);
    idle();
    // Both are selected when one is wanted while the other is being read.
    bool read = false;
    auto reading = [&](std::vector<EmailKey> archived) -> io::Task<> {
      (void)co_await account->fetch(std::move(archived), field_plan("TO"));
      read = true;
    };
    const auto archived = page(archive, 0, 20).ids;
    imapd->control("on UID FETCH do delay 100");
    loop.spawn(reading(archived));
    page(inbox, 0, 20);
    ASSERT_TRUE(pump_until([&] { return read; }));
    ASSERT_TRUE(account->pool().is_selected("INBOX") && account->pool().is_selected("Archive"));
    idle();
    imapd->reset_counts();
  }
  std::vector<MailboxKey> mailboxes_of(const EmailKey& id) {
    const auto items = fetch({id});
    return items.size() == 1 && items[0].found ? *items[0].mailboxes : std::vector<MailboxKey>{};
  }
  std::vector<EmailKey> everything() {
    EmailQuery query;
    query.limit = 100;
    auto result = await(account->query(std::move(query)));
    EXPECT_TRUE(result) << (result ? "" : result.error().to_string());
    return result ? result->ids : std::vector<EmailKey>{};
  }
  // Until the two mailboxes have so many.
  bool comes_to(std::uint64_t in_inbox, std::uint64_t in_archive) {
    return pump_until([&] {
      clock.advance(31s);
      return page(inbox, 0, 50).total == in_inbox && page(archive, 0, 50).total == in_archive;
    });
  }
  void restart() {
    account.reset();
    segment.reset();
    fragments.clear();
    open_segment();
    open_account();
  }
  bool destroyed(const EmailKey& id) {
    auto outcomes = await(account->destroy({id}, {}));
    return outcomes && outcomes->front().done;
  }
  std::string with(const std::string& mailbox) { return imapd->control("mailbox alice " + mailbox); }
};

struct IdentityKind {
  std::string name;
  bool expunged_first;
};
void PrintTo(const IdentityKind& kind, std::ostream* out) {
  *out << kind.name << (kind.expunged_first ? ", expunged first" : "");
}

struct IdentityKindTest : IdentityTest, ::testing::WithParamInterface<IdentityKind> {
  IdentityKindTest() {
    options.capabilities = testimapd::capabilities_of(GetParam().name);
    if (GetParam().name == "dovecot") options.id = {{"name", "Dovecot"}};
  }
  void moved(const std::string& uids) {
    imapd->control("move alice INBOX " + uids + " Archive" +
                   (GetParam().expunged_first ? " expunged_first" : ""));
  }
};
INSTANTIATE_TEST_SUITE_P(Servers, IdentityKindTest,
                         ::testing::Values(IdentityKind{"full", false}, IdentityKind{"full", true},
                                           IdentityKind{"dovecot", false}, IdentityKind{"dovecot", true},
                                           IdentityKind{"cyrus", false}, IdentityKind{"cyrus", true},
                                           IdentityKind{"gmail", false}, IdentityKind{"gmail", true}));

TEST_P(IdentityKindTest, AMoveThatIsHeardIsAnUpdate) {
  open_both();
  const auto id = ids[2];
  const auto text = subject(id);
  const auto thread_state = threads_since(account->state(StateType::thread)).state;
  const auto state = email_state();
  moved(uid(id));
  ASSERT_TRUE(comes_to(19, 6));
  EXPECT_THAT(mailboxes_of(id), ElementsAre(archive));
  EXPECT_THAT(page(archive, 0, 20).ids, Contains(id));
  EXPECT_THAT(page(inbox, 0, 20).ids, Not(Contains(id)));
  EXPECT_EQ(subject(id), text);
  const auto changes = told(state);
  EXPECT_THAT(changes.data.updated, ElementsAre(id));
  EXPECT_THAT(changes.data.created, IsEmpty());
  EXPECT_THAT(changes.data.destroyed, IsEmpty());
  const auto threads = threads_since(thread_state);
  EXPECT_THAT(threads.data.created, IsEmpty());
  EXPECT_THAT(threads.data.updated, IsEmpty());
  EXPECT_THAT(threads.data.destroyed, IsEmpty());
  // And it is this one that is written to.
  ASSERT_TRUE(update(EmailUpdate{id, {}, {{"$flagged", true}}, {}, {}}).done);
  ASSERT_TRUE(move(id, inbox));
  EXPECT_THAT(mailboxes_of(id), ElementsAre(inbox));
  EXPECT_TRUE(destroyed(id));
  EXPECT_THAT(with("INBOX"), ::testing::HasSubstr("\"messages\":19"));
  EXPECT_THAT(with("Archive"), ::testing::HasSubstr("\"messages\":5"));
}

TEST_P(IdentityKindTest, AMoveWhileNobodyListenedIsAnUpdate) {
  open_both();
  page(mailbox("Sent"));
  page(mailbox("Junk"));
  idle();
  const auto state = email_state();
  moved(uid(ids[2]) + "," + uid(ids[5]));
  clock.advance(31s);
  const auto changes = told(state);
  EXPECT_THAT(changes.data.updated, UnorderedElementsAre(ids[2], ids[5]));
  EXPECT_THAT(changes.data.created, IsEmpty());
  EXPECT_THAT(changes.data.destroyed, IsEmpty());
  EXPECT_THAT(page(archive, 0, 20).ids, ::testing::IsSupersetOf({ids[2], ids[5]}));
  EXPECT_THAT(everything(), SizeIs(30));
  restart();
  EXPECT_THAT(mailboxes_of(ids[2]), ElementsAre(archive));
  EXPECT_THAT(page(archive, 0, 20).ids, ::testing::IsSupersetOf({ids[2], ids[5]}));
}

// It is known when the mailbox is looked into that something has left another one.
TEST_P(IdentityKindTest, AMoveIntoAMailboxThatNobodyHasOpenedIsAnUpdate) {
  open();
  const auto state = email_state();
  moved(uid(ids[2]));
  ASSERT_TRUE(pump_until([&] { return page(inbox).total == 19; }));
  clock.advance(31s);
  const auto changes = told(state);
  EXPECT_THAT(changes.data.updated, ElementsAre(ids[2]));
  EXPECT_THAT(changes.data.created, IsEmpty());
  EXPECT_THAT(changes.data.destroyed, IsEmpty());
  EXPECT_THAT(mailboxes_of(ids[2]), ElementsAre(archive));
}

TEST_P(IdentityKindTest, ACopyIsTheSameEmail) {
  open_both();
  const auto id = ids[2];
  auto state = email_state();
  imapd->control("copy alice INBOX " + uid(id) + " Archive");
  ASSERT_TRUE(comes_to(20, 6));
  EXPECT_THAT(mailboxes_of(id), UnorderedElementsAre(inbox, archive));
  EXPECT_THAT(everything(), SizeIs(30));
  auto changes = told(state);
  EXPECT_THAT(changes.data.updated, ElementsAre(id));
  EXPECT_THAT(changes.data.created, IsEmpty());
  EXPECT_THAT(changes.data.destroyed, IsEmpty());
  restart();
  EXPECT_THAT(mailboxes_of(id), UnorderedElementsAre(inbox, archive));
  EXPECT_THAT(everything(), SizeIs(30));
  // Out of one it is in the other.
  ASSERT_TRUE(update(EmailUpdate{id, {}, {}, {}, {{inbox, false}}}).done);
  EXPECT_THAT(mailboxes_of(id), ElementsAre(archive));
  ASSERT_TRUE(update(EmailUpdate{id, {}, {}, {}, {{inbox, true}}}).done);
  EXPECT_TRUE(destroyed(id));
  EXPECT_THAT(with("INBOX"), ::testing::HasSubstr("\"messages\":19"));
  EXPECT_THAT(with("Archive"), ::testing::HasSubstr("\"messages\":5"));
}

// COPY, \Deleted and EXPUNGE, as programs do it that don't know MOVE.
TEST_P(IdentityKindTest, ACopyWhoseFirstIsThenTakenAwayIsTheSameEmail) {
  open_both();
  const auto id = ids[2];
  const auto state = email_state();
  imapd->control("copy alice INBOX " + uid(id) + " Archive");
  if (GetParam().expunged_first) ASSERT_TRUE(comes_to(20, 6));
  imapd->control("flag alice INBOX " + uid(id) + " +\\Deleted");
  if (GetParam().expunged_first) ASSERT_TRUE(comes_to(19, 6));
  imapd->control("expunge alice INBOX " + uid(id));
  ASSERT_TRUE(comes_to(19, 6));
  EXPECT_THAT(mailboxes_of(id), ElementsAre(archive));
  const auto changes = told(state);
  EXPECT_THAT(changes.data.updated, ElementsAre(id));
  EXPECT_THAT(changes.data.created, IsEmpty());
  EXPECT_THAT(changes.data.destroyed, IsEmpty());
}

TEST_F(IdentityTest, WhatIsThereTwiceInOneMailboxIsTwoEmails) {
  open_both();
  const auto id = ids[2];
  imapd->control("copy alice INBOX " + uid(id) + " INBOX");
  ASSERT_TRUE(comes_to(21, 5));
  std::set<std::string> different;
  for (const auto& one : page(inbox, 0, 50).ids) different.insert(email_id(one));
  EXPECT_THAT(different, SizeIs(21));
  // Which of them another copy is of nobody knows, nor which of them has gone elsewhere.
  imapd->control("copy alice INBOX " + uid(id) + " Archive");
  ASSERT_TRUE(comes_to(21, 6));
  EXPECT_THAT(everything(), SizeIs(27 + 5));
  EXPECT_THAT(mailboxes_of(id), ElementsAre(inbox));
  imapd->control("expunge alice Archive 6");
  ASSERT_TRUE(comes_to(21, 5));
  imapd->control("move alice INBOX " + uid(id) + " Archive");
  ASSERT_TRUE(comes_to(20, 6));
  EXPECT_EQ(subject(id), "not found");
  EXPECT_THAT(everything(), SizeIs(31));
}

TEST_F(IdentityTest, DestroyingOneOfTwoThatAreAlikeTakesOne) {
  open_both();
  const auto id = ids[2];
  imapd->control("copy alice INBOX " + uid(id) + " INBOX");
  ASSERT_TRUE(comes_to(21, 5));
  EXPECT_TRUE(destroyed(id));
  EXPECT_THAT(with("INBOX"), ::testing::HasSubstr("\"messages\":20"));
  ASSERT_TRUE(comes_to(20, 5));
  EXPECT_EQ(subject(id), "not found");
  // A second one in the mailbox that a copy has come to before.
  const auto other = ids[3];
  imapd->control("copy alice INBOX " + uid(other) + " Archive");
  ASSERT_TRUE(comes_to(20, 6));
  imapd->control("copy alice INBOX " + uid(other) + " Archive");
  ASSERT_TRUE(comes_to(20, 7));
  EXPECT_THAT(mailboxes_of(other), UnorderedElementsAre(inbox, archive));
  EXPECT_TRUE(destroyed(other));
  EXPECT_THAT(with("INBOX"), ::testing::HasSubstr("\"messages\":19"));
  EXPECT_THAT(with("Archive"), ::testing::HasSubstr("\"messages\":6"));
}

struct IdentityRoleTest : IdentityTest, ::testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(Roles, IdentityRoleTest, ::testing::Values("\\All", "\\Flagged", "\\Important"));

TEST_P(IdentityRoleTest, MailboxesThatShowOthersHaveEmailsOfTheirOwn) {
  options.mailboxes[1].special_use = GetParam();
  open_both();
  const auto id = ids[2];
  imapd->control("copy alice INBOX " + uid(id) + " Archive");
  ASSERT_TRUE(comes_to(20, 6));
  EXPECT_THAT(mailboxes_of(id), ElementsAre(inbox));
  EXPECT_THAT(page(archive, 0, 50).ids, Not(Contains(id)));
  imapd->control("move alice Archive 3 INBOX");
  ASSERT_TRUE(comes_to(21, 5));
  EXPECT_THAT(page(inbox, 0, 50).ids, Contains(::testing::Field(&EmailKey::mailbox, inbox)).Times(21));
  EXPECT_THAT(everything(), SizeIs(31));
}

TEST_F(IdentityTest, OtherNamespacesHaveEmailsOfTheirOwn) {
  options.mailboxes.push_back({"Shared/Team", "", 0});
  open_both();
  imapd->control("on NAMESPACE do after * NAMESPACE ((\"\" \"/\")) NIL ((\"Shared/\" \"/\"))");
  const auto team = mailbox("Shared/Team");
  page(team);
  imapd->control("copy alice INBOX " + uid(ids[2]) + " Shared/Team");
  ASSERT_TRUE(pump_until([&] {
    clock.advance(31s);
    return page(team).total == 1;
  }));
  EXPECT_THAT(mailboxes_of(ids[2]), ElementsAre(inbox));
  EXPECT_THAT(page(team).ids, Not(Contains(ids[2])));
  imapd->control("move alice Shared/Team 1 Archive");
  ASSERT_TRUE(comes_to(20, 6));
  EXPECT_THAT(everything(), SizeIs(31));
}

TEST_F(IdentityTest, WhereNamespacesArentToldEmailsStayTwo) {
  open_both();
  imapd->control("on NAMESPACE times=always do reply NO not now");
  imapd->control("copy alice INBOX " + uid(ids[2]) + " Archive");
  ASSERT_TRUE(comes_to(20, 6));
  EXPECT_THAT(mailboxes_of(ids[2]), ElementsAre(inbox));
  EXPECT_THAT(everything(), SizeIs(31));
}

struct IdentityOrderTest : IdentityTest, ::testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(Orders, IdentityOrderTest, ::testing::Values("", " expunged_first"));

TEST_P(IdentityOrderTest, AMoveThatNotifyTellsIsAnUpdate) {
  open();
  account->set_watched(true);
  ASSERT_TRUE(pump_until([&] {
    clock.advance(250ms);
    return imapd->counts().command("NOTIFY") > 0;
  }));
  idle();
  const auto state = email_state();
  imapd->control("move alice INBOX " + uid(ids[2]) + " Archive" + GetParam());
  ASSERT_TRUE(pump_until([&] {
    clock.advance(250ms);
    const auto changes = since(state);
    return page(inbox).total == 19 && changes && !changes->data.updated.empty();
  }));
  const auto changes = told(state);
  EXPECT_THAT(changes.data.updated, ElementsAre(ids[2]));
  EXPECT_THAT(changes.data.created, IsEmpty());
  EXPECT_THAT(changes.data.destroyed, IsEmpty());
  EXPECT_THAT(mailboxes_of(ids[2]), ElementsAre(archive));
  account->set_watched(false);
}

TEST_F(IdentityTest, WhatWasDestroyedThroughUsDoesntComeBack) {
  open_both();
  imapd->control("copy alice INBOX " + uid(ids[2]) + " Trash");
  ASSERT_TRUE(destroyed(ids[2]));
  imapd->control("move alice Trash 1 Archive");
  ASSERT_TRUE(comes_to(19, 6));
  EXPECT_EQ(subject(ids[2]), "not found");
  EXPECT_THAT(everything(), SizeIs(30));
}

TEST_F(IdentityTest, AnotherUidValidityForgetsWhatHasLeft) {
  open_both();
  imapd->control("copy alice INBOX " + uid(ids[2]) + " Trash");
  imapd->control("expunge alice INBOX " + uid(ids[2]));
  ASSERT_TRUE(comes_to(19, 5));
  imapd->control("roll_uidvalidity alice INBOX");
  imapd->control("drop alice");
  ASSERT_TRUE(pump_until([&] {
    clock.advance(31s);
    return page(inbox).ids != ids && page(inbox).total == 19;
  }));
  imapd->control("copy alice Trash 1 Archive");
  ASSERT_TRUE(comes_to(19, 6));
  EXPECT_EQ(subject(ids[2]), "not found");
}

TEST_F(IdentityTest, AnArrivalThatFetchLeavesOutIsListed) {
  open_both();
  imapd->control("on UID FETCH times=always do reply OK Done");
  imapd->control("deliver alice Archive");
  ASSERT_TRUE(comes_to(20, 6));
  imapd->control("clear_rules");
  EXPECT_THAT(everything(), SizeIs(31));
}

// A server that says so of two different messages: size and date tell them apart.
TEST_F(IdentityTest, WhatIsOfAnotherSizeOrDateIsAnotherEmail) {
  open_both();
  const auto same = "EMAILID (M" + std::string(14, '0') + "12)";  // ids[2]
  ASSERT_EQ(ids[2].uid, 18u);
  imapd->control(
      "on UID FETCH do before * 6 FETCH (UID 6 FLAGS () INTERNALDATE \"01-Jan-2020 00:00:00 +0000\""
      " RFC822.SIZE 100 " +
      same + ")");
  imapd->deliver("alice", "Archive", "Subject: another\r\n\r\nhello\r\n");
  ASSERT_TRUE(comes_to(20, 6));
  EXPECT_THAT(mailboxes_of(ids[2]), ElementsAre(inbox));
  EXPECT_THAT(page(archive, 0, 20).ids, Not(Contains(ids[2])));
  EXPECT_THAT(everything(), SizeIs(31));
}

TEST_F(IdentityTest, ACopyIntoAMailboxThatNobodyHasOpenedIsTwoEmails) {
  open();
  imapd->control("copy alice INBOX " + uid(ids[2]) + " Archive");
  clock.advance(31s);
  page(archive, 0, 20);
  idle();
  EXPECT_THAT(mailboxes_of(ids[2]), ElementsAre(inbox));
  EXPECT_THAT(everything(), SizeIs(31));
  // Both are known then to be alike: what is copied further belongs to neither.
  page(inbox, 0, 20);
  page(mailbox("Sent"), 0, 20);
  imapd->control("copy alice INBOX " + uid(ids[2]) + " Sent");
  ASSERT_TRUE(pump_until([&] {
    clock.advance(31s);
    return page(mailbox("Sent")).total == 6;
  }));
  EXPECT_THAT(mailboxes_of(ids[2]), ElementsAre(inbox));
  EXPECT_THAT(everything(), SizeIs(32));
}

TEST_F(IdentityTest, AServerWithoutIdentitiesHasTwoEmails) {
  options.capabilities = testimapd::capabilities_of("courier");
  open_both();
  imapd->control("move alice INBOX " + uid(ids[2]) + " Archive");
  ASSERT_TRUE(comes_to(19, 6));
  EXPECT_EQ(subject(ids[2]), "not found");
  EXPECT_EQ(imapd->counts().command("NAMESPACE"), 0u);
  for (const auto& entry : imapd->log())
    for (const char* item : {"EMAILID", "X-GUID", "X-GM-MSGID"})
      EXPECT_THAT(entry.line, Not(::testing::HasSubstr(item)));
}

// What our own move has put somewhere is heard of by another connection before the server says where it is.
TEST_F(IdentityTest, AMoveOfOursIsToldOnce) {
  open_both();
  const auto state = email_state();
  imapd->control("on UID MOVE do run copy alice INBOX " + uid(ids[5]) + " Archive");
  ASSERT_TRUE(move(ids[2], archive));
  ASSERT_TRUE(comes_to(19, 7));
  EXPECT_THAT(mailboxes_of(ids[2]), ElementsAre(archive));
  const auto changes = told(state);
  EXPECT_THAT(changes.data.updated, Contains(ids[2]));
  EXPECT_THAT(changes.data.destroyed, IsEmpty());
  EXPECT_THAT(page(archive, 0, 50).ids, SizeIs(7));
}

TEST_F(IdentityTest, WhatIsMovedLeavesOneListAndComesToAnother) {
  open_both();
  const auto list = [](std::vector<MailboxKey> in) {
    EmailQuery query;
    if (!in.empty()) query.filter.kind = Filter::Kind::in_mailbox;
    query.filter.mailboxes = std::move(in);
    query.limit = 100;
    return query;
  };
  const auto ask = [this](EmailQuery query) {
    auto result = await(account->query(std::move(query)));
    EXPECT_TRUE(result);
    return result ? *result : EmailQueryResult{};
  };
  std::vector<EmailQueryResult> before;
  for (const auto& in : {std::vector{inbox}, std::vector{archive}, std::vector<MailboxKey>{}})
    before.push_back(ask(list(in)));
  imapd->control("move alice INBOX " + uid(ids[2]) + " Archive");
  imapd->control("copy alice INBOX " + uid(ids[4]) + " Archive");
  ASSERT_TRUE(comes_to(19, 7));
  std::size_t i = 0;
  for (const auto& in : {std::vector{inbox}, std::vector{archive}, std::vector<MailboxKey>{}}) {
    SCOPED_TRACE(i);
    const auto& old = before[i++];
    const auto diff = await(account->query_changes({list(in), old.query_state, changes_unlimited, {}}));
    ASSERT_TRUE(diff) << diff.error().to_string();
    auto now = old.ids;
    for (const auto& id : diff->diff.removed) std::erase(now, id);
    for (const auto& [id, at] : diff->diff.added)
      now.insert(now.begin() + static_cast<std::ptrdiff_t>(at), id);
    EXPECT_EQ(now, ask(list(in)).ids);
  }
}

// --- What it costs ---

TEST_F(IdentityTest, AMoveThatIsHeardCostsTheFetchOfAnArrival) {
  open_both();
  imapd->control("move alice INBOX " + uid(ids[2]) + " Archive");
  ASSERT_TRUE(pump_until([&] { return page(archive, 0, 20).total == 6; }));
  EXPECT_THAT(commands(), ElementsAre(Pair("UID FETCH", 1)));
  idle();
  imapd->reset_counts();
  imapd->control("move alice INBOX " + uid(ids[3]) + " Archive");
  ASSERT_TRUE(pump_until([&] { return page(archive, 0, 20).total == 7; }));
  EXPECT_EQ(imapd->counts().command("NAMESPACE"), 0u);  // it has been asked for
  EXPECT_THAT(commands(), ElementsAre(Pair("UID FETCH", 1)));
}

}  // namespace
}  // namespace postern::mail
