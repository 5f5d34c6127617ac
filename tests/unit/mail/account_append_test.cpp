// Filing messages on servers of several kinds: what is asked of them, and what is said when it goes wrong.
#include "postern/blobs/upload_store.hpp"
#include "unit/mail/account_fixture.hpp"

namespace postern::mail {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

// A message in memory, in pieces; it may fail on the way.
class TextReader final : public BlobReader {
 public:
  explicit TextReader(std::string text, std::size_t fails_at = std::string::npos)
      : text_(std::move(text)), fails_at_(fails_at) {}
  std::optional<std::uint64_t> size() const override { return text_.size(); }
  void skip(std::uint64_t octets) override { at_ = octets; }
  bool is_local() const override { return true; }
  io::Task<Result<std::string>> next() override {
    if (at_ >= fails_at_) co_return fail(Errc::not_found, "the blob has changed");
    auto piece = text_.substr(at_, 20'000);
    at_ += piece.size();
    co_return piece;
  }

 private:
  std::string text_;
  std::size_t fails_at_, at_ = 0;
};

struct AccountAppendTest : AccountFixture {
  const std::string header =
      "From: alice@example.org\r\nSubject: new\r\nMessage-ID: <new@example.org>\r\n\r\n";
  MailboxKey drafts = 0, inbox = 0;
  int effects = 0;

  void open(std::string_view kind = "full", std::initializer_list<std::string_view> without = {}) {
    options.capabilities = testimapd::capabilities_of(kind);
    for (const auto name : without)
      std::erase_if(options.capabilities, [&](const std::string& c) { return c == name; });
    start();
    drafts = mailbox("Drafts");
    inbox = mailbox("INBOX");
    commands();
  }
  EmailAppend message(std::size_t body_octets = 10, std::vector<std::string> keywords = {"$draft", "$seen"}) {
    EmailAppend email;
    email.mailboxes = {drafts};
    email.keywords = std::move(keywords);
    email.header = header;
    const auto text = header + std::string(body_octets, 'x');
    email.size = text.size();
    email.content = std::make_unique<TextReader>(text);
    return email;
  }
  AppendedEmail append(EmailAppend email) {
    auto done = await(account->append(std::move(email), [this]() -> io::Task<bool> {
      ++effects;
      co_return true;
    }));
    EXPECT_TRUE(done) << (done ? "" : done.error().to_string());
    return done ? std::move(*done) : AppendedEmail{};
  }
  std::vector<std::string> appends() {
    std::vector<std::string> lines;
    for (const auto& entry : imapd->log())
      if (entry.name == "APPEND") lines.push_back(entry.line);
    return lines;
  }
};

TEST_F(AccountAppendTest, OneCommandFilesAMessage) {
  open("dovecot");
  const auto before = account->state(StateType::email);
  const auto made = append(message());
  ASSERT_TRUE(made.outcome.done) << made.outcome.description;
  EXPECT_THAT(commands(), ElementsAre(Pair("APPEND", 1)));
  EXPECT_EQ(effects, 1);
  EXPECT_NE(account->state(StateType::email), before);
  EXPECT_EQ(subject(made.id), "Subject: new\r\n\r\n");
  const auto items = fetch({made.id});
  EXPECT_THAT(*items[0].keywords, ElementsAre("$seen", "$draft"));
  EXPECT_EQ(page(drafts).ids, std::vector{made.id});
}

TEST_F(AccountAppendTest, ALargeOneIsSentInPieces) {
  for (const auto* kind : {"dovecot", "courier"}) {
    SCOPED_TRACE(kind);
    open(kind);
    const auto made = append(message(3'000'000));
    ASSERT_TRUE(made.outcome.done) << made.outcome.description;
    EXPECT_THAT(appends(), ElementsAre(HasSubstr("{" + std::to_string(header.size() + 3'000'000) + "}")))
        << "waits for leave";
    account.reset();
    segment.reset();
    imapd.reset();
  }
}

TEST_F(AccountAppendTest, AViewThatHearsItsMailboxIsInStep) {
  open("dovecot");
  page(drafts);
  idle();
  commands();
  const auto made = append(message());
  ASSERT_TRUE(made.outcome.done);
  EXPECT_THAT(commands(), ElementsAre(Pair("APPEND", 1), Pair("UID FETCH", 1)));
  const auto state = account->state(StateType::email);
  EXPECT_EQ(page(drafts).ids, std::vector{made.id});
  EXPECT_EQ(account->state(StateType::email), state) << "what comes later is no news";
}

TEST_F(AccountAppendTest, WhatWasFiledIsCountedByOneStatus) {
  open("dovecot");
  mailbox("Drafts");
  commands();
  ASSERT_TRUE(append(message()).outcome.done);
  ASSERT_TRUE(append(message(10, {"$seen"})).outcome.done);
  ASSERT_TRUE(append(message(10, {"$draft"})).outcome.done);
  const auto all = await(account->mailboxes());
  ASSERT_TRUE(all);
  for (const auto& data : all->data) {
    if (data.mailbox.key != drafts) continue;
    EXPECT_EQ(data.total_emails, 3u);
    EXPECT_EQ(data.unread_emails, 1u);
  }
  EXPECT_THAT(commands(), ElementsAre(Pair("APPEND", 3), Pair("STATUS", 1)));
}

TEST_F(AccountAppendTest, WithoutUidplusItIsSearchedFor) {
  open("full", {"UIDPLUS"});
  const auto made = append(message());
  ASSERT_TRUE(made.outcome.done) << made.outcome.description;
  EXPECT_EQ(subject(made.id), "Subject: new\r\n\r\n");
  // The same message once more is another Email.
  const auto again = append(message());
  ASSERT_TRUE(again.outcome.done) << again.outcome.description;
  EXPECT_NE(again.id, made.id);
  EXPECT_THAT(appends().size(), 2u);
}

TEST_F(AccountAppendTest, SomebodyElsesMessageIsNotTakenForIt) {
  open("full", {"UIDPLUS"});
  imapd->control("on APPEND do run_after deliver alice Drafts 1");
  imapd->deliver("alice", "Drafts", header + "older", "", 0);
  const auto made = append(message());
  ASSERT_TRUE(made.outcome.done) << made.outcome.description;
  EXPECT_EQ(subject(made.id), "Subject: new\r\n\r\n");
  imapd->control("on APPEND do reply OK not told, and not there");
  const auto nowhere = append(message());
  EXPECT_EQ(nowhere.outcome.error_type, "serverFail");
  EXPECT_EQ(imapd->counts().command("APPEND"), 2u);
}

TEST_F(AccountAppendTest, RefusalsAreTold) {
  open("dovecot");
  const std::pair<const char*, const char*> refusals[] = {
      {"NO [OVERQUOTA] Quota exceeded", "overQuota"}, {"NO You exceeded your mail quota.", "overQuota"},
      {"NO [TOOBIG] too large", "tooLarge"},          {"NO [TRYCREATE] none such", "invalidProperties"},
      {"NO [NOPERM] not yours", "forbidden"},         {"BAD what?", "forbidden"},
  };
  for (const auto& [reply, type] : refusals) {
    imapd->control(std::string("on APPEND do reply ") + reply);
    EXPECT_EQ(append(message()).outcome.error_type, type) << reply;
  }
  EXPECT_TRUE(append(message()).outcome.done) << "the connection has gone on";
}

TEST_F(AccountAppendTest, WhatIsWrongBeforehandCostsNothing) {
  open("dovecot");
  auto email = message();
  email.mailboxes = {drafts, 4711};
  EXPECT_EQ(append(std::move(email)).outcome.error_type, "invalidProperties");
  email = message();
  email.mailboxes = {4711};
  EXPECT_EQ(append(std::move(email)).outcome.error_type, "invalidProperties");
  EXPECT_EQ(effects, 0);
  EXPECT_THAT(appends(), IsEmpty());
}

TEST_F(AccountAppendTest, AKeywordThatIsNotKeptIsNoSilence) {
  options.permanent_flags = {"\\Seen", "\\Draft"};
  open("dovecot");
  const auto refused = append(message(10, {"$draft", "project"}));
  EXPECT_EQ(refused.outcome.error_type, "invalidProperties");
  EXPECT_THAT(refused.outcome.properties, ElementsAre("keywords"));
  EXPECT_THAT(appends(), IsEmpty());
}

TEST_F(AccountAppendTest, ABreakBehindTheMessageIsLookedInto) {
  open("dovecot");
  imapd->control("on APPEND do drop_at 0");  // filed, and not told
  const auto made = append(message());
  ASSERT_TRUE(made.outcome.done) << made.outcome.description;
  EXPECT_EQ(subject(made.id), "Subject: new\r\n\r\n");
  imapd->control("on APPEND do drop");  // not filed
  const auto lost = append(message());
  EXPECT_EQ(lost.outcome.error_type, "serverFail");
  EXPECT_THAT(lost.outcome.description, HasSubstr("unknown"));
  EXPECT_EQ(page(drafts).ids.size(), 1u) << "never sent twice";
}

// Wherever it breaks off, and it can't have been filed: there was more to come.
TEST_F(AccountAppendTest, ABreakWithinTheMessageIsNoMessage) {
  for (const auto* kind : {"dovecot", "courier"}) {
    for (const std::size_t octets : {1, 100'000, 1'000'000}) {
      SCOPED_TRACE(kind + std::string(" at ") + std::to_string(octets));
      account.reset();
      segment.reset();
      imapd.reset();
      open(kind);
      imapd->control("drop_literal " + std::to_string(octets));
      const auto lost = append(message(3'000'000));
      // Unknown, where the system has taken all of it before it tells of the end.
      EXPECT_THAT(lost.outcome.error_type, AnyOf("serverUnavailable", "serverFail"));
      clock.advance(5s);  // before it connects again
      EXPECT_THAT(page(drafts).ids, IsEmpty());
      ASSERT_TRUE(append(message(3'000'000)).outcome.done);
      EXPECT_EQ(page(drafts).ids.size(), 1u);
      EXPECT_EQ(appends().size(), 1u) << "never sent twice";
    }
  }
}

TEST_F(AccountAppendTest, AfterABreakNobodyElsesMessageIsTakenForIt) {
  open("dovecot");
  // Without a Message-ID nothing tells it from what has come meanwhile.
  auto email = message();
  email.header = "Subject: scan\r\n\r\n";
  const auto text = email.header + std::string(10, 'x');
  email.size = text.size();
  email.content = std::make_unique<TextReader>(text);
  imapd->control("on APPEND do run deliver alice Drafts 1");
  imapd->control("on APPEND do drop");
  auto lost = append(std::move(email));
  EXPECT_EQ(lost.outcome.error_type, "serverFail");
  EXPECT_THAT(lost.outcome.description, HasSubstr("unknown"));
  EXPECT_THAT(appends().size(), 1u);
}

TEST_F(AccountAppendTest, WithoutAMessageIdItsSizeTellsIt) {
  open("full", {"UIDPLUS"});
  imapd->control("on APPEND do run_after deliver alice Drafts 1");
  auto email = message();
  email.header = "Subject: new\r\n\r\n";
  const auto text = email.header + std::string(10, 'x');
  email.size = text.size();
  email.content = std::make_unique<TextReader>(text);
  const auto made = append(std::move(email));
  ASSERT_TRUE(made.outcome.done) << made.outcome.description;
  EXPECT_EQ(subject(made.id), "Subject: new\r\n\r\n");
}

TEST_F(AccountAppendTest, AMessageThatCantBeReadToItsEndIsNotFiled) {
  open("dovecot");
  auto email = message(1'000'000);
  email.content = std::make_unique<TextReader>(header + std::string(1'000'000, 'x'), 500'000);
  EXPECT_FALSE(append(std::move(email)).outcome.done);
  EXPECT_THAT(page(drafts).ids, IsEmpty());
  EXPECT_TRUE(append(message()).outcome.done) << "on a connection of its own";
}

TEST_F(AccountAppendTest, BlobsThatArePutAside) {
  Result<> problem;
  auto uploads = blobs::UploadStore::open({directory + "/uploads", {}, false}, clock, random, problem);
  ASSERT_TRUE(problem);
  open("dovecot");
  EXPECT_FALSE(account->new_blob(BlobUse::upload)) << "there are none";
  account = std::make_shared<Account>(AccountContext{.loop = loop,
                                                     .server = *server,
                                                     .segment = *segment,
                                                     .fragments = fragments,
                                                     .options = {},
                                                     .uploads = uploads.get()},
                                      42, session::Credentials{}, "");
  auto writer = account->new_blob(BlobUse::upload);
  ASSERT_TRUE(writer);
  ASSERT_TRUE((*writer)->write("head aGVsbG8= tail"));
  const auto key = (*writer)->keep();
  ASSERT_TRUE(key);
  auto text = [&](const BlobKey& blob, std::uint64_t skip = 0) {
    auto reader = await(account->open_blob(blob));
    if (!reader) return std::string("none");
    (*reader)->skip(skip);
    return await((*reader)->next()).value_or("failed");
  };
  EXPECT_EQ(text(*key), "head aGVsbG8= tail");
  EXPECT_EQ(text(*key, 14), "tail");
  const auto slice = slice_of(*key, {TransferEncoding::base64, 5, 8});
  EXPECT_EQ(text(*slice), "hello");
  EXPECT_EQ(text(*slice, 3), "lo");
  EXPECT_EQ(text(*slice_of(*key, {TransferEncoding::identity, 5, 3})), "aGV");
  EXPECT_EQ(text(*slice_of(*key, {TransferEncoding::identity, 5, 3}), 1), "GV");
  EXPECT_EQ(text(*slice_of(*key, {TransferEncoding::identity, 5, 100})), "none") << "beyond its end";
  auto other = *key;
  other.upload->back() ^= 1;
  EXPECT_EQ(text(other), "none");
  auto scratch = account->new_blob(BlobUse::scratch);
  ASSERT_TRUE(scratch && (*scratch)->write("aside"));
  EXPECT_FALSE((*scratch)->keep());
  auto aside = (*scratch)->read();
  scratch->reset();
  EXPECT_EQ(await((*aside)->next()), "aside");
  account.reset();
}

}  // namespace
}  // namespace postern::mail
