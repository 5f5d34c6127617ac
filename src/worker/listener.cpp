// Makes the socket under its mode and group, or checks that the inherited one listens.
#include "worker/listener.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "worker/system_failure.hpp"

namespace postern::worker {
namespace {

constexpr int backlog = 1024;
constexpr int systemd_first_fd = 3;

bool is_listening(int fd) {
  int value = 0;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &size) == 0 && value != 0;
}

// Removes a socket file nobody listens on.
Result<> remove_stale(const sockaddr_un& address) {
  struct stat info{};
  if (::lstat(address.sun_path, &info) != 0) return {};
  if (!S_ISSOCK(info.st_mode)) {
    return fail(Error(std::make_error_code(std::errc::file_exists), address.sun_path));
  }
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const bool refused = ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
                       errno == ECONNREFUSED;
  ::close(probe);
  if (!refused) return fail(Error(std::make_error_code(std::errc::address_in_use), address.sun_path));
  if (::unlink(address.sun_path) != 0) return system_failure(address.sun_path);
  return {};
}

Result<Listener> listen_on(const Options& options) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto& path = options.listen_path;
  if (path.size() >= sizeof address.sun_path) {
    return fail(Error(std::make_error_code(std::errc::filename_too_long), path));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  if (auto ok = remove_stale(address); !ok) return fail(std::move(ok.error()));
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return system_failure("socket");
  // Nobody may connect before the mode and group are right: bound with none, listening only at the end.
  const auto mask = ::umask(0777);
  const bool bound = ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  const int error = errno;
  ::umask(mask);
  errno = error;
  if (!bound ||
      (options.listen_gid && ::chown(path.c_str(), static_cast<uid_t>(-1), *options.listen_gid) != 0) ||
      ::chmod(path.c_str(), options.listen_mode) != 0 || ::listen(fd, backlog) != 0) {
    const int why = errno;
    ::close(fd);
    errno = why;
    return system_failure(path);
  }
  return Listener{.fd = fd, .on_descriptor_0 = false, .path = path};
}

}  // namespace

Result<Listener> open_listener(const Options& options) {
  if (!options.listen_path.empty()) return listen_on(options);
  const char* pid = std::getenv("LISTEN_PID");
  const char* count = std::getenv("LISTEN_FDS");
  if (pid != nullptr && count != nullptr && std::atol(pid) == ::getpid() && std::atoi(count) >= 1 &&
      is_listening(systemd_first_fd)) {
    ::fcntl(systemd_first_fd, F_SETFD, FD_CLOEXEC);
    return Listener{.fd = systemd_first_fd, .on_descriptor_0 = false, .path = {}};
  }
  if (is_listening(STDIN_FILENO)) return Listener{.fd = STDIN_FILENO, .on_descriptor_0 = true, .path = {}};
  return fail(Error(std::make_error_code(std::errc::not_a_socket),
                    "no socket: give --listen, or start it from a web server, systemd or spawn-fcgi"));
}

}  // namespace postern::worker
