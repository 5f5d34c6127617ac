// The transitions, and why a request is given up: once effects were announced, its outcome is unknown.
#include "worker/attempt.hpp"

#include <cassert>

namespace postern::worker {

MonotonicTime Attempt::deadline() {
  if (!deadline_) deadline_ = clock_.now() + wait_;
  return *deadline_;
}

void Attempt::sent() {
  assert(state_ == State::waiting);
  state_ = State::sent;
  ++sends_;
}

void Attempt::effects_announced() {
  if (state_ == State::sent) state_ = State::effects;
}

void Attempt::response_begun() {
  assert(state_ != State::finished);
  state_ = State::responding;
}

void Attempt::body_dropped() { body_whole_ = false; }

Attempt::Action Attempt::finished() {
  state_ = State::finished;
  return Action::none;
}

Attempt::Action Attempt::give_up(Unavailable why) {
  why_ = why;
  state_ = State::finished;
  return Action::answer;
}

Attempt::Action Attempt::again() {
  return deadline() > clock_.now() ? Action::send : give_up(Unavailable::broker_away);
}

Attempt::Action Attempt::connection_lost() {
  switch (state_) {
    case State::responding: state_ = State::finished; return Action::cut_off;
    case State::effects: return give_up(Unavailable::outcome_unknown);
    case State::sent:
      if (!body_whole_ || sends_ >= sends_max) return give_up(Unavailable::broker_away);
      state_ = State::waiting;
      // The first loss begins the wait anew; what follows must do with what is left of it.
      if (sends_ == 1) deadline_ = clock_.now() + wait_;
      return again();
    case State::waiting: return again();
    case State::finished: return Action::none;
  }
  return Action::none;
}

Attempt::Action Attempt::cancelled(bool refused) {
  // Not begun, so it counts for nothing; the deadline ends it.
  if (refused && state_ == State::sent) {
    if (!body_whole_) return give_up(Unavailable::broker_away);
    --sends_;
    state_ = State::waiting;
    return again();
  }
  switch (state_) {
    case State::responding: state_ = State::finished; return Action::cut_off;
    case State::effects: return give_up(Unavailable::outcome_unknown);
    case State::sent:
    case State::waiting: return give_up(Unavailable::broker_failed);
    case State::finished: return Action::none;
  }
  return Action::none;
}

Attempt::Action Attempt::no_broker(Unavailable why) { return give_up(why); }

}  // namespace postern::worker
