// The sample configuration: it loads, and shows the defaults.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "broker/config.hpp"

namespace postern::broker {
namespace {

using ::testing::ElementsAre;

TEST(ConfigSample, TheSampleLoadsAndSetsNothingButDefaults) {
  const auto sample = load_config(POSTERN_SAMPLE);
  ASSERT_TRUE(sample) << sample.error().context;
  const auto defaults = parse_config("[imap]\nhost = \"imap.example.com\"\n", "t.toml");
  ASSERT_TRUE(defaults);
  EXPECT_EQ(sample->imap.endpoint.host, "imap.example.com");
  EXPECT_THAT(sample->ipc.allowed_users, ElementsAre("www-data"));
  EXPECT_EQ(sample->server.user, "postern");
  EXPECT_EQ(sample->imap.endpoint.port, defaults->imap.endpoint.port);
}

// Every key that is commented out in the sample shows its default: with all of them uncommented it means the same.
TEST(ConfigSample, TheSamplesCommentedKeysAreTheDefaults) {
  std::ifstream file(POSTERN_SAMPLE);
  std::string line, all;
  int keys = 0;
  while (std::getline(file, line)) {
    const bool key = line.size() > 1 && line[0] == '#' && line[1] >= 'a' && line[1] <= 'z';
    keys += key ? 1 : 0;
    // What depends on the machine or on other keys.
    if (line.starts_with("#ca_file")) continue;
    all += (key ? line.substr(1) : line) + "\n";
  }
  EXPECT_GT(keys, 60);
  const auto full = parse_config(all, "sample");
  ASSERT_TRUE(full) << full.error().context;
  const auto plain = load_config(POSTERN_SAMPLE);
  ASSERT_TRUE(plain) << plain.error().context;
  EXPECT_EQ(full->imap.endpoint.port, plain->imap.endpoint.port);
  EXPECT_EQ(full->imap.tls, plain->imap.tls);
  EXPECT_EQ(full->imap.tls_options.min_version, plain->imap.tls_options.min_version);
  EXPECT_EQ(full->imap.tls_options.verify, plain->imap.tls_options.verify);
  EXPECT_EQ(full->imap.allow_plaintext, plain->imap.allow_plaintext);
  EXPECT_EQ(full->imap.password_mechanism, plain->imap.password_mechanism);
  EXPECT_EQ(full->imap.oauth_mechanism, plain->imap.oauth_mechanism);
  EXPECT_EQ(full->imap.send_client_id, plain->imap.send_client_id);
  EXPECT_EQ(full->imap.connections_per_account, plain->imap.connections_per_account);
  EXPECT_EQ(full->imap.logins_in_flight, plain->imap.logins_in_flight);
  EXPECT_EQ(full->imap.connect_timeout, plain->imap.connect_timeout);
  EXPECT_EQ(full->imap.greeting_timeout, plain->imap.greeting_timeout);
  EXPECT_EQ(full->imap.command_timeout, plain->imap.command_timeout);
  EXPECT_EQ(full->imap.login_timeout, plain->imap.login_timeout);
  EXPECT_EQ(full->imap.idle_after, plain->imap.idle_after);
  EXPECT_EQ(full->imap.idle_renew, plain->imap.idle_renew);
  EXPECT_EQ(full->imap.keepalive, plain->imap.keepalive);
  EXPECT_EQ(full->imap.backoff_min, plain->imap.backoff_min);
  EXPECT_EQ(full->imap.backoff_max, plain->imap.backoff_max);
  EXPECT_EQ(full->imap.backoff_wait_max, plain->imap.backoff_wait_max);
  EXPECT_EQ(full->sieve.server.endpoint.host, plain->sieve.server.endpoint.host);
  EXPECT_EQ(full->sieve.server.endpoint.port, plain->sieve.server.endpoint.port);
  EXPECT_EQ(full->sieve.server.tls, plain->sieve.server.tls);
  EXPECT_EQ(full->sieve.server.tls_options.verify, plain->sieve.server.tls_options.verify);
  EXPECT_EQ(full->sieve.server.connect_timeout, plain->sieve.server.connect_timeout);
  EXPECT_EQ(full->sieve.use_timeout, plain->sieve.use_timeout);
  EXPECT_EQ(full->sieve.connections_max, plain->sieve.connections_max);
  EXPECT_EQ(full->server.runtime_dir, plain->server.runtime_dir);
  EXPECT_EQ(full->server.shards, plain->server.shards);
  EXPECT_EQ(full->server.stop_grace, plain->server.stop_grace);
  EXPECT_EQ(full->log.target, plain->log.target);
  EXPECT_EQ(full->log.level, plain->log.level);
  EXPECT_EQ(full->ipc.socket, plain->ipc.socket);
  EXPECT_EQ(full->ipc.socket_mode, plain->ipc.socket_mode);
  EXPECT_EQ(full->ipc.connections_max, plain->ipc.connections_max);
  EXPECT_EQ(full->http.trusted_proxies, plain->http.trusted_proxies);
  EXPECT_EQ(full->http.cookie_name, plain->http.cookie_name);
  EXPECT_EQ(full->http.cookie_secure, plain->http.cookie_secure);
  EXPECT_EQ(full->auth.basic, plain->auth.basic);
  EXPECT_EQ(full->auth.login, plain->auth.login);
  EXPECT_EQ(full->auth.oauth, plain->auth.oauth);
  EXPECT_EQ(full->auth.oauth_username_claims, plain->auth.oauth_username_claims);
  EXPECT_EQ(full->auth.trust_remote_user, plain->auth.trust_remote_user);
  EXPECT_EQ(full->auth.session_idle, plain->auth.session_idle);
  EXPECT_EQ(full->auth.session_max, plain->auth.session_max);
  EXPECT_EQ(full->auth.verifier_lifetime, plain->auth.verifier_lifetime);
  EXPECT_EQ(full->auth.lowercase_login, plain->auth.lowercase_login);
  EXPECT_EQ(full->segment.path, plain->segment.path);
  EXPECT_EQ(full->segment.sessions_max, plain->segment.sessions_max);
  EXPECT_EQ(full->segment.sessions_per_account_max, plain->segment.sessions_per_account_max);
  EXPECT_EQ(full->segment.accounts_max, plain->segment.accounts_max);
  EXPECT_EQ(full->segment.redirects_max, plain->segment.redirects_max);
  EXPECT_EQ(full->segment.mode, plain->segment.mode);
  EXPECT_EQ(full->cache.fragments_bytes, plain->cache.fragments_bytes);
  EXPECT_EQ(full->cache.views_bytes, plain->cache.views_bytes);
  EXPECT_EQ(full->cache.view_idle, plain->cache.view_idle);
  EXPECT_EQ(full->cache.account_idle, plain->cache.account_idle);
  EXPECT_EQ(full->uploads.directory, plain->uploads.directory);
  EXPECT_EQ(full->uploads.account_bytes, plain->uploads.account_bytes);
  EXPECT_EQ(full->uploads.total_bytes, plain->uploads.total_bytes);
  EXPECT_EQ(full->uploads.lifetime, plain->uploads.lifetime);
  EXPECT_EQ(full->jmap.max_size_attachments_per_email, plain->jmap.max_size_attachments_per_email);
  EXPECT_EQ(full->mail.mailbox_list_fresh, plain->mail.mailbox_list_fresh);
  EXPECT_EQ(full->mail.fill_messages, plain->mail.fill_messages);
  EXPECT_EQ(full->mail.fetch_messages, plain->mail.fetch_messages);
  EXPECT_EQ(full->mail.join_by_identity, plain->mail.join_by_identity);
  EXPECT_EQ(full->jmap.max_size_upload, plain->jmap.max_size_upload);
  EXPECT_EQ(full->jmap.max_concurrent_upload, plain->jmap.max_concurrent_upload);
  EXPECT_EQ(full->jmap.max_size_request, plain->jmap.max_size_request);
  EXPECT_EQ(full->jmap.max_concurrent_requests, plain->jmap.max_concurrent_requests);
  EXPECT_EQ(full->jmap.max_calls_in_request, plain->jmap.max_calls_in_request);
  EXPECT_EQ(full->jmap.max_objects_in_get, plain->jmap.max_objects_in_get);
  EXPECT_EQ(full->jmap.max_objects_in_set, plain->jmap.max_objects_in_set);
  EXPECT_EQ(full->jmap.query_ids_max, plain->jmap.query_ids_max);
  EXPECT_EQ(full->limits.default_plan, plain->limits.default_plan);
  EXPECT_EQ(full->limits.reading_reserve_bytes, plain->limits.reading_reserve_bytes);
  EXPECT_EQ(full->limits.plan_maps, plain->limits.plan_maps);
  EXPECT_EQ(full->throttle.enabled, plain->throttle.enabled);
  EXPECT_EQ(full->throttle.free_failures, plain->throttle.free_failures);
  EXPECT_EQ(full->throttle.delay_min, plain->throttle.delay_min);
  EXPECT_EQ(full->throttle.delay_max, plain->throttle.delay_max);
  EXPECT_EQ(full->throttle.failures_max, plain->throttle.failures_max);
  EXPECT_EQ(full->throttle.login_failures_max, plain->throttle.login_failures_max);
  EXPECT_EQ(full->throttle.address_failures_max, plain->throttle.address_failures_max);
  EXPECT_EQ(full->throttle.window, plain->throttle.window);
  EXPECT_EQ(full->throttle.wrong_password_window, plain->throttle.wrong_password_window);
  EXPECT_EQ(full->webpush.enabled, plain->webpush.enabled);
  EXPECT_EQ(full->webpush.allow, plain->webpush.allow);
  EXPECT_EQ(full->webpush.contact, plain->webpush.contact);
  EXPECT_EQ(full->webpush.lifetime_max, plain->webpush.lifetime_max);
  EXPECT_EQ(full->webpush.ttl, plain->webpush.ttl);
  EXPECT_EQ(full->webpush.interval, plain->webpush.interval);
  EXPECT_EQ(full->webpush.connect_timeout, plain->webpush.connect_timeout);
  EXPECT_EQ(full->webpush.timeout, plain->webpush.timeout);
  EXPECT_EQ(full->webpush.subscriptions_per_account, plain->webpush.subscriptions_per_account);
  EXPECT_EQ(full->webpush.subscriptions_max, plain->webpush.subscriptions_max);
  EXPECT_EQ(full->request_bytes_total, plain->request_bytes_total);
  EXPECT_EQ(full->control.socket, plain->control.socket);
  EXPECT_EQ(full->control.socket_mode, plain->control.socket_mode);
}

}  // namespace
}  // namespace postern::broker
