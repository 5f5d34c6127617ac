// A scripted, counting IMAP4rev1 test server, for Postern's tests and benchmarks.
//
// Embedded in a test:
//
//   postern::testimapd::Options options;               // alice/secret, INBOX with 20 messages, all extensions
//   options.capabilities = postern::testimapd::capabilities_of("courier");
//   postern::testimapd::TestImapd server(std::move(options));
//   server.start();                                    // binds; throws std::runtime_error when it can't
//   connect_to("127.0.0.1", server.port());
//   server.counts().commands["UID FETCH"];             // exact; also counts("alice")
//   for (const auto &entry : server.log()) { ... }     // commands as received, secrets as <redacted>
//   server.deliver("alice", "INBOX", raw);             // from outside: pushed to whoever has it selected
//   server.control("on UID FETCH nth=2 do drop_in_literal 10");   // misbehave; verbs in control.cpp
//   server.stop();                                     // the destructor does so too
//
// A rule is `on EVENT [nth=N] [times=N|always] [user=LOGIN] do ACTION [ARGUMENT...]`. EVENT is `connect` or a
// command name as counted ("FETCH" and "UID FETCH" are two), or `*` for any command. It fires at the Nth
// occurrence after it was added, `times` times (1). Rules that fire
// together do so in the order in which they were added. Actions:
//
//   reply TEXT         the command does nothing and is answered `tag TEXT`: reply NO [INUSE] Come back later
//   bye TEXT           untagged BYE, then close; drop: close at once; hang: never answer on this connection again
//   drop_at K, hang_at K                      after K bytes of the command's answer
//   drop_in_literal K, hang_in_literal K      K bytes into the next literal that is sent
//   delay MS           before the command runs
//   before LINE        untagged LINE ("* " included) before the command's own answer
//   after LINE         the same ahead of the tagged line
//   expunge_at K UID   removes the message and announces that, after K messages of this FETCH were answered
//   huge_literal N     `* 1 FETCH (UID 1 BODY[] {N}`, N bytes and `)`, before the command's own answer
//   run VERB...        a control verb (deliver, flag, expunge, roll_uidvalidity, ...) just before the command runs
//   run_after VERB...  the same, when the command has run and before its tagged line
//   greeting LINE      (connect) instead of the greeting, sent as it is; preauth LOGIN: greeting PREAUTH;
//                      silence: no greeting, nothing answered; refuse: accept and reset at once
//
// Owner and threads: TestImapd owns everything; one thread of its own runs all connections. Each public
// member function is thread-safe: it is carried out in that thread, and waits. A command has been counted
// and logged before any byte of its answer is sent.
// Bounds: Options' *_max members.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace postern::testimapd {

struct Listen {
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;  // 0: any free one
  bool implicit_tls = false;
};

// A mailbox that every user has at first. Its messages are generated from their number; users share them
// until somebody changes one.
struct SampleMailbox {
  std::string name;         // without Options::prefix, levels separated by '/'
  std::string special_use;  // "\\Sent", or empty
  std::uint32_t messages = 0;
  bool subscribed = true;
};

// What real servers do, and clients have to bear.
struct Quirks {
  bool nil_strings = false;  // NIL for strings that have no NIL in the grammar (encodings, charset values)
  bool eight_bit_quoted = false;     // 8-bit in quoted strings instead of a literal
  bool extra_spaces = false;         // doubled and trailing spaces in responses
  bool no_text = false;              // "A1 OK" without a text
  bool lower_case = false;           // response names in lower case
  bool capability_code = true;       // [CAPABILITY ...] in the greeting and after login
  bool capability_untagged = false;  // an untagged CAPABILITY after login, unasked
  bool list_unknown_flags = false;   // \X-Unknown and the like in LIST
  bool literal8 = false;             // message bodies as ~{n} literal8
  bool fetch_flags_always = false;   // FLAGS in each FETCH answer, unasked
  bool status_no_selected = false;   // NO to STATUS of the mailbox that is selected
  bool no_delete_selected = false;   // NO to DELETE of it
  bool rename_uidvalidity = false;   // RENAME gives new UIDVALIDITYs
  bool select_no_uidnext = false;    // SELECT tells no UIDNEXT, as Courier's
};

struct Options {
  std::vector<Listen> listen{Listen{}};
  std::string tls_certificate_pem;  // chain, leaf first; empty: neither IMAPS nor STARTTLS
  std::string tls_key_pem;
  std::vector<std::string> capabilities;               // empty: capabilities_of("full")
  std::vector<std::string> capabilities_before_login;  // empty: derived from `capabilities`
  char separator = '/';                                // '\0': NIL, a flat namespace
  std::string prefix;                                  // "INBOX." puts the personal namespace there
  std::map<std::string, std::string> users{{"alice", "secret"}};
  std::map<std::string, std::string> oauth_tokens;  // login -> token for OAUTHBEARER and XOAUTH2
  std::uint32_t generated_users = 0;  // user0 ... userN-1, made on demand, with generated_password
  std::string generated_password = "secret";
  std::string master_user;  // may log in for others: PLAIN's authzid, or "user*master"
  std::string master_password;
  std::vector<SampleMailbox> mailboxes{
      {"INBOX", "", 20},     {"Archive", "\\Archive", 5}, {"Drafts", "\\Drafts", 0},
      {"Junk", "\\Junk", 0}, {"Sent", "\\Sent", 5},       {"Trash", "\\Trash", 0},
  };
  std::uint32_t uidvalidity = 1000000;  // of the first mailbox; the next ones count up from there
  std::vector<std::string> permanent_flags{"\\Answered", "\\Flagged", "\\Deleted",
                                           "\\Seen",     "\\Draft",   "\\*"};
  std::map<std::string, std::string> id{{"name", "postern-testimapd"}};
  std::uint64_t quota_kb = 1000000;
  Quirks quirks;
  std::uint32_t latency_ms = 0;           // before each command runs
  bool plain_text_login = true;           // false: LOGINDISABLED until TLS is up
  std::size_t command_bytes_max = 65536;  // a command without its literals; past it: BAD and BYE
  std::size_t literal_bytes_max = 64U << 20U;
  std::size_t connections_max = 100000;  // past it: refused
  std::size_t log_entries_max = 100000;  // the oldest go first
};

// "full", "dovecot", "cyrus", "courier", "gmail", "minimal"; std::invalid_argument otherwise.
std::vector<std::string> capabilities_of(std::string_view kind);

struct Counts {
  std::map<std::string, std::uint64_t> commands;  // by name; "UID FETCH"
  std::uint64_t logins = 0;                       // that succeeded
  std::uint64_t login_failures = 0;
  std::uint64_t connections_open = 0;  // of a user: those that are logged in
  std::uint64_t connections_total = 0;
  std::uint64_t tls_handshakes = 0;  // that succeeded; not counted by user
  std::uint64_t tls_resumed = 0;     // of these
  std::uint64_t bytes_in = 0;        // IMAP bytes, inside TLS
  std::uint64_t bytes_out = 0;

  std::uint64_t command(const std::string& name) const {
    auto found = commands.find(name);
    return found == commands.end() ? 0 : found->second;
  }
  std::uint64_t commands_total() const;
  std::string json() const;
};

struct LogEntry {
  std::uint64_t connection = 0;  // counts up from 1
  std::string user;              // empty before login
  std::string name;              // "UID FETCH"
  std::string line;              // without CRLF; literals and secrets replaced by <redacted>
};

class Server;

class TestImapd {
 public:
  explicit TestImapd(Options options);
  ~TestImapd();
  TestImapd(const TestImapd&) = delete;
  TestImapd& operator=(const TestImapd&) = delete;

  // Binds all listeners and starts the thread. Throws std::runtime_error (address in use, bad PEM).
  void start();
  // Closes everything and joins the thread. What was stored stays readable by a later start().
  void stop();
  std::uint16_t port(std::size_t listener = 0) const;

  Counts counts();
  Counts counts(std::string_view user);  // zeros for a user who never came
  void reset_counts();                   // open connections stay counted as open; the log is emptied too
  std::vector<LogEntry> log();

  // Carries out one control line (see control.cpp) and returns its answer; "ERR ..." when refused.
  std::string control(std::string_view line);

  // Stores a message from outside and returns its UID; 0 when there is no such user or mailbox.
  std::uint32_t deliver(std::string_view user, std::string_view mailbox, std::string_view raw,
                        std::string_view flags = "", std::int64_t internal_date = 0);

  // Waits until the predicate (run in the server's thread after each command, login and (dis)connect)
  // holds; false when `timeout` is over.
  bool wait_for(std::function<bool(const Counts&)> predicate,
                std::chrono::milliseconds timeout = std::chrono::seconds(10));

 private:
  std::unique_ptr<Server> server_;
};

}  // namespace postern::testimapd
