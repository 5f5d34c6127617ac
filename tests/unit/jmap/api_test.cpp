// The JMAP request and the methods over a Mailstore of the test's own: no IMAP, no HTTP.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "jmap/result_references.hpp"
#include "postern/jmap/api.hpp"
#include "postern/mail/mime/limits.hpp"
#include "support/loop_fixture.hpp"

namespace postern::jmap {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct FakeMailstore final : mail::Mailstore {
  std::vector<mail::EmailKey> ids{{1, 1, 1}, {1, 1, 2}, {1, 1, 3}};
  std::vector<mail::EmailUpdate> updates;
  mail::EmailQuery query_seen;
  mail::FetchPlan plan_seen;
  std::optional<Error> failure;
  int email_state = 1;

  std::string state(mail::StateType) override { return std::to_string(email_state); }
  io::Task<Result<std::vector<mail::MailboxData>>> mailboxes() override {
    if (failure) co_return fail(*failure);
    mail::MailboxData data;
    data.mailbox.key = 1;
    data.mailbox.name = data.mailbox.path = "INBOX";
    data.mailbox.role = mail::Role::inbox;
    data.total_emails = 3;
    co_return std::vector{data};
  }
  io::Task<Result<mail::EmailQueryResult>> query(mail::EmailQuery query) override {
    if (failure) co_return fail(*failure);
    query_seen = query;
    mail::EmailQueryResult result;
    result.ids = ids;
    result.ids.resize(std::min<std::size_t>(result.ids.size(), query.limit));
    result.total = ids.size();
    result.query_state = "q";
    co_return result;
  }
  io::Task<Result<std::vector<mail::EmailItem>>> fetch(std::vector<mail::EmailKey> keys,
                                                       mail::FetchPlan plan) override {
    if (failure) co_return fail(*failure);
    plan_seen = plan;
    std::vector<mail::EmailItem> items;
    for (const auto& key : keys) {
      mail::EmailItem item;
      item.id = key;
      item.found = std::find(ids.begin(), ids.end(), key) != ids.end();
      if (item.found) {
        mail::MessageSource source;
        source.id = key;
        source.header =
            "Subject: \"keywords\":{\"\\u0001\":true} number " + std::to_string(key.uid) + "\r\n\r\n";
        item.fragment = std::make_shared<mail::Fragment>(plan.render(source));
        item.keywords = {"$seen", "a\"b"};
        item.mailboxes = {1};
      }
      items.push_back(std::move(item));
    }
    co_return items;
  }
  io::Task<Result<std::vector<mail::ThreadData>>> threads(std::vector<mail::ThreadKey> keys) override {
    std::vector<mail::ThreadData> all;
    for (auto key : keys) all.push_back({key, key == 5 ? ids : std::vector<mail::EmailKey>{}});
    co_return all;
  }
  io::Task<Result<std::vector<mail::SetOutcome>>> update(std::vector<mail::EmailUpdate> all,
                                                         mail::EffectsHook) override {
    updates = std::move(all);
    ++email_state;
    co_return std::vector<mail::SetOutcome>(updates.size(), mail::SetOutcome{true, {}, {}, {}});
  }
  io::Task<Result<std::vector<mail::SetOutcome>>> destroy(std::vector<mail::EmailKey> all,
                                                          mail::EffectsHook) override {
    co_return std::vector<mail::SetOutcome>(all.size(), mail::SetOutcome{true, {}, {}, {}});
  }
  io::Task<Result<std::unique_ptr<mail::BlobReader>>> open_blob(mail::BlobKey) override {
    co_return fail(mail::Errc::not_found);
  }
  bool answered_stale() const override { return false; }
};

struct ApiTest : test::LoopFixture {
  FakeMailstore store;
  Limits limits;

  ApiResponse ask(std::string body) {
    return await(handle_api_request(std::move(body), CallContext{store, "A1", limits, {}, "s1"}));
  }
  // The one response of a call, as text.
  std::string call(const std::string& name, const std::string& arguments) {
    return ask("{\"using\":[\"urn:ietf:params:jmap:core\",\"urn:ietf:params:jmap:mail\"],\"methodCalls\":[["
               "\"" +
               name + "\"," + arguments + ",\"c\"]]}")
        .body;
  }
};

TEST_F(ApiTest, Echo) {
  EXPECT_EQ(call("Core/echo", R"({"a":[1,{"b":null}]})"),
            R"({"methodResponses":[["Core/echo",{"a":[1,{"b":null}]},"c"]],"sessionState":"s1"})");
}

TEST_F(ApiTest, RequestLevelErrors) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "notJSON"},
      {"{", "notJSON"},
      {"{\"a\":\"\xff\"}", "notJSON"},
      {std::string("{}\0", 3), "notJSON"},
      {"{\"a\":\"\xf3", "notJSON"},  // a sequence that the end cuts off
      {std::string(json_depth_max + 1, '['), "notJSON"},
      {"[]", "notRequest"},
      {"{}", "notRequest"},
      {R"({"using":"x","methodCalls":[]})", "notRequest"},
      {R"({"using":[1],"methodCalls":[]})", "notRequest"},
      {R"({"using":[],"methodCalls":[["Core/echo",{}]]})", "notRequest"},
      {R"({"using":[],"methodCalls":[["Core/echo",[],"c"]]})", "notRequest"},
      {R"({"using":[],"methodCalls":[],"createdIds":{"a":1}})", "notRequest"},
      {R"({"using":["urn:example:none"],"methodCalls":[]})", "unknownCapability"},
  };
  for (const auto& [body, type] : cases) {
    const auto response = ask(body);
    EXPECT_EQ(response.status, 400) << body;
    EXPECT_EQ(response.content_type, "application/problem+json");
    EXPECT_THAT(response.body, HasSubstr("urn:ietf:params:jmap:error:" + type)) << body;
  }
}

TEST_F(ApiTest, DepthAtTheLimitIsTaken) {
  // The envelope itself is three levels deep.
  const std::size_t inner = json_depth_max - 4;
  const auto body = R"({"using":["urn:ietf:params:jmap:core"],"methodCalls":[["Core/echo",{"a":)" +
                    std::string(inner, '[') + std::string(inner, ']') + R"(},"c"]]})";
  EXPECT_EQ(ask(body).status, 200);
}

TEST_F(ApiTest, CallsAreBounded) {
  limits.max_calls_in_request = 2;
  std::string calls = R"(["Core/echo",{},"a"],["Core/echo",{},"b"])";
  const auto request = [](const std::string& c) {
    return R"({"using":["urn:ietf:params:jmap:core"],"methodCalls":[)" + c + "]}";
  };
  EXPECT_EQ(ask(request(calls)).status, 200);
  const auto over = ask(request(calls + R"(,["Core/echo",{},"c"])"));
  EXPECT_EQ(over.status, 400);
  EXPECT_THAT(over.body, HasSubstr("maxCallsInRequest"));
}

TEST_F(ApiTest, MethodLevelErrors) {
  EXPECT_THAT(call("Nothing/get", "{}"), HasSubstr("unknownMethod"));
  EXPECT_THAT(call("Mailbox/get", "{}"), HasSubstr("invalidArguments"));
  EXPECT_THAT(call("Mailbox/get", R"({"accountId":"A2","ids":null})"), HasSubstr("accountNotFound"));
  EXPECT_THAT(call("Mailbox/get", R"({"accountId":"A1","ids":null,"x":1})"), HasSubstr("invalidArguments"));
  EXPECT_THAT(call("Mailbox/get", R"({"accountId":"A1","ids":null,"properties":["x"]})"),
              HasSubstr("invalidArguments"));
  limits.max_objects_in_get = 1;
  EXPECT_THAT(call("Email/get", R"({"accountId":"A1","ids":["a","b"]})"), HasSubstr("requestTooLarge"));
  EXPECT_THAT(call("Email/get", R"({"accountId":"A1","ids":null})"), HasSubstr("requestTooLarge"));
}

TEST_F(ApiTest, LeftOutCapabilityIsForgivenAnEmptyListIsNot) {
  EXPECT_THAT(
      ask(R"({"using":["urn:ietf:params:jmap:core"],"methodCalls":[["Mailbox/get",{"accountId":"A1"},"c"]]})")
          .body,
      HasSubstr("\"Inbox\""));
  EXPECT_THAT(ask(R"({"using":[],"methodCalls":[["Core/echo",{},"c"]]})").body, HasSubstr("unknownMethod"));
}

TEST_F(ApiTest, ResultReferences) {
  const auto both = [&](const std::string& reference) {
    return ask(R"({"using":["urn:ietf:params:jmap:mail"],"methodCalls":[["Email/query",{"accountId":"A1"},"q"],)"
               R"(["Email/get",{"accountId":"A1","properties":["id"],)" +
               reference + R"(},"g"]]})")
        .body;
  };
  EXPECT_THAT(both(R"("#ids":{"resultOf":"q","name":"Email/query","path":"/ids"})"),
              HasSubstr(mail::email_id(store.ids[2])));
  for (const std::string wrong : {R"("#ids":{"resultOf":"x","name":"Email/query","path":"/ids"})",
                                  R"("#ids":{"resultOf":"q","name":"Email/get","path":"/ids"})",
                                  R"("#ids":{"resultOf":"q","name":"Email/query","path":"/nothing"})",
                                  R"("#ids":{"resultOf":"q","path":"/ids"})", R"("#ids":"q")"})
    EXPECT_THAT(both(wrong), HasSubstr("invalidResultReference")) << wrong;
  EXPECT_THAT(both(R"("ids":[],"#ids":{"resultOf":"q","name":"Email/query","path":"/ids"})"),
              HasSubstr("invalidArguments"));
}

TEST_F(ApiTest, ANameWithANulIsJustAName) {
  for (const std::string name : {R"(#x\u0000)", R"(x\u0000)", R"(#\u0000)"}) {
    const auto response = ask(R"({"using":["urn:ietf:params:jmap:core"],"methodCalls":[["Core/echo",{")" +
                              name + R"(":{}},"0"]]})");
    EXPECT_EQ(response.status, 200) << name;
  }
}

TEST_F(ApiTest, ResponsesThatDoubleComeToAnEnd) {
  std::string calls = R"(["Core/echo",{"a":")" + std::string(1 << 20, 'x') + R"("},"0"])";
  for (int i = 1; i < 31; ++i) {
    const auto before = R"({"resultOf":")" + std::to_string(i - 1) + R"(","name":"Core/echo","path":""})";
    calls +=
        R"(,["Core/echo",{"#a":)" + before + R"(,"#b":)" + before + R"(},")" + std::to_string(i) + R"("])";
  }
  const auto response = ask(R"({"using":["urn:ietf:params:jmap:core"],"methodCalls":[)" + calls + "]}");
  EXPECT_EQ(response.status, 200);
  EXPECT_LT(response.body.size(), 3 * response_octets_max);
  EXPECT_THAT(response.body.substr(response.body.size() - 200), HasSubstr("invalidResultReference"));
}

TEST(Pointer, StarAppliesToEachAndJoins) {
  rapidjson::Document d;
  d.Parse(R"({"list":[{"ids":["a","b"]},{"ids":["c"]}],"a/b":{"~":1},"":2})");
  auto all = evaluate_pointer(d, "/list/*/ids", d.GetAllocator());
  ASSERT_TRUE(all);
  EXPECT_EQ(all->Size(), 3u);
  EXPECT_TRUE(evaluate_pointer(d, "/a~1b/~0", d.GetAllocator()));
  EXPECT_TRUE(evaluate_pointer(d, "/list/1/ids/0", d.GetAllocator()));
  for (const char* wrong : {"list", "/list/2", "/list/01", "/list/-", "/list/*/x", "/a~1b/~0/x"})
    EXPECT_FALSE(evaluate_pointer(d, wrong, d.GetAllocator())) << wrong;
}

TEST_F(ApiTest, ChangingValuesArePutIntoFragments) {
  const auto id = mail::email_id(store.ids[0]);
  for (const std::string properties : {R"(["keywords","mailboxIds","subject"])",
                                       R"(["subject","mailboxIds","keywords"])", R"(["mailboxIds"])"}) {
    const auto text =
        call("Email/get", R"({"accountId":"A1","ids":[")" + id + R"("],"properties":)" + properties + "}");
    rapidjson::Document d;
    d.Parse(text.c_str());
    ASSERT_FALSE(d.HasParseError()) << text;
    const auto& email = d["methodResponses"][0][1]["list"][0];
    EXPECT_TRUE(email["mailboxIds"][mail::mailbox_id(1).c_str()].IsTrue());
    if (email.HasMember("keywords")) {
      EXPECT_TRUE(email["keywords"]["$seen"].IsTrue());
      EXPECT_TRUE(email["keywords"]["a\"b"].IsTrue());
      EXPECT_STREQ(email["subject"].GetString(), "\"keywords\":{\"\\u0001\":true} number 1");
    }
  }
}

TEST_F(ApiTest, QueryArguments) {
  const auto inbox = mail::mailbox_id(1);
  EXPECT_THAT(
      call("Email/query",
           R"({"accountId":"A1","filter":{"inMailbox":")" + inbox +
               R"(","after":"2020-01-02T03:04:05Z"},"sort":[{"property":"size","isAscending":false}],)"
               R"("position":-2,"limit":2,"calculateTotal":true})"),
      HasSubstr("\"total\":3"));
  EXPECT_EQ(store.query_seen.position, -2);
  EXPECT_EQ(store.query_seen.sort.keys.at(0).property, mail::SortKey::Property::size);
  ASSERT_EQ(store.query_seen.filter.children.size(), 2u);
  EXPECT_EQ(store.query_seen.filter.children[1].number, 1577934245);
  for (const std::string wrong :
       {R"("filter":{"before":"2020-13-01T00:00:00Z"})", R"("filter":{"before":"yesterday"})",
        R"("filter":{"minSize":-1})", R"("filter":[])", R"("filter":{"operator":"XOR","conditions":[]})",
        R"("filter":{"operator":"AND"})", R"("filter":{"header":[]})", R"("filter":{"header":["a:b"]})",
        R"("filter":{"inMailbox":"no id!"})", R"("sort":{})", R"("sort":[{}])", R"("limit":-1)",
        R"("position":1.5)", R"("anchor":5)", R"("x":1)"})
    EXPECT_THAT(call("Email/query", R"({"accountId":"A1",)" + wrong + "}"), HasSubstr("invalidArguments"))
        << wrong;
  EXPECT_THAT(call("Email/query", R"({"accountId":"A1","sort":[{"property":"shoeSize"}]})"),
              HasSubstr("unsupportedSort"));
  EXPECT_THAT(call("Email/query", R"({"accountId":"A1","filter":{"shoeSize":1}})"),
              HasSubstr("unsupportedFilter"));
}

TEST_F(ApiTest, FiltersAreBounded) {
  std::string deep = R"({"hasKeyword":"x"})";
  for (std::size_t i = 0; i < mail::filter_depth_max; ++i)
    deep = R"({"operator":"NOT","conditions":[)" + deep + "]}";
  EXPECT_THAT(call("Email/query", R"({"accountId":"A1","filter":)" + deep + "}"),
              HasSubstr("unsupportedFilter"));
  std::string wide;
  for (std::size_t i = 0; i <= mail::filter_conditions_max / 2; ++i) wide += R"({"hasKeyword":"x"},)";
  wide.pop_back();
  EXPECT_THAT(
      call("Email/query", R"({"accountId":"A1","filter":{"operator":"OR","conditions":[)" + wide + "]}}"),
      HasSubstr("unsupportedFilter"));
}

TEST_F(ApiTest, SortsAreBounded) {
  const auto sort = [](std::size_t keys) {
    std::string list;
    for (std::size_t i = 0; i < keys; ++i)
      list += (i == 0 ? "" : ",") + (R"({"property":"hasKeyword","keyword":"k)" + std::to_string(i) + "\"}");
    return R"({"accountId":"A1","sort":[)" + list + "]}";
  };
  EXPECT_THAT(call("Email/query", sort(mail::sort_keys_max)), HasSubstr("queryState"));
  EXPECT_EQ(store.query_seen.sort.keys.size(), mail::sort_keys_max);
  EXPECT_THAT(call("Email/query", sort(mail::sort_keys_max + 1)), HasSubstr("unsupportedSort"));
}

TEST_F(ApiTest, APreviewCostsABoundedPieceOfOnePart) {
  const auto id = mail::email_id(store.ids[0]);
  call("Email/get", R"({"accountId":"A1","ids":[")" + id + R"("],"properties":["preview"]})");
  ASSERT_TRUE(store.plan_seen.more);
  for (const std::size_t size : {mail::preview_fetch_bytes, mail::preview_fetch_bytes + 1}) {
    const auto structure = std::make_shared<imap::BodyStructure>();
    structure->type = "text";
    structure->subtype = "plain";
    structure->size = size;
    mail::MessageSource source;
    source.body_structure = structure;
    const auto wanted = store.plan_seen.more(source);
    ASSERT_EQ(wanted.size(), 1u);
    EXPECT_EQ(wanted[0].section, "1");
    EXPECT_EQ(wanted[0].octets_max, mail::preview_fetch_bytes);
  }
}

TEST_F(ApiTest, SetPatches) {
  const auto id = mail::email_id(store.ids[0]);
  const auto set = [&](const std::string& patch) {
    return call("Email/set", R"({"accountId":"A1","update":{")" + id + R"(":)" + patch + "}}");
  };
  EXPECT_THAT(set(R"({"keywords/$Seen":true,"keywords/a~1b":null,"mailboxIds":{")" + mail::mailbox_id(1) +
                  R"(":true}})"),
              HasSubstr("\"updated\":{\"" + id + "\":null}"));
  ASSERT_EQ(store.updates.size(), 1u);
  EXPECT_EQ(store.updates[0].keyword_changes[0], (std::pair<std::string, bool>{"$seen", true}));
  EXPECT_EQ(store.updates[0].keyword_changes[1], (std::pair<std::string, bool>{"a/b", false}));
  for (const std::string wrong :
       {R"(5)", R"({"subject":"x"})", R"({"keywords":5})", R"({"keywords":{"a":false}})",
        R"({"keywords/a":5})", R"({"keywords/a/b":true})", R"({"keywords":{},"keywords/a":true})",
        R"({"mailboxIds/zzz":true})"}) {
    const auto text = set(wrong);
    EXPECT_THAT(text, HasSubstr("notUpdated\":{\"" + id)) << wrong;
    EXPECT_THAT(text, ::testing::AnyOf(HasSubstr("invalidPatch"), HasSubstr("invalidProperties"))) << wrong;
  }
}

TEST_F(ApiTest, SetStates) {
  const auto id = mail::email_id(store.ids[0]);
  EXPECT_THAT(call("Email/set", R"({"accountId":"A1","ifInState":"0","destroy":[")" + id + "\"]}"),
              HasSubstr("stateMismatch"));
  const auto text = call("Email/set", R"({"accountId":"A1","ifInState":"1","update":{")" + id +
                                          R"(":{"keywords":{}}},"destroy":[")" +
                                          mail::email_id(store.ids[1]) + "\",\"x\"]}");
  EXPECT_THAT(text, HasSubstr(R"("oldState":"1","newState":"2")"));
  EXPECT_THAT(text, HasSubstr("\"destroyed\":[\"" + mail::email_id(store.ids[1]) + "\"]"));
  EXPECT_THAT(text, HasSubstr(R"("notDestroyed":{"x":{"type":"notFound")"));
}

TEST_F(ApiTest, Threads) {
  const auto text = call("Thread/get", R"({"accountId":"A1","ids":[")" + mail::thread_id(5) + "\",\"" +
                                           mail::thread_id(6) + "\"]}");
  EXPECT_THAT(text, HasSubstr("\"emailIds\":[\"" + mail::email_id(store.ids[0])));
  EXPECT_THAT(text, HasSubstr("\"notFound\":[\"" + mail::thread_id(6) + "\"]"));
}

TEST_F(ApiTest, ServerAwayIsToldApart) {
  store.failure = Error(make_error_code(mail::Errc::server_unavailable), "10.0.0.1 refused");
  const auto response = ask(
      R"({"using":["urn:ietf:params:jmap:mail"],"methodCalls":[["Email/query",{"accountId":"A1"},"q"],)"
      R"(["Email/get",{"accountId":"A1","#ids":{"resultOf":"q","name":"Email/query","path":"/ids"}},"g"]]})");
  EXPECT_TRUE(response.unavailable);
  EXPECT_THAT(response.body, Not(HasSubstr("10.0.0.1")));
}

TEST(SessionResource, IsJsonAndItsStateFollowsIt) {
  Limits limits;
  std::string state, other;
  const auto text = session_resource({"al\"ice", "A1", "https://x"}, limits, state);
  rapidjson::Document d;
  d.Parse(text.c_str());
  ASSERT_FALSE(d.HasParseError());
  EXPECT_STREQ(d["username"].GetString(), "al\"ice");
  EXPECT_STREQ(d["apiUrl"].GetString(), "https://x/jmap/api");
  EXPECT_EQ(d["capabilities"][std::string(capability_core).c_str()]["maxCallsInRequest"].GetUint(),
            limits.max_calls_in_request);
  limits.max_calls_in_request += 1;
  session_resource({"al\"ice", "A1", "https://x"}, limits, other);
  EXPECT_NE(state, other);
}

}  // namespace
}  // namespace postern::jmap
