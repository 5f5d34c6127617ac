// Messages on their way out: from a Mailstore of the test's own over a database to an outgoing mail server that takes
// what it gets.
#include "postern/base/json_misuse.hpp"
#include "postern/mail/ids.hpp"
#include "unit/jmap/api_fixture.hpp"
#include "unit/records/fixture.hpp"

namespace postern::jmap {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct TakingTransport final : smtp::Transport {
  std::vector<smtp::Envelope> envelopes;
  std::vector<std::string> contents;
  std::function<void()> before_end;  // of a message

  io::Task<smtp::Outcome> send(smtp::Envelope envelope, smtp::Credentials, smtp::ContentReader content,
                               smtp::Commit commit) override {
    std::string all;
    for (;;) {
      auto piece = co_await content();
      if (!piece || piece->empty()) break;
      all += *piece;
    }
    if (before_end) before_end();
    smtp::Outcome outcome;
    outcome.kind = co_await commit() ? smtp::Outcome::Kind::accepted : smtp::Outcome::Kind::aborted;
    outcome.reply = smtp::Reply{250, {"queued"}};
    outcome.recipients.assign(envelope.recipients.size(), smtp::Reply{250, {"ok"}});
    contents.push_back(std::move(all));
    envelopes.push_back(std::move(envelope));
    co_return outcome;
  }
};

const mail::EmailKey draft{1, 1, 1};

struct SubmissionSendTest : records::RecordsTest {
  FakeMailstore mailstore;
  Limits limits;
  outbox::Options options;
  TakingTransport* transport = nullptr;
  std::unique_ptr<outbox::Outbox> outbox;
  std::optional<SubmissionAccess> access;
  mail::EffectsHook effects;

  SubmissionSendTest() {
    auto taking = std::make_unique<TakingTransport>();
    transport = taking.get();
    outbox = std::make_unique<outbox::Outbox>(loop, store->on(loop), std::move(taking), options);
    access.emplace(*outbox, anna, [] { return smtp::Credentials{}; });
    have("From: anna@example.org\r\nTo: x@y\r\nSubject: s\r\n\r\ntext\r\n");
  }
  ~SubmissionSendTest() override {
    store->stop();
    outbox.reset();
  }
  void have(const std::string& message) {
    mailstore.blobs[mail::blob_id({draft, mail::TransferEncoding::identity, {}})] = message;
  }
  std::string call(const std::string& name, const std::string& arguments) {
    CallContext context{mailstore, "A1", limits, effects, "s1"};
    context.features.submission = &options;
    context.submission = &*access;
    return await(handle_api_request(R"({"using":["urn:ietf:params:jmap:submission"],"methodCalls":[[")" +
                                        name + R"(",{"accountId":"A1")" + arguments + R"(},"c"]]})",
                                    std::move(context)))
        .body;
  }
  std::string submit(const std::string& arguments = {}) {
    call("Identity/get", R"(,"ids":null)");
    return call("EmailSubmission/set", R"(,"create":{"k":{"identityId":"i1","emailId":")" +
                                           mail::email_id(draft) + "\"}}" + arguments);
  }
};

const std::string filed = R"(,"onSuccessUpdateEmail":{"#k":{"keywords/$draft":null}})";

TEST_F(SubmissionSendTest, WhatWasSentIsFiledAlsoWhenTheBrowserHasGone) {
  bool here = true;
  const auto ask = [](const bool& answer) -> io::Task<bool> { co_return answer; };
  effects = [&] { return ask(here); };
  transport->before_end = [&] { here = false; };
  const auto answer = submit(filed);
  EXPECT_THAT(answer, HasSubstr(R"("undoStatus":"final")"));
  EXPECT_EQ(transport->contents.size(), 1u);
  ASSERT_EQ(mailstore.updates.size(), 1u) << answer;
  EXPECT_EQ(mailstore.updates[0].id, draft);
  // What comes behind it is not begun.
  EXPECT_THAT(submit(filed), HasSubstr("nobody waits"));
  EXPECT_EQ(transport->contents.size(), 1u);
}

TEST_F(SubmissionSendTest, WhatIsEntailedByNoChangeAsks) {
  submit();
  ASSERT_EQ(transport->contents.size(), 1u);
  const auto ask = [](int& count) -> io::Task<bool> {
    ++count;
    co_return false;
  };
  int asked = 0;
  effects = [&] { return ask(asked); };
  const auto answer = call("EmailSubmission/set", R"(,"update":{"s1":{"undoStatus":"final"}},)"
                                                  R"("onSuccessUpdateEmail":{"s1":{"keywords/$seen":true}})");
  EXPECT_THAT(answer, HasSubstr("serverFail"));
  EXPECT_EQ(asked, 1);
  EXPECT_THAT(mailstore.updates, IsEmpty());
}

TEST_F(SubmissionSendTest, ACrAloneInTheHeaderIsRefused) {
  const std::string begin = "From: anna@example.org\r\nTo: x@y\r\n";
  for (const std::string& wrong :
       std::vector<std::string>{begin + "Subject: x\r\r\nBcc: secret@x\r\n\r\ntext\r\n",
                                begin + "Subject: x\rFrom: else@where\r\n\r\ntext\r\n",
                                "From: anna@example.org\r\r\nTo: x@y\r\r\n\r\r\ntext\r\r\n",
                                "From: anna@example.org\rTo: x@y\r\rtext\r"}) {
    have(wrong);
    EXPECT_THAT(submit(), HasSubstr("invalidEmail")) << wrong;
  }
  EXPECT_THAT(transport->contents, IsEmpty());
  // In the body it is an odd line end, and becomes one.
  have(begin + "\r\na\rb\r\r\nc\n");
  EXPECT_THAT(submit(), HasSubstr(R"("created":{"k")"));
  EXPECT_THAT(transport->contents, ElementsAre(begin + "\r\na\r\nb\r\n\r\nc\r\n"));
}

TEST_F(SubmissionSendTest, BccIsARecipientAndNeverLeaves) {
  const std::string blank(100, ' ');
  have("From: anna@example.org\r\nBcc" + blank +
       ": one@x\r\nRESENT-bcc: four@x\r\nbcc: two@x,\r\n three@x\r\n\r\nt\r\n");
  EXPECT_THAT(submit(), HasSubstr(R"("created":{"k")"));
  ASSERT_EQ(transport->envelopes.size(), 1u);
  std::vector<std::string> addresses;
  for (const auto& recipient : transport->envelopes[0].recipients) addresses.push_back(recipient.address);
  EXPECT_THAT(addresses, ElementsAre("one@x", "two@x", "three@x"));
  EXPECT_THAT(transport->contents, ElementsAre("From: anna@example.org\r\n\r\nt\r\n"));
}

TEST_F(SubmissionSendTest, RecipientsThatAreGivenManyTimesAreTooMany) {
  std::string list;
  for (std::uint32_t i = 0; i <= options.recipients_max; ++i)
    list += std::string(i == 0 ? "" : ",") + R"({"email":"x@y"})";
  call("Identity/get", R"(,"ids":null)");
  const auto answer =
      call("EmailSubmission/set", R"(,"create":{"k":{"identityId":"i1","emailId":")" + mail::email_id(draft) +
                                      R"(","envelope":{"mailFrom":{"email":"anna@example.org"},"rcptTo":[)" +
                                      list + "]}}}");
  EXPECT_THAT(answer, HasSubstr(R"("type":"tooManyRecipients")"));
  EXPECT_THAT(answer, HasSubstr(R"("maxRecipients":100)"));
}

}  // namespace
}  // namespace postern::jmap
