// Which addresses and parameters may reach an SMTP line.
#include "postern/smtp/address.hpp"

#include <gtest/gtest.h>

namespace postern::smtp {
namespace {

TEST(Mailbox, Grammar) {
  for (const std::string_view good :
       {"a@b", "anna.b+c@example.org", "\"a b\"@example.org", "\"a\\\"<b>\"@example.org",
        "\"\\\\\\\"x\\\\\"@b", "x@[192.0.2.1]", "x@[IPv6:2001:db8::1]", "j\xc3\xb6rg@example.org",
        "a@b\xc3\xbc"
        "cher.example",
        "o'neil@ex-ample.org", "a@_x.org"})
    EXPECT_TRUE(is_mailbox(good)) << good;
  const std::string nul("a\0b@c", 5);
  for (const std::string_view bad :
       {"", "a", "@b", "a@", "a b@c", "a@b c", "a@b>", "<a@b>", "a@b\r\nRCPT TO:<x@y>", "a\n@b", "a@b\n",
        ".a@b", "a.@b", "a..b@c", "a@.b", "a@b.", "a@b..c", "a@-b", "a@b-", "a@b-.c", "\"a@b", "\"a\"b\"@c",
        "\"a\\\"@c", "\"a\r\"@c", "a,b@c", "a@b,c@d", "a@[b", "a@[]", "a@[b c]", "a@b SIZE=1", "\xff@b",
        "a@b\x7f",
        // A backslash that is itself escaped escapes no quote.
        "\"\\\\\"x\"@b", "\"\\\\\"@evil.example> ENVID=\"@own.example", "\"\\\\\"@x> NOTIFY=NEVER ORCPT=\"@y",
        "\"a\\\\\\\"@b"})
    EXPECT_FALSE(is_mailbox(bad)) << bad;
  EXPECT_FALSE(is_mailbox(nul));
}

TEST(Mailbox, Bounds) {
  const auto of = [](std::size_t local, std::size_t domain) {
    std::string text(local, 'l');
    text += '@';
    for (std::size_t i = 0; i < domain; ++i) text += i % 50 == 49 && i + 1 < domain ? '.' : 'd';
    return text;
  };
  EXPECT_TRUE(is_mailbox(of(local_part_bytes_max, 10)));
  EXPECT_FALSE(is_mailbox(of(local_part_bytes_max + 1, 10)));
  EXPECT_TRUE(is_mailbox(of(3, mailbox_bytes_max - 4)));
  EXPECT_FALSE(is_mailbox(of(3, mailbox_bytes_max - 3)));
  EXPECT_FALSE(is_mailbox(of(1, domain_bytes_max + 1)));
}

TEST(Mailbox, Parts) {
  EXPECT_EQ(domain_of("\"a@b\"@c.d"), "c.d");
  EXPECT_EQ(domain_of("a"), "");
  EXPECT_TRUE(is_same_mailbox("Anna@Example.org", "anna@example.ORG"));
  EXPECT_FALSE(is_same_mailbox("anna@example.org", "anna@example.com"));
}

TEST(Parameter, OnlyWhatIsKnown) {
  EXPECT_EQ(extension_of(ParameterOf::mail, "ret"), "DSN");
  EXPECT_EQ(extension_of(ParameterOf::rcpt, "NOTIFY"), "DSN");
  for (const auto* name : {"SIZE", "BODY", "SMTPUTF8", "AUTH", "NOTIFY", "HOLDFOR", "X\r\nRCPT"})
    EXPECT_EQ(extension_of(ParameterOf::mail, name), "") << name;
  EXPECT_EQ(encode_parameter(ParameterOf::mail, "ret", "hdrs"), " RET=HDRS");
  EXPECT_EQ(encode_parameter(ParameterOf::mail, "ENVID", "a=b+c"), " ENVID=a+3Db+2Bc");
  EXPECT_EQ(encode_parameter(ParameterOf::mail, "REQUIRETLS", std::nullopt), " REQUIRETLS");
  EXPECT_EQ(encode_parameter(ParameterOf::mail, "MT-PRIORITY", "-3"), " MT-PRIORITY=-3");
  EXPECT_EQ(encode_parameter(ParameterOf::mail, "BY", "120;R"), " BY=120;R");
  EXPECT_EQ(encode_parameter(ParameterOf::rcpt, "NOTIFY", "success,delay"), " NOTIFY=SUCCESS,DELAY");
  EXPECT_EQ(encode_parameter(ParameterOf::rcpt, "ORCPT", "rfc822;a+b@c"), " ORCPT=rfc822;a+2Bb@c");
  const std::pair<const char*, const char*> wrong[] = {
      {"RET", "ALL"},         {"ENVID", ""}, {"ENVID", "a b"}, {"ENVID", "a\r\nb"}, {"RET", "FULL RET=HDRS"},
      {"MT-PRIORITY", "100"}, {"BY", "x;R"}, {"BY", "1"},      {"REQUIRETLS", "1"}};
  for (const auto& [name, value] : wrong)
    EXPECT_FALSE(encode_parameter(ParameterOf::mail, name, value)) << name << "=" << value;
  for (const auto* value : {"", "SUCCESS,", "NEVER,SUCCESS", "OFTEN"})
    EXPECT_FALSE(encode_parameter(ParameterOf::rcpt, "NOTIFY", value)) << value;
  for (const auto* value : {"rfc822", ";a", "rfc822;", "rfc 822;a", "rfc822;a b"})
    EXPECT_FALSE(encode_parameter(ParameterOf::rcpt, "ORCPT", value)) << value;
  EXPECT_FALSE(encode_parameter(ParameterOf::mail, "RET", std::nullopt));
  EXPECT_FALSE(encode_parameter(ParameterOf::mail, "ENVID", std::string(101, 'x')));
}

}  // namespace
}  // namespace postern::smtp
