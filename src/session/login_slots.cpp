// Slots, tickets and who is next.
#include "session/login_slots.hpp"

namespace postern::session {

std::shared_ptr<LoginSlots> make_login_slots(unsigned logins_in_flight) {
  return std::make_shared<LoginSlots>(logins_in_flight);
}

LoginSlot::~LoginSlot() {
  if (slots_) slots_->give_back();
}

bool LoginSlots::take_at_once() {
  const std::lock_guard lock(mutex_);
  if (in_flight_ >= most_ || !queue_.empty()) return false;
  ++in_flight_;
  return true;
}

void LoginSlots::stand_in_queue(Ticket& ticket) {
  const std::lock_guard lock(mutex_);
  if (in_flight_ < most_ && queue_.empty()) {  // one was given back meanwhile
    ++in_flight_;
    ticket.served = true;
    ticket.turn->come.set();
  } else {
    queue_.push_back(ticket);
  }
}

// The slot goes from hand to hand.
void LoginSlots::give_back() {
  const std::lock_guard lock(mutex_);
  if (queue_.empty()) {
    --in_flight_;
    return;
  }
  auto& next = queue_.front();
  queue_.pop_front();
  next.served = true;
  next.loop.post([turn = next.turn] { turn->come.set(); });
}

LoginSlots::Ticket::~Ticket() {
  {
    const std::lock_guard lock(slots.mutex_);
    if (is_linked()) unlink();
    if (!served) return;
  }
  slots.give_back();
}

io::Task<Result<LoginSlot>> LoginSlots::take(std::shared_ptr<LoginSlots> self, io::Loop& loop,
                                             MonotonicTime deadline, unsigned& waiting) {
  if (self->take_at_once()) co_return LoginSlot(self);
  struct Count {
    unsigned& gauge;
    explicit Count(unsigned& g) : gauge(g) { ++gauge; }
    ~Count() { --gauge; }
  } count{waiting};
  Ticket ticket(*self, loop);
  self->stand_in_queue(ticket);
  co_await ticket.turn->come.wait_until(deadline);
  const std::lock_guard lock(self->mutex_);
  if (!ticket.served) co_return fail(Errc::overloaded, "logins to the IMAP server");
  ticket.served = false;  // it's the LoginSlot's to give back from here on
  co_return LoginSlot(self);
}

}  // namespace postern::session
