// A blocking https server in a thread of its own, which takes one request a connection and answers as it is told to.
#pragma once

#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "support/test_ca.hpp"

namespace postern::test {

class HttpsServer {
 public:
  explicit HttpsServer(const Identity& identity) {
    ctx_ = SSL_CTX_new(TLS_server_method());
    BIO* bio = BIO_new_mem_buf(identity.certificate_pem.data(), -1);
    X509* x509 = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
    BIO_free(bio);
    bio = BIO_new_mem_buf(identity.key_pem.data(), -1);
    EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
    BIO_free(bio);
    SSL_CTX_use_certificate(ctx_, x509);
    SSL_CTX_use_PrivateKey(ctx_, key);
    X509_free(x509);
    EVP_PKEY_free(key);
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address);
    socklen_t size = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
    ::listen(listener_, 16);
    thread_ = std::thread([this] {
      sigset_t pipe;
      sigemptyset(&pipe);
      sigaddset(&pipe, SIGPIPE);
      pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
      for (int fd = -1; (fd = ::accept(listener_, nullptr, nullptr)) >= 0;) {
        ++connections;
        serve(fd);
        ::close(fd);
      }
    });
  }
  ~HttpsServer() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
    SSL_CTX_free(ctx_);
  }
  HttpsServer(const HttpsServer&) = delete;
  HttpsServer& operator=(const HttpsServer&) = delete;

  void answer_with(std::string text) {
    const std::lock_guard lock(mutex_);
    answer_ = std::move(text);
  }
  std::vector<std::string> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  std::uint16_t port = 0;
  std::atomic<int> connections = 0;

 private:
  void serve(int fd) {
    SSL* ssl = SSL_new(ctx_);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1) {
      std::string got;
      char buffer[4096];
      while (!whole(got)) {
        const int size = SSL_read(ssl, buffer, sizeof buffer);
        if (size <= 0) break;
        got.append(buffer, static_cast<std::size_t>(size));
      }
      std::string answer;
      {
        const std::lock_guard lock(mutex_);
        if (!got.empty()) requests_.push_back(got);
        answer = answer_;
      }
      if (!answer.empty()) SSL_write(ssl, answer.data(), static_cast<int>(answer.size()));
      SSL_shutdown(ssl);
    }
    SSL_free(ssl);
  }
  static bool whole(const std::string& request) {
    const auto end = request.find("\r\n\r\n");
    const auto at = request.find("Content-Length: ");
    return end != std::string::npos && at != std::string::npos &&
           request.size() >= end + 4 + std::stoul(request.substr(at + 16));
  }

  SSL_CTX* ctx_ = nullptr;
  int listener_ = -1;
  std::mutex mutex_;
  std::string answer_ = "HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  std::vector<std::string> requests_;
  std::thread thread_;
};

}  // namespace postern::test
