// The oldState of a /set: a client that takes newState for its own where oldState is its state misses nothing.
#include "unit/broker/jmap_fixture.hpp"

namespace postern::broker {
namespace {

struct OldState : JmapFixture {
  std::vector<std::string> ids;  // INBOX's, the newest first
  std::string archive, drafts;

  void SetUp() override {
    options.mailboxes = {{"INBOX", "", 6}, {"Archive", "\\Archive", 1}, {"Drafts", "\\Drafts", 0}};
    options.capabilities = testimapd::capabilities_of("full");
    std::erase(options.capabilities, "NOTIFY");
    start();
    archive = mail::mailbox_id(mailbox("Archive"));
    drafts = mail::mailbox_id(mailbox("Drafts"));
    const auto inbox = R"("filter":{"inMailbox":")" + mail::mailbox_id(mailbox("INBOX")) + "\"}";
    const auto all = ask(call("Email/query", inbox, "q"));
    for (const auto& id : all["methodResponses"][0][1]["ids"].GetArray()) ids.emplace_back(id.GetString());
    ask(call("Email/query", R"("filter":{"inMailbox":")" + drafts + "\"}", "q"));
  }
  std::string state(const std::string& type) {
    return ask(call(type + "/get", R"("ids":[])"))["methodResponses"][0][1]["state"].GetString();
  }
  // Opens the mailboxes that copies are in, so that all of them is known.
  void look() {
    const std::string get =
        R"("#ids":{"resultOf":"q","name":"Email/query","path":"/ids"},"properties":["keywords"])";
    for (const auto& in : {mail::mailbox_id(mailbox("INBOX")), archive})
      ask(call("Email/query", R"("filter":{"inMailbox":")" + in + "\"}", "q") + "," +
          call("Email/get", get, "g"));
  }
  struct States {
    std::string before, after;
  };
  States set(const std::string& name, const std::string& members) {
    const auto all = ask(call(name, members));
    const auto& told = all["methodResponses"][0][1];
    for (const char* failed : {"notCreated", "notUpdated", "notDestroyed"})
      EXPECT_TRUE(!told.HasMember(failed) || told[failed].IsNull()) << failed;
    return {told["oldState"].GetString(), told["newState"].GetString()};
  }
  std::size_t changed_since(const std::string& type, const std::string& since) {
    const auto all = ask(call(type + "/changes", R"("sinceState":")" + since + "\""));
    std::size_t count = 0;
    for (const char* list : {"created", "updated", "destroyed"})
      count += all["methodResponses"][0][1][list].Size();
    return count;
  }
  std::string flag(std::size_t number) const {
    return R"("update":{")" + ids[number] + R"(":{"keywords/$flagged":true}})";
  }
  std::string draft() const {
    return R"("create":{"d":{"mailboxIds":{")" + drafts + R"(":true},"from":[{"email":"a@x.example"}]}})";
  }
};

TEST_F(OldState, IsTheClientsWhereNothingElseHasChanged) {
  std::string email;
  const std::vector<std::string> changes{
      flag(0),
      R"("update":{")" + ids[1] + R"(":{"mailboxIds":{")" + archive + R"(":true},"keywords":{}}})",
      R"("update":{")" + ids[2] + R"(":{"mailboxIds/)" + archive + R"(":true}})",
      R"("update":{")" + ids[2] + R"(":{"keywords/$seen":null,"keywords/$answered":true}})",
      draft(),
      R"("destroy":[")" + ids[2] + "\",\"" + ids[3] + "\"]",
      flag(4) + "," + draft()};
  for (const auto& members : changes) {
    SCOPED_TRACE(members);
    look();
    email = state("Email");
    const auto told = set("Email/set", members);
    EXPECT_EQ(told.before, email);
    EXPECT_NE(told.after, email);
  }
  auto mailboxes = state("Mailbox");
  const auto made = set("Mailbox/set", R"("create":{"m":{"name":"Plans"}})");
  EXPECT_EQ(made.before, mailboxes);
  EXPECT_EQ(set("Mailbox/set", R"("update":{")" + archive + R"(":{"isSubscribed":false}})").before,
            made.after);
}

TEST_F(OldState, IsALaterOneWhereAnotherClientHasChangedSomething) {
  auto email = state("Email");
  for (const bool while_it_writes : {false, true}) {
    SCOPED_TRACE(while_it_writes);
    // What the server has to tell comes with its next answer, or in the midst of the very command.
    imapd->control(std::string(while_it_writes ? "on UID STORE do run " : "") + "flag alice INBOX 3 " +
                   (while_it_writes ? "-" : "+") + "\\Flagged");
    const auto told = set("Email/set", R"("update":{")" + ids[0] + R"(":{"keywords/$flagged":)" +
                                           (while_it_writes ? "null" : "true") + "}}");
    EXPECT_NE(told.before, email);
    EXPECT_EQ(changed_since("Email", email), 2u);
    email = state("Email");
  }
  imapd->control("on APPEND do run deliver alice Drafts 1");
  const auto told = set("Email/set", draft());
  EXPECT_NE(told.before, email);
  EXPECT_EQ(changed_since("Email", email), 2u);
}

}  // namespace
}  // namespace postern::broker
