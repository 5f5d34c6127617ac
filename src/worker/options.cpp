// Options declared to CLI11 with their environment variables and ranges, then checked together.
#include "worker/options.hpp"

#include <grp.h>
#include <pwd.h>
#include <CLI/CLI.hpp>

#include "postern/base/encoding.hpp"
#include "postern/ipc/frame.hpp"
#include "worker/limits.hpp"

namespace postern::worker {
namespace {

// A name or a number, as the system knows it.
uid_t user_id(const std::string& user) {
  if (const auto* entry = ::getpwnam(user.c_str())) return entry->pw_uid;
  if (!user.empty() && user.find_first_not_of("0123456789") == std::string::npos) {
    return static_cast<uid_t>(std::stoul(user));
  }
  throw CLI::ValidationError("--broker-user", "there is no user " + user);
}

gid_t group_id(const std::string& group) {
  if (const auto* entry = ::getgrnam(group.c_str())) return entry->gr_gid;
  if (!group.empty() && group.find_first_not_of("0123456789") == std::string::npos) {
    return static_cast<gid_t>(std::stoul(group));
  }
  throw CLI::ValidationError("--listen-group", "there is no group " + group);
}

unsigned octal_mode(const std::string& text) {
  if (text.empty() || text.size() > 4 || text.find_first_not_of("01234567") != std::string::npos) {
    throw CLI::ValidationError("--listen-mode", "not an octal mode: " + text);
  }
  return static_cast<unsigned>(std::stoul(text, nullptr, 8)) & 0777;
}

std::string checked_prefix(std::string prefix) {
  if (prefix.empty() || prefix == "script-name") return prefix;
  if (prefix.front() != '/') throw CLI::ValidationError("--prefix", "must begin with / or be script-name");
  while (prefix.ends_with('/')) prefix.pop_back();
  return prefix;
}

LogLevel checked_level(const std::string& text) {
  LogLevel level{};
  if (!parse_log_level(text, level)) throw CLI::ValidationError("--log-level", "unknown level: " + text);
  return level;
}

// Options whose text is not their value yet.
struct Texts {
  std::string listen_mode = "0660", listen_group, broker_user, log_level = "info";
  double broker_wait_s = 5, stop_wait_s = 25;
};

void declare(CLI::App& app, Options& options, Texts& texts) {
  const auto env = [](CLI::Option* option, const char* name) { return option->envname(name); };
  env(app.add_option("--broker", options.broker_path, "The broker's socket"), "POSTERN_BROKER")
      ->capture_default_str();
  env(app.add_option("--segment", options.segment_path, "The session segment"), "POSTERN_SEGMENT")
      ->capture_default_str();
  env(app.add_option(
          "--listen", options.listen_path,
          "Listen on this Unix socket (default: an inherited socket, from systemd or on descriptor 0)"),
      "POSTERN_LISTEN");
  env(app.add_option("--listen-mode", texts.listen_mode, "Mode of that socket, octal"), "POSTERN_LISTEN_MODE")
      ->capture_default_str();
  env(app.add_option("--listen-group", texts.listen_group, "Group of that socket"), "POSTERN_LISTEN_GROUP");
  env(app.add_option("--broker-user", texts.broker_user, "Talk only to a broker that runs as this user"),
      "POSTERN_BROKER_USER");
  env(app.add_option(
          "--threads", options.threads,
          "Requests served at a time in one process (default: 8; 1 with a socket on descriptor 0)"),
      "POSTERN_THREADS")
      ->check(CLI::Range(std::size_t{1}, threads_max));
  env(app.add_option("--processes", options.processes, "Processes; more than one have a supervising parent"),
      "POSTERN_PROCESSES")
      ->check(CLI::Range(std::size_t{1}, processes_max))
      ->capture_default_str();
  env(app.add_option("--broker-wait", texts.broker_wait_s,
                     "Seconds a request waits for a broker that is away"),
      "POSTERN_BROKER_WAIT")
      ->check(CLI::Range(0.0, 300.0))
      ->capture_default_str();
  env(app.add_option("--stop-wait", texts.stop_wait_s,
                     "Seconds that requests are given to end after SIGTERM"),
      "POSTERN_STOP_WAIT")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  env(app.add_option("--request-bytes-max", options.request_bytes_max, "The largest request body, in octets"),
      "POSTERN_REQUEST_BYTES_MAX")
      ->capture_default_str();
  env(app.add_option("--cookie-name", options.cookie_name, "The session cookie's name"),
      "POSTERN_COOKIE_NAME")
      ->capture_default_str();
  env(app.add_option("--prefix", options.prefix,
                     "Where Postern is mounted (/mail), or script-name: take it from SCRIPT_NAME"),
      "POSTERN_PREFIX");
  env(app.add_option("--log-level", texts.log_level, "trace, debug, info, warning or error"),
      "POSTERN_LOG_LEVEL")
      ->capture_default_str();
}

}  // namespace

std::expected<Options, Exit> parse_options(int argc, char** argv) {
  Options options;
  Texts texts;
  CLI::App app("postern-fcgi: the FastCGI worker of the Postern IMAP gateway", "postern-fcgi");
  app.set_version_flag("--version", std::string("postern-fcgi " POSTERN_VERSION));
  declare(app, options, texts);
  try {
    app.parse(argc, argv);
    options.listen_mode = octal_mode(texts.listen_mode);
    if (!texts.listen_group.empty()) options.listen_gid = group_id(texts.listen_group);
    if (!texts.broker_user.empty()) options.broker_uid = user_id(texts.broker_user);
    options.prefix = checked_prefix(options.prefix);
    options.log_level = checked_level(texts.log_level);
    if (!ipc::is_field_name(ascii_lower(options.cookie_name))) {  // RFC 6265, section 4.1.1: a token
      throw CLI::ValidationError("--cookie-name", "not a cookie's name");
    }
  } catch (const CLI::ParseError& error) {
    return std::unexpected(Exit{app.exit(error) == 0 ? 0 : 2});
  }
  options.broker_wait = std::chrono::milliseconds(static_cast<long>(texts.broker_wait_s * 1000));
  options.stop_wait = std::chrono::seconds(static_cast<long>(texts.stop_wait_s));
  return options;
}

}  // namespace postern::worker
