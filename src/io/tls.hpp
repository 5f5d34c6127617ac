// The client's side of OpenSSL: one SSL_CTX, its verification, pins and sessions for resumption.
//
// Shared (shared_ptr) by every connection made with it; one thread.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "postern/base/crypto.hpp"
#include "postern/io/stream.hpp"

namespace postern::io {

struct SslFree {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};
using SslPtr = std::unique_ptr<SSL, SslFree>;

class TlsContextImpl final : public TlsContext {
 public:
  ~TlsContextImpl() override;
  Result<> init(const TlsOptions& options);

  // A client connection on `fd`, which stays the caller's, ready for SSL_connect().
  Result<SslPtr> new_connection(int fd, const std::string& host);
  // Why SSL_connect() failed; empties OpenSSL's queue of errors.
  Error handshake_error(SSL* ssl) const;
  std::size_t sessions() const { return sessions_.size(); }

 private:
  struct CtxFree {
    void operator()(SSL_CTX* ctx) const { SSL_CTX_free(ctx); }
  };
  struct MethodFree {
    void operator()(BIO_METHOD* method) const { BIO_meth_free(method); }
  };
  struct SessionFree {
    void operator()(SSL_SESSION* session) const { SSL_SESSION_free(session); }
  };
  struct KeptSession {
    std::uint64_t host_hash = 0;  // a session says nothing about another host
    std::unique_ptr<SSL_SESSION, SessionFree> session;
  };

  Result<> add_pins(const std::vector<std::string>& pins);
  bool pinned(X509* certificate) const;
  bool verify(X509_STORE_CTX* store);
  void keep(SSL* ssl, SSL_SESSION* session);
  void offer_session(SSL* ssl, std::uint64_t host_hash);
  static int on_verify(X509_STORE_CTX* store, void* self);
  static int on_new_session(SSL* ssl, SSL_SESSION* session);

  std::unique_ptr<BIO_METHOD, MethodFree> socket_method_;
  std::unique_ptr<SSL_CTX, CtxFree> ctx_;
  bool verify_ = true;
  std::vector<Digest> pins_;
  std::vector<KeptSession> sessions_;  // the newest last
};

// The oldest of OpenSSL's queued errors as text; empties the queue.
std::string take_openssl_error();

}  // namespace postern::io
