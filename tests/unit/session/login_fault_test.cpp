// The login dialogue with a fault at every step: each time the right error, nothing left behind, and a
// login that works once the fault is gone.
#include "script_server.hpp"
#include "session_fixture.hpp"

namespace postern::session {
namespace {

using ::testing::HasSubstr;

struct Fault {
  const char* rule;
  Errc error;
  bool hangs = false;
};

struct LoginFaultTest : SessionFixture, ::testing::WithParamInterface<Fault> {};

TEST_P(LoginFaultTest, SaysWhatIsWrongAndRecovers) {
  const auto& fault = GetParam();
  options.quirks.capability_code = false;  // so that CAPABILITY is asked for, twice
  start();
  ASSERT_TRUE(imapd->control(fault.rule).starts_with("OK")) << fault.rule;
  auto connected = start_task(pool->connect());
  if (fault.hangs) {
    // Quiet for a moment: nothing but a time-out can end it.
    for (int i = 0; i < 20 && !*connected; ++i) {
      loop.context().run_one_for(5ms);
      loop.poll();
    }
    ASSERT_FALSE(connected->has_value());
    advance(31s);
  }
  ASSERT_TRUE(pump_until([&] { return connected->has_value(); }));
  EXPECT_FAILS(**connected, fault.error);
  EXPECT_FALSE(pool->connected());
  EXPECT_EQ(server->counters().logins_in_flight, 0u);
  EXPECT_EQ(server->counters().connections_open, 0u);
  EXPECT_TRUE(account.events.empty());
  EXPECT_TRUE(pump_until([&] { return imapd->counts().connections_open == 0; }));

  imapd->control("clear_rules");
  EXPECT_TRUE(connect_when_due());
}

INSTANTIATE_TEST_SUITE_P(
    Steps, LoginFaultTest,
    ::testing::Values(
        Fault{"on connect do refuse", Errc::unavailable}, Fault{"on connect do silence", Errc::timeout, true},
        Fault{"on connect do greeting * BYE overloaded", Errc::unavailable},
        Fault{"on connect do greeting 220 mail.example.com ESMTP", Errc::unavailable},
        Fault{"on connect do greeting +OK POP3 ready", Errc::unavailable},
        Fault{"on connect do greeting SSH-2.0-OpenSSH_9.2", Errc::unavailable},
        Fault{"on connect do preauth alice", Errc::not_secure},
        Fault{"on connect do drop", Errc::unavailable}, Fault{"on CAPABILITY do drop", Errc::unavailable},
        Fault{"on CAPABILITY do hang", Errc::timeout, true},
        Fault{"on CAPABILITY do drop_at 7", Errc::unavailable},
        Fault{"on CAPABILITY do hang_at 7", Errc::timeout, true},
        Fault{"on CAPABILITY do bye going down", Errc::unavailable},
        Fault{"on CAPABILITY do reply BAD what", Errc::unavailable},
        Fault{"on AUTHENTICATE do drop", Errc::unavailable},
        Fault{"on AUTHENTICATE do hang", Errc::timeout, true},
        Fault{"on AUTHENTICATE do drop_at 5", Errc::unavailable},
        Fault{"on AUTHENTICATE do bye too many", Errc::unavailable},
        Fault{"on AUTHENTICATE do reply NO [UNAVAILABLE] later", Errc::unavailable},
        Fault{"on AUTHENTICATE do reply NO [LIMIT] too many connections", Errc::unavailable},
        Fault{"on AUTHENTICATE do reply BAD what", Errc::unavailable},
        Fault{"on CAPABILITY nth=2 do drop", Errc::unavailable},
        Fault{"on CAPABILITY nth=2 do bye now", Errc::unavailable},
        Fault{"on CAPABILITY nth=2 do hang", Errc::timeout, true},
        Fault{"on ENABLE do drop", Errc::unavailable}, Fault{"on ENABLE do bye now", Errc::unavailable},
        Fault{"on ENABLE do hang", Errc::timeout, true}));

TEST_F(SessionFixture, ARefusedEnableIsNoFailureButALowerTier) {
  start();
  imapd->control("on ENABLE do reply NO not today");
  ASSERT_TRUE(connect());
  EXPECT_NE(pool->tiers().sync, imap::SyncTier::qresync);
}

TEST_F(SessionFixture, WhatAServerQuotesOfThePasswordIsNotPassedOn) {
  start();
  for (const std::string quote :
       {"secret", "\"AGFsaWNlAHNlY3JldA==\"", "eABhbGljZQBzZWNyZXQ=", "AAFhbGljZQFzZWNyZXQB"}) {
    imapd->control("on AUTHENTICATE do reply NO [UNAVAILABLE] can't check " + quote);
    auto connected = start_task(pool->connect());
    ASSERT_TRUE(pump_until([&] { return connected->has_value(); }));
    EXPECT_FAILS(**connected, Errc::unavailable);
    EXPECT_THAT((*connected)->error().context, HasSubstr("withheld")) << quote;
    advance(60s);
  }
  imapd->control("on AUTHENTICATE do reply NO [UNAVAILABLE] can't check anybody");
  auto connected = start_task(pool->connect());
  ASSERT_TRUE(pump_until([&] { return connected->has_value(); }));
  EXPECT_THAT((*connected)->error().context, HasSubstr("check anybody"));
}

TEST_F(SessionFixture, AGreetingWithoutEndIsBounded) {
  test::ScriptServer script([](test::ScriptServer::Peer& peer) {
    const std::string piece(65536, 'x');
    peer.send("* OK ");
    for (int i = 0; i < 100; ++i) peer.send(piece);
    peer.wait_for_end();
  });
  connect_to(script.port);
  EXPECT_FAILS(connect(), Errc::unavailable);
}

TEST_F(SessionFixture, NobodyListens) {
  std::uint16_t port = 0;
  {
    test::ScriptServer gone([](test::ScriptServer::Peer&) {});
    port = gone.port;
  }
  connect_to(port);
  auto connected = connect();
  EXPECT_FAILS(connected, Errc::unavailable);
  EXPECT_THAT(connected.error().context, HasSubstr("refused"));
  EXPECT_EQ(server->counters().connect_failures, 1u);
}

TEST_F(SessionFixture, ThePoolMayEndInTheMiddleOfALogin) {
  start();
  imapd->control("on AUTHENTICATE do hang");
  auto connected = start_task(pool->connect());
  ASSERT_TRUE(pump_until([&] { return commands("AUTHENTICATE") == 1; }));
  pool.reset();
  ASSERT_TRUE(pump_until([&] { return connected->has_value(); }));
  EXPECT_FAILS(**connected, Errc::unavailable);
  EXPECT_TRUE(pump_until([&] { return imapd->counts().connections_open == 0; }));
  EXPECT_TRUE(pump_until([&] { return server->counters().logins_in_flight == 0; }));
}

TEST_F(SessionFixture, TheLoopMayEndInTheMiddleOfALogin) {
  start();
  imapd->control("on AUTHENTICATE do hang");
  start_task(pool->connect());
  ASSERT_TRUE(pump_until([&] { return commands("AUTHENTICATE") == 1; }));
}  // everything is unwound: the sanitizer looks

}  // namespace
}  // namespace postern::session
