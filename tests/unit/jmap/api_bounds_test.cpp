// What one request may ask for: each bound at its limit and one past it.
#include "postern/mail/mime/limits.hpp"
#include "unit/jmap/api_fixture.hpp"

namespace postern::jmap {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

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

TEST_F(ApiTest, RequestsThatTakeLongLetOthersComeBetween) {
  const auto request = [](std::size_t calls, std::size_t octets) {
    std::string all;
    for (std::size_t i = 0; i < calls; ++i)
      all +=
          std::string(i == 0 ? "" : ",") + R"(["Core/echo",{"a":")" + std::string(octets, 'x') + R"("},"c"])";
    return R"({"using":["urn:ietf:params:jmap:core"],"methodCalls":[)" + all + "]}";
  };
  EXPECT_EQ(ask(request(4, 1)).status, 200);
  EXPECT_EQ(turns, 0u);  // a page is done in one go
  EXPECT_EQ(ask(request(32, 1)).status, 200);
  EXPECT_EQ(std::exchange(turns, 0), 7u);
  EXPECT_EQ(ask(request(3, 300'000)).status, 200);
  EXPECT_EQ(turns, 2u);
}

TEST_F(ApiTest, CreatedIdsAreBounded) {
  const auto with = [](std::size_t ids) {
    std::string created;
    for (std::size_t i = 0; i < ids; ++i) created += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":\"x\"";
    return R"({"using":["urn:ietf:params:jmap:core"],"methodCalls":[],"createdIds":{)" + created + "}}";
  };
  EXPECT_EQ(ask(with(created_ids_max)).status, 200);
  const auto over = ask(with(created_ids_max + 1));
  EXPECT_EQ(over.status, 400);
  EXPECT_THAT(over.body, HasSubstr("createdIds"));
}

TEST_F(ApiTest, ReferencesOfACallAreBounded) {
  const auto echo = [&](std::size_t references) {
    std::string arguments;
    for (std::size_t i = 0; i < references; ++i)
      arguments += (i == 0 ? "" : ",") + ("\"#" + std::to_string(i)) +
                   R"(":{"resultOf":"a","name":"Core/echo","path":"/x"})";
    return ask(R"({"using":["urn:ietf:params:jmap:core"],"methodCalls":[["Core/echo",{"x":1},"a"],)"
               R"(["Core/echo",{)" +
               arguments + R"(},"b"]]})")
        .body;
  };
  EXPECT_THAT(echo(result_references_max), Not(HasSubstr("invalidResultReference")));
  EXPECT_THAT(echo(result_references_max + 1), HasSubstr("invalidResultReference"));
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

TEST_F(ApiTest, FiltersAreBounded) {
  std::string deep = R"({"hasKeyword":"x"})";
  for (std::size_t i = 1; i < mail::filter_depth_max; ++i)
    deep = R"({"operator":"NOT","conditions":[)" + deep + "]}";
  EXPECT_THAT(call("Email/query", R"({"accountId":"A1","filter":)" + deep + "}"), HasSubstr("queryState"));
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

TEST_F(ApiTest, WhatFiltersNameIsBounded) {
  const auto query = [&](const std::string& filter) {
    return call("Email/query", R"({"accountId":"A1","filter":)" + filter + "}");
  };
  const auto mailboxes = [](std::size_t count) {
    std::string list;
    for (std::size_t i = 0; i < count; ++i) list += (i == 0 ? "\"a" : ",\"a") + std::to_string(i) + "\"";
    return R"({"inMailboxOtherThan":[)" + list + "]}";
  };
  EXPECT_THAT(query(mailboxes(mail::filter_mailboxes_max)), HasSubstr("queryState"));
  EXPECT_THAT(query(mailboxes(mail::filter_mailboxes_max + 1)), HasSubstr("unsupportedFilter"));
  const auto both = [](const std::string& one, const std::string& other) {
    return R"({"operator":"AND","conditions":[)" + one + "," + other + "]}";
  };
  EXPECT_THAT(query(both(mailboxes(mail::filter_mailboxes_max), mailboxes(1))),
              HasSubstr("unsupportedFilter"));
  const auto text = [](std::size_t size) { return R"({"text":")" + std::string(size, 'x') + "\"}"; };
  const auto half = mail::filter_text_bytes_max / 2;
  EXPECT_THAT(query(both(text(half), text(half))), HasSubstr("queryState"));
  EXPECT_THAT(query(both(text(half), text(half + 1))), HasSubstr("unsupportedFilter"));
  const auto sort = [&](std::size_t size) {
    return call("Email/query", R"({"accountId":"A1","sort":[{"property":"hasKeyword","keyword":")" +
                                   std::string(size, 'k') + "\"}]}");
  };
  EXPECT_THAT(sort(mail::keyword_bytes_max), HasSubstr("queryState"));
  EXPECT_THAT(sort(mail::keyword_bytes_max + 1), HasSubstr("unsupportedSort"));
}

TEST_F(ApiTest, WhatAnUpdateNamesIsBounded) {
  const auto id = mail::email_id(store.ids[0]);
  const auto set = [&](const std::string& patch) {
    return call("Email/set", R"({"accountId":"A1","update":{")" + id + R"(":{)" + patch + "}}}");
  };
  const auto many = [](std::size_t count, const std::string& before, const std::string& after,
                       const std::string& name) {
    std::string list;
    for (std::size_t i = 0; i < count; ++i)
      list += (i == 0 ? "\"" : ",\"") + before + name + std::to_string(i) + "\":true";
    return after.empty() ? list : after + list + "}";
  };
  for (const std::string whole : {"", "\"keywords\":{"}) {
    const std::string before = whole.empty() ? "keywords/" : "";
    EXPECT_THAT(set(many(mail::update_keywords_max, before, whole, "k")), HasSubstr(R"("notUpdated":null)"));
    EXPECT_THAT(set(many(mail::update_keywords_max + 1, before, whole, "k")), HasSubstr("tooManyKeywords"));
    EXPECT_THAT(set(many(mail::update_keywords_bytes_max / 100, before, whole, std::string(98, 'k'))),
                HasSubstr("tooManyKeywords"));
  }
  EXPECT_THAT(set(R"("keywords/)" + std::string(mail::update_keywords_bytes_max - 1, 'k') + R"(":true)"),
              HasSubstr(R"("notUpdated":null)"));
  EXPECT_THAT(set(R"("keywords/)" + std::string(mail::update_keywords_bytes_max, 'k') + R"(":true)"),
              HasSubstr("tooManyKeywords"));
  std::string mailboxes;
  for (std::size_t i = 0; i <= mail::update_mailboxes_max; ++i) {
    if (i == mail::update_mailboxes_max)
      EXPECT_THAT(set("\"mailboxIds\":{" + mailboxes + "}"), HasSubstr(R"("notUpdated":null)"));
    mailboxes += (i == 0 ? "\"" : ",\"") + mail::mailbox_id(i + 1) + "\":true";
  }
  EXPECT_THAT(set("\"mailboxIds\":{" + mailboxes + "}"), HasSubstr("tooManyMailboxes"));
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

TEST_F(ApiTest, ValuesAreBounded) {
  const auto with = [](std::size_t values) {
    std::string many;
    for (std::size_t i = 0; i < values; ++i) many += i == 0 ? "0" : ",0";
    return R"({"using":["urn:ietf:params:jmap:core"],"methodCalls":[["Core/echo",{"a":[)" + many +
           R"(]},"c"]]})";
  };
  const auto envelope = json_shape(with(1)).values - 1;
  EXPECT_EQ(ask(with(json_values_max - envelope)).status, 200);
  const auto over = ask(with(json_values_max - envelope + 1));
  EXPECT_EQ(over.status, 400);
  EXPECT_THAT(over.body, HasSubstr("too many values"));
}

// Twelve octets of a reference copy what may be a million values.
TEST_F(ApiTest, ValuesReferredToAreBounded) {
  std::string many;
  for (std::size_t i = 0; i < json_values_max / 4; ++i) many += i == 0 ? "0" : ",0";
  std::string calls = R"(["Core/echo",{"a":[)" + many + R"(]},"0"])";
  for (int i = 1; i < 6; ++i)
    calls += R"(,["Core/echo",{"#a":{"resultOf":"0","name":"Core/echo","path":"/a/0"}},")" +
             std::to_string(i) + R"("])";
  const auto response = ask(R"({"using":["urn:ietf:params:jmap:core"],"methodCalls":[)" + calls + "]}");
  EXPECT_EQ(response.status, 200);
  EXPECT_THAT(response.body, HasSubstr(R"(["Core/echo",{"a":0},"3"])"));
  EXPECT_THAT(response.body, Not(HasSubstr(R"(["Core/echo",{"a":0},"4"])")));
  EXPECT_THAT(response.body, HasSubstr("too many values are referred to"));
}

TEST_F(ApiTest, DepthAtTheLimitIsTaken) {
  // The envelope itself is three levels deep.
  const std::size_t inner = json_depth_max - 4;
  const auto body = R"({"using":["urn:ietf:params:jmap:core"],"methodCalls":[["Core/echo",{"a":)" +
                    std::string(inner, '[') + std::string(inner, ']') + R"(},"c"]]})";
  EXPECT_EQ(ask(body).status, 200);
}

}  // namespace
}  // namespace postern::jmap
