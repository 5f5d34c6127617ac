// Who has which plan: the administrator's map from people and domains to plans, and the table of plans.
//
// A map is a text file of lines "WHO PLAN": WHO is a login, or "@" and a domain for everybody in it. Letter case counts
// for nothing. What follows "#" is a remark. A login goes before its domain, a domain before the default. Values; never
// changed once they are made.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "postern/base/error.hpp"
#include "postern/limits/plan.hpp"

namespace postern::limits {

enum class Errc { malformed = 1, unknown_plan, overlap, too_large };
const std::error_category& limits_category();
inline std::error_code make_error_code(Errc e) { return {static_cast<int>(e), limits_category()}; }

inline constexpr std::size_t plan_map_octets_max = 64 * 1024 * 1024;
inline constexpr std::size_t plan_map_entries_max = 1'000'000;

class PlanMap {
 public:
  // Adds a file's lines. The error's context begins with "FILE:LINE: ". overlap: somebody is in it, or in an earlier
  // file, already.
  Result<> add(std::string_view text, const std::string& file, const Plans& plans);
  // nullptr: neither the login nor its domain is in it.
  const std::string* find(std::string_view login) const;
  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::string plan, place;
  };
  std::unordered_map<std::string, Entry> entries_;
};

// All that decides what somebody may use.
struct PlanTable {
  Plans plans{{std::string(unlimited_plan), Plan{}}};
  PlanMap map;
  std::string default_plan{unlimited_plan};
  std::uint64_t reading_reserve_bytes = 2'000'000;  // see Charge::small
  bool looked_up = false;  // the plans of people whom the map doesn't name (Book::found_plan)
  // `before`: what somebody has had until now.
  std::string plan_of(std::string_view login, std::string_view before = {}) const;
  const Plan& plan(std::string_view name) const;  // the unlimited one if there is none of the name
};

}  // namespace postern::limits
template <>
struct std::is_error_code_enum<postern::limits::Errc> : std::true_type {};
