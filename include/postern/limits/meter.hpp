// Counting what one person moves, against their plan: the port that everything that moves octets calls.
//
//   auto granted = meter.reserve({amount_of(Count::files, octets)});
//   if (!granted) return ... granted.error() ...;      // which limit, and when it frees up
//   ... granted->moved(n) as octets move, or granted->settle(n) at the end ...
//
// What is reserved counts at once, so requests at the same time can't overshoot together; what didn't move is given
// back at the end. Any thread; takes no lock but to make a refusal. The clock is injected.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <expected>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "postern/base/clock.hpp"
#include "postern/limits/plan.hpp"
#include "postern/limits/windows.hpp"

namespace postern::limits {

std::string utc_date(std::int64_t unix_seconds);  // "2026-01-31T12:00:00Z"

// Why something was not granted.
struct Refusal {
  Limit limit = Limit::received_hour;
  std::string plan;
  std::uint64_t most = 0, used = 0, asked = 0;  // octets, messages, recipients or sessions
  // Unix seconds; nullopt: it is more than the limit as a whole. Of sessions: when the first ends by itself. Where it
  // would fit but for what is reserved and under way, which may turn out to need less: soon.
  std::optional<std::int64_t> free_at;
  // Seconds, at least 1; a day if never. Of sessions a minute: one may be ended at any time.
  std::uint64_t retry_after(std::int64_t now) const;
  std::string description() const;  // a sentence for a person
  // For an Error's context, on the way from where it was refused to where it is answered.
  std::string encode() const;
  static std::optional<Refusal> decode(std::string_view text);
  friend bool operator==(const Refusal&, const Refusal&) = default;
};

struct Charge {
  Amounts amounts{};
  // A list of messages, a small page or a draft: may use what is kept back for them when mail is used up.
  bool small = false;
  // Where it isn't granted something smaller is asked for: the refusal isn't counted.
  bool is_estimate = false;
};

// Sums since the start, for metrics. Never freed while the process runs.
struct PlanTotals {
  std::string plan;
  std::array<std::atomic<std::uint64_t>, count_kinds> moved{};
  std::array<std::atomic<std::uint64_t>, refusal_kinds> refused{};
};

class Meter;
class Tab;

// What has been granted. Its end settles it with what has moved.
class Reservation {
 public:
  Reservation(Reservation&& other) noexcept;
  Reservation& operator=(Reservation&&) = delete;
  ~Reservation();
  // So much more has moved; of the count that was reserved (the first of several).
  void moved(std::uint64_t amount);
  // So much it was in all. More than was reserved is counted, too: it has moved already.
  void settle(std::uint64_t amount);
  void settle(const Amounts& amounts);
  void settle_all();  // what was reserved

 private:
  friend class Meter;
  friend class Tab;
  Reservation(std::shared_ptr<Meter> meter, const Amounts& reserved, std::int64_t at);
  // Which count `moved` is of; nullopt: nothing was reserved.
  std::optional<std::size_t> first_count() const;

  std::shared_ptr<Meter> meter_;  // null: settled
  Amounts reserved_{}, moved_{};
  std::int64_t at_ = 0;
  std::uint32_t resets_ = 0;  // of the meter until then
  // On a request's tab: which count, and how much besides what is reserved was counted before.
  std::shared_ptr<Tab> tab_;
  Count tab_count_ = Count::received;
  std::uint64_t credited_ = 0;
};

// How somebody stands with one limit.
struct Standing {
  Limit limit = Limit::received_hour;
  std::uint64_t used = 0, most = 0;  // with what is granted on top for a while
};
// From where on people are warned, and from where on it is nearly used up.
constexpr std::uint64_t warn_at(std::uint64_t most) { return most - most / 5; }
constexpr std::uint64_t soft_at(std::uint64_t most) { return most - most / 10; }
enum class Level : std::uint8_t { free, warned, scarce, used_up };
using Levels = std::array<Level, limit_kinds>;  // by Limit; what isn't limited is free

class Meter : public std::enable_shared_from_this<Meter> {
 public:
  // `cell` null: counted in memory alone. `generation`: see Windows. The clock outlives it.
  Meter(store::UsageCell cell, const Clock& clock, unsigned generation);

  std::expected<Reservation, Refusal> reserve(const Charge& charge);
  // Would it be granted now? Nothing is counted.
  std::optional<Refusal> check(const Charge& charge) const;
  // What the plan limits at a time, and whoever counts that had no room for: why, and one refusal more. `first_end`
  // (Unix seconds): of a session, if none is used any more.
  Refusal refuse_session(std::uint64_t open, std::optional<std::int64_t> first_end) const;
  // `used`: octets that are being written, `own` of them for the one that is to have `asked` more.
  Refusal refuse_upload(std::uint64_t used, std::uint64_t own, std::uint64_t asked) const;
  // All limits that the plan sets; the others with `all`.
  std::vector<Standing> standings(bool all = false) const;
  bool has_limits() const;
  Levels levels() const;

  std::string plan_name() const;
  Plan plan() const;
  std::uint64_t requests_max() const { return requests_max_.load(std::memory_order_relaxed); }

  // A new plan, or something granted on top; counts stay. `reading_reserve`: octets that small charges may move
  // beyond the limits of mail.
  void set_terms(const store::UsageTerms& terms, const Plan& plan, std::uint64_t reading_reserve,
                 PlanTotals* totals);
  store::UsageTerms terms() const;
  void clear();
  // The process is about to end, and drops requests that another one will get again: what they have had counted stays
  // as a crash would leave it. Only what requests end with is concerned (~Tab, ~Reservation).
  void leave_as_is() { left_as_is_.store(true, std::memory_order_relaxed); }

 private:
  friend class Reservation;
  friend class Tab;
  std::uint64_t most(Limit limit, bool small, std::int64_t now) const;
  std::optional<Limit> exceeded(const Amounts& amounts, bool small, bool counted, std::int64_t now) const;
  std::optional<std::int64_t> free_at(Limit limit, bool small, std::uint64_t amount, std::int64_t now) const;
  Refusal refusal(Limit limit, const Charge& charge, std::int64_t now) const;
  void count_refusal(Limit limit) const;
  void finish(const Reservation& reservation, const Amounts& amounts);
  std::uint64_t under_way(Limit limit) const;  // of what counts as used
  void count_moved(Count count, std::uint64_t amount) const;
  std::int64_t now() const { return unix_seconds(clock_.wall()); }

  store::UsageCell cell_;
  mutable Windows windows_;
  const Clock& clock_;
  const unsigned generation_;
  std::atomic<bool> left_as_is_ = false;
  std::atomic<std::uint32_t> resets_ = 0;
  std::array<std::atomic<std::uint64_t>, limit_kinds> limits_;
  std::array<std::atomic<std::uint64_t>, limit_kinds> extra_{};
  std::atomic<std::int64_t> extra_until_ = 0;
  std::atomic<std::uint64_t> reading_reserve_ = 0, requests_max_ = unlimited;
  std::array<std::atomic<std::uint64_t>, count_kinds> reserved_{};  // and not settled
  std::atomic<PlanTotals*> totals_ = nullptr;
  mutable std::mutex mutex_;  // names and plan: for refusals, reports and changes
  store::UsageTerms terms_;
  Plan plan_;
};

// What a copy of somebody's counts says: for who only reads them.
bool something_counted(const store::UsageWords& words, std::int64_t now);
std::optional<Refusal> check(const store::UsageRecord& record, const Amounts& amounts, std::int64_t now);

}  // namespace postern::limits
