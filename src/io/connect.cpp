// Opening connections: names to addresses, one address after the other, within one deadline.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <boost/asio/ip/tcp.hpp>

#include "io/socket.hpp"
#include "postern/io/event.hpp"

namespace postern::io {

namespace asio = boost::asio;

namespace {

using Addresses = std::vector<asio::ip::tcp::endpoint>;

// A dead peer is noticed after about 7 minutes of silence, at no cost to the process; what is written and
// not acknowledged, after one.
constexpr int keepalive_idle_s = 300, keepalive_interval_s = 30, keepalive_probes = 4;
constexpr unsigned unacknowledged_ms = 60'000;

void set_option(int fd, int level, int name, int value) {
  ::setsockopt(fd, level, name, &value, sizeof value);
}

void set_tcp_options(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, keepalive_idle_s);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, keepalive_interval_s);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, keepalive_probes);
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms, sizeof unacknowledged_ms);
}

// The resolver's order with the families alternating (RFC 8305, section 4).
Addresses alternate(const Addresses& sorted) {
  Addresses first, second, mixed;
  for (const auto& address : sorted) {
    (address.address().is_v6() == sorted.front().address().is_v6() ? first : second).push_back(address);
  }
  for (std::size_t i = 0; i < std::max(first.size(), second.size()); ++i) {
    if (i < first.size()) mixed.push_back(first[i]);
    if (i < second.size()) mixed.push_back(second[i]);
  }
  return mixed;
}

// getaddrinfo() runs in Asio's own thread and can't be interrupted: past the deadline its answer is
// dropped when it comes.
struct Resolving {
  explicit Resolving(Loop& loop) : resolver(loop.context().get_executor()), done(loop) {}
  asio::ip::basic_resolver<asio::ip::tcp, asio::io_context::executor_type> resolver;
  Event done;
  Addresses addresses;
  boost::system::error_code error;
};

Task<Result<Addresses>> resolve(Loop& loop, Endpoint endpoint, MonotonicTime deadline) {
  boost::system::error_code error;
  auto numeric = asio::ip::make_address(endpoint.host, error);
  if (!error) co_return Addresses{asio::ip::tcp::endpoint(numeric, endpoint.port)};

  auto resolving = std::make_shared<Resolving>(loop);
  resolving->resolver.async_resolve(
      endpoint.host, std::to_string(endpoint.port),
      [resolving](boost::system::error_code e, const asio::ip::tcp::resolver::results_type& results) {
        resolving->error = e;
        for (const auto& entry : results) resolving->addresses.push_back(entry.endpoint());
        resolving->done.set();
      });
  if (!co_await resolving->done.wait_until(deadline))
    co_return fail(Errc::timeout, "resolving " + endpoint.host);
  if (resolving->error || resolving->addresses.empty()) {
    co_return fail(Errc::resolve, endpoint.host + ": " + resolving->error.message());
  }
  co_return alternate(resolving->addresses);
}

Task<Result<std::shared_ptr<Socket>>> connect_one(Loop& loop, int fd, sockaddr_storage address,
                                                  socklen_t size, Duration timeout) {
  if (fd < 0) co_return fail(Errc::connect, std::generic_category().message(errno));
  auto socket = std::make_shared<Socket>(loop, fd);
  int result = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), size);
  if (result != 0 && errno != EINPROGRESS) {
    co_return fail(Errc::connect, std::generic_category().message(errno));
  }
  if (result != 0) {
    ScopedTimer timer(loop.timers(), timeout, [weak = std::weak_ptr(socket)] {
      if (auto s = weak.lock()) s->expire();
    });
    auto waited = co_await Socket::wait(socket, Socket::Want::write);
    if (!waited) co_return fail(std::move(waited.error()));
    int error = 0;
    socklen_t error_size = sizeof error;
    if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_size) != 0) error = errno;
    if (error != 0) co_return fail(Errc::connect, std::generic_category().message(error));
  }
  socket->note_peer();
  co_return socket;
}

}  // namespace

Task<Result<std::unique_ptr<ByteStream>>> connect_tcp(Loop& loop, Endpoint endpoint, Duration timeout) {
  const auto deadline = loop.clock().now() + timeout;
  auto addresses = co_await resolve(loop, endpoint, deadline);
  if (!addresses) co_return fail(std::move(addresses.error()));

  Error last(Errc::timeout);
  for (std::size_t i = 0; i < addresses->size(); ++i) {
    const auto left = deadline - loop.clock().now();
    if (left <= Duration::zero()) break;
    // An address that doesn't answer leaves time for those behind it.
    const auto share = left / static_cast<std::int64_t>(addresses->size() - i);
    const auto& to = (*addresses)[i];
    sockaddr_storage address{};
    std::memcpy(&address, to.data(), to.size());
    const int fd = ::socket(to.protocol().family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) set_tcp_options(fd);
    auto socket = co_await connect_one(loop, fd, address, static_cast<socklen_t>(to.size()), share);
    if (socket) co_return make_stream(std::move(*socket));
    last = std::move(socket.error());
    last.context = to.address().to_string() + ":" + std::to_string(endpoint.port) +
                   (last.context.empty() ? "" : ": " + last.context);
  }
  co_return fail(std::move(last));
}

Task<Result<std::unique_ptr<ByteStream>>> connect_unix(Loop& loop, std::string path, Duration timeout) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof name.sun_path) co_return fail(Errc::connect, path + ": bad path");
  std::memcpy(name.sun_path, path.data(), path.size());
  const auto deadline = loop.clock().now() + timeout;
  for (;;) {
    sockaddr_storage address{};
    std::memcpy(&address, &name, sizeof name);
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    auto socket = co_await connect_one(loop, fd, address, sizeof name, timeout);
    if (socket) co_return make_stream(std::move(*socket));
    // EAGAIN: the listener's queue is full; there is nothing to wait on but time.
    const bool full = socket.error().context == std::generic_category().message(EAGAIN);
    if (!full || loop.clock().now() >= deadline) {
      socket.error().context = path + ": " + socket.error().context;
      co_return fail(std::move(socket.error()));
    }
    co_await loop.sleep(std::chrono::milliseconds(10));
  }
}

}  // namespace postern::io
