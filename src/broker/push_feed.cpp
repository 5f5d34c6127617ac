// Posted twice: to the end of this turn, when all that belongs together has changed, and to the hub's loop.
#include "broker/push_feed.hpp"

namespace postern::broker {

push::States states_of(mail::Account& account) {
  using mail::StateType;
  using push::DataType;
  push::States states;
  states[DataType::mailbox] = account.state(StateType::mailbox);
  states[DataType::email] = account.state(StateType::email);
  states[DataType::thread] = account.state(StateType::thread);
  states[DataType::email_delivery] = account.state(StateType::email_delivery);
  states[DataType::vacation_response] = account.state(StateType::vacation);
  if (account.known_features().quotas) states[DataType::quota] = account.state(StateType::quota);
  return states;
}

void PushFeed::on_state_changed(mail::Account& account, mail::StateType) {
  if (!account.watched() || !noted_.insert(account.key()).second) return;
  loop_.post([this, weak = account.weak_from_this(), key = account.key()] {
    noted_.erase(key);
    const auto alive = weak.lock();
    if (!alive) return;
    home_.post([listener = listener_, key, states = states_of(*alive)] {
      if (const auto there = listener.lock()) there->changed(key, states);
    });
  });
}

void PushFeed::on_watch_refused(mail::Account& account) {
  home_.post([listener = listener_, key = account.key()] {
    if (const auto there = listener.lock()) there->refused(key);
  });
}

}  // namespace postern::broker
