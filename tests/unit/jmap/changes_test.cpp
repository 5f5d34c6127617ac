// The methods Mailbox/changes, Email/changes, Thread/changes and Email/queryChanges: arguments, responses, errors.
#include "unit/jmap/api_fixture.hpp"

namespace postern::jmap {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct ChangesTest : ApiTest {
  ChangesTest() { store.changes.emplace(); }
};

TEST_F(ChangesTest, EachTypeTellsWhatChanged) {
  store.changes->has_more = true;
  const auto email = call("Email/changes", R"({"accountId":"A1","sinceState":"s5","maxChanges":3})");
  EXPECT_THAT(email, HasSubstr(R"(["Email/changes",{"accountId":"A1","oldState":"s5","newState":"n9",)"
                               R"("hasMoreChanges":true,"created":[],"updated":[")" +
                               mail::email_id({1, 1, 3}) + R"("],"destroyed":[]})"));
  EXPECT_EQ(store.since_seen, "s5");
  EXPECT_EQ(store.max_seen, 3u);
  const auto thread = call("Thread/changes", R"({"accountId":"A1","sinceState":"s5","maxChanges":null})");
  EXPECT_THAT(thread, HasSubstr(R"("updated":[")" + mail::thread_id(5) + R"("])"));
  EXPECT_EQ(store.max_seen, mail::changes_unlimited);
}

TEST_F(ChangesTest, CountsAloneHaveUpdatedProperties) {
  const std::string arguments = R"({"accountId":"A1","sinceState":"s5"})";
  EXPECT_THAT(call("Mailbox/changes", arguments), HasSubstr(R"("updatedProperties":null)"));
  store.changes->counts_only = true;
  EXPECT_THAT(
      call("Mailbox/changes", arguments),
      HasSubstr(R"("updatedProperties":["totalEmails","unreadEmails","totalThreads","unreadThreads"])"));
  EXPECT_THAT(call("Email/changes", arguments), Not(HasSubstr("updatedProperties")));
}

TEST_F(ChangesTest, ArgumentsAndErrors) {
  for (const auto* name : {"Mailbox/changes", "Email/changes", "Thread/changes"}) {
    for (const auto* wrong : {R"({"accountId":"A1"})", R"({"accountId":"A1","sinceState":5})",
                              R"({"accountId":"A1","sinceState":"s","maxChanges":0})",
                              R"({"accountId":"A1","sinceState":"s","maxChanges":-1})",
                              R"({"accountId":"A1","sinceState":"s","other":1})"})
      EXPECT_THAT(call(name, wrong), HasSubstr("invalidArguments")) << name << " " << wrong;
    EXPECT_THAT(call(name, R"({"accountId":"A2","sinceState":"s"})"), HasSubstr("accountNotFound"));
    store.changes.reset();
    EXPECT_THAT(call(name, R"({"accountId":"A1","sinceState":"s"})"), HasSubstr("cannotCalculateChanges"));
    store.changes.emplace();
  }
}

TEST_F(ChangesTest, QueryChanges) {
  const auto two = mail::email_id({1, 1, 2}), three = mail::email_id({1, 1, 3});
  const auto answer =
      call("Email/queryChanges", R"({"accountId":"A1","sinceQueryState":"q1","upToId":")" + two +
                                     R"(","calculateTotal":true,"maxChanges":9,)"
                                     R"("filter":{"hasKeyword":"$seen"},"collapseThreads":true})");
  EXPECT_THAT(answer, HasSubstr(R"({"accountId":"A1","oldQueryState":"q1","newQueryState":"q2","total":7,)"
                                R"("removed":[")" +
                                two + R"("],"added":[{"id":")" + three + R"(","index":0}]})"));
  const auto& seen = store.query_changes_seen;
  EXPECT_EQ(seen.since_query_state, "q1");
  EXPECT_EQ(seen.up_to, (mail::EmailKey{1, 1, 2}));
  EXPECT_EQ(seen.max, 9u);
  EXPECT_TRUE(seen.query.collapse_threads);
  EXPECT_THAT(call("Email/queryChanges", R"({"accountId":"A1","sinceQueryState":"q1"})"),
              Not(HasSubstr("total")));
  EXPECT_THAT(call("Email/queryChanges", R"({"accountId":"A1","sinceQueryState":"q1","maxChanges":1})"),
              HasSubstr("tooManyChanges"));
  for (const auto* wrong :
       {R"({"accountId":"A1"})", R"({"accountId":"A1","sinceQueryState":"q","maxChanges":0})",
        R"({"accountId":"A1","sinceQueryState":"q","position":0})",
        R"({"accountId":"A1","sinceQueryState":"q","upToId":""})"})
    EXPECT_THAT(call("Email/queryChanges", wrong), HasSubstr("invalidArguments")) << wrong;
}

}  // namespace
}  // namespace postern::jmap
