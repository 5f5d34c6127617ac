// Tokens, their hashes, and credentials sealed under them.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "postern/base/encoding.hpp"
#include "postern/store/session_table.hpp"

namespace postern::store {
namespace {

class ZeroRandom final : public Random {
  void fill(std::span<std::uint8_t> out) override { std::fill(out.begin(), out.end(), std::uint8_t{0}); }
};

TEST(Token, HasItsFormAndAll256Bits) {
  ZeroRandom zeros;
  EXPECT_EQ(make_token(zeros).expose(), "pst_" + std::string(43, 'A'));
  SystemRandom random;
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const Secret token = make_token(random);
    EXPECT_EQ(token.size(), 47U);
    EXPECT_TRUE(hash_token(token.expose()).has_value());
    seen.emplace(token.expose());
  }
  EXPECT_EQ(seen.size(), 100U);
}

TEST(Token, HashIsOfTheWholeText) {
  const std::string token = "pst_" + std::string(43, 'A');
  EXPECT_EQ(hash_token(token), sha256(token));
}

TEST(Token, WhatIsNotOneHasNoHash) {
  const std::string good = "pst_" + std::string(43, 'A');
  ASSERT_TRUE(hash_token(good).has_value());
  for (const std::string& bad :
       {std::string(), std::string("pst_"), good.substr(0, 46), good + "A", "PST_" + std::string(43, 'A'),
        "pst_" + std::string(42, 'A') + "=", "pst_" + std::string(42, 'A') + "+",
        "pst_" + std::string(42, 'A') + " ",
        "pst_" + std::string(42, 'A') + "B"})  // the last: a second spelling of the same bits
    EXPECT_FALSE(hash_token(bad).has_value()) << bad;
}

TEST(Token, TagIsTheBeginningOfTheHash) {
  TokenHash hash{};
  hash[0] = 0xab;
  hash[3] = 0x01;
  hash[4] = 0xff;
  EXPECT_EQ(session_tag(hash), "ab000001");
}

class SealTest : public ::testing::Test {
 protected:
  SystemRandom random_;
  Secret token_ = make_token(random_);
  TokenHash hash_ = *hash_token(token_.expose());
};

TEST_F(SealTest, OpensWithItsToken) {
  const std::string sealed = seal_credential(token_, hash_, Secret("hunter2"), random_);
  EXPECT_EQ(sealed.find("hunter2"), std::string::npos);
  const auto opened = unseal_credential(token_.expose(), hash_, sealed);
  ASSERT_TRUE(opened.has_value());
  EXPECT_EQ(opened->expose(), "hunter2");
  EXPECT_NE(sealed, seal_credential(token_, hash_, Secret("hunter2"), random_));
}

TEST_F(SealTest, IsDerivedAsDocumented) {
  const std::string hash(reinterpret_cast<const char*>(hash_.data()), hash_.size());
  const std::string sealed = seal_credential(token_, hash_, Secret("hunter2"), random_);
  ASSERT_EQ(sealed.front(), '\x01');
  const Secret key = hkdf_sha256(token_.expose(), hash, "postern credential v1", 32);
  const auto opened = unseal(key.expose(), std::string_view(sealed).substr(1), hash + '\x01');
  ASSERT_TRUE(opened.has_value());
  EXPECT_EQ(opened->expose(), std::string("\0\0\0\7hunter2", 11) + std::string(53, '\0'));
}

TEST_F(SealTest, SizeTellsLittleAndTheLimitFits) {
  const auto sealed_size = [&](std::size_t size) {
    const Secret plain(std::string(size, 'p'));
    const std::string sealed = seal_credential(token_, hash_, plain, random_);
    EXPECT_EQ(unseal_credential(token_.expose(), hash_, sealed)->expose(), plain.expose());
    return sealed.size();
  };
  EXPECT_EQ(sealed_size(0), sealed_size(60));
  EXPECT_LT(sealed_size(60), sealed_size(61));
  EXPECT_LE(sealed_size(credential_bytes_max), sealed_bytes_max);
  EXPECT_GT(sealed_size(credential_bytes_max + 1), sealed_bytes_max);
}

// Sealed by somebody with the key, but not what we seal: a length that can't be.
TEST_F(SealTest, ALengthBeyondTheTextIsMalformed) {
  const std::string hash(reinterpret_cast<const char*>(hash_.data()), hash_.size());
  const Secret key = hkdf_sha256(token_.expose(), hash, "postern credential v1", 32);
  for (const std::string& text : {std::string(), std::string("\0\0\0", 3), std::string("\0\0\0\2x", 5),
                                  std::string("\xff\xff\xff\xffxxxx")}) {
    const std::string sealed = '\x01' + seal(key.expose(), text, hash + '\x01', random_);
    const auto opened = unseal_credential(token_.expose(), hash_, sealed);
    ASSERT_FALSE(opened.has_value());
    EXPECT_EQ(opened.error().code, CryptoErrc::malformed);
  }
}

TEST_F(SealTest, NothingElseOpensIt) {
  const std::string sealed = seal_credential(token_, hash_, Secret("hunter2"), random_);
  const Secret other = make_token(random_);
  EXPECT_FALSE(unseal_credential(other.expose(), hash_, sealed).has_value());
  EXPECT_FALSE(unseal_credential(other.expose(), *hash_token(other.expose()), sealed).has_value());
  TokenHash moved = hash_;
  moved[31] ^= 1;
  EXPECT_FALSE(unseal_credential(token_.expose(), moved, sealed).has_value());
  for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    std::string flipped = sealed;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    EXPECT_FALSE(unseal_credential(token_.expose(), hash_, flipped).has_value()) << bit;
  }
  for (std::size_t size = 0; size < sealed.size(); ++size)
    EXPECT_FALSE(unseal_credential(token_.expose(), hash_, sealed.substr(0, size)).has_value()) << size;
}

}  // namespace
}  // namespace postern::store
