// Connecting with the check of the peer's user and the exchange of hellos; who may try, and who waits how long.
#include "worker/broker_link.hpp"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>
#include <fmt/format.h>

#include "worker/limits.hpp"
#include "worker/system_failure.hpp"

namespace postern::worker {
namespace {

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

void set_timeout(int fd, int option, std::chrono::milliseconds time) {
  const auto ms = time.count();
  const timeval value{.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
  ::setsockopt(fd, SOL_SOCKET, option, &value, sizeof value);
}

Result<> check_peer(int fd, const LinkOptions& options) {
  if (!options.broker_uid) return {};
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return system_failure("SO_PEERCRED");
  if (peer.uid != *options.broker_uid) {
    return fail(Error(std::make_error_code(std::errc::permission_denied),
                      fmt::format("the broker runs as uid {}, not {}", peer.uid, *options.broker_uid)));
  }
  return {};
}

// Sends our hello and takes theirs; what comes behind it goes to `rest`.
Result<> exchange_hellos(int fd, const LinkOptions& options, std::string& rest) {
  std::string hello;
  ipc::append_hello(hello, options.program);
  if (::send(fd, hello.data(), hello.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(hello.size())) {
    return system_failure("hello");
  }
  const auto deadline = std::chrono::steady_clock::now() + broker_hello_wait_max;
  char buffer[4096];
  while (std::chrono::steady_clock::now() < deadline) {
    const auto got = ::recv(fd, buffer, sizeof buffer, 0);
    if (got == 0) return fail(ipc::Errc::closed, "hello");
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_failure("hello");
    rest.append(buffer, static_cast<std::size_t>(got));
    std::string_view data = rest;
    auto frame = ipc::next_frame(data);
    if (!frame) return fail(std::move(frame.error()));
    if (!*frame) continue;
    if ((*frame)->type != ipc::FrameType::hello) return fail(ipc::Errc::bad_frame, "no hello");
    const auto theirs = ipc::parse_hello((*frame)->payload);
    if (!theirs) return fail(theirs.error());
    if (const auto version = ipc::negotiate(*theirs); !version) return fail(version.error());
    rest.erase(0, rest.size() - data.size());
    return {};
  }
  return fail(Error(std::make_error_code(std::errc::timed_out), "hello"));
}

}  // namespace

Result<std::shared_ptr<BrokerConnection>> connect_broker(const LinkOptions& options, Logger& logger) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (options.path.size() >= sizeof address.sun_path) {
    return fail(Error(std::make_error_code(std::errc::filename_too_long), options.path));
  }
  std::memcpy(address.sun_path, options.path.data(), options.path.size());
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return system_failure("socket");
  set_timeout(fd.get(), SO_SNDTIMEO, broker_hello_wait_max);  // connect's, too, when the backlog is full
  set_timeout(fd.get(), SO_RCVTIMEO, broker_hello_wait_max);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return system_failure(options.path);
  }
  if (auto ok = check_peer(fd.get(), options); !ok) return fail(std::move(ok.error()));
  std::string early;
  if (auto ok = exchange_hellos(fd.get(), options, early); !ok) return fail(std::move(ok.error()));
  set_timeout(fd.get(), SO_SNDTIMEO, broker_stall_max);
  set_timeout(fd.get(), SO_RCVTIMEO, browser_check_every);
  return std::make_shared<BrokerConnection>(fd.release(), std::move(early), logger);
}

bool BrokerLink::have_usable() {
  if (current_ && !current_->usable()) current_.reset();  // its streams hold it as long as they need it
  return current_ != nullptr;
}

// One try. Nobody else connects meanwhile; the lock is not held.
void BrokerLink::connect(std::unique_lock<std::mutex>& lock) {
  connecting_ = true;
  lock.unlock();
  auto made = connect_broker(options_, logger_);
  lock.lock();
  connecting_ = false;
  if (made) {
    current_ = std::move(*made);
    if (std::exchange(away_, false)) logger_.info("broker is back", {{"socket", options_.path}});
  } else if (!std::exchange(away_, true)) {
    logger_.warning("broker is away", {{"socket", options_.path}, {"reason", made.error().to_string()}});
  }
  if (!made) next_try_ = clock_.now() + broker_connect_pause;
  changed_.notify_all();
}

std::expected<std::shared_ptr<BrokerConnection>, Unavailable> BrokerLink::get(MonotonicTime deadline) {
  std::unique_lock lock(mutex_);
  bool waits = false, tried = false;
  std::expected<std::shared_ptr<BrokerConnection>, Unavailable> result =
      std::unexpected(Unavailable::broker_away);
  for (;;) {
    bool usable = have_usable();
    // However many wait, the broker is asked once in a pause; by who can't wait for the next time, once more.
    if (!usable && !connecting_ && (clock_.now() >= next_try_ || (!tried && clock_.now() >= deadline))) {
      tried = true;
      connect(lock);
      usable = have_usable();
    }
    if (usable) {
      result = current_;
      break;
    }
    if (stopping_) {
      result = std::unexpected(Unavailable::stopping);
      break;
    }
    // Who only waits for another thread's first try isn't counted: that one is short.
    if (!waits && (away_ || !connecting_)) {
      if (waiters_ >= options_.waiters_max) {
        result = std::unexpected(Unavailable::too_many_waiting);
        break;
      }
      ++waiters_;
      waits = true;
    }
    const auto now = clock_.now();
    if (now >= deadline) break;
    changed_.wait_for(lock, std::min<Duration>(deadline - now, broker_connect_pause));
  }
  if (waits) --waiters_;
  return result;
}

bool BrokerLink::pause() {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, broker_connect_pause, [this] { return stopping_; });
}

void BrokerLink::renew() {
  const std::lock_guard lock(mutex_);
  if (current_) current_->retire();
  current_.reset();
}

void BrokerLink::stop() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  changed_.notify_all();
}

}  // namespace postern::worker
