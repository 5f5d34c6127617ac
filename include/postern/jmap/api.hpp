// The JMAP API request (RFC 8620, 3): envelope, result references, method dispatch, errors of both levels.
//
// One coroutine a request, on the account's shard. Methods see the mail through mail::Mailstore only.
#pragma once

#include <rapidjson/document.h>

#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "postern/base/clock.hpp"
#include "postern/base/crypto.hpp"
#include "postern/io/task.hpp"
#include "postern/jmap/push_subscriptions.hpp"
#include "postern/limits/meter.hpp"
#include "postern/limits/tab.hpp"
#include "postern/mail/mailstore.hpp"
#include "postern/outbox/outbox.hpp"
#include "postern/push/state_change.hpp"

namespace postern::jmap {

inline constexpr std::string_view capability_core = "urn:ietf:params:jmap:core";
inline constexpr std::string_view capability_mail = "urn:ietf:params:jmap:mail";
inline constexpr std::string_view capability_vacation = "urn:ietf:params:jmap:vacationresponse";
inline constexpr std::string_view capability_quota = "urn:ietf:params:jmap:quota";
inline constexpr std::string_view capability_vapid = "urn:ietf:params:jmap:webpush-vapid";  // RFC 9749
inline constexpr std::string_view capability_submission = "urn:ietf:params:jmap:submission";
inline constexpr std::string_view capability_websocket = "urn:ietf:params:jmap:websocket";

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
  // RFC 8621, 1.3.1: of the blobs of one message that is written.
  std::uint64_t max_size_attachments_per_email = 50'000'000;
  friend bool operator==(const Limits&, const Limits&) = default;
};
inline constexpr std::size_t json_depth_max = 64;  // of a request
// Values of a request, and of what its result references refer to: parsed, each takes up to 32 octets, where the text
// of one may be two.
inline constexpr std::size_t json_values_max = 500'000;
// What one request's responses may hold together, and what its result references may copy.
inline constexpr std::size_t response_octets_max = 64 * 1024 * 1024;

// What decides which capabilities an account has, and what they say (src/jmap/capabilities.cpp).
struct AccountFeatures {
  bool vacation = false;
  bool quota = false;
  bool may_create_top_level = true, mailbox_levels = true;  // Mailboxes below others
  bool several_mailboxes = true;                            // for one Email
  const outbox::Options* submission = nullptr;              // null: there is none
  std::string application_server_key = {};  // of what is sent to push services; empty: nothing is
  std::string websocket_url = {};           // RFC 8887, 3; empty: there is none
  friend bool operator==(const AccountFeatures&, const AccountFeatures&) = default;
};
// As far as is known without asking anybody, and asking for what isn't known. Not what the configuration says
// (`submission`, `application_server_key`, `websocket_url`).
AccountFeatures known_features(mail::Mailstore& store);
io::Task<AccountFeatures> ask_features(mail::Mailstore& store);

// A method-level error (RFC 8620, 3.6.2).
struct MethodError {
  std::string type;
  std::string description;
  std::optional<limits::Refusal> refusal = {};  // of rateLimit: told in members of its own
};
// The response's arguments, as JSON text.
using MethodResult = std::expected<std::string, MethodError>;

// Ids of what the calls of a request have created, by creation id (RFC 8620, 3.3 and 5.3).
inline constexpr std::size_t created_ids_max = 10'000;
class CreatedIds {
 public:
  // False if there are created_ids_max already.
  bool add(std::string_view creation_id, std::string_view id);
  // What "#creation_id" stands for; another id, or what names nothing created, as it is. Valid as long as this object.
  std::string_view resolve(std::string_view id) const;
  const std::map<std::string, std::string, std::less<>>& all() const { return ids_; }

 private:
  std::map<std::string, std::string, std::less<>> ids_;
  std::multimap<std::string, std::string, std::less<>> replaced_;  // what has been resolved stays what it was
};

// A call that another one entails: its response comes right behind that one's, under the same method call id
// (onSuccessUpdateEmail of RFC 8621, 7.5; onSuccessDestroyOriginal of RFC 8620, 5.4).
struct ImplicitCall {
  std::string name;
  std::string arguments;  // JSON
};

// What Identity and EmailSubmission work with.
struct SubmissionAccess {
  outbox::Outbox& outbox;
  records::Owner owner;
  std::function<smtp::Credentials()> credentials;  // the person's own
};

struct CallContext {
  mail::Mailstore& store;
  std::string account_id;
  const Limits& limits;
  mail::EffectsHook effects;  // see Mailstore
  std::string session_state;
  mail::Freshness freshness = mail::Freshness::current;  // of all that methods have read so far
  CreatedIds created_ids = {};
  std::vector<ImplicitCall> implicit_calls = {};  // of the call that runs
  AccountFeatures features = {};
  const SubmissionAccess* submission = nullptr;     // there where features.submission is
  PushSubscriptions* push_subscriptions = nullptr;  // null: there are none
  // Asked again before a request is refused because the account hadn't, as far as was known, what it uses.
  std::function<io::Task<AccountFeatures>()> look_again = {};
  // A response tells the client the state that its own changes have led to: these it needn't be told again.
  std::function<void()> told_new_state = {};
  // The same of one type whose states aren't the Mailstore's.
  std::function<void(push::DataType type, std::string_view state)> told_state = {};
  const Clock* clock = nullptr;  // where it is told, and randomness: messages can be written
  Random* random = nullptr;
  // Lets others on the same loop come between, where a request takes long by itself.
  std::function<io::Task<>()> next_turn = {};
  std::function<bool()> is_over = {};  // nobody waits for the answer any more: no further method is called
  limits::Meter* meter = nullptr;      // where it is told: what this person moves
  std::shared_ptr<limits::Tab> tab = nullptr;  // and what of it is this request's
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

// With Retry-After: the person's plan doesn't allow it now.
ApiResponse over_limit(const limits::Refusal& refusal, std::int64_t now, std::uint16_t status = 429);

// --- The session resource (RFC 8620, 2) ---

struct SessionInfo {
  std::string username;
  std::string account_id;
  std::string base_url;  // "https://mail.example.com/prefix", without a slash at the end
  AccountFeatures features = {};
};
// As JSON text; `state` changes when what it says changes.
std::string session_resource(const SessionInfo& info, const Limits& limits, std::string& state);

// The same state for each request's response, without the document: what few sets of capabilities there are is written
// once each. One loop.
class SessionStates {
 public:
  std::string of(const SessionInfo& info, const Limits& limits);
  void clear() { known_.clear(); }  // what the features point to has changed

 private:
  static constexpr std::size_t known_max = 16;
  struct Known {
    AccountFeatures features;
    Limits limits;
    std::uint64_t hash = 0;  // of what is said of them
  };
  std::vector<Known> known_;
};

}  // namespace postern::jmap
