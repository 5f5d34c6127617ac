// The JMAP request and the methods over a Mailstore of the test's own: no IMAP, no HTTP.
#include <set>

#include "postern/mail/mime/limits.hpp"
#include "unit/jmap/api_fixture.hpp"

namespace postern::jmap {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(CreatedIds, WhatWasResolvedStaysWhatItWas) {
  CreatedIds ids;
  ids.add("k", "one");
  const auto before = ids.resolve("#k");
  ids.add("k", "two");
  EXPECT_EQ(before, "one");
  EXPECT_EQ(ids.resolve("#k"), "two");
  EXPECT_EQ(ids.all().size(), 1u);
}

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
      {R"({"a":[{"b":555555555555555555e300}]})", "notJSON"},
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

TEST_F(ApiTest, JsonUsedAsWhatItIsntEndsOneCall) {
  const rapidjson::Value number(5), object(rapidjson::kObjectType);
  for (const auto* wrong : {&number, &object}) {
    store.misuse = wrong;
    const auto response =
        ask(R"({"using":["urn:ietf:params:jmap:mail"],"methodCalls":[["Email/query",{"accountId":"A1"},"q"],)"
            R"(["Core/echo",{"a":1},"e"]]})");
    EXPECT_EQ(response.status, 200);
    EXPECT_THAT(response.body, HasSubstr("serverFail"));
    EXPECT_THAT(response.body, HasSubstr(R"(["Core/echo",{"a":1},"e"])"));
  }
}

TEST_F(ApiTest, WhatWasReadTellsStateAndFreshness) {
  const auto all = [&] {
    return ask(R"({"using":["urn:ietf:params:jmap:mail"],"methodCalls":[)"
               R"(["Mailbox/get",{"accountId":"A1"},"m"],)"
               R"(["Email/get",{"accountId":"A1","ids":[]},"e"],)"
               R"(["Thread/get",{"accountId":"A1","ids":[]},"t"]]})");
  };
  auto response = all();
  for (const std::string state : {"m7", "e7", "t7"})
    EXPECT_THAT(response.body, HasSubstr("\"state\":\"" + state + "\""));
  EXPECT_FALSE(response.stale);
  store.freshness = mail::Freshness::stale;
  EXPECT_TRUE(all().stale);
  EXPECT_TRUE(
      ask(R"({"using":["urn:ietf:params:jmap:mail"],"methodCalls":[["Email/query",{"accountId":"A1"},"q"]]})")
          .stale);
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
        R"("filter":{"header":["a","\u0000"]})", R"("filter":{"inMailbox":"no id!"})", R"("sort":{})",
        R"("sort":[{}])", R"("limit":-1)", R"("position":1.5)", R"("anchor":5)", R"("x":1)"})
    EXPECT_THAT(call("Email/query", R"({"accountId":"A1",)" + wrong + "}"), HasSubstr("invalidArguments"))
        << wrong;
  EXPECT_THAT(call("Email/query", R"({"accountId":"A1","sort":[{"property":"shoeSize"}]})"),
              HasSubstr("unsupportedSort"));
  EXPECT_THAT(call("Email/query", R"({"accountId":"A1","filter":{"shoeSize":1}})"),
              HasSubstr("unsupportedFilter"));
}

// A multipart in a multipart, with a text that is base64.
TEST_F(ApiTest, NestedMultipartsHaveHeadersAndDecodedPartsTheirSize) {
  const auto id = mail::email_id(store.ids[0]);
  call("Email/get", R"({"accountId":"A1","ids":[")" + id +
                        R"("],"properties":["bodyStructure","bodyValues"],"fetchAllBodyValues":true,)"
                        R"("bodyProperties":["partId","size","header:X-A","subParts"]})");
  imap::BodyStructure text, inner, outer;
  text.type = "text";
  text.subtype = "plain";
  text.encoding = "base64";
  inner.type = outer.type = "multipart";
  inner.subtype = outer.subtype = "mixed";
  const std::string octets = "aGVs\r\nbG8=\r\n";  // in lines that are shorter than the usual
  text.size = octets.size();
  inner.parts.push_back(std::move(text));
  outer.parts.push_back(std::move(inner));
  mail::MessageSource source;
  source.header = "X-A: outer\r\n\r\n";
  source.body_structure = std::make_shared<imap::BodyStructure>(std::move(outer));
  std::vector<std::string> asked;
  for (const auto& wanted : store.plan_seen.more(source)) asked.push_back(wanted.section);
  EXPECT_THAT(asked, ::testing::UnorderedElementsAre("1.MIME", "1.1.MIME", "1.1"));
  source.sections = {{"1.MIME", "X-A: inner\r\n\r\n"}, {"1.1.MIME", "X-A: leaf\r\n\r\n"}, {"1.1", octets}};
  auto json = store.plan_seen.render(source).bytes;
  EXPECT_THAT(json, HasSubstr(R"("header:X-A":" outer")"));
  EXPECT_THAT(json, HasSubstr(R"("header:X-A":" inner")"));
  EXPECT_THAT(json, HasSubstr(R"("partId":"1.1","size":5,"header:X-A":" leaf")"));
  EXPECT_THAT(json, HasSubstr(R"("value":"hello","isEncodingProblem":false,"isTruncated":false)"));
  // All that the part holds was fetched, or a piece of it.
  source.sections[2].second.resize(octets.size() - 4);
  json = store.plan_seen.render(source).bytes;
  EXPECT_THAT(json, HasSubstr(R"("isTruncated":true)"));
  EXPECT_THAT(json, Not(HasSubstr(R"("partId":"1.1","size":5,)")));
}

TEST_F(ApiTest, CreationIdsOfEarlierRequestsAreKnownInThisOne) {
  const auto body =
      ask(R"({"using":["urn:ietf:params:jmap:core"],"createdIds":{"k":")" + mail::email_id(store.ids[0]) +
          R"("},"methodCalls":[["Email/set",{"accountId":"A1","update":{"#k":{"keywords/$seen":true},)"
          R"("#other":{}}},"c"]]})")
          .body;
  ASSERT_EQ(store.updates.size(), 1u);
  EXPECT_EQ(store.updates[0].id, store.ids[0]);
  EXPECT_THAT(body, HasSubstr(R"("updated":{")" + mail::email_id(store.ids[0]) + R"(":null})"));
  EXPECT_THAT(body, HasSubstr(R"("notUpdated":{"#other":{"type":"notFound")"));
  EXPECT_THAT(body, HasSubstr(R"("createdIds":{"k":")" + mail::email_id(store.ids[0]) + R"("})"));
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

TEST_F(ApiTest, SetStatesAreThoseOfTheMailboxAsItIs) {
  const auto id = mail::email_id(store.ids[0]);
  const auto update = R"({"accountId":"A1","ifInState":"1","update":{")" + id + R"(":{"keywords":{}}}})";
  store.unheard = 3;  // by others
  EXPECT_THAT(call("Email/set", update), HasSubstr("stateMismatch"));
  EXPECT_TRUE(store.updates.empty());
  store.email_state = 1;
  EXPECT_THAT(call("Email/set", update), HasSubstr(R"("oldState":"1","newState":"2")"));
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
  EXPECT_TRUE(response.partly_unavailable);
  EXPECT_THAT(response.body, Not(HasSubstr("10.0.0.1")));
}

TEST_F(ApiTest, NoMethodIsCalledForNobody) {
  int calls = 0;
  CallContext context{store, "A1", limits, {}, "s1"};
  context.is_over = [&calls] { return calls++ > 0; };
  const auto response = await(handle_api_request(
      R"({"using":["urn:ietf:params:jmap:mail"],"methodCalls":[["Email/query",{"accountId":"A1"},"q"],)"
      R"(["Email/set",{"accountId":"A1","destroy":[]},"s"],["Mailbox/get",{"accountId":"A1"},"m"]]})",
      std::move(context)));
  EXPECT_EQ(calls, 2) << "the first call was carried out, the second not";
  EXPECT_EQ(response.status, 503);
}

// So that whoever sends a Core/echo along hears that the credentials are refused, too.
TEST_F(ApiTest, ServerAwayForAPartIsToldApart) {
  const std::string_view echo_and_query =
      R"({"using":["urn:ietf:params:jmap:mail"],"methodCalls":[["Core/echo",{},"e"],)"
      R"(["Email/query",{"accountId":"A1"},"q"]]})";
  EXPECT_FALSE(ask(std::string(echo_and_query)).partly_unavailable);
  store.failure = Error(make_error_code(mail::Errc::authentication));
  const auto response = ask(std::string(echo_and_query));
  EXPECT_FALSE(response.unavailable);
  EXPECT_TRUE(response.partly_unavailable);
}

TEST_F(ApiTest, ServerAwayForMessagesOfASetIsToldApart) {
  const std::string update = R"({"using":["urn:ietf:params:jmap:mail"],"methodCalls":[["Email/set",)"
                             R"({"accountId":"A1","update":{")" +
                             mail::email_id({1, 1, 1}) + R"(":{"keywords/$seen":true}}},"s"]]})";
  EXPECT_FALSE(ask(update).partly_unavailable);
  store.update_error = "forbidden";
  EXPECT_FALSE(ask(update).partly_unavailable);
  store.update_error = "serverUnavailable";
  const auto response = ask(update);
  EXPECT_FALSE(response.unavailable);
  EXPECT_TRUE(response.partly_unavailable);
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
  SessionStates states;
  for (int i = 0; i < 2; ++i) EXPECT_EQ(states.of({"al\"ice", "A1", "https://x"}, limits), other);
}

TEST(SessionResource, ItsStateIsAnothersWhereAnythingIsAnother) {
  SessionStates states;
  std::set<std::string> all;
  for (const char* name : {"alice", "bob"})
    for (const char* id : {"A1", "A2"})
      for (const char* url : {"https://x", "https://y"})
        for (const bool quota : {false, true})
          for (const std::uint32_t calls : {1, 2}) {
            const SessionInfo info{name, id, url, {.quota = quota}};
            const Limits limits{.max_calls_in_request = calls};
            std::string state;
            session_resource(info, limits, state);
            EXPECT_EQ(states.of(info, limits), state);
            all.insert(state);
          }
  EXPECT_EQ(all.size(), 32U);
}

TEST(SessionResource, TellsEachCapabilityOfTheAccountInThreePlaces) {
  std::string state;
  rapidjson::Document d;
  d.Parse(session_resource({"alice", "A1", "https://x"}, {}, state).c_str());
  const auto& account = d["accounts"]["A1"]["accountCapabilities"];
  ASSERT_GE(account.MemberCount(), 2U);
  EXPECT_EQ(d["capabilities"].MemberCount(), account.MemberCount());
  EXPECT_EQ(d["primaryAccounts"].MemberCount(), account.MemberCount());
  for (const auto& capability : account.GetObject()) {
    EXPECT_TRUE(d["capabilities"].HasMember(capability.name));
    EXPECT_STREQ(d["primaryAccounts"][capability.name].GetString(), "A1");
  }
}

}  // namespace
}  // namespace postern::jmap
