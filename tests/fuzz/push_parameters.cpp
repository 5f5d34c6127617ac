// What clients put into an event stream's request: types, ping, and event ids, which come back as they were.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "postern/io/http_client.hpp"
#include "postern/push/state_change.hpp"

namespace postern::push {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(parse_types(text));
  static_cast<void>(io::parse_local_http(text));
  if (const auto ping = parse_ping(text);
      ping && *ping != 0 && (*ping < ping_seconds_min || *ping > ping_seconds_max))
    std::abort();
  const auto states = parse_event_id(text);
  if (!states) return 0;
  const auto again = parse_event_id(event_id(*states));
  if (!again || *again != *states) std::abort();
  const auto json = state_change_json(text, *states, changed_types({}, *states));
  if (json.find_first_of("\r\n") != std::string::npos) std::abort();
  return 0;
}

}  // namespace postern::push
