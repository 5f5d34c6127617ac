// Event streams over a real socket: heads, events, pings, ends, and clients that don't read.
#include "postern/push/stream_server.hpp"

#include <sys/socket.h>
#include <unistd.h>
#include <gtest/gtest.h>

#include "support/loop_fixture.hpp"

namespace postern::push {
namespace {

using namespace std::chrono_literals;

struct StreamServerTest : test::LoopFixture, WatchPort {
  std::string path = "/tmp/postern-events-" + std::to_string(::getpid()) + ".sock";
  std::unique_ptr<Hub> hub = std::make_unique<Hub>(loop.timers(), HubOptions{}, *this);
  std::unique_ptr<StreamServer> server;
  std::vector<StreamRequest> requests;
  std::optional<StreamAnswer> answer;
  States states;

  void on_watch(AccountKey, bool) override {}
  void start(StreamServerOptions options = {}) {
    auto listener = io::UnixListener::open(loop, path, 0600);
    ASSERT_TRUE(listener) << listener.error().to_string();
    server = std::make_unique<StreamServer>(
        loop, std::move(*listener), *hub,
        [this](StreamRequest request) { return handle(std::move(request)); }, options);
    states[DataType::email] = "1";
  }
  ~StreamServerTest() override {
    server.reset();
    loop.poll();
  }
  io::Task<StreamAnswer> handle(StreamRequest request) {
    requests.push_back(std::move(request));
    if (answer) co_return *answer;
    co_return opening();
  }
  StreamOpening opening() const {
    StreamOpening made;
    made.options.account = 1;
    made.options.session = "s";
    made.account_id = "a1";
    made.now = states;
    return made;
  }
  struct Client {
    std::unique_ptr<io::ByteStream> stream;
    std::string text;
    bool ended = false;
  };
  static io::Task<> read(io::Loop& loop, std::shared_ptr<Client> client) {
    while (true) {
      auto got = co_await client->stream->read_some(loop.scratch());
      if (!got) break;
      client->text.append(loop.scratch().data(), *got);
    }
    client->ended = true;
  }
  std::shared_ptr<Client> connect(
      std::string head = "GET /events/?x HTTP/1.1\r\nHost: h\r\nCookie: c\r\n\r\n", bool reads = true) {
    auto client = std::make_shared<Client>();
    auto connected = await(io::connect_unix(loop, path, 5s));
    EXPECT_TRUE(connected);
    client->stream = std::move(*connected);
    EXPECT_TRUE(await(client->stream->write_all(head)));
    if (reads) loop.spawn(read(loop, client));
    return client;
  }
  bool sees(const Client& client, std::string_view text) {
    return pump_until([&] { return client.text.find(text) != std::string::npos; });
  }
};

TEST_F(StreamServerTest, AStreamBeginsWithTheStatesOfNow) {
  start();
  auto client = connect();
  EXPECT_TRUE(sees(*client, "\n\n"));
  EXPECT_TRUE(client->text.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"));
  EXPECT_TRUE(sees(*client,
                   "event: state\nid: 1..1......\n"
                   "data: {\"@type\":\"StateChange\",\"changed\":{\"a1\":{\"Email\":\"1\"}}}\n\n"));
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(requests[0].target, "/events/?x");
  EXPECT_EQ(requests[0].host, "h");
  EXPECT_EQ(requests[0].fields[1], (std::pair<std::string, std::string>("cookie", "c")));
}

TEST_F(StreamServerTest, WhoIsToldNothingSeesThatTheStreamIsThere) {
  start();
  auto wanted = opening();
  wanted.options.known = states;
  answer = wanted;
  auto client = connect();
  EXPECT_TRUE(sees(*client, "\r\n\r\n:\n\n"));
  EXPECT_TRUE(client->text.ends_with("\r\n\r\n:\n\n"));
}

TEST_F(StreamServerTest, ChangesAndPingsFollow) {
  start();
  auto wanted = opening();
  wanted.options.ping_seconds = 30;
  answer = wanted;
  auto client = connect();
  ASSERT_TRUE(sees(*client, "\"1\""));
  clock.advance(1s);
  states[DataType::email] = "2";
  hub->on_states(1, states);
  EXPECT_TRUE(sees(*client, "\"Email\":\"2\""));
  clock.advance(30s);
  EXPECT_TRUE(sees(*client, "event: ping\ndata: {\"interval\":30}\n\n"));
}

TEST_F(StreamServerTest, EndsBehindOneEventWhereThatIsWanted) {
  start();
  auto wanted = opening();
  wanted.options.close_after_state = true;
  wanted.options.known = States{};
  answer = wanted;
  auto client = connect();
  EXPECT_TRUE(pump_until([&] { return client->ended; }));
  EXPECT_NE(client->text.find("\"Email\":\"1\""), std::string::npos);
  EXPECT_EQ(server->counters().open, 0u);
}

TEST_F(StreamServerTest, ARefusalIsAnAnswer) {
  start();
  answer = StreamRefusal{401, "application/problem+json", "{}", {{"www-authenticate", "Basic"}}};
  auto client = connect();
  EXPECT_TRUE(pump_until([&] { return client->ended; }));
  EXPECT_TRUE(client->text.starts_with("HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic\r\n"));
  EXPECT_TRUE(client->text.ends_with("\r\n\r\n{}"));
}

TEST_F(StreamServerTest, WhatIsNoRequestIsRefused) {
  start();
  for (const auto& head :
       {std::string("hello\r\n\r\n"), std::string("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"),
        "GET / HTTP/1.1\r\nX: " + std::string(stream_head_bytes_max, 'x') + "\r\n\r\n"}) {
    auto client = connect(head);
    EXPECT_TRUE(pump_until([&] { return client->ended; }));
    EXPECT_TRUE(client->text.empty() || client->text.starts_with("HTTP/1.1 400 ")) << client->text;
  }
  EXPECT_TRUE(requests.empty());
}

TEST_F(StreamServerTest, WhoSaysNothingIsGivenUp) {
  start();
  auto client = connect("GET / HT");
  loop.poll();
  clock.advance(11s);
  EXPECT_TRUE(pump_until([&] { return client->ended; }));
}

TEST_F(StreamServerTest, TheClientsEndEndsTheListener) {
  start();
  auto client = connect();
  ASSERT_TRUE(sees(*client, "\"1\""));
  EXPECT_EQ(hub->listeners(), 1u);
  client->stream->close();
  EXPECT_TRUE(pump_until([&] { return hub->listeners() == 0; }));
  EXPECT_EQ(server->counters().open, 0u);
}

TEST_F(StreamServerTest, NoMoreThanStreamsMax) {
  StreamServerOptions options;
  options.streams_max = 1;
  start(options);
  auto first = connect();
  ASSERT_TRUE(sees(*first, "\"1\""));
  auto second = connect();
  EXPECT_TRUE(pump_until([&] { return second->ended; }));
  EXPECT_TRUE(second->text.starts_with("HTTP/1.1 503 "));
}

TEST_F(StreamServerTest, WhereTooManyListenElsewhereItSaysSo) {
  start();
  auto first = connect();
  ASSERT_TRUE(sees(*first, "\"1\""));
  HubOptions full;
  full.listeners_max = 1;
  hub->set_options(full);
  auto second = connect();
  EXPECT_TRUE(pump_until([&] { return second->ended; }));
  EXPECT_TRUE(second->text.starts_with("HTTP/1.1 503 "));
}

TEST_F(StreamServerTest, WhoDoesNotReadIsToldTheNewestAndGivenUpInTheEnd) {
  start();
  auto client = connect("GET / HTTP/1.1\r\n\r\n", false);
  ASSERT_TRUE(pump_until([&] { return hub->listeners() == 1; }));
  // As many as fill the socket, and more.
  for (int i = 0; i < 20'000; ++i) {
    states[DataType::email] = std::to_string(i);
    clock.advance(50ms);
    hub->on_states(1, states);
    if (i % 100 == 0) loop.poll();
    if (hub->listeners() == 0) break;
  }
  EXPECT_TRUE(pump_until([&] {
    clock.advance(1s);
    return hub->listeners() == 0;
  }));
  EXPECT_EQ(server->counters().given_up, 1u);
}

TEST_F(StreamServerTest, TheEndOfASessionEndsItsStream) {
  start();
  auto client = connect();
  ASSERT_TRUE(sees(*client, "\"1\""));
  hub->end_session(1, "s");
  EXPECT_TRUE(pump_until([&] { return client->ended; }));
}

}  // namespace
}  // namespace postern::push
