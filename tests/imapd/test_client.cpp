// The blocking client of the tests; see test_client.hpp.
#include "test_client.hpp"

#include <array>
#include <stdexcept>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "text.hpp"

namespace postern::testimapd {

TestClient::TestClient(std::uint16_t port, bool tls, bool read_greeting) {
  socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw std::runtime_error("can't connect");
  int on = 1;
  ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  timeval timeout{read_timeout_s, 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  if (tls && !start_tls()) throw std::runtime_error("no TLS");
  if (read_greeting) greeting_ = line();
}

TestClient::~TestClient() {
  SSL_free(ssl_);
  SSL_CTX_free(context_);
  ::close(socket_);
}

bool TestClient::start_tls() {
  context_ = SSL_CTX_new(TLS_client_method());
  ssl_ = SSL_new(context_);
  SSL_set_fd(ssl_, socket_);
  return SSL_connect(ssl_) == 1;
}

void TestClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    auto sent = ssl_ != nullptr ? SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()))
                                : ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

bool TestClient::more() {
  std::array<char, 16384> buffer{};
  auto got = ssl_ != nullptr ? SSL_read(ssl_, buffer.data(), buffer.size())
                             : ::recv(socket_, buffer.data(), buffer.size(), 0);
  if (got <= 0) {
    eof_ = true;
    return false;
  }
  input_.append(buffer.data(), static_cast<std::size_t>(got));
  return true;
}

std::string TestClient::line() {
  std::string out;
  for (;;) {
    auto end = input_.find("\r\n");
    if (end == std::string::npos) {
      if (!more()) return {};
      continue;
    }
    out += input_.substr(0, end);
    input_.erase(0, end + 2);
    auto open = out.rfind('{');
    auto size = out.ends_with('}') && open != std::string::npos
                    ? to_number(std::string_view(out).substr(open + 1, out.size() - open - 2))
                    : std::nullopt;
    if (!size) return out;
    while (input_.size() < *size)
      if (!more()) return {};
    out += "\r\n" + input_.substr(0, *size);
    input_.erase(0, *size);
  }
}

std::string TestClient::until(std::string_view part) {
  for (;;) {
    auto next = line();
    if (next.contains(part) || eof_) return next;
  }
}

std::string TestClient::rest() {
  while (more()) {
  }
  return std::exchange(input_, {});
}

bool TestClient::silent(int milliseconds) {
  pollfd poll_for{socket_, POLLIN, 0};
  return input_.empty() && ::poll(&poll_for, 1, milliseconds) == 0;
}

std::vector<std::string> TestClient::run(std::string_view command) {
  std::string tag = "T" + std::to_string(next_tag_++);
  send(tag + " " + std::string(command) + "\r\n");
  std::vector<std::string> out;
  for (;;) {
    auto next = line();
    if (next.starts_with(tag + " ")) {
      out.push_back(next.substr(tag.size() + 1));
      return out;
    }
    if (eof_) {
      out.emplace_back();
      return out;
    }
    out.push_back(next);
  }
}

std::string TestClient::all(std::string_view command) {
  std::string out;
  for (const std::string& part : run(command)) out += part + "\n";
  return out;
}

}  // namespace postern::testimapd
