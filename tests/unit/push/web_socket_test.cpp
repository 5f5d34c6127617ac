// WebSockets over a real pair of sockets: handshake, messages, bounds, ends, and clients that don't read. Frames that
// are wrong are the end-to-end tests' (tests/e2e/test_web_socket.py).
#include "postern/push/web_socket.hpp"

#include <sys/socket.h>
#include <unistd.h>
#include <gtest/gtest.h>

#include <array>

#include "postern/io/readable.hpp"
#include "support/loop_fixture.hpp"

namespace postern::push {
namespace {

using namespace std::chrono_literals;

struct RecordingUser final : WebSocket::User {
  WebSocket* socket = nullptr;
  std::vector<std::string> texts;
  unsigned sent = 0, ends = 0;
  void on_begin(WebSocket& made) override { socket = &made; }
  void on_text(std::string text) override { texts.push_back(std::move(text)); }
  void on_sent() override { ++sent; }
  void on_end() override {
    ++ends;
    socket = nullptr;
  }
};

struct WebSocketTest : test::LoopFixture {
  std::shared_ptr<RecordingUser> user = std::make_shared<RecordingUser>();
  std::unique_ptr<io::ByteStream> client;
  std::unique_ptr<WebSocket> server;
  std::string text;  // what the client has read
  WebSocketOptions options;

  void open() {
    int pair[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    client = io::adopt_socket(loop, pair[0]);
    // RFC 6455, 1.3 has the key and what it is answered.
    server = std::make_unique<WebSocket>(loop, io::adopt_socket(loop, pair[1]),
                                         WebSocket::Fields{{"host", "h"},
                                                           {"connection", "Upgrade"},
                                                           {"upgrade", "websocket"},
                                                           {"sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="},
                                                           {"sec-websocket-version", "13"}},
                                         "/jmap/ws", "jmap", options, user);
  }
  ~WebSocketTest() override {
    server.reset();
    client.reset();
    loop.poll();
  }
  void read_now() {
    std::array<char, 4096> buffer;
    if (auto got = io::read_now(*client, buffer)) text.append(buffer.data(), *got);
  }
  bool sees(std::string_view wanted) {
    return pump_until([&] {
      read_now();
      return text.find(wanted) != std::string::npos;
    });
  }
  void say(std::string_view payload, char first = '\x81') {
    std::string frame(1, first);
    frame += static_cast<char>(0x80 | payload.size());
    frame += std::string(4, '\0');  // the mask
    frame += payload;
    ASSERT_TRUE(await(client->write_all(frame)));
  }
};

TEST_F(WebSocketTest, TheHandshakeNamesTheProtocol) {
  open();
  ASSERT_TRUE(sees("\r\n\r\n"));
  EXPECT_TRUE(text.starts_with("HTTP/1.1 101 "));
  EXPECT_NE(text.find("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), std::string::npos);
  EXPECT_NE(text.find("Sec-WebSocket-Protocol: jmap\r\n"), std::string::npos);
}

TEST_F(WebSocketTest, MessagesBothWays) {
  open();
  ASSERT_TRUE(sees("\r\n\r\n"));
  say("hello");
  EXPECT_TRUE(pump_until([&] { return user->texts == std::vector<std::string>{"hello"}; }));
  EXPECT_FALSE(server->is_sending());
  server->send("world");
  EXPECT_TRUE(server->is_sending());
  EXPECT_TRUE(sees(std::string_view("\x81\x05world")));
  EXPECT_TRUE(pump_until([&] { return user->sent == 1 && !server->is_sending(); }));
}

TEST_F(WebSocketTest, WhatIsSaidBeforeTheHandshakeIsOverWaits) {
  open();
  server->send("early");
  EXPECT_TRUE(
      sees(std::string_view("\r\n\r\n\x81\x05"
                            "early")));
}

TEST_F(WebSocketTest, ALongMessageClosesIt) {
  options.message_bytes_max = 10;
  open();
  ASSERT_TRUE(sees("\r\n\r\n"));
  say("0123456789");
  EXPECT_TRUE(pump_until([&] { return user->texts.size() == 1; }));
  say("0123456789a");
  EXPECT_TRUE(sees(std::string_view("\x88\x02\x03\xF1", 4)));  // 1009
  client->close();
  EXPECT_TRUE(pump_until([&] { return user->ends == 1; }));
  EXPECT_EQ(user->texts.size(), 1u);
}

TEST_F(WebSocketTest, CloseSendsFirstWhatWaits) {
  open();
  ASSERT_TRUE(sees("\r\n\r\n"));
  server->send("last");
  server->close(CloseCode::policy, "over");
  server->send("too late");
  EXPECT_TRUE(sees(std::string_view("\x81\x04last\x88\x06\x03\xF0over", 14)));
  say(std::string_view("\x03\xF0", 2), '\x88');
  client.reset();
  EXPECT_TRUE(pump_until([&] { return user->ends == 1; }));
}

TEST_F(WebSocketTest, WhoDoesNotAnswerTheGoodbyeIsLeft) {
  open();
  ASSERT_TRUE(sees("\r\n\r\n"));
  server->close(CloseCode::going_away, "");
  ASSERT_TRUE(sees("\x88"));
  clock.advance(11s);
  EXPECT_TRUE(pump_until([&] { return user->ends == 1; }));
}

TEST_F(WebSocketTest, WhoDoesNotReadIsGivenUp) {
  options.send_bytes_max = 1'000;
  open();
  ASSERT_TRUE(sees("\r\n\r\n"));
  for (int i = 0; i < 40; ++i) server->send(std::string(100'000, 'x'));
  say("hello");
  // Some goes into the socket's buffers; the rest waits, and nothing is read meanwhile.
  for (int i = 0; i < 50; ++i) loop.context().run_one_for(2ms), loop.poll();
  EXPECT_TRUE(user->texts.empty() || user->texts.size() == 1);
  EXPECT_EQ(user->ends, 0u);
  clock.advance(options.write_timeout + 1s);
  EXPECT_TRUE(pump_until([&] { return user->ends == 1; }));
}

TEST_F(WebSocketTest, TheClientsEndIsHeardOf) {
  open();
  ASSERT_TRUE(sees("\r\n\r\n"));
  client->close();
  EXPECT_TRUE(pump_until([&] { return user->ends == 1; }));
}

TEST_F(WebSocketTest, ItsOwnEndIsToldOnce) {
  open();
  ASSERT_TRUE(sees("\r\n\r\n"));
  server.reset();
  EXPECT_EQ(user->ends, 1u);
  loop.poll();
  EXPECT_EQ(user->ends, 1u);
}

TEST(WebSocketFields, WhatAsksForOne) {
  WebSocket::Fields fields{{"connection", "keep-alive, Upgrade"},
                           {"upgrade", "WebSocket"},
                           {"sec-websocket-key", "x"},
                           {"sec-websocket-version", "13"},
                           {"sec-websocket-protocol", "chat, jmap"}};
  EXPECT_TRUE(WebSocket::is_upgrade(fields));
  EXPECT_TRUE(WebSocket::offers(fields, "jmap"));
  EXPECT_FALSE(WebSocket::offers(fields, "ma"));
  for (std::size_t i = 0; i < 4; ++i) {
    auto less = fields;
    less.erase(less.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_FALSE(WebSocket::is_upgrade(less)) << fields[i].first;
  }
}

}  // namespace
}  // namespace postern::push
