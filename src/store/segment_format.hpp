// The segment's format, to the byte; docs/segment-format.md is the same in words and must change with it.
//
// A segment is a file of a header, its copy, and tables of fixed-size slots. Everything is a flat,
// trivially copyable structure in the machine's byte order (which the header names); references are slot
// numbers, never addresses. What is read from a file is bounded by segment_limits before it is used.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "postern/store/session_table.hpp"

namespace postern::store {

inline constexpr std::array<char, 8> segment_magic = {'P', 'O', 'S', 'T', 'S', 'E', 'G', '\n'};
inline constexpr std::uint32_t byte_order_mark = 0x01020304;
inline constexpr std::uint32_t segment_format_version = 2;
// Version 1 has no use of accounts and no limits of bodies; all else is the same.
inline constexpr std::uint32_t segment_format_version_oldest = 1;
inline constexpr std::size_t header_bytes = 4096;               // one page
inline constexpr std::size_t tables_offset = 2 * header_bytes;  // header, copy of the header
inline constexpr std::size_t tables_max = 16;
inline constexpr std::uint32_t no_slot = 0xffffffff;

// What a configuration or a file may ask for.
namespace segment_limits {
inline constexpr std::uint64_t sessions_max = 1U << 24;
inline constexpr std::uint64_t accounts_max = 1U << 24;
inline constexpr std::uint64_t redirects_max = 1U << 26;
inline constexpr std::uint64_t credential_bytes_mean_max = sealed_bytes_max + login_bytes_max;
inline constexpr std::uint64_t entries_max = 1ULL << 31;
inline constexpr std::uint64_t file_bytes_max = 1ULL << 40;
}  // namespace segment_limits

// A session's last use is written at most this often, so it counts as idle this much later.
inline constexpr std::int64_t touch_interval_seconds = 60;

enum class TableKind : std::uint32_t {
  session_index = 1,
  sessions = 2,
  blocks = 3,
  counters = 4,
  redirects = 5,
  usage = 6,
};

struct TableEntry {
  std::uint32_t kind = 0;
  std::uint32_t entry_bytes = 0;
  std::uint64_t offset = 0;  // a multiple of 4096
  std::uint64_t entries = 0;
  std::uint64_t reserved = 0;
};
static_assert(sizeof(TableEntry) == 32);

// The part that never changes after the file got its name. Octets [0, checksum) are checked.
struct HeaderFixed {
  std::array<char, 8> magic{};
  std::uint32_t byte_order = 0;
  std::uint32_t version = 0;
  std::uint32_t header_size = 0;
  std::uint32_t table_count = 0;
  std::uint64_t file_bytes = 0;
  std::uint64_t creation_id = 0;
  std::int64_t created = 0;  // Unix seconds
  std::array<std::uint64_t, 2> reserved{};
  std::array<TableEntry, tables_max> tables{};
  std::array<std::uint8_t, 440> rest{};
  std::uint32_t reserved2 = 0;
  std::uint32_t checksum = 0;
};
static_assert(sizeof(HeaderFixed) == 1024 && offsetof(HeaderFixed, checksum) == 1020);
static_assert(offsetof(HeaderFixed, tables) == 64);

// The part that changes while the segment is in use, on cache lines of its own. The flags are words that a
// flipped bit doesn't make.
inline constexpr std::uint32_t flag_retired = 0x52455449;  // a newer segment has taken the name
inline constexpr std::uint32_t flag_draining = 0x44524149;
struct HeaderLive {
  std::uint64_t index_sequence = 0;  // odd while session index entries are taken away or replaced
  std::uint32_t retired = 0;
  std::uint32_t draining = 0;
  // What a body may hold, each beside its complement, so that what is half written or damaged counts for nothing.
  std::uint64_t request_bytes_max = 0, request_bytes_check = 0;
  std::uint64_t upload_bytes_max = 0, upload_bytes_check = 0;
  std::array<std::uint8_t, header_bytes - sizeof(HeaderFixed) - 48> rest{};
};
struct Header {
  HeaderFixed fixed;
  HeaderLive live;
};
static_assert(sizeof(Header) == header_bytes && offsetof(Header, live) == 1024);

// Every slot begins with a sequence (odd: being written) and a checksum. An unused slot is zero after the
// sequence. `serial` grows with every write to the segment: of two slots for the same thing, which a crash
// in the middle of a replacement leaves, the greater serial is the newer.
enum class SlotState : std::uint32_t { unused = 0, used = 1 };

struct SessionSlot {
  static constexpr TableKind kind = TableKind::sessions;
  static constexpr std::size_t checked_from = 16;
  std::uint32_t sequence = 0;
  std::uint32_t checksum = 0;
  // Unix seconds in the low half, their CRC seeded with `checksum` in the high half: the one thing that
  // changes in a session in use, in one atomic store that no crash can tear.
  std::uint64_t last_used = 0;
  std::uint64_t serial = 0;
  TokenHash token_hash{};
  std::uint64_t account = 0;
  std::int64_t created = 0;
  std::int64_t expires = 0;
  std::uint32_t idle_seconds = 0;
  std::uint32_t flags = 0;
  std::uint32_t state = 0;
  std::uint16_t login_size = 0;
  std::uint16_t sealed_size = 0;
  std::uint32_t first_block = no_slot;
  std::uint32_t data_checksum = 0;  // of login, then sealed, as they lie in the chain of blocks
  std::uint32_t usage_slot = 0;     // number + 1 of where the account's use was counted then; 0: nowhere
  std::array<std::uint8_t, 20> reserved{};
};
static_assert(sizeof(SessionSlot) == 128 && std::is_trivially_copyable_v<SessionSlot>);
static_assert(offsetof(SessionSlot, serial) == SessionSlot::checked_from);

struct Block {
  std::uint32_t next = no_slot;
  std::array<char, 124> data{};
};
static_assert(sizeof(Block) == 128);
inline constexpr std::size_t block_data_bytes = sizeof(Block::data);
constexpr std::size_t blocks_for(std::size_t bytes) {
  return (bytes + block_data_bytes - 1) / block_data_bytes;
}
inline constexpr std::size_t chain_blocks_max = blocks_for(sealed_bytes_max + login_bytes_max);

struct CounterSlot {
  static constexpr TableKind kind = TableKind::counters;
  static constexpr std::size_t checked_from = 8;
  std::uint32_t sequence = 0;
  std::uint32_t checksum = 0;
  std::uint64_t serial = 0;
  std::uint64_t account = 0;
  std::array<std::uint64_t, 8> values{};
  std::uint32_t state = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(CounterSlot) == 96 && offsetof(CounterSlot, serial) == CounterSlot::checked_from);

struct PlaceFields {
  std::uint64_t mailbox = 0;
  std::uint32_t uid_validity = 0;
  std::uint32_t uid = 0;
};
struct RedirectSlot {
  static constexpr TableKind kind = TableKind::redirects;
  static constexpr std::size_t checked_from = 8;
  std::uint32_t sequence = 0;
  std::uint32_t checksum = 0;
  std::uint64_t serial = 0;
  std::uint64_t account = 0;
  PlaceFields origin;
  PlaceFields current;
  std::uint32_t state = 0;
  std::uint32_t copy =
      0;  // 1: one of several places; 0, also in segments from before there were such: the place
};
static_assert(sizeof(RedirectSlot) == 64 && offsetof(RedirectSlot, serial) == RedirectSlot::checked_from);

// The terms lie under sequence and checksum; `words` change by themselves, each in one atomic store that no crash can
// tear, and each has a check of its own (src/limits/windows.cpp).
struct UsageSlot {
  static constexpr TableKind kind = TableKind::usage;
  static constexpr std::size_t checked_from = 8;
  std::uint32_t sequence = 0;
  std::uint32_t checksum = 0;
  std::uint64_t serial = 0;
  std::uint64_t account = 0;
  std::int64_t extra_until = 0;
  std::array<std::uint64_t, usage_limits> limits{};
  std::array<std::uint64_t, usage_limits> extra{};
  std::array<char, usage_plan_bytes> plan{};
  std::array<char, usage_login_bytes> login{};
  std::uint32_t state = 0;
  std::uint32_t reserved = 0;
  UsageWords words{};
};
static_assert(offsetof(UsageSlot, words) == 328 && sizeof(UsageSlot) == 328 + usage_words * 8);
template <typename Slot>
inline constexpr std::size_t checked_to = sizeof(Slot);
template <>
inline constexpr std::size_t checked_to<UsageSlot> = offsetof(UsageSlot, words);

// A session index entry: slot number + 1 in the low half, the first 4 octets of the token hash (least first) in
// the high half; 0 is empty. An entry's place is the first free one at or after that tag modulo the table's
// size, so that entries can be moved without looking at what they refer to.
constexpr std::uint32_t index_tag(const TokenHash& hash) {
  return std::uint32_t{hash[0]} | std::uint32_t{hash[1]} << 8 | std::uint32_t{hash[2]} << 16 |
         std::uint32_t{hash[3]} << 24;
}
constexpr std::uint64_t index_entry(const TokenHash& hash, std::uint32_t slot) {
  return std::uint64_t{index_tag(hash)} << 32 | (std::uint64_t{slot} + 1);
}
constexpr std::uint32_t index_tag_of(std::uint64_t entry) { return static_cast<std::uint32_t>(entry >> 32); }
constexpr std::uint32_t index_slot(std::uint64_t entry) { return static_cast<std::uint32_t>(entry) - 1; }

// Where the tables are.
struct Layout {
  TableEntry session_index, sessions, blocks, counters, redirects;
  TableEntry usage;  // no entries: of version 1
  std::uint64_t file_bytes = 0;
};

// too_large: an option beyond segment_limits, or 0.
Result<Layout> layout_for(const SegmentOptions& options);
HeaderFixed make_header(const Layout& layout, std::uint64_t creation_id, std::int64_t created);
// version: of another version or byte order; damaged: no header of ours, or one that can't be right.
Result<Layout> check_header(const HeaderFixed& header);

std::uint32_t last_used_check(std::uint32_t seconds, std::uint32_t slot_checksum);
std::uint64_t pack_last_used(std::int64_t seconds, std::uint32_t slot_checksum);  // clamps to 0..2^32-1
bool last_used_valid(const SessionSlot& slot);
inline std::int64_t last_used_seconds(const SessionSlot& slot) {
  return static_cast<std::int64_t>(slot.last_used & 0xffffffff);
}
// Its absolute end, or where it isn't used any more, after its idle lifetime (0: none) and one touch interval.
std::int64_t session_end(const SessionSlot& slot);
// Live: before its end.
bool session_is_live(const SessionSlot& slot, std::int64_t now);

// The checksum of a slot belongs to its table and number, so that a slot out of place is not taken.
std::uint32_t slot_checksum(TableKind kind, std::uint32_t number, const void* data, std::size_t size);
template <typename Slot>
std::uint32_t checksum_of(const Slot& slot, std::uint32_t number) {
  return slot_checksum(Slot::kind, number, reinterpret_cast<const char*>(&slot) + Slot::checked_from,
                       checked_to<Slot> - Slot::checked_from);
}

enum class SlotCondition { unused, intact, damaged };
template <typename Slot>
SlotCondition condition_of(const Slot& slot, std::uint32_t number) {
  if ((slot.sequence & 1) != 0) return SlotCondition::damaged;
  const auto* p = reinterpret_cast<const unsigned char*>(&slot);
  bool zero = true;
  for (std::size_t i = sizeof slot.sequence; i < sizeof slot && zero; ++i) zero = p[i] == 0;
  if (zero) return SlotCondition::unused;
  if (slot.state != static_cast<std::uint32_t>(SlotState::used) || slot.checksum != checksum_of(slot, number))
    return SlotCondition::damaged;
  if constexpr (std::is_same_v<Slot, SessionSlot>)
    if (!last_used_valid(slot) || slot.login_size > login_bytes_max || slot.sealed_size > sealed_bytes_max)
      return SlotCondition::damaged;
  return SlotCondition::intact;
}

}  // namespace postern::store
