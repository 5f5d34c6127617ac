// The parent of prefork workers: starts them, starts dead ones again, passes signals on.
//
// It does nothing else, so that it has no reason to die. One thread; the signals it waits for are blocked in
// it and in what it forks (the workers wait for theirs the same way, see main.cpp).
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <vector>

#include "postern/base/clock.hpp"
#include "postern/base/log.hpp"

namespace postern::worker {

// How long to wait before a worker is started again: not at all if it had lived, longer and longer if it dies
// young. Pure.
class Backoff {
 public:
  std::chrono::milliseconds after_death(Duration lived);
  static constexpr std::chrono::milliseconds first{100}, last{30'000};
  static constexpr std::chrono::seconds young{10};

 private:
  std::chrono::milliseconds next_{0};
};

class Supervisor {
 public:
  // `work` runs in the child and returns its exit status. `signals`: blocked, and waited for here.
  Supervisor(std::size_t processes, const sigset_t& signals, std::chrono::seconds stop_wait,
             std::function<int()> work, const Clock& clock, Logger& logger);
  // Until SIGTERM, SIGINT or SIGUSR1, and all children have ended (or were killed after stop_wait and a bit).
  // In a child it returns what `work` did; `is_child` says which.
  int run(bool& is_child);

 private:
  struct Child {
    pid_t pid = 0;  // 0: not running
    MonotonicTime started{}, start_at{};
    Backoff backoff;
  };

  bool start_due();  // true in the child
  void reap();
  void signal_all(int number);
  Duration until_next() const;

  const sigset_t signals_;
  const std::chrono::seconds stop_wait_;
  const std::function<int()> work_;
  const Clock& clock_;
  Logger& logger_;
  std::vector<Child> children_;
  bool stopping_ = false;
};

}  // namespace postern::worker
