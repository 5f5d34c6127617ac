// Text encodings: the RFC's vectors, every malformed shape, UTF-8 at each border of its grammar.
#include "postern/base/encoding.hpp"

#include <gtest/gtest.h>

#include <string>

namespace postern {
namespace {

TEST(Base64, Rfc4648Vectors) {
  const std::pair<const char*, const char*> vectors[] = {
      {"", ""},
      {"f", "Zg=="},
      {"fo", "Zm8="},
      {"foo", "Zm9v"},
      {"foob", "Zm9vYg=="},
      {"fooba", "Zm9vYmE="},
      {"foobar", "Zm9vYmFy"},
  };
  for (const auto& [plain, coded] : vectors) {
    EXPECT_EQ(base64_encode(plain), coded);
    EXPECT_EQ(base64_decode(coded), plain);
    std::string url(coded);
    while (url.ends_with('=')) url.pop_back();
    EXPECT_EQ(base64url_encode(plain), url);
    EXPECT_EQ(base64url_decode(url), plain);
  }
}

TEST(Base64, EveryOctetAtEveryPhase) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  for (std::size_t skip = 0; skip < 4; ++skip) {
    const std::string part = bytes.substr(skip);
    EXPECT_EQ(base64_decode(base64_encode(part)), part);
    EXPECT_EQ(base64url_decode(base64url_encode(part)), part);
  }
  EXPECT_EQ(base64_encode("\xfb\xff"), "+/8=");
  EXPECT_EQ(base64url_encode("\xfb\xff"), "-_8");
}

TEST(Base64, WhiteSpaceIsSkippedNothingElse) {
  EXPECT_EQ(base64_decode(" Zm9v\r\nYmFy\t"), "foobar");
  EXPECT_EQ(base64_decode("Zg =\n="), "f");
  for (const char* bad : {"Zg", "Zg=", "Zg===", "=", "====", "Z===", "Zm9v=", "Zg==Zg==", "Zm9*",
                          "Zh==", "Zm9=", "-_8=", "Zm9vY"})
    EXPECT_EQ(base64_decode(bad), std::nullopt) << bad;
}

TEST(Base64Url, IsStrict) {
  for (const char* bad : {"Zg==", "Z", "Zm 9v", "Zm9v\n", "+/8", "Zh", "Zm9vY", "Zm9"})
    EXPECT_EQ(base64url_decode(bad), std::nullopt) << bad;
}

TEST(Hex, Lower) { EXPECT_EQ(hex_encode(std::string_view("\x00\x7f\xff\xa5", 4)), "007fffa5"); }

TEST(StableHash64, NeverChanges) {
  // The beginning of SHA-256 of "" and "abc" (FIPS 180-4 examples).
  EXPECT_EQ(stable_hash64(""), 0xe3b0c44298fc1c14U);
  EXPECT_EQ(stable_hash64("abc"), 0xba7816bf8f01cfeaU);
}

TEST(Ascii, CaseAndTrim) {
  EXPECT_EQ(ascii_lower("INBOX\xC3\x84z"), "inbox\xC3\x84z");
  EXPECT_EQ(ascii_upper("inbox\xC3\xA4Z{`"), "INBOX\xC3\xA4Z{`");
  EXPECT_TRUE(iequals_ascii("InBox", "INBOX"));
  EXPECT_FALSE(iequals_ascii("InBox", "INBO"));
  EXPECT_FALSE(iequals_ascii("a[", "A{"));
  EXPECT_EQ(trim_ascii(" \t\r\n a b \n"), "a b");
  EXPECT_EQ(trim_ascii(" \n"), "");
}

TEST(Utf8, BordersOfTheGrammar) {
  for (const char* good : {"", "plain", "\x7f", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF",
                           "\xEE\x80\x80", "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF",
                           "a\xE2\x82\xAC"
                           "b"}) {
    EXPECT_TRUE(is_valid_utf8(good));
    EXPECT_EQ(sanitize_utf8(good), good);
  }
  for (const char* bad :
       {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xC2", "\xE2\x82", "\xF0\x9F\x98", "\xC2z"}) {
    EXPECT_FALSE(is_valid_utf8(bad));
    EXPECT_TRUE(is_valid_utf8(sanitize_utf8(bad)));
    EXPECT_NE(sanitize_utf8(bad), bad);
  }
  EXPECT_TRUE(is_valid_utf8(std::string_view("\0", 1)));
}

TEST(Utf8, OneReplacementForEachMaximalSubpart) {
  const std::string r = "\xEF\xBF\xBD";
  // The example of the Unicode standard, table 3-8.
  EXPECT_EQ(sanitize_utf8("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
            "a" + r + r + r + "b" + r + "c" + r + r + "d");
  EXPECT_EQ(sanitize_utf8("\xE2\x82"), r);
  EXPECT_EQ(sanitize_utf8("\xED\xA0\x80"), r + r + r);
}

}  // namespace
}  // namespace postern
