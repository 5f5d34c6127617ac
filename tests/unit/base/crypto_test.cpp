// Known answers for the hashes, and what sealing promises.
#include "postern/base/crypto.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

#include "postern/base/encoding.hpp"
#include "postern/base/hasher.hpp"
#include "support/counting_random.hpp"

namespace postern {
namespace {

std::string hex(const Digest& digest) {
  return hex_encode({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

TEST(Sha256, Fips180) {
  EXPECT_EQ(hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(HmacSha256, Rfc4231) {
  EXPECT_EQ(hex(hmac_sha256("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(hex(hmac_sha256("", "")), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

TEST(HkdfSha256, Rfc5869Case1And3) {
  const std::string ikm(22, '\x0b');
  std::string salt, info;
  for (char c = 0; c <= 0x0c; ++c) salt += c;
  for (int c = 0xf0; c <= 0xf9; ++c) info += static_cast<char>(c);
  EXPECT_EQ(hex_encode(hkdf_sha256(ikm, salt, info, 42).expose()),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
  EXPECT_EQ(hex_encode(hkdf_sha256(ikm, "", "", 42).expose()),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

TEST(HkdfSha256, OutputSizeIsBounded) {
  EXPECT_EQ(hkdf_sha256("k", "s", "i", 255 * 32).size(), 255U * 32);
  EXPECT_THROW(hkdf_sha256("k", "s", "i", 255 * 32 + 1), std::length_error);
  EXPECT_THROW(hkdf_sha256("k", "s", "i", 0), std::length_error);
}

TEST(Random, U64IsBigEndian) {
  test::CountingRandom random;
  EXPECT_EQ(random.u64(), 0x0102030405060708U);
  SystemRandom system;
  EXPECT_NE(system.u64(), system.u64());
}

TEST(Seal, OpensWithTheSameKeyAndAad) {
  test::CountingRandom random;
  const std::string key(seal_key_bytes, 'k');
  for (const std::string& plain : {std::string(), std::string("hunter2"), std::string(5000, 'x')}) {
    for (const std::string& aad : {std::string(), std::string("context")}) {
      const std::string sealed = seal(key, plain, aad, random);
      EXPECT_EQ(sealed.size(), plain.size() + seal_overhead_bytes);
      const auto opened = unseal(key, sealed, aad);
      ASSERT_TRUE(opened.has_value());
      EXPECT_EQ(opened->expose(), plain);
    }
  }
}

TEST(Seal, KnownAnswer) {
  // AES-256-GCM, key and nonce of zeros, 16 octets of zeros: test case 14 of the GCM specification.
  class Zeros final : public Random {
    void fill(std::span<std::uint8_t> out) override { std::fill(out.begin(), out.end(), std::uint8_t{0}); }
  } zeros;
  const std::string sealed = seal(std::string(32, '\0'), std::string(16, '\0'), "", zeros);
  EXPECT_EQ(hex_encode(sealed), std::string(24, '0') +
                                    "cea7403d4d606b6e074ec5d3baf39d18"
                                    "d0d1c8a799996bf0265b98b5d48ab919");
}

TEST(Seal, AnyChangedBitIsNoticed) {
  test::CountingRandom random;
  const std::string key(seal_key_bytes, 'k');
  const std::string sealed = seal(key, "hunter2", "aad", random);
  for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    std::string other = sealed;
    other[bit / 8] = static_cast<char>(other[bit / 8] ^ (1 << bit % 8));
    const auto opened = unseal(key, other, "aad");
    ASSERT_FALSE(opened.has_value()) << bit;
    EXPECT_EQ(opened.error().code, CryptoErrc::not_authentic);
  }
  EXPECT_FALSE(unseal(std::string(seal_key_bytes, 'l'), sealed, "aad").has_value());
  EXPECT_FALSE(unseal(key, sealed, "aae").has_value());
}

TEST(Seal, TooShortIsMalformed) {
  const std::string key(seal_key_bytes, 'k');
  for (std::size_t size = 0; size < seal_overhead_bytes; ++size) {
    const auto opened = unseal(key, std::string(size, 'x'), "");
    ASSERT_FALSE(opened.has_value());
    EXPECT_EQ(opened.error().code, CryptoErrc::malformed);
  }
  EXPECT_EQ(unseal(key, std::string(seal_overhead_bytes, 'x'), "").error().code, CryptoErrc::not_authentic);
}

TEST(Seal, KeySizeIsABug) {
  test::CountingRandom random;
  EXPECT_THROW(seal("short", "x", "", random), std::length_error);
  EXPECT_THROW((void)unseal("short", std::string(40, 'x'), ""), std::length_error);
}

TEST(Crypto, DigestsOfPieces) {
  Hasher sha(Hasher::Algorithm::sha1), sha256_pieces(Hasher::Algorithm::sha256);
  for (const char* piece : {"a", "", "bc"}) {
    sha.update(piece);
    sha256_pieces.update(piece);
  }
  EXPECT_EQ(hex_encode(sha.finish()), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(hex_encode(sha256_pieces.finish()), hex(sha256("abc")));
}

}  // namespace
}  // namespace postern
