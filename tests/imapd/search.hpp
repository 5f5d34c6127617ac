// SEARCH programs, SORT orders and THREAD trees: plain functions over the messages of a mailbox.
// RFC 3501 section 6.4.4, RFC 5032 (YOUNGER, OLDER), RFC 7162 (MODSEQ), RFC 5256, RFC 5957.
// Nothing is kept between two calls. Nesting is bounded by search_depth_max.
#pragma once

#include <functional>

#include "cursor.hpp"
#include "model.hpp"

namespace postern::testimapd {

struct SearchKey {
  enum class Kind {
    all,
    all_of,
    either,
    negation,
    flag,
    recent,
    sequence,
    uid,
    before,
    on,
    since,
    sent_before,
    sent_on,
    sent_since,
    larger,
    smaller,
    from,
    to,
    cc,
    bcc,
    subject,
    header,
    body,
    text,
    modseq,
    older,
    younger,
    save_before,
    save_on,
    save_since,
    email_id,
    gm_msgid,
  };
  Kind kind = Kind::all;
  std::vector<SearchKey> children;
  std::string name, value;  // value in lower case for text
  std::uint64_t number = 0;
  std::int64_t day = 0;
  NumberSet set;
};

struct SearchContext {
  const Mailbox* mailbox = nullptr;
  std::uint32_t recent_from = 0;
  std::int64_t now = 0;
};

// Reads keys up to the end of `args`; sets failed() when they make no sense. `modseq_seen` tells of MODSEQ.
class SearchParser {
 public:
  SearchParser(const std::function<bool(std::string_view)>& offers, Cursor& args)
      : offers_(offers), args_(args) {}
  SearchKey parse();
  bool modseq_seen() const { return modseq_seen_; }

 private:
  SearchKey key(unsigned depth);
  bool text_key(std::string_view word, SearchKey& key);
  bool date_key(std::string_view word, SearchKey& key);
  bool flag_key(std::string_view word, SearchKey& key);
  bool extension_key(std::string_view word, SearchKey& key);
  const std::function<bool(std::string_view)>& offers_;
  Cursor& args_;
  bool modseq_seen_ = false;
};

// A key's sequence numbers must have become UIDs before (kind uid).
bool matches(const SearchKey& key, const Message& message, const SearchContext& context);

struct SortKey {
  enum class Kind { arrival, cc, date, from, size, subject, to, display_from, display_to };
  Kind kind = Kind::arrival;
  bool reverse = false;
};
std::vector<std::uint32_t> sort_messages(const std::vector<const Message*>& messages,
                                         const std::vector<SortKey>& keys);

// thread-data as THREAD sends it, without the verb; `number_of` gives UID or sequence number.
std::string thread_by_references(const std::vector<const Message*>& messages,
                                 const std::function<std::uint32_t(std::uint32_t)>& number_of);
std::string thread_by_subject(const std::vector<const Message*>& messages,
                              const std::function<std::uint32_t(std::uint32_t)>& number_of);

std::int64_t sent_time(const Message& message);
std::string base_subject_of(const Message& message);

}  // namespace postern::testimapd
