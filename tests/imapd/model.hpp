// What the test server stores: users, mailboxes, messages.
//
// Store owns users, a user owns mailboxes by shared_ptr (sessions hold the one they have selected; a deleted
// one stays alive until they let go). Only the server's thread touches them. The model sends nothing: it
// tells the sessions of the user through Watcher what happened.
// A user's mailboxes are made when the user first logs in. Messages of a pristine mailbox are shared between
// all users; a mailbox gets its own copy at its first change.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "body.hpp"
#include "test_imapd.hpp"

namespace postern::testimapd {

// The system flags are the low bits of Message::flags, keywords (in order of Mailbox::keywords) the rest.
constexpr std::uint64_t flag_answered = 1, flag_flagged = 2, flag_deleted = 4, flag_seen = 8, flag_draft = 16;
constexpr unsigned system_flags = 5;
constexpr std::size_t keywords_max = 59;

struct Message {
  std::uint32_t uid = 0;
  std::uint32_t number = 0;  // of a generated message: what fills its slots
  std::uint64_t flags = 0;
  std::uint64_t modseq = 1;
  std::uint64_t email_id = 0;  // survives COPY and MOVE
  std::int64_t internal_date = 0;
  std::int64_t save_date = 0;
  std::shared_ptr<const Body> body;

  SlotValues slots() const { return Corpus::slots_of(number); }
  std::string raw() const { return body->raw.has_slots() ? body->raw.fill(slots()) : body->raw.text(); }
  std::size_t size() const { return body->raw.size(); }
};

struct Expunged {
  std::uint32_t uid;
  std::uint64_t modseq;
};

class Session;  // a connection's protocol state
struct User;

struct Mailbox {
  std::string name;  // as on the wire: modified UTF-7, with prefix
  std::uint64_t id = 0;
  User* user = nullptr;
  std::string special_use;
  std::string rights;  // MYRIGHTS; empty: all of them
  bool subscribed = true;
  bool no_select = false;
  bool deleted = false;
  std::uint32_t uidvalidity = 1;
  std::uint32_t uidnext = 1;
  std::uint64_t highestmodseq = 1;
  std::uint32_t first_recent_uid = 1;
  std::vector<std::string> keywords;
  std::vector<Expunged> expunged;  // in order of modseq
  std::vector<Session*> selected_by;

  const std::vector<Message>& messages() const { return *messages_; }
  std::vector<Message>& writable();  // makes the messages its own
  const Message* find(std::uint32_t uid) const;
  Message* find_writable(std::uint32_t uid);
  // How many messages have a UID of at most `uid`.
  std::size_t count_up_to(std::uint32_t uid) const;
  std::uint64_t next_modseq() { return ++highestmodseq; }

  // The bit of a flag name; makes room for a new keyword if `create`. 0: unknown or full.
  std::uint64_t flag_bit(std::string_view name, bool create);
  std::uint64_t flag_bit(std::string_view name) const;  // 0: unknown
  std::string flag_names(std::uint64_t flags) const;    // separated by blanks
  void share(std::shared_ptr<std::vector<Message>> messages);

 private:
  std::shared_ptr<std::vector<Message>> messages_ = std::make_shared<std::vector<Message>>();
};

struct User {
  std::string name;
  std::string password;
  std::map<std::string, std::shared_ptr<Mailbox>, std::less<>> mailboxes;  // INBOX in upper case
  std::map<std::string, bool, std::less<>> subscriptions_only;  // subscribed names without a mailbox
  std::vector<Session*> sessions;
  bool populated = false;
};

class Store {
 public:
  explicit Store(const Options& options);

  User* find_user(std::string_view name);  // null: no such user. Makes generated users on demand.
  User* open_user(std::string_view name);  // and their mailboxes
  Mailbox* find(User& user, std::string_view name);
  std::shared_ptr<Mailbox> create(User& user, std::string_view name);
  void remove(User& user, std::string_view name);
  // INBOX: its messages move to the new mailbox and it stays, RFC 3501 section 6.3.5. Children go along.
  bool rename(User& user, std::string_view from, std::string_view to);
  void roll_uidvalidity(Mailbox& mailbox);

  std::shared_ptr<const Body> body_of(std::string raw) const;
  // Appends; uid, modseq, email_id (when 0) are set here. Tells the sessions.
  Message& add(Mailbox& mailbox, Message message, Session* by);
  void set_flags(Mailbox& mailbox, Message& message, std::uint64_t flags, Session* by);
  void expunge(Mailbox& mailbox, const std::vector<std::uint32_t>& uids, Session* by);

  const Options& options() const { return options_; }
  const Corpus& corpus() const { return corpus_; }
  std::string separator() const {
    return options_.separator == '\0' ? "" : std::string(1, options_.separator);
  }
  static std::string canonical(std::string_view name);  // INBOX in upper case
  std::string wire_name(const SampleMailbox& sample) const;

 private:
  void populate(User& user);
  void create_superior(User& user, const std::string& name);
  std::shared_ptr<std::vector<Message>> generated(std::size_t index, std::uint32_t count);

  const Options& options_;
  RenderOptions render_;
  Corpus corpus_;
  std::map<std::string, std::unique_ptr<User>, std::less<>> users_;
  std::map<std::pair<std::size_t, std::uint32_t>, std::shared_ptr<std::vector<Message>>> generated_;
  std::uint64_t next_email_id_ = 1ULL << 32U;
  std::uint64_t next_mailbox_id_ = 1;
  std::uint32_t next_uidvalidity_;
};

}  // namespace postern::testimapd
