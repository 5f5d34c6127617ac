// Messages over https: what is sent, what comes back, and where nothing is sent to.
#include "postern/push/web_client.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "https_server.hpp"
#include "support/loop_fixture.hpp"
#include "support/temporary_folder.hpp"

namespace postern::push {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using namespace std::chrono_literals;

struct WebClientTest : test::LoopFixture {
  test::TemporaryFolder folder;
  test::TestCa ca;
  test::HttpsServer server{ca.issue()};
  WebClientOptions options;
  std::unique_ptr<WebClient> client;

  WebClientTest() {
    options.ca_file = folder.path() + "/ca.pem";
    test::write_file(options.ca_file, ca.certificate_pem());
    options.policy.allow("127.0.0.0/8");
  }
  std::string url(const std::string& host = "127.0.0.1", const std::string& path = "/send/secret") const {
    return "https://" + host + ":" + std::to_string(server.port) + path;
  }
  bool send(const std::string& to, WebClient::OnAnswer on_answer) {
    if (!client) client = std::make_unique<WebClient>(loop, options);
    return client->send({std::make_shared<const Secret>(to), {"TTL: 5", "Expect:"}, "{\"a\":1}"},
                        std::move(on_answer));
  }
  WebAnswer answer_of(const std::string& to) {
    std::optional<WebAnswer> answer;
    EXPECT_TRUE(send(to, [&](const WebAnswer& got) { answer = got; }));
    EXPECT_TRUE(pump_until([&] { return answer.has_value(); }));
    return answer.value_or(WebAnswer{});
  }
};

TEST_F(WebClientTest, PostsAndTellsTheStatus) {
  const auto answer = answer_of(url());
  EXPECT_EQ(answer.kind, WebAnswer::Kind::answered) << answer.error;
  EXPECT_EQ(answer.status, 201u);
  ASSERT_EQ(server.requests().size(), 1u);
  const auto request = server.requests()[0];
  EXPECT_TRUE(request.starts_with("POST /send/secret HTTP/1.1\r\n"));
  EXPECT_THAT(request, HasSubstr("\r\nTTL: 5\r\n"));
  EXPECT_THAT(request, Not(HasSubstr("Expect")));
  EXPECT_TRUE(request.ends_with("\r\n\r\n{\"a\":1}"));
}

TEST_F(WebClientTest, RetryAfterIsTold) {
  server.answer_with(
      "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 120\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  const auto answer = answer_of(url());
  EXPECT_EQ(answer.status, 429u);
  EXPECT_EQ(answer.retry_after, 120s);
}

TEST_F(WebClientTest, RedirectsAreNotFollowed) {
  server.answer_with("HTTP/1.1 307 Temporary Redirect\r\nLocation: " + url("localhost") +
                     "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(answer_of(url()).status, 307u);
  EXPECT_EQ(server.connections, 1);
}

TEST_F(WebClientTest, WhatIsInsideIsNotConnectedTo) {
  options.policy = {};
  for (const auto* number : {"2130706433", "0x7f.1"})
    EXPECT_FALSE(send(url(number), [](const WebAnswer&) {})) << number;
  for (const auto* host : {"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"}) {
    const auto answer = answer_of(url(host));
    EXPECT_EQ(answer.kind, WebAnswer::Kind::forbidden) << host << ": " << answer.error;
    EXPECT_THAT(answer.error, Not(HasSubstr("secret")));
  }
  EXPECT_EQ(server.connections, 0);
}

TEST_F(WebClientTest, AProxyOfTheEnvironmentIsNotUsed) {
  options.policy = {};
  ::setenv("https_proxy", ("http://127.0.0.1:" + std::to_string(server.port)).c_str(), 1);
  EXPECT_EQ(answer_of("https://127.0.0.2/").kind, WebAnswer::Kind::forbidden);
  ::unsetenv("https_proxy");
  EXPECT_EQ(server.connections, 0);
}

TEST_F(WebClientTest, CertificatesAreVerified) {
  options.ca_file.clear();
  const auto answer = answer_of(url());
  EXPECT_EQ(answer.kind, WebAnswer::Kind::unreachable);
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(WebClientTest, SoAreTheirNames) {
  EXPECT_EQ(answer_of(url("127.0.0.2")).kind, WebAnswer::Kind::unreachable);
  EXPECT_TRUE(server.requests().empty());
}

TEST_F(WebClientTest, NobodyThere) {
  EXPECT_EQ(answer_of("https://127.0.0.1:1/").kind, WebAnswer::Kind::unreachable);
  EXPECT_EQ(answer_of("https://name.invalid/").kind, WebAnswer::Kind::unreachable);
}

TEST_F(WebClientTest, AnAnswerThatIsNoneIsLost) {
  server.answer_with("");
  EXPECT_EQ(answer_of(url()).kind, WebAnswer::Kind::lost);
}

TEST_F(WebClientTest, AnAnswerWithoutEndIsCut) {
  server.answer_with("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" +
                     std::string(web_answer_bytes_max * 2, 'x'));
  EXPECT_EQ(answer_of(url()).status, 200u);
}

TEST_F(WebClientTest, NoMoreThanSoManyWait) {
  options.requests_max = 2;
  int answers = 0;
  const auto count = [&](const WebAnswer&) { ++answers; };
  EXPECT_TRUE(send(url(), count));
  EXPECT_TRUE(send(url(), count));
  // Their places are free when they have been answered.
  EXPECT_TRUE(pump_until([&] { return answers == 2; }));
  EXPECT_TRUE(send(url(), count));
  EXPECT_TRUE(pump_until([&] { return answers == 3; }));
}

TEST_F(WebClientTest, ManyToOneHostGoOneBehindTheOther) {
  options.under_way_max = 2;
  options.under_way_of_host_max = 1;
  int answers = 0;
  for (int i = 0; i < 20; ++i)
    EXPECT_TRUE(send(url(), [&](const WebAnswer& answer) { answers += answer.status == 201 ? 1 : 0; }));
  EXPECT_TRUE(pump_until([&] { return answers == 20; }));
}

TEST_F(WebClientTest, EndsWhileSomethingIsUnderWay) {
  for (int i = 0; i < 5; ++i)
    EXPECT_TRUE(send(url(), [](const WebAnswer&) { FAIL() << "answered behind its end"; }));
  client.reset();
  loop.poll();
}

TEST_F(WebClientTest, AUrlThatIsNone) {
  EXPECT_FALSE(send("http://127.0.0.1/", [](const WebAnswer&) {}));
}

}  // namespace
}  // namespace postern::push
