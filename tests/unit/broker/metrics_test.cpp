// Metrics: the text's format, the sums over shards, and the little HTTP server.
#include "broker/metrics.hpp"

#include <unistd.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "postern/io/stream.hpp"
#include "support/loop_fixture.hpp"

namespace postern::broker {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

Snapshot snapshot_with_figures() {
  Snapshot s;
  s.uptime_seconds = 77;
  s.requests.answers_4xx = 4;
  s.requests.sign_in_failures = 5;
  s.imap.commands["UID FETCH"] = 12;
  s.imap.bytes_in = 1'000;
  s.ipc.connections_open = 3;
  s.segment.sessions = 9;
  s.events.listeners = 6;
  s.events.streams.sockets_open = 2;
  s.events.frontends.push_back({"nginx", 8, 1, 30, 7, 2});
  return s;
}

TEST(MetricsText, Escaping) {
  MetricsWriter writer;
  writer.family("postern_x", MetricsWriter::Type::gauge, "back\\slash \"quote\"\nline");
  writer.sample(1, {{"a", "b\\c\"d\ne"}, {"f", "\xff"}});
  writer.sample(18'446'744'073'709'551'615u);
  EXPECT_EQ(writer.text(),
            "# HELP postern_x back\\\\slash \"quote\"\\nline\n"
            "# TYPE postern_x gauge\n"
            "postern_x{a=\"b\\\\c\\\"d\\ne\",f=\"\xef\xbf\xbd\"} 1\n"
            "postern_x 18446744073709551615\n");
}

TEST(MetricsText, Figures) {
  const auto text = metrics_text(snapshot_with_figures());
  for (const auto* line :
       {"\npostern_uptime_seconds 77\n", "\npostern_answers_total{class=\"4xx\"} 4\n",
        "\npostern_login_failures_total 5\n", "\npostern_imap_commands_total{command=\"UID FETCH\"} 12\n",
        "\npostern_imap_bytes_total{direction=\"in\"} 1000\n", "\npostern_worker_connections 3\n",
        "\npostern_segment_records{table=\"sessions\"} 9\n", "\npostern_imap_up 1\n",
        "\npostern_draining 0\n", "\npostern_push_listeners 6\n", "\npostern_web_sockets 2\n",
        "\npostern_push_channels{frontend=\"nginx\"} 8\n",
        "\npostern_push_publisher_failures_total{frontend=\"nginx\"} 7\n",
        "\npostern_push_publisher_refused_total{frontend=\"nginx\"} 2\n"})
    EXPECT_THAT(text, HasSubstr(line));
}

// Each family once, with HELP and TYPE before its samples; counters end in _total.
TEST(MetricsText, Form) {
  std::istringstream lines(metrics_text(snapshot_with_figures()));
  std::set<std::string> families;
  std::string line, family, type;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    std::string first, second, name;
    words >> first >> second >> name;
    if (second == "HELP") {
      EXPECT_TRUE(families.insert(name).second) << name;
      family = name;
    } else if (second == "TYPE") {
      EXPECT_EQ(name, family);
      words >> type;
      EXPECT_EQ(type == "counter", name.ends_with("_total")) << name;
    } else {
      EXPECT_EQ(first.substr(0, first.find('{')), family) << line;
    }
  }
  EXPECT_GT(families.size(), 35u);
}

TEST(MetricsText, SumsOverShards) {
  ShardUse one, two;
  one.imap.commands = {{"NOOP", 1}, {"SELECT", 2}};
  two.imap.commands = {{"NOOP", 3}};
  one.imap.connections_open = 4;
  two.imap.connections_open = 5;
  one.cache.fragment_bytes = 10;
  two.cache.fragment_bytes = 20;
  two.backing_off = true;
  Snapshot sum;
  add_to(sum, one);
  add_to(sum, two);
  EXPECT_EQ(sum.shards, 2u);
  EXPECT_EQ(sum.imap.commands["NOOP"], 4u);
  EXPECT_EQ(sum.imap.commands["SELECT"], 2u);
  EXPECT_EQ(sum.imap.connections_open, 9u);
  EXPECT_EQ(sum.cache.fragment_bytes, 30u);
  EXPECT_TRUE(sum.imap_backing_off);
}

TEST(MetricsHttp, Answers) {
  Snapshot s;
  EXPECT_THAT(answer_metrics("GET /metrics HTTP/1.1\r\n\r\n", s),
              StartsWith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"));
  EXPECT_THAT(answer_metrics("GET /metrics?x=1 HTTP/1.0\r\n\r\n", s), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(answer_metrics("GET /healthz HTTP/1.1\r\n\r\n", s), EndsWith("\r\n\r\nok\n"));
  EXPECT_THAT(answer_metrics("HEAD /healthz HTTP/1.1\r\n\r\n", s), EndsWith("close\r\n\r\n"));
  EXPECT_THAT(answer_metrics("POST /metrics HTTP/1.1\r\n\r\n", s), StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(answer_metrics("GET /secret HTTP/1.1\r\n\r\n", s), StartsWith("HTTP/1.1 404 "));
  for (const auto* wrong :
       {"", "GET", "GET /metrics", "GET /metrics\r\n\r\n", "\x16\x03\x01", "GET  /metrics HTTP/1.1 x"})
    EXPECT_THAT(answer_metrics(wrong, s), StartsWith("HTTP/1.1 400 ")) << wrong;
  s.draining = true;
  EXPECT_THAT(answer_metrics("GET /healthz HTTP/1.1\r\n\r\n", s), StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(answer_metrics("GET /metrics HTTP/1.1\r\n\r\n", s), StartsWith("HTTP/1.1 200 "));
}

TEST(MetricsHttp, ListenAddresses) {
  EXPECT_EQ(parse_listen_address("127.0.0.1:9464")->port, 9464);
  EXPECT_EQ(parse_listen_address("[::1]:65535")->host, "::1");
  for (const auto* wrong :
       {"", ":", "9464", "localhost:9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x",
        "::1:9464", "[127.0.0.1]:9464", "[]:1", "127.0.0.1:-1", "127.0.0.1:1 "})
    EXPECT_FALSE(parse_listen_address(wrong)) << wrong;
}

struct MetricsServerTest : test::LoopFixture {
  static io::Task<Snapshot> take() { co_return snapshot_with_figures(); }

  static io::Task<std::string> exchange(std::unique_ptr<io::ByteStream> stream, io::Loop& on,
                                        std::string request) {
    if (!request.empty())
      if (auto sent = co_await stream->write_all(request); !sent) co_return "not sent";
    std::string answer;
    while (true) {
      auto got = co_await stream->read_some(on.scratch());
      if (!got) co_return answer;
      answer.append(on.scratch().data(), *got);
    }
  }
  std::unique_ptr<io::ByteStream> connect(const MetricsServer& server) {
    auto stream = await(io::connect_tcp(loop, {"127.0.0.1", server.port()}, std::chrono::seconds(5)));
    if (!stream) throw std::runtime_error(stream.error().to_string());
    return std::move(*stream);
  }
  std::string get(const MetricsServer& server, std::string request) {
    return await(exchange(connect(server), loop, std::move(request)));
  }
};

TEST_F(MetricsServerTest, OverTcp) {
  auto server = MetricsServer::open(loop, "127.0.0.1:0", take);
  ASSERT_TRUE(server) << server.error().to_string();
  EXPECT_THAT(get(**server, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"),
              HasSubstr("\npostern_uptime_seconds 77\n"));
  EXPECT_THAT(get(**server, "GET /healthz HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST_F(MetricsServerTest, OverAUnixSocket) {
  char name[] = "/tmp/postern-metrics-XXXXXX";
  const std::string directory = ::mkdtemp(name), path = directory + "/metrics.sock";
  {
    auto server = MetricsServer::open(loop, path, take);
    ASSERT_TRUE(server) << server.error().to_string();
    auto stream = await(io::connect_unix(loop, path, std::chrono::seconds(5)));
    ASSERT_TRUE(stream);
    EXPECT_THAT(await(exchange(std::move(*stream), loop, "GET /healthz HTTP/1.1\r\n\r\n")), EndsWith("ok\n"));
  }
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
  ::rmdir(directory.c_str());
}

TEST_F(MetricsServerTest, ARequestAtTheLimitAndOnePast) {
  auto server = MetricsServer::open(loop, "127.0.0.1:0", take);
  ASSERT_TRUE(server);
  const std::string start = "GET /healthz HTTP/1.1\r\nX: ";
  const auto padded = [&](std::size_t head) {
    return start + std::string(head - start.size(), 'x') + "\r\n\r\n";
  };
  EXPECT_THAT(get(**server, padded(metrics_request_bytes_max)), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(get(**server, padded(metrics_request_bytes_max + 1)), StartsWith("HTTP/1.1 400 "));
}

TEST_F(MetricsServerTest, WhoSaysNothingIsLeft) {
  auto server = MetricsServer::open(loop, "127.0.0.1:0", take);
  ASSERT_TRUE(server);
  std::optional<std::string> said;
  auto wait = [](std::unique_ptr<io::ByteStream> stream, io::Loop& on,
                 std::optional<std::string>& out) -> io::Task<> {
    out = co_await exchange(std::move(stream), on, {});
  };
  loop.spawn(wait(connect(**server), loop, said));
  for (int i = 0; i < 20; ++i) {
    loop.poll();
    loop.context().run_one_for(std::chrono::milliseconds(5));
  }
  EXPECT_FALSE(said);
  clock.advance(metrics_wait_max);
  EXPECT_TRUE(pump_until([&] { return said.has_value(); }));
}

TEST_F(MetricsServerTest, NoMoreConnectionsThanTheLimit) {
  auto server = MetricsServer::open(loop, "127.0.0.1:0", take);
  ASSERT_TRUE(server);
  std::vector<std::unique_ptr<io::ByteStream>> silent;
  for (unsigned i = 0; i < metrics_connections_max; ++i) silent.push_back(connect(**server));
  EXPECT_THAT(get(**server, "GET /healthz HTTP/1.1\r\n\r\n"), Not(HasSubstr("200")));
  silent.pop_back();
  EXPECT_TRUE(pump_until([&] { return get(**server, "GET /healthz HTTP/1.1\r\n\r\n").ends_with("ok\n"); }));
}

TEST_F(MetricsServerTest, WhatCannotBeListenedOn) {
  EXPECT_FALSE(MetricsServer::open(loop, "localhost", take));
  EXPECT_FALSE(MetricsServer::open(loop, "/nonexistent/metrics.sock", take));
  auto first = MetricsServer::open(loop, "127.0.0.1:0", take);
  ASSERT_TRUE(first);
  const auto second = MetricsServer::open(loop, "127.0.0.1:" + std::to_string((*first)->port()), take);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().to_string(), HasSubstr("in use"));
}

}  // namespace
}  // namespace postern::broker
