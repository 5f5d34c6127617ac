// The session layer's error category, in words that hold nothing of the server's own; and copies of Credentials.
#include "postern/session/server.hpp"

namespace postern::session {

namespace {
class SessionCategory final : public std::error_category {
 public:
  const char* name() const noexcept override { return "session"; }
  std::string message(int value) const override {
    switch (static_cast<Errc>(value)) {
      case Errc::authentication: return "the IMAP server refused the credentials";
      case Errc::unavailable: return "the IMAP server is unavailable";
      case Errc::not_secure: return "no secure connection to the IMAP server";
      case Errc::no_mechanism: return "no authentication mechanism in common";
      case Errc::backing_off: return "the IMAP server failed lately; tried again later";
      case Errc::connection_lost: return "the connection to the IMAP server was lost";
      case Errc::timeout: return "the IMAP server did not answer in time";
      case Errc::no_such_mailbox: return "no such mailbox";
      case Errc::mailbox_refused: return "the IMAP server refused to open the mailbox";
      case Errc::overloaded: return "too many requests wait";
    }
    return "unknown";
  }
};
}  // namespace

const std::error_category& session_category() {
  static const SessionCategory category;
  return category;
}

Credentials Credentials::clone() const { return {kind, login, secret.clone(), master_login}; }

}  // namespace postern::session
