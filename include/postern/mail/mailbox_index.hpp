// The messages of one mailbox by UID: flags, date, size, thread. No I/O.
//
// Owned by a MailboxView; one thread. 32 bytes a message. The sequence numbers of the IMAP session are
// positions in it: that holds only while `listed()`, i.e. from the first complete list of UIDs on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "postern/imap/types.hpp"
#include "postern/mail/identity.hpp"
#include "postern/mail/ids.hpp"
#include "postern/mail/keywords.hpp"

namespace postern::mail {

// The keywords seen in one mailbox, numbered. The first keyword_bits have a bit in MessageEntry::flags;
// messages that carry others are listed in MailboxIndex's overflow table.
class KeywordTable {
 public:
  // Keywords compare without regard to case (RFC 3501, 2.3.2); the first spelling seen is kept.
  std::optional<std::uint32_t> find(std::string_view keyword) const;
  // nullopt when keywords_max is reached: such a keyword is not kept.
  std::optional<std::uint32_t> intern(std::string_view keyword);
  const std::string& name(std::uint32_t number) const { return names_[number]; }
  std::size_t size() const { return names_.size(); }

 private:
  std::vector<std::string> names_;
  std::unordered_map<std::string, std::uint32_t> numbers_;  // lower case
};

inline constexpr std::uint32_t keyword_bits = 54;
inline constexpr std::uint32_t keywords_max = 4'096;  // distinct keywords in one mailbox

struct MessageEntry {
  enum Bits : std::uint64_t {
    seen = imap::Flags::seen,
    answered = imap::Flags::answered,
    flagged = imap::Flags::flagged,
    deleted = imap::Flags::deleted,
    draft = imap::Flags::draft,
    system_mask = 0x1F,
    overflow = 1u << 6,  // has keywords beyond keyword_bits
    known = 1u << 7,     // flags, date and size are known
    first_keyword = 1u << 8,
    attachment_known = std::uint64_t{1} << 62,
    has_attachment = std::uint64_t{1} << 63,
    own_mask = known | attachment_known | has_attachment,  // what no FLAGS tell
  };
  std::uint32_t uid = 0;
  std::uint32_t size = 0;     // RFC822.SIZE, at most 2^32-1
  std::int64_t received = 0;  // INTERNALDATE, Unix seconds
  std::uint64_t flags = 0;
  ThreadKey thread = 0;  // 0: not known
  Identity identity;     // as FETCH has told it of this UID

  bool is_known() const { return (flags & known) != 0; }
  bool is_deleted() const { return (flags & deleted) != 0; }
};

class MailboxIndex {
 public:
  enum class Change : std::uint8_t { none, flags, filled };

  void clear();
  bool listed() const { return listed_; }
  // All entries known: every query on flags, dates and sizes can be answered.
  bool filled() const { return listed_ && unknown_ == 0; }
  std::size_t size() const { return entries_.size(); }
  const std::vector<MessageEntry>& entries() const { return entries_; }
  const MessageEntry* find(std::uint32_t uid) const;
  const MessageEntry* at_seq(std::uint32_t seq) const;
  // The message of that identity, the lowest UID where several have it; null: none, as far as is known.
  struct Identified {
    const MessageEntry* entry = nullptr;
    bool several = false;
  };
  Identified identified(const Identity& identity) const;
  std::uint32_t largest_uid() const { return entries_.empty() ? 0 : entries_.back().uid; }

  // The complete list, ascending. Keeps what is known of those that stay.
  void set_uids(const std::vector<std::uint32_t>& ascending);
  // What its BODYSTRUCTURE says of attachments (RFC 8621, 4.1.4: hasAttachment); nullopt until that is known.
  std::optional<bool> attachment(const MessageEntry& entry) const {
    if ((entry.flags & MessageEntry::attachment_known) == 0) return std::nullopt;
    return (entry.flags & MessageEntry::has_attachment) != 0;
  }
  void set_attachment(std::uint32_t uid, bool has_attachment);
  // UIDs that came behind all others.
  void append_uid(std::uint32_t uid);
  std::optional<std::uint32_t> expunge_seq(std::uint32_t seq);  // the UID that went
  bool remove(std::uint32_t uid);
  void remove_all(const std::vector<std::uint32_t>& ascending);  // one pass
  // Takes flags, date and size from FETCH data about a message that is in the index.
  Change apply(std::uint32_t uid, const imap::FetchData& data);
  bool set_deleted(std::uint32_t uid);
  // Makes known, as they are, those from `first` to `last` that aren't.
  void settle(std::uint32_t first, std::uint32_t last);
  bool set_thread(std::uint32_t uid, ThreadKey thread);

  // Keywords of a message, without system flags, in the server's spelling.
  std::vector<std::string> keywords(const MessageEntry& entry) const;
  bool has_keyword(const MessageEntry& entry,
                   std::string_view keyword) const;  // a JMAP keyword: "$seen", "foo"
  // Bit of a JMAP keyword, for counting and filtering over many entries; 0 if no message has it,
  // nullopt if it takes has_keyword (beyond keyword_bits).
  std::optional<std::uint64_t> keyword_bit(std::string_view keyword) const;
  const KeywordTable& keyword_table() const { return keyword_table_; }

  std::size_t visible() const { return entries_.size() - deleted_; }
  std::size_t unread() const { return unread_; }  // visible, without \Seen and without \Draft
  std::uint32_t first_unknown() const;            // lowest UID whose data are missing; 0 if none
  std::size_t unknown() const { return unknown_; }
  std::size_t memory_bytes() const;

 private:
  void count(const MessageEntry& entry, int sign);
  MessageEntry* find_mutable(std::uint32_t uid);
  std::uint64_t flag_bits(std::uint32_t uid, const imap::Flags& flags);
  void take_identity(MessageEntry& entry, const Identity& identity);

  std::vector<MessageEntry> entries_;
  KeywordTable keyword_table_;
  std::unordered_map<std::uint32_t, std::vector<std::uint32_t>> overflow_;
  mutable IdentityTable identities_;
  bool listed_ = false;
  std::size_t unknown_ = 0, deleted_ = 0, unread_ = 0;
};

// JMAP keyword of an IMAP system flag and back (RFC 8621, 4.1.1): "$seen" <-> "\Seen". Empty if none.
std::string_view keyword_of_system_flag(std::uint8_t bit);
std::uint8_t system_flag_of_keyword(std::string_view keyword);
std::string_view imap_name_of_system_flag(std::uint8_t bit);

}  // namespace postern::mail
