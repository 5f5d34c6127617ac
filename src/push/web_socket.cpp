// Beast's stream, its reader and its writer. Nothing of Beast's is touched from outside of the loop.
#include "postern/push/web_socket.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <deque>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/stream_traits.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/websocket/stream.hpp>

#include "postern/base/encoding.hpp"
#include "postern/io/event.hpp"
#include "postern/io/readable.hpp"
#include "postern/io/scoped_timer.hpp"

namespace postern::push {

namespace websocket = boost::beast::websocket;

namespace {

using UnixSocket = boost::asio::local::stream_protocol::socket;
constexpr auto as_result = boost::asio::as_tuple(boost::asio::use_awaitable);
constexpr Duration handshake_timeout = std::chrono::seconds(10);  // the closing one as well
constexpr std::size_t buffer_kept_bytes = 16 * 1024;
constexpr auto handshake_fields = std::to_array<std::string_view>(
    {"host", "connection", "upgrade", "sec-websocket-key", "sec-websocket-version"});

std::string_view field_of(const WebSocket::Fields& fields, std::string_view name) {
  for (const auto& [other, value] : fields)
    if (iequals_ascii(other, name)) return value;
  return {};
}

// Is it one of those that commas stand between?
bool lists(std::string_view list, std::string_view item) {
  while (!list.empty()) {
    const auto comma = std::min(list.find(','), list.size());
    if (iequals_ascii(trim_ascii(list.substr(0, comma)), item)) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

}  // namespace

bool WebSocket::is_upgrade(const Fields& fields) {
  return lists(field_of(fields, "connection"), "upgrade") &&
         lists(field_of(fields, "upgrade"), "websocket") &&
         field_of(fields, "sec-websocket-version") == "13" && !field_of(fields, "sec-websocket-key").empty();
}

bool WebSocket::offers(const Fields& fields, std::string_view protocol) {
  return lists(field_of(fields, "sec-websocket-protocol"), protocol);
}

bool WebSocket::is_own_field(std::string_view name) {
  return std::ranges::find(handshake_fields, name) != handshake_fields.end();
}

struct WebSocket::State : std::enable_shared_from_this<State> {
  State(io::Loop& l, UnixSocket socket, WebSocketOptions o, std::shared_ptr<User> u)
      : loop(l), stream(std::move(socket)), options(o), user(std::move(u)), changed(l), readable(l) {}
  io::Loop& loop;
  websocket::stream<UnixSocket, false>
      stream;  // without compression: what it would keep is 300 KB a connection
  const WebSocketOptions options;
  std::shared_ptr<User> user;
  std::deque<std::string> queue;
  std::size_t waiting = 0;
  io::Event changed;   // wakes the writer
  io::Event readable;  // wakes the reader, which waits for room
  bool open = false, aborted = false, ended = false;
  std::optional<websocket::close_reason> closing;

  bool has_room() const { return waiting <= options.send_bytes_max; }
  void abort() {
    aborted = true;
    boost::system::error_code ignored;
    stream.next_layer().close(ignored);
    changed.set();
    readable.set();
  }
  void end() {
    if (std::exchange(ended, true)) return;
    open = false;
    abort();
    queue.clear();
    waiting = 0;
    if (const auto last = std::exchange(user, nullptr)) last->on_end();
  }
  static io::Task<> run(std::shared_ptr<State> self,
                        boost::beast::http::request<boost::beast::http::empty_body> request);
  static io::Task<> write_all(std::shared_ptr<State> self);
};

io::Task<> WebSocket::State::run(std::shared_ptr<State> self,
                                 boost::beast::http::request<boost::beast::http::empty_body> request) {
  const auto [refused] = co_await self->stream.async_accept(request, as_result);
  if (!refused && !self->ended) {
    self->open = true;
    self->loop.spawn(write_all(self));
    boost::beast::flat_buffer buffer;
    while (!self->aborted && !self->closing) {
      if (!self->has_room()) {
        self->readable.reset();
        co_await self->readable.wait();
        continue;
      }
      const auto [error, size] = co_await self->stream.async_read(buffer, as_result);
      if (error || self->aborted || self->closing) break;
      if (!self->stream.got_text()) {  // RFC 8887, 4.3
        self->closing = websocket::close_reason(websocket::close_code::unknown_data, "text only");
        break;
      }
      auto text = boost::beast::buffers_to_string(buffer.data());
      buffer.consume(size);
      if (buffer.capacity() > buffer_kept_bytes) buffer = {};
      if (const auto reader = self->user) reader->on_text(std::move(text));
    }
    // The writer says goodbye; what comes meanwhile isn't looked at.
    self->changed.set();
    while (self->closing && !self->aborted) {
      buffer.consume(buffer.size());
      const auto [error, size] = co_await self->stream.async_read(buffer, as_result);
      if (error) break;
    }
  }
  self->end();
}

io::Task<> WebSocket::State::write_all(std::shared_ptr<State> self) {
  while (!self->aborted) {
    if (self->queue.empty()) {
      if (self->closing) break;
      self->changed.reset();
      co_await self->changed.wait();
      continue;
    }
    const auto text = std::move(self->queue.front());
    self->queue.pop_front();
    io::ScopedTimer timer(self->loop.timers(), self->options.write_timeout,
                          [state = self.get()] { state->abort(); });
    self->stream.text(true);
    const auto [error, size] = co_await self->stream.async_write(boost::asio::buffer(text), as_result);
    if (self->ended) co_return;
    self->waiting -= text.size();
    if (error) co_return self->abort();
    self->readable.set();
    if (const auto writer = self->user; writer && self->queue.empty()) writer->on_sent();
  }
  if (self->aborted) co_return;
  io::ScopedTimer timer(self->loop.timers(), handshake_timeout, [state = self.get()] { state->abort(); });
  (void)co_await self->stream.async_close(*self->closing, as_result);
  if (!self->ended) self->abort();
}

WebSocket::WebSocket(io::Loop& loop, std::unique_ptr<io::ByteStream> socket, const Fields& request_fields,
                     std::string target, std::string protocol, WebSocketOptions options,
                     std::shared_ptr<User> user) {
  UnixSocket owned(loop.context());
  if (auto fd = io::release_socket(std::move(socket))) {
    boost::system::error_code wrong;
    owned.assign(boost::asio::local::stream_protocol(), *fd, wrong);
    if (wrong) ::close(*fd);
  }
  state_ = std::make_shared<State>(loop, std::move(owned), options, std::move(user));
  auto& stream = state_->stream;
  stream.read_message_max(options.message_bytes_max);
  stream.auto_fragment(false);
  websocket::stream_base::timeout timeouts{};
  timeouts.handshake_timeout = handshake_timeout;
  timeouts.idle_timeout = options.idle_timeout;
  timeouts.keep_alive_pings = true;
  stream.set_option(timeouts);
  stream.set_option(websocket::stream_base::decorator([protocol](websocket::response_type& response) {
    response.set(boost::beast::http::field::sec_websocket_protocol, protocol);
  }));
  boost::beast::http::request<boost::beast::http::empty_body> request(boost::beast::http::verb::get, target,
                                                                      11);
  for (const auto name : handshake_fields) request.set(name, field_of(request_fields, name));
  state_->user->on_begin(*this);
  loop.spawn(State::run(state_, std::move(request)));
}

WebSocket::~WebSocket() { state_->end(); }

void WebSocket::send(std::string text) {
  if (state_->ended || state_->closing) return;
  state_->waiting += text.size();
  state_->queue.push_back(std::move(text));
  state_->changed.set();
}

bool WebSocket::is_sending() const { return state_->waiting > 0; }

void WebSocket::close(CloseCode code, std::string_view reason) {
  if (state_->ended || state_->closing) return;
  state_->closing = websocket::close_reason(static_cast<websocket::close_code>(code),
                                            boost::beast::string_view(reason.data(), reason.size()));
  state_->changed.set();
  state_->readable.set();
}

}  // namespace postern::push
