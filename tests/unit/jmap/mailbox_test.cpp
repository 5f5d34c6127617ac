// Mailbox/query and Mailbox/set over a tree of Mailboxes in memory; Quota methods.
#include "api_fixture.hpp"
#include "jmap/mailbox_query.hpp"

namespace postern::jmap {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

mail::MailboxData mailbox(mail::MailboxKey key, std::string name, std::optional<mail::MailboxKey> parent = {},
                          mail::Role role = mail::Role::none, std::uint32_t sort_order = 10) {
  mail::MailboxData data;
  data.mailbox.key = key;
  data.mailbox.name = data.mailbox.path = data.mailbox.encoded_name = std::move(name);
  data.mailbox.parent = parent;
  data.mailbox.role = role;
  data.mailbox.sort_order = sort_order;
  return data;
}

// Does what servers do, and notes in which order.
struct TreeMailstore final : FakeMailstore {
  std::vector<mail::MailboxData> all;
  std::vector<std::string> done;
  int state_number = 1;
  mail::KeptLists kept;
  bool keeps_lists = true;

  mail::KeptLists* kept_lists() override { return keeps_lists ? &kept : nullptr; }

  std::string state(mail::StateType) override { return std::to_string(state_number); }
  io::Task<Result<mail::Snapshot<std::vector<mail::MailboxData>>>> mailboxes() override {
    co_return mail::Snapshot<std::vector<mail::MailboxData>>{all, std::to_string(state_number), freshness};
  }
  auto find(mail::MailboxKey key) {
    return std::find_if(all.begin(), all.end(), [&](const auto& data) { return data.mailbox.key == key; });
  }
  bool is_taken(std::optional<mail::MailboxKey> parent, const std::string& name, mail::MailboxKey self) {
    return std::any_of(all.begin(), all.end(), [&](const auto& data) {
      return data.mailbox.key != self && data.mailbox.parent == parent && data.mailbox.name == name;
    });
  }
  mail::MailboxOutcome refuse(std::string type, bool blocked = false) {
    return {mail::SetOutcome{false, std::move(type), {}, {}}, 0, blocked};
  }
  mail::MailboxOutcome succeed(std::string what, mail::MailboxKey key) {
    done.push_back(std::move(what));
    ++state_number;
    return {mail::SetOutcome{true, {}, {}, {}}, key, false};
  }
  io::Task<mail::MailboxOutcome> create_mailbox(mail::MailboxCreate create, mail::EffectsHook) override {
    if (is_taken(create.parent, create.name, 0)) co_return refuse("alreadyExists", true);
    const mail::MailboxKey key = 100 + all.size();
    all.push_back(mailbox(key, create.name, create.parent, create.role, create.sort_order.value_or(10)));
    all.back().mailbox.subscribed = create.subscribed;
    co_return succeed("create " + create.name, key);
  }
  io::Task<mail::MailboxOutcome> update_mailbox(mail::MailboxUpdate update, mail::EffectsHook) override {
    auto& found = find(update.key)->mailbox;
    const auto name = update.name.value_or(found.name);
    if (is_taken(update.parent.value_or(found.parent), name, update.key))
      co_return refuse("alreadyExists", true);
    found.parent = update.parent.value_or(found.parent);
    found.name = name;
    found.subscribed = update.subscribed.value_or(found.subscribed);
    co_return succeed("update " + name, update.key);
  }
  io::Task<mail::MailboxOutcome> destroy_mailbox(mail::MailboxKey key, bool, mail::EffectsHook) override {
    const auto found = find(key);
    if (found == all.end()) co_return refuse("notFound");
    for (const auto& data : all)
      if (data.mailbox.parent == key) co_return refuse("mailboxHasChild", true);
    const auto name = found->mailbox.name;
    all.erase(found);
    co_return succeed("destroy " + name, key);
  }
};

struct MailboxTest : ApiTest {
  TreeMailstore tree;
  MailboxTest() {
    tree.all = {mailbox(1, "Inbox", {}, mail::Role::inbox, 1),
                mailbox(2, "work"),
                mailbox(3, "Old", 2),
                mailbox(4, "Attic", 3),
                mailbox(5, "Play"),
                mailbox(6, "Trash", {}, mail::Role::trash, 6)};
    tree.all[4].mailbox.subscribed = true;
  }
  static std::string id(mail::MailboxKey key) { return mail::mailbox_id(key); }
  std::string run(const std::string& name, std::string arguments) {
    if (arguments.find("accountId") == std::string::npos) arguments.insert(1, "\"accountId\":\"A1\",");
    if (arguments.ends_with(",}")) arguments.erase(arguments.size() - 2, 1);
    return await(handle_api_request("{\"using\":[\"urn:ietf:params:jmap:core\"],\"methodCalls\":[[\"" + name +
                                        "\"," + arguments + ",\"c\"]]}",
                                    CallContext{.store = tree,
                                                .account_id = "A1",
                                                .limits = limits,
                                                .effects = {},
                                                .session_state = "s1",
                                                .features = AccountFeatures{.quota = true}}))
        .body;
  }
  // The ids of a query, as numbers.
  std::vector<int> query(std::string arguments) {
    const auto body = run("Mailbox/query", std::move(arguments));
    rapidjson::Document document;
    document.Parse(body.c_str());
    std::vector<int> found;
    const auto& response = document["methodResponses"][0];
    if (response[0] != "Mailbox/query") {
      ADD_FAILURE() << body;
      return found;
    }
    for (const auto& one : response[1]["ids"].GetArray())
      found.push_back(static_cast<int>(mail::parse_mailbox_id(one.GetString()).value_or(0)));
    return found;
  }
};

TEST_F(MailboxTest, QueriesFilter) {
  EXPECT_THAT(query("{}"), ElementsAre(1, 6, 4, 3, 5, 2));
  EXPECT_THAT(query(R"({"filter":null})"), ElementsAre(1, 6, 4, 3, 5, 2));
  EXPECT_THAT(query(R"({"filter":{"parentId":null}})"), ElementsAre(1, 6, 5, 2));
  EXPECT_THAT(query(R"({"filter":{"parentId":")" + id(2) + R"("}})"), ElementsAre(3));
  EXPECT_THAT(query(R"({"filter":{"name":"OL"}})"), ElementsAre(3));
  EXPECT_THAT(query(R"({"filter":{"role":"trash"}})"), ElementsAre(6));
  EXPECT_THAT(query(R"({"filter":{"hasAnyRole":true}})"), ElementsAre(1, 6));
  EXPECT_THAT(query(R"({"filter":{"hasAnyRole":false,"parentId":null}})"), ElementsAre(5, 2));
  EXPECT_THAT(query(R"({"filter":{"isSubscribed":true}})"), ElementsAre(1, 5));
  EXPECT_THAT(query(R"({"filter":{"role":null,"isSubscribed":false}})"), ElementsAre(4, 3, 2));
  EXPECT_THAT(query(R"({"filter":{"operator":"NOT","conditions":[{"hasAnyRole":true},{"name":"a"}]}})"),
              ElementsAre(3, 2));
  EXPECT_THAT(query(R"({"filter":{"operator":"OR","conditions":[{"role":"inbox"},{"name":"att"}]}})"),
              ElementsAre(1, 4));
}

TEST_F(MailboxTest, QueriesSort) {
  EXPECT_THAT(query(R"({"sort":[{"property":"name"}]})"), ElementsAre(4, 1, 3, 5, 6, 2));
  EXPECT_THAT(query(R"({"sort":[{"property":"name","isAscending":false}]})"), ElementsAre(2, 6, 5, 3, 1, 4));
  EXPECT_THAT(query(R"({"sort":[{"property":"sortOrder","isAscending":false},{"property":"name"}]})"),
              ElementsAre(4, 3, 5, 2, 6, 1));
  EXPECT_THAT(query(R"({"sort":[{"property":"name"}],"sortAsTree":true})"), ElementsAre(1, 5, 6, 2, 3, 4));
  EXPECT_THAT(query(R"({"sort":[{"property":"name","isAscending":false}],"sortAsTree":true})"),
              ElementsAre(2, 3, 4, 6, 5, 1));
}

TEST_F(MailboxTest, QueriesFilterAsTree) {
  EXPECT_THAT(query(R"({"filter":{"isSubscribed":false},"filterAsTree":true})"), ElementsAre(6, 4, 3, 2));
  EXPECT_THAT(query(R"({"filter":{"name":"ol"},"filterAsTree":true})"), ElementsAre());
  tree.all[1].mailbox.name = "folder";
  EXPECT_THAT(query(R"({"filter":{"name":"ol"},"filterAsTree":true})"), ElementsAre(2, 3));
}

TEST_F(MailboxTest, QueriesHaveWindows) {
  const std::string sorted = R"("sort":[{"property":"name"}])";  // 4 1 3 5 6 2
  EXPECT_THAT(query("{" + sorted + R"(,"position":2,"limit":2})"), ElementsAre(3, 5));
  EXPECT_THAT(query("{" + sorted + R"(,"position":-2})"), ElementsAre(6, 2));
  EXPECT_THAT(query("{" + sorted + R"(,"position":-20,"limit":1})"), ElementsAre(4));
  EXPECT_THAT(query("{" + sorted + R"(,"position":6})"), ElementsAre());
  EXPECT_THAT(query("{" + sorted + R"(,"limit":0})"), ElementsAre());
  EXPECT_THAT(query("{" + sorted + R"(,"anchor":")" + id(5) + R"(","limit":1})"), ElementsAre(5));
  EXPECT_THAT(query("{" + sorted + R"(,"anchor":")" + id(5) + R"(","anchorOffset":-1,"limit":2})"),
              ElementsAre(3, 5));
  EXPECT_THAT(query("{" + sorted + R"(,"anchor":")" + id(4) + R"(","anchorOffset":-5,"limit":1})"),
              ElementsAre(4));
  limits.query_ids_max = 2;
  EXPECT_THAT(
      run("Mailbox/query", R"({"calculateTotal":true})"),
      testing::AllOf(HasSubstr(R"("total":6)"), HasSubstr(R"("limit":2)"), HasSubstr(R"("position":0)")));
  EXPECT_THAT(run("Mailbox/query", R"({"limit":2})"), Not(HasSubstr(R"("limit")")));
}

TEST_F(MailboxTest, QueriesAreRefused) {
  const auto refused = [&](const std::string& arguments, const std::string& type) {
    EXPECT_THAT(run("Mailbox/query", arguments), HasSubstr("\"type\":\"" + type + "\"")) << arguments;
  };
  refused(R"({"filter":{"size":1}})", "unsupportedFilter");
  refused(R"({"filter":{"name":1}})", "invalidArguments");
  refused(R"({"filter":{"parentId":1}})", "invalidArguments");
  refused(R"({"filter":{"hasAnyRole":"x"}})", "invalidArguments");
  refused(R"({"filter":{"operator":"XOR","conditions":[]}})", "invalidArguments");
  refused(R"({"filter":{"operator":"AND"}})", "invalidArguments");
  refused(R"({"filter":7})", "invalidArguments");
  refused(R"({"sort":[{"property":"role"}]})", "unsupportedSort");
  refused(R"({"sort":[{"property":"name","collation":"i;octet"}]})", "unsupportedSort");
  refused(R"({"sort":{}})", "invalidArguments");
  refused(R"({"sortAsTree":1})", "invalidArguments");
  refused(R"({"limit":-1})", "invalidArguments");
  refused(R"({"collapseThreads":true})", "invalidArguments");
  refused(R"({"anchor":"m0"})", "anchorNotFound");
  refused(R"({"accountId":"A2"})", "accountNotFound");
  std::string deep = "{}";
  for (std::size_t i = 0; i < mail::filter_depth_max; ++i)
    deep = R"({"operator":"AND","conditions":[)" + deep + "]}";
  refused("{\"filter\":" + deep + "}", "unsupportedFilter");
}

TEST_F(MailboxTest, QueryStatesChangeWithTheResult) {
  const auto state_of = [&](const std::string& arguments) {
    const auto body = run("Mailbox/query", arguments);
    const auto at = body.find("\"queryState\":\"") + 14;
    return body.substr(at, body.find('"', at) - at);
  };
  const auto before = state_of(R"({"filter":{"name":"work"}})");
  tree.all[4].mailbox.name = "Games";
  ++tree.state_number;
  EXPECT_EQ(state_of(R"({"filter":{"name":"work"},"limit":0})"), before);
  tree.all[4].mailbox.name = "Homework";
  EXPECT_NE(state_of(R"({"filter":{"name":"work"}})"), before);
}

// What a client that has the ids of a query makes of the answer to /queryChanges, and that answer's state.
struct MailboxQueryChangesTest : MailboxTest {
  std::string state;
  std::vector<std::string> ids;
  std::size_t told = 0;  // removed and added, by the last refresh()

  rapidjson::Document answer_to(const std::string& method, const std::string& arguments) {
    rapidjson::Document document;
    document.Parse(run(method, arguments).c_str());
    EXPECT_STREQ(document["methodResponses"][0][0].GetString(), method.c_str());
    return document;
  }
  void ask(const std::string& query) {
    const auto document = answer_to("Mailbox/query", "{" + query + "}");
    const auto& answer = document["methodResponses"][0][1];
    EXPECT_TRUE(answer["canCalculateChanges"].GetBool());
    state = answer["queryState"].GetString();
    ids.clear();
    for (const auto& id : answer["ids"].GetArray()) ids.emplace_back(id.GetString());
  }
  void refresh(const std::string& query) {
    const auto comma = query.empty() ? "" : ",";
    const auto document =
        answer_to("Mailbox/queryChanges",
                  "{" + query + comma + R"("calculateTotal":true,"sinceQueryState":")" + state + "\"}");
    const auto& answer = document["methodResponses"][0][1];
    EXPECT_EQ(answer["oldQueryState"].GetString(), state);
    state = answer["newQueryState"].GetString();
    told = answer["removed"].Size() + answer["added"].Size();
    for (const auto& id : answer["removed"].GetArray()) std::erase(ids, id.GetString());
    for (const auto& one : answer["added"].GetArray()) {
      const auto index = one["index"].GetUint();
      ASSERT_LE(index, ids.size());
      ids.insert(ids.begin() + index, one["id"].GetString());
    }
    EXPECT_EQ(answer["total"].GetUint(), ids.size());
    const auto before = std::pair(state, ids);
    ask(query);
    EXPECT_EQ(before, std::pair(state, ids));
  }
};

TEST_F(MailboxQueryChangesTest, TellTheNewOutOfTheOld) {
  for (const std::string query :
       {R"("sort":[{"property":"name"}])",
        R"("sort":[{"property":"name","isAscending":false}],"sortAsTree":true)",
        R"("filter":{"name":"o"},"sort":[{"property":"parentId"},{"property":"name"}])",
        R"("filter":{"isSubscribed":false},"filterAsTree":true,"sortAsTree":true)", R"("filter":null)",
        R"("filter":{"operator":"NOT","conditions":[{"hasAnyRole":true}]})"}) {
    SCOPED_TRACE(query);
    *this->tree.kept_lists() = {};
    tree.all.resize(6);
    tree.all[1].mailbox.name = "work";
    ask(query);
    refresh(query);
    EXPECT_EQ(told, 0u);
    tree.all.push_back(mailbox(7, "Book", 2));
    refresh(query);
    tree.all[1].mailbox.name = "Bowl";  // its children go along in a tree
    refresh(query);
    tree.all[3].mailbox.parent.reset();
    tree.all[4].mailbox.subscribed = !tree.all[4].mailbox.subscribed;
    refresh(query);
    tree.all.erase(tree.all.begin() + 5, tree.all.end());
    tree.all.push_back(mailbox(6, "Trash", {}, mail::Role::trash, 6));
    tree.all[2].mailbox.parent = 2;
    tree.all[3].mailbox.parent = 3;
    tree.all[4].mailbox.subscribed = true;
    refresh(query);
  }
}

TEST_F(MailboxQueryChangesTest, WhatHasChangedIsPutInAgainEvenInItsPlace) {
  const std::string by_name = R"("sort":[{"property":"name"}])";
  ask(by_name);
  tree.all[5].mailbox.name = "Trashes";
  refresh(by_name);
  EXPECT_EQ(told, 2u);
  // What the query doesn't go by is nothing to it.
  tree.all[5].mailbox.sort_order = 8;
  tree.all[5].total_emails = 100;
  refresh(by_name);
  EXPECT_EQ(told, 0u);
}

TEST_F(MailboxQueryChangesTest, AStateCountsForAnyQuery) {
  ask(R"("sort":[{"property":"name"}])");
  refresh(R"("sort":[{"property":"sortOrder","isAscending":false}],"filter":{"name":"a"})");
}

TEST_F(MailboxQueryChangesTest, AreRefused) {
  const auto refused = [&](const std::string& arguments, const std::string& type) {
    EXPECT_THAT(run("Mailbox/queryChanges", arguments), HasSubstr("\"type\":\"" + type + "\"")) << arguments;
  };
  ask("");
  const auto since = R"("sinceQueryState":")" + state + "\"";
  refused("{}", "invalidArguments");
  refused(R"({"sinceQueryState":7})", "invalidArguments");
  refused(R"({"sinceQueryState":"1"})", "cannotCalculateChanges");
  refused("{" + since + R"(,"maxChanges":0})", "invalidArguments");
  refused("{" + since + R"(,"upToId":"?"})", "invalidArguments");
  refused("{" + since + R"(,"position":1})", "invalidArguments");
  refused("{" + since + R"(,"filter":{"size":1}})", "unsupportedFilter");
  refused("{" + since + R"(,"accountId":"A2"})", "accountNotFound");
  tree.all[0].mailbox.sort_order = 50;
  refused("{" + since + R"(,"maxChanges":1})", "tooManyChanges");
  EXPECT_THAT(run("Mailbox/queryChanges", "{" + since + R"(,"maxChanges":2})"), HasSubstr(R"("removed":[")"));
  tree.keeps_lists = false;
  refused("{" + since + "}", "cannotCalculateChanges");
  EXPECT_THAT(run("Mailbox/query", "{}"), HasSubstr(R"("canCalculateChanges":false)"));
}

TEST_F(MailboxTest, CreatesInAnyOrder) {
  const auto body =
      run("Mailbox/set", R"({"create":{"c":{"name":"C","parentId":"#b"},"b":{"name":"B","parentId":"#a"},)"
                         R"("a":{"name":"A","parentId":null,"sortOrder":7,"isSubscribed":false}}})");
  EXPECT_THAT(tree.done, ElementsAre("create A", "create B", "create C"));
  EXPECT_EQ(tree.all.back().mailbox.parent, tree.all[tree.all.size() - 2].mailbox.key);
  EXPECT_THAT(body, HasSubstr(R"("notCreated":null)"));
  // What the client has said is not said to it.
  const auto made = tree.all[6].mailbox;
  EXPECT_THAT(body, HasSubstr("\"a\":{\"id\":\"" + id(made.key) + "\",\"role\":null,\"totalEmails\":0"));
  EXPECT_THAT(body, Not(HasSubstr(R"("sortOrder":7)")));
}

TEST_F(MailboxTest, ChangesInTheOrderThatIsPossible) {
  run("Mailbox/set", R"({"create":{"n":{"name":"work"}},"update":{")" + id(5) +
                         R"(":{"name":"Old","parentId":")" + id(2) + R"("},")" + id(3) +
                         R"(":{"parentId":null},")" + id(2) + R"(":{"name":"Former"}}})");
  EXPECT_THAT(tree.done, ElementsAre("update Old", "update Former", "create work", "update Old"));
  tree.done.clear();
  // Parents before their children, and one whose child moves away.
  run("Mailbox/set", R"({"destroy":[")" + id(2) + R"(",")" + id(3) + R"(",")" + id(5) + R"("],"update":{")" +
                         id(4) + R"(":{"parentId":null}}})");
  EXPECT_THAT(tree.done, ElementsAre("update Attic", "destroy Old", "destroy Former", "destroy Old"));
}

TEST_F(MailboxTest, SaysWhatCantBeSet) {
  const auto refused = [&](const std::string& arguments, const std::string& type) {
    const auto body = run("Mailbox/set", arguments);
    EXPECT_THAT(body, HasSubstr("\"type\":\"" + type + "\"")) << arguments;
    return body;
  };
  refused(R"({"create":{"a":{"name":"work"}}})", "alreadyExists");
  refused(R"({"create":{"a":{}}})", "invalidProperties");
  refused(R"({"create":{"a":7}})", "invalidProperties");
  refused(R"({"create":{"a":{"name":7}}})", "invalidProperties");
  refused(R"({"create":{"a":{"name":"x","parentId":"#b"}}})", "invalidProperties");
  refused(R"({"create":{"a":{"name":"x","parentId":"#b"},"b":{"name":"y","parentId":"#a"}}})",
          "invalidProperties");
  refused(R"({"create":{"a":{"name":"x","role":"chief"}}})", "invalidProperties");
  refused(R"({"create":{"a":{"name":"x","sortOrder":-1}}})", "invalidProperties");
  refused(R"({"create":{"a":{"name":"x","sortOrder":2147483648}}})", "invalidProperties");
  EXPECT_THAT(refused(R"({"create":{"a":{"name":"x","id":"m1","totalEmails":0,"color":"red"}}})",
                      "invalidProperties"),
              HasSubstr(R"("properties":["id","totalEmails","color"])"));
  const auto work = "{\"update\":{\"" + id(2) + "\":";
  refused(work + R"({"name":"Play"}}})", "alreadyExists");
  refused(work + R"({"name":null}}})", "invalidProperties");
  refused(work + R"({"role":"sent"}}})", "invalidProperties");
  refused(work + R"({"totalEmails":9}}})", "invalidProperties");
  refused(work + R"({"myRights/mayDelete":true}}})", "invalidProperties");
  refused(work + R"({"name/first":"x"}}})", "invalidPatch");
  refused(work + R"({"color":"red"}}})", "invalidProperties");
  refused(work + R"([]}})", "invalidPatch");
  refused(work + R"({"name":"x"}},"destroy":[")" + id(2) + R"("]})", "willDestroy");
  refused(R"({"update":{"m123":{}}})", "notFound");
  refused(R"({"destroy":["nonexistent"]})", "notFound");
  refused(R"({"destroy":[")" + id(2) + R"("]})", "mailboxHasChild");
  refused(R"({"ifInState":"0"})", "stateMismatch");
  refused(R"({"onDestroyRemoveEmails":1})", "invalidArguments");
  tree.freshness = mail::Freshness::stale;
  refused(R"({"create":{"a":{"name":"x"}}})", "serverUnavailable");
  EXPECT_THAT(tree.done, ElementsAre());
}

TEST_F(MailboxTest, APropertyThatStaysIsNoChange) {
  const auto body =
      run("Mailbox/set", "{\"update\":{\"" + id(2) + "\":{\"id\":\"" + id(2) +
                             R"(","name":"work","role":null,"totalEmails":0,"isSubscribed":true}}})");
  EXPECT_THAT(body, HasSubstr("\"updated\":{\"" + id(2) + "\":null}"));
  EXPECT_TRUE(tree.all[1].mailbox.subscribed);
}

TEST_F(MailboxTest, QuotasAreAnswered) {
  EXPECT_THAT(run("Quota/get", R"({"ids":null,"properties":["used","types"]})"),
              HasSubstr(R"("list":[{"id":"q1","used":5,"types":["Email"]}],"notFound":[])"));
  EXPECT_THAT(run("Quota/get", R"({"ids":["q2"]})"), HasSubstr(R"("list":[],"notFound":["q2"])"));
  EXPECT_THAT(
      run("Quota/changes", R"({"sinceState":"2"})"),
      HasSubstr(R"("newState":"3","hasMoreChanges":false,"created":[],"updated":["q1"],"destroyed":[],)"
                R"("updatedProperties":["used"])"));
  EXPECT_THAT(run("Quota/changes", R"({"sinceState":"1"})"), HasSubstr("cannotCalculateChanges"));
  EXPECT_THAT(run("Quota/query", R"({"filter":{"resourceType":"octets","type":"Email","name":"stor"}})"),
              HasSubstr(R"("ids":["q1"])"));
  EXPECT_THAT(run("Quota/query", R"({"filter":{"scope":"domain"},"sort":[{"property":"used"}]})"),
              HasSubstr(R"("ids":[])"));
  EXPECT_THAT(run("Quota/query", R"({"sort":[{"property":"hardLimit"}]})"), HasSubstr("unsupportedSort"));
}

}  // namespace
}  // namespace postern::jmap
