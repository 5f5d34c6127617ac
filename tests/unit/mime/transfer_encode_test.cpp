// Transfer encodings, written, and read back by the decoder.
#include "postern/mail/mime/transfer_encode.hpp"

#include <gtest/gtest.h>

#include "postern/mail/mime/limits.hpp"
#include "postern/mail/mime/transfer_decode.hpp"

namespace postern::mail {
namespace {

std::string decoded(std::string_view name, std::string_view octets) {
  TransferDecoder decoder(transfer_encoding(name).encoding);
  std::string out;
  decoder.feed(octets, out);
  decoder.finish(out);
  EXPECT_FALSE(decoder.damaged());
  return out;
}

void expect_lines(std::string_view text, std::size_t octets_max) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find("\r\n"), text.size());
    EXPECT_LE(end, octets_max);
    EXPECT_EQ(text.substr(0, end).find_first_of("\r\n"), std::string_view::npos);
    text.remove_prefix(std::min(end + 2, text.size()));
  }
}

std::string encode_in_two(WrittenEncoding encoding, std::string_view octets, std::size_t cut) {
  TransferEncoder encoder(encoding);
  std::string out;
  encoder.feed(octets.substr(0, cut), out);
  encoder.feed(octets.substr(cut), out);
  encoder.finish(out);
  return out;
}

TEST(TransferEncoder, Base64OfEverySizeIsAsLargeAsSaid) {
  std::string octets;
  for (std::size_t size = 0; size < 400; ++size) {
    const std::string encoded = base64_lines(octets);
    EXPECT_EQ(encoded.size(), base64_size(size)) << size;
    EXPECT_EQ(decoded("base64", encoded), octets);
    EXPECT_EQ(encode_in_two(WrittenEncoding::base64, octets, size / 2), encoded);
    expect_lines(encoded, 76);
    EXPECT_FALSE(encoded.ends_with('\n'));
    octets += static_cast<char>(size * 7);
  }
  EXPECT_EQ(base64_lines("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64_size(57), 76U);
  EXPECT_EQ(base64_size(58), 82U);
}

TEST(TransferEncoder, CrlfForEveryLineEnd) {
  constexpr std::string_view octets = "a\nb\r\nc\rd\r\r\n\n\re\r";
  constexpr std::string_view expected = "a\r\nb\r\nc\r\nd\r\n\r\n\r\n\r\ne\r\n";
  for (std::size_t cut = 0; cut <= octets.size(); ++cut) {
    EXPECT_EQ(encode_in_two(WrittenEncoding::crlf, octets, cut), expected) << cut;
    ContentScan scan;
    scan.feed(octets.substr(0, cut));
    scan.feed(octets.substr(cut));
    const ContentTraits traits = scan.finish();
    EXPECT_EQ(traits.octets, octets.size());
    EXPECT_EQ(traits.crlf_octets(), expected.size());
    EXPECT_EQ(traits.longest_line, 1U);
  }
}

TEST(ContentScan, SaysWhatFitsInAMessage) {
  const auto scan = [](std::string_view octets) {
    ContentScan scanner;
    scanner.feed(octets);
    return scanner.finish();
  };
  EXPECT_TRUE(scan("").fits_lines());
  EXPECT_TRUE(scan(std::string(message_line_bytes_max, 'x') + "\r\n").fits_lines());
  EXPECT_FALSE(scan(std::string(message_line_bytes_max + 1, 'x')).fits_lines());
  EXPECT_FALSE(scan(std::string_view("a\0b", 3)).fits_lines());
  EXPECT_FALSE(scan("abc").eight_bit);
  EXPECT_TRUE(scan("\xC3\xA4").eight_bit);
}

TEST(QuotedPrintable, Lines) {
  EXPECT_EQ(quoted_printable("a=b \r\n\tc\t"), "a=3Db=20\r\n\tc=09");
  EXPECT_EQ(quoted_printable("From me\r\nnot From\r\n.\r\n.."), "=46rom me\r\nnot From\r\n=2E\r\n..");
  EXPECT_EQ(quoted_printable(std::string(76, 'x')), std::string(76, 'x'));
  EXPECT_EQ(quoted_printable(std::string(77, 'x')), std::string(75, 'x') + "=\r\nxx");
  // What a soft line break brings to a line's start is treated as any line's start.
  EXPECT_EQ(quoted_printable(std::string(75, 'x') + "From here"), std::string(75, 'x') + "=\r\n=46rom here");
}

TEST(EncodeText, ChoosesWhatIsSmallest) {
  EXPECT_EQ(encode_text("plain\ntext\r\n").encoding, "7bit");
  EXPECT_EQ(encode_text("plain\ntext\r\n").octets, "plain\r\ntext\r\n");
  EXPECT_EQ(encode_text("").encoding, "7bit");
  EXPECT_EQ(encode_text("caf\xC3\xA9 and more of it").encoding, "quoted-printable");
  EXPECT_EQ(encode_text("\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E").encoding, "base64");
  EXPECT_EQ(encode_text(std::string(message_line_bytes_max, 'x')).encoding, "7bit");
  EXPECT_EQ(encode_text(std::string(message_line_bytes_max + 1, 'x')).encoding, "quoted-printable");
  EXPECT_EQ(encode_text("From here").encoding, "quoted-printable");
  EXPECT_EQ(encode_text(std::string_view("NUL\0 here", 9)).encoding, "quoted-printable");
}

TEST(EncodeText, WhatIsNoLineEndStays) {
  for (const std::string& text :
       {std::string("a\rb\r\r\nc\r"), std::string("\0\x01\x7F \t", 5), std::string("  \r\n  ")}) {
    const EncodedText encoded = encode_text(text);
    EXPECT_EQ(decoded(encoded.encoding, encoded.octets), text);
    expect_lines(encoded.octets, message_line_bytes_max);
  }
}

}  // namespace
}  // namespace postern::mail
