// [smtp] of the configuration: what it means, and what excludes each other.
#include <sys/stat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/config.hpp"
#include "support/temporary_file.hpp"

namespace postern::broker {
namespace {

using ::testing::HasSubstr;

Result<Config> smtp(const std::string& lines) {
  return parse_config("[imap]\nhost = \"i\"\n[smtp]\n" + lines, "t.toml");
}
std::string wrong(const std::string& lines) {
  const auto config = smtp(lines);
  return config ? "accepted" : config.error().context;
}

TEST(ConfigSmtp, OffAndOn) {
  EXPECT_FALSE(parse_config("[imap]\nhost = \"i\"\n", "t.toml")->smtp.is_on());
  const auto on = smtp("host = \"s\"\n");
  ASSERT_TRUE(on);
  EXPECT_TRUE(on->smtp.is_on());
  EXPECT_EQ(on->smtp.server.endpoint.port, 587);
  EXPECT_EQ(on->smtp.server.tls, smtp::TlsMode::starttls);
  EXPECT_EQ(on->smtp.outbox.from, outbox::FromPolicy::login);
  EXPECT_EQ(smtp("host = \"s\"\ntls = \"implicit\"\n")->smtp.server.endpoint.port, 465);
  EXPECT_EQ(smtp("host = \"s\"\nport = 25\n")->smtp.server.endpoint.port, 25);
}

TEST(ConfigSmtp, WhatIsRefused) {
  EXPECT_THAT(wrong("host = \"s\"\ntls = \"none\"\n"), HasSubstr("in the clear"));
  EXPECT_EQ(wrong("host = \"127.0.0.1\"\ntls = \"none\"\n"), "accepted");
  EXPECT_EQ(wrong("host = \"s\"\ntls = \"none\"\nallow_plaintext = true\n"), "accepted");
  EXPECT_EQ(wrong("tls = \"none\"\n"), "accepted");  // nothing is sent
  EXPECT_THAT(wrong("host = \"s\"\nverify = false\n"), HasSubstr("pins"));
  EXPECT_EQ(wrong("host = \"s\"\nverify = false\npins = [\"x\"]\n"), "accepted");
  EXPECT_THAT(wrong("host = \"s\"\nretry_min = \"1h\"\n"), HasSubstr("retry_min"));
  EXPECT_THAT(wrong("host = \"s\"\ndomain = \"a b\"\n"), HasSubstr("domain"));
  EXPECT_THAT(wrong("host = \"s\"\nhelo_name = \"a\\r\\nb\"\n"), HasSubstr("helo_name"));
  EXPECT_THAT(wrong("extensions = [\"SIZE\"]\n"), HasSubstr("DSN"));
  EXPECT_EQ(wrong("recipients_max = 10000\n"), "accepted");
  EXPECT_THAT(wrong("recipients_max = 10001\n"), HasSubstr("10000"));
  EXPECT_THAT(wrong("hots = \"s\"\n"), HasSubstr("did you mean host"));
}

TEST(ConfigSmtp, ARelaysPassword) {
  const std::string relay = "host = \"s\"\nsign_in = \"relay\"\n";
  EXPECT_THAT(wrong(relay), HasSubstr("password_file"));
  const test::TemporaryFile file("secret\n");
  const auto all = relay + "user = \"u\"\npassword_file = \"" + file.path() + "\"\n";
  chmod(file.path().c_str(), 0640);
  EXPECT_THAT(wrong(all), HasSubstr("chmod 0600"));
  chmod(file.path().c_str(), 0600);
  const auto config = smtp(all);
  ASSERT_TRUE(config);
  EXPECT_EQ(config->smtp.outbox.relay->login, "u");
  EXPECT_EQ(config->smtp.outbox.relay->secret.expose(), "secret");
}

}  // namespace
}  // namespace postern::broker
