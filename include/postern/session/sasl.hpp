// Who signs in how, whatever the protocol around it: the choice of a mechanism and what the client says in it. No I/O.
//
// PLAIN (RFC 4616), LOGIN (the mechanism without an RFC, and IMAP's command), OAUTHBEARER (RFC 7628), XOAUTH2 (Google's
// and Microsoft's). What is said holds credentials: whoever sends it wipes it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "postern/base/error.hpp"
#include "postern/session/server.hpp"

namespace postern::session {

enum class AuthMethod : std::uint8_t { plain, login_mechanism, login_command, oauthbearer, xoauth2 };

// authentication: credentials that no server could accept (empty, or with control characters that must not
// reach the wire). Nothing needs to be sent to know.
Result<> check_credentials(const Credentials& credentials, const ServerOptions& options);

// For servers other than IMAP's: `offered` are SASL mechanisms by name, in either case. Never IMAP's login command.
// no_mechanism when nothing fits what the server offers and the configuration allows.
Result<AuthMethod> choose_mechanism(const Credentials& credentials, const ServerOptions& options,
                                    const std::vector<std::string>& offered);

// The client's side of one exchange. What goes over the wire is base64; `credentials` and `options` outlive it.
class SaslClient {
 public:
  SaslClient(AuthMethod method, const Credentials& credentials, const ServerOptions& options);

  AuthMethod method() const { return method_; }
  // "PLAIN"; empty for IMAP's login command.
  std::string_view mechanism() const;
  // What may be said with the command itself; nullopt where the mechanism has nothing then. Once it has been,
  // said_initially() tells so.
  std::optional<std::string> initial_response() const;
  void said_initially() { said_ = true; }
  // To a challenge, base64 like it: an answer, or "*", which cancels the exchange (RFC 3501, 6.2.2).
  std::string answer(std::string_view challenge);
  // Of the challenge that an OAuth server tells the reason of a refusal by: "401" or "invalid_token"; else empty.
  const std::string& oauth_error() const { return oauth_error_; }

  // The authentication identity: of a master user, "alice*master" or the master's own.
  const std::string& login() const { return login_; }

 private:
  Secret response() const;  // of mechanisms that say all in one

  AuthMethod method_;
  const Credentials& credentials_;
  const ServerOptions& options_;
  std::string login_;
  std::string authzid_;  // authorization identity, or empty
  bool said_ = false;    // the (first) response has been sent
  int challenges_ = 0;
  std::string oauth_error_;
};

}  // namespace postern::session
