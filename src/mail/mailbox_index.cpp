// The entries, sorted by UID, and how flags become bits in them. Keywords beyond the bits go to the overflow table,
// keywords beyond the table's bound are left out.
#include "postern/mail/mailbox_index.hpp"

#include <algorithm>
#include <array>
#include <limits>

#include "postern/base/encoding.hpp"

namespace postern::mail {
namespace {

struct SystemFlag {
  std::uint8_t bit;
  std::string_view keyword;
  std::string_view imap_name;
};
constexpr std::array<SystemFlag, 4> system_flags{{
    {imap::Flags::seen, "$seen", "\\Seen"},
    {imap::Flags::answered, "$answered", "\\Answered"},
    {imap::Flags::flagged, "$flagged", "\\Flagged"},
    {imap::Flags::draft, "$draft", "\\Draft"},
}};

bool uid_less(const MessageEntry& entry, std::uint32_t uid) { return entry.uid < uid; }

}  // namespace

std::string_view keyword_of_system_flag(std::uint8_t bit) {
  for (const auto& flag : system_flags)
    if (flag.bit == bit) return flag.keyword;
  return {};
}
std::string_view imap_name_of_system_flag(std::uint8_t bit) {
  for (const auto& flag : system_flags)
    if (flag.bit == bit) return flag.imap_name;
  return {};
}
std::uint8_t system_flag_of_keyword(std::string_view keyword) {
  for (const auto& flag : system_flags)
    if (iequals_ascii(flag.keyword, keyword)) return flag.bit;
  return 0;
}

std::optional<std::uint32_t> KeywordTable::find(std::string_view keyword) const {
  auto it = numbers_.find(ascii_lower(keyword));
  if (it == numbers_.end()) return std::nullopt;
  return it->second;
}

std::optional<std::uint32_t> KeywordTable::intern(std::string_view keyword) {
  if (auto number = find(keyword)) return number;
  if (names_.size() >= keywords_max) return std::nullopt;
  auto number = static_cast<std::uint32_t>(names_.size());
  names_.emplace_back(keyword);
  numbers_.emplace(ascii_lower(keyword), number);
  return number;
}

void MailboxIndex::clear() {
  entries_ = {};
  keyword_table_ = {};
  overflow_ = {};
  identities_.clear();
  listed_ = false;
  unknown_ = deleted_ = unread_ = 0;
}

void MailboxIndex::count(const MessageEntry& entry, int sign) {
  auto by = static_cast<std::size_t>(sign);  // wraps for -1, as meant
  if (!entry.is_known()) unknown_ += by;
  if (entry.is_deleted())
    deleted_ += by;
  else if (entry.is_known() && (entry.flags & (MessageEntry::seen | MessageEntry::draft)) == 0)
    unread_ += by;
}

MessageEntry* MailboxIndex::find_mutable(std::uint32_t uid) {
  auto it = std::lower_bound(entries_.begin(), entries_.end(), uid, uid_less);
  return it != entries_.end() && it->uid == uid ? &*it : nullptr;
}
const MessageEntry* MailboxIndex::find(std::uint32_t uid) const {
  return const_cast<MailboxIndex*>(this)->find_mutable(uid);
}
const MessageEntry* MailboxIndex::at_seq(std::uint32_t seq) const {
  return listed_ && seq >= 1 && seq <= entries_.size() ? &entries_[seq - 1] : nullptr;
}

void MailboxIndex::set_uids(const std::vector<std::uint32_t>& ascending) {
  std::vector<MessageEntry> next;
  next.reserve(ascending.size());
  auto old = entries_.begin();
  for (auto uid : ascending) {
    while (old != entries_.end() && old->uid < uid) ++old;
    if (old != entries_.end() && old->uid == uid)
      next.push_back(*old);
    else
      next.push_back(
          MessageEntry{.uid = uid, .size = 0, .received = 0, .flags = 0, .thread = 0, .identity = {}});
  }
  entries_ = std::move(next);
  listed_ = true;
  unknown_ = deleted_ = unread_ = 0;
  for (const auto& entry : entries_) count(entry, 1);
  std::erase_if(overflow_, [this](const auto& item) { return find(item.first) == nullptr; });
}

void MailboxIndex::append_uid(std::uint32_t uid) {
  if (uid <= largest_uid()) return;
  // One more message doesn't double what a large mailbox takes.
  if (entries_.size() == entries_.capacity()) entries_.reserve(entries_.size() + entries_.size() / 16 + 16);
  entries_.push_back(
      MessageEntry{.uid = uid, .size = 0, .received = 0, .flags = 0, .thread = 0, .identity = {}});
  count(entries_.back(), 1);
}

std::optional<std::uint32_t> MailboxIndex::expunge_seq(std::uint32_t seq) {
  const auto* entry = at_seq(seq);
  if (entry == nullptr) return std::nullopt;
  auto uid = entry->uid;
  remove(uid);
  return uid;
}

bool MailboxIndex::remove(std::uint32_t uid) {
  auto it = std::lower_bound(entries_.begin(), entries_.end(), uid, uid_less);
  if (it == entries_.end() || it->uid != uid) return false;
  count(*it, -1);
  overflow_.erase(uid);
  entries_.erase(it);
  return true;
}

void MailboxIndex::remove_all(const std::vector<std::uint32_t>& ascending) {
  std::erase_if(entries_, [&](const MessageEntry& entry) {
    if (!std::binary_search(ascending.begin(), ascending.end(), entry.uid)) return false;
    count(entry, -1);
    overflow_.erase(entry.uid);
    return true;
  });
}

std::uint64_t MailboxIndex::flag_bits(std::uint32_t uid, const imap::Flags& flags) {
  std::uint64_t bits = flags.system & MessageEntry::system_mask;
  std::vector<std::uint32_t> beyond;
  for (const auto& keyword : flags.keywords) {
    auto number = keyword_table_.intern(keyword);
    if (!number) continue;
    if (*number < keyword_bits)
      bits |= std::uint64_t{MessageEntry::first_keyword} << *number;
    else
      beyond.push_back(*number);
  }
  if (beyond.empty()) {
    overflow_.erase(uid);
  } else {
    bits |= MessageEntry::overflow;
    std::sort(beyond.begin(), beyond.end());
    overflow_[uid] = std::move(beyond);
  }
  return bits;
}

MailboxIndex::Change MailboxIndex::apply(std::uint32_t uid, const imap::FetchData& data) {
  auto* entry = find_mutable(uid);
  if (entry == nullptr) return Change::none;
  auto before = *entry;
  auto overflow_before = overflow_.contains(uid) ? overflow_.at(uid) : std::vector<std::uint32_t>{};
  count(*entry, -1);
  if (data.size)
    entry->size = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(*data.size, std::numeric_limits<std::uint32_t>::max()));
  if (data.internal_date) entry->received = *data.internal_date;
  if (data.flags) entry->flags = flag_bits(uid, *data.flags) | (entry->flags & MessageEntry::own_mask);
  if (const auto identity = identity_of(data); identity.is_known()) take_identity(*entry, identity);
  // Known is what has all three at once (they are always asked for together).
  if (data.flags && data.size && data.internal_date) entry->flags |= MessageEntry::known;
  count(*entry, 1);
  if (!before.is_known() && entry->is_known()) return Change::filled;
  auto overflow_after = overflow_.contains(uid) ? overflow_.at(uid) : std::vector<std::uint32_t>{};
  return before.flags != entry->flags || overflow_before != overflow_after ? Change::flags : Change::none;
}

// One that a server tells otherwise the next time is none.
void MailboxIndex::take_identity(MessageEntry& entry, const Identity& identity) {
  if (entry.identity == identity) return;
  if (entry.identity.is_known()) {
    entry.identity = {};
    return;
  }
  entry.identity = identity;
  if (!identities_.is_made()) return;
  if (identities_.has_room())
    identities_.add(identity, entry.uid);
  else
    identities_.clear();
}

MailboxIndex::Identified MailboxIndex::identified(const Identity& identity) const {
  Identified found;
  if (!identity.is_known() || entries_.empty()) return found;
  if (!identities_.is_made()) {
    identities_.make(entries_.size());
    for (const auto& entry : entries_)
      if (entry.identity.is_known()) identities_.add(entry.identity, entry.uid);
  }
  identities_.each(identity, [&](std::uint32_t uid) {
    const auto* entry = find(uid);
    if (entry == nullptr || entry == found.entry || entry->identity != identity) return;
    found.several = found.several || found.entry != nullptr;
    if (found.entry == nullptr || uid < found.entry->uid) found.entry = entry;
  });
  return found;
}

bool MailboxIndex::set_deleted(std::uint32_t uid) {
  auto* entry = find_mutable(uid);
  if (entry == nullptr || entry->is_deleted()) return false;
  count(*entry, -1);
  entry->flags |= MessageEntry::deleted;
  count(*entry, 1);
  return true;
}

void MailboxIndex::settle(std::uint32_t first, std::uint32_t last) {
  for (auto it = std::lower_bound(entries_.begin(), entries_.end(), first, uid_less);
       it != entries_.end() && it->uid <= last; ++it) {
    count(*it, -1);
    it->flags |= MessageEntry::known;
    count(*it, 1);
  }
}

void MailboxIndex::set_attachment(std::uint32_t uid, bool has_attachment) {
  if (auto* entry = find_mutable(uid))
    entry->flags |= MessageEntry::attachment_known | (has_attachment ? MessageEntry::has_attachment : 0);
}

bool MailboxIndex::set_thread(std::uint32_t uid, ThreadKey thread) {
  auto* entry = find_mutable(uid);
  if (entry == nullptr || entry->thread == thread) return false;
  entry->thread = thread;
  return true;
}

std::vector<std::string> MailboxIndex::keywords(const MessageEntry& entry) const {
  std::vector<std::string> names;
  for (std::uint32_t n = 0; n < keyword_bits && n < keyword_table_.size(); ++n)
    if ((entry.flags & (std::uint64_t{MessageEntry::first_keyword} << n)) != 0)
      names.push_back(keyword_table_.name(n));
  if ((entry.flags & MessageEntry::overflow) != 0) {
    if (auto it = overflow_.find(entry.uid); it != overflow_.end())
      for (auto n : it->second) names.push_back(keyword_table_.name(n));
  }
  return names;
}

std::optional<std::uint64_t> MailboxIndex::keyword_bit(std::string_view keyword) const {
  if (auto bit = system_flag_of_keyword(keyword)) return bit;
  auto number = keyword_table_.find(keyword);
  if (!number) return 0;
  if (*number >= keyword_bits) return std::nullopt;
  return std::uint64_t{MessageEntry::first_keyword} << *number;
}

bool MailboxIndex::has_keyword(const MessageEntry& entry, std::string_view keyword) const {
  if (auto bit = keyword_bit(keyword)) return (entry.flags & *bit) != 0;
  auto it = overflow_.find(entry.uid);
  auto number = keyword_table_.find(keyword);
  return it != overflow_.end() && number &&
         std::find(it->second.begin(), it->second.end(), *number) != it->second.end();
}

std::uint32_t MailboxIndex::first_unknown() const {
  if (unknown_ == 0) return 0;
  for (const auto& entry : entries_)
    if (!entry.is_known()) return entry.uid;
  return 0;
}

std::size_t MailboxIndex::memory_bytes() const {
  return entries_.capacity() * sizeof(MessageEntry) + keyword_table_.size() * 96 + overflow_.size() * 80 +
         identities_.memory_bytes();
}

}  // namespace postern::mail
