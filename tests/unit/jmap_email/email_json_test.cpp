// Email objects as JSON: RFC 8621, 4.1 and the example of 4.2.1.
#include "postern/jmap/email_json.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <ctime>

namespace postern::jmap {
namespace {

EmailProperties request_of(const std::string& json) {
  rapidjson::Document document;
  document.Parse(json.c_str());
  auto request = parse_email_properties(document);
  EXPECT_TRUE(request) << json;
  return std::move(*request);
}

std::string written(const EmailProperties& request, const EmailData& email) {
  std::string out;
  JsonWriter writer(out);
  write_email(writer, request, email);
  EXPECT_TRUE(writer.complete());
  rapidjson::Document document;
  document.Parse<rapidjson::kParseValidateEncodingFlag>(out.data(), out.size());
  EXPECT_FALSE(document.HasParseError()) << out;
  return out;
}

imap::BodyStructure leaf(std::string type, std::string subtype, std::uint64_t size) {
  imap::BodyStructure structure;
  structure.type = std::move(type);
  structure.subtype = std::move(subtype);
  structure.encoding = "8bit";
  structure.size = size;
  structure.parameters = {{"charset", "utf-8"}};
  return structure;
}

// multipart/mixed: alternative (1.1 plain, 1.2 html), 2 pdf
mail::EmailBodyPart sample_structure() {
  imap::BodyStructure alternative;
  alternative.type = "multipart";
  alternative.subtype = "alternative";
  alternative.parts.push_back(leaf("text", "plain", 10));
  alternative.parts.push_back(leaf("text", "html", 20));
  imap::BodyStructure mixed;
  mixed.type = "multipart";
  mixed.subtype = "mixed";
  mixed.parts.push_back(std::move(alternative));
  mixed.parts.push_back(leaf("application", "pdf", 30));
  mixed.parts[1].disposition = "attachment";
  mixed.parts[1].disposition_parameters = {{"filename", "a \"b\".pdf"}};
  mixed.parts[1].parameters.clear();
  return mail::make_body_parts(mixed);
}

void blob_id(const mail::EmailBodyPart& part, std::string& out) { out += "B" + part.section; }

class EmailJson : public testing::Test {
 protected:
  EmailJson() {
    header_ = mail::parse_header_block(
        "From: Joe Bloggs <joe@example.com>\r\nTo: a@x, \"B\" <b@x>\r\nSubject: =?utf-8?Q?caf=C3=A9?=\r\n"
        "Message-ID: <1@a>\r\nDate: Sun, 13 Oct 2013 14:12:00 +0200\r\n"
        "List-Post: <mailto:partytime@lists.example.com>\r\nX-A: 1\r\nx-a: 2\r\n\r\n");
    email_.id = "f123u457";
    email_.blob_id = "Bf123u457";
    email_.thread_id = "ef1314a";
    email_.mailbox_ids = mailboxes_;
    email_.keywords = keywords_;
    email_.size = 1234;
    email_.received_at = 1381673520;
    email_.header = &header_;
    email_.body_structure = &structure_;
    email_.part_blob_id = blob_id;
    email_.preview = "Hi \"there\"";
  }

  std::vector<std::string> mailboxes_ = {"f123", "f7"};
  std::vector<std::string> keywords_ = {"$seen", "custom"};
  mail::HeaderBlock header_;
  mail::EmailBodyPart structure_ = sample_structure();
  EmailData email_;
};

TEST_F(EmailJson, Metadata) {
  EXPECT_EQ(
      written(
          request_of(R"({"properties":["size","id","blobId","threadId","mailboxIds","keywords","receivedAt",
                               "hasAttachment","preview"]})"),
          email_),
      R"({"size":1234,"id":"f123u457","blobId":"Bf123u457","threadId":"ef1314a","mailboxIds":{"f123":true,"f7":true},)"
      R"("keywords":{"$seen":true,"custom":true},"receivedAt":"2013-10-13T14:12:00Z","hasAttachment":true,)"
      R"("preview":"Hi \"there\""})");
}

TEST_F(EmailJson, HeaderConvenienceProperties) {
  EXPECT_EQ(
      written(request_of(
                  R"({"properties":["id","messageId","inReplyTo","references","sender","from","to","cc","bcc",
                               "replyTo","subject","sentAt"]})"),
              email_),
      R"({"id":"f123u457","messageId":["1@a"],"inReplyTo":null,"references":null,"sender":null,)"
      R"("from":[{"name":"Joe Bloggs","email":"joe@example.com"}],)"
      R"("to":[{"name":null,"email":"a@x"},{"name":"B","email":"b@x"}],"cc":null,"bcc":null,"replyTo":null,)"
      "\"subject\":\"caf\xC3\xA9\",\"sentAt\":\"2013-10-13T14:12:00+02:00\"}");
}

TEST_F(EmailJson, HeaderProperties) {
  EXPECT_EQ(
      written(request_of(R"({"properties":["id","header:X-a","header:X-A:all","header:X-B","header:X-B:all",
                               "header:List-POST:asURLs","header:To:asGroupedAddresses","header:X-A:asDate:all",
                               "header:Subject","header:x-a:asMessageIds:all"]})"),
              email_),
      R"({"id":"f123u457","header:X-a":" 2","header:X-A:all":[" 1"," 2"],"header:X-B":null,"header:X-B:all":[],)"
      R"("header:List-POST:asURLs":["mailto:partytime@lists.example.com"],)"
      R"("header:To:asGroupedAddresses":[{"name":null,"addresses":[{"name":null,"email":"a@x"},)"
      R"({"name":"B","email":"b@x"}]}],"header:X-A:asDate:all":[null,null],)"
      R"("header:Subject":" =?utf-8?Q?caf=C3=A9?=","header:x-a:asMessageIds:all":[null,null]})");
}

TEST_F(EmailJson, Headers) {
  header_ = mail::parse_header_block("A: 1\r\n 2\r\nb:\r\n");
  EXPECT_EQ(written(request_of(R"({"properties":["id","headers"]})"), email_),
            R"({"id":"f123u457","headers":[{"name":"A","value":" 1\r\n 2"},{"name":"b","value":""}]})");
}

TEST_F(EmailJson, BodyLists) {
  EXPECT_EQ(written(request_of(R"({"properties":["id","textBody","htmlBody","attachments"],
                               "bodyProperties":["partId","blobId","size","type"]})"),
                    email_),
            R"({"id":"f123u457","textBody":[{"partId":"1.1","blobId":"B1.1","size":10,"type":"text/plain"}],)"
            R"("htmlBody":[{"partId":"1.2","blobId":"B1.2","size":20,"type":"text/html"}],)"
            R"("attachments":[{"partId":"2","blobId":"B2","size":30,"type":"application/pdf"}]})");
}

TEST_F(EmailJson, DefaultBodyProperties) {
  EXPECT_EQ(written(request_of(R"({"properties":["id","attachments"]})"), email_),
            R"({"id":"f123u457","attachments":[{"partId":"2","blobId":"B2","size":30,"name":"a \"b\".pdf",)"
            R"("type":"application/pdf","charset":null,"disposition":"attachment","cid":null,)"
            R"("language":null,"location":null}]})");
}

TEST_F(EmailJson, BodyStructure) {
  mail::find_part(structure_, "2")->headers = mail::parse_header_block("Content-Type: application/pdf\r\n");
  EXPECT_EQ(
      written(request_of(R"({"properties":["id","bodyStructure"],
                               "bodyProperties":["partId","blobId","header:Content-Type",
                                                 "header:Subject:asText","subParts"]})"),
              email_),
      R"({"id":"f123u457","bodyStructure":{"partId":null,"blobId":null,"header:Content-Type":null,)"
      "\"header:Subject:asText\":\"caf\xC3\xA9\","
      R"("subParts":[{"partId":null,"blobId":null,"header:Content-Type":null,"header:Subject:asText":null,"subParts":[)"
      R"({"partId":"1.1","blobId":"B1.1","header:Content-Type":null,"header:Subject:asText":null,"subParts":null},)"
      R"({"partId":"1.2","blobId":"B1.2","header:Content-Type":null,"header:Subject:asText":null,"subParts":null}]},)"
      R"({"partId":"2","blobId":"B2","header:Content-Type":" application/pdf","header:Subject:asText":null,)"
      R"("subParts":null}]}})");
}

TEST_F(EmailJson, BodyValues) {
  const std::vector<std::pair<std::string, mail::EmailBodyValue>> values = {{"1.1", {"Hello\n", false, true}},
                                                                            {"1.2", {"<p>", true, false}}};
  email_.body_values = values;
  EXPECT_EQ(
      written(request_of(R"({"properties":["id","bodyValues"],"fetchAllBodyValues":true})"), email_),
      R"({"id":"f123u457","bodyValues":{"1.1":{"value":"Hello\n","isEncodingProblem":false,"isTruncated":true},)"
      R"("1.2":{"value":"<p>","isEncodingProblem":true,"isTruncated":false}}})");
}

TEST_F(EmailJson, WhatIsNotThereIsNullOrEmpty) {
  EmailData bare;
  bare.id = "x";
  EXPECT_EQ(
      written(request_of(R"({"properties":["id","subject","header:A:all","headers","bodyStructure","textBody",
                               "bodyValues","hasAttachment","preview","keywords"]})"),
              bare),
      R"({"id":"x","subject":null,"header:A:all":[],"headers":[],"bodyStructure":null,"textBody":[],"bodyValues":{},)"
      R"("hasAttachment":false,"preview":"","keywords":{}})");
}

std::vector<std::string> sections(const std::vector<const mail::EmailBodyPart*>& parts) {
  std::vector<std::string> out;
  for (const auto* part : parts) out.push_back(part->header_section);
  return out;
}

TEST_F(EmailJson, WantedBodyValues) {
  const mail::BodyLists lists = mail::make_body_lists(structure_);
  const auto wanted = [&](const std::string& json) {
    return sections(wanted_body_values(request_of(json), structure_, lists));
  };
  using testing::ElementsAre;
  EXPECT_THAT(wanted(R"({"fetchTextBodyValues":true})"), ElementsAre("1.1.MIME"));
  EXPECT_THAT(wanted(R"({"fetchHTMLBodyValues":true})"), ElementsAre("1.2.MIME"));
  EXPECT_THAT(wanted(R"({"fetchHTMLBodyValues":true,"fetchTextBodyValues":true})"),
              ElementsAre("1.1.MIME", "1.2.MIME"));
  EXPECT_THAT(wanted(R"({"fetchAllBodyValues":true})"), ElementsAre("1.1.MIME", "1.2.MIME"));
  EXPECT_THAT(wanted("{}"), ElementsAre());
  EXPECT_THAT(wanted(R"({"properties":["textBody"],"fetchAllBodyValues":true})"), ElementsAre());
  const mail::EmailBodyPart single = mail::make_body_parts(leaf("text", "plain", 1));
  const mail::BodyLists single_lists = mail::make_body_lists(single);
  EXPECT_EQ(wanted_body_values(request_of(R"({"fetchHTMLBodyValues":true,"fetchTextBodyValues":true})"),
                               single, single_lists)
                .size(),
            1u);
}

TEST_F(EmailJson, WantedPartHeaders) {
  const mail::BodyLists lists = mail::make_body_lists(structure_);
  const auto wanted = [&](const std::string& json) {
    return sections(wanted_part_headers(request_of(json), structure_, lists));
  };
  using testing::ElementsAre;
  using testing::UnorderedElementsAre;
  EXPECT_THAT(wanted(R"({"properties":["textBody","htmlBody"]})"), ElementsAre());
  EXPECT_THAT(wanted(R"({"properties":["textBody","htmlBody"],"bodyProperties":["headers"]})"),
              UnorderedElementsAre("1.1.MIME", "1.2.MIME"));
  EXPECT_THAT(wanted(R"({"properties":["attachments"],"bodyProperties":["header:X"]})"),
              ElementsAre("2.MIME"));
  EXPECT_THAT(wanted(R"({"properties":["bodyStructure"],"bodyProperties":["header:X"]})"), ElementsAre());
  EXPECT_THAT(wanted(R"({"properties":["bodyStructure"],"bodyProperties":["header:X","subParts"]})"),
              ElementsAre("1.MIME", "1.1.MIME", "1.2.MIME", "2.MIME"));
}

// A page of a message list: its time is printed; the bound is loose enough for a sanitizer's build.
TEST_F(EmailJson, PageOfFifty) {
  const EmailProperties request = request_of(
      R"({"properties":["id","threadId","mailboxIds","keywords","size","receivedAt","from","to","subject","sentAt",
          "hasAttachment","preview"]})");
  email_.preview =
      "A preview is about as long as this, or longer: it is limited to 256 characters, of which most are "
      "used.";
  const mail::BodyLists lists = mail::make_body_lists(structure_);
  email_.body_lists = &lists;
  std::string out;
  const std::clock_t begin = std::clock();
  for (int round = 0; round < 20; ++round) {
    out.clear();
    JsonWriter writer(out);
    writer.start_array();
    for (int i = 0; i < 50; ++i) write_email(writer, request, email_);
    writer.end_array();
  }
  const double page_us = static_cast<double>(std::clock() - begin) * 1e6 / CLOCKS_PER_SEC / 20;
  RecordProperty("page_us", std::to_string(page_us));
  std::printf("[          ] %zu octets in %.0f us\n", out.size(), page_us);
  EXPECT_GT(out.size(), 20'000u);
  EXPECT_LT(page_us, 50'000);
}

}  // namespace
}  // namespace postern::jmap
