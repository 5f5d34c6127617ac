// Small text functions of the test server: case, quoting, dates, base64, modified UTF-7, RFC 2047.
// Pure functions; no state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::testimapd {

std::string upper(std::string_view text);
std::string lower(std::string_view text);
bool iequals(std::string_view left, std::string_view right);
// Case-insensitive for ASCII; `needle` must be in lower case.
bool icontains(std::string_view haystack, std::string_view needle);
std::vector<std::string_view> words(std::string_view text);
std::optional<std::uint64_t> to_number(std::string_view digits);
std::string_view trim(std::string_view text);

// RFC 3501 section 4.3: quoted where it can be, a literal otherwise (or 8-bit quoted, a quirk).
void append_string(std::string& out, std::string_view text, bool eight_bit_quoted = false);
// A mailbox name: an atom where it can be.
void append_astring(std::string& out, std::string_view text);

std::string base64_encode(std::string_view bytes);
std::optional<std::string> base64_decode(std::string_view text);

// RFC 3501 section 5.1.3. What is not valid is passed on as it is.
std::string mutf7_encode(std::string_view utf8);
std::string mutf7_decode(std::string_view name);

// "02-Jan-2006 15:04:05 +0000" (INTERNALDATE) and "Mon, 02 Jan 2006 15:04:05 +0000" (RFC 5322), in UTC.
std::string internal_date_text(std::int64_t time);
std::string rfc5322_date_text(std::int64_t time);
// A date-time of APPEND, quotes removed.
std::optional<std::int64_t> parse_internal_date(std::string_view text);
// "2-Jan-2006" as days since 1970.
std::optional<std::int64_t> parse_search_day(std::string_view text);

struct SentDate {
  std::int64_t time = 0;  // UTC
  std::int64_t day = 0;   // days since 1970, in the zone of the header, as SENTSINCE wants it
};
std::optional<SentDate> parse_rfc5322_date(std::string_view text);

// RFC 2047 encoded words to UTF-8 (utf-8, us-ascii and iso-8859-1; others stay).
std::string decode_words(std::string_view text);
std::string decode_quoted_printable(std::string_view text, bool underscore_is_space = false);

struct BaseSubject {
  std::string text;  // RFC 5256 section 2.1, upper case
  bool reply_or_forward = false;
};
BaseSubject base_subject(std::string_view decoded_subject);

}  // namespace postern::testimapd
