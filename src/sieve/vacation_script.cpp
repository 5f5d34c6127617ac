// Writing and reading Postern's own script (RFC 5228; vacation, RFC 5230; include, RFC 6609; date, RFC 5260;
// relational, RFC 5231). Every string in it is quoted; neither "variables" nor "encoded-character" is required, so
// nothing inside a string means anything. What is read is bounded by the limits of a VacationResponse.
#include "postern/sieve/vacation_script.hpp"

#include <charconv>
#include <chrono>

#include "postern/base/crypto.hpp"
#include "postern/base/encoding.hpp"
#include "postern/mail/mime/transfer_encode.hpp"
#include "postern/sieve/protocol.hpp"

namespace postern::sieve {
namespace {

constexpr std::string_view signature = "# postern-vacation 1 ";
constexpr std::string_view data_mark = "#: ";
constexpr std::string_view notice =
    "# Postern keeps your vacation response here and writes this script anew when it changes.\r\n"
    "# Rules of your own belong into another script. If you edit this one, Postern leaves it alone.\r\n";
constexpr std::size_t chunk_octets = 45;  // of a value, in one line of base64

// quoted-string (RFC 5228, 2.4.2), with CRLF for every line end.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\r' || c == '\n') {
      out += "\r\n";
      if (c == '\r' && i + 1 < text.size() && text[i + 1] == '\n') ++i;
      continue;
    }
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out += '"';
}

std::string list_of(const std::vector<std::string>& strings) {
  std::string out = "[";
  for (const auto& string : strings) (out += out.size() > 1 ? ", " : "") += quoted(string);
  return out += ']';
}

// --- The data in its comments ---

void put_data(std::string& out, std::string_view key, std::string_view value) {
  std::size_t at = 0;
  do {
    const auto chunk = value.substr(at, chunk_octets);
    out.append(data_mark).append(key).append(" ").append(base64_encode(chunk)).append("\r\n");
    at += chunk_octets;
  } while (at < value.size());
}

void put_text(std::string& out, std::string_view key, const std::optional<std::string>& value) {
  if (value) put_data(out, key, *value);
}

void put_date(std::string& out, std::string_view key, const std::optional<std::int64_t>& seconds) {
  if (seconds) put_data(out, key, std::to_string(*seconds));
}

// --- The rule ---

struct DateAndTime {
  std::string date, time;  // "2026-07-01", "08:00:00"
};
DateAndTime utc_of(std::int64_t seconds) {
  using namespace std::chrono;  // NOLINT(google-build-using-namespace)
  const sys_seconds at{std::chrono::seconds(seconds)};
  const auto day = floor<days>(at);
  const year_month_day ymd(day);
  const auto two = [](auto n) {
    const auto digits = std::to_string(n);
    return digits.size() < 2 ? "0" + digits : digits;
  };
  auto year = std::to_string(static_cast<int>(ymd.year()));
  if (year.size() < 4) year.insert(0, 4 - year.size(), '0');
  const auto clock = (at - day).count();
  return {year + "-" + two(static_cast<unsigned>(ymd.month())) + "-" + two(static_cast<unsigned>(ymd.day())),
          two(clock / 3'600) + ":" + two(clock / 60 % 60) + ":" + two(clock % 60)};
}

// One test of RFC 5260, 5. Its parts compare as text; what "iso8601" looks like differs between servers.
std::string current(std::string_view relation, std::string_view part, std::string_view value) {
  return "currentdate :zone \"+0000\" :value \"" + std::string(relation) + "\" \"" + std::string(part) +
         "\" \"" + std::string(value) + "\"";
}

// On or after, or before: `beyond` is "gt" or "lt", `within` "ge" or "lt".
std::string date_test(std::int64_t seconds, std::string_view beyond, std::string_view within) {
  const auto at = utc_of(seconds);
  return "anyof(" + current(beyond, "date", at.date) + ",\r\n    allof(" + current("eq", "date", at.date) +
         ",\r\n      " + current(within, "time", at.time) + "))";
}

std::string text_entity(std::string_view type, std::string_view text) {
  std::string content;
  for (std::size_t i = 0; i < text.size(); ++i) {  // canonical line ends (RFC 2045, 6.8)
    if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r')) content += '\r';
    content += text[i];
  }
  return "Content-Type: text/" + std::string(type) +
         "; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" + mail::base64_lines(content) +
         "\r\n";
}

// The reason, with " :mime" in front where it is a MIME entity (RFC 5230, 4.3).
std::string reason_of(const mail::VacationResponse& response) {
  if (!response.html_body) return quoted(response.text_body.value_or(std::string(default_vacation_text)));
  if (!response.text_body) return ":mime " + quoted(text_entity("html", *response.html_body));
  // "=_" can't stand in base64.
  const auto boundary =
      "=_" + std::to_string(stable_hash64(*response.text_body + '\0' + *response.html_body));
  return ":mime " + quoted("Content-Type: multipart/alternative; boundary=\"" + boundary + "\"\r\n\r\n--" +
                           boundary + "\r\n" + text_entity("plain", *response.text_body) + "--" + boundary +
                           "\r\n" + text_entity("html", *response.html_body) + "--" + boundary + "--\r\n");
}

void write_rule(std::string& out, const mail::VacationResponse& response,
                const std::vector<std::string>& addresses) {
  std::vector<std::string> tests;
  if (response.from_date) tests.push_back(date_test(*response.from_date, "gt", "ge"));
  if (response.to_date) tests.push_back(date_test(*response.to_date, "lt", "lt"));
  std::string action = "vacation ";
  if (response.subject) action += ":subject " + quoted(*response.subject) + " ";
  if (!addresses.empty()) action += ":addresses " + list_of(addresses) + " ";
  action += reason_of(response) + ";\r\n";
  if (tests.empty()) {
    out += action;
    return;
  }
  out += "if allof(";
  for (const auto& test : tests) (out += &test == tests.data() ? "" : ",\r\n  ") += test;
  out += ") {\r\n  " + action + "}\r\n";
}

std::string digest_of(std::string_view text) {
  std::string canonical;
  canonical.reserve(text.size());
  for (const char c : text)
    if (c != '\r') canonical += c;
  const auto digest = sha256(canonical);
  return hex_encode({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

// --- Reading ---

// The text up to the next LF, without CR at its end; and what follows.
std::string_view take_line(std::string_view& text) {
  const auto end = text.find('\n');
  auto line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

bool take_date(std::string_view text, std::optional<std::int64_t>& out) {
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc{} || end != text.data() + text.size()) return false;
  out = seconds;
  return true;
}

struct Data {
  std::optional<std::string> enabled, from, to, subject, text, html, include;
  std::optional<std::string>* find(std::string_view key) {
    if (key == "enabled") return &enabled;
    if (key == "from") return &from;
    if (key == "to") return &to;
    if (key == "subject") return &subject;
    if (key == "text") return &text;
    if (key == "html") return &html;
    return key == "include" ? &include : nullptr;
  }
};

bool take_data(std::string_view line, Data& data) {
  line.remove_prefix(data_mark.size());
  const auto space = line.find(' ');
  auto* value = data.find(line.substr(0, space));
  const auto chunk = space == std::string_view::npos ? std::nullopt : base64_decode(line.substr(space + 1));
  if (value == nullptr || !chunk) return false;
  if (!*value) value->emplace();
  **value += *chunk;
  return (*value)->size() <= mail::vacation_body_octets_max;
}

std::optional<VacationScript> script_of(Data data) {
  for (const auto* value : {&data.subject, &data.text, &data.html})
    if (*value && !is_valid_utf8(**value)) return std::nullopt;
  VacationScript script;
  auto& response = script.response;
  if (!data.enabled || (*data.enabled != "0" && *data.enabled != "1")) return std::nullopt;
  if (data.from && !take_date(*data.from, response.from_date)) return std::nullopt;
  if (data.to && !take_date(*data.to, response.to_date)) return std::nullopt;
  if (data.include && !is_script_name(*data.include)) return std::nullopt;
  response.is_enabled = *data.enabled == "1";
  response.subject = std::move(data.subject);
  response.text_body = std::move(data.text);
  response.html_body = std::move(data.html);
  script.include = std::move(data.include).value_or(std::string());
  return script;
}

}  // namespace

std::vector<std::string> extensions_of(const VacationScript& script) {
  const auto& response = script.response;
  std::vector<std::string> all;
  const bool dated = response.is_enabled && (response.from_date || response.to_date);
  if (dated) all.insert(all.end(), {"date", "relational"});
  if (!script.include.empty()) all.emplace_back("include");
  if (response.is_enabled) all.emplace_back("vacation");
  return all;
}

std::string write_vacation_script(const VacationScript& script, const std::vector<std::string>& addresses) {
  const auto& response = script.response;
  std::string rest(notice);
  put_data(rest, "enabled", response.is_enabled ? "1" : "0");
  put_date(rest, "from", response.from_date);
  put_date(rest, "to", response.to_date);
  put_text(rest, "subject", response.subject);
  put_text(rest, "text", response.text_body);
  put_text(rest, "html", response.html_body);
  if (!script.include.empty()) put_data(rest, "include", script.include);
  if (const auto extensions = extensions_of(script); !extensions.empty())
    rest += "require " + list_of(extensions) + ";\r\n";
  if (response.is_enabled) write_rule(rest, response, addresses);
  // Behind the rule, since a "stop" there ends all. One that has been deleted meanwhile is no error.
  if (!script.include.empty()) rest += "include :personal :optional " + quoted(script.include) + ";\r\n";
  return std::string(signature) + digest_of(rest) + "\r\n" + rest;
}

std::string write_include_probe(std::string_view name, bool optional) {
  return std::string("require [\"include\"];\r\ninclude :personal ") + (optional ? ":optional " : "") +
         quoted(name) + ";\r\n";
}

std::optional<VacationScript> read_vacation_script(std::string_view text) {
  const auto first = take_line(text);
  if (!first.starts_with(signature) || first.substr(signature.size()) != digest_of(text)) return std::nullopt;
  Data data;
  while (text.starts_with('#'))
    if (const auto line = take_line(text); line.starts_with(data_mark) && !take_data(line, data))
      return std::nullopt;
  return script_of(std::move(data));
}

}  // namespace postern::sieve
