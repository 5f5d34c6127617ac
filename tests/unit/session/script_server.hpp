// A TCP server whose every connection runs the test's script, in a thread: for dialogues that no IMAP
// server would hold.
#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace postern::test {

class ScriptServer {
 public:
  class Peer {
   public:
    explicit Peer(ScriptServer& s, int f) : server(s), fd(f) {}
    void send(std::string_view text) { ::send(fd, text.data(), text.size(), MSG_NOSIGNAL); }
    // The next line without CRLF; empty at the end.
    std::string line() {
      std::string got;
      char c;
      while (::recv(fd, &c, 1, 0) == 1) {
        {
          const std::lock_guard lock(server.mutex_);
          server.received_ += c;
        }
        if (c == '\n') {
          if (got.ends_with('\r')) got.pop_back();
          return got;
        }
        got += c;
      }
      return {};
    }
    std::string tag_of_line() {
      const auto text = line();
      return text.substr(0, text.find(' '));
    }
    // Until the client closes.
    void wait_for_end() {
      while (!line().empty()) {
      }
    }

   private:
    ScriptServer& server;
    int fd;
  };

  explicit ScriptServer(std::function<void(Peer&)> script) : script_(std::move(script)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address);
    socklen_t size = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
    ::listen(listener_, 8);
    thread_ = std::thread([this] { serve(); });
  }
  ~ScriptServer() {
    stop_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    if (const int fd = connection_; fd >= 0) ::shutdown(fd, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  // Everything clients have sent.
  std::string received() {
    const std::lock_guard lock(mutex_);
    return received_;
  }

  std::uint16_t port = 0;
  std::atomic<int> connections = 0;

 private:
  void serve() {
    while (!stop_) {
      const int fd = ::accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      connection_ = fd;
      ++connections;
      Peer peer(*this, fd);
      if (!stop_) script_(peer);
      connection_ = -1;
      ::close(fd);
    }
  }

  std::function<void(Peer&)> script_;
  int listener_ = -1;
  std::atomic<int> connection_ = -1;
  std::atomic<bool> stop_ = false;
  std::mutex mutex_;
  std::string received_;
  std::thread thread_;
};

}  // namespace postern::test
