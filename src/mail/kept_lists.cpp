// Bounds: kept_lists_max, kept_list_entries_max.
#include "postern/mail/kept_lists.hpp"

#include <algorithm>

namespace postern::mail {

const KeptLists::List* KeptLists::find(std::string_view state) const {
  const auto known =
      std::find_if(kept_.begin(), kept_.end(), [&](const auto& kept) { return kept.first == state; });
  return known == kept_.end() ? nullptr : &known->second;
}

bool KeptLists::keep(std::string state, List list) {
  if (list.size() > kept_list_entries_max) return false;
  const auto known =
      std::find_if(kept_.begin(), kept_.end(), [&](const auto& kept) { return kept.first == state; });
  if (known != kept_.end()) {
    std::rotate(known, std::next(known), kept_.end());
    return true;
  }
  list.shrink_to_fit();
  kept_.emplace_back(std::move(state), std::move(list));
  while (kept_.size() > kept_lists_max || entries() > kept_list_entries_max) kept_.erase(kept_.begin());
  return true;
}

std::size_t KeptLists::entries() const {
  std::size_t all = 0;
  for (const auto& [state, list] : kept_) all += list.size();
  return all;
}

std::size_t KeptLists::memory_bytes() const {
  return entries() * sizeof(Entry) + kept_.size() * sizeof(std::pair<std::string, List>);
}

}  // namespace postern::mail
