// OpenSSL's side of a connection: contexts, verification by CA, name and pin, and sessions to resume
// (tls_sessions_max, the oldest goes). No private keys are here: Postern is a client only.
#include "io/tls.hpp"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cerrno>

#include "postern/base/encoding.hpp"

namespace postern::io {

namespace {

// OpenSSL's own socket BIO writes with write(2), which raises SIGPIPE; this one doesn't.
int fd_of(BIO* bio) { return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio))); }

int bio_write(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  const auto sent = ::send(fd_of(bio), data, static_cast<std::size_t>(size), MSG_NOSIGNAL);
  if (sent < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
  return static_cast<int>(sent);
}

int bio_read(BIO* bio, char* data, int size) {
  BIO_clear_retry_flags(bio);
  const auto got = ::recv(fd_of(bio), data, static_cast<std::size_t>(size), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
  return static_cast<int>(got);
}

long bio_control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

bool is_ip_address(const std::string& host) {
  unsigned char address[16];
  return ::inet_pton(AF_INET, host.c_str(), address) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), address) == 1;
}

void* to_app_data(std::uint64_t value) { return reinterpret_cast<void*>(static_cast<std::uintptr_t>(value)); }

}  // namespace

std::string take_openssl_error() {
  const auto code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return {};
  const char* reason = ERR_reason_error_string(code);
  if (reason != nullptr) return reason;
  char text[256];
  ERR_error_string_n(code, text, sizeof text);
  return text;
}

Result<std::shared_ptr<TlsContext>> TlsContext::make(const TlsOptions& options) {
  auto context = std::make_shared<TlsContextImpl>();
  if (auto made = context->init(options); !made) return fail(std::move(made.error()));
  return context;
}

TlsContextImpl::~TlsContextImpl() = default;

Result<> TlsContextImpl::init(const TlsOptions& options) {
  ERR_clear_error();
  socket_method_.reset(BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_TYPE_DESCRIPTOR | 0x7f, "postern socket"));
  ctx_.reset(SSL_CTX_new(TLS_client_method()));
  if (!socket_method_ || !ctx_) return fail(Errc::tls, take_openssl_error());
  BIO_meth_set_write(socket_method_.get(), bio_write);
  BIO_meth_set_read(socket_method_.get(), bio_read);
  BIO_meth_set_ctrl(socket_method_.get(), bio_control);

  auto* ctx = ctx_.get();
  verify_ = options.verify;
  int version = 0;
  if (options.min_version == "1.2") {
    version = TLS1_2_VERSION;
  } else if (options.min_version == "1.3") {
    version = TLS1_3_VERSION;
  } else {
    return fail(Errc::tls, "min_version is \"1.2\" or \"1.3\", not \"" + options.min_version + "\"");
  }
  SSL_CTX_set_min_proto_version(ctx, version);
  SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(
      ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  const bool loaded = options.ca_file.empty() ? SSL_CTX_set_default_verify_paths(ctx) == 1
                                              : SSL_CTX_load_verify_file(ctx, options.ca_file.c_str()) == 1;
  if (!loaded && options.verify) {
    auto reason = take_openssl_error();
    return fail(Errc::tls, (options.ca_file.empty() ? "the system's certificates" : options.ca_file) + ": " +
                               (reason.empty() ? "can't be read" : reason));
  }
  if (auto added = add_pins(options.pins_sha256); !added) return added;
  SSL_CTX_set_verify(ctx, verify_ || !pins_.empty() ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  SSL_CTX_set_cert_verify_callback(ctx, on_verify, this);
  // Sessions are kept here and not in OpenSSL's own cache, which a client never looks into.
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(ctx, on_new_session);
  SSL_CTX_set_app_data(ctx, this);
  ERR_clear_error();
  return {};
}

Result<> TlsContextImpl::add_pins(const std::vector<std::string>& pins) {
  for (const auto& pin : pins) {
    auto bytes = base64_decode(pin);
    Digest digest{};
    if (!bytes || bytes->size() != digest.size()) {
      return fail(Errc::tls, "a pin is the base64 of 32 octets: \"" + pin + "\"");
    }
    std::copy(bytes->begin(), bytes->end(), digest.begin());
    pins_.push_back(digest);
  }
  return {};
}

bool TlsContextImpl::pinned(X509* certificate) const {
  unsigned char* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  if (size <= 0) return false;
  const auto digest = sha256({reinterpret_cast<const char*>(der), static_cast<std::size_t>(size)});
  OPENSSL_free(der);
  return std::find(pins_.begin(), pins_.end(), digest) != pins_.end();
}

// Runs inside the handshake, so that a session is made (and kept) only with a server that passed.
bool TlsContextImpl::verify(X509_STORE_CTX* store) {
  if (verify_ && X509_verify_cert(store) <= 0) return false;
  if (pins_.empty()) return true;
  if (pinned(X509_STORE_CTX_get0_cert(store))) return true;
  if (verify_) {
    auto* chain = X509_STORE_CTX_get0_chain(store);
    for (int i = 0; i < sk_X509_num(chain); ++i) {
      if (pinned(sk_X509_value(chain, i))) return true;
    }
  }
  X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
  return false;
}

int TlsContextImpl::on_verify(X509_STORE_CTX* store, void* self) {
  return static_cast<TlsContextImpl*>(self)->verify(store) ? 1 : 0;
}

int TlsContextImpl::on_new_session(SSL* ssl, SSL_SESSION* session) {
  static_cast<TlsContextImpl*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)))->keep(ssl, session);
  return 1;  // keep() owns the reference now
}

void TlsContextImpl::keep(SSL* ssl, SSL_SESSION* session) {
  KeptSession kept;
  kept.host_hash = reinterpret_cast<std::uintptr_t>(SSL_get_app_data(ssl));
  kept.session.reset(session);
  if (SSL_SESSION_is_resumable(session) == 0) return;
  if (sessions_.size() >= tls_sessions_max) sessions_.erase(sessions_.begin());
  sessions_.push_back(std::move(kept));
}

// The newest session for the host. It is used again and again (a TLS 1.3 ticket, too, where RFC 8446,
// appendix C.4, prefers once: that is about being recognised across networks, and a server's client has
// one address); a server that takes a ticket only once falls back to a full handshake.
void TlsContextImpl::offer_session(SSL* ssl, std::uint64_t host_hash) {
  const auto newest = std::find_if(sessions_.rbegin(), sessions_.rend(), [host_hash](const auto& known) {
    return known.host_hash == host_hash && SSL_SESSION_is_resumable(known.session.get()) != 0;
  });
  if (newest != sessions_.rend()) SSL_set_session(ssl, newest->session.get());
}

Result<SslPtr> TlsContextImpl::new_connection(int fd, const std::string& host) {
  ERR_clear_error();
  SslPtr ssl(SSL_new(ctx_.get()));
  BIO* bio = ssl ? BIO_new(socket_method_.get()) : nullptr;
  if (bio == nullptr) return fail(Errc::tls, take_openssl_error());
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(fd)));
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl.get(), bio, bio);

  bool named = true;
  if (is_ip_address(host)) {
    named = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), host.c_str()) == 1;
  } else {
    SSL_set_hostflags(ssl.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    named =
        SSL_set1_host(ssl.get(), host.c_str()) == 1 && SSL_set_tlsext_host_name(ssl.get(), host.c_str()) == 1;
  }
  // An empty name would switch the check off.
  if (!named || host.empty()) return fail(Errc::tls, "not a host name: \"" + host + "\"");
  const auto hash = stable_hash64(ascii_lower(host));
  SSL_set_app_data(ssl.get(), to_app_data(hash));
  offer_session(ssl.get(), hash);
  return ssl;
}

Error TlsContextImpl::handshake_error(SSL* ssl) const {
  const auto verified = SSL_get_verify_result(ssl);
  auto reason = take_openssl_error();
  if (verify_ || !pins_.empty()) {
    switch (verified) {
      case X509_V_OK: break;
      case X509_V_ERR_APPLICATION_VERIFICATION: return Error(Errc::pin_mismatch);
      case X509_V_ERR_HOSTNAME_MISMATCH:
      case X509_V_ERR_IP_ADDRESS_MISMATCH: return Error(Errc::certificate_name);
      default: return Error(Errc::certificate_invalid, X509_verify_cert_error_string(verified));
    }
  }
  return Error(Errc::tls, reason.empty() ? "the connection ended in the handshake" : reason);
}

}  // namespace postern::io
