// The protocol state of one connection of the test server: commands in, responses out (RFC 3501 and the
// extensions that Options::capabilities names).
//
// Owned by its Connection. Runs in the server's thread. Commands run one after another in the order of
// their arrival; FETCH is carried on as the output drains. The session's view of the selected mailbox (what
// the client knows) may be behind the mailbox: expunges wait for a command that may announce them.
// Bounds: Options::command_bytes_max and literal_bytes_max per command; search and notify nesting as below.
#pragma once

#include <functional>
#include <optional>

#include "cursor.hpp"
#include "model.hpp"

namespace postern::testimapd {

class Connection;
class Server;
struct Rule;

constexpr unsigned search_depth_max = 50;

struct Reply {
  std::string line;      // "OK [CODE] text", without tag
  bool pending = false;  // the tagged line comes later

  static Reply ok(std::string text) { return {"OK " + std::move(text)}; }
  static Reply no(std::string text) { return {"NO " + std::move(text)}; }
  static Reply bad(std::string text) { return {"BAD " + std::move(text)}; }
  static Reply later() { return {"", true}; }
};

// One thing that FETCH is asked for.
struct FetchItem {
  enum class Kind {
    envelope,
    body,
    body_structure,
    flags,
    internal_date,
    size,
    uid,
    modseq,
    section,
    binary,
    binary_size,
    email_id,
    thread_id,
    guid,
    preview,
    save_date,
    gm_msgid,
    gm_thrid,
    gm_labels,
    rfc822,
    rfc822_header,
    rfc822_text,
  };
  enum class Text { whole, header, fields, fields_not, text, mime };
  Kind kind = Kind::flags;
  Text text = Text::whole;
  bool peek = false, partial = false;
  std::vector<std::uint32_t> path;
  std::vector<std::string> fields;
  std::uint64_t offset = 0, length = 0;
  std::string label;  // as it is sent back
};

struct FetchJob {
  std::vector<FetchItem> items;
  std::vector<std::uint32_t> uids;
  std::size_t next = 0;
  bool by_uid = false, sets_seen = false;
  std::uint64_t expunge_at = 0;  // rule expunge_at; 0: none
  std::uint32_t expunge_uid = 0;
  bool missing = false;  // a message went away
};

// What NOTIFY SET asked for, RFC 5465.
struct NotifyGroup {
  enum class Scope { selected, selected_delayed, inboxes, personal, subscribed, subtree, mailboxes };
  Scope scope = Scope::personal;
  std::vector<std::string> names;
  bool message_new = false, message_expunge = false, flag_change = false, mailbox_name = false,
       subscription_change = false;
  std::vector<FetchItem> items;  // to send with MessageNew
};

// Cuts commands out of the input: lines, and literals behind {n} or {n+}.
class CommandReader {
 public:
  enum class Event { none, command, literal, too_long, literal_too_big, literal_too_big_sync };
  // Consumes from `input`; on `command` the text is in command() until the next call.
  // `plus_bytes_max`: of a literal that doesn't wait for leave.
  Event next(std::string& input, std::size_t command_bytes_max, std::size_t literal_bytes_max,
             std::size_t plus_bytes_max);
  std::string& command() { return command_; }
  bool in_literal() const { return literal_left_ > 0; }
  std::size_t literal_octets() const {
    return literal_total_ - literal_left_;
  }  // that have come, of one command

 private:
  std::string command_;
  std::size_t literal_left_ = 0, literal_total_ = 0;
  bool done_ = false;
};

class Session {
 public:
  Session(Server& server, Connection& connection);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void greet(std::string_view preauth_login);
  void on_input(std::string_view bytes);
  void on_drained();
  void on_timer();  // a delay is over
  bool busy() const;
  std::size_t waiting_bytes() const { return input_.size(); }
  User* user() const { return user_; }
  void untagged(std::string_view text);  // a line without "* " and CRLF
  void release();                        // lets go of user and mailbox

  // The model's events, to all sessions they concern.
  static void message_added(Mailbox& mailbox, const Message& message, Session* by);
  static void flags_changed(Mailbox& mailbox, const Message& message, Session* by);
  static void messages_expunged(Mailbox& mailbox, const std::vector<std::uint32_t>& uids,
                                std::uint64_t modseq, Session* by);
  static void name_changed(User& user, Mailbox& mailbox, const std::string& old_name);
  void forget_view();  // the mailbox was renumbered: all its messages count as announced

 private:
  enum class State { not_authenticated, authenticated, selected, logout };
  using Handler = Reply (Session::*)(Cursor&);
  struct Command {
    std::string_view name;
    Handler handler;
    std::string_view needs;  // a capability; empty: RFC 3501
    char state;              // a: any, n: not authenticated, u: authenticated or selected, s: selected
  };
  static const Command* find_command(std::string_view name);
  static const std::vector<Command>& commands();

  void pump();
  void run_command(std::string_view text);
  void begin(const Command* command, std::string_view arguments);
  bool apply_rules(std::string_view event);
  void run_rule(const Rule& rule, std::string& reply);
  void execute();
  void finish(const Reply& reply);
  void log(std::string_view arguments);
  bool offers(std::string_view capability) const;
  void continuation(std::string_view text);
  void line(std::string text);
  std::string status_line(const Reply& reply) const;

  // session_auth.cpp
  Reply capability(Cursor& args);
  Reply noop(Cursor& args);
  Reply logout(Cursor& args);
  Reply starttls(Cursor& args);
  Reply login(Cursor& args);
  Reply authenticate(Cursor& args);
  Reply auth_line(std::string_view text);
  Reply auth_response(const std::string& decoded);
  Reply auth_plain(const std::string& message);
  Reply auth_oauth(const std::string& message);
  Reply logged_in(const std::string& name);
  Reply login_failed(const std::string& name);
  bool password_right(const std::string& name, const std::string& password) const;
  Reply enable(Cursor& args);
  Reply id(Cursor& args);
  Reply namespaces(Cursor& args);

  // session_mailbox.cpp and session_list.cpp
  Reply create(Cursor& args);
  Reply remove(Cursor& args);
  Reply rename(Cursor& args);
  Reply subscribe(Cursor& args);
  Reply unsubscribe(Cursor& args);
  Reply list(Cursor& args);
  Reply xlist(Cursor& args);
  Reply lsub(Cursor& args);
  Reply status(Cursor& args);
  Reply get_quota_root(Cursor& args);
  Reply get_quota(Cursor& args);
  Reply my_rights(Cursor& args);
  struct ListOptions;
  bool read_list_options(Cursor& args, ListOptions& options) const;
  bool read_status_items(Cursor& args, std::vector<std::string>& items) const;
  Reply run_list(Cursor& args, std::string_view verb);
  void list_line(std::string_view verb, const std::string& name, const ListOptions& options);
  std::string list_attributes(const std::string& name, const Mailbox* mailbox,
                              const ListOptions& options) const;
  void status_line_of(const Mailbox& mailbox, const std::vector<std::string>& items);
  std::string read_mailbox(Cursor& args) const;  // UTF-8 to the stored form where enabled
  void append_mailbox(std::string& out, const std::string& name) const;
  std::string separator_text() const;
  void rights_line(const std::string& name);

  // session_select.cpp
  Reply select(Cursor& args);
  Reply examine(Cursor& args);
  Reply open_mailbox(Cursor& args, bool read_only);
  struct Qresync;
  void send_changes_since(const Qresync& qresync);
  Reply close(Cursor& args);
  Reply unselect(Cursor& args);
  void leave_mailbox();
  std::vector<std::uint32_t> expunged_since(std::uint64_t modseq) const;

  // session_view.cpp
  std::size_t view_size() const;
  std::uint32_t sequence_of(std::uint32_t uid) const;
  std::uint32_t uid_at(std::uint32_t sequence) const;  // 0: expunged or out of range
  std::uint32_t largest_uid() const;
  // UIDs that exist, ascending; nullopt when a sequence number is out of range.
  std::optional<std::vector<std::uint32_t>> resolve(const NumberSet& set, bool by_uid);
  void flush_updates(bool may_expunge);
  void flush_expunges();
  void flush_arrivals();
  void flush_flags();
  void push_if_allowed();
  std::string flags_of(const Message& message) const;
  void fetch_flags_line(const Message& message, bool with_uid);
  Reply idle(Cursor& args);
  Reply check(Cursor& args);

  // session_change.cpp
  Reply append(Cursor& args);
  Reply expunge(Cursor& args);
  Reply store(Cursor& args);
  Reply copy(Cursor& args);
  Reply move(Cursor& args);
  Reply copy_or_move(Cursor& args, bool move);
  std::uint64_t flag_bits(Mailbox& mailbox, const std::vector<std::string>& names, bool create) const;

  // session_fetch.cpp and fetch_items.cpp
  Reply fetch(Cursor& args);
  bool read_fetch_items(Cursor& args, std::vector<FetchItem>& items);
  bool read_fetch_item(Cursor& args, std::vector<FetchItem>& items);
  bool read_section(Cursor& args, FetchItem& item);
  void run_fetch();
  void fetch_line(const Message& message, const std::vector<FetchItem>& items);
  void append_item(std::string& out, const Message& message, const FetchItem& item, std::string& raw) const;
  void append_section(std::string& out, const Message& message, const FetchItem& item,
                      std::string& raw) const;

  // session_search.cpp
  struct ResultOptions;
  bool read_result_options(Cursor& args, ResultOptions& options, bool sorting) const;
  Reply search(Cursor& args);
  Reply sort(Cursor& args);
  Reply thread(Cursor& args);
  Reply search_reply(const std::vector<std::uint32_t>& uids, const ResultOptions& options, bool sorting,
                     bool with_modseq);

  // session_notify.cpp
  Reply notify(Cursor& args);
  bool read_notify_group(Cursor& args, NotifyGroup& group);
  const NotifyGroup* selected_group() const;
  const NotifyGroup* group_of(const Mailbox& mailbox) const;
  void notify_status(const Mailbox& mailbox);
  void notify_name(const Mailbox& mailbox, const std::string& old_name);

  Server& server_;
  Connection& connection_;
  State state_ = State::not_authenticated;
  User* user_ = nullptr;
  Counts* user_counts_ = nullptr;
  std::shared_ptr<Mailbox> mailbox_;
  bool read_only_ = false;
  bool condstore_ = false, qresync_ = false, utf8_ = false;
  bool idling_ = false, in_command_ = false, delayed_ = false;

  CommandReader reader_;
  std::string input_;
  std::string tag_;
  const Command* command_ = nullptr;
  std::string name_;       // as counted
  std::string arguments_;  // of the command that runs
  bool uid_ = false;       // UID prefix
  std::string reply_override_, before_finish_, run_after_;
  std::uint64_t expunge_at_ = 0;
  std::uint32_t expunge_uid_ = 0;

  std::string auth_mechanism_, auth_user_;  // while AUTHENTICATE goes on
  bool auth_failed_ = false;

  // The client's view of mailbox_.
  std::uint32_t last_uid_ = 0;     // announced by EXISTS
  std::uint32_t recent_from_ = 0;  // UIDs from here on are \Recent
  std::size_t keywords_sent_ = 0;
  std::vector<std::uint32_t> gone_;     // expunged, not announced; ascending
  std::vector<std::uint32_t> flagged_;  // flags changed, not announced
  NumberSet saved_;                     // UIDs of SEARCH RETURN (SAVE)
  std::unique_ptr<FetchJob> fetch_;
  std::unique_ptr<std::vector<NotifyGroup>> notify_;
};

}  // namespace postern::testimapd
