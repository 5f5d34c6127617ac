// The mailboxes of one account, from LIST, LSUB and STATUS (RFC 8621, 2). No I/O.
//
// A mailbox's key is a stable hash of its identity where the server tells one (OBJECTID, Dovecot's X-GUID), else of
// its name and UIDVALIDITY: it is the same after a restart, and another one for a mailbox that is made anew under an
// old name. Names are kept as the server sent them, beside their UTF-8 form.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "postern/imap/types.hpp"
#include "postern/mail/ids.hpp"

namespace postern::mail {

inline constexpr std::size_t mailboxes_max =
    20'000;  // in one account; more are not shown, and that is logged

enum class Role : std::uint8_t {
  none,
  inbox,
  archive,
  drafts,
  flagged,
  important,
  junk,
  sent,
  trash,
  all,
  subscribed
};
std::string_view to_string(Role role);  // RFC 8621 / the IANA registry's names, "" for none

struct MailboxStatus {
  std::uint32_t messages = 0, unseen = 0, uid_next = 0, uid_validity = 0;
  std::uint64_t highest_modseq = 0;
  bool known = false;
};

struct Mailbox {
  MailboxKey key = 0;
  std::string encoded_name;  // as LIST had it
  std::string name;          // UTF-8, the last component
  std::string path;          // UTF-8, all of it
  std::optional<MailboxKey> parent;
  char separator = 0;
  Role flagged = Role::none;  // what the server says; `role` is what is left when each has one mailbox
  Role role = Role::none;
  std::uint32_t sort_order = 10;
  bool selectable = true, may_have_children = true, subscribed = false;
  bool read_only = false;             // so it was when it was selected last
  bool unreadable = false;            // the server won't tell its status: it may have no more than a name
  std::optional<std::string> rights;  // MYRIGHTS (RFC 4314), where the server has told them
  std::string object_id;
  MailboxStatus status;
};

// Whose list it is.
struct PersonalNamespace {
  std::string prefix;                    // "INBOX." on servers that keep all under INBOX
  char separator = 0;                    // 0: no hierarchy
  bool told = false;                     // by the server, or there is nothing to tell
  std::vector<std::string> others = {};  // prefixes of all other namespaces
};

// Sorts by name and gives each its name, parent, role and place among the others from what the server has told of it:
// the first level below `prefix` is at the top, and no two have one role.
void arrange(std::vector<Mailbox>& mailboxes, std::string_view prefix = {});

// What was told of a mailbox last, and what is told now: what isn't said this time is as it was. NOTIFY's STATUS may
// leave out UNSEEN (RFC 5465, 5.3), and an id may come by itself. All of it is of one UIDVALIDITY.
void take_told(imap::StatusDataResponse& told, const imap::StatusDataResponse& fresh);

// Collects one LIST's worth of responses and makes the table of them.
class MailboxListBuilder {
 public:
  void add(const imap::ListResponse& response);  // LIST, XLIST or LSUB (which marks as subscribed)
  void add(const imap::StatusDataResponse& response);
  void add(const imap::MyRightsResponse& response);
  // It is in the list, and has gone since.
  void remove(const std::string& encoded_name) { listed_.erase(encoded_name); }
  void mark_unreadable(const std::string& encoded_name) { unreadable_.insert(encoded_name); }
  bool has_status(const std::string& encoded_name) const;
  bool has_id(const std::string& encoded_name) const;
  std::vector<std::string> selectable() const;  // their names
  // `utf8_names`: names are UTF-8 already (UTF8=ACCEPT or IMAP4rev2).
  std::vector<Mailbox> finish(bool utf8_names, std::string_view prefix = {});
  bool truncated() const { return truncated_; }
  const imap::StatusDataResponse* status_of(const std::string& encoded_name) const;  // null: none has come

 private:
  std::map<std::string, imap::ListResponse> listed_;
  std::map<std::string, bool> subscribed_;
  std::map<std::string, imap::StatusDataResponse> status_;
  std::map<std::string, std::string> rights_;
  std::set<std::string> unreadable_;
  bool truncated_ = false;
};

// What names the mailbox: its key, but where it was renamed through Postern (Account::key_of).
MailboxKey mailbox_key(const Mailbox& mailbox);
std::string utf8_mailbox_name(std::string_view encoded, bool utf8_names);
// What compares as names do by i;unicode-casemap.
std::string folded_mailbox_name(std::string_view utf8);
// A role by the mailbox's name, in several languages; only for servers without SPECIAL-USE.
Role role_of_name(std::string_view utf8_name);
// "\\Sent" (RFC 6154, RFC 8457); empty where no attribute says it.
std::string_view special_use_of(Role role);
std::optional<Role> role_of_text(std::string_view role);  // as to_string() has it

}  // namespace postern::mail
