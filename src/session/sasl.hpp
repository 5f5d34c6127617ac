// Who signs in how: the choice of a mechanism, what is said in it, and what a refusal means. No I/O.
//
// PLAIN (RFC 4616), LOGIN (the mechanism without an RFC, and RFC 3501's command), OAUTHBEARER (RFC 7628),
// XOAUTH2 (Google's and Microsoft's), with SASL-IR (RFC 4959) where the server has it.
#pragma once

#include <optional>
#include <string>

#include "postern/base/error.hpp"
#include "postern/imap/capabilities.hpp"
#include "postern/imap/command.hpp"
#include "postern/imap/multiplexer.hpp"
#include "postern/session/server.hpp"

namespace postern::session {

enum class AuthMethod : std::uint8_t { plain, login_mechanism, login_command, oauthbearer, xoauth2 };

// authentication: credentials that no server could accept (empty, or with control characters that must not
// reach the wire). Nothing needs to be sent to know.
Result<> check_credentials(const Credentials& credentials, const ServerOptions& options);

// no_mechanism when nothing fits what the server offers and the configuration allows.
Result<AuthMethod> choose_method(const Credentials& credentials, const ServerOptions& options,
                                 const imap::CapabilitySet& capabilities);

// One attempt. Lives until on_done() was called or the multiplexer is gone; `credentials` outlive it.
class Authentication final : public imap::CommandSink {
 public:
  Authentication(AuthMethod method, const Credentials& credentials, const ServerOptions& options);

  // AUTHENTICATE or LOGIN, with what can be said at once.
  Result<imap::Command> command(const imap::CapabilitySet& capabilities);

  bool done() const { return result_.has_value(); }
  // The response that ended it; authentication, unavailable or not_secure when it was refused.
  const Result<imap::StatusResponse>& result() const { return *result_; }

 private:
  std::optional<std::string> on_continuation(const imap::Continuation& continuation) override;
  void on_done(Result<imap::StatusResponse> result, const imap::StatusResponse* refusal) override;
  Secret response() const;  // of mechanisms that say all in one

  AuthMethod method_;
  const Credentials& credentials_;
  const ServerOptions& options_;
  std::string login_;    // authentication identity
  std::string authzid_;  // authorization identity, or empty
  bool said_ = false;    // the (first) response has been sent
  int challenges_ = 0;
  std::string challenge_status_;  // of an OAuth error challenge: "401"
  std::optional<Result<imap::StatusResponse>> result_;
};

}  // namespace postern::session
