// What a lookup says of somebody's plan, and logins on their way to being an argument of a command.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "broker/plan_lookup.hpp"
#include "postern/base/encoding.hpp"

namespace postern::broker {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  if (const auto plan = parse_plan_answer(text)) {
    if (!plan->empty() && !limits::is_plan_name(*plan)) std::abort();
    if (plan->empty() && !trim_ascii(text.substr(0, text.find('\n'))).empty()) std::abort();
    if (parse_plan_answer(*plan) != plan) std::abort();
  }
  if (is_plain_argument(text) &&
      (text.empty() || text[0] == '-' || text.find('\0') != std::string_view::npos))
    std::abort();
  return 0;
}

}  // namespace postern::broker
