// What a worker refuses itself.
#include "worker/gate.hpp"

#include <gtest/gtest.h>

#include "postern/base/crypto.hpp"
#include "worker/request_head.hpp"

namespace postern::worker {
namespace {

struct GateTest : ::testing::Test {
  GateTest() {
    SystemRandom random;
    token = std::string(store::make_token(random).expose());
    head.method = "POST";
    head.target = "/jmap/api";
    options.request_bytes_max = 100;
  }
  unsigned refused(store::Liveness liveness) {
    asked = 0;
    const auto answer = refuse(head, options, [&](const store::TokenHash& hash) {
      ++asked;
      EXPECT_EQ(hash, store::hash_token(token));
      return liveness;
    });
    return answer ? answer->head.status : 0;
  }
  void show(std::string name, std::string value) {
    head.fields.emplace_back(std::move(name), std::move(value));
  }

  std::string token;
  ipc::RequestHead head;
  GateOptions options;
  int asked = 0;
};

TEST_F(GateTest, EveryLiveness) {
  show("authorization", "Bearer " + token);
  EXPECT_EQ(refused(store::Liveness::live), 0u);
  EXPECT_EQ(refused(store::Liveness::no_segment), 0u);
  EXPECT_EQ(refused(store::Liveness::unknown_token), 401u);
  EXPECT_EQ(refused(store::Liveness::expired), 401u);
}

TEST_F(GateTest, BearerInAnyCaseAndWithSpaces) {
  show("authorization", "bEARER   " + token + " ");
  EXPECT_EQ(refused(store::Liveness::expired), 401u);
}

TEST_F(GateTest, WhatIsNotOurTokenGoesToTheBroker) {
  for (const auto& value : {std::string("Bearer eyJhbGciOi"), std::string("Basic YW5uYTpzZWNyZXQ="),
                            std::string("Bearer"), std::string("Bearer "), "Bearer" + token}) {
    head.fields.clear();
    show("authorization", value);
    EXPECT_EQ(refused(store::Liveness::unknown_token), 0u) << value;
    EXPECT_EQ(asked, 0) << value;
  }
}

TEST_F(GateTest, CookiesByBothNames) {
  for (const auto& cookies : {"__Host-postern=" + token, "a=b; postern=" + token + "; c=d",
                              "postern=\"" + token + "\"", "xpostern=no;postern=" + token}) {
    head.fields.clear();
    show("cookie", cookies);
    EXPECT_EQ(refused(store::Liveness::expired), 401u) << cookies;
    EXPECT_EQ(refused(store::Liveness::live), 0u) << cookies;
  }
  options.cookie_name = "other";
  head.fields.clear();
  show("cookie", "__Host-postern=" + token);
  EXPECT_EQ(refused(store::Liveness::expired), 0u);
}

TEST_F(GateTest, AnAuthorizationFieldGoesBeforeACookie) {
  show("authorization", "Basic YW5uYTpzZWNyZXQ=");
  show("cookie", "postern=" + token);
  EXPECT_EQ(refused(store::Liveness::expired), 0u);
  EXPECT_EQ(asked, 0);
}

TEST_F(GateTest, WhomTheWebServerKnowsIsNotLockedOutByADeadCookie) {
  head.remote_user = "alice";
  show("cookie", "postern=" + token);
  EXPECT_EQ(refused(store::Liveness::unknown_token), 0u);
  EXPECT_EQ(asked, 0);
  // A token that is shown on purpose counts, as it does at the broker.
  show("authorization", "Bearer " + token);
  EXPECT_EQ(refused(store::Liveness::unknown_token), 401u);
}

TEST_F(GateTest, SigningInIsPossibleWithADeadCookie) {
  show("cookie", "postern=" + token);
  head.target = "/auth/login";
  EXPECT_EQ(refused(store::Liveness::expired), 0u);
  head.target = "/mail/auth/login";
  EXPECT_EQ(refused(store::Liveness::expired), 401u);
  head.script_name = "/mail";
  EXPECT_EQ(refused(store::Liveness::expired), 0u);
}

TEST_F(GateTest, BodyAtTheLimitAndOnePast) {
  head.content_length = 100;
  EXPECT_EQ(refused(store::Liveness::live), 0u);
  head.content_length = 101;
  EXPECT_EQ(refused(store::Liveness::live), 413u);
  EXPECT_EQ(body_limit_name(head), "maxSizeRequest");
  head.target = "/jmap/upload/a1/";
  EXPECT_EQ(body_limit_name(head), "maxSizeUpload");
}

TEST_F(GateTest, ADeadSessionIsToldBeforeALargeBody) {
  show("authorization", "Bearer " + token);
  head.content_length = 101;
  EXPECT_EQ(refused(store::Liveness::expired), 401u);
}

TEST(Cookie, FindsWholeNamesOnly) {
  EXPECT_EQ(find_cookie("a=1; b=2", "b"), "2");
  EXPECT_EQ(find_cookie("ab=1;b=", "b"), "");
  EXPECT_EQ(find_cookie("ab=1", "b"), std::nullopt);
  EXPECT_EQ(find_cookie("b", "b"), std::nullopt);
  EXPECT_EQ(find_cookie("", "b"), std::nullopt);
  EXPECT_EQ(find_cookie(";;; b=x;b=y", "b"), "x");
}

TEST(Problem, DocumentsAreJson) {
  const auto answer = unavailable(Unavailable::broker_away);
  EXPECT_EQ(answer.head.status, 503);
  EXPECT_EQ(ipc::field(answer.head.fields, "content-length"), std::to_string(answer.body.size()));
  EXPECT_FALSE(ipc::field(answer.head.fields, "retry-after").empty());
  EXPECT_TRUE(
      answer.body.starts_with(R"({"type":"about:blank","title":"Service Unavailable","status":503,)"));
  EXPECT_EQ(problem(400, R"(a"b\c)").body,
            R"({"type":"about:blank","title":"Bad Request","status":400,"detail":"a\"b\\c"})");
  EXPECT_TRUE(ipc::field(unavailable(Unavailable::outcome_unknown).head.fields, "retry-after").empty());
}

}  // namespace
}  // namespace postern::worker
