// Columns, units, and one text for each command's answer.
#include "ctl/tables.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>

namespace postern::ctl {
namespace {

const rapidjson::Value nothing;

const rapidjson::Value& member(const rapidjson::Value& object, const char* name) {
  if (!object.IsObject()) return nothing;
  const auto it = object.FindMember(name);
  return it == object.MemberEnd() ? nothing : it->value;
}

std::string text_of(const rapidjson::Value& value) {
  if (value.IsString()) return std::string(value.GetString(), value.GetStringLength());
  if (value.IsUint64()) return std::to_string(value.GetUint64());
  if (value.IsInt64()) return std::to_string(value.GetInt64());
  if (value.IsBool()) return value.GetBool() ? "yes" : "no";
  return "-";
}

std::string text_of(const rapidjson::Value& object, const char* name) {
  return text_of(member(object, name));
}

std::uint64_t number_of(const rapidjson::Value& object, const char* name) {
  const auto& value = member(object, name);
  return value.IsUint64() ? value.GetUint64() : 0;
}

std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string more_line(const rapidjson::Value& answer) {
  const auto more = number_of(answer, "more");
  return more == 0 ? "" : "... and " + std::to_string(more) + " more\n";
}

void status_line(std::string& out, std::string_view name, const std::string& value) {
  out +=
      std::string(name) + std::string(name.size() < 12 ? 12 - name.size() : 1, ' ') + printable(value) + "\n";
}

std::string describe_status(const rapidjson::Value& s) {
  std::string out;
  const auto seconds = static_cast<std::int64_t>(number_of(s, "uptimeSeconds"));
  status_line(out, "version", text_of(s, "version"));
  status_line(
      out, "process",
      text_of(s, "pid") + ", up " + human_seconds(seconds) + " (since " + text_of(s, "started") + ")");
  const bool draining = member(s, "draining").IsTrue();
  status_line(out, "state", draining ? "draining: no new requests" : "serving");
  status_line(out, "log level", text_of(s, "logLevel"));
  const auto& requests = member(s, "requests");
  status_line(out, "requests",
              text_of(requests, "total") + " (" + text_of(requests, "open") + " open), answers 2xx " +
                  text_of(requests, "answers2xx") + ", 4xx " + text_of(requests, "answers4xx") + ", 5xx " +
                  text_of(requests, "answers5xx") + ", stale " + text_of(requests, "answersStale"));
  status_line(out, "sign-ins",
              text_of(requests, "signIns") + ", refused " + text_of(requests, "signInFailures"));
  const auto& workers = member(s, "workers");
  status_line(out, "workers",
              text_of(workers, "connectionsOpen") + " connections open, " +
                  text_of(workers, "connectionsRefused") + " refused");
  const auto& imap = member(s, "imap");
  status_line(out, "imap",
              text_of(imap, "server") + (member(imap, "backingOff").IsTrue() ? " (can't be reached)" : ""));
  status_line(out, "",
              text_of(imap, "connectionsOpen") + " connections open, " + text_of(imap, "logins") +
                  " logins, " + text_of(imap, "loginRefusals") + " refused, " +
                  text_of(imap, "loginFailures") + " failed");
  status_line(
      out, "",
      human_bytes(number_of(imap, "bytesIn")) + " in, " + human_bytes(number_of(imap, "bytesOut")) + " out");
  const auto& cache = member(s, "cache");
  status_line(out, "cache",
              text_of(cache, "accounts") + " accounts, " + text_of(cache, "views") + " views (" +
                  human_bytes(number_of(cache, "viewBytes")) + "), " + text_of(cache, "fragments") +
                  " fragments (" + human_bytes(number_of(cache, "fragmentBytes")) + ")");
  const auto& segment = member(s, "segment");
  status_line(out, "segment",
              text_of(segment, "sessions") + " of " + text_of(segment, "sessionsMax") + " sessions, " +
                  text_of(segment, "redirects") + " of " + text_of(segment, "redirectsMax") + " redirects, " +
                  human_bytes(number_of(segment, "bytes")));
  return out;
}

std::string describe_sessions(const rapidjson::Value& answer, const char* name) {
  Table table({"TAG", "LOGIN", "CREATED", "LAST USED", "EXPIRES"});
  const auto& sessions = member(answer, name);
  if (sessions.IsArray())
    for (const auto& session : sessions.GetArray())
      table.add({text_of(session, "tag"), text_of(session, "login"), text_of(session, "created"),
                 text_of(session, "lastUsed"), text_of(session, "expires")});
  return table.text() + more_line(answer);
}

std::string describe_accounts(const rapidjson::Value& answer) {
  Table table({"LOGIN", "IDLE", "REQUESTS", "VIEWS", "VIEW MEMORY", "STATE", "TIER", "TLS", "SELECTED",
               "COMMANDS", "IN", "OUT"});
  const auto& accounts = member(answer, "accounts");
  if (!accounts.IsArray()) return table.text();
  for (const auto& account : accounts.GetArray()) {
    std::vector<std::string> row{text_of(account, "login"),
                                 human_seconds(static_cast<std::int64_t>(number_of(account, "idleSeconds"))),
                                 text_of(account, "requestsInFlight"), text_of(account, "views"),
                                 human_bytes(number_of(account, "viewBytes"))};
    const auto& connections = member(account, "connections");
    if (!connections.IsArray() || connections.Empty()) {
      row.insert(row.end(), {"not connected", "-", "-", "-", "-", "-", "-"});
      table.add(std::move(row));
      continue;
    }
    for (const auto& connection : connections.GetArray()) {
      const auto selected = text_of(connection, "selected");
      row.insert(row.end(), {text_of(connection, "state"), text_of(connection, "tier"),
                             text_of(connection, "tls"), selected.empty() ? "-" : selected,
                             text_of(connection, "commands"), human_bytes(number_of(connection, "bytesIn")),
                             human_bytes(number_of(connection, "bytesOut"))});
      table.add(std::move(row));
      row.assign(5, "");  // a further connection of the same account
    }
  }
  return table.text() + more_line(answer);
}

// "12.3 MB of 30.0 MB"; messages and recipients are plain numbers.
std::string describe_standing(const rapidjson::Value& standing) {
  const bool octets = text_of(standing, "unit") == "octets";
  const auto shown = [octets](std::uint64_t amount) {
    return octets ? human_bytes(amount) : std::to_string(amount);
  };
  const auto& most = member(standing, "amount");
  return shown(number_of(standing, "used")) +
         (most.IsUint64() ? " of " + shown(most.GetUint64()) : std::string(", unlimited"));
}

std::string describe_use(const rapidjson::Value& answer) {
  std::string out;
  const auto line = [&out](std::string_view name, const std::string& value) {
    out += std::string(name) + std::string(name.size() < 24 ? 24 - name.size() : 1, ' ') + printable(value) +
           "\n";
  };
  line("login", text_of(answer, "login"));
  line("plan", text_of(answer, "plan"));
  const auto& standings = member(answer, "limits");
  if (standings.IsArray())
    for (const auto& standing : standings.GetArray()) {
      const auto extra = number_of(standing, "extra");
      line(text_of(standing, "limit"),
           describe_standing(standing) +
               (extra == 0 ? "" : " (" + std::to_string(extra) + " of them granted on top)"));
    }
  for (const auto* name : {"mailPerMonth", "filesPerMonth"}) {
    const auto& month = member(answer, name);
    line(name, month.IsUint64() ? "at most " + human_bytes(month.GetUint64()) : "unlimited");
  }
  if (member(answer, "extraUntil").IsString()) line("granted until", text_of(answer, "extraUntil"));
  return out;
}

std::string describe_top(const rapidjson::Value& answer) {
  Table table({"LOGIN", "PLAN", "USED"});
  const auto& people = member(answer, "people");
  if (people.IsArray())
    for (const auto& person : people.GetArray())
      table.add({text_of(person, "login"), text_of(person, "plan"), describe_standing(person)});
  return table.text();
}

std::string describe_reload(const rapidjson::Value& answer) {
  std::string sections;
  const auto& restart = member(answer, "needRestart");
  if (restart.IsArray())
    for (const auto& section : restart.GetArray()) sections += " [" + text_of(section) + "]";
  return "configuration reloaded\n" + (sections.empty() ? "" : "needs a restart to count:" + sections + "\n");
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0u;
    if (c == 0xC2 && next >= 0x80 && next < 0xA0) {  // U+0080 to U+009F: control characters, too
      out += '?';
      ++i;
    } else {
      out += c < 0x20 || c == 0x7F ? '?' : text[i];
    }
  }
  return out;
}

std::string Table::text() const {
  std::vector<std::vector<std::string>> cells;
  std::vector<std::size_t> widths;
  for (const auto& row : rows_) {
    auto& shown = cells.emplace_back();
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) {
      shown.push_back(printable(row[i]));
      widths[i] = std::max(widths[i], width_of(shown.back()));
    }
  }
  std::string out;
  for (const auto& row : cells) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += row[i] + std::string(widths[i] - width_of(row[i]) + 2, ' ');
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string human_bytes(std::uint64_t bytes) {
  static constexpr std::array<const char*, 5> units{"B", "kB", "MB", "GB", "TB"};
  if (bytes < 1'000) return std::to_string(bytes) + " B";
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  // What would be shown as 1000.0 of one unit is 1.0 of the next.
  for (; value >= 999.95 && unit + 1 < units.size(); ++unit) value /= 1'000;
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %s", value, units[unit]);
  return text;
}

std::string human_seconds(std::int64_t seconds) {
  const auto pair = [](std::int64_t large, const char* unit, std::int64_t small, const char* next) {
    return std::to_string(large) + unit + " " + std::to_string(small) + next;
  };
  if (seconds < 60) return std::to_string(std::max<std::int64_t>(seconds, 0)) + "s";
  if (seconds < 3'600) return pair(seconds / 60, "m", seconds % 60, "s");
  if (seconds < 86'400) return pair(seconds / 3'600, "h", seconds % 3'600 / 60, "m");
  return pair(seconds / 86'400, "d", seconds % 86'400 / 3'600, "h");
}

std::string describe(std::string_view command, const rapidjson::Value& answer) {
  if (command == "status") return describe_status(answer);
  if (command == "sessions") return describe_sessions(answer, "sessions");
  if (command == "end-session") return describe_sessions(answer, "ended");
  if (command == "accounts") return describe_accounts(answer);
  if (command == "limits-show" || command == "limits-grant" || command == "limits-reset")
    return describe_use(answer);
  if (command == "limits-top") return describe_top(answer);
  if (command == "reload") return describe_reload(answer);
  if (command == "drain") return "the broker takes no new requests until undrain\n";
  if (command == "undrain") return "the broker takes requests again\n";
  if (command == "log-level") return "log level set until the next reload or restart\n";
  if (command == "upgrade") return "the broker finishes what it is doing and starts the program on disk\n";
  if (command == "version") return text_of(answer, "version") + "\n";
  return "done\n";
}

}  // namespace postern::ctl
