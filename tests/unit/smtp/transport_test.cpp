// The dialogue with a server that is a list of answers: what is said, and what each answer comes to.
#include "postern/smtp/transport.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <gmock/gmock.h>

#include "support/loop_fixture.hpp"

namespace postern::smtp {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Kind = Outcome::Kind;

// Listens on loopback. It is the test's loop that plays the server, with plain sockets that don't wait.
struct Listener {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  std::uint16_t port = 0;

  Listener() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (bind(fd, generic, size) != 0 || listen(fd, 16) != 0 || getsockname(fd, generic, &size) != 0)
      throw std::runtime_error("can't listen");
    port = ntohs(address.sin_port);
  }
  ~Listener() { close(fd); }
};

struct TransportTest : test::LoopFixture {
  Listener listener;
  ServerOptions options;
  std::unique_ptr<Transport> transport;
  std::string said;  // by the client
  bool committed = false, may_commit = true;

  TransportTest() {
    options.endpoint = {"127.0.0.1", listener.port};
    options.tls = TlsMode::none;
    options.helo_name = "client.test";
    make();
  }
  void make() { transport = make_transport(loop, options).value(); }

  static Envelope envelope() {
    Envelope all;
    all.from = {"me@a", ""};
    all.recipients = {{"one@b", ""}, {"two@b", " NOTIFY=NEVER"}};
    all.size = 9;
    all.all_or_none = true;
    return all;
  }
  io::Task<Outcome> sending(Envelope what, Credentials credentials) {
    auto left = std::make_shared<std::vector<std::string>>(std::vector<std::string>{"", "\r\n.x\r\n", "A: "});
    const auto next = [](std::shared_ptr<std::vector<std::string>> pieces) -> io::Task<Result<std::string>> {
      auto piece = pieces->back();
      pieces->pop_back();
      co_return piece;
    };
    const auto commit = [](TransportTest& test) -> io::Task<bool> {
      test.committed = true;
      co_return test.may_commit;
    };
    return transport->send(
        std::move(what), std::move(credentials), [next, left] { return next(left); },
        [commit, this] { return commit(*this); });
  }

  // Each answer is given when one more line has come (the first at once; "+" makes several of one line). Without a
  // further one the connection is closed.
  Outcome play(std::vector<std::string> answers, Envelope what = envelope(), Credentials credentials = {}) {
    std::optional<Outcome> outcome;
    const auto run = [](io::Task<Outcome> task, std::optional<Outcome>& result) -> io::Task<> {
      result.emplace(co_await std::move(task));
    };
    loop.spawn(run(sending(std::move(what), std::move(credentials)), outcome));
    int peer = -1;
    std::size_t given = 0;
    said.clear();
    EXPECT_TRUE(pump_until([&] {
      if (peer < 0) peer = accept4(listener.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (peer < 0) return outcome.has_value();
      std::array<char, 4096> buffer{};
      if (const auto got = recv(peer, buffer.data(), buffer.size(), 0); got > 0)
        said.append(buffer.data(), static_cast<std::size_t>(got));
      const auto lines = static_cast<std::size_t>(std::count(said.begin(), said.end(), '\n'));
      while (given < answers.size() && given <= lines) {
        if (!answers[given].empty())
          (void)send(peer, answers[given].data(), answers[given].size(), MSG_NOSIGNAL);
        ++given;
      }
      if (given == answers.size() && lines >= given) shutdown(peer, SHUT_RDWR);
      return outcome.has_value();
    }));
    if (peer >= 0) close(peer);
    return std::move(*outcome);
  }
};

const std::string hello = "250-x\r\n250 8BITMIME\r\n", ok = "250 ok\r\n";

TEST_F(TransportTest, AMessageIsTaken) {
  const auto outcome =
      play({"220 x\r\n", hello, ok, ok, "251 ok\r\n", "354 go\r\n", "", "", "250 2.0.0 queued\r\n", ""});
  EXPECT_EQ(outcome.kind, Kind::accepted);
  EXPECT_EQ(outcome.reply->to_string(), "250 2.0.0 queued");
  EXPECT_EQ(outcome.recipients.at(1)->code, 251);
  EXPECT_THAT(
      said,
      HasSubstr("EHLO client.test\r\nMAIL FROM:<me@a>\r\nRCPT TO:<one@b>\r\nRCPT TO:<two@b> NOTIFY=NEVER"
                "\r\nDATA\r\nA: \r\n..x\r\n.\r\n"));
  EXPECT_TRUE(committed);
}

TEST_F(TransportTest, PipelinedInOneGo) {
  auto wanted = envelope();
  wanted.eight_bit = true;
  const auto outcome = play({"220 x\r\n", "250-x\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 100\r\n",
                             ok + ok + ok, "", "", "354 go\r\n", "", "", "250 queued\r\n", ""},
                            wanted);
  EXPECT_EQ(outcome.kind, Kind::accepted);
  EXPECT_THAT(said, HasSubstr("MAIL FROM:<me@a> SIZE=9 BODY=8BITMIME\r\nRCPT"));
}

TEST_F(TransportTest, WhatIsRefusedAndWhere) {
  const std::string no = "550 5.7.1 no\r\n";
  struct Case {
    std::vector<std::string> answers;
    Stage stage;
  };
  const Case cases[] = {
      {{"554 no\r\n"}, Stage::connect},
      {{"220 x\r\n", hello, no, ""}, Stage::mail_from},
      {{"220 x\r\n", hello, ok, no, ok, ""}, Stage::recipients},
      {{"220 x\r\n", hello, ok, "450 later\r\n", "450 later\r\n", ""}, Stage::recipients},
      {{"220 x\r\n", hello, ok, ok, ok, no, ""}, Stage::content},
      {{"220 x\r\n", hello, ok, ok, ok, "354 go\r\n", "", "", no, ""}, Stage::content},
  };
  for (const auto& one : cases) {
    committed = false;
    const auto outcome = play(one.answers);
    EXPECT_EQ(outcome.kind, Kind::refused) << one.answers.size();
    EXPECT_EQ(outcome.stage, one.stage) << one.answers.size();
    EXPECT_EQ(committed, one.answers.size() == 10);
  }
}

TEST_F(TransportTest, BehindTheScenesARefusedRecipientStopsNobodyElse) {
  auto wanted = envelope();
  wanted.all_or_none = false;
  const auto outcome =
      play({"220 x\r\n", hello, ok, "550 no\r\n", ok, "354 go\r\n", "", "", "250 queued\r\n", ""}, wanted);
  EXPECT_EQ(outcome.kind, Kind::accepted);
  EXPECT_EQ(outcome.recipients.at(0)->code, 550);
}

TEST_F(TransportTest, BrokenOffBeforeTheEndNobodyGetsIt) {
  const std::vector<std::string> all{"220 x\r\n", hello, ok, ok, ok, "354 go\r\n"};
  for (std::size_t count = 0; count < all.size(); ++count) {
    const auto outcome = play({all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count)});
    EXPECT_EQ(outcome.kind, Kind::unavailable) << count;
    EXPECT_FALSE(committed);
  }
  may_commit = false;
  EXPECT_EQ(play({"220 x\r\n", hello, ok, ok, ok, "354 go\r\n", "", "", ""}).kind, Kind::aborted);
  EXPECT_THAT(said, ::testing::EndsWith("..x\r\n"));
}

TEST_F(TransportTest, BrokenOffBehindTheEndNobodyKnows) {
  EXPECT_EQ(play({"220 x\r\n", hello, ok, ok, ok, "354 go\r\n", "", ""}).kind, Kind::unknown);
  EXPECT_EQ(play({"220 x\r\n", hello, ok, ok, ok, "354 go\r\n", "", "", "garbage\r\n"}).kind, Kind::unknown);
}

TEST_F(TransportTest, WhatIsntOfferedIsNotTried) {
  auto large = envelope();
  large.size = 1'000;
  auto outcome = play({"220 x\r\n", "250-x\r\n250 SIZE 999\r\n"}, large);
  EXPECT_EQ(outcome.reply->code, 552);
  EXPECT_EQ(outcome.size_max, 999u);
  auto extended = envelope();
  extended.extensions = {"DSN"};
  EXPECT_EQ(play({"220 x\r\n", hello}, extended).reply->code, 555);
  auto international = envelope();
  international.recipients[1].address = "j\xc3\xb6rg@b";
  outcome = play({"220 x\r\n", hello}, international);
  EXPECT_EQ(outcome.stage, Stage::recipients);
  EXPECT_EQ(outcome.recipients.at(1)->code, 553);
  EXPECT_FALSE(outcome.recipients.at(0));
  play({"220 x\r\n", "250-x\r\n250 SMTPUTF8\r\n", "550 no\r\n"}, international);
  EXPECT_THAT(said, HasSubstr("MAIL FROM:<me@a> SMTPUTF8\r\n"));
}

TEST_F(TransportTest, SigningIn) {
  const auto person = [] { return Credentials{Credentials::Kind::password, "me", "", Secret("pw")}; };
  const auto token = [] { return Credentials{Credentials::Kind::oauth, "me", "", Secret("tok")}; };
  play({"220 x\r\n", "250-x\r\n250 AUTH LOGIN PLAIN\r\n", "235 ok\r\n"}, envelope(), person());
  EXPECT_THAT(said, HasSubstr("AUTH PLAIN AG1lAHB3\r\nMAIL"));
  play({"220 x\r\n", "250-x\r\n250 AUTH LOGIN\r\n", "334 VXNlcg==\r\n", "334 UGFzcw==\r\n", "235 ok\r\n"},
       envelope(), person());
  EXPECT_THAT(said, HasSubstr("AUTH LOGIN\r\nbWU=\r\ncHc=\r\nMAIL"));
  auto outcome =
      play({"220 x\r\n", "250-x\r\n250 AUTH XOAUTH2\r\n", "334 eyJzdGF0dXMiOiI0MDEifQ==\r\n", "535 no\r\n"},
           envelope(), token());
  EXPECT_THAT(said, HasSubstr("AUTH XOAUTH2 dXNlcj1tZQFhdXRoPUJlYXJlciB0b2sBAQ==\r\n\r\n"));
  EXPECT_EQ(outcome.stage, Stage::authenticate);
  EXPECT_EQ(outcome.reply->code, 535);
  outcome = play({"220 x\r\n", "250-x\r\n250 AUTH PLAIN\r\n", "535 what is pw?\r\n"}, envelope(), person());
  EXPECT_THAT(outcome.reply->to_string(), HasSubstr("withheld"));
  // In whatever form it is quoted.
  for (const std::string& quote :
       std::vector<std::string>{"535 5.7.8 Bad: AUTH PLAIN AG1lAHB3\r\n",
                                "535-5.7.8 no\r\n535 5.7.8 me pw\r\n", "AUTH PLAIN AG1lAHB3\r\n"}) {
    outcome = play({"220 x\r\n", "250-x\r\n250 AUTH PLAIN\r\n", quote}, envelope(), person());
    const auto told = (outcome.reply ? outcome.reply->to_string() : "") + outcome.error.to_string();
    EXPECT_THAT(told, ::testing::Not(HasSubstr("pw"))) << quote;
    EXPECT_THAT(told, ::testing::Not(HasSubstr("AG1l"))) << quote;
    if (outcome.reply) {
      EXPECT_EQ(outcome.reply->enhanced(), "5.7.8");
    }
  }
  EXPECT_EQ(play({"220 x\r\n", hello}, envelope(), person()).error.code, Errc::no_mechanism);
  EXPECT_EQ(play({"220 x\r\n", "250-x\r\n250 AUTH PLAIN\r\n"}, envelope(), token()).error.code,
            Errc::no_mechanism);
  auto broken = person();
  broken.login = "a\r\nb";
  EXPECT_EQ(play({"220 x\r\n", "250-x\r\n250 AUTH PLAIN\r\n"}, envelope(), std::move(broken)).error.code,
            Errc::no_mechanism);
}

TEST_F(TransportTest, WithoutTlsNothingIsSaid) {
  options.tls = TlsMode::starttls;
  make();
  EXPECT_EQ(play({"220 x\r\n", hello}).error.code, Errc::not_secure);
  // Octets behind the answer were somebody else's.
  EXPECT_EQ(play({"220 x\r\n", "250-x\r\n250 STARTTLS\r\n", "220 go\r\n250 injected\r\n"}).error.code,
            Errc::not_secure);
  EXPECT_THAT(said, ::testing::Not(HasSubstr("MAIL")));
}

TEST_F(TransportTest, AServerThatSaysNothing) {
  std::optional<Outcome> outcome;
  const auto run = [](io::Task<Outcome> task, std::optional<Outcome>& result) -> io::Task<> {
    result.emplace(co_await std::move(task));
  };
  loop.spawn(run(sending(envelope(), {}), outcome));
  int peer = -1;
  EXPECT_TRUE(pump_until([&] {
    if (peer < 0) peer = accept4(listener.fd, nullptr, nullptr, SOCK_CLOEXEC);
    return peer >= 0;
  }));
  for (int i = 0; i < 3; ++i) loop.poll();
  EXPECT_TRUE(pump_until([&] {
    clock.advance(std::chrono::seconds(61));
    return outcome.has_value();
  }));
  EXPECT_EQ(outcome->kind, Kind::unavailable);
  close(peer);
}

TEST_F(TransportTest, SoManyWaitAndNoMore) {
  options.connections_max = 1;
  make();
  std::vector<std::optional<Outcome>> outcomes(sends_waiting_max + 2);
  const auto run = [](io::Task<Outcome> task, std::optional<Outcome>& result) -> io::Task<> {
    result.emplace(co_await std::move(task));
  };
  for (auto& outcome : outcomes) loop.spawn(run(sending(envelope(), {}), outcome));
  EXPECT_TRUE(pump_until([&] { return outcomes.back().has_value(); }));
  EXPECT_EQ(outcomes.back()->kind, Kind::unavailable);
  EXPECT_THAT(outcomes.back()->error.context, HasSubstr("too many"));
  EXPECT_FALSE(outcomes[outcomes.size() - 2].has_value());
}

TEST_F(TransportTest, SoManyCommandsInFlight) {
  auto many = envelope();
  many.recipients.assign(commands_in_flight, {"x@y", ""});
  std::string answers;
  for (std::size_t i = 0; i < commands_in_flight; ++i) answers += ok;
  std::vector<std::string> all{"220 x\r\n", "250-x\r\n250 PIPELINING\r\n", answers};
  all.resize(2 + commands_in_flight);  // the rest is said without an answer
  all[2] = answers;
  const auto outcome =
      play(all, many);  // the last RCPT comes behind the answers to the others, and is cut off
  EXPECT_EQ(outcome.kind, Kind::unavailable);
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), static_cast<std::ptrdiff_t>(2 + commands_in_flight));
}

}  // namespace
}  // namespace postern::smtp
