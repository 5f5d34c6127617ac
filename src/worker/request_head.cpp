// The list of forwarded fields, the choice of prefix and scheme, and the checks of what the web server passes.
#include "worker/request_head.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "postern/base/encoding.hpp"
#include "worker/limits.hpp"

namespace postern::worker {
namespace {

// Sorted by parameter, for the binary search.
constexpr std::array fields_forwarded = std::to_array<ForwardedField>({
    {"CONTENT_TYPE", "content-type"},
    {"HTTP_ACCEPT", "accept"},
    {"HTTP_ACCEPT_LANGUAGE", "accept-language"},
    {"HTTP_AUTHORIZATION", "authorization"},
    {"HTTP_COOKIE", "cookie"},
    {"HTTP_FORWARDED", "forwarded"},
    {"HTTP_IF_MATCH", "if-match"},
    {"HTTP_IF_MODIFIED_SINCE", "if-modified-since"},
    {"HTTP_IF_NONE_MATCH", "if-none-match"},
    {"HTTP_IF_RANGE", "if-range"},
    {"HTTP_LAST_EVENT_ID", "last-event-id"},
    {"HTTP_ORIGIN", "origin"},
    {"HTTP_RANGE", "range"},
    {"HTTP_REFERER", "referer"},
    {"HTTP_SEC_FETCH_SITE", "sec-fetch-site"},
    {"HTTP_USER_AGENT", "user-agent"},
    {"HTTP_X_FORWARDED_FOR", "x-forwarded-for"},
    {"HTTP_X_FORWARDED_HOST", "x-forwarded-host"},
    {"HTTP_X_FORWARDED_PROTO", "x-forwarded-proto"},
    {"HTTP_X_FRONTEND", "x-frontend"},
    {"HTTP_X_LONG_POLL", "x-long-poll"},
    {"HTTP_X_REQUEST_ID", "x-request-id"},
});
static_assert(std::ranges::is_sorted(fields_forwarded, {}, &ForwardedField::parameter));
static_assert(fields_forwarded.size() <= ipc::head_fields_max);

// Parameters that say something other than a forwarded field.
struct Raw {
  std::string_view request_scheme, https, script_name, prefix, content_length, redirected_authorization;
};

std::unexpected<Rejection> reject(unsigned status, std::string detail) {
  return std::unexpected(Rejection{status, std::move(detail)});
}

// Hexadecimal (nginx), UUIDs, and the alphabet of mod_unique_id, which has "@" and "-" besides letters and digits.
bool is_request_id(std::string_view s) {
  return s.size() >= request_id_bytes_min && s.size() <= request_id_bytes_max &&
         std::ranges::all_of(s, [](char c) {
           return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
                  c == '@' || c == '_';
         });
}

std::string random_request_id(Random& random) {
  std::array<std::uint8_t, 12> bytes{};
  random.fill(bytes);
  return hex_encode({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

void take_parameter(std::string_view name, std::string_view value, ipc::RequestHead& head, Raw& raw) {
  const auto at = std::ranges::lower_bound(fields_forwarded, name, {}, &ForwardedField::parameter);
  if (at != fields_forwarded.end() && at->parameter == name) {
    // CONTENT_TYPE is there and empty when the browser sent none.
    if (!value.empty()) head.fields.emplace_back(at->name, value);
    return;
  }
  if (name == "REQUEST_METHOD")
    head.method = value;
  else if (name == "REQUEST_URI")
    head.target = value;
  else if (name == "HTTP_HOST")
    head.host = value;
  else if (name == "REMOTE_ADDR")
    head.remote_address = value;
  else if (name == "REMOTE_USER")
    head.remote_user = value;
  else if (name == "REQUEST_SCHEME")
    raw.request_scheme = value;
  else if (name == "HTTPS")
    raw.https = value;
  else if (name == "SCRIPT_NAME")
    raw.script_name = value;
  else if (name == "POSTERN_PREFIX")
    raw.prefix = value;
  else if (name == "CONTENT_LENGTH")
    raw.content_length = value;
  else if (name == "REDIRECT_HTTP_AUTHORIZATION")
    raw.redirected_authorization = value;
}

std::string_view without_query(std::string_view target) {
  return target.substr(0, target.find_first_of("?#"));
}

// A prefix counts only where the path really begins with it, as a whole segment, and goes on: nginx's stock
// fastcgi_params sets SCRIPT_NAME to the whole path.
bool is_prefix_of(std::string_view prefix, std::string_view target) {
  const auto path = without_query(target);
  return !prefix.empty() && prefix.size() < path.size() && path.starts_with(prefix) &&
         path[prefix.size()] == '/';
}

// RFC 8620, section 2.2: the one URL that is at the root of its host, wherever Postern is mounted.
constexpr std::string_view well_known_path = "/.well-known/jmap";

std::string_view choose_prefix(const Raw& raw, const HeadOptions& options, std::string_view target) {
  const bool from_script_name = raw.prefix.empty() && options.prefix_from_script_name;
  std::string_view prefix = !raw.prefix.empty() ? raw.prefix
                            : from_script_name  ? raw.script_name
                                                : std::string_view(options.prefix);
  while (prefix.ends_with('/')) prefix.remove_suffix(1);
  // What is configured holds there, too: the URLs in its answer are below the prefix.
  if (!from_script_name && prefix.starts_with('/') && without_query(target) == well_known_path) return prefix;
  return is_prefix_of(prefix, target) ? prefix : std::string_view();
}

std::string_view choose_scheme(const Raw& raw) {
  if (raw.request_scheme == "https" || raw.request_scheme == "http") return raw.request_scheme;
  return iequals_ascii(raw.https, "on") || raw.https == "1" ? "https" : "http";
}

}  // namespace

std::span<const ForwardedField> request_fields() { return fields_forwarded; }

std::expected<ipc::RequestHead, Rejection> request_head(const char* const* parameters,
                                                        const HeadOptions& options, Random& random) {
  ipc::RequestHead head;
  head.fields.reserve(fields_forwarded.size());
  Raw raw;
  for (; *parameters != nullptr; ++parameters) {
    const std::string_view entry(*parameters);
    const auto equals = entry.find('=');
    if (equals == std::string_view::npos) continue;
    take_parameter(entry.substr(0, equals), entry.substr(equals + 1), head, raw);
  }
  if (head.method.empty() || !head.target.starts_with('/')) {
    if (head.method == "OPTIONS" && head.target == "*")
      return reject(400, "There is nothing to be said about *.");
    return reject(400, "REQUEST_METHOD or REQUEST_URI is missing or not a path.");
  }
  if (!raw.content_length.empty()) {
    std::uint64_t length = 0;
    const auto* end = raw.content_length.data() + raw.content_length.size();
    const auto [stop, error] = std::from_chars(raw.content_length.data(), end, length);
    if (error != std::errc() || stop != end) return reject(400, "Content-Length is not a number.");
    head.content_length = length;
  }
  // Apache renames the field when a rewrite rule has run.
  if (!raw.redirected_authorization.empty() && ipc::field(head.fields, "authorization").empty()) {
    head.fields.emplace_back("authorization", raw.redirected_authorization);
  }
  head.scheme = choose_scheme(raw);
  head.script_name = choose_prefix(raw, options, head.target);
  const auto id = ipc::field(head.fields, "x-request-id");
  head.id = is_request_id(id) ? std::string(id) : random_request_id(random);
  return head;
}

std::expected<std::string, Rejection> encode_head(const ipc::RequestHead& head) {
  auto encoded = ipc::encode_request_head(head);
  if (encoded) return std::move(*encoded);
  if (encoded.error().code == ipc::make_error_code(ipc::Errc::too_large)) {
    return reject(431, "The request's header fields are too large.");
  }
  return reject(400, "The request's header holds a character that is not allowed there.");
}

std::string_view path_of(const ipc::RequestHead& head) {
  const auto path = without_query(head.target);
  return path.starts_with(head.script_name) ? path.substr(head.script_name.size()) : path;
}

}  // namespace postern::worker
