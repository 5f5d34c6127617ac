// From octets to responses: Fragmenter finds where a response ends (its lines and literals) before
// anything is parsed, so that a response that is too large or broken can be skipped and the connection
// stays in step; parse_response turns one whole response into a value.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "postern/base/error.hpp"
#include "postern/imap/errors.hpp"
#include "postern/imap/limits.hpp"
#include "postern/imap/types.hpp"

namespace postern::imap {

struct FragmenterLimits {
  std::size_t line_bytes = line_bytes_max;
  std::size_t literal_bytes = literal_bytes_max;
  std::size_t response_bytes = response_bytes_max;
};

// Fed by the connection's reader; one a connection; holds at most one incomplete response. An idle
// fragmenter (nothing incomplete) holds no heap memory.
class Fragmenter {
 public:
  explicit Fragmenter(FragmenterLimits limits = {});

  // Consumes a prefix of `data` up to and including the end of the next response and drops it from `data`. A
  // returned view, without the last CRLF, is valid until the next call and as long as the octets behind `data`.
  // nullopt: more octets are needed (everything was taken). too_large: the response was skipped whole, or is
  // being skipped as it comes; call again.
  Result<std::optional<std::string_view>> next(std::string_view& data);
  bool idle() const;
  // The first octets of the response that was last refused as too_large: enough to tell its kind.
  std::string_view skipped_head() const { return {skipped_head_.data(), skipped_head_bytes_}; }

 private:
  enum class State : std::uint8_t { line, literal, skip_line, skip_literal };
  void restart();
  Result<std::optional<std::string_view>> too_large(std::string_view what, std::string_view held,
                                                    std::string_view fresh);
  bool skip(std::string_view& data);

  FragmenterLimits limits_;
  State state_ = State::line;
  bool delivered_ = false;          // buffer_ holds the response that was returned last
  std::uint64_t literal_left_ = 0;  // octets of the present literal still to come
  std::size_t literals_ = 0;
  std::size_t line_bytes_ = 0;  // of the present response, without its literals
  std::size_t last_line_ = 0;   // where the line behind its last literal begins
  std::string buffer_;          // the response so far; while skipping: the end of the line so far
  std::array<char, 32> skipped_head_{};
  std::size_t skipped_head_bytes_ = 0;
};

// Parses one whole response, literals included, without its last CRLF (a bare LF is taken too).
// Liberal: what it can't make sense of inside a known response is skipped where that is safe; a response
// of an unknown kind is UnknownResponse. Errc::syntax otherwise, Errc::too_large past a bound of limits.hpp.
// A FETCH item that is broken or past a bound (an ENVELOPE with too many addresses, say) is left out, and the
// other items stand.
Result<Response> parse_response(std::string_view response);

// "17-Jul-1996 02:44:25 -0700" (RFC 3501, date-time), spaces for leading zeros allowed; seconds since 1970.
std::optional<std::int64_t> parse_date_time(std::string_view text);
// Writes RFC 3501 date ("1-Feb-1994") of a UTC day, for SEARCH keys, and date-time in UTC, for APPEND.
std::string format_date(std::int64_t unix_seconds);
std::string format_date_time(std::int64_t unix_seconds);

}  // namespace postern::imap
