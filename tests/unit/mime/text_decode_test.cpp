// Body values: RFC 8621, 4.1.4 (EmailBodyValue) and 4.2 (maxBodyValueBytes).
#include "postern/mail/mime/text_decode.hpp"

#include <gtest/gtest.h>

#include "postern/base/encoding.hpp"
#include "postern/mail/mime/limits.hpp"

namespace postern::mail {
namespace {

TextDecodeOptions decode_options(std::string encoding, std::string charset, std::uint64_t max = 0,
                                 bool html = false) {
  return {std::move(encoding), std::move(charset), html, max};
}

TEST(TextDecode, DecodesTransferEncodingAndCharset) {
  const EmailBodyValue value =
      decode_text("caf=E9\r\n=80\r\n", decode_options("quoted-printable", "iso-8859-1"));
  EXPECT_EQ(value.value, "caf\xC3\xA9\n\xE2\x82\xAC\n");
  EXPECT_FALSE(value.is_encoding_problem);
  EXPECT_FALSE(value.is_truncated);
}

TEST(TextDecode, OnlyCrlfBecomesLf) {
  EXPECT_EQ(decode_text("a\r\nb\nc\rd\r\r\n", decode_options("7bit", "")).value, "a\nb\nc\rd\r\n");
  EXPECT_EQ(decode_text(std::string_view("a\0b", 3), decode_options("7bit", "")).value, "ab");
}

TEST(TextDecode, TellsEncodingProblems) {
  EXPECT_TRUE(decode_text("x\xFFy\xC3\xA9", decode_options("8bit", "utf-8")).is_encoding_problem);
  EXPECT_TRUE(decode_text("x", decode_options("8bit", "x-unknown")).is_encoding_problem);
  EXPECT_TRUE(decode_text("x", decode_options("x-rot13", "utf-8")).is_encoding_problem);
  EXPECT_EQ(decode_text("x=20", decode_options("x-rot13", "utf-8")).value, "x=20");
  EXPECT_TRUE(decode_text("Zm9v*", decode_options("base64", "utf-8")).is_encoding_problem);
  EXPECT_FALSE(decode_text("Zm9v", decode_options("base64", "utf-8")).is_encoding_problem);
}

TEST(TextDecode, Utf8InNameOnly) {
  const EmailBodyValue value = decode_text("caf\xE9 cr\xE8me", decode_options("8bit", "UTF-8"));
  EXPECT_EQ(value.value, "caf\xC3\xA9 cr\xC3\xA8me");
  EXPECT_TRUE(value.is_encoding_problem);
  EXPECT_EQ(decode_text("caf\xE9 cr\xC3\xA8me", decode_options("8bit", "UTF-8")).value,
            "caf\xEF\xBF\xBD cr\xC3\xA8me");
}

TEST(TextDecode, FedInPiecesGivesTheSame) {
  const std::string text = base64_encode("\x1B$B$3$s$K$A$O\x1B(B, line one\r\nline two\r\n");
  const EmailBodyValue whole = decode_text(text, decode_options("base64", "iso-2022-jp"));
  EXPECT_FALSE(whole.is_encoding_problem);
  for (std::size_t i = 0; i <= text.size(); ++i) {
    TextDecoder decoder(decode_options("base64", "iso-2022-jp"));
    decoder.feed(std::string_view(text).substr(0, i));
    decoder.feed(std::string_view(text).substr(i));
    EXPECT_EQ(decoder.finish().value, whole.value);
  }
}

TEST(TextDecode, TruncatesBetweenCharacters) {
  const std::string text = "\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC";
  for (std::uint64_t max = 1; max <= 12; ++max) {
    const EmailBodyValue value = decode_text(text, decode_options("8bit", "utf-8", max));
    EXPECT_EQ(value.value.size(), std::min<std::uint64_t>(max / 3 * 3, 9)) << max;
    EXPECT_EQ(value.is_truncated, max < 9) << max;
    EXPECT_FALSE(value.is_encoding_problem) << max;
  }
}

TEST(TextDecode, LimitCountsDecodedOctets) {
  EXPECT_EQ(decode_text("a\r\nb\r\n", decode_options("7bit", "", 4)).value, "a\nb\n");
  EXPECT_FALSE(decode_text("a\r\nb\r\n", decode_options("7bit", "", 4)).is_truncated);
  EXPECT_EQ(decode_text("\xE9\xE9", decode_options("8bit", "latin1", 3)).value, "\xC3\xA9");
}

TEST(TextDecode, HtmlIsNotCutInsideATag) {
  const std::string html = "<p>Hi <a href=\"https://example.com/?a>b\">there</a></p>";
  EXPECT_EQ(truncate_text(html, 3, true), "<p>");
  EXPECT_EQ(truncate_text(html, 2, true), "");
  EXPECT_EQ(truncate_text(html, 5, true), "<p>Hi");
  for (std::size_t max = 7; max < 41; ++max) EXPECT_EQ(truncate_text(html, max, true), "<p>Hi ") << max;
  EXPECT_EQ(truncate_text(html, 41, true), "<p>Hi <a href=\"https://example.com/?a>b\">");
  EXPECT_EQ(truncate_text(html, 43, true), "<p>Hi <a href=\"https://example.com/?a>b\">th");
  EXPECT_EQ(truncate_text(html, html.size(), true), html);
  EXPECT_EQ(truncate_text(html, 20, false), html.substr(0, 20));
  EXPECT_EQ(truncate_text("1 < 2 and more", 8, true), "1 < 2 an");
  EXPECT_EQ(truncate_text("a<!-- <b comment -->c", 12, true), "a<!-- <b com");
  const EmailBodyValue value = decode_text(html, decode_options("7bit", "utf-8", 20, true));
  EXPECT_EQ(value.value, "<p>Hi ");
  EXPECT_TRUE(value.is_truncated);
}

TEST(TextDecode, CutInputIsTruncatedNotBroken) {
  const EmailBodyValue value = decode_text("a\xE2\x82", decode_options("8bit", "utf-8"), true);
  EXPECT_EQ(value.value, "a");
  EXPECT_TRUE(value.is_truncated);
  EXPECT_FALSE(value.is_encoding_problem);
  EXPECT_EQ(decode_text("a\r", decode_options("8bit", "utf-8"), true).value, "a");
  EXPECT_EQ(decode_text("YWJjZ", decode_options("base64", "utf-8"), true).value, "abc");
  EXPECT_FALSE(decode_text("YWJjZ", decode_options("base64", "utf-8"), true).is_encoding_problem);
}

TEST(TextDecode, StopsWhenItHasEnough) {
  TextDecoder decoder(decode_options("7bit", "utf-8", 10));
  EXPECT_TRUE(decoder.wants_more());
  decoder.feed(std::string(1'000'000, 'x'));
  EXPECT_FALSE(decoder.wants_more());
  const EmailBodyValue value = decoder.finish();
  EXPECT_EQ(value.value, "xxxxxxxxxx");
  EXPECT_TRUE(value.is_truncated);
}

TEST(TextDecode, TellsThePartsSize) {
  EXPECT_EQ(decode_text("caf=E9\r\n", decode_options("quoted-printable", "latin1")).part_size, 6u);
  EXPECT_EQ(decode_text("caf=E9\r\n", decode_options("quoted-printable", "latin1", 2)).part_size, 6u);
  EXPECT_EQ(decode_text("caf=E9\r\n", decode_options("quoted-printable", "latin1"), true).part_size,
            std::nullopt);
  EXPECT_EQ(decode_text(std::string(100'000, 'x'), decode_options("7bit", "", 2)).part_size, std::nullopt);
}

TEST(TextDecode, BoundsValues) {
  EmailBodyValue value = decode_text(std::string(body_value_bytes_max, 'x'), decode_options("7bit", "utf-8"));
  EXPECT_EQ(value.value.size(), body_value_bytes_max);
  EXPECT_FALSE(value.is_truncated);
  value = decode_text(std::string(body_value_bytes_max + 1, 'x'), decode_options("7bit", "utf-8"));
  EXPECT_EQ(value.value.size(), body_value_bytes_max);
  EXPECT_TRUE(value.is_truncated);
  // A charset that grows threefold in UTF-8.
  value = decode_text(std::string(body_value_bytes_max, '\x80'),
                      decode_options("8bit", "windows-1252", body_value_bytes_max * 2));
  EXPECT_LE(value.value.size(), body_value_bytes_max);
  EXPECT_TRUE(value.is_truncated);
}

}  // namespace
}  // namespace postern::mail
