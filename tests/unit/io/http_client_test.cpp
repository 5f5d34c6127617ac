// The HTTP client against a server whose answers the test writes octet by octet.
#include "postern/io/http_client.hpp"

#include <unistd.h>
#include <gtest/gtest.h>

#include <deque>

#include "support/loop_fixture.hpp"

namespace postern::io {
namespace {

using namespace std::chrono_literals;

struct HttpClientTest : test::LoopFixture {
  std::string path = "/tmp/postern-http-" + std::to_string(::getpid()) + ".sock";
  std::unique_ptr<UnixListener> listener;
  std::deque<std::string> answers;  // one a request; "" closes the connection
  std::vector<std::string> requests;
  int connections = 0;
  bool close_behind_answer = false;
  std::unique_ptr<HttpClient> client;

  HttpClientTest() {
    auto opened = UnixListener::open(loop, path, 0600);
    if (!opened) throw std::runtime_error(opened.error().to_string());
    listener = std::move(*opened);
    loop.spawn(serve());
    client = std::make_unique<HttpClient>(loop, *parse_local_http("http://unix:" + path + ":/x/"));
  }
  ~HttpClientTest() override {
    client.reset();
    listener->close();
    loop.poll();
  }
  Task<> serve() {
    while (true) {
      auto accepted = co_await listener->accept();
      if (!accepted) co_return;
      ++connections;
      loop.spawn(talk(std::move(accepted->stream)));
    }
  }
  Task<> talk(std::unique_ptr<ByteStream> stream) {
    std::string request;
    while (true) {
      auto got = co_await stream->read_some(loop.scratch());
      if (!got) co_return;
      request.append(loop.scratch().data(), *got);
      if (request.find("\r\n\r\n") == std::string::npos) continue;
      requests.push_back(std::exchange(request, {}));
      if (answers.empty()) continue;  // hangs
      const auto answer = answers.front();
      answers.pop_front();
      if (answer.empty()) co_return;
      for (std::size_t at = 0; at < answer.size(); at += 7)
        (void)co_await stream->write_all(answer.substr(at, 7));
      if (close_behind_answer) co_return;
    }
  }
  Result<HttpResponse> get() {
    return await(client->exchange({"GET", "/x/y", {{"Accept", "text/json"}}, {}}, 1s));
  }
  static std::string ok(std::string_view body) {
    return "HTTP/1.1 200 OK\r\nContent-Type: text/json\r\nContent-Length: " + std::to_string(body.size()) +
           "\r\n\r\n" + std::string(body);
  }
};

TEST_F(HttpClientTest, AsksOnOneConnection) {
  answers = {ok("{\"a\":1}"),
             "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"};
  auto first = get();
  ASSERT_TRUE(first) << first.error().to_string();
  EXPECT_EQ(first->status, 200u);
  EXPECT_EQ(first->body, "{\"a\":1}");
  EXPECT_EQ(first->content_type, "text/json");
  EXPECT_TRUE(requests[0].starts_with("GET /x/y HTTP/1.1\r\n"));
  EXPECT_NE(requests[0].find("Accept: text/json\r\n"), std::string::npos);
  auto second = get();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->status, 202u);
  EXPECT_EQ(second->body, "abc");
  EXPECT_EQ(connections, 1);
}

TEST_F(HttpClientTest, AKeptConnectionThatIsClosedIsReplacedOnce) {
  answers = {ok("1"), "", ok("2")};
  ASSERT_TRUE(get());
  auto second = get();
  ASSERT_TRUE(second) << second.error().to_string();
  EXPECT_EQ(second->body, "2");
  EXPECT_EQ(connections, 2);
}

TEST_F(HttpClientTest, AFreshConnectionThatIsClosedIsAnError) {
  answers = {""};
  EXPECT_FALSE(get());
  EXPECT_EQ(connections, 1);
}

TEST_F(HttpClientTest, ABodyUpToTheEndOfTheConnection) {
  close_behind_answer = true;
  answers = {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it", ok("next")};
  EXPECT_EQ(get()->body, "all of it");
  EXPECT_EQ(get()->body, "next");
}

TEST_F(HttpClientTest, AServerThatHangsTimesOut) {
  std::optional<Result<HttpResponse>> result;
  auto ask = [](HttpClient& by, std::optional<Result<HttpResponse>>& into) -> Task<> {
    into = co_await by.exchange({"GET", "/", {}, {}}, std::chrono::seconds(5));
  };
  loop.spawn(ask(*client, result));
  ASSERT_TRUE(pump_until([&] { return !requests.empty(); }));
  clock.advance(5s);
  ASSERT_TRUE(pump_until([&] { return result.has_value(); }));
  EXPECT_EQ(result->error().code, make_error_code(Errc::timeout));
}

TEST_F(HttpClientTest, WhatIsNoHttpIsAnError) {
  answers = {"SSH-2.0-OpenSSH\r\n\r\n"};
  EXPECT_EQ(get().error().code, make_error_code(Errc::io));
}

TEST_F(HttpClientTest, TooLargeIsAnError) {
  answers = {ok(std::string(http_body_bytes_max, 'x'))};
  EXPECT_EQ(get()->body.size(), http_body_bytes_max);
  answers = {ok(std::string(http_body_bytes_max + 1, 'x'))};
  EXPECT_FALSE(get());
  answers = {"HTTP/1.1 200 OK\r\nX: " + std::string(http_head_bytes_max, 'x') + "\r\n\r\n"};
  EXPECT_FALSE(get());
}

TEST(LocalHttp, AddressesOnThisMachine) {
  const auto by_path = parse_local_http("http://unix:/run/a.sock:/publish/");
  ASSERT_TRUE(by_path);
  EXPECT_EQ(by_path->unix_path, "/run/a.sock");
  EXPECT_EQ(by_path->path, "/publish/");
  const auto by_port = parse_local_http("http://127.0.0.1:8085/p/");
  ASSERT_TRUE(by_port);
  EXPECT_EQ(by_port->endpoint.port, 8085);
  EXPECT_EQ(by_port->endpoint.host, "127.0.0.1");
  EXPECT_EQ(parse_local_http("http://[::1]:80/")->endpoint.host, "::1");
  EXPECT_EQ(parse_local_http("http://localhost/")->endpoint.port, 80);
}

TEST(LocalHttp, NothingElse) {
  for (const auto* text :
       {"", "https://127.0.0.1/", "http://192.0.2.1/", "http://example.com/", "http://127.0.0.1",
        "http://127.0.0.1:0/", "http://127.0.0.1:65536/", "http://127.0.0.1:x/", "http://unix:/a",
        "http://unix:a:/b", "http://127.0.0.1/a b", "http://[::2]/"})
    EXPECT_FALSE(parse_local_http(text)) << text;
}

}  // namespace
}  // namespace postern::io
