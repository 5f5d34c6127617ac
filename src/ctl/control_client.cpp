// A blocking exchange over a Unix socket, with a deadline for each step.
#include "ctl/control_client.hpp"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace postern::ctl {
namespace {

class Socket {
 public:
  Socket() : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

std::unexpected<Error> failed(int reason, const std::string& path) {
  return fail(Error(std::error_code(reason, std::generic_category()), path));
}

Result<> send_line(int fd, std::string line, const std::string& path) {
  line += '\n';
  std::string_view rest = line;
  while (!rest.empty()) {
    const auto sent = ::send(fd, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return failed(errno, path);
    rest.remove_prefix(static_cast<std::size_t>(sent));
  }
  return {};
}

}  // namespace

Result<std::string> ask_broker(const std::string& path, std::string_view request) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return failed(ENAMETOOLONG, path);
  std::memcpy(address.sun_path, path.data(), path.size());
  const Socket socket;
  if (socket.fd() < 0) return failed(errno, path);
  const timeval wait{.tv_sec = control_answer_wait_max.count(), .tv_usec = 0};
  ::setsockopt(socket.fd(), SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
  ::setsockopt(socket.fd(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  if (::connect(socket.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return failed(errno, path);
  if (auto sent = send_line(socket.fd(), std::string(request), path); !sent) return fail(sent.error());

  std::string answer;
  char buffer[16 * 1024];
  while (true) {
    const auto got = ::recv(socket.fd(), buffer, sizeof buffer, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(errno == EAGAIN ? ETIMEDOUT : errno, path);
    // Without an answer: the broker doesn't know us (SO_PEERCRED), or has just ended.
    if (got == 0) return failed(answer.empty() ? EACCES : ECONNRESET, path);
    const auto before = answer.size();
    answer.append(buffer, static_cast<std::size_t>(got));
    if (const auto end = answer.find('\n', before); end != std::string::npos) {
      answer.resize(end);
      return answer;
    }
    if (answer.size() > control_answer_bytes_max) return failed(EMSGSIZE, path);
  }
}

}  // namespace postern::ctl
