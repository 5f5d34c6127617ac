// Transfer encodings: RFC 2045, 6.7 and 6.8; uuencode.
// Everything is fed whole, octet by octet, and cut in two anywhere.
#include <gtest/gtest.h>

#include "postern/mail/mime/transfer_decode.hpp"

namespace postern::mail {
namespace {

struct Decoded {
  std::string text;
  bool damaged = false;
  bool operator==(const Decoded&) const = default;
};
void PrintTo(const Decoded& decoded, std::ostream* out) {
  *out << '"' << decoded.text << '"' << (decoded.damaged ? " damaged" : "");
}

Decoded decode(TransferEncoding encoding, std::string_view input, std::size_t cut_at) {
  TransferDecoder decoder(encoding);
  Decoded out;
  decoder.feed(input.substr(0, cut_at), out.text);
  decoder.feed(input.substr(cut_at), out.text);
  decoder.finish(out.text);
  out.damaged = decoder.damaged();
  return out;
}

Decoded decode(TransferEncoding encoding, std::string_view input) {
  TransferDecoder decoder(encoding);
  Decoded out;
  for (const char c : input) decoder.feed(std::string_view(&c, 1), out.text);
  decoder.finish(out.text);
  out.damaged = decoder.damaged();
  for (std::size_t i = 0; i <= input.size(); ++i)
    EXPECT_EQ(decode(encoding, input, i), out) << "cut at " << i;
  return out;
}

Decoded base64(std::string_view input) { return decode(TransferEncoding::base64, input); }
Decoded qp(std::string_view input) { return decode(TransferEncoding::quoted_printable, input); }
Decoded uu(std::string_view input) { return decode(TransferEncoding::uuencode, input); }

TEST(TransferEncoding, Names) {
  EXPECT_EQ(transfer_encoding("BASE64").encoding, TransferEncoding::base64);
  EXPECT_EQ(transfer_encoding(" quoted-printable ; x").encoding, TransferEncoding::quoted_printable);
  EXPECT_EQ(transfer_encoding("x-uuencode").encoding, TransferEncoding::uuencode);
  EXPECT_EQ(transfer_encoding("8bit (comment)").encoding, TransferEncoding::identity);
  EXPECT_TRUE(transfer_encoding("").known);
  EXPECT_TRUE(transfer_encoding("Binary").known);
  EXPECT_FALSE(transfer_encoding("x-rot13").known);
  EXPECT_EQ(transfer_encoding("x-rot13").encoding, TransferEncoding::identity);
}

TEST(TransferDecoder, Identity) {
  EXPECT_EQ(decode(TransferEncoding::identity, "a=20\r\n"), (Decoded{"a=20\r\n", false}));
}

// RFC 4648, 10.
TEST(TransferDecoder, Base64Vectors) {
  EXPECT_EQ(base64(""), (Decoded{"", false}));
  EXPECT_EQ(base64("Zg=="), (Decoded{"f", false}));
  EXPECT_EQ(base64("Zm8="), (Decoded{"fo", false}));
  EXPECT_EQ(base64("Zm9v"), (Decoded{"foo", false}));
  EXPECT_EQ(base64("Zm9v\r\nYmFy\r\n"), (Decoded{"foobar", false}));
}

TEST(TransferDecoder, Base64IsLenient) {
  EXPECT_EQ(base64("Zm8"), (Decoded{"fo", false}));            // no padding
  EXPECT_EQ(base64("Zg==Zm8=\r\n"), (Decoded{"ffo", false}));  // joined texts
  EXPECT_EQ(base64("Zm-_"), (Decoded{"f\x6f\xbf", false}));    // the URL's letters
  EXPECT_EQ(base64("Zm9v*Ym!Fy"), (Decoded{"foobar", true}));
  EXPECT_EQ(base64("Zm9vY"), (Decoded{"foo", true}));
  EXPECT_EQ(base64("===="), (Decoded{"", true}));
}

TEST(TransferDecoder, QuotedPrintable) {
  EXPECT_EQ(qp("caf=C3=A9"), (Decoded{"caf\xC3\xA9", false}));
  EXPECT_EQ(qp("now's the time =\r\nfor all"), (Decoded{"now's the time for all", false}));
  EXPECT_EQ(qp("soft=\nbreak"), (Decoded{"softbreak", false}));
  EXPECT_EQ(qp("soft= \t \r\nbreak"), (Decoded{"softbreak", false}));
  EXPECT_EQ(qp("padding \t \r\nnext\t\nlast  "), (Decoded{"padding\r\nnext\nlast", false}));
  EXPECT_EQ(qp("in  between"), (Decoded{"in  between", false}));
  EXPECT_EQ(qp("=3d=3D=\r\n"), (Decoded{"==", false}));
  EXPECT_EQ(qp("end="), (Decoded{"end", false}));
}

TEST(TransferDecoder, QuotedPrintableIsLenient) {
  EXPECT_EQ(qp("a=b"), (Decoded{"a=b", true}));
  EXPECT_EQ(qp("a=zz"), (Decoded{"a=zz", true}));
  EXPECT_EQ(qp("a=4"), (Decoded{"a=4", true}));
  EXPECT_EQ(qp("a=4z"), (Decoded{"a=4z", true}));
  EXPECT_EQ(qp("a=  b"), (Decoded{"a=  b", true}));
  EXPECT_EQ(qp("==41"), (Decoded{"=A", true}));
  EXPECT_EQ(qp("=\rA"), (Decoded{"A", false}));
  EXPECT_EQ(qp("\xC3\xA9"), (Decoded{"\xC3\xA9", false}));
}

TEST(TransferDecoder, QuotedPrintableHoldsLittle) {
  TransferDecoder decoder(TransferEncoding::quoted_printable);
  std::string out;
  decoder.feed(std::string(100'000, ' '), out);
  EXPECT_GE(out.size(), 98'000u);
  decoder.feed("x", out);
  EXPECT_EQ(out, std::string(100'000, ' ') + "x");
}

TEST(TransferDecoder, Uuencode) {
  EXPECT_EQ(uu("begin 644 x\n#0V%T\n`\nend\n"), (Decoded{"Cat", false}));
  EXPECT_EQ(uu("text before\r\nbegin 644 cat.txt\r\n#0V%T\r\n`\r\nend\r\ntext after\r\n"),
            (Decoded{"Cat", false}));
  EXPECT_EQ(uu("begin 644 x\n$0V%T0P\n \nend"), (Decoded{"CatC", false}));
}

TEST(TransferDecoder, UuencodeIsLenient) {
  EXPECT_EQ(uu("begin 644 x\n#0V%T"), (Decoded{"Cat", true}));     // no end
  EXPECT_EQ(uu("begin 644 x\n)0V%T\nend\n").damaged, true);        // short line
  EXPECT_EQ(uu("begin 644 x\n#0V%T0V%T0V\nend\n").damaged, true);  // long line
  EXPECT_EQ(uu("no beginning"), (Decoded{"", true}));
  EXPECT_TRUE(
      decode(TransferEncoding::uuencode, "begin 644 x\n" + std::string(10'000, 'M') + "\nend\n", 0).damaged);
}

// Decoding never makes more than it gets: there is no bomb to build.
TEST(TransferDecoder, NeverGrows) {
  std::string all;
  for (int i = 0; i < 4'096; ++i) all += static_cast<char>(i * 7 + i / 256);
  for (const auto encoding : {TransferEncoding::identity, TransferEncoding::base64,
                              TransferEncoding::quoted_printable, TransferEncoding::uuencode})
    EXPECT_LE(decode(encoding, all, 1'000).text.size(), all.size());
}

}  // namespace
}  // namespace postern::mail
