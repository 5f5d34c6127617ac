// What goes out to a push service (RFC 8030): encrypted for the subscription's client (RFC 8291), and signed so that
// the service knows the sender (VAPID, RFC 8292). No I/O but the key's file.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "postern/base/p256.hpp"

namespace postern::push {

// What a message may have at most, in octets, encrypted: a push service need not take more (RFC 8030, 7.2).
inline constexpr std::size_t web_push_bytes_max = 4'096;

// A client's keys (RFC 8620, 7.2). Copies share them; they are wiped with the last one.
struct ClientKeys {
  std::shared_ptr<const Secret> p256dh;  // an uncompressed point
  std::shared_ptr<const Secret> auth;    // 16 octets
};
inline constexpr std::size_t auth_secret_bytes = 16;
// Of base64url (with or without padding); nullopt: they are none.
std::optional<ClientKeys> parse_client_keys(std::string_view p256dh, std::string_view auth);

// One record of aes128gcm (RFC 8188, 2.1) with a key of its own. Throws std::length_error if it would have more than
// web_push_bytes_max.
std::string encrypt_message(std::string_view plain, const ClientKeys& keys, Random& random);
// The same with what is random given.
std::string encrypt_message(std::string_view plain, const ClientKeys& keys, std::string_view salt,
                            const P256Key& ephemeral);

// The key by which push services know this gateway.
class VapidKey {
 public:
  // Of a PEM file of mode 0600, made if there is none. The error's context names the file. CryptoErrc::malformed: it
  // holds something else; std::errc otherwise.
  static Result<VapidKey> load(const std::string& path, Random& random);
  explicit VapidKey(P256Key key);

  // base64url of the public key (RFC 9749, 3: applicationServerKey).
  const std::string& application_server_key() const { return public_; }
  // The Authorization field's value for a service at `origin` ("https://push.example.com"), good for vapid_lifetime.
  std::string authorization(std::string_view origin, std::string_view contact, std::int64_t now) const;

 private:
  P256Key key_;
  std::string public_;
};
inline constexpr std::int64_t vapid_lifetime_s = 12 * 3'600;  // RFC 8292, 2: 24 hours at most

// --- The objects that are sent (RFC 8620, 7.2.2) ---

// {"@type":"PushVerification","pushSubscriptionId":...,"verificationCode":...}; both are of [A-Za-z0-9_-].
std::string verification_json(std::string_view id, std::string_view code);

}  // namespace postern::push
