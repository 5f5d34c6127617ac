// Each command of what a client does refused once, and the connection broken before, within and behind its answer:
// what the client is told is right or a defined error, nothing is lost, filed twice or forgotten, and afterwards all is
// as the server has it, under the ids of before.
//
// Run each time: for each kind of command, of those that read and those that write, and each kind of server, NO to the
// first of its kind, and one break, in turns. All commands with all breaks: POSTERN_FAULT_SWEEP=all, three minutes.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <set>

#include "unit/broker/jmap_fixture.hpp"
#include "unit/broker/truth.hpp"

namespace postern::broker {
namespace {

// What became of an object of a /set. Undone: certainly not; unknown: it may have been done.
enum class Fate : std::uint8_t { done, undone, unknown };

struct FaultSweep : JmapFixture, ::testing::WithParamInterface<const char*> {
  std::map<std::string, std::string> mailbox_ids;  // by name
  std::vector<std::string> ids;                    // INBOX's Emails by UID, from 1
  std::vector<std::string> message_ids;            // the same
  std::set<std::string> unheard;                   // of these

  FaultSweep() {
    options.capabilities = testimapd::capabilities_of(GetParam());
    options.mailboxes = {{"INBOX", "", 8}, {"Archive", "\\Archive", 2}, {"Drafts", "\\Drafts", 0}};
    // At once, when the connection is lost: nobody moves the clock while a request waits.
    server_options.backoff_min = server_options.backoff_max = Duration::zero();
  }

  // A server and an account of which nothing is known.
  void begin_anew() {
    EXPECT_TRUE(end());
    server.reset();
    segment.reset();
    imapd.reset();
    std::filesystem::remove(directory + "/segment");
    fragments.clear();
    unheard.clear();
    start();
  }
  bool end() {
    if (!account) return true;
    const std::weak_ptr<mail::Account> last = account;
    account.reset();
    return pump_until([&] { return last.expired(); });
  }
  ~FaultSweep() override { end(); }

  // --- Calls and what they answer ---

  static void drop_states(rapidjson::Value& value) {
    if (value.IsArray())
      for (auto& item : value.GetArray()) drop_states(item);
    if (!value.IsObject()) return;
    for (const char* name : {"state", "queryState", "oldState", "newState", "sinceQueryState"})
      value.RemoveMember(name);
    for (auto& member : value.GetObject()) drop_states(member.value);
  }
  // The method responses, without states.
  rapidjson::Document responses(const std::string& calls) {
    rapidjson::Document all;
    all.Parse(answer(calls).c_str());
    EXPECT_TRUE(!all.HasParseError() && all.HasMember("methodResponses")) << calls;
    drop_states(all);
    return all;
  }
  static std::string text_of(const rapidjson::Value& value) {
    rapidjson::StringBuffer out;
    rapidjson::Writer<rapidjson::StringBuffer> writer(out);
    value.Accept(writer);
    return out.GetString();
  }
  static bool is_defined(const std::string& type) {
    static const std::string known =
        " serverFail serverUnavailable forbidden invalidProperties mailboxHasEmail "
        "invalidResultReference cannotCalculateChanges ";
    return known.find(" " + type + " ") != std::string::npos;
  }
  // Each response is the expected one, or says why there is none.
  static void expect_right_or_refused(const rapidjson::Document& now, const rapidjson::Document& expected) {
    const auto& all = now["methodResponses"];
    const auto& right = expected["methodResponses"];
    ASSERT_EQ(all.Size(), right.Size());
    for (rapidjson::SizeType i = 0; i < all.Size(); ++i) {
      if (all[i][0] == "error")
        EXPECT_TRUE(is_defined(all[i][1]["type"].GetString())) << text_of(all[i]);
      else
        EXPECT_EQ(text_of(all[i]), text_of(right[i]));
    }
  }
  // What the one call did with an object: "updated" and "notUpdated" and its id. `more`: what it says of it.
  static Fate fate_of(const rapidjson::Document& answered, const char* done, const char* not_done,
                      const std::string& id, std::string* made = nullptr) {
    const auto& response = answered["methodResponses"][0];
    const auto unless_unknown = [](const std::string& type) {
      EXPECT_TRUE(is_defined(type)) << type;
      return type == "serverFail" ? Fate::unknown : Fate::undone;
    };
    if (response[0] == "error") return unless_unknown(response[1]["type"].GetString());
    const auto& all = response[1][done];
    if (all.IsArray()) {
      for (const auto& item : all.GetArray())
        if (item == id.c_str()) return Fate::done;
    } else if (all.IsObject() && all.HasMember(id.c_str())) {
      if (made != nullptr) *made = all[id.c_str()]["id"].GetString();
      return Fate::done;
    }
    const auto& failed = response[1][not_done];
    EXPECT_TRUE(failed.IsObject() && failed.HasMember(id.c_str())) << text_of(response);
    if (!failed.IsObject() || !failed.HasMember(id.c_str())) return Fate::unknown;
    return unless_unknown(failed[id.c_str()]["type"].GetString());
  }

  // --- What is there ---

  Truth truth() { return Truth::parse(imapd->control("messages alice")); }
  std::string told_to_client() {
    const auto all = responses(call("Mailbox/get", R"("ids":null,"properties":["id","name"])", "m") + "," +
                               call("Email/query", R"("limit":100)", "q") + "," +
                               call("Email/get",
                                    R"("#ids":{"resultOf":"q","name":"Email/query","path":"/ids"},)"
                                    R"("properties":["messageId","keywords","mailboxIds"])",
                                    "g"));
    std::map<std::string, std::string> names;
    for (const auto& response : all["methodResponses"].GetArray())
      if (response[0] == "error") return text_of(response);
    for (const auto& mailbox : all["methodResponses"][0][1]["list"].GetArray())
      names[mailbox["id"].GetString()] = mailbox["name"].GetString();
    names[mailbox_ids["INBOX"]] = "INBOX";
    std::map<std::string, std::set<std::string>> lines;
    for (const auto& email : all["methodResponses"][2][1]["list"].GetArray()) {
      auto& words = lines[email["messageId"][0].GetString()];
      for (const auto& in : email["mailboxIds"].GetObject()) words.insert(names[in.name.GetString()]);
      for (const auto& has : email["keywords"].GetObject())
        if (has.name.GetString()[0] == '$') words.insert(has.name.GetString());
    }
    return lines_of(lines);
  }
  // Everything is as if nothing had been, once the list of mailboxes is asked for again.
  void expect_goes_on() {
    imapd->control("clear_rules");
    std::string told;
    EXPECT_TRUE(pump_until([&] {
      clock.advance(std::chrono::seconds(31));
      told = told_to_client();
      return told == truth().text();
    })) << told
        << "--\n"
        << truth().text();
  }
  void learn_ids() {
    begin_anew();
    const auto all = responses(call("Mailbox/get", R"("ids":null)", "m"));
    for (const auto& mailbox : all["methodResponses"][0][1]["list"].GetArray())
      mailbox_ids[mailbox["role"].IsString() && mailbox["role"] == "inbox" ? "INBOX"
                                                                           : mailbox["name"].GetString()] =
          mailbox["id"].GetString();
    const auto list = responses(
        call("Email/query", R"("filter":{"inMailbox":")" + mailbox_ids["INBOX"] + "\"}", "q") + "," +
        call("Email/get",
             R"("#ids":{"resultOf":"q","name":"Email/query","path":"/ids"},"properties":["messageId"])",
             "g"));
    std::map<std::string, std::string> by_message;
    for (const auto& email : list["methodResponses"][1][1]["list"].GetArray())
      by_message[email["messageId"][0].GetString()] = email["id"].GetString();
    ASSERT_EQ(by_message.size(), 8u);
    for (const auto& [message, id] : by_message) {
      message_ids.push_back(message);
      ids.push_back(id);
    }
  }

  // --- Calls that read ---

  std::vector<std::string> reads() const {
    const auto in = [&](const char* name) {
      return R"("filter":{"inMailbox":")" + mailbox_ids.at(name) + "\"}";
    };
    const std::string get = R"("#ids":{"resultOf":"q","name":"Email/query","path":"/ids"},"properties":)";
    const std::string list =
        get +
        R"(["id","threadId","mailboxIds","keywords","size","receivedAt","subject","preview","hasAttachment"])";
    const std::string thread = R"("#ids":{"resultOf":"g","name":"Email/get","path":"/list/*/threadId"})";
    return {
        call("Mailbox/get", R"("ids":null)"),
        call("Email/query", in("INBOX"), "q") + "," + call("Email/get", list, "g"),
        call("Email/get", R"("ids":[")" + ids[2] + R"("],"fetchAllBodyValues":true)"),
        call("Email/query", R"("filter":{"text":"message"},"sort":[{"property":"subject"}])", "q") + "," +
            call("Email/get", get + R"(["messageId","subject"])", "g"),
        call("Email/query",
             R"("filter":{"hasKeyword":"$seen"},"collapseThreads":true,"sort":[{"property":"size"}])", "q") +
            "," + call("Email/get", get + R"(["threadId"])", "g") + "," + call("Thread/get", thread),
        call("SearchSnippet/get", R"("filter":{"text":"message"},"emailIds":[")" + ids[0] + "\"]")};
  }
  // The account of before has gone, the server stays.
  void open_again() {
    EXPECT_TRUE(end());
    EXPECT_TRUE(pump_until([&] { return imapd->counts().connections_open == 0; }));
    fragments.clear();
    open_account();
  }
  // The names of the commands that have been said, in order.
  std::vector<std::string> commands_said() {
    std::vector<std::string> names;
    for (const auto& entry : imapd->log()) names.push_back(entry.name);
    return names;
  }

  // --- Which faults ---

  struct Fault {
    std::size_t nth = 0;  // command
    std::string command, action;
    std::string rule() const { return "on * nth=" + std::to_string(nth) + " do " + action; }
  };
  std::set<std::string> seen;                               // names of commands
  const std::size_t turn = std::string(GetParam()).size();  // other breaks for each kind of server

  static bool wants_all() {
    const auto* wanted = std::getenv("POSTERN_FAULT_SWEEP");
    return wanted != nullptr && std::string(wanted) == "all";
  }
  // For what has said these commands: NO, and the connection broken before, within and behind the answer.
  std::vector<Fault> faults_of(const std::vector<std::string>& said) {
    static const std::array<const char*, 4> breaks{"drop", "drop_at 0", "drop_at 12", "drop_at 60"};
    const bool all = wants_all();
    std::vector<Fault> faults;
    for (std::size_t i = 0; i < said.size(); ++i) {
      if (said[i] == "AUTHENTICATE" || said[i] == "LOGIN" || said[i] == "DONE") continue;
      const bool first = seen.insert(said[i]).second;
      if (first || all) faults.push_back({i + 1, said[i], "reply NO not now"});
      for (std::size_t k = 0; k < breaks.size(); ++k)
        if (all || (first && (seen.size() + turn) % breaks.size() == k))
          faults.push_back({i + 1, said[i], breaks[k]});
    }
    return faults;
  }

  // --- A session that writes ---

  rapidjson::Document set(const std::string& type, const std::string& members) {
    return responses(call(type + "/set", members));
  }
  Fate update(std::size_t number, const std::string& patch) {
    return fate_of(set("Email", R"("update":{")" + ids[number] + "\":" + patch + "}"), "updated",
                   "notUpdated", ids[number]);
  }
  Fate destroy(std::size_t number) {
    return fate_of(set("Email", R"("destroy":[")" + ids[number] + "\"]"), "destroyed", "notDestroyed",
                   ids[number]);
  }
  // A move that was only a copy, where that is what the server has: the message is in both mailboxes then.
  // A copy of which nobody has heard, since its outcome was unknown, is an Email of its own.
  void expect_done(const std::string& id, Fate fate, const Places& before, const Places& wanted,
                   const Places& now) {
    if (unheard.contains(id)) return;
    if (fate == Fate::unknown) unheard.insert(id);
    if (fate == Fate::done) EXPECT_EQ(now, wanted);
    Places both = wanted;
    if (!std::includes(wanted.begin(), wanted.end(), before.begin(), before.end()))
      both.insert(before.begin(), before.end());
    else
      both = before;
    if (fate == Fate::undone) EXPECT_THAT(now, ::testing::AnyOf(before, both));
  }
  void expect_moved(std::size_t number, const std::string& patch, const Places& wanted) {
    const auto& id = message_ids[number];
    const auto before = truth().places(id);
    const auto fate = update(number, patch);
    expect_done(id, fate, before, wanted, truth().places(id));
  }
  void write_keywords() {
    const auto& id = message_ids[0];  // unread
    const auto before = truth().keywords(id);
    const auto fate =
        update(0, R"({"keywords/$flagged":true,"keywords/$seen":null,"keywords/$answered":true})");
    const auto now = truth().keywords(id);
    if (fate == Fate::done) EXPECT_EQ(now, (std::set<std::string>{"$answered", "$flagged"}));
    if (fate == Fate::undone) EXPECT_EQ(now, before);
  }
  void write_draft() {
    const auto fate =
        fate_of(set("Email", R"("create":{"d":{"mailboxIds":{")" + mailbox_ids["Drafts"] +
                                 R"(":true},"keywords":{"$draft":true},"subject":"new",)"
                                 R"("messageId":["draft@x.example"],"from":[{"email":"a@x.example"}],)"
                                 R"("textBody":[{"partId":"1"}],"bodyValues":{"1":{"value":"hello"}}}})"),
                "created", "notCreated", "d");
    expect_done("draft@x.example", fate, {}, {"Drafts"}, truth().places("draft@x.example"));
    EXPECT_LE(truth().places("draft@x.example").size(), 1u);
  }
  void write_mailboxes() {
    std::string id;
    auto fate =
        fate_of(set("Mailbox", R"("create":{"m":{"name":"Plans"}})"), "created", "notCreated", "m", &id);
    auto there = truth().mailboxes;
    if (fate != Fate::unknown) EXPECT_EQ(there.contains("Plans"), fate == Fate::done);
    if (fate != Fate::done) return;
    fate = fate_of(set("Mailbox", R"("update":{")" + id + R"(":{"name":"Projects"}})"), "updated",
                   "notUpdated", id);
    there = truth().mailboxes;
    EXPECT_NE(there.contains("Plans"), there.contains("Projects"));
    if (fate == Fate::unknown) return;  // a name that nobody has heard of may have an id of its own
    EXPECT_EQ(there.contains("Projects"), fate == Fate::done);
    const std::string name = there.contains("Projects") ? "Projects" : "Plans";
    expect_moved(1, R"({"mailboxIds":{")" + id + R"(":true}})", {name});
    if (!unheard.contains(message_ids[1]))
      expect_moved(1, R"({"mailboxIds":{")" + mailbox_ids["Archive"] + R"(":true}})", {"Archive"});
    const bool empty = truth().places(message_ids[1]).count(name) == 0;
    fate = fate_of(set("Mailbox", R"("destroy":[")" + id + "\"]"), "destroyed", "notDestroyed", id);
    if (fate != Fate::unknown) EXPECT_EQ(truth().mailboxes.contains(name), fate != Fate::done);
    if (!empty) EXPECT_NE(fate, Fate::done);
  }
  // No command that makes something is ever sent a second time.
  void expect_said_once() {
    std::set<std::string> said;
    for (const auto& entry : imapd->log()) {
      if (entry.name != "APPEND" && entry.name != "UID MOVE" && entry.name != "UID COPY" &&
          entry.name != "CREATE" && entry.name != "RENAME")
        continue;
      const auto command = entry.line.substr(entry.line.find(' '));
      EXPECT_TRUE(said.insert(command).second) << command;
    }
  }
  void write_into_two() {
    expect_moved(3, R"({"mailboxIds/)" + mailbox_ids["Archive"] + R"(":true})", {"INBOX", "Archive"});
  }
  void write_destroy(std::size_t number) {
    const auto& id = message_ids[number];
    const auto before = truth().places(id);
    const auto fate = destroy(number);
    expect_done(id, fate, before, {}, truth().places(id));
  }
  // A client that has seen everything, and the state that it has seen it under.
  std::string look_around() {
    (void)told_to_client();
    rapidjson::Document all;
    all.Parse(answer(call("Email/get", R"("ids":[])")).c_str());
    return all["methodResponses"][0][1]["state"].GetString();
  }
  // By what has changed since, it hears of every Email that isn't where or as it was. What nobody has heard of is an
  // Email of its own.
  void expect_told(const std::string& since, const Truth& before) {
    const auto after = truth();
    const auto all = responses(call("Email/changes", R"("sinceState":")" + since + "\""));
    const auto& told = all["methodResponses"][0];
    if (told[0] == "error") {
      EXPECT_EQ(std::string(told[1]["type"].GetString()), "cannotCalculateChanges");
      return;
    }
    std::set<std::string> changed;
    for (const char* kind : {"created", "updated", "destroyed"})
      for (const auto& id : told[1][kind].GetArray()) changed.insert(id.GetString());
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const auto& id = message_ids[i];
      if (before.places(id) == after.places(id) && before.keywords(id) == after.keywords(id)) continue;
      EXPECT_TRUE(changed.contains(ids[i]) || !told[1]["created"].Empty()) << id << "\n" << text_of(told);
    }
  }
  // With a fault, or without one. Warm: somebody has looked at everything before.
  void write_with(const std::function<void()>& write, bool warm, const std::string& rule) {
    begin_anew();
    const auto since = warm ? look_around() : std::string();
    const auto before = truth();
    imapd->reset_counts();
    if (!rule.empty()) imapd->control(rule);
    write();
    said_by_write = commands_said();
    expect_whole();
    if (warm) expect_told(since, before);
  }
  std::vector<std::string> said_by_write;
  std::vector<std::function<void()>> writes() {
    return {[this] { write_keywords(); },
            [this] {
              expect_moved(2, R"({"mailboxIds":{")" + mailbox_ids["Archive"] + R"(":true}})", {"Archive"});
            },
            [this] { write_draft(); },
            [this] { write_mailboxes(); },
            [this] {
              write_into_two();
              write_destroy(3);
            },
            [this] { write_destroy(4); }};
  }
  void expect_whole() {
    expect_said_once();
    const auto after = truth();
    std::set<std::pair<std::string, std::string>> once;
    for (const auto& copy : after.copies)
      EXPECT_TRUE(once.emplace(copy.mailbox, copy.id).second) << copy.id << " is twice in " << copy.mailbox;
    for (const std::size_t number : {0, 1, 2, 5, 6, 7})
      EXPECT_FALSE(after.places(message_ids[number]).empty()) << message_ids[number] << " is lost";
    expect_goes_on();
  }
};

INSTANTIATE_TEST_SUITE_P(Servers, FaultSweep, ::testing::Values("full", "dovecot", "courier"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(FaultSweep, AReadIsRightOrRefused) {
  learn_ids();
  for (const auto& calls : reads()) {
    open_again();
    imapd->reset_counts();
    const auto right = responses(calls);
    const auto said = commands_said();
    clock.advance(std::chrono::seconds(31));
    const auto right_again = responses(calls);
    for (const auto& fault : faults_of(said)) {
      if (HasFailure()) return;
      SCOPED_TRACE(fault.rule() + " (" + fault.command + ")\n" + calls);
      open_again();
      imapd->control(fault.rule());
      expect_right_or_refused(responses(calls), right);
      imapd->control("clear_rules");
      clock.advance(std::chrono::seconds(31));
      (void)responses(calls);  // what is counted by it is told the next time
      clock.advance(std::chrono::seconds(31));
      EXPECT_EQ(text_of(responses(calls)), text_of(right_again));
    }
  }
}

TEST_P(FaultSweep, AWriteIsDoneOnceOrNot) {
  learn_ids();
  seen = {"CAPABILITY", "ENABLE",   "ID",        "IDLE",      "LIST",
          "LSUB",       "MYRIGHTS", "NAMESPACE", "UID SEARCH"};  // read
  bool cold = false;
  for (const auto& write : writes()) {
    cold = !cold;  // one of two
    for (const bool warm : {true, false}) {
      if (!wants_all() && warm == cold) continue;
      write_with(write, warm, {});
      for (const auto& fault : faults_of(said_by_write)) {
        if (HasFailure()) return;
        SCOPED_TRACE(fault.rule() + " (" + fault.command + (warm ? "), warm" : ")"));
        write_with(write, warm, fault.rule());
      }
    }
  }
}

}  // namespace
}  // namespace postern::broker
