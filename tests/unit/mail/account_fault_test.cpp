// What the account makes of servers that leave out, refuse, or change things under a request.
#include "unit/mail/account_fixture.hpp"

namespace postern::mail {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using Counts = std::map<std::string, std::uint64_t>;

struct AccountFaultTest : AccountFixture {
  MailboxKey inbox = 0;
  std::vector<EmailKey> ids;  // INBOX's, newest first
  void open() {
    start();
    inbox = mailbox("INBOX");
    ids = page(inbox, 0, 20).ids;
    fetch(ids);
    idle();
    imapd->reset_counts();
  }
  bool move(const EmailKey& id, MailboxKey target) {
    return update(EmailUpdate{id, {}, {}, std::vector{target}, {}}).done;
  }
  EmailQueryResult flagged() {
    EmailQuery query;
    Filter in, condition;
    in.kind = Filter::Kind::in_mailbox;
    in.mailboxes = {inbox};
    condition.kind = Filter::Kind::has_keyword;
    condition.text = "$flagged";
    query.filter.kind = Filter::Kind::all_of;
    query.filter.children = {in, condition};
    query.limit = 100;
    auto result = await(account->query(query));
    EXPECT_TRUE(result) << (result ? "" : result.error().to_string());
    return result ? *result : EmailQueryResult{};
  }
};

TEST_F(AccountFaultTest, WhetherAnAnswerIsStaleIsItsOwn) {
  open();
  const auto archive = mailbox("Archive");
  const auto archived = page(archive).ids;
  options.listen[0].port = imapd->port();
  imapd->stop();
  ASSERT_TRUE(pump_until([&] { return !account->pool().connected(); }));
  EXPECT_EQ(page(inbox).freshness, Freshness::stale);
  EXPECT_EQ(await(account->destroy({ids[0]}, {}))->front().error_type, "serverUnavailable");
  // Whatever others were told, who asks a server that is back is told what it says.
  imapd = std::make_unique<testimapd::TestImapd>(options);
  imapd->start();
  ASSERT_TRUE(pump_until([&] {
    clock.advance(5s);
    return page(archive).freshness == Freshness::current;
  }));
  auto items = await(account->fetch(archived, field_plan("FROM")));
  ASSERT_TRUE(items) << items.error().to_string();
  EXPECT_EQ(items->freshness, Freshness::current);
}

TEST_F(AccountFaultTest, AMessageThatIsLeftOutIsMissingForItselfAlone) {
  open();
  imapd->control("on UID FETCH do reply OK nothing of that");
  auto items = await(account->fetch({ids[0]}, field_plan("FROM")));
  ASSERT_TRUE(items) << items.error().to_string();
  EXPECT_FALSE(items->data[0].found);
  // Known by one request, left out for another.
  imapd->control("on UID FETCH do reply OK nothing of that");
  items = await(account->fetch({ids[0], ids[1]}, field_plan("SUBJECT")));
  ASSERT_TRUE(items);
  EXPECT_TRUE(items->data[0].found && items->data[1].found);
}

TEST_F(AccountFaultTest, AMessageThatIsLeftOutDoesntKeepTheIndexFromBeingFilled) {
  start();
  inbox = mailbox("INBOX");
  imapd->control("on UID FETCH do reply OK nothing of that");
  EXPECT_EQ(page(inbox).total, 20u);
  flagged();
  idle();
  imapd->reset_counts();
  flagged();
  EXPECT_EQ(commands(), Counts{});
}

// Dovecot refuses the command that finds it out, and closes the connection after that.
TEST_F(AccountFaultTest, AMailboxThatAnotherDeletesIsEmptyAndNoError) {
  start();
  const auto archive = mailbox("Archive");
  const auto archived = page(archive).ids;
  ASSERT_EQ(archived.size(), 5u);
  imapd->control("on UID SORT do reply NO [NONEXISTENT] Mailbox was deleted under us");
  imapd->control("delete alice Archive");
  EXPECT_THAT(page(archive, 0, 10, Sort{{SortKey{SortKey::Property::subject, true, {}}}}).ids, IsEmpty());
  EXPECT_FALSE(fetch({archived[0]})[0].found);
}

TEST_F(AccountFaultTest, AMessageOfAMailboxThatAnotherDeletesIsNotThere) {
  start();
  const auto archived = page(mailbox("Archive")).ids;
  fetch(archived);
  imapd->control("on UID FETCH do reply NO [NONEXISTENT] Mailbox was deleted under us");
  imapd->control("delete alice Archive");
  auto items = await(account->fetch({archived[0]}, field_plan("FROM")));
  ASSERT_TRUE(items) << items.error().to_string();
  EXPECT_FALSE(items->data[0].found);
}

TEST_F(AccountFaultTest, AReadThatIsRefusedFindsNothingGone) {
  open();
  imapd->control("on UID FETCH do reply NO not now");
  auto items = await(account->fetch(ids, field_plan("FROM")));
  ASSERT_FALSE(items);
  EXPECT_EQ(items.error().code, make_error_code(Errc::server_refused));
}

TEST_F(AccountFaultTest, ExpungedWithoutOurHearingIsAskedForOnceMore) {
  open();
  imapd->control("on UID FETCH do reply NO [EXPUNGEISSUED] some are gone");
  auto items = await(account->fetch(ids, field_plan("FROM")));
  ASSERT_TRUE(items) << items.error().to_string();
  for (const auto& item : items->data) EXPECT_TRUE(item.found);
  EXPECT_THAT(commands(), ElementsAre(Pair("NOOP", 1), Pair("UID FETCH", 2)));
  // A server that says so for ever is refusing.
  imapd->control("on UID FETCH times=always do reply NO [EXPUNGEISSUED] some are gone");
  items = await(account->fetch(ids, field_plan("TO")));
  EXPECT_FALSE(items);
}

TEST_F(AccountFaultTest, AfterAMoveTheListIsStillAnsweredWithoutAServer) {
  open();
  const auto archive = mailbox("Archive");
  page(archive);
  commands();
  ASSERT_TRUE(move(ids[0], archive));
  page(inbox);
  EXPECT_EQ(commands().count("LIST"), 0u);
  mailbox("INBOX");
  EXPECT_THAT(commands(), ElementsAre(Pair("STATUS", 1)));
  ASSERT_TRUE(move(ids[1], archive));
  imapd->stop();
  ASSERT_TRUE(pump_until([&] { return !account->pool().connected(); }));
  EXPECT_EQ(page(inbox).freshness, Freshness::stale);
  auto all = await(account->mailboxes());
  ASSERT_TRUE(all) << all.error().to_string();
  EXPECT_EQ(all->freshness, Freshness::stale);
}

TEST_F(AccountFaultTest, AMessageMovedWhileItIsLookedForIsFound) {
  open();
  const auto archive = mailbox("Archive");
  imapd->control("on UID MOVE do delay 50");
  bool moved = false;
  SetOutcome outcome;
  std::vector<EmailItem> items;
  auto mover = [&]() -> io::Task<> {
    auto outcomes = co_await account->update({EmailUpdate{ids[0], {}, {}, std::vector{archive}, {}}}, {});
    moved = outcomes && outcomes->front().done;
  };
  auto reader = [&]() -> io::Task<> {
    auto fetched = co_await account->fetch({ids[0], ids[1]}, field_plan("FROM"));
    if (fetched) items = std::move(fetched->data);
  };
  auto flagger = [&]() -> io::Task<> {
    auto outcomes = co_await account->update({EmailUpdate{ids[0], {}, {{"$flagged", true}}, {}, {}}}, {});
    if (outcomes) outcome = outcomes->front();
  };
  loop.spawn(mover());
  loop.spawn(reader());
  loop.spawn(flagger());
  ASSERT_TRUE(pump_until([&] { return moved && items.size() == 2 && !(outcome == SetOutcome{}); }));
  EXPECT_TRUE(items[0].found);
  EXPECT_TRUE(items[1].found);
  EXPECT_TRUE(outcome.done) << outcome.error_type;
  EXPECT_THAT(*fetch({ids[0]})[0].keywords, Contains("$flagged"));
}

TEST_F(AccountFaultTest, AMessageThatIsBeingMovedIsNeverNotFound) {
  options.capabilities = testimapd::capabilities_of("dovecot");
  std::erase(options.capabilities, "MOVE");
  open();
  const auto archive = mailbox("Archive");
  imapd->control("on UID EXPUNGE do delay 50");  // it is marked \Deleted by then
  bool ended = false, moved = false;
  auto mover = [&]() -> io::Task<> {
    auto outcomes = co_await account->update({EmailUpdate{ids[0], {}, {}, std::vector{archive}, {}}}, {});
    moved = outcomes && outcomes->front().done;
    ended = true;
  };
  loop.spawn(mover());
  ASSERT_TRUE(pump_until([&] { return imapd->counts().command("UID EXPUNGE") == 1; }));
  std::size_t asked = 0;
  while (!ended) {
    auto items = await(account->fetch({ids[0]}, field_plan("FROM", std::to_string(asked++))));
    ASSERT_TRUE(items && items->data.size() == 1);
    EXPECT_TRUE(items->data[0].found);
  }
  EXPECT_TRUE(moved);
  EXPECT_GT(asked, 0u);
}

TEST_F(AccountFaultTest, TwoIdsOfOnePlaceKeepTheirOwnFragments) {
  open();
  const auto archive = mailbox("Archive");
  ASSERT_TRUE(move(ids[0], archive));
  const EmailKey place{archive, options.uidvalidity + 1, 6};
  auto plan = field_plan("FROM");
  plan.render = [](const MessageSource& source) { return Fragment{email_id(source.id), {}, {}}; };
  for (int i = 0; i < 2; ++i) {  // fetched, and from the cache
    auto items = await(account->fetch({ids[0], place}, plan));
    ASSERT_TRUE(items && items->data[0].found && items->data[1].found);
    EXPECT_EQ(items->data[0].fragment->bytes, email_id(ids[0]));
    EXPECT_EQ(items->data[1].fragment->bytes, email_id(place));
  }
}

TEST_F(AccountFaultTest, AnIdOutlivesDeletedBeingSetAndTakenOff) {
  open();
  const auto archive = mailbox("Archive");
  ASSERT_TRUE(move(ids[0], archive));
  EXPECT_EQ(page(archive).total, 6u);
  idle();
  imapd->control("flag alice Archive 6 +\\Deleted");
  ASSERT_TRUE(pump_until([&] { return page(archive).total == 5; }));
  EXPECT_EQ(subject(ids[0]), "not found");
  imapd->control("flag alice Archive 6 -\\Deleted");
  ASSERT_TRUE(pump_until([&] { return page(archive).total == 6; }));
  EXPECT_NE(subject(ids[0]), "not found");
  EXPECT_THAT(page(archive).ids, Contains(ids[0]));
}

TEST_F(AccountFaultTest, AMailboxThatDoesntComeIntoStepIsMarked) {
  open();
  imapd->control("push alice * 25 EXISTS");
  EmailQueryResult result;
  ASSERT_TRUE(pump_until([&] {
    result = page(inbox);
    return result.freshness == Freshness::stale;
  }));
  EXPECT_EQ(result.total, 20u);
  EXPECT_EQ(await(account->destroy({ids[0]}, {}))->front().error_type, "serverUnavailable");
}

TEST_F(AccountFaultTest, ManyWhoWantTheListShareOne) {
  open();
  clock.advance(1min);
  imapd->reset_counts();
  int answered = 0;
  auto ask = [&]() -> io::Task<> {
    auto all = co_await account->mailboxes();
    answered += all && all->data.size() == 6 ? 1 : 0;
  };
  for (int i = 0; i < 5; ++i) loop.spawn(ask());
  ASSERT_TRUE(pump_until([&] { return answered == 5; }));
  EXPECT_EQ(commands()["LIST"], 1u);
}

TEST_F(AccountFaultTest, SearchesOfAFilterAreBounded) {
  open();
  const auto searches = [&](std::size_t count) {
    EmailQuery query;
    query.filter.kind = Filter::Kind::all_of;
    Filter in, size;
    in.kind = Filter::Kind::in_mailbox;
    in.mailboxes = {inbox};
    query.filter.children.push_back(in);
    size.kind = Filter::Kind::min_size;
    for (std::size_t i = 0; i < count; ++i) {
      Filter text;
      text.kind = Filter::Kind::subject;
      text.text = "word" + std::to_string(i);
      query.filter.children.push_back(text);
      query.filter.children.push_back(size);
    }
    query.limit = 10;
    return await(account->query(query));
  };
  EXPECT_TRUE(searches(filter_searches_max));
  const auto over = searches(filter_searches_max + 1);
  ASSERT_FALSE(over);
  EXPECT_EQ(over.error().code, make_error_code(Errc::unsupported_filter));
}

TEST_F(AccountFaultTest, WordsThatNoSearchCanSayAreTheClients) {
  open();
  const auto search = [&](std::string text) {
    EmailQuery query;
    query.filter.kind = Filter::Kind::all_of;
    query.filter.children.resize(2);
    query.filter.children[0].kind = Filter::Kind::in_mailbox;
    query.filter.children[0].mailboxes = {inbox};
    query.filter.children[1].kind = Filter::Kind::subject;
    query.filter.children[1].text = std::move(text);
    query.limit = 10;
    return await(account->query(query));
  };
  EXPECT_TRUE(search("word"));
  const auto found = search(std::string(10'000, 'x'));
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, make_error_code(Errc::unsupported_filter));
  EXPECT_EQ(commands()["UID SEARCH"], 1u);
}

TEST_F(AccountFaultTest, NoThreadHasTheKeyOfThoseThatAreUnknown) {
  open();
  auto threads = await(account->threads({0}));
  ASSERT_TRUE(threads);
  EXPECT_TRUE(threads->data.at(0).emails.empty());
}

TEST_F(AccountFaultTest, WhatCantBeExpungedIsSeenAgain) {
  open();
  imapd->control("on UID EXPUNGE do reply NO not now");
  auto outcomes = await(account->destroy({ids[0]}, {}));
  ASSERT_TRUE(outcomes);
  EXPECT_EQ(outcomes->front().error_type, "forbidden");
  EXPECT_NE(subject(ids[0]), "not found");
  EXPECT_EQ(page(inbox).total, 20u);
}

TEST_F(AccountFaultTest, AMoveThatWasOnlyACopyLeavesTheEmailInBothMailboxes) {
  options.capabilities = testimapd::capabilities_of("dovecot");
  std::erase(options.capabilities, "MOVE");
  open();
  const auto archive = mailbox("Archive");
  imapd->control("on UID EXPUNGE do reply NO not now");
  EXPECT_FALSE(move(ids[0], archive));
  EXPECT_THAT(*fetch({ids[0]})[0].mailboxes, ::testing::UnorderedElementsAre(inbox, archive));
  EXPECT_THAT(page(inbox, 0, 20).ids, Contains(ids[0]));
  EXPECT_THAT(page(archive, 0, 20).ids, Contains(ids[0]));
}

TEST_F(AccountFaultTest, AMessageMovedTwiceByCopyKeepsItsId) {
  options.capabilities = testimapd::capabilities_of("dovecot");
  std::erase(options.capabilities, "MOVE");
  open();
  const auto archive = mailbox("Archive"), trash = mailbox("Trash");
  ASSERT_TRUE(move(ids[0], archive));
  ASSERT_TRUE(move(ids[0], trash));
  EXPECT_EQ(*fetch({ids[0]})[0].mailboxes, std::vector{trash});
  EXPECT_THAT(page(trash).ids, ElementsAre(ids[0]));
  auto destroyed = await(account->destroy({ids[0]}, {}));
  EXPECT_TRUE(destroyed && destroyed->front().done);
}

TEST_F(AccountFaultTest, AKeywordSpeltLikeASystemFlagIsNone) {
  open();
  imapd->control("flag alice INBOX 20 +\\Seen");
  imapd->control("flag alice INBOX 20 +$seen");
  imapd->control("flag alice INBOX 20 +other");
  std::vector<std::string> keywords;
  ASSERT_TRUE(pump_until([&] {
    keywords = *fetch({EmailKey{inbox, options.uidvalidity, 20}}).at(0).keywords;
    return std::find(keywords.begin(), keywords.end(), "other") != keywords.end();
  }));
  EXPECT_EQ(std::count(keywords.begin(), keywords.end(), "$seen"), 1);
}

TEST_F(AccountFaultTest, AMessageOfManyPartsIsReadInSeveralCommands) {
  open();
  constexpr int parts = 320;  // more than a command line holds
  std::string raw =
      "Subject: parts\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n";
  for (int i = 1; i <= parts; ++i)
    raw += "--b\r\nContent-Type: text/plain\r\n\r\npart " + std::to_string(i) + "\r\n";
  imapd->deliver("alice", "INBOX", raw + "--b--\r\n");
  EmailQueryResult result;
  ASSERT_TRUE(pump_until([&] {
    result = page(inbox);
    return result.total == 21;
  }));
  idle();
  commands();
  auto plan = field_plan("SUBJECT", "parts-");
  plan.more = [](const MessageSource& source) {
    std::vector<WantedSection> wanted;
    const int count = source.header->find("parts") == std::string::npos ? 1 : parts;
    for (int i = 1; i <= count; ++i) wanted.push_back({std::to_string(i), 25'169'920});
    return wanted;
  };
  plan.render = [](const MessageSource& source) {
    std::string all;
    for (const auto& [section, octets] : source.sections) all += section + "=" + octets + ";";
    return Fragment{all, {}, {}};
  };
  std::string expected;
  for (int i = 1; i <= parts; ++i) expected += std::to_string(i) + "=part " + std::to_string(i) + ";";
  auto items = await(account->fetch({result.ids[0], result.ids[1]}, plan));
  ASSERT_TRUE(items) << items.error().to_string();
  ASSERT_TRUE(items->data[0].found && items->data[1].found);
  EXPECT_EQ(items->data[0].fragment->bytes, expected);
  EXPECT_EQ(commands()["UID FETCH"], 5u);  // the headers, three lines of sections, and the other message's
}

TEST_F(AccountFaultTest, ASectionThatIsLeftOutIsAskedForAgain) {
  open();
  auto plan = field_plan("SUBJECT", "sections-");
  plan.more = [](const MessageSource&) { return std::vector<WantedSection>{{"1", 100}}; };
  plan.render = [](const MessageSource& source) {
    return Fragment{source.sections.empty() ? "nothing" : "something", {}, {}};
  };
  imapd->control("on UID FETCH nth=2 do reply OK nothing of that");
  auto items = await(account->fetch({ids[0]}, plan));
  ASSERT_TRUE(items && items->data[0].found);
  EXPECT_EQ(items->data[0].fragment->bytes, "nothing");
  items = await(account->fetch({ids[0]}, plan));
  ASSERT_TRUE(items && items->data[0].found);
  EXPECT_EQ(items->data[0].fragment->bytes, "something");
}

TEST_F(AccountFaultTest, OneCameAndOneWentWhileTheListWasFetched) {
  options.capabilities = testimapd::capabilities_of("minimal");  // without SORT the first FETCH is the list
  start();
  inbox = mailbox("INBOX");
  imapd->control("on UID FETCH do expunge_at 18 15");
  imapd->control("on UID FETCH do run_after deliver alice INBOX");
  ids = page(inbox, 0, 30).ids;
  ASSERT_TRUE(pump_until([&] {
    ids = page(inbox, 0, 30).ids;
    return ids.size() == 20;
  }));
  EXPECT_THAT(ids, Not(Contains(EmailKey{inbox, options.uidvalidity, 15})));
  EXPECT_THAT(ids, Contains(EmailKey{inbox, options.uidvalidity, 21}));
}

TEST_F(AccountFaultTest, AMailboxThatMayNotBeReadDoesntHideTheOthers) {
  open();
  imapd->control("on SELECT do reply NO [NOPERM] not yours");  // Archive, the first that isn't open
  EmailQuery query;
  query.limit = 100;
  auto result = await(account->query(query));
  ASSERT_TRUE(result) << result.error().to_string();
  EXPECT_EQ(result->total, 25u);
}

TEST_F(AccountFaultTest, AFlagThatIsSetMeanwhileIsNoThread) {
  open();
  const EmailKey id{inbox, options.uidvalidity, 20};
  const auto thread_of = [&](std::string signature) {
    auto plan = field_plan("SUBJECT", std::move(signature));
    plan.thread = true;
    plan.render = [](const MessageSource& source) { return Fragment{thread_id(source.thread), {}, {}}; };
    auto items = await(account->fetch({id}, plan));
    return items && items->data[0].found ? items->data[0].fragment->bytes : "";
  };
  imapd->control("on UID FETCH do after * 20 FETCH (UID 20 FLAGS (\\Seen))");
  const auto with_flag = thread_of("a");
  account.reset();
  fragments.clear();
  open_account();
  EXPECT_EQ(thread_of("b"), with_flag);
}

TEST_F(AccountFaultTest, AnAnswerThatWasOvertakenHasAStateOfItsOwn) {
  open();
  const auto before = account->state(StateType::email);
  imapd->control("on UID FETCH do run flag alice INBOX 3 +\\Flagged");
  EmailQuery query;
  query.filter.kind = Filter::Kind::in_mailbox;
  query.filter.mailboxes = {inbox};
  query.limit = 100;
  query.collapse_threads = true;  // the threads are fetched once the ids are found
  auto result = await(account->query(query));
  ASSERT_TRUE(result);
  EXPECT_NE(account->state(StateType::email), before);
  EXPECT_NE(result->query_state, before);
  EXPECT_NE(result->query_state, account->state(StateType::email));
}

TEST_F(AccountFaultTest, AStatusThatIsMissingOnceDoesntChangeTheMailboxId) {
  options.capabilities = testimapd::capabilities_of("full");
  std::erase(options.capabilities, "LIST-STATUS");
  open();
  const auto archive = mailbox("Archive");
  const auto archived = page(archive).ids;
  ASSERT_EQ(archived.size(), 5u);
  clock.advance(31s);
  imapd->control("on STATUS times=6 do reply NO [INUSE] locked");
  EXPECT_EQ(mailbox("Archive"), archive);
  EXPECT_TRUE(fetch(archived)[0].found);
}

TEST_F(AccountFaultTest, StatesAreThoseOfTheData) {
  open();
  auto items = await(account->fetch({ids[0]}, field_plan("SUBJECT")));
  ASSERT_TRUE(items);
  EXPECT_EQ(items->state, account->state(StateType::email));
  EXPECT_EQ(page(inbox).query_state, items->state);
  imapd->deliver("alice", "INBOX", "Subject: new\r\n\r\nhello\r\n");
  ASSERT_TRUE(pump_until([&] { return page(inbox).total == 21; }));
  EXPECT_NE(page(inbox).query_state, items->state);
}

}  // namespace
}  // namespace postern::mail
