// What is to be told to one front end's channels, in order, with one request under way at a time: no I/O.
//
// One entry a channel, so that what is new replaces what has not been sent yet (the newest state wins, the types add
// up) and the queue is no longer than there are channels. A front end that fails is left alone for a while, longer each
// time. Bounds: channels_max.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>

#include "postern/base/clock.hpp"
#include "postern/base/crypto.hpp"
#include "postern/push/state_change.hpp"

namespace postern::push {

struct PublishOptions {
  Duration backoff_min = std::chrono::milliseconds(100), backoff_max = std::chrono::seconds(30);
  std::size_t channels_max = 100'000;
};

struct PublishJob {
  enum class Kind : std::uint8_t {
    ask,      // how many subscribers are there?
    nudge,    // have them ask anew: nobody watches for them
    publish,  // tell them
    remove,   // end the channel
  };
  Kind kind = Kind::ask;
  std::string channel, account_id;
  States states;
  TypeSet types;
};

class PublishQueue {
 public:
  explicit PublishQueue(PublishOptions options) : options_(options) {}

  // False if there are channels_max.
  bool put(PublishJob job);
  // What may be sent now; then it is under way until done() or failed().
  std::optional<PublishJob> next(MonotonicTime now);
  void done();
  // Put back, merged with what has come for the channel meanwhile; `random` spreads the next attempt.
  void failed(MonotonicTime now, Random& random);
  // The front end is there again (somebody has come through it).
  void retry_now() { not_before_ = {}; }
  // Whether anything waits for the channel, or is under way, that changes what it tells whoever comes.
  bool changes(const std::string& channel) const;
  // When next() is worth a call; nullopt: nothing waits, or one is under way.
  std::optional<MonotonicTime> due() const;
  std::size_t size() const { return jobs_.size(); }

 private:
  static void merge(PublishJob& older, PublishJob&& newer);
  PublishOptions options_;
  std::unordered_map<std::string, PublishJob> jobs_;
  std::deque<std::string> order_;
  std::optional<PublishJob> under_way_;
  MonotonicTime not_before_{};
  unsigned failures_ = 0;
};

}  // namespace postern::push
