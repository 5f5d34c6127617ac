// The writer's tables of state counters and redirects. Nobody else reads them while the broker lives, so they
// are searched by indexes in its memory; all under the mutex of the segment's writer. What replaces a slot is
// complete before the slot goes, so that a crash leaves at least one of them.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "slot_lists.hpp"
#include "slot_table.hpp"

namespace postern::store {

struct AccountHash {
  std::size_t operator()(AccountKey account) const;
};
struct AccountPlace {
  AccountKey account = 0;
  Place place;
  bool copy = false;
  friend bool operator==(const AccountPlace&, const AccountPlace&) = default;
};
struct AccountPlaceHash {
  std::size_t operator()(const AccountPlace& key) const;
};

StateCounters counters_of(const CounterSlot& slot);
Redirect redirect_of(const RedirectSlot& slot);
// What it is found by: a copy by where it is, another one by where it was.
AccountPlace key_of(const Redirect& redirect);

class CounterTable {
 public:
  CounterTable(SegmentFile& file, const Layout& layout, std::uint32_t accounts_max);
  StateCounters get(AccountKey account) const;
  // The one that was put the longest ago goes when there are accounts_max.
  Result<> put(AccountKey account, const StateCounters& counters, std::uint64_t serial);
  std::uint32_t used() const { return slots_.used(); }

 private:
  void remove(AccountKey account, std::uint32_t slot);

  SlotTable<CounterSlot> slots_;
  boost::unordered_flat_map<AccountKey, std::uint32_t, AccountHash> by_account_;
  SlotLinks order_links_;
  SlotLinks::List order_;
  std::uint32_t accounts_max_;
};

class RedirectTable {
 public:
  RedirectTable(SegmentFile& file, const Layout& layout, std::uint32_t redirects_max);
  // `serial` is advanced by each slot that is written.
  Result<> put(Redirect redirect, std::uint64_t& serial);
  // As it is, without following chains: for recovery.
  Result<> put_unchanged(const Redirect& redirect, std::uint64_t& serial);
  std::vector<Redirect> of(AccountKey account) const;
  void drop(const AccountPlace& key);
  std::uint32_t used() const { return slots_.used(); }

 private:
  std::optional<std::uint32_t> find(const AccountPlace& key) const;
  void remove(std::uint32_t slot);

  SlotTable<RedirectSlot> slots_;
  boost::unordered_flat_map<AccountPlace, std::uint32_t, AccountPlaceHash> by_key_;
  SlotMultimap<AccountPlace, AccountPlaceHash> by_current_;  // without copies
  SlotMultimap<AccountKey, AccountHash> by_account_;
  SlotLinks order_links_;
  SlotLinks::List order_;
  std::uint32_t redirects_max_;
};

}  // namespace postern::store
