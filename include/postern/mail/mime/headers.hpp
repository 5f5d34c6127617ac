// Header blocks of messages and MIME parts, and the header field forms of JMAP (RFC 8621, 4.1.2).
//
// Free functions over bytes, without state: any thread. What they return owns its strings. Input is whatever a
// stranger sent: nothing fails, everything is bounded by mail/mime/limits.hpp, and all output is valid UTF-8.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::mail {

// One field. The name is as in the message; the value is the "Raw" form (RFC 8621, 4.1.2.1): the octets behind
// the colon, with their folding, without the terminating line end; NULs dropped, octets that are no UTF-8
// replaced by U+FFFD.
struct HeaderField {
  std::string name;
  std::string value;
};

struct HeaderBlock {
  std::vector<HeaderField> fields;  // in the order of the message
  bool truncated = false;           // header_bytes_max or header_fields_max cut something off

  // The last field of that name, which is the one a JMAP property without ":all" speaks of; null if none.
  // Names are compared without regard to case.
  const HeaderField* last(std::string_view name) const;
};

// Parses what BODY[HEADER], BODY[HEADER.FIELDS (...)] or BODY[1.2.MIME] holds (RFC 5322, 2.2), up to the first
// empty line. Lines that are neither field nor continuation are skipped with their continuations.
HeaderBlock parse_header_block(std::string_view block);

// --- Forms. Each takes the Raw form (or octets as they came). ---

// RFC 8621, 4.1.2.2: unfolded, RFC 2047 decoded, NFC.
std::string as_text(std::string_view raw);

struct EmailAddress {
  std::optional<std::string> name;  // JSON null where nullopt
  std::string email;                // not always an addr-spec, when the message is broken
  bool operator==(const EmailAddress&) const = default;
};
struct EmailAddressGroup {
  std::optional<std::string> name;  // nullopt: not part of a group
  std::vector<EmailAddress> addresses;
  bool operator==(const EmailAddressGroup&) const = default;
};

// RFC 8621, 4.1.2.3 and 4.1.2.4: best effort; an empty list where there is no address.
std::vector<EmailAddress> as_addresses(std::string_view raw);
std::vector<EmailAddressGroup> as_grouped_addresses(std::string_view raw);

// RFC 8621, 4.1.2.5: ids without their brackets. nullopt (JSON null): there is none in it.
std::optional<std::vector<std::string>> as_message_ids(std::string_view raw);

// RFC 8621, 4.1.2.6: RFC 3339 with the offset of the message ("2013-10-13T14:12:00+02:00"; "Z" for an offset of
// zero). nullopt (JSON null): no date-time.
std::optional<std::string> as_date(std::string_view raw);
// The same instant, in seconds since 1970, for sorting.
std::optional<std::int64_t> as_date_seconds(std::string_view raw);

// RFC 8621, 4.1.2.7: what stands in brackets, without white space. nullopt (JSON null): no URL.
std::optional<std::vector<std::string>> as_urls(std::string_view raw);

}  // namespace postern::mail
