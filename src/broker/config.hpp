// The broker's configuration: one value, read from TOML, validated at start, never changed afterwards.
//
// Every key is documented with its unit and default in deploy/postern.toml. An unknown key is an error that
// names the nearest known one. Durations are written "30s", "5m", "12h"; sizes "64MB".
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "broker/plan_lookup.hpp"
#include "postern/base/clock.hpp"
#include "postern/base/error.hpp"
#include "postern/base/log.hpp"
#include "postern/base/secret.hpp"
#include "postern/blobs/upload_store.hpp"
#include "postern/jmap/api.hpp"
#include "postern/limits/plan_map.hpp"
#include "postern/limits/sign_in_throttle.hpp"
#include "postern/mail/account.hpp"
#include "postern/outbox/outbox.hpp"
#include "postern/session/server.hpp"
#include "postern/sieve/server.hpp"
#include "postern/smtp/transport.hpp"
#include "postern/store/session_table.hpp"

namespace postern::broker {

struct ServerConfig {       // [server]
  std::string user, group;  // posternd changes to these when started as root; empty: stays what it is
  std::string runtime_dir = "/run/postern";
  std::string state_dir = "/var/lib/postern";      // of what must outlive a restart of the machine
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

struct FrontendConfig {    // [push.frontends.NAME]: a web server with nchan
  std::string publisher;   // its publisher location: http://unix:PATH:/..., or http:// and a loopback address
  std::string subscriber;  // its internal subscriber location, which begins and ends with "/"
};

struct PushConfig {  // [push]
  bool enabled = true;
  std::string
      socket;  // of the event streams held here, with the group of [ipc]; default: runtime_dir/events.sock
  std::uint32_t socket_mode = 0660;
  std::string stream_location = "/postern-stream/";  // nginx's internal location that leads to it
  Duration coalesce = std::chrono::milliseconds(50);
  Duration grace = std::chrono::seconds(60);
  std::uint32_t listeners_max = 50'000;
  bool web_socket = true;  // JMAP over WebSockets (RFC 8887), at the same socket
  std::map<std::string, FrontendConfig> frontends;
};

struct WebPushConfig {  // [webpush]
  bool enabled = true;
  std::vector<std::string> allow;  // hosts, addresses and networks inside that may be told all the same
  std::string ca_file;             // empty: the system's
  std::string contact;             // "mailto:..." or "https://..."; empty: [http] public_url
  Duration lifetime_max = std::chrono::hours(24 * 14);  // where the credentials have no end of their own
  Duration ttl = std::chrono::hours(24);  // how long a service keeps a message for a device that is away
  Duration interval = std::chrono::seconds(1);  // between two messages
  Duration connect_timeout = std::chrono::seconds(10), timeout = std::chrono::seconds(30);
  std::uint32_t subscriptions_per_account = 20, subscriptions_max = 50'000;
};

struct UploadsConfig {  // [uploads]
  std::string directory = "/var/lib/postern/uploads";
  std::uint64_t account_bytes = 500'000'000;
  std::uint64_t total_bytes = 5'000'000'000;
  Duration lifetime = std::chrono::hours(12);

  // One upload of the largest size always has room.
  blobs::UploadLimits limits(std::uint64_t max_size_upload) const {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(lifetime).count();
    const auto of_account = std::max(account_bytes, max_size_upload);
    return {of_account, std::max(total_bytes, of_account), seconds};
  }
};

struct ControlConfig {  // [control]
  std::string socket;   // default: runtime_dir/control.sock
  std::uint32_t socket_mode = 0600;
};

struct MetricsConfig {  // [metrics]
  std::string listen;   // "127.0.0.1:9464" or a Unix socket's path; empty: none
};

struct LimitsConfig {                  // [limits], [plans]
  std::vector<std::string> plan_maps;  // files: who has which plan
  std::string default_plan{limits::unlimited_plan};
  std::uint64_t reading_reserve_bytes = 2'000'000;
  // Of one person, whether they run or wait: each keeps a worker's thread, which others may need.
  std::uint32_t requests_in_flight = 32;
  // Who tells the plans of people whom no file names: a command, or an entry of the IMAP server (RFC 5464), or nobody.
  PlanLookupOptions lookup;
  std::string plan_metadata;
  limits::Plans plans{{std::string(limits::unlimited_plan), {}}};
  std::shared_ptr<const limits::PlanTable> table;  // of all of these and what the files say
};

struct SmtpConfig {            // [smtp]
  smtp::ServerOptions server;  // without a host nothing is sent
  outbox::Options outbox;
  std::string user, password_file;              // with sign_in = "relay"
  Duration keep = std::chrono::hours(24 * 30);  // what is known of a message that was sent
  // Octets of messages that wait; an account has room for one message at least.
  std::uint64_t held_account_bytes = 500'000'000, held_total_bytes = 5'000'000'000;
  bool is_on() const { return !server.endpoint.host.empty(); }
};

struct Config {
  ServerConfig server;
  LogConfig log;
  session::ServerOptions imap;  // [imap]
  sieve::ServerOptions sieve;   // [sieve]; an empty host: there is none
  SmtpConfig smtp;
  IpcConfig ipc;
  HttpConfig http;
  AuthConfig auth;
  store::SegmentOptions segment;  // [segment]
  CacheConfig cache;
  mail::MailOptions mail;
  jmap::Limits jmap;                                // [jmap]
  std::uint64_t request_bytes_total = 512'000'000;  // [jmap]; of API requests in memory (shares.hpp)
  PushConfig push;
  WebPushConfig webpush;
  UploadsConfig uploads;
  LimitsConfig limits;
  limits::ThrottleOptions throttle;  // [throttle]
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
