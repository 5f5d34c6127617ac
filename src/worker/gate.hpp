// What a worker refuses itself, before it reads a body: dead sessions, bodies that are too large, and uploads beyond
// what the person may move now. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "postern/ipc/frame.hpp"
#include "postern/store/session_table.hpp"
#include "worker/problem.hpp"

namespace postern::worker {

struct GateOptions {
  std::string cookie_name = "__Host-postern";
  std::uint64_t request_bytes_max = 64 * 1024 * 1024;  // where the segment doesn't tell the broker's limits
};
inline constexpr std::string_view plain_cookie_name = "postern";  // where the front end speaks plain HTTP

// The value of a cookie in a Cookie field (RFC 6265, section 4.2.1: pairs separated by "; "); the first of its
// name. nullopt: there is none.
std::optional<std::string_view> find_cookie(std::string_view cookies, std::string_view name);

// A session token as the request shows it, and where.
struct ShownToken {
  store::TokenHash hash{};
  bool bearer = false;
};
// nullopt: no token, or none of our form (an OAuth token, a Basic login): the broker's to judge.
std::optional<ShownToken> shown_token(const ipc::RequestHead& head, std::string_view cookie_name);

// What the segment says, as far as it does.
struct GateView {
  std::function<store::Liveness(const store::TokenHash&)> liveness;
  std::function<std::optional<store::UsageRecord>(const store::TokenHash&)> usage;
  std::optional<store::BodyLimits> limits;
  std::int64_t now = 0;  // Unix seconds
};

// What the body may hold: the broker's limit, or where that isn't known or is larger, the worker's own.
std::uint64_t body_bytes_max(const ipc::RequestHead& head, const GateOptions& options,
                             const std::optional<store::BodyLimits>& limits);

// The answer, if the request goes no further. Requests below /auth/ pass with any token: signing in must be
// possible with a cookie that has died.
std::optional<Answer> refuse(const ipc::RequestHead& head, const GateOptions& options, const GateView& view);

// "maxSizeUpload" for an upload's path, else "maxSizeRequest".
std::string_view body_limit_name(const ipc::RequestHead& head);

}  // namespace postern::worker
