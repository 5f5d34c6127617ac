// Sockets and TLS of the test server; see connection.hpp.
#include "connection.hpp"

#include <algorithm>
#include <array>

#include <openssl/err.h>

namespace postern::testimapd {

namespace {
constexpr std::size_t read_bytes = 16384;
constexpr std::size_t keep_capacity = 2048;  // an idle connection keeps no bigger buffer
constexpr std::uint64_t filler_chunk = 65536;
constexpr std::uint32_t linger_ms = 1000;
constexpr int reads_per_turn = 16;
}  // namespace

Connection::Connection(Server& server, boost::asio::ip::tcp::socket socket, std::uint64_t id,
                       bool implicit_tls)
    : server_(server),
      socket_(std::move(socket)),
      id_(id),
      implicit_tls_(implicit_tls),
      session_(server, *this) {}

Connection::~Connection() { SSL_free(ssl_); }

void Connection::start() {
  boost::system::error_code ignored;
  socket_.non_blocking(true, ignored);
  socket_.set_option(boost::asio::ip::tcp::no_delay(true), ignored);
  ++server_.total().connections_open;
  ++server_.total().connections_total;
  connect_rules_ = server_.take_rules("connect", "");
  for (const Rule& rule : connect_rules_) {
    if (rule.action == Action::refuse || rule.action == Action::drop) {
      abort();
      return;
    }
    if (rule.action == Action::delay) {
      wake_after(static_cast<std::uint32_t>(rule.value));
      return;
    }
  }
  if (implicit_tls_)
    begin_tls();
  else
    greet();
  server_.changed();
}

void Connection::greet() {
  greeted_ = true;
  bool usual = true;
  for (const Rule& rule : connect_rules_) {
    usual = usual && rule.action != Action::greeting && rule.action != Action::preauth &&
            rule.action != Action::silence && rule.action != Action::hang && rule.action != Action::bye;
    if (rule.action == Action::greeting)
      write(rule.text + "\r\n");
    else if (rule.action == Action::preauth)
      session_.greet(rule.text);
    else if (rule.action == Action::silence || rule.action == Action::hang)
      muted_ = true;
    else if (rule.action == Action::drop_at || rule.action == Action::hang_at)
      arm(rule.action, rule.value);
    if (rule.action == Action::bye) {
      write("* BYE " + rule.text + "\r\n");
      close_when_sent();
    }
  }
  std::vector<Rule>().swap(connect_rules_);
  if (usual) session_.greet("");
  wait_readable();
}

void Connection::begin_tls() {
  tls_next_ = false;
  ssl_ = SSL_new(server_.tls());
  if (ssl_ == nullptr || SSL_set_fd(ssl_, socket_.native_handle()) != 1) {
    close();
    return;
  }
  SSL_set_accept_state(ssl_);
  handshaking_ = true;
  handshake();
}

void Connection::handshake() {
  ERR_clear_error();
  int result = SSL_do_handshake(ssl_);
  if (result == 1) {
    handshaking_ = false;
    ++server_.total().tls_handshakes;
    if (SSL_session_reused(ssl_) == 1) ++server_.total().tls_resumed;
    if (!greeted_) greet();
    wait_readable();
    post_flush();
    return;
  }
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ: wait_readable(); break;
    case SSL_ERROR_WANT_WRITE: wait_writable(); break;
    default: close(); break;
  }
}

void Connection::abort() {
  muted_ = true;
  boost::asio::post(server_.context(), [self = shared_from_this()] {
    boost::system::error_code ignored;
    self->socket_.set_option(boost::asio::ip::tcp::socket::linger(true, 0), ignored);
    self->close();
  });
}

void Connection::close() {
  if (closed_) return;
  closed_ = true;
  session_.release();
  boost::system::error_code ignored;
  socket_.close(ignored);
  if (timer_) timer_->cancel();
  --server_.total().connections_open;
  server_.closed(*this);
}

// Our side is done. Reading goes on until the client's end, so that a reset can't overtake what was sent.
void Connection::linger() {
  lingering_ = true;
  if (ssl_ != nullptr && !muted_) {
    ERR_clear_error();
    SSL_shutdown(ssl_);
  }
  boost::system::error_code ignored;
  socket_.shutdown(boost::asio::ip::tcp::socket::shutdown_send, ignored);
  session_.release();
  wake_after(linger_ms);
  wait_readable();
}

void Connection::arm(Action fault, std::uint64_t bytes) {
  fault_ = fault;
  fault_bytes_ = bytes;
  fault_armed_ = true;
}

void Connection::trip() {
  fault_armed_ = false;
  muted_ = true;
  if (fault_ == Action::drop_at) closing_ = true;
}

bool Connection::shorten(std::uint64_t& count) {
  if (!fault_armed_ || (fault_ != Action::drop_at && fault_ != Action::hang_at)) return false;
  if (count <= fault_bytes_) {
    fault_bytes_ -= count;
    return false;
  }
  count = fault_bytes_;
  return true;
}

void Connection::put(std::string_view bytes) {
  if (filler_ > 0 || !after_filler_.empty())
    after_filler_ += bytes;
  else
    out_ += bytes;
  server_.total().bytes_out += bytes.size();
  if (session_.user() != nullptr) server_.of_user(session_.user()->name).bytes_out += bytes.size();
}

void Connection::write(std::string_view bytes) {
  if (muted_ || closed_) return;
  if (fault_armed_ && (fault_ == Action::drop_in_literal || fault_ == Action::hang_in_literal)) {
    // A literal is announced at the end of a line: its bytes count from there.
    for (auto end = bytes.find("}\r\n"); end != std::string_view::npos; end = bytes.find("}\r\n", end + 1)) {
      auto open = bytes.rfind('{', end);
      if (open == std::string_view::npos || !to_number(bytes.substr(open + 1, end - open - 1))) continue;
      put(bytes.substr(0, end + 3));
      bytes.remove_prefix(end + 3);
      fault_ = fault_ == Action::drop_in_literal ? Action::drop_at : Action::hang_at;
      break;
    }
  }
  std::uint64_t count = bytes.size();
  bool tripped = shorten(count);
  put(bytes.substr(0, count));
  if (tripped) trip();
  post_flush();
}

void Connection::fill(std::uint64_t count) {
  if (muted_ || closed_) return;
  bool tripped = shorten(count);
  filler_ += count;
  server_.total().bytes_out += count;
  if (tripped) trip();
  post_flush();
}

void Connection::close_when_sent() {
  closing_ = true;
  post_flush();
}

void Connection::start_tls_when_sent() {
  tls_next_ = true;
  post_flush();
}

void Connection::wake_after(std::uint32_t delay_ms) {
  if (!timer_) timer_ = std::make_unique<boost::asio::steady_timer>(server_.context());
  timer_->expires_after(std::chrono::milliseconds(delay_ms));
  timer_->async_wait([self = shared_from_this()](boost::system::error_code error) {
    if (error || self->closed_) return;
    if (self->lingering_)
      self->close();
    else if (!self->greeted_ && !self->handshaking_)
      self->implicit_tls_ ? self->begin_tls() : self->greet();
    else
      self->session_.on_timer();
  });
}

void Connection::post_flush() {
  if (flush_posted_ || closed_) return;
  flush_posted_ = true;
  boost::asio::post(server_.context(), [self = shared_from_this()] {
    self->flush_posted_ = false;
    self->flush();
  });
}

void Connection::flush() {
  while (!closed_ && !handshaking_ && !lingering_ && !waiting_write_) {
    if (out_sent_ == out_.size()) {
      out_.clear();
      out_sent_ = 0;
      if (filler_ > 0) {
        auto count = std::min(filler_, filler_chunk);
        out_.assign(count, 'x');
        filler_ -= count;
      } else if (!after_filler_.empty()) {
        out_.swap(after_filler_);
      } else {
        break;
      }
    }
    std::size_t sent = 0;
    switch (write_some(std::string_view(out_).substr(out_sent_), sent)) {
      case Io::done: out_sent_ += sent; break;
      case Io::again: wait_writable(); return;
      case Io::failed: close(); return;
    }
  }
  if (closed_ || handshaking_ || lingering_ || waiting_write_) return;
  if (out_.capacity() > keep_capacity) std::string().swap(out_);
  if (closing_)
    linger();
  else if (tls_next_)
    begin_tls();
  else
    session_.on_drained();
}

Connection::Io Connection::write_some(std::string_view bytes, std::size_t& sent) {
  if (ssl_ == nullptr) {
    boost::system::error_code error;
    sent = socket_.write_some(boost::asio::buffer(bytes), error);
    if (error == boost::asio::error::would_block) return Io::again;
    return error ? Io::failed : Io::done;
  }
  ERR_clear_error();
  int result = SSL_write_ex(ssl_, bytes.data(), bytes.size(), &sent);
  if (result == 1) return Io::done;
  return SSL_get_error(ssl_, result) == SSL_ERROR_WANT_WRITE ? Io::again : Io::failed;
}

Connection::Io Connection::read_some(char* buffer, std::size_t size, std::size_t& got) {
  if (ssl_ == nullptr || lingering_) {
    boost::system::error_code error;
    got = socket_.read_some(boost::asio::buffer(buffer, size), error);
    if (error == boost::asio::error::would_block) return Io::again;
    return error ? Io::failed : Io::done;
  }
  ERR_clear_error();
  int result = SSL_read_ex(ssl_, buffer, size, &got);
  if (result == 1) return Io::done;
  return SSL_get_error(ssl_, result) == SSL_ERROR_WANT_READ ? Io::again : Io::failed;
}

void Connection::wait_readable() {
  if (waiting_read_ || closed_) return;
  waiting_read_ = true;
  socket_.async_wait(boost::asio::ip::tcp::socket::wait_read,
                     [self = shared_from_this()](boost::system::error_code error) {
                       self->waiting_read_ = false;
                       if (!error && !self->closed_) self->on_readable();
                     });
}

void Connection::wait_writable() {
  if (waiting_write_ || closed_) return;
  waiting_write_ = true;
  socket_.async_wait(boost::asio::ip::tcp::socket::wait_write,
                     [self = shared_from_this()](boost::system::error_code error) {
                       self->waiting_write_ = false;
                       if (error || self->closed_) return;
                       if (self->handshaking_)
                         self->handshake();
                       else
                         self->flush();
                     });
}

void Connection::reread() {
  if (!paused_ || closed_) return;
  paused_ = false;
  boost::asio::post(server_.context(), [self = shared_from_this()] {
    if (!self->closed_) self->on_readable();
  });
}

void Connection::on_readable() {
  if (handshaking_) {
    handshake();
    return;
  }
  std::array<char, read_bytes> buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init)
  for (int turn = 0; turn < reads_per_turn; ++turn) {
    if (closed_ || handshaking_ || tls_next_) return;
    if (session_.busy() && session_.waiting_bytes() > input_bytes_max && !lingering_ && !muted_) {
      paused_ = true;
      return;
    }
    std::size_t got = 0;
    switch (read_some(buffer.data(), buffer.size(), got)) {
      case Io::again: wait_readable(); return;
      case Io::failed: close(); return;
      case Io::done: break;
    }
    server_.total().bytes_in += got;
    if (session_.user() != nullptr) server_.of_user(session_.user()->name).bytes_in += got;
    if (!lingering_ && !muted_) session_.on_input(std::string_view(buffer.data(), got));
  }
  paused_ = true;
  reread();
}

}  // namespace postern::testimapd
