// Bcc, line ends and dots, with the message cut at each octet.
#include "postern/smtp/content.hpp"

#include <gtest/gtest.h>

namespace postern::smtp {
namespace {

std::string outgoing(std::string_view text, OutgoingMessage& message, std::size_t cut) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += cut) message.feed(text.substr(i, cut), out);
  message.finish(out);
  return out;
}

struct Case {
  std::string_view in, out;
};

TEST(Outgoing, BccGoesAndNothingElse) {
  const Case cases[] = {
      {"", ""},
      {"A: b\r\nBcc: x@y\r\nC: d\r\n\r\nBcc: body\r\n", "A: b\r\nC: d\r\n\r\nBcc: body\r\n"},
      {"bCC: x@y,\r\n z@y\r\n\tw@y\r\nA: b\r\n folded\r\n\r\nt", "A: b\r\n folded\r\n\r\nt\r\n"},
      {"Bcc : x\r\nResent-Bcc: y\r\nBccc: z\r\nXBcc: z\r\n\r\n", "Bccc: z\r\nXBcc: z\r\n\r\n"},
      {"A: b\r\n bcc: c\r\n\r\n", "A: b\r\n bcc: c\r\n\r\n"},
      {"Bcc:\r\n\r\nt\r\n", "\r\nt\r\n"},
      {"A: b\r\nBcc: x", "A: b\r\n"},
      {"A: b\nBcc: x\n y\nC: d\n\nt\n", "A: b\r\nC: d\r\n\r\nt\r\n"},
      {"A: b\rBcc: x\rC: d\r\rt\r", "A: b\r\nC: d\r\n\r\nt\r\n"},
      {"no field\r\nBcc: x\r\n\r\n", "no field\r\n\r\n"},
      {"A: b", "A: b\r\n"},
      {"Bcc", ""},
      {"Bcc\r\n : x\r\nA: b\r\n\r\n", "A: b\r\n\r\n"},  // whoever unfolds first finds it
      {"Bcc x\r\n : x\r\n\r\n", "Bcc x\r\n : x\r\n\r\n"},
      {"A: b\r\n\r\nx\n.\ny\r.\r\nz", "A: b\r\n\r\nx\r\n.\r\ny\r\n.\r\nz\r\n"},
      {"A: b\r\n\r\nx\n\r\n", "A: b\r\n\r\nx\r\n\r\n"},
  };
  for (const auto& one : cases)
    for (std::size_t cut = 1; cut <= one.in.size() + 1; ++cut) {
      OutgoingMessage message;
      EXPECT_EQ(outgoing(one.in, message, cut), one.out) << one.in << " cut at " << cut;
      EXPECT_EQ(message.size(), one.out.size());
    }
}

TEST(Outgoing, ALongNameIsNoBcc) {
  const std::string field(1'000, 'b');
  OutgoingMessage message;
  EXPECT_EQ(outgoing(field + ": x\r\n\r\n", message, 7), field + ": x\r\n\r\n");
}

TEST(Outgoing, WhiteSpaceBehindANameMakesItNoOther) {
  for (const std::size_t spaces : {53u, 54u, 61u, 62u, 1'000u}) {
    const std::string white(spaces, ' ');
    for (const std::size_t cut : {1u, 7u, 5'000u}) {
      OutgoingMessage message;
      EXPECT_EQ(outgoing("Bcc" + white + ": x\r\nResent-Bcc" + white + "\t: x\r\nA: b\r\n\r\n", message, cut),
                "A: b\r\n\r\n")
          << spaces;
    }
    OutgoingMessage kept;
    EXPECT_EQ(outgoing("Bccc" + white + ": x\r\n\r\n", kept, 7), "Bccc" + white + ": x\r\n\r\n");
  }
}

TEST(Outgoing, WhatIsInIt) {
  OutgoingMessage plain, eight, nul;
  outgoing("A: b\r\n\r\nt\r\n", plain, 3);
  outgoing("A: b\r\n\r\n\xc3\xa4\r\n", eight, 3);
  outgoing(std::string_view("A: b\r\n\r\na\0b", 11), nul, 3);
  EXPECT_FALSE(plain.has_eight_bit() || plain.has_nul());
  EXPECT_TRUE(eight.has_eight_bit());
  EXPECT_TRUE(nul.has_nul());
}

TEST(Dots, AreDoubledAtTheBeginningOfLines) {
  const std::string_view text = ".a\r\n..\r\n.\r\nb.\r\n.";
  for (std::size_t cut = 1; cut <= text.size(); ++cut) {
    DotStuffing dots;
    std::string out;
    for (std::size_t i = 0; i < text.size(); i += cut) dots.feed(text.substr(i, cut), out);
    EXPECT_EQ(out, "..a\r\n...\r\n..\r\nb.\r\n..") << cut;
  }
}

}  // namespace
}  // namespace postern::smtp
