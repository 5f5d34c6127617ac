// Merging by channel, and the pause after failures: doubled each time, less up to a half at random.
#include "postern/push/publish_queue.hpp"

#include <algorithm>
#include <utility>

namespace postern::push {

// A removal is final, and whatever is published answers what was asked.
void PublishQueue::merge(PublishJob& older, PublishJob&& newer) {
  using Kind = PublishJob::Kind;
  if (newer.kind == Kind::ask && older.kind != Kind::ask) return;
  if (newer.kind == Kind::publish && older.kind == Kind::publish) {
    merge_states(older.states, newer.states);
    older.types = older.types | newer.types;
    return;
  }
  older = std::move(newer);
}

bool PublishQueue::put(PublishJob job) {
  if (const auto it = jobs_.find(job.channel); it != jobs_.end()) {
    merge(it->second, std::move(job));
    return true;
  }
  if (jobs_.size() >= options_.channels_max) return false;
  order_.push_back(job.channel);
  const auto channel = job.channel;
  jobs_.emplace(channel, std::move(job));
  return true;
}

std::optional<PublishJob> PublishQueue::next(MonotonicTime now) {
  if (under_way_ || order_.empty() || now < not_before_) return std::nullopt;
  const auto it = jobs_.find(order_.front());
  under_way_ = std::move(it->second);
  jobs_.erase(it);
  order_.pop_front();
  return under_way_;
}

void PublishQueue::done() {
  under_way_.reset();
  failures_ = 0;
}

void PublishQueue::failed(MonotonicTime now, Random& random) {
  auto pause = options_.backoff_min * (std::int64_t{1} << std::min(failures_, 20u));
  pause = std::min(pause, options_.backoff_max);
  ++failures_;
  const auto less = static_cast<std::int64_t>(random.u64() % 512);
  not_before_ = now + pause - pause / 1024 * less;
  auto job = std::move(*under_way_);
  under_way_.reset();
  if (const auto it = jobs_.find(job.channel); it != jobs_.end()) {
    merge(job, std::move(it->second));
    it->second = std::move(job);
    return;
  }
  // Behind the others: what a front end refuses for one channel alone must not keep them waiting.
  order_.push_back(job.channel);
  const auto channel = job.channel;
  jobs_.emplace(channel, std::move(job));
}

bool PublishQueue::changes(const std::string& channel) const {
  constexpr auto ask = PublishJob::Kind::ask;
  if (under_way_ && under_way_->channel == channel && under_way_->kind != ask) return true;
  const auto it = jobs_.find(channel);
  return it != jobs_.end() && it->second.kind != ask;
}

std::optional<MonotonicTime> PublishQueue::due() const {
  if (under_way_ || order_.empty()) return std::nullopt;
  return not_before_;
}

}  // namespace postern::push
