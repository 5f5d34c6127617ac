// See usage_table.hpp.
#include "usage_table.hpp"

#include <algorithm>

namespace postern::store {
namespace {

template <std::size_t size>
std::string text_of(const std::array<char, size>& field) {
  return {field.begin(), std::find(field.begin(), field.end(), '\0')};
}
// Cut where a character of UTF-8 begins.
template <std::size_t size>
void put_text(std::array<char, size>& field, std::string_view text) {
  auto fits = std::min(text.size(), size);
  if (fits < text.size())
    while (fits > 0 && (static_cast<unsigned char>(text[fits]) & 0xC0) == 0x80) --fits;
  field = {};
  std::copy_n(text.begin(), fits, field.begin());
}

}  // namespace

UsageRecord usage_of(const UsageSlot& slot) {
  UsageRecord record;
  record.account = slot.account;
  record.terms = {text_of(slot.login), text_of(slot.plan), slot.limits, slot.extra, slot.extra_until};
  record.words = slot.words;
  return record;
}

UsageTable::UsageTable(SegmentFile& file, const Layout& layout, std::uint32_t accounts_max,
                       SomethingCounted something_counted)
    : slots_(file, layout.usage), accounts_max_(accounts_max), something_counted_(something_counted) {}

Result<std::uint32_t> UsageTable::open(AccountKey account, std::uint64_t& serial, std::int64_t now) {
  const auto slot = slot_of(account, serial, now);
  if (!slot) return slot;
  if (++holders_[*slot] == 1) take_out_of_order(*slot);
  return slot;
}

void UsageTable::release(std::uint32_t slot, std::int64_t now) {
  const auto held = holders_.find(slot);
  if (held == holders_.end() || --held->second > 0) return;
  holders_.erase(held);
  put_in_order(slot, now);
}

Result<std::uint32_t> UsageTable::slot_of(AccountKey account, std::uint64_t& serial, std::int64_t now) {
  if (const auto found = by_account_.find(account); found != by_account_.end()) return found->second;
  UsageSlot slot;
  slot.serial = ++serial;
  slot.account = account;
  slot.limits = UsageTerms::unlimited();
  return insert(slot, now);
}

Result<std::uint32_t> UsageTable::insert(UsageSlot slot, std::int64_t now) {
  if (slots_.used() >= accounts_max_ && !make_room(now)) return fail(Errc::full, "use of accounts");
  const auto number = slots_.insert(slot);
  if (!number) return number;
  by_account_.emplace(slot.account, *number);
  put_in_order(*number, now);
  return number;
}

bool UsageTable::is_blank(std::uint32_t slot, std::int64_t now) const {
  const auto content = slots_.read(slot);
  if (content.extra_until > now) return false;
  if (something_counted_ != nullptr) return !something_counted_(content.words, now);
  return std::all_of(content.words.begin(), content.words.end(), [](auto word) { return word == 0; });
}

void UsageTable::put_in_order(std::uint32_t slot, std::int64_t now) {
  if (slot >= in_blank_.size()) in_blank_.resize(slot + std::size_t{1});
  in_blank_[slot] = is_blank(slot, now);
  order_links_.append(in_blank_[slot] ? blank_ : counted_, slot);
}

void UsageTable::take_out_of_order(std::uint32_t slot) {
  order_links_.remove(in_blank_[slot] ? blank_ : counted_, slot);
}

// What was blank when it was let go of has stayed so, since only holders count. What had something counted then may
// have nothing by now: the oldest are looked at, so many that the mutex isn't held for long.
std::uint32_t UsageTable::first_to_go(std::int64_t now) const {
  constexpr int looked_at_max = 64;
  if (blank_.first != no_slot) return blank_.first;
  auto slot = counted_.first;
  for (int i = 0; i < looked_at_max && slot != no_slot; ++i, slot = order_links_.next(slot))
    if (is_blank(slot, now)) return slot;
  return counted_.first;
}

bool UsageTable::make_room(std::int64_t now) {
  const auto slot = first_to_go(now);
  if (slot == no_slot) return false;
  by_account_.erase(slots_.read(slot).account);
  take_out_of_order(slot);
  slots_.erase(slot);
  return true;
}

Result<> UsageTable::put_terms(AccountKey account, const UsageTerms& terms, std::uint64_t& serial,
                               std::int64_t now) {
  const auto number = slot_of(account, serial, now);
  if (!number) return fail(number.error());
  UsageSlot slot = slots_.read(*number);
  slot.serial = ++serial;
  slot.limits = terms.limits;
  slot.extra = terms.extra;
  slot.extra_until = terms.extra_until;
  put_text(slot.plan, terms.plan);
  put_text(slot.login, terms.login);
  slots_.rewrite(*number, slot);
  if (holders_.contains(*number)) return {};
  // What is granted makes a difference; where it stands among its like doesn't change.
  if (const bool blank = is_blank(*number, now); blank != in_blank_[*number]) {
    take_out_of_order(*number);
    put_in_order(*number, now);
  }
  return {};
}

Result<> UsageTable::put(UsageSlot slot, std::uint64_t serial, std::int64_t now) {
  slot.serial = serial;
  slot.sequence = 0;
  const auto number = insert(slot, now);
  if (!number) return fail(number.error());
  return {};
}

std::optional<UsageRecord> UsageTable::get(AccountKey account) const {
  const auto found = by_account_.find(account);
  if (found == by_account_.end()) return std::nullopt;
  return usage_of(slots_.read(found->second));
}

std::vector<AccountKey> UsageTable::accounts() const {
  std::vector<AccountKey> all;
  all.reserve(by_account_.size());
  for (const auto& [account, slot] : by_account_) all.push_back(account);
  return all;
}

std::uint32_t UsageTable::hint(AccountKey account) const {
  const auto found = by_account_.find(account);
  return found == by_account_.end() ? 0 : found->second + 1;
}

}  // namespace postern::store
