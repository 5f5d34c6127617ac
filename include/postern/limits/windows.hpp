// Sliding windows over somebody's counts: an hour of 5-minute buckets, a day of hourly ones.
//
// The buckets are words in the segment (store::UsageWords) or a copy of them. All methods may run in any thread and
// process at the same time and take no lock: a bucket is one word, changed by compare-and-exchange, with the number of
// its five minutes or hour, and a check, inside. So no crash leaves half a count.
//
// A window is never shorter than it says: what was counted in a bucket counts until an hour (a day) after the bucket's
// end. Thus in any 60 minutes, wherever they begin, no more is counted than in the 13 buckets that cover them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "postern/limits/plan.hpp"

namespace postern::limits {

inline constexpr std::int64_t hour_bucket_seconds = 300, day_bucket_seconds = 3'600;
inline constexpr std::int64_t hour_buckets = 13, day_buckets = 25;

class Windows {
 public:
  explicit Windows(store::UsageWords& words) : words_(words) {}

  // `at`: Unix seconds. What doesn't fit into a bucket any more (limit_max) is lost.
  void add(const Amounts& amounts, std::int64_t at);
  // What was added at that time; nothing if that is out of the window by now.
  void take_back(const Amounts& amounts, std::int64_t at);
  std::uint64_t used(Limit limit, std::int64_t now) const;
  // When `amount` more fits below `most`, if nothing else is counted; nullopt: never.
  std::optional<std::int64_t> free_at(Limit limit, std::uint64_t most, std::uint64_t amount,
                                      std::int64_t now) const;
  void clear();
  // Is anything counted at all?
  bool counts_something(std::int64_t now) const;

  // --- Reservations of a request that may come again after the broker has ended in the middle of it ---

  // `generation` tells this process from those before, of which something is remembered still. The place
  // where it is; nullopt: there is no room, and the request will be counted anew should it come again.
  std::optional<std::size_t> remember(std::uint64_t request, unsigned generation, Count count,
                                      std::uint64_t amount, std::int64_t at);
  void forget(std::size_t place, std::uint64_t request);
  // So much more, and so much less, of it.
  void change(std::size_t place, std::uint64_t request, std::uint64_t more, std::uint64_t less);
  struct Remembered {
    std::uint64_t amount = 0;
    std::int64_t at = 0;
    std::size_t place = 0;
  };
  // What an earlier process has reserved for that request and never settled: the caller's from now on. Only for five
  // to ten minutes; then others may have the place.
  std::optional<Remembered> claim(std::uint64_t request, unsigned generation, Count count, std::int64_t now);
  static constexpr unsigned generations = 32;
  // By generation: how many five minutes ago the newest was remembered that is here; nullopt: there is none.
  using NewestOfEach = std::array<std::optional<std::int64_t>, generations>;
  void note_generations(NewestOfEach& newest, std::int64_t now) const;

 private:
  store::UsageWords& words_;
};

}  // namespace postern::limits
