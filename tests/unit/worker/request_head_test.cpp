// FastCGI parameters to a request head.
#include "worker/request_head.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "worker/limits.hpp"

namespace postern::worker {
namespace {

class Zeros final : public Random {
  void fill(std::span<std::uint8_t> out) override { std::ranges::fill(out, std::uint8_t{0}); }
};

std::expected<ipc::RequestHead, Rejection> head_of(std::vector<std::string> parameters,
                                                   HeadOptions options = {}) {
  std::vector<const char*> environment;
  for (const auto& parameter : parameters) environment.push_back(parameter.c_str());
  environment.push_back(nullptr);
  Zeros random;
  return request_head(environment.data(), options, random);
}

std::vector<std::string> get(std::vector<std::string> more, std::string target = "/jmap/session") {
  more.push_back("REQUEST_METHOD=GET");
  more.push_back("REQUEST_URI=" + target);
  return more;
}

TEST(RequestHead, TakesWhatIsListed) {
  const auto head = head_of(get({"HTTP_HOST=h", "REMOTE_ADDR=::1", "REMOTE_USER=u", "CONTENT_LENGTH=12",
                                 "CONTENT_TYPE=application/json", "HTTP_COOKIE=a=b", "HTTP_PROXY=evil",
                                 "DOCUMENT_ROOT=/var/www", "HTTP_IF_NONE_MATCH=\"x\""}));
  ASSERT_TRUE(head);
  EXPECT_EQ(head->host, "h");
  EXPECT_EQ(head->remote_address, "::1");
  EXPECT_EQ(head->remote_user, "u");
  EXPECT_EQ(head->content_length, 12u);
  EXPECT_EQ(head->fields.size(), 3u);
  EXPECT_EQ(ipc::field(head->fields, "content-type"), "application/json");
  EXPECT_EQ(ipc::field(head->fields, "cookie"), "a=b");
  EXPECT_EQ(ipc::field(head->fields, "if-none-match"), "\"x\"");
}

TEST(RequestHead, EveryListedFieldIsFound) {
  for (const auto& [parameter, name] : request_fields()) {
    const auto head = head_of(get({std::string(parameter) + "=v"}));
    ASSERT_TRUE(head);
    EXPECT_EQ(ipc::field(head->fields, name), "v") << name;
  }
}

TEST(RequestHead, Scheme) {
  EXPECT_EQ(head_of(get({}))->scheme, "http");
  EXPECT_EQ(head_of(get({"HTTPS=on"}))->scheme, "https");
  EXPECT_EQ(head_of(get({"HTTPS=off"}))->scheme, "http");
  EXPECT_EQ(head_of(get({"REQUEST_SCHEME=https"}))->scheme, "https");
  EXPECT_EQ(head_of(get({"REQUEST_SCHEME=gopher", "HTTPS=1"}))->scheme, "https");
}

TEST(RequestHead, ContentLength) {
  EXPECT_FALSE(head_of(get({"CONTENT_LENGTH="}))->content_length);
  EXPECT_EQ(head_of(get({"CONTENT_LENGTH=0"}))->content_length, 0u);
  EXPECT_EQ(head_of(get({"CONTENT_LENGTH=18446744073709551615"}))->content_length, 18446744073709551615u);
  for (const char* wrong : {"18446744073709551616", "-1", "+1", "1x", " 1", "0x1"}) {
    const auto head = head_of(get({std::string("CONTENT_LENGTH=") + wrong}));
    ASSERT_FALSE(head) << wrong;
    EXPECT_EQ(head.error().status, 400u);
  }
}

TEST(RequestHead, RequestIdAtTheLimitsAndOnePast) {
  const auto id_of = [](std::string id) { return head_of(get({"HTTP_X_REQUEST_ID=" + id}))->id; };
  const std::string made(24, '0');
  EXPECT_EQ(id_of(std::string(request_id_bytes_min, 'a')), std::string(request_id_bytes_min, 'a'));
  EXPECT_EQ(id_of(std::string(request_id_bytes_min - 1, 'a')), made);
  EXPECT_EQ(id_of(std::string(request_id_bytes_max, 'Z')), std::string(request_id_bytes_max, 'Z'));
  EXPECT_EQ(id_of(std::string(request_id_bytes_max + 1, 'Z')), made);
  EXPECT_EQ(id_of("ZR7@kX8AAQEAAB-bQyIAAAAB"), "ZR7@kX8AAQEAAB-bQyIAAAAB") << "mod_unique_id's";
  EXPECT_EQ(id_of("with space"), made);
  EXPECT_EQ(id_of("quote\"quote"), made);
  EXPECT_EQ(head_of(get({}))->id, made);
}

TEST(RequestHead, WithoutMethodOrPath) {
  EXPECT_FALSE(head_of({"REQUEST_METHOD=GET"}));
  EXPECT_FALSE(head_of({"REQUEST_URI=/"}));
  EXPECT_FALSE(head_of({"REQUEST_METHOD=GET", "REQUEST_URI=http://h/"}));
  EXPECT_FALSE(head_of({"REQUEST_METHOD=OPTIONS", "REQUEST_URI=*"}));
  EXPECT_FALSE(head_of({}));
  EXPECT_TRUE(head_of({"nonsense", "REQUEST_METHOD=GET", "REQUEST_URI=/"}));
}

TEST(RequestHead, Prefix) {
  const auto prefix_of = [](std::vector<std::string> more, HeadOptions options, std::string target) {
    return head_of(get(std::move(more), std::move(target)), std::move(options))->script_name;
  };
  EXPECT_EQ(prefix_of({}, {"/mail", false}, "/mail/jmap/api"), "/mail");
  EXPECT_EQ(prefix_of({}, {"/mail", false}, "/mailbox/api"), "");
  EXPECT_EQ(prefix_of({}, {"/mail", false}, "/mail"), "");
  EXPECT_EQ(prefix_of({}, {"/mail", false}, "/?/mail/"), "");
  EXPECT_EQ(prefix_of({"POSTERN_PREFIX=/web/mail/"}, {"/mail", false}, "/web/mail/jmap"), "/web/mail");
  EXPECT_EQ(prefix_of({"SCRIPT_NAME=/mail"}, {"", false}, "/mail/jmap"), "");
  EXPECT_EQ(prefix_of({"SCRIPT_NAME=/mail"}, {"", true}, "/mail/jmap"), "/mail");
  EXPECT_EQ(prefix_of({"SCRIPT_NAME=/mail/jmap"}, {"", true}, "/mail/jmap?x"), "")
      << "the whole path, as nginx says";
}

TEST(RequestHead, TheWellKnownUrlIsAtTheRootAndLeadsBelowThePrefix) {
  const auto well_known = [](std::vector<std::string> more, HeadOptions options) {
    auto head = *head_of(get(std::move(more), "/.well-known/jmap?x"), std::move(options));
    EXPECT_EQ(path_of(head), "/.well-known/jmap");
    return head.script_name;
  };
  EXPECT_EQ(well_known({}, {"/mail", false}), "/mail");
  EXPECT_EQ(well_known({"POSTERN_PREFIX=/web/mail/"}, {"", false}), "/web/mail");
  EXPECT_EQ(well_known({}, {"", false}), "");
  EXPECT_EQ(well_known({"SCRIPT_NAME=/.well-known/jmap"}, {"", true}), "");
  EXPECT_EQ(well_known({"POSTERN_PREFIX=https://evil.example"}, {"", false}), "");
}

TEST(RequestHead, PathBehindThePrefix) {
  auto head = *head_of(get({}, "/mail/jmap/api?x=/auth/"), {"/mail", false});
  EXPECT_EQ(path_of(head), "/jmap/api");
}

TEST(RequestHead, AuthorizationAfterARewrite) {
  const auto head = head_of(get({"REDIRECT_HTTP_AUTHORIZATION=Basic x"}));
  EXPECT_EQ(ipc::field(head->fields, "authorization"), "Basic x");
  const auto both = head_of(get({"HTTP_AUTHORIZATION=Basic y", "REDIRECT_HTTP_AUTHORIZATION=Basic x"}));
  EXPECT_EQ(ipc::field(both->fields, "authorization"), "Basic y");
}

TEST(EncodeHead, StatusOfWhatIsRefused) {
  auto head = *head_of(get({}));
  EXPECT_TRUE(encode_head(head));
  head.host = "a\rb";
  EXPECT_EQ(encode_head(head).error().status, 400u);
  head.host.assign(ipc::head_bytes_max, 'h');
  EXPECT_EQ(encode_head(head).error().status, 431u);
}

}  // namespace
}  // namespace postern::worker
