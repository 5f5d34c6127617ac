// The accounts of a shard against the test IMAP server: whose they are, whose credentials they use, when they close.
#include "broker/shard.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "imapd/test_imapd.hpp"
#include "support/capture_log.hpp"

namespace postern::broker {
namespace {

using namespace std::chrono_literals;

session::Credentials credentials_of(std::string login, std::string_view password) {
  session::Credentials credentials;
  credentials.login = std::move(login);
  credentials.secret = Secret(password);
  return credentials;
}

struct ShardTest : ::testing::Test {
  ShardTest() {
    char name[] = "/tmp/postern-shard-XXXXXX";
    folder = ::mkdtemp(name);
    store::SegmentOptions options;
    options.path = folder + "/segment";
    options.sessions_max = options.accounts_max = options.redirects_max = 64;
    store::RecoveryReport report;
    segment = store::SegmentWriter::open(options, clock, report).value();
    testimapd::Options imap;
    imap.users = {{"alice", "new"}, {"bob", "secret"}};
    imap.generated_users = 300;
    imapd = std::make_unique<testimapd::TestImapd>(imap);
    imapd->start();
    config = settings();
    shard = std::make_unique<Shard>(0, config, *segment, clock, random, logger, nullptr);
  }
  ~ShardTest() override {
    shard.reset();
    segment.reset();
    std::filesystem::remove_all(folder);
  }

  std::shared_ptr<Config> settings() const {
    auto made = std::make_shared<Config>();
    made->imap.endpoint = {"127.0.0.1", imapd->port()};
    made->imap.tls = session::TlsMode::none;
    made->jmap.max_concurrent_requests = 1;
    return made;
  }
  bool pump_until(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + 10s;
    while (std::chrono::steady_clock::now() < end) {
      shard->loop().poll();
      if (condition()) return true;
      shard->loop().context().run_one_for(5ms);
    }
    return false;
  }
  template <typename T>
  std::shared_ptr<std::optional<T>> start(io::Task<T> task) {
    auto cell = std::make_shared<std::optional<T>>();
    shard->loop().spawn([](io::Task<T> t, std::shared_ptr<std::optional<T>> c) -> io::Task<> {
      c->emplace(co_await std::move(t));
    }(std::move(task), cell));
    shard->loop().poll();
    return cell;
  }
  template <typename T>
  T await(io::Task<T> task) {
    auto cell = start(std::move(task));
    if (!pump_until([&] { return cell->has_value(); })) throw std::runtime_error("it didn't end");
    return std::move(**cell);
  }
  void await_void(io::Task<> task) {
    await([](io::Task<> t) -> io::Task<bool> {
      co_await std::move(t);
      co_return true;
    }(std::move(task)));
  }
  store::AccountKey key_of(std::string_view login) const { return account_key(config->imap, login); }
  Result<AccountPtr> sign_in(const std::string& login, std::string_view password) {
    return await(shard->sign_in(key_of(login), credentials_of(login, password), "192.0.2.7"));
  }
  AccountPtr resume(const std::string& login, std::string_view password) {
    return await(shard->resume(key_of(login), session, credentials_of(login, password), "192.0.2.7"))
        .value_or(nullptr);
  }
  AccountPtr after_refusal(const AccountPtr& account, std::string_view password) {
    return await(
        shard->after_refusal(key_of("alice"), account.get(), session, credentials_of("alice", password), ""));
  }
  bool works(const AccountPtr& account) { return await(account->mailboxes()).has_value(); }
  std::uint64_t refusals() { return imapd->counts().login_failures; }

  const store::TokenHash session = sha256("a session's token");
  std::string folder;
  ManualClock clock;
  SystemRandom random;
  test::CaptureLogger logger;
  std::unique_ptr<store::SegmentWriter> segment;
  std::unique_ptr<testimapd::TestImapd> imapd;
  std::shared_ptr<const Config> config;
  std::unique_ptr<Shard> shard;
};

TEST_F(ShardTest, AnAccountOpenedWithAnOldPasswordIsTriedOnceMoreWithTheNewOne) {
  auto by_old = resume("alice", "old");
  EXPECT_FALSE(works(by_old));
  EXPECT_EQ(refusals(), 1u);
  // Meanwhile another session's request was let in, with the new password.
  auto again = after_refusal(by_old, "new");
  ASSERT_EQ(again, by_old);
  EXPECT_TRUE(works(again));
  EXPECT_EQ(refusals(), 1u);
  // The one with the old password, refused as it was, isn't tried again, and harms nobody.
  EXPECT_EQ(after_refusal(by_old, "old"), nullptr);
  EXPECT_TRUE(works(again));
  EXPECT_EQ(refusals(), 1u);
}

TEST_F(ShardTest, ASessionWithTheNewPasswordMendsAnAccountThatWasRefused) {
  auto by_old = resume("alice", "old");
  EXPECT_FALSE(works(by_old));
  auto by_new = resume("alice", "new");
  EXPECT_EQ(by_new, by_old);
  EXPECT_TRUE(works(by_new));
  EXPECT_EQ(refusals(), 1u);
}

// Somebody has stolen the old password and opened a session with it; the owner changes it and signs in.
TEST_F(ShardTest, ANewPasswordEndsTheSessionsOfTheOldOne) {
  auto account = sign_in("alice", "new").value();
  EXPECT_EQ(resume("alice", "new"), account) << "the thief's session";
  EXPECT_EQ(shard->find_open(key_of("alice"), session), account);
  imapd->control("password alice newer");
  ASSERT_TRUE(sign_in("alice", "newer"));
  EXPECT_EQ(shard->find_open(key_of("alice"), session), nullptr) << "it must show its password again";
  EXPECT_EQ(resume("alice", "new"), account) << "good within verifier_lifetime";
  EXPECT_EQ(shard->find_open(key_of("alice"), session), nullptr) << "and no longer";
  clock.advance(config->auth.verifier_lifetime);
  const auto refused =
      await(shard->resume(key_of("alice"), session, credentials_of("alice", "new"), "192.0.2.7"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, make_error_code(session::Errc::authentication));
  EXPECT_EQ(refusals(), 1u);
  const auto owner = sha256("the owner's token");
  EXPECT_EQ(*await(shard->resume(key_of("alice"), owner, credentials_of("alice", "newer"), "")), account);
  EXPECT_EQ(shard->find_open(key_of("alice"), owner), account);
}

// Two passwords that both hold (one for each device): neither session ends, and the pool stays as it is.
TEST_F(ShardTest, ASecondPasswordProvesItselfOnce) {
  auto account = sign_in("alice", "new").value();
  EXPECT_EQ(resume("alice", "new"), account);
  imapd->control("password alice other");
  EXPECT_EQ(*await(shard->resume(key_of("alice"), sha256("another"), credentials_of("alice", "other"), "")),
            account);
  EXPECT_EQ(imapd->counts().logins, 2u);
  EXPECT_EQ(shard->find_open(key_of("alice"), sha256("another")), account);
  EXPECT_EQ(shard->find_open(key_of("alice"), session), account);
  EXPECT_EQ(account->pool().credentials().secret.expose(), "new");
}

// Many requests of a session at a time, whose password is another than the account's.
TEST_F(ShardTest, ASessionsProofIsMadeOnce) {
  ASSERT_TRUE(sign_in("alice", "new"));
  imapd->control("password alice other");
  std::vector<std::shared_ptr<std::optional<Result<AccountPtr>>>> resuming;
  for (int i = 0; i < 10; ++i)
    resuming.push_back(start(shard->resume(key_of("alice"), session, credentials_of("alice", "other"), "")));
  ASSERT_TRUE(pump_until(
      [&] { return std::ranges::all_of(resuming, [](const auto& cell) { return cell->has_value(); }); }));
  for (const auto& cell : resuming) EXPECT_TRUE(**cell);
  EXPECT_EQ(imapd->counts().logins, 2u);
}

TEST_F(ShardTest, TheSameRefusedCredentialsAreNotTriedAgain) {
  auto account = resume("alice", "old");
  EXPECT_FALSE(works(account));
  EXPECT_EQ(after_refusal(account, "old"), nullptr);
  // Others' that are wrong as well are tried once.
  EXPECT_EQ(after_refusal(account, "older"), account);
  EXPECT_FALSE(works(account));
  EXPECT_EQ(after_refusal(account, "older"), nullptr);
  EXPECT_EQ(after_refusal(account, "old"), nullptr);
  EXPECT_EQ(refusals(), 2u);
}

TEST_F(ShardTest, AfterARefusalAnAccountOpenedAnewIsUsed) {
  auto old = resume("alice", "old");
  EXPECT_FALSE(works(old));
  const auto* gone = old.get();
  old.reset();
  await_void(shard->close_unused(key_of("alice"), gone));
  EXPECT_EQ(shard->account_count(), 0u);
  auto fresh = resume("alice", "new");
  EXPECT_TRUE(works(fresh));
  // A request that was refused on another one; and closing another one leaves this one alone.
  const auto* other = reinterpret_cast<const mail::Account*>(&clock);
  EXPECT_EQ(await(shard->after_refusal(key_of("alice"), other, session, credentials_of("alice", "new"), "")),
            fresh);
  EXPECT_EQ(await(shard->after_refusal(key_of("alice"), other, session, credentials_of("alice", "old"), "")),
            nullptr);
  fresh.reset();
  await_void(shard->close_unused(key_of("alice"), other));
  EXPECT_EQ(shard->account_count(), 1u);
}

TEST_F(ShardTest, ARefusalIsNoProofAnyMore) {
  auto account = sign_in("alice", "new").value();
  imapd->control("password alice newer");
  imapd->control("drop alice");
  ASSERT_TRUE(pump_until([&] { return !account->pool().connected(); }));
  EXPECT_TRUE(sign_in("alice", "new")) << "within verifier_lifetime";
  EXPECT_FALSE(works(account));
  const auto* only = account.get();
  await_void(shard->close_unused(key_of("alice"), only));  // in use here: it stays, but
  EXPECT_FALSE(sign_in("alice", "new")) << "it was refused meanwhile";
  EXPECT_TRUE(sign_in("alice", "newer"));
}

TEST_F(ShardTest, AKeyIsNotEnoughToBeSomebody) {
  auto alice = sign_in("alice", "new");
  ASSERT_TRUE(alice);
  // As if bob's key were the same.
  auto bob = await(shard->sign_in(key_of("alice"), credentials_of("bob", "secret"), ""));
  ASSERT_FALSE(bob);
  EXPECT_EQ(bob.error().code, make_error_code(session::Errc::authentication));
  EXPECT_FALSE(await(shard->resume(key_of("alice"), session, credentials_of("bob", "secret"), "")));
  EXPECT_EQ(await(shard->after_refusal(key_of("alice"), alice->get(), session,
                                       credentials_of("bob", "secret"), "")),
            nullptr);
  EXPECT_TRUE(works(*alice));
  EXPECT_EQ(imapd->counts("bob").logins, 0u);
  EXPECT_EQ(logger.count("the same account key"), 1u);
}

TEST_F(ShardTest, ASessionThatHasShownItsCredentialsFindsTheOpenAccount) {
  EXPECT_EQ(shard->find_open(key_of("alice"), session), nullptr) << "not open";
  auto alice = sign_in("alice", "new").value();
  EXPECT_EQ(shard->find_open(key_of("alice"), session), nullptr) << "open, but the session has shown nothing";
  EXPECT_EQ(resume("alice", "new"), alice);
  EXPECT_EQ(shard->find_open(key_of("alice"), session), alice);
  EXPECT_EQ(shard->find_open(key_of("bob"), session), nullptr);
  // The oldest of too many show theirs again.
  for (int i = 0; i < 32; ++i)
    ASSERT_TRUE(
        await(shard->resume(key_of("alice"), sha256(std::to_string(i)), credentials_of("alice", "new"), "")));
  EXPECT_EQ(shard->find_open(key_of("alice"), session), nullptr);
  EXPECT_EQ(shard->find_open(key_of("alice"), sha256("31")), alice);
}

TEST_F(ShardTest, AKeyTakenWhileCredentialsAreTriedIsNotGivenAway) {
  imapd->control("on AUTHENTICATE do delay 1000");  // a fast one would be signed in by now
  auto trying = start(shard->sign_in(key_of("alice"), credentials_of("bob", "secret"), ""));
  auto alice = resume("alice", "new");
  ASSERT_TRUE(pump_until([&] { return trying->has_value(); }));
  EXPECT_FALSE(**trying);
  EXPECT_EQ(resume("alice", "new"), alice);
}

TEST_F(ShardTest, CredentialsTriedBesideASessionThatOpensTheAccount) {
  imapd->control("on AUTHENTICATE do delay 1000");
  auto trying = start(shard->sign_in(key_of("alice"), credentials_of("alice", "new"), ""));
  auto by_session = resume("alice", "old");
  ASSERT_TRUE(pump_until([&] { return trying->has_value(); }));
  ASSERT_TRUE(**trying);
  EXPECT_EQ(***trying, by_session);
  EXPECT_TRUE(works(by_session)) << "with the password that has just been given";
}

TEST_F(ShardTest, AnAccountInUseIsClosedWhenNobodyUsesItAnyMore) {
  auto account = sign_in("alice", "new").value();
  await_void(shard->close_unused(key_of("alice")));
  EXPECT_EQ(shard->account_count(), 1u);
  EXPECT_TRUE(works(account)) << "somebody's request goes on";
  clock.advance(15s);
  shard->loop().poll();
  EXPECT_EQ(shard->account_count(), 1u);
  account.reset();
  clock.advance(15s);
  ASSERT_TRUE(pump_until([&] { return shard->account_count() == 0; }));
}

TEST_F(ShardTest, AnAccountThatIsUsedAgainStaysOpen) {
  auto account = sign_in("alice", "new").value();
  await_void(shard->close_unused(key_of("alice")));
  account.reset();
  EXPECT_TRUE(sign_in("alice", "new"));
  clock.advance(15s);
  shard->loop().poll();
  clock.advance(15s);
  shard->loop().poll();
  EXPECT_EQ(shard->account_count(), 1u);
  EXPECT_EQ(imapd->counts().logins, 1u);
}

TEST_F(ShardTest, RequestsOfAnAccountRunInTheOrderOfComing) {
  auto account = sign_in("alice", "new").value();
  const auto enter = [&] { return start(shard->enter(key_of("alice"), Shard::RequestKind::api)); };
  auto first = enter();
  ASSERT_TRUE(first->has_value());
  auto second = enter(), third = enter();
  EXPECT_FALSE(second->has_value());
  first->reset();
  // Who comes between the end of one and the beginning of the next stands behind.
  auto late = enter();
  EXPECT_TRUE(second->has_value());
  EXPECT_FALSE(third->has_value());
  EXPECT_FALSE(late->has_value());
  second->reset();
  shard->loop().poll();
  EXPECT_TRUE(third->has_value());
  EXPECT_FALSE(late->has_value());
  third->reset();
  shard->loop().poll();
  EXPECT_TRUE(late->has_value());
}

TEST_F(ShardTest, ALoweredLimitOfRequestsHoldsWhileOthersWait) {
  auto account = sign_in("alice", "new").value();
  const auto limit = [&](std::uint32_t most) {
    auto changed = settings();
    changed->jmap.max_concurrent_requests = most;
    shard->set_config(std::move(changed));
  };
  const auto enter = [&] { return start(shard->enter(key_of("alice"), Shard::RequestKind::api)); };
  limit(3);
  auto first = enter(), second = enter(), third = enter(), fourth = enter();
  ASSERT_TRUE(third->has_value());
  ASSERT_FALSE(fourth->has_value());
  limit(1);
  auto fifth = enter();
  first->reset();
  second->reset();
  shard->loop().poll();
  EXPECT_FALSE(fourth->has_value()) << "one is at work still";
  third->reset();
  shard->loop().poll();
  EXPECT_TRUE(fourth->has_value());
  EXPECT_FALSE(fifth->has_value());
}

TEST_F(ShardTest, WhatIsThrownOnAShardIsThrownWhereItWasAskedFor) {
  io::Loop home(clock, random, logger);
  std::string caught;
  home.spawn([](Shard& there, io::Loop& here, std::string& what) -> io::Task<> {
    try {
      (void)co_await on_loop(there.loop(), here,
                             []() -> io::Task<Result<int>> { throw std::logic_error("a bug"); });
    } catch (const std::logic_error& e) {
      what = e.what();
    }
  }(*shard, home, caught));
  home.poll();
  shard->start_thread();
  const auto end = std::chrono::steady_clock::now() + 10s;
  while (caught.empty() && std::chrono::steady_clock::now() < end) {
    home.context().run_one_for(5ms);
    home.poll();
  }
  EXPECT_EQ(caught, "a bug");
  shard->stop_thread();
}

TEST_F(ShardTest, AllAccountsSayLogout) {
  for (const auto* user : {"user0", "user1", "user2"}) ASSERT_TRUE(sign_in(user, "secret")) << user;
  await_void(shard->close_all());
  EXPECT_EQ(shard->account_count(), 0u);
  EXPECT_EQ(imapd->counts().command("LOGOUT"), 3u);
}

// More accounts than say LOGOUT at a time, and a server that doesn't answer.
TEST_F(ShardTest, AServerThatHangsDoesNotHoldUpTheEnd) {
  std::vector<std::shared_ptr<std::optional<Result<AccountPtr>>>> signing_in;
  for (int i = 0; i < 300; ++i) {
    const auto user = "user" + std::to_string(i);
    signing_in.push_back(start(shard->sign_in(key_of(user), credentials_of(user, "secret"), "")));
  }
  ASSERT_TRUE(pump_until(
      [&] { return std::ranges::all_of(signing_in, [](const auto& cell) { return cell->has_value(); }); }));
  signing_in.clear();
  imapd->control("on LOGOUT times=always do hang");
  auto closing = start([](Shard& all) -> io::Task<bool> {
    co_await all.close_all();
    co_return true;
  }(*shard));
  clock.advance(2s);
  for (int i = 0; i < 20; ++i) shard->loop().poll();
  EXPECT_FALSE(closing->has_value());
  clock.advance(1s);
  EXPECT_TRUE(pump_until([&] { return closing->has_value(); }));
}

TEST_F(ShardTest, CredentialsAreTriedAgainWhenTheirProofIsOld) {
  const auto lifetime = config->auth.verifier_lifetime;
  EXPECT_TRUE(sign_in("alice", "new"));
  clock.advance(lifetime - 1ns);
  EXPECT_TRUE(sign_in("alice", "new"));
  EXPECT_EQ(imapd->counts().logins, 1u);
  clock.advance(1ns);
  EXPECT_TRUE(sign_in("alice", "new"));
  EXPECT_EQ(imapd->counts().logins, 2u) << "beside the account's own connection";
  EXPECT_TRUE(sign_in("alice", "new"));
  EXPECT_EQ(imapd->counts().logins, 2u);
}

TEST_F(ShardTest, AnAccountThatNobodyUsesIsClosed) {
  ASSERT_TRUE(sign_in("alice", "new"));
  clock.advance(config->cache.account_idle);
  shard->loop().poll();
  EXPECT_EQ(shard->account_count(), 1u);
  clock.advance(15s);
  EXPECT_TRUE(pump_until([&] { return shard->account_count() == 0; }));
  EXPECT_TRUE(pump_until([&] { return imapd->counts().connections_open == 0; }));
}

// --- Whose use is counted ---

struct MeteredShardTest : ShardTest {
  MeteredShardTest() {
    auto table = std::make_shared<limits::PlanTable>();
    table->plans["small"].limits.fill(1'000);
    table->default_plan = "small";
    book = std::make_unique<limits::Book>(*segment, clock, logger, std::move(table));
    shard->use_book(*book);
  }
  ~MeteredShardTest() override { shard.reset(); }
  std::unique_ptr<limits::Book> book;
};

TEST_F(MeteredShardTest, InventedLoginsTakeNobodysPlaceInTheSegment) {
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(sign_in("invented" + std::to_string(i), "guess"));
    EXPECT_EQ(segment->use().usage, 0u);
  }
  EXPECT_FALSE(sign_in("alice", "guess"));
  EXPECT_EQ(segment->use().usage, 0u);
  const auto alice = sign_in("alice", "new").value();
  EXPECT_EQ(segment->use().usage, 1u);
  // What counts is what is in the segment.
  EXPECT_EQ(alice->meter().plan_name(), "small");
  alice->meter().reserve({limits::amount_of(limits::Count::files, 700)})->settle_all();
  EXPECT_EQ(book->use_of(key_of("alice"), "alice").standings[4].used, 700u);
  EXPECT_FALSE(alice->meter().reserve({limits::amount_of(limits::Count::files, 301)}));
}

TEST_F(MeteredShardTest, ASessionIsMeteredBeforeItsAccountIsConnected) {
  const auto alice = resume("alice", "new");
  EXPECT_EQ(segment->use().usage, 1u);
  EXPECT_EQ(alice->meter().plan_name(), "small");
}

// Tried, and meanwhile opened by a session's credentials.
TEST_F(MeteredShardTest, TheMeterIsTheSameWhoeverOpensTheAccount) {
  auto trying = start(shard->sign_in(key_of("alice"), credentials_of("alice", "new"), ""));
  auto by_session = resume("alice", "new");
  ASSERT_TRUE(pump_until([&] { return trying->has_value(); }));
  ASSERT_TRUE(**trying);
  EXPECT_EQ(&(**trying)->get()->meter(), &by_session->meter());
  EXPECT_EQ(&by_session->meter(), book->open(key_of("alice"), "alice").get());
}

}  // namespace
}  // namespace postern::broker
