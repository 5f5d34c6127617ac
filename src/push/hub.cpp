// The listeners' clocks and memories: what each was told, until when it is left in peace, and whom a write keeps.
#include "postern/push/hub.hpp"

#include <algorithm>

namespace postern::push {
namespace {

// Sessions of one account whose states are remembered between two polls.
constexpr std::size_t sessions_remembered_max = 256;
// How long a listener that is expected may be on its way at least.
constexpr Duration expected_at_least = std::chrono::seconds(30);

// States are numbers that only grow, some behind a prefix that stays ("1234-5").
bool is_later(std::string_view state, std::string_view other) {
  const auto split = [](std::string_view text) {
    const auto end = text.find_last_not_of("0123456789");
    const auto digits = end == std::string_view::npos ? 0 : end + 1;
    return std::pair(text.substr(0, digits), text.substr(digits));
  };
  const auto [prefix, number] = split(state);
  const auto [other_prefix, other_number] = split(other);
  return prefix == other_prefix && !number.empty() && !other_number.empty() &&
         std::pair(number.size(), number) < std::pair(other_number.size(), other_number);
}

// Takes over what is later than what is there. What an answer has said, or a listener comes with, the account itself
// may have told already, or may be about to. The vacation response has hashes for states: there, what is still as it
// was `before` is earlier.
void merge_later(States& states, const States& others, const States& before = {}) {
  for (std::size_t i = 0; i < data_types; ++i) {
    auto& state = states.of[i];
    const auto& other = others.of[i];
    if (other.empty()) continue;
    const bool hashed = i == static_cast<std::size_t>(DataType::vacation_response);
    if (state.empty() || (hashed ? state == before.of[i] : is_later(state, other))) state = other;
  }
}

}  // namespace

Hub::Hub(TimerQueue& timers, HubOptions options, WatchPort& watch)
    : timers_(timers), options_(options), watch_(watch) {}

Hub::~Hub() {
  for (auto& [id, listener] : listeners_) {
    timers_.cancel(listener.timer);
    timers_.cancel(listener.ping);
  }
  for (auto& [key, account] : accounts_) timers_.cancel(account.grace);
}

std::size_t Hub::listeners_of(AccountKey account) const {
  const auto it = accounts_.find(account);
  return it == accounts_.end() ? 0 : it->second.listeners.size();
}

std::vector<std::pair<AccountKey, std::string>> Hub::sessions() const {
  std::vector<std::pair<AccountKey, std::string>> all;
  for (const auto& [key, account] : accounts_)
    for (const auto& [name, session] : account.sessions)
      if (!session.listeners.empty()) all.emplace_back(key, name);
  return all;
}

Hub::Session* Hub::session_of(AccountKey account, const std::string& session) {
  const auto it = accounts_.find(account);
  if (it == accounts_.end()) return nullptr;
  const auto found = it->second.sessions.find(session);
  return found == it->second.sessions.end() ? nullptr : &found->second;
}

std::optional<ListenerId> Hub::add(ListenerOptions options, const States& now, Sink& sink) {
  if (is_full()) return std::nullopt;
  const auto key = options.account;
  const auto [it, first] = accounts_.try_emplace(key);
  timers_.cancel(std::exchange(it->second.grace, 0));
  const auto id = ++last_;
  it->second.listeners.insert(id);
  if (it->second.sessions.size() >= sessions_remembered_max)
    std::erase_if(it->second.sessions, [](const auto& known) {
      return known.second.listeners.empty() && known.second.writes == 0;
    });
  auto& session = it->second.sessions[options.session];
  session.listeners.insert(id);
  auto& listener = listeners_[id];
  listener.sink = &sink;
  if (options.known) {
    listener.told = *options.known;
  } else if (options.close_after_state) {
    // A poll that doesn't say what it knows: the session's other answers do. The first one is told all.
    listener.told = session.told;
  }
  listener.options = std::move(options);
  const auto oldest = one_too_many(session);
  arm_ping(id, listener);
  if (first) watch_.on_watch(key, true);
  if (oldest != 0) end(oldest, EndReason::replaced);
  note(key, now);
  return id;
}

ListenerId Hub::one_too_many(const Session& session) const {
  std::size_t streams = 0;
  ListenerId oldest = 0;
  for (const auto id : session.listeners) {
    if (listeners_.at(id).options.in_background) continue;
    if (streams++ == 0) oldest = id;
  }
  return streams > options_.listeners_per_session_max ? oldest : 0;
}

void Hub::drop_session(Account& account, const std::string& session) {
  const auto it = account.sessions.find(session);
  if (it != account.sessions.end() && it->second.listeners.empty() && it->second.writes == 0)
    account.sessions.erase(it);
}

void Hub::remove(ListenerId id) {
  const auto it = listeners_.find(id);
  if (it == listeners_.end()) return;
  timers_.cancel(it->second.timer);
  timers_.cancel(it->second.ping);
  const auto key = it->second.options.account;
  auto& account = accounts_.at(key);
  account.listeners.erase(id);
  account.sessions[it->second.options.session].listeners.erase(id);
  listeners_.erase(it);
  if (!account.listeners.empty() || account.grace != 0) return;
  begin_grace(key, account, options_.grace);
}

void Hub::begin_grace(AccountKey key, Account& account, Duration time) {
  timers_.cancel(account.grace);
  account.grace = timers_.add_after(time, [this, key] {
    accounts_.erase(key);
    watch_.on_watch(key, false);
  });
}

void Hub::expect(AccountKey key) {
  const auto [it, first] = accounts_.try_emplace(key);
  if (it->second.listeners.empty()) begin_grace(key, it->second, std::max(options_.grace, expected_at_least));
  if (first) watch_.on_watch(key, true);
}

void Hub::end(ListenerId id, EndReason reason) {
  const auto it = listeners_.find(id);
  if (it == listeners_.end()) return;
  auto* sink = it->second.sink;
  remove(id);
  sink->on_end(reason);
}

void Hub::on_states(AccountKey key, const States& states) {
  const auto it = accounts_.find(key);
  if (it == accounts_.end()) return;
  merge_states(it->second.now, states);
  tell_all(key);
}

States Hub::note(AccountKey key, const States& states) {
  const auto it = accounts_.find(key);
  if (it == accounts_.end()) return states;
  merge_later(it->second.now, states);
  const auto now = it->second.now;  // a sink may end the account
  tell_all(key);
  return now;
}

void Hub::tell_all(AccountKey key) {
  const auto it = accounts_.find(key);
  if (it == accounts_.end()) return;
  // Sinks may add and remove.
  for (const auto id : std::vector(it->second.listeners.begin(), it->second.listeners.end())) tell(id);
}

// Again at that time; an earlier one stays.
void Hub::hold(ListenerId id, Listener& listener, MonotonicTime until) {
  if (listener.timer != 0) return;
  listener.timer = timers_.add(until, [this, id] {
    listeners_.at(id).timer = 0;
    tell(id);
  });
}

void Hub::tell(ListenerId id) {
  const auto it = listeners_.find(id);
  if (it == listeners_.end()) return;
  auto& listener = it->second;
  auto& account = accounts_.at(listener.options.account);
  auto& session = account.sessions[listener.options.session];
  const auto types = changed_types(listener.told, account.now) & listener.options.types;
  if (types.empty()) {
    listener.held_since.reset();
    return;
  }
  const auto now = timers_.clock().now();
  if (session.writes > 0 && !listener.options.session.empty()) {
    if (!listener.held_since) listener.held_since = now;
    if (now < *listener.held_since + options_.own_write_max)
      return hold(id, listener, *listener.held_since + options_.own_write_max);
  }
  if (now < listener.quiet_until) return hold(id, listener, listener.quiet_until);
  listener.held_since.reset();
  listener.quiet_until = now + options_.coalesce;
  merge_states(listener.told, account.now);
  const bool last = listener.options.close_after_state;
  // A stream may have gone, and what it was told with it; a poll's client has asked for this one answer.
  if (last) merge_states(session.told, account.now, listener.options.types);
  arm_ping(id, listener);
  const auto states = account.now;  // the sink may end the account
  listener.sink->on_event({states, types});
  if (last) end(id, EndReason::event_sent);
}

// RFC 8620, 7.3: since the previous event.
void Hub::arm_ping(ListenerId id, Listener& listener) {
  timers_.cancel(std::exchange(listener.ping, 0));
  const auto seconds = listener.options.ping_seconds;
  if (seconds == 0) return;
  listener.ping = timers_.add_after(std::chrono::seconds(seconds), [this, id, seconds] {
    auto& due = listeners_.at(id);
    due.ping = 0;
    arm_ping(id, due);
    due.sink->on_ping(seconds);
  });
}

void Hub::write_begins(AccountKey account, const std::string& session) {
  auto* writer = session_of(account, session);
  if (writer != nullptr && writer->writes++ == 0) writer->before = accounts_.at(account).now;
}

void Hub::write_ends(AccountKey key, const std::string& session, const std::optional<States>& told) {
  auto* writer = session_of(key, session);
  if (writer == nullptr) return;
  if (writer->writes > 0) --writer->writes;
  const auto listeners = std::vector(writer->listeners.begin(), writer->listeners.end());
  if (told) {
    merge_later(accounts_.at(key).now, *told, writer->before);
    // New mail is nobody's own. Where some came meanwhile, what else has changed with it can't be told apart.
    const bool own = !changed_types(writer->before, *told).has(DataType::email_delivery);
    const auto take = [&](States& known) { merge_later(known, *told, known); };
    if (own) take(writer->told);
    for (const auto id : listeners)
      if (own) take(listeners_.at(id).told);
    merge_states(writer->before, *told);
  }
  if (writer->writes > 0) return;
  for (const auto id : listeners) {
    const auto it = listeners_.find(id);
    if (it == listeners_.end()) continue;
    timers_.cancel(std::exchange(it->second.timer, 0));
    tell(id);
  }
}

void Hub::end_session(AccountKey account, const std::string& session) {
  const auto* ending = session_of(account, session);
  if (ending == nullptr) return;
  for (const auto id : std::vector(ending->listeners.begin(), ending->listeners.end()))
    end(id, EndReason::session_ended);
  if (const auto it = accounts_.find(account); it != accounts_.end()) drop_session(it->second, session);
}

void Hub::end_account(AccountKey account) {
  const auto it = accounts_.find(account);
  if (it == accounts_.end()) return;
  for (const auto id : std::vector(it->second.listeners.begin(), it->second.listeners.end()))
    end(id, EndReason::session_ended);
}

void Hub::end_all(EndReason reason) {
  std::vector<ListenerId> all;
  all.reserve(listeners_.size());
  for (const auto& [id, listener] : listeners_) all.push_back(id);
  for (const auto id : all) end(id, reason);
}

}  // namespace postern::push
