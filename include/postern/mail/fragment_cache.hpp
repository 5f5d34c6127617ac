// Serialised Email objects of a shard, within a memory budget; the least recently used go.
//
// One cache a shard, shared by its accounts; one thread. Values are shared pointers: what somebody is
// sending stays alive after it was evicted.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "postern/mail/mailstore.hpp"

namespace postern::mail {

class FragmentCache {
 public:
  explicit FragmentCache(std::size_t budget_bytes) : budget_bytes_(budget_bytes) {}

  struct Key {
    store::AccountKey account = 0;
    EmailKey email;
    std::uint32_t plan = 0;
    friend bool operator==(const Key&, const Key&) = default;
  };

  // A small number for a plan's signature, the same for equal ones. Bounded by plans_max: then all
  // fragments are dropped.
  std::uint32_t plan_number(const std::string& signature);
  std::shared_ptr<const Fragment> find(const Key& key);
  void put(const Key& key, std::shared_ptr<const Fragment> fragment);
  void drop_account(store::AccountKey account);
  void clear();

  std::size_t bytes() const { return bytes_; }
  std::size_t size() const { return entries_.size(); }
  std::uint64_t hits() const { return hits_; }
  std::uint64_t misses() const { return misses_; }

 private:
  static constexpr std::size_t plans_max = 10'000;
  static constexpr std::size_t entry_overhead_bytes = 200;  // list and hash nodes, control block, string
  struct KeyHash {
    std::size_t operator()(const Key& key) const {
      return PlaceHash{}(key.email) ^
             static_cast<std::size_t>(key.account * 31 + key.plan * 0x9E3779B97F4A7C15ull);
    }
  };
  struct Entry {
    Key key;
    std::shared_ptr<const Fragment> fragment;
  };
  std::size_t cost(const Fragment& fragment) const {
    return fragment.bytes.capacity() + entry_overhead_bytes;
  }
  void erase(std::list<Entry>::iterator it);

  const std::size_t budget_bytes_;
  std::size_t bytes_ = 0;
  std::uint64_t hits_ = 0, misses_ = 0;
  std::uint32_t last_plan_ = 0;
  std::list<Entry> entries_;  // most recently used first
  std::unordered_map<Key, std::list<Entry>::iterator, KeyHash> by_key_;
  std::unordered_map<std::string, std::uint32_t> plans_;
};

}  // namespace postern::mail
