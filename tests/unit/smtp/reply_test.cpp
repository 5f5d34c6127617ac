// Replies out of octets, and the extensions.
#include "postern/smtp/reply.hpp"

#include <gtest/gtest.h>

namespace postern::smtp {
namespace {

std::optional<Reply> parse(std::string_view text, std::size_t cut = 1'000'000) {
  ReplyParser parser;
  for (std::size_t at = 0; at < text.size();) {
    const auto taken = parser.feed(text.substr(at, cut));
    if (!taken) return std::nullopt;
    at += *taken;
    if (auto reply = parser.take()) return reply;
  }
  return std::nullopt;
}

TEST(Reply, OneOrSeveralLinesCutAnywhere) {
  const std::string_view text =
      "550-5.7.1 Our system has detected that this message is\r\n550 5.7.1 likely spam.\r\n";
  for (std::size_t cut = 1; cut <= text.size(); ++cut) {
    const auto reply = parse(text, cut);
    ASSERT_TRUE(reply) << cut;
    EXPECT_EQ(reply->to_string(), "550 5.7.1 Our system has detected that this message is likely spam.");
    EXPECT_TRUE(reply->permanent());
    EXPECT_EQ(reply->enhanced(), "5.7.1");
  }
  const std::string line(reply_text_bytes_max - 4, 'x');
  EXPECT_EQ(parse("250 " + line + "\r\n")->to_string(), "250 " + line);
  EXPECT_EQ(parse("250 " + line + "y\r\n")->to_string(), "250 " + line + "...");
  EXPECT_EQ(parse("250\r\n")->to_string(), "250");
  EXPECT_EQ(parse("250 \n")->to_string(), "250");
  EXPECT_EQ(parse("250-a\r\n250-\r\n250 b\r\n")->to_string(), "250 a b");
  EXPECT_EQ(parse("421 4.10 x\r\n")->enhanced(), "");
  EXPECT_EQ(parse("250 \xff\x01x\r\n")->to_string(), "250 \xef\xbf\xbd x");
}

TEST(Reply, WhatIsNoReply) {
  for (const auto* wrong :
       {"hello\r\n", "25 x\r\n", "2500 x\r\n", "150 x\r\n", "650 x\r\n", "250-a\r\n550 b\r\n", "\r\n"})
    EXPECT_FALSE(parse(wrong)) << wrong;
}

TEST(Reply, TheNextOneIsLeft) {
  ReplyParser parser;
  const std::string_view two = "250 a\r\n354 b\r\n";
  EXPECT_EQ(parser.feed(two), 7u);
  EXPECT_EQ(parser.take()->code, 250);
  EXPECT_FALSE(parser.take());
}

TEST(Reply, Bounds) {
  EXPECT_TRUE(parse("250 " + std::string(reply_line_bytes_max - 6, 'x') + "\r\n"));
  EXPECT_FALSE(parse("250 " + std::string(reply_line_bytes_max - 5, 'x') + "\r\n"));
  std::string lines;
  for (std::size_t i = 1; i < reply_lines_max; ++i) lines += "250-x\r\n";
  EXPECT_TRUE(parse(lines + "250 x\r\n"));
  EXPECT_FALSE(parse(lines + "250-x\r\n250 x\r\n"));
}

TEST(Extensions, OfEhlo) {
  const Extensions all(
      *parse("250-host SIZE 1\r\n250-size 1000\r\n250-Auth plain LOGIN\r\n250-AUTH=XOAUTH2\r\n250 DSN\r\n"));
  EXPECT_EQ(all.size_max(), 1'000u);
  EXPECT_TRUE(all.has("DSN"));
  EXPECT_FALSE(all.has("HOST"));
  EXPECT_EQ(all.mechanisms(), (std::vector<std::string>{"PLAIN", "LOGIN", "XOAUTH2"}));
  EXPECT_FALSE(Extensions(*parse("250-x\r\n250 SIZE 0\r\n")).size_max());
  EXPECT_FALSE(Extensions(*parse("250 x\r\n")).size_max());
}

}  // namespace
}  // namespace postern::smtp
