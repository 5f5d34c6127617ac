// Reading the configuration: one table of keys per section binds each to its place in Config, with its range.
#include "broker/config.hpp"

#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <sstream>
#include <toml++/toml.h>

#include "broker/http.hpp"
#include "broker/metrics.hpp"
#include "postern/base/encoding.hpp"
#include "postern/io/stream.hpp"
#include "postern/io/unix_path.hpp"

namespace postern::broker {
namespace {

using namespace std::chrono_literals;

// Returns what is wrong with a value, or nothing.
using Wrong = std::optional<std::string>;
using Binder = std::function<Wrong(const toml::node&)>;
using Section = std::map<std::string, Binder, std::less<>>;

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

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

// "64MB": digits and one of the units.
std::optional<std::uint64_t> with_unit(std::string_view text, std::initializer_list<Unit> units) {
  std::uint64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return std::nullopt;
  const auto rest = trim_ascii(text.substr(static_cast<std::size_t>(end - text.data())));
  for (const auto& unit : units)
    if (unit.name == rest) {
      if (number > std::numeric_limits<std::uint64_t>::max() / unit.factor) return std::nullopt;
      return number * unit.factor;
    }
  return std::nullopt;
}

Binder text(std::string& out) {
  return [&out](const toml::node& node) -> Wrong {
    const auto* value = node.as_string();
    if (value == nullptr) return "must be a string";
    out = value->get();
    if (out.find('\0') != std::string::npos) return "must not hold a NUL";
    return {};
  };
}

Binder texts(std::vector<std::string>& out) {
  return [&out](const toml::node& node) -> Wrong {
    const auto* array = node.as_array();
    if (array == nullptr) return "must be an array of strings";
    out.clear();
    for (const auto& item : *array) {
      if (!item.is_string()) return "must be an array of strings";
      out.push_back(item.as_string()->get());
    }
    return {};
  };
}

Binder listen_address(std::string& out) {
  return [&out](const toml::node& node) -> Wrong {
    if (auto wrong = text(out)(node)) return wrong;
    if (out.empty()) return {};
    if (auto usable = check_listen(out); !usable) return usable.error().context;
    return {};
  };
}

Binder boolean(bool& out) {
  return [&out](const toml::node& node) -> Wrong {
    if (!node.is_boolean()) return "must be true or false";
    out = node.as_boolean()->get();
    return {};
  };
}

template <typename T>
Binder number(T& out, std::uint64_t min, std::uint64_t max) {
  return [&out, min, max](const toml::node& node) -> Wrong {
    const auto* value = node.as_integer();
    const bool fits = value != nullptr && value->get() >= 0 &&
                      static_cast<std::uint64_t>(value->get()) >= min &&
                      static_cast<std::uint64_t>(value->get()) <= max;
    if (!fits) return "must be a number from " + std::to_string(min) + " to " + std::to_string(max);
    out = static_cast<T>(value->get());
    return {};
  };
}

Binder duration(Duration& out, Duration min, Duration max) {
  return [&out, min, max](const toml::node& node) -> Wrong {
    const auto* value = node.as_string();
    std::optional<std::uint64_t> ms;
    if (value != nullptr)
      ms = with_unit(value->get(),
                     {{"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}});
    const auto in_ms = [](Duration d) {
      return std::chrono::duration_cast<std::chrono::milliseconds>(d).count();
    };
    if (!ms || *ms < static_cast<std::uint64_t>(in_ms(min)) || *ms > static_cast<std::uint64_t>(in_ms(max)))
      return "must be a duration such as \"500ms\", \"30s\", \"5m\", \"12h\" or \"30d\", from " +
             std::to_string(in_ms(min)) + "ms to " + std::to_string(in_ms(max)) + "ms";
    out = std::chrono::milliseconds(*ms);
    return {};
  };
}

template <typename T>
Binder size(T& out, std::uint64_t min, std::uint64_t max) {
  return [&out, min, max](const toml::node& node) -> Wrong {
    std::optional<std::uint64_t> bytes;
    if (const auto* plain = node.as_integer(); plain != nullptr && plain->get() >= 0)
      bytes = static_cast<std::uint64_t>(plain->get());
    if (const auto* value = node.as_string(); value != nullptr)
      bytes = with_unit(value->get(), {{"B", 1},
                                       {"kB", 1'000},
                                       {"KB", 1'000},
                                       {"MB", 1'000'000},
                                       {"GB", 1'000'000'000},
                                       {"KiB", 1ull << 10},
                                       {"MiB", 1ull << 20},
                                       {"GiB", 1ull << 30}});
    if (!bytes || *bytes < min || *bytes > max)
      return "must be a size such as \"64MB\", from " + std::to_string(min) + " to " + std::to_string(max) +
             " octets";
    out = static_cast<T>(*bytes);
    return {};
  };
}

Binder mode(std::uint32_t& out) {
  return [&out](const toml::node& node) -> Wrong {
    const auto* value = node.as_string();
    const std::string digits = value == nullptr ? "" : value->get();
    if (digits.size() < 3 || digits.size() > 4 || digits.find_first_not_of("01234567") != std::string::npos)
      return "must be a file mode in octal digits, such as \"0660\"";
    out = static_cast<std::uint32_t>(std::stoul(digits, nullptr, 8));
    return {};
  };
}

template <typename E>
Binder choice(E& out, std::vector<std::pair<std::string_view, E>> choices) {
  return [&out, choices = std::move(choices)](const toml::node& node) -> Wrong {
    std::string all;
    for (const auto& [name, value] : choices) {
      if (node.is_string() && node.as_string()->get() == name) {
        out = value;
        return {};
      }
      all += (all.empty() ? "\"" : ", \"") + std::string(name) + "\"";
    }
    return "must be one of " + all;
  };
}

std::map<std::string, Section, std::less<>> sections_of(Config& c, bool& port_given) {
  using session::OauthMechanism;
  using session::PasswordMechanism;
  using session::TlsMode;
  auto& imap = c.imap;
  std::map<std::string, Section, std::less<>> all;
  all["server"] = {{"user", text(c.server.user)},
                   {"group", text(c.server.group)},
                   {"runtime_dir", text(c.server.runtime_dir)},
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
                 {"fetch_messages", number(c.mail.fetch_messages, 10, 100'000)}};
  all["jmap"] = {{"max_size_upload", size(c.jmap.max_size_upload, 0, tib)},
                 {"max_concurrent_upload", number(c.jmap.max_concurrent_upload, 1, 1'000)},
                 {"max_size_request", size(c.jmap.max_size_request, 10'000, 1ull << 30)},
                 {"max_concurrent_requests", number(c.jmap.max_concurrent_requests, 1, 10'000)},
                 {"max_calls_in_request", number(c.jmap.max_calls_in_request, 1, 10'000)},
                 {"max_objects_in_get", number(c.jmap.max_objects_in_get, 1, 100'000)},
                 {"max_objects_in_set", number(c.jmap.max_objects_in_set, 1, 100'000)},
                 {"query_ids_max", number(c.jmap.query_ids_max, 10, 1'000'000)}};
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

// The master user's password: one line in a file that nobody else may read.
Wrong read_master_password(AuthConfig& auth) {
  struct stat info{};
  if (stat(auth.master_password_file.c_str(), &info) != 0)
    return "can't be read: " + std::string(std::strerror(errno));
  if ((info.st_mode & 0077) != 0) return "must not be readable by group or others (chmod 0600)";
  std::ifstream file(auth.master_password_file);
  std::string line;
  if (!std::getline(file, line) || line.empty()) return "is empty";
  auth.master_password = Secret(line);
  wipe(line.data(), line.size());
  return {};
}

// What no single value can be blamed for.
Wrong conflict_in(Config& c) {
  if (c.imap.endpoint.host.empty()) return "[imap] host is missing";
  if (c.imap.tls == session::TlsMode::none && !c.imap.allow_plaintext &&
      !is_loopback_host(c.imap.endpoint.host))
    return "[imap] tls = \"none\" would send passwords in the clear to " + c.imap.endpoint.host +
           ": it is for loopback only, unless allow_plaintext = true";
  if (!c.imap.tls_options.verify && c.imap.tls_options.pins_sha256.empty() &&
      c.imap.tls != session::TlsMode::none && !c.imap.allow_plaintext &&
      !is_loopback_host(c.imap.endpoint.host))
    return "[imap] verify = false needs pins, or allow_plaintext = true: anybody could be the server";
  if (auto usable = io::check_unix_path(c.ipc.socket); !usable)
    return "[ipc] socket " + usable.error().context;
  if (auto usable = io::check_unix_path(c.control.socket); !usable)
    return "[control] socket " + usable.error().context;
  if (c.imap.backoff_min > c.imap.backoff_max) return "[imap] backoff_min is larger than backoff_max";
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
    if (auto wrong = read_master_password(c.auth)) return "[auth] master_password_file " + *wrong;
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
  if (!port_given) config.imap.endpoint.port = config.imap.tls == session::TlsMode::implicit ? 993 : 143;
  const auto in_runtime_dir = [&](std::string& path, const char* name) {
    if (path.empty()) path = config.server.runtime_dir + "/" + name;
  };
  in_runtime_dir(config.ipc.socket, "broker.sock");
  in_runtime_dir(config.segment.path, "segment");
  in_runtime_dir(config.control.socket, "control.sock");
  if (auto wrong = conflict_in(config)) return fail(ConfigErrc::conflict, file + ": " + *wrong);
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
  for (const char* section : {"server", "imap", "ipc", "segment", "control", "metrics"}) {
    const auto now = std::as_const(fresh.written).find(section);
    const auto before = running.written.find(section);
    const bool in_now = now != fresh.written.cend(), in_before = before != running.written.end();
    if (in_now != in_before || (in_now && now->second != before->second)) changed.emplace_back(section);
    // What is compared with the next time is what is in force.
    fresh.written.erase(section);
    if (in_before) fresh.written[section] = before->second;
  }
  if (fresh.log.target != running.log.target) changed.emplace_back("log.target");
  if (fresh.cache.fragments_bytes != running.cache.fragments_bytes) changed.emplace_back("cache.fragments");
  fresh.log.target = running.log.target;
  fresh.cache.fragments_bytes = running.cache.fragments_bytes;
  fresh.server = running.server;
  fresh.imap = running.imap;
  fresh.ipc = running.ipc;
  fresh.segment = running.segment;
  fresh.control = running.control;
  fresh.metrics = running.metrics;
  return changed;
}

}  // namespace postern::broker
