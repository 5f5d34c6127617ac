// A message that failed is put back below what has come meanwhile: its types are still to be told, with newer states.
#include "postern/push/web_push_queue.hpp"

#include <algorithm>
#include <utility>

namespace postern::push {

void WebPushQueue::put(const States& states, TypeSet types) {
  merge_states(waiting_.states, states);
  waiting_.types = waiting_.types | types;
}

std::optional<WebPushQueue::Message> WebPushQueue::next(MonotonicTime now, TypeSet wanted) {
  waiting_.types = waiting_.types & wanted;
  if (under_way_ || waiting_.types.empty() || now < not_before_) return std::nullopt;
  under_way_ = std::exchange(waiting_, {});
  not_before_ = now + pace_.interval;
  return under_way_;
}

void WebPushQueue::ended(WebPushOutcome outcome, std::optional<Duration> retry_after, MonotonicTime now,
                         Random& random) {
  auto sent = std::exchange(under_way_, std::nullopt);
  if (!sent) return;
  if (outcome == WebPushOutcome::sent) {
    failures_ = 0;
  } else {
    auto pause = pace_.retry_min * (std::int64_t{1} << std::min(failures_, 20u));
    pause = std::min(pause, pace_.retry_max);
    ++failures_;
    pause -= pause / 1024 * static_cast<std::int64_t>(random.u64() % 256);
    not_before_ = std::max(not_before_, now + pause);
  }
  if (retry_after) not_before_ = std::max(not_before_, now + *retry_after);
  if (outcome != WebPushOutcome::again) return;
  merge_states(sent->states, waiting_.states);
  waiting_.states = std::move(sent->states);
  waiting_.types = waiting_.types | sent->types;
}

std::optional<MonotonicTime> WebPushQueue::due() const {
  if (under_way_ || waiting_.types.empty()) return std::nullopt;
  return not_before_;
}

}  // namespace postern::push
