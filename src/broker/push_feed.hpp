// From the accounts of one shard to the hub: which states are new, once a turn of the loop.
//
// Called on the shard's loop; what it says runs on the hub's. Outlives the shard's accounts.
#pragma once

#include <functional>
#include <memory>
#include <set>

#include "postern/io/loop.hpp"
#include "postern/mail/account.hpp"
#include "postern/push/state_change.hpp"

namespace postern::broker {

// The states of all types that the account has, as they are told to clients. On the account's loop.
push::States states_of(mail::Account& account);

class PushFeed final : public mail::StateObserver {
 public:
  struct Listener {
    std::function<void(store::AccountKey, push::States)> changed;
    std::function<void(store::AccountKey)> refused;
  };
  // The listener is called on `home`, for as long as it lives.
  PushFeed(io::Loop& loop, io::Loop& home, std::weak_ptr<Listener> listener)
      : loop_(loop), home_(home), listener_(std::move(listener)) {}

 private:
  void on_state_changed(mail::Account& account, mail::StateType type) override;
  void on_watch_refused(mail::Account& account) override;

  io::Loop& loop_;
  io::Loop& home_;
  std::weak_ptr<Listener> listener_;
  std::set<store::AccountKey> noted_;
};

}  // namespace postern::broker
