// What is read out of a web request: whatever comes is read as its RFC says, or refused.
#include "broker/http.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "postern/base/encoding.hpp"

namespace postern::broker {
namespace {

using ::testing::HasSubstr;

ipc::RequestHead head_of(std::string target, std::string script_name = {}) {
  ipc::RequestHead head;
  head.method = "GET";
  head.target = std::move(target);
  head.script_name = std::move(script_name);
  head.scheme = "https";
  head.host = "mail.example.com";
  return head;
}

TEST(Http, TargetWithoutTheMountPoint) {
  const auto split = [](const char* target, const char* mount) {
    const auto t = split_target(head_of(target, mount));
    return t.path + " " + t.query;
  };
  EXPECT_EQ(split("/jmap/api?a=1?b", ""), "/jmap/api a=1?b");
  EXPECT_EQ(split("/mail/jmap/api", "/mail"), "/jmap/api ");
  EXPECT_EQ(split("/mail", "/mail"), "/ ");
  EXPECT_EQ(split("/mailbox/jmap", "/mail"), "/mailbox/jmap ");
  EXPECT_EQ(split("/jmap/api", "/"), "/jmap/api ");
  EXPECT_EQ(split("?x", ""), "/ x");
}

TEST(Http, PercentDecoding) {
  EXPECT_EQ(percent_decode("a%20b%2Fc%c3%BC"), "a b/c\xc3\xbc");
  EXPECT_EQ(percent_decode(""), "");
  EXPECT_EQ(percent_decode("a+b"), "a+b");
  for (const auto* broken : {"%", "%4", "a%4", "%zz", "%4g", "%00", "a%00b", "%%41"})
    EXPECT_EQ(percent_decode(broken), std::nullopt) << broken;
  EXPECT_EQ(percent_decode("%2500"), "%00");  // once, not twice
}

TEST(Http, QueryValues) {
  EXPECT_EQ(query_value("a=1&accept=text%2Fplain&b", "accept"), "text/plain");
  EXPECT_EQ(query_value("a=1&b", "b"), "");
  EXPECT_EQ(query_value("a=1", "b"), std::nullopt);
  EXPECT_EQ(query_value("xa=1&a=2", "a"), "2");
  EXPECT_EQ(query_value("a=%0", "a"), std::nullopt);
  EXPECT_EQ(query_value("&&&", "a"), std::nullopt);
}

TEST(Http, Basic) {
  const auto basic = parse_basic("bAsIc " + base64_encode("anna@example.com:a:b\xc3\xbc"));
  ASSERT_TRUE(basic);
  EXPECT_EQ(basic->login, "anna@example.com");
  EXPECT_EQ(basic->password.expose(), "a:b\xc3\xbc");
  EXPECT_EQ(parse_basic("Basic " + base64_encode("anna:"))->password.expose(), "");
  using namespace std::string_literals;
  for (const auto& wrong : {"Basic"s, "Basic "s, "Basic !!!"s, "Bearer x"s, "Basic" + base64_encode("a:b"),
                            "Basic " + base64_encode("anna"), "Basic " + base64_encode(":secret"),
                            "Basic " + base64_encode("an\0na:x"s), "Basic " + base64_encode("anna:x\0y"s)})
    EXPECT_FALSE(parse_basic(wrong)) << wrong;
}

TEST(Http, Bearer) {
  EXPECT_EQ(parse_bearer("BEARER  abc ")->expose(), "abc");
  for (const auto* wrong : {"Bearer", "Bearer ", "Bearerabc", "Basic abc", ""})
    EXPECT_FALSE(parse_bearer(wrong)) << wrong;
}

TEST(Http, Cookies) {
  EXPECT_EQ(cookie_value("a=1; __Host-postern=pst_x; b=2", "__Host-postern"), "pst_x");
  EXPECT_EQ(cookie_value("a=\"quoted\"", "a"), "quoted");
  EXPECT_EQ(cookie_value("a=", "a"), "");
  EXPECT_EQ(cookie_value("ba=1;a=2", "a"), "2");
  EXPECT_EQ(cookie_value("a=b=c", "a"), "b=c");
  EXPECT_EQ(cookie_value("a=\"", "a"), "\"");
  for (const auto* none : {"", ";", "a", "A=1", "x=a=1"})
    EXPECT_EQ(cookie_value(none, "a"), std::nullopt) << none;
}

TEST(Http, JwtClaims) {
  const auto token = [](std::string_view payload) { return "e30." + base64url_encode(payload) + ".c2ln"; };
  const std::vector<std::string> names{"email", "sub"};
  EXPECT_EQ(jwt_claim(token(R"({"sub":"s","email":"anna@example.com"})"), names), "anna@example.com");
  EXPECT_EQ(jwt_claim(token(R"({"sub":"s","email":7})"), names), "s");
  EXPECT_EQ(jwt_claim(token(R"({"sub":"s","email":""})"), names), "s");
  for (const auto& wrong :
       {token("{}"), token("[]"), token("{\"sub\":"), std::string("a.b"), std::string("a.!.c"), std::string(),
        token("{\"sub\":\"\xff\"}"), token(std::string("{\"sub\":\"s\"}\0", 12))})
    EXPECT_EQ(jwt_claim(wrong, names), std::nullopt) << wrong;
  std::string deep(100'000, '[');
  EXPECT_EQ(jwt_claim(token(deep), names), std::nullopt);
}

TEST(Http, BaseUrl) {
  auto head = head_of("/x", "/mail");
  EXPECT_EQ(base_url(head, {}, false), "https://mail.example.com/mail");
  EXPECT_EQ(base_url(head, "https://other.example/p", true), "https://other.example/p");
  head.fields = {{"x-forwarded-proto", "https, http"},
                 {"x-forwarded-host", "evil.example, front.example:8443"}};
  EXPECT_EQ(base_url(head, {}, false), "https://mail.example.com/mail");
  // What our own proxy has written is the last one.
  EXPECT_EQ(base_url(head, {}, true), "http://front.example:8443/mail");
  head.fields = {{"x-forwarded-proto", "javascript"}, {"x-forwarded-host", "a\"b"}};
  EXPECT_EQ(base_url(head, {}, true), "https://mail.example.com/mail");
  head.host = "evil/<script>";
  head.scheme = "gopher";
  EXPECT_EQ(base_url(head, {}, false), "https://localhost/mail");
  head.script_name = "/";
  EXPECT_EQ(base_url(head, {}, false), "https://localhost");
}

TEST(Http, ClientAddress) {
  auto head = head_of("/x");
  head.remote_address = "10.0.0.1";
  head.fields = {{"x-forwarded-for", "1.2.3.4, 192.0.2.7"}};
  const std::vector<std::string> proxies{"10.0.0.0/8", "unix"};
  EXPECT_EQ(client_address(head, {}), "10.0.0.1");
  EXPECT_EQ(client_address(head, proxies), "192.0.2.7");
  // What the client itself has sent stands before that, in the same line or in one of its own.
  head.fields = {{"x-forwarded-for", "1.2.3.4"}, {"x-forwarded-for", "192.0.2.7"}};
  EXPECT_EQ(client_address(head, proxies), "192.0.2.7");
  // Several proxies of ours.
  head.fields = {{"x-forwarded-for", "1.2.3.4, 192.0.2.7, 10.9.9.9"}};
  EXPECT_EQ(client_address(head, proxies), "192.0.2.7");
  head.fields = {{"x-forwarded-for", "192.0.2.7"}, {"x-forwarded-for", "10.9.9.9"}};
  EXPECT_EQ(client_address(head, proxies), "192.0.2.7");
  head.fields = {{"x-forwarded-for", "10.1.1.1, 10.9.9.9"}};
  EXPECT_EQ(client_address(head, proxies), "10.1.1.1");
  // Some write ports.
  for (const auto& [element, address] : {std::pair{"192.0.2.7:4711", "192.0.2.7"},
                                         {"[2001:db8::1]:443", "2001:db8::1"},
                                         {"[2001:db8::1]", "2001:db8::1"},
                                         {"2001:db8::1", "2001:db8::1"},
                                         {"[", "10.0.0.1"},
                                         {":", "10.0.0.1"}}) {
    head.fields = {{"x-forwarded-for", element}};
    EXPECT_EQ(client_address(head, proxies), address) << element;
  }
  head.fields = {{"x-forwarded-for", "10.1.1.1, 10.9.9.9"}};
  head.remote_address.clear();
  EXPECT_EQ(client_address(head, proxies), "10.1.1.1");
  EXPECT_EQ(client_address(head, {"10.0.0.0/8"}), "");
  head.remote_address = "10.0.0.1";
  for (const char* none : {"unknown", "", ",", "1.2.3.4, ", "1.2.3.4, unknown"}) {
    head.fields = {{"x-forwarded-for", none}};
    EXPECT_EQ(client_address(head, proxies), "10.0.0.1") << none;
  }
}

TEST(Http, AddressesAndPrefixes) {
  struct Case {
    const char *rule, *address;
    bool matches;
  };
  for (const auto& [rule, address, matches] : {
           Case{"192.0.2.1", "192.0.2.1", true},
           Case{"192.0.2.1", "192.0.2.2", false},
           Case{"192.0.2.0/24", "192.0.2.255", true},
           Case{"192.0.2.0/24", "192.0.3.0", false},
           Case{"192.0.2.128/25", "192.0.2.127", false},
           Case{"192.0.2.128/25", "192.0.2.128", true},
           Case{"0.0.0.0/0", "203.0.113.9", true},
           Case{"0.0.0.0/0", "::1", false},
           Case{"192.0.2.1/32", "192.0.2.1", true},
           Case{"192.0.2.1/33", "192.0.2.1", false},
           Case{"192.0.2.1/", "192.0.2.1", false},
           Case{"192.0.2.1/-1", "192.0.2.1", false},
           Case{"192.0.2.1/8x", "192.0.2.1", false},
           Case{"2001:db8::/32", "2001:db8:ffff::1", true},
           Case{"2001:db8::/33", "2001:db8:8000::1", false},
           Case{"2001:db8::1/128", "2001:db8::1", true},
           Case{"2001:db8::1/129", "2001:db8::1", false},
           Case{"::1", "::1", true},
           Case{"::1", "127.0.0.1", false},
           Case{"unix", "", true},
           Case{"unix", "127.0.0.1", false},
           Case{"127.0.0.1", "", false},
           Case{"localhost", "127.0.0.1", false},
           Case{"", "127.0.0.1", false},
       })
    EXPECT_EQ(address_matches(rule, address), matches) << rule << " " << address;
}

TEST(Http, Origins) {
  EXPECT_EQ(origin_of("HTTPS://Mail.Example.COM:8443/x/y"), "https://mail.example.com:8443");
  EXPECT_EQ(origin_of("https://mail.example.com"), "https://mail.example.com");
  EXPECT_EQ(origin_of("null"), "");
  EXPECT_EQ(origin_of(""), "");
}

TEST(Http, MediaTypes) {
  EXPECT_EQ(media_type("Application/JSON; charset=utf-8"), "application/json");
  EXPECT_EQ(media_type(""), "");
  for (const auto* good : {"text/plain", "text/plain; charset=utf-8", "application/vnd.x+json"})
    EXPECT_TRUE(is_media_type(good)) << good;
  for (const auto& bad :
       {std::string("text"), std::string("/"), std::string("text/"), std::string("/plain"),
        std::string("text/plain\r\nSet-Cookie: a=b"), std::string("text/pl ain"),
        std::string("text/plain;\x01"), "text/" + std::string(251, 'a'), std::string("text/pl\xc3\xbcn")})
    EXPECT_FALSE(is_media_type(bad)) << bad;
  EXPECT_TRUE(is_media_type("text/" + std::string(250, 'a')));
}

TEST(Http, ContentDisposition) {
  EXPECT_EQ(content_disposition("report.pdf"), "attachment; filename=\"report.pdf\"");
  EXPECT_EQ(content_disposition(""), "attachment");
  EXPECT_EQ(content_disposition("\xc3\xbc.txt"),
            "attachment; filename=\"__.txt\"; filename*=UTF-8''%C3%BC.txt");
}

// No file name ends the field, or its quoted string, or names a folder.
TEST(Http, ContentDispositionLetsNothingOut) {
  using namespace std::string_literals;
  for (const auto& name : {"a\r\nSet-Cookie: x=y"s, "a\"; filename=\"b.exe"s, "a\\\"b"s, "../../etc/passwd"s,
                           "a\0b"s, "\xff\xfe"s, "%22"s, "a\x7f\x1b[2J"s, "''"s, "x;y=z"s}) {
    const auto value = content_disposition(name);
    const std::string_view prefix = "attachment; filename=\"";
    ASSERT_TRUE(value.starts_with(prefix)) << value;
    const auto end = value.find('"', prefix.size());
    ASSERT_NE(end, std::string::npos);
    const auto rest = value.substr(end + 1);
    EXPECT_TRUE(rest.empty() || rest.starts_with("; filename*=UTF-8''")) << value;
    for (char c : value) EXPECT_TRUE(c >= 0x20 && c < 0x7F) << value;
    EXPECT_EQ(rest.find('"'), std::string::npos) << value;
    const auto plain = value.substr(prefix.size(), end - prefix.size());
    EXPECT_EQ(plain.find_first_of("/\\%\"\r\n"), std::string::npos) << value;
  }
}

TEST(Http, ResponseHead) {
  jmap::ApiResponse response;
  response.status = 503;
  response.body = "{}";
  response.retry_after = "10";
  const auto head = response_head(response);
  EXPECT_EQ(head.status, 503);
  EXPECT_EQ(ipc::field(head.fields, "content-length"), "2");
  EXPECT_EQ(ipc::field(head.fields, "content-type"), "application/json; charset=utf-8");
  EXPECT_EQ(ipc::field(head.fields, "retry-after"), "10");
  EXPECT_THAT(std::string(ipc::field(head.fields, "cache-control")), HasSubstr("no-store"));
}

TEST(Http, RangesOfOctets) {
  const auto range = [](std::string_view field, std::uint64_t size) -> std::string {
    const auto parsed = parse_range(field);
    if (!parsed) return "ignored";
    const auto part = resolve_range(*parsed, size);
    return part ? std::to_string(part->first) + "+" + std::to_string(part->second) : "unsatisfiable";
  };
  EXPECT_EQ(range("bytes=0-9", 100), "0+10");
  EXPECT_EQ(range("Bytes= 5-5", 100), "5+1");
  EXPECT_EQ(range("bytes=90-", 100), "90+10");
  EXPECT_EQ(range("bytes=90-1000", 100), "90+10");
  EXPECT_EQ(range("bytes=-7", 100), "93+7");
  EXPECT_EQ(range("bytes=-700", 100), "0+100");
  EXPECT_EQ(range("bytes=100-", 100), "unsatisfiable");
  EXPECT_EQ(range("bytes=-0", 100), "unsatisfiable");
  EXPECT_EQ(range("bytes=0-", 0), "unsatisfiable");
  EXPECT_EQ(range("bytes=-5", 0), "unsatisfiable");
  for (const char* field :
       {"", "bytes", "bytes=", "bytes=-", "bytes=5", "bytes=9-5", "bytes=0-1,3-4", "bytes=a-b",
        "bytes=0-18446744073709551616", "lines=0-9", "bytes=+1-2", "bytes=--1"})
    EXPECT_EQ(range(field, 100), "ignored") << field;
}

TEST(Http, EntityTags) {
  for (const char* field : {"\"a\"", "*", "W/\"a\"", "\"b\", \"a\"", "\"b\",W/\"a\" "})
    EXPECT_TRUE(names_etag(field, "\"a\"")) << field;
  for (const char* field : {"", "a", "\"b\"", "\"ab\"", ",", "W/*a"})
    EXPECT_FALSE(names_etag(field, "\"a\"")) << field;
}

}  // namespace
}  // namespace postern::broker
