// Message encryption step by step as RFC 8291, 3.4 has it, and VAPID's token (RFC 7515, compact serialization).
#include "postern/push/web_push.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "postern/base/encoding.hpp"

namespace postern::push {
namespace {

constexpr std::size_t salt_bytes = 16, record_size_bytes = 4, content_key_bytes = 16, nonce_bytes = 12;
constexpr char last_record = 2;  // RFC 8188, 2: the delimiter behind the plaintext of the last record
constexpr std::size_t key_file_bytes_max = 16'384;

std::optional<std::string> decode(std::string_view text) {
  while (text.ends_with('=')) text.remove_suffix(1);
  return base64url_decode(text);
}

std::string json_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

}  // namespace

std::optional<ClientKeys> parse_client_keys(std::string_view p256dh, std::string_view auth) {
  auto point = decode(p256dh), secret = decode(auth);
  if (!point || !secret || secret->size() != auth_secret_bytes || !is_p256_point(*point)) return std::nullopt;
  ClientKeys keys{std::make_shared<const Secret>(*point), std::make_shared<const Secret>(*secret)};
  wipe(point->data(), point->size());
  wipe(secret->data(), secret->size());
  return keys;
}

// RFC 8291, 3.4:
//   key_info = "WebPush: info" || 0x00 || ua_public || as_public
//   IKM = HKDF(salt: auth_secret, IKM: ecdh_secret, info: key_info, 32)
//   CEK = HKDF(salt, IKM, "Content-Encoding: aes128gcm" || 0x00, 16)
//   NONCE = HKDF(salt, IKM, "Content-Encoding: nonce" || 0x00, 12)
// RFC 8188, 2.1: header = salt (16) || rs (4) || idlen (1) || keyid
std::string encrypt_message(std::string_view plain, const ClientKeys& keys, std::string_view salt,
                            const P256Key& ephemeral) {
  using namespace std::string_view_literals;
  constexpr std::size_t overhead = salt_bytes + record_size_bytes + 1 + p256_point_bytes + 1 + 16;
  if (salt.size() != salt_bytes || plain.size() > web_push_bytes_max - overhead)
    throw std::length_error("a push message's size");
  const auto shared = ephemeral.agree(keys.p256dh->expose());
  if (!shared) throw std::invalid_argument("a subscription's key is no point");
  const auto info = std::string("WebPush: info\0"sv) + std::string(keys.p256dh->expose()) + ephemeral.point();
  const auto ikm = hkdf_sha256(shared->expose(), keys.auth->expose(), info, 32);
  const auto key = hkdf_sha256(ikm.expose(), salt, "Content-Encoding: aes128gcm\0"sv, content_key_bytes);
  const auto nonce = hkdf_sha256(ikm.expose(), salt, "Content-Encoding: nonce\0"sv, nonce_bytes);
  std::string out(salt);
  for (std::size_t i = record_size_bytes; i > 0; --i)
    out += static_cast<char>(web_push_bytes_max >> 8 * (i - 1) & 0xff);
  out += static_cast<char>(p256_point_bytes);
  out += ephemeral.point();
  return out + encrypt_aes_128_gcm(key.expose(), nonce.expose(), std::string(plain) + last_record);
}

std::string encrypt_message(std::string_view plain, const ClientKeys& keys, Random& random) {
  std::array<std::uint8_t, salt_bytes> salt;
  random.fill(salt);
  return encrypt_message(plain, keys, {reinterpret_cast<const char*>(salt.data()), salt.size()},
                         P256Key::generate(random));
}

// --- VAPID ---

VapidKey::VapidKey(P256Key key) : key_(std::move(key)), public_(base64url_encode(key_.point())) {}

Result<VapidKey> VapidKey::load(const std::string& path, Random& random) {
  const auto wrong = [&path](const char* what) {
    return fail(Error(std::make_error_code(static_cast<std::errc>(errno)), path + ": " + what));
  };
  if (const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW); fd >= 0) {
    std::string pem(key_file_bytes_max, '\0');
    const auto got = ::read(fd, pem.data(), pem.size());
    const int error = errno;
    ::close(fd);
    errno = error;
    if (got < 0) return wrong("can't be read");
    auto key = P256Key::from_pem(std::string_view(pem).substr(0, static_cast<std::size_t>(got)));
    wipe(pem.data(), pem.size());
    if (!key) return fail(Error(key.error().code, path + ": " + key.error().context));
    return VapidKey(std::move(*key));
  }
  if (errno != ENOENT) return wrong("can't be opened");
  auto key = P256Key::generate(random);
  const auto pem = key.to_pem();
  const auto fresh = path + ".new";
  ::unlink(fresh.c_str());
  const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return wrong("can't be made");
  const auto text = pem.expose();
  const bool written =
      ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
  ::close(fd);
  if (!written || ::rename(fresh.c_str(), path.c_str()) != 0) return wrong("can't be written");
  return VapidKey(std::move(key));
}

// RFC 8292, 2 and 3:
//   vapid t=JWT, k=public key;  JWT = base64url(header) "." base64url(claims) "." base64url(signature)
std::string VapidKey::authorization(std::string_view origin, std::string_view contact,
                                    std::int64_t now) const {
  constexpr std::string_view header = R"({"typ":"JWT","alg":"ES256"})";
  auto claims = fmt::format(R"({{"aud":{},"exp":{})", json_text(origin), now + vapid_lifetime_s);
  if (!contact.empty()) claims += ",\"sub\":" + json_text(contact);
  claims += '}';
  auto token = base64url_encode(header) + "." + base64url_encode(claims);
  token += "." + base64url_encode(key_.sign(token));
  return "vapid t=" + token + ", k=" + public_;
}

std::string verification_json(std::string_view id, std::string_view code) {
  return fmt::format(R"({{"@type":"PushVerification","pushSubscriptionId":"{}","verificationCode":"{}"}})",
                     id, code);
}

}  // namespace postern::push
