// Keys on the curve P-256: agreement (ECDH), signatures (ES256 of RFC 7518), and AES-128-GCM as RFC 8188 uses it.
//
// A P256Key is immutable; any thread. A failure of OpenSSL itself throws std::runtime_error, as in crypto.hpp.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "postern/base/crypto.hpp"
#include "postern/base/secret.hpp"

namespace postern {

inline constexpr std::size_t p256_scalar_bytes = 32;     // of a private key
inline constexpr std::size_t p256_point_bytes = 65;      // of a public key, uncompressed (SEC 1, 2.3.3)
inline constexpr std::size_t p256_signature_bytes = 64;  // r and s, one behind the other

// Is it an uncompressed point of the curve?
bool is_p256_point(std::string_view point);

class P256Key {
 public:
  static P256Key generate(Random& random);
  // CryptoErrc::malformed: no such private key.
  static Result<P256Key> from_scalar(std::string_view scalar);
  static Result<P256Key> from_pem(std::string_view pem);
  P256Key(P256Key&&) noexcept;
  P256Key& operator=(P256Key&&) noexcept;
  ~P256Key();

  Secret to_pem() const;  // PKCS #8
  const std::string& point() const { return point_; }
  // The x-coordinate that both ends of an agreement come to. CryptoErrc::malformed: `peer` is no point.
  Result<Secret> agree(std::string_view peer) const;
  // ECDSA with SHA-256 of `data`.
  std::string sign(std::string_view data) const;

 private:
  struct State;
  P256Key(std::unique_ptr<State> state, std::string point);
  std::unique_ptr<State> state_;
  std::string point_;
};
// Does the signature of `data` belong to this public key?
bool verify_p256(std::string_view point, std::string_view data, std::string_view signature);

// AES-128-GCM: ciphertext and tag. `key` has 16 octets, `nonce` 12.
std::string encrypt_aes_128_gcm(std::string_view key, std::string_view nonce, std::string_view plain);

}  // namespace postern
