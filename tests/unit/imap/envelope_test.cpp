// ENVELOPE, as the grammar has it and as servers write it.
#include <gmock/gmock.h>

#include "parse_support.hpp"

namespace postern::imap {
namespace {

using testing::IsEmpty;

Envelope envelope(std::string_view text) {
  const auto d = fetched("(ENVELOPE " + std::string(text) + " UID 9)");
  EXPECT_EQ(d.uid, 9u) << "what follows was lost: " << text;
  if (!d.envelope) {
    ADD_FAILURE() << "no envelope: " << text;
    return {};
  }
  return *d.envelope;
}

// RFC 3501, 8.
TEST(Envelope, TheRfcsExample) {
  const auto e = envelope(
      "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \"IMAP4rev1 WG mtg summary and minutes\" ((\"Terry Gray\" "
      "NIL \"gray\" "
      "\"cac.washington.edu\")) ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) ((\"Terry Gray\" NIL "
      "\"gray\" "
      "\"cac.washington.edu\")) ((NIL NIL \"imap\" \"cac.washington.edu\")) ((NIL NIL \"minutes\" "
      "\"CNRI.Reston.VA.US\")"
      "(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL \"<B27397-0100000@cac.washington.edu>\")");
  EXPECT_EQ(e.date, "Wed, 17 Jul 1996 02:23:25 -0700 (PDT)");
  EXPECT_EQ(e.subject, "IMAP4rev1 WG mtg summary and minutes");
  ASSERT_EQ(e.from.size(), 1u);
  EXPECT_EQ(e.from[0].name, "Terry Gray");
  EXPECT_EQ(e.from[0].mailbox, "gray");
  EXPECT_EQ(e.from[0].host, "cac.washington.edu");
  EXPECT_EQ(e.to[0].name, std::nullopt);
  ASSERT_EQ(e.cc.size(), 2u);
  EXPECT_EQ(e.cc[1].name, "John Klensin");
  EXPECT_THAT(e.bcc, IsEmpty());
  EXPECT_EQ(e.in_reply_to, std::nullopt);
  EXPECT_EQ(e.message_id, "<B27397-0100000@cac.washington.edu>");
}

TEST(Envelope, Groups) {
  const auto e = envelope(
      "(NIL NIL NIL NIL NIL ((NIL NIL \"team\" NIL)(NIL NIL \"a\" \"b\")(NIL NIL NIL NIL)) NIL NIL NIL NIL)");
  ASSERT_EQ(e.to.size(), 3u);
  EXPECT_EQ(e.to[0].mailbox, "team");
  EXPECT_EQ(e.to[0].host, std::nullopt);
  EXPECT_EQ(e.to[2].mailbox, std::nullopt);
}

TEST(Envelope, LiteralsAndEscapes) {
  const auto e = envelope("({4}\r\na\")( \"q\\\"u\\\\o\" NIL NIL NIL NIL NIL NIL {2}\r\n<> NIL)");
  EXPECT_EQ(e.date, "a\")(");
  EXPECT_EQ(e.subject, "q\"u\\o");
  EXPECT_EQ(e.in_reply_to, "<>");
}

TEST(EnvelopeQuirk, Nil) {
  const auto d = fetched("(ENVELOPE NIL UID 9)");
  EXPECT_EQ(d.envelope, nullptr);
  EXPECT_EQ(d.uid, 9u);
}

TEST(EnvelopeQuirk, MissingFields) {
  EXPECT_EQ(envelope("()").subject, std::nullopt);
  EXPECT_EQ(envelope("(\"d\")").date, "d");
  const auto e = envelope("(\"d\" \"s\" ((\"n\" NIL \"m\" \"h\")))");
  EXPECT_EQ(e.subject, "s");
  EXPECT_EQ(e.from.size(), 1u);
  EXPECT_EQ(envelope("(NIL NIL NIL NIL NIL NIL NIL NIL NIL)").message_id, std::nullopt);
}

TEST(EnvelopeQuirk, MoreFieldsThanThereAre) {
  EXPECT_EQ(envelope("(NIL \"s\" NIL NIL NIL NIL NIL NIL NIL \"<m>\" NIL (\"x\" NIL) 7)").message_id, "<m>");
}

TEST(EnvelopeQuirk, EmptyAddressLists) {
  const auto e = envelope("(NIL \"s\" () \"\" NIL (NIL) ( NIL NIL ) NIL NIL \"<m>\")");
  EXPECT_THAT(e.from, IsEmpty());
  EXPECT_THAT(e.sender, IsEmpty());
  EXPECT_THAT(e.to, IsEmpty());
  EXPECT_THAT(e.cc, IsEmpty());
  EXPECT_EQ(e.message_id, "<m>");
}

TEST(EnvelopeQuirk, AnAddressWithoutItsList) {
  const auto e =
      envelope("(NIL \"s\" (\"n\" NIL \"m\" \"h\") (NIL NIL \"m2\" \"h2\") NIL NIL NIL NIL NIL \"<m>\")");
  ASSERT_EQ(e.from.size(), 1u);
  EXPECT_EQ(e.from[0].name, "n");
  EXPECT_EQ(e.from[0].host, "h");
  ASSERT_EQ(e.sender.size(), 1u);
  EXPECT_EQ(e.sender[0].mailbox, "m2");
  EXPECT_EQ(e.message_id, "<m>");
}

TEST(EnvelopeQuirk, NilAmongAddresses) {
  const auto e = envelope(
      "(NIL NIL (NIL (\"n\" NIL \"m\" \"h\") NIL (\"o\" NIL \"p\" \"q\")) NIL NIL NIL NIL NIL NIL NIL)");
  ASSERT_EQ(e.from.size(), 2u);
  EXPECT_EQ(e.from[1].name, "o");
}

TEST(EnvelopeQuirk, AddressesOfOddLength) {
  const auto e = envelope(
      "(NIL NIL ((\"n\" NIL \"m\")(\"n\" NIL \"m\" \"h\" \"x\" (\"y\"))) NIL NIL NIL NIL NIL NIL \"<m>\")");
  ASSERT_EQ(e.from.size(), 2u);
  EXPECT_EQ(e.from[0].host, std::nullopt);
  EXPECT_EQ(e.from[1].host, "h");
  EXPECT_EQ(e.message_id, "<m>");
}

TEST(EnvelopeQuirk, AtomsForStrings) {
  const auto e = envelope("(\"d\" Hello ((Name NIL m h)) NIL NIL NIL NIL NIL NIL <m@h>)");
  EXPECT_EQ(e.subject, "Hello");
  EXPECT_EQ(e.from[0].name, "Name");
  EXPECT_EQ(e.message_id, "<m@h>");
}

TEST(EnvelopeQuirk, ListsForStrings) {
  const auto e = envelope("(\"d\" \"s\" NIL NIL NIL NIL NIL NIL ((\"n\" NIL \"m\" \"h\")) \"<m>\")");
  EXPECT_EQ(e.in_reply_to, std::nullopt);
  EXPECT_EQ(e.message_id, "<m>");
}

TEST(EnvelopeQuirk, QuotesThatAreNotEscaped) {
  const auto e = envelope(
      "(\"d\" \"Re: \"important\" news\" ((\"John \"Jack\" Doe\" NIL \"j\" \"h\")) NIL NIL NIL NIL NIL NIL "
      "\"<m>\")");
  EXPECT_EQ(e.subject, "Re: \"important\" news");
  EXPECT_EQ(e.from[0].name, "John \"Jack\" Doe");
  EXPECT_EQ(e.from[0].host, "h");
  EXPECT_EQ(e.message_id, "<m>");
  EXPECT_EQ(envelope("(\"d\" \"\"all\" of it\" NIL NIL NIL NIL NIL NIL NIL NIL)").subject, "\"all\" of it");
}

TEST(EnvelopeQuirk, BackslashesThatAreNotEscaped) {
  EXPECT_EQ(envelope("(\"d\" \"C:\\foo\\\\bar\" NIL NIL NIL NIL NIL NIL NIL NIL)").subject, "C:\\foo\\bar");
}

TEST(EnvelopeQuirk, EightBitOctets) {
  EXPECT_EQ(envelope("(\"d\" \"\xe9t\xe9\" NIL NIL NIL NIL NIL NIL NIL NIL)").subject, "\xe9t\xe9");
}

TEST(EnvelopeQuirk, ExtraAndMissingSpaces) {
  const auto e = envelope(
      "( \"d\"  \"s\"((\"n\" NIL \"m\"  \"h\" ) (\"o\" NIL \"p\" \"q\"))NIL NIL NIL NIL NIL NIL \"<m>\" )");
  EXPECT_EQ(e.subject, "s");
  EXPECT_EQ(e.from.size(), 2u);
  EXPECT_EQ(e.message_id, "<m>");
}

TEST(EnvelopeQuirk, ABrokenEnvelopeCostsOnlyItself) {
  const auto d = fetched("(FLAGS () ENVELOPE \"not one\" UID 9 RFC822.SIZE 5)");
  EXPECT_EQ(d.envelope, nullptr);
  EXPECT_EQ(d.uid, 9u);
  EXPECT_EQ(d.size, 5u);
}

}  // namespace
}  // namespace postern::imap
