// The broker's side of the frame protocol: worker connections and their streams (docs/frame-protocol.md).
//
// All on one loop. Reading never waits for writing: frames to be sent are queued (bounded by the credit of
// each stream) and a writer coroutine sends what a direct write has left over.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "postern/base/error.hpp"
#include "postern/io/event.hpp"
#include "postern/io/loop.hpp"
#include "postern/io/stream.hpp"
#include "postern/ipc/frame.hpp"
#include "postern/ipc/window.hpp"

namespace postern::broker {

class IpcConnection;

// One web request. Kept alive by the handler's coroutine; the connection may end before it.
class RequestStream {
 public:
  RequestStream(io::Loop& loop, std::weak_ptr<IpcConnection> connection, std::uint32_t id,
                ipc::RequestHead head);
  // A request that came otherwise than from a worker, and whose answer goes there; give_up() when nobody waits for it.
  RequestStream(io::Loop& loop, ipc::RequestHead head);
  ~RequestStream();  // wipes what of the head may be a credential

  static constexpr std::size_t body_spare_bytes = 4;
  const ipc::RequestHead& head() const { return head_; }
  // The whole body; Errc::too_large over `bytes_max` (the rest is thrown away as it comes). Where its Content-Length
  // was told, there is room for body_spare_bytes behind it: whoever appends those leaves no copy.
  io::Task<Result<std::string>> read_body(std::size_t bytes_max);
  // The body as it comes: what has arrived, at most a window of it; empty at its end. Credit for more is granted when
  // the next piece is asked for. Not together with read_body().
  io::Task<Result<std::string>> read_piece();
  // A whole answer in one write. `secret`: its frames are wiped behind it.
  io::Task<Result<>> respond(const ipc::ResponseHead& head, std::string_view body, bool secret = false);
  // An answer in pieces: head, then data until `last`, each waiting for credit.
  io::Task<Result<>> begin(const ipc::ResponseHead& head);
  io::Task<Result<>> send(std::string_view data, bool last);
  // Tells the worker that the request must not be repeated: true when its socket has it, false when the worker or the
  // browser has gone.
  io::Task<bool> effects();
  void cancel(ipc::CancelReason reason);
  // The browser or the worker has gone: nobody will read an answer. On any thread.
  bool is_over() const { return over_; }
  void give_up() { over_ = true; }

 private:
  friend class IpcConnection;
  void grant(std::size_t consumed);
  std::weak_ptr<IpcConnection> connection_;
  const std::uint32_t id_;
  ipc::RequestHead head_;  // not changed before the end
  std::string body_;
  const bool from_worker_ = true;
  std::size_t piece_bytes_ = 0;  // that read_piece() gave last
  bool body_ended_ = false, answer_ended_ = false, effects_ = false;
  std::atomic<bool> over_ = false;
  ipc::SendCredit send_credit_;
  ipc::ReceiveCredit receive_credit_;
  io::Event changed_;  // body, credit or the end
};

using RequestHandler = std::function<io::Task<>(std::shared_ptr<RequestStream>)>;

struct IpcOptions {
  std::set<std::uint32_t> allowed_uids;
  std::uint32_t connections_max = 1'024;
};

struct IpcCounters {
  std::uint64_t connections = 0, connections_refused = 0, requests = 0, protocol_errors = 0;
  std::uint32_t connections_open = 0, streams_open = 0;
};

class IpcServer {
 public:
  IpcServer(io::Loop& loop, std::unique_ptr<io::UnixListener> listener, IpcOptions options,
            RequestHandler handler);
  ~IpcServer();

  void start();
  // No new streams: goodbye to all connections, and what still comes is refused, so that its worker waits and
  // asks again. Running streams go on.
  void drain();
  void undrain() { draining_ = false; }
  bool draining() const { return draining_; }
  void close();
  io::UnixListener& listener() { return *listener_; }
  const IpcCounters& counters() const { return counters_; }

 private:
  friend class IpcConnection;
  io::Task<> accept_all();

  io::Loop& loop_;
  std::unique_ptr<io::UnixListener> listener_;
  IpcOptions options_;
  RequestHandler handler_;
  std::set<std::shared_ptr<IpcConnection>> connections_;
  IpcCounters counters_;
  bool draining_ = false;
};

}  // namespace postern::broker
