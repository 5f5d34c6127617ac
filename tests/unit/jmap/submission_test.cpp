// Envelopes, identities and submissions, over a Mailstore, a database and an outgoing mail server of the test's own.
#include <map>

#include "jmap/submission_envelope.hpp"
#include "jmap/submission_support.hpp"
#include "postern/base/json_misuse.hpp"
#include "postern/smtp/address.hpp"
#include "unit/jmap/api_fixture.hpp"
#include "unit/records/fixture.hpp"

namespace postern::jmap {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

outbox::Options dsn() {
  outbox::Options options;
  options.extensions = {"DSN"};
  options.from = outbox::FromPolicy::any;
  options.recipients_max = 3;
  return options;
}

std::string error_of(const std::string& json, const outbox::Options& options = dsn()) {
  rapidjson::Document document;
  document.Parse(json.c_str());
  const auto envelope = parse_envelope(document, options, 1'000);
  if (!envelope) return envelope.error().error.error_type + ": " + envelope.error().error.description;
  const auto refusal = check_envelope(*envelope, options, "me@a.b");
  return refusal ? refusal->error.error_type : "none";
}

std::string with_parameters(const std::string& mail, const std::string& rcpt = "null") {
  return R"({"mailFrom":{"email":"me@a.b","parameters":)" + mail +
         R"(},"rcptTo":[{"email":"x@y.z","parameters":)" + rcpt + "}]}";
}

TEST(SubmissionEnvelope, OfTheClient) {
  rapidjson::Document document;
  document.Parse(
      R"({"mailFrom":{"email":"me@a.b","parameters":{"holdfor":"60","RET":"FULL"}},)"
      R"("rcptTo":[{"email":"X@y.z"},{"email":"x@Y.z","parameters":{"NOTIFY":"NEVER"}},{"email":"a@b.c"}]})");
  const auto envelope = parse_envelope(document, dsn(), 1'000);
  ASSERT_TRUE(envelope);
  EXPECT_EQ(envelope->mail_parameters, " RET=FULL");
  EXPECT_EQ(envelope->send_at, 1'060);
  EXPECT_THAT(envelope->extensions, ElementsAre("DSN"));
  ASSERT_EQ(envelope->recipients.size(), 2u);  // each once
  EXPECT_EQ(envelope->recipients[0].address, "X@y.z");
  EXPECT_THAT(envelope->json, HasSubstr(R"({"email":"X@y.z","parameters":null})"));
}

TEST(SubmissionEnvelope, WhatIsNone) {
  EXPECT_EQ(error_of(with_parameters("null")), "none");
  EXPECT_EQ(error_of(with_parameters(R"({"HOLDUNTIL":"1970-01-01T01:00:00Z"})")), "none");
  for (const std::string& wrong :
       std::vector<std::string>{"[]",
                                "{}",
                                R"({"mailFrom":{"email":"a@b"}})",
                                R"({"mailFrom":{},"rcptTo":[]})",
                                R"({"mailFrom":{"email":"a@b"},"rcptTo":[{}]})",
                                R"({"mailFrom":{"email":"a@b"},"rcptTo":[],"x":1})",
                                R"({"mailFrom":{"email":"a@b>"},"rcptTo":[]})",
                                R"({"mailFrom":{"email":"a@b","x":1},"rcptTo":[]})",
                                with_parameters("[]"),
                                with_parameters(R"({"SIZE":"1"})"),
                                with_parameters(R"({"RET":1})"),
                                with_parameters(R"({"RET":null})"),
                                with_parameters(R"({"RET":"FULL\r\nRCPT TO:<x@y>"})"),
                                with_parameters(R"({"NOTIFY":"NEVER"})"),
                                with_parameters("null", R"({"RET":"FULL"})"),
                                with_parameters(R"({"RET":"FULL","ret":"HDRS"})"),
                                with_parameters(R"({"HOLDFOR":60})"),
                                with_parameters(R"({"HOLDFOR":"-1"})"),
                                with_parameters(R"({"HOLDFOR":"6 0"})"),
                                with_parameters(R"({"HOLDFOR":"2592001"})"),
                                with_parameters(R"({"HOLDUNTIL":"tomorrow"})"),
                                with_parameters(R"({"HOLDFOR":"1","HOLDUNTIL":"1970-01-01T01:00:00Z"})"),
                                with_parameters(R"({"REQUIRETLS":null})")})
    EXPECT_THAT(error_of(wrong), HasSubstr("invalidProperties")) << wrong;
  EXPECT_EQ(error_of(with_parameters(
                "null", R"({"ORCPT":"rfc822;)" + std::string(smtp::parameters_bytes_max - 14, 'x') + "\"}")),
            "none");
  EXPECT_THAT(
      error_of(with_parameters(
          "null", R"({"ORCPT":"rfc822;)" + std::string(smtp::parameters_bytes_max - 13, 'x') + "\"}")),
      HasSubstr("too long"));
}

TEST(SubmissionEnvelope, Recipients) {
  const auto to = [](const std::string& list) {
    return R"({"mailFrom":{"email":"me@a.b"},"rcptTo":[)" + list + "]}";
  };
  EXPECT_EQ(error_of(to("")), "noRecipients");
  EXPECT_EQ(error_of(to(R"({"email":"a@b"},{"email":"b@b"},{"email":"c@b"})")), "none");
  EXPECT_EQ(error_of(to(R"({"email":"a@b"},{"email":"b@b"},{"email":"c@b"},{"email":"d@b"})")),
            "tooManyRecipients: more recipients than a message may have");
  EXPECT_EQ(error_of(to(R"({"email":"a"})")), "invalidRecipients");
  auto strict = dsn();
  strict.from = outbox::FromPolicy::login;
  EXPECT_EQ(error_of(R"({"mailFrom":{"email":""},"rcptTo":[{"email":"a@b"}]})"), "none");
  EXPECT_EQ(error_of(R"({"mailFrom":{"email":""},"rcptTo":[{"email":"a@b"}]})", strict), "forbiddenMailFrom");
  EXPECT_EQ(error_of(R"({"mailFrom":{"email":"you@a.b"},"rcptTo":[{"email":"a@b"}]})", strict),
            "forbiddenMailFrom");
}

SubmissionEnvelope derived(const std::string& header, const std::string& identity = "me@a.b") {
  auto envelope = derive_envelope(mail::parse_header_block(header + "\r\n"), identity);
  return envelope ? *envelope : SubmissionEnvelope{envelope.error().error.error_type, {}, {}, {}, {}, {}};
}

TEST(SubmissionEnvelope, MadeFromTheHeader) {
  EXPECT_EQ(derived("From: x <me@a.b>\r\nSender: me@a.b\r\n").mail_from, "me@a.b");
  EXPECT_EQ(derived("From: a@b, c@d\r\nSender: ME@a.b\r\n").mail_from, "ME@a.b");
  EXPECT_EQ(derived("From: else@where\r\n").mail_from, "me@a.b");
  EXPECT_EQ(derived("From: any@a.b\r\n", "*@a.b").mail_from, "any@a.b");
  EXPECT_EQ(derived("From: a@b, c@d\r\n").mail_from, "invalidEmail");
  EXPECT_EQ(derived("From: a@b\r\nSender: c@d\r\nSender: e@f\r\n").mail_from, "invalidEmail");
  const auto all = derived("From: me@a.b\r\nTo: g: x@y, X@Y;\r\nCc: z@y\r\nTo: w@y\r\nBcc: v@y, z@y\r\n");
  std::vector<std::string> addresses;
  for (const auto& recipient : all.recipients) addresses.push_back(recipient.address);
  EXPECT_THAT(addresses, ElementsAre("x@y", "w@y", "z@y", "v@y"));
}

TEST(SubmissionEnvelope, WhoMaySend) {
  outbox::Options options;
  EXPECT_TRUE(may_send_from(options, "me@a.b", "ME@A.b"));
  EXPECT_FALSE(may_send_from(options, "me@a.b", "you@a.b"));
  EXPECT_FALSE(may_send_from(options, "me", "me@a.b"));
  options.domain = "a.b";
  EXPECT_TRUE(may_send_from(options, "me", "me@a.b"));
  options.from = outbox::FromPolicy::domain;
  EXPECT_TRUE(may_send_from(options, "me", "*@A.B"));
  EXPECT_FALSE(may_send_from(options, "me", "me@c.a.b"));
  const auto header = [&](const std::string& text) {
    const auto refusal = check_header(mail::parse_header_block(text + "\r\n"), options, "me");
    return refusal ? refusal->error.error_type : "none";
  };
  EXPECT_EQ(header("From: me@a.b\r\n"), "none");
  EXPECT_EQ(header("From: x@y.z\r\n"), "forbiddenFrom");
  EXPECT_EQ(header("From: me@a.b, x@y.z\r\n"), "forbiddenFrom");
  EXPECT_EQ(header("From: x@y.z\r\nResent-From: me@a.b\r\n"), "none");
  EXPECT_EQ(header("From: me@a.b\r\nFrom: me@a.b\r\n"), "invalidEmail");
  EXPECT_EQ(header("To: me@a.b\r\n"), "invalidEmail");
}

// --- Methods ---

struct ScriptedTransport final : smtp::Transport {
  smtp::Outcome::Kind kind = smtp::Outcome::Kind::unavailable;
  std::uint64_t octets = 0;  // of the last message
  io::Task<smtp::Outcome> send(smtp::Envelope envelope, smtp::Credentials, smtp::ContentReader content,
                               smtp::Commit commit) override {
    smtp::Outcome outcome;
    outcome.kind = kind;
    if (kind == smtp::Outcome::Kind::unavailable) co_return outcome;
    octets = 0;
    while (true) {
      const auto piece = co_await content();
      if (!piece || piece->empty()) break;
      octets += piece->size();
    }
    EXPECT_TRUE(co_await commit());
    const smtp::Reply taken{250, {"ok"}};
    outcome.stage = smtp::Stage::content;
    if (kind == smtp::Outcome::Kind::accepted) outcome.reply = taken;
    for (std::size_t i = 0; i < envelope.recipients.size(); ++i) outcome.recipients.emplace_back(taken);
    co_return outcome;
  }
};

struct SubmissionTest : records::RecordsTest {
  FakeMailstore mailstore;
  Limits limits;
  outbox::Options options;
  std::shared_ptr<limits::Meter> meter = std::make_shared<limits::Meter>(nullptr, clock, 0);
  std::unique_ptr<outbox::Outbox> outbox;
  std::optional<SubmissionAccess> access;
  ScriptedTransport* transport = nullptr;

  SubmissionTest() {
    auto scripted = std::make_unique<ScriptedTransport>();
    transport = scripted.get();
    outbox = std::make_unique<outbox::Outbox>(loop, store->on(loop), std::move(scripted), options);
    access.emplace(*outbox, anna, [] { return smtp::Credentials{}; });
  }
  ~SubmissionTest() override {
    store->stop();
    outbox.reset();
  }
  std::string call(const std::string& name, const std::string& arguments) {
    CallContext context{mailstore, "A1", limits, {}, "s1"};
    context.features.submission = &options;
    context.submission = &*access;
    context.meter = meter.get();
    return await(handle_api_request(R"({"using":["urn:ietf:params:jmap:submission"],"methodCalls":[[")" +
                                        name + R"(",{"accountId":"A1")" + arguments + R"(},"c"]]})",
                                    std::move(context)))
        .body;
  }
};

// What is counted when a message is sent, and what a plan does then.
struct CountedSubmissionTest : SubmissionTest {
  const mail::EmailKey draft{1, 1, 1};
  using Limit = limits::Limit;

  CountedSubmissionTest() {
    transport->kind = smtp::Outcome::Kind::accepted;
    mailstore.blobs[mail::blob_id({draft, {}, {}})] =
        "From: anna@example.org\r\nTo: a@b.c, d@e.f\r\nBcc: g@h.i\r\n\r\nHello\r\n.\r\n";
    EXPECT_THAT(call("Identity/get", R"(,"ids":null)"), HasSubstr("i1"));
  }
  std::string send(const std::string& more = {}) {
    return call("EmailSubmission/set", R"(,"create":{"k":{"identityId":"i1","emailId":")" +
                                           mail::email_id(draft) + "\"" + more + "}}");
  }
  void plan(Limit limit, std::uint64_t most, bool times_recipients = false) {
    store::UsageTerms terms;
    terms.plan = "guest";
    terms.limits[static_cast<std::size_t>(limit)] = most;
    limits::Plan plan;
    plan.sent_times_recipients = times_recipients;
    meter->set_terms(terms, plan, 0, nullptr);
  }
  std::uint64_t used(Limit limit) const {
    return meter->standings(true)[static_cast<std::size_t>(limit)].used;
  }
};

TEST_F(CountedSubmissionTest, AsItGoesToTheServer) {
  EXPECT_THAT(send(), HasSubstr(R"("created":{"k")"));
  EXPECT_GT(transport->octets, 50u);
  EXPECT_EQ(used(Limit::sent_hour), transport->octets);
  EXPECT_EQ(used(Limit::mail_day), transport->octets);
  EXPECT_EQ(used(Limit::messages_hour), 1u);
  EXPECT_EQ(used(Limit::messages_day), 1u);
  EXPECT_EQ(used(Limit::recipients_hour), 3u);
  EXPECT_EQ(used(Limit::recipients_day), 3u);
  EXPECT_EQ(used(Limit::received_hour), 0u);
}

TEST_F(CountedSubmissionTest, ForEachRecipientIfThePlanSaysSo) {
  plan(Limit::sent_hour, 1'000'000, true);
  EXPECT_THAT(send(), HasSubstr(R"("created":{"k")"));
  EXPECT_EQ(used(Limit::sent_hour), 3 * transport->octets);
}

TEST_F(CountedSubmissionTest, UpToTheLimitAndNotOneMore) {
  EXPECT_THAT(send(), HasSubstr(R"("created":{"k")"));
  const auto octets = std::exchange(transport->octets, 0);
  for (const auto& [limit, most] : {std::pair{Limit::sent_hour, 2 * octets},
                                    {Limit::mail_hour, 2 * octets},
                                    {Limit::mail_day, 2 * octets},
                                    {Limit::messages_hour, std::uint64_t{2}},
                                    {Limit::messages_day, std::uint64_t{2}},
                                    {Limit::recipients_hour, std::uint64_t{6}},
                                    {Limit::recipients_day, std::uint64_t{6}}}) {
    plan(limit, most - 1);
    const auto refused = send();
    EXPECT_THAT(refused, HasSubstr(R"("notCreated":{"k":{"type":"rateLimit")")) << to_string(limit);
    EXPECT_THAT(refused, HasSubstr("\"limit\":\"" + std::string(to_string(limit)) + "\",\"plan\":\"guest\""));
    EXPECT_THAT(refused, HasSubstr(R"("availableAt":"20)"));
    EXPECT_EQ(transport->octets, 0u) << "nothing has been sent";
    EXPECT_EQ(used(Limit::messages_hour), 1u) << "nor counted";
  }
  EXPECT_THAT(call("EmailSubmission/query", R"(,"calculateTotal":true)"), HasSubstr("\"total\":1"));
  plan(Limit::sent_hour, 2 * octets);
  EXPECT_THAT(send(), HasSubstr(R"("created":{"k")"));
  EXPECT_EQ(used(Limit::sent_hour), 2 * octets);
  EXPECT_THAT(send(), HasSubstr("rateLimit"));
  clock.advance(std::chrono::minutes(65));
  EXPECT_THAT(send(), HasSubstr(R"("created":{"k")"));
}

TEST_F(CountedSubmissionTest, WhatNobodyGetsIsNotCounted) {
  transport->kind = smtp::Outcome::Kind::unavailable;
  EXPECT_THAT(send(), HasSubstr("notCreated"));
  EXPECT_EQ(used(Limit::messages_hour), 0u);
  EXPECT_EQ(used(Limit::sent_hour), 0u);
  // What somebody may have got is.
  transport->kind = smtp::Outcome::Kind::unknown;
  EXPECT_THAT(send(), HasSubstr(R"("created":{"k")"));
  EXPECT_EQ(used(Limit::messages_hour), 1u);
}

TEST_F(CountedSubmissionTest, WhatWaitsIsCountedOnceHoweverOftenItIsTried) {
  const auto delayed =
      send(R"(,"envelope":{"mailFrom":{"email":"anna@example.org","parameters":{"HOLDFOR":"60"}},)"
           R"("rcptTo":[{"email":"a@b.c"}]})");
  EXPECT_THAT(delayed, HasSubstr(R"("created":{"k")"));
  EXPECT_EQ(used(Limit::messages_hour), 1u);
  EXPECT_EQ(used(Limit::recipients_hour), 1u);
  clock.advance(std::chrono::seconds(61));
  EXPECT_TRUE(pump_until([this] { return outbox->waiting() == 0; }));
  EXPECT_EQ(used(Limit::messages_hour), 1u);
  EXPECT_EQ(used(Limit::sent_hour), transport->octets);
}

TEST_F(SubmissionTest, IdentityBounds) {
  const auto with = [&](const std::string& members) {
    return call("Identity/set", R"(,"create":{"x":{"email":"anna@example.org",)" + members + "}}");
  };
  const auto addresses = [](std::size_t count) {
    std::string list;
    for (std::size_t i = 0; i < count; ++i) list += (i == 0 ? "" : ",") + std::string(R"({"email":"a@b"})");
    return "[" + list + "]";
  };
  EXPECT_THAT(with(R"("bcc":)" + addresses(identity_addresses_max)), HasSubstr(R"("created":{)"));
  EXPECT_THAT(with(R"("bcc":)" + addresses(identity_addresses_max + 1)), HasSubstr("invalidProperties"));
  const auto named = [](std::size_t octets) {
    return R"("replyTo":[{"email":"a@b","name":")" + std::string(octets, 'x') + R"("}])";
  };
  EXPECT_THAT(with(named(identity_name_bytes_max)), HasSubstr(R"("created":{)"));
  EXPECT_THAT(with(named(identity_name_bytes_max + 1)), HasSubstr("invalidProperties"));
  // All of it together.
  const auto names = [](std::size_t octets) {
    std::string list;
    for (std::size_t i = 0; i < identity_addresses_max; ++i)
      list +=
          (i == 0 ? "" : ",") + std::string(R"({"email":"a@b","name":")") + std::string(octets, 'x') + "\"}";
    return "[" + list + "]";
  };
  const std::string text(identity_text_bytes_max, 'x');
  EXPECT_THAT(with(R"("htmlSignature":")" + text + R"(","textSignature":")" + text + R"(","name":")" + text +
                   R"(","bcc":)" + names(800)),
              HasSubstr("tooLarge"));
  EXPECT_THAT(with(R"("name":")" + std::string(identity_text_bytes_max, 'x') + "\""),
              HasSubstr(R"("created":{)"));
  EXPECT_THAT(with(R"("name":")" + std::string(identity_text_bytes_max + 1, 'x') + "\""),
              HasSubstr("tooLarge"));
  for (const std::string& wrong : std::vector<std::string>{
           R"("name":1)", R"("id":"i1")", R"("mayDelete":true)", R"("replyTo":[{"name":"x"}])",
           R"("replyTo":{"email":"a@b"})", R"("x":1)", R"("bcc":[{"email":"a@b","x":1}])"})
    EXPECT_THAT(with(wrong), HasSubstr("invalidProperties")) << wrong;
}

TEST_F(SubmissionTest, IdentityPatches) {
  EXPECT_THAT(call("Identity/get", R"(,"ids":null)"), HasSubstr(R"("email":"anna@example.org")"));
  const auto patch = [&](const std::string& members) {
    return call("Identity/set", R"(,"update":{"i1":{)" + members + "}}");
  };
  EXPECT_THAT(patch(R"("name":"x","email":"anna@example.org","mayDelete":false)"),
              HasSubstr(R"("updated":{"i1":null})"));
  EXPECT_THAT(patch(R"("email":"b@example.org")"), HasSubstr("invalidProperties"));
  EXPECT_THAT(patch(R"("bcc/0/email":"b@example.org")"), HasSubstr("invalidPatch"));
  EXPECT_THAT(call("Identity/get", R"(,"ids":["i1","i2","x"],"properties":["name"])"),
              HasSubstr(R"("list":[{"id":"i1","name":"x"}],"notFound":["i2","x"])"));
  EXPECT_THAT(call("Identity/set", R"(,"ifInState":"x")"), HasSubstr("stateMismatch"));
  EXPECT_THAT(call("Identity/set", R"(,"destroy":["i1","i2"])"), HasSubstr("forbidden"));
  EXPECT_THAT(call("Identity/changes", R"(,"sinceState":"x")"), HasSubstr("cannotCalculateChanges"));
  EXPECT_THAT(call("Identity/changes", R"(,"sinceState":"x","maxChanges":0)"), HasSubstr("invalidArguments"));
}

TEST_F(SubmissionTest, QueriesAndTheirArguments) {
  std::vector<std::string> ids;
  for (int i = 0; i < 3; ++i) {
    auto one = submission(now() + 100 - i);
    one.email_id = "e" + std::to_string(i % 2);
    const auto id = await(records->add_submission(anna, one)).value();
    ASSERT_TRUE(await(records->tell(id)));
    ids.push_back("\"s" + std::to_string(id) + "\"");
  }
  const auto query = [&](const std::string& arguments) { return call("EmailSubmission/query", arguments); };
  const auto list = [&](std::initializer_list<std::size_t> of) {
    std::string text = "\"ids\":[";
    for (const auto i : of) text += (text.ends_with('[') ? "" : ",") + ids[i];
    return text + "]";
  };
  EXPECT_THAT(query(""), HasSubstr(list({0, 1, 2})));
  EXPECT_THAT(query(R"(,"sort":[{"property":"sentAt"}])"), HasSubstr(list({2, 1, 0})));
  EXPECT_THAT(query(R"(,"sort":[{"property":"emailId","isAscending":false}])"), HasSubstr(list({1, 0, 2})));
  EXPECT_THAT(query(R"(,"filter":{"emailIds":["e0"]})"), HasSubstr(list({0, 2})));
  EXPECT_THAT(query(R"(,"filter":{"operator":"NOT","conditions":[{"emailIds":["e0"]}]})"),
              HasSubstr(list({1})));
  EXPECT_THAT(
      query(R"(,"filter":{"operator":"OR","conditions":[{"identityIds":["i9"]},{"undoStatus":"pending"}]})"),
      HasSubstr(list({0, 1, 2})));
  EXPECT_THAT(query(R"(,"filter":{"before":")" + utc_date(now() + 99) + R"("})"), HasSubstr(list({2})));
  EXPECT_THAT(query(R"(,"filter":{"after":")" + utc_date(now() + 99) + R"(","threadIds":["t1"]})"),
              HasSubstr(list({0, 1})));
  EXPECT_THAT(query(R"(,"position":-2,"limit":1,"calculateTotal":true)"),
              HasSubstr(list({1}) + ",\"total\":3"));
  EXPECT_THAT(query(R"(,"anchorOffset":-1,"anchor":)" + ids[2]), HasSubstr(list({1, 2})));
  EXPECT_THAT(query(R"(,"anchor":"s999")"), HasSubstr("anchorNotFound"));
  const std::pair<const char*, const char*> wrong[] = {
      {R"(,"filter":{"x":1})", "unsupportedFilter"},
      {R"(,"filter":[])", "invalidArguments"},
      {R"(,"filter":{"before":"x"})", "invalidArguments"},
      {R"(,"filter":{"emailIds":"x"})", "invalidArguments"},
      {R"(,"filter":{"operator":"XOR","conditions":[]})", "invalidArguments"},
      {R"(,"sort":[{"property":"x"}])", "unsupportedSort"},
      {R"(,"sort":[{}])", "invalidArguments"},
      {R"(,"limit":-1)", "invalidArguments"},
      {R"(,"x":1)", "invalidArguments"}};
  for (const auto& [arguments, error] : wrong) EXPECT_THAT(query(arguments), HasSubstr(error)) << arguments;
  EXPECT_THAT(call("EmailSubmission/queryChanges", R"(,"sinceQueryState":"x")"),
              HasSubstr("cannotCalculateChanges"));
}

TEST_F(SubmissionTest, WithoutAServerThereAreNoSuchMethods) {
  CallContext context{mailstore, "A1", limits, {}, "s1"};
  EXPECT_THAT(
      await(
          handle_api_request(
              R"({"using":["urn:ietf:params:jmap:core"],"methodCalls":[["Identity/get",{"accountId":"A1"},"c"]]})",
              std::move(context)))
          .body,
      HasSubstr("unknownMethod"));
}

}  // namespace
}  // namespace postern::jmap
