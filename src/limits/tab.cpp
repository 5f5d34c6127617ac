// The order of writes: a crash between two of them leaves too much counted, never too little.
#include "postern/limits/tab.hpp"

#include <algorithm>
#include <utility>

namespace postern::limits {

Tab::~Tab() {
  for (auto& one : lines_)
    if (is_left(one)) one = {};
  give_back();
  for (const auto& one : lines_)
    if (one.place) meter_->windows_.forget(*one.place, request_);
}

bool Tab::is_left(const Line& one) const {
  return one.place && meter_->left_as_is_.load(std::memory_order_relaxed);
}

void Tab::give_back() {
  for (std::size_t i = 0; i < count_kinds; ++i) {
    const auto credit = std::exchange(lines_[i].credit, 0);
    if (credit == 0) continue;
    take(static_cast<Count>(i), credit);
    meter_->windows_.take_back(amount_of(static_cast<Count>(i), credit), lines_[i].credit_at);
  }
}

void Tab::open(Line& one, Count count) {
  if (std::exchange(one.is_open, true) || request_ == 0) return;
  const auto earlier = meter_->windows_.claim(request_, meter_->generation_, count, meter_->now());
  if (!earlier) return;
  one.place = earlier->place;
  one.credit = earlier->amount;
  one.credit_at = earlier->at;
}

std::expected<Reservation, Refusal> Tab::reserve(Count count, std::uint64_t amount, bool small,
                                                 bool is_estimate) {
  auto& one = line(count);
  open(one, count);
  const auto credited = std::min(one.credit, amount);
  one.credit -= credited;
  auto granted = meter_->reserve({amount_of(count, amount - credited), small, is_estimate});
  if (!granted) {
    one.credit += credited;
    return granted;
  }
  add(count, amount - credited);
  granted->tab_ = shared_from_this();
  granted->tab_count_ = count;
  granted->credited_ = credited;
  return granted;
}

void Tab::add(Count count, std::uint64_t amount) {
  auto& one = line(count);
  if (amount == 0 || request_ == 0) return;
  if (one.place)
    meter_->windows_.change(*one.place, request_, amount, 0);
  else
    one.place = meter_->windows_.remember(request_, meter_->generation_, count, amount, meter_->now());
}

void Tab::take(Count count, std::uint64_t amount) {
  if (const auto& one = line(count); one.place && amount > 0)
    meter_->windows_.change(*one.place, request_, 0, amount);
}

}  // namespace postern::limits
