// Whole messages to parts: RFC 2046, 5.1; RFC 8621, 4.9. Everything is fed whole and octet by octet.
#include "postern/mail/mime/message_parser.hpp"

#include <gtest/gtest.h>

#include "postern/mail/mime/content_type.hpp"
#include "postern/mail/mime/limits.hpp"
#include "postern/mail/mime/text_decode.hpp"

namespace postern::mail {
namespace {

// "multipart/mixed(text/plain[1]:5 image/png[2]:3)": types, sections and decoded sizes.
std::string outline(const EmailBodyPart& part) {
  std::string out = part.type;
  if (!part.is_multipart()) return out + '[' + part.section + "]:" + std::to_string(part.size);
  out += '(';
  for (const auto& sub_part : part.sub_parts) out += (out.ends_with('(') ? "" : " ") + outline(sub_part);
  return out + ')';
}

ParsedMessage parse(std::string_view octets) {
  ParsedMessage message = parse_message(octets, {true});
  MessageParser parser({true});
  for (const char c : octets) parser.feed({&c, 1});
  const ParsedMessage in_pieces = parser.finish();
  EXPECT_EQ(outline(in_pieces.root), outline(message.root));
  EXPECT_EQ(in_pieces.size, octets.size());
  EXPECT_EQ(in_pieces.octets.size(), message.octets.size());
  for (const auto& [section, place] : message.octets) {
    const PartOctets& other = in_pieces.octets.at(section);
    EXPECT_EQ(other.header_begin, place.header_begin) << section;
    EXPECT_EQ(other.header_size, place.header_size) << section;
    EXPECT_EQ(other.content_begin, place.content_begin) << section;
    EXPECT_EQ(other.content_size, place.content_size) << section;
    EXPECT_LE(place.content_begin + place.content_size, octets.size());
  }
  return message;
}

std::string content(const ParsedMessage& message, std::string_view octets, std::string_view part_id) {
  const EmailBodyPart* part = find_part(message.root, part_id);
  if (part == nullptr) return "no part";
  const PartOctets place = message.octets_of(*part);
  return std::string(octets.substr(place.content_begin, place.content_size));
}

TEST(MessageParser, SinglePart) {
  constexpr std::string_view octets = "Subject: a\r\nTo: b@c\r\n\r\nHello\r\nworld";
  const ParsedMessage message = parse(octets);
  EXPECT_EQ(outline(message.root), "text/plain[1]:12");
  EXPECT_EQ(message.header.fields.size(), 2U);
  EXPECT_EQ(content(message, octets, "1"), "Hello\r\nworld");
  EXPECT_EQ(message.octets.at("HEADER").header_size, 23U);
  EXPECT_TRUE(message.is_message());
  EXPECT_FALSE(message.nul);
}

TEST(MessageParser, Multiparts) {
  constexpr std::string_view octets =
      "Content-Type: multipart/mixed; boundary=\"o\"\n\npreamble\n--o\n"
      "Content-Type: multipart/alternative; boundary=i\n\n--i\n\ntext\n--i \n"
      "Content-Type: text/html\nContent-Transfer-Encoding: base64\n\nPGI+\n--i--\nepilogue\n--o\n"
      "Content-Type: image/png; name*=utf-8''%C3%A4.png\nContent-ID: <c@d>\nContent-Language: de, en\n"
      "Content-Disposition: inline\n\n\x89PN\n--o\nContent-Type: message/rfc822\n\nSubject: "
      "x\n\n--i\n--o--\nbye";
  const ParsedMessage message = parse(octets);
  EXPECT_EQ(outline(message.root),
            "multipart/mixed(multipart/alternative(text/plain[1.1]:4 text/html[1.2]:3) image/png[2]:3 "
            "message/rfc822[3]:15)");
  EXPECT_EQ(content(message, octets, "1.1"), "text");
  EXPECT_EQ(content(message, octets, "1.2"), "PGI+");
  EXPECT_EQ(content(message, octets, "3"), "Subject: x\n\n--i");
  const EmailBodyPart* image = find_part(message.root, "2");
  EXPECT_EQ(image->name, "\xC3\xA4.png");
  EXPECT_EQ(image->cid, "c@d");
  EXPECT_EQ(image->disposition, "inline");
  EXPECT_EQ(image->language, (std::vector<std::string>{"de", "en"}));
  ASSERT_TRUE(image->headers);
  EXPECT_EQ(image->headers->fields.size(), 4U);
  EXPECT_EQ(body_value(message, *find_part(message.root, "1.2"), octets, 0).value, "<b>");
}

TEST(MessageParser, OuterBoundaryEndsInnerParts) {
  const ParsedMessage message = parse(
      "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/digest; "
      "boundary=i\r\n\r\n"
      "--i\r\n\r\nSubject: x\r\n--o\r\nContent-Type: text/plain\r\n--o\r\n\r\n\r\n--o--\r\n");
  EXPECT_EQ(outline(message.root),
            "multipart/mixed(multipart/digest(message/rfc822[1.1]:10) text/plain[2]:0 text/plain[3]:0)");
}

// No boundary, or none that occurs: what is there is shown as text.
TEST(MessageParser, MultipartsWithoutParts) {
  constexpr std::string_view lost = "Content-Type: multipart/mixed; boundary=o\n\nlost\n";
  EXPECT_EQ(outline(parse(lost).root), "text/plain[1]:5");
  EXPECT_EQ(content(parse(lost), lost, "1"), "lost\n");
  EXPECT_EQ(outline(parse("Content-Type: multipart/mixed\n\n--\nx").root), "text/plain[1]:4");
  EXPECT_EQ(outline(parse("Content-Type: multipart/mixed; boundary=o\n\n--o--\n").root), "text/plain[1]:0");
}

TEST(MessageParser, Oddities) {
  EXPECT_EQ(outline(parse("").root), "text/plain[1]:0");
  EXPECT_FALSE(parse("").is_message());
  EXPECT_FALSE(parse("\r\nno header").is_message());
  EXPECT_EQ(outline(parse("A: b").root), "text/plain[1]:0");
  EXPECT_EQ(outline(parse("Content-Type: TEXT/(c)HTML; charset\n\nx").root), "text/html[1]:1");
  EXPECT_EQ(outline(parse("Content-Type: ; =\n\nx").root), "text/plain[1]:1");
  EXPECT_TRUE(parse(std::string_view("A: b\n\n\0", 7)).nul);
  // A CR at the end of what is too long for a boundary belongs to the line end.
  const std::string line(1'000, 'x');
  const std::string octets =
      "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\r\n" + line + "\r\n--o--";
  EXPECT_EQ(content(parse(octets), octets, "1"), line);
}

TEST(MessageParser, Received) {
  const auto date = [](std::string_view octets) {
    return received_date_seconds(parse_message(octets).header);
  };
  EXPECT_EQ(
      date(
          "Received: by a; Thu, 1 Jan 1970 00:01:00 +0000\nReceived: by b; Thu, 1 Jan 1970 00:00:00 +0000\n"),
      60);
  EXPECT_EQ(date("Received: by a\n"), std::nullopt);
  EXPECT_EQ(date("Subject: a\n"), std::nullopt);
}

TEST(MessageParser, PartsAreBounded) {
  std::string octets = "Content-Type: multipart/mixed; boundary=o\n\n";
  for (std::size_t i = 1; i < mime_parts_max; ++i) octets += "--o\n\nx\n";
  EXPECT_EQ(parse_message(octets).root.sub_parts.size(), mime_parts_max - 1);
  octets += "--o\n\nbeyond\n";
  const ParsedMessage message = parse_message(octets);
  EXPECT_EQ(message.root.sub_parts.size(), mime_parts_max - 1);
  EXPECT_EQ(message.root.sub_parts.back().size, 1U);
}

TEST(MessageParser, NestingIsBounded) {
  std::string octets;
  for (std::size_t i = 0; i < mime_nesting_max + 10; ++i) {
    const std::string boundary = "b" + std::to_string(1'000 + i);
    octets += "Content-Type: multipart/mixed; boundary=" + boundary + "\n\n--" + boundary + "\n";
  }
  const ParsedMessage message = parse_message(octets);
  std::size_t depth = 1;
  const EmailBodyPart* part = &message.root;
  for (; !part->sub_parts.empty(); part = &part->sub_parts.front()) ++depth;
  EXPECT_EQ(depth, mime_nesting_max);
  EXPECT_EQ(part->type, "text/plain");
}

TEST(MessageParser, HeadersAreBounded) {
  const std::string value(header_bytes_max / 4, 'x');
  std::string octets = "Content-Type: multipart/mixed; boundary=o\n\n";
  constexpr std::size_t parts = 20;
  for (std::size_t i = 0; i < parts; ++i) octets += "--o\nContent-Type: image/png\nX: " + value + "\n\ny\n";
  octets += "--o--\n";
  const ParsedMessage message = parse_message(octets, {true});
  ASSERT_EQ(message.root.sub_parts.size(), parts);
  std::size_t with_headers = 0, kept = 0;
  for (const auto& part : message.root.sub_parts) {
    EXPECT_EQ(part.type, "image/png");
    EXPECT_EQ(part.size, 1U);
    with_headers += part.headers ? 1 : 0;
    if (part.headers)
      for (const auto& field : part.headers->fields) kept += field.value.size();
  }
  EXPECT_EQ(with_headers, part_headers_bytes_max / value.size() - 1);
  EXPECT_LE(kept, part_headers_bytes_max);
  EXPECT_TRUE(parse_message("A: " + std::string(header_bytes_max, 'x')).header.truncated);
}

TEST(MessageParser, BoundariesAreBounded) {
  const auto outline_with = [](std::size_t size) {
    const std::string boundary(size, 'b');
    return outline(parse("Content-Type: multipart/mixed; boundary=" + boundary + "\n\n--" + boundary +
                         "\n\nx\n--" + boundary + "--\n")
                       .root);
  };
  EXPECT_EQ(outline_with(boundary_bytes_max), "multipart/mixed(text/plain[1]:1)");
  EXPECT_TRUE(outline_with(boundary_bytes_max + 1).starts_with("text/plain[1]:"));
}

TEST(ContentType, Parameters) {
  const auto parse_value = [](std::string_view raw) {
    const ParameterizedValue value = parse_parameterized(raw);
    std::string out = value.value;
    for (const auto& [name, text] : value.parameters) out += "|" + name + "=" + text;
    return out;
  };
  EXPECT_EQ(parse_value(" Text/(a (b) c)Plain ; Charset = \"U\\TF-8\" (x) ;\r\n Name=a b.txt;;=x;y"),
            "text/plain|charset=UTF-8|name=a b.txt");
  EXPECT_EQ(parse_value("a/b; c=\"not closed; d=e"), "a/b|c=not closed; d=e");
  EXPECT_EQ(parse_value("a/b; c=d(e; f=g (h); i=(j"), "a/b|c=d(e|f=g|i=(j");
  EXPECT_EQ(parse_value(""), "");
}

TEST(ContentType, ParametersAreBounded) {
  std::string raw = "a/b";
  for (std::size_t i = 0; i < header_parameters_max; ++i) raw += "; n=v";
  EXPECT_EQ(parse_parameterized(raw).parameters.size(), header_parameters_max);
  EXPECT_EQ(parse_parameterized(raw + "; n=v").parameters.size(), header_parameters_max);
}

}  // namespace
}  // namespace postern::mail
