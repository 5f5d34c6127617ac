// What a request for an event stream asks for (RFC 8620, 7.3), and whether nginx's nchan can give it: no I/O.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "postern/ipc/frame.hpp"
#include "postern/push/state_change.hpp"

namespace postern::broker {

struct EventParameters {
  // A position as nchan's long polls have it: If-Modified-Since and If-None-Match, which go on to nchan with the
  // redirected request.
  enum class Position : std::uint8_t { none, shown, malformed };

  push::TypeSet types = push::TypeSet::all();
  bool close_after_state = false, long_poll = false, is_stream = false;
  Position position = Position::none;
  std::uint32_t ping = 0;
  std::string last_event_id;
};

// Otherwise what is wrong with them. `fields`: with names in lower case.
std::expected<EventParameters, std::string_view> parse_event_parameters(std::string_view query,
                                                                        const ipc::Fields& fields);

// The one interval of pings that nchan's location has (deploy/nginx/postern-nchan.conf).
inline constexpr std::uint32_t nchan_ping_seconds = 30;
bool nchan_has(const EventParameters& parameters);

// nchan's message ids, as its event streams ("1700000000:3") have them.
bool is_message_id(std::string_view text);

}  // namespace postern::broker
