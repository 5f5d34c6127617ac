// Message encryption by RFC 8291's example and for a receiver of the test's own; VAPID's token and key file.
#include "postern/push/web_push.hpp"

#include <sys/stat.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "postern/base/encoding.hpp"
#include "support/temporary_folder.hpp"

namespace postern::push {
namespace {

std::string octets(std::string_view base64url) { return base64url_decode(base64url).value(); }

constexpr std::string_view receiver_point =
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
constexpr std::string_view receiver_auth = "BTBZMqHH6r4Tts7J_aSIgg";
constexpr std::string_view watermelon = "When I grow up, I want to be a watermelon";

// As RFC 8188 and 8291 have it, written a second time.
std::string decrypted(std::string_view body, const P256Key& receiver, std::string_view auth) {
  using namespace std::literals;
  const auto salt = body.substr(0, 16), point = body.substr(21, 65), sealed = body.substr(86);
  EXPECT_EQ(body.substr(16, 5), "\x00\x00\x10\x00\x41"sv);
  const auto info = "WebPush: info\0"s + receiver.point() + std::string(point);
  const auto ikm = hkdf_sha256(receiver.agree(point)->expose(), auth, info, 32);
  const auto key = hkdf_sha256(ikm.expose(), salt, "Content-Encoding: aes128gcm\0"sv, 16);
  const auto nonce = hkdf_sha256(ikm.expose(), salt, "Content-Encoding: nonce\0"sv, 12);
  std::string plain(sealed.size() - 16, '\0'), tag(sealed.substr(sealed.size() - 16));
  auto* ctx = EVP_CIPHER_CTX_new();
  const auto bytes = [](std::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());
  };
  int size = 0;
  EVP_DecryptInit_ex(ctx, EVP_aes_128_gcm(), nullptr, bytes(key.expose()), bytes(nonce.expose()));
  EVP_DecryptUpdate(ctx, reinterpret_cast<unsigned char*>(plain.data()), &size, bytes(sealed),
                    static_cast<int>(plain.size()));
  EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, 16, tag.data());
  const bool good = EVP_DecryptFinal_ex(ctx, nullptr, &size) == 1;
  EVP_CIPHER_CTX_free(ctx);
  EXPECT_TRUE(good);
  EXPECT_EQ(plain.back(), 2);
  plain.pop_back();
  return plain;
}

TEST(MessageEncryption, Rfc8291Example) {
  const auto keys = parse_client_keys(receiver_point, receiver_auth);
  ASSERT_TRUE(keys);
  const auto sender = P256Key::from_scalar(octets("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"));
  EXPECT_EQ(base64url_encode(encrypt_message(watermelon, *keys, octets("DGv6ra1nlYgDCS1FRnbzlw"), *sender)),
            "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml"
            "mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT"
            "pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN");
}

TEST(MessageEncryption, OnlyItsReceiverReadsIt) {
  SystemRandom random;
  const auto receiver = P256Key::generate(random);
  const std::string auth(16, 'a');
  const auto keys = parse_client_keys(base64url_encode(receiver.point()), base64url_encode(auth));
  ASSERT_TRUE(keys);
  const auto one = encrypt_message("{}", *keys, random), two = encrypt_message("{}", *keys, random);
  EXPECT_NE(one, two);
  EXPECT_EQ(decrypted(one, receiver, auth), "{}");
  EXPECT_EQ(decrypted(two, receiver, auth), "{}");
}

TEST(MessageEncryption, NoMoreThanAServiceHasToTake) {
  SystemRandom random;
  const auto keys = parse_client_keys(receiver_point, receiver_auth);
  constexpr std::size_t most = web_push_bytes_max - 86 - 17;
  EXPECT_EQ(encrypt_message(std::string(most, 'x'), *keys, random).size(), web_push_bytes_max);
  EXPECT_THROW(encrypt_message(std::string(most + 1, 'x'), *keys, random), std::length_error);
}

TEST(ClientKeys, PaddingIsNoMatterAndEverythingElseIs) {
  EXPECT_TRUE(parse_client_keys(std::string(receiver_point) + "=", std::string(receiver_auth) + "=="));
  const auto keys = parse_client_keys(receiver_point, receiver_auth);
  EXPECT_EQ(keys->p256dh->expose(), octets(receiver_point));
  EXPECT_EQ(keys->auth->expose(), octets(receiver_auth));
  auto wrong = std::string(receiver_point);
  wrong[20] = 'A';
  for (const auto& point : {wrong, std::string(), std::string("BCV"), std::string(receiver_auth)})
    EXPECT_FALSE(parse_client_keys(point, receiver_auth));
  for (const auto* auth : {"", "BTBZMqHH6r4Tts7J_aSI", "BTBZMqHH6r4Tts7J_aSIggAA", "BTBZ MqHH6r4Tts7J_aSIgg",
                           "+TBZMqHH6r4Tts7J/aSIgg"})
    EXPECT_FALSE(parse_client_keys(receiver_point, auth));
}

TEST(Vapid, TheTokenIsSignedForTheService) {
  SystemRandom random;
  auto pair = P256Key::generate(random);
  const auto point = pair.point();
  const VapidKey key(std::move(pair));
  EXPECT_EQ(octets(key.application_server_key()), point);
  const auto field = key.authorization("https://push.example.com", "mailto:a@example.com", 1'700'000'000);
  const auto middle = field.find(", k=");
  ASSERT_TRUE(field.starts_with("vapid t=") && middle != std::string::npos);
  EXPECT_EQ(field.substr(middle + 4), key.application_server_key());
  const auto token = field.substr(8, middle - 8);
  const auto dot = token.rfind('.');
  EXPECT_TRUE(verify_p256(point, token.substr(0, dot), octets(token.substr(dot + 1))));
  const auto first = token.find('.');
  EXPECT_EQ(octets(token.substr(0, first)), R"({"typ":"JWT","alg":"ES256"})");
  EXPECT_EQ(octets(token.substr(first + 1, dot - first - 1)),
            R"({"aud":"https://push.example.com","exp":1700043200,"sub":"mailto:a@example.com"})");
}

TEST(Vapid, TheKeyIsMadeOnceAndItsOwnersAlone) {
  SystemRandom random;
  test::TemporaryFolder folder;
  const auto path = folder.path() + "/vapid.pem";
  const auto made = VapidKey::load(path, random), again = VapidKey::load(path, random);
  ASSERT_TRUE(made && again);
  EXPECT_EQ(made->application_server_key(), again->application_server_key());
  struct stat file{};
  ASSERT_EQ(::stat(path.c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 0777u, 0600u);
  std::ofstream(path, std::ios::trunc) << "something else";
  const auto broken = VapidKey::load(path, random);
  ASSERT_FALSE(broken);
  EXPECT_TRUE(broken.error().context.starts_with(path));
  EXPECT_FALSE(VapidKey::load(folder.path() + "/none/vapid.pem", random));
}

}  // namespace
}  // namespace postern::push
