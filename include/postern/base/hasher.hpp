// Digests of what is never in memory as a whole; those of what is, are in crypto.hpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace postern {

// A digest of octets that come in pieces.
class Hasher {
 public:
  enum class Algorithm : std::uint8_t { sha1, sha256 };
  explicit Hasher(Algorithm algorithm);
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;

  void update(std::string_view octets);
  // The digest's octets. Nothing may follow.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace postern
