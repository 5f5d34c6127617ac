// Turns are given as long as there is room; each has a time at which it is given up. And the channels of an earlier
// broker, asked for and nudged.
#include "broker/events_nudge.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "broker/events.hpp"

namespace postern::broker {
namespace {

// A client that doesn't come holds others up for so long.
constexpr Duration nudge_patience = std::chrono::seconds(3);
constexpr unsigned nudge_tries_max = 3;
// Of the nudges after a start: those that don't know what a nudge is have their streams ended that much later, and come
// back by themselves.
constexpr Duration end_unanswered_after = std::chrono::seconds(20);
constexpr Duration ask_again_min = std::chrono::seconds(1), ask_again_max = std::chrono::seconds(30);
constexpr unsigned asks_in_a_row = 64;
constexpr Duration ask_pause = std::chrono::milliseconds(10);  // behind so many

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

// --- After a start ---
//
// nginx still holds the streams of an earlier broker, but the credentials are sealed under tokens that only browsers
// have. So each of those channels is nudged, and its client's next request unseals them and has the account watched
// again. As many at once as may sign in to the IMAP server at once (`logins_in_flight`).

// Whose channels there may be: those of all sessions that live, the one used last first, and of all people who may have
// come without one.
void EventService::nudge_earlier_channels() {
  if (frontends_.empty()) return;
  std::vector<std::pair<std::int64_t, Earlier>> found;
  segment_.for_each_session([&](const store::SessionRecord& record) {
    found.push_back({record.last_used, {record.account, session_name(record.token_hash)}});
  });
  segment_.for_each_usage(
      [&](const store::UsageRecord& record) { found.push_back({0, {record.account, {}}}); });
  std::ranges::sort(found, std::greater{}, [](const auto& one) { return one.first; });
  auto earlier = std::make_shared<std::vector<Earlier>>();
  earlier->reserve(found.size());
  for (auto& [used, one] : found) earlier->push_back(std::move(one));
  if (earlier->empty()) return;
  nudges_ = std::make_shared<NudgePace>(*loop_, config_->imap.logins_in_flight);
  for (const auto& [name, frontend] : frontends_)
    loop_->spawn(nudge_frontend(name, earlier, nudges_, listener_));
}

// Whether there is such a channel. nullopt: the service has ended meanwhile.
io::Task<std::optional<bool>> EventService::ask_until_told(Frontend& frontend, io::HttpClient& client,
                                                           std::string id,
                                                           std::weak_ptr<PushFeed::Listener> alive) {
  auto* loop = loop_;
  for (auto pause = ask_again_min;; pause = std::min(pause * 2, ask_again_max)) {
    auto report = co_await frontend.publisher->ask_by(client, {push::PublishJob::Kind::ask, id, {}, {}, {}});
    if (alive.expired()) co_return std::nullopt;
    if (report) co_return report->exists;
    co_await loop->sleep(pause);
    if (alive.expired()) co_return std::nullopt;
  }
}

// Whether somebody may have heard it, also where the front end doesn't say: their stream ends in either case. nullopt:
// the service has ended meanwhile.
io::Task<std::optional<bool>> EventService::nudge(Frontend& frontend, io::HttpClient& client, std::string id,
                                                  std::weak_ptr<PushFeed::Listener> alive) {
  auto* loop = loop_;
  for (unsigned i = 0; i < nudge_tries_max && !frontend.channels.contains(id); ++i) {
    if (i > 0) co_await loop->sleep(ask_again_min);
    if (alive.expired()) co_return std::nullopt;
    auto report =
        co_await frontend.publisher->ask_by(client, {push::PublishJob::Kind::nudge, id, {}, {}, {}});
    if (alive.expired()) co_return std::nullopt;
    if (report) co_return report->subscribers > 0;
  }
  co_return !frontend.channels.contains(id);
}

io::Task<> EventService::nudge_frontend(std::string name, std::shared_ptr<const std::vector<Earlier>> earlier,
                                        std::shared_ptr<NudgePace> pace,
                                        std::weak_ptr<PushFeed::Listener> alive) {
  auto* loop = loop_;
  auto& frontend = frontends_.at(name);  // there while the listener is alive
  const auto client = frontend.publisher->connection();
  std::vector<std::string> nudged;
  unsigned asks = 0;
  for (const auto& [account, session] : *earlier) {
    const auto id = push::channel_id(channel_key_, account, fmt::format("{} {}", session, name));
    if (++asks % asks_in_a_row == 0) co_await loop->sleep(ask_pause);
    if (alive.expired()) co_return;
    if (frontend.channels.contains(id)) continue;  // back already
    const auto exists = co_await ask_until_told(frontend, *client, id, alive);
    if (!exists) co_return;
    // Whether somebody listens, only the answer to the nudge says (Channel::ask()).
    if (!*exists || frontend.channels.contains(id)) continue;
    co_await pace->turn(id);
    if (alive.expired()) co_return;
    const auto heard = co_await nudge(frontend, *client, id, alive);
    if (!heard) co_return;
    if (*heard) {
      nudged.push_back(id);
      ++nudges_sent_;
    } else {
      pace->came(id);
    }
  }
  if (nudged.empty()) co_return;
  loop->logger().info("channels of an earlier broker nudged",
                      {{"frontend", name}, {"channels", nudged.size()}});
  co_await loop->sleep(end_unanswered_after);
  for (const auto& id : nudged) {
    if (alive.expired()) co_return;
    if (frontend.channels.contains(id)) continue;
    co_await pace->turn(id);
    if (alive.expired()) co_return;
    if (!frontend.channels.contains(id))
      frontend.publisher->put({push::PublishJob::Kind::remove, id, {}, {}, {}});
  }
}

}  // namespace postern::broker
