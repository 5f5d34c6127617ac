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
    GateView view;
    view.liveness = [&](const store::TokenHash& hash) {
      ++asked;
      EXPECT_EQ(hash, store::hash_token(token));
      return liveness;
    };
    view.usage = [this](const store::TokenHash&) { return usage; };
    view.limits = body_limits;
    view.now = now;
    const auto answer = refuse(head, options, view);
    if (answer) last = *answer;
    return answer ? answer->head.status : 0;
  }
  void show(std::string name, std::string value) {
    head.fields.emplace_back(std::move(name), std::move(value));
  }

  std::string token;
  ipc::RequestHead head;
  GateOptions options;
  std::optional<store::UsageRecord> usage;
  std::optional<store::BodyLimits> body_limits;
  std::int64_t now = 1'700'000'100;
  Answer last;
  int asked = 0;
};

TEST_F(GateTest, BodiesAreAsLargeAsTheBrokerSays) {
  body_limits = store::BodyLimits{50, 80};
  head.content_length = 50;
  EXPECT_EQ(refused(store::Liveness::live), 0U);
  head.content_length = 51;
  EXPECT_EQ(refused(store::Liveness::live), 413U);
  head.target = "/jmap/upload/a";
  EXPECT_EQ(refused(store::Liveness::live), 0U);
  head.content_length = 80;
  EXPECT_EQ(refused(store::Liveness::live), 0U);
  head.content_length = 81;
  EXPECT_EQ(refused(store::Liveness::live), 413U);
  body_limits = store::BodyLimits{1'000, 1'000};  // the worker's own is for when the broker's isn't known
  head.content_length = 1'000;
  EXPECT_EQ(refused(store::Liveness::live), 0U);
  head.content_length = 1'001;
  EXPECT_EQ(refused(store::Liveness::live), 413U);
}

TEST_F(GateTest, UploadsBeyondThePlanAreRefusedBeforeTheirBodyIsRead) {
  show("authorization", "Bearer " + token);
  usage.emplace();
  usage->terms.plan = "small";
  usage->terms.limits[static_cast<std::size_t>(limits::Limit::files_hour)] = 60;
  limits::Windows(usage->words).add(limits::amount_of(limits::Count::files, 20), now);
  head.content_length = 41;
  EXPECT_EQ(refused(store::Liveness::live), 0U);  // no upload
  head.target = "/jmap/upload/a";
  EXPECT_EQ(refused(store::Liveness::live), 429U);
  EXPECT_EQ(ipc::field(last.head.fields, "retry-after"), "3900");
  EXPECT_NE(last.body.find(R"("limit":"filesPerHour","plan":"small","amount":60,"used":20,"asked":41)"),
            std::string::npos)
      << last.body;
  head.content_length = 40;
  EXPECT_EQ(refused(store::Liveness::live), 0U);
  head.content_length = 41;
  usage->terms.extra[static_cast<std::size_t>(limits::Limit::files_hour)] = 1;
  usage->terms.extra_until = now + 1;
  EXPECT_EQ(refused(store::Liveness::live), 0U);
  ++now;
  EXPECT_EQ(refused(store::Liveness::live), 429U);
  usage.reset();  // not known here: the broker decides
  EXPECT_EQ(refused(store::Liveness::live), 0U);
}

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
