// What the broker reads out of a web request and puts into an answer: pure functions, no I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "postern/base/secret.hpp"
#include "postern/ipc/frame.hpp"
#include "postern/jmap/api.hpp"

namespace postern::broker {

// The request's target, decoded: path without the mount point, query apart.
struct Target {
  std::string path;  // "/jmap/api"; percent-decoded by segment(), not here
  std::string query;
};
Target split_target(const ipc::RequestHead& head);
// Percent-decoding (RFC 3986, 2.1); nullopt for a broken escape or a NUL.
std::optional<std::string> percent_decode(std::string_view text);
std::optional<std::string> query_value(std::string_view query, std::string_view name);

struct BasicCredentials {
  std::string login;
  Secret password;
};
std::optional<BasicCredentials> parse_basic(std::string_view authorization);               // RFC 7617
std::optional<Secret> parse_bearer(std::string_view authorization);                        // RFC 6750
std::optional<std::string> cookie_value(std::string_view cookies, std::string_view name);  // RFC 6265

// A claim of a JWT's payload (RFC 7519), not verified: the IMAP server does that.
std::optional<std::string> jwt_claim(std::string_view token, const std::vector<std::string>& names);

// "https://mail.example.com" and the mount point, as the client sees them. `trusted`: the request came from a
// proxy whose X-Forwarded-* fields count.
std::string base_url(const ipc::RequestHead& head, const std::string& public_url, bool trusted);
// Where the request comes from: the nearest address that is none of the trusted proxies', as these tell it in
// X-Forwarded-For. What is behind an address that isn't trusted, or isn't one, anybody may have written.
std::string client_address(const ipc::RequestHead& head, const std::vector<std::string>& trusted_proxies);
bool is_trusted(const std::vector<std::string>& trusted_proxies, std::string_view address);
// Does "192.0.2.0/24" or "::1" cover the address? "unix" covers an empty one.
bool address_matches(std::string_view rule, std::string_view address);
std::string origin_of(std::string_view url);  // scheme://host[:port], lower case

std::string media_type(std::string_view content_type);  // without parameters, lower case
// Is it safe to send as a Content-Type (RFC 9110, 8.3.1)? Else application/octet-stream is.
bool is_media_type(std::string_view text);
std::string content_disposition(std::string_view file_name);  // attachment; RFC 6266 and RFC 8187

// One range of octets (RFC 9110, 14.1.2): "bytes=0-99", "bytes=100-", "bytes=-50". Anything else, and several ranges,
// are nullopt: to be ignored.
struct ByteRange {
  std::optional<std::uint64_t> first, last;  // without first: so many at the end
};
std::optional<ByteRange> parse_range(std::string_view field);
// Of that many octets: where it begins and how many there are; nullopt: 416.
std::optional<std::pair<std::uint64_t, std::uint64_t>> resolve_range(const ByteRange& range,
                                                                     std::uint64_t size);
// Does an If-None-Match (RFC 9110, 13.1.2) name the entity tag?
bool names_etag(std::string_view field, std::string_view etag);

ipc::ResponseHead response_head(const jmap::ApiResponse& response);

}  // namespace postern::broker
