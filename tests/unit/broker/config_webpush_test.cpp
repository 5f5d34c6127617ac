// [webpush] of the configuration: where subscriptions may point, and whom push services may turn to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/config.hpp"

namespace postern::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Result<Config> webpush(const std::string& lines) {
  return parse_config("[imap]\nhost = \"i\"\n[webpush]\n" + lines, "t.toml");
}

TEST(ConfigWebPush, Targets) {
  const auto config = webpush("allow = [\"10.0.0.0/8\", \"::1\", \"push.intern\"]\n");
  ASSERT_TRUE(config) << config.error().context;
  EXPECT_THAT(config->webpush.allow, ElementsAre("10.0.0.0/8", "::1", "push.intern"));
  const auto wrong = webpush("allow = [\"10.0.0.0/8\", \"10.0.0.0/33\"]\n");
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().context, HasSubstr("no host, address or network: 10.0.0.0/33"));
}

TEST(ConfigWebPush, Contact) {
  EXPECT_TRUE(webpush("contact = \"mailto:a@b\"\n"));
  EXPECT_TRUE(webpush("contact = \"https://example.com/contact\"\n"));
  const auto wrong = webpush("contact = \"a@b\"\n");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, make_error_code(ConfigErrc::conflict));
}

}  // namespace
}  // namespace postern::broker
