// The configuration: each kind of value at its bounds and past them, what is unknown, what excludes each other.
#include "broker/config.hpp"

#include <sys/stat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/temporary_file.hpp"

namespace postern::broker {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr std::string_view host = "[imap]\nhost = \"imap.example.com\"\n";

Result<Config> parse(std::string_view more) {
  return parse_config(std::string(host) + std::string(more), "t.toml");
}

// A section with one key, behind [imap] host.
Result<Config> with(const std::string& section, const std::string& line) {
  return section == "imap" ? parse(line + "\n") : parse("[" + section + "]\n" + line + "\n");
}

std::string reason(const Result<Config>& config) { return config ? "accepted" : config.error().context; }

TEST(Config, Defaults) {
  const auto config = parse("");
  ASSERT_TRUE(config) << reason(config);
  EXPECT_EQ(config->imap.endpoint.host, "imap.example.com");
  EXPECT_EQ(config->imap.endpoint.port, 993);
  EXPECT_EQ(config->ipc.socket, "/run/postern/broker.sock");
  EXPECT_EQ(config->control.socket, "/run/postern/control.sock");
  EXPECT_EQ(config->control.socket_mode, 0600u);
  EXPECT_EQ(config->segment.path, "/run/postern/segment");
  EXPECT_EQ(config->metrics.listen, "");
  EXPECT_EQ(config->auth.session_max, 30 * 24h);
}

TEST(Config, TheServerForScriptsIsLikeTheImapServer) {
  const auto none = parse("");
  ASSERT_TRUE(none) << reason(none);
  EXPECT_EQ(none->sieve.server.endpoint.host, "");
  const auto same =
      parse("ca_file = \"/ca\"\npins = [\"x\"]\nverify = false\n[sieve]\nhost = \"IMAP.example.com\"\n");
  ASSERT_TRUE(same) << reason(same);
  EXPECT_EQ(same->sieve.server.endpoint.port, 4190);
  EXPECT_EQ(same->sieve.server.tls, session::TlsMode::starttls);
  EXPECT_EQ(same->sieve.server.tls_options.ca_file, "/ca");
  EXPECT_THAT(same->sieve.server.tls_options.pins_sha256, ElementsAre("x"));
  EXPECT_FALSE(same->sieve.server.tls_options.verify);
  // Another machine has a key of its own, and is verified.
  const auto other =
      parse("pins = [\"x\"]\nverify = false\n[sieve]\nhost = \"sieve.example.com\"\nport = 2000\n");
  ASSERT_TRUE(other) << reason(other);
  EXPECT_EQ(other->sieve.server.endpoint.port, 2000);
  EXPECT_TRUE(other->sieve.server.tls_options.pins_sha256.empty());
  EXPECT_TRUE(other->sieve.server.tls_options.verify);
  EXPECT_THAT(reason(parse("[sieve]\nhost = \"sieve.example.com\"\ntls = \"none\"\n")),
              HasSubstr("[sieve] tls"));
  EXPECT_EQ(reason(parse("[sieve]\nhost = \"127.0.0.1\"\ntls = \"none\"\n")), "accepted");
}

struct Bound {
  std::string section, key, lowest, below, highest, above;
};

TEST(Config, EveryKindAtItsBoundsAndPastThem) {
  const Bound bounds[] = {
      {"imap", "port", "1", "0", "65535", "65536"},
      {"imap", "connections_per_account", "1", "0", "16", "17"},
      {"server", "shards", "1", "0", "64", "65"},
      {"ipc", "connections_max", "1", "0", "100000", "100001"},
      {"segment", "sessions_max", "16", "15", "4000000", "4000001"},
      {"segment", "sessions_per_account_max", "1", "0", "100000", "100001"},
      {"jmap", "max_calls_in_request", "1", "-1", "10000", "10001"},
      {"imap", "connect_timeout", "\"100ms\"", "\"99ms\"", "\"5m\"", "\"300001ms\""},
      {"imap", "idle_renew", "\"10s\"", "\"9999ms\"", "\"1739s\"", "\"29m\""},
      {"server", "stop_grace", "\"0s\"", "\"-1s\"", "\"10m\"", "\"11m\""},
      {"auth", "session_max", "\"24h\"", "\"59s\"", "\"365d\"", "\"366d\""},
      {"cache", "fragments", "\"1MB\"", "999999", "\"1024GiB\"", "\"1025GiB\""},
      {"uploads", "account_bytes", "\"1kB\"", "999", "\"1024GiB\"", "\"1025GiB\""},
      {"uploads", "total_bytes", "\"1kB\"", "999", "\"1024GiB\"", "\"1025GiB\""},
      {"uploads", "lifetime", "\"1m\"", "\"59s\"", "\"30d\"", "\"31d\""},
      {"jmap", "max_size_request", "10000", "\"9999B\"", "1073741824", "\"1073741825B\""},
      {"jmap", "request_bytes_total", "\"10MB\"", "9999999", "\"1024GiB\"", "\"1025GiB\""},
      {"jmap", "max_size_upload", "0", "-1", "\"1000GB\"", "\"99999999999GB\""},
      {"webpush", "lifetime_max", "\"48h\"", "\"47h\"", "\"365d\"", "\"366d\""},
      {"webpush", "ttl", "\"0s\"", "\"-1s\"", "\"28d\"", "\"29d\""},
      {"webpush", "interval", "\"0s\"", "-1", "\"1h\"", "\"3601s\""},
      {"webpush", "subscriptions_per_account", "1", "0", "1000", "1001"},
      {"webpush", "subscriptions_max", "1", "0", "1000000", "1000001"},
      {"control", "socket_mode", "\"600\"", "\"60\"", "\"0777\"", "\"00777\""},
  };
  for (const auto& [section, key, lowest, below, highest, above] : bounds) {
    for (const auto& good : {lowest, highest}) {
      const auto config = with(section, key + " = " + good);
      EXPECT_TRUE(config) << section << " " << key << " = " << good << ": " << reason(config);
    }
    for (const auto& bad : {below, above}) {
      const auto config = with(section, key + " = " + bad);
      ASSERT_FALSE(config) << section << " " << key << " = " << bad;
      EXPECT_EQ(config.error().code, make_error_code(ConfigErrc::bad_value));
      EXPECT_THAT(config.error().context, StartsWith("t.toml:"));
      EXPECT_THAT(config.error().context, HasSubstr("[" + section + "] " + key));
    }
  }
}

TEST(Config, ValuesOfAnotherType) {
  for (const auto& [section, line] : std::initializer_list<std::pair<std::string, std::string>>{
           {"imap", "port = \"993\""},
           {"imap", "port = 1.5"},
           {"imap", "verify = \"yes\""},
           {"imap", "verify = 1"},
           {"imap", "pins = \"abc\""},
           {"imap", "pins = [1]"},
           {"imap", "tls = \"maybe\""},
           {"imap", "tls = true"},
           {"imap", "tls_min_version = \"1.1\""},
           {"imap", "connect_timeout = 10"},
           {"imap", "connect_timeout = \"10\""},
           {"imap", "connect_timeout = \"10 parsecs\""},
           {"imap", "connect_timeout = \"s\""},
           {"imap", "connect_timeout = \"99999999999999999999s\""},
           {"imap", "connect_timeout = \"400000000000000000d\""},
           {"imap", "master_user_format = 1"},
           {"imap", "ca_file = \"a\\u0000b\""},
           {"cache", "fragments = \"64 bits\""},
           {"cache", "fragments = true"},
           {"cache", "fragments = -1"},
           {"ipc", "socket_mode = 660"},
           {"ipc", "socket_mode = \"0680\""},
           {"ipc", "socket_mode = \"rw-rw----\""},
           {"log", "level = \"loud\""},
           {"log", "target = \"printer\""},
           {"ipc", "allowed_users = [\"a\", 1]"},
           {"webpush", "allow = [\"10.0.0.0/33\"]"},
           {"webpush", "allow = [\"https://push.intern/\"]"},
           {"webpush", "allow = \"10.0.0.0/8\""},
       }) {
    const auto config = with(section, line);
    ASSERT_FALSE(config) << line;
    EXPECT_EQ(config.error().code, make_error_code(ConfigErrc::bad_value)) << line;
  }
}

TEST(Config, Units) {
  const auto config = parse(
      "connect_timeout = \"1500ms\"\nidle_renew = \"5 m\"\n[cache]\nfragments = \"64kB\"\nviews = "
      "\"64MiB\"\n");
  ASSERT_FALSE(config);
  EXPECT_THAT(config.error().context, HasSubstr("t.toml:6: [cache] fragments"));
  const auto right = parse(
      "connect_timeout = \"1500ms\"\nidle_renew = \"5 m\"\n[cache]\nfragments = \"64MB\"\nviews = "
      "\"64MiB\"\n");
  ASSERT_TRUE(right) << reason(right);
  EXPECT_EQ(right->imap.connect_timeout, 1500ms);
  EXPECT_EQ(right->imap.idle_renew, 5min);
  EXPECT_EQ(right->cache.fragments_bytes, 64'000'000u);
  EXPECT_EQ(right->cache.views_bytes, 67'108'864u);
}

TEST(Config, UnknownKeysNameTheirLineAndTheNearest) {
  EXPECT_THAT(reason(parse("hots = \"x\"\n")),
              HasSubstr("t.toml:3: unknown key [imap] hots; did you mean host?"));
  EXPECT_THAT(reason(parse("[sever]\nuser = \"x\"\n")),
              HasSubstr("t.toml:3: unknown section [sever]; did you mean [server]?"));
  // Nothing is near enough.
  const auto far = parse("[nonsense]\nx = 1\n");
  EXPECT_EQ(far.error().code, make_error_code(ConfigErrc::unknown_key));
  EXPECT_THAT(reason(far), HasSubstr("[nonsense]"));
  EXPECT_THAT(reason(far), Not(HasSubstr("did you mean")));
  EXPECT_THAT(reason(parse_config("host = \"x\"\n", "t.toml")), HasSubstr("unknown section [host]"));
}

TEST(Config, Syntax) {
  const auto config = parse("port 993\n");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code, make_error_code(ConfigErrc::syntax));
  EXPECT_THAT(config.error().context, StartsWith("t.toml:3: "));
  EXPECT_EQ(parse_config("[imap]\nhost = \"\xff\"\n", "t.toml").error().code,
            make_error_code(ConfigErrc::syntax));
  EXPECT_EQ(load_config("/nonexistent/postern.toml").error().code, make_error_code(ConfigErrc::unreadable));
}

TEST(Config, PortFollowsTls) {
  EXPECT_EQ(parse("tls = \"starttls\"\n")->imap.endpoint.port, 143);
  EXPECT_EQ(parse("tls = \"implicit\"\n")->imap.endpoint.port, 993);
  EXPECT_EQ(parse("tls = \"starttls\"\nport = 1143\n")->imap.endpoint.port, 1143);
}

TEST(Config, PathsFollowTheRuntimeDirectory) {
  const auto config = parse("[server]\nruntime_dir = \"/tmp/p\"\n[control]\nsocket = \"/tmp/c\"\n");
  ASSERT_TRUE(config) << reason(config);
  EXPECT_EQ(config->ipc.socket, "/tmp/p/broker.sock");
  EXPECT_EQ(config->segment.path, "/tmp/p/segment");
  EXPECT_EQ(config->control.socket, "/tmp/c");
}

TEST(Config, WhatExcludesEachOther) {
  const auto refused = [](std::string_view toml) {
    const auto config = parse_config(toml, "t.toml");
    EXPECT_TRUE(!config && config.error().code == make_error_code(ConfigErrc::conflict))
        << toml << reason(config);
    return reason(config);
  };
  const std::string imap(host);
  EXPECT_THAT(refused(""), HasSubstr("host is missing"));
  EXPECT_THAT(refused(imap + "tls = \"none\"\n"), HasSubstr("in the clear"));
  EXPECT_THAT(refused(imap + "verify = false\n"), HasSubstr("needs pins"));
  EXPECT_THAT(refused(imap + "backoff_min = \"1m\"\nbackoff_max = \"1s\"\n"), HasSubstr("backoff_min"));
  EXPECT_THAT(refused(imap + "[throttle]\ndelay_min = \"1m\"\ndelay_max = \"1s\"\n"), HasSubstr("delay_min"));
  EXPECT_THAT(refused(imap + "[limits]\nrequests_in_flight = 11\n"), HasSubstr("requests_in_flight"));
  EXPECT_THAT(refused(imap + "[throttle]\nfree_failures = 5\nfailures_max = 5\n"),
              HasSubstr("free_failures"));
  EXPECT_THAT(refused(imap + "[auth]\nsession_idle = \"2h\"\nsession_max = \"1h\"\n"),
              HasSubstr("session_idle"));
  EXPECT_THAT(refused(imap + "[http]\ncookie_secure = false\n"), HasSubstr("cookie_secure"));
  EXPECT_THAT(refused(imap + "[http]\ncookie_name = \"a;b\"\n"), HasSubstr("cookie_name"));
  EXPECT_THAT(refused(imap + "[http]\npublic_url = \"mail.example.com\"\n"), HasSubstr("public_url"));
  EXPECT_THAT(refused(imap + "[http]\npublic_url = \"https://mail.example.com/\"\n"),
              HasSubstr("public_url"));
  EXPECT_THAT(refused(imap + "[http]\ntrusted_proxies = [\"10.0.0.0/33\"]\n"), HasSubstr("10.0.0.0/33"));
  EXPECT_THAT(refused(imap + "[auth]\ntrust_remote_user = true\n"), HasSubstr("master_user"));
  EXPECT_THAT(refused(imap + "[auth]\nbasic = false\nlogin = false\n"), HasSubstr("nobody could sign in"));
}

TEST(Config, PlaintextOnLoopbackOrByName) {
  for (const auto* server : {"localhost", "127.0.0.1", "127.8.9.1", "::1"})
    EXPECT_TRUE(parse_config("[imap]\nhost = \"" + std::string(server) + "\"\ntls = \"none\"\n", "t"))
        << server;
  EXPECT_TRUE(parse("tls = \"none\"\nallow_plaintext = true\n"));
  EXPECT_FALSE(parse_config("[imap]\nhost = \"localhost.example.com\"\ntls = \"none\"\n", "t"));
  EXPECT_FALSE(parse_config("[imap]\nhost = \"128.0.0.1\"\ntls = \"none\"\n", "t"));
}

TEST(Config, TheMasterPasswordsFile) {
  const test::TemporaryFile file("geheim\nsecond line\n");
  const auto toml = "[auth]\ntrust_remote_user = true\nmaster_user = \"m\"\nmaster_password_file = \"" +
                    file.path() + "\"\n";
  ::chmod(file.path().c_str(), 0600);
  const auto config = parse(toml);
  ASSERT_TRUE(config) << reason(config);
  EXPECT_EQ(config->auth.master_password.expose(), "geheim");
  ::chmod(file.path().c_str(), 0640);
  EXPECT_THAT(reason(parse(toml)), HasSubstr("chmod 0600"));
  EXPECT_THAT(reason(parse("[auth]\nmaster_password_file = \"/nonexistent\"\n")), HasSubstr("can't be read"));
  const test::TemporaryFile empty("");
  ::chmod(empty.path().c_str(), 0600);
  EXPECT_THAT(reason(parse("[auth]\nmaster_password_file = \"" + empty.path() + "\"\n")),
              HasSubstr("is empty"));
}

TEST(Config, UsersAndGroupsOfTheMachine) {
  EXPECT_TRUE(check_machine(*parse("[ipc]\nallowed_users = [\"root\"]\nsocket_group = \"root\"\n")));
  for (const auto& line :
       {"[ipc]\nallowed_users = [\"no-such-user\"]\n", "[ipc]\nsocket_group = \"no-such-user\"\n",
        "[server]\nuser = \"no-such-user\"\n", "[server]\ngroup = \"no-such-user\"\n"}) {
    const auto checked = check_machine(*parse(line));
    ASSERT_FALSE(checked) << line;
    EXPECT_THAT(checked.error().context, HasSubstr("no-such-user"));
  }
}

// What the start would stumble over.
TEST(Config, CertificatesAndPins) {
  const test::TemporaryFile garbage("no certificate\n");
  const auto refused = [](const std::string& lines) {
    const auto config = parse(lines);
    EXPECT_TRUE(config) << reason(config);
    const auto checked = check_machine(*config);
    return checked ? "accepted" : checked.error().context;
  };
  EXPECT_THAT(refused("ca_file = \"/nonexistent/ca.pem\"\n"), HasSubstr("[imap] /nonexistent/ca.pem"));
  EXPECT_THAT(refused("ca_file = \"" + garbage.path() + "\"\n"), HasSubstr(garbage.path()));
  const std::string pin(43, 'A'), short_pin(39, 'A');
  EXPECT_EQ(refused("pins = [\"" + pin + "=\"]\n"), "accepted");
  EXPECT_THAT(refused("pins = [\"" + short_pin + "=\"]\n"), HasSubstr("a pin is"));
  EXPECT_THAT(refused("pins = [\"?\"]\n"), HasSubstr("a pin is"));
  // Nothing of that is used without TLS.
  EXPECT_EQ(refused("tls = \"none\"\nallow_plaintext = true\npins = [\"?\"]\n"), "accepted");
}

// Accepted and refused as the logger itself is at the start, here and on a machine without it.
TEST(Config, TheJournal) {
  bool there = true;
  try {
    (void)make_logger(LogTarget::journal, "config_test");
  } catch (const std::runtime_error&) {
    there = false;
  }
  const auto checked = check_machine(*parse("[log]\ntarget = \"journal\"\n"));
  EXPECT_EQ(checked.has_value(), there);
  if (!there) EXPECT_THAT(checked.error().context, HasSubstr("[log] target = \"journal\": "));
  EXPECT_TRUE(check_machine(*parse("[log]\ntarget = \"syslog\"\n")));
}

TEST(Config, LoadAndCheckNamesTheFile) {
  const test::TemporaryFile file("[imap]\nhost = \"h\"\nca_file = \"/nonexistent/ca.pem\"\n");
  EXPECT_TRUE(load_config(file.path()));
  EXPECT_THAT(reason(load_and_check(file.path())), StartsWith(file.path() + ": [imap] "));
}

TEST(Config, AddressesToListenOn) {
  for (const auto* listen : {"", "127.0.0.1:9464", "[::1]:9464", "/run/postern/metrics.sock"})
    EXPECT_TRUE(with("metrics", "listen = \"" + std::string(listen) + "\"")) << listen;
  for (const auto* listen :
       {"foo", "localhost:9464", "9464", ":9464", "127.0.0.1", "127.0.0.1:65536", "::1:9464"}) {
    const auto config = with("metrics", "listen = \"" + std::string(listen) + "\"");
    ASSERT_FALSE(config) << listen;
    EXPECT_THAT(reason(config), StartsWith("t.toml:4: [metrics] listen ")) << listen;
  }
}

TEST(Config, PathsOfSocketsAtTheirLongestAndPastIt) {
  const std::string longest = "/" + std::string(106, 's');
  for (const auto& [section, key] : std::initializer_list<std::pair<std::string, std::string>>{
           {"ipc", "socket"}, {"control", "socket"}, {"metrics", "listen"}}) {
    const auto fits = with(section, key + " = \"" + longest + "\"");
    EXPECT_TRUE(fits) << reason(fits);
    EXPECT_THAT(reason(with(section, key + " = \"" + longest + "s\"")),
                AllOf(HasSubstr("[" + section + "] " + key), HasSubstr("too long"), HasSubstr("107")));
  }
  // "/control.sock" is 13 octets.
  const auto dir = [&](std::size_t size) { return "runtime_dir = \"" + longest.substr(0, size) + "\""; };
  EXPECT_TRUE(with("server", dir(94)));
  EXPECT_THAT(reason(with("server", dir(95))), HasSubstr("[control] socket"));
}

TEST(Config, AReloadKeepsWhatNeedsARestart) {
  const auto running = parse("connections_per_account = 3\n[log]\nlevel = \"info\"\n");
  auto fresh =
      parse("connections_per_account = 4\n[log]\nlevel = \"debug\"\n[metrics]\nlisten = \"127.0.0.1:1\"\n");
  ASSERT_TRUE(running && fresh);
  EXPECT_THAT(keep_fixed_sections(*fresh, *running), ElementsAre("imap", "metrics"));
  EXPECT_EQ(fresh->imap.connections_per_account, 3u);
  EXPECT_EQ(fresh->metrics.listen, "");
  EXPECT_EQ(fresh->log.level, LogLevel::debug);
  // The same file again still differs from what is in force; the first file doesn't.
  auto again = parse("connections_per_account = 4\n");
  EXPECT_THAT(keep_fixed_sections(*again, *fresh), ElementsAre("imap"));
  auto back = parse("connections_per_account = 3\n");
  EXPECT_THAT(keep_fixed_sections(*back, *again), IsEmpty());
}

TEST(Config, AReloadTellsKeysThatNeedARestart) {
  const auto running = parse("[log]\ntarget = \"stderr\"\n[cache]\nfragments = \"8MB\"\nviews = \"8MB\"\n");
  auto fresh = parse("[log]\ntarget = \"syslog\"\n[cache]\nfragments = \"9MB\"\nviews = \"9MB\"\n");
  ASSERT_TRUE(running && fresh);
  EXPECT_THAT(keep_fixed_sections(*fresh, *running), ElementsAre("log.target", "cache.fragments"));
  EXPECT_EQ(fresh->log.target, LogTarget::stderr_text);
  EXPECT_EQ(fresh->cache.fragments_bytes, running->cache.fragments_bytes);
  EXPECT_NE(fresh->cache.views_bytes, running->cache.views_bytes);
}

TEST(Config, OneUploadOfTheLargestSizeHasRoom) {
  UploadsConfig uploads;
  uploads.account_bytes = 10;
  uploads.total_bytes = 20;
  EXPECT_EQ(uploads.limits(5).account_bytes, 10u);
  EXPECT_EQ(uploads.limits(50).account_bytes, 50u);
  EXPECT_EQ(uploads.limits(50).total_bytes, 50u);
}

}  // namespace
}  // namespace postern::broker
