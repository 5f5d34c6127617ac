// The mailboxes of one account, from LIST, LSUB and STATUS (RFC 8621, 2). No I/O.
//
// A mailbox's key is a stable hash of its OBJECTID where the server has that, else of its name: it is the
// same after a restart. Names are kept as the server sent them, beside their UTF-8 form.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
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
  Role role = Role::none;
  std::uint32_t sort_order = 10;
  bool selectable = true, may_have_children = true, subscribed = false;
  std::string object_id;
  MailboxStatus status;
};

// Collects one LIST's worth of responses and makes the table of them.
class MailboxListBuilder {
 public:
  void add(const imap::ListResponse& response);  // LIST, XLIST or LSUB (which marks as subscribed)
  void add(const imap::StatusDataResponse& response);
  // `utf8_names`: names are UTF-8 already (UTF8=ACCEPT or IMAP4rev2).
  std::vector<Mailbox> finish(bool utf8_names);
  bool truncated() const { return truncated_; }

 private:
  std::map<std::string, imap::ListResponse> listed_;
  std::map<std::string, bool> subscribed_;
  std::map<std::string, imap::StatusDataResponse> status_;
  bool truncated_ = false;
};

MailboxKey mailbox_key(std::string_view object_id, std::string_view encoded_name);
// A role by the mailbox's name, in several languages; only for servers without SPECIAL-USE.
Role role_of_name(std::string_view utf8_name);

}  // namespace postern::mail
