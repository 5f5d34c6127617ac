// Plans as an administrator writes them. Each value is checked where it stands, so that what is wrong has a line.
#include "broker/config_limits.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

namespace postern::broker {
namespace {

using namespace std::chrono_literals;
using limits::Plan;

// nullopt with errno: it can't be opened, or not be read to its end.
std::optional<std::string> read_whole(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "re"), &std::fclose);
  if (!file) return std::nullopt;
  std::string content;
  std::array<char, 65'536> piece;
  while (const auto size = std::fread(piece.data(), 1, piece.size(), file.get()))
    content.append(piece.data(), size);
  if (std::ferror(file.get()) != 0) return std::nullopt;
  return content;
}

// Octets, or "unlimited".
Wrong read_octets(const toml::node& node, std::uint64_t& out) {
  if (const auto* word = node.as_string(); word != nullptr && word->get() == "unlimited") {
    out = limits::unlimited;
    return {};
  }
  const auto octets = octets_of(node);
  if (!octets || *octets > limits::limit_max)
    return "must be a size such as \"30MB\", up to " + std::to_string(limits::limit_max) +
           " octets, or \"unlimited\"";
  out = *octets;
  return {};
}

Wrong read_number(const toml::node& node, std::uint64_t& out) {
  if (const auto* word = node.as_string(); word != nullptr && word->get() == "unlimited") {
    out = limits::unlimited;
    return {};
  }
  const auto* value = node.as_integer();
  if (value == nullptr || value->get() < 0 || static_cast<std::uint64_t>(value->get()) > limits::limit_max)
    return "must be a number that is not negative, or \"unlimited\"";
  out = static_cast<std::uint64_t>(value->get());
  return {};
}

Wrong read_named(std::string_view key, const toml::node& node, Plan& plan) {
  if (const auto limit = limits::limit_of_key(key); limit && key == limits::key_of(*limit)) {
    auto& out = plan.limits[static_cast<std::size_t>(*limit)];
    return limits::is_octets(*limit) ? read_octets(node, out) : read_number(node, out);
  }
  if (key == "requests" || key == "sessions") {
    auto& out = key == "requests" ? plan.requests : plan.sessions;
    if (auto wrong = read_number(node, out)) return wrong;
    if (out == 0) return "must be at least 1";
    return {};
  }
  if (key == "uploads") return read_octets(node, plan.uploads);
  if (key == "sent_times_recipients") return boolean(plan.sent_times_recipients)(node);
  return "is no key of a plan";
}

// The columns of the table, in its order.
constexpr std::array columns = {limits::Limit::received_hour, limits::Limit::sent_hour,
                                limits::Limit::mail_hour,     limits::Limit::mail_day,
                                limits::Limit::files_hour,    limits::Limit::files_day};

std::optional<WrongPlan> read_row(const std::string& name, const toml::array& row, Plan& plan) {
  if (row.size() != columns.size())
    return WrongPlan{row.source(), name + " must have " + std::to_string(columns.size()) + " columns"};
  for (std::size_t i = 0; i < columns.size(); ++i)
    if (auto wrong = read_octets(row[i], plan.limits[static_cast<std::size_t>(columns[i])]))
      return WrongPlan{row[i].source(), name + ": " + std::string(limits::key_of(columns[i])) + " " + *wrong};
  return std::nullopt;
}

// A program, by its path, and arguments.
constexpr std::size_t command_arguments_max = 32;
Binder command(std::vector<std::string>& out) {
  return [&out, all = texts(out)](const toml::node& node) -> Wrong {
    if (auto wrong = all(node)) return wrong;
    const bool fits = out.size() <= command_arguments_max &&
                      std::none_of(out.begin(), out.end(), [](const std::string& argument) {
                        return argument.find('\0') != std::string::npos;
                      });
    if (!fits || (!out.empty() && !out.front().starts_with('/')))
      return "must be a program's path, which begins with a slash, and at most " +
             std::to_string(command_arguments_max - 1) + " arguments";
    return {};
  };
}

// entry = "/shared/" and what a slash, no star and no percent sign may stand in (RFC 5464, 3.1). What isn't shared, the
// person could write themselves.
Binder metadata_entry(std::string& out) {
  return [&out, any = text(out)](const toml::node& node) -> Wrong {
    if (auto wrong = any(node)) return wrong;
    const bool plain = out.size() <= 255 && std::all_of(out.begin(), out.end(), [](char c) {
                         return c > 32 && c < 127 && c != '*' && c != '%' && c != '"' && c != '\\';
                       });
    const bool entry =
        out.starts_with("/shared/") && !out.ends_with('/') && out.find("//") == std::string::npos;
    if (!out.empty() && !(plain && entry))
      return "must be a shared entry such as \"/shared/vendor/example/plan\"";
    return {};
  };
}

}  // namespace

Section limits_section(LimitsConfig& limits) {
  return {{"plan_maps", texts(limits.plan_maps)},
          {"plan_command", command(limits.lookup.command)},
          {"plan_command_timeout", duration(limits.lookup.timeout, 100ms, 10s)},
          {"plan_metadata", metadata_entry(limits.plan_metadata)},
          {"plan_cache", duration(limits.lookup.cache, 1s, 24h)},
          {"default_plan", text(limits.default_plan)},
          {"reading_reserve", size(limits.reading_reserve_bytes, 0, 1'000'000'000)},
          {"requests_in_flight", number(limits.requests_in_flight, 1, 1'000'000)}};
}

Section throttle_section(limits::ThrottleOptions& throttle) {
  return {{"enabled", boolean(throttle.enabled)},
          {"free_failures", number(throttle.free_failures, 1, 1'000)},
          {"failures_max", number(throttle.failures_max, 1, 10'000)},
          {"login_failures_max", number(throttle.login_failures_max, 1, 100'000)},
          {"address_failures_max", number(throttle.address_failures_max, 1, 1'000'000)},
          {"delay_min", duration(throttle.delay_min, 10ms, 1min)},
          {"delay_max", duration(throttle.delay_max, 10ms, 1min)},
          {"window", duration(throttle.window, 1s, 24h)},
          {"wrong_password_window", duration(throttle.wrong_password_window, 0s, 1h)}};
}

std::optional<WrongPlan> read_plans(const toml::table& rows, LimitsConfig& limits) {
  for (const auto& [key, node] : rows) {
    const auto name = "[plans] " + std::string(key.str());
    if (!limits::is_plan_name(key.str()))
      return WrongPlan{key.source(), name + " is no name for a plan: 1 to " +
                                         std::to_string(limits::plan_name_bytes_max) +
                                         " letters, digits, hyphens, underscores and dots"};
    if (limits.plans.size() > limits::plans_max)
      return WrongPlan{key.source(), "[plans] has more than " + std::to_string(limits::plans_max) + " plans"};
    Plan plan;
    if (const auto* row = node.as_array(); row != nullptr) {
      if (auto wrong = read_row(name, *row, plan)) return wrong;
    } else if (const auto* named = node.as_table(); named != nullptr) {
      for (const auto& [limit, value] : *named)
        if (auto wrong = read_named(limit.str(), value, plan))
          return WrongPlan{limit.source(), name + ": " + std::string(limit.str()) + " " + *wrong};
    } else {
      return WrongPlan{key.source(), name + " must be an array of the six columns, or a table of limits"};
    }
    if (key.str() == limits::unlimited_plan)
      return WrongPlan{key.source(), name + " is there by itself and can't be another"};
    limits.plans.emplace(std::string(key.str()), plan);
  }
  return std::nullopt;
}

Result<> make_plan_table(LimitsConfig& limits, const PlaceOf& place_of) {
  const auto refuse = [&place_of](ConfigErrc code, std::string_view key, const std::string& why) {
    return fail(code, place_of(key) + "[limits] " + std::string(key) + why);
  };
  auto table = std::make_shared<limits::PlanTable>();
  table->plans = limits.plans;
  table->default_plan = limits.default_plan;
  table->reading_reserve_bytes = limits.reading_reserve_bytes;
  table->looked_up = !limits.lookup.command.empty() || !limits.plan_metadata.empty();
  if (!limits.lookup.command.empty() && !limits.plan_metadata.empty())
    return refuse(ConfigErrc::conflict, "plan_metadata", " and plan_command: one of them at most");
  if (!table->plans.contains(limits.default_plan))
    return refuse(ConfigErrc::bad_value, "default_plan", ": no such plan: " + limits.default_plan);
  for (const auto& path : limits.plan_maps) {
    auto content = read_whole(path);
    if (!content)
      return refuse(ConfigErrc::unreadable, "plan_maps", ": " + path + ": " + std::strerror(errno));
    if (auto added = table->map.add(*content, path, table->plans); !added) return added;
  }
  limits.table = std::move(table);
  return {};
}

}  // namespace postern::broker
