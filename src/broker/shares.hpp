// Something that there is a bounded amount of, for all together and for each: the memory of requests' bodies by
// account, the threads that delayed sign-ins hold by network. What is taken is given back when its share goes.
//
// On one loop. Holds an entry for each key that has a share.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <unordered_map>
#include <utility>

namespace postern::broker {

enum class ShareRefusal : std::uint8_t { of_one, of_all };
struct ShareLimits {
  std::uint64_t of_one = 0, of_all = 0;
};

template <typename Key>
class Shares {
  struct State {
    std::uint64_t taken = 0;
    std::unordered_map<Key, std::uint64_t> by_key;
  };

 public:
  // May outlive what it is a share of.
  class Share {
   public:
    Share(std::shared_ptr<State> state, const Key& key, std::uint64_t amount)
        : state_(std::move(state)), key_(key), amount_(amount) {
      state_->taken += amount_;
      state_->by_key[key_] += amount_;
    }
    Share(Share&& other) noexcept = default;
    Share& operator=(Share&&) = delete;
    ~Share() {
      if (!state_) return;
      state_->taken -= amount_;
      const auto it = state_->by_key.find(key_);
      it->second -= amount_;
      if (it->second == 0) state_->by_key.erase(it);
    }

   private:
    std::shared_ptr<State> state_;
    Key key_;
    std::uint64_t amount_;
  };

  // Where nothing is taken yet there is room for any one amount.
  std::expected<Share, ShareRefusal> take(const Key& key, std::uint64_t amount, const ShareLimits& limits) {
    const auto it = state_->by_key.find(key);
    const auto own = it == state_->by_key.end() ? 0 : it->second;
    if (own > 0 && own + amount > limits.of_one) return std::unexpected(ShareRefusal::of_one);
    if (state_->taken > 0 && state_->taken + amount > limits.of_all)
      return std::unexpected(ShareRefusal::of_all);
    return Share(state_, key, amount);
  }
  std::uint64_t taken() const { return state_->taken; }

 private:
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace postern::broker
