// What the account does on a server that offers all, and what each thing costs in IMAP commands, exactly.
#include "postern/imap/limits.hpp"
#include "unit/mail/account_fixture.hpp"

namespace postern::mail {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;
using Counts = std::map<std::string, std::uint64_t>;

struct AccountTest : AccountFixture {
  MailboxKey inbox = 0;
  void open() {
    start();
    inbox = mailbox("INBOX");
    auto first = page(inbox);
    fetch(first.ids);
    idle();
    imapd->reset_counts();
  }
};

TEST_F(AccountTest, SignInAndFirstPage) {
  start();
  const auto key = mailbox("INBOX");
  const auto result = page(key);
  EXPECT_EQ(result.total, 20u);
  ASSERT_EQ(result.ids.size(), 10u);
  const auto items = fetch(result.ids);
  for (const auto& item : items) EXPECT_TRUE(item.found);
  ASSERT_TRUE(pump_until([&] { return imapd->counts().command("UID FETCH") == 2; }));
  auto counted = commands();
  EXPECT_EQ(counted["LIST"], 2u);  // the second for the mailboxes' ids
  EXPECT_EQ(counted["SELECT"], 1u);
  EXPECT_EQ(counted["UID SORT"], 1u);
  EXPECT_EQ(counted["UID SEARCH"], 1u);  // which are \Deleted
  EXPECT_EQ(counted["UID FETCH"], 2u);   // the page, and the index behind it
  EXPECT_EQ(counted["LOGIN"] + counted["AUTHENTICATE"], 1u);
  counted.erase("LOGIN");
  counted.erase("AUTHENTICATE");
  EXPECT_EQ(counted.size(), 5u) << "something else was asked";
}

TEST_F(AccountTest, IdsOfMailboxesAreAskedForOnceAndByThemselves) {
  start();
  const auto before = mailbox("Archive");
  EXPECT_EQ(imapd->counts().command("LIST"), 2u);
  clock.advance(31s);  // mailbox_list_fresh and a second
  EXPECT_EQ(mailbox("Archive"), before);
  EXPECT_EQ(imapd->counts().command("LIST"), 3u);
  std::size_t asked = 0;
  for (const auto& entry : imapd->log()) {
    if (entry.line.find("MAILBOXID") == std::string::npos) continue;
    ++asked;
    EXPECT_EQ(entry.line.find("MESSAGES"), std::string::npos) << entry.line;
  }
  EXPECT_EQ(asked, 1u);
}

TEST_F(AccountTest, ThePersonalNamespaceIsTheTop) {
  options.prefix = "INBOX.";
  options.separator = '.';
  options.mailboxes.push_back({"Work", "", 0});
  options.mailboxes.push_back({"Work/Plans", "", 0});
  start();
  auto all = await(account->mailboxes());
  ASSERT_TRUE(all);
  std::map<std::string, Mailbox> found;
  for (const auto& data : all->data) found[data.mailbox.encoded_name] = data.mailbox;
  EXPECT_EQ(found.at("INBOX.Sent").parent, std::nullopt);
  EXPECT_EQ(found.at("INBOX.Work.Plans").parent, found.at("INBOX.Work").key);
  EXPECT_EQ(imapd->counts().command("NAMESPACE"), 1u);
  clock.advance(31s);
  mailbox("INBOX");
  EXPECT_EQ(imapd->counts().command("NAMESPACE"), 1u);
}

// Some servers end no FETCH before the last of several in flight is done: the page's must be alone.
TEST_F(AccountTest, TheIndexIsFilledWhenThePageIsThere) {
  start();
  const auto key = mailbox("INBOX");
  auto one_request = [](Account& account, MailboxKey inbox) -> io::Task<Result<std::uint64_t>> {
    EmailQuery query;
    query.filter.kind = Filter::Kind::in_mailbox;
    query.filter.mailboxes = {inbox};
    query.limit = 10;
    auto found = co_await account.query(std::move(query));
    if (!found) co_return fail(found.error());
    const auto before = account.pool().connections().front().commands;
    if (auto items = co_await account.fetch(found->ids, field_plan("SUBJECT")); !items)
      co_return fail(items.error());
    co_return account.pool().connections().front().commands - before;
  };
  const auto sent = await(one_request(*account, key));
  ASSERT_TRUE(sent) << sent.error().to_string();
  EXPECT_EQ(*sent, 1u);
  EXPECT_TRUE(pump_until([&] { return imapd->counts().command("UID FETCH") == 2; }));
}

TEST_F(AccountTest, SamePageAgainCostsNothing) {
  open();
  const auto again = page(inbox);
  EXPECT_EQ(fetch(again.ids).size(), 10u);
  EXPECT_EQ(commands(), Counts{});
}

TEST_F(AccountTest, SecondPageCostsOneFetch) {
  open();
  const auto second = page(inbox, 10);
  fetch(second.ids);
  EXPECT_THAT(commands(), ElementsAre(Pair("UID FETCH", 1)));
}

TEST_F(AccountTest, AMessageOfWhichAListHasToldTheStructureIsOpenedByOneCommand) {
  open();
  const auto ids = page(inbox).ids;
  const auto plan_of = [](bool opened) {
    auto plan = field_plan("SUBJECT", opened ? "opened" : "list");
    plan.body_structure = plan.preview = plan.thread = true;
    if (opened)
      plan.more = [](const MessageSource& source) {
        return std::vector<WantedSection>{{source.body_structure->is_multipart() ? "2" : "1", 40}};
      };
    plan.render = [](const MessageSource& source) {
      auto text = source.header.value_or("?") + source.preview.value_or("?") + std::to_string(source.thread);
      for (const auto& [section, octets] : source.sections) ((text += section) += ":") += octets;
      return Fragment{text, {}, {}};
    };
    return plan;
  };
  const auto opened = [&](const EmailKey& id) {
    auto items = await(account->fetch({id}, plan_of(true)));
    return items && items->data[0].found ? items->data[0].fragment->bytes : "?";
  };
  ASSERT_TRUE(await(account->fetch(ids, plan_of(false))));
  commands();
  std::vector<std::string> first, later;
  for (const auto& id : ids) first.push_back(opened(id));
  EXPECT_THAT(commands(), ElementsAre(Pair("UID FETCH", ids.size())));
  // As without knowing it.
  fragments.clear();
  for (const auto& id : ids) later.push_back(opened(id));
  EXPECT_THAT(commands(), ElementsAre(Pair("UID FETCH", 2 * ids.size())));
  EXPECT_EQ(first, later);
}

TEST_F(AccountTest, AnotherLocalSortCostsNothing) {
  open();
  page(inbox, 0, 20, Sort{{SortKey{SortKey::Property::size, true, {}}}});
  EXPECT_EQ(commands(), Counts{});
}

TEST_F(AccountTest, TextSortCostsOneSort) {
  open();
  const Sort by_subject{{SortKey{SortKey::Property::subject, true, {}}}};
  page(inbox, 0, 10, by_subject);
  page(inbox, 10, 10, by_subject);
  EXPECT_THAT(commands(), ElementsAre(Pair("UID SORT", 1)));
}

TEST_F(AccountTest, PageAfterFiveNewMessages) {
  open();
  for (int i = 0; i < 5; ++i)
    imapd->deliver("alice", "INBOX", "Subject: new " + std::to_string(i) + "\r\n\r\nhello\r\n");
  EmailQueryResult result;
  ASSERT_TRUE(pump_until([&] {
    result = page(inbox);
    return result.total == 25;
  }));
  EXPECT_EQ(subject(result.ids[0]).substr(0, 12), "Subject: new");
  fetch(result.ids);
  const auto counted = commands();
  EXPECT_EQ(counted.count("UID SORT"), 0u);
  EXPECT_EQ(counted.count("SELECT"), 0u);
  // However the arrivals came in groups: at most one FETCH for each group, one for the page's new messages
  // and one for the first of them.
  EXPECT_LE(counted.at("UID FETCH"), 7u);
  EXPECT_EQ(counted.size(), 1u);
}

TEST_F(AccountTest, FlagCostsOneStoreAndIsSeen) {
  open();
  const auto id = page(inbox).ids[3];
  EmailUpdate change{id, {}, {{"$flagged", true}, {"project-x", true}}, {}, {}};
  EXPECT_TRUE(update(std::move(change)).done);
  EXPECT_THAT(commands(), ElementsAre(Pair("UID STORE", 1)));
  const auto items = fetch({id});
  EXPECT_THAT(*items[0].keywords, ::testing::UnorderedElementsAre("$seen", "$flagged", "project-x"));
  EXPECT_EQ(commands(), Counts{});
}

TEST_F(AccountTest, NothingToChangeCostsNothing) {
  open();
  const auto id = page(inbox).ids[3];
  EXPECT_TRUE(update(EmailUpdate{id, {}, {{"$flagged", false}}, {}, {}}).done);
  EXPECT_EQ(commands(), Counts{});
}

TEST_F(AccountTest, IdSurvivesMovesThereAndBackAndARestart) {
  open();
  const auto id = page(inbox).ids[0];
  const auto text = subject(id);
  const auto archive = mailbox("Archive");
  EXPECT_TRUE(update(EmailUpdate{id, {}, {}, std::vector{archive}, {}}).done);
  EXPECT_EQ(commands()["UID MOVE"], 1u);
  EXPECT_EQ(subject(id), text);
  auto items = fetch({id});
  EXPECT_EQ(*items[0].mailboxes, std::vector{archive});
  EXPECT_THAT(page(archive, 0, 100).ids, ::testing::Contains(id));
  EXPECT_THAT(page(inbox, 0, 100).ids, ::testing::Not(::testing::Contains(id)));
  // A new broker on the same segment.
  account.reset();
  segment.reset();
  fragments.clear();
  open_segment();
  open_account();
  EXPECT_EQ(subject(id), text);
  EXPECT_TRUE(update(EmailUpdate{id, {}, {}, std::vector{inbox}, {}}).done);
  EXPECT_EQ(subject(id), text);
  EXPECT_THAT(page(inbox, 0, 100).ids, ::testing::Contains(id));
}

TEST_F(AccountTest, DestroyExpungesExactlyThat) {
  open();
  const auto ids = page(inbox, 0, 20).ids;
  imapd->control("flag alice INBOX 1 +\\Deleted");  // another client's, not ours to expunge
  ASSERT_TRUE(pump_until([&] { return page(inbox).total == 19; }));
  commands();
  auto outcomes = await(account->destroy({ids[0]}, {}));
  ASSERT_TRUE(outcomes);
  EXPECT_TRUE(outcomes->front().done);
  EXPECT_THAT(commands(), ElementsAre(Pair("UID EXPUNGE", 1), Pair("UID STORE", 1)));
  EXPECT_EQ(subject(ids[0]), "not found");
  EXPECT_EQ(page(inbox).total, 18u);
  outcomes = await(account->destroy({ids[0]}, {}));
  EXPECT_EQ(outcomes->front().error_type, "notFound");
}

TEST_F(AccountTest, AnIdNeverReachesAnotherMessageAfterUidvalidityRolls) {
  open();
  const auto ids = page(inbox, 0, 20).ids;
  imapd->control("roll_uidvalidity alice INBOX");
  imapd->control("drop");
  // Whatever the connection does meanwhile, none of the old ids gives a message of the new mailbox.
  ASSERT_TRUE(pump_until([&] {
    clock.advance(5s);
    auto items = await(account->fetch(
        ids, FetchPlan{"roll", {"SUBJECT"}, false, false, false, false, true, {}, [](const MessageSource&) {
                         return Fragment{};
                       }}));
    return items &&
           std::none_of(items->data.begin(), items->data.end(), [](const EmailItem& i) { return i.found; });
  }));
  EXPECT_EQ(update(EmailUpdate{ids[0], {}, {{"$seen", true}}, {}, {}}).error_type, "notFound");
  const auto fresh = page(inbox, 0, 20).ids;
  ASSERT_EQ(fresh.size(), 20u);
  EXPECT_NE(subject(fresh[0]), "not found");
}

TEST_F(AccountTest, FilterOnFlagsDatesAndSizesIsAnsweredFromTheIndex) {
  open();
  const auto ids = page(inbox, 0, 20).ids;
  update(EmailUpdate{ids[5], {}, {{"$flagged", true}}, {}, {}});
  commands();
  EmailQuery query;
  Filter flagged, in;
  flagged.kind = Filter::Kind::has_keyword;
  flagged.text = "$flagged";
  in.kind = Filter::Kind::in_mailbox;
  in.mailboxes = {inbox};
  query.filter.kind = Filter::Kind::all_of;
  query.filter.children = {in, flagged};
  query.limit = 100;
  auto result = await(account->query(query));
  ASSERT_TRUE(result);
  EXPECT_THAT(result->ids, ::testing::Contains(ids[5]));
  EXPECT_EQ(commands(), Counts{});
}

TEST_F(AccountTest, SearchGoesToTheServerOnceForAPageAndTheNext) {
  open();
  imapd->deliver("alice", "INBOX", "Subject: a needle in the hay\r\n\r\nhello\r\n");
  ASSERT_TRUE(pump_until([&] { return page(inbox).total == 21; }));
  commands();
  EmailQuery query;
  Filter in, text;
  in.kind = Filter::Kind::in_mailbox;
  in.mailboxes = {inbox};
  text.kind = Filter::Kind::subject;
  text.text = "needle hay";
  query.filter.kind = Filter::Kind::all_of;
  query.filter.children = {in, text};
  query.limit = 10;
  for (int i = 0; i < 2; ++i) {
    auto result = await(account->query(query));
    ASSERT_TRUE(result) << result.error().to_string();
    EXPECT_EQ(result->total, 1u);
  }
  EXPECT_THAT(commands(), ElementsAre(Pair("UID SEARCH", 1)));
}

TEST_F(AccountTest, QueryOverAllMailboxesMerges) {
  open();
  EmailQuery query;
  query.limit = 100;
  auto result = await(account->query(query));
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_EQ(result->total, 30u);  // INBOX 20, Archive 5, Sent 5
}

TEST_F(AccountTest, ServerAwayKnownPagesAreAnsweredAndMarked) {
  open();
  const auto first = page(inbox);
  imapd->stop();
  ASSERT_TRUE(pump_until([&] { return !account->pool().connected(); }));
  const auto again = page(inbox);
  EXPECT_EQ(again.ids, first.ids);
  EXPECT_EQ(again.freshness, Freshness::stale);
  auto known = await(account->fetch(first.ids, field_plan("SUBJECT")));
  ASSERT_TRUE(known);
  EXPECT_EQ(known->data.size(), 10u);
  EXPECT_EQ(known->freshness, Freshness::stale);
  // What is not known can't be answered.
  auto items = await(account->fetch(first.ids, field_plan("FROM")));
  ASSERT_FALSE(items);
  EXPECT_EQ(items.error().code, make_error_code(Errc::server_unavailable));
}

TEST_F(AccountTest, BlobIsDecodedAndNamedPrecisely) {
  open();
  imapd->deliver("alice", "INBOX",
                 "Subject: b\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n"
                 "Content-Transfer-Encoding: base64\r\n\r\naGVsbG8gd29ybGQ=\r\n");
  EmailQueryResult result;
  ASSERT_TRUE(pump_until([&] {
    result = page(inbox);
    return result.total == 21;
  }));
  auto reader = await(account->open_blob(BlobKey{result.ids[0], TransferEncoding::base64, "1"}));
  ASSERT_TRUE(reader) << reader.error().to_string();
  auto piece = await((*reader)->next());
  ASSERT_TRUE(piece);
  EXPECT_EQ(*piece, "hello world");
  piece = await((*reader)->next());
  ASSERT_TRUE(piece);
  EXPECT_TRUE(piece->empty());
  auto gone = result.ids[0];
  gone.uid_validity += 1;
  auto none = await(account->open_blob(BlobKey{gone, {}, {}}));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, make_error_code(Errc::not_found));
}

TEST_F(AccountTest, APieceThatIsNilIsNoEnd) {
  open();
  imapd->deliver("alice", "INBOX", "Subject: large\r\n\r\n" + std::string(600'000, 'x'));
  EmailQueryResult result;
  ASSERT_TRUE(pump_until([&] {
    result = page(inbox);
    return result.total == 21;
  }));
  const auto uid = std::to_string(result.ids[0].uid);
  for (const std::string answer : {"NIL", "\"\""}) {
    auto reader = await(account->open_blob(BlobKey{result.ids[0], {}, {}}));
    ASSERT_TRUE(reader);
    const auto first = await((*reader)->next());
    ASSERT_TRUE(first);
    ASSERT_EQ(first->size(), imap::body_piece_bytes);
    imapd->control("on UID FETCH do before * 21 FETCH (UID " + uid + " BODY[]<" +
                   std::to_string(first->size()) + "> " + answer + ")");
    imapd->control("on UID FETCH do reply OK Done");
    const auto second = await((*reader)->next());
    ASSERT_FALSE(second) << answer;
    EXPECT_EQ(second.error().code, make_error_code(Errc::not_found));
  }
}

TEST_F(AccountTest, ConcurrentReadsOfDifferentContentDontMix) {
  open();
  const auto ids = page(inbox, 0, 20).ids;
  std::vector<std::string> subjects, senders;
  std::size_t done = 0;
  auto read = [&](std::string field, std::vector<std::string>& out) -> io::Task<> {
    auto items = co_await account->fetch(ids, field_plan(field, "mix-"));
    if (items)
      for (const auto& item : items->data) out.push_back(item.fragment ? item.fragment->bytes : "");
    ++done;
  };
  loop.spawn(read("SUBJECT", subjects));
  loop.spawn(read("FROM", senders));
  ASSERT_TRUE(pump_until([&] { return done == 2; }));
  ASSERT_EQ(subjects.size(), 20u);
  ASSERT_EQ(senders.size(), 20u);
  for (const auto& s : subjects) EXPECT_EQ(s.substr(0, 8), "Subject:") << s;
  for (const auto& s : senders) EXPECT_EQ(s.substr(0, 5), "From:") << s;
}

// The same answers, whatever the server offers.
struct TierTest : AccountTest, ::testing::WithParamInterface<const char*> {};

TEST_P(TierTest, ReadsFlagsMovesAndDestroys) {
  options.capabilities = testimapd::capabilities_of(GetParam());
  start();
  inbox = mailbox("INBOX");
  const auto first = page(inbox, 0, 20);
  ASSERT_EQ(first.ids.size(), 20u);
  const auto text = subject(first.ids[0]);
  EXPECT_EQ(text.substr(0, 8), "Subject:");
  EXPECT_TRUE(update(EmailUpdate{first.ids[1], {}, {{"$flagged", true}}, {}, {}}).done);
  EXPECT_THAT(*fetch({first.ids[1]})[0].keywords, ::testing::Contains("$flagged"));
  const auto archive = mailbox("Archive");
  EXPECT_TRUE(update(EmailUpdate{first.ids[2], {}, {}, std::vector{archive}, {}}).done);
  EXPECT_EQ(page(archive, 0, 100).total, 6u);
  EXPECT_EQ(page(inbox, 0, 100).total, 19u);
  auto outcomes = await(account->destroy({first.ids[3]}, {}));
  ASSERT_TRUE(outcomes);
  EXPECT_TRUE(outcomes->front().done) << outcomes->front().description;
  EXPECT_EQ(page(inbox, 0, 100).total, 18u);
  const Sort by_subject{{SortKey{SortKey::Property::subject, true, {}}}};
  EXPECT_EQ(page(inbox, 0, 100, by_subject).ids.size(), 18u);
}

// Under its id where the server tells where it went (COPYUID), else under a new one.
EmailKey now_at(const EmailKey& id, const EmailQueryResult& found) {
  return std::find(found.ids.begin(), found.ids.end(), id) != found.ids.end() ? id : found.ids.at(0);
}

TEST_P(TierTest, WhatWasMovedIsMovedOnwardsAndDestroyed) {
  options.capabilities = testimapd::capabilities_of(GetParam());
  const bool keeps_ids = std::find(options.capabilities.begin(), options.capabilities.end(), "UIDPLUS") !=
                         options.capabilities.end();
  start();
  inbox = mailbox("INBOX");
  const auto trash = mailbox("Trash"), junk = mailbox("Junk");
  const auto id = page(inbox).ids.at(0);
  const auto text = subject(id);
  EXPECT_TRUE(update(EmailUpdate{id, {}, {}, std::vector{trash}, {}}).done);
  auto there = now_at(id, page(trash));
  auto outcome = update(EmailUpdate{there, {}, {}, std::vector{junk}, {}});
  EXPECT_TRUE(outcome.done) << outcome.error_type;
  EXPECT_EQ(page(trash).total, 0u);
  there = now_at(there, page(junk));
  if (keeps_ids) EXPECT_EQ(there, id);
  EXPECT_EQ(subject(there), text);
  auto destroyed = await(account->destroy({there}, {}));
  ASSERT_TRUE(destroyed);
  EXPECT_TRUE(destroyed->front().done) << destroyed->front().error_type;
  EXPECT_EQ(page(junk).total, 0u);
  EXPECT_EQ(await(account->destroy({there}, {}))->front().error_type, "notFound");
}

INSTANTIATE_TEST_SUITE_P(Servers, TierTest,
                         ::testing::Values("full", "dovecot", "cyrus", "courier", "gmail", "minimal"));

}  // namespace
}  // namespace postern::mail
