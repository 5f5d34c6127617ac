// The life of a request: head, gate, body, broker, answer; the exchange begins again where Attempt allows it.
#include "worker/handler.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace postern::worker {

int Handler::serve(int fd) {
  if (!request_.begin(fd)) return -1;
  run();
  events_.clear();
  if (body_.capacity() > 2 * body_piece_bytes) body_ = {};
  return request_.finish();
}

void Handler::run() {
  auto head = request_head(request_.parameters(), context_.options.head, context_.random);
  if (!head) {
    context_.logger.info("request refused",
                         {{"status", head.error().status}, {"reason", head.error().detail}});
    return answer(problem(head.error().status, head.error().detail));
  }
  id_ = head->id;
  GateView view;
  view.liveness = [this](const store::TokenHash& hash) { return context_.segment.liveness(hash); };
  view.usage = [this](const store::TokenHash& hash) { return context_.segment.usage(hash); };
  view.limits = context_.segment.body_limits();
  view.now = unix_seconds(context_.clock.wall());
  body_bytes_max_ = body_bytes_max(*head, context_.options.gate, view.limits);
  if (const auto refusal = refuse(*head, context_.options.gate, view)) {
    context_.logger.info("request refused", {{"request", id_}, {"status", refusal->head.status}});
    return answer(*refusal);
  }
  const auto encoded = encode_head(*head);
  if (!encoded) {
    context_.logger.info("request refused", {{"request", id_}, {"status", encoded.error().status}});
    return answer(problem(encoded.error().status, encoded.error().detail));
  }
  begin_body(*head);
  exchange(*encoded);
}

void Handler::answer(const Answer& answer) {
  answer_head_ = fmt::format("Status: {} {}\r\n", answer.head.status, reason_phrase(answer.head.status));
  for (const auto& [name, value] : answer.head.fields) answer_head_ += fmt::format("{}: {}\r\n", name, value);
  answer_head_ += "\r\n";
  request_.add(answer_head_);
  request_.add(answer.body);
  request_.write(true);
}

void Handler::begin_body(const ipc::RequestHead& head) {
  body_.clear();
  body_kept_ = true;
  body_bytes_ = 0;
  content_length_ = head.content_length;
  body_limit_ = body_limit_name(head);
}

// Reads on in the body. One octet more than Content-Length is asked for, so that the body's end is seen.
Handler::Piece Handler::read_piece() {
  std::size_t wanted = body_piece_bytes;
  if (content_length_) {
    wanted = static_cast<std::size_t>(std::min<std::uint64_t>(wanted, *content_length_ - body_bytes_ + 1));
  }
  const auto got = request_.read_body(piece_.get(), wanted);
  body_bytes_ += got;
  if (request_.body_failed()) return Piece::failed;
  if (content_length_ &&
      (body_bytes_ > *content_length_ || (request_.body_ended() && body_bytes_ < *content_length_))) {
    return Piece::failed;
  }
  if (body_bytes_ > body_bytes_max_) return Piece::too_large;
  if (body_kept_ && body_.size() + got > body_kept_bytes_max) body_kept_ = false;
  if (!body_kept_) body_.clear();
  body_.append(piece_.get(), got);
  return Piece::read;
}

void Handler::exchange(const std::string& encoded) {
  // The beginning of the body (mostly all of it) before the broker is bothered.
  switch (read_piece()) {
    case Piece::read: break;
    case Piece::failed: context_.logger.debug("browser gone", {{"request", id_}}); return;
    case Piece::too_large: return answer(body_too_large(body_limit_));
  }
  Attempt attempt(context_.clock, context_.options.broker_wait);
  auto action = attempt.begin();
  while (action == Attempt::Action::send) {
    if (const auto why = wait_while_draining(attempt)) {
      action = attempt.no_broker(*why);
      break;
    }
    auto connection = context_.link.get(attempt.deadline());
    if (!connection) {
      action = attempt.no_broker(connection.error());
      break;
    }
    const auto step = try_once(*connection, encoded, attempt);
    action = settle(step, attempt, **connection);
  }
  switch (action) {
    case Attempt::Action::answer: {
      const auto refusal = unavailable(attempt.why());
      context_.logger.warning(
          "request not answered",
          {{"request", id_},
           {"status", refusal.head.status},
           {"outcome", attempt.why() == Unavailable::outcome_unknown ? "unknown" : "not done"}});
      return answer(refusal);
    }
    case Attempt::Action::cut_off: context_.logger.warning("answer cut off", {{"request", id_}}); return;
    case Attempt::Action::send:
    case Attempt::Action::none: return;
  }
}

// A broker that is about to go takes no requests: the next one does, or this one when it has thought better of it.
std::optional<Unavailable> Handler::wait_while_draining(Attempt& attempt) {
  while (context_.segment.draining()) {
    if (context_.clock.now() >= attempt.deadline()) return Unavailable::broker_away;
    if (!context_.link.pause()) return Unavailable::stopping;
  }
  return std::nullopt;
}

Attempt::Action Handler::settle(Step step, Attempt& attempt, BrokerConnection& connection) {
  switch (step) {
    case Step::done: return Attempt::Action::none;
    case Step::lost: return attempt.connection_lost();
    case Step::cancelled: return attempt.cancelled(false);
    case Step::refused: {
      connection.retire();
      const auto action = attempt.cancelled(true);
      if (action == Attempt::Action::send) context_.link.pause();
      return action;
    }
  }
  return Attempt::Action::none;
}

Handler::Step Handler::try_once(std::shared_ptr<BrokerConnection> connection, const std::string& encoded,
                                Attempt& attempt) {
  BrokerStream stream(std::move(connection));
  events_.clear();
  const auto at = stream.open(encoded, body_, request_.body_ended());
  attempt.sent();
  if (!stream.body_sent()) {
    if (const auto step = send_body(stream, at, attempt)) return *step;
  }
  for (;;) {
    if (const auto step = pass_on(stream, attempt)) return *step;
    switch (stream.wait(events_, false)) {
      case BrokerStream::Wake::ready: break;
      case BrokerStream::Wake::lost: return Step::lost;
      case BrokerStream::Wake::tick:
        if (request_.web_server_gone()) return browser_gone(stream, attempt);
        break;
    }
  }
}

// Sends body_ from `at`, and what can still be read. It stops early when the answer comes early.
std::optional<Handler::Step> Handler::send_body(BrokerStream& stream, std::size_t at, Attempt& attempt) {
  for (;;) {
    while (at < body_.size()) {
      const auto sent = stream.send_body(std::string_view(body_).substr(at), request_.body_ended());
      at += sent;
      if (sent > 0) continue;
      bool answered = false;
      if (const auto step = wait_for_credit(stream, attempt, answered)) return step;
      if (answered) return std::nullopt;
    }
    if (stream.body_sent()) return std::nullopt;
    if (request_.body_ended()) {
      stream.send_body({}, true);
      return std::nullopt;
    }
    switch (read_piece()) {
      case Piece::read: break;
      case Piece::failed: return browser_gone(stream, attempt);
      case Piece::too_large:
        stream.cancel(ipc::CancelReason::protocol);
        attempt.finished();
        answer(body_too_large(body_limit_));
        return Step::done;
    }
    if (!body_kept_) {
      attempt.body_dropped();
      at = 0;
    }
  }
}

std::optional<Handler::Step> Handler::wait_for_credit(BrokerStream& stream, Attempt& attempt,
                                                      bool& answered) {
  switch (stream.wait(events_, true)) {
    case BrokerStream::Wake::ready: break;
    case BrokerStream::Wake::lost: return Step::lost;
    case BrokerStream::Wake::tick:
      if (request_.web_server_gone()) return browser_gone(stream, attempt);
      return std::nullopt;
  }
  for (const auto& event : events_) {
    if (event.kind == BrokerStream::Kind::effects) {
      attempt.effects_announced();
    } else {
      answered = true;  // pass_on takes the events
    }
  }
  if (!answered) events_.clear();
  return std::nullopt;
}

Handler::Step Handler::browser_gone(BrokerStream& stream, Attempt& attempt) {
  context_.logger.debug("browser gone", {{"request", id_}});
  stream.cancel(ipc::CancelReason::browser_gone);
  attempt.finished();
  return Step::done;
}

bool Handler::add_head(std::string_view payload) {
  const auto head = ipc::parse_response_head(payload);
  if (!head) {
    context_.logger.error("malformed answer", {{"request", id_}, {"reason", head.error().to_string()}});
    return false;
  }
  answer_head_ = fmt::format("Status: {} {}\r\n", head->status, reason_phrase(head->status));
  for (const auto& [name, value] : head->fields) {
    answer_head_.append(name).append(": ").append(value).append("\r\n");
  }
  answer_head_ += "\r\n";
  request_.add(answer_head_);
  return true;
}

// Passes what has come to the web server, in one write if it can be.
std::optional<Handler::Step> Handler::pass_on(BrokerStream& stream, Attempt& attempt) {
  std::size_t data_bytes = 0;
  bool any = false;
  bool end = false;
  for (const auto& event : events_) {
    switch (event.kind) {
      case BrokerStream::Kind::effects: attempt.effects_announced(); continue;
      case BrokerStream::Kind::cancelled:
        request_.discard();
        return event.reason == ipc::CancelReason::refused ? Step::refused : Step::cancelled;
      case BrokerStream::Kind::response:
        if (!add_head(event.payload)) {
          stream.cancel(ipc::CancelReason::protocol);
          return Step::cancelled;
        }
        break;
      case BrokerStream::Kind::data:
        data_bytes += event.payload.size();
        request_.add(event.payload);
        break;
    }
    any = true;
    end = event.end;
    if (request_.full() && !end) {
      attempt.response_begun();
      if (!request_.write(false)) return browser_gone(stream, attempt);
    }
  }
  if (any) {
    attempt.response_begun();
    if (!request_.write(end)) return browser_gone(stream, attempt);
  }
  events_.clear();
  if (end) {
    attempt.finished();
    return Step::done;
  }
  if (data_bytes > 0) stream.consumed(data_bytes);
  return std::nullopt;
}

}  // namespace postern::worker
