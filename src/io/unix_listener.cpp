// The listening side of a Unix socket: stale sockets, credentials of the peer, shortage of descriptors.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "io/socket.hpp"
#include "postern/io/unix_path.hpp"

namespace postern::io {

namespace {

constexpr int backlog = 1024;
constexpr auto shortage_pause = std::chrono::milliseconds(100);

std::unexpected<Error> errno_failure(const std::string& what) {
  return fail(Errc::io, what + ": " + std::generic_category().message(errno));
}

sockaddr_un unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof address.sun_path - 1));
  return address;
}

// Removes a socket that nobody listens on any more.
Result<> remove_stale(const std::string& path, const sockaddr_un& address) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return {};
    return errno_failure(path);
  }
  if (!S_ISSOCK(info.st_mode)) return fail(Errc::io, path + ": is there and is no socket");
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (probe < 0) return errno_failure("socket");
  const int result = ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int reason = errno;
  ::close(probe);
  if (result == 0 || reason == EAGAIN) return fail(Errc::io, path + ": somebody listens there already");
  if (reason != ECONNREFUSED && reason != ENOENT) {
    errno = reason;
    return errno_failure(path);
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return errno_failure(path);
  return {};
}

class UnixListenerImpl final : public UnixListener {
 public:
  UnixListenerImpl(Loop& loop, int fd, std::string path)
      : socket_(std::make_shared<Socket>(loop, fd)), path_(std::move(path)) {
    struct stat info{};
    if (!path_.empty() && ::lstat(path_.c_str(), &info) == 0) inode_ = info.st_ino;
  }
  ~UnixListenerImpl() override { close(); }

  Task<Result<Accepted>> accept() override { return accept_on(socket_); }
  int native_handle() const override { return socket_->fd(); }
  void keep_path() override { path_.clear(); }
  void close() override {
    if (socket_->closed()) return;
    socket_->close();
    struct stat info{};
    if (!path_.empty() && ::lstat(path_.c_str(), &info) == 0 && S_ISSOCK(info.st_mode) &&
        info.st_ino == inode_) {
      ::unlink(path_.c_str());
    }
  }

 private:
  static Task<Result<Accepted>> accept_on(std::shared_ptr<Socket> socket);
  std::shared_ptr<Socket> socket_;
  std::string path_;
  ino_t inode_ = 0;
};

Task<Result<UnixListener::Accepted>> UnixListenerImpl::accept_on(std::shared_ptr<Socket> socket) {
  for (;;) {
    if (socket->closed()) co_return fail(Errc::closed);
    const int fd = ::accept4(socket->fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      Accepted accepted;
      ucred peer{};
      socklen_t size = sizeof peer;
      const bool known = ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
      accepted.stream = adopt_socket(socket->loop(), fd);
      if (!known) continue;  // nobody we could name
      accepted.uid = peer.uid;
      accepted.gid = peer.gid;
      accepted.pid = static_cast<std::uint32_t>(peer.pid);
      co_return accepted;
    }
    const int reason = errno;
    if (reason == EAGAIN) {
      auto waited = co_await Socket::wait(socket, Socket::Want::read);
      if (!waited) co_return fail(std::move(waited.error()));
    } else if (reason == EMFILE || reason == ENFILE || reason == ENOBUFS || reason == ENOMEM) {
      socket->loop().logger().warning("can't accept for now",
                                      {{"reason", std::generic_category().message(reason)}});
      co_await socket->loop().sleep(shortage_pause);
    } else if (reason != EINTR && reason != ECONNABORTED) {
      co_return fail(Errc::io, "accept: " + std::generic_category().message(reason));
    }
  }
}

}  // namespace

static_assert(unix_path_bytes_max + 1 == sizeof(sockaddr_un::sun_path));

Result<> check_unix_path(const std::string& path) {
  if (!path.empty() && path.size() <= unix_path_bytes_max) return {};
  return fail(Errc::io, "\"" + path + "\" is empty or too long for a socket (" +
                            std::to_string(unix_path_bytes_max) + " octets)");
}

Result<std::unique_ptr<UnixListener>> UnixListener::open(Loop& loop, std::string path, std::uint32_t mode) {
  if (auto usable = check_unix_path(path); !usable) return fail(std::move(usable.error()));
  const auto address = unix_address(path);
  if (auto removed = remove_stale(path, address); !removed) return fail(std::move(removed.error()));
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno_failure("socket");
  // The mode is set before the name exists (bind() takes it over, less the umask), so that nobody slips in.
  if (::fchmod(fd, mode) != 0 ||
      ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::chmod(path.c_str(), mode) != 0 || ::listen(fd, backlog) != 0) {
    auto error = errno_failure(path);
    ::close(fd);
    return error;
  }
  return std::make_unique<UnixListenerImpl>(loop, fd, std::move(path));
}

Result<std::unique_ptr<UnixListener>> UnixListener::adopt(Loop& loop, int fd) {
  int listening = 0, family = 0;
  socklen_t size = sizeof listening;
  if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || listening == 0) {
    return fail(Errc::io, "the inherited descriptor is no listening socket");
  }
  size = sizeof family;
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) != 0 || family != AF_UNIX) {
    return fail(Errc::io, "the inherited descriptor is no Unix socket");
  }
  return std::make_unique<UnixListenerImpl>(loop, fd, std::string());
}

}  // namespace postern::io
