// Heads: there and back, cut at every octet, bounds at the limit and one past it, what is malformed.
#include <gtest/gtest.h>

#include "postern/ipc/frame.hpp"

namespace postern::ipc {
namespace {

RequestHead sample() {
  RequestHead head;
  head.id = "0123456789abcdef";
  head.method = "POST";
  head.scheme = "https";
  head.host = "mail.example.org";
  head.target = "/jmap/api?x=1";
  head.script_name = "/jmap";
  head.remote_address = "2001:db8::1";
  head.remote_user = "anna";
  head.content_length = 0x1'0000'0001;
  head.fields = {{"content-type", "application/json"}, {"cookie", "a=b; c=\"d\""}, {"accept", ""}};
  return head;
}

TEST(RequestHead, ThereAndBack) {
  const auto head = sample();
  const auto bytes = encode_request_head(head);
  ASSERT_TRUE(bytes);
  const auto read = parse_request_head(*bytes);
  ASSERT_TRUE(read) << read.error().to_string();
  EXPECT_EQ(read->id, head.id);
  EXPECT_EQ(read->method, head.method);
  EXPECT_EQ(read->scheme, head.scheme);
  EXPECT_EQ(read->host, head.host);
  EXPECT_EQ(read->target, head.target);
  EXPECT_EQ(read->script_name, head.script_name);
  EXPECT_EQ(read->remote_address, head.remote_address);
  EXPECT_EQ(read->remote_user, head.remote_user);
  EXPECT_EQ(read->content_length, head.content_length);
  EXPECT_EQ(read->fields, head.fields);
}

TEST(RequestHead, WithoutContentLength) {
  auto head = sample();
  head.content_length.reset();
  head.fields.clear();
  const auto read = parse_request_head(encode_request_head(head).value());
  ASSERT_TRUE(read);
  EXPECT_FALSE(read->content_length);
  EXPECT_TRUE(read->fields.empty());
}

TEST(RequestHead, EveryPrefixIsMalformed) {
  const auto bytes = encode_request_head(sample()).value();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto read = parse_request_head(std::string_view(bytes).substr(0, size));
    ASSERT_FALSE(read) << size;
    EXPECT_EQ(read.error().code, make_error_code(Errc::bad_head));
  }
  EXPECT_FALSE(parse_request_head(bytes + "x"));
}

TEST(RequestHead, SizeAtTheLimitAndOnePast) {
  auto head = sample();
  head.target = "/";
  head.target.append(head_bytes_max - encode_request_head(head)->size(), 'a');
  const auto bytes = encode_request_head(head);
  ASSERT_TRUE(bytes);
  EXPECT_EQ(bytes->size(), head_bytes_max);
  EXPECT_EQ(parse_request_head(*bytes)->target, head.target);
  head.target += 'a';
  const auto past = encode_request_head(head);
  ASSERT_FALSE(past);
  EXPECT_EQ(past.error().code, make_error_code(Errc::too_large));
  EXPECT_EQ(parse_request_head(std::string(head_bytes_max + 1, '\0')).error().code,
            make_error_code(Errc::too_large));
  head.target.assign(1'000'000, 'a');  // far past what a text's length can say
  EXPECT_FALSE(encode_request_head(head));
}

TEST(RequestHead, FieldsAtTheLimitAndOnePast) {
  auto head = sample();
  head.fields.assign(head_fields_max, {"x", "y"});
  auto bytes = encode_request_head(head);
  ASSERT_TRUE(bytes);
  EXPECT_EQ(parse_request_head(*bytes)->fields.size(), head_fields_max);
  head.fields.emplace_back("x", "y");
  EXPECT_EQ(encode_request_head(head).error().code, make_error_code(Errc::too_large));
  // The same, as a peer might send it: the count stands before the 200 fields of 6 octets each.
  const auto count_at = bytes->size() - head_fields_max * 6 - 2;
  (*bytes)[count_at] = static_cast<char>(head_fields_max + 1);
  bytes->append(std::string("\1\0x\1\0y", 6));
  EXPECT_EQ(parse_request_head(*bytes).error().code, make_error_code(Errc::too_large));
}

TEST(RequestHead, RefusesControlCharactersAndBadNames) {
  for (const char* value : {"a\nb", "a\rb", "a\x7f", "\x1b[2J"}) {
    auto head = sample();
    head.fields[0].second = value;
    EXPECT_FALSE(encode_request_head(head)) << value;
    head = sample();
    head.target = value;
    EXPECT_FALSE(encode_request_head(head)) << value;
  }
  auto with_nul = sample();
  with_nul.host = std::string("a\0b", 3);
  EXPECT_FALSE(encode_request_head(with_nul));
  for (const char* name : {"", "Content-Type", "a b", "a:", "\xc3\xa4"}) {
    auto head = sample();
    head.fields[0].first = name;
    EXPECT_FALSE(encode_request_head(head)) << name;
  }
  for (const char* method : {"", "GE T", "GET\n"}) {
    auto head = sample();
    head.method = method;
    EXPECT_FALSE(encode_request_head(head)) << method;
  }
  auto tab = sample();
  tab.fields[0].second = "a\tb \xc3\xa4";
  EXPECT_TRUE(encode_request_head(tab));
}

TEST(RequestHead, AReaderTrustsNoWriter) {
  auto bytes = encode_request_head(sample()).value();
  const auto at = bytes.find("application/json");
  bytes[at + 3] = '\n';
  EXPECT_EQ(parse_request_head(bytes).error().code, make_error_code(Errc::bad_head));
}

TEST(ResponseHead, ThereAndBackAndEveryPrefix) {
  const ResponseHead head{404, {{"content-type", "application/problem+json"}, {"retry-after", "5"}}};
  const auto bytes = encode_response_head(head).value();
  const auto read = parse_response_head(bytes);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->status, 404);
  EXPECT_EQ(read->fields, head.fields);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(parse_response_head(std::string_view(bytes).substr(0, size))) << size;
  }
  EXPECT_FALSE(parse_response_head(bytes + '\0'));
}

TEST(ResponseHead, StatusAtTheLimits) {
  for (std::uint16_t status : {199, 600, 0, 65535})
    EXPECT_FALSE(encode_response_head({status, {}})) << status;
  for (std::uint16_t status : {200, 599}) {
    EXPECT_EQ(parse_response_head(encode_response_head({status, {}}).value())->status, status);
  }
  EXPECT_FALSE(parse_response_head(std::string("\xc7\0\0\0", 4))) << "199, from a peer";
}

TEST(ResponseHead, RefusesAFieldThatWouldBecomeTwo) {
  EXPECT_FALSE(encode_response_head({200, {{"location", "/\r\nset-cookie: x=y"}}}));
}

TEST(ResponseHead, SizeAtTheLimitAndOnePast) {
  ResponseHead head{200, {{"x", ""}}};
  head.fields[0].second.assign(head_bytes_max - encode_response_head(head)->size(), 'v');
  EXPECT_EQ(encode_response_head(head)->size(), head_bytes_max);
  head.fields[0].second += 'v';
  EXPECT_EQ(encode_response_head(head).error().code, make_error_code(Errc::too_large));
}

TEST(Field, FirstOfItsName) {
  const Fields fields{{"a", "1"}, {"b", "2"}, {"a", "3"}};
  EXPECT_EQ(field(fields, "a"), "1");
  EXPECT_EQ(field(fields, "b"), "2");
  EXPECT_EQ(field(fields, "c"), "");
}

}  // namespace
}  // namespace postern::ipc
