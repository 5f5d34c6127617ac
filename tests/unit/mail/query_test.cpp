// Email/query: what each kind of condition costs the server, what happens to mailboxes that can't be opened, and long
// scans that give way.
#include "mail/filter_program.hpp"
#include "mail/slices.hpp"
#include "postern/mail/mime/body_parts.hpp"
#include "unit/mail/account_fixture.hpp"

namespace postern::mail {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

Filter leaf(Filter::Kind kind, std::string text, std::int64_t number = 0) {
  Filter f;
  f.kind = kind;
  f.text = std::move(text);
  f.number = number;
  return f;
}

struct QueryTest : AccountFixture {
  MailboxKey inbox = 0;
  void open() {
    start();
    inbox = mailbox("INBOX");
    page(inbox);
    idle();
    imapd->reset_counts();
  }
  EmailQuery in_inbox(std::vector<Filter> conditions) const {
    EmailQuery query;
    query.filter.kind = Filter::Kind::all_of;
    query.filter.children = std::move(conditions);
    Filter in;
    in.kind = Filter::Kind::in_mailbox;
    in.mailboxes = {inbox};
    query.filter.children.push_back(std::move(in));
    query.limit = 1'000;
    return query;
  }
  std::uint64_t total(EmailQuery query) {
    auto result = await(account->query(std::move(query)));
    EXPECT_TRUE(result) << (result ? "" : result.error().to_string());
    return result ? result->total : 0;
  }
  std::string line_of(const std::string& command) {
    for (const auto& entry : imapd->log())
      if (entry.name == command) return entry.line;
    return "(none)";
  }
};

TEST_F(QueryTest, AttachmentsAreAskedForOnceAndOnlyWhereTheyDecide) {
  open();
  const auto with = total(in_inbox({leaf(Filter::Kind::has_attachment, {}, 1)}));
  EXPECT_THAT(commands(), ElementsAre(Pair("UID FETCH", 1)));
  EXPECT_EQ(with + total(in_inbox({leaf(Filter::Kind::has_attachment, {}, 0)})), 20u);
  EXPECT_TRUE(commands().empty());
  idle();
  const auto uid = imapd->deliver("alice", "INBOX", "Subject: new\r\n\r\nhello\r\n");
  ASSERT_TRUE(pump_until([&] { return page(inbox).total == 21; }));
  imapd->reset_counts();
  // Nothing else could match: those flagged are known already.
  total(in_inbox({leaf(Filter::Kind::has_attachment, {}, 1), leaf(Filter::Kind::has_keyword, "$flagged")}));
  EXPECT_TRUE(commands().empty());
  EXPECT_EQ(total(in_inbox({leaf(Filter::Kind::has_attachment, {}, 1)})), with);
  EXPECT_THAT(line_of("UID FETCH"), HasSubstr("UID FETCH " + std::to_string(uid) + " (UID BODYSTRUCTURE)"));
}

TEST_F(QueryTest, WhatEmailGetHasSeenIsNotAskedForAgain) {
  open();
  FetchPlan plan = field_plan("SUBJECT", "structure");
  plan.body_structure = true;
  std::unordered_map<EmailKey, bool, PlaceHash> attachments;
  plan.render = [&](const MessageSource& source) {
    attachments[source.id] = make_body_lists(make_body_parts(*source.body_structure)).has_attachment;
    return Fragment{"x", {}, {}};
  };
  ASSERT_TRUE(await(account->fetch(page(inbox, 0, 100).ids, plan)));
  imapd->reset_counts();
  auto with = await(account->query(in_inbox({leaf(Filter::Kind::has_attachment, {}, 1)})));
  ASSERT_TRUE(with);
  EXPECT_TRUE(commands().empty());
  EXPECT_EQ(attachments.size(), 20u);
  for (const auto& [id, has] : attachments)
    EXPECT_EQ(has, std::find(with->ids.begin(), with->ids.end(), id) != with->ids.end());
}

TEST_F(QueryTest, AMailboxThatWasDeletedHoldsNothing) {
  open();
  const auto archive = mailbox("Archive");
  imapd->control("delete alice Archive");
  EXPECT_EQ(page(archive).total, 0u);
  EXPECT_EQ(page(archive).ids.size(), 0u);
  auto listed = await(account->mailboxes());
  ASSERT_TRUE(listed);
  for (const auto& data : listed->data) EXPECT_NE(data.mailbox.key, archive);
}

TEST_F(QueryTest, AMailboxMadeSinceTheListIsFound) {
  open();
  imapd->control("create alice Project");
  imapd->deliver("alice", "Project", "Subject: x\r\n\r\n");
  clock.advance(31s);
  EmailQuery everywhere;
  everywhere.limit = 100;
  EXPECT_EQ(total(everywhere), 31u);
}

TEST_F(QueryTest, AMailboxThatMayNotBeReadIsForbidden) {
  open();
  const auto archive = mailbox("Archive");
  for (const auto& [refusal, error] : {std::pair("NO [NOPERM] not yours", Errc::forbidden),
                                       std::pair("NO Unable to open this mailbox.", Errc::server_refused)}) {
    imapd->control(std::string("on SELECT do reply ") + refusal);
    EmailQuery query;
    query.filter.kind = Filter::Kind::in_mailbox;
    query.filter.mailboxes = {archive};
    query.limit = 10;
    auto result = await(account->query(query));
    ASSERT_FALSE(result) << refusal;
    EXPECT_EQ(result.error().code, make_error_code(error)) << refusal;
  }
  EXPECT_EQ(page(archive).total, 5u);
}

TEST_F(QueryTest, EmptyMailboxesAreNotOpened) {
  open();
  EmailQuery everywhere;
  everywhere.limit = 100;
  EXPECT_EQ(total(everywhere), 30u);
  EXPECT_EQ(commands()["SELECT"], 2u);  // Archive and Sent; INBOX is open
}

TEST_F(QueryTest, AnotherCharsetWhereTheServerHasNoUtf8) {
  open();
  imapd->deliver("alice", "INBOX", "Subject: x\r\n\r\nx\r\n");
  imapd->control("on UID SEARCH do reply NO [BADCHARSET (US-ASCII ISO-8859-1)] no");
  await(account->query(in_inbox({leaf(Filter::Kind::text, "Gr\u00FC\u00DFe")})));
  std::vector<std::string> lines;
  for (const auto& entry : imapd->log())
    if (entry.name == "UID SEARCH") lines.push_back(entry.line);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0], HasSubstr("CHARSET UTF-8"));
  EXPECT_THAT(lines[1], HasSubstr("CHARSET ISO-8859-1"));
  imapd->control("on UID SEARCH do reply NO [BADCHARSET (US-ASCII)] no");
  auto refused = await(account->query(in_inbox({leaf(Filter::Kind::text, "K\u00F6ln")})));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, make_error_code(Errc::unsupported_filter));
}

TEST_F(QueryTest, AnIndexThatFindsNothingIsNotBelieved) {
  options.capabilities = testimapd::capabilities_of("full");
  options.capabilities.emplace_back("SEARCH=FUZZY");
  open();
  const auto words = in_inbox({leaf(Filter::Kind::text, "figures")});
  imapd->control("on UID SEARCH do reply OK nothing in the index");
  EXPECT_EQ(total(words), 20u);
  std::vector<std::string> lines;
  for (const auto& entry : imapd->log())
    if (entry.name == "UID SEARCH") lines.push_back(entry.line);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0], HasSubstr("FUZZY TEXT"));
  EXPECT_THAT(lines[1], HasSubstr(") TEXT"));
}

TEST_F(QueryTest, KeywordsOfThreadsAreBounded) {
  open();
  std::vector<Filter> conditions;
  for (std::size_t i = 0; i < thread_keywords_max; ++i)
    conditions.push_back(leaf(Filter::Kind::none_in_thread_have_keyword, "k" + std::to_string(i)));
  EXPECT_EQ(total(in_inbox(conditions)), 20u);
  conditions.push_back(leaf(Filter::Kind::none_in_thread_have_keyword, "one-more"));
  auto refused = await(account->query(in_inbox(conditions)));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, make_error_code(Errc::unsupported_filter));
}

// --- Counts ---

TEST_F(QueryTest, CountsDontGoBackWhenTheMailboxIsLeft) {
  server_options.connections_per_account = 1;
  open();
  const auto archive = mailbox("Archive");
  const auto unread = [&](MailboxKey key) {
    auto all = await(account->mailboxes());
    EXPECT_TRUE(all);
    for (const auto& data : all->data)
      if (data.mailbox.key == key) return data.unread_emails;
    return std::uint64_t{9'999};
  };
  const auto before = unread(inbox);
  EmailKey read{};
  for (const auto& item : fetch(page(inbox, 0, 100).ids))
    if (std::find(item.keywords->begin(), item.keywords->end(), "$seen") != item.keywords->end())
      read = item.id;
  ASSERT_NE(read, EmailKey{});
  ASSERT_TRUE(update(EmailUpdate{read, {}, {{"$seen", false}}, {}, {}}).done);
  EXPECT_EQ(unread(inbox), before + 1);
  page(archive);  // the same connection selects another mailbox
  EXPECT_EQ(unread(inbox), before + 1) << "left, by what it said when it was left";
  clock.advance(31s);
  EXPECT_EQ(unread(inbox), before + 1) << "by STATUS";
  page(archive);
  ASSERT_TRUE(update(EmailUpdate{read, {}, {{"$seen", true}}, {}, {}}).done);
  page(archive);
  EXPECT_EQ(unread(inbox), before);
  // What another program does to it there is news of the next STATUS.
  imapd->control("flag alice INBOX " + std::to_string(read.uid) + " -\\Seen");
  clock.advance(31s);
  EXPECT_EQ(unread(inbox), before + 1);
  EXPECT_EQ(unread(inbox), before + 1);
}

// --- Long work ---

TEST(FilterProgram, TwoHundredConditionsInSlices) {
  MailboxIndex index;
  std::vector<std::uint32_t> uids(20'000);
  for (std::size_t i = 0; i < uids.size(); ++i) uids[i] = static_cast<std::uint32_t>(i + 1);
  index.set_uids(uids);
  for (auto uid : uids) {
    imap::FetchData data;
    data.flags.emplace();
    if (uid % 200 == 0) data.flags->keywords.push_back("rare");
    data.size = uid;
    data.internal_date = uid;
    index.apply(uid, data);
  }
  Filter filter;
  filter.kind = Filter::Kind::any_of;
  for (std::size_t i = 1; i < filter_conditions_max; ++i)
    filter.children.push_back(leaf(Filter::Kind::has_keyword, "k" + std::to_string(i)));
  filter.children.push_back(leaf(Filter::Kind::has_keyword, "RARE"));
  const SearchResults none;
  const ThreadKeywords no_threads;
  const FilterProgram program(filter, index, none, no_threads);
  std::size_t found = 0, slices = 0;
  Slices counter;
  for (const auto& entry : index.entries()) {
    found += program.matches(entry) ? 1U : 0U;
    slices += counter.over(program.size()) ? 1U : 0U;
  }
  EXPECT_EQ(found, 100u);
  // Each slice is so many evaluations of a condition, and no more than one message's beyond that.
  EXPECT_EQ(slices, 20'000 / ((slice_steps + program.size() - 1) / program.size()));
}

struct SlicesTest : test::LoopFixture {};

TEST_F(SlicesTest, SortingLetsOthersComeBetween) {
  std::vector<std::uint32_t> items(100'000);
  std::uint32_t random_state = 1;
  for (auto& item : items) item = random_state = random_state * 1'664'525 + 1'013'904'223;
  auto expected = items;
  std::sort(expected.begin(), expected.end());
  std::size_t turns = 0;
  bool done = false;
  std::function<void()> other = [&] {
    ++turns;
    if (!done) loop.post(other);
  };
  loop.post(other);
  const std::less<> less;
  auto sort = [](Lane& on, std::vector<std::uint32_t>& all, const std::less<>& by,
                 bool& ended) -> io::Task<> {
    co_await sort_in_slices(on, all, by);
    ended = true;
  };
  Lane lane(loop);
  loop.spawn(sort(lane, items, less, done));
  ASSERT_TRUE(pump_until([&] { return done; }));
  EXPECT_EQ(items, expected);
  EXPECT_GT(turns, 5u);
}

}  // namespace
}  // namespace postern::mail
