// See sign_in_throttle.hpp.
#include "postern/limits/sign_in_throttle.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <utility>

namespace postern::limits {
namespace {

std::string pair_of(std::string_view login, std::string_view network) {
  std::string key(network);
  key += '\n';
  key += login;
  return key;
}

std::string text_of(const Digest& digest) { return {digest.begin(), digest.end()}; }

}  // namespace

std::string network_of(std::string_view address) {
  std::string text(address.substr(0, address.find('%')));
  std::array<unsigned char, 16> octets{};
  if (::inet_pton(AF_INET, text.c_str(), octets.data()) == 1) return text;
  if (::inet_pton(AF_INET6, text.c_str(), octets.data()) != 1) return {};
  constexpr std::array<unsigned char, 12> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
  const bool is_mapped = std::equal(mapped.begin(), mapped.end(), octets.begin());
  if (!is_mapped) std::fill(octets.begin() + 8, octets.end(), 0);
  std::array<char, INET6_ADDRSTRLEN> out{};
  if (is_mapped) return ::inet_ntop(AF_INET, octets.data() + 12, out.data(), out.size());
  return std::string(::inet_ntop(AF_INET6, octets.data(), out.data(), out.size())) + "/64";
}

template <typename Value>
Value* SignInThrottle::Bounded<Value>::find(const std::string& key) {
  const auto found = values_.find(key);
  if (found == values_.end()) return nullptr;
  order_.splice(order_.end(), order_, found->second.place);
  return &found->second.value;
}

template <typename Value>
Value& SignInThrottle::Bounded<Value>::at(const std::string& key) {
  if (auto* value = find(key)) return *value;
  if (values_.size() >= entries_max) {
    values_.erase(order_.front());
    order_.pop_front();
  }
  order_.push_back(key);
  return values_.emplace(key, Node{{}, std::prev(order_.end())}).first->second.value;
}

template <typename Value>
void SignInThrottle::Bounded<Value>::erase(const std::string& key) {
  const auto found = values_.find(key);
  if (found == values_.end()) return;
  order_.erase(found->second.place);
  values_.erase(found);
}

// What is older than the window is forgotten.
SignInThrottle::Failures* SignInThrottle::current(Bounded<Failures>& table, const std::string& key,
                                                  MonotonicTime now) {
  auto* failures = table.find(key);
  if (failures == nullptr) return nullptr;
  if (now - failures->last >= options_.window) failures->count = 0;
  return failures;
}

Duration SignInThrottle::held_up(const Failures* failures, std::uint32_t most, Duration pause,
                                 MonotonicTime now) {
  if (failures == nullptr || failures->all() < most || failures->let_through == MonotonicTime{}) return {};
  return std::max(failures->let_through + pause - now, Duration::zero());
}

SignInThrottle::Verdict SignInThrottle::ask(std::string_view login, std::string_view network,
                                            const Digest& digest, MonotonicTime now) {
  if (!options_.enabled) return {};
  const auto pair = pair_of(login, network);
  const std::string by_login(login), by_network(network);
  Verdict verdict;
  const auto* good = good_.find(pair);
  // What was good here last isn't held up for some failures of others behind the same address.
  const bool known_good = good != nullptr && good->digest == digest;
  if (!known_good) {
    if (const auto* wrong = wrong_.find(text_of(digest)); wrong != nullptr) {
      const auto until = wrong->at + options_.wrong_password_window;
      if (until > now) return {Action::known_wrong, until - now};
    }
  }
  // The same at the same time: it waits as long as the first, so that asking twice spares nobody the delay.
  if (const auto same = trying_.find({pair, digest}); same != trying_.end()) {
    ++same->second.requests;
    return {Action::go, same->second.delay};
  }
  const auto* here = current(pairs_, pair, now);
  // Not even what was good may be compared without end: whoever guesses behind the owner's address would learn from the
  // answer which one it was.
  auto wait = held_up(here, options_.failures_max, pause_when_refused(good != nullptr), now);
  if (good == nullptr) {
    wait = std::max(
        wait, held_up(current(logins_, by_login, now), options_.login_failures_max, options_.delay_max, now));
    if (!by_network.empty())
      wait = std::max(wait, held_up(current(networks_, by_network, now), options_.address_failures_max,
                                    options_.delay_max, now));
  }
  if (wait > Duration::zero()) return {Action::refuse, wait};
  if (here != nullptr && !known_good && here->all() >= options_.free_failures &&
      here->all() < options_.failures_max) {
    const auto doublings = std::min(here->all() - options_.free_failures, 20u);
    const auto delay = std::min<Duration>(options_.delay_min * (1u << doublings), options_.delay_max);
    // From the last failure on; what is under way may be one any moment.
    const auto since = here->under_way > 0 ? Duration::zero() : Duration(now - here->last);
    verdict.delay = std::max(delay - since, Duration::zero());
  }
  // Only what is tried takes the place of others that are let through now and then, and only where it needs one.
  Trying begun{1, verdict.delay, now, {now, now, now}};
  const auto begin = [&](Bounded<Failures>& table, const std::string& key, bool takes_place, auto& before) {
    auto& failures = table.at(key);
    ++failures.under_way;
    if (takes_place) before = std::exchange(failures.let_through, now);
  };
  begin(pairs_, pair, true, begun.before[0]);
  begin(logins_, by_login, good == nullptr, begun.before[1]);
  if (!by_network.empty()) begin(networks_, by_network, good == nullptr, begun.before[2]);
  trying_[{pair, digest}] = begun;
  return verdict;
}

void SignInThrottle::count(Bounded<Failures>& table, const std::string& key, MonotonicTime now) const {
  auto& failures = table.at(key);
  if (now - failures.last >= options_.window) failures.count = 0;
  ++failures.count;
  failures.last = now;
}

void SignInThrottle::leave(Bounded<Failures>& table, const std::string& key) {
  auto* failures = table.find(key);
  if (failures == nullptr) return;
  if (failures->under_way > 0) --failures->under_way;
  if (failures->all() == 0) table.erase(key);
}

bool SignInThrottle::failed(std::string_view login, std::string_view network, const Digest& digest,
                            MonotonicTime now) {
  if (!options_.enabled) {
    leave(login, network, digest);
    return true;
  }
  // What was good has been changed.
  if (auto* good = good_.find(pair_of(login, network)); good != nullptr && good->digest == digest)
    good->digest = {};
  // A device that goes on showing an old password is no attack: the same counts once in a window.
  auto& wrong = wrong_.at(text_of(digest));
  const bool known = wrong.at != MonotonicTime{} && now - wrong.at < options_.window;
  wrong.at = now;
  if (!known) {
    count(pairs_, pair_of(login, network), now);
    count(logins_, std::string(login), now);
    if (!network.empty()) count(networks_, std::string(network), now);
  }
  leave(login, network, digest);
  return !known;
}

void SignInThrottle::succeeded(std::string_view login, std::string_view network, const Digest& digest,
                               MonotonicTime now) {
  if (!options_.enabled) return leave(login, network, digest);
  const auto pair = pair_of(login, network);
  // Once in a window all is forgiven: a client that shows the owner's password with each request must not cover for
  // whoever guesses at it from the same address. But where that has gone so far that the owner has to wait, half is.
  const auto* before = good_.find(pair);
  const bool fresh = before == nullptr || now - before->at >= options_.window;
  if (auto* failures = pairs_.find(pair)) {
    if (fresh)
      failures->count = 0;
    else if (failures->count >= options_.failures_max)
      failures->count = options_.failures_max / 2;
  }
  leave(login, network, digest);
  wrong_.erase(text_of(digest));
  if (network.empty()) return;
  // Many people behind one address: each who gets in makes up for failures of others, as often. One who signs in again
  // and again must not cover for their own guessing at other logins.
  if (auto* failures = fresh ? networks_.find(std::string(network)) : nullptr)
    failures->count -= std::min(failures->count, std::max(1u, failures->count / 8));
  auto& good = good_.at(pair);
  good.digest = digest;
  if (fresh) good.at = now;
}

void SignInThrottle::given_up(std::string_view login, std::string_view network, const Digest& digest) {
  const auto pair = pair_of(login, network);
  const auto trying = trying_.find({pair, digest});
  if (trying == trying_.end()) return;
  if (trying->second.requests == 1) {
    const auto& [requests, delay, at, before] = trying->second;
    const auto put_back = [&at](Bounded<Failures>& table, const std::string& key, MonotonicTime earlier) {
      if (auto* failures = table.find(key); failures != nullptr && failures->let_through == at)
        failures->let_through = earlier;
    };
    put_back(pairs_, pair, before[0]);
    put_back(logins_, std::string(login), before[1]);
    put_back(networks_, std::string(network), before[2]);
  }
  leave(login, network, digest);
}

void SignInThrottle::leave(std::string_view login, std::string_view network, const Digest& digest) {
  const auto trying = trying_.find({pair_of(login, network), digest});
  if (trying == trying_.end() || --trying->second.requests > 0) return;
  trying_.erase(trying);
  leave(pairs_, pair_of(login, network));
  leave(logins_, std::string(login));
  if (!network.empty()) leave(networks_, std::string(network));
}

}  // namespace postern::limits
