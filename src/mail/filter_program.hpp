// A filter made ready for one mailbox, and asked of its messages one after the other. Private.
//
// Names are looked up once, when it is made: a keyword becomes a bit of MessageEntry::flags. It refers to the filter,
// the index and what was found for the filter, and holds until the index is cleared. No I/O, one thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "postern/mail/mailbox_view.hpp"
#include "postern/mail/query.hpp"

namespace postern::mail {

// What SEARCH has found for the parts of a filter that it was asked about, ascending.
using SearchResults = std::map<const Filter*, UidList>;

// Whether messages of one index have a keyword. `keyword` must outlive it.
class KeywordTest {
 public:
  KeywordTest(const MailboxIndex& index, std::string_view keyword)
      : index_(&index), keyword_(keyword), bit_(index.keyword_bit(keyword)) {}
  bool operator()(const MessageEntry& entry) const {
    if (bit_) return (entry.flags & *bit_) != 0;
    return (entry.flags & MessageEntry::overflow) != 0 && index_->has_keyword(entry, keyword_);
  }

 private:
  const MailboxIndex* index_;
  std::string_view keyword_;
  std::optional<std::uint64_t> bit_;  // none: beyond keyword_bits
};

// Which Emails of each thread have the keywords that a query asks about, over all mailboxes that are known.
class ThreadKeywords {
 public:
  // The keywords of all conditions and comparators about threads. False: more than thread_keywords_max.
  bool add(const Filter& filter);
  bool add(const Sort& sort);
  bool empty() const { return keywords_.empty(); }
  std::vector<KeywordTest> tests_for(const MailboxIndex& index) const;
  // One Email of a thread; `tests` are those for its index.
  void take(const MessageEntry& entry, const std::vector<KeywordTest>& tests);
  std::optional<std::size_t> number_of(std::string_view keyword) const;
  // A message whose thread isn't known is one by itself.
  bool some(const MessageEntry& entry, std::size_t number, const KeywordTest& own) const;
  bool all(const MessageEntry& entry, std::size_t number, const KeywordTest& own) const;

 private:
  struct Have {
    std::uint32_t some = 0, lacking = 0;  // a bit for each keyword
  };
  bool add(const std::string& keyword);
  std::vector<std::string> keywords_;  // lower case
  std::unordered_map<ThreadKey, Have> threads_;
};

class FilterProgram {
 public:
  FilterProgram(const Filter& filter, const MailboxIndex& index, const SearchResults& found,
                const ThreadKeywords& threads);
  // The index must know the entry. A hasAttachment that isn't known counts as false.
  bool matches(const MessageEntry& entry) const {
    return evaluate(0, entry, index_->attachment(entry).value_or(false));
  }
  // Does the answer depend on whether it has an attachment, and is that not known?
  bool lacks_attachment(const MessageEntry& entry) const {
    return !index_->attachment(entry) && evaluate(0, entry, false) != evaluate(0, entry, true);
  }
  std::size_t size() const { return nodes_.size(); }  // a measure of what one message costs

 private:
  struct Node {
    Filter::Kind kind = Filter::Kind::always;
    std::size_t end = 0;  // behind its last descendant
    std::int64_t number = 0;
    const UidList* found = nullptr;
    std::optional<KeywordTest> test;
    std::size_t keyword = 0;  // in threads_
  };
  void add(const Filter& filter, const SearchResults& found);
  bool evaluate(std::size_t at, const MessageEntry& entry, bool attachment) const;
  bool any_child(std::size_t at, bool wanted, const MessageEntry& entry, bool attachment) const;

  const MailboxIndex* index_;
  const ThreadKeywords* threads_;
  std::vector<Node> nodes_;
};

}  // namespace postern::mail
