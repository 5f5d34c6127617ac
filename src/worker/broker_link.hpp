// How a worker process gets a connection to the broker: connects, checks who answers, waits for one that is
// being restarted.
//
// One a process, all threads. At most one thread connects at a time, and after a failed try not within
// broker_connect_pause; at most waiters_max threads wait (main.cpp: all of them may), others are told at once.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <cstddef>
#include <expected>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "postern/base/clock.hpp"
#include "postern/base/error.hpp"
#include "postern/base/log.hpp"
#include "worker/broker_connection.hpp"
#include "worker/problem.hpp"

namespace postern::worker {

struct LinkOptions {
  std::string path;                 // the broker's socket
  std::optional<uid_t> broker_uid;  // refuse any other
  std::size_t waiters_max = 1;
  std::string program;  // for the hello
};

// Connects to the broker's socket, exchanges hellos; waits no longer than broker_hello_wait_max.
Result<std::shared_ptr<BrokerConnection>> connect_broker(const LinkOptions& options, Logger& logger);

class BrokerLink {
 public:
  BrokerLink(LinkOptions options, const Clock& clock, Logger& logger)
      : options_(std::move(options)), clock_(clock), logger_(logger) {}

  // The connection for a new stream; where there is none, tries until `deadline`.
  std::expected<std::shared_ptr<BrokerConnection>, Unavailable> get(MonotonicTime deadline);
  // Waits a moment before the same request is sent again; false if stop() came.
  bool pause();
  void renew();  // new streams go over a new connection
  void stop();   // nobody waits any more; connections that are there can still be used

 private:
  bool have_usable();
  void connect(std::unique_lock<std::mutex>& lock);

  const LinkOptions options_;
  const Clock& clock_;
  Logger& logger_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<BrokerConnection> current_;
  std::size_t waiters_ = 0;
  bool connecting_ = false;
  bool stopping_ = false;
  bool away_ = false;  // logged, until it is back
  MonotonicTime next_try_{};
};

}  // namespace postern::worker
