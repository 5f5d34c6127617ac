// Reading the segment that was left behind, to copy what is intact into a fresh one.
//
// It is read with pread(2), never mapped: whatever its size, holes and contents are, reading it can't kill the
// process. Nothing in it is believed without its checksum, and nothing at all if the file isn't ours alone.
// Bounded: a buffer of 64 KiB, and by the file's real size.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "segment_file.hpp"
#include "segment_format.hpp"

namespace postern::store {

class OldSegment {
 public:
  // Nothing: no file, or none to use, with the reason in `report`.
  static std::optional<OldSegment> open(const std::string& path, RecoveryReport& report);

  // Calls visit(number, slot, condition) for each slot that was ever used.
  template <typename Slot, typename Visit>
  void scan(const TableEntry& table, Visit visit) const;
  template <typename Slot>
  std::optional<Slot> read(const TableEntry& table, std::uint32_t number) const;
  // The whole record; nothing if it is damaged.
  std::optional<SessionRecord> session(std::uint32_t number) const;
  // Tells those who have it mapped that there is a newer one.
  void retire() const;
  const Layout& layout() const { return layout_; }

 private:
  OldSegment(FileDescriptor file, const Layout& layout) : file_(std::move(file)), layout_(layout) {}
  std::size_t read_at(std::uint64_t offset, void* to, std::size_t bytes) const;
  std::uint64_t next_data(std::uint64_t offset) const;

  FileDescriptor file_;
  Layout layout_;
};

template <typename Slot>
std::optional<Slot> OldSegment::read(const TableEntry& table, std::uint32_t number) const {
  Slot slot;
  if (number >= table.entries) return std::nullopt;
  if (read_at(table.offset + std::uint64_t{number} * sizeof slot, &slot, sizeof slot) != sizeof slot)
    return std::nullopt;
  return slot;
}

template <typename Slot, typename Visit>
void OldSegment::scan(const TableEntry& table, Visit visit) const {
  constexpr std::size_t slots_at_once = 64 * 1024 / sizeof(Slot);
  std::vector<Slot> slots(slots_at_once);
  std::uint64_t number = 0;
  while (number < table.entries) {
    const std::uint64_t data = next_data(table.offset + number * sizeof(Slot));
    const std::uint64_t in_data = (data - table.offset) / sizeof(Slot);
    if (in_data > number) {
      number = in_data;
      continue;
    }
    const std::uint64_t wanted = std::min<std::uint64_t>(slots_at_once, table.entries - number);
    const std::size_t got = read_at(table.offset + number * sizeof(Slot), slots.data(),
                                    static_cast<std::size_t>(wanted) * sizeof(Slot));
    for (std::size_t i = 0; i < got / sizeof(Slot); ++i) {
      const auto slot_number = static_cast<std::uint32_t>(number + i);
      const SlotCondition condition = condition_of(slots[i], slot_number);
      if (condition != SlotCondition::unused) visit(slot_number, slots[i], condition);
    }
    if (got < wanted * sizeof(Slot)) return;  // the file ends here
    number += wanted;
  }
}

}  // namespace postern::store
