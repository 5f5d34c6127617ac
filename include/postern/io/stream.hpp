// A byte stream over TCP, TLS or a Unix socket, as the drivers see it.
//
// OpenSSL is driven on the non-blocking socket itself (SSL_read, SSL_write, SSL_MODE_RELEASE_BUFFERS, one
// shared SSL_CTX), so that an idle TLS connection costs what OpenSSL needs and nothing of ours. One loop;
// at most one reader and one writer at a time. A stream may be closed or destroyed at any time, also while
// operations on it are pending and from inside a handler: they end with Errc::closed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "postern/base/error.hpp"
#include "postern/io/loop.hpp"
#include "postern/io/task.hpp"

namespace postern::io {

enum class Errc {
  resolve = 1,
  connect,
  timeout,
  closed,
  tls,
  certificate_invalid,
  certificate_name,
  pin_mismatch,
  plaintext_refused,
  io
};
const std::error_category& io_category();
inline std::error_code make_error_code(Errc e) { return {static_cast<int>(e), io_category()}; }

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // Waits until something can be read, then reads into `buffer` — which is touched only then, and without
  // a suspension between that and the caller's resumption (so the loop's scratch buffer will do).
  // 0 octets never come: the end of the stream is Errc::closed.
  virtual Task<Result<std::size_t>> read_some(std::span<char> buffer) = 0;
  // Writes everything. `data` stays valid until this ends; after close() it is not touched any more.
  virtual Task<Result<>> write_all(std::string_view data) = 0;
  // Writes what can be written without waiting, perhaps nothing; returns how much that was. What is left
  // goes through write_all(), and nothing else before it.
  virtual Result<std::size_t> write_now(std::string_view data) = 0;
  // Pending operations end with Errc::closed; idempotent. Over TLS, close_notify is sent if it fits.
  virtual void close() = 0;
  virtual bool is_tls() const = 0;
  virtual bool tls_resumed() const { return false; }  // by a session of an earlier connection
  virtual std::string peer() const = 0;  // "192.0.2.1:993", "[2001:db8::1]:993", "unix"; for logs
  // Address without the port ("127.0.0.1"), empty for a Unix socket.
  virtual std::string peer_address() const { return {}; }
};

struct TlsOptions {
  std::string ca_file;  // empty: the system's
  // base64 of SHA-256 of a SubjectPublicKeyInfo (RFC 7469, 2.4). Any one of them, in the server's own
  // certificate or, with `verify`, in the chain that was verified. Without `verify` a pin is all that
  // says who the server is: right for a self-signed certificate.
  std::vector<std::string> pins_sha256;
  bool verify = true;
  std::string min_version = "1.2";  // or "1.3"
};

// Sessions kept for resumption, the oldest go first.
inline constexpr std::size_t tls_sessions_max = 8;

// Shared by all connections to one server of one loop; holds sessions for resumption (tls_sessions_max).
class TlsContext {
 public:
  // Errc::tls: an unknown version, a CA file that can't be read, a pin that is no SHA-256.
  static Result<std::shared_ptr<TlsContext>> make(const TlsOptions& options);
  virtual ~TlsContext() = default;
};

struct Endpoint {
  std::string host;
  std::uint16_t port = 0;
};

// Resolves and connects (each address in turn, alternating families), TCP_NODELAY and keepalive set.
// resolve, connect (with the reason of the last attempt), timeout.
Task<Result<std::unique_ptr<ByteStream>>> connect_tcp(Loop& loop, Endpoint endpoint, Duration timeout);
Task<Result<std::unique_ptr<ByteStream>>> connect_unix(Loop& loop, std::string path, Duration timeout);
// Client handshake over `plain` with SNI and verification of `host` (a name or an IP address); takes over
// the socket. Octets that were already read in the clear must not exist: the caller checks that before
// STARTTLS. certificate_invalid (context: OpenSSL's reason), certificate_name, pin_mismatch, tls, timeout, closed.
Task<Result<std::unique_ptr<ByteStream>>> start_tls(Loop& loop, std::unique_ptr<ByteStream> plain,
                                                    std::shared_ptr<TlsContext> tls, std::string host,
                                                    Duration timeout);
// A Unix socket, or an address of the loopback network.
bool is_loopback(const ByteStream& stream);
// A stream on a connected socket, which it owns from now on (a test's socketpair).
std::unique_ptr<ByteStream> adopt_socket(Loop& loop, int fd);

// Accepts on a Unix socket. `peer` is SO_PEERCRED's user id.
class UnixListener {
 public:
  struct Accepted {
    std::unique_ptr<ByteStream> stream;
    std::uint32_t uid = 0, gid = 0, pid = 0;
  };
  // Makes the socket with `mode`, replacing a stale one (a path that is no socket, or that somebody
  // listens on, is refused). close() removes the path again, if it is still this socket.
  static Result<std::unique_ptr<UnixListener>> open(Loop& loop, std::string path, std::uint32_t mode);
  // Takes over a listening socket (an upgraded broker, systemd).
  static Result<std::unique_ptr<UnixListener>> adopt(Loop& loop, int fd);
  virtual ~UnixListener() = default;
  // Waits out a shortage of descriptors. Errc::closed after close().
  virtual Task<Result<Accepted>> accept() = 0;
  virtual int native_handle() const = 0;
  // Gives the socket away, so that neither close() nor the destructor removes its path (an upgrade).
  virtual void keep_path() = 0;
  virtual void close() = 0;
};

}  // namespace postern::io
template <>
struct std::is_error_code_enum<postern::io::Errc> : std::true_type {};
