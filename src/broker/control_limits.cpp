// posternctl limits: what people use, and what an administrator grants them.
#include <charconv>
#include <limits>

#include "broker/config_binders.hpp"
#include "broker/control.hpp"

namespace postern::broker {
namespace {

using jmap::JsonWriter;
using limits::Limit;
using limits::Standing;
using limits::Use;

constexpr std::size_t top_default = 20, top_max = 1'000;
constexpr std::int64_t granted_seconds_max = 366LL * 86'400;

void write_standing(JsonWriter& writer, const Standing& standing) {
  writer.member("unit", is_octets(standing.limit)                 ? "octets"
                        : standing.limit < Limit::recipients_hour ? "messages"
                                                                  : "recipients");
  writer.member_uint("used", standing.used);
  if (standing.most != limits::unlimited) writer.member_uint("amount", standing.most);
}

void write_use(JsonWriter& writer, const Use& use) {
  writer.member("login", use.login);
  writer.member("plan", use.plan);
  writer.key("limits");
  writer.start_array();
  for (const auto& standing : use.standings) {
    writer.start_object();
    writer.member("limit", to_string(standing.limit));
    write_standing(writer, standing);
    if (const auto extra = use.extra[static_cast<std::size_t>(standing.limit)]; extra > 0)
      writer.member_uint("extra", extra);
    writer.end_object();
  }
  writer.end_array();
  if (use.month_mail_most != limits::unlimited) writer.member_uint("mailPerMonth", use.month_mail_most);
  if (use.month_files_most != limits::unlimited) writer.member_uint("filesPerMonth", use.month_files_most);
  if (use.extra_until > 0) writer.member_utc_date("extraUntil", use.extra_until);
}

void write_top(JsonWriter& writer, Limit by, const std::vector<Use>& people) {
  writer.member("limit", to_string(by));
  writer.key("people");
  writer.start_array();
  for (const auto& use : people) {
    writer.start_object();
    writer.member("login", use.login);
    writer.member("plan", use.plan);
    write_standing(writer, use.standings[static_cast<std::size_t>(by)]);
    writer.end_object();
  }
  writer.end_array();
}

std::optional<std::uint64_t> whole_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// "500MB" of octets, "500" of anything.
std::optional<std::uint64_t> amount_in(const std::string& text, Limit limit) {
  auto amount = whole_number(text);
  if (!amount && is_octets(limit)) amount = octets_of(toml::value<std::string>(text));
  return amount && *amount > 0 && *amount <= limits::limit_max ? amount : std::nullopt;
}

// date = 4DIGIT "-" 2DIGIT "-" 2DIGIT "T" 2DIGIT ":" 2DIGIT ":" 2DIGIT "Z" (RFC 3339, 5.6), or a number and m, h or d
std::optional<std::int64_t> time_in(const std::string& text, std::int64_t now) {
  std::int64_t until = 0;
  if (text.size() == 20 && text[10] == 'T' && text[19] == 'Z') {
    std::tm parts{};
    const char* end = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts);
    if (end == nullptr || *end != '\0') return std::nullopt;
    until = ::timegm(&parts);
  } else {
    const auto number =
        text.empty() ? std::nullopt : whole_number(std::string_view(text).substr(0, text.size() - 1));
    if (!number || *number > static_cast<std::uint64_t>(granted_seconds_max)) return std::nullopt;
    const char unit = text.back();
    const std::int64_t seconds = unit == 'm' ? 60 : unit == 'h' ? 3'600 : unit == 'd' ? 86'400 : 0;
    until = now + static_cast<std::int64_t>(*number) * seconds;
  }
  if (until <= now || until > now + granted_seconds_max) return std::nullopt;
  return until;
}

std::expected<void, std::string> grant(const std::string& login, const ControlArgument& argument,
                                       const LimitsActions& actions) {
  const auto limit = limits::limit_of_key(argument("limit"));
  if (!limit) return std::unexpected("no such limit: " + argument("limit"));
  const auto amount = amount_in(argument("amount"), *limit);
  if (!amount) return std::unexpected("the amount must be a number that isn't 0, or a size such as 500MB");
  const auto until = time_in(argument("until"), actions.now());
  if (!until)
    return std::unexpected("the time must be within a year from now: 2026-01-31T12:00:00Z, or 90m, 12h, 2d");
  actions.grant(login, *limit, *amount, *until);
  return {};
}

}  // namespace

std::expected<void, std::string> answer_limits(std::string_view command, const ControlArgument& argument,
                                               const LimitsActions& actions, JsonWriter& writer) {
  if (command == "limits-top") {
    const auto name = argument("limit"), count_text = argument("count");
    const auto by = name.empty() ? std::optional(Limit::mail_day) : limits::limit_of_key(name);
    if (!by) return std::unexpected("no such limit: " + name);
    const auto count =
        count_text.empty() ? std::optional<std::uint64_t>(top_default) : whole_number(count_text);
    if (!count || *count == 0 || *count > top_max)
      return std::unexpected("the count must be from 1 to " + std::to_string(top_max));
    write_top(writer, *by, actions.top(*by, static_cast<std::size_t>(*count)));
    return {};
  }
  const auto login = actions.canonical(argument("login"));
  if (login.empty() || login.size() > store::login_bytes_max) return std::unexpected("the login is missing");
  if (command == "limits-grant") {
    if (auto granted = grant(login, argument, actions); !granted) return granted;
  } else if (command == "limits-reset") {
    actions.reset(login);
  } else if (command != "limits-show") {
    return std::unexpected("unknown command: " + std::string(command));
  }
  write_use(writer, actions.show(login));
  return {};
}

}  // namespace postern::broker
