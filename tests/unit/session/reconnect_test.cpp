// Connections that are lost, and how gently they come back.
#include <algorithm>
#include <atomic>
#include <thread>

#include "session_fixture.hpp"

namespace postern::session {
namespace {

using ::testing::HasSubstr;

struct ReconnectTest : SessionFixture {
  RecordingObserver inbox;
};

imap::Command fetch() {
  auto command = simple("UID FETCH", imap::Expect::fetch);
  command.chunks = {"UID FETCH 1:3 (FLAGS BODY.PEEK[])"};
  return command;
}

TEST_F(ReconnectTest, WhatWasInFlightIsLostAndTheNextLeaseReconnects) {
  start();
  auto lease = select("INBOX", inbox);
  ASSERT_TRUE(lease);
  imapd->control("on UID FETCH do drop_in_literal 10");
  EXPECT_FAILS(execute(*lease, fetch()), Errc::connection_lost);
  EXPECT_FALSE(pool->connected());
  EXPECT_EQ(inbox.events.back(), "deselected");
  auto again = select("INBOX", inbox);
  ASSERT_TRUE(again);
  int messages = 0;
  EXPECT_TRUE(execute(*again, fetch(), [&](imap::Response& r) {
    messages += std::holds_alternative<imap::FetchResponse>(r) ? 1 : 0;
  }));
  EXPECT_EQ(messages, 3);
  EXPECT_EQ(imapd->counts().logins, 2u);
  EXPECT_EQ(server->counters().reconnects, 1u);
  EXPECT_EQ(server->counters().connections_lost, 1u);
}

TEST_F(ReconnectTest, HangingInTheMiddleOfALiteralIsATimeOut) {
  start();
  auto lease = select("INBOX", inbox);
  ASSERT_TRUE(lease);
  imapd->control("on UID FETCH do hang_in_literal 10");
  auto pending = start_task(lease->execute(fetch()));
  ASSERT_TRUE(pump_until([&] { return commands("UID FETCH") == 1; }));
  for (int i = 0; i < 10; ++i) {
    loop.context().run_one_for(5ms);
    loop.poll();
  }
  advance(119s);
  EXPECT_FALSE(pending->has_value());
  advance(1s);
  ASSERT_TRUE(pump_until([&] { return pending->has_value(); }));
  EXPECT_FAILS(**pending, Errc::connection_lost);
  EXPECT_THAT((*pending)->error().context, HasSubstr("120 s"));
}

TEST_F(ReconnectTest, ByeInTheMiddle) {
  start();
  auto lease = select("INBOX", inbox);
  ASSERT_TRUE(lease);
  imapd->control("on UID FETCH do bye shutting down");
  EXPECT_FAILS(execute(*lease, fetch()), Errc::connection_lost);
  EXPECT_EQ(logger.count("shutting down"), 1u);
}

TEST_F(ReconnectTest, AWriteThatWasNotSentSaysSo) {
  start();
  auto lease = select("INBOX", inbox);
  ASSERT_TRUE(lease);
  imapd->control("on SEARCH do drop");
  auto search = simple("SEARCH", imap::Expect::search);
  search.chunks = {"SEARCH ALL"};
  auto exclusive = simple("EXPUNGE");  // waits in the queue until SEARCH is done
  exclusive.exclusive = true;
  exclusive.repeatable = false;
  auto written = start_task(lease->execute(std::move(search)));
  auto unwritten = start_task(lease->execute(std::move(exclusive)));
  ASSERT_TRUE(pump_until([&] { return written->has_value() && unwritten->has_value(); }));
  EXPECT_FAILS(**written, Errc::connection_lost);
  EXPECT_FAILS(**unwritten, Errc::unavailable);
  EXPECT_EQ(commands("EXPUNGE"), 0u);
}

TEST_F(ReconnectTest, BacksOffWhileTheServerIsDown) {
  server_options.backoff_min = 10s;
  server_options.backoff_max = 60s;
  start();
  imapd->control("refuse on");
  EXPECT_FAILS(connect(), Errc::unavailable);
  const auto first = pool->retry_at() - clock.now();
  EXPECT_GE(first, 5s);
  EXPECT_LE(first, 10s);
  auto again = connect();
  EXPECT_FAILS(again, Errc::backing_off);
  EXPECT_THAT(again.error().context, HasSubstr("next attempt in"));
  EXPECT_EQ(server->counters().connect_failures, 1u);
  // Due within backoff_wait_max: waits, and tries again.
  advance(first - 1s);
  auto waiting = start_task(pool->connect());
  EXPECT_FALSE(waiting->has_value());
  advance(1s);
  ASSERT_TRUE(pump_until([&] { return waiting->has_value(); }));
  EXPECT_FAILS(**waiting, Errc::unavailable);
  const auto second = pool->retry_at() - clock.now();
  EXPECT_GE(second, 10s);
  EXPECT_LE(second, 20s);
  // Another account of the same server knows, too.
  auto other = Pool::make(loop, *server, password(), nullptr, {});
  EXPECT_FAILS(await(other->connect()), Errc::backing_off);
  imapd->control("refuse off");
  advance(second);
  EXPECT_TRUE(connect());
  EXPECT_LE(pool->retry_at(), clock.now());
}

TEST_F(ReconnectTest, AnAccountThatIsThrownOutAgainAndAgainSlowsDown) {
  server_options.backoff_min = 10s;
  start();
  imapd->control("on UID FETCH times=always do drop");
  for (int i = 0; i < 3; ++i) {
    auto lease = select("INBOX", inbox);
    ASSERT_TRUE(lease) << i;
    EXPECT_FAILS(execute(*lease, fetch()), Errc::connection_lost);
  }
  EXPECT_FAILS(select("INBOX", inbox), Errc::backing_off);
  EXPECT_EQ(imapd->counts().logins, 3u);
  imapd->control("clear_rules");
  advance(10s);
  EXPECT_TRUE(select("INBOX", inbox));
}

TEST_F(ReconnectTest, TheSecondConnectionRefusedMeansWaitingForTheFirst) {
  start();
  auto lease = select("INBOX", inbox);
  ASSERT_TRUE(lease);
  imapd->control("on AUTHENTICATE times=always do reply NO [LIMIT] too many connections");
  RecordingObserver archive;
  auto second = start_task(pool->select("Archive", archive));
  ASSERT_TRUE(pump_until([&] { return server->counters().login_failures == 1; }));
  loop.poll();
  EXPECT_FALSE(second->has_value());
  *lease = Lease();
  ASSERT_TRUE(pump_until([&] { return second->has_value(); }));
  EXPECT_TRUE(**second);
  EXPECT_EQ(server->counters().login_failures, 1u);
}

TEST_F(ReconnectTest, ARefusalBesideAConnectionIsForgottenWithIt) {
  start();
  auto lease = select("INBOX", inbox);
  ASSERT_TRUE(lease);
  imapd->control("on AUTHENTICATE times=always do reply NO [ALERT] Too many simultaneous connections");
  RecordingObserver archive;
  auto second = start_task(pool->select("Archive", archive));
  ASSERT_TRUE(pump_until([&] { return server->counters().login_refusals == 1; }));
  EXPECT_FALSE(pool->refused());
  *lease = Lease();
  ASSERT_TRUE(pump_until([&] { return second->has_value(); }));
  *lease = std::move(**second).value();
  auto third = start_task(pool->select("INBOX", inbox));
  loop.poll();
  EXPECT_FALSE(third->has_value());
  EXPECT_EQ(server->counters().login_refusals, 1u) << "not tried again while the first is up";
  // The first is lost: its credentials were good, so the server is asked, once.
  imapd->control("drop alice");
  ASSERT_TRUE(pump_until([&] { return third->has_value(); }));
  EXPECT_FAILS(**third, Errc::authentication);
  EXPECT_TRUE(pool->refused());
  EXPECT_EQ(server->counters().login_refusals, 2u);
  imapd->control("clear_rules");
  EXPECT_FAILS(select("INBOX", inbox), Errc::authentication);
  EXPECT_EQ(server->counters().login_refusals, 2u);
}

TEST_F(ReconnectTest, ALoginAfterARefusalBesideAConnection) {
  start();
  auto lease = select("INBOX", inbox);
  ASSERT_TRUE(lease);
  imapd->control("on AUTHENTICATE do reply NO [ALERT] Too many simultaneous connections");
  RecordingObserver archive;
  auto second = start_task(pool->select("Archive", archive));
  ASSERT_TRUE(pump_until([&] { return server->counters().login_refusals == 1; }));
  imapd->control("drop alice");
  ASSERT_TRUE(pump_until([&] { return second->has_value(); }));
  EXPECT_TRUE(**second);
}

TEST_F(ReconnectTest, LoginsInFlightAreBoundedAndServedInOrder) {
  server_options.logins_in_flight = 2;
  options.generated_users = 10;
  start();
  imapd->control("on AUTHENTICATE times=always do delay 10");
  std::vector<std::unique_ptr<Pool>> pools;
  std::vector<std::shared_ptr<std::optional<Result<>>>> results;
  std::vector<std::size_t> order;
  for (int i = 0; i < 10; ++i) {
    pools.push_back(Pool::make(loop, *server, password("user" + std::to_string(i)), nullptr, {}));
    results.push_back(start_task(pools.back()->connect()));
  }
  unsigned most = 0;
  ASSERT_TRUE(pump_until([&] {
    most = std::max(most, server->counters().logins_in_flight);
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (results[i]->has_value() && std::ranges::find(order, i) == order.end()) order.push_back(i);
    }
    return order.size() == 10;
  }));
  EXPECT_EQ(most, 2u);
  EXPECT_EQ(server->counters().logins_in_flight, 0u);
  EXPECT_EQ(server->counters().logins_waiting, 0u);
  for (std::size_t i = 0; i < order.size(); ++i) EXPECT_LE(order[i], i + 1) << i;  // two at a time
  for (const auto& result : results) EXPECT_TRUE(**result);
}

TEST_F(ReconnectTest, LoginsInFlightAreBoundedForAllShardsTogether) {
  options.generated_users = 6;
  start();
  imapd->control("on AUTHENTICATE times=always do delay 10");
  // A second shard: a loop and thread of its own, and a Server that shares the slots.
  const auto slots = make_login_slots(1);
  io::Loop other_loop(clock, random, logger);
  auto here = Server::make(loop, server_options, slots);
  auto there = Server::make(other_loop, server_options, slots);
  ASSERT_TRUE(here && there);
  std::vector<std::unique_ptr<Pool>> pools, others;
  std::vector<std::shared_ptr<std::optional<Result<>>>> results;
  std::atomic<int> over = 0;
  for (int i = 0; i < 3; ++i) {
    pools.push_back(Pool::make(loop, **here, password("user" + std::to_string(i)), nullptr, {}));
    results.push_back(start_task(pools.back()->connect()));
    others.push_back(Pool::make(other_loop, **there, password("user" + std::to_string(i + 3)), nullptr, {}));
    other_loop.spawn([](Pool& pool, std::atomic<int>& count) -> io::Task<> {
      EXPECT_TRUE(co_await pool.connect());
      ++count;
    }(*others.back(), over));
  }
  std::int64_t most = 0;
  std::thread thread([&] { other_loop.run(); });
  EXPECT_TRUE(pump_until([&] {
    const auto counts = imapd->counts();
    most = std::max(
        most, static_cast<std::int64_t>(counts.connections_open) - static_cast<std::int64_t>(counts.logins));
    return over == 3 && std::ranges::all_of(results, [](const auto& r) { return r->has_value(); });
  }));
  other_loop.stop();
  thread.join();
  EXPECT_EQ(most, 1) << "connections that were not signed in yet, at any time";
  for (const auto& result : results) EXPECT_TRUE(**result);
  others.clear();
}

TEST_F(ReconnectTest, ALoginThatHangsMakesRoomForTheNext) {
  server_options.logins_in_flight = 1;
  start();
  imapd->control("on AUTHENTICATE do hang");
  auto first = start_task(pool->connect());
  ASSERT_TRUE(pump_until([&] { return commands("AUTHENTICATE") == 1; }));
  advance(1s);
  auto other = Pool::make(loop, *server, password(), nullptr, {});
  auto second = start_task(other->connect());
  EXPECT_EQ(server->counters().logins_waiting, 1u);
  advance(29s);  // the first gives up, the second has its turn
  ASSERT_TRUE(pump_until([&] { return first->has_value() && second->has_value(); }));
  EXPECT_FAILS(**first, Errc::timeout);
  EXPECT_TRUE(**second);
}

}  // namespace
}  // namespace postern::session
