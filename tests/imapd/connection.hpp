// One client connection of the test server: bytes in and out, TLS, and cutting the output where a rule says.
//
// Owned by Server (a shared_ptr; handlers hold another while they wait). Runs in the server's thread.
// OpenSSL is driven on the non-blocking socket, so that an idle TLS connection costs little memory.
// Bounds: reading stops while the session has input_bytes_max waiting; FETCH pauses while output_bytes_high
// wait to be sent.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include "server.hpp"
#include "session.hpp"

namespace postern::testimapd {

constexpr std::size_t output_bytes_high = 1U << 20U;
constexpr std::size_t input_bytes_max = 1U << 20U;

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Server& server, boost::asio::ip::tcp::socket socket, std::uint64_t id, bool implicit_tls);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void start();  // what rules for `connect` say, then TLS and greeting
  void abort();  // closes with a reset, as soon as the caller has returned to the event loop
  void close();  // closes now; not to be called from within the session

  // For the session.
  void write(std::string_view bytes);
  void fill(std::uint64_t count);  // `count` times 'x'
  std::size_t pending() const { return out_.size() + after_filler_.size(); }
  void close_when_sent();
  void start_tls_when_sent();
  void arm(Action fault, std::uint64_t bytes);  // drop_at, hang_at, drop_in_literal, hang_in_literal
  void disarm() { fault_armed_ = false; }
  void hang() { muted_ = true; }
  void wake_after(std::uint32_t delay_ms);
  bool tls_up() const { return ssl_ != nullptr; }
  bool alive() const { return !closed_; }
  std::uint64_t id() const { return id_; }
  Session& session() { return session_; }
  void reread();  // the session has room for input again

 private:
  enum class Io { done, again, failed };
  void greet();
  void begin_tls();
  void handshake();
  void linger();
  void on_readable();
  void on_writable();
  void wait_readable();
  void wait_writable();
  Io read_some(char* buffer, std::size_t size, std::size_t& got);
  Io write_some(std::string_view bytes, std::size_t& sent);
  void flush();
  void post_flush();
  void put(std::string_view bytes);
  bool shorten(std::uint64_t& count);  // by the armed fault; true when its moment has come
  void trip();

  Server& server_;
  boost::asio::ip::tcp::socket socket_;
  std::uint64_t id_;
  SSL* ssl_ = nullptr;
  std::unique_ptr<boost::asio::steady_timer> timer_;
  std::string out_;
  std::size_t out_sent_ = 0;
  std::uint64_t filler_ = 0;
  std::string after_filler_;
  std::uint64_t fault_bytes_ = 0;
  Action fault_ = Action::drop_at;
  std::vector<Rule> connect_rules_;  // until the greeting
  bool implicit_tls_, greeted_ = false, handshaking_ = false;
  bool fault_armed_ = false;
  bool muted_ = false;      // nothing more is sent, what comes is thrown away
  bool closing_ = false;    // to be closed when all is sent
  bool lingering_ = false;  // all is sent; waiting for the client's end
  bool closed_ = false, tls_next_ = false;
  bool flush_posted_ = false, waiting_read_ = false, waiting_write_ = false, paused_ = false;
  Session session_;
};

}  // namespace postern::testimapd
