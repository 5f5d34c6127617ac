// Who listens to which account, and what each of them is told when: the core of pushing, without I/O.
//
// One object, on one loop, by whose timers all of its time goes. A listener is an event stream, a long poll or a
// channel at a front end; how it is reached is its Sink's business. The first change is told at once, what follows
// within `coalesce` together after that. A session's own changes are not told to it: while it writes, its listeners
// wait, and what its answer has said is known to it then. Bounds: listeners_max, listeners_per_session_max.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "postern/base/timer_queue.hpp"
#include "postern/push/state_change.hpp"

namespace postern::push {

using AccountKey = std::uint64_t;  // store::AccountKey
using ListenerId = std::uint64_t;  // 0 is none

struct HubOptions {
  Duration coalesce = std::chrono::milliseconds(50);
  Duration grace = std::chrono::seconds(60);  // how long an account is watched on without listeners
  // How long a session that writes may keep its listeners waiting.
  Duration own_write_max = std::chrono::seconds(10);
  std::size_t listeners_max = 100'000;
  std::size_t listeners_per_session_max = 16;
};

struct StateEvent {
  const States& states;  // all that is known now
  TypeSet types;         // what this listener is told of them
};
enum class EndReason : std::uint8_t {
  event_sent,     // it wanted one event only
  session_ended,  // logged out, or the credentials are refused
  replaced,       // the same session has too many
  stopping,
};

// A listener's way out. Called from the loop; may call remove(), also for itself.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void on_event(const StateEvent& event) = 0;
  virtual void on_ping(std::uint32_t seconds) { (void)seconds; }
  virtual void on_end(EndReason reason) = 0;  // it has been removed; the last call
};

// Told which accounts have to be watched. Called from within the hub's methods: only takes note, or posts.
class WatchPort {
 public:
  virtual ~WatchPort() = default;
  virtual void on_watch(AccountKey account, bool wanted) = 0;
};

struct ListenerOptions {
  AccountKey account = 0;
  std::string session = {};  // whose changes it doesn't hear; empty: nobody's
  TypeSet types = TypeSet::all();
  bool close_after_state = false;
  std::uint32_t ping_seconds = 0;
  // A push subscription: not one of the streams that a session may have so many of.
  bool in_background = false;
  std::optional<States> known = {};  // what it has been told before (Last-Event-ID)
  // Without `known`, one that stays open is told all states at first; one that ends after an event only those that
  // the session's polls were not told before, if anything was.
};

class Hub {
 public:
  Hub(TimerQueue& timers, HubOptions options, WatchPort& watch);
  ~Hub();
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;
  void set_options(const HubOptions& options) { options_ = options; }

  // nullopt: there are listeners_max. The session's oldest goes where it has too many. `now`: the account's states,
  // as far as the caller knows them. The sink may be called before this returns.
  std::optional<ListenerId> add(ListenerOptions options, const States& now, Sink& sink);
  bool is_full() const { return listeners_.size() >= options_.listeners_max; }
  void remove(ListenerId id);  // without on_end()

  // A listener of this account is on its way, whose states are being asked for: what is told of it from now on counts
  // when add() comes with states that are older. For a while only.
  void expect(AccountKey account);
  // The account's states are these now.
  void on_states(AccountKey account, const States& states);
  // The account was in these states a while ago, as somebody was told who is no listener. What it is in now, as far as
  // that is known.
  States note(AccountKey account, const States& states);
  // A request of the session begins to change something, or ends; `told`: the states its answer has said.
  void write_begins(AccountKey account, const std::string& session);
  void write_ends(AccountKey account, const std::string& session, const std::optional<States>& told);

  void end_session(AccountKey account, const std::string& session);
  void end_account(AccountKey account);
  void end_all(EndReason reason);

  bool is_watched(AccountKey account) const { return accounts_.contains(account); }
  std::size_t listeners() const { return listeners_.size(); }
  std::size_t listeners_of(AccountKey account) const;
  // Those that have listeners.
  std::vector<std::pair<AccountKey, std::string>> sessions() const;
  std::size_t accounts() const { return accounts_.size(); }

 private:
  struct Session {
    unsigned writes = 0;
    States before;  // the account's when the write began
    States told;    // by the answers to its polls, and to its own changes
    std::set<ListenerId> listeners;
  };
  struct Account {
    States now;
    std::set<ListenerId> listeners;
    std::map<std::string, Session> sessions;
    TimerId grace = 0;
  };
  struct Listener {
    ListenerOptions options;
    Sink* sink = nullptr;
    States told;
    MonotonicTime quiet_until{};
    TimerId timer = 0;
    TimerId ping = 0;
    std::optional<MonotonicTime> held_since;  // waits for the end of its session's write
  };
  void tell(ListenerId id);
  void tell_all(AccountKey account);
  void begin_grace(AccountKey key, Account& account, Duration time);
  void hold(ListenerId id, Listener& listener, MonotonicTime until);
  void arm_ping(ListenerId id, Listener& listener);
  void end(ListenerId id, EndReason reason);
  void drop_session(Account& account, const std::string& session);
  Session* session_of(AccountKey account, const std::string& session);
  // The oldest of the session's streams, where it has too many; else 0.
  ListenerId one_too_many(const Session& session) const;

  TimerQueue& timers_;
  HubOptions options_;
  WatchPort& watch_;
  std::unordered_map<AccountKey, Account> accounts_;
  std::unordered_map<ListenerId, Listener> listeners_;
  ListenerId last_ = 0;
};

}  // namespace postern::push
