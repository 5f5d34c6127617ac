// Who may try to sign in, and how soon: by login and by where the client is. docs/limits.md has the rules.
//
// Plain object on one loop; time comes in. Whatever happens, a login is tried now and then from anywhere, so that
// nobody is locked out for good; and from where somebody has signed in before, failures elsewhere don't count. Bounds:
// entries_max of each kind; the ones used the longest ago go.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "postern/base/clock.hpp"
#include "postern/base/crypto.hpp"

namespace postern::limits {

struct ThrottleOptions {
  bool enabled = true;
  std::uint32_t free_failures = 3;               // of one login from one place, before there are delays
  Duration delay_min = std::chrono::seconds(1);  // of the next try; twice that with each failure more
  Duration delay_max = std::chrono::seconds(30);
  // Of one login from one place, before it is refused but for one try in window / failures_max.
  std::uint32_t failures_max = 10;
  std::uint32_t login_failures_max = 50;       // of one login from everywhere
  std::uint32_t address_failures_max = 200;    // of one place with any logins
  Duration window = std::chrono::minutes(15);  // failures are forgotten when there was none for that long
  Duration wrong_password_window = std::chrono::minutes(1);  // a wrong password isn't tried again within it
};

// Where a client is, as far as it counts: an IPv4 address, the first 64 bits of an IPv6 one; empty for what is no
// address (a Unix socket), which counts for nothing.
std::string network_of(std::string_view address);

class SignInThrottle {
 public:
  static constexpr std::size_t entries_max = 100'000;

  explicit SignInThrottle(ThrottleOptions options) : options_(options) {}
  void set_options(ThrottleOptions options) { options_ = options; }

  enum class Action : std::uint8_t {
    go,           // try it after `delay`
    known_wrong,  // the same has been refused just now: refuse it, and leave the server alone
    refuse,       // come again after `delay`
  };
  struct Verdict {
    Action action = Action::go;
    Duration delay{};
  };
  // Of one try. `digest` stands for login and password, under a key that is this process's alone. After `go`, one of
  // failed(), succeeded() and given_up() must follow: tries under way count as if they had failed. Several at once from
  // one place with one password are one try: a page that begins with ten requests is no attack.
  Verdict ask(std::string_view login, std::string_view network, const Digest& digest, MonotonicTime now);
  // Whether that counts: not what has been refused a short time ago, too.
  bool failed(std::string_view login, std::string_view network, const Digest& digest, MonotonicTime now);
  void succeeded(std::string_view login, std::string_view network, const Digest& digest, MonotonicTime now);
  // The server was not asked, or didn't answer: it has taken nobody's place.
  void given_up(std::string_view login, std::string_view network, const Digest& digest);

 private:
  struct Failures {
    std::uint32_t count = 0, under_way = 0;
    MonotonicTime last{}, let_through{};
    std::uint32_t all() const { return count + under_way; }
  };
  template <typename Value>
  class Bounded {
   public:
    Value* find(const std::string& key);
    Value& at(const std::string& key);  // made if there is none
    void erase(const std::string& key);
    std::size_t size() const { return values_.size(); }

   private:
    struct Node {
      Value value;
      std::list<std::string>::iterator place;
    };
    std::unordered_map<std::string, Node> values_;
    std::list<std::string> order_;  // the one used the longest ago first
  };
  struct Good {
    Digest digest{};     // of the last that was good there; zeros when it is no longer
    MonotonicTime at{};  // when it made up for failures
  };
  struct Wrong {
    MonotonicTime at{};
  };

  Failures* current(Bounded<Failures>& table, const std::string& key, MonotonicTime now);
  // How long yet: over the limit one try in `pause` is let through.
  static Duration held_up(const Failures* failures, std::uint32_t most, Duration pause, MonotonicTime now);
  // As many tries in a window as there were before it was refused; some more where somebody is known to sign in from.
  Duration pause_when_refused(bool known_here) const {
    const Duration pause = options_.window / options_.failures_max;
    return known_here ? std::min(pause, options_.delay_max) : pause;
  }
  void count(Bounded<Failures>& table, const std::string& key, MonotonicTime now) const;
  static void leave(Bounded<Failures>& table, const std::string& key);
  void leave(std::string_view login, std::string_view network, const Digest& digest);

  ThrottleOptions options_;
  Bounded<Failures> pairs_, logins_, networks_;
  Bounded<Good> good_;    // by pair
  Bounded<Wrong> wrong_;  // by digest
  struct Trying {
    std::uint32_t requests = 0;
    Duration delay{};
    MonotonicTime at{};
    // let_through of pair, login and network until then; `at` where no place was taken.
    std::array<MonotonicTime, 3> before{};
  };
  std::map<std::pair<std::string, Digest>, Trying> trying_;  // by pair; as many as there are requests at most
};

}  // namespace postern::limits
