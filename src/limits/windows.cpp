// Buckets in words: number of the bucket (16 bits), check (8), value (40). A pair of words for what is pending: the
// request, then the number of five minutes (16), generation (5), count (3), amount (40).
#include "postern/limits/windows.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <limits>

namespace postern::limits {
namespace {

constexpr std::uint64_t value_mask = limit_max;

std::uint64_t load(const std::uint64_t& word) {
  // atomic_ref has no const form in C++23; this only loads.
  return std::atomic_ref<std::uint64_t>(const_cast<std::uint64_t&>(word)).load();
}

std::uint64_t check_of(std::uint64_t position, std::uint64_t tag, std::uint64_t value) {
  std::uint64_t x = (tag << 40 | value) ^ (position + 1) * 0x9e3779b97f4a7c15ULL;
  x = (x ^ x >> 33) * 0xff51afd7ed558ccdULL;
  x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ULL;
  return x >> 56;
}
std::uint64_t pack(std::uint64_t position, std::uint64_t tag, std::uint64_t value) {
  return tag << 48 | check_of(position, tag, value) << 40 | value;
}

struct Bucket {
  std::uint16_t tag = 0;
  std::uint64_t value = 0;
};
// Empty for a word that was never written, or is damaged.
std::optional<Bucket> bucket_in(std::uint64_t word, std::uint64_t position) {
  const Bucket bucket{static_cast<std::uint16_t>(word >> 48), word & value_mask};
  if (word == 0 || (word >> 40 & 0xff) != check_of(position, bucket.tag, bucket.value)) return std::nullopt;
  return bucket;
}

// A ring of buckets: where it lies in the words, and how many seconds each covers.
struct Ring {
  std::size_t first = 0;
  std::int64_t buckets = 0, seconds = 1;
  std::int64_t number(std::int64_t at) const { return std::max<std::int64_t>(at, 0) / seconds; }
  std::size_t position(std::int64_t number) const {
    return first + static_cast<std::size_t>(number % buckets);
  }
};

constexpr std::size_t hours_begin = store::usage_pending_words;
constexpr std::size_t days_begin = hours_begin + store::usage_hour_words;
static_assert(count_kinds * hour_buckets == store::usage_hour_words);
static_assert(4 * day_buckets == store::usage_day_words);

Ring hour_ring(Count count) {
  return {hours_begin + static_cast<std::size_t>(count) * hour_buckets, hour_buckets, hour_bucket_seconds};
}
// Of a day, mail is counted as one.
Ring day_ring(Count count) {
  const auto index = count <= Count::sent ? 0 : static_cast<std::size_t>(count) - 1;
  return {days_begin + index * day_buckets, day_buckets, day_bucket_seconds};
}

// The rings that a limit adds up.
struct Rings {
  std::array<Ring, 2> rings;
  std::size_t size = 1;
};
Rings rings_of(Limit limit) {
  switch (limit) {
    case Limit::received_hour: return {{hour_ring(Count::received)}};
    case Limit::sent_hour: return {{hour_ring(Count::sent)}};
    case Limit::mail_hour: return {{hour_ring(Count::received), hour_ring(Count::sent)}, 2};
    case Limit::mail_day: return {{day_ring(Count::received)}};
    case Limit::files_hour: return {{hour_ring(Count::files)}};
    case Limit::files_day: return {{day_ring(Count::files)}};
    case Limit::messages_hour: return {{hour_ring(Count::messages)}};
    case Limit::messages_day: return {{day_ring(Count::messages)}};
    case Limit::recipients_hour: return {{hour_ring(Count::recipients)}};
    case Limit::recipients_day: return {{day_ring(Count::recipients)}};
    case Limit::sessions:
    case Limit::uploads: break;
  }
  return {{hour_ring(Count::received)}};
}

// How much older than `number` the bucket is; negative: it is of a later time, since the clock was set back.
std::int64_t age_of(const Bucket& bucket, std::int64_t number) {
  return static_cast<std::int16_t>(static_cast<std::uint16_t>(number) - bucket.tag);
}
// A clock that was set back by less than a window makes nothing forgotten.
bool counts(const Bucket& bucket, const Ring& ring, std::int64_t number) {
  const auto age = age_of(bucket, number);
  return age < ring.buckets && -age < ring.buckets;
}

void add_to(store::UsageWords& words, const Ring& ring, std::uint64_t amount, std::int64_t at) {
  const auto number = ring.number(at);
  const auto position = ring.position(number);
  const auto tag = static_cast<std::uint16_t>(number);
  std::atomic_ref<std::uint64_t> word(words[position]);
  auto before = word.load();
  while (true) {
    const auto bucket = bucket_in(before, position);
    const auto have = bucket && bucket->tag == tag ? bucket->value : 0;
    const auto value = have + std::min(amount, limit_max - have);
    if (word.compare_exchange_weak(before, pack(position, tag, value))) return;
  }
}

void take_from(store::UsageWords& words, const Ring& ring, std::uint64_t amount, std::int64_t at) {
  const auto number = ring.number(at);
  const auto position = ring.position(number);
  std::atomic_ref<std::uint64_t> word(words[position]);
  auto before = word.load();
  while (true) {
    const auto bucket = bucket_in(before, position);
    if (!bucket || bucket->tag != static_cast<std::uint16_t>(number)) return;
    const auto value = bucket->value - std::min(amount, bucket->value);
    if (word.compare_exchange_weak(before, pack(position, bucket->tag, value))) return;
  }
}

template <typename Change>
void for_rings(const Amounts& amounts, Change change) {
  for (std::size_t i = 0; i < count_kinds; ++i) {
    if (amounts[i] == 0) continue;
    change(hour_ring(static_cast<Count>(i)), amounts[i]);
    change(day_ring(static_cast<Count>(i)), amounts[i]);
  }
}

}  // namespace

void Windows::add(const Amounts& amounts, std::int64_t at) {
  for_rings(amounts, [&](const Ring& ring, std::uint64_t amount) {
    add_to(words_, ring, std::min(amount, limit_max), at);
  });
}

void Windows::take_back(const Amounts& amounts, std::int64_t at) {
  for_rings(amounts, [&](const Ring& ring, std::uint64_t amount) { take_from(words_, ring, amount, at); });
}

std::uint64_t Windows::used(Limit limit, std::int64_t now) const {
  std::uint64_t sum = 0;
  const auto all = rings_of(limit);
  for (std::size_t r = 0; r < all.size; ++r) {
    const auto& ring = all.rings[r];
    const auto number = ring.number(now);
    for (std::size_t i = 0; i < static_cast<std::size_t>(ring.buckets); ++i) {
      const auto position = ring.first + i;
      const auto bucket = bucket_in(load(words_[position]), position);
      if (bucket && counts(*bucket, ring, number)) sum += bucket->value;
    }
  }
  return sum;
}

std::optional<std::int64_t> Windows::free_at(Limit limit, std::uint64_t most, std::uint64_t amount,
                                             std::int64_t now) const {
  if (amount > most) return std::nullopt;
  const auto all = rings_of(limit);
  const auto& first = all.rings[0];
  const auto number = first.number(now);
  std::array<std::uint64_t, 2 * day_buckets> by_age{};  // from one window ahead to one behind
  std::uint64_t sum = 0;
  for (std::size_t r = 0; r < all.size; ++r) {
    for (std::size_t i = 0; i < static_cast<std::size_t>(first.buckets); ++i) {
      const auto position = all.rings[r].first + i;
      const auto bucket = bucket_in(load(words_[position]), position);
      if (!bucket || !counts(*bucket, first, number)) continue;
      by_age[static_cast<std::size_t>(age_of(*bucket, number) + first.buckets)] += bucket->value;
      sum += bucket->value;
    }
  }
  if (sum + amount <= most) return now;
  for (auto age = first.buckets - 1; age > -first.buckets; --age) {
    sum -= by_age[static_cast<std::size_t>(age + first.buckets)];
    if (sum + amount <= most) return (number - age + first.buckets) * first.seconds;
  }
  return std::nullopt;
}

bool Windows::counts_something(std::int64_t now) const {
  for (std::size_t i = 0; i < limit_kinds; ++i)
    if (used(limit_at(i), now) > 0) return true;
  return false;
}

void Windows::clear() {
  for (auto& word : words_) std::atomic_ref<std::uint64_t>(word).store(0);
}

// --- Pending ---

namespace {

std::uint64_t pack_pending(std::int64_t at, unsigned generation, Count count, std::uint64_t amount) {
  return static_cast<std::uint64_t>(at / hour_bucket_seconds) << 48 |
         static_cast<std::uint64_t>(generation) << 43 | static_cast<std::uint64_t>(count) << 40 |
         std::min(amount, limit_max);
}
// A worker sends a request again within seconds: what is older, nobody comes for. Neither may an id that a client
// picks twice find it then.
constexpr std::int64_t pending_buckets = 2;
unsigned generation_of(std::uint64_t word) { return static_cast<unsigned>(word >> 43 & 31); }
std::int64_t age_of_pending(std::uint64_t word, std::int64_t now) {
  return static_cast<std::int16_t>(static_cast<std::uint16_t>(now / hour_bucket_seconds) -
                                   static_cast<std::uint16_t>(word >> 48));
}
bool may_come_again(std::uint64_t word, std::int64_t now) {
  const auto age = age_of_pending(word, now);
  return age < pending_buckets && -age < pending_buckets;
}

}  // namespace

// The amount is in the buckets already: a crash before this makes a retry be counted twice, and none makes it be
// counted less than once. The request's word comes last and makes the pair count.
std::optional<std::size_t> Windows::remember(std::uint64_t request, unsigned generation, Count count,
                                             std::uint64_t amount, std::int64_t at) {
  for (std::size_t i = 0; i + 1 < store::usage_pending_words; i += 2) {
    std::atomic_ref<std::uint64_t> id(words_[i]), what(words_[i + 1]);
    auto known = id.load();
    auto before = what.load();
    // An earlier process's that nobody has come for in ten minutes can't be claimed any more; nor can what it was just
    // taking, or giving up, when it ended.
    const bool left_behind =
        before != 0 && generation_of(before) != generation && (known == 0 || !may_come_again(before, at));
    if (known != 0 && !left_behind) continue;
    if (known == 0 && before != 0 && !left_behind) continue;  // somebody else is just taking it
    if (known != 0 && !id.compare_exchange_strong(known, 0)) continue;
    if (!what.compare_exchange_strong(before, pack_pending(at, generation, count, amount))) continue;
    id.store(request);
    return i;
  }
  return std::nullopt;
}

void Windows::forget(std::size_t place, std::uint64_t request) {
  std::atomic_ref<std::uint64_t> id(words_[place]), what(words_[place + 1]);
  if (id.compare_exchange_strong(request, 0)) what.store(0);
}

void Windows::change(std::size_t place, std::uint64_t request, std::uint64_t more, std::uint64_t less) {
  std::atomic_ref<std::uint64_t> id(words_[place]), what(words_[place + 1]);
  auto before = what.load();
  while (id.load() == request) {
    const auto have = before & value_mask;
    const auto sum = have + std::min(more, limit_max - have);
    const auto value = sum - std::min(less, sum);
    if (what.compare_exchange_weak(before, (before & ~value_mask) | value)) return;
  }
}

// With what an earlier process was just taking, or giving up, when it ended: only another generation may clear it.
void Windows::note_generations(NewestOfEach& newest, std::int64_t now) const {
  for (std::size_t i = 0; i + 1 < store::usage_pending_words; i += 2) {
    const auto word = load(words_[i + 1]);
    if (word == 0) continue;
    const auto age = age_of_pending(word, now);
    auto& known = newest[generation_of(word)];
    known = std::min(known.value_or(age), age);
  }
}

std::optional<Windows::Remembered> Windows::claim(std::uint64_t request, unsigned generation, Count count,
                                                  std::int64_t now) {
  for (std::size_t i = 0; i + 1 < store::usage_pending_words; i += 2) {
    std::atomic_ref<std::uint64_t> id(words_[i]), what(words_[i + 1]);
    auto before = what.load();
    if (id.load() != request || generation_of(before) == generation ||
        static_cast<Count>(before >> 40 & 7) != count || !may_come_again(before, now))
      continue;
    const auto age = age_of_pending(before, now);
    // Under this process's generation from now on; who was quicker has it.
    const auto mine = (before & ~(std::uint64_t{31} << 43)) | static_cast<std::uint64_t>(generation) << 43;
    if (!what.compare_exchange_strong(before, mine)) continue;
    return Remembered{before & value_mask, (now / hour_bucket_seconds - age) * hour_bucket_seconds, i};
  }
  return std::nullopt;
}

}  // namespace postern::limits
