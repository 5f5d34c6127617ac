// line = [ who 1*WSP plan ] [ "#" remark ]; who = login / "@" domain
#include "postern/limits/plan_map.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "postern/base/encoding.hpp"

namespace postern::limits {

const std::error_category& limits_category() {
  static const struct final : std::error_category {
    const char* name() const noexcept override { return "limits"; }
    std::string message(int code) const override {
      switch (static_cast<Errc>(code)) {
        case Errc::malformed: return "malformed plan map";
        case Errc::unknown_plan: return "unknown plan";
        case Errc::overlap: return "plan maps overlap";
        case Errc::too_large: return "plan map too large";
      }
      return "unknown error of limits";
    }
  } category;
  return category;
}

Result<> PlanMap::add(std::string_view text, const std::string& file, const Plans& plans) {
  if (text.size() > plan_map_octets_max)
    return fail(Errc::too_large, file + ": larger than " + std::to_string(plan_map_octets_max) + " octets");
  if (constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF"; text.starts_with(byte_order_mark))
    text.remove_prefix(byte_order_mark.size());
  std::size_t number = 0;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const auto place = file + ":" + std::to_string(++number);
    line = trim_ascii(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    const auto gap = line.find_first_of(" \t");
    const auto who = ascii_lower(line.substr(0, gap));
    const auto plan = gap == std::string_view::npos ? std::string_view() : trim_ascii(line.substr(gap));
    if (plan.empty() || plan.find_first_of(" \t") != std::string_view::npos || who == "@" ||
        who.size() > store::login_bytes_max || !is_valid_utf8(who))
      return fail(Errc::malformed, place + ": a line must be LOGIN PLAN or @DOMAIN PLAN");
    if (!plans.contains(plan))
      return fail(Errc::unknown_plan, place + ": no such plan: " + std::string(plan));
    if (entries_.size() >= plan_map_entries_max)
      return fail(Errc::too_large,
                  place + ": more than " + std::to_string(plan_map_entries_max) + " entries");
    const auto [known, fresh] = entries_.try_emplace(who, Entry{std::string(plan), place});
    if (!fresh)
      return fail(Errc::overlap,
                  fmt::format("{}: {} has a plan at {} already", place, who, known->second.place));
  }
  return {};
}

const std::string* PlanMap::find(std::string_view login) const {
  const auto who = ascii_lower(login);
  auto found = entries_.find(who);
  if (found == entries_.end())
    if (const auto at = who.rfind('@'); at != std::string::npos) found = entries_.find(who.substr(at));
  return found == entries_.end() ? nullptr : &found->second.plan;
}

std::string PlanTable::plan_of(std::string_view login, std::string_view before) const {
  if (const auto* mapped = map.find(login)) return *mapped;
  return looked_up && plans.contains(before) ? std::string(before) : default_plan;
}

const Plan& PlanTable::plan(std::string_view name) const {
  const auto found = plans.find(name);
  return found != plans.end() ? found->second : plans.find(unlimited_plan)->second;
}

}  // namespace postern::limits
