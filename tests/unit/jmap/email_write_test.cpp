// Email/set create, Email/import and the Blob methods, over a Mailstore in memory.
#include "jmap/methods.hpp"
#include "unit/jmap/api_fixture.hpp"

namespace postern::jmap {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

struct EmailWriteTest : ApiTest {
  const std::string mailbox = mail::mailbox_id(1), message = mail::blob_id({{1, 1, 1}, {}, {}});

  std::string create(const std::string& members) {
    return call("Email/set", R"({"accountId":"A1","create":{"n":{"mailboxIds":{")" + mailbox +
                                 R"(":true},"from":[{"email":"anna@example.org"}])" + members + "}}}");
  }
};

TEST_F(EmailWriteTest, ADraftIsWrittenAndFiled) {
  const auto answer =
      create(R"(,"keywords":{"$Draft":true},"subject":"hi","receivedAt":"2024-02-03T04:05:06Z",
    "textBody":[{"partId":"1"}],"bodyValues":{"1":{"value":"hello\n"}})");
  ASSERT_EQ(store.appended.size(), 1u) << answer;
  EXPECT_THAT(store.appended[0], HasSubstr("Subject: hi\r\n"));
  EXPECT_THAT(store.appended[0], HasSubstr("@example.org>\r\n")) << "a Message-ID of the writer's domain";
  EXPECT_THAT(store.appended[0], HasSubstr("\r\n\r\nhello\r\n"));
  EXPECT_EQ(store.appends[0].mailboxes, std::vector<mail::MailboxKey>{1});
  EXPECT_EQ(store.appends[0].keywords, std::vector<std::string>{"$draft"});
  EXPECT_EQ(store.appends[0].received_at, 1'706'933'106);
  const auto id = mail::email_id({1, 1, 101});
  EXPECT_THAT(answer,
              HasSubstr(R"("created":{"n":{"id":")" + id + R"(","blobId":")" +
                        mail::blob_id({{1, 1, 101}, {}, {}}) + R"(","threadId":")" + mail::thread_id(7) +
                        R"(","size":)" + std::to_string(store.appended[0].size()) + "}}"));
  EXPECT_THAT(answer, HasSubstr(R"("oldState":"1","newState":"2")"));
}

TEST_F(EmailWriteTest, BlobsAreReadWhereTheyAreOrPutAside) {
  const auto upload = mail::blob_id({{1, 1, 2}, {}, {}});
  store.blobs = {{message, "Subject: old\r\n\r\nbody\r\n"}, {upload, std::string(100, 'x')}};
  const auto attachments = R"(,"attachments":[{"blobId":")" + upload +
                           R"(","type":"image/png"},{"blobId":")" + message +
                           R"(","type":"message/rfc822"},{"blobId":")" + upload + R"(","type":"image/png"}])";
  create(attachments);
  ASSERT_EQ(store.appended.size(), 1u);
  EXPECT_EQ(store.put_aside, 0);
  EXPECT_THAT(store.appended[0], HasSubstr("\r\n\r\nSubject: old\r\n\r\nbody\r\n"));
  store.local_blobs = false;
  create(attachments);
  ASSERT_EQ(store.appended.size(), 2u);
  EXPECT_EQ(store.put_aside, 2) << "each once";
  store.no_room = true;
  EXPECT_THAT(create(attachments), HasSubstr(R"("type":"overQuota")"));
}

TEST_F(EmailWriteTest, WhatIsWrongIsSaidAndNothingIsFiled) {
  store.blobs = {{message, "12345678901"}};
  EXPECT_THAT(
      create(R"(,"attachments":[{"blobId":"x"},{"blobId":"y"},{"blobId":"x"}])"),
      HasSubstr(R"("type":"blobNotFound","description":"there is no such blob","notFound":["x","y"])"));
  EXPECT_THAT(create(R"(,"subject":"a\nBcc: b@c")"), HasSubstr(R"("properties":["subject"])"));
  limits.max_size_attachments_per_email = 10;
  EXPECT_THAT(create(R"(,"attachments":[{"blobId":")" + message + R"("}])"),
              HasSubstr(R"("type":"tooLarge")"));
  EXPECT_THAT(store.appended, IsEmpty());
  limits.max_size_attachments_per_email = 11;
  store.append_error = "overQuota";
  EXPECT_THAT(create(R"(,"attachments":[{"blobId":")" + message + R"("}])"),
              HasSubstr(R"("type":"overQuota")"));
}

// Which limit, of which plan, how much it is and when it frees up: in each object's error as in a call's.
TEST_F(EmailWriteTest, WhatThePlanDoesntAllowIsToldOfEachObject) {
  store.blobs = {{message, "Subject: a\r\n\r\nb\r\n"}};
  const limits::Refusal refusal{limits::Limit::sent_hour, "small", 100, 90, 20, 1'700'000'100};
  store.append_error = "rateLimit";
  store.append_refusal = refusal.encode();
  const std::string members = R"("limit":"mailSentPerHour","plan":"small","amount":100,"used":90,"asked":20,)"
                              R"("availableAt":"2023-11-14T22:15:00Z"})";
  EXPECT_THAT(create(""), HasSubstr(members));
  EXPECT_THAT(call("Email/import", R"({"accountId":"A1","emails":{"1":{"blobId":")" + message +
                                       R"(","mailboxIds":{")" + mailbox + R"(":true}}}})"),
              HasSubstr(members));
  store.append_refusal = limits::Refusal{limits::Limit::sent_hour, "small", 100, 0, 101, {}}.encode();
  EXPECT_THAT(create(""), HasSubstr(R"("asked":101,"availableAt":null})"));
  store.append_refusal = "no refusal";
  EXPECT_THAT(create(""), HasSubstr(R"("notCreated":{"n":{"type":"rateLimit"}})"));
}

TEST_F(EmailWriteTest, ImportsWithLineEndsOfMail) {
  store.blobs = {{message, "Received: x; Sat, 03 Feb 2024 04:05:06 +0000\nSubject: a\n\nb\n"},
                 {mail::blob_id({{1, 1, 2}, {}, {}}), "\r\nno header"},
                 {mail::blob_id({{1, 1, 3}, {}, {}}), std::string("Subject: \0\r\n\r\n", 14)}};
  std::string emails;
  for (std::uint32_t uid = 1; uid <= 4; ++uid)
    emails += (uid > 1 ? ",\"" : "\"") + std::to_string(uid) + R"(":{"blobId":")" +
              mail::blob_id({{1, 1, uid}, {}, {}}) + R"(","mailboxIds":{")" + mailbox + R"(":true}})";
  const auto answer = call("Email/import", R"({"accountId":"A1","emails":{)" + emails + "}}");
  ASSERT_EQ(store.appended.size(), 1u) << answer;
  EXPECT_THAT(store.appended[0], HasSubstr("\r\nSubject: a\r\n\r\nb\r\n"));
  EXPECT_EQ(store.appends[0].received_at, 1'706'933'106);
  EXPECT_THAT(answer, HasSubstr(R"("2":{"type":"invalidEmail")"));
  EXPECT_THAT(answer, HasSubstr(R"("3":{"type":"invalidEmail")"));
  EXPECT_THAT(answer, HasSubstr(R"("4":{"type":"invalidProperties")"));
  EXPECT_THAT(call("Email/import", R"({"accountId":"A1","ifInState":"x","emails":{}})"),
              HasSubstr("stateMismatch"));
}

TEST_F(EmailWriteTest, BlobsOfSeveralPieces) {
  limits.max_size_upload = 20;
  std::string many;
  for (std::size_t i = 0; i <= blob_data_sources_max; ++i) many += R"({"data:asText":""},)";
  const auto one_too_many = "[" + many.substr(0, many.size() - 1) + "]";
  const auto as_many = "[" + many.substr(many.find(',') + 1, many.size() - many.find(',') - 2) + "]";
  const auto answer =
      call("Blob/upload", R"({"accountId":"A1","create":{"a":{"data":[{"data:asText":"0123456789"}]},
    "b":{"data":[{"blobId":"#a","offset":10},{"blobId":"#a","offset":8},{"data:asBase64":"eHl6"}]},
    "c":{"data":[{"blobId":"#a","offset":11}]},"d":{"data":[{"blobId":"#a","offset":5,"length":6}]},
    "e":{"data":[{"blobId":"#a"},{"blobId":"#a"},{"data:asText":"!"}]},"f":{"data":[{"data:asBase64":"?"}]},
    "g":{"data":)" + one_too_many +
                              R"(},"h":{"data":)" + as_many + "}}}");
  EXPECT_THAT(answer, HasSubstr(R"("type":"application/octet-stream","size":10})"));
  EXPECT_THAT(answer, HasSubstr(R"("size":5})")) << "89xyz";
  EXPECT_THAT(answer, HasSubstr(R"("c":{"type":"invalidProperties")"));
  EXPECT_THAT(answer, HasSubstr(R"("d":{"type":"invalidProperties")"));
  EXPECT_THAT(answer, HasSubstr(R"("e":{"type":"tooLarge")"));
  EXPECT_THAT(answer, HasSubstr(R"("f":{"type":"invalidProperties")"));
  EXPECT_THAT(answer, HasSubstr(R"("g":{"type":"invalidProperties")"));
  EXPECT_THAT(answer, HasSubstr(R"("size":0})"));
  EXPECT_THAT(answer, Not(HasSubstr("oldState")));
}

TEST_F(EmailWriteTest, BlobGetByRanges) {
  store.blobs = {{message, "0123456789"}};
  const auto get = [&](const std::string& more) {
    return call("Blob/get", R"({"accountId":"A1","ids":[")" + message + R"("],)" + more + "}");
  };
  for (const bool local : {true, false}) {
    store.local_blobs = local;
    EXPECT_THAT(get(R"("offset":2,"length":3)"), HasSubstr(R"("data:asText":"234","size":10})"));
    EXPECT_THAT(get(R"("offset":8,"length":3)"),
                HasSubstr(R"("data:asText":"89","isTruncated":true,"size":10})"));
    EXPECT_THAT(get(R"("offset":10)"), HasSubstr(R"("data:asText":"","size":10})"));
    EXPECT_THAT(get(R"("properties":["size"])"), HasSubstr(R"("size":10})"));
    EXPECT_THAT(get(R"("properties":["digest:sha"],"length":3)"),
                HasSubstr(R"("digest:sha":"xKLZm8KNI2CYoJUne36wcY1r4Gg="})"));
  }
  EXPECT_THAT(get(R"("properties":["digest:md5"])"), HasSubstr("invalidArguments"));
}

}  // namespace
}  // namespace postern::jmap
