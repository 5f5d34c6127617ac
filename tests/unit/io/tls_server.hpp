// A blocking TLS server in a thread of its own that echoes what it reads, for the client's tests.
#pragma once

#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "support/test_ca.hpp"

namespace postern::test {

class TlsEchoServer {
 public:
  explicit TlsEchoServer(const Identity& identity, int max_version = 0) {
    ctx_ = SSL_CTX_new(TLS_server_method());
    if (max_version != 0) SSL_CTX_set_max_proto_version(ctx_, max_version);
    BIO* bio =
        BIO_new_mem_buf(identity.certificate_pem.data(), static_cast<int>(identity.certificate_pem.size()));
    X509* x509 = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
    BIO_free(bio);
    bio = BIO_new_mem_buf(identity.key_pem.data(), static_cast<int>(identity.key_pem.size()));
    EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
    BIO_free(bio);
    SSL_CTX_use_certificate(ctx_, x509);
    SSL_CTX_use_PrivateKey(ctx_, key);
    X509_free(x509);
    EVP_PKEY_free(key);
    SSL_CTX_set_session_id_context(ctx_, reinterpret_cast<const unsigned char*>("t"), 1);

    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address);
    socklen_t size = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
    ::listen(listener_, 8);
    thread_ = std::thread([this] {
      sigset_t pipe;
      sigemptyset(&pipe);
      sigaddset(&pipe, SIGPIPE);
      pthread_sigmask(SIG_BLOCK, &pipe, nullptr);  // SSL_set_fd() writes with write(2)
      serve();
    });
  }
  ~TlsEchoServer() {
    stop_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    if (const int fd = connection_; fd >= 0) ::shutdown(fd, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
    SSL_CTX_free(ctx_);
  }

  std::uint16_t port = 0;
  std::atomic<int> handshakes = 0, resumed = 0;
  std::atomic<bool> silent = false;  // accepts and says nothing

 private:
  void serve() {
    while (!stop_) {
      const int fd = ::accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      connection_ = fd;
      if (!stop_) talk(fd);
      connection_ = -1;
      ::close(fd);
    }
  }
  void talk(int fd) {
    if (silent) {
      char c;
      while (::recv(fd, &c, 1, 0) > 0) {
      }
      return;
    }
    SSL* ssl = SSL_new(ctx_);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1) {
      if (SSL_session_reused(ssl) == 1) ++resumed;
      ++handshakes;
      std::array<char, 20000> buffer{};
      for (;;) {
        const int got = SSL_read(ssl, buffer.data(), buffer.size());
        if (got <= 0 || SSL_write(ssl, buffer.data(), got) <= 0) break;
      }
    }
    SSL_free(ssl);
  }

  SSL_CTX* ctx_ = nullptr;
  int listener_ = -1;
  std::atomic<int> connection_ = -1;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace postern::test
