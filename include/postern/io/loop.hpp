// A shard's event loop: one thread, one io_context, one timer queue, one scratch buffer.
//
// Everything that belongs to an account runs here and nowhere else. Other threads only post() and stop().
// The loop outlives streams, events and pools made on it. What is still suspended when it ends is unwound
// by its destructor: the coroutines' frames are destroyed, nothing is resumed.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>
#include <boost/asio/io_context.hpp>

#include "postern/base/clock.hpp"
#include "postern/base/crypto.hpp"
#include "postern/base/log.hpp"
#include "postern/base/timer_queue.hpp"
#include "postern/io/task.hpp"

namespace postern::io {

inline constexpr std::size_t scratch_bytes = 64 * 1024;

class Loop {
 public:
  Loop(const Clock& clock, Random& random, Logger& logger);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  boost::asio::io_context& context() { return context_; }
  TimerQueue& timers() { return timers_; }
  const Clock& clock() const { return clock_; }
  Random& random() { return random_; }
  Logger& logger() { return logger_; }
  // Valid until the next suspension point: what a connection reads goes through here, so that an idle
  // connection holds no buffer of its own.
  std::span<char> scratch() { return scratch_; }

  void run();                             // until stop()
  void stop();                            // from any thread
  void post(std::function<void()> work);  // from any thread
  // Starts a coroutine that belongs to the loop, at the loop's next turn. An exception that leaves it is a
  // bug: logged, and rethrown from run() or poll().
  void spawn(Task<> task);
  Task<> sleep(Duration delay);  // by the injected clock
  // Tests with a ManualClock: runs what is ready and due without waiting.
  void poll();

 private:
  friend class Waiter;  // src/io/waiter.hpp
  struct Driver;
  const Clock& clock_;
  Random& random_;
  Logger& logger_;
  TimerQueue timers_;
  std::vector<char> scratch_;
  boost::asio::io_context context_;  // behind what the destructors of suspended coroutines may touch
  std::unique_ptr<Driver> driver_;
};

}  // namespace postern::io
