// posternctl - asks a running broker, and tells it what to do
//
// SYNOPSIS     posternctl [--control PATH] [--json] COMMAND
// COMMANDS     status, sessions [LOGIN], accounts [LOGIN], end-session TAG, drain, undrain, reload,
//              log-level LEVEL, upgrade, version, limits show LOGIN, limits top, limits grant LOGIN, limits reset LOGIN
// PROTOCOL     One line of JSON there and one back, over the broker's control socket (src/broker/control.hpp).
// SECURITY     The broker answers only root and its own user.
// DIAGNOSTICS  Exit status 0; 1 if the broker refused; 2 for a wrong command line; 3 if the broker can't be reached
//              or doesn't answer.
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <CLI/CLI.hpp>

#include "ctl/control_client.hpp"
#include "ctl/tables.hpp"
#include "postern/base/json_misuse.hpp"

namespace {

enum ExitStatus { success = 0, refused = 1, wrong_usage = 2, no_broker = 3 };

struct Arguments {
  std::string control = "/run/postern/control.sock";
  bool json = false;
  std::string login, tag, level;
  std::string limit, count, amount, until;
};

std::string request_line(const std::string& command, const Arguments& arguments) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  const auto member = [&](const char* name, const std::string& value) {
    if (value.empty()) return;
    writer.Key(name);
    writer.String(value);
  };
  writer.StartObject();
  member("command", command);
  member("login", arguments.login);
  member("tag", arguments.tag);
  member("level", arguments.level);
  member("limit", arguments.limit);
  member("count", arguments.count);
  member("amount", arguments.amount);
  member("until", arguments.until);
  writer.EndObject();
  return buffer.GetString();
}

// What to do about it, behind the reason.
const char* advice(const std::error_code& code) {
  if (code == std::errc::no_such_file_or_directory || code == std::errc::connection_refused)
    return "\nIs posternd running? [control] socket in its configuration says where it listens (--control).";
  if (code == std::errc::permission_denied) return "\nOnly root and the broker's own user get an answer.";
  return "";
}

int run(const std::string& command, const Arguments& arguments) {
  auto line = postern::ctl::ask_broker(arguments.control, request_line(command, arguments));
  if (!line) {
    std::fprintf(stderr, "posternctl: the broker can't be asked: %s%s\n", line.error().to_string().c_str(),
                 advice(line.error().code));
    return no_broker;
  }
  rapidjson::Document answer;
  answer.Parse<rapidjson::kParseIterativeFlag>(line->data(), line->size());
  if (answer.HasParseError() || !answer.IsObject() || !answer.HasMember("ok")) {
    std::fprintf(stderr, "posternctl: %s: that is no broker's answer\n", arguments.control.c_str());
    return no_broker;
  }
  const bool ok = answer["ok"].IsTrue();
  if (arguments.json) {
    std::printf("%s\n", line->c_str());
  } else if (ok) {
    std::fputs(postern::ctl::describe(command, answer).c_str(), stdout);
  } else {
    const auto error = answer.FindMember("error");
    const bool told = error != answer.MemberEnd() && error->value.IsString();
    const std::string why = told ? error->value.GetString() : "no reason told";
    std::fprintf(stderr, "posternctl: %s\n", postern::ctl::printable(why).c_str());
  }
  if (std::fflush(stdout) != 0) return refused;
  return ok ? success : refused;
}

}  // namespace

namespace {

void declare_limits(CLI::App& app, Arguments& arguments) {
  auto* limits = app.add_subcommand("limits", "What people use of their plans");
  limits->require_subcommand(1);
  const auto with_login = [&](const char* name, const char* help) {
    auto* command = limits->add_subcommand(name, help);
    command->add_option("LOGIN", arguments.login, "Whose")->required();
    return command;
  };
  with_login("show", "What a person has used, and may use");
  auto* top = limits->add_subcommand("top", "Who has used the most");
  top->add_option("--by", arguments.limit, "Of which limit, as in the configuration (default: mail_day)");
  top->add_option("--count", arguments.count, "How many people (default: 20)");
  auto* grant = with_login("grant", "Allow somebody more until a time");
  grant->add_option("--limit", arguments.limit, "Of which limit, as in the configuration")->required();
  grant->add_option("--amount", arguments.amount, "How much more: octets such as 500MB, or a number")
      ->required();
  grant
      ->add_option("--until", arguments.until,
                   "Until when: 2026-01-31T12:00:00Z, or for how long: 90m, 12h, 2d")
      ->required();
  with_login("reset", "Forget what a person has used, and what was granted");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Asks a running broker of Postern, and tells it what to do", "posternctl"};
  Arguments arguments;
  app.add_option("--control", arguments.control, "The broker's control socket")->capture_default_str();
  app.add_flag("--json", arguments.json, "Print the broker's answer as it is, one line of JSON");
  app.set_version_flag("--version", "posternctl " POSTERN_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  app.add_subcommand("status", "Version, uptime, requests, IMAP connections, caches");
  app.add_subcommand("sessions", "Who is signed in")
      ->add_option("LOGIN", arguments.login, "Only this login's");
  app.add_subcommand("accounts", "Accounts in memory, with their IMAP connections")
      ->add_option("LOGIN", arguments.login, "Only this login's");
  app.add_subcommand("end-session", "Sign a session out")
      ->add_option("TAG", arguments.tag, "Its tag, as in 'sessions' and in the log")
      ->required();
  app.add_subcommand("drain", "Take no new requests");
  app.add_subcommand("undrain", "Take requests again");
  app.add_subcommand("reload", "Read the configuration again");
  app.add_subcommand("log-level", "Change what is logged, until the next reload or restart")
      ->add_option("LEVEL", arguments.level, "trace, debug, info, warning or error")
      ->required();
  app.add_subcommand("upgrade", "Start the program on disk in place of the running one; no session is lost");
  app.add_subcommand("version", "The running broker's version");
  declare_limits(app, arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? success : wrong_usage;
  }
  try {
    const auto* command = app.get_subcommands().front();
    const auto nested = command->get_subcommands();
    return run(nested.empty() ? command->get_name() : command->get_name() + "-" + nested.front()->get_name(),
               arguments);
  } catch (const postern::JsonMisuse& misuse) {
    std::fprintf(stderr, "posternctl: that is no broker's answer: %s\n", misuse.what());
    return no_broker;
  }
}
