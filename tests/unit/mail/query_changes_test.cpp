// What Email/queryChanges tells; and clients that go by what they are told, at random, on every tier.
#include <random>

#include "unit/mail/account_changes_fixture.hpp"

namespace postern::mail {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

struct QueryChangesTest : AccountChangesTest {
  EmailQuery in(MailboxKey key, Sort sort = {}) {
    EmailQuery query;
    query.filter.kind = Filter::Kind::in_mailbox;
    query.filter.mailboxes = {key};
    query.sort = std::move(sort);
    query.limit = 100;
    return query;
  }
  EmailQueryResult ask(EmailQuery query) {
    auto result = await(account->query(std::move(query)));
    EXPECT_TRUE(result);
    EXPECT_TRUE(result && result->can_calculate_changes);
    return result ? *result : EmailQueryResult{};
  }
  Result<EmailQueryChanges> changes(EmailQuery query, const std::string& state,
                                    std::size_t max = changes_unlimited) {
    return await(account->query_changes({std::move(query), state, max, {}}));
  }
  static std::vector<EmailKey> applied(std::vector<EmailKey> list, const QueryDiff& diff) {
    for (const auto& id : diff.removed) std::erase(list, id);
    for (const auto& [id, index] : diff.added)
      list.insert(list.begin() + static_cast<std::ptrdiff_t>(index), id);
    return list;
  }
};

TEST_F(QueryChangesTest, WhatCameAndWentAndMoved) {
  open();
  const auto before = ask(in(inbox));
  auto none = changes(in(inbox), before.query_state);
  ASSERT_TRUE(none);
  EXPECT_THAT(none->diff.removed, IsEmpty());
  EXPECT_THAT(none->diff.added, IsEmpty());
  EXPECT_EQ(none->query_state, before.query_state);
  ASSERT_TRUE(move(ids[2], archive));
  imapd->control("expunge alice INBOX " + uid(ids[4]));
  imapd->deliver("alice", "INBOX", "Subject: new\r\n\r\nhello\r\n");
  idle();
  ASSERT_TRUE(pump_until([&] {
    const auto now = page(inbox, 0, 20);
    return now.total == 19 && std::find(now.ids.begin(), now.ids.end(), ids[4]) == now.ids.end();
  }));
  const auto after = ask(in(inbox));
  const auto diff = changes(in(inbox), before.query_state);
  ASSERT_TRUE(diff);
  EXPECT_EQ(diff->query_state, after.query_state);
  EXPECT_EQ(diff->total, 19u);
  EXPECT_THAT(diff->diff.removed, UnorderedElementsAre(ids[2], ids[4]));
  EXPECT_THAT(diff->diff.added, ElementsAre(Pair(after.ids[0], 0)));
  EXPECT_EQ(applied(before.ids, diff->diff), after.ids);
  EXPECT_EQ(changes(in(inbox), before.query_state, 2).error().code, make_error_code(Errc::too_many_changes));
  EXPECT_TRUE(changes(in(inbox), before.query_state, 3));
}

// The server tells of it with its next answer on the connection that has the other mailbox selected.
TEST_F(QueryChangesTest, WhatWasMovedToAnotherOpenMailboxIsThereAtOnce) {
  open();
  ASSERT_EQ(page(archive).total, 5u);
  EmailQuery all;
  all.limit = 100;
  const auto before = ask(all);
  // Both are selected when one is wanted while the other is being read.
  bool read = false;
  auto reading = [&](std::vector<EmailKey> archived) -> io::Task<> {
    (void)co_await account->fetch(std::move(archived), field_plan("TO"));
    read = true;
  };
  const auto archived = page(archive).ids;
  imapd->control("on UID FETCH do delay 100");
  loop.spawn(reading(archived));
  page(inbox);
  ASSERT_TRUE(pump_until([&] { return read; }));
  ASSERT_TRUE(account->pool().is_selected("INBOX") && account->pool().is_selected("Archive"));
  ASSERT_TRUE(move(ids[2], archive));
  const auto after = ask(all);
  EXPECT_EQ(after.total, before.total);
  EXPECT_EQ(std::count(after.ids.begin(), after.ids.end(), ids[2]), 1);
  EXPECT_EQ(fetch({ids[2]})[0].mailboxes->front(), archive);
}

TEST_F(QueryChangesTest, OfAnotherQueryOrStateItCantBeTold) {
  open();
  const auto before = ask(in(inbox));
  const auto cannot = make_error_code(Errc::cannot_calculate_changes);
  EXPECT_EQ(changes(in(archive), before.query_state).error().code, cannot);
  EXPECT_EQ(changes(in(inbox), "nonsense").error().code, cannot);
  EXPECT_EQ(
      changes(in(inbox, Sort{{SortKey{SortKey::Property::size, true, {}}}}), before.query_state).error().code,
      cannot);
  // Of the last four states.
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(update(EmailUpdate{ids[0], {}, {{"$flagged", i % 2 == 0}}, {}, {}}).done);
    ask(in(inbox));
  }
  EXPECT_TRUE(changes(in(inbox), before.query_state));
  ASSERT_TRUE(update(EmailUpdate{ids[0], {}, {{"$flagged", false}}, {}, {}}).done);
  ask(in(inbox));
  EXPECT_EQ(changes(in(inbox), before.query_state).error().code, cannot);
  const auto last = ask(in(inbox));
  account->evict_views();
  EXPECT_EQ(changes(in(inbox), last.query_state).error().code, cannot);
}

TEST_F(QueryChangesTest, KeywordsThatAreFilteredOrSortedBy) {
  open();
  Filter keyword;
  keyword.kind = Filter::Kind::has_keyword;
  keyword.text = "$flagged";
  auto flagged = in(inbox);
  flagged.filter = Filter{.kind = Filter::Kind::all_of,
                          .children = {flagged.filter, keyword},
                          .text = {},
                          .header_name = {},
                          .mailboxes = {}};
  auto by_flag = in(inbox, Sort{{SortKey{SortKey::Property::has_keyword, false, "$flagged"},
                                 SortKey{SortKey::Property::received_at, false, {}}}});
  auto all = EmailQuery{};
  all.limit = 100;
  const auto before = ask(flagged), order = ask(by_flag), everything = ask(all);
  ASSERT_TRUE(update(EmailUpdate{ids[7], {}, {{"$flagged", true}}, {}, {}}).done);
  ASSERT_TRUE(update(EmailUpdate{ids[5], {}, {{"$seen", true}}, {}, {}}).done);
  ASSERT_TRUE(move(ids[9], archive));
  for (const auto& [query, old] :
       {std::pair(flagged, before), std::pair(by_flag, order), std::pair(all, everything)}) {
    const auto diff = changes(query, old.query_state);
    ASSERT_TRUE(diff);
    EXPECT_EQ(applied(old.ids, diff->diff), ask(query).ids);
  }
}

// --- All of it, at random ---

// A client that keeps everything and goes by what it is told.
struct Client {
  std::map<std::string, std::pair<std::vector<std::string>, std::vector<MailboxKey>>> emails;
  std::string state;
};

struct RandomChangesTest : AccountTierTest {
  std::mt19937 random{};
  unsigned lost = 0;  // cannotCalculateChanges
  std::string trace;  // of what happened and was told, since the last time that all was equal
  std::map<std::string, std::string> subjects;  // by id, for good

  std::string control(const std::string& line) {
    trace += "\n" + line;
    return imapd->control(line);
  }
  void note(const std::string& what, const std::vector<EmailKey>& emails) {
    for (const auto& id : emails) trace += "\n  " + what + " " + email_id(id);
  }

  void put(Client& client, const std::vector<EmailKey>& ids_wanted) {
    for (auto& item : fetch(ids_wanted)) {
      client.emails.erase(email_id(item.id));
      if (!item.found) continue;
      auto keywords = *item.keywords;
      std::sort(keywords.begin(), keywords.end());
      client.emails[email_id(item.id)] = {keywords, *item.mailboxes};
      const auto& text = item.fragment->bytes;
      EXPECT_EQ(subjects.try_emplace(email_id(item.id), text).first->second, text) << trace;
    }
  }
  Client everything() {
    Client client;
    client.state = email_state();
    EmailQuery query;
    query.limit = 1'000;
    auto all = await(account->query(query));
    EXPECT_TRUE(all);
    if (all) put(client, all->ids);
    return client;
  }
  void sync(Client& client) {
    for (bool more = true; more;) {
      const auto changes = since(client.state, 1 + random() % 20);
      if (!changes) {
        EXPECT_EQ(changes.error().code, make_error_code(Errc::cannot_calculate_changes));
        ++lost;
        trace += "\n  lost";
        client = everything();
        return;
      }
      note("destroyed", changes->data.destroyed);
      note("created", changes->data.created);
      note("updated", changes->data.updated);
      for (const auto& id : changes->data.destroyed) client.emails.erase(email_id(id));
      put(client, changes->data.created);
      put(client, changes->data.updated);
      client.state = changes->state;
      more = changes->data.has_more;
    }
  }
  // Changes an Email. Where it is told that nothing else has changed, its new state is the client's.
  SetOutcome change(Client& client, EmailUpdate wanted) {
    const auto id = wanted.id;
    auto state = await(account->email_state_of({id})).value_or("");
    bool writes = false;
    auto outcomes = await(account->update({std::move(wanted)}, [&]() -> io::Task<bool> {
      if (!std::exchange(writes, true)) state = email_state();
      co_return true;
    }));
    const auto before = account->old_state(state, std::span(&id, 1));
    trace += " told as of " + before;
    if (before == client.state) {
      client.state = email_state();
      put(client, {id});
    }
    return outcomes ? outcomes->front() : SetOutcome{};
  }
  // Each message that the server shows is in one Email, once.
  std::size_t places(const Client& client) {
    std::size_t sum = 0;
    for (const auto& [id, email] : client.emails) sum += email.second.size();
    return sum;
  }
  std::size_t messages() {
    const auto all = imapd->control("messages alice");
    std::size_t sum = 0;
    for (auto at = all.find("\"flags\":"); at != std::string::npos; at = all.find("\"flags\":", at + 1))
      sum += all.substr(at, all.find('}', at) - at).find("Deleted") == std::string::npos ? 1u : 0u;
    return sum;
  }
  static std::string difference(const Client& told, const Client& now) {
    std::string text;
    const auto say = [&text](const std::string& who, const auto& item) {
      text += "\n" + who + item.first + " in";
      for (auto key : item.second.second) text += " " + mailbox_id(key);
      for (const auto& keyword : item.second.first) text += " " + keyword;
    };
    for (const auto& item : told.emails)
      if (!now.emails.contains(item.first) || now.emails.at(item.first) != item.second) say("told ", item);
    for (const auto& item : now.emails)
      if (!told.emails.contains(item.first) || told.emails.at(item.first) != item.second) say("now  ", item);
    return text;
  }
  void happen(Client& client) {
    static const std::vector<std::string> names{"INBOX", "Archive", "Sent", "Junk"};
    const auto& name = names[random() % names.size()];
    const auto some_uid = std::to_string(1 + random() % 25);
    switch (random() % 13) {
      case 0: control("deliver alice " + name + " 2"); break;
      case 1: control("expunge alice " + name + " " + some_uid); break;
      case 2: control("flag alice " + name + " " + some_uid + " +\\Flagged"); break;
      case 3: control("flag alice " + name + " " + some_uid + " -\\Flagged"); break;
      case 4:
        control("flag alice " + name + " " + some_uid + (random() % 2 ? " +" : " -") + "\\Deleted");
        break;
      case 5:
        trace += "\npage " + name;
        page(mailbox(name));
        break;
      case 6: {
        const auto some = page(mailbox(name));
        if (some.ids.empty()) break;
        const auto& id = some.ids[random() % some.ids.size()];
        const auto& target = names[random() % names.size()];
        trace += "\nmove from " + name + " to " + target + " " + email_id(id);
        const auto outcome = change(client, EmailUpdate{id, {}, {}, std::vector{mailbox(target)}, {}});
        trace += outcome.done ? "" : " FAILED " + outcome.error_type;
        break;
      }
      case 8:
      case 9: {
        const auto some = page(mailbox(name));
        if (some.ids.empty()) break;
        const auto& id = some.ids[random() % some.ids.size()];
        const auto& other = names[random() % names.size()];
        const bool in = random() % 2 == 0;
        trace += "\n" + email_id(id) + (in ? " also in " : " not in ") + other;
        const auto outcome = change(client, EmailUpdate{id, {}, {}, {}, {{mailbox(other), in}}});
        trace += outcome.done ? "" : " FAILED " + outcome.error_type;
        break;
      }
      case 10:  // by another program
        control("move alice " + name + " " + some_uid + " " + names[random() % names.size()] +
                (random() % 2 ? " expunged_first" : ""));
        break;
      case 11: control("copy alice " + name + " " + some_uid + " " + names[random() % names.size()]); break;
      default:
        const bool evict = random() % 4 == 0;
        trace += evict ? "\nevict" : "\nlater";
        evict ? account->evict_views() : void(clock.advance(31s));
    }
  }
  void go_by_what_is_told() {
    start();
    Client client = everything();
    const auto* first = std::getenv("POSTERN_RANDOM_CHANGES");  // other ones than each time
    const unsigned begin = first != nullptr ? static_cast<unsigned>(std::atoi(first)) : 1;
    for (unsigned seed = begin; seed < begin + 20; ++seed) {
      random.seed(seed);
      SCOPED_TRACE("seed " + std::to_string(seed));
      for (int i = 0; i < 12; ++i) {
        happen(client);
        if (random() % 4 == 0) sync(client);
      }
      Client now;
      const bool same = pump_until([&] {
        clock.advance(31s);
        sync(client);
        fragments.clear();
        now = everything();
        return client.emails == now.emails && places(now) == messages();
      });
      ASSERT_TRUE(same) << difference(client, now) << trace;
      trace.clear();
    }
    if (GetParam().exact) EXPECT_EQ(lost, 0u);
  }
};
INSTANTIATE_TEST_SUITE_P(Tiers, RandomChangesTest, ::testing::Values(qresync, condstore, neither, copy, bare),
                         [](const auto& info) { return info.param.name; });

TEST_P(RandomChangesTest, WhatIsToldMakesTheNewOutOfTheOld) { go_by_what_is_told(); }

TEST_P(RandomChangesTest, WhatIsToldOfEmailsThatOthersMove) {
  mail_options.join_by_identity = true;
  go_by_what_is_told();
}

}  // namespace
}  // namespace postern::mail
