// Finds the session token in cookie or Authorization field and asks `liveness` (the segment) about it.
#include "worker/gate.hpp"

#include <algorithm>

#include "postern/base/encoding.hpp"
#include "postern/limits/meter.hpp"
#include "worker/request_head.hpp"

namespace postern::worker {
namespace {

// RFC 9110, section 11.4: the scheme is case-insensitive, one or more spaces follow.
std::optional<std::string_view> bearer_token(std::string_view authorization) {
  constexpr std::string_view scheme = "bearer";
  if (authorization.size() <= scheme.size() ||
      !iequals_ascii(authorization.substr(0, scheme.size()), scheme) || authorization[scheme.size()] != ' ') {
    return std::nullopt;
  }
  return trim_ascii(authorization.substr(scheme.size()));
}

std::optional<store::TokenHash> hash_of_cookie(std::string_view cookies, std::string_view name) {
  const auto value = find_cookie(cookies, name);
  return value ? store::hash_token(*value) : std::nullopt;
}

}  // namespace

std::optional<std::string_view> find_cookie(std::string_view cookies, std::string_view name) {
  while (!cookies.empty()) {
    const auto end = cookies.find(';');
    const auto pair = trim_ascii(cookies.substr(0, end));
    cookies.remove_prefix(end == std::string_view::npos ? cookies.size() : end + 1);
    if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=') {
      auto value = pair.substr(name.size() + 1);
      if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
        value = value.substr(1, value.size() - 2);
      return value;
    }
  }
  return std::nullopt;
}

std::optional<ShownToken> shown_token(const ipc::RequestHead& head, std::string_view cookie_name) {
  // An Authorization field goes before a cookie, whatever it holds.
  if (const auto authorization = ipc::field(head.fields, "authorization"); !authorization.empty()) {
    const auto token = bearer_token(authorization);
    const auto hash = token ? store::hash_token(*token) : std::nullopt;
    return hash ? std::optional(ShownToken{*hash, true}) : std::nullopt;
  }
  // Whom the web server has authenticated, the broker may take without a session; a dead cookie of an earlier one must
  // not lock them out. Whether it trusts the web server, only the broker knows: it looks at the cookie if it doesn't.
  if (!head.remote_user.empty()) return std::nullopt;
  const auto cookies = ipc::field(head.fields, "cookie");
  auto hash = hash_of_cookie(cookies, cookie_name);
  if (!hash) hash = hash_of_cookie(cookies, plain_cookie_name);
  return hash ? std::optional(ShownToken{*hash, false}) : std::nullopt;
}

namespace {

bool is_upload(const ipc::RequestHead& head) {
  return path_of(head).find("/upload/") != std::string_view::npos;
}

// An upload of a size that is told counts as that many octets of files (docs/limits.md).
std::optional<Answer> over_plan(const ipc::RequestHead& head, const GateView& view,
                                const store::TokenHash& session) {
  if (!is_upload(head) || !head.content_length || *head.content_length == 0) return std::nullopt;
  const auto record = view.usage(session);
  if (!record) return std::nullopt;
  const auto refusal =
      limits::check(*record, limits::amount_of(limits::Count::files, *head.content_length), view.now);
  if (!refusal) return std::nullopt;
  return over_limit(*refusal, view.now);
}

}  // namespace

std::string_view body_limit_name(const ipc::RequestHead& head) {
  return is_upload(head) ? "maxSizeUpload" : "maxSizeRequest";
}

std::uint64_t body_bytes_max(const ipc::RequestHead& head, const GateOptions& options,
                             const std::optional<store::BodyLimits>& limits) {
  if (!limits) return options.request_bytes_max;
  return is_upload(head) ? limits->upload_bytes_max : limits->request_bytes_max;
}

std::optional<Answer> refuse(const ipc::RequestHead& head, const GateOptions& options, const GateView& view) {
  std::optional<ShownToken> shown;
  if (!path_of(head).starts_with("/auth/")) shown = shown_token(head, options.cookie_name);
  if (shown) {
    switch (view.liveness(shown->hash)) {
      case store::Liveness::unknown_token:
      case store::Liveness::expired: return unauthorized(shown->bearer);
      case store::Liveness::live:
      case store::Liveness::no_segment: break;
    }
  }
  if (head.content_length && *head.content_length > body_bytes_max(head, options, view.limits))
    return body_too_large(body_limit_name(head));
  if (shown) return over_plan(head, view, shown->hash);
  return std::nullopt;
}

}  // namespace postern::worker
