// Turns are given as long as there is room; each has a time at which it is given up.
#include "broker/events_nudge.hpp"

#include <algorithm>

namespace postern::broker {
namespace {

// A client that doesn't come holds others up for so long.
constexpr Duration nudge_patience = std::chrono::seconds(3);

}  // namespace

io::Task<> NudgePace::turn(std::string channel) {
  while (true) {
    const auto now = loop_.clock().now();
    std::erase_if(under_way_, [&](const auto& one) { return one.second <= now; });
    if (under_way_.size() < most_) break;
    const auto first = std::ranges::min_element(under_way_, {}, [](const auto& one) { return one.second; });
    settled_.reset();
    co_await settled_.wait_until(first->second);
  }
  under_way_[std::move(channel)] = loop_.clock().now() + nudge_patience;
}

void NudgePace::came(const std::string& channel) {
  if (under_way_.erase(channel) > 0) settled_.set();
}

}  // namespace postern::broker
