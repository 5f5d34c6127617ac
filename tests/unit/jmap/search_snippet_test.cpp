// SearchSnippet/get (RFC 8621, 5), and filters and sorts as Email/query reads them.
#include "postern/mail/mime/search_text.hpp"
#include "unit/jmap/api_fixture.hpp"

namespace postern::jmap {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct SearchSnippetTest : ApiTest {
  std::string text = "Dear all, the <b>caf\u00E9</b> opens & closes.\r\n";
  std::string transfer_encoding = "7bit", subtype = "plain";
  std::size_t sections_wanted = 0;

  SearchSnippetTest() {
    store.prepare_source = [this](mail::MessageSource& source) {
      source.header =
          "Subject: =?utf-8?q?Caf=C3=A9_of?= number " + std::to_string(source.id.uid) + "\r\n\r\n";
      if (!store.plan_seen.body_structure) return;
      auto structure = std::make_shared<imap::BodyStructure>();
      structure->type = "text";
      structure->subtype = subtype;
      structure->parameters.emplace_back("charset", "utf-8");
      structure->encoding = transfer_encoding;
      structure->size = text.size();
      source.body_structure = structure;
      for (const auto& wanted : store.plan_seen.more(source)) {
        ++sections_wanted;
        EXPECT_LE(wanted.octets_max, 64u * 1024);
        EXPECT_GT(wanted.octets_max, 0u);
        source.sections.emplace_back(wanted.section, text);
      }
    };
  }
  static std::string id(std::uint32_t uid) { return mail::email_id({1, 1, uid}); }
  std::string snippets(const std::string& filter, const std::string& ids) {
    return call("SearchSnippet/get",
                R"({"accountId":"A1","filter":)" + filter + R"(,"emailIds":[)" + ids + "]}");
  }
  std::string snippets(const std::string& filter) { return snippets(filter, '"' + id(2) + '"'); }
};

TEST_F(SearchSnippetTest, MarksSubjectAndBody) {
  EXPECT_THAT(
      snippets(R"({"text":"cafe"})"),
      HasSubstr(
          R"("list":[{"emailId":")" + id(2) +
          R"(","subject":"<mark>Café</mark> of number 2","preview":"Dear all, the &lt;b&gt;<mark>café</mark>)"
          R"(&lt;/b&gt; opens &amp; closes."}],"notFound":null)"));
  EXPECT_EQ(sections_wanted, 1u);
}

TEST_F(SearchSnippetTest, EachConditionMarksItsOwn) {
  EXPECT_THAT(snippets(R"({"subject":"cafe"})"),
              HasSubstr(R"("subject":"<mark>Café</mark> of number 2","preview":null)"));
  EXPECT_EQ(sections_wanted, 0u) << "the body isn't asked for";
  EXPECT_THAT(snippets(R"({"body":"opens"})"), HasSubstr(R"("subject":null,"preview":"Dear)"));
  EXPECT_THAT(snippets(R"({"header":["subject","number"]})"), HasSubstr("<mark>number</mark>"));
  EXPECT_THAT(snippets(R"({"from":"cafe"})"), HasSubstr(R"("subject":null,"preview":null)"));
  EXPECT_THAT(snippets("null"), HasSubstr(R"("subject":null,"preview":null)"));
  EXPECT_THAT(snippets(R"({"operator":"NOT","conditions":[{"text":"cafe"}]})"),
              HasSubstr(R"("subject":null,"preview":null)"));
  EXPECT_THAT(
      snippets(
          R"({"operator":"OR","conditions":[{"subject":"cafe"},{"operator":"AND","conditions":[{"body":"clos*"}]}]})"),
      HasSubstr("<mark>closes</mark>"));
}

TEST_F(SearchSnippetTest, HtmlIsReadAsText) {
  subtype = "html";
  text = "<style>opens{}</style><p title=opens>it&nbsp;opens &lt;soon&gt;</p>";
  EXPECT_THAT(snippets(R"({"body":"opens"})"),
              HasSubstr(R"("preview":"it <mark>opens</mark> &lt;soon&gt;")"));
  transfer_encoding = "base64";
  text = "PHA+Z3LDvMOfZTwvcD4=";
  EXPECT_THAT(snippets(R"({"body":"GRUSSE"})"), HasSubstr(R"("preview":"<mark>grüße</mark>")"));
}

TEST_F(SearchSnippetTest, WhatIsNotThere) {
  const auto answer =
      snippets(R"({"text":"x"})", '"' + id(9) + R"(","nonsense",")" + id(1) + R"(",")" + id(1) + '"');
  EXPECT_THAT(answer,
              HasSubstr(R"("list":[{"emailId":")" + id(1) +
                        R"(","subject":null,"preview":null}],"notFound":["nonsense",")" + id(9) + R"("])"));
  EXPECT_THAT(snippets(R"({"text":"x"})", ""), HasSubstr(R"("list":[],"notFound":null)"));
}

TEST_F(SearchSnippetTest, ManyEmailsInBoundedPieces) {
  store.ids.clear();
  std::string ids;
  for (std::uint32_t uid = 1; uid <= limits.max_objects_in_get; ++uid) {
    store.ids.push_back({1, 1, uid});
    ids += (uid > 1 ? ",\"" : "\"") + id(uid) + '"';
  }
  const auto answer = snippets(R"({"subject":"number"})", ids);
  EXPECT_THAT(answer, HasSubstr("<mark>number</mark> " + std::to_string(limits.max_objects_in_get)));
  EXPECT_LE(store.most_fetched, 50u);
  EXPECT_THAT(snippets(R"({"text":"x"})", ids + ",\"" + id(1) + '"'), HasSubstr("requestTooLarge"));
}

TEST_F(SearchSnippetTest, Refusals) {
  EXPECT_THAT(snippets(R"({"colour":"red"})"), HasSubstr("unsupportedFilter"));
  EXPECT_THAT(snippets(R"({"text":7})"), HasSubstr("invalidArguments"));
  std::string many;
  for (std::size_t i = 0; i <= mail::search_terms_max; ++i) many += std::to_string(i) + " ";
  EXPECT_THAT(snippets(R"({"text":")" + many + "\"}"), HasSubstr("unsupportedFilter"));
  EXPECT_THAT(call("SearchSnippet/get", R"({"accountId":"A1","filter":null})"),
              HasSubstr("invalidArguments"));
  EXPECT_THAT(call("SearchSnippet/get", R"({"accountId":"A1","filter":null,"emailIds":["a b"]})"),
              HasSubstr("/emailIds/0"));
  EXPECT_THAT(call("SearchSnippet/get", R"({"accountId":"A2","filter":null,"emailIds":[]})"),
              HasSubstr("accountNotFound"));
}

// --- Email/query's arguments ---

TEST_F(ApiTest, ConditionsAndSortsOfThreads) {
  EXPECT_THAT(call("Email/query", R"({"accountId":"A1","filter":{"allInThreadHaveKeyword":"$seen"},"sort":[
    {"property":"someInThreadHaveKeyword","keyword":"$flagged","isAscending":false},
    {"property":"subject","collation":"i;unicode-casemap"},{"property":"receivedAt","collation":"i;unknown"}]})"),
              HasSubstr("queryState"));
  ASSERT_EQ(store.query_seen.sort.keys.size(), 3u);
  EXPECT_EQ(store.query_seen.sort.keys[0].property, mail::SortKey::Property::some_in_thread_have_keyword);
  EXPECT_EQ(store.query_seen.sort.keys[0].keyword, "$flagged");
  EXPECT_EQ(store.query_seen.filter.children.at(0).kind, mail::Filter::Kind::all_in_thread_have_keyword);
  const auto sorted_by = [&](const std::string& comparator) {
    return call("Email/query", R"({"accountId":"A1","sort":[)" + comparator + "]}");
  };
  EXPECT_THAT(sorted_by(R"({"property":"allInThreadHaveKeyword"})"), HasSubstr("invalidArguments"));
  EXPECT_THAT(sorted_by(R"({"property":"subject","collation":"i;octet"})"), HasSubstr("unsupportedSort"));
  EXPECT_THAT(sorted_by(R"({"property":"colour"})"), HasSubstr("unsupportedSort"));
}

TEST_F(ApiTest, SortsAreAdvertisedAsTheyAreUnderstood) {
  std::string state;
  const auto session = session_resource({"alice", "A1", "https://x"}, limits, state);
  const auto begin = session.find("emailQuerySortOptions\":[") + 24;
  rapidjson::Document options;
  options.Parse(session.substr(begin - 1, session.find(']', begin) - begin + 2).c_str());
  ASSERT_TRUE(options.IsArray());
  EXPECT_EQ(options.Size(), 9u);
  for (const auto& option : options.GetArray())
    EXPECT_THAT(call("Email/query", R"({"accountId":"A1","sort":[{"keyword":"a","property":")" +
                                        std::string(option.GetString()) + "\"}]}"),
                HasSubstr("queryState"))
        << option.GetString();
}

TEST_F(ApiTest, AMailboxThatMayNotBeReadIsForbidden) {
  store.failure = Error(make_error_code(mail::Errc::forbidden));
  EXPECT_THAT(call("Email/query", R"({"accountId":"A1"})"), HasSubstr(R"("type":"forbidden")"));
}

}  // namespace
}  // namespace postern::jmap
