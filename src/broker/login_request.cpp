// Signing in, read from JSON: RapidJSON decodes the strings where they are.
#include "broker/login_request.hpp"

#include "broker/ipc_server.hpp"
#include "postern/base/json_misuse.hpp"
#include "postern/jmap/json.hpp"

namespace postern::broker {
namespace {

std::optional<LoginRequest> read(const rapidjson::Document& document, bool oauth) {
  if (document.HasParseError() || !document.IsObject()) return std::nullopt;
  auto username = jmap::require_string(document, "username");
  auto password = jmap::get_string(document, "password");
  auto access = jmap::get_string(document, "accessToken");
  auto token = jmap::get_bool(document, "token", false);
  if (!username || !password || !access || !token || (!*password && !*access) || (*access && !oauth))
    return std::nullopt;
  LoginRequest request;
  request.credentials.login = *username;
  request.credentials.kind =
      *access ? session::Credentials::Kind::oauth : session::Credentials::Kind::password;
  request.credentials.secret = Secret(*access ? **access : **password);
  request.wants_token = *token;
  return request;
}

}  // namespace

std::optional<LoginRequest> parse_login_request(std::string& body, bool oauth) {
  struct Wipe {
    std::string& text;
    ~Wipe() { wipe(text.data(), text.size()); }
  } wiped{body};
  if (body.find('\0') != std::string::npos) return std::nullopt;
  static_assert(RequestStream::body_spare_bytes >= jmap::parse_spare_bytes,
                "the body would be copied, and not wiped");
  try {
    rapidjson::Document document;
    jmap::parse_in_place(body, document);
    return read(document, oauth);
  } catch (const JsonMisuse&) {
    return std::nullopt;
  }
}

}  // namespace postern::broker
