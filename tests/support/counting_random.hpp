// Random octets that are none: 1, 2, 3 and so on, for what must come out the same each time.
#pragma once

#include <cstdint>
#include <span>

#include "postern/base/crypto.hpp"

namespace postern::test {

class CountingRandom final : public Random {
 public:
  void fill(std::span<std::uint8_t> out) override {
    for (auto& octet : out) octet = next_++;
  }

 private:
  std::uint8_t next_ = 1;
};

}  // namespace postern::test
