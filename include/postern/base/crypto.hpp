// The few cryptographic operations Postern needs, all of them OpenSSL's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "postern/base/error.hpp"
#include "postern/base/secret.hpp"

namespace postern {

using Digest = std::array<std::uint8_t, 32>;

Digest sha256(std::string_view data);
Digest hmac_sha256(std::string_view key, std::string_view data);
// HKDF (RFC 5869) with SHA-256; `size` is 1..255*32 octets.
Secret hkdf_sha256(std::string_view key, std::string_view salt, std::string_view info, std::size_t size);

// Randomness comes in from outside, too.
class Random {
 public:
  virtual ~Random() = default;
  virtual void fill(std::span<std::uint8_t> out) = 0;
  std::uint64_t u64();
};
class SystemRandom final : public Random {
 public:
  void fill(std::span<std::uint8_t> out) override;  // RAND_bytes; aborts when the system has no randomness
};

inline constexpr std::size_t seal_key_bytes = 32;
inline constexpr std::size_t seal_overhead_bytes = 12 + 16;  // nonce, tag
// AES-256-GCM: nonce | ciphertext | tag. `aad` is authenticated with it and must be the same to open it.
std::string seal(std::string_view key, std::string_view plain, std::string_view aad, Random& random);
enum class CryptoErrc { not_authentic = 1, malformed };
Result<Secret> unseal(std::string_view key, std::string_view sealed, std::string_view aad);

const std::error_category& crypto_category();
inline std::error_code make_error_code(CryptoErrc e) { return {static_cast<int>(e), crypto_category()}; }

}  // namespace postern
template <>
struct std::is_error_code_enum<postern::CryptoErrc> : std::true_type {};
