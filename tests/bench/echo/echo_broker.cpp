// echo-broker: answers every request over the frame protocol with the same octets, from one thread with
// epoll. The floor for benchmarks: what the way through web server, worker and Unix socket costs without any
// work behind it.
//
//   echo-broker --listen PATH [--bytes N] [--type CONTENT-TYPE]
//
// N is at most a stream's window, so that no answer waits for credit. SIGTERM ends it.
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <unordered_map>
#include <CLI/CLI.hpp>

#include "postern/ipc/frame.hpp"

namespace {

using namespace postern;

struct Connection {
  int fd = -1;
  std::string input, output;
  bool wants_write = false;
};

class EchoBroker {
 public:
  EchoBroker(int listener, std::size_t bytes, const std::string& type)
      : listener_(listener), epoll_(::epoll_create1(EPOLL_CLOEXEC)), body_(bytes, 'x') {
    head_ =
        ipc::encode_response_head({200, {{"content-type", type}, {"content-length", std::to_string(bytes)}}})
            .value();
    epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_, &event);
  }

  void run() {
    epoll_event events[64];
    for (;;) {
      const int ready = ::epoll_wait(epoll_, events, 64, -1);
      for (int i = 0; i < ready; ++i) {
        if (events[i].data.ptr == nullptr) {
          accept_one();
        } else {
          serve(*static_cast<Connection*>(events[i].data.ptr));
        }
      }
    }
  }

 private:
  void accept_one() {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    auto& connection = connections_[fd];
    connection = std::make_unique<Connection>();
    connection->fd = fd;
    epoll_event event{.events = EPOLLIN, .data = {.ptr = connection.get()}};
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
    ipc::append_hello(connection->output, "echo-broker");
  }

  void serve(Connection& connection) {
    const auto got = ::recv(connection.fd, buffer_, sizeof buffer_, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return drop(connection);
    if (got > 0) connection.input.append(buffer_, static_cast<std::size_t>(got));
    std::string_view data = connection.input;
    for (;;) {
      const auto frame = ipc::next_frame(data);
      if (!frame) return drop(connection);
      if (!*frame) break;
      take(connection, **frame);
    }
    connection.input.erase(0, connection.input.size() - data.size());
    flush(connection);
  }

  void take(Connection& connection, const ipc::Frame& frame) {
    const bool of_request = frame.type == ipc::FrameType::request || frame.type == ipc::FrameType::data;
    if (frame.type == ipc::FrameType::data && !frame.payload.empty() && !frame.ends_stream()) {
      ipc::append_window(connection.output, frame.stream, static_cast<std::uint32_t>(frame.payload.size()));
    }
    if (frame.type == ipc::FrameType::ping) {
      ipc::append_frame(connection.output, ipc::FrameType::pong, 0, 0, frame.payload);
    }
    if (!of_request || !frame.ends_stream()) return;
    ipc::append_frame(connection.output, ipc::FrameType::response, 0, frame.stream, head_);
    ipc::append_body(connection.output, frame.stream, body_, true);
  }

  void flush(Connection& connection) {
    const auto& out = connection.output;
    const auto sent = out.empty() ? 0 : ::send(connection.fd, out.data(), out.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return drop(connection);
    if (sent > 0) connection.output.erase(0, static_cast<std::size_t>(sent));
    const bool wants_write = !connection.output.empty();
    if (wants_write == connection.wants_write) return;
    connection.wants_write = wants_write;
    epoll_event event{.events = wants_write ? EPOLLIN | EPOLLOUT : EPOLLIN, .data = {.ptr = &connection}};
    ::epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.fd, &event);
  }

  void drop(Connection& connection) {
    const int fd = connection.fd;
    ::close(fd);
    connections_.erase(fd);
  }

  const int listener_;
  const int epoll_;
  const std::string body_;
  std::string head_;
  std::unordered_map<int, std::unique_ptr<Connection>> connections_;
  char buffer_[256 * 1024];
};

int listen_on(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return -1;
  std::memcpy(address.sun_path, path.data(), path.size());
  ::unlink(path.c_str());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd, 256) != 0) {
    return -1;
  }
  return fd;
}

}  // namespace

int main(int argc, char** argv) {
  std::string path, type = "application/json";
  std::size_t bytes = 4096;
  CLI::App app("Answers every request with the same octets over the frame protocol", "echo-broker");
  app.add_option("--listen", path, "Unix socket")->required();
  app.add_option("--bytes", bytes, "Octets of an answer")
      ->check(CLI::Range(std::size_t{0}, std::size_t{ipc::window_bytes}));
  app.add_option("--type", type, "Content-Type of an answer");
  CLI11_PARSE(app, argc, argv);
  const int listener = listen_on(path);
  if (listener < 0) {
    std::perror(path.c_str());
    return 1;
  }
  const auto broker = std::make_unique<EchoBroker>(listener, bytes, type);
  broker->run();
}
