// Commands of the administrator's: how they are run, what is taken of what they say, and plans looked up with one.
#include "broker/plan_lookup.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "broker/run_command.hpp"
#include "support/capture_log.hpp"

namespace postern::broker {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

Result<std::string> shell(const std::string& script, Duration timeout = 10s, std::size_t output_max = 1'000) {
  return run_command({"/bin/sh", "-c", script, "sh"}, timeout, output_max);
}
template <typename T>
std::error_code code_of(const Result<T>& result) {
  return result ? std::error_code{} : result.error().code;
}

TEST(RunCommand, TakesWhatItPrints) {
  EXPECT_EQ(shell("echo gold; echo no >&2").value_or("?"), "gold\n");
  EXPECT_EQ(shell("true").value_or("?"), "");
}

TEST(RunCommand, ArgumentsAreNoShellsToRead) {
  const std::string login = "a'b $(id) \"c\" `d`;*\\ \n";
  EXPECT_EQ(run_command({"/usr/bin/printf", "%s", login}, 10s, 1'000).value_or("?"), login);
}

TEST(RunCommand, FailuresAreTold) {
  EXPECT_EQ(code_of(shell("echo gold; exit 3")), make_error_code(CommandErrc::failed));
  EXPECT_THAT(shell("exit 3").error().context, HasSubstr("status 3"));
  EXPECT_THAT(shell("kill -9 $$").error().context, HasSubstr("signal 9"));
  EXPECT_EQ(code_of(run_command({"/nowhere/plan"}, 10s, 10)), make_error_code(CommandErrc::not_started));
}

TEST(RunCommand, PrintsSoMuchAndNoMore) {
  EXPECT_EQ(shell("printf 1234567890", 10s, 10).value_or("?"), "1234567890");
  EXPECT_EQ(code_of(shell("printf 12345678901", 10s, 10)), make_error_code(CommandErrc::too_much));
  EXPECT_EQ(code_of(shell("cat /dev/zero", 10s, 1'000'000)), make_error_code(CommandErrc::too_much));
}

TEST(RunCommand, EndsWithAllThatItHasStarted) {
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(code_of(shell("sleep 100", 100ms)), make_error_code(CommandErrc::timeout));
  // A child that holds the output open is not waited for, and doesn't live on.
  const auto said = shell("sleep 100 & echo $!");
  ASSERT_TRUE(said) << said.error().to_string();
  const auto pid = static_cast<pid_t>(std::stol(*said));
  const auto state = [pid] {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string line;
    std::getline(file, line);
    const auto end = line.rfind(')');
    return end == std::string::npos ? 'X' : line.at(end + 2);
  };
  while (state() != 'X' && state() != 'Z' && std::chrono::steady_clock::now() - begun < 50s)
    std::this_thread::yield();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 50s);
}

TEST(RunCommand, InheritsNothing) {
  EXPECT_EQ(shell("ls /proc/self/fd | grep -c .").value_or("?"), "4\n");  // 0, 1, 2 and that of the folder
  ::setenv("POSTERN_TEST_SECRET", "x", 1);
  EXPECT_THAT(run_command({"/usr/bin/env"}, 10s, 10'000).value_or("POSTERN_TEST_SECRET"),
              ::testing::Not(HasSubstr("POSTERN_TEST_SECRET")));
  EXPECT_EQ(shell("read x; echo \"[$x]\"").value_or("?"), "[]\n");
}

TEST(RunCommand, HasNoRights) {
  std::string status;
  std::thread([&status] {
    ASSERT_TRUE(give_up_privileges_of_thread());
    status = run_command({"/bin/cat", "/proc/self/status"}, 10s, 100'000).value_or("?");
  }).join();
  EXPECT_THAT(status, HasSubstr("NoNewPrivs:\t1"));
  EXPECT_THAT(status, ::testing::Not(HasSubstr("Uid:\t0")));
  EXPECT_THAT(status, HasSubstr("CapEff:\t0000000000000000"));
  const auto own = run_command({"/bin/cat", "/proc/self/status"}, 10s, 100'000).value_or("?");
  EXPECT_THAT(own,
              HasSubstr("Uid:\t" + std::to_string(::getuid())));  // of the other threads nothing is taken
}

TEST(PlanAnswer, IsANameInTheFirstLine) {
  EXPECT_EQ(parse_plan_answer("gold\n"), "gold");
  EXPECT_EQ(parse_plan_answer("  gold \r\nwhat follows counts for nothing"), "gold");
  EXPECT_EQ(parse_plan_answer(""), "");
  EXPECT_EQ(parse_plan_answer("\n"), "");
  EXPECT_EQ(parse_plan_answer("a plan\n"), std::nullopt);
  EXPECT_EQ(parse_plan_answer("{\"plan\": \"gold\"}\n"), std::nullopt);
  EXPECT_TRUE(parse_plan_answer("gold\n" + std::string(plan_answer_bytes_max - 5, 'x')));
  EXPECT_FALSE(parse_plan_answer("gold\n" + std::string(plan_answer_bytes_max - 4, 'x')));
}

TEST(PlanAnswer, LoginsAreNoOptions) {
  EXPECT_TRUE(is_plain_argument("anna@example.org"));
  for (const std::string& login :
       {std::string("-x"), std::string("--help"), std::string("a\0b", 3), std::string()})
    EXPECT_FALSE(is_plain_argument(login)) << login;
}

// --- Lookups ---

struct PlanLookupTest : ::testing::Test {
  std::string directory;
  ManualClock clock;
  test::CaptureLogger logger;
  std::unique_ptr<store::SegmentWriter> segment;
  std::unique_ptr<limits::Book> book;
  std::unique_ptr<PlanLookup> lookup;

  PlanLookupTest() {
    std::string name = "/tmp/postern-lookup-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    directory = name;
    std::filesystem::permissions(directory, std::filesystem::perms::all);
    store::SegmentOptions options;
    options.path = directory + "/segment";
    options.sessions_max = options.accounts_max = options.redirects_max = 16;
    store::RecoveryReport report;
    std::filesystem::create_directory(directory + "/asked");
    std::filesystem::permissions(directory + "/asked", std::filesystem::perms::all);
    options.path = directory + "/run/segment";
    std::filesystem::create_directory(directory + "/run");
    auto opened = store::SegmentWriter::open(options, clock, report);
    if (!opened) throw std::runtime_error(opened.error().to_string());
    segment = std::move(*opened);
    auto table = std::make_shared<limits::PlanTable>();
    for (const char* plan : {"guest", "gold", "silver"}) table->plans[plan];
    table->default_plan = "guest";
    table->looked_up = true;
    if (!table->map.add("mapped silver\n", "map", table->plans)) throw std::runtime_error("map");
    book = std::make_unique<limits::Book>(*segment, clock, logger, table);
  }
  ~PlanLookupTest() override {
    lookup.reset();
    book.reset();
    segment.reset();
    std::filesystem::remove_all(directory);
  }
  // A command that notes who was asked about, and says this.
  void command(const std::string& script) {
    const auto path = directory + "/plan-of";
    {
      std::ofstream file(path);
      file << "#!/bin/sh\necho x >> \"" << directory << "/asked/$1\"\n" << script << "\n";
    }
    std::filesystem::permissions(path, std::filesystem::perms(0755));
    PlanLookupOptions options{{path}, 10s, 10min};
    if (lookup)
      lookup->set_options(options);
    else
      lookup = std::make_unique<PlanLookup>(*book, clock, logger, options);
  }
  std::size_t asked(const std::string& login) const {
    std::ifstream file(directory + "/asked/" + login);
    return static_cast<std::size_t>(std::count(std::istreambuf_iterator<char>(file), {}, '\n'));
  }
  void wait_for(const std::function<bool()>& condition) {
    const auto until = std::chrono::steady_clock::now() + 30s;
    while (!condition() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    EXPECT_TRUE(condition());
  }
  std::string plan_of(const std::string& login) {
    return book->use_of(std::hash<std::string>{}(login), login).plan;
  }
  void ask(const std::string& login) { lookup->ask(std::hash<std::string>{}(login), login); }
};

TEST_F(PlanLookupTest, WhatTheCommandSaysIsThePlan) {
  command("[ \"$1\" = anna ] && echo gold");
  ask("anna");
  wait_for([this] { return plan_of("anna") == "gold"; });
  // Asked again when the answer is no longer good, and not before.
  for (int i = 0; i < 10; ++i) ask("anna");
  EXPECT_EQ(asked("anna"), 1u);
  command("echo silver");
  EXPECT_EQ(plan_of("anna"), "gold");
  clock.advance(10min);
  wait_for([this] {
    ask("anna");
    return plan_of("anna") == "silver";
  });
  EXPECT_EQ(asked("anna"), 2u);
}

TEST_F(PlanLookupTest, FailuresLeaveWhatWasKnown) {
  command("echo gold");
  ask("anna");
  wait_for([this] { return plan_of("anna") == "gold"; });
  for (const char* script : {"exit 1", "echo no such plan", "echo platinum", "yes"}) {
    clock.advance(10min);
    command(script);
    const auto before = asked("anna");
    const auto told = logger.count("plan not looked up");
    wait_for([&] {
      ask("anna");
      return asked("anna") > before;
    });
    wait_for([&] { return logger.count("plan not looked up") > told; });
    EXPECT_EQ(plan_of("anna"), "gold") << script;
  }
  EXPECT_EQ(plan_of("bob"), "guest");
}

TEST_F(PlanLookupTest, WhomAMapNamesKeepsThat) {
  command("echo gold");
  ask("mapped");
  ask("anna");
  wait_for([this] { return plan_of("anna") == "gold" && asked("mapped") == 1; });
  EXPECT_EQ(plan_of("mapped"), "silver");
}

TEST_F(PlanLookupTest, NothingSaidIsTheDefaultPlan) {
  command("echo gold");
  ask("anna");
  wait_for([this] { return plan_of("anna") == "gold"; });
  command("true");
  clock.advance(10min);
  wait_for([this] {
    ask("anna");
    return plan_of("anna") == "guest";
  });
}

}  // namespace
}  // namespace postern::broker
