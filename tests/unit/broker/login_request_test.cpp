// What a client says when it signs in, well-formed and not.
#include "broker/login_request.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "broker/ipc_server.hpp"

namespace postern::broker {
namespace {

using Kind = session::Credentials::Kind;

// As read_body() gives it: with a little room behind it, and no more.
std::optional<LoginRequest> parse_login(std::string_view text, bool oauth = true) {
  std::string body;
  body.reserve(text.size() + RequestStream::body_spare_bytes);
  body = text;
  const auto* before = body.data();
  auto request = parse_login_request(body, oauth);
  EXPECT_EQ(body.data(), before) << "a copy was left behind";
  EXPECT_TRUE(std::all_of(body.begin(), body.end(), [](char c) { return c == '\0'; })) << "not wiped";
  return request;
}

TEST(LoginRequest, Password) {
  const auto request = parse_login(R"({"username":"b\u00f6b","password":"se\"cret"})");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->credentials.login, "böb");
  EXPECT_EQ(request->credentials.secret.expose(), "se\"cret");
  EXPECT_EQ(request->credentials.kind, Kind::password);
  EXPECT_FALSE(request->wants_token);
}

TEST(LoginRequest, AccessTokenWhereItIsOffered) {
  constexpr std::string_view text = R"({"username":"bob","accessToken":"t","password":null,"token":true})";
  const auto request = parse_login(text);
  ASSERT_TRUE(request);
  EXPECT_EQ(request->credentials.kind, Kind::oauth);
  EXPECT_EQ(request->credentials.secret.expose(), "t");
  EXPECT_TRUE(request->wants_token);
  EXPECT_FALSE(parse_login(text, false));
}

TEST(LoginRequest, WhatIsNone) {
  for (const std::string_view text :
       {"", "x", "[]", "{}", "{", R"({"username":"bob"})", R"({"password":"x"})",
        R"({"username":1,"password":"x"})", R"({"username":"bob","password":[]})",
        R"({"username":"bob","password":"x","token":1})", R"({"username":"bob","password":"x"} x)"})
    EXPECT_FALSE(parse_login(text)) << text;
  EXPECT_FALSE(parse_login(std::string_view("{\"username\":\"bob\",\"password\":\"x\"}\0", 34)));
}

// The first octet of a UTF-8 sequence promises more than there are.
TEST(LoginRequest, ABodyThatEndsInTheMiddleOfACharacter) {
  for (const std::string_view end : {"\xF0", "\xF0\x9F", "\xF0\x9F\x98", "\xE2", "\xC3", "\\", "\\u12"})
    EXPECT_FALSE(parse_login(R"({"username":"a login of some length)" + std::string(end)));
}

}  // namespace
}  // namespace postern::broker
