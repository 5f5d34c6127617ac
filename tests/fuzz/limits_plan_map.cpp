// An administrator's map of plans: whatever stands in it, it is taken as a whole or refused with its line, and whom it
// names has a plan that there is.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "postern/base/encoding.hpp"
#include "postern/limits/plan_map.hpp"
#include "require.hpp"

namespace postern::limits {
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  PlanTable table;
  table.plans["a"];
  table.plans["guest-1"];
  const auto added = table.map.add(text, "map", table.plans);
  if (!added) {
    const auto& where = added.error().context;
    require(where.starts_with("map:"));
    require(where.size() > 4 && where[4] >= '1' && where[4] <= '9');
    return 0;
  }
  // Whoever has a line has its plan; nobody has one that there isn't.
  std::size_t named = 0;
  for (auto rest = text.substr(text.starts_with("\xEF\xBB\xBF") ? 3 : 0); !rest.empty();) {
    const auto end = std::min(rest.find('\n'), rest.size());
    auto line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    line = trim_ascii(line.substr(0, line.find('#')));
    const auto word = line.substr(0, line.find_first_of(" \t"));
    if (const auto* plan = table.map.find(word)) {
      require(table.plans.contains(*plan));
      require(table.plan_of(word) == *plan);
      ++named;
    }
  }
  require(named >= table.map.size());
  // The same once more overlaps, unless nobody is in it.
  require(table.map.add(text, "again", table.plans).has_value() == (table.map.size() == 0));
  return 0;
}

}  // namespace postern::limits
