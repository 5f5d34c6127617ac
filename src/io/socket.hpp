// A connected socket, plain or with TLS on top: what every ByteStream of this layer is made of.
//
// Shared by the stream and by the coroutines that wait on it, so that the stream may go away under them.
// One thread. Holds no buffers: what is read goes straight to the caller.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <boost/asio/posix/basic_stream_descriptor.hpp>

#include "io/tls.hpp"
#include "postern/io/scoped_timer.hpp"
#include "postern/io/stream.hpp"

namespace postern::io {

using Descriptor = boost::asio::posix::basic_stream_descriptor<boost::asio::io_context::executor_type>;

class Socket : public std::enable_shared_from_this<Socket> {
 public:
  // Takes over `fd`, which is non-blocking.
  Socket(Loop& loop, int fd);
  ~Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  // How far an operation came without waiting.
  enum class Want : std::uint8_t { nothing, read, write };
  struct Progress {
    std::size_t done = 0;
    Want want = Want::nothing;
  };
  Result<Progress> read_now(std::span<char> buffer);
  Result<Progress> write_now(std::string_view data);

  static Task<Result<std::size_t>> read_some(std::shared_ptr<Socket> self, std::span<char> buffer);
  static Task<Result<>> write_all(std::shared_ptr<Socket> self, std::string_view data);
  // Until `want` is possible, `deadline` passes (Errc::timeout) or the socket is closed.
  static Task<Result<>> wait(std::shared_ptr<Socket> self, Want want);
  static void when_readable(std::shared_ptr<Socket> self, std::function<void()> callback);
  static Task<Result<>> handshake(std::shared_ptr<Socket> self, std::shared_ptr<TlsContextImpl> tls,
                                  std::string host, Duration timeout);

  // Makes waiting operations end with Errc::timeout.
  void expire();
  void close();
  bool closed() const { return closed_; }
  Loop& loop() { return loop_; }
  int fd() { return descriptor_.native_handle(); }
  bool is_tls() const { return ssl_ != nullptr || was_tls_; }
  bool tls_resumed() const { return resumed_; }
  const std::string& peer() const { return peer_; }
  // Reads the peer's name from the socket (once it is connected).
  void note_peer();
  bool loopback() const { return loopback_; }

 private:
  Result<Progress> tls_read(std::span<char> buffer);
  Result<Progress> tls_outcome(int result);

  Loop& loop_;
  Descriptor descriptor_;
  std::shared_ptr<TlsContextImpl> tls_;  // outlives ssl_: has its BIO_METHOD
  SslPtr ssl_;
  std::string peer_;
  bool closed_ = false, expired_ = false, was_tls_ = false, resumed_ = false, loopback_ = false;
  bool tls_broken_ = false;       // OpenSSL must not be asked for a close_notify
  Want read_want_ = Want::read;   // what the last read waits for
  bool perhaps_readable_ = true;  // false: the last read left nothing behind
};

std::unique_ptr<ByteStream> make_stream(std::shared_ptr<Socket> socket);

}  // namespace postern::io
