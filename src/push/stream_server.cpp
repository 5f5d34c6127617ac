// Heads are parsed by Boost.Beast; a stream writes what fits at once and remembers the rest, never more than one event.
#include "postern/push/stream_server.hpp"

#include <fmt/format.h>

#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/status.hpp>

#include "postern/base/encoding.hpp"
#include "postern/io/readable.hpp"
#include "postern/io/scoped_timer.hpp"

namespace postern::push {

namespace http = boost::beast::http;

std::string stream_event(std::string_view name, std::string_view id, std::string_view data) {
  std::string text = fmt::format("event: {}\n", name);
  if (!id.empty()) text += fmt::format("id: {}\n", id);
  text += fmt::format("data: {}\n\n", data);
  return text;
}

namespace {

constexpr std::string_view stream_head =
    "HTTP/1.1 200 OK\r\n"
    "Content-Type: text/event-stream\r\n"
    "Cache-Control: no-store\r\n"
    "X-Accel-Buffering: no\r\n"
    "Connection: close\r\n\r\n"
    // A comment, which no client hears of: whoever reads sees at once that nothing on the way holds events back.
    ":\n\n";

std::string refusal_text(const StreamRefusal& refusal, bool head_only) {
  std::string text =
      fmt::format("HTTP/1.1 {} {}\r\n", refusal.status,
                  std::string_view(http::obsolete_reason(static_cast<http::status>(refusal.status))));
  for (const auto& [name, value] : refusal.fields) text += fmt::format("{}: {}\r\n", name, value);
  text += fmt::format("Content-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n",
                      refusal.content_type, refusal.body.size());
  text += "Connection: close\r\n\r\n";
  if (!head_only) text += refusal.body;
  return text;
}

}  // namespace

struct StreamServer::State : std::enable_shared_from_this<State> {
  State(io::Loop& l, std::unique_ptr<io::UnixListener> u, Hub& h, StreamHandler f, StreamServerOptions o)
      : loop(l), listener(std::move(u)), hub(h), handler(std::move(f)), options(o) {}
  io::Loop& loop;
  std::unique_ptr<io::UnixListener> listener;
  Hub& hub;
  StreamHandler handler;
  const StreamServerOptions options;
  StreamCounters counters;
  std::unordered_set<std::shared_ptr<Stream>> streams;
  std::unordered_map<WebSocket*, std::unique_ptr<WebSocket>> sockets;
  std::size_t reading = 0;  // connections whose head hasn't been answered yet
  bool closed = false;

  static io::Task<> accept_all(std::shared_ptr<State> self);
  static io::Task<> serve(std::shared_ptr<State> self, std::unique_ptr<io::ByteStream> socket);
  static io::Task<std::optional<StreamRequest>> read_head(State& self, io::ByteStream& socket);
  // A bug in a handler costs the one request.
  static io::Task<StreamAnswer> ask(State& self, StreamRequest request);
  bool is_full() const { return streams.size() + sockets.size() + reading > options.streams_max; }
};

// Between a WebSocket and its user, to let go of both when it ends.
class StreamServer::HeldSocket final : public WebSocket::User {
 public:
  HeldSocket(std::weak_ptr<State> server, std::shared_ptr<WebSocket::User> user)
      : server_(std::move(server)), user_(std::move(user)) {}

 private:
  void on_begin(WebSocket& socket) override {
    socket_ = &socket;
    user_->on_begin(socket);
  }
  void on_text(std::string text) override { user_->on_text(std::move(text)); }
  void on_sent() override { user_->on_sent(); }
  void on_end() override {
    user_->on_end();
    const auto server = server_.lock();
    if (!server) return;
    server->sockets.erase(socket_);
    server->counters.sockets_open = server->sockets.size();
  }
  const std::weak_ptr<State> server_;
  const std::shared_ptr<WebSocket::User> user_;
  WebSocket* socket_ = nullptr;
};

class StreamServer::Stream final : public Sink, public std::enable_shared_from_this<Stream> {
 public:
  Stream(std::shared_ptr<State> server, std::unique_ptr<io::ByteStream> socket, std::string account_id)
      : server_(std::move(server)), socket_(std::move(socket)), account_id_(std::move(account_id)) {}

  // False: there are too many listeners already.
  bool begin(const StreamOpening& opening) {
    silent_pings_ = opening.silent_pings;
    send(std::string(stream_head));
    const auto id = server_->hub.add(opening.options, opening.now, *this);
    if (!id) return false;
    if (!ended_) id_ = *id;
    if (!closed_) watch_reader();
    return true;
  }
  void close() {
    if (std::exchange(closed_, true)) return;
    if (const auto id = std::exchange(id_, 0); id != 0) server_->hub.remove(id);
    socket_->close();
    const auto self = shared_from_this();  // who calls may stand in here
    server_->streams.erase(self);
    server_->counters.open = server_->streams.size();
  }

 private:
  void on_event(const StateEvent& event) override {
    ++server_->counters.events;
    if (writing_) {
      pending_types_ = pending_types_ | event.types;
      pending_ = event.states;
      return;
    }
    send(stream_event("state", event_id(event.states),
                      state_change_json(account_id_, event.states, event.types)));
  }
  void on_ping(std::uint32_t seconds) override {
    if (writing_) return;
    send(silent_pings_ ? ":\n\n" : stream_event("ping", {}, fmt::format(R"({{"interval":{}}})", seconds)));
  }
  void on_end(EndReason) override {
    id_ = 0;
    ended_ = true;
    // What is on its way still gets there.
    if (!writing_) {
      server_->loop.post([self = shared_from_this()] { self->close(); });
    }
  }

  void send(std::string text) {
    if (closed_) return;
    auto written = socket_->write_now(text);
    if (!written) {
      server_->loop.post([self = shared_from_this()] { self->close(); });
      return;
    }
    if (*written == text.size()) return;
    writing_ = true;
    text.erase(0, *written);
    server_->loop.spawn(write_rest(shared_from_this(), std::move(text)));
  }
  static io::Task<> write_rest(std::shared_ptr<Stream> self, std::string rest) {
    auto* socket = self->socket_.get();
    bool late = false;
    Result<> written;
    {
      io::ScopedTimer timer(self->server_->loop.timers(), self->server_->options.write_timeout,
                            [&late, socket] {
                              late = true;
                              socket->close();
                            });
      written = co_await socket->write_all(rest);
    }
    if (late) ++self->server_->counters.given_up;
    self->writing_ = false;
    if (!written) co_return self->close();
    if (const auto types = std::exchange(self->pending_types_, {}); !types.empty()) {
      const auto states = std::exchange(self->pending_, {});
      self->send(
          stream_event("state", event_id(states), state_change_json(self->account_id_, states, types)));
    }
    if (self->ended_ && !self->writing_) self->close();
  }

  // A client sends nothing more; what can be read is its end.
  void watch_reader() {
    io::when_readable(*socket_, [weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self || self->closed_) return;
      const auto got = io::read_now(*self->socket_, self->server_->loop.scratch());
      if (!got) return self->close();
      self->watch_reader();
    });
  }

  std::shared_ptr<State> server_;
  std::unique_ptr<io::ByteStream> socket_;
  const std::string account_id_;
  ListenerId id_ = 0;
  bool writing_ = false, ended_ = false, closed_ = false, silent_pings_ = false;
  TypeSet pending_types_;
  States pending_;
};

io::Task<> StreamServer::State::accept_all(std::shared_ptr<State> self) {
  while (true) {
    auto accepted = co_await self->listener->accept();
    if (!accepted) co_return;
    self->loop.spawn(serve(self, std::move(accepted->stream)));
  }
}

io::Task<std::optional<StreamRequest>> StreamServer::State::read_head(State& self, io::ByteStream& socket) {
  io::ScopedTimer timer(self.loop.timers(), self.options.head_timeout, [&socket] { socket.close(); });
  http::request_parser<http::empty_body> parser;
  parser.header_limit(stream_head_bytes_max);
  parser.body_limit(0);
  std::string unparsed;
  while (!parser.is_done()) {
    auto got = co_await socket.read_some(self.loop.scratch());
    if (!got) co_return std::nullopt;
    unparsed.append(self.loop.scratch().data(), *got);
    boost::system::error_code wrong;
    const auto used = parser.put(boost::asio::buffer(unparsed), wrong);
    unparsed.erase(0, used);
    if ((wrong && wrong != http::error::need_more) || unparsed.size() > stream_head_bytes_max)
      co_return std::nullopt;
  }
  const auto& message = parser.get();
  StreamRequest request;
  request.method = std::string(message.method_string());
  request.target = std::string(message.target());
  for (const auto& field : message) {
    auto name = ascii_lower(std::string_view(field.name_string()));
    if (name == "host") request.host = std::string(field.value());
    request.fields.emplace_back(std::move(name), std::string(field.value()));
  }
  co_return request;
}

io::Task<StreamAnswer> StreamServer::State::ask(State& self, StreamRequest request) {
  try {
    co_return co_await self.handler(std::move(request));
  } catch (const std::exception& e) {
    self.loop.logger().error("exception left a request for an event stream", {{"what", e.what()}});
  }
  co_return StreamRefusal{500, "text/plain; charset=utf-8", "internal error\n", {}};
}

io::Task<> StreamServer::State::serve(std::shared_ptr<State> self, std::unique_ptr<io::ByteStream> socket) {
  struct Reading {
    explicit Reading(std::size_t& n) : number(n) { ++number; }
    ~Reading() { done(); }
    void done() { number -= std::exchange(counted, 0); }
    std::size_t& number;
    std::size_t counted = 1;
  } reading(self->reading);
  auto request = co_await read_head(*self, *socket);
  if (self->closed) co_return;
  StreamAnswer answer;
  bool head_only = false;
  WebSocket::Fields fields;
  std::string target;
  if (!request) {
    answer = StreamRefusal{400, "text/plain; charset=utf-8", "this is no request for an event stream\n", {}};
  } else if (self->is_full() || (self->hub.is_full() && !WebSocket::is_upgrade(request->fields))) {
    answer =
        StreamRefusal{503, "text/plain; charset=utf-8", "too many event streams\n", {{"Retry-After", "60"}}};
  } else {
    head_only = request->method == "HEAD";
    if (WebSocket::is_upgrade(request->fields)) {
      for (const auto& [name, value] : request->fields)
        if (WebSocket::is_own_field(name)) fields.emplace_back(name, value);
      target = request->target;
    }
    answer = co_await ask(*self, std::move(*request));
    if (self->closed) co_return;
  }
  reading.done();
  if (const auto* opening = std::get_if<StreamOpening>(&answer)) {
    auto stream = std::make_shared<Stream>(self, std::move(socket), opening->account_id);
    self->streams.insert(stream);
    self->counters.open = self->streams.size();
    ++self->counters.opened;
    if (!stream->begin(*opening)) stream->close();
    co_return;
  }
  if (auto* opening = std::get_if<SocketOpening>(&answer)) {
    auto held = std::make_shared<HeldSocket>(self, std::move(opening->user));
    auto made = std::make_unique<WebSocket>(self->loop, std::move(socket), fields, target,
                                            std::move(opening->protocol), opening->options, std::move(held));
    auto* const key = made.get();
    self->sockets.emplace(key, std::move(made));
    self->counters.sockets_open = self->sockets.size();
    ++self->counters.sockets_opened;
    co_return;
  }
  ++self->counters.refused;
  const auto text = refusal_text(std::get<StreamRefusal>(answer), head_only);
  io::ScopedTimer timer(self->loop.timers(), self->options.head_timeout,
                        [raw = socket.get()] { raw->close(); });
  (void)co_await socket->write_all(text);
}

StreamServer::StreamServer(io::Loop& loop, std::unique_ptr<io::UnixListener> listener, Hub& hub,
                           StreamHandler handler, StreamServerOptions options)
    : state_(std::make_shared<State>(loop, std::move(listener), hub, std::move(handler), options)) {
  loop.spawn(State::accept_all(state_));
}

StreamServer::~StreamServer() {
  state_->closed = true;
  state_->listener->close();
  for (const auto& stream : std::vector(state_->streams.begin(), state_->streams.end())) stream->close();
  std::exchange(state_->sockets, {}).clear();
}

const StreamCounters& StreamServer::counters() const { return state_->counters; }
io::UnixListener& StreamServer::listener() { return *state_->listener; }

}  // namespace postern::push
