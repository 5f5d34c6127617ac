// An hour of one person's reading, as JMAP requests, and what it costs the IMAP server, exactly: about what an ideal
// client on one connection would cost it.
#include "unit/broker/jmap_fixture.hpp"

namespace postern::broker {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

constexpr const char* list_properties =
    R"(["id","threadId","mailboxIds","keywords","size","receivedAt","subject","from","to","preview","hasAttachment"])";
constexpr const char* open_properties =
    R"(["id","subject","from","to","cc","bodyValues","textBody","htmlBody","attachments","bodyStructure"])";

struct HourOfReading : JmapFixture {
  int actions = 0;
  std::vector<std::string> page;  // ids of the Emails shown last

  ~HourOfReading() override {
    if (account) account->set_watched(false);
    loop.poll();
  }
  static std::string query(const std::string& filter, const std::string& more = {}) {
    return R"(["Email/query",{"accountId":"A1","filter":)" + filter + R"(,"limit":50)" + more + R"(},"q"],)" +
           R"(["Email/get",{"accountId":"A1","#ids":{"resultOf":"q","name":"Email/query","path":"/ids"},)" +
           R"("properties":)" + list_properties + R"(},"g"])";
  }
  std::string inbox_filter;
  void show(const std::string& filter, const std::string& more = {}) {
    ++actions;
    const auto document = ask(query(filter, more));
    page.clear();
    for (const auto& id : document["methodResponses"][0][1]["ids"].GetArray())
      page.emplace_back(id.GetString());
  }
  void check_for_news() {
    ++actions;
    ask(R"(["Mailbox/get",{"accountId":"A1","ids":null},"m"],)" + query(inbox_filter));
  }
  void open(std::size_t number) {
    ++actions;
    const auto document =
        ask(R"(["Email/get",{"accountId":"A1","ids":[")" + page.at(number) + R"("],"properties":)" +
            open_properties + R"(,"fetchAllBodyValues":true},"o"])");
    EXPECT_GT(document["methodResponses"][0][1]["list"][0]["bodyValues"].MemberCount(), 0u);
  }
  void set(std::size_t number, const std::string& patch) {
    ++actions;
    const auto document =
        ask(R"(["Email/set",{"accountId":"A1","update":{")" + page.at(number) + "\":" + patch + R"(}},"s"])");
    EXPECT_TRUE(document["methodResponses"][0][1]["updated"].IsObject());
  }
  void arrive() {
    ++actions;
    ASSERT_NE(
        imapd->deliver("alice", "INBOX",
                       "From: anna@example.org\r\nSubject: new\r\nContent-Type: text/plain\r\n\r\nhello\r\n"),
        0u);
  }

  std::map<std::string, std::uint64_t> read_for_an_hour() {
    const auto archive = mail::mailbox_id(mailbox("Archive"));
    inbox_filter = R"({"inMailbox":")" + mail::mailbox_id(mailbox("INBOX")) + "\"}";
    for (int minute = 0; minute < 60; ++minute) {
      check_for_news();
      switch (minute) {
        case 0: show(inbox_filter); break;
        case 10: show(inbox_filter, R"(,"position":50)"); break;
        case 16: show(inbox_filter, R"(,"position":100)"); break;
        case 22: show(inbox_filter); break;
        case 25:
          show(R"({"operator":"AND","conditions":[)" + inbox_filter + R"(,{"text":"message"}]})");
          break;
        case 28: show(inbox_filter, R"(,"sort":[{"property":"subject"}])"); break;
        case 34: show(inbox_filter, R"(,"sort":[{"property":"size","isAscending":false}])"); break;
        case 40: show(inbox_filter); break;
        case 32:
        case 44:
        case 56:
          set(static_cast<std::size_t>(30 + minute / 12), R"({"mailboxIds":{")" + archive + R"(":true}})");
          break;
        default: break;
      }
      if (minute % 3 == 0) open(static_cast<std::size_t>(minute / 3));
      if (minute % 12 == 1) set(static_cast<std::size_t>(20 + minute / 12), R"({"keywords/work":true})");
      if (minute % 12 == 5) arrive();
      clock.advance(std::chrono::minutes(1));
      for (int i = 0; i < 5; ++i) loop.context().run_one_for(std::chrono::milliseconds(1)), loop.poll();
    }
    EXPECT_EQ(actions, 101);
    std::map<std::string, std::uint64_t> counted = imapd->counts().commands;
    counted.erase("DONE");
    return counted;
  }
  void begin(std::initializer_list<const char*> without) {
    options.capabilities = testimapd::capabilities_of("full");
    for (const auto* name : without) std::erase(options.capabilities, std::string(name));
    options.mailboxes.front().messages = 300;
    start();
    account->set_watched(true);
    idle();
  }
};

TEST_F(HourOfReading, CostsWhatAnIdealClientWould) {
  begin({});
  const auto counted = read_for_an_hour();
  std::uint64_t all = 0;
  for (const auto& [name, count] : counted) all += count;
  EXPECT_THAT(counted,
              ElementsAre(Pair("AUTHENTICATE", 1), Pair("ENABLE", 1), Pair("IDLE", 40), Pair("LIST", 2),
                          Pair("NOTIFY", 1), Pair("SELECT", 1), Pair("UID FETCH", 31), Pair("UID MOVE", 3),
                          Pair("UID SEARCH", 2), Pair("UID SORT", 2), Pair("UID STORE", 5)));
  EXPECT_EQ(all, 89u);
  EXPECT_EQ(imapd->counts().logins, 1u);
}

TEST_F(HourOfReading, CostsLittleMoreWithoutNotify) {
  begin({"NOTIFY"});
  const auto counted = read_for_an_hour();
  EXPECT_THAT(counted,
              ElementsAre(Pair("AUTHENTICATE", 1), Pair("ENABLE", 1), Pair("IDLE", 81), Pair("LIST", 61),
                          Pair("SELECT", 2), Pair("UID FETCH", 31), Pair("UID MOVE", 3),
                          Pair("UID SEARCH", 2), Pair("UID SORT", 2), Pair("UID STORE", 5)));
}

}  // namespace
}  // namespace postern::broker
