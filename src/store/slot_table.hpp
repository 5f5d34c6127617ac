// The writer's side of a table of slots: which are free, and writing them. One writer, under its mutex; the
// memory is the segment's, and so is the bound (the table's number of entries).
//
// Slots are used from the beginning of the table on, and space is reserved (SegmentFile::reserve) for a run of
// them before the first is touched.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "segment_file.hpp"
#include "segment_format.hpp"
#include "seqlock.hpp"

namespace postern::store {

inline constexpr std::uint64_t reserve_step_bytes = 256 * 1024;

// Hands out numbers below `entries`, the ones that came back first.
class SlotAllocator {
 public:
  SlotAllocator(SegmentFile& file, const TableEntry& table) : file_(file), table_(table) {}

  // full, or io where the file system has no space left.
  Result<std::uint32_t> take() {
    if (!free_.empty()) {
      const std::uint32_t slot = free_.back();
      free_.pop_back();
      ++used_;
      return slot;
    }
    if (high_water_ >= table_.entries) return fail(Errc::full, "table " + std::to_string(table_.kind));
    const std::uint64_t end = (high_water_ + 1) * table_.entry_bytes;
    if (end > reserved_bytes_) {
      const std::uint64_t table_bytes = table_.entries * table_.entry_bytes;
      const std::uint64_t bytes = std::min(reserve_step_bytes, table_bytes - reserved_bytes_);
      if (auto reserved = file_.reserve(table_.offset + reserved_bytes_, bytes); !reserved)
        return fail(reserved.error());
      reserved_bytes_ += bytes;
    }
    ++used_;
    return static_cast<std::uint32_t>(high_water_++);
  }
  void give_back(std::uint32_t slot) {
    free_.push_back(slot);
    --used_;
  }
  std::uint32_t used() const { return used_; }
  std::uint64_t high_water() const { return high_water_; }  // all slots ever used are below

 private:
  SegmentFile& file_;
  TableEntry table_;
  std::vector<std::uint32_t> free_;
  std::uint64_t high_water_ = 0, reserved_bytes_ = 0;
  std::uint32_t used_ = 0;
};

template <typename Slot>
class SlotTable {
 public:
  SlotTable(SegmentFile& file, const TableEntry& table)
      : allocator_(file, table), slots_(reinterpret_cast<Slot*>(file.data() + table.offset)) {}

  // Completes `value` (state, checksum; a session's last use after that) and writes it to a fresh slot.
  Result<std::uint32_t> insert(Slot value, std::int64_t last_used = 0) {
    const auto slot = allocator_.take();
    if (!slot) return slot;
    value.state = static_cast<std::uint32_t>(SlotState::used);
    value.checksum = checksum_of(value, *slot);
    if constexpr (std::is_same_v<Slot, SessionSlot>)
      value.last_used = pack_last_used(last_used, value.checksum);
    write_slot(slots_[*slot], value);
    return slot;
  }
  // Writes what the checksum covers anew; the rest stays as it is.
  void rewrite(std::uint32_t slot, Slot value) {
    value.state = static_cast<std::uint32_t>(SlotState::used);
    value.checksum = checksum_of(value, slot);
    write_slot(slots_[slot], value, checked_to<Slot>);
  }
  void erase(std::uint32_t slot) {
    // All zero, not a default Slot: that is what unused looks like to recovery.
    Slot empty;
    std::memset(static_cast<void*>(&empty), 0, sizeof empty);
    write_slot(slots_[slot], empty);
    allocator_.give_back(slot);
  }
  // Under the writer's mutex only, where no sequence is odd.
  Slot read(std::uint32_t slot) const {
    Slot copy;
    read_slot(slots_[slot], copy);
    return copy;
  }
  Slot& at(std::uint32_t slot) { return slots_[slot]; }
  std::uint32_t used() const { return allocator_.used(); }
  std::uint64_t high_water() const { return allocator_.high_water(); }

 private:
  SlotAllocator allocator_;
  Slot* slots_;
};

}  // namespace postern::store
