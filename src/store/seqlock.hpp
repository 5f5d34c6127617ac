// Reading and writing slots that another thread or process may read at the same time.
//
// One writer (under the segment writer's mutex), any number of readers that never wait for it: the writer
// makes the slot's sequence odd, writes, makes it even; a reader copies and believes its copy if the
// sequence was even and the same before and after (a seqlock; H. Boehm, "Can seqlocks get along with
// programming language memory models?", 2012). All accesses are atomic words, so there is no data race.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace postern::store {

static_assert(std::atomic_ref<std::uint64_t>::is_always_lock_free, "locks don't work across processes");
static_assert(std::atomic_ref<std::uint32_t>::is_always_lock_free);

// The const_casts serve atomic_ref, which in C++23 has no const form; these two only load, and the mapping
// of a reader is read-only.
template <typename Word>
Word atomic_load(const Word& word, std::memory_order order) {
  return std::atomic_ref<Word>(const_cast<Word&>(word)).load(order);
}
template <typename Word>
void atomic_store(Word& word, Word value, std::memory_order order) {
  std::atomic_ref<Word>(word).store(value, order);
}

inline void load_words(const void* from, void* to, std::size_t bytes) {
  const auto* source = static_cast<const std::uint64_t*>(from);
  for (std::size_t i = 0; i < bytes / 8; ++i) {
    const std::uint64_t word = atomic_load(source[i], std::memory_order_relaxed);
    std::memcpy(static_cast<char*>(to) + i * 8, &word, 8);
  }
}
inline void store_words(const void* from, void* to, std::size_t bytes) {
  auto* target = static_cast<std::uint64_t*>(to);
  for (std::size_t i = 0; i < bytes / 8; ++i) {
    std::uint64_t word = 0;
    std::memcpy(&word, static_cast<const char*>(from) + i * 8, 8);
    atomic_store(target[i], word, std::memory_order_relaxed);
  }
}

// Copies a slot; false if it was being written. Sequence and checksum share the first word but are accessed
// as what they are: accesses of mixed sizes to one word have no ordering to rely on.
template <typename Slot>
bool read_slot(const Slot& slot, Slot& copy) {
  static_assert(sizeof(Slot) % 8 == 0);
  const std::uint32_t before = atomic_load(slot.sequence, std::memory_order_acquire);
  if ((before & 1) != 0) return false;
  copy.sequence = before;
  copy.checksum = atomic_load(slot.checksum, std::memory_order_relaxed);
  load_words(reinterpret_cast<const char*>(&slot) + 8, reinterpret_cast<char*>(&copy) + 8, sizeof(Slot) - 8);
  std::atomic_thread_fence(std::memory_order_acquire);
  return atomic_load(slot.sequence, std::memory_order_relaxed) == before;
}

// Whether the slot is still what read_slot copied: asked after the blocks it refers to were copied.
template <typename Slot>
bool still_current(const Slot& slot, const Slot& copy) {
  std::atomic_thread_fence(std::memory_order_acquire);
  return atomic_load(slot.sequence, std::memory_order_relaxed) == copy.sequence;
}

// The first `bytes` of it; what lies behind stays as it is.
template <typename Slot>
void write_slot(Slot& slot, const Slot& value, std::size_t bytes = sizeof(Slot)) {
  const std::uint32_t even = atomic_load(slot.sequence, std::memory_order_relaxed) & ~1U;
  atomic_store(slot.sequence, even + 1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  atomic_store(slot.checksum, value.checksum, std::memory_order_relaxed);
  store_words(reinterpret_cast<const char*>(&value) + 8, reinterpret_cast<char*>(&slot) + 8, bytes - 8);
  atomic_store(slot.sequence, even + 2, std::memory_order_release);
}

}  // namespace postern::store
