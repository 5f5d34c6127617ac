// The epoll loop that each thread runs. A connection is armed once (EPOLLONESHOT), so that one thread gets it, and
// armed again when its request has been answered.
#include "worker/server.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "worker/limits.hpp"

namespace postern::worker {
namespace {

int checked(int result, const char* what) {
  if (result < 0) throw std::system_error(errno, std::system_category(), what);
  return result;
}

void bound_stalls(int fd) {
  const timeval time{.tv_sec = web_stall_max.count(), .tv_usec = 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
}

}  // namespace

Server::Server(int listener, std::size_t threads, HandlerContext context, std::size_t connections_max)
    : listener_(listener), thread_count_(threads), connections_max_(connections_max), context_(context) {
  // Several processes may wake for one connection; all but one must not block in accept.
  checked(::fcntl(listener_, F_SETFL, ::fcntl(listener_, F_GETFL) | O_NONBLOCK), "listening socket");
  epoll_ = checked(::epoll_create1(EPOLL_CLOEXEC), "epoll");
  stop_event_ = checked(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
  epoll_event event{.events = EPOLLIN | EPOLLEXCLUSIVE, .data = {.fd = listener_}};
  checked(::epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_, &event), "listening socket");
  event = {.events = EPOLLIN, .data = {.fd = stop_event_}};
  checked(::epoll_ctl(epoll_, EPOLL_CTL_ADD, stop_event_, &event), "eventfd");
}

Server::~Server() {
  stop();
  for (auto& thread : threads_) thread.join();
  for (const int fd : connections_) ::close(fd);
  ::close(stop_event_);
  ::close(epoll_);
}

void Server::start() {
  running_ = thread_count_;
  for (std::size_t i = 0; i < thread_count_; ++i) threads_.emplace_back([this] { run(); });
}

void Server::stop() {
  stopping_ = true;
  const std::uint64_t one = 1;
  // Nobody reads it: it stays ready and wakes every thread.
  [[maybe_unused]] const auto written = ::write(stop_event_, &one, sizeof one);
}

bool Server::wait_for(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return ended_.wait_for(lock, time, [this] { return running_ == 0; });
}

void Server::abandon() {
  for (auto& thread : threads_) thread.detach();
}

void Server::run() {
  Handler handler(context_);
  while (!stopping_) {
    epoll_event event{};
    const int ready = ::epoll_wait(epoll_, &event, 1, -1);
    if (ready < 0 && errno != EINTR) {
      context_.logger.error("epoll_wait failed", {{"reason", std::system_category().message(errno)}});
      break;
    }
    if (ready < 1 || stopping_) continue;
    if (event.data.fd == listener_) {
      accept_one();
    } else if (event.data.fd != stop_event_) {
      serve(event.data.fd, handler);
    }
  }
  const std::lock_guard lock(mutex_);
  --running_;
  ended_.notify_all();
}

void Server::accept_one() {
  const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (fd < 0) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      context_.logger.error("cannot accept", {{"reason", std::system_category().message(errno)}});
      std::this_thread::sleep_for(std::chrono::milliseconds(100));  // it stays ready: don't spin
    }
    return;
  }
  bound_stalls(fd);
  {
    const std::lock_guard lock(mutex_);
    if (connections_.size() >= connections_max_) {
      ::close(fd);
      context_.logger.error("too many connections of the web server", {{"connections", connections_max_}});
      return;
    }
    connections_.insert(fd);
  }
  if (!watch(fd, false)) {
    forget(fd);
    ::close(fd);
  }
}

bool Server::watch(int fd, bool again) {
  epoll_event event{.events = EPOLLIN | EPOLLONESHOT, .data = {.fd = fd}};
  return ::epoll_ctl(epoll_, again ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) == 0;
}

void Server::forget(int fd) {
  const std::lock_guard lock(mutex_);
  connections_.erase(fd);
}

void Server::serve(int fd, Handler& handler) {
  // The handler may close it, and another thread's accept get the same number: out of the books first.
  forget(fd);
  const int kept = handler.serve(fd);
  if (kept < 0) return;
  // The thread that takes the connection next begins with forget(): under the lock, it comes after all that this one
  // has done with the descriptor, its closing included.
  const std::lock_guard lock(mutex_);
  if (watch(kept, true)) {
    connections_.insert(kept);
  } else {
    ::close(kept);
  }
}

}  // namespace postern::worker
