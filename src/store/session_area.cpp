// See session_area.hpp.
#include "session_area.hpp"

#include <algorithm>
#include <string>
#include <tuple>

#include "crc32c.hpp"

namespace postern::store {
namespace {

void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

SessionArea::SessionArea(const char* base, const Layout& layout)
    : index_sequence_(reinterpret_cast<const Header*>(base)->live.index_sequence),
      index_(reinterpret_cast<const std::uint64_t*>(base + layout.session_index.offset)),
      index_mask_(layout.session_index.entries - 1),
      slots_(reinterpret_cast<const SessionSlot*>(base + layout.sessions.offset)),
      slot_count_(layout.sessions.entries),
      blocks_(reinterpret_cast<const Block*>(base + layout.blocks.offset)),
      block_count_(layout.blocks.entries) {}

Lookup SessionArea::find(const TokenHash& hash, SessionSlot& slot, std::uint32_t& number) const {
  for (int attempt = 0; attempt < read_attempts_max; ++attempt) {
    const Lookup result = probe(hash, slot, number);
    if (result != Lookup::busy) return result;
    pause_briefly();
  }
  return Lookup::busy;
}

Lookup SessionArea::probe(const TokenHash& hash, SessionSlot& slot, std::uint32_t& number) const {
  const std::uint32_t tag = index_tag(hash);
  const std::uint64_t before = atomic_load(index_sequence_, std::memory_order_acquire);
  // The table is at most half full, so an empty entry ends this soon; the bound is for one that is damaged.
  for (std::uint64_t i = 0; i <= index_mask_; ++i) {
    const std::uint64_t entry = atomic_load(index_[(tag + i) & index_mask_], std::memory_order_acquire);
    if (entry == 0) break;
    if (index_tag_of(entry) != tag || index_slot(entry) >= slot_count_) continue;
    number = index_slot(entry);
    if (!read_slot(slots_[number], slot)) return Lookup::busy;
    if (slot.token_hash == hash && condition_of(slot, number) == SlotCondition::intact) return Lookup::found;
  }
  // Not finding one counts only if meanwhile no entry was taken away or replaced.
  std::atomic_thread_fence(std::memory_order_acquire);
  const std::uint64_t after = atomic_load(index_sequence_, std::memory_order_relaxed);
  return before == after && (before & 1) == 0 ? Lookup::absent : Lookup::busy;
}

Lookup SessionArea::read_data(const SessionSlot& slot, std::uint32_t number, SessionRecord& record) const {
  fill_record(slot, record);
  const bool intact = collect_chain(
      slot, block_count_,
      [this](std::uint32_t block, Block& copy) {
        load_words(&blocks_[block], &copy, sizeof copy);
        return true;
      },
      record);
  if (!still_current(slots_[number], slot)) return Lookup::busy;
  return intact ? Lookup::found : Lookup::absent;
}

void fill_record(const SessionSlot& slot, SessionRecord& record) {
  record.token_hash = slot.token_hash;
  record.account = slot.account;
  record.created = slot.created;
  record.last_used = last_used_seconds(slot);
  record.expires = slot.expires;
  record.idle_seconds = slot.idle_seconds;
  record.flags = slot.flags;
}

bool take_data(const SessionSlot& slot, std::string_view data, SessionRecord& record) {
  if (crc32c(data.data(), data.size()) != slot.data_checksum) return false;
  record.login = data.substr(0, slot.login_size);
  record.sealed = data.substr(slot.login_size);
  return true;
}

SessionTable::SessionTable(SegmentFile& file, const Layout& layout, std::uint32_t sessions_max)
    : area_(file.data(), layout),
      slots_(file, layout.sessions),
      block_allocator_(file, layout.blocks),
      blocks_(reinterpret_cast<Block*>(file.data() + layout.blocks.offset)),
      index_(reinterpret_cast<std::uint64_t*>(file.data() + layout.session_index.offset)),
      index_mask_(layout.session_index.entries - 1),
      index_sequence_(reinterpret_cast<Header*>(file.data())->live.index_sequence),
      sessions_max_(sessions_max) {}

Result<> SessionTable::put(const SessionRecord& record, std::uint32_t usage_slot, std::uint64_t serial) {
  if (record.login.size() > login_bytes_max) return fail(Errc::too_large, "login");
  if (record.sealed.size() > sealed_bytes_max) return fail(Errc::too_large, "sealed credential");
  SessionSlot old;
  std::uint32_t old_number = 0;
  const bool replaces = area_.find(record.token_hash, old, old_number) == Lookup::found;
  if (!replaces && slots_.used() >= sessions_max_)
    return fail(Errc::full, "sessions: all " + std::to_string(sessions_max_) + " are in use");

  const std::string data = record.login + record.sealed;
  const auto first_block = write_chain(data);
  if (!first_block) return fail(first_block.error());
  SessionSlot slot;
  slot.serial = serial;
  slot.token_hash = record.token_hash;
  slot.account = record.account;
  slot.created = record.created;
  slot.expires = record.expires;
  slot.idle_seconds = record.idle_seconds;
  slot.flags = record.flags;
  slot.login_size = static_cast<std::uint16_t>(record.login.size());
  slot.sealed_size = static_cast<std::uint16_t>(record.sealed.size());
  slot.first_block = *first_block;
  slot.usage_slot = usage_slot;
  slot.data_checksum = crc32c(data.data(), data.size());
  const auto number = slots_.insert(slot, record.last_used);
  if (!number) {
    free_chain(*first_block);
    return fail(number.error());
  }
  by_account_.add(record.account, *number);
  const std::uint64_t entry = index_entry(record.token_hash, *number);
  if (!replaces) {
    index_insert(entry);
    return {};
  }
  index_replace(index_entry(record.token_hash, old_number), entry);
  free_slot(old_number, old);
  return {};
}

bool SessionTable::end(const TokenHash& hash) {
  SessionSlot slot;
  std::uint32_t number = 0;
  if (area_.find(hash, slot, number) != Lookup::found) return false;
  erase(number, slot);
  return true;
}

// The record first: once this returns, no crash brings the session back.
void SessionTable::erase(std::uint32_t number, const SessionSlot& slot) {
  free_slot(number, slot);
  index_remove(index_entry(slot.token_hash, number));
}

// A chain that isn't what it was when it was written may lead into another session's blocks: it is left
// alone, and lost until the segment is opened again.
void SessionTable::free_slot(std::uint32_t number, const SessionSlot& slot) {
  SessionRecord ignored;
  const bool intact = area_.read_data(slot, number, ignored) == Lookup::found;
  by_account_.remove(slot.account, number);
  slots_.erase(number);
  if (intact) free_chain(slot.first_block);
}

std::size_t SessionTable::live_of(AccountKey account, std::int64_t now) const {
  const auto slots = by_account_.slots(account);
  return static_cast<std::size_t>(std::count_if(slots.begin(), slots.end(), [&](std::uint32_t number) {
    return session_is_live(slots_.read(number), now);
  }));
}

std::optional<std::int64_t> SessionTable::first_end_of(AccountKey account, std::int64_t now) const {
  std::optional<std::int64_t> first;
  for (const auto number : by_account_.slots(account)) {
    const auto slot = slots_.read(number);
    if (!session_is_live(slot, now)) continue;
    const auto end = session_end(slot);
    if (!first || end < *first) first = end;
  }
  return first;
}

std::vector<TokenHash> SessionTable::make_room_of(AccountKey account, std::size_t most, std::int64_t now) {
  std::vector<TokenHash> ended;
  auto numbers = by_account_.slots(account);
  if (numbers.size() < most) return ended;
  struct Candidate {
    bool is_live;
    std::int64_t last_used;
    std::uint64_t serial;
    std::uint32_t number;
  };
  std::vector<Candidate> candidates;
  candidates.reserve(numbers.size());
  for (const auto number : numbers) {
    const SessionSlot slot = slots_.read(number);
    candidates.push_back({session_is_live(slot, now), last_used_seconds(slot), slot.serial, number});
  }
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return std::tie(a.is_live, a.last_used, a.serial) < std::tie(b.is_live, b.last_used, b.serial);
  });
  candidates.resize(candidates.size() - most + 1);
  for (const auto& candidate : candidates) {
    const SessionSlot slot = slots_.read(candidate.number);
    if (condition_of(slot, candidate.number) != SlotCondition::intact) continue;
    erase(candidate.number, slot);
    if (candidate.is_live) ended.push_back(slot.token_hash);
  }
  return ended;
}

void SessionTable::touch(const TokenHash& hash, std::int64_t now) {
  SessionSlot slot;
  std::uint32_t number = 0;
  if (area_.find(hash, slot, number) != Lookup::found) return;
  atomic_store(slots_.at(number).last_used, pack_last_used(now, slot.checksum), std::memory_order_relaxed);
}

std::optional<SessionRecord> SessionTable::live_at(std::uint64_t number, std::int64_t now) const {
  const auto slot_number = static_cast<std::uint32_t>(number);
  const SessionSlot slot = slots_.read(slot_number);
  SessionRecord record;
  if (condition_of(slot, slot_number) != SlotCondition::intact || !session_is_live(slot, now) ||
      area_.read_data(slot, slot_number, record) != Lookup::found)
    return std::nullopt;
  return record;
}

// Blocks are written before the slot that makes them reachable, and taken again only after the slot changed:
// the slot's sequence guards them.
Result<std::uint32_t> SessionTable::write_chain(std::string_view data) {
  std::uint32_t next = no_slot;
  for (std::size_t blocks = blocks_for(data.size()); blocks > 0; --blocks) {  // from the end: `next` is known
    const auto number = block_allocator_.take();
    if (!number) {
      free_chain(next);
      return fail(Error(number.error().code, "room for credentials: " + number.error().context));
    }
    const std::string_view part = data.substr((blocks - 1) * block_data_bytes, block_data_bytes);
    Block block;
    block.next = next;
    std::memcpy(block.data.data(), part.data(), part.size());
    store_words(&block, &blocks_[*number], sizeof block);
    next = *number;
  }
  return next;
}

// Wiped, so that an ended session leaves no sealed credential behind.
void SessionTable::free_chain(std::uint32_t first) {
  for (std::size_t i = 0; i < chain_blocks_max && first < block_allocator_.high_water(); ++i) {
    Block block;
    load_words(&blocks_[first], &block, sizeof block);
    const std::uint64_t zeros[sizeof(Block) / 8] = {};
    store_words(zeros, &blocks_[first], sizeof block);
    block_allocator_.give_back(first);
    first = block.next;
  }
}

std::uint64_t SessionTable::index_position(std::uint64_t entry) const {
  for (std::uint64_t i = 0; i <= index_mask_; ++i) {
    const std::uint64_t position = (index_tag_of(entry) + i) & index_mask_;
    const std::uint64_t there = atomic_load(index_[position], std::memory_order_relaxed);
    if (there == entry) return position;
    if (there == 0) break;
  }
  return index_mask_ + 1;  // not there
}

void SessionTable::index_insert(std::uint64_t entry) {
  for (std::uint64_t i = 0; i <= index_mask_; ++i) {
    std::uint64_t& place = index_[(index_tag_of(entry) + i) & index_mask_];
    if (atomic_load(place, std::memory_order_relaxed) != 0) continue;
    atomic_store(place, entry, std::memory_order_release);
    return;
  }
}

void SessionTable::index_replace(std::uint64_t old_entry, std::uint64_t entry) {
  const std::uint64_t position = index_position(old_entry);
  if (position > index_mask_) return index_insert(entry);
  begin_index_change();
  atomic_store(index_[position], entry, std::memory_order_release);
  end_index_change();
}

// Closes the gap by moving back what may move back (Knuth, volume 3, 6.4, algorithm R), so that no
// tombstones pile up.
void SessionTable::index_remove(std::uint64_t old_entry) {
  const std::uint64_t position = index_position(old_entry);
  if (position > index_mask_) return;
  begin_index_change();
  std::uint64_t gap = position;
  for (std::uint64_t i = 1; i <= index_mask_; ++i) {
    const std::uint64_t at = (position + i) & index_mask_;
    const std::uint64_t entry = atomic_load(index_[at], std::memory_order_relaxed);
    if (entry == 0) break;
    const std::uint64_t from_home = (at - index_tag_of(entry)) & index_mask_;
    if (from_home < ((at - gap) & index_mask_)) continue;  // its home lies behind the gap
    atomic_store(index_[gap], entry, std::memory_order_release);
    gap = at;
  }
  atomic_store(index_[gap], std::uint64_t{0}, std::memory_order_release);
  end_index_change();
}

void SessionTable::begin_index_change() {
  atomic_store(index_sequence_, atomic_load(index_sequence_, std::memory_order_relaxed) + 1,
               std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
}
void SessionTable::end_index_change() {
  atomic_store(index_sequence_, atomic_load(index_sequence_, std::memory_order_relaxed) + 1,
               std::memory_order_release);
}

}  // namespace postern::store
