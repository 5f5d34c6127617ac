// Forks, reaps and signals its children, with a back-off for those that die young; SIGKILL after the stop wait.
#include "worker/supervisor.hpp"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace postern::worker {
namespace {

constexpr std::chrono::seconds kill_after_stop_wait{5};

timespec to_timespec(Duration time) {
  const auto ns = std::max<Duration::rep>(time.count(), 0);
  return {.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000};
}

}  // namespace

std::chrono::milliseconds Backoff::after_death(Duration lived) {
  if (lived >= young) {
    next_ = std::chrono::milliseconds(0);
    return next_;
  }
  next_ = next_.count() == 0 ? first : std::min(2 * next_, last);
  return next_;
}

Supervisor::Supervisor(std::size_t processes, const sigset_t& signals, std::chrono::seconds stop_wait,
                       std::function<int()> work, const Clock& clock, Logger& logger)
    : signals_(signals),
      stop_wait_(stop_wait),
      work_(std::move(work)),
      clock_(clock),
      logger_(logger),
      children_(processes) {}

bool Supervisor::start_due() {
  const auto parent = ::getpid();
  for (auto& child : children_) {
    if (child.pid != 0 || child.start_at > clock_.now()) continue;
    const auto pid = ::fork();
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGTERM);
      if (::getppid() != parent) ::_exit(1);  // the parent died before prctl
      return true;
    }
    child.started = clock_.now();
    if (pid < 0) {
      logger_.error("cannot fork", {{"reason", std::system_category().message(errno)}});
      child.start_at = child.started + child.backoff.after_death(Duration::zero());
    } else {
      child.pid = pid;
      logger_.info("worker started", {{"pid", pid}});
    }
  }
  return false;
}

void Supervisor::reap() {
  int status = 0;
  for (pid_t pid = ::waitpid(-1, &status, WNOHANG); pid > 0; pid = ::waitpid(-1, &status, WNOHANG)) {
    const auto at = std::ranges::find(children_, pid, &Child::pid);
    if (at == children_.end()) continue;
    at->pid = 0;
    const auto pause = at->backoff.after_death(clock_.now() - at->started);
    at->start_at = clock_.now() + pause;
    if (stopping_) continue;
    logger_.warning("worker died", {{"pid", pid},
                                    {"signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0},
                                    {"status", WIFEXITED(status) ? WEXITSTATUS(status) : 0},
                                    {"restart_ms", pause.count()}});
  }
}

void Supervisor::signal_all(int number) {
  for (const auto& child : children_) {
    if (child.pid != 0) ::kill(child.pid, number);
  }
}

Duration Supervisor::until_next() const {
  auto next = clock_.now() + std::chrono::hours(1);
  for (const auto& child : children_) {
    if (child.pid == 0) next = std::min(next, child.start_at);
  }
  return next - clock_.now();
}

int Supervisor::run(bool& is_child) {
  is_child = false;
  MonotonicTime kill_at{};
  for (;;) {
    if (!stopping_ && start_due()) {
      is_child = true;
      return work_();
    }
    if (stopping_ && std::ranges::all_of(children_, [](const Child& c) { return c.pid == 0; })) return 0;
    const auto time = to_timespec(stopping_ ? kill_at - clock_.now() : until_next());
    switch (::sigtimedwait(&signals_, nullptr, &time)) {
      case SIGCHLD: reap(); break;
      case SIGHUP: signal_all(SIGHUP); break;
      case SIGTERM:
      case SIGINT:
      case SIGUSR1:
        if (stopping_) break;
        stopping_ = true;
        kill_at = clock_.now() + stop_wait_ + kill_after_stop_wait;
        signal_all(SIGTERM);
        break;
      default:
        if (stopping_ && clock_.now() >= kill_at) {
          signal_all(SIGKILL);
          kill_at = clock_.now() + kill_after_stop_wait;
        }
        break;
    }
  }
}

}  // namespace postern::worker
