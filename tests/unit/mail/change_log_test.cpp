// The log of changes and the difference of two query results: what they tell turns the old into the new, always.
#include "postern/mail/change_log.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "postern/mail/query_diff.hpp"

namespace postern::mail {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using Log = ObjectLog<std::uint64_t>;
constexpr auto created = ChangeKind::created, updated = ChangeKind::updated, counts = ChangeKind::counts,
               destroyed = ChangeKind::destroyed;

TEST(ChangeLog, SeveralChangesOfOneObjectAreOne) {
  Log log(10);
  log.add(11, created, 1);
  log.add(12, updated, 1);
  log.add(13, updated, 2);
  log.add(14, created, 3);
  log.add(15, destroyed, 3);
  log.add(16, updated, 4);
  log.add(17, destroyed, 4);
  log.add(18, destroyed, 5);
  log.add(19, created, 5);
  const auto all = log.since(10, 19);
  ASSERT_TRUE(all);
  EXPECT_THAT(all->created, ElementsAre(1));
  EXPECT_THAT(all->updated, ElementsAre(2, 5));
  EXPECT_THAT(all->destroyed, ElementsAre(4));
  EXPECT_EQ(all->new_state, 19u);
  EXPECT_FALSE(all->has_more);
  EXPECT_THAT(log.since(11, 19)->updated, ElementsAre(1, 2, 5));
  EXPECT_THAT(log.since(14, 19)->destroyed, ElementsAre(3, 4));
}

TEST(ChangeLog, NothingHasChangedSinceNow) {
  Log log(10);
  log.add(11, updated, 1);
  const auto none = log.since(13, 13);
  ASSERT_TRUE(none);
  EXPECT_THAT(none->updated, IsEmpty());
  EXPECT_EQ(none->new_state, 13u);
  EXPECT_FALSE(none->counts_only);
}

TEST(ChangeLog, StatesThatNobodyWasGivenOrThatAreForgotten) {
  Log log(10);
  EXPECT_FALSE(log.since(9, 10));
  EXPECT_FALSE(log.since(11, 10));
  log.add(11, updated, 1);
  EXPECT_TRUE(log.since(10, 11));
  log.forget(12);
  EXPECT_FALSE(log.since(11, 12));
  EXPECT_TRUE(log.since(12, 12));
}

TEST(ChangeLog, CountsAloneAreToldAsSuch) {
  Log log(0);
  log.add(1, counts, 1);
  log.add(2, counts, 2);
  EXPECT_TRUE(log.since(0, 2)->counts_only);
  log.add(3, updated, 2);
  EXPECT_FALSE(log.since(0, 3)->counts_only);
  log.add(4, counts, 2);
  EXPECT_FALSE(log.since(0, 4)->counts_only);
  EXPECT_TRUE(log.since(3, 4)->counts_only);
  log.add(5, created, 3);
  log.add(6, counts, 3);
  EXPECT_FALSE(log.since(4, 6)->counts_only);  // nothing is updated
}

TEST(ChangeLog, MaxChangesAtTheLimitAndOnePastIt) {
  Log log(0);
  for (std::uint64_t i = 1; i <= 4; ++i) log.add(i, updated, i % 3);
  const auto all = log.since(0, 9, 3);
  EXPECT_EQ(all->updated.size(), 3u);
  EXPECT_FALSE(all->has_more);
  EXPECT_EQ(all->new_state, 9u);
  const auto some = log.since(0, 9, 2);
  EXPECT_THAT(some->updated, ElementsAre(1, 2));
  EXPECT_TRUE(some->has_more);
  EXPECT_EQ(some->new_state, 2u);
}

TEST(ChangeLog, BoundAndOnePastIt) {
  Log log(0);
  for (std::uint64_t i = 1; i <= change_log_entries_max; ++i) log.add(i, updated, i);
  EXPECT_TRUE(log.since(0, change_log_entries_max));
  log.add(change_log_entries_max + 1, updated, 1);
  EXPECT_FALSE(log.since(0, change_log_entries_max + 1));
  EXPECT_LE(log.size(), change_log_entries_max);
  const auto reached = change_log_entries_max / 4;
  EXPECT_FALSE(log.since(reached - 1, change_log_entries_max + 1));
  ASSERT_TRUE(log.since(reached, change_log_entries_max + 1));
  EXPECT_EQ(log.since(reached, change_log_entries_max + 1)->updated.size(), log.size() - 1 + 1);
}

// A client that keeps ids and versions, and goes by what it is told alone.
struct Client {
  std::map<std::uint64_t, int> objects;
  std::uint64_t state = 0;
};

TEST(ChangeLog, ToldChangesMakeTheNewOutOfTheOld) {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    std::mt19937 random(seed);
    const auto pick = [&random](std::size_t n) { return random() % n; };
    Log log(0);
    std::map<std::uint64_t, int> objects;
    std::uint64_t state = 0, next_id = 1;
    std::vector<Client> clients(1);
    for (int step = 0; step < 120; ++step) {
      const auto any = [&] {
        auto it = objects.begin();
        std::advance(it, static_cast<std::ptrdiff_t>(pick(objects.size())));
        return it;
      };
      const auto what = pick(objects.empty() ? 1 : 4);
      if (what == 0) {
        const auto id = pick(3) == 0 && next_id > 1 ? 1 + pick(next_id - 1) : next_id++;
        if (objects.emplace(id, step).second) log.add(++state, created, id);
      } else if (what == 1) {
        const auto gone = any();
        log.add(++state, destroyed, gone->first);
        objects.erase(gone);
      } else {
        const auto changed = any();
        changed->second = step;
        log.add(++state, updated, changed->first);
      }
      if (pick(5) == 0) clients.push_back({objects, state});
    }
    for (auto& client : clients) {
      const auto max = 1 + pick(10);
      for (bool more = true; more;) {
        const auto told = log.since(client.state, state, max);
        ASSERT_TRUE(told);
        ASSERT_LE(told->created.size() + told->updated.size() + told->destroyed.size(), max);
        for (auto id : told->destroyed) ASSERT_EQ(client.objects.erase(id), 1u) << "seed " << seed;
        for (auto id : told->updated) ASSERT_TRUE(client.objects.contains(id)) << "seed " << seed;
        for (auto id : told->created) ASSERT_FALSE(client.objects.contains(id)) << "seed " << seed;
        // What it is told of it fetches, as it is now; what has gone by now isn't found.
        for (const auto* ids : {&told->created, &told->updated})
          for (auto id : *ids) client.objects[id] = objects.contains(id) ? objects[id] : -1;
        ASSERT_TRUE(!told->has_more || told->new_state > client.state);
        client.state = told->new_state;
        more = told->has_more;
      }
      ASSERT_EQ(client.objects, objects) << "seed " << seed;
      ASSERT_EQ(client.state, state);
    }
  }
}

// --- Threads ---

EmailKey email(std::uint32_t uid) { return {1, 1, uid}; }

struct Threads {
  ThreadLog log{0};
  std::map<std::uint32_t, ThreadKey> emails;  // that are there now
  std::uint64_t state = 0;
  void arrive(std::uint32_t uid, ThreadKey thread, bool known = true) {
    emails[uid] = thread;
    log.add(++state, true, email(uid), known ? thread : 0);
  }
  void leave(std::uint32_t uid) {
    log.add(++state, false, email(uid), emails.at(uid));
    emails.erase(uid);
  }
  std::optional<ChangeSet<ThreadKey>> since(std::uint64_t from, std::size_t max = changes_unlimited) {
    return log.since(
        from, state, max,
        [this](const EmailKey& id) { return emails.contains(id.uid) ? emails.at(id.uid) : 0; },
        [this](ThreadKey thread) {
          return static_cast<std::size_t>(std::count_if(
              emails.begin(), emails.end(), [&](const auto& item) { return item.second == thread; }));
        });
  }
};

TEST(ThreadLog, TheFirstEmailMakesItAndTheLastOneEndsIt) {
  Threads threads;
  threads.emails = {{1, 7}, {2, 7}, {3, 8}};
  threads.arrive(4, 7);
  threads.arrive(5, 9, false);
  threads.leave(3);
  const auto all = threads.since(0);
  ASSERT_TRUE(all);
  EXPECT_THAT(all->created, ElementsAre(9));
  EXPECT_THAT(all->updated, ElementsAre(7));
  EXPECT_THAT(all->destroyed, ElementsAre(8));
  threads.leave(5);
  EXPECT_THAT(threads.since(0)->created, IsEmpty());
  EXPECT_THAT(threads.since(3)->destroyed, ElementsAre(9));
}

TEST(ThreadLog, WhatCantBeToldIsNotGuessed) {
  Threads threads;
  threads.log.add(++threads.state, true, email(1), 0);
  EXPECT_FALSE(threads.since(0));  // it came, and nobody knows to which
  threads.log.forget(++threads.state);
  EXPECT_FALSE(threads.since(1));
}

TEST(ThreadLog, ToldChangesMakeTheNewOutOfTheOld) {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    std::mt19937 random(seed);
    Threads threads;
    for (std::uint32_t uid = 1; uid <= 5; ++uid) threads.emails[uid] = 1 + random() % 3;
    const auto snapshot = [&threads] {
      std::map<ThreadKey, std::set<std::uint32_t>> all;
      for (const auto& [uid, thread] : threads.emails) all[thread].insert(uid);
      return all;
    };
    std::vector<std::pair<std::uint64_t, std::map<ThreadKey, std::set<std::uint32_t>>>> clients;
    clients.emplace_back(0, snapshot());
    std::uint32_t next = 6;
    for (int step = 0; step < 60; ++step) {
      if (threads.emails.empty() || random() % 2 == 0) {
        threads.arrive(next++, 1 + random() % 6, random() % 2 == 0);
      } else {
        auto gone = threads.emails.begin();
        std::advance(gone, static_cast<std::ptrdiff_t>(random() % threads.emails.size()));
        threads.leave(gone->first);
      }
      if (random() % 4 == 0) clients.emplace_back(threads.state, snapshot());
    }
    const auto now = snapshot();
    for (auto& [state, known] : clients) {
      const auto max = 1 + random() % 4;
      for (bool more = true; more;) {
        const auto told = threads.since(state, max);
        ASSERT_TRUE(told) << "seed " << seed;
        ASSERT_LE(told->created.size() + told->updated.size() + told->destroyed.size(), max);
        for (auto id : told->destroyed) ASSERT_EQ(known.erase(id), 1u) << "seed " << seed;
        for (auto id : told->updated) ASSERT_TRUE(known.contains(id)) << "seed " << seed;
        for (auto id : told->created) ASSERT_FALSE(known.contains(id)) << "seed " << seed;
        for (const auto* ids : {&told->created, &told->updated})
          for (auto id : *ids) known[id] = now.contains(id) ? now.at(id) : std::set<std::uint32_t>{};
        state = told->new_state;
        more = told->has_more;
      }
      ASSERT_EQ(known, now) << "seed " << seed;
    }
  }
}

// --- Query results ---

std::vector<EmailKey> emails(std::initializer_list<std::uint32_t> uids) {
  std::vector<EmailKey> all;
  for (auto uid : uids) all.push_back(email(uid));
  return all;
}

// RFC 8620, 5.6: how a client brings its list up to date.
std::vector<EmailKey> applied(std::vector<EmailKey> list, const QueryDiff& diff) {
  for (const auto& id : diff.removed) std::erase(list, id);
  for (const auto& [id, index] : diff.added)
    list.insert(list.begin() + static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(index, list.size())), id);
  return list;
}

TEST(QueryDiff, OneCameAndOneWent) {
  const auto diff = diff_results(emails({5, 4, 3, 2, 1}), emails({6, 5, 4, 2, 1}));
  EXPECT_THAT(diff.removed, ElementsAre(email(3)));
  EXPECT_THAT(diff.added, ElementsAre(Pair(email(6), 0)));
}

TEST(QueryDiff, WhatHasAnotherPlaceGoesAndComes) {
  const auto diff = diff_results(emails({1, 2, 3, 4, 5}), emails({4, 1, 2, 3, 5}));
  EXPECT_THAT(diff.removed, ElementsAre(email(4)));
  EXPECT_THAT(diff.added, ElementsAre(Pair(email(4), 0)));
}

TEST(QueryDiff, BehindUpToIdNothingIsTold) {
  QueryDiffOptions options{true, email(4), {}};
  const auto before = emails({6, 5, 4, 3, 2, 1}), after = emails({7, 6, 4, 2, 0});
  auto diff = diff_results(before, after, options);
  EXPECT_THAT(diff.removed, ElementsAre(email(5)));
  EXPECT_THAT(diff.added, ElementsAre(Pair(email(7), 0)));
  options.up_to = email(5);  // it has gone: all is told
  diff = diff_results(before, after, options);
  EXPECT_EQ(applied(before, diff), after);
  options = {false, email(4), {}};
  EXPECT_EQ(applied(before, diff_results(before, after, options)), after);
}

TEST(QueryDiff, WhatMayHaveChangedIsPutInAgain) {
  QueryDiffOptions options;
  options.reinserted = [](const EmailKey& id) { return id == email(2); };
  const auto all = emails({3, 2, 1});
  const auto diff = diff_results(all, all, options);
  EXPECT_THAT(diff.removed, ElementsAre(email(2)));
  EXPECT_THAT(diff.added, ElementsAre(Pair(email(2), 1)));
}

TEST(QueryDiff, TheDifferenceMakesTheNewOutOfTheOld) {
  for (unsigned seed = 1; seed <= 500; ++seed) {
    std::mt19937 random(seed);
    std::vector<EmailKey> before;
    for (std::uint32_t uid = 1; uid <= random() % 30; ++uid) before.push_back(email(uid));
    std::shuffle(before.begin(), before.end(), random);
    auto after = before;
    for (std::uint32_t i = 0; i < random() % 8; ++i) {
      const auto at = after.empty() ? 0 : static_cast<std::ptrdiff_t>(random() % after.size());
      const auto what = random() % 3;
      if (what == 0 || after.empty()) {
        after.insert(after.begin() + at, email(100 + i));
      } else if (what == 1) {
        after.erase(after.begin() + at);
      } else {
        std::rotate(after.begin(), after.begin() + at, after.end());
      }
    }
    QueryDiffOptions options;
    if (random() % 2 == 0) options.reinserted = [&](const EmailKey& id) { return id.uid % 5 == 0; };
    const auto diff = diff_results(before, after, options);
    ASSERT_EQ(applied(before, diff), after) << "seed " << seed;
    ASSERT_TRUE(std::is_sorted(diff.added.begin(), diff.added.end(),
                               [](const auto& a, const auto& b) { return a.second < b.second; }));
    // Up to an id: what a client has of the beginning becomes the beginning of the new, if only arrivals and
    // expunges have happened.
    auto some = before;
    std::erase_if(some, [&](const EmailKey&) { return random() % 4 == 0; });
    some.insert(some.begin() + static_cast<std::ptrdiff_t>(some.empty() ? 0 : random() % some.size()),
                email(99));
    const auto kept = std::find_if(some.begin(), some.end(), [](const EmailKey& id) { return id.uid < 90; });
    if (kept == some.end()) continue;
    options = {true, *kept, {}};
    const auto head = applied({before.begin(), std::next(std::find(before.begin(), before.end(), *kept))},
                              diff_results(before, some, options));
    ASSERT_EQ(head, std::vector<EmailKey>(some.begin(), std::next(kept))) << "seed " << seed;
  }
}

}  // namespace
}  // namespace postern::mail
