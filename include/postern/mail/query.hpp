// Email/query's filter and sort as values (RFC 8621, 4.4.1 and 4.4.2), and what can be said about them
// without asking the server.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "postern/mail/ids.hpp"
#include "postern/mail/mailbox_index.hpp"

namespace postern::mail {

inline constexpr std::size_t filter_depth_max = 28;
inline constexpr std::size_t filter_conditions_max = 200;
inline constexpr std::size_t filter_text_bytes_max = 8'000;  // of all conditions together
inline constexpr std::size_t filter_mailboxes_max = 1'000;   // the same
inline constexpr std::size_t filter_searches_max = 16;       // SEARCH commands, for each mailbox
inline constexpr std::size_t sort_keys_max = 8;
inline constexpr std::size_t thread_keywords_max = 16;  // of conditions and comparators about whole threads

struct Filter {
  enum class Kind : std::uint8_t {
    all_of,
    any_of,
    none_of,  // AND, OR, NOT
    always,
    never,                  // what is left of a mailbox condition once the mailbox is given
    in_mailbox,             // mailbox
    in_mailbox_other_than,  // mailboxes
    before,
    after,
    min_size,
    max_size,  // number
    has_keyword,
    not_keyword,  // text
    all_in_thread_have_keyword,
    some_in_thread_have_keyword,
    none_in_thread_have_keyword,  // text
    has_attachment,               // number: 0 or 1
    text,
    from,
    to,
    cc,
    bcc,
    subject,
    body,    // text
    header,  // header_name; with header_value: text
  };
  Kind kind = Kind::always;
  std::vector<Filter> children;
  std::int64_t number = 0;
  std::string text, header_name;
  bool header_value = false;
  std::vector<MailboxKey> mailboxes;

  std::string signature() const;  // equal for equal filters
  // With every mailbox condition decided for an Email that is in these, and simplified: always, never, or the rest.
  Filter in(std::span<const MailboxKey> in_mailboxes) const;
  Filter in(MailboxKey mailbox) const { return in(std::span(&mailbox, 1)); }
  // Can it be answered from a filled index?
  bool is_local() const;
  bool needs_index() const;  // has a condition on flags, dates or sizes at all
  bool has(Kind kind) const;
  bool is_about_threads() const;  // has a condition on other Emails of the same thread
};

// Is a condition on the server's SEARCH alone (text, addresses, headers)?
bool is_search_condition(Filter::Kind kind);
bool is_thread_condition(Filter::Kind kind);

struct SortKey {
  enum class Property : std::uint8_t {
    received_at,
    sent_at,
    size,
    from,
    to,
    subject,
    has_keyword,
    all_in_thread_have_keyword,
    some_in_thread_have_keyword,
  };
  Property property = Property::received_at;
  bool ascending = true;
  std::string keyword;  // of the last three
};
bool is_text_property(SortKey::Property property);     // its key is in TextKeys, not in the index
bool is_keyword_property(SortKey::Property property);  // goes with a keyword
bool is_thread_property(SortKey::Property property);   // depends on other Emails of the same thread

struct Sort {
  std::vector<SortKey> keys;  // empty: receivedAt, newest first
  std::string signature() const;
  // Only on properties that the index holds (receivedAt, size, hasKeyword).
  bool is_local() const;
  bool is_about_threads() const;
  static Sort newest_first() { return Sort{{SortKey{SortKey::Property::received_at, false, {}}}}; }
};

// Sort keys that aren't in the index, by UID: byte strings that compare as the values do. Filled as they
// are needed; given up with the view.
class TextKeys {
 public:
  void put(SortKey::Property property, std::uint32_t uid, std::string key);
  const std::string* find(SortKey::Property property, std::uint32_t uid) const;
  void erase(std::uint32_t uid);
  void clear();
  std::size_t memory_bytes() const { return bytes_; }

 private:
  static constexpr std::size_t key_overhead_bytes = 80;  // hash node and string
  std::array<std::unordered_map<std::uint32_t, std::string>, 6>
      keys_;  // by Property, to the last text property
  std::size_t bytes_ = 0;
};

// One message as a sort sees it, but for its thread: a mailbox has no order by what is in others.
struct SortEntry {
  const MailboxIndex* index = nullptr;
  const TextKeys* texts = nullptr;
  const MessageEntry* entry = nullptr;
};

// <0, 0, >0 by the keys alone; the UID decides ties elsewhere (lower first, whatever the direction: as
// SORT does, RFC 5256, section 3). A text key that is missing counts as empty.
int compare(const Sort& sort, const SortEntry& a, const SortEntry& b);

}  // namespace postern::mail
