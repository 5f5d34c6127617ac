// Messages written and read again: RFC 5322, 2.1.1 and 3; RFC 2046, 5.1; RFC 2047; RFC 2231.
#include "postern/mail/mime/compose.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "postern/base/encoding.hpp"
#include "postern/mail/mime/limits.hpp"
#include "postern/mail/mime/message_parser.hpp"
#include "postern/mail/mime/text_decode.hpp"

namespace postern::mail {
namespace {

// The same octets in every run; `repeated` draws of zeros first.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::size_t repeated = 0) : repeated_(repeated) {}
  void fill(std::span<std::uint8_t> out) override {
    const bool zero = repeated_ > 0;
    if (zero) --repeated_;
    for (auto& octet : out) octet = zero ? 0 : static_cast<std::uint8_t>(engine_());
  }

 private:
  std::mt19937 engine_{7};
  std::size_t repeated_;
};

using Blobs = std::map<std::string, std::string>;
constexpr ComposeOptions options{1'531'184'591, "host.example", 100 * 1024 * 1024};

std::string written(const MessagePlan& plan, const Blobs& blobs = {}) {
  std::string out;
  for (const auto& segment : plan.segments) {
    if (!segment.blob) {
      EXPECT_EQ(segment.octets.size(), segment.size);
      out += segment.octets;
      continue;
    }
    SegmentWriter writer(segment);
    const std::string& content = blobs.at(segment.blob->blob_id);
    EXPECT_TRUE(writer.feed(std::string_view(content).substr(0, content.size() / 3), out));
    EXPECT_TRUE(writer.feed(std::string_view(content).substr(content.size() / 3), out));
    EXPECT_TRUE(writer.finish(out));
  }
  EXPECT_EQ(out.size(), plan.size);
  return out;
}

// Every line of the header is at most 78 octets long, unless something in it can't be folded; none is over 998.
void expect_header_lines(std::string_view message, std::size_t octets_max = 78) {
  const std::string_view header = message.substr(0, message.find("\r\n\r\n"));
  std::size_t begin = 0;
  while (begin < header.size()) {
    const std::size_t end = std::min(header.find("\r\n", begin), header.size());
    const std::string_view line = header.substr(begin, end - begin);
    EXPECT_LE(line.size(), octets_max) << line;
    EXPECT_EQ(line.find_first_of("\r\n"), std::string_view::npos) << line;
    EXPECT_NE(line.find_first_not_of(" \t"), std::string_view::npos);
    begin = end + 2;
  }
}

WrittenPart text_part(std::string text, std::string type = "text/plain") {
  WrittenPart part;
  part.type = std::move(type);
  part.text = std::move(text);
  part.property = "body";
  return part;
}

WrittenMessage message_with(WrittenField field) {
  WrittenMessage message;
  message.fields.push_back(std::move(field));
  message.body = text_part("x");
  return message;
}

std::string compose(const WrittenMessage& message, const Blobs& blobs = {}) {
  SeededRandom random;
  auto plan = compose_message(message, options, random);
  if (!plan) {
    ADD_FAILURE() << plan.error().front().property << ": " << plan.error().front().reason;
    return "";
  }
  return written(*plan, blobs);
}

std::string compose_field(WrittenField field) {
  std::string octets = compose(message_with(std::move(field)));
  expect_header_lines(octets);
  return octets;
}

// The properties of all faults.
std::vector<std::string> faults_of(const WrittenMessage& message, ComposeOptions with = options) {
  SeededRandom random;
  auto plan = compose_message(message, with, random);
  std::vector<std::string> out;
  if (!plan)
    for (const auto& fault : plan.error()) out.push_back((fault.too_large ? "large " : "") + fault.property);
  return out;
}

std::string subject_read(const std::string& octets) {
  return as_text(parse_message(octets).header.last("Subject")->value);
}

TEST(Compose, PlainMessage) {
  WrittenMessage message;
  message.fields = {{"Subject", TextForm{"Hello"}, "subject"},
                    {"From", std::vector<EmailAddress>{{"Joe Bloggs", "joe@example.com"}}, "from"},
                    {"Date", DateForm{1'531'184'591, 600}, "sentAt"}};
  message.body = text_part("one\ntwo");
  const std::string octets = compose(message);
  EXPECT_TRUE(
      octets.starts_with("Date: Tue, 10 Jul 2018 11:03:11 +1000\r\nFrom: Joe Bloggs <joe@example.com>\r\n"
                         "Message-ID: <"));
  EXPECT_TRUE(
      octets.ends_with("@host.example>\r\nSubject: Hello\r\nMIME-Version: 1.0\r\n"
                       "Content-Type: text/plain; charset=utf-8\r\n"
                       "Content-Transfer-Encoding: 7bit\r\n\r\none\r\ntwo"));
}

TEST(Compose, MakesDateAndMessageIdWhereAbsent) {
  WrittenMessage message;
  message.body = text_part("");
  message.fields = {{"Message-ID", MessageIdsForm{}, "messageId"}};
  const ParsedMessage parsed = parse_message(compose(message));
  EXPECT_EQ(as_date_seconds(parsed.header.last("Date")->value), options.now);
  ASSERT_TRUE(as_message_ids(parsed.header.last("Message-ID")->value));
  message.fields = {{"message-id", RawForm{" <a@b>"}, "x"}, {"DATE", RawForm{" never"}, "y"}};
  EXPECT_THAT(compose(message),
              testing::StartsWith("DATE: never\r\nmessage-id: <a@b>\r\nMIME-Version: 1.0\r\n"));
}

TEST(Compose, TextsAreReadAsTheyWereGiven) {
  std::string long_text, long_word(2'000, 'w'), mixed;
  for (int i = 0; i < 500; ++i)
    long_text +=
        "Gr\xC3\xBC\xC3\x9F"
        "e \xF0\x9F\x98\x80 \xE6\x97\xA5";
  for (int i = 0; i < 60; ++i) mixed += i % 7 == 0 ? "\xC3\xA4rger  " : "words ";
  mixed += "end";
  std::string text_without_spaces;
  for (int i = 0; i < 300; ++i) text_without_spaces += "\xE6\x9C\xAC";
  for (const std::string& text :
       {std::string("plain"), std::string(""), std::string("=?utf-8?Q?no?="), std::string("a =?b"), long_text,
        long_word, mixed, text_without_spaces, std::string("two  spaces   three"), std::string("trailing "),
        std::string("\xC3\xA4 "), std::string("a") + std::string(100, ' ') + "b",
        std::string("_?=\xC3\xBC=?_"), std::string("\xC3\xA4  b \xC3\xA4"),
        std::string(70, 'x') + " " + std::string(70, 'y')}) {
    const std::string octets = compose_field({"Subject", TextForm{text}, "subject"});
    EXPECT_EQ(subject_read(octets), text);
  }
}

TEST(Compose, EncodedWordsEndAtCharacters) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += i % 3 == 0 ? "\xF0\x9F\x98\x80" : "\xE2\x82\xAC";
  const std::string octets = compose_field({"Subject", TextForm{text}, "subject"});
  const std::string raw = parse_message(octets).header.last("Subject")->value;
  std::size_t words = 0;
  for (std::size_t at = raw.find("=?"); at != std::string::npos; at = raw.find("=?", at + 2), ++words) {
    const std::size_t end = raw.find("?=", at + 10);
    EXPECT_LE(end + 2 - at, 75U);
    EXPECT_TRUE(is_valid_utf8(as_text(raw.substr(at, end + 2 - at))));
    EXPECT_EQ(as_text(raw.substr(at, end + 2 - at)).find("\xEF\xBF\xBD"), std::string::npos);
    at = end;
  }
  EXPECT_GT(words, 5U);
}

TEST(Compose, AddressesAreReadAsTheyWereGiven) {
  const std::vector<EmailAddress> addresses = {
      {std::nullopt, "jane@example.com"},
      {"Joe Bloggs", "joe@example.com"},
      {"Smith, John (Sales) <x@y>", "john@example.com"},
      {"back\\slash \"quote\"", "q@example.com"},
      {"J\xC3\xB6rg M\xC3\xBCller, \"der\" <a@b>", "joerg@example.com"},
      {"=?utf-8?Q?x?=", "w@example.com"},
      {std::nullopt, "\"odd local\"@example.com"},
      {"Quoted", "\"a,b>c\"@example.com"},
      {"Literal", "a@[IPv6:2001:db8::1]"},
      {"Nobody", ""},
      {std::nullopt, "unfinished"},
      {std::nullopt, "Jane Do, x@y <"},
      {"EAI", "j\xC3\xB6rg@ex\xC3\xA4mple.com"},
      {std::string(300, 'n'), "n@example.com"},
      {"x: y; z", "colon@example.com"}};
  const std::string octets = compose(message_with({"To", addresses, "to"}));
  expect_header_lines(octets);
  EXPECT_EQ(as_addresses(parse_message(octets).header.last("To")->value), addresses);
}

TEST(Compose, GroupsAreReadAsTheyWereGiven) {
  const std::vector<EmailAddressGroup> groups = {
      {std::nullopt, {{"James Smythe", "james@example.com"}}},
      {"Friends", {{std::nullopt, "jane@example.com"}, {"John Sm\xC3\xAEth", "john@example.com"}}},
      {"undisclosed-recipients", {}},
      {"\xC3\x84mter: all; of them", {{std::nullopt, "a@b.example"}}},
      {std::nullopt, {{std::nullopt, "last@example.com"}}}};
  const std::string octets = compose_field({"To", groups, "header:To:asGroupedAddresses"});
  EXPECT_EQ(as_grouped_addresses(parse_message(octets).header.last("To")->value), groups);
}

TEST(Compose, TenThousandRecipients) {
  std::vector<EmailAddress> addresses;
  for (int i = 0; i < 10'000; ++i)
    addresses.push_back({"Person " + std::to_string(i), "person." + std::to_string(i) + "@example.com"});
  const std::string octets = compose_field({"To", addresses, "to"});
  EXPECT_EQ(as_addresses(parse_message(octets).header.last("To")->value), addresses);
  addresses.assign(header_addresses_max, {std::nullopt, "a@b"});
  EXPECT_EQ(faults_of(message_with({"To", addresses, "to"})), std::vector<std::string>());
  addresses.push_back({std::nullopt, "a@b"});
  EXPECT_EQ(faults_of(message_with({"To", addresses, "to"})), std::vector<std::string>{"large to"});
}

TEST(Compose, IdsDatesAndUrls) {
  std::vector<std::string> ids;
  for (int i = 0; i < 100; ++i) ids.push_back("id." + std::to_string(i) + "@mail.example.com");
  ids.push_back("without-at");
  std::string octets = compose_field({"References", MessageIdsForm{ids}, "references"});
  EXPECT_EQ(as_message_ids(parse_message(octets).header.last("References")->value), ids);
  const std::vector<std::string> urls = {"mailto:a@b?subject=x,y", "https://example.com/(a)"};
  octets = compose_field({"List-Post", UrlsForm{urls}, "x"});
  EXPECT_EQ(as_urls(parse_message(octets).header.last("List-Post")->value), urls);
  octets = compose_field({"Resent-Date", DateForm{-86'400, -210}, "x"});
  EXPECT_EQ(as_date(parse_message(octets).header.last("Resent-Date")->value), "1969-12-30T20:30:00-03:30");
  EXPECT_EQ(faults_of(message_with({"Date", DateForm{-3'000'000'000, 0}, "sentAt"})),
            std::vector<std::string>{"sentAt"});
}

TEST(Compose, RawStaysAsItIs) {
  for (const std::string raw :
       {" plain", "", "no space", " folded\r\n and\r\n\tmore", " =?utf-8?Q?=C3=A4?="}) {
    const std::string octets = compose(message_with({"X-Raw", RawForm{raw}, "x"}));
    EXPECT_EQ(parse_message(octets).header.last("X-Raw")->value, raw);
  }
  // Lines that no message may have are folded anew; what isn't ASCII gets encoded words.
  std::string words;
  for (int i = 0; i < 400; ++i) words += " word";
  EXPECT_EQ(as_text(parse_message(compose_field({"X-Raw", RawForm{words}, "x"})).header.last("X-Raw")->value),
            words.substr(1));
  EXPECT_EQ(subject_read(compose_field({"Subject", RawForm{" \xC3\xA4\r\n b"}, "x"})), "\xC3\xA4 b");
}

TEST(Compose, NothingEndsAField) {
  const auto refused = [](WrittenField field) { return !faults_of(message_with(std::move(field))).empty(); };
  const std::string bad_values[] = {"a\r\nBcc: x@y", "a\nb",  "a\rb", std::string("a\0b", 3),
                                    "a\x01",         "a\x7F", "\xFF"};
  for (const std::string& value : bad_values) {
    EXPECT_TRUE(refused({"Subject", TextForm{value}, "subject"})) << value;
    EXPECT_TRUE(refused({"X", RawForm{value}, "x"})) << value;
    EXPECT_TRUE(refused({"To", std::vector<EmailAddress>{{value, "a@b"}}, "to"})) << value;
    EXPECT_TRUE(refused({"To", std::vector<EmailAddress>{{std::nullopt, value}}, "to"})) << value;
    EXPECT_TRUE(refused({"To", std::vector<EmailAddressGroup>{{value, {}}}, "to"})) << value;
    EXPECT_TRUE(refused({"References", MessageIdsForm{{value}}, "references"})) << value;
    EXPECT_TRUE(refused({"List-Post", UrlsForm{{value}}, "x"})) << value;
    EXPECT_TRUE(refused({value, TextForm{"a"}, "header:x"})) << value;
    for (auto member : {&WrittenPart::charset, &WrittenPart::disposition, &WrittenPart::name,
                        &WrittenPart::cid, &WrittenPart::location}) {
      WrittenMessage message;
      message.body = text_part("x");
      message.body.*member = value;
      EXPECT_FALSE(faults_of(message).empty()) << value;
    }
    WrittenMessage message;
    message.body = text_part("x", "text/" + value);
    EXPECT_FALSE(faults_of(message).empty()) << value;
    message.body = text_part("x");
    message.body.language = {value};
    EXPECT_FALSE(faults_of(message).empty()) << value;
  }
  for (const std::string value : {" a\r\n", "\r\n", " a\r\nb", " a\n", "\r\n \r\nX: y"})
    EXPECT_TRUE(refused({"X", RawForm{value}, "x"})) << value;
  EXPECT_TRUE(refused({"To", std::vector<EmailAddress>{{"A", "a@b>, <c@d"}}, "to"}));
  EXPECT_TRUE(refused({"From", RawForm{" \xC3\xA4@b"}, "x"}));
}

TEST(Compose, FaultsNameTheirProperties) {
  WrittenMessage message;
  message.fields = {{"To", std::vector<EmailAddress>{{"ok", "a@b"}, {"bad\n", "a@b"}, {"x", "a b"}}, "to"},
                    {"References", MessageIdsForm{{"a@b", "a b"}}, "references"}};
  message.body.property = "bodyStructure";
  message.body.type = "multipart/mixed";
  message.body.sub_parts = {text_part("x")};
  message.body.sub_parts[0].property = "bodyStructure/subParts/0";
  message.body.sub_parts[0].cid = "<a>";
  message.body.sub_parts[0].fields = {{"Content-Transfer-Encoding", RawForm{" 8bit"}, "cte"}};
  EXPECT_THAT(faults_of(message),
              testing::UnorderedElementsAre("bodyStructure/subParts/0/cid", "references/1", "to/1/name",
                                            "to/2/email", "cte"));
}

TEST(Compose, TokensAreBounded) {
  const auto id = [](std::size_t size) {
    return WrittenField{"References", MessageIdsForm{{std::string(size, 'i')}}, "r"};
  };
  const std::string octets = compose(message_with(id(written_token_bytes_max)));
  expect_header_lines(octets, message_line_bytes_max);
  EXPECT_EQ(faults_of(message_with(id(written_token_bytes_max + 1))), std::vector<std::string>{"r/0"});
  const auto named = [](std::size_t size) {
    return WrittenField{std::string(size, 'X'), TextForm{"a"}, "r"};
  };
  EXPECT_TRUE(faults_of(message_with(named(written_field_name_bytes_max))).empty());
  EXPECT_EQ(faults_of(message_with(named(written_field_name_bytes_max + 1))), std::vector<std::string>{"r"});
  WrittenMessage message;
  message.body = text_part("x");
  message.body.name = std::string(part_name_bytes_max, 'n');
  EXPECT_EQ(parse_message(compose(message)).root.name, message.body.name);
  *message.body.name += 'n';
  EXPECT_EQ(faults_of(message), std::vector<std::string>{"body/name"});
  WrittenMessage many;
  many.body = text_part("x");
  for (std::size_t i = 0; i < 2 * compose_faults_max; ++i) many.fields.push_back({"", TextForm{""}, "p"});
  EXPECT_EQ(faults_of(many).size(), compose_faults_max);
}

TEST(Compose, HeaderIsBounded) {
  WrittenMessage message = message_with({"X", RawForm{" a"}, "x"});
  message.fields.resize(header_fields_max - 2, message.fields.front());
  EXPECT_TRUE(faults_of(message).empty());
  message.fields.resize(header_fields_max - 1, message.fields.front());  // and Date and Message-ID
  EXPECT_THAT(faults_of(message), testing::Contains("large "));
  std::string words;
  while (words.size() < header_bytes_max) words += " word word word";
  EXPECT_THAT(faults_of(message_with({"X", TextForm{words.substr(1)}, "x"})),
              testing::Contains("large body"));
}

TEST(Compose, NamesInParameters) {
  std::string long_name;
  for (int i = 0; i < 200; ++i) long_name += "\xE6\x97\xA5";
  for (const std::string& name :
       {std::string("plain.txt"), std::string("two words \"q\" \\.txt"), std::string("\xC3\xA4.png"),
        long_name, std::string(200, 'l'), std::string("=?utf-8?Q?x?="), std::string("100%'s*.txt"),
        std::string("a;b=c, (d)")}) {
    for (const bool disposition : {false, true}) {
      WrittenMessage message;
      message.body = text_part("x");
      message.body.name = name;
      if (disposition) message.body.disposition = "attachment";
      const std::string octets = compose(message);
      expect_header_lines(octets);
      EXPECT_EQ(parse_message(octets).root.name, name);
      EXPECT_EQ(parse_message(octets).root.disposition, message.body.disposition);
    }
  }
}

TEST(Compose, TextsOfEveryKindAreReadAsTheyWereGiven) {
  std::string random_text;
  std::mt19937 engine(1);
  for (int i = 0; i < 5'000; ++i) random_text += static_cast<char>(engine() % 96 + 32);
  for (const std::string& text :
       {std::string(), std::string("\n"), std::string("lone\rCR\r"), std::string("From x\nFrom y"),
        std::string(3'000, 'x'), std::string("\xC3\xA4 \n \n"), std::string("--=_00\n--"),
        std::string("no end"), random_text, std::string("\t\x01\x7F\x0C")}) {
    WrittenMessage message;
    message.body = text_part(text);
    for (const bool in_multipart : {false, true}) {
      if (in_multipart) {
        WrittenPart leaf = message.body;
        message.body = {};
        message.body.type = "multipart/mixed";
        message.body.sub_parts = {leaf, leaf};
      }
      const std::string octets = compose(message);
      const ParsedMessage parsed = parse_message(octets);
      const EmailBodyPart& part = in_multipart ? parsed.root.sub_parts.at(1) : parsed.root;
      const EmailBodyValue value = body_value(parsed, part, octets, 0);
      EXPECT_EQ(value.value, text);
      EXPECT_FALSE(value.is_encoding_problem);
      EXPECT_EQ(part.charset, "utf-8");
    }
  }
}

TEST(Compose, BoundaryIsInNoContent) {
  WrittenMessage message;
  message.body.type = "multipart/mixed";
  const std::string likely = "--=_" + std::string(32, '0') + "_00001";
  message.body.sub_parts = {text_part("a\n" + likely + "\nb"), text_part(likely + "--")};
  SeededRandom random(3);  // the Message-ID, and two boundaries that won't do
  auto plan = compose_message(message, options, random);
  ASSERT_TRUE(plan);
  const std::string octets = written(*plan);
  const ParsedMessage parsed = parse_message(octets);
  ASSERT_EQ(parsed.root.sub_parts.size(), 2U);
  EXPECT_EQ(body_value(parsed, parsed.root.sub_parts[0], octets, 0).value, *message.body.sub_parts[0].text);
  SeededRandom broken(1'000);
  EXPECT_FALSE(compose_message(message, options, broken));
}

TEST(Compose, BlobsAreInsertedByTheCaller) {
  Blobs blobs = {
      {"B1", std::string(100'000, '\xFE')}, {"B2", "Subject: x\n\nattached \xC3\xA4\n"}, {"B3", ""}};
  const auto blob_part = [&](const std::string& id, std::string type) {
    WrittenPart part;
    part.type = std::move(type);
    part.blob = BlobContent{id, blobs.at(id).size(), std::nullopt};
    part.disposition = "attachment";
    return part;
  };
  ContentScan scan;
  scan.feed(blobs["B2"]);
  WrittenMessage message;
  message.body.type = "multipart/mixed";
  message.body.sub_parts = {text_part("see"), blob_part("B1", "image/png"), blob_part("B2", "message/rfc822"),
                            blob_part("B3", "application/pdf"), blob_part("B2", "message/rfc822")};
  message.body.sub_parts[2].blob->traits = scan.finish();
  SeededRandom random;
  auto plan = compose_message(message, options, random);
  ASSERT_TRUE(plan);
  EXPECT_TRUE(plan->eight_bit);
  EXPECT_LT(plan->segments.size(), 8U);
  const std::string octets = written(*plan, blobs);
  const ParsedMessage parsed = parse_message(octets);
  ASSERT_EQ(parsed.root.sub_parts.size(), 5U);
  EXPECT_EQ(parsed.root.sub_parts[1].encoding, "base64");
  EXPECT_EQ(parsed.root.sub_parts[1].size, blobs["B1"].size());
  EXPECT_EQ(parsed.root.sub_parts[2].encoding, "8bit");
  EXPECT_EQ(parsed.root.sub_parts[2].size, blobs["B2"].size() + 3);  // CRLF for each LF
  EXPECT_EQ(parsed.root.sub_parts[3].size, 0U);
  EXPECT_EQ(parsed.root.sub_parts[4].encoding, "base64");
  // RFC 2045, 6.4: what encloses 8bit is 8bit.
  EXPECT_EQ(parsed.header.last("Content-Transfer-Encoding")->value, " 8bit");
}

TEST(Compose, BlobsThatAreNotAsLargeAsSaidAreAnError) {
  MessageSegment segment;
  segment.blob = BlobContent{"B", 6, std::nullopt};
  segment.size = base64_size(6);
  std::string out = "before";
  SegmentWriter longer(segment);
  EXPECT_TRUE(longer.feed("123456", out));
  EXPECT_FALSE(longer.feed("789", out));
  EXPECT_EQ(out, "beforeMTIzNDU2");
  SegmentWriter shorter(segment);
  EXPECT_TRUE(shorter.feed("123", out));
  EXPECT_EQ(shorter.finish(out).error().code, ComposeErrc::blob_changed);
}

TEST(Compose, SizeIsBounded) {
  WrittenMessage message;
  message.body = text_part(std::string(10'000, 'x'));
  SeededRandom random;
  const std::uint64_t size = compose_message(message, options, random)->size;
  EXPECT_TRUE(faults_of(message, {options.now, options.host, size}).empty());
  EXPECT_EQ(faults_of(message, {options.now, options.host, size - 1}), std::vector<std::string>{"large "});
  message.body.text.reset();
  message.body.type = "image/png";
  message.body.blob = BlobContent{"B", ~std::uint64_t{0}, std::nullopt};
  EXPECT_THAT(faults_of(message), testing::Contains("large body"));
}

TEST(Compose, TreeIsBounded) {
  const auto nested = [](std::size_t depth) {
    WrittenPart part = text_part("x");
    for (std::size_t i = 1; i < depth; ++i) {
      WrittenPart outer;
      outer.type = "multipart/mixed";
      outer.sub_parts.push_back(std::move(part));
      part = std::move(outer);
    }
    WrittenMessage message;
    message.body = std::move(part);
    return message;
  };
  EXPECT_TRUE(faults_of(nested(mime_nesting_max)).empty());
  EXPECT_EQ(faults_of(nested(mime_nesting_max + 1)).size(), 1U);
  WrittenMessage wide;
  wide.body.type = "multipart/mixed";
  wide.body.sub_parts.assign(mime_parts_max - 1, text_part(""));
  EXPECT_EQ(parse_message(compose(wide)).root.sub_parts.size(), mime_parts_max - 1);
  wide.body.sub_parts.push_back(text_part(""));
  EXPECT_EQ(faults_of(wide).size(), 1U);
  WrittenMessage empty;
  empty.body.type = "multipart/mixed";
  empty.body.property = "bodyStructure";
  EXPECT_EQ(faults_of(empty), std::vector<std::string>{"bodyStructure/subParts"});
}

}  // namespace
}  // namespace postern::mail
