// The JMAP API request (RFC 8620, 3): envelope, result references, method dispatch, errors of both levels.
//
// One coroutine a request, on the account's shard. Methods see the mail through mail::Mailstore only.
#pragma once

#include <rapidjson/document.h>

#include <cstdint>
#include <expected>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "postern/io/task.hpp"
#include "postern/mail/mailstore.hpp"

namespace postern::jmap {

inline constexpr std::string_view capability_core = "urn:ietf:params:jmap:core";
inline constexpr std::string_view capability_mail = "urn:ietf:params:jmap:mail";

// The limits of the core capability (RFC 8620, 2), advertised and enforced.
struct Limits {
  std::uint64_t max_size_upload = 50'000'000;
  std::uint32_t max_concurrent_upload = 4;
  std::uint64_t max_size_request = 10'000'000;
  std::uint32_t max_concurrent_requests = 8;
  std::uint32_t max_calls_in_request = 32;
  std::uint32_t max_objects_in_get = 1'000;
  std::uint32_t max_objects_in_set = 1'000;
  // Not part of the capability: Email/query returns at most so many ids, and says so by `limit`.
  std::uint32_t query_ids_max = 10'000;
};
inline constexpr std::size_t json_depth_max = 64;  // of a request
// What one request's responses may hold together, and what its result references may copy.
inline constexpr std::size_t response_octets_max = 64 * 1024 * 1024;

// A method-level error (RFC 8620, 3.6.2).
struct MethodError {
  std::string type;
  std::string description;
};
// The response's arguments, as JSON text.
using MethodResult = std::expected<std::string, MethodError>;

struct CallContext {
  mail::Mailstore& store;
  std::string account_id;
  const Limits& limits;
  mail::EffectsHook effects;  // see Mailstore
  std::string session_state;
  mail::Freshness freshness = mail::Freshness::current;  // of all that methods have read so far
  std::function<bool()> is_over = {};  // nobody waits for the answer any more: no further method is called
  bool unavailable = false;  // the IMAP server was missing for something of a call that is answered otherwise
};

struct ApiResponse {
  std::uint16_t status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::string retry_after;          // seconds, with status 503 or 429
  bool unavailable = false;         // no method could be answered, since the IMAP server can't be reached
  bool partly_unavailable = false;  // nor something of the request, at least
  bool stale = false;  // something was answered from what was known when it could last be reached
};

// Answers one request. `body` is parsed in place.
io::Task<ApiResponse> handle_api_request(std::string body, CallContext context);

// A problem document (RFC 7807) for request-level errors: RFC 8620, 3.6.1, and ours.
// `type` is the last part of urn:ietf:params:jmap:error:..., or "about:blank".
ApiResponse problem(std::uint16_t status, std::string_view type, std::string_view detail,
                    std::string_view limit = {});

// --- The session resource (RFC 8620, 2) ---

struct SessionInfo {
  std::string username;
  std::string account_id;
  std::string base_url;  // "https://mail.example.com/prefix", without a slash at the end
};
// As JSON text; `state` changes when what it says changes.
std::string session_resource(const SessionInfo& info, const Limits& limits, std::string& state);
std::string session_state_of(const SessionInfo& info, const Limits& limits);

}  // namespace postern::jmap
