// What is given out against a random name, once and for a short time: who may have a stream, between the worker that
// has found out who asks and the listener that holds it. One loop; no I/O. Bounds: those of the constructor.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "postern/base/clock.hpp"
#include "postern/base/crypto.hpp"
#include "postern/base/encoding.hpp"

namespace postern::broker {

template <typename Value>
class Tickets {
 public:
  Tickets(std::size_t tickets_max, Duration lifetime) : tickets_max_(tickets_max), lifetime_(lifetime) {}

  // 192 random bits, as base64url. Empty if there are too many.
  std::string make(Value value, MonotonicTime now, Random& random) {
    if (given_.size() >= tickets_max_) return {};
    std::string octets(24, '\0');
    random.fill({reinterpret_cast<std::uint8_t*>(octets.data()), octets.size()});
    auto name = base64url_encode(octets);
    given_[name] = {std::move(value), now + lifetime_};
    return name;
  }
  // Nothing for one that was redeemed, that has run out, or that nobody has given.
  std::optional<Value> redeem(const std::string& name, MonotonicTime now) {
    auto node = given_.extract(name);
    if (node.empty() || node.mapped().until <= now) return std::nullopt;
    return std::move(node.mapped().value);
  }
  void forget_old(MonotonicTime now) {
    std::erase_if(given_, [now](const auto& entry) { return entry.second.until <= now; });
  }
  void clear() { given_.clear(); }
  std::size_t size() const { return given_.size(); }

 private:
  struct Given {
    Value value;
    MonotonicTime until;
  };
  const std::size_t tickets_max_;
  const Duration lifetime_;
  std::unordered_map<std::string, Given> given_;
};

}  // namespace postern::broker
