// Worker connections: frames in, requests to the handler, answers out. A connection is held by its own coroutines
// and the server's set, a stream by its handler; bounds: streams_per_connection_max, the credit of each stream,
// and output_bytes_max of what waits to be written.
#include "broker/ipc_server.hpp"

#include <algorithm>
#include <exception>
#include <utility>
#include <vector>

#include "postern/base/secret.hpp"

namespace postern::broker {
namespace {

// What may wait to be written on one connection: the credit of its streams bounds it in good order; a worker
// that grants much and reads nothing is cut off.
constexpr std::size_t output_bytes_max = 64 * 1024 * 1024;
// What is set aside for a request's body on the word of its Content-Length.
constexpr std::size_t body_reserved_max = 64 * 1024;

}  // namespace

class IpcConnection : public std::enable_shared_from_this<IpcConnection> {
 public:
  IpcConnection(IpcServer& server, std::unique_ptr<io::ByteStream> stream)
      : server_(server), loop_(server.loop_), stream_(std::move(stream)), wake_writer_(loop_) {}

  io::Task<> run() {
    auto self = shared_from_this();
    loop_.spawn(write_all(self));
    std::string hello;
    ipc::append_hello(hello, "posternd " POSTERN_VERSION);
    send(hello);
    std::string rest;  // an incomplete frame from the last read
    while (!closed_) {
      auto got = co_await stream_->read_some(loop_.scratch());
      if (!got) break;
      std::string_view data(loop_.scratch().data(), *got);
      if (!rest.empty()) {
        rest.append(data);
        data = rest;
      }
      if (auto taken = take_frames(data); !taken) {
        ++server_.counters_.protocol_errors;
        loop_.logger().warning("worker connection broke the protocol",
                               {{"error", taken.error().to_string()}});
        break;
      }
      std::string left(data);
      rest = std::move(left);
    }
    close();
    server_.connections_.erase(self);
    --server_.counters_.connections_open;
  }

  // Queues frames and writes what can be written at once.
  void send(std::string_view frames) {
    if (closed_) return;
    octets_queued_ += frames.size();
    std::size_t written = 0;
    if (output_.empty() && !writing_) {
      auto now = stream_->write_now(frames);
      if (!now) return close();
      written = *now;
      octets_written_ += written;
    }
    if (written == frames.size()) return;
    output_.append(frames.substr(written));
    if (output_.size() > output_bytes_max) return close();
    wake_writer_.set();
  }

  // Until all that was queued before is in the socket, whatever is queued behind it; false if the connection has ended.
  io::Task<bool> flushed() {
    const auto mark = octets_queued_;
    while (!closed_ && octets_written_ < mark) {
      progress_.reset();
      co_await progress_.wait();
    }
    co_return !closed_;
  }

  void forget(std::uint32_t id) {
    if (streams_.erase(id) != 0) --server_.counters_.streams_open;
  }

  void goodbye() {
    std::string frame;
    ipc::append_frame(frame, ipc::FrameType::goodbye, 0, 0, {});
    send(frame);
  }

  void close() {
    if (closed_) return;
    closed_ = true;
    stream_->close();
    wake_writer_.set();
    progress_.set();
    for (auto& [id, stream] : std::exchange(streams_, {})) {
      --server_.counters_.streams_open;
      stream->over_ = true;
      stream->changed_.set();
    }
  }

 private:
  static io::Task<> write_all(std::shared_ptr<IpcConnection> self) {
    while (!self->closed_) {
      if (self->output_.empty()) {
        self->wake_writer_.reset();
        co_await self->wake_writer_.wait();
        continue;
      }
      std::string batch = std::exchange(self->output_, {});
      self->writing_ = true;
      auto written = co_await self->stream_->write_all(batch);
      self->writing_ = false;
      if (!written) {
        self->close();
        break;
      }
      self->octets_written_ += batch.size();
      self->progress_.set();
    }
  }

  Result<> take_frames(std::string_view& data) {
    while (!closed_) {
      auto frame = ipc::next_frame(data);
      if (!frame) return fail(frame.error());
      if (!*frame) return {};
      if (auto taken = take(**frame); !taken) return taken;
    }
    return {};
  }

  Result<> take(const ipc::Frame& frame) {
    using ipc::FrameType;
    if (!greeted_) {
      if (frame.type != FrameType::hello) return fail(ipc::Errc::bad_frame, "no hello");
      auto hello = ipc::parse_hello(frame.payload);
      if (!hello) return fail(hello.error());
      if (auto version = ipc::negotiate(*hello); !version) return fail(version.error());
      greeted_ = true;
      return {};
    }
    switch (frame.type) {
      case FrameType::request: return take_request(frame);
      case FrameType::ping: {
        std::string pong;
        ipc::append_frame(pong, FrameType::pong, 0, 0, frame.payload);
        send(pong);
        return {};
      }
      case FrameType::pong: return {};
      case FrameType::data:
      case FrameType::window:
      case FrameType::cancel: return take_for_stream(frame);
      case FrameType::hello:
      case FrameType::response:
      case FrameType::effects:
      case FrameType::goodbye: break;
    }
    return fail(ipc::Errc::bad_frame,
                std::string("not from a worker: ") + std::string(to_string(frame.type)));
  }

  Result<> take_request(const ipc::Frame& frame) {
    if (frame.stream <= last_stream_) return fail(ipc::Errc::bad_frame, "a stream number used again");
    last_stream_ = frame.stream;
    if (server_.draining_ || streams_.size() >= ipc::streams_per_connection_max) {
      std::string refused;
      ipc::append_cancel(refused, frame.stream, ipc::CancelReason::refused);
      send(refused);
      return {};
    }
    auto head = ipc::parse_request_head(frame.payload);
    if (!head) return fail(head.error());
    auto stream = std::make_shared<RequestStream>(loop_, weak_from_this(), frame.stream, std::move(*head));
    stream->body_ended_ = frame.ends_stream();
    streams_[frame.stream] = stream;
    ++server_.counters_.streams_open;
    ++server_.counters_.requests;
    loop_.spawn(handle(shared_from_this(), std::move(stream)));
    return {};
  }

  static io::Task<> handle(std::shared_ptr<IpcConnection> self, std::shared_ptr<RequestStream> stream) {
    try {
      co_await self->server_.handler_(stream);
    } catch (const std::exception& e) {  // a bug, of which nobody but this request is to know
      self->loop_.logger().error("exception left a request",
                                 {{"request", stream->head().id}, {"what", e.what()}});
    }
    // A handler that ended without a whole answer: the worker must not wait for ever.
    if (!stream->is_over() && !stream->answer_ended_) stream->cancel(ipc::CancelReason::broker_error);
    self->forget(stream->id_);
  }

  Result<> take_for_stream(const ipc::Frame& frame) {
    auto it = streams_.find(frame.stream);
    if (it == streams_.end())
      return frame.stream <= last_stream_ ? Result<>{} : fail(ipc::Errc::bad_frame, "no such stream");
    auto& stream = *it->second;
    if (frame.type == ipc::FrameType::cancel) {
      stream.over_ = true;
    } else if (frame.type == ipc::FrameType::window) {
      auto credit = ipc::parse_window(frame.payload);
      if (!credit) return fail(credit.error());
      if (!stream.send_credit_.grant(*credit)) return fail(ipc::Errc::bad_frame, "too much credit");
    } else {
      if (stream.body_ended_) return fail(ipc::Errc::bad_frame, "data behind the end of a body");
      if (!stream.receive_credit_.receive(frame.payload.size()))
        return fail(ipc::Errc::bad_frame, "data without credit");
      stream.body_.append(frame.payload);
      stream.body_ended_ = frame.ends_stream();
    }
    stream.changed_.set();
    return {};
  }

  friend class RequestStream;
  IpcServer& server_;
  io::Loop& loop_;
  std::unique_ptr<io::ByteStream> stream_;
  std::map<std::uint32_t, std::shared_ptr<RequestStream>> streams_;
  std::string output_;
  io::Event wake_writer_;
  io::Event progress_{loop_};  // the writer's
  std::uint64_t octets_queued_ = 0, octets_written_ = 0;
  std::uint32_t last_stream_ = 0;
  bool closed_ = false, writing_ = false, greeted_ = false;
};

// --- RequestStream ---

RequestStream::RequestStream(io::Loop& loop, std::weak_ptr<IpcConnection> connection, std::uint32_t id,
                             ipc::RequestHead head)
    : connection_(std::move(connection)), id_(id), head_(std::move(head)), changed_(loop) {}

RequestStream::RequestStream(io::Loop& loop, ipc::RequestHead head)
    : id_(0), head_(std::move(head)), from_worker_(false), changed_(loop) {}

RequestStream::~RequestStream() {
  for (auto& [name, value] : head_.fields) wipe(value.data(), value.size());
  wipe(body_.data(), body_.size());
}

// So much of the body is done with: the worker may send as much again.
void RequestStream::grant(std::size_t consumed) {
  const auto credit = receive_credit_.consume(consumed);
  if (credit == 0 || body_ended_) return;
  if (auto connection = connection_.lock()) {
    std::string frame;
    ipc::append_window(frame, id_, credit);
    connection->send(frame);
  }
}

io::Task<Result<std::string>> RequestStream::read_piece() {
  if (const auto done = std::exchange(piece_bytes_, 0); done > 0) grant(done);
  while (!over_ && body_.empty() && !body_ended_) {
    changed_.reset();
    co_await changed_.wait();
  }
  if (over_) co_return fail(ipc::Errc::closed);
  auto piece = std::exchange(body_, {});
  piece_bytes_ = piece.size();
  co_return piece;
}

io::Task<Result<std::string>> RequestStream::read_body(std::size_t bytes_max) {
  // In one piece from the start: a string that grows leaves copies of what may be a password.
  std::string body;
  body.reserve(
      std::min<std::uint64_t>(head_.content_length.value_or(0), std::min(bytes_max, body_reserved_max)) +
      body_spare_bytes);
  bool too_large = false;
  while (true) {
    if (over_) co_return fail(ipc::Errc::closed);
    if (!body_.empty()) {
      auto piece = std::exchange(body_, {});
      too_large = too_large || body.size() + piece.size() > bytes_max;
      if (too_large)
        body.clear();
      else
        body += piece;
      wipe(piece.data(), piece.size());
      grant(piece.size());
      continue;
    }
    if (body_ended_) break;
    changed_.reset();
    co_await changed_.wait();
  }
  if (too_large) co_return fail(ipc::Errc::too_large);
  co_return body;
}

io::Task<Result<>> RequestStream::respond(const ipc::ResponseHead& head, std::string_view body, bool secret) {
  auto connection = connection_.lock();
  if (!connection || over_) co_return fail(ipc::Errc::closed);
  auto encoded = ipc::encode_response_head(head);
  if (!encoded) co_return fail(encoded.error());
  std::string frames;
  const auto first = std::min<std::size_t>(body.size(), send_credit_.left());
  frames.reserve(encoded->size() + first + 4 * ipc::frame_header_bytes);
  ipc::append_frame(frames, ipc::FrameType::response, body.empty() ? ipc::end_stream : 0, id_, *encoded);
  if (!body.empty()) {
    send_credit_.spend(first);
    ipc::append_body(frames, id_, body.substr(0, first), first == body.size());
  }
  answer_ended_ = first == body.size();
  connection->send(frames);
  if (secret) {
    wipe(frames.data(), frames.size());
    wipe(encoded->data(), encoded->size());
  }
  if (answer_ended_) co_return Result<>{};
  co_return co_await send(body.substr(first), true);
}

io::Task<Result<>> RequestStream::begin(const ipc::ResponseHead& head) {
  auto connection = connection_.lock();
  if (!connection || over_) co_return fail(ipc::Errc::closed);
  auto encoded = ipc::encode_response_head(head);
  if (!encoded) co_return fail(encoded.error());
  std::string frames;
  ipc::append_frame(frames, ipc::FrameType::response, 0, id_, *encoded);
  connection->send(frames);
  co_return Result<>{};
}

io::Task<Result<>> RequestStream::send(std::string_view data, bool last) {
  while (true) {
    auto connection = connection_.lock();
    if (!connection || over_) co_return fail(ipc::Errc::closed);
    const auto piece = std::min<std::size_t>(data.size(), send_credit_.left());
    if (piece > 0 || data.empty()) {
      send_credit_.spend(piece);
      std::string frames;
      answer_ended_ = last && piece == data.size();
      ipc::append_body(frames, id_, data.substr(0, piece), answer_ended_);
      connection->send(frames);
      data.remove_prefix(piece);
      if (data.empty()) co_return Result<>{};
      continue;
    }
    connection.reset();
    changed_.reset();
    co_await changed_.wait();
  }
}

io::Task<bool> RequestStream::effects() {
  if (!from_worker_) co_return !over_;
  auto connection = connection_.lock();
  if (!connection || over_) co_return false;
  if (effects_) co_return true;
  effects_ = true;
  std::string frame;
  ipc::append_frame(frame, ipc::FrameType::effects, 0, id_, {});
  connection->send(frame);
  co_return co_await connection->flushed() && !over_;
}

void RequestStream::cancel(ipc::CancelReason reason) {
  auto connection = connection_.lock();
  if (!connection || over_) return;
  over_ = true;
  std::string frame;
  ipc::append_cancel(frame, id_, reason);
  connection->send(frame);
}

// --- IpcServer ---

IpcServer::IpcServer(io::Loop& loop, std::unique_ptr<io::UnixListener> listener, IpcOptions options,
                     RequestHandler handler)
    : loop_(loop),
      listener_(std::move(listener)),
      options_(std::move(options)),
      handler_(std::move(handler)) {}

IpcServer::~IpcServer() { close(); }

void IpcServer::start() { loop_.spawn(accept_all()); }

io::Task<> IpcServer::accept_all() {
  while (true) {
    auto accepted = co_await listener_->accept();
    if (!accepted) co_return;
    if (!options_.allowed_uids.contains(accepted->uid)) {
      ++counters_.connections_refused;
      loop_.logger().warning("connection to the broker refused",
                             {{"uid", accepted->uid}, {"pid", accepted->pid}});
      continue;
    }
    if (connections_.size() >= options_.connections_max) {
      ++counters_.connections_refused;
      loop_.logger().warning("too many worker connections", {{"limit", options_.connections_max}});
      continue;
    }
    ++counters_.connections;
    ++counters_.connections_open;
    auto connection = std::make_shared<IpcConnection>(*this, std::move(accepted->stream));
    connections_.insert(connection);
    loop_.spawn(connection->run());
  }
}

void IpcServer::drain() {
  draining_ = true;
  for (const auto& connection : connections_) connection->goodbye();
}

void IpcServer::close() {
  listener_->close();
  for (const auto& connection : std::set(connections_)) connection->close();
}

}  // namespace postern::broker
