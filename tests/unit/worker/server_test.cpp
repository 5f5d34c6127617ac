// The bounds on the web server's connections and on threads that wait for a broker, with small ones.
#include "worker/server.hpp"

#include <gtest/gtest.h>

#include <future>

#include "harness.hpp"

namespace postern::worker::test {
namespace {

TEST(Server, ConnectionsAtTheLimitAndOnePast) {
  ASSERT_EQ(FCGX_Init(), 0);
  TemporaryFolder folder;
  ScriptedBroker broker(folder / "broker.sock");
  const auto listener = listen_unix(folder / "fcgi.sock");
  const SystemClock clock;
  SystemRandom random;
  NullLogger logger;
  const auto segment = store::SegmentReader::open(folder / "segment", clock);
  BrokerLink link({.path = folder / "broker.sock", .broker_uid = {}, .waiters_max = 1, .program = "test"},
                  clock, logger);
  const HandlerOptions options;
  Server server(listener.get(), 1, {options, link, *segment, clock, random, logger}, 2);
  server.start();

  WebServer first(folder / "fcgi.sock");
  first.request("GET", "/1", {}, {}, true);
  auto peer = broker.accept();
  peer.respond(peer.request().first, "1");
  EXPECT_EQ(first.read().body, "1");  // stays open
  WebServer second(folder / "fcgi.sock");
  second.request("GET", "/2", {}, {}, true);
  peer.respond(peer.request().first, "2");
  EXPECT_EQ(second.read().body, "2");
  WebServer third(folder / "fcgi.sock");
  EXPECT_TRUE(third.closed_by_worker());
  first.request("GET", "/3", {}, {}, false);
  peer.respond(peer.request().first, "3");
  EXPECT_EQ(first.read().body, "3");
  EXPECT_TRUE(first.closed_by_worker());
  WebServer fourth(folder / "fcgi.sock");  // there is room again
  fourth.request("GET", "/4");
  peer.respond(peer.request().first, "4");
  EXPECT_EQ(fourth.read().body, "4");

  server.stop();
  EXPECT_TRUE(server.wait_for(std::chrono::seconds(10)));
}

TEST(BrokerLink, WaitersAtTheLimitAndOnePast) {
  TemporaryFolder folder;
  const SystemClock clock;
  NullLogger logger;
  BrokerLink link({.path = folder / "broker.sock", .broker_uid = {}, .waiters_max = 1, .program = "test"},
                  clock, logger);
  auto waiter =
      std::async(std::launch::async, [&] { return link.get(clock.now() + std::chrono::minutes(5)); });
  // Until the other has begun to wait, this one may, and its time is over at once.
  const auto until = clock.now() + patience;
  auto second = link.get(clock.now());
  while (!second && second.error() == Unavailable::broker_away && clock.now() < until)
    second = link.get(clock.now());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error(), Unavailable::too_many_waiting);
  link.stop();
  const auto first = waiter.get();
  ASSERT_FALSE(first);
  EXPECT_EQ(first.error(), Unavailable::stopping);
}

}  // namespace
}  // namespace postern::worker::test
