// Reading the configuration: one table of keys per section binds each to its place in Config, with its range.
#include "broker/config.hpp"

#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>
#include <toml++/toml.h>

#include "broker/config_binders.hpp"
#include "broker/config_limits.hpp"
#include "broker/config_smtp.hpp"
#include "broker/http.hpp"
#include "postern/base/encoding.hpp"
#include "postern/io/stream.hpp"
#include "postern/io/unix_path.hpp"

namespace postern::broker {
namespace {

using namespace std::chrono_literals;

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

template <typename Map>
std::string nearest(std::string_view name, const Map& known) {
  std::string best;
  std::size_t best_distance = 4;  // farther than that is no slip of the finger
  for (const auto& [key, value] : known)
    if (auto d = edit_distance(name, key); d < best_distance) {
      best = key;
      best_distance = d;
    }
  return best;
}

// What isn't said of the server for scripts is as with the IMAP server.
void inherit_from_imap(sieve::ServerOptions& sieve, const session::ServerOptions& imap,
                       const toml::table& parsed) {
  auto& server = sieve.server;
  const auto* given = parsed["sieve"].as_table();
  const auto is_given = [&](std::string_view key) { return given != nullptr && given->contains(key); };
  const auto& tls = imap.tls_options;
  if (!is_given("ca_file")) server.tls_options.ca_file = tls.ca_file;
  // Whose certificate a pin is, is said with the pin.
  const bool same_host = iequals_ascii(server.endpoint.host, imap.endpoint.host);
  if (!is_given("pins") && same_host) server.tls_options.pins_sha256 = tls.pins_sha256;
  if (!is_given("verify") && same_host) server.tls_options.verify = tls.verify;
  server.tls_options.min_version = tls.min_version;
  server.allow_plaintext = imap.allow_plaintext;
  server.oauth_mechanism = imap.oauth_mechanism;
  server.master_user_format = imap.master_user_format;
}

Sections sections_of(Config& c, bool& port_given) {
  using session::OauthMechanism;
  using session::PasswordMechanism;
  using session::TlsMode;
  auto& imap = c.imap;
  Sections all;
  all["server"] = {{"user", text(c.server.user)},
                   {"group", text(c.server.group)},
                   {"runtime_dir", text(c.server.runtime_dir)},
                   {"state_dir", text(c.server.state_dir)},
                   {"pid_file", text(c.server.pid_file)},
                   {"shards", number(c.server.shards, 1, 64)},
                   {"stop_grace", duration(c.server.stop_grace, 0s, 10min)}};
  all["log"] = {{"target", choice(c.log.target, {{"stderr", LogTarget::stderr_text},
                                                 {"syslog", LogTarget::syslog},
                                                 {"journal", LogTarget::journal}})},
                {"level", choice(c.log.level, {{"trace", LogLevel::trace},
                                               {"debug", LogLevel::debug},
                                               {"info", LogLevel::info},
                                               {"warning", LogLevel::warning},
                                               {"error", LogLevel::error}})}};
  all["imap"] = {
      {"host", text(imap.endpoint.host)},
      {"port",
       [&imap, &port_given](const toml::node& node) {
         port_given = true;
         return number(imap.endpoint.port, 1, 65'535)(node);
       }},
      {"tls",
       choice(imap.tls,
              {{"implicit", TlsMode::implicit}, {"starttls", TlsMode::starttls}, {"none", TlsMode::none}})},
      {"ca_file", text(imap.tls_options.ca_file)},
      {"pins", texts(imap.tls_options.pins_sha256)},
      {"verify", boolean(imap.tls_options.verify)},
      {"tls_min_version",
       choice(imap.tls_options.min_version, {{"1.2", std::string("1.2")}, {"1.3", std::string("1.3")}})},
      {"allow_plaintext", boolean(imap.allow_plaintext)},
      {"password_mechanism",
       choice(imap.password_mechanism, {{"auto", PasswordMechanism::automatic},
                                        {"plain", PasswordMechanism::plain},
                                        {"login", PasswordMechanism::login_mechanism},
                                        {"login-command", PasswordMechanism::login_command}})},
      {"oauth_mechanism", choice(imap.oauth_mechanism, {{"auto", OauthMechanism::automatic},
                                                        {"oauthbearer", OauthMechanism::oauthbearer},
                                                        {"xoauth2", OauthMechanism::xoauth2}})},
      {"master_user_format", text(imap.master_user_format)},
      {"send_client_id", boolean(imap.send_client_id)},
      {"connections_per_account", number(imap.connections_per_account, 1, 16)},
      {"logins_in_flight", number(imap.logins_in_flight, 1, 10'000)},
      {"connect_timeout", duration(imap.connect_timeout, 100ms, 5min)},
      {"greeting_timeout", duration(imap.greeting_timeout, 100ms, 5min)},
      {"command_timeout", duration(imap.command_timeout, 1s, 1h)},
      {"login_timeout", duration(imap.login_timeout, 1s, 5min)},
      {"idle_after", duration(imap.idle_after, 0s, 5min)},
      {"idle_renew", duration(imap.idle_renew, 10s, 29min - 1s)},
      {"keepalive", duration(imap.keepalive, 10s, 29min)},
      {"backoff_min", duration(imap.backoff_min, 10ms, 1min)},
      {"backoff_max", duration(imap.backoff_max, 100ms, 1h)},
      {"backoff_wait_max", duration(imap.backoff_wait_max, 0s, 1min)}};
  auto& scripts = c.sieve.server;
  all["sieve"] = {{"host", text(scripts.endpoint.host)},
                  {"port", number(scripts.endpoint.port, 1, 65'535)},
                  {"tls", choice(scripts.tls, {{"starttls", TlsMode::starttls},
                                               {"implicit", TlsMode::implicit},
                                               {"none", TlsMode::none}})},
                  {"ca_file", text(scripts.tls_options.ca_file)},
                  {"pins", texts(scripts.tls_options.pins_sha256)},
                  {"verify", boolean(scripts.tls_options.verify)},
                  {"connect_timeout", duration(scripts.connect_timeout, 100ms, 5min)},
                  {"use_timeout", duration(c.sieve.use_timeout, 1s, 5min)},
                  {"connections_max", number(c.sieve.connections_max, 1, 1'000)}};
  all["ipc"] = {{"socket", text(c.ipc.socket)},
                {"socket_mode", mode(c.ipc.socket_mode)},
                {"socket_group", text(c.ipc.socket_group)},
                {"allowed_users", texts(c.ipc.allowed_users)},
                {"connections_max", number(c.ipc.connections_max, 1, 100'000)}};
  all["http"] = {{"public_url", text(c.http.public_url)},
                 {"trusted_proxies", texts(c.http.trusted_proxies)},
                 {"cookie_name", text(c.http.cookie_name)},
                 {"cookie_secure", boolean(c.http.cookie_secure)}};
  all["auth"] = {{"basic", boolean(c.auth.basic)},
                 {"login", boolean(c.auth.login)},
                 {"oauth", boolean(c.auth.oauth)},
                 {"oauth_username_claims", texts(c.auth.oauth_username_claims)},
                 {"trust_remote_user", boolean(c.auth.trust_remote_user)},
                 {"master_user", text(c.auth.master_user)},
                 {"master_password_file", text(c.auth.master_password_file)},
                 {"session_idle", duration(c.auth.session_idle, 1min, 24h * 365)},
                 {"session_max", duration(c.auth.session_max, 1min, 24h * 365)},
                 {"verifier_lifetime", duration(c.auth.verifier_lifetime, 0s, 24h)},
                 {"default_domain", text(c.auth.default_domain)},
                 {"lowercase_login", boolean(c.auth.lowercase_login)}};
  all["segment"] = {{"path", text(c.segment.path)},
                    {"sessions_max", number(c.segment.sessions_max, 16, 4'000'000)},
                    {"sessions_per_account_max", number(c.segment.sessions_per_account_max, 1, 100'000)},
                    {"accounts_max", number(c.segment.accounts_max, 16, 4'000'000)},
                    {"redirects_max", number(c.segment.redirects_max, 16, 16'000'000)},
                    {"mode", mode(c.segment.mode)}};
  constexpr std::uint64_t tib = 1ull << 40;
  all["cache"] = {{"fragments", size(c.cache.fragments_bytes, 1'000'000, tib)},
                  {"views", size(c.cache.views_bytes, 1'000'000, tib)},
                  {"view_idle", duration(c.cache.view_idle, 1s, 24h)},
                  {"account_idle", duration(c.cache.account_idle, 10s, 24h * 30)}};
  all["mail"] = {{"mailbox_list_fresh", duration(c.mail.mailbox_list_fresh, 0s, 1h)},
                 {"fill_messages", number(c.mail.fill_messages, 100, 1'000'000)},
                 {"fetch_messages", number(c.mail.fetch_messages, 10, 100'000)},
                 {"join_by_identity", boolean(c.mail.join_by_identity)}};
  add_smtp_section(all, c.smtp);
  all["jmap"] = {{"max_size_upload", size(c.jmap.max_size_upload, 0, tib)},
                 {"max_size_attachments_per_email", size(c.jmap.max_size_attachments_per_email, 0, tib)},
                 {"max_concurrent_upload", number(c.jmap.max_concurrent_upload, 1, 1'000)},
                 {"max_size_request", size(c.jmap.max_size_request, 10'000, 1ull << 30)},
                 {"request_bytes_total", size(c.request_bytes_total, 10'000'000, tib)},
                 {"max_concurrent_requests", number(c.jmap.max_concurrent_requests, 1, 10'000)},
                 {"max_calls_in_request", number(c.jmap.max_calls_in_request, 1, 10'000)},
                 {"max_objects_in_get", number(c.jmap.max_objects_in_get, 1, 100'000)},
                 {"max_objects_in_set", number(c.jmap.max_objects_in_set, 1, 100'000)},
                 {"query_ids_max", number(c.jmap.query_ids_max, 10, 1'000'000)}};
  all["push"] = {{"enabled", boolean(c.push.enabled)},
                 {"socket", text(c.push.socket)},
                 {"socket_mode", mode(c.push.socket_mode)},
                 {"stream_location", location(c.push.stream_location)},
                 {"coalesce", duration(c.push.coalesce, 0s, 10s)},
                 {"grace", duration(c.push.grace, 1s, 1h)},
                 {"poll_min", duration(c.mail.watch_poll_min, 5s, 1h)},
                 {"poll_max", duration(c.mail.watch_poll_max, 5s, 24h)},
                 {"listeners_max", number(c.push.listeners_max, 10, 1'000'000)},
                 {"web_socket", boolean(c.push.web_socket)},
                 {"frontends", frontends(c.push.frontends)}};
  all["webpush"] = {{"enabled", boolean(c.webpush.enabled)},
                    {"allow", push_targets(c.webpush.allow)},
                    {"ca_file", text(c.webpush.ca_file)},
                    {"contact", text(c.webpush.contact)},
                    {"lifetime_max", duration(c.webpush.lifetime_max, 48h, 24h * 365)},
                    {"ttl", duration(c.webpush.ttl, 0s, 24h * 28)},
                    {"interval", duration(c.webpush.interval, 0s, 1h)},
                    {"connect_timeout", duration(c.webpush.connect_timeout, 100ms, 5min)},
                    {"timeout", duration(c.webpush.timeout, 1s, 5min)},
                    {"subscriptions_per_account", number(c.webpush.subscriptions_per_account, 1, 1'000)},
                    {"subscriptions_max", number(c.webpush.subscriptions_max, 1, 1'000'000)}};
  all["uploads"] = {{"directory", text(c.uploads.directory)},
                    {"account_bytes", size(c.uploads.account_bytes, 1'000, tib)},
                    {"total_bytes", size(c.uploads.total_bytes, 1'000, tib)},
                    {"lifetime", duration(c.uploads.lifetime, 1min, 24h * 30)}};
  all["limits"] = limits_section(c.limits);
  all["plans"] = {};  // read by read_plans()
  all["throttle"] = throttle_section(c.throttle);
  all["control"] = {{"socket", text(c.control.socket)}, {"socket_mode", mode(c.control.socket_mode)}};
  all["metrics"] = {{"listen", listen_address(c.metrics.listen)}};
  return all;
}

std::unexpected<Error> refuse(ConfigErrc code, const std::string& file, const toml::source_region& where,
                              const std::string& what) {
  return fail(code, file + ":" + std::to_string(where.begin.line) + ": " + what);
}

bool is_loopback_host(std::string_view host) {
  return host == "localhost" || address_matches("127.0.0.0/8", host) || address_matches("::1", host);
}

// A server that credentials go to: nobody else may read them, or take its place.
Wrong insecure(const session::ServerOptions& server, const std::string& section) {
  if (server.allow_plaintext || is_loopback_host(server.endpoint.host)) return {};
  if (server.tls == session::TlsMode::none)
    return section + " tls = \"none\" would send passwords in the clear to " + server.endpoint.host +
           ": it is for loopback only, unless allow_plaintext = true";
  if (!server.tls_options.verify && server.tls_options.pins_sha256.empty())
    return section + " verify = false needs pins, or allow_plaintext = true: anybody could be the server";
  return {};
}

// What no single value can be blamed for.
Wrong conflict_in(Config& c) {
  if (c.imap.endpoint.host.empty()) return "[imap] host is missing";
  if (auto wrong = insecure(c.imap, "[imap]")) return wrong;
  if (auto wrong = insecure(c.sieve.server, "[sieve]"); wrong && !c.sieve.server.endpoint.host.empty())
    return wrong;
  if (auto wrong = conflict_in(c.smtp, is_loopback_host(c.smtp.server.endpoint.host))) return wrong;
  if (auto usable = io::check_unix_path(c.ipc.socket); !usable)
    return "[ipc] socket " + usable.error().context;
  if (auto usable = io::check_unix_path(c.control.socket); !usable)
    return "[control] socket " + usable.error().context;
  if (auto usable = io::check_unix_path(c.push.socket); !usable)
    return "[push] socket " + usable.error().context;
  if (c.mail.watch_poll_min > c.mail.watch_poll_max) return "[push] poll_min is larger than poll_max";
  if (const auto& contact = c.webpush.contact;
      !contact.empty() && !contact.starts_with("mailto:") && !contact.starts_with("https://"))
    return "[webpush] contact must be mailto:ADDRESS or https://...";
  if (c.imap.backoff_min > c.imap.backoff_max) return "[imap] backoff_min is larger than backoff_max";
  if (c.limits.requests_in_flight < c.jmap.max_concurrent_requests + c.jmap.max_concurrent_upload)
    return "[limits] requests_in_flight is less than [jmap] max_concurrent_requests and "
           "max_concurrent_upload "
           "promise";
  if (c.throttle.delay_min > c.throttle.delay_max) return "[throttle] delay_min is larger than delay_max";
  if (c.throttle.free_failures >= c.throttle.failures_max)
    return "[throttle] free_failures must be smaller than failures_max";
  if (c.auth.session_idle > c.auth.session_max) return "[auth] session_idle is larger than session_max";
  if (c.http.cookie_name.starts_with("__") && !c.http.cookie_secure)
    return "[http] a cookie whose name begins with __Host- or __Secure- needs cookie_secure = true";
  if (c.http.cookie_name.empty() || c.http.cookie_name.find_first_of(" \t;,=\"\\") != std::string::npos)
    return "[http] cookie_name is no name for a cookie";
  if (!c.http.public_url.empty()) {
    const bool http = c.http.public_url.starts_with("https://") || c.http.public_url.starts_with("http://");
    if (!http || c.http.public_url.ends_with('/'))
      return "[http] public_url must be https://HOST without a slash at the end";
  }
  for (const auto& rule : c.http.trusted_proxies) {
    const auto address = rule.substr(0, rule.find('/'));
    if (rule != "unix" && !address_matches(rule, address))
      return "[http] trusted_proxies: no address or prefix: " + rule;
  }
  if (c.auth.trust_remote_user && (c.auth.master_user.empty() || c.auth.master_password_file.empty()))
    return "[auth] trust_remote_user needs master_user and master_password_file";
  if (!c.auth.master_password_file.empty())
    if (auto wrong = read_secret(c.auth.master_password_file, c.auth.master_password))
      return "[auth] master_password_file " + *wrong;
  if (!c.auth.basic && !c.auth.login && !c.auth.oauth && !c.auth.trust_remote_user)
    return "[auth] nobody could sign in: basic, login, oauth and trust_remote_user are all off";
  return {};
}

}  // namespace

const std::error_category& config_category() {
  static const struct final : std::error_category {
    const char* name() const noexcept override { return "config"; }
    std::string message(int code) const override {
      switch (static_cast<ConfigErrc>(code)) {
        case ConfigErrc::unreadable: return "the configuration file can't be read";
        case ConfigErrc::syntax: return "the configuration file is no TOML";
        case ConfigErrc::unknown_key: return "unknown key";
        case ConfigErrc::bad_value: return "bad value";
        case ConfigErrc::missing: return "missing key";
        case ConfigErrc::conflict: return "keys that exclude each other";
      }
      return "unknown configuration error";
    }
  } category;
  return category;
}

Result<Config> parse_config(std::string_view source, const std::string& file) {
  toml::table parsed;
  try {
    parsed = toml::parse(source, file);
  } catch (const toml::parse_error& error) {
    return refuse(ConfigErrc::syntax, file, error.source(), std::string(error.description()));
  }
  Config config;
  bool port_given = false;
  const auto sections = sections_of(config, port_given);
  for (const auto& [name, node] : parsed) {
    auto section = sections.find(name.str());
    const auto* table = node.as_table();
    if (name.str() == "plans" && table != nullptr) {
      if (auto wrong = read_plans(*table, config.limits))
        return refuse(ConfigErrc::bad_value, file, wrong->where, wrong->what);
      continue;
    }
    if (section == sections.end() || table == nullptr) {
      auto near = nearest(name.str(), sections);
      return refuse(ConfigErrc::unknown_key, file, name.source(),
                    "unknown section [" + std::string(name.str()) + "]" +
                        (near.empty() ? "" : "; did you mean [" + near + "]?"));
    }
    for (const auto& [key, value] : *table) {
      auto binder = section->second.find(key.str());
      const auto full = "[" + section->first + "] " + std::string(key.str());
      if (binder == section->second.end()) {
        auto near = nearest(key.str(), section->second);
        return refuse(ConfigErrc::unknown_key, file, key.source(),
                      "unknown key " + full + (near.empty() ? "" : "; did you mean " + near + "?"));
      }
      if (auto wrong = binder->second(value))
        return refuse(ConfigErrc::bad_value, file, key.source(), full + " " + *wrong);
    }
  }
  for (const auto& [name, node] : parsed) {
    std::ostringstream section;
    section << *node.as_table();
    config.written[std::string(name.str())] = section.str();
  }
  finish_smtp(config.smtp);
  if (!port_given) config.imap.endpoint.port = config.imap.tls == session::TlsMode::implicit ? 993 : 143;
  inherit_from_imap(config.sieve, config.imap, parsed);
  const auto in_runtime_dir = [&](std::string& path, const char* name) {
    if (path.empty()) path = config.server.runtime_dir + "/" + name;
  };
  in_runtime_dir(config.ipc.socket, "broker.sock");
  in_runtime_dir(config.segment.path, "segment");
  in_runtime_dir(config.control.socket, "control.sock");
  in_runtime_dir(config.push.socket, "events.sock");
  if (auto wrong = conflict_in(config)) return fail(ConfigErrc::conflict, file + ": " + *wrong);
  const auto place_in_limits = [&](std::string_view key) {
    const auto* table = parsed["limits"].as_table();
    const auto found = table == nullptr ? toml::table::const_iterator() : table->find(key);
    if (table == nullptr || found == table->cend()) return file + ": ";
    return file + ":" + std::to_string(found->first.source().begin.line) + ": ";
  };
  if (auto ready = make_plan_table(config.limits, place_in_limits); !ready)
    return fail(Error(make_error_code(ConfigErrc::bad_value), ready.error().context));
  return config;
}

Result<Config> load_config(const std::string& path) {
  std::ifstream file(path);
  std::stringstream content;
  if (!file || !(content << file.rdbuf()))
    return fail(ConfigErrc::unreadable, path + ": " + std::strerror(errno));
  return parse_config(content.str(), path);
}

Result<> check_machine(const Config& config) {
  const auto& server = config.server;
  if (!server.user.empty() && getpwnam(server.user.c_str()) == nullptr)
    return fail(ConfigErrc::missing, "[server] user: no such user: " + server.user);
  if (!server.group.empty() && getgrnam(server.group.c_str()) == nullptr)
    return fail(ConfigErrc::missing, "[server] group: no such group: " + server.group);
  for (const auto& user : config.ipc.allowed_users)
    if (getpwnam(user.c_str()) == nullptr)
      return fail(ConfigErrc::missing, "[ipc] allowed_users: no such user: " + user);
  const auto& group = config.ipc.socket_group;
  if (!group.empty() && getgrnam(group.c_str()) == nullptr)
    return fail(ConfigErrc::missing, "[ipc] socket_group: no such group: " + group);
  if (config.imap.tls != session::TlsMode::none)
    if (auto made = io::TlsContext::make(config.imap.tls_options); !made)
      return fail(ConfigErrc::bad_value, "[imap] " + made.error().context);
  if (const auto& sieve = config.sieve.server;
      !sieve.endpoint.host.empty() && sieve.tls != session::TlsMode::none)
    if (auto made = io::TlsContext::make(sieve.tls_options); !made)
      return fail(ConfigErrc::bad_value, "[sieve] " + made.error().context);
  if (config.smtp.is_on() && config.smtp.server.tls != smtp::TlsMode::none)
    if (auto made = io::TlsContext::make(config.smtp.server.tls_options); !made)
      return fail(ConfigErrc::bad_value, "[smtp] " + made.error().context);
  // Only this target can be refused. (A second one for syslog would close the first one's socket.)
  if (config.log.target == LogTarget::journal) try {
      (void)make_logger(config.log.target, "posternd");
    } catch (const std::runtime_error& error) {
      return fail(ConfigErrc::bad_value, std::string("[log] target = \"journal\": ") + error.what());
    }
  return {};
}

Result<Config> load_and_check(const std::string& path) {
  auto config = load_config(path);
  if (!config) return config;
  if (auto fits = check_machine(*config); !fits)
    return fail(Error(fits.error().code, path + ": " + fits.error().context));
  return config;
}

std::vector<std::string> keep_fixed_sections(Config& fresh, const Config& running) {
  std::vector<std::string> changed;
  for (const char* section :
       {"server", "imap", "sieve", "smtp", "ipc", "segment", "control", "push", "webpush", "metrics"}) {
    const auto now = std::as_const(fresh.written).find(section);
    const auto before = running.written.find(section);
    const bool in_now = now != fresh.written.cend(), in_before = before != running.written.end();
    if (in_now != in_before || (in_now && now->second != before->second)) changed.emplace_back(section);
    // What is compared with the next time is what is in force.
    fresh.written.erase(section);
    if (in_before) fresh.written[section] = before->second;
  }
  if (fresh.uploads.directory != running.uploads.directory) changed.emplace_back("uploads.directory");
  if (fresh.log.target != running.log.target) changed.emplace_back("log.target");
  if (fresh.cache.fragments_bytes != running.cache.fragments_bytes) changed.emplace_back("cache.fragments");
  fresh.uploads.directory = running.uploads.directory;
  fresh.log.target = running.log.target;
  fresh.cache.fragments_bytes = running.cache.fragments_bytes;
  fresh.server = running.server;
  fresh.imap = running.imap;
  fresh.sieve = running.sieve;
  fresh.smtp = running.smtp;
  fresh.ipc = running.ipc;
  fresh.segment = running.segment;
  fresh.control = running.control;
  fresh.push = running.push;
  fresh.webpush = running.webpush;
  fresh.mail.watch_poll_min = running.mail.watch_poll_min;
  fresh.mail.watch_poll_max = running.mail.watch_poll_max;
  fresh.metrics = running.metrics;
  return changed;
}

}  // namespace postern::broker
