// PushSubscription/get and /set (RFC 8620, 7.2) over subscriptions of the test's own.
#include "postern/jmap/push_subscriptions.hpp"

#include "unit/jmap/api_fixture.hpp"

namespace postern::jmap {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct FakeSubscriptions final : PushSubscriptions {
  std::vector<PushSubscriptionInfo> known;
  std::vector<NewPushSubscription> made;
  std::vector<PushSubscriptionPatch> patches;
  std::optional<std::int64_t> latest;  // what `expires` is cut to

  io::Task<std::vector<PushSubscriptionInfo>> all() override { co_return known; }
  io::Task<Outcome> create(NewPushSubscription wanted) override {
    if (wanted.device_client_id == "one too many")
      co_return std::unexpected(mail::SetOutcome{false, "overQuota", "too many", {}});
    PushSubscriptionInfo info{"p" + std::to_string(known.size() + 1), wanted.device_client_id, std::nullopt,
                              latest ? latest : wanted.expires, wanted.types};
    made.push_back(std::move(wanted));
    known.push_back(info);
    co_return info;
  }
  io::Task<Outcome> update(std::string id, PushSubscriptionPatch patch) override {
    for (auto& one : known) {
      if (one.id != id) continue;
      if (patch.verification_code) one.verification_code = patch.verification_code;
      if (patch.expires) one.expires = latest ? latest : *patch.expires;
      if (patch.types) one.types = *patch.types;
      patches.push_back(std::move(patch));
      co_return one;
    }
    co_return std::unexpected(mail::SetOutcome{false, "notFound", "", {}});
  }
  io::Task<mail::SetOutcome> destroy(std::string id) override {
    const bool there = std::erase_if(known, [&](const auto& one) { return one.id == id; }) == 1;
    co_return there ? mail::SetOutcome{true, {}, {}, {}} : mail::SetOutcome{false, "notFound", "", {}};
  }
};

constexpr const char* point =
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";

struct PushSubscriptionTest : ApiTest {
  FakeSubscriptions subscriptions;
  int effects = 0;

  std::string ask_of(const std::string& name, const std::string& arguments, bool offered = true) {
    CallContext context{store, "A1", limits, {}, "s1"};
    context.effects = [this]() -> io::Task<bool> {
      ++effects;
      co_return true;
    };
    if (offered) context.push_subscriptions = &subscriptions;
    return await(handle_api_request("{\"using\":[\"urn:ietf:params:jmap:core\"],\"methodCalls\":[[\"" + name +
                                        "\"," + arguments + ",\"c\"]]}",
                                    std::move(context)))
        .body;
  }
  std::string get(const std::string& arguments) { return ask_of("PushSubscription/get", arguments); }
  std::string set(const std::string& arguments) { return ask_of("PushSubscription/set", arguments); }
  std::string create(const std::string& members) { return set(R"({"create":{"k":)" + members + "}}"); }
  std::string update(const std::string& members) { return set(R"({"update":{"p1":)" + members + "}}"); }
};

TEST_F(PushSubscriptionTest, IsMade) {
  const auto answer =
      create(R"({"deviceClientId":"d","url":"https://push.example.com/x","types":null,"keys":)"
             R"({"p256dh":")" +
             std::string(point) +
             R"(","auth":"BTBZMqHH6r4Tts7J_aSIgg"},)"
             R"("expires":"2033-05-18T03:33:20Z","verificationCode":null})");
  EXPECT_THAT(answer, HasSubstr(R"({"created":{"k":{"id":"p1","expires":"2033-05-18T03:33:20Z",)"
                                R"("verificationCode":null,"types":null}},"notCreated":null,"updated":null,)"
                                R"("notUpdated":null,"destroyed":null,"notDestroyed":null})"));
  ASSERT_EQ(subscriptions.made.size(), 1u);
  const auto& made = subscriptions.made[0];
  EXPECT_EQ(made.url->expose(), "https://push.example.com/x");
  EXPECT_EQ(made.expires, 2'000'000'000);
  EXPECT_TRUE(made.keys);
  EXPECT_EQ(made.types, std::nullopt);
  EXPECT_EQ(effects, 1);
  EXPECT_THAT(create(R"({"deviceClientId":"d","url":"https://push.example.com/"})"),
              HasSubstr(R"("keys":null,"expires":null,"verificationCode":null,"types":null)"));
  EXPECT_THAT(create(R"({"deviceClientId":"one too many","url":"https://push.example.com/"})"),
              HasSubstr(R"("notCreated":{"k":{"type":"overQuota")"));
}

TEST_F(PushSubscriptionTest, WhatCannotBeMade) {
  const std::string good = R"("deviceClientId":"d","url":"https://push.example.com/")";
  for (const auto& members :
       {std::string(R"("deviceClientId":"d")"), std::string(R"("url":"https://push.example.com/")"),
        std::string(R"("deviceClientId":"d","url":"http://push.example.com/")"),
        std::string(R"("deviceClientId":1,"url":"https://push.example.com/")"), good + R"(,"id":"x")",
        good + R"(,"verificationCode":"x")", good + R"(,"expires":"2033-05-18")", good + R"(,"expires":1)",
        good + R"(,"keys":{})", good + R"(,"keys":{"p256dh":"x","auth":"BTBZMqHH6r4Tts7J_aSIgg"})",
        good + R"(,"keys":[])", good + R"(,"types":"Email")", good + R"(,"types":["a,b"])",
        good + R"(,"types":[1])", good + R"(,"types":[""])", good + R"(,"other":1)"})
    EXPECT_THAT(create("{" + members + "}"), HasSubstr(R"("notCreated":{"k":{"type":"invalidProperties")"))
        << members;
  EXPECT_THAT(create("1"), HasSubstr("invalidProperties"));
  EXPECT_TRUE(subscriptions.made.empty());
}

TEST_F(PushSubscriptionTest, LimitsOfNames) {
  const auto made = [&](std::size_t device, std::size_t types, std::size_t name) {
    std::string list;
    for (std::size_t i = 0; i < types; ++i) {
      auto type = "T" + std::to_string(i);
      type += std::string(name - type.size(), 'x');
      list += (list.empty() ? "\"" : ",\"") + type + "\"";
    }
    return create(R"({"url":"https://push.example.com/","deviceClientId":")" + std::string(device, 'd') +
                  R"(","types":[)" + list + "]}");
  };
  EXPECT_THAT(made(device_client_id_bytes_max, subscription_types_max, subscription_type_name_bytes_max),
              HasSubstr(R"("id":"p1")"));
  EXPECT_THAT(made(device_client_id_bytes_max + 1, 1, 9), HasSubstr("invalidProperties"));
  EXPECT_THAT(made(1, subscription_types_max + 1, 9), HasSubstr("invalidProperties"));
  EXPECT_THAT(made(1, 1, subscription_type_name_bytes_max + 1), HasSubstr("invalidProperties"));
}

TEST_F(PushSubscriptionTest, NeitherUrlNorKeysAreTold) {
  create(R"({"deviceClientId":"d","url":"https://push.example.com/x","types":["Email","Email","New"]})");
  EXPECT_THAT(get("{}"), HasSubstr(R"({"list":[{"id":"p1","deviceClientId":"d","verificationCode":null,)"
                                   R"("expires":null,"types":["Email","New"]}],"notFound":[]})"));
  EXPECT_THAT(get(R"({"ids":["p1","p2"],"properties":["types"]})"),
              HasSubstr(R"({"list":[{"id":"p1","types":["Email","New"]}],"notFound":["p2"]})"));
  for (const auto* name : {"url", "keys"})
    EXPECT_THAT(get(R"({"ids":null,"properties":[")" + std::string(name) + "\"]}"),
                HasSubstr(R"("type":"forbidden")"));
  EXPECT_THAT(get(R"({"properties":["x"]})"), HasSubstr("invalidArguments"));
}

TEST_F(PushSubscriptionTest, NoAccountAndNoStates) {
  EXPECT_THAT(get(R"({"accountId":"A1"})"), HasSubstr("invalidArguments"));
  EXPECT_THAT(set(R"({"accountId":"A1"})"), HasSubstr("invalidArguments"));
  EXPECT_THAT(set(R"({"ifInState":"1"})"), HasSubstr("invalidArguments"));
  EXPECT_THAT(set("{}"), Not(HasSubstr("oldState")));
  EXPECT_EQ(effects, 0);
}

TEST_F(PushSubscriptionTest, IsChanged) {
  create(R"({"deviceClientId":"d","url":"https://push.example.com/x"})");
  EXPECT_THAT(update(R"({"verificationCode":"abc","id":"p1","deviceClientId":"d"})"),
              HasSubstr(R"("updated":{"p1":null})"));
  EXPECT_EQ(subscriptions.patches.back().verification_code, "abc");
  EXPECT_THAT(update(R"({"expires":"2033-05-18T03:33:20Z","types":["Email"]})"),
              HasSubstr(R"("updated":{"p1":null})"));
  EXPECT_EQ(subscriptions.known[0].expires, 2'000'000'000);
  EXPECT_EQ(subscriptions.known[0].types, std::vector<std::string>{"Email"});
  subscriptions.latest = 1'900'000'000;
  EXPECT_THAT(update(R"({"expires":"2033-05-18T03:33:20Z"})"),
              HasSubstr(R"("updated":{"p1":{"expires":"2030-03-17T17:46:40Z"}})"));
  EXPECT_THAT(update(R"({"expires":null})"),
              HasSubstr(R"("updated":{"p1":{"expires":"2030-03-17T17:46:40Z"}})"));
  EXPECT_THAT(update(R"({"types":null})"), HasSubstr(R"("updated":{"p1":null})"));
  EXPECT_EQ(subscriptions.known[0].types, std::nullopt);
}

TEST_F(PushSubscriptionTest, WhatCannotBeChanged) {
  create(R"({"deviceClientId":"d","url":"https://push.example.com/x"})");
  for (const auto* patch :
       {R"({"url":"https://push.example.com/x"})", R"({"keys":null})", R"({"deviceClientId":"e"})",
        R"({"id":"p2"})", R"({"expires":"soon"})", R"({"types":"x"})", R"({"verificationCode":1})"})
    EXPECT_THAT(update(patch), HasSubstr(R"("notUpdated":{"p1":{"type":"invalidProperties")")) << patch;
  EXPECT_THAT(update(R"({"types/0":"x"})"), HasSubstr("invalidPatch"));
  EXPECT_THAT(update("1"), HasSubstr("invalidPatch"));
  EXPECT_THAT(set(R"({"update":{"p9":{}}})"), HasSubstr(R"("notUpdated":{"p9":{"type":"notFound")"));
  EXPECT_THAT(set(R"({"update":{"p1":{}},"destroy":["p1"]})"),
              HasSubstr(R"("notUpdated":{"p1":{"type":"willDestroy")"));
  EXPECT_TRUE(subscriptions.known.empty());
}

TEST_F(PushSubscriptionTest, SeveralAtOnce) {
  const auto answer = set(R"({"create":{"k":{"deviceClientId":"d","url":"https://push.example.com/"}},)"
                          R"("update":{"p1":{"types":["Email"]}}})");
  EXPECT_THAT(answer, HasSubstr(R"("updated":{"p1":null})"));
  EXPECT_THAT(set(R"({"destroy":["p1","p7"]})"),
              HasSubstr(R"("destroyed":["p1"],"notDestroyed":{"p7":{"type":"notFound")"));
}

TEST_F(PushSubscriptionTest, WhereThereAreNone) {
  EXPECT_THAT(ask_of("PushSubscription/get", "{}", false), HasSubstr("unknownMethod"));
  EXPECT_THAT(ask_of("PushSubscription/set", "{}", false), HasSubstr("unknownMethod"));
}

TEST_F(PushSubscriptionTest, TheKeyIsTheServersNotAnAccounts) {
  SessionInfo info{"u", "A1", "https://mail.example.com", {}};
  std::string state, other;
  const auto name = std::string(capability_vapid);
  EXPECT_THAT(session_resource(info, limits, state), Not(HasSubstr(name)));
  info.features.application_server_key = "BAbc";
  const auto body = session_resource(info, limits, other);
  EXPECT_THAT(body, HasSubstr("\"" + name + R"(":{"applicationServerKey":"BAbc"})"));
  EXPECT_EQ(body.find(name), body.rfind(name));
  EXPECT_NE(state, other);
}

}  // namespace
}  // namespace postern::jmap
