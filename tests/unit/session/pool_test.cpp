// Which operation gets which connection, and what it costs the server.
#include "postern/imap/command.hpp"
#include "postern/io/label.hpp"
#include "session_fixture.hpp"

namespace postern::session {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct PoolTest : SessionFixture {
  // Time passes with all that are left in IDLE; else they'd be waiting for an answer to it.
  void pass(Duration time) {
    advance(2s);
    EXPECT_TRUE(pump_until([this] {
      return std::ranges::all_of(pool->connections(), [](const auto& c) { return c.state == "idle"; });
    }));
    advance(time - 2s);
  }
  RecordingObserver inbox, archive, sent;
};

TEST_F(PoolTest, TwoOperationsOnOneMailboxShareOneSelect) {
  start();
  auto first = start_task(pool->select("INBOX", inbox));
  auto second = start_task(pool->select("INBOX", inbox));
  ASSERT_TRUE(pump_until([&] { return first->has_value() && second->has_value(); }));
  ASSERT_TRUE(first->value() && second->value());
  EXPECT_THAT(inbox.events, ElementsAre("begin", "selected 20"));
  // Both commands are in flight at once: the first hangs in the server, the second is written all the same.
  const auto written = server->counters().bytes_out;
  auto a = start_task((*first)->value().execute(simple("NOOP")));
  auto b = start_task((*second)->value().execute(simple("CHECK")));
  EXPECT_EQ(server->counters().bytes_out - written, std::string("a3 NOOP\r\na4 CHECK\r\n").size());
  ASSERT_TRUE(pump_until([&] { return a->has_value() && b->has_value(); }));
  EXPECT_TRUE(a->value() && b->value());
  EXPECT_EQ(commands("SELECT"), 1u);
  EXPECT_EQ(imapd->counts().logins, 1u);
  EXPECT_EQ(server->counters().selects, 1u);
}

TEST_F(PoolTest, TwoCommandsGoInOnePiece) {
  start();
  auto lease = select("INBOX", inbox);
  ASSERT_TRUE(lease);
  const auto written = server->counters().bytes_out;
  std::vector<std::string> heard;
  const auto hear = [&heard](const char* name) {
    return [&heard, name](imap::Response&) { heard.emplace_back(name); };
  };
  imap::CommandBuilder sort("UID SORT", lease->capabilities());
  imap::CommandBuilder search("UID SEARCH", lease->capabilities());
  auto both = start_task(lease->execute_both(
      {*sort.raw(" (ARRIVAL) UTF-8 ALL").expect(imap::Expect::sort).finish(), hear("sort")},
      {*search.raw(" DELETED").expect(imap::Expect::search).finish(), hear("search")}));
  EXPECT_EQ(server->counters().bytes_out - written,
            std::string("a3 UID SORT (ARRIVAL) UTF-8 ALL\r\na4 UID SEARCH DELETED\r\n").size());
  ASSERT_TRUE(pump_until([&] { return both->has_value(); }));
  EXPECT_TRUE(both->value());
  EXPECT_THAT(heard, ElementsAre("sort", "search"));
}

TEST_F(PoolTest, OfTwoCommandsTheFirstErrorIsTold) {
  start();
  auto lease = select("INBOX", inbox);
  ASSERT_TRUE(lease);
  const auto both = [&](const char* first, const char* second) {
    return await(lease->execute_both({simple(first), {}}, {simple(second), {}}));
  };
  EXPECT_EQ(both("X-NO-SUCH", "NOOP").error().code, make_error_code(imap::Errc::bad));
  EXPECT_EQ(both("NOOP", "X-NO-SUCH").error().code, make_error_code(imap::Errc::bad));
  EXPECT_TRUE(both("NOOP", "CHECK"));
  imapd->stop();
  EXPECT_EQ(both("NOOP", "CHECK").error().code, make_error_code(Errc::connection_lost));
}

TEST_F(PoolTest, TheMailboxStaysSelected) {
  start();
  for (int i = 0; i < 3; ++i) {
    auto lease = select("INBOX", inbox);
    ASSERT_TRUE(lease);
    EXPECT_TRUE(execute(*lease, simple("NOOP")));
    EXPECT_TRUE(lease->tiers().esearch);
    EXPECT_TRUE(lease->capabilities().has(imap::Capability::qresync));
    EXPECT_EQ(lease->greeting().status, imap::Status::ok);
  }
  EXPECT_EQ(commands("SELECT"), 1u);
}

TEST_F(PoolTest, AnIdleConnectionIsTakenForAnotherMailbox) {
  start();
  {
    ASSERT_TRUE(select("INBOX", inbox));
  }
  {
    ASSERT_TRUE(select("Archive", archive));
  }
  EXPECT_EQ(imapd->counts().logins, 1u);
  EXPECT_THAT(inbox.events, ElementsAre("begin", "selected 20", "deselected"));
  EXPECT_THAT(archive.events, ElementsAre("begin", "selected 5"));
}

TEST_F(PoolTest, ABusyConnectionMeansASecondOneAndThenWaiting) {
  start();
  auto first = select("INBOX", inbox);
  ASSERT_TRUE(first);
  auto second = select("Archive", archive);
  ASSERT_TRUE(second);
  EXPECT_EQ(imapd->counts().logins, 2u);
  EXPECT_EQ(pool->connections().size(), 2u);
  auto third = start_task(pool->select("Sent", sent));
  auto fourth = start_task(pool->select("INBOX", inbox));  // behind it in the queue
  loop.poll();
  EXPECT_FALSE(third->has_value());
  EXPECT_FALSE(fourth->has_value());
  auto any = await(pool->any());  // waits for nobody
  ASSERT_TRUE(any);
  EXPECT_TRUE(execute(*any, simple("NOOP")));
  *second = Lease();
  ASSERT_TRUE(pump_until([&] { return third->has_value() && fourth->has_value(); }));
  EXPECT_TRUE(third->value() && fourth->value());
  EXPECT_EQ(imapd->counts().logins, 2u);
  EXPECT_EQ(commands("SELECT"), 3u);
  EXPECT_THAT(archive.events, ElementsAre("begin", "selected 5", "deselected"));
}

TEST_F(PoolTest, ASecondConnectionIsClosedWhenUnused) {
  server_options.surplus_idle = 5min;
  start();
  auto first = select("INBOX", inbox);
  auto second = select("Archive", archive);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(pool->connections().size(), 2u);
  *first = Lease();
  pass(4min);
  EXPECT_TRUE(execute(*second, simple("NOOP")));
  pass(1min - 1ns);
  EXPECT_EQ(pool->connections().size(), 2u);
  advance(1ns);
  EXPECT_EQ(pool->connections().size(), 1u);
  ASSERT_TRUE(reach("LOGOUT", 1));
  EXPECT_THAT(inbox.events, ElementsAre("begin", "selected 20", "deselected"));
  EXPECT_EQ(pool->connections().front().selected, "Archive");
  EXPECT_THAT(account.events, ElementsAre("connected", "connected"));
  // The last one stays, however long; and one that somebody holds.
  auto again = select("INBOX", inbox);
  ASSERT_TRUE(again);
  EXPECT_EQ(pool->connections().size(), 2u);
  for (int i = 0; i < 3; ++i) pass(5min);
  EXPECT_EQ(pool->connections().size(), 2u);
  *again = Lease();
  *second = Lease();
  for (int i = 0; i < 3; ++i) pass(5min);
  EXPECT_EQ(pool->connections().size(), 1u);
  ASSERT_TRUE(reach("LOGOUT", 2));
  EXPECT_EQ(server->counters().connections_lost, 0u);
}

TEST_F(PoolTest, ASurplusConnectionForgetsItsObserverAtOnce) {
  server_options.surplus_idle = 5min;
  start();
  auto gone = std::make_unique<RecordingObserver>();
  {
    auto first = select("INBOX", *gone);
    auto second = select("Archive", archive);
    ASSERT_TRUE(first && second);
  }
  pass(1min);
  {
    auto again = select("Archive", archive);
    ASSERT_TRUE(again);
    EXPECT_TRUE(execute(*again, simple("NOOP")));
  }
  // What else is due in the same turn of the loop lets go of the mailbox: nobody calls its observer behind that.
  loop.timers().add_after(4min, [&] {
    EXPECT_THAT(gone->events, ElementsAre("begin", "selected 20", "deselected"));
    pool->forget(*gone);
    gone.reset();
  });
  pass(4min);
  EXPECT_EQ(gone, nullptr);
  ASSERT_TRUE(reach("LOGOUT", 1));
  EXPECT_EQ(pool->connections().size(), 1u);
}

TEST_F(PoolTest, ASurplusConnectionIsClosedSurplusIdleAfterItsLastUse) {
  server_options.surplus_idle = 5min;
  start();
  auto first = select("INBOX", inbox);
  auto second = select("Archive", archive);
  ASSERT_TRUE(first && second);
  pass(4min);
  EXPECT_TRUE(execute(*first, simple("NOOP")));
  EXPECT_TRUE(execute(*second, simple("NOOP")));
  *first = Lease();
  pass(5min - 1ns);
  EXPECT_EQ(pool->connections().size(), 2u);
  advance(1ns);
  EXPECT_EQ(pool->connections().size(), 1u);
  // One that is held beyond its time is closed soon after nobody holds it any more.
  first = select("INBOX", inbox);
  auto third = select("Archive", archive);
  ASSERT_TRUE(first && third);
  EXPECT_TRUE(execute(*third, simple("NOOP")));
  ASSERT_EQ(pool->connections().size(), 2u);
  pass(7min);
  EXPECT_EQ(pool->connections().size(), 2u);
  *first = Lease();
  *second = Lease();
  *third = Lease();
  advance(15s);
  EXPECT_EQ(pool->connections().size(), 1u);
}

TEST_F(PoolTest, NobodyStarvesBehindAStreamOfJoiners) {
  server_options.connections_per_account = 1;
  start();
  auto first = select("INBOX", inbox);
  ASSERT_TRUE(first);
  std::vector<std::string> order;
  const auto note = [&](std::string mailbox, MailboxObserver& observer, std::string name) {
    loop.spawn([](Pool& p, std::string m, MailboxObserver& o, std::vector<std::string>& list,
                  std::string n) -> io::Task<> {
      auto lease = co_await p.select(m, o);
      list.push_back(n + (lease ? "" : "!"));
    }(*pool, std::move(mailbox), observer, order, std::move(name)));
    loop.poll();
  };
  note("Archive", archive, "archive");
  note("INBOX", inbox, "inbox");
  EXPECT_TRUE(order.empty());
  *first = Lease();
  ASSERT_TRUE(pump_until([&] { return order.size() == 2; }));
  EXPECT_THAT(order, ElementsAre("archive", "inbox"));
}

TEST_F(PoolTest, AMailboxIsOnOneConnectionOnly) {
  start();
  auto first = select("INBOX", inbox);
  ASSERT_TRUE(first);
  RecordingObserver another;
  auto second = start_task(pool->select("INBOX", another));
  loop.poll();
  EXPECT_FALSE(second->has_value());
  *first = Lease();
  ASSERT_TRUE(pump_until([&] { return second->has_value(); }));
  EXPECT_THAT(inbox.events, ElementsAre("begin", "selected 20", "deselected"));
  EXPECT_THAT(another.events, ElementsAre("begin", "selected 20"));
  EXPECT_EQ(pool->connections().size(), 1u);
}

TEST_F(PoolTest, WhatHappensInTheMailboxIsHeard) {
  start();
  auto lease = select("INBOX", inbox);
  ASSERT_TRUE(lease);
  imapd->deliver("alice", "INBOX", "Subject: x\r\n\r\ny\r\n");
  ASSERT_TRUE(execute(*lease, simple("NOOP")));
  EXPECT_THAT(inbox.events, ElementsAre("begin", "selected 20", "exists 21"));
  imapd->control("expunge alice INBOX 1");
  ASSERT_TRUE(execute(*lease, simple("NOOP")));
  EXPECT_THAT(inbox.events.back(), HasSubstr("vanished"));
}

TEST_F(PoolTest, AForgottenObserverHearsNothingMore) {
  start();
  {
    RecordingObserver gone;
    {
      ASSERT_TRUE(select("INBOX", gone));
    }
    pool->forget(gone);
  }
  imapd->deliver("alice", "INBOX", "Subject: x\r\n\r\ny\r\n");
  auto any = await(pool->any());
  ASSERT_TRUE(any);
  EXPECT_TRUE(execute(*any, simple("NOOP")));
  ASSERT_TRUE(select("INBOX", inbox));
  EXPECT_THAT(inbox.events, ElementsAre("begin", "selected 21"));
}

TEST_F(PoolTest, ForgettingWhoWaits) {
  server_options.connections_per_account = 1;
  start();
  auto first = select("INBOX", inbox);
  auto waiting = start_task(pool->select("Archive", archive));
  pool->forget(archive);
  ASSERT_TRUE(pump_until([&] { return waiting->has_value(); }));
  EXPECT_FAILS(**waiting, Errc::unavailable);
  EXPECT_TRUE(archive.events.empty());
}

TEST_F(PoolTest, NoSuchMailbox) {
  start();
  EXPECT_FAILS(select("Nonesuch", inbox), Errc::no_such_mailbox);
  EXPECT_THAT(inbox.events, ElementsAre("begin", "deselected"));
  imapd->control("on SELECT do reply NO [UNAVAILABLE] disk");
  EXPECT_FAILS(select("INBOX", inbox), Errc::unavailable);
  imapd->control("on SELECT do reply NO Unable to open this mailbox.");
  EXPECT_FAILS(select("INBOX", inbox), Errc::mailbox_refused);
  imapd->control("on SELECT do reply NO [NOPERM] not yours");
  EXPECT_FAILS(select("INBOX", inbox), imap::Errc::no);
  EXPECT_TRUE(select("INBOX", inbox));
}

TEST_F(PoolTest, QresyncBringsWhatWasMissed) {
  start();
  {
    ASSERT_TRUE(select("INBOX", inbox));
  }
  const auto info = inbox.info;
  ASSERT_TRUE(info.highest_modseq);
  {
    ASSERT_TRUE(select("Archive", archive));
  }
  imapd->control("expunge alice INBOX 1");
  imapd->control("flag alice INBOX 2 +\\Flagged");
  inbox.events.clear();
  inbox.parameters = SelectParameters{info.uid_validity, *info.highest_modseq, "1:20"};
  ASSERT_TRUE(select("INBOX", inbox));
  EXPECT_TRUE(inbox.info.qresync_used);
  EXPECT_THAT(inbox.events, ElementsAre("begin", "vanished earlier 1", "fetch 2", "selected 19"));
}

TEST_F(PoolTest, ANoOrBadHasItsResponse) {
  start();
  auto lease = await(pool->any());
  ASSERT_TRUE(lease);
  imapd->control("on NOOP do reply NO [OVERQUOTA] full");
  imap::StatusResponse refusal;
  auto result = await(lease->execute(simple("NOOP"), {}, &refusal));
  EXPECT_FAILS(result, imap::Errc::no);
  EXPECT_EQ(refusal.code.name, "OVERQUOTA");
  EXPECT_FAILS(execute(*lease, simple("FROBNICATE")), imap::Errc::bad);
  EXPECT_TRUE(execute(*lease, simple("NOOP")));
}

TEST_F(PoolTest, AMessageLargerThanTheSocketTakesAtOnce) {
  start();
  auto lease = await(pool->any());
  ASSERT_TRUE(lease);
  const std::string message = "Subject: big\r\n\r\n" + std::string(8'000'000, 'x');
  auto append = simple("APPEND");
  append.chunks = {"APPEND Sent {" + std::to_string(message.size()) + "+}\r\n" + message};
  append.repeatable = false;
  auto appended = start_task(lease->execute(std::move(append)));
  auto behind = start_task(lease->execute(simple("NOOP")));
  ASSERT_TRUE(pump_until([&] { return appended->has_value() && behind->has_value(); }));
  EXPECT_TRUE(**appended);
  EXPECT_TRUE(**behind);
  EXPECT_EQ(server->counters().bytes_out, imapd->counts().bytes_in);
}

TEST_F(PoolTest, StatusGoesToTheCommandAndToTheAccount) {
  start();
  auto lease = await(pool->any());
  ASSERT_TRUE(lease);
  auto command = simple("STATUS", imap::Expect::status);
  command.chunks = {"STATUS Archive (MESSAGES)"};
  std::optional<std::uint32_t> messages;
  EXPECT_TRUE(execute(*lease, std::move(command), [&](imap::Response& r) {
    if (const auto* status = std::get_if<imap::StatusDataResponse>(&r)) messages = status->messages;
  }));
  EXPECT_EQ(messages, 5u);
  EXPECT_THAT(account.events, ElementsAre("connected", "status Archive"));
}

TEST_F(PoolTest, LeasesOutliveThePool) {
  start();
  auto lease = select("INBOX", inbox);
  ASSERT_TRUE(lease);
  imapd->control("on NOOP do hang");
  auto pending = start_task(lease->execute(simple("NOOP")));
  pool.reset();
  ASSERT_TRUE(pump_until([&] { return pending->has_value(); }));
  EXPECT_FAILS(**pending, Errc::connection_lost);
  EXPECT_FAILS(execute(*lease, simple("NOOP")), Errc::connection_lost);
  auto write = simple("EXPUNGE");
  write.repeatable = false;
  EXPECT_FAILS(execute(*lease, std::move(write)), Errc::unavailable);  // certainly not sent
  EXPECT_THAT(inbox.events, ElementsAre("begin", "selected 20"));      // nobody is called by a destructor
  EXPECT_EQ(server->counters().connections_open, 0u);
}

TEST_F(PoolTest, CloseSaysLogout) {
  start();
  {
    ASSERT_TRUE(select("INBOX", inbox));
  }
  loop.spawn(pool->close());
  ASSERT_TRUE(pump_until([&] { return !pool->connected(); }));
  EXPECT_EQ(commands("LOGOUT"), 1u);
  EXPECT_EQ(server->counters().connections_lost, 0u);
  EXPECT_FAILS(connect(), Errc::unavailable);
}

TEST_F(PoolTest, TooManyWait) {
  server_options.connections_per_account = 1;
  start();
  auto first = select("INBOX", inbox);
  ASSERT_TRUE(first);
  std::vector<std::shared_ptr<std::optional<Result<Lease>>>> waiting;
  for (std::size_t i = 0; i < pool_waiting_max; ++i)
    waiting.push_back(start_task(pool->select("Archive", archive)));
  EXPECT_FALSE(waiting.back()->has_value());
  EXPECT_FAILS(select("Archive", archive), Errc::overloaded);
  advance(acquire_timeout);
  ASSERT_TRUE(pump_until([&] { return waiting.back()->has_value(); }));
  EXPECT_FAILS(**waiting.front(), Errc::overloaded);
  EXPECT_EQ(commands("SELECT"), 1u);
}

TEST_F(PoolTest, CommandsAreLoggedUnderTheirRequest) {
  start();
  const auto request = [this](std::string id, std::string name) {
    auto work = [](Pool& of, RecordingObserver& observer, std::string command) -> io::Task<> {
      auto lease = co_await of.select("INBOX", observer);
      (void)co_await lease->execute(simple(std::move(command)));
    };
    return io::labelled(loop, std::move(id), work(*pool, inbox, std::move(name)));
  };
  auto done = [](io::Task<> task) -> io::Task<bool> {
    co_await std::move(task);
    co_return true;
  };
  // Both at once: each command under its own, whoever is resumed when.
  auto one = start_task(done(request("request-one", "NOOP")));
  auto two = start_task(done(request("request-two", "CHECK")));
  ASSERT_TRUE(pump_until([&] { return one->has_value() && two->has_value(); }));
  EXPECT_EQ(logger.count("imap command request=request-one tag=a1 command=AUTHENTICATE"), 1u);
  EXPECT_EQ(logger.count("imap command request=request-one tag=a3 command=SELECT"), 1u);
  EXPECT_EQ(logger.count("imap command request=request-one tag=a4 command=NOOP"), 1u);
  EXPECT_EQ(logger.count("imap command request=request-two tag=a5 command=CHECK"), 1u);
  // Nobody's, at no debug level.
  auto lease = select("INBOX", inbox);
  EXPECT_TRUE(execute(*lease, simple("NOOP")));
  const auto lines = logger.count("imap command");
  logger.set_level(LogLevel::info);
  auto three = start_task(done(request("request-three", "NOOP")));
  ASSERT_TRUE(pump_until([&] { return three->has_value(); }));
  EXPECT_EQ(logger.count("imap command"), lines);
  EXPECT_EQ(logger.count("INBOX"), 0u);
  EXPECT_EQ(logger.count("secret"), 0u);
}

}  // namespace
}  // namespace postern::session
