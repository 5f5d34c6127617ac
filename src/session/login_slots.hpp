// The right to have one login in flight on an IMAP server, handed on in the order of asking, across shards.
//
// LoginSlots is shared by the Servers of all shards; its mutex is held for a few instructions. Who waits stands in
// the queue by a ticket that its coroutine owns, and is woken by a task posted to its own loop: under the mutex, so
// that no ticket is used after its coroutine has taken it out. Bounds: logins_in_flight; the queue holds one ticket
// for each pool that is about to sign in.
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>
#include <boost/intrusive/list.hpp>

#include "postern/io/event.hpp"
#include "postern/session/server.hpp"

namespace postern::session {

// Given back at its end.
class LoginSlot {
 public:
  LoginSlot() = default;
  explicit LoginSlot(std::shared_ptr<LoginSlots> slots) : slots_(std::move(slots)) {}
  LoginSlot(LoginSlot&&) noexcept = default;
  LoginSlot& operator=(LoginSlot&& other) noexcept {
    std::swap(slots_, other.slots_);
    return *this;
  }
  ~LoginSlot();

 private:
  std::shared_ptr<LoginSlots> slots_;
};

class LoginSlots final {
 public:
  explicit LoginSlots(unsigned most) : most_(std::max(1u, most)) {}

  // First come, first served. overloaded when none was free until the deadline. `waiting` counts while it waits.
  static io::Task<Result<LoginSlot>> take(std::shared_ptr<LoginSlots> self, io::Loop& loop,
                                          MonotonicTime deadline, unsigned& waiting);

 private:
  friend class LoginSlot;
  // What the waiting coroutine and the task that wakes it share.
  struct Turn {
    explicit Turn(io::Loop& loop) : come(loop) {}
    io::Event come;
  };
  struct Ticket
      : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
    Ticket(LoginSlots& s, io::Loop& l) : slots(s), loop(l), turn(std::make_shared<Turn>(l)) {}
    ~Ticket();  // gives back a slot that was not taken
    LoginSlots& slots;
    io::Loop& loop;
    std::shared_ptr<Turn> turn;
    bool served = false;  // under the mutex
  };
  bool take_at_once();
  void stand_in_queue(Ticket& ticket);
  void give_back();

  const unsigned most_;
  std::mutex mutex_;
  unsigned in_flight_ = 0;
  boost::intrusive::list<Ticket, boost::intrusive::constant_time_size<false>> queue_;
};

}  // namespace postern::session
