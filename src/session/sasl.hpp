// Signing in to IMAP: the choice among what the server offers, AUTHENTICATE or LOGIN, and what a refusal means. No I/O.
//
// What is said in a mechanism is postern/session/sasl.hpp's, with SASL-IR (RFC 4959) where the server has it.
#pragma once

#include <optional>
#include <string>

#include "postern/base/error.hpp"
#include "postern/imap/capabilities.hpp"
#include "postern/imap/command.hpp"
#include "postern/imap/multiplexer.hpp"
#include "postern/session/sasl.hpp"
#include "postern/session/server.hpp"

namespace postern::session {

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

  SaslClient client_;
  const Credentials& credentials_;
  std::optional<Result<imap::StatusResponse>> result_;
};

}  // namespace postern::session
