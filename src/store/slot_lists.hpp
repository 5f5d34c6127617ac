// Lists of slot numbers in the broker's memory, found by key or kept in order: what the segment's tables of
// counters and redirects are searched by. Bounded by the table: a link of 8 octets a slot, and a head for
// each key.
#pragma once

#include <cstdint>
#include <vector>
#include <boost/unordered/unordered_flat_map.hpp>

#include "segment_format.hpp"

namespace postern::store {

// The links of any number of doubly linked lists; a slot is in at most one of them.
class SlotLinks {
 public:
  struct List {
    std::uint32_t first = no_slot, last = no_slot;
    bool empty() const { return first == no_slot; }
  };

  void append(List& list, std::uint32_t slot) {
    if (slot >= links_.size()) links_.resize(slot + std::size_t{1});
    links_[slot] = {list.last, no_slot};
    (list.last == no_slot ? list.first : links_[list.last].next) = slot;
    list.last = slot;
  }
  void remove(List& list, std::uint32_t slot) {
    const Link link = links_[slot];
    (link.previous == no_slot ? list.first : links_[link.previous].next) = link.next;
    (link.next == no_slot ? list.last : links_[link.next].previous) = link.previous;
  }
  std::uint32_t next(std::uint32_t slot) const { return links_[slot].next; }

 private:
  struct Link {
    std::uint32_t previous = no_slot, next = no_slot;
  };
  std::vector<Link> links_;
};

// The slots of each key, oldest first.
template <typename Key, typename Hash>
class SlotMultimap {
 public:
  void add(const Key& key, std::uint32_t slot) { links_.append(lists_[key], slot); }
  void remove(const Key& key, std::uint32_t slot) {
    const auto found = lists_.find(key);
    if (found == lists_.end()) return;
    links_.remove(found->second, slot);
    if (found->second.empty()) lists_.erase(found);
  }
  std::vector<std::uint32_t> slots(const Key& key) const {
    std::vector<std::uint32_t> out;
    const auto found = lists_.find(key);
    if (found == lists_.end()) return out;
    for (std::uint32_t slot = found->second.first; slot != no_slot; slot = links_.next(slot))
      out.push_back(slot);
    return out;
  }

 private:
  SlotLinks links_;
  boost::unordered_flat_map<Key, SlotLinks::List, Hash> lists_;
};

}  // namespace postern::store
