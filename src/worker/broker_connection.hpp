// One connection to the broker, shared by the threads of a process (docs/frame-protocol.md).
//
// Leader and followers: there is no reader thread. Of the threads that wait for a frame, the one that finds
// nobody reading reads for all; when its own frame has come it hands over to another that waits. A process
// with one request at a time thus pays no thread switch.
//
// Ownership: held by shared_ptr, from the link (new requests) and from every stream that is open on it; it
// closes with the last. A BrokerStream belongs to the request's thread, which alone calls its methods.
// Bounds: a stream holds at most its receive window and one head; a frame beyond its credit ends the
// connection. Locks: write_mutex_ before mutex_, neither while reading.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "postern/base/log.hpp"
#include "postern/ipc/frame.hpp"
#include "postern/ipc/window.hpp"

namespace postern::worker {

class BrokerStream;

class BrokerConnection : public std::enable_shared_from_this<BrokerConnection> {
 public:
  // Takes `fd`, on which the hellos have been exchanged; `early` is what was read behind the broker's.
  BrokerConnection(int fd, std::string early, Logger& logger);
  ~BrokerConnection();
  BrokerConnection(const BrokerConnection&) = delete;
  BrokerConnection& operator=(const BrokerConnection&) = delete;

  // May new streams be opened? Where no stream is open it looks whether the broker has said goodbye or gone.
  bool usable();
  // No new streams any more; those that are open go on.
  void retire();

 private:
  friend class BrokerStream;

  void read_for_all(std::unique_lock<std::mutex>& lock, bool blocking);
  void take_input(std::string& replies);
  bool take_frame(const ipc::Frame& frame, std::string& replies);
  bool take_stream_frame(const ipc::Frame& frame);
  void die(std::string_view reason);
  void hand_over();
  void on_silence(std::unique_lock<std::mutex>& lock);
  bool send(std::string_view frames);  // whole frames; takes write_mutex_
  bool send_locked(std::string_view frames);

  const int fd_;
  Logger& logger_;

  std::mutex write_mutex_;
  std::uint32_t last_stream_ = 0;
  bool write_failed_ = false;

  std::mutex mutex_;
  std::unordered_map<std::uint32_t, BrokerStream*> streams_;
  std::vector<BrokerStream*> waiting_;  // followers
  std::uint32_t highest_stream_ = 0;    // last_stream_, as far as readers know it
  bool reading_ = false;
  bool dead_ = false;
  bool retired_ = false;
  unsigned silent_s_ = 0;

  // The leader's alone.
  std::string input_;
  std::unique_ptr<char[]> read_buffer_;
};

// One request on a connection.
class BrokerStream {
 public:
  enum class Kind : std::uint8_t { response, data, effects, cancelled };
  struct Event {
    Kind kind = Kind::data;
    bool end = false;
    ipc::CancelReason reason = ipc::CancelReason::protocol;
    std::string payload;
  };
  enum class Wake : std::uint8_t {
    ready,  // events were taken, or there is credit
    tick,   // nothing for browser_check_every
    lost,   // the connection is dead and all that came over it has been taken
  };

  explicit BrokerStream(std::shared_ptr<BrokerConnection> connection);
  // Forgets the stream; tells the broker so, unless both sides have ended it or cancel() was called.
  ~BrokerStream();
  BrokerStream(const BrokerStream&) = delete;
  BrokerStream& operator=(const BrokerStream&) = delete;

  // Sends the request, and with it as much of `body` as the credit allows, in one piece. `last`: `body` is all
  // there is. Returns the octets of the body that went along. A failure shows at the next wait.
  std::size_t open(std::string_view head, std::string_view body, bool last);
  // Sends what the credit allows of `body`; returns how much. The end goes with the last octet if `last`.
  std::size_t send_body(std::string_view body, bool last);
  // Waits for events, which it appends, or for credit if asked to.
  Wake wait(std::vector<Event>& events, bool for_credit);
  // `bytes` of data events were passed on: gives their credit back.
  void consumed(std::size_t bytes);
  void cancel(ipc::CancelReason reason);
  bool body_sent() const { return ended_here_; }  // with its end

 private:
  friend class BrokerConnection;

  std::size_t spend(std::size_t wanted);

  std::shared_ptr<BrokerConnection> connection_;
  std::uint32_t id_ = 0;
  bool ended_here_ = false;

  // Under the connection's mutex_.
  std::condition_variable wakened_;
  std::deque<Event> events_;
  ipc::SendCredit send_credit_;
  ipc::ReceiveCredit receive_credit_;
  bool response_seen_ = false;
  bool ended_there_ = false;
};

}  // namespace postern::worker
