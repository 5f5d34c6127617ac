// The pace at which channels of an earlier broker are nudged: so many at once have been and haven't come back yet.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "postern/io/event.hpp"
#include "postern/io/loop.hpp"

namespace postern::broker {

// One loop. Who doesn't come gives its turn to another after a few seconds.
class NudgePace {
 public:
  NudgePace(io::Loop& loop, std::size_t most) : loop_(loop), most_(most), settled_(loop) {}
  // Ends when it is this channel's turn.
  io::Task<> turn(std::string channel);
  void came(const std::string& channel);
  std::size_t under_way() const { return under_way_.size(); }

 private:
  io::Loop& loop_;
  const std::size_t most_;
  io::Event settled_;
  std::map<std::string, MonotonicTime> under_way_;  // until when each is waited for
};

}  // namespace postern::broker
