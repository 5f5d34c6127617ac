// See account_tables.hpp.
#include "account_tables.hpp"

namespace postern::store {
namespace {

std::size_t mix(std::uint64_t x) {  // the finaliser of MurmurHash3
  x = (x ^ x >> 33) * 0xff51afd7ed558ccdULL;
  x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ULL;
  return static_cast<std::size_t>(x ^ x >> 33);
}

PlaceFields fields_of(const Place& place) { return {place.mailbox, place.uid_validity, place.uid}; }
Place place_of(const PlaceFields& fields) { return {fields.mailbox, fields.uid_validity, fields.uid}; }

// The order of the values in a slot; a later version may only add.
constexpr std::array<std::uint64_t StateCounters::*, 8> counter_fields = {
    &StateCounters::mailbox,        &StateCounters::email,    &StateCounters::thread,
    &StateCounters::email_delivery, &StateCounters::identity, &StateCounters::submission,
    &StateCounters::vacation,       &StateCounters::quota};

}  // namespace

std::size_t AccountHash::operator()(AccountKey account) const { return mix(account); }
std::size_t AccountPlaceHash::operator()(const AccountPlace& key) const {
  return mix(mix(key.account ^ key.place.mailbox * 0x9e3779b97f4a7c15ULL) +
             (std::uint64_t{key.place.uid_validity} << 32 | key.place.uid)) ^
         (key.copy ? 1U : 0U);
}

StateCounters counters_of(const CounterSlot& slot) {
  StateCounters counters;
  for (std::size_t i = 0; i < counter_fields.size(); ++i) counters.*counter_fields[i] = slot.values[i];
  return counters;
}

Redirect redirect_of(const RedirectSlot& slot) {
  return {slot.account, place_of(slot.origin), place_of(slot.current), slot.copy != 0};
}

AccountPlace key_of(const Redirect& redirect) {
  return {redirect.account, redirect.copy ? redirect.current : redirect.origin, redirect.copy};
}

StateCounters first_counters(WallTime now) {
  const auto seconds = static_cast<std::uint64_t>(std::max<std::int64_t>(unix_seconds(now), 0));
  const std::uint64_t first = (seconds << 20) + 1;
  StateCounters counters;
  for (const auto field : counter_fields) counters.*field = first;
  return counters;
}

CounterTable::CounterTable(SegmentFile& file, const Layout& layout, std::uint32_t accounts_max)
    : slots_(file, layout.counters), accounts_max_(accounts_max) {}

StateCounters CounterTable::get(AccountKey account) const {
  const auto found = by_account_.find(account);
  return found == by_account_.end() ? StateCounters{} : counters_of(slots_.read(found->second));
}

Result<> CounterTable::put(AccountKey account, const StateCounters& counters, std::uint64_t serial) {
  const auto found = by_account_.find(account);
  if (found == by_account_.end() && slots_.used() >= accounts_max_) {
    const std::uint32_t oldest = order_.first;
    remove(slots_.read(oldest).account, oldest);
  }
  CounterSlot slot;
  slot.serial = serial;
  slot.account = account;
  for (std::size_t i = 0; i < counter_fields.size(); ++i) slot.values[i] = counters.*counter_fields[i];
  const auto number = slots_.insert(slot);
  if (!number) return fail(number.error());
  if (const auto old = by_account_.find(account); old != by_account_.end()) remove(account, old->second);
  by_account_.emplace(account, *number);
  order_links_.append(order_, *number);
  return {};
}

void CounterTable::remove(AccountKey account, std::uint32_t slot) {
  by_account_.erase(account);
  order_links_.remove(order_, slot);
  slots_.erase(slot);
}

RedirectTable::RedirectTable(SegmentFile& file, const Layout& layout, std::uint32_t redirects_max)
    : slots_(file, layout.redirects), redirects_max_(redirects_max) {}

std::optional<std::uint32_t> RedirectTable::find(const AccountPlace& key) const {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return std::nullopt;
  return found->second;
}

Result<> RedirectTable::put(Redirect redirect, std::uint64_t& serial) {
  const AccountKey account = redirect.account;
  if (redirect.origin == redirect.current) return {};
  if (redirect.copy) return put_unchanged(redirect, serial);
  // Backwards: what led to the new origin leads to the new current place. Taken as a list first, because
  // each rewrite takes a slot from it.
  for (const std::uint32_t slot : by_current_.slots({account, redirect.origin})) {
    const Redirect earlier = redirect_of(slots_.read(slot));
    if (earlier.current != redirect.origin || earlier.account != account) continue;  // evicted meanwhile
    if (earlier.origin == redirect.current) {
      remove(slot);
    } else if (auto put = put_unchanged({account, earlier.origin, redirect.current, false}, serial); !put) {
      return put;
    }
  }
  // Forwards: moves that were told in the wrong order.
  if (const auto later = find({account, redirect.current})) {
    redirect.current = redirect_of(slots_.read(*later)).current;
    if (redirect.origin == redirect.current) return {};
  }
  return put_unchanged(redirect, serial);
}

Result<> RedirectTable::put_unchanged(const Redirect& redirect, std::uint64_t& serial) {
  const auto key = key_of(redirect);
  if (!find(key) && slots_.used() >= redirects_max_) remove(order_.first);
  RedirectSlot slot;
  slot.serial = ++serial;
  slot.account = redirect.account;
  slot.origin = fields_of(redirect.origin);
  slot.current = fields_of(redirect.current);
  slot.copy = redirect.copy ? 1 : 0;
  const auto number = slots_.insert(slot);
  if (!number) return fail(number.error());
  if (const auto old = find(key)) remove(*old);
  by_key_.emplace(key, *number);
  if (!redirect.copy) by_current_.add({redirect.account, redirect.current}, *number);
  by_account_.add(redirect.account, *number);
  order_links_.append(order_, *number);
  return {};
}

std::vector<Redirect> RedirectTable::of(AccountKey account) const {
  std::vector<Redirect> out;
  for (const std::uint32_t slot : by_account_.slots(account)) out.push_back(redirect_of(slots_.read(slot)));
  return out;
}

void RedirectTable::drop(const AccountPlace& key) {
  if (const auto slot = find(key)) remove(*slot);
}

void RedirectTable::remove(std::uint32_t slot) {
  const Redirect redirect = redirect_of(slots_.read(slot));
  by_key_.erase(key_of(redirect));
  if (!redirect.copy) by_current_.remove({redirect.account, redirect.current}, slot);
  by_account_.remove(redirect.account, slot);
  order_links_.remove(order_, slot);
  slots_.erase(slot);
}

}  // namespace postern::store
