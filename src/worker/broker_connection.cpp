// Reading as the leader, frames dealt out to their streams, writes under one lock, and pings when the broker has
// been silent while somebody waits. Bounds: streams_per_connection_max, the windows, broker_stall_max.
#include "worker/broker_connection.hpp"

#include <sys/socket.h>
#include <unistd.h>
#include <algorithm>
#include <cassert>
#include <cerrno>
#include <chrono>

#include "worker/limits.hpp"

namespace postern::worker {
namespace {

constexpr std::size_t read_bytes = 256 * 1024;

}  // namespace

// ---- the connection

BrokerConnection::BrokerConnection(int fd, std::string early, Logger& logger)
    : fd_(fd), logger_(logger), input_(std::move(early)), read_buffer_(new char[read_bytes]) {
  std::string replies;
  take_input(replies);
  if (!replies.empty()) send(replies);
}

BrokerConnection::~BrokerConnection() { ::close(fd_); }

bool BrokerConnection::usable() {
  std::unique_lock lock(mutex_);
  // With streams open there is a reader, who would have seen it.
  if (!dead_ && !retired_ && !reading_ && streams_.empty()) read_for_all(lock, false);
  return !dead_ && !retired_ && highest_stream_ < ipc::stream_id_max &&
         streams_.size() < ipc::streams_per_connection_max;
}

void BrokerConnection::retire() {
  const std::lock_guard lock(mutex_);
  retired_ = true;
}

// Reads once as the leader and deals out what came. The socket's SO_RCVTIMEO is browser_check_every.
void BrokerConnection::read_for_all(std::unique_lock<std::mutex>& lock, bool blocking) {
  reading_ = true;
  lock.unlock();
  ssize_t got = 0;
  do {
    got = ::recv(fd_, read_buffer_.get(), read_bytes, blocking ? 0 : MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  const int error = errno;
  lock.lock();
  reading_ = false;
  if (got > 0) {
    input_.append(read_buffer_.get(), static_cast<std::size_t>(got));
    silent_s_ = 0;
    std::string replies;
    take_input(replies);
    if (!replies.empty() && !dead_) {
      // Nobody else may read meanwhile: the answer to a ping goes out before the next is read.
      reading_ = true;
      lock.unlock();
      send(replies);
      lock.lock();
      reading_ = false;
    }
  }
  if (got == 0) {
    die("closed by the broker");
  } else if (got < 0 && error != EAGAIN && error != EWOULDBLOCK) {
    die("read error");
  } else if (got < 0 && blocking) {
    on_silence(lock);
  }
}

void BrokerConnection::on_silence(std::unique_lock<std::mutex>& lock) {
  ++silent_s_;
  if (silent_s_ == broker_ping_after_s) {
    std::string ping;
    ipc::append_frame(ping, ipc::FrameType::ping, 0, 0, "postern\n");
    reading_ = true;
    lock.unlock();
    send(ping);
    lock.lock();
    reading_ = false;
  } else if (silent_s_ >= broker_dead_after_s) {
    die("the broker is silent");
  }
}

void BrokerConnection::take_input(std::string& replies) {
  std::string_view rest = input_;
  while (!dead_) {
    auto frame = ipc::next_frame(rest);
    if (!frame) {
      die(frame.error().to_string());
      break;
    }
    if (!*frame) break;
    if (!take_frame(**frame, replies)) die("frame out of order: " + std::string(to_string((*frame)->type)));
  }
  input_.erase(0, input_.size() - rest.size());
}

bool BrokerConnection::take_frame(const ipc::Frame& frame, std::string& replies) {
  switch (frame.type) {
    case ipc::FrameType::ping:
      ipc::append_frame(replies, ipc::FrameType::pong, 0, 0, frame.payload);
      return true;
    case ipc::FrameType::pong: return true;
    case ipc::FrameType::goodbye: retired_ = true; return true;
    case ipc::FrameType::response:
    case ipc::FrameType::data:
    case ipc::FrameType::window:
    case ipc::FrameType::cancel:
    case ipc::FrameType::effects: return take_stream_frame(frame);
    case ipc::FrameType::hello:
    case ipc::FrameType::request: return false;
  }
  return false;
}

bool BrokerConnection::take_stream_frame(const ipc::Frame& frame) {
  const auto at = streams_.find(frame.stream);
  // A stream that was cancelled or whose request is over; frames on their way to it are late, not wrong.
  if (at == streams_.end()) return frame.stream <= highest_stream_;
  BrokerStream& stream = *at->second;
  if (stream.ended_there_)
    return frame.type == ipc::FrameType::window || frame.type == ipc::FrameType::cancel;

  BrokerStream::Event event;
  event.end = frame.ends_stream();
  switch (frame.type) {
    case ipc::FrameType::response:
      if (stream.response_seen_) return false;
      stream.response_seen_ = true;
      event.kind = BrokerStream::Kind::response;
      break;
    case ipc::FrameType::data:
      if (!stream.response_seen_ || !stream.receive_credit_.receive(frame.payload.size())) return false;
      event.kind = BrokerStream::Kind::data;
      break;
    case ipc::FrameType::window: {
      const auto credit = ipc::parse_window(frame.payload);
      if (!credit || !stream.send_credit_.grant(*credit)) return false;
      stream.wakened_.notify_one();
      return true;
    }
    case ipc::FrameType::cancel:
      event.kind = BrokerStream::Kind::cancelled;
      event.reason = ipc::parse_cancel(frame.payload).value_or(ipc::CancelReason::protocol);
      event.end = true;
      break;
    case ipc::FrameType::effects: event.kind = BrokerStream::Kind::effects; break;
    case ipc::FrameType::hello:
    case ipc::FrameType::request:
    case ipc::FrameType::ping:
    case ipc::FrameType::pong:
    case ipc::FrameType::goodbye: return false;
  }
  stream.ended_there_ = event.end;
  event.payload.assign(frame.payload);
  stream.events_.push_back(std::move(event));
  stream.wakened_.notify_one();
  return true;
}

void BrokerConnection::die(std::string_view reason) {
  if (dead_) return;
  dead_ = true;
  ::shutdown(fd_, SHUT_RDWR);  // writers that are blocked get an error
  logger_.warning("broker connection lost", {{"reason", reason}, {"streams", streams_.size()}});
  for (auto* stream : waiting_) stream->wakened_.notify_one();
}

void BrokerConnection::hand_over() {
  if (!reading_ && !waiting_.empty()) waiting_.back()->wakened_.notify_one();
}

bool BrokerConnection::send(std::string_view frames) {
  const std::lock_guard lock(write_mutex_);
  return send_locked(frames);
}

// After a failure nothing more is written, but what the broker wrote before it died is still read: an
// effects frame may be among it. A write that stops half-way (SO_SNDTIMEO) ends the connection.
bool BrokerConnection::send_locked(std::string_view frames) {
  while (!frames.empty() && !write_failed_) {
    const auto sent = ::send(fd_, frames.data(), frames.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      frames.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno != EINTR) {
      write_failed_ = true;
      if (errno == EAGAIN || errno == EWOULDBLOCK) ::shutdown(fd_, SHUT_RDWR);
    }
  }
  return !write_failed_;
}

// ---- the stream

BrokerStream::BrokerStream(std::shared_ptr<BrokerConnection> connection)
    : connection_(std::move(connection)) {}

BrokerStream::~BrokerStream() {
  if (id_ == 0) return;
  bool cancel_it = false;
  {
    const std::lock_guard lock(connection_->mutex_);
    connection_->streams_.erase(id_);
    // The end of the answer is the end of the stream: the broker wants no more of the body then.
    cancel_it = !ended_there_ && !connection_->dead_;
  }
  if (cancel_it) {
    std::string frame;
    ipc::append_cancel(frame, id_, ipc::CancelReason::browser_gone);
    connection_->send(frame);
  }
}

std::size_t BrokerStream::open(std::string_view head, std::string_view body, bool last) {
  const auto amount = std::min<std::size_t>({body.size(), send_credit_.left(), ipc::frame_payload_bytes_max});
  const bool all = last && amount == body.size();
  const std::lock_guard lock(connection_->write_mutex_);
  id_ = ++connection_->last_stream_;
  std::string frames;
  frames.reserve(2 * ipc::frame_header_bytes + head.size() + amount);
  const bool no_body = body.empty() && last;
  ipc::append_frame(frames, ipc::FrameType::request, no_body ? ipc::end_stream : std::uint8_t{0}, id_, head);
  if (!no_body) ipc::append_body(frames, id_, body.substr(0, amount), all);
  ended_here_ = all;
  {
    const std::lock_guard reader(connection_->mutex_);
    connection_->highest_stream_ = id_;
    connection_->streams_.emplace(id_, this);
    send_credit_.spend(amount);
  }
  connection_->send_locked(frames);
  return amount;
}

std::size_t BrokerStream::spend(std::size_t wanted) {
  const std::lock_guard lock(connection_->mutex_);
  const auto amount = std::min<std::size_t>(wanted, send_credit_.left());
  send_credit_.spend(amount);
  return amount;
}

std::size_t BrokerStream::send_body(std::string_view body, bool last) {
  assert(!ended_here_);
  const auto amount = spend(body.size());
  ended_here_ = last && amount == body.size();
  std::string frames;
  ipc::append_body(frames, id_, body.substr(0, amount), ended_here_);
  if (!frames.empty()) connection_->send(frames);
  return amount;
}

BrokerStream::Wake BrokerStream::wait(std::vector<Event>& events, bool for_credit) {
  auto& connection = *connection_;
  std::unique_lock lock(connection.mutex_);
  std::chrono::steady_clock::time_point until{};  // set when there is something to wait for
  for (;;) {
    Wake wake = Wake::tick;
    if (!events_.empty() || (for_credit && send_credit_.left() > 0)) {
      wake = Wake::ready;
    } else if (connection.dead_) {
      wake = Wake::lost;
    } else if (until == std::chrono::steady_clock::time_point() || std::chrono::steady_clock::now() < until) {
      if (until == std::chrono::steady_clock::time_point()) {
        until = std::chrono::steady_clock::now() + browser_check_every;
      }
      if (!connection.reading_) {
        connection.read_for_all(lock, true);
      } else {
        connection.waiting_.push_back(this);
        wakened_.wait_until(lock, until);
        std::erase(connection.waiting_, this);
      }
      continue;
    }
    std::ranges::move(events_, std::back_inserter(events));
    events_.clear();
    connection.hand_over();
    return wake;
  }
}

void BrokerStream::consumed(std::size_t bytes) {
  std::uint32_t credit = 0;
  {
    const std::lock_guard lock(connection_->mutex_);
    if (ended_there_) return;
    credit = receive_credit_.consume(bytes);
  }
  if (credit == 0) return;
  std::string frame;
  ipc::append_window(frame, id_, credit);
  connection_->send(frame);
}

void BrokerStream::cancel(ipc::CancelReason reason) {
  {
    const std::lock_guard lock(connection_->mutex_);
    if (ended_there_ || connection_->dead_) return;
    ended_there_ = true;
  }
  std::string frame;
  ipc::append_cancel(frame, id_, reason);
  connection_->send(frame);
}

}  // namespace postern::worker
