// The query and fields of an event stream's request, read; and what of nchan's own is let through to it.
#include "broker/event_parameters.hpp"

#include <algorithm>

#include "broker/http.hpp"
#include "postern/base/encoding.hpp"

namespace postern::broker {
namespace {

constexpr std::size_t message_number_digits_max = 12;

bool is_message_number(std::string_view text) {
  return !text.empty() && text.size() <= message_number_digits_max &&
         std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// RFC 9110, 5.6.7: "Sun, 06 Nov 1994 08:49:37 GMT", the form that is written today.
bool is_http_date(std::string_view text) {
  constexpr std::string_view form = "Aaa, 00 Aaa 0000 00:00:00 GMT";
  return std::ranges::equal(text, form, [](char c, char wanted) {
    if (wanted == '0') return c >= '0' && c <= '9';
    const char lower = static_cast<char>(c | 0x20);
    return wanted == 'A' || wanted == 'a' ? lower >= 'a' && lower <= 'z' : c == wanted;
  });
}

}  // namespace

bool is_message_id(std::string_view text) {
  const auto colon = text.find(':');
  return colon != std::string_view::npos && is_message_number(text.substr(0, colon)) &&
         is_message_number(text.substr(colon + 1));
}

std::expected<EventParameters, std::string_view> parse_event_parameters(std::string_view query,
                                                                        const ipc::Fields& fields) {
  EventParameters parameters;
  if (const auto types = query_value(query, "types")) {
    const auto parsed = push::parse_types(*types);
    if (!parsed) return std::unexpected("types must be \"*\" or names with commas between them");
    parameters.types = *parsed;
  }
  if (const auto close = query_value(query, "closeafter")) {
    if (*close != "state" && *close != "no") return std::unexpected("closeafter must be \"state\" or \"no\"");
    parameters.close_after_state = *close == "state";
  }
  if (const auto ping = query_value(query, "ping")) {
    const auto parsed = push::parse_ping(*ping);
    if (!parsed) return std::unexpected("ping must be a number of seconds");
    parameters.ping = *parsed;
  }
  parameters.long_poll = iequals_ascii(ipc::field(fields, "x-long-poll"), "yes");
  parameters.is_stream =
      ascii_lower(ipc::field(fields, "accept")).find("text/event-stream") != std::string::npos;
  parameters.last_event_id = ipc::field(fields, "last-event-id");
  // What a script can't set as a header (EventSource) or has kept elsewhere.
  if (const auto id = query_value(query, "last_event_id"); id && parameters.last_event_id.empty())
    parameters.last_event_id = *id;
  const auto time = ipc::field(fields, "if-modified-since"), tag = ipc::field(fields, "if-none-match");
  if (is_http_date(time) && is_message_number(tag))
    parameters.position = EventParameters::Position::shown;
  else if (!time.empty() || !tag.empty())
    parameters.position = EventParameters::Position::malformed;
  return parameters;
}

// nchan knows nothing of types, nor of a stream that ends after one event, and has one interval of pings; it gives
// nobody a stream who doesn't say that it is one that is wanted, and version 1.3.6 crashes on some positions that are
// malformed, so that none gets there. Of polls it has those that show a position of its own, and those that want to be
// told all: one that says nothing would be answered at once each time, and what Postern's own ids tell it doesn't know.
// The broker's own listener remembers what the session was told.
bool nchan_has(const EventParameters& parameters) {
  using Position = EventParameters::Position;
  if (parameters.types != push::TypeSet::all() || parameters.position == Position::malformed) return false;
  if (parameters.is_stream)
    return !parameters.close_after_state && !parameters.long_poll &&
           (parameters.ping == 0 || parameters.ping == nchan_ping_seconds);
  if (!parameters.long_poll) return false;
  const auto& id = parameters.last_event_id;
  if (id == push::no_states_id || is_message_id(id)) return true;
  return parameters.position == Position::shown && !push::parse_event_id(id);
}

}  // namespace postern::broker
