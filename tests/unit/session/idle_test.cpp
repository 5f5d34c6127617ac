// What a connection does while nobody asks for anything: exactly this many commands, at these times.
#include "session_fixture.hpp"

namespace postern::session {
namespace {

using ::testing::ElementsAre;

struct IdleTest : SessionFixture {
  RecordingObserver inbox;
  // Nothing more happens, however often the loop turns.
  void settle() {
    for (int i = 0; i < 5; ++i) {
      loop.poll();
      loop.context().run_one_for(2ms);
    }
    loop.poll();
  }
};

TEST_F(IdleTest, EntersAfterIdleAfterAndHearsWhatComes) {
  start();
  {
    ASSERT_TRUE(select("INBOX", inbox));
  }
  settle();
  advance(2s - 1ns);
  settle();
  EXPECT_EQ(commands("IDLE"), 0u);
  advance(1ns);
  ASSERT_TRUE(reach("IDLE", 1));
  ASSERT_TRUE(state_is("idle"));
  imapd->deliver("alice", "INBOX", "Subject: x\r\n\r\ny\r\n");
  ASSERT_TRUE(pump_until([&] { return inbox.events.size() == 3; }));
  EXPECT_EQ(inbox.events.back(), "exists 21");
  EXPECT_EQ(commands("IDLE"), 1u);
}

TEST_F(IdleTest, LeavesForACommandAndComesBack) {
  start();
  {
    ASSERT_TRUE(select("INBOX", inbox));
  }
  advance(2s);
  ASSERT_TRUE(state_is("idle"));
  {
    auto lease = select("INBOX", inbox);
    ASSERT_TRUE(lease);
    EXPECT_TRUE(execute(*lease, simple("NOOP")));
  }
  EXPECT_EQ(commands("SELECT"), 1u);
  advance(1s);
  settle();
  EXPECT_EQ(commands("IDLE"), 1u);
  advance(1s);
  EXPECT_TRUE(reach("IDLE", 2));
}

TEST_F(IdleTest, TheNextCommandFollowsDoneAtOnce) {
  start();
  auto lease = select("INBOX", inbox);
  ASSERT_TRUE(lease);
  advance(2s);
  ASSERT_TRUE(state_is("idle"));
  const auto written = server->counters().bytes_out;
  auto running = start_task(lease->execute(simple("NOOP")));
  EXPECT_EQ(server->counters().bytes_out - written, std::string("DONE\r\na4 NOOP\r\n").size());
  ASSERT_TRUE(pump_until([&] { return running->has_value(); }));
  EXPECT_TRUE(**running);
  // So does a SELECT, and what the server says of the mailbox before it is not taken for the new one's.
  advance(2s);
  *lease = Lease();
  ASSERT_TRUE(state_is("idle"));
  RecordingObserver archive;
  ASSERT_TRUE(select("Archive", archive));
  EXPECT_EQ(archive.info.exists, 5u);
}

TEST_F(IdleTest, IsRenewedBefore29Minutes) {
  start();
  {
    ASSERT_TRUE(select("INBOX", inbox));
  }
  advance(2s);
  ASSERT_TRUE(state_is("idle"));
  const auto wakeups = server->counters().bytes_out;
  advance(28min - 1s);
  settle();
  EXPECT_EQ(server->counters().bytes_out, wakeups);  // nothing is sent in between
  for (std::uint64_t renewal = 2; renewal < 5; ++renewal) {
    advance(1s);
    ASSERT_TRUE(reach("IDLE", renewal));
    ASSERT_TRUE(state_is("idle"));
    advance(28min - 1s);
    settle();
    EXPECT_EQ(commands("IDLE"), renewal);
  }
}

TEST_F(IdleTest, ACommandWhileIdleBegins) {
  start();
  auto lease = select("INBOX", inbox);
  ASSERT_TRUE(lease);
  imapd->control("on IDLE do delay 20");
  advance(2s);
  ASSERT_TRUE(reach("IDLE", 1));
  EXPECT_TRUE(execute(*lease, simple("NOOP")));  // DONE follows the "+"
}

TEST_F(IdleTest, ARefusedIdleMeansNoop) {
  start();
  {
    ASSERT_TRUE(select("INBOX", inbox));
  }
  imapd->control("on IDLE times=always do reply NO not here");
  advance(2s);
  ASSERT_TRUE(reach("IDLE", 1));
  ASSERT_TRUE(state_is("ready"));
  advance(9min);
  settle();
  EXPECT_EQ(commands("NOOP"), 0u);
  advance(1min);
  EXPECT_TRUE(reach("NOOP", 1));
  ASSERT_TRUE(state_is("ready"));  // answered
  advance(10min);
  EXPECT_TRUE(reach("NOOP", 2));
  EXPECT_EQ(commands("IDLE"), 1u);
}

TEST_F(IdleTest, NoopKeepsAliveWhereThereIsNoIdle) {
  options.capabilities = testimapd::capabilities_of("minimal");
  start();
  {
    ASSERT_TRUE(select("INBOX", inbox));
  }
  advance(10min - 1s);
  settle();
  EXPECT_EQ(commands("NOOP"), 0u);
  advance(1s);
  EXPECT_TRUE(reach("NOOP", 1));
  EXPECT_EQ(commands("IDLE"), 0u);
}

TEST_F(IdleTest, SwitchedOffAndOn) {
  start();
  {
    ASSERT_TRUE(select("INBOX", inbox));
  }
  advance(2s);
  ASSERT_TRUE(state_is("idle"));
  pool->set_idle(false);
  ASSERT_TRUE(state_is("ready"));
  advance(5min);
  settle();
  EXPECT_EQ(commands("IDLE"), 1u);
  pool->set_idle(true);
  loop.poll();
  EXPECT_TRUE(reach("IDLE", 2));
}

TEST_F(IdleTest, ByeEndsIt) {
  start();
  {
    ASSERT_TRUE(select("INBOX", inbox));
  }
  advance(2s);
  ASSERT_TRUE(state_is("idle"));
  imapd->control("bye alice");
  ASSERT_TRUE(pump_until([&] { return !pool->connected(); }));
  EXPECT_THAT(inbox.events, ElementsAre("begin", "selected 20", "deselected"));
  EXPECT_THAT(account.events, ElementsAre("connected", "disconnected"));
  advance(1h);
  settle();
  EXPECT_EQ(imapd->counts().logins, 1u);  // nobody asks: nobody reconnects
  EXPECT_EQ(loop.timers().size(), 0u);
}

TEST_F(IdleTest, ADeadConnectionIsNoticedAtTheRenewal) {
  start();
  {
    ASSERT_TRUE(select("INBOX", inbox));
  }
  advance(2s);
  ASSERT_TRUE(state_is("idle"));
  imapd->control("hang alice");
  advance(28min);
  settle();
  EXPECT_TRUE(pool->connected());
  advance(120s);
  ASSERT_TRUE(pump_until([&] { return !pool->connected(); }));
}

}  // namespace
}  // namespace postern::session
