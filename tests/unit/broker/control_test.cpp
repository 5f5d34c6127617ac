// The control socket: every command, what is refused, the bounds of a request, and who waits for ever.
#include "broker/control.hpp"

#include <unistd.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/loop_fixture.hpp"

namespace postern::broker {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

struct ControlTest : test::LoopFixture {
  ControlTest() {
    actions.snapshot = []() -> io::Task<Snapshot> {
      Snapshot snapshot;
      snapshot.pid = 4711;
      snapshot.imap_server = "imap.example.com:993";
      snapshot.imap.commands["UID FETCH"] = 12;
      snapshot.segment.sessions_max = 16;
      co_return snapshot;
    };
    actions.sessions = [this](const std::string& login) {
      asked = login;
      return std::vector<SessionInfo>(rows, SessionInfo{"0123abcd", "anna", "u1", 0, 60, 3600});
    };
    actions.accounts = [this](std::string login) -> io::Task<std::vector<AccountInfo>> {
      asked = std::move(login);
      AccountInfo account;
      account.login = "anna\x1b\"\n";
      session::ConnectionInfo connection;
      connection.state = "idle";
      connection.selected = "INBOX";
      account.connections.push_back(connection);
      co_return std::vector<AccountInfo>{account};
    };
    actions.end_session = [](std::string tag) -> io::Task<std::vector<SessionInfo>> {
      std::vector<SessionInfo> ended;
      if (tag == "0123abcd") ended.push_back({tag, "anna", "u1", 0, 0, 0});
      co_return ended;
    };
    actions.set_draining = [this](bool on) { draining = on; };
    actions.reload = [this]() -> Result<std::vector<std::string>> {
      if (broken) return fail(ConfigErrc::bad_value, "t.toml:3: [imap] port must be a number");
      return std::vector<std::string>{"imap"};
    };
    actions.set_log_level = [this](LogLevel l) { level = l; };
    actions.may_upgrade = [this]() -> Result<> {
      if (broken) return fail(ConfigErrc::bad_value, "t.toml:3: no");
      return {};
    };
    actions.upgrade = [this] { ++upgrades; };
  }

  std::string answer(std::string request) { return await(answer_control(std::move(request), actions)).line; }

  ControlActions actions;
  std::string asked;
  std::size_t rows = 1;
  std::optional<bool> draining;
  bool broken = false;
  LogLevel level = LogLevel::info;
  int upgrades = 0;
};

TEST_F(ControlTest, Status) {
  const auto line = answer(R"({"command":"status"})");
  EXPECT_THAT(line, StartsWith(R"({"ok":true,"version":")"));
  EXPECT_THAT(line, HasSubstr(R"("pid":4711,)"));
  EXPECT_THAT(line, HasSubstr(R"("commands":{"UID FETCH":12})"));
  EXPECT_EQ(line.find('\n'), std::string::npos);
}

TEST_F(ControlTest, Sessions) {
  EXPECT_THAT(
      answer(R"({"command":"sessions","login":"anna"})"),
      HasSubstr(R"({"tag":"0123abcd","login":"anna","accountId":"u1","created":"1970-01-01T00:00:00Z",)"));
  EXPECT_EQ(asked, "anna");
  answer(R"({"command":"sessions"})");
  EXPECT_EQ(asked, "");
  rows = control_rows_max;
  EXPECT_THAT(answer(R"({"command":"sessions"})"), EndsWith(R"("more":0})"));
  rows = control_rows_max + 1;
  EXPECT_THAT(answer(R"({"command":"sessions"})"), EndsWith(R"("more":1})"));
}

TEST_F(ControlTest, AccountsAreOneLineWhateverTheirNames) {
  const auto line = answer(R"({"command":"accounts","login":"anna"})");
  EXPECT_EQ(asked, "anna");
  EXPECT_THAT(line, HasSubstr(R"("selected":"INBOX")"));
  EXPECT_THAT(line, HasSubstr(R"("login":"anna\u001b\"\n")"));
  EXPECT_EQ(line.find_first_of("\n\x1b"), std::string::npos);
}

TEST_F(ControlTest, EndSession) {
  EXPECT_THAT(answer(R"({"command":"end-session","tag":"0123abcd"})"),
              HasSubstr(R"("ended":[{"tag":"0123abcd")"));
  EXPECT_THAT(answer(R"({"command":"end-session","tag":"ffffffff"})"), StartsWith(R"({"ok":false,)"));
  EXPECT_THAT(answer(R"({"command":"end-session"})"), StartsWith(R"({"ok":false,)"));
}

TEST_F(ControlTest, DrainAndUndrain) {
  EXPECT_EQ(answer(R"({"command":"drain"})"), R"({"ok":true})");
  EXPECT_EQ(draining, true);
  EXPECT_EQ(answer(R"({"command":"undrain"})"), R"({"ok":true})");
  EXPECT_EQ(draining, false);
}

TEST_F(ControlTest, ReloadTellsWhatNeedsARestartOrWhatIsWrong) {
  EXPECT_EQ(answer(R"({"command":"reload"})"), R"({"ok":true,"needRestart":["imap"]})");
  broken = true;
  EXPECT_THAT(answer(R"({"command":"reload"})"), HasSubstr("t.toml:3: [imap] port"));
}

TEST_F(ControlTest, LogLevel) {
  EXPECT_EQ(answer(R"({"command":"log-level","level":"debug"})"), R"({"ok":true})");
  EXPECT_EQ(level, LogLevel::debug);
  for (const auto* wrong : {R"({"command":"log-level","level":"loud"})",
                            R"({"command":"log-level","level":7})", R"({"command":"log-level"})"})
    EXPECT_THAT(answer(wrong), StartsWith(R"({"ok":false,)")) << wrong;
  EXPECT_EQ(level, LogLevel::debug);
}

TEST_F(ControlTest, WhatIsNoRequest) {
  for (const auto& wrong :
       {std::string("status"), std::string("[]"), std::string("{}"), std::string("{\"command\":7}"),
        std::string("{\"command\":\"stop\"}"), std::string("{\"command\":\"status\"} x"),
        std::string("{\"command\":\"\xff\"}"), std::string(4'000, '[')})
    EXPECT_THAT(answer(wrong), StartsWith(R"({"ok":false,"error":")")) << wrong;
}

struct ControlSocketTest : ControlTest {
  ControlSocketTest() {
    char name[] = "/tmp/postern-control-XXXXXX";
    directory = ::mkdtemp(name);
    path = directory + "/control.sock";
    auto listener = io::UnixListener::open(loop, path, 0600);
    if (!listener) throw std::runtime_error(listener.error().to_string());
    server = std::make_unique<ControlServer>(loop, std::move(*listener), actions);
    server->start();
  }
  ~ControlSocketTest() override {
    server.reset();
    ::unlink(path.c_str());
    ::rmdir(directory.c_str());
  }

  static io::Task<std::string> exchange(io::Loop& on, std::string socket, std::string request) {
    auto stream = co_await io::connect_unix(on, std::move(socket), std::chrono::seconds(5));
    if (!stream) co_return "not connected";
    if (auto sent = co_await (*stream)->write_all(request); !sent) co_return "not sent";
    std::string answer;
    while (true) {
      auto got = co_await (*stream)->read_some(on.scratch());
      if (!got) co_return answer;
      answer.append(on.scratch().data(), *got);
    }
  }
  std::string ask(std::string request) { return await(exchange(loop, path, std::move(request))); }

  std::string directory, path;
  std::unique_ptr<ControlServer> server;
};

TEST_F(ControlSocketTest, OneLineThereAndOneBack) {
  EXPECT_EQ(ask("{\"command\":\"drain\"}\n"), "{\"ok\":true}\n");
  EXPECT_EQ(draining, true);
  // The next connection is served like the first.
  EXPECT_EQ(ask("{\"command\":\"undrain\"}\n"), "{\"ok\":true}\n");
}

TEST_F(ControlSocketTest, ARequestAtTheLimitAndOnePast) {
  std::string request = R"({"command":"undrain")";
  request += std::string(control_request_bytes_max - request.size() - 1, ' ') + "}";
  ASSERT_EQ(request.size(), control_request_bytes_max);
  EXPECT_EQ(ask(request + "\n"), "{\"ok\":true}\n");
  draining.reset();
  EXPECT_THAT(ask(" " + request + "\n"), StartsWith("{\"ok\":false,"));
  EXPECT_FALSE(draining);
}

TEST_F(ControlSocketTest, UpgradeComesAfterItsAnswer) {
  EXPECT_EQ(ask("{\"command\":\"upgrade\"}\n"), "{\"ok\":true}\n");
  EXPECT_TRUE(pump_until([this] { return upgrades == 1; }));
}

TEST_F(ControlSocketTest, AnUpgradeWithABrokenConfigurationIsRefused) {
  broken = true;
  EXPECT_THAT(ask("{\"command\":\"upgrade\"}\n"), HasSubstr("t.toml:3"));
  EXPECT_EQ(upgrades, 0);
}

TEST_F(ControlSocketTest, WhoSaysNothingIsLeft) {
  std::optional<std::string> said;
  auto wait = [](io::Loop& on, std::string socket, std::optional<std::string>& out) -> io::Task<> {
    out = co_await exchange(on, std::move(socket), "{\"command\":");
  };
  loop.spawn(wait(loop, path, said));
  for (int i = 0; i < 20; ++i) {
    loop.poll();
    loop.context().run_one_for(std::chrono::milliseconds(5));
  }
  EXPECT_FALSE(said);
  clock.advance(control_wait_max);
  EXPECT_TRUE(pump_until([&] { return said.has_value(); }));
  EXPECT_EQ(said, "");
}

TEST_F(ControlSocketTest, NoMoreConnectionsThanTheLimit) {
  std::vector<std::unique_ptr<io::ByteStream>> silent;
  for (unsigned i = 0; i < control_connections_max; ++i) {
    auto stream = await(io::connect_unix(loop, path, std::chrono::seconds(5)));
    ASSERT_TRUE(stream);
    silent.push_back(std::move(*stream));
  }
  EXPECT_EQ(ask("{\"command\":\"drain\"}\n"), "");
  EXPECT_EQ(logger.count("too many control connections"), 1u);
  silent.pop_back();
  EXPECT_TRUE(pump_until([&] { return ask("{\"command\":\"drain\"}\n") == "{\"ok\":true}\n"; }));
}

}  // namespace
}  // namespace postern::broker
