// What a push subscription's URL may be, and which addresses are inside.
#include "postern/push/target_policy.hpp"

#include <gtest/gtest.h>

namespace postern::push {
namespace {

boost::asio::ip::address address(const char* text) { return boost::asio::ip::make_address(text); }

TEST(PushUrls, HostAndOrigin) {
  const auto plain = parse_push_url("https://Push.Example.com/send/a?b=c");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->host, "push.example.com");
  EXPECT_EQ(plain->origin, "https://push.example.com");
  const auto port = parse_push_url("HTTPS://push.example.com:8443/");
  ASSERT_TRUE(port);
  EXPECT_EQ(port->origin, "https://push.example.com:8443");
  EXPECT_EQ(parse_push_url("https://push.example.com:443/")->origin, "https://push.example.com");
  const auto v6 = parse_push_url("https://[2001:4860::8888]:444/x");
  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->host, "2001:4860::8888");
  EXPECT_EQ(v6->origin, "https://[2001:4860::8888]:444");
}

TEST(PushUrls, Refused) {
  for (const auto* url : {"http://example.com/",
                          "https:/example.com",
                          "https://",
                          "//example.com/",
                          "example.com",
                          "ftp://example.com/",
                          "file:///etc/passwd",
                          "https://user@example.com/",
                          "https://user:pw@example.com/",
                          "https://example.com/#part",
                          "https://exa mple.com/",
                          "https://example.com/\r\nHost: x",
                          "https://example.com:99999/",
                          "https://[fe80::1%25eth0]/",
                          "https://%82.example.com/",
                          "https://%22.example.com/",
                          "https://%37",
                          "https:///%37",
                          "https://7/",
                          "",
                          "https://\xc3\xa4.example/"})
    EXPECT_FALSE(parse_push_url(url)) << url;
  const std::string head = "https://example.com/";
  EXPECT_TRUE(parse_push_url(head + std::string(push_url_bytes_max - head.size(), 'a')));
  EXPECT_FALSE(parse_push_url(head + std::string(push_url_bytes_max + 1 - head.size(), 'a')));
}

TEST(PublicAddresses, Inside) {
  for (const auto* inside : {"0.0.0.0",
                             "0.1.2.3",
                             "10.0.0.1",
                             "10.255.255.255",
                             "100.64.0.1",
                             "100.127.255.255",
                             "127.0.0.1",
                             "127.255.0.1",
                             "169.254.169.254",
                             "172.16.0.1",
                             "172.31.255.255",
                             "192.0.0.8",
                             "192.0.2.1",
                             "192.88.99.1",
                             "192.168.1.1",
                             "198.18.0.1",
                             "198.19.255.255",
                             "198.51.100.1",
                             "203.0.113.1",
                             "224.0.0.1",
                             "239.255.255.255",
                             "240.0.0.1",
                             "255.255.255.255",
                             "::",
                             "::1",
                             "::ffff:127.0.0.1",
                             "::ffff:10.0.0.1",
                             "::127.0.0.1",
                             "64:ff9b::a00:1",
                             "64:ff9b:1::1",
                             "100::1",
                             "2001::1",
                             "2001:db8::1",
                             "2002:7f00:1::",
                             "3fff::1",
                             "fc00::1",
                             "fd12::1",
                             "fe80::1",
                             "febf::1",
                             "fec0::1",
                             "ff02::1",
                             "5f00::1"})
    EXPECT_FALSE(is_public_address(address(inside))) << inside;
}

TEST(PublicAddresses, Outside) {
  for (const auto* outside : {"1.1.1.1",        "9.255.255.255",        "11.0.0.0",         "100.63.255.255",
                              "100.128.0.0",    "126.255.255.255",      "128.0.0.0",        "169.253.255.255",
                              "172.15.255.255", "172.32.0.0",           "192.167.255.255",  "192.169.0.0",
                              "198.17.255.255", "198.20.0.0",           "223.255.255.255",  "2606:4700::1111",
                              "2a00::1",        "2001:4860:4860::8888", "64:ff9b::101:101", "::ffff:1.1.1.1"})
    EXPECT_TRUE(is_public_address(address(outside))) << outside;
}

TEST(TargetPolicies, WhatIsListedIsAllowed) {
  TargetPolicy policy;
  EXPECT_TRUE(policy.allow("10.1.0.0/16"));
  EXPECT_TRUE(policy.allow("192.168.7.7"));
  EXPECT_TRUE(policy.allow("fd00:1::/32"));
  EXPECT_TRUE(policy.allow("Push.intern"));
  EXPECT_TRUE(policy.allows("x", address("10.1.255.255")));
  EXPECT_FALSE(policy.allows("x", address("10.2.0.0")));
  EXPECT_TRUE(policy.allows("x", address("::ffff:10.1.2.3")));
  EXPECT_TRUE(policy.allows("x", address("192.168.7.7")));
  EXPECT_FALSE(policy.allows("x", address("192.168.7.8")));
  EXPECT_TRUE(policy.allows("x", address("fd00:1:ffff::1")));
  EXPECT_FALSE(policy.allows("x", address("fd00:2::1")));
  EXPECT_TRUE(policy.allows("push.intern", address("127.0.0.1")));
  EXPECT_TRUE(policy.allows("x", address("1.1.1.1")));
  for (const auto* wrong : {"", "10.0.0.0/33", "fd00::/129", "10.0.0.0/", "10.0.0.0/x", "a b", "host/8", "*"})
    EXPECT_FALSE(TargetPolicy().allow(wrong)) << wrong;
}

TEST(TargetPolicies, WhatNeedsNoResolving) {
  TargetPolicy policy;
  for (const auto* inside : {"localhost", "localhost.", "a.localhost", "127.0.0.1", "::1", "10.0.0.1"})
    EXPECT_TRUE(policy.forbids(inside)) << inside;
  EXPECT_FALSE(policy.forbids("push.example.com"));
  EXPECT_FALSE(policy.forbids("1.1.1.1"));
  EXPECT_TRUE(policy.allow("127.0.0.0/8"));
  EXPECT_TRUE(policy.allow("localhost"));
  EXPECT_FALSE(policy.forbids("127.0.0.1"));
  EXPECT_FALSE(policy.forbids("localhost"));
}

}  // namespace
}  // namespace postern::push
