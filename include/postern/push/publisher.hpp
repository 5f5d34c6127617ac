// Tells the channels of one front end: a nchan publisher location that is asked by HTTP, one request after the other.
//
// Owns its queue and its connection; runs one coroutine on the loop, which ends when the publisher does. The loop never
// waits: what can't be sent now stays in the queue (publish_queue.hpp). nchan answers POST with 201 where there are
// subscribers and 202 where there are none, and with Accept: text/json tells their number. Bounds: those of the queue;
// asks_max, publisher_slow_after.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "postern/io/http_client.hpp"
#include "postern/push/publish_queue.hpp"

namespace postern::push {

// What a front end has said of a channel.
struct ChannelReport {
  PublishJob::Kind kind = PublishJob::Kind::ask;
  std::string channel;
  bool exists = false;
  std::uint64_t subscribers = 0;
};

// Each holds somebody who waits: a worker's thread.
inline constexpr std::size_t asks_max = 16;
// A request that has taken so long is taken for one that won't be answered: until it has ended, nobody else waits.
inline constexpr Duration publisher_slow_after = std::chrono::seconds(1);

struct PublisherCounters {
  std::uint64_t requests = 0, failures = 0;
  std::uint64_t refused = 0;  // what put() had no room for
};

class Publisher {
 public:
  using OnReport = std::function<void(const ChannelReport&)>;
  Publisher(io::Loop& loop, std::string name, io::HttpAddress address, PublishOptions options,
            OnReport on_report);
  ~Publisher();
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;

  // False where there is no room, which is counted, and logged once until the queue has been emptied.
  bool put(PublishJob job);
  void retry_now();
  // One request outside the queue, for somebody who waits: errors of HttpClient::exchange(), and io::Errc::io for an
  // answer that is none of nchan's. Behind asks_max others it waits its turn, and behind one where the last request had
  // no answer; while a request is slower than publisher_slow_after, nobody waits any more (timeout).
  io::Task<Result<ChannelReport>> ask_now(PublishJob job);
  // Whether ask_now() wouldn't be refused at once.
  bool takes_asks() const;
  // The same for many, one after the other: over a connection that is kept.
  std::unique_ptr<io::HttpClient> connection() const;
  io::Task<Result<ChannelReport>> ask_by(io::HttpClient& client, PublishJob job);
  const PublisherCounters& counters() const;
  std::size_t queued() const;
  // Whether something that was put has still to be told on this channel, or to end it.
  bool changes(const std::string& channel) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// The number of subscribers in nchan's JSON; 0 where it doesn't tell.
std::uint64_t subscribers_of(std::string_view json);

}  // namespace postern::push
