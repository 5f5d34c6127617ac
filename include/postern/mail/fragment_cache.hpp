// Serialised Email objects of a shard, within a memory budget; the least recently used go.
//
// One cache a shard, shared by its accounts; one thread. Values are shared pointers: what somebody is
// sending stays alive after it was evicted.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <string_view>
#include <unordered_map>

#include "postern/mail/mailstore.hpp"

namespace postern::mail {

class FragmentCache {
 public:
  explicit FragmentCache(std::size_t budget_bytes) : budget_bytes_(budget_bytes) {}

  // What a plan's signature comes to, whatever its length: half of its SHA-256.
  using PlanKey = std::array<std::uint64_t, 2>;
  static PlanKey plan_key(std::string_view signature);

  struct Key {
    store::AccountKey account = 0;
    EmailKey email;
    PlanKey plan{};
    friend bool operator==(const Key&, const Key&) = default;
  };

  std::shared_ptr<const Fragment> find(const Key& key);
  void put(const Key& key, std::shared_ptr<const Fragment> fragment);
  void drop_account(store::AccountKey account);
  void clear();

  std::size_t bytes() const { return bytes_; }
  std::size_t size() const { return entries_.size(); }
  std::uint64_t hits() const { return hits_; }
  std::uint64_t misses() const { return misses_; }

 private:
  static constexpr std::size_t entry_overhead_bytes = 200;  // list and hash nodes, control block, string
  struct KeyHash {
    std::size_t operator()(const Key& key) const {
      return PlaceHash{}(key.email) ^ static_cast<std::size_t>(key.account * 31 + key.plan[0]);
    }
  };
  struct Entry {
    Key key;
    std::shared_ptr<const Fragment> fragment;
  };
  std::size_t cost(const Fragment& fragment) const {
    const auto shape_bytes = fragment.shape ? fragment.shape->memory_bytes : 0;
    return fragment.bytes.capacity() + shape_bytes + entry_overhead_bytes;
  }
  void erase(std::list<Entry>::iterator it);

  const std::size_t budget_bytes_;
  std::size_t bytes_ = 0;
  std::uint64_t hits_ = 0, misses_ = 0;
  std::list<Entry> entries_;  // most recently used first
  // By account, so that dropping one costs what it has and not what all have.
  using ByKey = std::unordered_map<Key, std::list<Entry>::iterator, KeyHash>;
  std::unordered_map<store::AccountKey, ByKey> by_account_;
};

}  // namespace postern::mail
