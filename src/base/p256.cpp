// OpenSSL 3's EVP_PKEY, and its curve arithmetic where a key is made of its number. Any thread.
#include "postern/base/p256.hpp"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include <array>
#include <stdexcept>

namespace postern {
namespace {

template <auto free_function>
struct FreeBy {
  template <typename T>
  void operator()(T* p) const {
    free_function(p);
  }
};
using Pkey = std::unique_ptr<EVP_PKEY, FreeBy<EVP_PKEY_free>>;
using PkeyCtx = std::unique_ptr<EVP_PKEY_CTX, FreeBy<EVP_PKEY_CTX_free>>;
using DigestCtx = std::unique_ptr<EVP_MD_CTX, FreeBy<EVP_MD_CTX_free>>;
using AeadCtx = std::unique_ptr<EVP_CIPHER_CTX, FreeBy<EVP_CIPHER_CTX_free>>;
using Bignum = std::unique_ptr<BIGNUM, FreeBy<BN_clear_free>>;
using Group = std::unique_ptr<EC_GROUP, FreeBy<EC_GROUP_free>>;
using Point = std::unique_ptr<EC_POINT, FreeBy<EC_POINT_free>>;
using Signature = std::unique_ptr<ECDSA_SIG, FreeBy<ECDSA_SIG_free>>;
using Builder = std::unique_ptr<OSSL_PARAM_BLD, FreeBy<OSSL_PARAM_BLD_free>>;
using Params = std::unique_ptr<OSSL_PARAM, FreeBy<OSSL_PARAM_free>>;
using Bio = std::unique_ptr<BIO, FreeBy<BIO_free_all>>;

constexpr const char* curve_name = "prime256v1";
constexpr std::size_t gcm_key_bytes = 16, gcm_nonce_bytes = 12, gcm_tag_bytes = 16;

void require_ok(bool ok, const char* what) {
  if (ok) return;
  char reason[256] = "unknown";
  ERR_error_string_n(ERR_get_error(), reason, sizeof reason);
  throw std::runtime_error(std::string("OpenSSL: ") + what + ": " + reason);
}

std::unexpected<Error> malformed(const char* what) {
  ERR_clear_error();
  return fail(CryptoErrc::malformed, what);
}

const unsigned char* octets_of(std::string_view s) {
  return reinterpret_cast<const unsigned char*>(s.data());
}
unsigned char* octets_of(std::string& s) { return reinterpret_cast<unsigned char*>(s.data()); }

// Null: they belong to no key of this curve.
Pkey key_from(int selection, const BIGNUM* scalar, std::string_view point) {
  const Builder builder(OSSL_PARAM_BLD_new());
  require_ok(builder && OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, curve_name,
                                                        0) == 1,
             "parameters");
  if (scalar != nullptr)
    require_ok(OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_PRIV_KEY, scalar) == 1, "parameters");
  require_ok(OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                              point.size()) == 1,
             "parameters");
  const Params params(OSSL_PARAM_BLD_to_param(builder.get()));
  const PkeyCtx ctx(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  require_ok(params && ctx && EVP_PKEY_fromdata_init(ctx.get()) == 1, "key");
  EVP_PKEY* key = nullptr;
  if (EVP_PKEY_fromdata(ctx.get(), &key, selection, params.get()) != 1) key = nullptr;
  return Pkey(key);
}

Pkey public_key(std::string_view point) {
  if (point.size() != p256_point_bytes || point.front() != 4) return nullptr;
  return key_from(EVP_PKEY_PUBLIC_KEY, nullptr, point);
}

std::string point_of(EVP_PKEY* key) {
  std::string point(p256_point_bytes, '\0');
  std::size_t size = 0;
  if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, octets_of(point), point.size(), &size) !=
          1 ||
      size != point.size())
    return {};
  return point;
}

}  // namespace

struct P256Key::State {
  Pkey key;
};

P256Key::P256Key(std::unique_ptr<State> state, std::string point)
    : state_(std::move(state)), point_(std::move(point)) {}
P256Key::P256Key(P256Key&&) noexcept = default;
P256Key& P256Key::operator=(P256Key&&) noexcept = default;
P256Key::~P256Key() = default;

bool is_p256_point(std::string_view point) {
  const bool is_one = public_key(point) != nullptr;
  ERR_clear_error();
  return is_one;
}

Result<P256Key> P256Key::from_scalar(std::string_view scalar) {
  if (scalar.size() != p256_scalar_bytes) return malformed("a private key's size");
  const Group group(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
  const Bignum number(BN_bin2bn(octets_of(scalar), static_cast<int>(scalar.size()), nullptr));
  require_ok(group && number, "curve");
  BN_set_flags(number.get(), BN_FLG_CONSTTIME);
  if (BN_is_zero(number.get()) || BN_cmp(number.get(), EC_GROUP_get0_order(group.get())) >= 0)
    return malformed("a private key's range");
  const Point product(EC_POINT_new(group.get()));
  require_ok(
      product && EC_POINT_mul(group.get(), product.get(), number.get(), nullptr, nullptr, nullptr) == 1,
      "public key");
  std::string point(p256_point_bytes, '\0');
  require_ok(EC_POINT_point2oct(group.get(), product.get(), POINT_CONVERSION_UNCOMPRESSED, octets_of(point),
                                point.size(), nullptr) == point.size(),
             "public key");
  auto state = std::make_unique<State>();
  state->key = key_from(EVP_PKEY_KEYPAIR, number.get(), point);
  require_ok(state->key != nullptr, "key");
  return P256Key(std::move(state), std::move(point));
}

P256Key P256Key::generate(Random& random) {
  for (;;) {
    std::array<std::uint8_t, p256_scalar_bytes> scalar;
    random.fill(scalar);
    auto key = from_scalar({reinterpret_cast<const char*>(scalar.data()), scalar.size()});
    wipe(scalar.data(), scalar.size());
    if (key) return std::move(*key);  // all but one in 2^32
  }
}

Result<P256Key> P256Key::from_pem(std::string_view pem) {
  constexpr std::size_t pem_bytes_max = 16'384;
  if (pem.size() > pem_bytes_max) return malformed("a key's file");
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  require_ok(bio != nullptr, "BIO");
  auto state = std::make_unique<State>();
  // Without a way to ask for a passphrase.
  state->key.reset(
      PEM_read_bio_PrivateKey(bio.get(), nullptr, [](char*, int, int, void*) { return -1; }, nullptr));
  char group[64] = {};
  if (!state->key || EVP_PKEY_is_a(state->key.get(), "EC") != 1 ||
      EVP_PKEY_get_utf8_string_param(state->key.get(), OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group,
                                     nullptr) != 1 ||
      std::string_view(group) != curve_name)
    return malformed("no private key of P-256");
  auto point = point_of(state->key.get());
  if (point.empty() || point.front() != 4) return malformed("no private key of P-256");
  return P256Key(std::move(state), std::move(point));
}

Secret P256Key::to_pem() const {
  const Bio bio(BIO_new(BIO_s_secmem()));
  require_ok(bio && PEM_write_bio_PrivateKey(bio.get(), state_->key.get(), nullptr, nullptr, 0, nullptr,
                                             nullptr) == 1,
             "PEM");
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio.get(), &data);
  return Secret({data, static_cast<std::size_t>(size)});
}

Result<Secret> P256Key::agree(std::string_view peer) const {
  const auto other = public_key(peer);
  if (!other) return malformed("a public key");
  const PkeyCtx ctx(EVP_PKEY_CTX_new(state_->key.get(), nullptr));
  require_ok(ctx && EVP_PKEY_derive_init(ctx.get()) == 1, "agreement");
  if (EVP_PKEY_derive_set_peer(ctx.get(), other.get()) != 1) return malformed("a public key");
  std::array<unsigned char, p256_scalar_bytes> shared;
  std::size_t size = shared.size();
  require_ok(EVP_PKEY_derive(ctx.get(), shared.data(), &size) == 1 && size == shared.size(), "agreement");
  Secret secret({reinterpret_cast<const char*>(shared.data()), shared.size()});
  wipe(shared.data(), shared.size());
  return secret;
}

std::string P256Key::sign(std::string_view data) const {
  const DigestCtx ctx(EVP_MD_CTX_new());
  require_ok(ctx && EVP_DigestSignInit(ctx.get(), nullptr, EVP_sha256(), nullptr, state_->key.get()) == 1,
             "signature");
  std::array<unsigned char, 128> der;
  std::size_t size = der.size();
  require_ok(EVP_DigestSign(ctx.get(), der.data(), &size, octets_of(data), data.size()) == 1, "signature");
  const unsigned char* at = der.data();
  const Signature signature(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(size)));
  std::string out(p256_signature_bytes, '\0');
  constexpr int half = p256_signature_bytes / 2;
  require_ok(signature && BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), octets_of(out), half) == half &&
                 BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), octets_of(out) + half, half) == half,
             "signature");
  return out;
}

bool verify_p256(std::string_view point, std::string_view data, std::string_view signature) {
  const auto key = public_key(point);
  if (!key || signature.size() != p256_signature_bytes) return false;
  constexpr int half = p256_signature_bytes / 2;
  const Signature parts(ECDSA_SIG_new());
  require_ok(parts && ECDSA_SIG_set0(parts.get(), BN_bin2bn(octets_of(signature), half, nullptr),
                                     BN_bin2bn(octets_of(signature) + half, half, nullptr)) == 1,
             "signature");
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(parts.get(), &der);
  const DigestCtx ctx(EVP_MD_CTX_new());
  const bool good =
      size > 0 && ctx && EVP_DigestVerifyInit(ctx.get(), nullptr, EVP_sha256(), nullptr, key.get()) == 1 &&
      EVP_DigestVerify(ctx.get(), der, static_cast<std::size_t>(size), octets_of(data), data.size()) == 1;
  OPENSSL_free(der);
  ERR_clear_error();
  return good;
}

std::string encrypt_aes_128_gcm(std::string_view key, std::string_view nonce, std::string_view plain) {
  if (key.size() != gcm_key_bytes || nonce.size() != gcm_nonce_bytes || plain.size() > (1u << 30))
    throw std::length_error("AES-128-GCM: a size");
  std::string out(plain.size() + gcm_tag_bytes, '\0');
  const AeadCtx ctx(EVP_CIPHER_CTX_new());
  int size = 0;
  require_ok(
      ctx &&
          EVP_EncryptInit_ex2(ctx.get(), EVP_aes_128_gcm(), octets_of(key), octets_of(nonce), nullptr) == 1 &&
          EVP_EncryptUpdate(ctx.get(), octets_of(out), &size, octets_of(plain),
                            static_cast<int>(plain.size())) == 1 &&
          EVP_EncryptFinal_ex(ctx.get(), octets_of(out) + size, &size) == 1 &&
          EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_AEAD_GET_TAG, gcm_tag_bytes,
                              octets_of(out) + plain.size()) == 1,
      "AES-128-GCM");
  return out;
}

}  // namespace postern
