// Meters found by account; their terms in the segment, for workers and for after a restart.
#include "postern/limits/book.hpp"

#include <algorithm>
#include <limits>

namespace postern::limits {
namespace {

// One that nothing is remembered of, lest what an earlier process has left be taken for this one's; should there be
// none, the one of which nothing new was remembered for the longest time.
unsigned unused_generation(const store::SegmentWriter& segment, std::int64_t now) {
  Windows::NewestOfEach newest{};
  segment.for_each_usage([&newest, now](const store::UsageRecord& record) {
    auto words = record.words;
    Windows(words).note_generations(newest, now);
  });
  const auto age = [](const std::optional<std::int64_t>& one) {
    return one.value_or(std::numeric_limits<std::int64_t>::max());
  };
  return static_cast<unsigned>(std::ranges::max_element(newest, {}, age) - newest.begin());
}

}  // namespace

Book::Book(store::SegmentWriter& segment, const Clock& clock, Logger& logger,
           std::shared_ptr<const PlanTable> plans)
    : segment_(segment),
      clock_(clock),
      logger_(logger),
      generation_(unused_generation(segment, unix_seconds(clock.wall()))) {
  set_plans(std::move(plans));
}

std::shared_ptr<Meter> Book::open(store::AccountKey account, std::string_view login) {
  const std::lock_guard lock(mutex_);
  return open_locked(account, login);
}

std::shared_ptr<Meter> Book::open_locked(store::AccountKey account, std::string_view login) {
  auto& entry = open_[account];
  if (auto meter = entry.meter.lock()) return meter;
  auto cell = segment_.open_usage(account);
  if (!cell)
    logger_.warning("use is counted in memory alone",
                    {{"login", std::string(login)}, {"error", cell.error().to_string()}});
  auto meter = std::make_shared<Meter>(cell ? std::move(*cell) : nullptr, clock_, generation_);
  if (left_as_is_) meter->leave_as_is();
  entry = {meter, std::string(login)};
  const auto record = segment_.usage(account);
  apply(account, *meter, terms_for(login, record ? record->terms : store::UsageTerms{}));
  if (open_.size() >= sweep_at_) {
    std::erase_if(open_, [](const auto& known) { return known.second.meter.expired(); });
    sweep_at_ = std::max<std::size_t>(1'024, 2 * open_.size());
  }
  return meter;
}

// The limits of the plan that is the person's now: by a map, or as it was found last, where plans are looked up; else
// the default one. What was granted on top stays, unless it has ended.
store::UsageTerms Book::terms_for(std::string_view login, const store::UsageTerms& before) const {
  store::UsageTerms terms;
  terms.login = login;
  terms.plan = plans_->plan_of(login, before.plan);
  terms.limits = plans_->plan(terms.plan).limits;
  if (before.extra_until > unix_seconds(clock_.wall())) {
    terms.extra = before.extra;
    terms.extra_until = before.extra_until;
  }
  return terms;
}

void Book::apply(store::AccountKey account, Meter& meter, store::UsageTerms terms) {
  const auto& plan = plans_->plan(terms.plan);
  meter.set_terms(terms, plan, plans_->reading_reserve_bytes, &totals_of(terms.plan));
  if (auto put = segment_.put_usage_terms(account, terms); !put)
    logger_.warning("a person's limits are not in the segment",
                    {{"login", terms.login}, {"error", put.error().to_string()}});
}

PlanTotals& Book::totals_of(const std::string& plan) {
  auto& totals = totals_[plan];
  if (!totals) {
    totals = std::make_unique<PlanTotals>();
    totals->plan = plan;
  }
  return *totals;
}

void Book::set_plans(std::shared_ptr<const PlanTable> plans) {
  const std::lock_guard lock(mutex_);
  plans_ = std::move(plans);
  // Workers go by what is in the segment, also for people who are not here just now.
  std::vector<std::pair<store::AccountKey, store::UsageTerms>> stale;
  segment_.for_each_usage([&](const store::UsageRecord& record) {
    if (record.terms.login.size() >= store::usage_login_bytes) return;  // cut: their next request tells
    auto terms = terms_for(record.terms.login, record.terms);
    if (terms != record.terms) stale.emplace_back(record.account, std::move(terms));
  });
  for (const auto& [account, terms] : stale) (void)segment_.put_usage_terms(account, terms);
  for (const auto& [account, entry] : open_)
    if (const auto meter = entry.meter.lock()) apply(account, *meter, terms_for(entry.login, meter->terms()));
}

bool Book::found_plan(store::AccountKey account, std::string_view login, std::string_view plan) {
  const std::lock_guard lock(mutex_);
  if (!plan.empty() && !plans_->plans.contains(plan)) return false;
  const auto meter = open_locked(account, login);
  auto before = meter->terms();
  before.plan = plan.empty() ? plans_->default_plan : std::string(plan);
  if (auto terms = terms_for(login, before); terms != meter->terms())
    apply(account, *meter, std::move(terms));
  return true;
}

std::shared_ptr<const PlanTable> Book::plans() const {
  const std::lock_guard lock(mutex_);
  return plans_;
}

// --- For the administrator ---

Use Book::use_in(const store::UsageRecord& record) const {
  Use use;
  use.account = record.account;
  use.login = record.terms.login;
  use.plan = record.terms.plan;
  const auto now = unix_seconds(clock_.wall());
  const bool granted = record.terms.extra_until > now;
  if (granted) {
    use.extra = record.terms.extra;
    use.extra_until = record.terms.extra_until;
  }
  auto words = record.words;
  const Windows windows(words);
  for (std::size_t i = 0; i < limit_kinds; ++i) {
    auto most = record.terms.limits[i];
    if (most != unlimited && granted) most += std::min(record.terms.extra[i], limit_max);
    use.standings.push_back({limit_at(i), windows.used(limit_at(i), now), most});
  }
  const auto month = [&record](Limit limit) {
    const auto day = record.terms.limits[static_cast<std::size_t>(limit)];
    return day == unlimited ? unlimited : 30 * day;
  };
  use.month_mail_most = month(Limit::mail_day);
  use.month_files_most = month(Limit::files_day);
  return use;
}

Use Book::use_of(store::AccountKey account, std::string_view login) {
  const std::lock_guard lock(mutex_);
  if (const auto record = segment_.usage(account)) return use_in(*record);
  const auto open = open_.find(account);
  const auto meter = open == open_.end() ? nullptr : open->second.meter.lock();
  // To ask about somebody who was never here must not take anybody's place.
  auto use = use_in({account, meter ? meter->terms() : terms_for(login, {}), {}});
  if (meter) use.standings = meter->standings(true);
  return use;
}

std::vector<Use> Book::top(Limit by, std::size_t count) const {
  std::vector<std::pair<std::uint64_t, store::AccountKey>> order;
  const auto now = unix_seconds(clock_.wall());
  segment_.for_each_usage([&](const store::UsageRecord& record) {
    auto words = record.words;
    if (const auto used = Windows(words).used(by, now); used > 0) order.emplace_back(used, record.account);
  });
  const auto shown = std::min(count, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(shown), order.end(),
                    std::greater<>());
  std::vector<Use> uses;
  for (std::size_t i = 0; i < shown; ++i)
    if (const auto record = segment_.usage(order[i].second)) uses.push_back(use_in(*record));
  return uses;
}

void Book::grant(store::AccountKey account, std::string_view login, Limit limit, std::uint64_t amount,
                 std::int64_t until) {
  const std::lock_guard lock(mutex_);
  const auto meter = open_locked(account, login);
  auto terms = terms_for(login, meter->terms());
  terms.extra[static_cast<std::size_t>(limit)] = std::min(amount, limit_max);
  terms.extra_until = until;
  apply(account, *meter, std::move(terms));
}

void Book::reset(store::AccountKey account, std::string_view login) {
  const std::lock_guard lock(mutex_);
  const auto meter = open_locked(account, login);
  meter->clear();
  store::UsageTerms kept;  // the plan, which may have been looked up; nothing that was granted
  kept.plan = meter->terms().plan;
  apply(account, *meter, terms_for(login, kept));
}

void Book::leave_as_is() {
  const std::lock_guard lock(mutex_);
  left_as_is_ = true;
  for (const auto& [account, entry] : open_)
    if (const auto meter = entry.meter.lock()) meter->leave_as_is();
}

std::vector<const PlanTotals*> Book::totals() const {
  const std::lock_guard lock(mutex_);
  std::vector<const PlanTotals*> all;
  all.reserve(totals_.size());
  for (const auto& [plan, totals] : totals_) all.push_back(totals.get());
  return all;
}

}  // namespace postern::limits
