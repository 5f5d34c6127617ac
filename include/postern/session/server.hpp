// The IMAP server as configured, and who signs in to it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "postern/base/clock.hpp"
#include "postern/base/error.hpp"
#include "postern/base/secret.hpp"
#include "postern/io/loop.hpp"
#include "postern/io/stream.hpp"

namespace postern::session {

enum class TlsMode : std::uint8_t { implicit, starttls, none };
enum class PasswordMechanism : std::uint8_t { automatic, plain, login_mechanism, login_command };
enum class OauthMechanism : std::uint8_t { automatic, oauthbearer, xoauth2 };

struct ServerOptions {
  io::Endpoint endpoint;
  TlsMode tls = TlsMode::implicit;
  io::TlsOptions tls_options;
  bool allow_plaintext = false;  // otherwise `none` is for loopback only
  PasswordMechanism password_mechanism = PasswordMechanism::automatic;
  OauthMechanism oauth_mechanism = OauthMechanism::automatic;
  // "{user}*{master}" for Dovecot; empty: SASL authzid. A login that contains what stands between the two
  // is refused.
  std::string master_user_format;
  bool send_client_id = false;  // ID with the client's address (Dovecot: x-originating-ip)
  unsigned connections_per_account = 2;
  unsigned logins_in_flight = 20;  // per server and broker
  Duration connect_timeout = std::chrono::seconds(10);
  Duration greeting_timeout = std::chrono::seconds(15);
  // Without any octet from the server while something is in flight.
  Duration command_timeout = std::chrono::seconds(120);
  Duration login_timeout = std::chrono::seconds(30);
  Duration idle_after = std::chrono::milliseconds(200);  // IDLE when nothing was asked for so long
  Duration idle_renew = std::chrono::minutes(28);        // RFC 2177: before 29 minutes
  Duration keepalive = std::chrono::minutes(10);         // NOOP, where there is no IDLE
  Duration surplus_idle = std::chrono::minutes(5);  // an account's second connection ends, unused so long
  Duration backoff_min = std::chrono::milliseconds(500);
  Duration backoff_max = std::chrono::minutes(5);
  // Who asks for a connection while a reconnect is due within this time waits; otherwise it is backing_off.
  Duration backoff_wait_max = std::chrono::seconds(1);
};

struct Credentials {
  enum class Kind : std::uint8_t { password, oauth, master };
  Kind kind = Kind::password;
  std::string login;         // whose mail it is
  Secret secret;             // password, OAuth access token, or the master user's password
  std::string master_login;  // Kind::master
  Credentials clone() const;
};

enum class Errc {
  // The server refused the credentials. Remembered: nothing is sent until replace_credentials().
  authentication = 1,
  // The server can't be reached, is no IMAP server, or says UNAVAILABLE / BYE. From Lease::execute(): the
  // command was not sent.
  unavailable,
  not_secure,       // TLS is demanded and can't be had (the context has OpenSSL's reason), or PREAUTH
  no_mechanism,     // no authentication mechanism in common
  backing_off,      // a reconnect is due later: Pool::retry_at()
  connection_lost,  // while the command was in flight: a write's outcome is unknown
  timeout,          // connected, but the login didn't come to an end
  no_such_mailbox,  // the server says that there is none
  mailbox_refused,  // SELECT, and the server gives no reason
  overloaded,       // too many wait
};
const std::error_category& session_category();
inline std::error_code make_error_code(Errc e) { return {static_cast<int>(e), session_category()}; }

// What a server was asked, for metrics. All but the gauges only grow.
struct Counters {
  std::uint64_t connects = 0;          // connections opened (TCP)
  std::uint64_t connect_failures = 0;  // TCP, TLS, greeting
  std::uint64_t tls_resumptions = 0;
  std::uint64_t logins = 0;            // that succeeded
  std::uint64_t login_refusals = 0;    // wrong credentials
  std::uint64_t login_failures = 0;    // for any other reason
  std::uint64_t reconnects = 0;        // logins of a pool that had been connected before
  std::uint64_t connections_lost = 0;  // not closed by us
  std::uint64_t selects = 0;
  std::uint64_t bytes_in = 0, bytes_out = 0;                   // IMAP octets, inside TLS
  std::map<std::string, std::uint64_t, std::less<>> commands;  // by name: "UID FETCH"
  unsigned connections_open = 0;                               // gauge: signed in
  unsigned logins_in_flight = 0;                               // gauge
  unsigned logins_waiting = 0;                                 // gauge
};

// How many logins may be in flight on one IMAP server, for all shards together. Shared by their Servers; any thread.
class LoginSlots;
std::shared_ptr<LoginSlots> make_login_slots(unsigned logins_in_flight);

// One per IMAP server and shard: its TLS context, how many logins are in flight, whether it's down.
class Server {
 public:
  // io::Errc::tls for TLS options that can't be used. Without `slots` it has logins_in_flight of its own.
  static Result<std::unique_ptr<Server>> make(io::Loop& loop, ServerOptions options,
                                              std::shared_ptr<LoginSlots> slots = nullptr);
  virtual ~Server() = default;
  virtual const ServerOptions& options() const = 0;
  virtual const Counters& counters() const = 0;
  // While connecting fails: when the next attempt is due. Zero (a time long past) if all is well.
  virtual MonotonicTime retry_at() const = 0;
};

}  // namespace postern::session
template <>
struct std::is_error_code_enum<postern::session::Errc> : std::true_type {};
