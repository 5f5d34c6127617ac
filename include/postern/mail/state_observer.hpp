// Whoever wants to hear that an account's states are other ones now.
#pragma once

#include "postern/mail/mailstore.hpp"

namespace postern::mail {

class Account;

// Called on the account's loop in the middle of whatever has changed it: only takes note. Outlives the account.
class StateObserver {
 public:
  virtual ~StateObserver() = default;
  virtual void on_state_changed(Account& account, StateType type) = 0;
  // The server refuses the credentials, so that nothing can be watched any more.
  virtual void on_watch_refused(Account& account) { (void)account; }
};

}  // namespace postern::mail
