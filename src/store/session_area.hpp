// The sessions of a mapped segment: finding one without a lock (broker and workers), and changing them (the
// broker, under its mutex).
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "account_tables.hpp"
#include "segment_format.hpp"
#include "slot_table.hpp"

namespace postern::store {

// How often a reader tries again when a writer is at the very record it wants. A writer needs well under a
// microsecond, unless it is interrupted (or was killed) there: then waiting is not a reader's business.
inline constexpr int read_attempts_max = 64;

enum class Lookup { found, absent, busy };

// Read side; any thread, any process. Whatever the mapped octets are, nothing outside them is touched, and
// what is found has the right token hash and checksum. Comparing hashes needs no constant time: they are
// SHA-256 of 256 random bits, so that who learns how much of a hash matched has learnt nothing about a
// token, and can't choose tokens whose hashes come any closer.
class SessionArea {
 public:
  SessionArea(const char* base, const Layout& layout);

  // busy: it was being changed at each of read_attempts_max attempts.
  Lookup find(const TokenHash& hash, SessionSlot& slot, std::uint32_t& number) const;
  // Login and sealed credential of what find copied. busy: the slot has changed since; absent: damaged.
  Lookup read_data(const SessionSlot& slot, std::uint32_t number, SessionRecord& record) const;

 private:
  Lookup probe(const TokenHash& hash, SessionSlot& slot, std::uint32_t& number) const;

  const std::uint64_t& index_sequence_;
  const std::uint64_t* index_;
  std::uint64_t index_mask_;
  const SessionSlot* slots_;
  std::uint64_t slot_count_;
  const Block* blocks_;
  std::uint64_t block_count_;
};

// Collects login and sealed credential from blocks that `load` fetches by number; false if the chain can't be
// right. Shared with recovery, which reads from a file.
template <typename Load>
bool collect_chain(const SessionSlot& slot, std::uint64_t block_count, Load load, SessionRecord& record);
void fill_record(const SessionSlot& slot, SessionRecord& record);  // all but login and sealed
// Splits and checks what a chain held.
bool take_data(const SessionSlot& slot, std::string_view data, SessionRecord& record);

// Write side. Everything under the mutex of the segment's writer.
class SessionTable {
 public:
  SessionTable(SegmentFile& file, const Layout& layout, std::uint32_t sessions_max);

  // Replaces the one of the same token: the new is complete before the old goes, so that a crash leaves at
  // least one of them. full, too_large, io.
  // `usage_slot`: number + 1 of the account's use, or 0.
  Result<> put(const SessionRecord& record, std::uint32_t usage_slot, std::uint64_t serial);
  bool end(const TokenHash& hash);
  // Those of this account that are live.
  std::size_t live_of(AccountKey account, std::int64_t now) const;
  std::optional<std::int64_t> first_end_of(AccountKey account, std::int64_t now) const;
  // Makes room for one more of this account's, of which there may be `most`: those that have run out go, then those
  // used the longest ago. Returns the live ones that went.
  std::vector<TokenHash> make_room_of(AccountKey account, std::size_t most, std::int64_t now);
  // Ends those that `which` chooses in slots [from, to); returns how many.
  template <typename Predicate>
  std::size_t end_if(std::uint64_t from, std::uint64_t to, Predicate which);
  void touch(const TokenHash& hash, std::int64_t now);
  std::optional<SessionRecord> live_at(std::uint64_t number, std::int64_t now) const;

  const SessionArea& area() const { return area_; }
  std::uint64_t high_water() const { return slots_.high_water(); }
  std::uint32_t used() const { return slots_.used(); }

 private:
  Result<std::uint32_t> write_chain(std::string_view data);
  void free_chain(std::uint32_t first);
  void free_slot(std::uint32_t number, const SessionSlot& slot);
  void erase(std::uint32_t number, const SessionSlot& slot);
  std::uint64_t index_position(std::uint64_t entry) const;
  void index_insert(std::uint64_t entry);
  void index_replace(std::uint64_t old_entry, std::uint64_t entry);
  void index_remove(std::uint64_t old_entry);
  void begin_index_change();
  void end_index_change();

  SessionArea area_;
  SlotTable<SessionSlot> slots_;
  SlotAllocator block_allocator_;
  Block* blocks_;
  std::uint64_t* index_;
  std::uint64_t index_mask_;
  std::uint64_t& index_sequence_;
  std::uint32_t sessions_max_;
  SlotMultimap<AccountKey, AccountHash> by_account_;
};

template <typename Load>
bool collect_chain(const SessionSlot& slot, std::uint64_t block_count, Load load, SessionRecord& record) {
  const std::size_t size = std::size_t{slot.login_size} + slot.sealed_size;
  if (slot.login_size > login_bytes_max || slot.sealed_size > sealed_bytes_max) return false;
  std::array<char, chain_blocks_max * block_data_bytes> data;
  std::uint32_t number = slot.first_block;
  for (std::size_t at = 0; at < size; at += block_data_bytes) {  // at most chain_blocks_max rounds
    Block block;
    if (number >= block_count || !load(number, block)) return false;
    std::memcpy(data.data() + at, block.data.data(), block_data_bytes);
    number = block.next;
  }
  return take_data(slot, std::string_view(data.data(), size), record);
}

template <typename Predicate>
std::size_t SessionTable::end_if(std::uint64_t from, std::uint64_t to, Predicate which) {
  std::size_t ended = 0;
  for (std::uint64_t i = from; i < std::min(to, slots_.high_water()); ++i) {
    const auto number = static_cast<std::uint32_t>(i);
    const SessionSlot slot = slots_.read(number);
    if (slot.state != static_cast<std::uint32_t>(SlotState::used) || !which(slot) ||
        condition_of(slot, number) != SlotCondition::intact)
      continue;
    erase(number, slot);
    ++ended;
  }
  return ended;
}

}  // namespace postern::store
