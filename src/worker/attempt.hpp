// Whether a request may be sent again when the broker is lost, as a state machine without I/O.
//
// One a request, used by its thread only. The rule: a request is sent again only while it can have changed
// nothing (no `effects` frame), nothing of an answer has reached the browser, and its body is still whole; and
// sends_max times at most, lest a request that kills the broker does so without end.
#pragma once

#include <cstdint>
#include <optional>

#include "postern/base/clock.hpp"
#include "worker/problem.hpp"

namespace postern::worker {

class Attempt {
 public:
  enum class State : std::uint8_t {
    waiting,     // no broker has it
    sent,        // a broker has it, or parts of it; it has changed nothing
    effects,     // it may have changed something
    responding,  // the browser has the beginning of an answer
    finished,    // answered, or given up
  };
  enum class Action : std::uint8_t {
    send,     // get a connection (until deadline()) and send the request
    answer,   // answer with unavailable(why())
    cut_off,  // the answer can't be completed: close the web server's connection without its end
    none,     // go on
  };

  // `wait`: how long the request may wait for a broker; anew from when it first loses one.
  Attempt(const Clock& clock, Duration wait) : clock_(clock), wait_(wait) {}

  State state() const { return state_; }
  Unavailable why() const { return why_; }
  // When the wait for a broker ends.
  MonotonicTime deadline();

  Action begin() { return Action::send; }
  void sent();               // the request frame went out on a connection
  void effects_announced();  // the effects frame has come
  void response_begun();     // the first octet goes to the browser
  void body_dropped();       // the body was too long to keep; it can't be sent again
  Action finished();         // the answer is complete
  Action connection_lost();  // while sent, effects or responding
  // The broker cancelled the stream. `refused`: it has not begun it.
  Action cancelled(bool refused);
  Action no_broker(Unavailable why);  // none could be had within the wait

  static constexpr unsigned sends_max = 3;

 private:
  Action again();
  Action give_up(Unavailable why);

  const Clock& clock_;
  Duration wait_;
  State state_ = State::waiting;
  Unavailable why_ = Unavailable::broker_away;
  std::optional<MonotonicTime> deadline_;
  bool body_whole_ = true;
  unsigned sends_ = 0;
};

}  // namespace postern::worker
