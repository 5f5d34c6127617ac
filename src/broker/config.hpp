// The broker's configuration: one value, read from TOML, validated at start, never changed afterwards.
//
// Every key is documented with its unit and default in deploy/postern.toml. An unknown key is an error that
// names the nearest known one. Durations are written "30s", "5m", "12h"; sizes "64MB".
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "postern/base/clock.hpp"
#include "postern/base/error.hpp"
#include "postern/base/log.hpp"
#include "postern/base/secret.hpp"
#include "postern/jmap/api.hpp"
#include "postern/mail/account.hpp"
#include "postern/session/server.hpp"
#include "postern/store/session_table.hpp"

namespace postern::broker {

struct ServerConfig {       // [server]
  std::string user, group;  // posternd changes to these when started as root; empty: stays what it is
  std::string runtime_dir = "/run/postern";
  std::string pid_file;                            // empty: none
  unsigned shards = 1;                             // threads; an account belongs to one of them
  Duration stop_grace = std::chrono::seconds(10);  // requests under way get that long at SIGTERM
};

struct LogConfig {  // [log]
  LogTarget target = LogTarget::stderr_text;
  LogLevel level = LogLevel::info;
};

struct IpcConfig {     // [ipc]
  std::string socket;  // default: runtime_dir/broker.sock
  std::uint32_t socket_mode = 0660;
  std::string socket_group;                // empty: what the runtime directory gives it
  std::vector<std::string> allowed_users;  // user names of workers; the broker's own user always
  std::uint32_t connections_max = 1'024;
};

struct HttpConfig {                          // [http]
  std::string public_url;                    // "https://mail.example.com"; empty: from the request
  std::vector<std::string> trusted_proxies;  // addresses or prefixes whose X-Forwarded-* count
  std::string cookie_name = "__Host-postern";
  bool cookie_secure = true;
};

struct AuthConfig {  // [auth]
  bool basic = true;
  bool login = true;  // POST /auth/login
  bool oauth = false;
  std::vector<std::string> oauth_username_claims{"email", "preferred_username", "upn", "sub"};
  bool trust_remote_user = false;
  std::string master_user;
  std::string master_password_file;
  Secret master_password;  // read from that file
  Duration session_idle = std::chrono::hours(24);
  Duration session_max = std::chrono::hours(24 * 30);
  Duration verifier_lifetime = std::chrono::minutes(10);  // repeated Basic without an IMAP login
  std::string default_domain;                             // appended to logins without "@"
  bool lowercase_login = true;
};

struct CacheConfig {  // [cache]
  std::uint64_t fragments_bytes = 256ull << 20;
  std::uint64_t views_bytes = 512ull << 20;
  Duration view_idle = std::chrono::minutes(5);      // an unused view is given up after that
  Duration account_idle = std::chrono::minutes(30);  // an unused account's connections are closed after that
};

struct ControlConfig {  // [control]
  std::string socket;   // default: runtime_dir/control.sock
  std::uint32_t socket_mode = 0600;
};

struct MetricsConfig {  // [metrics]
  std::string listen;   // "127.0.0.1:9464" or a Unix socket's path; empty: none
};

struct Config {
  ServerConfig server;
  LogConfig log;
  session::ServerOptions imap;  // [imap]
  IpcConfig ipc;
  HttpConfig http;
  AuthConfig auth;
  store::SegmentOptions segment;  // [segment]
  CacheConfig cache;
  mail::MailOptions mail;
  jmap::Limits jmap;  // [jmap]
  ControlConfig control;
  MetricsConfig metrics;
  std::map<std::string, std::string>
      written;  // each section as it stands in the file, to tell what has changed
};

enum class ConfigErrc { unreadable = 1, syntax, unknown_key, bad_value, missing, conflict };
const std::error_category& config_category();
inline std::error_code make_error_code(ConfigErrc e) { return {static_cast<int>(e), config_category()}; }

// The error's context begins with "FILE:LINE: " where there is a line.
Result<Config> load_config(const std::string& path);
Result<Config> parse_config(std::string_view toml, const std::string& file_name);
// Has the machine what it asks for: users and groups (`missing`), certificates and a journal (`bad_value`)? Uses what
// the start uses; certificates must be readable for the caller. The context names the key, and no file or line.
Result<> check_machine(const Config& config);
// Both: what a broker may be started with. The error's context begins with "FILE:".
Result<Config> load_and_check(const std::string& path);

// A reload takes over what a running broker can change. `fresh` keeps what it can't as it is in `running`; returned
// are the sections ("imap") and keys ("log.target") that differ there and so need a restart.
std::vector<std::string> keep_fixed_sections(Config& fresh, const Config& running);

}  // namespace postern::broker
template <>
struct std::is_error_code_enum<postern::broker::ConfigErrc> : std::true_type {};
