// Grants by counting first and looking then: whoever sees more than the limit takes their own back.
#include "postern/limits/meter.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <utility>

#include "postern/limits/tab.hpp"

namespace postern::limits {
namespace {

constexpr std::uint64_t day_seconds = 86'400, session_retry_seconds = 60;
constexpr std::int64_t upload_retry_seconds = 10, settled_seconds = 10;

// The limits that a count is held against.
bool concerns(Limit limit, Count count) {
  switch (limit) {
    case Limit::received_hour: return count == Count::received;
    case Limit::sent_hour: return count == Count::sent;
    case Limit::mail_hour:
    case Limit::mail_day: return count == Count::received || count == Count::sent;
    case Limit::files_hour:
    case Limit::files_day: return count == Count::files;
    case Limit::messages_hour:
    case Limit::messages_day: return count == Count::messages;
    case Limit::recipients_hour:
    case Limit::recipients_day: return count == Count::recipients;
    case Limit::sessions:
    case Limit::uploads: break;
  }
  return false;
}

std::uint64_t amount_for(Limit limit, const Amounts& amounts) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < count_kinds; ++i)
    if (concerns(limit, static_cast<Count>(i))) sum += std::min(amounts[i], limit_max);
  return sum;
}

std::uint64_t sum_of(std::uint64_t limit, std::uint64_t extra) {
  return limit == unlimited ? unlimited : limit + std::min(extra, limit_max);
}

std::string_view what(Limit limit) {
  switch (limit) {
    case Limit::received_hour: return "mail received within an hour";
    case Limit::sent_hour: return "mail sent within an hour";
    case Limit::mail_hour: return "mail received and sent within an hour";
    case Limit::mail_day: return "mail received and sent within a day";
    case Limit::files_hour: return "files within an hour";
    case Limit::files_day: return "files within a day";
    case Limit::messages_hour: return "messages sent within an hour";
    case Limit::messages_day: return "messages sent within a day";
    case Limit::recipients_hour: return "recipients written to within an hour";
    case Limit::recipients_day: return "recipients written to within a day";
    case Limit::sessions: return "sessions at a time";
    case Limit::uploads: return "uploads that are kept at a time";
  }
  return "";
}

struct Allowed {
  std::uint64_t now, then;  // with what is granted on top, and when that has ended
  std::int64_t until;
};
// What is granted on top may end before that much is free.
std::optional<std::int64_t> free_while(const Windows& windows, Limit limit, const Allowed& allowed,
                                       std::uint64_t amount, std::int64_t now) {
  const auto free = windows.free_at(limit, allowed.now, amount, now);
  if (now >= allowed.until || (free && *free < allowed.until)) return free;
  return windows.free_at(limit, allowed.then, amount, now);
}

}  // namespace

// --- Refusal ---

std::string utc_date(std::int64_t unix_seconds) {
  const auto time = static_cast<std::time_t>(unix_seconds);
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  std::array<char, 32> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

std::uint64_t Refusal::retry_after(std::int64_t now) const {
  if (limit == Limit::sessions) return session_retry_seconds;
  if (!free_at) return day_seconds;
  return static_cast<std::uint64_t>(std::max<std::int64_t>(*free_at - now, 1));
}

std::string Refusal::description() const {
  const std::string unit = is_octets(limit) ? " octets of " : " ";
  auto text = "the plan " + plan + " allows " + std::to_string(most) + unit + std::string(what(limit)) +
              "; " + std::to_string(used) + " are used, " + std::to_string(asked) + " more were asked for";
  if (limit == Limit::sessions)
    return text + "; sign out elsewhere first" +
           (free_at ? ", or come again at " + utc_date(*free_at) + ", when the first ends by itself" : "");
  text += free_at ? "; that fits from " + utc_date(*free_at) + " on" : "; that never fits";
  return text;
}

std::string Refusal::encode() const {
  return std::to_string(static_cast<unsigned>(limit)) + " " + std::to_string(most) + " " +
         std::to_string(used) + " " + std::to_string(asked) + " " + std::to_string(free_at.value_or(-1)) +
         " " + plan;
}

std::optional<Refusal> Refusal::decode(std::string_view text) {
  std::array<std::int64_t, 5> numbers{};
  for (auto& number : numbers) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end == text.data() + text.size() || *end != ' ') return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
  }
  const bool negative =
      std::any_of(numbers.begin(), numbers.end() - 1, [](auto number) { return number < 0; });
  if (negative || numbers[0] >= std::int64_t{refusal_kinds} || !is_plan_name(text)) return std::nullopt;
  Refusal refusal;
  refusal.limit = limit_at(static_cast<std::size_t>(numbers[0]));
  refusal.plan = text;
  refusal.most = static_cast<std::uint64_t>(numbers[1]);
  refusal.used = static_cast<std::uint64_t>(numbers[2]);
  refusal.asked = static_cast<std::uint64_t>(numbers[3]);
  if (numbers[4] >= 0) refusal.free_at = numbers[4];
  return refusal;
}

// --- Reservation ---

Reservation::Reservation(std::shared_ptr<Meter> meter, const Amounts& reserved, std::int64_t at)
    : meter_(std::move(meter)), reserved_(reserved), at_(at), resets_(meter_->resets_) {}

Reservation::Reservation(Reservation&& other) noexcept = default;

Reservation::~Reservation() {
  if (tab_ && tab_->is_left(tab_->line(tab_count_))) return;
  settle(moved_);
}

std::optional<std::size_t> Reservation::first_count() const {
  if (tab_) return static_cast<std::size_t>(tab_count_);
  const auto first = std::find_if(reserved_.begin(), reserved_.end(), [](auto a) { return a > 0; });
  if (first == reserved_.end()) return std::nullopt;
  return static_cast<std::size_t>(first - reserved_.begin());
}

void Reservation::moved(std::uint64_t amount) {
  if (const auto count = first_count()) moved_[*count] += amount;
}

void Reservation::settle(std::uint64_t amount) {
  moved_ = {};
  moved(amount);
  settle(moved_);
}

void Reservation::settle_all() {
  auto all = reserved_;
  if (tab_) all[static_cast<std::size_t>(tab_count_)] += credited_;
  settle(all);
}

void Reservation::settle(const Amounts& amounts) {
  const auto meter = std::exchange(meter_, nullptr);
  if (!meter) return;
  if (!tab_) return meter->finish(*this, Amounts(amounts));
  // What was counted before goes first; what isn't needed of it the request's next reservations may have.
  auto rest = amounts;
  auto& fresh = rest[static_cast<std::size_t>(tab_count_)];
  const auto reserved = reserved_[static_cast<std::size_t>(tab_count_)];
  const auto from_credit = std::min(fresh, credited_);
  fresh -= from_credit;
  tab_->line(tab_count_).credit += credited_ - from_credit;
  meter->count_moved(tab_count_, from_credit);
  tab_->take(tab_count_, reserved - std::min(fresh, reserved));
  meter->finish(*this, rest);
  tab_->add(tab_count_, fresh - std::min(fresh, reserved));
}

// --- Meter ---

Meter::Meter(store::UsageCell cell, const Clock& clock, unsigned generation)
    : cell_(cell ? std::move(cell) : std::make_shared<store::UsageWords>()),
      windows_(*cell_),
      clock_(clock),
      generation_(generation % Windows::generations) {
  for (auto& limit : limits_) limit = unlimited;
}

std::uint64_t Meter::most(Limit limit, bool small, std::int64_t now) const {
  const auto index = static_cast<std::size_t>(limit);
  const auto limit_itself = limits_[index].load(std::memory_order_relaxed);
  if (limit_itself == unlimited) return unlimited;
  auto most = limit_itself;
  if (now < extra_until_.load(std::memory_order_relaxed))
    most = sum_of(most, extra_[index].load(std::memory_order_relaxed));
  if (small && (concerns(limit, Count::received) || concerns(limit, Count::sent)))
    most = sum_of(most, reading_reserve_.load(std::memory_order_relaxed));
  return most;
}

std::optional<std::int64_t> Meter::free_at(Limit limit, bool small, std::uint64_t amount,
                                           std::int64_t now) const {
  const auto until = extra_until_.load(std::memory_order_relaxed);
  const Allowed allowed{most(limit, small, now), most(limit, small, until), until};
  const auto free = free_while(windows_, limit, allowed, amount, now);
  const auto used = windows_.used(limit, now);
  const bool fits_settled = used - std::min(used, under_way(limit)) + amount <= allowed.now;
  return free && fits_settled ? std::min(*free, now + settled_seconds) : free;
}

// `counted`: the amounts are in the windows already.
std::optional<Limit> Meter::exceeded(const Amounts& amounts, bool small, bool counted,
                                     std::int64_t now) const {
  std::optional<Limit> worst;
  std::optional<std::int64_t> worst_free;
  for (std::size_t i = 0; i < limit_kinds; ++i) {
    const auto limit = limit_at(i);
    const auto amount = amount_for(limit, amounts);
    if (amount == 0) continue;
    const auto allowed = most(limit, small, now);
    if (allowed == unlimited) continue;
    const auto used = windows_.used(limit, now);
    if (used + (counted ? 0 : amount) <= allowed) continue;
    // Of several the one that frees up last; "never" before all.
    const auto free = amount > allowed ? std::nullopt : free_at(limit, small, counted ? 0 : amount, now);
    if (!worst || (worst_free && (!free || *free > *worst_free))) {
      worst = limit;
      worst_free = free;
    }
  }
  return worst;
}

Refusal Meter::refusal(Limit limit, const Charge& charge, std::int64_t now) const {
  Refusal refusal;
  refusal.limit = limit;
  refusal.plan = plan_name();
  refusal.most = most(limit, false, now);
  refusal.used = windows_.used(limit, now);
  refusal.asked = amount_for(limit, charge.amounts);
  refusal.free_at = free_at(limit, charge.small, refusal.asked, now);
  if (!charge.is_estimate) count_refusal(limit);
  return refusal;
}

std::uint64_t Meter::under_way(Limit limit) const {
  Amounts amounts{};
  for (std::size_t i = 0; i < count_kinds; ++i) amounts[i] = reserved_[i].load(std::memory_order_relaxed);
  return amount_for(limit, amounts);
}

void Meter::count_refusal(Limit limit) const {
  if (auto* totals = totals_.load(std::memory_order_relaxed))
    totals->refused[static_cast<std::size_t>(limit)].fetch_add(1, std::memory_order_relaxed);
}

Refusal Meter::refuse_session(std::uint64_t open, std::optional<std::int64_t> first_end) const {
  count_refusal(Limit::sessions);
  const std::lock_guard lock(mutex_);
  return {Limit::sessions, terms_.plan, plan_.sessions, open, 1, first_end};
}

Refusal Meter::refuse_upload(std::uint64_t used, std::uint64_t own, std::uint64_t asked) const {
  count_refusal(Limit::uploads);
  const std::lock_guard lock(mutex_);
  Refusal refusal{Limit::uploads, terms_.plan, plan_.uploads, used, asked, {}};
  // What is kept gives way, so that only what is being written is in the way; that is over soon.
  if (own <= plan_.uploads && asked <= plan_.uploads - own) refusal.free_at = now() + upload_retry_seconds;
  return refusal;
}

std::expected<Reservation, Refusal> Meter::reserve(const Charge& charge) {
  const auto time = now();
  windows_.add(charge.amounts, time);
  if (const auto limit = exceeded(charge.amounts, charge.small, true, time)) {
    windows_.take_back(charge.amounts, time);
    return std::unexpected(refusal(*limit, charge, time));
  }
  for (std::size_t i = 0; i < count_kinds; ++i)
    reserved_[i].fetch_add(charge.amounts[i], std::memory_order_relaxed);
  return Reservation(shared_from_this(), charge.amounts, time);
}

std::optional<Refusal> Meter::check(const Charge& charge) const {
  const auto time = now();
  const auto limit = exceeded(charge.amounts, charge.small, false, time);
  if (!limit) return std::nullopt;
  return refusal(*limit, charge, time);
}

void Meter::count_moved(Count count, std::uint64_t amount) const {
  if (auto* totals = totals_.load(std::memory_order_relaxed); totals != nullptr && amount > 0)
    totals->moved[static_cast<std::size_t>(count)].fetch_add(amount, std::memory_order_relaxed);
}

void Meter::finish(const Reservation& reservation, const Amounts& amounts) {
  // What was reserved before a reset isn't in the windows any more, and others' amounts are.
  const auto reserved = reservation.resets_ == resets_ ? reservation.reserved_ : Amounts{};
  Amounts more{}, less{};
  for (std::size_t i = 0; i < count_kinds; ++i) {
    if (amounts[i] > reserved[i]) more[i] = amounts[i] - reserved[i];
    if (amounts[i] < reserved[i]) less[i] = reserved[i] - amounts[i];
    count_moved(static_cast<Count>(i), amounts[i]);
    reserved_[i].fetch_sub(reserved[i], std::memory_order_relaxed);
  }
  windows_.add(more, now());
  windows_.take_back(less, reservation.at_);
}

std::vector<Standing> Meter::standings(bool all) const {
  const auto time = now();
  std::vector<Standing> standings;
  for (std::size_t i = 0; i < limit_kinds; ++i) {
    const Standing standing{limit_at(i), windows_.used(limit_at(i), time), most(limit_at(i), false, time)};
    if (all || standing.most != unlimited) standings.push_back(standing);
  }
  return standings;
}

bool Meter::has_limits() const {
  return std::any_of(limits_.begin(), limits_.end(),
                     [](const auto& limit) { return limit.load(std::memory_order_relaxed) != unlimited; });
}

Levels Meter::levels() const {
  Levels levels{};
  const auto time = now();
  for (std::size_t i = 0; i < limit_kinds; ++i) {
    const auto allowed = most(limit_at(i), false, time);
    if (allowed == unlimited) continue;
    const auto used = windows_.used(limit_at(i), time);
    levels[i] = used >= allowed            ? Level::used_up
                : used >= soft_at(allowed) ? Level::scarce
                : used >= warn_at(allowed) ? Level::warned
                                           : Level::free;
  }
  return levels;
}

std::string Meter::plan_name() const {
  const std::lock_guard lock(mutex_);
  return terms_.plan;
}

Plan Meter::plan() const {
  const std::lock_guard lock(mutex_);
  return plan_;
}

store::UsageTerms Meter::terms() const {
  const std::lock_guard lock(mutex_);
  return terms_;
}

void Meter::set_terms(const store::UsageTerms& terms, const Plan& plan, std::uint64_t reading_reserve,
                      PlanTotals* totals) {
  const std::lock_guard lock(mutex_);
  terms_ = terms;
  plan_ = plan;
  for (std::size_t i = 0; i < limit_kinds; ++i) {
    limits_[i] = terms.limits[i];
    extra_[i] = terms.extra[i];
  }
  extra_until_ = terms.extra_until;
  reading_reserve_ = reading_reserve;
  requests_max_ = plan.requests;
  totals_ = totals;
}

void Meter::clear() {
  ++resets_;
  for (auto& reserved : reserved_) reserved = 0;
  windows_.clear();
}

bool something_counted(const store::UsageWords& words, std::int64_t now) {
  auto copy = words;
  return Windows(copy).counts_something(now);
}

std::optional<Refusal> check(const store::UsageRecord& record, const Amounts& amounts, std::int64_t now) {
  auto words = record.words;
  const Windows windows(words);
  std::optional<Refusal> worst;
  for (std::size_t i = 0; i < limit_kinds; ++i) {
    const auto limit = limit_at(i);
    const auto amount = amount_for(limit, amounts);
    const auto most =
        sum_of(record.terms.limits[i], now < record.terms.extra_until ? record.terms.extra[i] : 0);
    if (amount == 0 || most == unlimited) continue;
    Refusal refusal{limit, record.terms.plan, most, windows.used(limit, now), amount, {}};
    if (refusal.used + amount <= most) continue;
    refusal.free_at =
        free_while(windows, limit, {most, record.terms.limits[i], record.terms.extra_until}, amount, now);
    if (!worst || (worst->free_at && (!refusal.free_at || *refusal.free_at > *worst->free_at)))
      worst = std::move(refusal);
  }
  return worst;
}

}  // namespace postern::limits
