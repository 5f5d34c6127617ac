// Sessions as the broker uses them: put, find, touch, reseal, end, expire, limits, and a random model test.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "store_support.hpp"

namespace postern::store {
namespace {

using std::chrono::seconds;

class SessionTest : public StoreTest {};

TEST_F(SessionTest, FindsExactlyWhatWasPut) {
  const auto writer = open();
  EXPECT_TRUE(report_.created);
  EXPECT_EQ(report_.discarded_reason, "");
  for (std::uint64_t i = 0; i < 6; ++i) ASSERT_TRUE(writer->put_session(record(i)).has_value());
  for (std::uint64_t i = 0; i < 6; ++i) {
    const auto found = writer->find_session(hash_of(i));
    ASSERT_TRUE(found.has_value());
    EXPECT_TRUE(same(*found, record(i)));
  }
  EXPECT_FALSE(writer->find_session(hash_of(6)).has_value());
  EXPECT_EQ(writer->use().sessions, 6U);
}

TEST_F(SessionTest, SizesAtTheLimitAndOnePast) {
  const auto writer = open();
  SessionRecord r = record(1);
  r.login = std::string(login_bytes_max, 'l');
  r.sealed = std::string(sealed_bytes_max, 's');
  ASSERT_TRUE(writer->put_session(r).has_value());
  EXPECT_TRUE(same(*writer->find_session(r.token_hash), r));
  SessionRecord long_login = r, long_sealed = r;
  long_login.login += 'l';
  long_sealed.sealed += 's';
  EXPECT_EQ(writer->put_session(long_login).error().code, Errc::too_large);
  EXPECT_EQ(writer->put_session(long_sealed).error().code, Errc::too_large);
  EXPECT_EQ(writer->reseal_session(r.token_hash, long_sealed.sealed).error().code, Errc::too_large);
  EXPECT_TRUE(same(*writer->find_session(r.token_hash), r)) << "a refused one changes nothing";
  r.login.clear();
  r.sealed.clear();
  ASSERT_TRUE(writer->put_session(r).has_value());
  EXPECT_TRUE(same(*writer->find_session(r.token_hash), r));
}

TEST_F(SessionTest, FullIsAnErrorAndReplacingStillWorks) {
  const auto writer = open();
  for (std::uint64_t i = 0; i < options_.sessions_max; ++i)
    ASSERT_TRUE(writer->put_session(record(i)).has_value());
  const auto refused = writer->put_session(record(100));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::full);
  EXPECT_NE(refused.error().to_string().find("16"), std::string::npos) << refused.error().to_string();
  EXPECT_TRUE(writer->put_session(record(3, 1)).has_value());
  EXPECT_TRUE(same(*writer->find_session(hash_of(3)), record(3, 1)));
  EXPECT_TRUE(writer->reseal_session(hash_of(4), "fresh").has_value());
  EXPECT_EQ(writer->find_session(hash_of(4))->sealed, "fresh");
  EXPECT_TRUE(writer->end_session(hash_of(5)));
  EXPECT_TRUE(writer->put_session(record(100)).has_value());
  EXPECT_EQ(writer->use().sessions, options_.sessions_max);
}

TEST_F(SessionTest, FullTableMakesRoomFromExpiredOnes) {
  const auto writer = open();
  for (std::uint64_t i = 0; i < options_.sessions_max; ++i)
    ASSERT_TRUE(writer->put_session(record(i)).has_value());
  clock_.advance(seconds(3600));
  EXPECT_TRUE(writer->put_session(record(100)).has_value());
  EXPECT_EQ(writer->use().sessions, 1U);
}

TEST_F(SessionTest, CredentialsFullIsAnErrorThatLeavesNothingBehind) {
  options_.credential_bytes_mean = 1;
  const auto writer = open();
  std::uint64_t stored = 0;
  Result<std::vector<TokenHash>> result;
  const auto large = [&](std::uint64_t i) {
    SessionRecord r = record(i);
    r.sealed = std::string(sealed_bytes_max, 'x');
    return r;
  };
  while ((result = writer->put_session(large(stored))).has_value()) ++stored;
  EXPECT_EQ(result.error().code, Errc::full);
  EXPECT_NE(result.error().to_string().find("credentials"), std::string::npos);
  EXPECT_GE(stored, 1U);
  EXPECT_LT(stored, options_.sessions_max);
  for (int round = 0; round < 20; ++round) {  // nothing leaks on either path
    EXPECT_EQ(writer->put_session(large(stored)).error().code, Errc::full);
    EXPECT_TRUE(writer->end_session(hash_of(0)));
    EXPECT_TRUE(writer->put_session(large(0)).has_value());
  }
  EXPECT_EQ(writer->use().sessions, stored);
}

TEST_F(SessionTest, AbsoluteLifetime) {
  const auto writer = open();
  SessionRecord r = record(1);
  r.idle_seconds = 0;
  ASSERT_TRUE(writer->put_session(r).has_value());
  clock_.advance(seconds(3599));
  EXPECT_TRUE(writer->find_session(r.token_hash).has_value());
  writer->touch_session(r.token_hash);
  clock_.advance(seconds(1));
  EXPECT_FALSE(writer->find_session(r.token_hash).has_value());
  EXPECT_EQ(writer->use().sessions, 1U);
  EXPECT_EQ(writer->expire_sessions(), 1U);
  EXPECT_EQ(writer->expire_sessions(), 0U);
  EXPECT_EQ(writer->use().sessions, 0U);
}

TEST_F(SessionTest, IdleLifetimeIsMovedByTouch) {
  const auto writer = open();
  SessionRecord r = record(1);
  r.idle_seconds = 600;
  ASSERT_TRUE(writer->put_session(r).has_value());
  for (int i = 0; i < 4; ++i) {
    clock_.advance(seconds(600));
    ASSERT_TRUE(writer->find_session(r.token_hash).has_value());
    writer->touch_session(r.token_hash);
  }
  EXPECT_EQ(writer->find_session(r.token_hash)->last_used, r.created + 2400);
  clock_.advance(seconds(659));
  EXPECT_TRUE(writer->find_session(r.token_hash).has_value());
  clock_.advance(seconds(1));
  EXPECT_FALSE(writer->find_session(r.token_hash).has_value());
  EXPECT_EQ(writer->reseal_session(r.token_hash, "x").error().code, Errc::not_found);
  EXPECT_EQ(writer->expire_sessions(), 1U);
}

TEST_F(SessionTest, TouchIsWrittenOnceAMinute) {
  const auto writer = open();
  const SessionRecord r = record(1);
  ASSERT_TRUE(writer->put_session(r).has_value());
  clock_.advance(seconds(59));
  writer->touch_session(r.token_hash);
  EXPECT_EQ(writer->find_session(r.token_hash)->last_used, r.last_used);
  clock_.advance(seconds(1));
  writer->touch_session(r.token_hash);
  EXPECT_EQ(writer->find_session(r.token_hash)->last_used, r.last_used + 60);
  writer->touch_session(hash_of(99));
  EXPECT_FALSE(writer->find_session(hash_of(99)).has_value());
}

TEST_F(SessionTest, ResealChangesTheCredentialAlone) {
  const auto writer = open();
  SessionRecord r = record(1);
  ASSERT_TRUE(writer->put_session(r).has_value());
  ASSERT_TRUE(writer->reseal_session(r.token_hash, std::string(3000, 'n')).has_value());
  r.sealed = std::string(3000, 'n');
  EXPECT_TRUE(same(*writer->find_session(r.token_hash), r));
  EXPECT_EQ(writer->reseal_session(hash_of(2), "x").error().code, Errc::not_found);
}

TEST_F(SessionTest, EndedCredentialIsWiped) {
  const auto writer = open();
  SessionRecord r = record(1);
  r.sealed = "sealed-and-to-be-wiped" + std::string(500, 'w');
  ASSERT_TRUE(writer->put_session(r).has_value());
  EXPECT_NE(read_file(options_.path).find("sealed-and-to-be-wiped"), std::string::npos);
  EXPECT_TRUE(writer->end_session(r.token_hash));
  EXPECT_FALSE(writer->end_session(r.token_hash));
  EXPECT_FALSE(writer->find_session(r.token_hash).has_value());
  const std::string bytes = read_file(options_.path);
  EXPECT_EQ(bytes.find("sealed-and-to-be-wiped"), std::string::npos);
  EXPECT_EQ(bytes.find("wwww"), std::string::npos);
  EXPECT_EQ(bytes.find(r.login), std::string::npos);
}

TEST_F(SessionTest, EndsAllOfAnAccount) {
  const auto writer = open();
  for (std::uint64_t i = 0; i < 12; ++i) ASSERT_TRUE(writer->put_session(record(i)).has_value());
  EXPECT_EQ(writer->end_sessions_of(1001), 3U);  // 1, 6, 11
  EXPECT_EQ(writer->end_sessions_of(1001), 0U);
  EXPECT_FALSE(writer->find_session(hash_of(6)).has_value());
  EXPECT_TRUE(writer->find_session(hash_of(7)).has_value());
  EXPECT_EQ(writer->use().sessions, 9U);
}

TEST_F(SessionTest, CountsTheLiveOnesOfAnAccount) {
  const auto writer = open();
  for (std::uint64_t i = 0; i < 12; ++i) {
    SessionRecord r = record(i);
    if (i == 6) r.expires = r.created + 10;
    ASSERT_TRUE(writer->put_session(r).has_value());
  }
  ASSERT_TRUE(writer->put_session(record(1, 1)).has_value()) << "replaces";
  EXPECT_EQ(writer->sessions_of(1001), 3U);  // 1, 6, 11
  clock_.advance(seconds(10));
  EXPECT_EQ(writer->sessions_of(1001), 2U);
  writer->expire_sessions();
  EXPECT_EQ(writer->sessions_of(1001), 2U);
  writer->end_session(hash_of(1));
  EXPECT_EQ(writer->sessions_of(1001), 1U);
  ASSERT_TRUE(writer->reseal_session(hash_of(11), "other").has_value());
  EXPECT_EQ(writer->sessions_of(1001), 1U);
  writer->end_sessions_of(1001);
  EXPECT_EQ(writer->sessions_of(1001), 0U);
  EXPECT_EQ(writer->sessions_of(1002), 2U);  // 2, 7
  EXPECT_EQ(writer->sessions_of(99), 0U);
}

TEST_F(SessionTest, TellsWhenTheFirstOfAnAccountEnds) {
  const auto writer = open();
  EXPECT_EQ(writer->first_session_end(1001), std::nullopt);
  const auto begin = unix_seconds(clock_.wall());
  ASSERT_TRUE(writer->put_session(record(1)).has_value());
  EXPECT_EQ(writer->first_session_end(1001), begin + 1'860) << "idle for half an hour, and a minute";
  clock_.advance(seconds(1'000));
  writer->touch_session(hash_of(1));
  EXPECT_EQ(writer->first_session_end(1001), begin + 2'860);
  SessionRecord brief = record(6);
  brief.expires = brief.created + 10;
  ASSERT_TRUE(writer->put_session(brief).has_value());
  EXPECT_EQ(writer->first_session_end(1001), begin + 1'010);
  clock_.advance(seconds(10));
  EXPECT_EQ(writer->first_session_end(1001), begin + 2'860) << "the brief one is over";
  EXPECT_EQ(writer->first_session_end(1002), std::nullopt);
}

TEST_F(SessionTest, OneAccountEndsItsOwnOldestSession) {
  options_.sessions_per_account_max = 3;
  const auto writer = open();
  ASSERT_TRUE(writer->put_session(record(2)).has_value());  // another account's, the oldest of all
  clock_.advance(seconds(60));
  for (const std::uint64_t i : {1, 6, 11}) {
    const auto put = writer->put_session(record(i));
    ASSERT_TRUE(put.has_value());
    EXPECT_TRUE(put->empty()) << "at the limit";
    clock_.advance(seconds(60));
  }
  writer->touch_session(hash_of(1));
  EXPECT_TRUE(writer->put_session(record(11, 1))->empty()) << "one that is replaced needs no room";
  const auto past = writer->put_session(record(16));
  ASSERT_TRUE(past.has_value());
  EXPECT_EQ(*past, std::vector{hash_of(6)}) << "the one used the longest ago";
  EXPECT_FALSE(writer->find_session(hash_of(6)).has_value());
  for (const std::uint64_t i : {1, 2, 11, 16}) EXPECT_TRUE(writer->find_session(hash_of(i)).has_value()) << i;
  EXPECT_EQ(writer->sessions_of(1001), 3U);
}

TEST_F(SessionTest, WhatHasRunOutMakesRoomFirst) {
  options_.sessions_per_account_max = 2;
  const auto writer = open();
  ASSERT_TRUE(writer->put_session(record(1)).has_value());
  clock_.advance(seconds(60));
  SessionRecord brief = record(6);
  brief.expires = brief.created + 10;
  ASSERT_TRUE(writer->put_session(brief).has_value());
  clock_.advance(seconds(10));
  EXPECT_TRUE(writer->put_session(record(11))->empty());
  EXPECT_TRUE(writer->find_session(hash_of(1)).has_value());
}

// As many as there were before the limit was lowered.
TEST_F(SessionTest, SeveralEndWhereThereAreTooMany) {
  {
    const auto writer = open();
    for (std::uint64_t i = 1; i < 16; i += 5) {
      ASSERT_TRUE(writer->put_session(record(i)).has_value());
      clock_.advance(seconds(60));
    }
  }
  options_.sessions_per_account_max = 2;
  const auto writer = open();
  EXPECT_EQ(writer->sessions_of(1001), 3U) << "all go on";
  EXPECT_EQ(*writer->put_session(record(16)), (std::vector{hash_of(1), hash_of(6)}));
  EXPECT_EQ(writer->sessions_of(1001), 2U);
}

TEST_F(SessionTest, OneAccountDoesNotFillTheTable) {
  options_.sessions_per_account_max = 8;
  const auto writer = open();
  for (std::uint64_t i = 0; i < 64; ++i) {
    SessionRecord r = record(i);
    r.account = 7;
    ASSERT_TRUE(writer->put_session(r).has_value());
  }
  EXPECT_EQ(writer->use().sessions, 8U);
  EXPECT_TRUE(writer->put_session(record(100)).has_value()) << "somebody else's";
}

TEST_F(SessionTest, VisitsTheLiveOnes) {
  options_.sessions_max = 3000;  // more than one walk's worth
  const auto writer = open();
  std::set<TokenHash> expected;
  for (std::uint64_t i = 0; i < 2500; ++i) {
    SessionRecord r = record(i);
    if (i % 10 == 0)
      r.expires = r.created + 10;
    else
      expected.insert(r.token_hash);
    ASSERT_TRUE(writer->put_session(r).has_value());
  }
  clock_.advance(seconds(10));
  std::set<TokenHash> seen;
  writer->for_each_session([&](const SessionRecord& r) {
    EXPECT_TRUE(seen.insert(r.token_hash).second);
    writer->counters(r.account);  // a visitor may use the segment
  });
  EXPECT_EQ(seen, expected);
}

TEST_F(SessionTest, SurvivesReopening) {
  {
    const auto writer = open();
    for (std::uint64_t i = 0; i < 10; ++i) ASSERT_TRUE(writer->put_session(record(i)).has_value());
    ASSERT_TRUE(writer->put_session(record(2, 1)).has_value());
    writer->end_session(hash_of(3));
  }
  const auto writer = open();
  EXPECT_FALSE(report_.created);
  EXPECT_EQ(report_.discarded_reason, "");
  EXPECT_EQ(report_.sessions_kept, 9U);
  EXPECT_EQ(report_.sessions_dropped, 0U);
  for (std::uint64_t i = 0; i < 10; ++i) {
    const auto found = writer->find_session(hash_of(i));
    ASSERT_EQ(found.has_value(), i != 3);
    if (found) EXPECT_TRUE(same(*found, record(i, i == 2 ? 1 : 0)));
  }
}

// Random changes against a map; every slot, index entry and block is used again many times.
TEST_F(SessionTest, BehavesAsAMap) {
  const std::uint64_t seed = test_seed();
  SCOPED_TRACE("POSTERN_TEST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  options_.sessions_max = 64;
  auto writer = open();
  std::map<std::uint64_t, SessionRecord> model;
  for (int step = 0; step < 20'000; ++step) {
    const std::uint64_t key = random() % 100;
    const auto found = model.find(key);
    switch (random() % 8) {
      case 0:
      case 1:
      case 2: {
        const SessionRecord r = record(key, random() % 1000);
        const bool room = found != model.end() || model.size() < options_.sessions_max;
        ASSERT_EQ(writer->put_session(r).has_value(), room);
        if (room) model[key] = r;
        break;
      }
      case 3:
      case 4:
        ASSERT_EQ(writer->end_session(hash_of(key)), found != model.end());
        model.erase(key);
        break;
      case 5: {
        const std::string sealed(random() % 700, 'r');
        ASSERT_EQ(writer->reseal_session(hash_of(key), sealed).has_value(), found != model.end());
        if (found != model.end()) found->second.sealed = sealed;
        break;
      }
      default: {
        const auto read = writer->find_session(hash_of(key));
        ASSERT_EQ(read.has_value(), found != model.end()) << step;
        if (read) ASSERT_TRUE(same(*read, found->second));
      }
    }
    if (step % 2'000 == 1'999) {
      writer.reset();
      writer = open();
      ASSERT_EQ(report_.sessions_kept, model.size());
      ASSERT_EQ(report_.sessions_dropped, 0U);
    }
  }
  for (std::uint64_t key = 0; key < 100; ++key) {
    const auto read = writer->find_session(hash_of(key));
    ASSERT_EQ(read.has_value(), model.contains(key));
    if (read) EXPECT_TRUE(same(*read, model.at(key)));
  }
}

}  // namespace
}  // namespace postern::store
