// P-256 by the keys of RFC 8291's example, and what is refused.
#include "postern/base/p256.hpp"

#include <gtest/gtest.h>

#include "postern/base/encoding.hpp"

namespace postern {
namespace {

std::string octets(std::string_view base64url) { return base64url_decode(base64url).value(); }

// RFC 8291, appendix A
const std::string sender_private = octets("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw");
const std::string sender_public =
    octets("BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8");
const std::string receiver_private = octets("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94");
const std::string receiver_public =
    octets("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4");
const std::string agreed = octets("kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs");

TEST(P256, Rfc8291Agreement) {
  const auto sender = P256Key::from_scalar(sender_private), receiver = P256Key::from_scalar(receiver_private);
  ASSERT_TRUE(sender && receiver);
  EXPECT_EQ(sender->point(), sender_public);
  EXPECT_EQ(receiver->point(), receiver_public);
  EXPECT_EQ(sender->agree(receiver_public)->expose(), agreed);
  EXPECT_EQ(receiver->agree(sender_public)->expose(), agreed);
}

TEST(P256, PointsThatAreNone) {
  EXPECT_TRUE(is_p256_point(sender_public));
  auto wrong = sender_public;
  wrong.back() = static_cast<char>(wrong.back() ^ 1);
  const std::string infinity(1, '\0');
  auto compressed = "\x02" + sender_public.substr(1, 32);
  for (const auto& point : {wrong, infinity, compressed, sender_public.substr(0, 64), sender_public + "x",
                            std::string(p256_point_bytes, '\0'), std::string()}) {
    EXPECT_FALSE(is_p256_point(point));
    EXPECT_FALSE(P256Key::from_scalar(sender_private)->agree(point));
  }
}

TEST(P256, PrivateKeysThatAreNone) {
  // The order of the curve's group, and one less.
  const auto order = octets("_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE");
  auto last = order;
  last.back() = '\x50';
  EXPECT_FALSE(P256Key::from_scalar(order));
  EXPECT_TRUE(P256Key::from_scalar(last));
  EXPECT_FALSE(P256Key::from_scalar(std::string(32, '\0')));
  EXPECT_FALSE(P256Key::from_scalar(std::string(31, '\1')));
}

TEST(P256, SignaturesAreTheKeysAndTheTextsOwn) {
  SystemRandom random;
  const auto key = P256Key::generate(random), other = P256Key::generate(random);
  EXPECT_NE(key.point(), other.point());
  const auto signature = key.sign("text");
  EXPECT_EQ(signature.size(), p256_signature_bytes);
  EXPECT_TRUE(verify_p256(key.point(), "text", signature));
  EXPECT_FALSE(verify_p256(key.point(), "Text", signature));
  EXPECT_FALSE(verify_p256(other.point(), "text", signature));
  EXPECT_FALSE(verify_p256(key.point(), "text", signature.substr(1)));
}

TEST(P256, PemComesBack) {
  SystemRandom random;
  const auto key = P256Key::generate(random);
  const auto pem = key.to_pem();
  EXPECT_TRUE(pem.expose().starts_with("-----BEGIN PRIVATE KEY-----\n"));
  const auto again = P256Key::from_pem(pem.expose());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->point(), key.point());
  EXPECT_TRUE(verify_p256(key.point(), "x", again->sign("x")));
  EXPECT_FALSE(P256Key::from_pem(pem.expose().substr(0, 60)));
  EXPECT_FALSE(P256Key::from_pem(""));
  EXPECT_FALSE(P256Key::from_pem(std::string(20'000, 'A')));
}

}  // namespace
}  // namespace postern
