// BODYSTRUCTURE, as the grammar has it and as servers write it.
#include <gmock/gmock.h>

#include "parse_support.hpp"

namespace postern::imap {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

BodyStructure body(std::string_view text) {
  auto d = fetched("(BODYSTRUCTURE " + std::string(text) + " UID 9)");
  EXPECT_EQ(d.uid, 9u) << "what follows was lost: " << text;
  if (!d.body_structure) {
    ADD_FAILURE() << "no body structure: " << text;
    return {};
  }
  return std::move(*d.body_structure);
}

TEST(BodyStructure, Text) {
  const auto b = body(
      "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"UTF-8\" \"Format\" \"flowed\") \"<id>\" \"about\" "
      "\"QUOTED-PRINTABLE\" 3028 "
      "92 \"md5\" (\"INLINE\" (\"FILENAME\" \"a.txt\")) (\"en\" \"de\") \"http://x\" (1 2 (3)))");
  EXPECT_EQ(b.type, "text");
  EXPECT_EQ(b.subtype, "plain");
  EXPECT_THAT(b.parameters, ElementsAre(Pair("charset", "UTF-8"), Pair("format", "flowed")));
  EXPECT_EQ(b.id, "<id>");
  EXPECT_EQ(b.description, "about");
  EXPECT_EQ(b.encoding, "quoted-printable");
  EXPECT_EQ(b.size, 3028u);
  EXPECT_EQ(b.lines, 92u);
  EXPECT_EQ(b.md5, "md5");
  EXPECT_EQ(b.disposition, "inline");
  EXPECT_THAT(b.disposition_parameters, ElementsAre(Pair("filename", "a.txt")));
  EXPECT_THAT(b.languages, ElementsAre("en", "de"));
  EXPECT_EQ(b.location, "http://x");
  EXPECT_FALSE(b.is_multipart());
}

TEST(BodyStructure, Multipart) {
  const auto b = body(
      "((\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 1152 23)(\"IMAGE\" \"PNG\" (\"NAME\" \"x.png\") NIL NIL "
      "\"BASE64\" 4554 "
      "NIL (\"attachment\" (\"filename\" \"x.png\")) NIL NIL) \"MIXED\" (\"BOUNDARY\" \"b\") NIL \"en\" "
      "NIL)");
  EXPECT_TRUE(b.is_multipart());
  EXPECT_EQ(b.subtype, "mixed");
  EXPECT_THAT(b.parameters, ElementsAre(Pair("boundary", "b")));
  EXPECT_THAT(b.languages, ElementsAre("en"));
  ASSERT_EQ(b.parts.size(), 2u);
  EXPECT_EQ(b.parts[0].lines, 23u);
  EXPECT_EQ(b.parts[1].type, "image");
  EXPECT_EQ(b.parts[1].disposition, "attachment");
}

TEST(BodyStructure, AMessageInAMessage) {
  const auto b = body(
      "(\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 342 (\"d\" \"inner\" NIL NIL NIL NIL NIL NIL NIL "
      "\"<m>\") "
      "(\"TEXT\" \"HTML\" NIL NIL NIL \"7BIT\" 10 1) 12 NIL (\"attachment\" NIL) NIL)");
  ASSERT_TRUE(b.envelope);
  EXPECT_EQ(b.envelope->subject, "inner");
  ASSERT_EQ(b.parts.size(), 1u);
  EXPECT_EQ(b.parts[0].subtype, "html");
  EXPECT_EQ(b.lines, 12u);
  EXPECT_EQ(b.disposition, "attachment");
}

TEST(BodyStructure, WithoutExtensionData) {
  const auto d = fetched("(BODY (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3028 92))");
  ASSERT_TRUE(d.body_structure);
  EXPECT_EQ(d.body_structure->lines, 92u);
}

TEST(BodyStructureQuirk, NilTypes) {
  auto b = body("(NIL NIL NIL NIL NIL \"7BIT\" 5 NIL NIL NIL NIL)");
  EXPECT_EQ(b.type + "/" + b.subtype, "application/octet-stream");
  EXPECT_EQ(b.size, 5u);
  b = body("(\"TEXT\" NIL NIL NIL NIL \"7BIT\" 5 1 NIL NIL NIL NIL)");
  EXPECT_EQ(b.type + "/" + b.subtype, "text/plain");
}

TEST(BodyStructureQuirk, MultipartsWithoutParts) {
  for (const char* text :
       {"(NIL \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)", "(NIL \"mixed\")", "(\"mixed\")",
        "(\"MIXED\" (\"boundary\" \"b\") NIL NIL)", "(\"mixed\" NIL NIL NIL)",
        "(\"multipart\" \"mixed\" (\"boundary\" \"b\") NIL NIL)",
        "(\"MULTIPART\" \"MIXED\" NIL NIL NIL NIL 0)"}) {
    const auto b = body(text);
    EXPECT_EQ(b.type + "/" + b.subtype, "multipart/mixed") << text;
    EXPECT_THAT(b.parts, IsEmpty());
  }
  EXPECT_THAT(body("(NIL \"alternative\" (\"boundary\" \"b\") NIL NIL)").parameters,
              ElementsAre(Pair("boundary", "b")));
}

TEST(BodyStructureQuirk, AMultipartWithoutItsSubtype) {
  const auto b = body("((\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 1))");
  EXPECT_EQ(b.subtype, "mixed");
  EXPECT_EQ(b.parts.size(), 1u);
  EXPECT_EQ(body("((\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 1) NIL NIL NIL)").subtype, "mixed");
}

TEST(BodyStructureQuirk, PartsThatAreNilOrEmptyKeepTheirNumber) {
  const auto b = body(
      "((\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 1)()(\"image\" \"png\" NIL NIL NIL \"base64\" 2) "
      "\"mixed\")");
  ASSERT_EQ(b.parts.size(), 3u);
  EXPECT_EQ(b.parts[1].type, "application");
  EXPECT_EQ(b.parts[2].type, "image");
}

TEST(BodyStructureQuirk, MissingLines) {
  auto b = body("(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 5 NIL (\"inline\" NIL) NIL NIL)");
  EXPECT_EQ(b.lines, 0u);
  EXPECT_EQ(b.disposition, "inline");
  b = body("(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 5)");
  EXPECT_EQ(b.size, 5u);
}

TEST(BodyStructureQuirk, NilLines) {
  const auto b = body(
      "(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 5 NIL NIL (\"attachment\" (\"filename\" \"f\")) NIL NIL)");
  EXPECT_EQ(b.disposition, "attachment");
  EXPECT_THAT(b.disposition_parameters, ElementsAre(Pair("filename", "f")));
}

TEST(BodyStructureQuirk, NegativeLinesAndSizes) {
  const auto b = body("(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" -1 -1 NIL (\"inline\" NIL) NIL NIL)");
  EXPECT_EQ(b.size, 0u);
  EXPECT_EQ(b.lines, 0u);
  EXPECT_EQ(b.md5, std::nullopt);
  EXPECT_EQ(b.disposition, "inline");
  EXPECT_EQ(body("(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" NIL NIL)").size, 0u);
}

TEST(BodyStructureQuirk, LinesWhereTheyDontBelong) {
  const auto b =
      body("(\"MESSAGE\" \"DELIVERY-STATUS\" NIL NIL NIL \"7BIT\" 5 1 NIL (\"inline\" NIL) NIL NIL)");
  EXPECT_EQ(b.lines, 1u);
  EXPECT_EQ(b.disposition, "inline");
}

TEST(BodyStructureQuirk, AMessageAsABasicPart) {
  auto b = body(
      "(\"MESSAGE\" \"RFC822\" (\"NAME\" \"m.eml\") NIL NIL \"BASE64\" 342 NIL (\"attachment\" NIL) NIL "
      "NIL)");
  EXPECT_EQ(b.disposition, "attachment");
  EXPECT_THAT(b.parts, IsEmpty());
  b = body("(\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 342 NIL NIL 12 NIL (\"attachment\" NIL) NIL NIL)");
  EXPECT_EQ(b.lines, 12u);
  EXPECT_EQ(b.disposition, "attachment");
}

TEST(BodyStructureQuirk, ABrokenInnerEnvelope) {
  const auto b = body(
      "(\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 342 (1 2 (\"x\" (3)) x y \"z\") (\"TEXT\" \"HTML\" NIL "
      "NIL NIL "
      "\"7BIT\" 10 1) 12)");
  ASSERT_EQ(b.parts.size(), 1u);
  EXPECT_EQ(b.lines, 12u);
}

TEST(BodyStructureQuirk, MissingLastFields) {
  EXPECT_EQ(body("(\"image\" \"png\")").subtype, "png");
  EXPECT_EQ(body("(\"image\" \"png\" NIL)").encoding, "7bit");
  EXPECT_EQ(body("(\"image\" \"png\" NIL NIL NIL \"base64\")").encoding, "base64");
  EXPECT_EQ(body("(\"image\" \"png\" NIL NIL NIL NIL 7)").encoding, "7bit");
}

TEST(BodyStructureQuirk, OddParameters) {
  EXPECT_THAT(body("(\"text\" \"plain\" (\"charset\" NIL) NIL NIL \"7bit\" 1 1)").parameters,
              ElementsAre(Pair("charset", "")));
  EXPECT_THAT(body("(\"text\" \"plain\" () NIL NIL \"7bit\" 1 1)").parameters, IsEmpty());
  EXPECT_THAT(body("(\"text\" \"plain\" \"\" NIL NIL \"7bit\" 1 1)").parameters, IsEmpty());
  EXPECT_THAT(body("(\"text\" \"plain\" (\"a\") NIL NIL \"7bit\" 1 1)").parameters,
              ElementsAre(Pair("a", "")));
  EXPECT_THAT(body("(\"text\" \"plain\" (NIL \"x\" \"b\" \"c\") NIL NIL \"7bit\" 1 1)").parameters,
              ElementsAre(Pair("b", "c")));
  EXPECT_THAT(body("(\"text\" \"plain\" (\"name\" \"a \"b\" c.txt\") NIL NIL \"7bit\" 1 1)").parameters,
              ElementsAre(Pair("name", "a \"b\" c.txt")));
  EXPECT_THAT(body("(\"text\" \"plain\" (\"name\" \"C:\\a.txt\") NIL NIL \"7bit\" 1 1)").parameters,
              ElementsAre(Pair("name", "C:\\a.txt")));
}

TEST(BodyStructureQuirk, OddDispositions) {
  EXPECT_EQ(body("(\"image\" \"png\" NIL NIL NIL \"base64\" 1 NIL \"attachment\" NIL NIL)").disposition,
            "attachment");
  EXPECT_EQ(body("(\"image\" \"png\" NIL NIL NIL \"base64\" 1 NIL (\"attachment\") NIL NIL)").disposition,
            "attachment");
  EXPECT_EQ(body("(\"image\" \"png\" NIL NIL NIL \"base64\" 1 NIL () NIL NIL)").disposition, std::nullopt);
  EXPECT_EQ(
      body("(\"image\" \"png\" NIL NIL NIL \"base64\" 1 (\"attachment\" (\"a\" \"b\")) NIL NIL)").disposition,
      "attachment");
}

TEST(BodyStructureQuirk, AtomsAndLiterals) {
  const auto b = body("(TEXT PLAIN (CHARSET {5}\r\nutf-8) NIL NIL 8BIT 5 1)");
  EXPECT_EQ(b.type + "/" + b.subtype, "text/plain");
  EXPECT_THAT(b.parameters, ElementsAre(Pair("charset", "utf-8")));
  EXPECT_EQ(b.encoding, "8bit");
}

TEST(BodyStructureQuirk, ExtraAndMissingSpaces) {
  const auto b = body(
      "( (\"text\"  \"plain\" NIL NIL NIL \"7bit\" 1 1) (\"image\" \"png\"(\"a\" \"b\")NIL NIL \"base64\" 2 "
      ")\"mixed\")");
  EXPECT_EQ(b.parts.size(), 2u);
  EXPECT_EQ(b.subtype, "mixed");
}

TEST(BodyStructureQuirk, Nil) { EXPECT_EQ(fetched("(BODYSTRUCTURE NIL UID 9)").uid, 9u); }

TEST(BodyStructureQuirk, ABrokenStructureCostsOnlyItself) {
  const auto d =
      fetched("(BODYSTRUCTURE (\"text\" \"plain\" NIL NIL NIL \"7bit\" foo bar) UID 9 FLAGS (\\Seen))");
  EXPECT_EQ(d.body_structure, nullptr);
  EXPECT_EQ(d.uid, 9u);
  EXPECT_TRUE(d.flags);
}

}  // namespace
}  // namespace postern::imap
