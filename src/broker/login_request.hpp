// What a client says when it signs in: {"username": ..., "password": ... or "accessToken": ..., "token": true}.
// A pure function, on the loop of the worker connection.
#pragma once

#include <optional>
#include <string>

#include "postern/session/server.hpp"

namespace postern::broker {

struct LoginRequest {
  session::Credentials credentials;
  bool wants_token = false;  // in the answer, instead of a cookie
};
// Parses `body` in place and wipes it, so that there is one copy of the password; to stay so, it needs room for
// RequestStream::body_spare_bytes behind its end. nullopt: it is no such object, or has an access token where `oauth`
// isn't offered.
std::optional<LoginRequest> parse_login_request(std::string& body, bool oauth);

}  // namespace postern::broker
