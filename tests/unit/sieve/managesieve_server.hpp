// A ManageSieve server of the test's own: scripts in memory, without TLS, with refusals and losses on cue.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "unit/session/script_server.hpp"

namespace postern::test {

class ManageSieveServer {
 public:
  using Scripts = std::map<std::string, std::string>;

  ManageSieveServer() : server_([this](ScriptServer::Peer& peer) { talk(peer); }) {}
  std::uint16_t port() const { return server_.port; }
  int connections() const { return server_.connections; }

  // Each under the lock; the server thread reads them.
  template <typename F>
  auto with(F use) {
    const std::lock_guard lock(mutex_);
    return use(*this);
  }
  Scripts scripts;
  std::string active;
  std::string no_include;  // a script that is listed and can't be included
  std::string greeting =
      "\"IMPLEMENTATION\" \"Test\"\r\n\"SIEVE\" \"vacation include date relational\"\r\n\"SASL\" "
      "\"PLAIN\"\r\nOK\r\n";
  std::map<std::string, std::string> instead;  // by command: what it is answered, and nothing is done
  std::string lost_before, lost_after;         // commands at which the connection ends: not done, or done
  std::vector<std::string> commands;           // the names, in order, but LOGOUT
  int log_outs = 0;

 private:
  struct Command {
    std::string name;
    std::vector<std::string> arguments;
  };

  // Words of one command, literals included. Literals here end with a line end, as scripts do.
  static Command read(ScriptServer::Peer& peer) {
    Command command;
    auto line = peer.line();
    command.name = line.substr(0, line.find(' '));
    std::size_t at = command.name.size();
    while (at < line.size()) {
      if (line[at] == ' ') {
        ++at;
      } else if (line[at] == '{') {
        auto size = std::stoul(line.substr(at + 1));
        std::string literal;
        while (literal.size() < size) literal += peer.line() + "\r\n";
        command.arguments.push_back(literal);
        line = peer.line();
        at = 0;
      } else {
        std::string word;
        for (++at; at < line.size() && line[at] != '"'; ++at)
          word += line[at] == '\\' ? line[++at] : line[at];
        ++at;
        command.arguments.push_back(word);
      }
    }
    return command;
  }

  static std::string quoted(const std::string& text) {
    std::string out = "\"";
    for (const char c : text) (out += c == '"' || c == '\\' ? "\\" : "") += c;
    return out + "\"";
  }

  std::string answer(const Command& command) {
    const auto& name = command.name;
    const auto& arguments = command.arguments;
    if (name == "LISTSCRIPTS") {
      std::string out;
      for (const auto& [script, text] : scripts)
        out += quoted(script) + (script == active ? " ACTIVE\r\n" : "\r\n");
      return out + "OK\r\n";
    }
    if (name == "GETSCRIPT") {
      if (!scripts.contains(arguments.at(0))) return "NO (NONEXISTENT) \"none\"\r\n";
      const auto& text = scripts[arguments[0]];
      return "{" + std::to_string(text.size()) + "}\r\n" + text + "\r\nOK\r\n";
    }
    if (name == "CHECKSCRIPT" && !no_include.empty()) {
      const auto& text = arguments.at(0);
      const bool warned = text.contains(quoted(no_include)) && !text.contains(":optional");
      return warned ? "OK (WARNINGS) \"there is none\"\r\n" : "OK\r\n";
    }
    if (name == "PUTSCRIPT") scripts[arguments.at(0)] = arguments.at(1);
    if (name == "SETACTIVE") {
      if (!arguments.at(0).empty() && !scripts.contains(arguments[0])) return "NO (NONEXISTENT)\r\n";
      active = arguments[0];
    }
    return "OK\r\n";
  }

  void talk(ScriptServer::Peer& peer) {
    peer.send(with([](auto& self) { return self.greeting; }));
    for (;;) {
      const auto command = read(peer);
      if (command.name.empty()) return;
      const std::lock_guard lock(mutex_);
      if (command.name == "LOGOUT") {  // nobody waits for the answer
        ++log_outs;
        return;
      }
      commands.push_back(command.name);
      if (command.name == lost_before) return;
      const auto other = instead.find(command.name);
      const auto said = other != instead.end() ? other->second : answer(command);
      if (command.name == lost_after) return;
      peer.send(said);
    }
  }

  std::mutex mutex_;
  ScriptServer server_;  // last: its thread ends first
};

}  // namespace postern::test
