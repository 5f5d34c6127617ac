// The vacation response over a ManageSieve server: dialogues, faults at each step, limits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "postern/sieve/server.hpp"
#include "postern/sieve/vacation_script.hpp"
#include "support/loop_fixture.hpp"
#include "unit/sieve/managesieve_server.hpp"

namespace postern::sieve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string our_script(vacation_script_name);

struct VacationStoreTest : test::LoopFixture {
  test::ManageSieveServer managesieve;
  ServerOptions options;
  std::unique_ptr<Server> server;
  std::unique_ptr<mail::VacationStore> store;
  int told = 0;  // effects

  mail::VacationStore& vacation() {
    if (store) return *store;
    if (options.server.endpoint.host.empty()) options.server.endpoint = {"127.0.0.1", managesieve.port()};
    options.server.tls = options.server.tls == session::TlsMode::starttls && !keep_tls
                             ? session::TlsMode::none
                             : options.server.tls;
    server = *Server::make(loop, options);
    store = server->vacation_store([] {
      session::Credentials credentials;
      credentials.login = "anna@example.com";
      credentials.secret = Secret("s\"ecret");
      return credentials;
    });
    return *store;
  }
  Result<mail::VacationUpdate> set(std::function<void(mail::VacationResponse&)> change,
                                   std::optional<std::string> if_in_state = std::nullopt) {
    return await(vacation().update(std::move(change), std::move(if_in_state), [this]() -> io::Task<bool> {
      ++told;
      co_return true;
    }));
  }
  Result<mail::VacationUpdate> enable(std::string text = "away") {
    return set([text](mail::VacationResponse& v) { v.is_enabled = true, v.text_body = text; });
  }
  static void disable(mail::VacationResponse& v) { v.is_enabled = false; }
  std::error_code get_error() {
    auto got = await(vacation().get());
    return got ? std::error_code() : got.error().code;
  }
  std::vector<std::string> take_commands() {
    return managesieve.with([](auto& s) { return std::exchange(s.commands, {}); });
  }
  bool keep_tls = false;
};

TEST_F(VacationStoreTest, IsOnAndOffWithTheOwnScriptRunning) {
  managesieve.with([](auto& s) { s.scripts["mine"] = "keep;\r\n", s.active = "mine"; });
  auto got = await(vacation().get());
  ASSERT_TRUE(got) << got.error().to_string();
  EXPECT_EQ(got->data, mail::VacationResponse{});
  EXPECT_THAT(take_commands(), ElementsAre("AUTHENTICATE", "LISTSCRIPTS"));

  auto on = enable();
  ASSERT_TRUE(on) << on.error().to_string();
  EXPECT_TRUE(on->outcome.done) << on->outcome.description;
  EXPECT_EQ(on->old_state, got->state);
  EXPECT_NE(on->new_state, got->state);
  EXPECT_THAT(take_commands(), ElementsAre("AUTHENTICATE", "LISTSCRIPTS", "CHECKSCRIPT", "GETSCRIPT",
                                           "PUTSCRIPT", "SETACTIVE"));
  managesieve.with([](auto& s) {
    EXPECT_EQ(s.active, our_script);
    EXPECT_THAT(s.scripts[our_script], HasSubstr("include :personal :optional \"mine\";"));
    EXPECT_THAT(s.scripts[our_script], HasSubstr(":addresses [\"anna@example.com\"]"));
    EXPECT_EQ(s.scripts["mine"], "keep;\r\n");
  });
  auto again = await(vacation().get());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->state, on->new_state);
  EXPECT_TRUE(again->data.is_enabled);

  auto off = set(disable);
  ASSERT_TRUE(off && off->outcome.done);
  managesieve.with([](auto& s) { EXPECT_EQ(s.active, "mine"); });
  EXPECT_EQ(await(vacation().get())->data.text_body, "away");
  EXPECT_EQ(told, 2);
}

TEST_F(VacationStoreTest, WhatChangesNothingWritesNothing) {
  ASSERT_TRUE(enable());
  take_commands();
  auto again = enable();
  ASSERT_TRUE(again && again->outcome.done);
  EXPECT_EQ(again->old_state, again->new_state);
  EXPECT_THAT(take_commands(), ElementsAre("AUTHENTICATE", "LISTSCRIPTS", "GETSCRIPT"));
  EXPECT_EQ(told, 1);
}

TEST_F(VacationStoreTest, IfInState) {
  auto on = enable();
  ASSERT_TRUE(on);
  EXPECT_TRUE(set(disable, on->old_state)->state_mismatch);
  EXPECT_TRUE(await(vacation().get())->data.is_enabled);
  EXPECT_FALSE(set(disable, on->new_state)->state_mismatch);
}

TEST_F(VacationStoreTest, RefusesScriptsThatAnswerByThemselves) {
  managesieve.with([](auto& s) {
    s.scripts["mine"] = "require \"include\";\r\ninclude \"deep\";\r\n", s.active = "mine";
    s.scripts["deep"] = "reject \"no\";\r\n";
  });
  auto refused = enable();
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->outcome.error_type, "forbidden");
  EXPECT_THAT(refused->outcome.description, HasSubstr("\"deep\""));
  managesieve.with([](auto& s) { s.scripts["deep"] = "include \"postern-vacation\";\r\n"; });
  EXPECT_EQ(enable()->outcome.error_type, "forbidden");
  managesieve.with([](auto& s) {
    s.scripts.erase("deep");
    EXPECT_FALSE(s.scripts.contains(our_script));
    EXPECT_EQ(s.active, "mine");
  });
  EXPECT_EQ(told, 0);
  EXPECT_TRUE(enable()->outcome.done);  // what isn't there is no matter
}

TEST_F(VacationStoreTest, RefusesWhatWouldBePassedOver) {
  managesieve.with(
      [](auto& s) { s.scripts["house"] = "keep;\r\n", s.active = "house", s.no_include = "house"; });
  auto refused = enable();
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->outcome.error_type, "forbidden");
  managesieve.with([](auto& s) {
    EXPECT_FALSE(s.scripts.contains(our_script));
    // Warnings that have nothing to do with it, or a server without the command.
    for (const char* answer : {"OK (WARNINGS) \"old\"\r\n", "NO \"unknown\"\r\n"})
      s.instead["CHECKSCRIPT"] = answer;
  });
  EXPECT_TRUE(enable()->outcome.done);
}

TEST_F(VacationStoreTest, RefusesChainsThatAreTooLong) {
  managesieve.with([](auto& s) {
    s.active = "s0";
    for (int i = 0; i < 15; ++i)
      s.scripts["s" + std::to_string(i)] = "include \"s" + std::to_string(i + 1) + "\";\r\n";
    s.scripts["s15"] = "keep;\r\n";
  });
  EXPECT_TRUE(enable()->outcome.done);
  ASSERT_TRUE(set(disable)->outcome.done);
  managesieve.with([](auto& s) { s.scripts["s15"] = "include \"s16\";\r\n"; });
  EXPECT_EQ(enable()->outcome.error_type, "forbidden");
}

TEST_F(VacationStoreTest, RefusalsOfTheServerAreSetErrors) {
  managesieve.with([](auto& s) { s.instead["PUTSCRIPT"] = "NO (QUOTA/MAXSIZE) {4}\r\nmuch\r\n"; });
  auto much = enable();
  ASSERT_TRUE(much);
  EXPECT_EQ(much->outcome.error_type, "tooLarge");
  EXPECT_EQ(much->new_state, much->old_state);
  // Written, and not activated: the text is there, but not in force.
  managesieve.with([](auto& s) { s.instead = {{"SETACTIVE", "NO \"no\"\r\n"}}; });
  auto half = enable();
  ASSERT_TRUE(half);
  EXPECT_EQ(half->outcome.error_type, "serverFail");
  EXPECT_NE(half->new_state, half->old_state);
  auto now = await(vacation().get());
  EXPECT_EQ(now->state, half->new_state);
  EXPECT_FALSE(now->data.is_enabled);
}

TEST_F(VacationStoreTest, ALossIsUnknownOnlyBehindAWrite) {
  for (const char* command : {"AUTHENTICATE", "LISTSCRIPTS"}) {
    managesieve.with([&](auto& s) { s.lost_before = command; });
    auto lost = enable();
    ASSERT_FALSE(lost) << command;
    EXPECT_EQ(told, 0);
    managesieve.with([](auto& s) { EXPECT_TRUE(s.scripts.empty()); });
  }
  for (const char* command : {"PUTSCRIPT", "SETACTIVE"}) {
    managesieve.with([&](auto& s) { s.lost_before.clear(), s.lost_after = command; });
    auto lost = enable();
    ASSERT_FALSE(lost) << command;
    EXPECT_EQ(lost.error().code, mail::Errc::outcome_unknown);
  }
  managesieve.with([](auto& s) { s.lost_after.clear(); });
  EXPECT_TRUE(await(vacation().get())->data.is_enabled);
}

TEST_F(VacationStoreTest, ServersThatAreNone) {
  const std::vector<std::pair<std::string, std::error_code>> cases{
      {"* OK IMAP4rev1\r\n", mail::Errc::server_refused},
      {"BYE \"busy\"\r\n", mail::Errc::server_unavailable},
      {"NO \"no\"\r\n", mail::Errc::server_unavailable},
      {"\"SASL\" \"SCRAM-SHA-1\"\r\nOK\r\n", mail::Errc::authentication},
  };
  for (const auto& [greeting, expected] : cases) {
    managesieve.with([&](auto& s) { s.greeting = greeting; });
    EXPECT_EQ(get_error(), expected) << greeting;
  }
  EXPECT_EQ(logger.count("s\"ecret"), 0U);
}

TEST_F(VacationStoreTest, RefusedCredentials) {
  for (const auto& [answer, expected] : std::vector<std::pair<std::string, mail::Errc>>{
           {"NO \"s\\\"ecret is wrong\"\r\n", mail::Errc::authentication},
           {"NO (TRYLATER) \"later\"\r\n", mail::Errc::server_unavailable},
           {"NO (ENCRYPT-NEEDED)\r\n", mail::Errc::server_unavailable},
           {"BYE \"enough\"\r\n", mail::Errc::server_unavailable}}) {
    managesieve.with([&](auto& s) { s.instead["AUTHENTICATE"] = answer; });
    EXPECT_EQ(get_error(), make_error_code(expected)) << answer;
  }
  EXPECT_EQ(logger.count("ecret"), 0U);
}

TEST_F(VacationStoreTest, NothingIsBelievedOrSentWithoutTls) {
  keep_tls = true;
  options.server.tls_options.verify = true;
  managesieve.with([](auto& s) { s.instead["STARTTLS"] = "NO \"no\"\r\n"; });
  EXPECT_EQ(get_error(), mail::Errc::server_unavailable);
  managesieve.with([](auto& s) { s.instead["STARTTLS"] = "OK\r\n\"SASL\" \"PLAIN\"\r\nOK\r\n"; });
  EXPECT_EQ(get_error(), mail::Errc::server_unavailable);
  EXPECT_THAT(take_commands(), ElementsAre("STARTTLS", "STARTTLS"));
}

TEST_F(VacationStoreTest, ATimeLimitForAllOfAUse) {
  managesieve.with([](auto& s) { s.instead["LISTSCRIPTS"] = ""; });
  std::optional<Result<mail::Snapshot<mail::VacationResponse>>> got;
  auto run = [](mail::VacationStore& v, decltype(got)& out) -> io::Task<> { out.emplace(co_await v.get()); };
  loop.spawn(run(vacation(), got));
  ASSERT_TRUE(pump_until([&] {
    return managesieve.with(
        [](auto& s) { return !s.commands.empty() && s.commands.back() == "LISTSCRIPTS"; });
  }));
  clock.advance(options.use_timeout - std::chrono::milliseconds(1));
  loop.poll();
  EXPECT_FALSE(got);
  clock.advance(std::chrono::milliseconds(2));
  ASSERT_TRUE(pump_until([&] { return got.has_value(); }));
  EXPECT_FALSE(*got);
}

TEST_F(VacationStoreTest, UsesOfAnAccountGoOneAfterAnother) {
  std::vector<bool> done;
  auto run = [](mail::VacationStore& v, std::vector<bool>& out) -> io::Task<> {
    out.push_back((co_await v.get()).has_value());
  };
  for (int i = 0; i < 4; ++i) loop.spawn(run(vacation(), done));
  ASSERT_TRUE(pump_until([&] { return done.size() == 4; }));
  EXPECT_THAT(done, ElementsAre(true, true, true, true));
  // None is left open.
  EXPECT_TRUE(pump_until([&] { return managesieve.with([](auto& s) { return s.log_outs == 4; }); }));
  const auto commands = take_commands();
  ASSERT_EQ(commands.size(), 8U);
  for (std::size_t i = 0; i < commands.size(); i += 2) {
    EXPECT_EQ(commands[i], "AUTHENTICATE");
    EXPECT_EQ(commands[i + 1], "LISTSCRIPTS");
  }
}

TEST_F(VacationStoreTest, OnlySoManyWaitForAConnection) {
  options.connections_max = 1;
  managesieve.with([](auto& s) { s.instead["LISTSCRIPTS"] = ""; });
  (void)vacation();
  std::vector<std::unique_ptr<mail::VacationStore>> people;
  std::size_t ended = 0;
  auto run = [](mail::VacationStore& v, std::size_t& out) -> io::Task<> {
    EXPECT_EQ((co_await v.get()).error().code, mail::Errc::server_unavailable);
    ++out;
  };
  for (std::size_t i = 0; i < 1 + use_waiting_max + 1; ++i) {
    people.push_back(server->vacation_store([] {
      session::Credentials credentials;
      credentials.login = "anna";
      credentials.secret = Secret("x");
      return credentials;
    }));
    loop.spawn(run(*people.back(), ended));
    loop.poll();
    EXPECT_EQ(ended, i == 1 + use_waiting_max ? 1U : 0U) << i;
  }
}

TEST_F(VacationStoreTest, IsOfferedWhereTheServerHasIt) {
  EXPECT_FALSE(vacation().is_offered());
  EXPECT_TRUE(await(vacation().ask_whether_offered()));
  EXPECT_TRUE(vacation().is_offered());
  EXPECT_TRUE(await(vacation().ask_whether_offered()));
  EXPECT_EQ(managesieve.connections(), 1);
  // Asked again when it was long ago; what was known counts meanwhile.
  managesieve.with([](auto& s) { s.greeting = "\"SIEVE\" \"fileinto\"\r\n\"SASL\" \"PLAIN\"\r\nOK\r\n"; });
  clock.advance(options.capabilities_fresh);
  EXPECT_TRUE(await(vacation().ask_whether_offered()));
  ASSERT_TRUE(pump_until([&] { return !vacation().is_offered(); }));
}

TEST_F(VacationStoreTest, IsNotOfferedWhileTheServerIsAway) {
  managesieve.with([](auto& s) { s.greeting = "BYE\r\n"; });
  EXPECT_FALSE(await(vacation().ask_whether_offered()));
  managesieve.with([](auto& s) { s.greeting = "\"SIEVE\" \"vacation\"\r\nOK\r\n"; });
  EXPECT_FALSE(await(vacation().ask_whether_offered()));
  EXPECT_EQ(managesieve.connections(), 1);
  clock.advance(options.retry_after);
  EXPECT_TRUE(await(vacation().ask_whether_offered()));
}

}  // namespace
}  // namespace postern::sieve
