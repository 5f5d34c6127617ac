// Headers and layouts: pure functions.
#include "segment_format.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <string>

#include "crc32c.hpp"

namespace postern::store {
namespace {

constexpr std::uint64_t page_bytes = 4096;

std::uint64_t page_up(std::uint64_t bytes) { return (bytes + page_bytes - 1) / page_bytes * page_bytes; }

struct KnownTable {
  TableKind kind;
  std::uint32_t entry_bytes;
  TableEntry Layout::* entry;
};
constexpr std::array<KnownTable, 6> known_tables{{
    {TableKind::session_index, sizeof(std::uint64_t), &Layout::session_index},
    {TableKind::sessions, sizeof(SessionSlot), &Layout::sessions},
    {TableKind::blocks, sizeof(Block), &Layout::blocks},
    {TableKind::counters, sizeof(CounterSlot), &Layout::counters},
    {TableKind::redirects, sizeof(RedirectSlot), &Layout::redirects},
    {TableKind::usage, sizeof(UsageSlot), &Layout::usage},
}};

std::uint32_t header_checksum(const HeaderFixed& header) {
  return crc32c(&header, offsetof(HeaderFixed, checksum));
}

Result<> check_option(const char* name, std::uint64_t value, std::uint64_t max) {
  if (value >= 1 && value <= max) return {};
  return fail(Errc::too_large, std::string(name) + " must be from 1 to " + std::to_string(max));
}

bool plausible(const TableEntry& table, std::uint64_t file_bytes) {
  return table.entries >= 1 && table.entries <= segment_limits::entries_max && table.entry_bytes >= 1 &&
         table.entry_bytes <= page_bytes && table.offset % page_bytes == 0 && table.offset >= tables_offset &&
         table.offset <= file_bytes && table.entries * table.entry_bytes <= file_bytes - table.offset;
}

}  // namespace

Result<Layout> layout_for(const SegmentOptions& options) {
  // A slot more than the limit: a replacement is written beside the old before that goes.
  for (const auto& checked :
       {check_option("sessions_max", options.sessions_max, segment_limits::sessions_max),
        check_option("accounts_max", options.accounts_max, segment_limits::accounts_max),
        check_option("redirects_max", options.redirects_max, segment_limits::redirects_max),
        check_option("credential_bytes_mean", options.credential_bytes_mean,
                     segment_limits::credential_bytes_mean_max)})
    if (!checked) return fail(checked.error());
  const std::uint64_t sessions = std::uint64_t{options.sessions_max} + 1;
  const std::array<std::uint64_t, known_tables.size()> entries = {
      std::bit_ceil(std::uint64_t{2} * options.sessions_max),  // replacing takes no further entry
      sessions,
      options.sessions_max * blocks_for(options.credential_bytes_mean) + 2 * chain_blocks_max,
      std::uint64_t{options.accounts_max} + 1,
      std::uint64_t{options.redirects_max} + 1,
      std::uint64_t{options.accounts_max},
  };
  Layout layout;
  std::uint64_t offset = tables_offset;
  for (std::size_t i = 0; i < known_tables.size(); ++i) {
    const KnownTable& table = known_tables[i];
    layout.*table.entry = {static_cast<std::uint32_t>(table.kind), table.entry_bytes, offset, entries[i], 0};
    offset += page_up(entries[i] * table.entry_bytes);
  }
  layout.file_bytes = offset;
  return layout;
}

HeaderFixed make_header(const Layout& layout, std::uint64_t creation_id, std::int64_t created) {
  HeaderFixed header;
  header.magic = segment_magic;
  header.byte_order = byte_order_mark;
  header.version = segment_format_version;
  header.header_size = header_bytes;
  header.file_bytes = layout.file_bytes;
  header.creation_id = creation_id;
  header.created = created;
  for (const KnownTable& table : known_tables) header.tables[header.table_count++] = layout.*table.entry;
  header.checksum = header_checksum(header);
  return header;
}

Result<Layout> check_header(const HeaderFixed& header) {
  if (header.magic != segment_magic) return fail(Errc::damaged, "no segment header");
  if (header.byte_order != byte_order_mark) return fail(Errc::version, "segment of another byte order");
  if (header.version < segment_format_version_oldest || header.version > segment_format_version)
    return fail(Errc::version, "segment format version " + std::to_string(header.version) + ", not " +
                                   std::to_string(segment_format_version));
  if (header.checksum != header_checksum(header)) return fail(Errc::damaged, "header checksum");
  if (header.header_size != header_bytes || header.table_count > tables_max ||
      header.file_bytes > segment_limits::file_bytes_max)
    return fail(Errc::damaged, "header sizes");
  Layout layout;
  layout.file_bytes = header.file_bytes;
  for (std::size_t i = 0; i < header.table_count; ++i) {
    const TableEntry& entry = header.tables[i];
    const auto known = std::find_if(known_tables.begin(), known_tables.end(), [&](const KnownTable& table) {
      return static_cast<std::uint32_t>(table.kind) == entry.kind;
    });
    if (known == known_tables.end()) continue;  // a table of a later version: not ours to read
    if (entry.entry_bytes != known->entry_bytes || !plausible(entry, header.file_bytes) ||
        (layout.*known->entry).entries != 0)
      return fail(Errc::damaged, "table " + std::to_string(entry.kind));
    layout.*known->entry = entry;
  }
  for (const KnownTable& table : known_tables)
    if ((layout.*table.entry).entries == 0 && (table.kind != TableKind::usage || header.version > 1))
      return fail(Errc::damaged, "a table is missing");
  if (!std::has_single_bit(layout.session_index.entries)) return fail(Errc::damaged, "session index size");
  return layout;
}

std::uint32_t last_used_check(std::uint32_t seconds, std::uint32_t slot_checksum) {
  return crc32c(&seconds, sizeof seconds, slot_checksum);
}

std::uint64_t pack_last_used(std::int64_t seconds, std::uint32_t slot_checksum) {
  const auto clamped = static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(seconds, 0, std::numeric_limits<std::uint32_t>::max()));
  return std::uint64_t{last_used_check(clamped, slot_checksum)} << 32 | clamped;
}

bool last_used_valid(const SessionSlot& slot) {
  return slot.last_used >> 32 == last_used_check(static_cast<std::uint32_t>(slot.last_used), slot.checksum);
}

std::int64_t session_end(const SessionSlot& slot) {
  if (slot.idle_seconds == 0) return slot.expires;
  return std::min(slot.expires,
                  last_used_seconds(slot) + std::int64_t{slot.idle_seconds} + touch_interval_seconds);
}

bool session_is_live(const SessionSlot& slot, std::int64_t now) { return now < session_end(slot); }

std::uint32_t slot_checksum(TableKind kind, std::uint32_t number, const void* data, std::size_t size) {
  const std::array<std::uint32_t, 2> where = {static_cast<std::uint32_t>(kind), number};
  return crc32c(data, size, crc32c(where.data(), sizeof where));
}

}  // namespace postern::store
