// Email objects to create (RFC 8621, 4.6), written as messages and read again, and EmailImport objects (4.8).
#include "postern/jmap/email_create.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "postern/jmap/email_json.hpp"
#include "postern/mail/keywords.hpp"
#include "postern/mail/mime/limits.hpp"
#include "postern/mail/mime/message_parser.hpp"
#include "support/counting_random.hpp"

namespace postern::jmap {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

constexpr EmailCreateLimits limits{10, 3, 1'000'000};

// With mailboxIds; `members` begin with a comma or are empty.
rapidjson::Document object(std::string_view members) {
  rapidjson::Document document;
  const std::string json = R"({"mailboxIds": {"M1": true})" + std::string(members) + "}";
  document.Parse(json.data(), json.size());
  EXPECT_FALSE(document.HasParseError()) << json;
  return document;
}

SetError error_of(std::string_view members) {
  auto email = parse_email_create(object(members), limits);
  if (!email) return email.error();
  test::CountingRandom random;
  auto plan = compose_message(email->message, {0, "host.example", limits.octets_max}, random);
  return plan ? SetError{"none"} : set_error_of(plan.error());
}
std::vector<std::string> faults_of(std::string_view members) {
  const SetError error = error_of(members);
  EXPECT_TRUE(error.type == "invalidProperties" || error.type == "none") << error.type;
  return error.properties;
}

// The message, its blobs as "content of ID".
std::string compose(std::string_view members) {
  auto email = parse_email_create(object(members), limits);
  if (!email) {
    ADD_FAILURE() << email.error().description;
    return "";
  }
  for (const auto& wanted : wanted_blobs(email->message)) {
    const std::string content = "content of " + wanted.blob->blob_id;
    wanted.blob->octets = content.size();
    mail::ContentScan scan;
    scan.feed(content);
    if (wanted.traits) wanted.blob->traits = scan.finish();
  }
  test::CountingRandom random;
  auto plan = compose_message(email->message, {0, "host.example", limits.octets_max}, random);
  if (!plan) {
    ADD_FAILURE() << plan.error().front().property << ": " << plan.error().front().reason;
    return "";
  }
  std::string out;
  for (const auto& segment : plan->segments) {
    out += segment.octets;
    if (!segment.blob) continue;
    mail::SegmentWriter writer(segment);
    EXPECT_TRUE(writer.feed("content of " + segment.blob->blob_id, out));
    EXPECT_TRUE(writer.finish(out));
  }
  EXPECT_EQ(out.size(), plan->size);
  return out;
}

// The message's properties, as Email/get or Email/parse would give them.
std::string read(std::string_view octets, std::string_view properties, std::string_view body_properties) {
  rapidjson::Document arguments;
  const std::string json = R"({"fetchAllBodyValues": true, "properties": )" + std::string(properties) +
                           R"(, "bodyProperties": )" + std::string(body_properties) + "}";
  arguments.Parse(json.data(), json.size());
  const auto wanted = parse_email_properties(arguments, EmailSource::blob);
  if (!wanted) return wanted.error().description();
  const mail::ParsedMessage message = mail::parse_message(octets, {true});
  const mail::BodyLists lists = make_body_lists(message.root);
  std::vector<std::pair<std::string, mail::EmailBodyValue>> values;
  for (const auto* part : wanted_body_values(*wanted, message.root, lists))
    values.emplace_back(part->section, mail::body_value(message, *part, octets, 0));
  EmailData data;
  data.header = &message.header;
  data.body_structure = &message.root;
  data.body_values = values;
  std::string out;
  JsonWriter writer(out);
  write_email(writer, *wanted, data);
  return out;
}

std::string outline(const mail::EmailBodyPart& part) {
  std::string out = part.type;
  if (part.disposition) out += "!" + *part.disposition;
  if (part.sub_parts.empty()) return out;
  out += '(';
  for (const auto& sub_part : part.sub_parts) out += (out.ends_with('(') ? "" : " ") + outline(sub_part);
  return out + ')';
}
std::string outline_of(std::string_view members) {
  return outline(mail::parse_message(compose(members)).root);
}

constexpr std::string_view text = R"(, "textBody": [{"partId": "t", "type": "text/plain"}])";
constexpr std::string_view html = R"(, "htmlBody": [{"partId": "h", "type": "text/html"}])";
constexpr std::string_view values = R"(, "bodyValues": {"t": {"value": "text"}, "h": {"value": "<b>"}})";
std::string with(std::initializer_list<std::string_view> members) {
  std::string out;
  for (const auto member : members) out += member;
  return out;
}
std::string part(std::string_view members) {
  return R"(, "bodyValues": {"t": {"value": "text"}}, "bodyStructure": {)" + std::string(members) + "}";
}

TEST(EmailCreate, Filing) {
  const auto email = parse_email_create(
      object(
          R"(, "keywords": {"$Seen": true, "$seen": true, "Work": true}, "receivedAt": "1970-01-01T00:01:00Z")"),
      limits);
  ASSERT_TRUE(email);
  EXPECT_THAT(email->filing.keywords, ElementsAre("$seen", "work"));
  EXPECT_THAT(email->filing.mailbox_ids, ElementsAre("M1"));
  EXPECT_EQ(email->filing.received_at, 60);
}

TEST(EmailCreate, FilingFaults) {
  rapidjson::Document document;
  document.Parse(
      R"({"mailboxIds": {}, "keywords": {"a": false, "b c": true}, "receivedAt": "1970-01-01T00:00:00+01:00"})");
  auto email = parse_email_create(document, limits);
  ASSERT_FALSE(email);
  EXPECT_EQ(email.error().type, "invalidProperties");
  EXPECT_THAT(email.error().properties,
              UnorderedElementsAre("mailboxIds", "keywords/a", "keywords/b c", "receivedAt"));
  document.Parse(R"([])");
  EXPECT_FALSE(parse_email_create(document, limits));
  const auto set_of = [](std::size_t count) {
    std::string out;
    for (std::size_t i = 0; i < count; ++i)
      out += (i == 0 ? "\"k" : ", \"k") + std::to_string(i) + "\": true";
    return R"(, "keywords": {)" + out + "}";
  };
  EXPECT_EQ(error_of(set_of(limits.keywords_max)).type, "none");
  EXPECT_EQ(error_of(set_of(limits.keywords_max + 1)).type, "tooManyKeywords");
  document.Parse(R"({"mailboxIds": {"a": true, "b": true, "#c": true}})");
  EXPECT_TRUE(parse_email_create(document, limits));
  document.Parse(R"({"mailboxIds": {"a": true, "b": true, "c": true, "d": true}})");
  EXPECT_EQ(parse_email_create(document, limits).error().type, "tooManyMailboxes");
}

TEST(EmailCreate, Keywords) {
  EXPECT_TRUE(mail::is_keyword("$forwarded"));
  EXPECT_TRUE(mail::is_keyword(std::string(255, 'k')));
  EXPECT_FALSE(mail::is_keyword(std::string(256, 'k')));
  for (const char* bad : {"", "a b", "a(", "a)", "a{", "a]", "a%", "a*", "a\"", "a\\", "\xC3\xA4", "\x7F"})
    EXPECT_FALSE(mail::is_keyword(bad)) << bad;
}

TEST(EmailCreate, Dates) {
  EXPECT_EQ(parse_date("2018-07-10T11:03:11+10:00", false)->seconds, 1'531'184'591);
  EXPECT_EQ(parse_date("2018-07-10T11:03:11+10:00", false)->offset_minutes, 600);
  EXPECT_EQ(parse_date("1970-01-01T00:00:00.250Z", true)->seconds, 0);
  for (const char* bad :
       {"", "2018-07-10", "2018-07-10T11:03:11", "2018-02-30T11:03:11Z", "2018-07-10t11:03:11Z",
        "2018-07-10T24:03:11Z", "2018-07-10T11:03:11.Z", "2018-07-10T11:03:11+1000", "2018-07-10T11:03:11z",
        "2018-07-10T11:03:11Z ", "2018-00-10T11:03:11Z"})
    EXPECT_FALSE(parse_date(bad, false)) << bad;
  EXPECT_FALSE(parse_date("2018-07-10T11:03:11+00:00", true));
}

TEST(EmailCreate, HeaderFieldsRoundTrip) {
  const std::string fields =
      R"("messageId":["id@host"],"inReplyTo":["a@b"],"references":["x@y","a@b"],)"
      R"("from":[{"name":"Jörg","email":"j@example.com"}],)"
      R"("to":[{"name":null,"email":"a@example.com"},{"name":"Doe, John","email":"d@example.com"}],)"
      R"("bcc":[{"name":null,"email":"secret@example.com"}],"subject":"Über =?utf-8?Q?das?= \"alles\"",)"
      R"("sentAt":"2018-07-10T11:03:11+10:00","header:X-Text:asText":"Grüße","header:X-Raw":" as it is",)"
      R"("header:List-Post:asURLs":["mailto:a@b"],"header:X-All:asText:all":["one","two"],)"
      R"("header:Cc:asGroupedAddresses":[{"name":"Team","addresses":[{"name":null,"email":"t@example.com"}]}],)"
      R"("header:X-When:asDate":"2018-07-10T00:00:00Z","header:X-Ids:asMessageIds":["q@r"]})";
  const std::string octets = compose("," + fields.substr(0, fields.size() - 1));
  const std::string read_back = read(
      octets,
      R"(["messageId","inReplyTo","references","from","to","bcc","subject","sentAt","header:X-Text:asText",)"
      R"("header:X-Raw","header:List-Post:asURLs","header:X-All:asText:all","header:Cc:asGroupedAddresses",)"
      R"("header:X-When:asDate","header:X-Ids:asMessageIds"])",
      "[]");
  EXPECT_EQ(read_back, R"({)" + fields);
}

TEST(EmailCreate, HeaderFaults) {
  EXPECT_THAT(faults_of(R"(, "headers": [])"), ElementsAre("headers"));
  EXPECT_THAT(faults_of(R"(, "from": null, "header:from": " a@b")"), ElementsAre());
  EXPECT_THAT(faults_of(R"(, "from": [], "header:from": " a@b")"), ElementsAre("header:from"));
  EXPECT_THAT(faults_of(R"(, "header:X-A": " a", "header:x-a:asText": "a")"),
              ElementsAre("header:x-a:asText"));
  EXPECT_THAT(faults_of(R"(, "header:From:asDate": "2018-07-10T00:00:00Z")"),
              ElementsAre("header:From:asDate"));
  EXPECT_THAT(faults_of(R"(, "header:Content-Type": " text/html")"), ElementsAre("header:Content-Type"));
  EXPECT_THAT(faults_of(R"(, "header:content-description:asText": "a")"),
              ElementsAre("header:content-description:asText"));
  EXPECT_THAT(faults_of(R"(, "header:": "a")"), ElementsAre("header:"));
  EXPECT_THAT(faults_of(R"(, "subject": 1, "to": {}, "sentAt": "now", "references": [1])"),
              UnorderedElementsAre("subject", "to", "sentAt", "references"));
  EXPECT_THAT(faults_of(R"(, "to": [{"name": "x"}, {"email": 1}, {"email": "a@b", "x": 1}, 5])"),
              ElementsAre("to/0/email", "to/1/email", "to/2/x", "to/3"));
  EXPECT_THAT(faults_of(R"(, "messageId": ["a@b", "c@d"])"), ElementsAre("messageId"));
  EXPECT_THAT(faults_of(R"(, "subject": "a\r\nBcc: x@y", "cc": [{"email": "a@b\u0000"}])"),
              UnorderedElementsAre("subject", "cc/0/email"));
  for (const char* name : {"id", "blobId", "threadId", "size", "hasAttachment", "preview", "unknown"})
    EXPECT_THAT(faults_of(", \"" + std::string(name) + "\": null"), ElementsAre(name));
}

TEST(EmailCreate, FaultsAreBounded) {
  std::string members;
  for (std::size_t i = 0; i < set_error_properties_max + 10; ++i)
    members += ", \"x" + std::to_string(i) + "\": 1";
  EXPECT_EQ(faults_of(members).size(), set_error_properties_max);
}

// How textBody, htmlBody and attachments become a tree.
TEST(EmailCreate, BodyLists) {
  EXPECT_EQ(outline_of(""), "text/plain");
  EXPECT_EQ(outline_of(with({text, values})), "text/plain");
  EXPECT_EQ(outline_of(with({html, values})), "text/html");
  EXPECT_EQ(outline_of(with({text, html, values})), "multipart/alternative(text/plain text/html)");
  constexpr std::string_view files =
      R"(, "attachments": [{"blobId": "B1", "type": "image/png", "cid": "i@x"}, {"blobId": "B2", "type": "text/plain"},
          {"blobId": "B3", "type": "image/gif", "cid": "j@x", "disposition": "inline"},
          {"blobId": "B4", "disposition": "attachment", "cid": "k@x"}])";
  EXPECT_EQ(outline_of(with({text, html, values, files})),
            "multipart/mixed(multipart/alternative(text/plain multipart/related(text/html image/png!inline "
            "image/gif!inline)) text/plain!attachment application/octet-stream!attachment)");
  EXPECT_EQ(outline_of(with({text, values, files})),
            "multipart/mixed(text/plain image/png!attachment text/plain!attachment image/gif!inline "
            "application/octet-stream!attachment)");
  EXPECT_EQ(outline_of(R"(, "attachments": [{"blobId": "B1", "type": "message/rfc822"}])"),
            "multipart/mixed(text/plain message/rfc822!attachment)");
}

TEST(EmailCreate, BodyListsRoundTrip) {
  const std::string octets = compose(
      with({text, html, values,
            R"(, "attachments": [{"blobId": "B1", "type": "image/png", "cid": "i@x", "name": "ä b.png",
           "language": ["de", "en"],
           "location": "http://x/y", "header:X-Part:asText": "ü"}])"}));
  EXPECT_EQ(
      read(
          octets, R"(["textBody","htmlBody","attachments","bodyValues"])",
          R"(["type","name","cid","disposition","language","location","size","charset","header:X-Part:asText"])"),
      R"({"textBody":[{"type":"text/plain","name":null,"cid":null,"disposition":null,"language":null,)"
      R"("location":null,"size":4,"charset":"utf-8","header:X-Part:asText":null}],"htmlBody":[{"type":"text/html",)"
      R"("name":null,"cid":null,"disposition":null,"language":null,"location":null,"size":3,"charset":"utf-8",)"
      R"("header:X-Part:asText":null}],"attachments":[{"type":"image/png","name":"ä b.png","cid":"i@x",)"
      R"("disposition":"inline","language":["de","en"],"location":"http://x/y","size":13,"charset":null,)"
      R"("header:X-Part:asText":"ü"}],"bodyValues":{"1":{"value":"text","isEncodingProblem":false,)"
      R"("isTruncated":false},"2.1":{"value":"<b>","isEncodingProblem":false,"isTruncated":false}}})");
}

TEST(EmailCreate, BodyListFaults) {
  EXPECT_THAT(faults_of(with({text, R"(, "bodyStructure": {"partId": "t"})", values})),
              ElementsAre("textBody"));
  EXPECT_THAT(faults_of(R"(, "textBody": [])"), ElementsAre("textBody"));
  EXPECT_THAT(faults_of(with({R"(, "textBody": [{"partId": "t"}, {"partId": "t"}])", values})),
              ElementsAre("textBody"));
  EXPECT_THAT(faults_of(with({R"(, "textBody": [{"partId": "h", "type": "text/html"}])", values})),
              ElementsAre("textBody/0/type"));
  EXPECT_THAT(faults_of(with({R"(, "htmlBody": [{"partId": "t", "type": "text/plain"}])", values})),
              ElementsAre("htmlBody/0/type"));
  EXPECT_THAT(faults_of(R"(, "attachments": {})"), ElementsAre("attachments"));
  EXPECT_THAT(faults_of(R"(, "attachments": [{"type": "multipart/mixed", "subParts": [{"blobId": "B"}]}])"),
              ElementsAre("attachments/0/type"));
  EXPECT_THAT(faults_of(text), ElementsAre("textBody/0/partId"));
}

TEST(EmailCreate, BodyValueFaults) {
  const auto value = [](std::string_view members) {
    return R"(, "bodyValues": {"v": {)" + std::string(members) + "}}";
  };
  EXPECT_THAT(faults_of(value(R"("value": "x", "isTruncated": false, "isEncodingProblem": false)")),
              ElementsAre());
  EXPECT_THAT(faults_of(value(R"("value": "x", "isTruncated": true)")),
              ElementsAre("bodyValues/v/isTruncated"));
  EXPECT_THAT(faults_of(value(R"("value": "x", "isEncodingProblem": null)")),
              ElementsAre("bodyValues/v/isEncodingProblem"));
  EXPECT_THAT(faults_of(value("")), ElementsAre("bodyValues/v/value"));
  EXPECT_THAT(faults_of(value(R"("value": "x", "y": 1)")), ElementsAre("bodyValues/v/y"));
  EXPECT_THAT(faults_of(R"(, "bodyValues": [])"), ElementsAre("bodyValues"));
}

TEST(EmailCreate, PartFaults) {
  EXPECT_THAT(faults_of(part(R"("partId": "t", "blobId": "B")")), ElementsAre("bodyStructure/blobId"));
  EXPECT_THAT(faults_of(part(R"("type": "text/plain")")), ElementsAre("bodyStructure/partId"));
  EXPECT_THAT(faults_of(part(R"("partId": "other")")), ElementsAre("bodyStructure/partId"));
  EXPECT_THAT(faults_of(part(R"("partId": "t", "charset": "utf-8")")), ElementsAre("bodyStructure/charset"));
  EXPECT_THAT(faults_of(part(R"("partId": "t", "size": 4)")), ElementsAre("bodyStructure/size"));
  EXPECT_THAT(faults_of(part(R"("blobId": "B", "size": 4, "charset": "x")")), ElementsAre());
  EXPECT_THAT(faults_of(part(R"("blobId": "B", "size": -1)")), ElementsAre("bodyStructure/size"));
  EXPECT_THAT(faults_of(part(R"("blobId": "no id")")), ElementsAre("bodyStructure/blobId"));
  EXPECT_THAT(faults_of(part(R"("partId": "t", "headers": [])")), ElementsAre("bodyStructure/headers"));
  EXPECT_THAT(faults_of(part(R"("partId": "t", "header:Content-Transfer-Encoding": " 8bit")")),
              ElementsAre("bodyStructure/header:Content-Transfer-Encoding"));
  EXPECT_THAT(faults_of(part(R"("partId": "t", "type": "text/plain", "header:Content-Type": " text/html")")),
              ElementsAre("bodyStructure/type"));
  EXPECT_THAT(faults_of(part(R"("partId": "t", "cid": "a@b", "header:Content-ID": " <a@b>")")),
              ElementsAre("bodyStructure/cid"));
  EXPECT_THAT(faults_of(part(R"("partId": "t", "header:Content-Type": " text/plain; charset=koi8-r")")),
              ElementsAre("bodyStructure/header:Content-Type"));
  EXPECT_THAT(faults_of(part(R"("type": "multipart/mixed", "partId": "t", "subParts": [{"partId": "t"}])")),
              ElementsAre("bodyStructure/partId"));
  EXPECT_THAT(faults_of(part(R"("type": "multipart/mixed", "subParts": [])")),
              ElementsAre("bodyStructure/subParts"));
  EXPECT_THAT(faults_of(part(
                  R"("type": "multipart/mixed", "subParts": [{"partId": "t"}, 1, {"x": 1, "partId": "t"}])")),
              ElementsAre("bodyStructure/subParts/1", "bodyStructure/subParts/2/x"));
  EXPECT_THAT(faults_of(part(R"("partId": "t", "header:Subject": " a")") + R"(, "subject": "b")"),
              ElementsAre("bodyStructure/header:Subject"));
  EXPECT_THAT(faults_of(part(R"("partId": "t", "type": "nonsense")")), ElementsAre("bodyStructure/type"));
  EXPECT_THAT(faults_of(part(R"("partId": "t", "name": "a\nb", "cid": "a b", "language": ["d e"])")),
              UnorderedElementsAre("bodyStructure/name", "bodyStructure/cid", "bodyStructure/language"));
}

// The example of RFC 8621, 4.10, and header fields that a client writes by itself.
TEST(EmailCreate, BodyStructureRoundTrip) {
  const std::string octets = compose(
      R"(, "subject": "World domination", "bodyValues": {"a": {"value": "<p>ä</p>"}, "b": {"value": "plan\nor not"}},
          "bodyStructure": {"type": "multipart/alternative", "header:X-Outer": " o", "subParts": [
            {"partId": "a", "header:Content-Type": " text/html; charset=UTF-8; name=\"n.html\"; x=y",
             "header:Content-Disposition": " inline; size=5"},
            {"partId": "b", "type": "text/plain", "header:Content-Language": "en"}]})");
  EXPECT_EQ(
      read(octets, R"(["subject","header:X-Outer","bodyStructure","bodyValues"])",
           R"(["partId","type","name","disposition","charset","language","subParts"])"),
      R"({"subject":"World domination","header:X-Outer":" o","bodyStructure":{"partId":null,)"
      R"("type":"multipart/alternative","name":null,"disposition":null,"charset":null,"language":null,"subParts":[)"
      R"({"partId":"1","type":"text/html","name":"n.html","disposition":"inline","charset":"utf-8","language":null,)"
      R"("subParts":null},{"partId":"2","type":"text/plain","name":null,"disposition":null,"charset":"utf-8",)"
      R"("language":["en"],"subParts":null}]},"bodyValues":{"1":{"value":"<p>ä</p>","isEncodingProblem":false,)"
      R"("isTruncated":false},"2":{"value":"plan\nor not","isEncodingProblem":false,"isTruncated":false}}})");
  EXPECT_THAT(octets, testing::HasSubstr("x=y"));
  EXPECT_THAT(octets, testing::HasSubstr("size=5"));
}

// RFC 8621, 4.9: Email/parse.
TEST(EmailParse, PropertiesOfABlob) {
  constexpr std::string_view octets = "Subject: a\r\n\r\nb";
  EXPECT_EQ(read(octets,
                 R"(["id","threadId","mailboxIds","keywords","receivedAt","subject","hasAttachment"])", "[]"),
            R"({"id":null,"threadId":null,"mailboxIds":null,"keywords":null,"receivedAt":null,"subject":"a",)"
            R"("hasAttachment":false})");
  rapidjson::Document arguments;
  arguments.Parse("{}");
  const auto defaults = parse_email_properties(arguments, EmailSource::blob);
  ASSERT_TRUE(defaults);
  EXPECT_EQ(defaults->properties.size(), 17U);
  EXPECT_EQ(defaults->properties.front().key, "messageId");
  EXPECT_EQ(defaults->properties.back().key, "attachments");
}

TEST(EmailCreate, Blobs) {
  auto email = parse_email_create(
      object(
          R"(, "attachments": [{"blobId": "B1", "type": "message/rfc822"}, {"blobId": "B2"}, {"blobId": "B1"}])"),
      limits);
  ASSERT_TRUE(email);
  const auto wanted = wanted_blobs(email->message);
  ASSERT_EQ(wanted.size(), 3U);
  EXPECT_EQ(wanted[0].blob->blob_id, "B1");
  EXPECT_TRUE(wanted[0].traits);
  EXPECT_FALSE(wanted[1].traits);
  const std::string missing[] = {"B1", "B2", "B1"};
  EXPECT_EQ(blob_not_found(missing).type, "blobNotFound");
  EXPECT_THAT(blob_not_found(missing).not_found, ElementsAre("B1", "B2"));
}

TEST(EmailCreate, SizeIsBounded) {
  const auto email = [](std::size_t size, std::string_view parts) {
    return R"(, "bodyValues": {"t": {"value": ")" + std::string(size, 'x') +
           R"("}}, "bodyStructure": {"subParts": [)" + std::string(parts) + "]}";
  };
  constexpr std::string_view one = R"({"partId": "t"})",
                             three = R"({"partId": "t"}, {"partId": "t"}, {"partId": "t"})";
  EXPECT_EQ(error_of(email(limits.octets_max / 2, one)).type, "none");
  EXPECT_EQ(error_of(email(limits.octets_max / 2, three)).type, "tooLarge");
  EXPECT_EQ(error_of(email(limits.octets_max, one)).type, "tooLarge");
  const auto nested = [](std::size_t depth) {
    std::string out = R"({"partId": "t"})";
    for (std::size_t i = 1; i < depth; ++i) out = R"({"subParts": [)" + out + "]}";
    return R"(, "bodyValues": {"t": {"value": "x"}}, "bodyStructure": )" + out;
  };
  EXPECT_EQ(error_of(nested(mail::mime_nesting_max)).type, "none");
  EXPECT_EQ(error_of(nested(mail::mime_nesting_max + 1)).type, "tooLarge");
  std::string parts(one);
  for (std::size_t i = 1; i < mail::mime_parts_max - 1; ++i) parts += std::string(", ").append(one);
  EXPECT_TRUE(parse_email_create(object(email(1, parts)), limits));
  EXPECT_EQ(error_of(email(1, parts.append(", ").append(one))).type, "tooLarge");
}

TEST(EmailImport, Properties) {
  const auto import = parse_email_import(object(R"(, "blobId": "B", "keywords": {"$Seen": true})"), limits);
  ASSERT_TRUE(import);
  EXPECT_EQ(import->blob_id, "B");
  EXPECT_THAT(import->filing.keywords, ElementsAre("$seen"));
  rapidjson::Document document;
  document.Parse(R"({"blobId": 1, "mailboxIds": {}, "x": 1})");
  const auto wrong = parse_email_import(document, limits);
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().properties, ElementsAre("blobId", "x", "blobId", "mailboxIds"));
}

}  // namespace
}  // namespace postern::jmap
