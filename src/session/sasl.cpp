// The responses of each mechanism, master users, and refusals sorted into wrong credentials and passing trouble
// (RFC 5530). What holds a secret on the way wipes itself.
#include "session/sasl.hpp"

#include <algorithm>
#include <string_view>

#include "postern/base/encoding.hpp"

namespace postern::session {

using imap::Capability;

namespace {

constexpr std::string_view user_mark = "{user}", master_mark = "{master}";

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    const auto u = static_cast<unsigned char>(c);
    return u < 0x20 || u == 0x7f;
  });
}

std::string replace_mark(std::string text, std::string_view mark, std::string_view by) {
  const auto at = text.find(mark);
  if (at != std::string::npos) text.replace(at, mark.size(), by);
  return text;
}

// What stands around the two names in "{user}*{master}".
std::string separators(const std::string& format) {
  return replace_mark(replace_mark(format, user_mark, ""), master_mark, "");
}

// RFC 5801, section 4: saslname = 1*(value-safe-char / "=2C" / "=3D")
std::string saslname(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c == ',') {
      out += "=2C";
    } else if (c == '=') {
      out += "=3D";
    } else {
      out += c;
    }
  }
  return out;
}

std::string base64_wiped(const Secret& secret) { return base64_encode(secret.expose()); }

struct WipedString {
  std::string text;
  ~WipedString() { wipe(text.data(), text.size()); }
};

bool is_oauth(AuthMethod method) {
  return method == AuthMethod::oauthbearer || method == AuthMethod::xoauth2;
}

// RFC 5530. What isn't about the credentials must not look like a wrong password.
Errc refusal_code(const imap::StatusResponse* refusal) {
  if (refusal == nullptr) return Errc::unavailable;
  if (refusal->status != imap::Status::no) return Errc::unavailable;
  const auto& name = refusal->code.name;
  if (name == "UNAVAILABLE" || name == "INUSE" || name == "LIMIT" || name == "CONTACTADMIN" ||
      name == "SERVERBUG" || name == "OVERQUOTA") {
    return Errc::unavailable;
  }
  if (name == "PRIVACYREQUIRED") return Errc::not_secure;
  return Errc::authentication;
}

// {"status":"401",...}: the only part that is worth a log line. Letters, digits and "_" of it, 40 at most.
std::string oauth_error_status(std::string_view base64) {
  const auto json = base64_decode(base64);
  if (!json) return {};
  constexpr std::string_view key = "\"status\"";
  auto at = json->find(key);
  if (at == std::string::npos) return {};
  at = json->find_first_not_of(" :\"", at + key.size());
  std::string status;
  for (; at < json->size() && status.size() < 40; ++at) {
    const char c = (*json)[at];
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    if (!plain) break;
    status += c;
  }
  return status;
}

}  // namespace

Result<> check_credentials(const Credentials& credentials, const ServerOptions& options) {
  const bool master = credentials.kind == Credentials::Kind::master;
  if (credentials.login.empty() || (master && credentials.master_login.empty())) {
    return fail(Errc::authentication, "empty login");
  }
  if (credentials.secret.empty()) return fail(Errc::authentication, "empty password or token");
  if (has_control(credentials.login) || has_control(credentials.master_login)) {
    return fail(Errc::authentication, "control character in the login");
  }
  const auto secret = credentials.secret.expose();
  const bool bad = credentials.kind == Credentials::Kind::oauth
                       ? has_control(secret)
                       : secret.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
  if (bad) return fail(Errc::authentication, "control character in the password or token");
  if (master && !options.master_user_format.empty()) {
    const auto between = separators(options.master_user_format);
    if (between.empty() || credentials.login.find_first_of(between) != std::string::npos) {
      return fail(Errc::authentication, "the login contains what separates it from the master user");
    }
  }
  return {};
}

Result<AuthMethod> choose_method(const Credentials& credentials, const ServerOptions& options,
                                 const imap::CapabilitySet& capabilities) {
  const auto none = [&] {
    return fail(Errc::no_mechanism, "the server offers: " + capabilities.to_string());
  };
  if (credentials.kind == Credentials::Kind::oauth) {
    const bool bearer = options.oauth_mechanism != OauthMechanism::xoauth2;
    const bool xoauth2 = options.oauth_mechanism != OauthMechanism::oauthbearer;
    if (bearer && capabilities.has(Capability::auth_oauthbearer)) return AuthMethod::oauthbearer;
    if (xoauth2 && capabilities.has(Capability::auth_xoauth2)) return AuthMethod::xoauth2;
    return none();
  }
  const bool plain = capabilities.has(Capability::auth_plain);
  // Only PLAIN has an authorization identity.
  if (credentials.kind == Credentials::Kind::master && options.master_user_format.empty()) {
    const auto wanted = options.password_mechanism;
    if (plain && (wanted == PasswordMechanism::automatic || wanted == PasswordMechanism::plain)) {
      return AuthMethod::plain;
    }
    return none();
  }
  const bool command = !capabilities.has(Capability::logindisabled);
  const bool mechanism = capabilities.has(Capability::auth_login);
  switch (options.password_mechanism) {
    case PasswordMechanism::plain:
      if (plain) return AuthMethod::plain;
      break;
    case PasswordMechanism::login_mechanism:
      if (mechanism) return AuthMethod::login_mechanism;
      break;
    case PasswordMechanism::login_command:
      if (command) return AuthMethod::login_command;
      break;
    case PasswordMechanism::automatic:
      if (plain) return AuthMethod::plain;
      if (command) return AuthMethod::login_command;
      if (mechanism) return AuthMethod::login_mechanism;
      break;
  }
  return none();
}

Result<AuthMethod> choose_mechanism(const Credentials& credentials, const ServerOptions& options,
                                    const std::vector<std::string>& offered) {
  std::vector<std::string> names{"LOGINDISABLED"};
  for (const auto& mechanism : offered) names.push_back("AUTH=" + mechanism);
  return choose_method(credentials, options, imap::CapabilitySet(names));
}

SaslClient::SaslClient(AuthMethod method, const Credentials& credentials, const ServerOptions& options)
    : method_(method), credentials_(credentials), options_(options), login_(credentials.login) {
  if (credentials.kind != Credentials::Kind::master) return;
  if (options.master_user_format.empty()) {
    authzid_ = credentials.login;
    login_ = credentials.master_login;
  } else {
    // The user's name last: it can't bring a mark of its own into the master's.
    login_ = replace_mark(replace_mark(options.master_user_format, master_mark, credentials.master_login),
                          user_mark, credentials.login);
  }
}

std::string_view SaslClient::mechanism() const {
  switch (method_) {
    case AuthMethod::plain: return "PLAIN";
    case AuthMethod::login_mechanism: return "LOGIN";
    case AuthMethod::oauthbearer: return "OAUTHBEARER";
    case AuthMethod::xoauth2: return "XOAUTH2";
    case AuthMethod::login_command: break;
  }
  return {};
}

// RFC 4616: [authzid] NUL authcid NUL passwd. RFC 7628, 3.1: gs2-header kvsep *kvpair kvsep.
Secret SaslClient::response() const {
  WipedString message;
  const auto secret = credentials_.secret.expose();
  message.text.reserve(authzid_.size() + 3 * login_.size() + secret.size() + options_.endpoint.host.size() +
                       80);
  switch (method_) {
    case AuthMethod::plain:
      message.text.append(authzid_).append(1, '\0').append(login_).append(1, '\0').append(secret);
      break;
    case AuthMethod::oauthbearer:
      message.text.append("n,a=")
          .append(saslname(login_))
          .append(",\x01host=")
          .append(options_.endpoint.host);
      message.text.append("\x01port=").append(std::to_string(options_.endpoint.port));
      message.text.append("\x01").append("auth=Bearer ").append(secret).append("\x01\x01");
      break;
    case AuthMethod::xoauth2:
      message.text.append("user=").append(login_).append("\x01").append("auth=Bearer ");
      message.text.append(secret).append("\x01\x01");
      break;
    case AuthMethod::login_mechanism:
    case AuthMethod::login_command: break;
  }
  return Secret(message.text);
}

std::optional<std::string> SaslClient::initial_response() const {
  if (method_ == AuthMethod::login_mechanism || method_ == AuthMethod::login_command) return std::nullopt;
  return base64_wiped(response());
}

std::string SaslClient::answer(std::string_view challenge) {
  ++challenges_;
  if (method_ == AuthMethod::login_mechanism) {
    if (challenges_ == 1) return base64_encode(login_);
    if (challenges_ == 2) return base64_encode(credentials_.secret.expose());
    return "*";
  }
  if (!said_) {
    said_ = true;
    return base64_wiped(response());
  }
  if (is_oauth(method_) && oauth_error_.empty()) {
    // The reason of a failure comes as a challenge, and wants an answer before the NO: a kvsep (RFC 7628,
    // 3.2.3), or, with XOAUTH2, an empty line.
    oauth_error_ = oauth_error_status(challenge);
    if (oauth_error_.empty()) oauth_error_ = "unknown";
    return method_ == AuthMethod::oauthbearer ? "AQ==" : "";
  }
  return "*";
}

// --- IMAP ---

Authentication::Authentication(AuthMethod method, const Credentials& credentials,
                               const ServerOptions& options)
    : client_(method, credentials, options), credentials_(credentials) {}

Result<imap::Command> Authentication::command(const imap::CapabilitySet& capabilities) {
  if (client_.method() == AuthMethod::login_command) {
    imap::CommandBuilder builder("LOGIN", capabilities);
    builder.secret().exclusive().write();
    builder.sp().astring(client_.login()).sp().astring(credentials_.secret.expose());
    return builder.finish();
  }
  if (auto response = client_.initial_response(); capabilities.has(Capability::sasl_ir) && response) {
    const WipedString initial{std::move(*response)};
    imap::CommandBuilder builder("AUTHENTICATE", capabilities);
    builder.secret().exclusive().write().sp().raw(client_.mechanism()).sp().raw(initial.text);
    auto made = builder.finish();
    if (made) client_.said_initially();
    if (made) return made;  // otherwise too long for a line: at the "+" then
  }
  imap::CommandBuilder builder("AUTHENTICATE", capabilities);
  builder.secret().exclusive().write().sp().raw(client_.mechanism());
  return builder.finish();
}

std::optional<std::string> Authentication::on_continuation(const imap::Continuation& continuation) {
  return client_.answer(continuation.text);
}

void Authentication::on_done(Result<imap::StatusResponse> result, const imap::StatusResponse* refusal) {
  if (result || result.error().code == imap::Errc::closed) {
    result_ = std::move(result);
    return;
  }
  // A BAD may quote the command; of a NO the text is for people, and worth a log line.
  Error error(refusal_code(refusal), refusal != nullptr && refusal->status == imap::Status::no
                                         ? result.error().context
                                         : std::string("BAD"));
  if (!client_.oauth_error().empty()) error.context += " (OAuth status " + client_.oauth_error() + ")";
  result_ = fail(std::move(error));
}

}  // namespace postern::session
