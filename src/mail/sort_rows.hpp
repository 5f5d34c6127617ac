// Messages of one or several mailboxes with their keys for one sort, taken at one moment: they stay what they are while
// the mailboxes change. Private. Owned by the coroutine that sorts them; memory is 56 octets and the texts for each.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mail/filter_program.hpp"

namespace postern::mail {

struct SortRow {
  Place place;
  ThreadKey thread = 0;
  std::int64_t received = 0;
  std::uint32_t size = 0;
  std::uint32_t bits = 0;   // of keyword properties, by their number among the keys
  std::uint32_t texts = 0;  // where its texts begin
};

class SortRows {
 public:
  SortRows(const Sort& sort, const ThreadKeywords& threads) : sort_(sort), threads_(threads) {}
  // add() is about this mailbox from now on. To be called again once it may have changed.
  void begin(const MailboxView& view);
  void add(const MessageEntry& entry);
  // By the keys, then by mailbox and UID.
  bool less(const SortRow& a, const SortRow& b) const;
  std::vector<SortRow>& rows() { return rows_; }

 private:
  const Sort& sort_;
  const ThreadKeywords& threads_;
  const MailboxView* view_ = nullptr;
  struct Keyword {
    std::size_t key, number;  // in sort_, in threads_
    KeywordTest test;
  };
  std::vector<Keyword> keywords_;
  std::vector<SortRow> rows_;
  std::vector<std::string> texts_;
};

}  // namespace postern::mail
