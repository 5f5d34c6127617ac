// Ids, the index, views and queries, without a server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mail/sort_keys.hpp"
#include "postern/mail/fragment_cache.hpp"
#include "postern/mail/mailbox_view.hpp"

namespace postern::mail {
namespace {

using ::testing::ElementsAre;

imap::FetchData message(std::uint32_t seq, std::uint32_t uid, std::int64_t received, std::uint8_t flags = 0,
                        std::vector<std::string> keywords = {}) {
  imap::FetchData data;
  data.seq = seq;
  data.uid = uid;
  data.internal_date = received;
  data.size = uid * 100;
  data.flags.emplace();
  data.flags->system = flags;
  data.flags->keywords = std::move(keywords);
  return data;
}

struct Events final : ViewEvents {
  std::vector<std::string> heard;
  void on_message_arrived(MailboxView&, std::uint32_t uid) override {
    heard.push_back("+" + std::to_string(uid));
  }
  void on_message_changed(MailboxView&, std::uint32_t uid) override {
    heard.push_back("*" + std::to_string(uid));
  }
  void on_message_hidden(MailboxView&, std::uint32_t uid) override {
    heard.push_back("~" + std::to_string(uid));
  }
  void on_message_gone(MailboxView&, const MessageEntry& message) override {
    heard.push_back("-" + std::to_string(message.uid));
  }
  void on_unlisted_gone(MailboxView&, const imap::UidSet& uids) override {
    heard.push_back("unlisted " + uids.to_string());
  }
  void on_unlisted_gone(MailboxView&, std::uint32_t nth, std::uint32_t unlisted) override {
    heard.push_back("unlisted " + std::to_string(nth) + " of " + std::to_string(unlisted));
  }
  void on_untold(MailboxView&) override { heard.emplace_back("untold"); }
  void on_behind(MailboxView&) override { heard.emplace_back("behind"); }
  void on_left(MailboxView&) override { heard.emplace_back("left"); }
  void on_reset(MailboxView&) override { heard.emplace_back("reset"); }
};

struct ViewTest : ::testing::Test {
  Events events;
  MailboxView view{7, "INBOX", events};

  void select(std::uint32_t exists, std::uint32_t validity = 1, std::uint64_t modseq = 0,
              std::uint32_t next = 0) {
    session::SelectInfo info;
    info.exists = exists;
    info.uid_validity = validity;
    info.uid_next = next;
    if (modseq != 0) info.highest_modseq = modseq;
    view.begin_select();
    view.on_selected(info);
  }
  void fill() {  // UIDs 10, 20, 30 with dates 300, 100, 200
    select(3, 1, 5, 31);
    view.take_uid_list({10, 20, 30});
    view.on_fetch(message(1, 10, 300));
    view.on_fetch(message(2, 20, 100));
    view.on_fetch(message(3, 30, 200));
    events.heard.clear();
  }
  UidList newest() {
    const auto* order = view.order(Sort::newest_first());
    return order == nullptr ? UidList{} : *order;
  }
};

TEST_F(ViewTest, ReceivedOrderIsInternalDateOrder) {
  fill();
  EXPECT_THAT(newest(), ElementsAre(10, 30, 20));
  EXPECT_EQ(view.sync_need(), SyncNeed::none);
}

TEST_F(ViewTest, ArrivalIsPutWhereItsDateBelongs) {
  fill();
  newest();
  view.on_exists(4);
  EXPECT_EQ(view.sync_need(), SyncNeed::arrivals);
  view.on_fetch(message(4, 40, 250));
  EXPECT_EQ(view.sync_need(), SyncNeed::none);
  EXPECT_THAT(newest(), ElementsAre(10, 40, 30, 20));
  EXPECT_THAT(events.heard, ElementsAre("behind", "+40"));
}

TEST_F(ViewTest, MoreThanTheServerCountsIsNotTaken) {
  fill();
  view.on_fetch(message(4, 40, 250));
  EXPECT_EQ(view.index().size(), 3u);
  view.on_exists(4);
  view.on_fetch(message(4, 40, 250));
  view.on_fetch(message(5, 50, 250));
  EXPECT_EQ(view.index().size(), 4u);
}

TEST_F(ViewTest, FetchOfAMessageBehindOneThatIsUnknownIsNotTaken) {
  fill();
  view.on_exists(5);
  view.on_fetch(message(5, 50, 250));
  EXPECT_EQ(view.index().find(50), nullptr);
  EXPECT_EQ(view.sync_need(), SyncNeed::arrivals);
}

TEST_F(ViewTest, ExpungeTakesTheRightOne) {
  fill();
  newest();
  const auto version = view.version();
  view.on_expunge(2);
  EXPECT_THAT(newest(), ElementsAre(10, 30));
  EXPECT_THAT(events.heard, ElementsAre("-20"));
  EXPECT_GT(view.version(), version);
  view.on_expunge(99);  // nonsense
  EXPECT_EQ(view.index().size(), 2u);
}

TEST_F(ViewTest, ExpungeOfAnUnannouncedMessageOnlyCounts) {
  fill();
  view.on_exists(5);
  view.on_expunge(5);
  view.on_expunge(4);
  EXPECT_EQ(view.sync_need(), SyncNeed::none);
  EXPECT_EQ(view.index().size(), 3u);
}

TEST_F(ViewTest, VanishedTakesMany) {
  fill();
  newest();
  imap::VanishedResponse vanished;
  vanished.uids.add(10, 25);
  vanished.earlier = true;
  view.on_vanished(vanished);
  EXPECT_THAT(newest(), ElementsAre(30));
  EXPECT_THAT(events.heard, ElementsAre("unlisted 10:25", "-10", "-20"));
}

TEST_F(ViewTest, DeletedMessagesAreHidden) {
  fill();
  newest();
  view.on_fetch(message(1, 10, 300, imap::Flags::deleted));
  EXPECT_THAT(newest(), ElementsAre(30, 20));
  EXPECT_THAT(events.heard, ElementsAre("~10"));
  view.on_fetch(message(1, 10, 300));
  EXPECT_THAT(newest(), ElementsAre(10, 30, 20));
  EXPECT_THAT(events.heard, ElementsAre("~10", "+10"));
}

TEST_F(ViewTest, FlagsWithoutUidAreMappedBySequenceNumber) {
  fill();
  imap::FetchData data;
  data.seq = 3;
  data.flags.emplace();
  data.flags->system = imap::Flags::seen;
  view.on_fetch(data);
  EXPECT_TRUE((view.index().find(30)->flags & MessageEntry::seen) != 0);
  EXPECT_THAT(events.heard, ElementsAre("*30"));
}

TEST_F(ViewTest, SameFlagsAgainChangeNothing) {
  fill();
  const auto version = view.version();
  view.on_fetch(message(1, 10, 300));
  EXPECT_EQ(view.version(), version);
  EXPECT_TRUE(events.heard.empty());
}

TEST_F(ViewTest, UidvalidityRollForgetsEverything) {
  fill();
  select(3, 2);
  EXPECT_THAT(events.heard, ElementsAre("reset"));
  EXPECT_EQ(view.sync_need(), SyncNeed::list);
  EXPECT_EQ(view.index().size(), 0u);
}

TEST_F(ViewTest, WithoutUidvalidityNothingIsKept) {
  for (const auto& [before, after] : {std::pair(1u, 0u), std::pair(0u, 1u), std::pair(0u, 0u)}) {
    select(3, before, 5, 31);
    view.take_uid_list({10, 20, 30});
    events.heard.clear();
    select(3, after, 5, 31);
    EXPECT_THAT(events.heard, ElementsAre("reset")) << before << " " << after;
    EXPECT_FALSE(view.index().listed());
  }
}

TEST_F(ViewTest, WithoutUidvalidityEachSelectionHasItsOwn) {
  select(3, 0, 5, 31);
  const auto first = view.uid_validity();
  EXPECT_GE(first, 0x80000000u);
  view.take_uid_list({10, 20, 30});
  EXPECT_FALSE(view.select_parameters());
  select(3, 0, 5, 31);
  EXPECT_NE(view.uid_validity(), first);  // but for one time in 2^31
  EXPECT_GE(view.uid_validity(), 0x80000000u);
}

TEST_F(ViewTest, WhatTheServerLeavesOutIsSettled) {
  select(3, 1, 5, 31);
  view.take_uid_list({10, 20, 30});
  view.on_fetch(message(1, 10, 300));
  imap::UidSet left_out;
  left_out.add(20);
  view.settle(left_out);
  EXPECT_EQ(view.index().unknown(), 1u);
  EXPECT_TRUE(view.index().find(20)->is_known());
  EXPECT_FALSE(view.index().find(30)->is_known());
  EXPECT_EQ(view.index().find(10)->received, 300);
}

TEST_F(ViewTest, SelectedAgainWithoutChangesNeedsNothing) {
  fill();
  select(3, 1, 5, 31);
  EXPECT_EQ(view.sync_need(), SyncNeed::none);
}

TEST_F(ViewTest, SelectedAgainWithNewModseqAsksForChanges) {
  fill();
  select(3, 1, 9, 31);
  EXPECT_EQ(view.sync_need(), SyncNeed::changes_since);
  EXPECT_EQ(view.modseq(), 5u);  // until the changes have come
  view.sync_finished(SyncNeed::changes_since);
  EXPECT_EQ(view.sync_need(), SyncNeed::none);
}

TEST_F(ViewTest, ChangesThatWereTakenAreNotAskedForAgain) {
  fill();
  select(3, 1, 9, 31);
  view.sync_finished(SyncNeed::changes_since);
  EXPECT_EQ(view.modseq(), 9u);
}

TEST_F(ViewTest, SameCountWithAnotherUidnextIsListedAgain) {
  fill();
  select(3, 1, 9, 41);  // one came, one went
  EXPECT_EQ(view.sync_need(), SyncNeed::list);
}

TEST_F(ViewTest, WithoutCondstoreFlagsAreAskedForAgain) {
  fill();
  select(3, 1, 0, 31);
  EXPECT_EQ(view.sync_need(), SyncNeed::flags);
}

TEST_F(ViewTest, ResultsAreKeptUntilSomethingChanges) {
  fill();
  view.cache_result("x", std::make_shared<const UidList>(UidList{10}));
  EXPECT_NE(view.cached_result("x"), nullptr);
  EXPECT_EQ(view.cached_result("y"), nullptr);
  view.on_fetch(message(1, 10, 300, imap::Flags::seen));
  EXPECT_EQ(view.cached_result("x"), nullptr);
}

TEST_F(ViewTest, TheOrderUsedLeastLatelyGoes) {
  fill();
  // By subject: the view can't make it anew, so that what it gives is what it has kept.
  const auto sort = [](std::size_t i) {
    return Sort{{SortKey{SortKey::Property::subject, true, {}},
                 SortKey{SortKey::Property::has_keyword, true, "k" + std::to_string(i)}}};
  };
  for (std::size_t i = 0; i < orders_max; ++i) ASSERT_NE(view.install_order(sort(i), {20, 30, 10}), nullptr);
  for (std::size_t i = 0; i < orders_max; ++i) EXPECT_NE(view.order(sort(i)), nullptr) << i;
  ASSERT_NE(view.install_order(sort(orders_max), {20, 30, 10}), nullptr);
  EXPECT_EQ(view.order(sort(0)), nullptr);
  for (std::size_t i = 1; i <= orders_max; ++i) EXPECT_NE(view.order(sort(i)), nullptr) << i;
}

TEST_F(ViewTest, TheOldestResultGoes) {
  fill();
  const auto result = std::make_shared<const UidList>(UidList{20});
  const auto name = [](std::size_t i) { return "result " + std::to_string(i); };
  for (std::size_t i = 0; i < query_results_max; ++i) view.cache_result(name(i), result);
  for (std::size_t i = 0; i < query_results_max; ++i) EXPECT_EQ(view.cached_result(name(i)), result) << i;
  view.cache_result(name(query_results_max), result);
  EXPECT_EQ(view.cached_result(name(0)), nullptr);
  for (std::size_t i = 1; i <= query_results_max; ++i) EXPECT_EQ(view.cached_result(name(i)), result) << i;
}

TEST_F(ViewTest, KnownUidsGoIntoSelectOnlyWhileTheyAreShort) {
  // UIDs of four digits with gaps, five octets each with the comma, and a last one that makes up the length.
  constexpr std::size_t short_uids = known_uids_bytes_max / 5 - 1;
  static_assert(known_uids_bytes_max % 5 == 0 && short_uids < 4'000);
  const auto known_bytes = [&](std::uint32_t last) {
    UidList uids;
    for (std::uint32_t i = 0; i < short_uids; ++i) uids.push_back(1'001 + 2 * i);
    uids.push_back(last);
    view.evict();
    select(static_cast<std::uint32_t>(uids.size()), 1, 5, last + 1);
    view.take_uid_list(uids);
    const auto parameters = view.select_parameters();
    EXPECT_TRUE(parameters);
    return parameters ? parameters->known_uids.size() : 0;
  };
  EXPECT_EQ(known_bytes(10'001), known_uids_bytes_max);
  EXPECT_EQ(known_bytes(100'001), 0u);
}

TEST_F(ViewTest, CachesAreBounded) {
  fill();
  for (int i = 0; i < 50; ++i) {
    Sort sort{{SortKey{SortKey::Property::has_keyword, true, "k" + std::to_string(i)}}};
    ASSERT_NE(view.order(sort), nullptr);
  }
  EXPECT_LE(view.memory_bytes(), 20'000u);
}

TEST_F(ViewTest, MemoryOfAWarmViewOfTenThousand) {
  constexpr std::uint32_t count = 10'000;
  select(count, 1, 5, count + 1);
  UidList uids;
  for (std::uint32_t uid = 1; uid <= count; ++uid) uids.push_back(uid);
  view.take_uid_list(uids);
  for (std::uint32_t uid = 1; uid <= count; ++uid) view.on_fetch(message(uid, uid, uid));
  view.cache_result("page", std::make_shared<const UidList>(newest()));
  EXPECT_LE(view.memory_bytes() / count, 64u);
}

TEST(TextKeys, CountWhatTheyHold) {
  TextKeys keys;
  const auto empty = keys.memory_bytes();
  keys.put(SortKey::Property::subject, 1, "a subject");
  const auto one = keys.memory_bytes();
  EXPECT_GT(one, empty);
  keys.put(SortKey::Property::subject, 1, "another");
  EXPECT_EQ(keys.memory_bytes(), one - 2);
  keys.put(SortKey::Property::from, 2, "b");
  keys.erase(1);
  keys.erase(2);
  keys.erase(3);
  EXPECT_EQ(keys.memory_bytes(), empty);
  keys.put(SortKey::Property::from, 2, "b");
  keys.clear();
  EXPECT_EQ(keys.memory_bytes(), empty);
}

TEST(Fragments, LongSignaturesAndManyPlansCostNothingButFragments) {
  FragmentCache cache(10'000);
  const auto fragment = std::make_shared<const Fragment>(Fragment{"x", {}, {}});
  cache.put({1, {1, 1, 1}, FragmentCache::plan_key("first")}, fragment);
  for (int i = 0; i < 20'000; ++i)
    EXPECT_EQ(cache.find({2, {1, 1, 1}, FragmentCache::plan_key(std::string(300, 'x') + std::to_string(i))}),
              nullptr);
  // Nobody else's plans push a fragment out; only fragments do.
  EXPECT_NE(cache.find({1, {1, 1, 1}, FragmentCache::plan_key("first")}), nullptr);
  EXPECT_EQ(cache.find({1, {1, 1, 1}, FragmentCache::plan_key("second")}), nullptr);
  for (std::uint32_t uid = 2; uid < 100; ++uid) cache.put({2, {1, 1, uid}, {}}, fragment);
  EXPECT_EQ(cache.find({1, {1, 1, 1}, FragmentCache::plan_key("first")}), nullptr);
  EXPECT_LE(cache.bytes(), 10'000u);
}

TEST(Index, KeywordsBeyondTheBitsAreKept) {
  MailboxIndex index;
  index.set_uids({1});
  std::vector<std::string> keywords;
  for (int i = 0; i < 80; ++i) keywords.push_back("k" + std::to_string(i));
  index.apply(1, message(1, 1, 5, 0, keywords));
  EXPECT_EQ(index.keywords(*index.find(1)).size(), 80u);
  EXPECT_TRUE(index.has_keyword(*index.find(1), "K79"));
  EXPECT_FALSE(index.has_keyword(*index.find(1), "k80"));
  keywords.pop_back();
  EXPECT_EQ(index.apply(1, message(1, 1, 5, 0, keywords)), MailboxIndex::Change::flags);
}

TEST(Index, KeywordTableIsBounded) {
  KeywordTable table;
  for (std::uint32_t i = 0; i < keywords_max; ++i) ASSERT_TRUE(table.intern("k" + std::to_string(i)));
  EXPECT_FALSE(table.intern("one more"));
  EXPECT_TRUE(table.intern("K1"));
}

TEST(Ids, RoundTripAndRefuseEverythingElse) {
  const Place place{0x0123456789abcdefull, 0xdeadbeef, 42};
  EXPECT_EQ(parse_email_id(email_id(place)), place);
  EXPECT_EQ(parse_mailbox_id(mailbox_id(5)), 5u);
  EXPECT_EQ(parse_thread_id(thread_id(~0ull)), ~0ull);
  const BlobKey part{place, TransferEncoding::quoted_printable, "1.2.10"};
  EXPECT_EQ(parse_blob_id(blob_id(part)), part);
  EXPECT_EQ(parse_blob_id(blob_id({place, {}, {}})), (BlobKey{place, {}, {}}));
  for (std::string_view wrong : {"", "e", "m123", "eAAAAAAAAAAAAAAAAAAAAAA", "xAAAAAAAAAAA", "-1"}) {
    EXPECT_FALSE(parse_email_id(wrong)) << wrong;
    EXPECT_FALSE(parse_mailbox_id(wrong)) << wrong;
  }
  const auto whole = blob_id({place, {}, {}});
  for (std::string_view tail : {"_", "_b", "_b0", "_b1_", "_b_1", "_x1", "_b1__2", "_b1]", "_b1 2", "_b01"})
    EXPECT_FALSE(parse_blob_id(whole + std::string(tail))) << tail;
  EXPECT_FALSE(parse_blob_id(whole + "_b" + std::string(blob_section_bytes_max + 1, '1')));
  EXPECT_TRUE(parse_blob_id(whole + "_b" + std::string(blob_section_bytes_max, '1')));
}

TEST(SortKeys, BaseSubject) {
  EXPECT_EQ(base_subject("Re: Fwd: [list] hello (fwd)"), "hello");
  EXPECT_EQ(base_subject("RE[2]: x"), "x");
  EXPECT_EQ(base_subject("[only]"), "[only]");
  EXPECT_EQ(base_subject("[fwd: inner]"), "inner");
  EXPECT_EQ(base_subject("  regards "), "regards");
}

TEST(SortKeys, ThreadIsNamedByItsRoot) {
  const Place id{1, 2, 3};
  const auto root = thread_key_of("Message-ID: <a@x>\r\n\r\n", id);
  EXPECT_EQ(thread_key_of("Message-ID: <b@x>\r\nIn-Reply-To: <a@x>\r\n\r\n", id), root);
  EXPECT_EQ(thread_key_of("Message-ID: <c@x>\r\nReferences: <a@x>\r\n <b@x>\r\n\r\n", id), root);
  EXPECT_NE(thread_key_of("Message-ID: <d@x>\r\n\r\n", id), root);
  EXPECT_NE(thread_key_of("", id), thread_key_of("", Place{1, 2, 4}));
  EXPECT_NE(thread_key_of("", id), 0u);
}

}  // namespace
}  // namespace postern::mail
