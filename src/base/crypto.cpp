// OpenSSL 3's EVP interface behind a few functions. Any thread.
//
// A failure of the library itself (no memory, a provider that isn't there) is not an answer anybody can
// act on: it throws std::runtime_error. What depends on input (unseal) is a Result.
#include "postern/base/crypto.hpp"
#include "postern/base/hasher.hpp"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>

namespace postern {
namespace {

template <auto free_function>
struct Free {
  template <typename T>
  void operator()(T* p) const {
    free_function(p);
  }
};
using Md = std::unique_ptr<EVP_MD, Free<EVP_MD_free>>;
using MdCtx = std::unique_ptr<EVP_MD_CTX, Free<EVP_MD_CTX_free>>;
using Cipher = std::unique_ptr<EVP_CIPHER, Free<EVP_CIPHER_free>>;
using CipherCtx = std::unique_ptr<EVP_CIPHER_CTX, Free<EVP_CIPHER_CTX_free>>;
using Kdf = std::unique_ptr<EVP_KDF, Free<EVP_KDF_free>>;
using KdfCtx = std::unique_ptr<EVP_KDF_CTX, Free<EVP_KDF_CTX_free>>;

constexpr std::size_t nonce_bytes = 12;
constexpr std::size_t tag_bytes = 16;

void require(bool ok, const char* what) {
  if (ok) return;
  char reason[256] = "unknown";
  ERR_error_string_n(ERR_get_error(), reason, sizeof reason);
  throw std::runtime_error(std::string("OpenSSL: ") + what + ": " + reason);
}

// Fetching an algorithm takes locks and lookups in OpenSSL 3; these never change once fetched.
const EVP_MD* sha256_md() {
  static const Md md(EVP_MD_fetch(nullptr, "SHA256", nullptr));
  require(md != nullptr, "SHA256");
  return md.get();
}
const EVP_CIPHER* aes_256_gcm() {
  static const Cipher cipher(EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr));
  require(cipher != nullptr, "AES-256-GCM");
  return cipher.get();
}

const unsigned char* octets(std::string_view s) { return reinterpret_cast<const unsigned char*>(s.data()); }
unsigned char* octets(std::string& s) { return reinterpret_cast<unsigned char*>(s.data()); }

int int_size(std::string_view s) {
  if (s.size() > INT_MAX) throw std::length_error("too much to encrypt in one piece");
  return static_cast<int>(s.size());
}

class CryptoCategory final : public std::error_category {
 public:
  const char* name() const noexcept override { return "crypto"; }
  std::string message(int code) const override {
    switch (static_cast<CryptoErrc>(code)) {
      case CryptoErrc::not_authentic: return "the key does not open it, or it was altered";
      case CryptoErrc::malformed: return "not a sealed value";
    }
    return "unknown error";
  }
};

}  // namespace

const std::error_category& crypto_category() {
  static const CryptoCategory category;
  return category;
}

struct Hasher::State {
  MdCtx context{EVP_MD_CTX_new()};
};

Hasher::Hasher(Algorithm algorithm) : state_(std::make_unique<State>()) {
  const auto* digest = algorithm == Algorithm::sha1 ? EVP_sha1() : sha256_md();
  require(EVP_DigestInit_ex2(state_->context.get(), digest, nullptr) == 1, "digest");
}
Hasher::~Hasher() = default;

void Hasher::update(std::string_view data) {
  require(EVP_DigestUpdate(state_->context.get(), data.data(), data.size()) == 1, "digest");
}

std::string Hasher::finish() {
  std::string digest(EVP_MAX_MD_SIZE, '\0');
  unsigned size = 0;
  require(
      EVP_DigestFinal_ex(state_->context.get(), reinterpret_cast<unsigned char*>(digest.data()), &size) == 1,
      "digest");
  digest.resize(size);
  return digest;
}

Digest sha256(std::string_view data) {
  Digest out;
  unsigned int size = 0;
  require(EVP_Digest(data.data(), data.size(), out.data(), &size, sha256_md(), nullptr) == 1 &&
              size == out.size(),
          "digest");
  return out;
}

Digest hmac_sha256(std::string_view key, std::string_view data) {
  Digest out;
  unsigned int size = 0;
  // A null key would mean "as before"; an empty one is a key.
  const char none = 0;
  require(HMAC(sha256_md(), key.empty() ? &none : key.data(), int_size(key), octets(data), data.size(),
               out.data(), &size) != nullptr &&
              size == out.size(),
          "HMAC");
  return out;
}

Secret hkdf_sha256(std::string_view key, std::string_view salt, std::string_view info, std::size_t size) {
  if (size == 0 || size > 255 * std::tuple_size_v<Digest>) throw std::length_error("HKDF: output size");
  static const Kdf kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
  require(kdf != nullptr, "HKDF");
  const KdfCtx ctx(EVP_KDF_CTX_new(kdf.get()));
  require(ctx != nullptr, "HKDF context");
  char digest_name[] = "SHA256";
  // OSSL_PARAM takes what it only reads through non-const pointers.
  auto data = [](const char* name, std::string_view s) {
    return OSSL_PARAM_construct_octet_string(name, const_cast<char*>(s.data() ? s.data() : ""), s.size());
  };
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest_name, 0),
      data(OSSL_KDF_PARAM_KEY, key),
      data(OSSL_KDF_PARAM_SALT, salt),
      data(OSSL_KDF_PARAM_INFO, info),
      OSSL_PARAM_construct_end(),
  };
  std::string out(size, '\0');
  require(EVP_KDF_derive(ctx.get(), octets(out), out.size(), params) == 1, "HKDF derive");
  Secret secret(out);
  wipe(out.data(), out.size());
  return secret;
}

std::uint64_t Random::u64() {
  std::array<std::uint8_t, 8> bytes;
  fill(bytes);
  std::uint64_t value = 0;
  for (const std::uint8_t b : bytes) value = value << 8 | b;
  return value;
}

void SystemRandom::fill(std::span<std::uint8_t> out) {
  while (!out.empty()) {
    const auto part = out.first(std::min<std::size_t>(out.size(), 1 << 20));
    if (RAND_bytes(part.data(), static_cast<int>(part.size())) != 1) {
      std::fputs("postern: the system gives no randomness\n", stderr);
      std::abort();
    }
    out = out.subspan(part.size());
  }
}

std::string seal(std::string_view key, std::string_view plain, std::string_view aad, Random& random) {
  if (key.size() != seal_key_bytes) throw std::length_error("seal: key size");
  std::string out(nonce_bytes + plain.size() + tag_bytes, '\0');
  random.fill({octets(out), nonce_bytes});
  const CipherCtx ctx(EVP_CIPHER_CTX_new());
  require(ctx != nullptr, "cipher context");
  unsigned char* const text = octets(out) + nonce_bytes;
  int size = 0;
  require(EVP_EncryptInit_ex2(ctx.get(), aes_256_gcm(), octets(key), octets(out), nullptr) == 1, "init");
  if (!aad.empty())
    require(EVP_EncryptUpdate(ctx.get(), nullptr, &size, octets(aad), int_size(aad)) == 1, "aad");
  if (!plain.empty())
    require(EVP_EncryptUpdate(ctx.get(), text, &size, octets(plain), int_size(plain)) == 1, "encrypt");
  require(EVP_EncryptFinal_ex(ctx.get(), text + plain.size(), &size) == 1, "finish");
  require(EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_AEAD_GET_TAG, tag_bytes, text + plain.size()) == 1, "tag");
  return out;
}

Result<Secret> unseal(std::string_view key, std::string_view sealed, std::string_view aad) {
  if (key.size() != seal_key_bytes) throw std::length_error("unseal: key size");
  if (sealed.size() < seal_overhead_bytes || sealed.size() > INT_MAX)
    return fail(CryptoErrc::malformed, "sealed value");
  const std::string_view text = sealed.substr(nonce_bytes, sealed.size() - seal_overhead_bytes);
  std::string tag(sealed.substr(sealed.size() - tag_bytes));
  std::string plain(text.size(), '\0');
  const CipherCtx ctx(EVP_CIPHER_CTX_new());
  require(ctx != nullptr, "cipher context");
  int size = 0;
  require(EVP_DecryptInit_ex2(ctx.get(), aes_256_gcm(), octets(key), octets(sealed), nullptr) == 1, "init");
  if (!aad.empty())
    require(EVP_DecryptUpdate(ctx.get(), nullptr, &size, octets(aad), int_size(aad)) == 1, "aad");
  if (!text.empty())
    require(EVP_DecryptUpdate(ctx.get(), octets(plain), &size, octets(text), int_size(text)) == 1, "decrypt");
  require(EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_AEAD_SET_TAG, tag_bytes, tag.data()) == 1, "tag");
  unsigned char rest[16];
  const bool authentic = EVP_DecryptFinal_ex(ctx.get(), rest, &size) == 1;
  Secret secret;
  if (authentic) secret = Secret(plain);
  wipe(plain.data(), plain.size());
  if (authentic) return secret;
  ERR_clear_error();
  return fail(CryptoErrc::not_authentic, "sealed value");
}

}  // namespace postern
