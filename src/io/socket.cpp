// Non-blocking reads, writes and TLS handshakes on one descriptor, each tried at once and only then waited for.
// A time-out is the loop's timer, which ends the wait; close() ends whatever is pending.
#include "io/socket.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <openssl/err.h>

#include <cerrno>
#include <cstring>
#include <functional>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include "postern/io/readable.hpp"

namespace postern::io {

namespace asio = boost::asio;

namespace {

std::string error_text(int code) { return std::generic_category().message(code); }

std::string address_text(const sockaddr_storage& address, std::uint16_t& port, bool& loopback) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address.ss_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &address, sizeof v4);
    port = ntohs(v4.sin_port);
    loopback = (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
    ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
  } else if (address.ss_family == AF_INET6) {
    sockaddr_in6 v6;
    std::memcpy(&v6, &address, sizeof v6);
    port = ntohs(v6.sin6_port);
    loopback = IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr) ||
               (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr) && v6.sin6_addr.s6_addr[12] == 127);
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
  }
  return text;
}

class SocketStream final : public ByteStream {
 public:
  explicit SocketStream(std::shared_ptr<Socket> s) : socket(std::move(s)) {}
  ~SocketStream() override {
    if (socket) socket->close();
  }
  Task<Result<std::size_t>> read_some(std::span<char> buffer) override {
    return Socket::read_some(socket, buffer);
  }
  Task<Result<>> write_all(std::string_view data) override { return Socket::write_all(socket, data); }
  Result<std::size_t> write_now(std::string_view data) override {
    auto progress = socket->write_now(data);
    if (!progress) return fail(std::move(progress.error()));
    return progress->done;
  }
  void close() override { socket->close(); }
  bool is_tls() const override { return socket->is_tls(); }
  bool tls_resumed() const override { return socket->tls_resumed(); }
  std::string peer() const override { return socket->peer(); }
  std::string peer_address() const override {
    const auto& peer = socket->peer();
    const auto colon = peer.rfind(':');
    if (colon == std::string::npos) return {};
    if (peer.front() == '[') return peer.substr(1, colon - 2);
    return peer.substr(0, colon);
  }

  std::shared_ptr<Socket> socket;
};

}  // namespace

std::unique_ptr<ByteStream> make_stream(std::shared_ptr<Socket> socket) {
  return std::make_unique<SocketStream>(std::move(socket));
}

std::unique_ptr<ByteStream> adopt_socket(Loop& loop, int fd) {
  auto socket = std::make_shared<Socket>(loop, fd);
  socket->note_peer();
  return make_stream(std::move(socket));
}

bool is_loopback(const ByteStream& stream) {
  const auto* ours = dynamic_cast<const SocketStream*>(&stream);
  return ours != nullptr && ours->socket->loopback();
}

Result<int> release_socket(std::unique_ptr<ByteStream> stream) {
  const auto* ours = dynamic_cast<const SocketStream*>(stream.get());
  if (ours == nullptr || ours->socket->is_tls() || ours->socket->closed())
    return fail(Errc::io, "not a plain socket of this layer");
  const int fd = ::fcntl(ours->socket->fd(), F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return fail(Errc::io, error_text(errno));
  return fd;
}

Result<std::size_t> read_now(ByteStream& stream, std::span<char> buffer) {
  auto* ours = dynamic_cast<SocketStream*>(&stream);
  if (ours == nullptr) return fail(Errc::io, "not a socket of this layer");
  auto progress = ours->socket->read_now(buffer);
  if (!progress) return fail(std::move(progress.error()));
  return progress->done;
}

void when_readable(ByteStream& stream, std::function<void()> callback) {
  if (auto* ours = dynamic_cast<SocketStream*>(&stream))
    Socket::when_readable(ours->socket, std::move(callback));
}

Task<Result<std::unique_ptr<ByteStream>>> start_tls(Loop&, std::unique_ptr<ByteStream> plain,
                                                    std::shared_ptr<TlsContext> tls, std::string host,
                                                    Duration timeout) {
  auto* ours = dynamic_cast<SocketStream*>(plain.get());
  auto context = std::dynamic_pointer_cast<TlsContextImpl>(tls);
  if (ours == nullptr || !context) co_return fail(Errc::tls, "not a socket of this layer");
  auto done = co_await Socket::handshake(ours->socket, std::move(context), std::move(host), timeout);
  if (!done) {
    ours->socket->close();
    co_return fail(std::move(done.error()));
  }
  co_return plain;
}

Socket::Socket(Loop& loop, int fd) : loop_(loop), descriptor_(loop.context().get_executor(), fd) {
  boost::system::error_code ignored;
  descriptor_.non_blocking(true, ignored);
}

Socket::~Socket() { close(); }

void Socket::note_peer() {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getpeername(fd(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return;
  if (address.ss_family == AF_UNIX) {
    peer_ = "unix";
    loopback_ = true;
    return;
  }
  std::uint16_t port = 0;
  auto text = address_text(address, port, loopback_);
  peer_ = (address.ss_family == AF_INET6 ? "[" + text + "]" : text) + ":" + std::to_string(port);
  peer_.shrink_to_fit();
}

void Socket::close() {
  if (closed_) return;
  closed_ = true;
  if (ssl_) {
    was_tls_ = true;
    ERR_clear_error();
    // One close_notify, if it fits; SSL_free() would otherwise mark a kept session as not resumable.
    if (!tls_broken_ && SSL_is_init_finished(ssl_.get()) == 1) SSL_shutdown(ssl_.get());
    SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    ssl_.reset();
    ERR_clear_error();
  }
  boost::system::error_code ignored;
  descriptor_.close(ignored);
}

void Socket::expire() {
  expired_ = true;
  boost::system::error_code ignored;
  if (!closed_) descriptor_.cancel(ignored);
}

Task<Result<>> Socket::wait(std::shared_ptr<Socket> self, Want want) {
  if (self->expired_) co_return fail(Errc::timeout);
  const auto type = want == Want::write ? Descriptor::wait_write : Descriptor::wait_read;
  auto [error] = co_await self->descriptor_.async_wait(type, asio::as_tuple(asio::deferred));
  if (self->closed_) co_return fail(Errc::closed);
  if (self->expired_) co_return fail(Errc::timeout);
  if (error) co_return fail(Errc::io, error.message());
  co_return Result<>();
}

// What OpenSSL's answer to a read or write means. The queue of errors is empty afterwards.
Result<Socket::Progress> Socket::tls_outcome(int result) {
  const int saved_errno = errno;
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ: return Progress{0, Want::read};
    case SSL_ERROR_WANT_WRITE: return Progress{0, Want::write};
    case SSL_ERROR_ZERO_RETURN: return fail(Errc::closed);
    case SSL_ERROR_SYSCALL: {
      tls_broken_ = true;
      ERR_clear_error();
      return fail(Errc::closed, saved_errno != 0 ? error_text(saved_errno) : "without close_notify");
    }
    default: break;
  }
  tls_broken_ = true;
  const auto code = ERR_peek_error();
  auto reason = take_openssl_error();
  if (ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
    return fail(Errc::closed, "without close_notify");
  return fail(Errc::tls, reason);
}

// Reads record after record until the buffer is full or the socket is empty, so that a burst costs one
// turn of the loop, and OpenSSL lets its read buffer go.
Result<Socket::Progress> Socket::tls_read(std::span<char> buffer) {
  std::size_t done = 0;
  while (done < buffer.size()) {
    ERR_clear_error();
    errno = 0;
    std::size_t got = 0;
    const int result = SSL_read_ex(ssl_.get(), buffer.data() + done, buffer.size() - done, &got);
    if (result == 1) {
      done += got;
      continue;
    }
    auto outcome = tls_outcome(result);
    if (done > 0) {
      perhaps_readable_ = !outcome;  // an end or error comes again at the next call
      return Progress{done, Want::nothing};
    }
    return outcome;
  }
  perhaps_readable_ = true;
  return Progress{done, Want::nothing};
}

Result<Socket::Progress> Socket::read_now(std::span<char> buffer) {
  if (closed_) return fail(Errc::closed);
  if (buffer.empty()) return fail(Errc::io, "no buffer to read into");
  read_want_ = Want::read;
  if (ssl_) {
    auto progress = tls_read(buffer);
    if (progress && progress->done == 0) {
      perhaps_readable_ = false;
      read_want_ = progress->want;
    }
    return progress;
  }
  for (;;) {
    const auto got = ::recv(fd(), buffer.data(), buffer.size(), 0);
    if (got > 0) {
      perhaps_readable_ = static_cast<std::size_t>(got) == buffer.size();
      return Progress{static_cast<std::size_t>(got), Want::nothing};
    }
    if (got == 0) return fail(Errc::closed);
    if (errno == EINTR) continue;
    if (errno == EAGAIN) {
      perhaps_readable_ = false;
      return Progress{0, Want::read};
    }
    if (errno == ECONNRESET || errno == EPIPE || errno == ETIMEDOUT || errno == ENOTCONN) {
      return fail(Errc::closed, error_text(errno));
    }
    return fail(Errc::io, error_text(errno));
  }
}

Result<Socket::Progress> Socket::write_now(std::string_view data) {
  if (closed_) return fail(Errc::closed);
  std::size_t done = 0;
  while (done < data.size()) {
    if (ssl_) {
      ERR_clear_error();
      errno = 0;
      std::size_t written = 0;
      const int result = SSL_write_ex(ssl_.get(), data.data() + done, data.size() - done, &written);
      if (result == 1) {
        done += written;
        continue;
      }
      auto outcome = tls_outcome(result);
      if (!outcome) return outcome;
      return Progress{done, outcome->want};
    }
    const auto written = ::send(fd(), data.data() + done, data.size() - done, MSG_NOSIGNAL);
    if (written >= 0) {
      done += static_cast<std::size_t>(written);
    } else if (errno == EAGAIN) {
      return Progress{done, Want::write};
    } else if (errno == ECONNRESET || errno == EPIPE || errno == ETIMEDOUT) {
      return fail(Errc::closed, error_text(errno));
    } else if (errno != EINTR) {
      return fail(Errc::io, error_text(errno));
    }
  }
  return Progress{done, Want::nothing};
}

Task<Result<std::size_t>> Socket::read_some(std::shared_ptr<Socket> self, std::span<char> buffer) {
  Want want = Want::read;
  if (self->perhaps_readable_ && !self->closed_) want = Want::nothing;
  for (;;) {
    if (want != Want::nothing) {
      if (self->closed_) co_return fail(Errc::closed);
      auto waited = co_await wait(self, want);
      if (!waited) co_return fail(std::move(waited.error()));
    }
    auto progress = self->read_now(buffer);
    if (!progress) co_return fail(std::move(progress.error()));
    if (progress->done > 0) co_return progress->done;
    want = progress->want;
  }
}

void Socket::when_readable(std::shared_ptr<Socket> self, std::function<void()> callback) {
  if (self->closed_ || self->perhaps_readable_) return self->loop_.post(std::move(callback));
  auto& descriptor = self->descriptor_;
  const auto type = self->read_want_ == Want::write ? Descriptor::wait_write : Descriptor::wait_read;
  // Whatever the outcome: read_now() tells what is wrong.
  descriptor.async_wait(type,
                        [self, callback = std::move(callback)](boost::system::error_code) { callback(); });
}

Task<Result<>> Socket::write_all(std::shared_ptr<Socket> self, std::string_view data) {
  for (;;) {
    auto progress = self->write_now(data);
    if (!progress) co_return fail(std::move(progress.error()));
    data.remove_prefix(progress->done);
    if (data.empty()) co_return Result<>();
    auto waited = co_await wait(self, progress->want);
    if (!waited) co_return fail(std::move(waited.error()));
  }
}

Task<Result<>> Socket::handshake(std::shared_ptr<Socket> self, std::shared_ptr<TlsContextImpl> tls,
                                 std::string host, Duration timeout) {
  if (self->closed_) co_return fail(Errc::closed);
  auto ssl = tls->new_connection(self->fd(), host);
  if (!ssl) co_return fail(std::move(ssl.error()));
  self->tls_ = std::move(tls);
  self->ssl_ = std::move(*ssl);
  self->expired_ = false;
  self->perhaps_readable_ = true;
  ScopedTimer timer(self->loop_.timers(), timeout, [weak = self->weak_from_this()] {
    if (auto socket = weak.lock()) socket->expire();
  });
  for (;;) {
    ERR_clear_error();
    errno = 0;
    const int result = SSL_connect(self->ssl_.get());
    if (result == 1) break;
    const int kind = SSL_get_error(self->ssl_.get(), result);
    if (kind != SSL_ERROR_WANT_READ && kind != SSL_ERROR_WANT_WRITE) {
      self->tls_broken_ = true;
      co_return fail(self->tls_->handshake_error(self->ssl_.get()));
    }
    auto waited = co_await wait(self, kind == SSL_ERROR_WANT_WRITE ? Want::write : Want::read);
    if (!waited) co_return fail(std::move(waited.error()));
  }
  self->resumed_ = SSL_session_reused(self->ssl_.get()) == 1;
  co_return Result<>();
}

}  // namespace postern::io
