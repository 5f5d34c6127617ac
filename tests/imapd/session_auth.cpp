// Commands before and around login: RFC 3501 sections 6.1 and 6.2, SASL-IR (RFC 4959), PLAIN (RFC 4616),
// OAUTHBEARER (RFC 7628), XOAUTH2, ENABLE (RFC 5161), ID (RFC 2971), NAMESPACE (RFC 2342).
#include "session.hpp"

#include <fmt/format.h>

#include "connection.hpp"
#include "server.hpp"

namespace postern::testimapd {

namespace {
constexpr std::string_view oauth_challenge = R"({"status":"invalid_token","scope":"mail"})";
}

Reply Session::capability(Cursor& args) {
  args.end();
  if (args.failed()) return Reply::bad("No arguments expected");
  untagged("CAPABILITY " + server_.capability_text(user_ != nullptr, connection_.tls_up()));
  return Reply::ok("Capability completed");
}

Reply Session::noop(Cursor& args) {
  args.end();
  return args.failed() ? Reply::bad("No arguments expected") : Reply::ok("Noop completed");
}

Reply Session::logout(Cursor& args) {
  args.end();
  if (args.failed()) return Reply::bad("No arguments expected");
  leave_mailbox();
  untagged("BYE Logging out");
  state_ = State::logout;
  connection_.close_when_sent();
  return Reply::ok("Logout completed");
}

Reply Session::starttls(Cursor& args) {
  args.end();
  if (args.failed() || server_.tls() == nullptr || connection_.tls_up())
    return Reply::bad("TLS is not possible");
  input_.clear();  // what was pipelined before TLS doesn't count
  connection_.start_tls_when_sent();
  return Reply::ok("Begin TLS negotiation now");
}

bool Session::password_right(const std::string& name, const std::string& password) const {
  const User* user = server_.store().find_user(name);
  if (user == nullptr) return false;
  const std::string* changed = server_.password_override(name);
  return password == (changed == nullptr ? user->password : *changed);
}

Reply Session::login_failed(const std::string& name) {
  ++server_.total().login_failures;
  if (server_.store().find_user(name) != nullptr) ++server_.of_user(name).login_failures;
  server_.changed();
  return Reply::no("[AUTHENTICATIONFAILED] Authentication failed");
}

Reply Session::logged_in(const std::string& name) {
  user_ = server_.store().open_user(name);
  if (user_ == nullptr) return login_failed(name);
  user_->sessions.push_back(this);
  user_counts_ = &server_.of_user(name);
  ++server_.total().logins;
  ++user_counts_->logins;
  ++user_counts_->connections_total;
  if (command_ != nullptr) ++user_counts_->commands[name_];
  state_ = State::authenticated;
  auto text = server_.capability_text(true, connection_.tls_up());
  if (server_.options().quirks.capability_untagged && in_command_) untagged("CAPABILITY " + text);
  if (server_.options().quirks.capability_code)
    return Reply::ok(fmt::format("[CAPABILITY {}] Logged in", text));
  return Reply::ok("Logged in");
}

Reply Session::login(Cursor& args) {
  auto name = args.astring();
  args.sp();
  auto password = args.astring();
  args.end();
  if (args.failed()) return Reply::bad("LOGIN expects user and password");
  if (!server_.options().plain_text_login && !connection_.tls_up())
    return Reply::no("[PRIVACYREQUIRED] TLS first");
  auto star = name.find('*');
  const Options& options = server_.options();
  if (star != std::string::npos && !options.master_user.empty()) {
    bool right = name.substr(star + 1) == options.master_user && password == options.master_password;
    return right ? logged_in(name.substr(0, star)) : login_failed(name.substr(0, star));
  }
  return password_right(name, password) ? logged_in(name) : login_failed(name);
}

// authenticate = "AUTHENTICATE" SP auth-type [SP initial-resp] *(CRLF base64)
Reply Session::authenticate(Cursor& args) {
  auto mechanism = args.upper_atom();
  std::optional<std::string> initial;
  if (args.try_char(' ')) initial = std::string(args.rest());
  if (args.failed() || !server_.capability_text(false, connection_.tls_up()).contains("AUTH=" + mechanism))
    return Reply::no("Mechanism not offered");
  if (initial && !offers("SASL-IR")) return Reply::bad("No initial response without SASL-IR");
  auth_mechanism_ = mechanism;
  auth_user_.clear();
  auth_failed_ = false;
  if (initial) return auth_line(*initial == "=" ? "" : *initial);
  continuation(mechanism == "LOGIN" ? base64_encode("Username:") : "");
  return Reply::later();
}

Reply Session::auth_line(std::string_view text) {
  auto done = [&](Reply reply) {
    auth_mechanism_.clear();
    return reply;
  };
  if (text == "*") return done(Reply::bad("Authentication cancelled"));
  if (auth_failed_)  // the client has answered the error challenge
    return done(login_failed(auth_user_));
  auto decoded = base64_decode(text);
  if (!decoded) return done(Reply::bad("Not base64"));
  auto reply = auth_response(*decoded);
  return reply.pending ? reply : done(reply);
}

Reply Session::auth_response(const std::string& decoded) {
  if (auth_mechanism_ == "PLAIN") return auth_plain(decoded);
  if (auth_mechanism_ == "LOGIN") {
    if (auth_user_.empty()) {
      auth_user_ = decoded;
      continuation(base64_encode("Password:"));
      return Reply::later();
    }
    return password_right(auth_user_, decoded) ? logged_in(auth_user_) : login_failed(auth_user_);
  }
  return auth_oauth(decoded);
}

// message = [authzid] NUL authcid NUL passwd
Reply Session::auth_plain(const std::string& message) {
  auto first = message.find('\0');
  auto second = message.find('\0', first + 1);
  if (first == std::string::npos || second == std::string::npos) return Reply::bad("Malformed PLAIN message");
  auto authzid = message.substr(0, first);
  auto authcid = message.substr(first + 1, second - first - 1);
  auto password = message.substr(second + 1);
  const Options& options = server_.options();
  if (!options.master_user.empty() && authcid == options.master_user) {
    bool right = password == options.master_password && !authzid.empty();
    return right ? logged_in(authzid) : login_failed(authzid);
  }
  if (!authzid.empty() && authzid != authcid) return login_failed(authzid);
  return password_right(authcid, password) ? logged_in(authcid) : login_failed(authcid);
}

// OAUTHBEARER: "n,a=USER," ^A ["host=" ...^A] "auth=Bearer TOKEN" ^A ^A;  XOAUTH2: "user=USER" ^A "auth=..." ^A ^A
Reply Session::auth_oauth(const std::string& message) {
  std::string name;
  std::string token;
  std::size_t at = 0;
  while (at < message.size()) {
    auto end = std::min(message.find('\1', at), message.size());
    auto field = std::string_view(message).substr(at, end - at);
    if (field.starts_with("n,a="))
      name = field.substr(4, field.find(',', 4) - 4);
    else if (field.starts_with("user="))
      name = field.substr(5);
    else if (field.starts_with("auth=Bearer "))
      token = field.substr(12);
    at = end + 1;
  }
  const std::string* wanted = server_.token_of(name);
  if (wanted != nullptr && !token.empty() && *wanted == token) return logged_in(name);
  auth_user_ = name;
  auth_failed_ = true;
  continuation(base64_encode(oauth_challenge));
  return Reply::later();
}

Reply Session::enable(Cursor& args) {
  std::string enabled;
  do {
    auto name = args.upper_atom();
    bool known = (name == "CONDSTORE" || name == "QRESYNC" || name == "UTF8=ACCEPT" || name == "IMAP4REV2") &&
                 offers(name);
    if (!known) continue;
    condstore_ = condstore_ || name == "CONDSTORE" || name == "QRESYNC";
    qresync_ = qresync_ || name == "QRESYNC";
    utf8_ = utf8_ || name == "UTF8=ACCEPT" || name == "IMAP4REV2";
    enabled += " " + name;
  } while (!args.failed() && args.try_char(' '));
  args.end();
  if (args.failed()) return Reply::bad("ENABLE expects capability names");
  untagged("ENABLED" + enabled);
  return Reply::ok("Enabled");
}

Reply Session::id(Cursor& args) {
  if (!args.try_word("NIL")) {
    args.expect('(');
    while (!args.failed() && !args.try_char(')')) {
      args.try_char(' ');
      args.string();
      args.sp();
      args.nstring();
    }
  }
  args.end();
  if (args.failed()) return Reply::bad("Malformed ID");
  std::string out = "ID (";
  for (const auto& [name, value] : server_.options().id) {
    if (out.size() > 4) out += ' ';
    append_string(out, name);
    out += ' ';
    append_string(out, value);
  }
  untagged(server_.options().id.empty() ? "ID NIL" : out + ")");
  return Reply::ok("ID completed");
}

Reply Session::namespaces(Cursor& args) {
  args.end();
  if (args.failed()) return Reply::bad("No arguments expected");
  std::string prefix;
  append_string(prefix, server_.options().prefix);
  untagged(fmt::format("NAMESPACE (({} {})) NIL NIL", prefix, separator_text()));
  return Reply::ok("Namespace completed");
}

}  // namespace postern::testimapd
