// EmailBodyPart from BODYSTRUCTURE: RFC 8621, 4.1.4; RFC 3501, 6.4.5; RFC 2231.
#include "postern/mail/mime/body_parts.hpp"

#include <gtest/gtest.h>

#include "postern/mail/mime/limits.hpp"

namespace postern::mail {
namespace {

imap::BodyStructure leaf(std::string type, std::string subtype) {
  imap::BodyStructure structure;
  structure.type = std::move(type);
  structure.subtype = std::move(subtype);
  structure.encoding = "7bit";
  structure.size = 100;
  return structure;
}

imap::BodyStructure base64_image() {
  imap::BodyStructure structure = leaf("image", "png");
  structure.encoding = "base64";
  return structure;
}

template <typename... Parts>
imap::BodyStructure multipart(std::string subtype, Parts... parts) {
  imap::BodyStructure structure;
  structure.type = "multipart";
  structure.subtype = std::move(subtype);
  (structure.parts.push_back(std::move(parts)), ...);
  return structure;
}

imap::BodyStructure message(imap::BodyStructure body) {
  imap::BodyStructure structure = leaf("message", "rfc822");
  structure.parts.push_back(std::move(body));
  return structure;
}

TEST(BodyParts, SinglePart) {
  const EmailBodyPart part = make_body_parts(leaf("text", "plain"));
  EXPECT_EQ(part.section, "1");
  EXPECT_EQ(part.header_section, "HEADER");
  EXPECT_EQ(part.type, "text/plain");
  EXPECT_EQ(part.size, 100u);
  EXPECT_TRUE(part.size_exact);
  EXPECT_EQ(part.charset, "us-ascii");
  EXPECT_TRUE(part.sub_parts.empty());
}

TEST(BodyParts, SectionsOfNestedParts) {
  // The example of RFC 3501, 6.4.5.
  const EmailBodyPart root = make_body_parts(multipart(
      "mixed", leaf("text", "plain"), leaf("application", "octet-stream"),
      message(multipart("mixed", leaf("text", "plain"), leaf("application", "octet-stream"))),
      multipart(
          "mixed", leaf("image", "gif"),
          message(multipart("mixed", leaf("text", "plain"),
                            multipart("alternative", leaf("text", "plain"), leaf("text", "richtext")))))));
  EXPECT_EQ(root.section, "");
  EXPECT_EQ(root.header_section, "HEADER");
  EXPECT_TRUE(root.is_multipart());
  ASSERT_EQ(root.sub_parts.size(), 4u);
  EXPECT_EQ(root.sub_parts[0].section, "1");
  EXPECT_EQ(root.sub_parts[0].header_section, "1.MIME");
  EXPECT_EQ(root.sub_parts[2].section, "3");
  EXPECT_EQ(root.sub_parts[2].type, "message/rfc822");
  EXPECT_TRUE(root.sub_parts[2].sub_parts.empty());
  EXPECT_EQ(root.sub_parts[3].section, "4");
  EXPECT_EQ(root.sub_parts[3].header_section, "4.MIME");
  EXPECT_EQ(root.sub_parts[3].sub_parts[0].section, "4.1");
  EXPECT_EQ(root.sub_parts[3].sub_parts[1].section, "4.2");
  EXPECT_EQ(root.sub_parts[3].sub_parts[1].header_section, "4.2.MIME");
}

TEST(BodyParts, SectionsOfAnAttachedMessage) {
  EXPECT_EQ(make_body_parts(leaf("text", "plain"), "4.2").section, "4.2.1");
  EXPECT_EQ(make_body_parts(leaf("text", "plain"), "4.2").header_section, "4.2.HEADER");
  const EmailBodyPart root = make_body_parts(
      multipart("mixed", leaf("text", "plain"), multipart("mixed", leaf("text", "html"))), "4.2");
  EXPECT_EQ(root.section, "4.2");
  EXPECT_EQ(root.header_section, "4.2.HEADER");
  EXPECT_EQ(root.sub_parts[0].section, "4.2.1");
  EXPECT_EQ(root.sub_parts[1].sub_parts[0].section, "4.2.2.1");
  EXPECT_EQ(root.sub_parts[1].sub_parts[0].header_section, "4.2.2.1.MIME");
}

TEST(BodyParts, Properties) {
  imap::BodyStructure structure = leaf("IMAGE", "PNG");
  structure.id = " <a@b> ";
  structure.disposition = "Inline";
  structure.disposition_parameters = {{"filename", "x.png"}};
  structure.parameters = {{"name", "other.png"}};
  structure.languages = {"de", "en"};
  structure.location = "http://a/\r\n b";
  const EmailBodyPart part = make_body_parts(structure);
  EXPECT_EQ(part.type, "image/png");
  EXPECT_EQ(part.cid, "a@b");
  EXPECT_EQ(part.disposition, "inline");
  EXPECT_EQ(part.name, "x.png");
  EXPECT_EQ(part.language, (std::vector<std::string>{"de", "en"}));
  EXPECT_EQ(part.location, "http://a/ b");
  EXPECT_EQ(part.charset, std::nullopt);
}

TEST(BodyParts, AbsentPropertiesAreNull) {
  imap::BodyStructure structure = leaf("text", "html");
  structure.id = "<>";
  structure.disposition = "";
  const EmailBodyPart part = make_body_parts(structure);
  EXPECT_EQ(part.cid, std::nullopt);
  EXPECT_EQ(part.disposition, std::nullopt);
  EXPECT_EQ(part.name, std::nullopt);
  EXPECT_EQ(part.language, std::nullopt);
  EXPECT_EQ(part.location, std::nullopt);
}

TEST(BodyParts, CidWithoutBrackets) {
  imap::BodyStructure structure = leaf("image", "png");
  structure.id = "a@b";
  EXPECT_EQ(make_body_parts(structure).cid, "a@b");
  structure.id = "(x) <a@b";
  EXPECT_EQ(make_body_parts(structure).cid, "a@b");
}

TEST(BodyParts, Charset) {
  imap::BodyStructure structure = leaf("text", "plain");
  structure.parameters = {{"charset", "UTF-8"}};
  EXPECT_EQ(make_body_parts(structure).charset, "UTF-8");
  structure.type = "application";
  structure.subtype = "xml";
  EXPECT_EQ(make_body_parts(structure).charset, "UTF-8");
  structure.parameters.clear();
  EXPECT_EQ(make_body_parts(structure).charset, std::nullopt);
}

TEST(BodyParts, OddTypes) {
  EXPECT_EQ(make_body_parts(leaf("", "")).type, "text/plain");
  EXPECT_EQ(make_body_parts(leaf("text", "")).type, "text/plain");
  EXPECT_EQ(make_body_parts(leaf("image", "")).type, "application/octet-stream");
  EXPECT_EQ(make_body_parts(multipart("")).type, "multipart/mixed");
  EXPECT_TRUE(make_body_parts(multipart("mixed")).sub_parts.empty());
}

TEST(BodyParts, DecodedSizes) {
  EXPECT_EQ(decoded_size("8BIT", 1'000).octets, 1'000u);
  EXPECT_TRUE(decoded_size("binary", 1'000).exact);
  EXPECT_TRUE(decoded_size("x-unknown", 1'000).exact);  // downloaded as it is
  EXPECT_FALSE(decoded_size("quoted-printable", 1'000).exact);
  EXPECT_EQ(decoded_size("quoted-printable", 1'000).octets, 1'000u);
  EXPECT_TRUE(decoded_size("base64", 0).exact);
}

TEST(BodyParts, Base64SizesAreAtMostTwoOctetsTooLarge) {
  for (std::uint64_t octets = 1; octets < 700; ++octets) {
    const std::uint64_t characters = (octets + 2) / 3 * 4;
    const std::uint64_t lines = (characters + 75) / 76;
    for (const std::uint64_t encoded : {characters + lines * 2, characters + (lines - 1) * 2}) {
      const std::uint64_t estimate = decoded_size("base64", encoded).octets;
      EXPECT_GE(estimate, octets) << encoded;
      EXPECT_LE(estimate, octets + 2) << encoded;
    }
  }
}

TEST(BodyParts, MultipartSizeIsTheSumOfWhatItHolds) {
  const EmailBodyPart root =
      make_body_parts(multipart("mixed", leaf("text", "plain"), multipart("mixed", base64_image())));
  EXPECT_EQ(root.size, 200u);
  EXPECT_FALSE(root.size_exact);
}

TEST(BodyParts, FindAndSetSizes) {
  EmailBodyPart root = make_body_parts(
      multipart("mixed", leaf("text", "plain"), multipart("mixed", base64_image(), base64_image())));
  ASSERT_NE(find_part(root, "2.1"), nullptr);
  EXPECT_EQ(find_part(root, "2.1")->type, "image/png");
  for (const std::string_view id : {"", "2", "3", "2.3", "2.10", "1.1", "1.MIME", "x"})
    EXPECT_EQ(find_part(root, id), nullptr) << id;
  set_size(*find_part(root, "2.1"), 77);
  EXPECT_EQ(find_part(root, "2.1")->size, 77u);
  EXPECT_TRUE(find_part(root, "2.1")->size_exact);
  const std::vector<std::pair<std::string, std::uint64_t>> sizes = {{"2.2", 55}, {"9", 1}};
  apply_binary_sizes(root, sizes);
  EXPECT_EQ(find_part(root, "2.2")->size, 55u);
}

TEST(BodyParts, IndexOfSections) {
  EmailBodyPart root =
      make_body_parts(multipart("mixed", leaf("text", "plain"), multipart("mixed", leaf("text", "html"))));
  const PartIndex parts(root);
  EXPECT_EQ(parts.find_by_header_section("HEADER"), &root);
  EXPECT_EQ(parts.find_by_header_section("2.MIME"), &root.sub_parts[1]);
  EXPECT_EQ(parts.find_by_header_section("2.1.MIME"), &root.sub_parts[1].sub_parts[0]);
  EXPECT_EQ(parts.find_by_header_section("2.2.MIME"), nullptr);
  EXPECT_EQ(parts.find("1"), root.sub_parts.data());
  EXPECT_EQ(parts.find("2.1"), &root.sub_parts[1].sub_parts[0]);
  for (const std::string_view id : {"", "2", "3", "2.2", "2.1.MIME"})
    EXPECT_EQ(parts.find(id), nullptr) << id;
}

TEST(BodyParts, TwelveParts) {
  imap::BodyStructure structure = multipart("mixed");
  for (int i = 0; i < 12; ++i) structure.parts.push_back(leaf("text", "plain"));
  const EmailBodyPart root = make_body_parts(structure);
  ASSERT_NE(find_part(root, "12"), nullptr);
  EXPECT_EQ(find_part(root, "12"), &root.sub_parts[11]);
  EXPECT_EQ(find_part(root, "1"), &root.sub_parts[0]);
}

TEST(BodyParts, BoundsParts) {
  imap::BodyStructure structure = multipart("mixed");
  for (std::size_t i = 0; i + 1 < mime_parts_max; ++i) structure.parts.push_back(leaf("text", "plain"));
  EXPECT_EQ(make_body_parts(structure).sub_parts.size(), mime_parts_max - 1);
  structure.parts.push_back(leaf("text", "plain"));
  EXPECT_EQ(make_body_parts(structure).sub_parts.size(), mime_parts_max - 1);
  const EmailBodyPart root = make_body_parts(structure);
  EXPECT_EQ(make_body_lists(root).text_body.size(), mime_parts_max - 1);
}

TEST(BodyParts, BoundsNesting) {
  for (const std::size_t depth : {mime_nesting_max - 1, mime_nesting_max, mime_nesting_max * 4}) {
    imap::BodyStructure structure = leaf("text", "plain");
    for (std::size_t i = 0; i < depth; ++i) structure = multipart("mixed", std::move(structure));
    const EmailBodyPart root = make_body_parts(structure);
    std::size_t levels = 1;
    const EmailBodyPart* part = &root;
    for (; !part->sub_parts.empty(); ++levels) part = &part->sub_parts.front();
    EXPECT_EQ(levels, mime_nesting_max);
    EXPECT_EQ(make_body_lists(root).text_body.size(), depth < mime_nesting_max ? 1u : 0u);
  }
}

// --- Parameters ---

using P = imap::Parameters;

TEST(DecodedParameter, Plain) {
  EXPECT_EQ(decoded_parameter(P{{"name", "a.txt"}}, "name"), "a.txt");
  EXPECT_EQ(decoded_parameter(P{{"name", ""}}, "name"), "");
  EXPECT_EQ(decoded_parameter(P{{"named", "a.txt"}}, "name"), std::nullopt);
  EXPECT_EQ(decoded_parameter(P{}, "name"), std::nullopt);
}

// RFC 2231, 3, 4 and 4.1.
TEST(DecodedParameter, ExamplesOfRfc2231) {
  EXPECT_EQ(decoded_parameter(
                P{{"url*0", "ftp://"}, {"url*1", "cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar"}}, "url"),
            "ftp://cs.utk.edu/pub/moore/bulk-mailer/bulk-mailer.tar");
  EXPECT_EQ(decoded_parameter(P{{"title*", "us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A"}}, "title"),
            "This is ***fun***");
  EXPECT_EQ(decoded_parameter(P{{"title*0*", "us-ascii'en'This%20is%20even%20more%20"},
                                {"title*1*", "%2A%2A%2Afun%2A%2A%2A%20"},
                                {"title*2", "isn't it!"}},
                              "title"),
            "This is even more ***fun*** isn't it!");
}

TEST(DecodedParameter, InAnyOrderUpToTheGap) {
  EXPECT_EQ(decoded_parameter(P{{"name*1", "b"}, {"name*0", "a"}, {"name*3", "d"}}, "name"), "ab");
  EXPECT_EQ(decoded_parameter(P{{"name*1", "b"}, {"name", "plain"}}, "name"), "plain");
  EXPECT_EQ(decoded_parameter(P{{"name*x", "b"}, {"name*", "utf-8''%C3%A9"}, {"name", "e"}}, "name"),
            "\xC3\xA9");
}

TEST(DecodedParameter, CharacterCutBetweenSegments) {
  EXPECT_EQ(decoded_parameter(P{{"name*0*", "utf-8''%E2%82"}, {"name*1*", "%AC.txt"}}, "name"),
            "\xE2\x82\xAC.txt");
}

TEST(DecodedParameter, WhatMailersSend) {
  EXPECT_EQ(decoded_parameter(P{{"name", "=?utf-8?Q?caf=C3=A9.txt?="}}, "name"), "caf\xC3\xA9.txt");
  EXPECT_EQ(decoded_parameter(P{{"name", "=?utf-8?Q?caf=C3=A9?=\r\n =?utf-8?Q?.txt?="}}, "name"),
            "caf\xC3\xA9.txt");
  EXPECT_EQ(decoded_parameter(P{{"name*0", "=?utf-8?Q?caf"}, {"name*1", "=C3=A9?="}}, "name"), "caf\xC3\xA9");
  EXPECT_EQ(decoded_parameter(P{{"name", "caf\xE9.txt"}}, "name"), "caf\xC3\xA9.txt");
  EXPECT_EQ(decoded_parameter(P{{"name*", "no quotes%20here"}}, "name"), "no quotes here");
  EXPECT_EQ(decoded_parameter(P{{"name*", "x-unknown''caf%E9"}}, "name"), "caf\xC3\xA9");
  EXPECT_EQ(decoded_parameter(P{{"name*", "utf-8''a%00b%0D%0Ac%7Fd%zz%4"}}, "name"), "abcd%zz%4");
}

TEST(DecodedParameter, Bounds) {
  EXPECT_EQ(decoded_parameter(P{{"name", std::string(part_name_bytes_max, 'x')}}, "name")->size(),
            part_name_bytes_max);
  EXPECT_EQ(decoded_parameter(P{{"name", std::string(part_name_bytes_max + 1, 'x')}}, "name")->size(),
            part_name_bytes_max);
  P parameters;
  for (std::size_t i = 0; i <= parameter_segments_max; ++i)
    parameters.emplace_back("name*" + std::to_string(i), "x");
  EXPECT_EQ(decoded_parameter(parameters, "name")->size(), parameter_segments_max);
  parameters.pop_back();
  EXPECT_EQ(decoded_parameter(parameters, "name")->size(), parameter_segments_max);
}

}  // namespace
}  // namespace postern::mail
