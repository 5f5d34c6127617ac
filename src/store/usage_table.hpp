// The writer's table of what people have used. Terms and membership change under the mutex of the segment's writer;
// the words of an account that somebody holds are written by whoever counts, without it. When it is full, an account
// goes that nobody holds: one with nothing counted and nothing granted on top, else the one let go of the longest
// ago; after a restart those that were there before are in the order of their slots.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "account_tables.hpp"
#include "slot_lists.hpp"
#include "slot_table.hpp"

namespace postern::store {

// The words are copied one by one, each as it is at that moment.
UsageRecord usage_of(const UsageSlot& slot);

class UsageTable {
 public:
  // `something_counted` null: words that aren't zero.
  UsageTable(SegmentFile& file, const Layout& layout, std::uint32_t accounts_max,
             SomethingCounted something_counted);

  // The account's slot, held until release(); made if there is none. `serial` is advanced where one is written. `now`
  // (Unix seconds): what is counted then, and granted, is told from what isn't any more.
  Result<std::uint32_t> open(AccountKey account, std::uint64_t& serial, std::int64_t now);
  void release(std::uint32_t slot, std::int64_t now);
  UsageWords& words(std::uint32_t slot) { return slots_.at(slot).words; }

  Result<> put_terms(AccountKey account, const UsageTerms& terms, std::uint64_t& serial, std::int64_t now);
  Result<> put(UsageSlot slot, std::uint64_t serial, std::int64_t now);  // with its words: for recovery
  std::optional<UsageRecord> get(AccountKey account) const;
  std::vector<AccountKey> accounts() const;
  std::uint32_t hint(AccountKey account) const;  // slot number + 1, 0 if there is none
  std::uint32_t used() const { return slots_.used(); }

 private:
  Result<std::uint32_t> slot_of(AccountKey account, std::uint64_t& serial, std::int64_t now);
  Result<std::uint32_t> insert(UsageSlot slot, std::int64_t now);
  // Nothing counted and nothing granted. What goes with it is only a plan that was looked up, until the next lookup.
  bool is_blank(std::uint32_t slot, std::int64_t now) const;
  void put_in_order(std::uint32_t slot, std::int64_t now);
  void take_out_of_order(std::uint32_t slot);
  std::uint32_t first_to_go(std::int64_t now) const;  // no_slot: all are held
  bool make_room(std::int64_t now);

  SlotTable<UsageSlot> slots_;
  boost::unordered_flat_map<AccountKey, std::uint32_t, AccountHash> by_account_;
  boost::unordered_flat_map<std::uint32_t, std::uint32_t> holders_;  // of slots that are held
  // The others, each in one of the two: the one let go of the longest ago first.
  SlotLinks order_links_;
  SlotLinks::List blank_, counted_;
  std::vector<bool> in_blank_;  // by slot
  std::uint32_t accounts_max_;
  SomethingCounted something_counted_;
};

}  // namespace postern::store
