// The sections [limits], [plans] and [throttle], and the files that they name.
#pragma once

#include "broker/config.hpp"
#include "broker/config_binders.hpp"

namespace postern::broker {

Section limits_section(LimitsConfig& limits);
Section throttle_section(limits::ThrottleOptions& throttle);

struct WrongPlan {
  toml::source_region where;
  std::string what;
};
// The rows of [plans]: a plan each, as an array of the table's columns or as a table of named limits.
std::optional<WrongPlan> read_plans(const toml::table& rows, LimitsConfig& limits);
// Where a key of [limits] is: "FILE:LINE: ".
using PlaceOf = std::function<std::string(std::string_view key)>;
// Reads the plan maps. The error's context begins with "FILE:LINE: " of the map, or of the key.
Result<> make_plan_table(LimitsConfig& limits, const PlaceOf& place_of);

}  // namespace postern::broker
