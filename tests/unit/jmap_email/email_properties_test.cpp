// Email/get's arguments: RFC 8621, 4.2; header properties: 4.1.3; which forms: 4.1.2.
#include "postern/jmap/email_properties.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace postern::jmap {
namespace {

Argument<EmailProperties> parse(const std::string& json) {
  rapidjson::Document document;
  document.Parse(json.c_str());
  EXPECT_FALSE(document.HasParseError()) << json;
  return parse_email_properties(document);
}

std::vector<std::string> keys(const EmailProperties& request) {
  std::vector<std::string> out;
  for (const auto& property : request.properties) out.push_back(property.key);
  return out;
}

std::string refused(const std::string& key) {
  const auto request = parse(R"({"properties":["id",")" + key + R"("]})");
  return request ? "accepted" : request.error().description();
}

TEST(EmailProperties, Defaults) {
  for (const std::string json :
       {"{}", R"({"properties":null,"bodyProperties":null,"maxBodyValueBytes":null})"}) {
    const auto request = parse(json);
    ASSERT_TRUE(request);
    EXPECT_THAT(keys(*request),
                testing::ElementsAre("id", "blobId", "threadId", "mailboxIds", "keywords", "size",
                                     "receivedAt", "messageId", "inReplyTo", "references", "sender", "from",
                                     "to", "cc", "bcc", "replyTo", "subject", "sentAt", "hasAttachment",
                                     "preview", "bodyValues", "textBody", "htmlBody", "attachments"));
    std::vector<std::string> body;
    for (const auto& property : request->body_properties) body.push_back(property.key);
    EXPECT_THAT(body, testing::ElementsAre("partId", "blobId", "size", "name", "type", "charset",
                                           "disposition", "cid", "language", "location"));
    EXPECT_EQ(request->max_body_value_bytes, 0u);
    EXPECT_FALSE(request->fetch_text_body_values || request->fetch_html_body_values ||
                 request->fetch_all_body_values);
  }
}

TEST(EmailProperties, KeepsOrderAddsIdDropsDuplicates) {
  EXPECT_THAT(keys(*parse(R"({"properties":["subject","from","subject"]})")),
              testing::ElementsAre("id", "subject", "from"));
  EXPECT_THAT(keys(*parse(R"({"properties":["subject","id"]})")), testing::ElementsAre("subject", "id"));
  EXPECT_THAT(keys(*parse(R"({"properties":[]})")), testing::ElementsAre("id"));
  // Another capitalisation is another key of the answer.
  EXPECT_THAT(keys(*parse(R"({"properties":["header:X","header:x"]})")),
              testing::ElementsAre("id", "header:X", "header:x"));
}

TEST(EmailProperties, ExampleOfRfc8621) {
  const auto request =
      parse(R"({"ids":["f123u456"],"properties":["threadId","mailboxIds","from","subject","receivedAt",
      "header:List-POST:asURLs","htmlBody","bodyValues"],"bodyProperties":["partId","blobId","size","type"],
      "fetchHTMLBodyValues":true,"maxBodyValueBytes":256})");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->max_body_value_bytes, 256u);
  EXPECT_TRUE(request->fetch_html_body_values);
  EXPECT_EQ(request->properties[6].header.field, "LIST-POST");
  EXPECT_EQ(request->properties[6].header.form, HeaderForm::urls);
  EXPECT_EQ(request->properties[6].key, "header:List-POST:asURLs");
  EXPECT_THAT(request->needs.header_fields, testing::ElementsAre("FROM", "LIST-POST", "SUBJECT"));
  EXPECT_TRUE(request->needs.body_structure && request->needs.body_values && request->needs.internal_date);
  EXPECT_FALSE(request->needs.is_list_data());
}

TEST(EmailProperties, HeaderProperties) {
  const auto request = parse(
      R"({"properties":["header:Resent-To:asAddresses:all","header:x-Foo:all","header:Y","header:Z:asRaw"]})");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->properties[1].header.field, "RESENT-TO");
  EXPECT_EQ(request->properties[1].header.form, HeaderForm::addresses);
  EXPECT_TRUE(request->properties[1].header.all);
  EXPECT_EQ(request->properties[2].header.field, "X-FOO");
  EXPECT_EQ(request->properties[2].header.form, HeaderForm::raw);
  EXPECT_TRUE(request->properties[2].header.all);
  EXPECT_FALSE(request->properties[3].header.all);
}

TEST(EmailProperties, RefusesBadHeaderProperties) {
  EXPECT_EQ(refused("header:From:asDate"),
            "/properties/1: asks for a form that this header field may not be fetched in");
  for (const std::string key :
       {"header:", "header::asText", "header:X:", "header:X:all:asText", "header:X:asFoo",
        "header:X:asText:", "header:X:asText:all:all", "header:X Y", "header:X:astext", "header:X:All",
        "Header:X", "header", "header:caf\xC3\xA9", "header:X:as", "header:X:as:all"})
    EXPECT_NE(refused(key), "accepted") << key;
}

TEST(EmailProperties, RefusesUnknownProperties) {
  EXPECT_EQ(refused("nonsense"), "/properties/1: is no property of an Email");
  EXPECT_EQ(refused("subParts"), "/properties/1: is no property of an Email");
  EXPECT_EQ(refused("Subject"), "/properties/1: is no property of an Email");
  EXPECT_EQ(parse(R"({"bodyProperties":["subject"]})").error().description(),
            "/bodyProperties/0: is no property of an EmailBodyPart");
  EXPECT_EQ(parse(R"({"bodyProperties":["header:From:asDate"]})").error().pointer, "/bodyProperties/0");
}

TEST(EmailProperties, RefusesWrongTypes) {
  for (const std::string json :
       {R"({"properties":"id"})", R"({"properties":[1]})", R"({"bodyProperties":{}})",
        R"({"fetchTextBodyValues":1})", R"({"fetchHTMLBodyValues":"true"})", R"({"fetchAllBodyValues":[]})",
        R"({"maxBodyValueBytes":-1})", R"({"maxBodyValueBytes":1.5})", R"({"maxBodyValueBytes":"1"})"})
    EXPECT_FALSE(parse(json)) << json;
}

TEST(EmailProperties, BoundsLists) {
  std::string list;
  for (std::size_t i = 0; i < email_properties_max; ++i)
    list += R"("header:X-)" + std::to_string(i) + R"(",)";
  list.pop_back();
  EXPECT_TRUE(parse(R"({"properties":[)" + list + "]}"));
  EXPECT_FALSE(parse(R"({"properties":[)" + list + R"(,"id"]})"));
  EXPECT_EQ(refused("header:" + std::string(header_property_name_bytes_max, 'x')), "accepted");
  EXPECT_EQ(refused("header:" + std::string(header_property_name_bytes_max + 1, 'x')),
            "/properties/1: names no header field");
}

TEST(FormAllowed, ByField) {
  const std::vector<std::string> address = {
      "From",        "Sender",        "Reply-To",        "To",        "Cc",        "Bcc",
      "Resent-From", "Resent-Sender", "Resent-Reply-To", "Resent-To", "Resent-Cc", "Resent-Bcc"};
  const std::vector<std::string> text = {"Subject", "Comments", "Keywords"};
  const std::vector<std::string> ids = {"Message-ID", "In-Reply-To", "References", "Resent-Message-ID"};
  const std::vector<std::string> date = {"Date", "Resent-Date"};
  const std::vector<std::string> urls = {"List-Help", "List-Unsubscribe", "List-Subscribe",
                                         "List-Post", "List-Owner",       "List-Archive"};
  const std::vector<std::string> none = {"Received", "Return-Path"};
  const std::vector<std::vector<std::string>> groups = {address, text, ids, date, urls, none};
  const std::vector<std::pair<HeaderForm, std::size_t>> forms = {
      {HeaderForm::addresses, 0}, {HeaderForm::grouped_addresses, 0},
      {HeaderForm::text, 1},      {HeaderForm::message_ids, 2},
      {HeaderForm::date, 3},      {HeaderForm::urls, 4}};
  for (const auto& [form, group] : forms) {
    EXPECT_TRUE(is_form_allowed("X-Anything", form));
    for (std::size_t i = 0; i < groups.size(); ++i)
      for (const auto& field : groups[i]) {
        EXPECT_EQ(is_form_allowed(field, form), i == group) << field << static_cast<int>(form);
        EXPECT_TRUE(is_form_allowed(field, HeaderForm::raw));
      }
  }
  EXPECT_TRUE(is_form_allowed("List-Id", HeaderForm::text));
  EXPECT_FALSE(is_form_allowed("fRoM", HeaderForm::date));
}

TEST(FetchNeeds, Each) {
  EXPECT_TRUE(parse(R"({"properties":["id","blobId"]})")->needs.header_fields.empty());
  EXPECT_TRUE(parse(R"({"properties":["keywords"]})")->needs.flags);
  EXPECT_TRUE(parse(R"({"properties":["size"]})")->needs.size);
  EXPECT_TRUE(parse(R"({"properties":["receivedAt"]})")->needs.internal_date);
  EXPECT_TRUE(parse(R"({"properties":["threadId"]})")->needs.thread_id);
  EXPECT_TRUE(parse(R"({"properties":["mailboxIds"]})")->needs.mailbox_ids);
  for (const std::string key :
       {"bodyStructure", "textBody", "htmlBody", "attachments", "hasAttachment", "preview"}) {
    const auto request = parse(R"({"properties":[")" + key + R"("]})");
    EXPECT_TRUE(request->needs.body_structure) << key;
    EXPECT_EQ(request->needs.preview, key == "preview");
    EXPECT_TRUE(request->needs.is_list_data()) << key;
  }
  EXPECT_THAT(
      parse(R"({"properties":["sentAt","messageId","header:Subject","subject","header:subject:all"]})")
          ->needs.header_fields,
      testing::ElementsAre("DATE", "MESSAGE-ID", "SUBJECT"));
}

TEST(FetchNeeds, BodyValuesOnlyWithAFlag) {
  const auto without = parse(R"({"properties":["bodyValues"]})");
  EXPECT_FALSE(without->needs.body_values || without->needs.body_structure);
  for (const std::string flag : {"fetchTextBodyValues", "fetchHTMLBodyValues", "fetchAllBodyValues"}) {
    const auto with = parse(R"({"properties":["bodyValues"],")" + flag + R"(":true})");
    EXPECT_TRUE(with->needs.body_values && with->needs.body_structure);
    EXPECT_FALSE(parse(R"({"properties":["subject"],")" + flag + R"(":true})")->needs.body_values);
  }
}

TEST(FetchNeeds, HeadersOfMessagesAndParts) {
  const auto all = parse(R"({"properties":["headers","subject"]})");
  EXPECT_TRUE(all->needs.full_header);
  EXPECT_TRUE(all->needs.header_fields.empty());
  EXPECT_FALSE(all->needs.is_list_data());
  const auto part = parse(R"({"properties":["textBody"],"bodyProperties":["header:Content-Type"]})");
  EXPECT_TRUE(part->needs.part_headers);
  EXPECT_THAT(part->needs.header_fields, testing::ElementsAre("CONTENT-TYPE"));
  EXPECT_TRUE(parse(R"({"properties":["textBody"],"bodyProperties":["headers"]})")->needs.full_header);
  EXPECT_FALSE(parse(R"({"properties":["subject"],"bodyProperties":["headers"]})")->needs.part_headers);
}

TEST(FetchNeeds, WholeHeaderWhereNamesDoNotFitACommand) {
  for (const char c : std::string_view("(){%*]")) {
    const auto request = parse(R"({"properties":["subject","header:X)" + std::string(1, c) + R"("]})");
    ASSERT_TRUE(request) << c;
    EXPECT_TRUE(request->needs.full_header) << c;
    EXPECT_TRUE(request->needs.header_fields.empty()) << c;
  }
  // Twenty names of 99 octets, a space behind each, are the bound.
  static_assert(fetched_field_names_bytes_max == 20 * 100);
  const auto names = [](std::size_t last) {
    std::string list;
    for (std::size_t i = 0; i < 20; ++i)
      list += (i > 0 ? R"(,"header:)" : R"("header:)") + std::string(1, static_cast<char>('A' + i)) +
              std::string(i == 19 ? last : 98, 'X') + "\"";
    return R"({"properties":[)" + list + "]}";
  };
  EXPECT_FALSE(parse(names(98))->needs.full_header);
  EXPECT_EQ(parse(names(98))->needs.header_fields.size(), 20u);
  EXPECT_TRUE(parse(names(99))->needs.full_header);
}

TEST(Signature, EqualForEqualAnswers) {
  const auto signature = [](const std::string& json) { return parse(json)->signature; };
  EXPECT_EQ(signature(R"({"properties":["id","subject"]})"),
            signature(R"({"properties":["subject","subject"]})"));
  EXPECT_EQ(signature(R"({"properties":["subject"],"bodyProperties":["size"]})"),
            signature(R"({"properties":["subject"]})"));
  EXPECT_EQ(signature(R"({"properties":["subject"],"fetchAllBodyValues":true,"maxBodyValueBytes":5})"),
            signature(R"({"properties":["subject"]})"));
  EXPECT_EQ(signature("{}"), signature(R"({"properties":null})"));
  EXPECT_EQ(signature(R"({"properties":["bodyValues"],"maxBodyValueBytes":5})"),
            signature(R"({"properties":["bodyValues"]})"));
}

TEST(Signature, DiffersForDifferentAnswers) {
  std::vector<std::string> signatures;
  for (const std::string json :
       {R"({})", R"({"properties":["subject"]})", R"({"properties":["subject","from"]})",
        R"({"properties":["from","subject"]})", R"({"properties":["header:Subject:asText"]})",
        R"({"properties":["header:subject:asText"]})", R"({"properties":["textBody"]})",
        R"({"properties":["textBody"],"bodyProperties":["size"]})", R"({"properties":["bodyValues"]})",
        R"({"properties":["bodyValues"],"fetchTextBodyValues":true})",
        R"({"properties":["bodyValues"],"fetchHTMLBodyValues":true})",
        R"({"properties":["bodyValues"],"fetchAllBodyValues":true})",
        R"({"properties":["bodyValues"],"fetchAllBodyValues":true,"maxBodyValueBytes":5})",
        R"({"properties":["bodyValues"],"fetchAllBodyValues":true,"maxBodyValueBytes":6})"})
    signatures.push_back(parse(json)->signature);
  std::sort(signatures.begin(), signatures.end());
  EXPECT_EQ(std::unique(signatures.begin(), signatures.end()), signatures.end());
}

}  // namespace
}  // namespace postern::jmap
