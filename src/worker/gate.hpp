// What a worker refuses itself, before it reads a body: dead sessions and bodies that are too large. Pure.
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
  std::uint64_t request_bytes_max = 64 * 1024 * 1024;
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

// The answer, if the request goes no further. Requests below /auth/ pass with any token: signing in must be
// possible with a cookie that has died.
std::optional<Answer> refuse(const ipc::RequestHead& head, const GateOptions& options,
                             const std::function<store::Liveness(const store::TokenHash&)>& liveness);

// "maxSizeUpload" for an upload's path, else "maxSizeRequest".
std::string_view body_limit_name(const ipc::RequestHead& head);

}  // namespace postern::worker
