// One web request from its FastCGI parameters to the end of its answer.
//
// One a thread; it holds buffers that are used again for the next request. Bounds: body_kept_bytes_max of a
// request's body, body_piece_bytes more, and of an answer what the stream's window holds.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "postern/base/clock.hpp"
#include "postern/base/crypto.hpp"
#include "postern/base/log.hpp"
#include "postern/store/session_table.hpp"
#include "worker/attempt.hpp"
#include "worker/broker_link.hpp"
#include "worker/fcgi_request.hpp"
#include "worker/gate.hpp"
#include "worker/limits.hpp"
#include "worker/request_head.hpp"

namespace postern::worker {

struct HandlerOptions {
  HeadOptions head;
  GateOptions gate;
  Duration broker_wait = std::chrono::seconds(5);
};

// What the handlers of a process share; outlives them.
struct HandlerContext {
  const HandlerOptions& options;
  BrokerLink& link;
  store::SegmentReader& segment;
  const Clock& clock;
  Random& random;
  Logger& logger;
};

class Handler {
 public:
  explicit Handler(HandlerContext context) : context_(context) {}

  // Serves one request on `fd`, which it owns. Returns the connection if it stays open, else -1.
  int serve(int fd);

 private:
  enum class Step : std::uint8_t { done, lost, refused, cancelled };  // how one try on one connection ended

  void run();
  void answer(const Answer& answer);
  void exchange(const std::string& encoded);
  std::optional<Unavailable> wait_while_draining(Attempt& attempt);
  Attempt::Action settle(Step step, Attempt& attempt, BrokerConnection& connection);
  Step try_once(std::shared_ptr<BrokerConnection> connection, const std::string& encoded, Attempt& attempt);
  // These two return nothing while the try goes on.
  std::optional<Step> send_body(BrokerStream& stream, std::size_t at, Attempt& attempt);
  std::optional<Step> wait_for_credit(BrokerStream& stream, Attempt& attempt, bool& answered);
  std::optional<Step> pass_on(BrokerStream& stream, Attempt& attempt);
  Step browser_gone(BrokerStream& stream, Attempt& attempt);
  bool add_head(std::string_view payload);
  enum class Piece : std::uint8_t { read, failed, too_large };
  Piece read_piece();
  void begin_body(const ipc::RequestHead& head);

  HandlerContext context_;
  FcgiRequest request_;
  std::unique_ptr<char[]> piece_ = std::make_unique<char[]>(body_piece_bytes);

  // Of the request being served.
  std::string id_;
  std::string body_;       // what was read of the body, or only the last piece of it
  bool body_kept_ = true;  // body_ is all that was read
  std::uint64_t body_bytes_ = 0, body_bytes_max_ = 0;
  std::optional<std::uint64_t> content_length_;
  std::string_view body_limit_;
  std::string answer_head_;
  std::vector<BrokerStream::Event> events_;
};

}  // namespace postern::worker
