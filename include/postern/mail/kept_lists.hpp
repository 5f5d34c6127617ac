// Results of Mailbox/query as they were told, by their states: what has become of one is told from it
// (Mailbox/queryChanges). Pure; one thread. Bounds: kept_lists_max of them, kept_list_entries_max Mailboxes in all; the
// ones that were told longest ago go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "postern/mail/ids.hpp"

namespace postern::mail {

inline constexpr std::size_t kept_lists_max = 16;
inline constexpr std::size_t kept_list_entries_max = 65'536;  // 1 MiB; one of mailboxes_max fits

class KeptLists {
 public:
  struct Entry {
    MailboxKey key = 0;
    std::uint64_t properties = 0;  // a hash of those that the query goes by
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  using List = std::vector<Entry>;

  // Null: it was never told, or too long ago.
  const List* find(std::string_view state) const;
  // False: it is too long to be kept. The same state stands for the same list.
  bool keep(std::string state, List list);
  void clear() { kept_.clear(); }
  std::size_t size() const { return kept_.size(); }
  std::size_t memory_bytes() const;

 private:
  std::size_t entries() const;

  std::vector<std::pair<std::string, List>> kept_;  // the latest behind
};

}  // namespace postern::mail
