// Session tokens, and credentials sealed under them. Any thread.
#include <algorithm>
#include <array>

#include "postern/base/encoding.hpp"
#include "postern/store/session_table.hpp"

namespace postern::store {
namespace {

constexpr std::string_view token_prefix = "pst_";
constexpr std::size_t token_random_bytes = 32;
constexpr std::size_t token_text_bytes = 43;  // 256 bits in base64url
constexpr char sealing_version = 1;
constexpr std::string_view sealing_info = "postern credential v1";
// A credential is sealed as its length (4 octets, most significant first), itself, and zeros up to a multiple of
// 64, so that the size of what is sealed doesn't tell a password's length.
constexpr std::size_t length_bytes = 4;
constexpr std::size_t padding_bytes = 64;
static_assert(credential_bytes_max ==
              (sealed_bytes_max - 1 - seal_overhead_bytes) / padding_bytes * padding_bytes - length_bytes);

std::string_view bytes_of(const TokenHash& hash) {
  return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

// The session's token is the secret, its hash the salt: the key belongs to this session and this use.
Secret sealing_key(std::string_view token, const TokenHash& hash) {
  return hkdf_sha256(token, bytes_of(hash), sealing_info, seal_key_bytes);
}
std::string sealing_aad(const TokenHash& hash) { return std::string(bytes_of(hash)) + sealing_version; }

class StoreCategory final : public std::error_category {
 public:
  const char* name() const noexcept override { return "store"; }
  std::string message(int code) const override {
    switch (static_cast<Errc>(code)) {
      case Errc::full: return "the table is full";
      case Errc::not_found: return "no such record";
      case Errc::too_large: return "over the limit";
      case Errc::damaged: return "damaged";
      case Errc::version: return "another version's format";
      case Errc::io: return "file system error";
      case Errc::in_use: return "another process is using the segment";
    }
    return "unknown error";
  }
};

}  // namespace

const std::error_category& store_category() {
  static const StoreCategory category;
  return category;
}

Secret make_token(Random& random) {
  std::array<std::uint8_t, token_random_bytes> bits;
  random.fill(bits);
  std::string encoded = base64url_encode({reinterpret_cast<const char*>(bits.data()), bits.size()});
  std::array<char, token_prefix.size() + token_text_bytes> text;
  std::copy(token_prefix.begin(), token_prefix.end(), text.begin());
  std::copy(encoded.begin(), encoded.end(), text.begin() + token_prefix.size());
  Secret token(std::string_view(text.data(), text.size()));
  wipe(bits.data(), bits.size());
  wipe(encoded.data(), encoded.size());
  wipe(text.data(), text.size());
  return token;
}

std::optional<TokenHash> hash_token(std::string_view token) {
  if (token.size() != token_prefix.size() + token_text_bytes || !token.starts_with(token_prefix))
    return std::nullopt;
  auto bits = base64url_decode(token.substr(token_prefix.size()));
  if (!bits) return std::nullopt;
  wipe(bits->data(), bits->size());
  return sha256(token);
}

std::string session_tag(const TokenHash& hash) { return hex_encode(bytes_of(hash).substr(0, 4)); }

std::string seal_credential(const Secret& token, const TokenHash& hash, const Secret& plain, Random& random) {
  const std::size_t size = length_bytes + plain.size();
  std::string padded((size + padding_bytes - 1) / padding_bytes * padding_bytes, '\0');
  for (std::size_t i = 0; i < length_bytes; ++i)
    padded[i] = static_cast<char>(plain.size() >> 8 * (length_bytes - 1 - i) & 0xff);
  plain.expose().copy(padded.data() + length_bytes, plain.size());
  const Secret key = sealing_key(token.expose(), hash);
  std::string sealed = sealing_version + seal(key.expose(), padded, sealing_aad(hash), random);
  wipe(padded.data(), padded.size());
  return sealed;
}

Result<Secret> unseal_credential(std::string_view token, const TokenHash& hash, std::string_view sealed) {
  if (sealed.empty() || sealed.front() != sealing_version)
    return fail(CryptoErrc::malformed, "sealed credential of an unknown version");
  const Secret key = sealing_key(token, hash);
  const auto padded = unseal(key.expose(), sealed.substr(1), sealing_aad(hash));
  if (!padded) return fail(padded.error());
  const std::string_view text = padded->expose();
  std::size_t size = 0;
  for (const char c : text.substr(0, length_bytes)) size = size << 8 | static_cast<unsigned char>(c);
  if (text.size() < length_bytes || size > text.size() - length_bytes)
    return fail(CryptoErrc::malformed, "sealed credential");
  return Secret(text.substr(length_bytes, size));
}

}  // namespace postern::store
