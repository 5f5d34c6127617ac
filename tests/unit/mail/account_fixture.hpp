// An account against the test IMAP server, on a loop whose clock the test moves.
#pragma once

#include <unistd.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "imapd/test_imapd.hpp"
#include "postern/mail/account.hpp"
#include "support/loop_fixture.hpp"

namespace postern::mail {

using namespace std::chrono_literals;

struct AccountFixture : test::LoopFixture {
  testimapd::Options options;
  session::ServerOptions server_options;
  MailOptions mail_options;
  std::string directory;
  std::unique_ptr<testimapd::TestImapd> imapd;
  std::unique_ptr<session::Server> server;
  std::unique_ptr<store::SegmentWriter> segment;
  FragmentCache fragments{64u << 20};
  std::shared_ptr<Account> account;

  AccountFixture() {
    server_options.tls = session::TlsMode::none;
    server_options.backoff_wait_max = 0s;  // nobody moves the clock while a request waits
    char name[] = "/tmp/postern-mail-XXXXXX";
    directory = ::mkdtemp(name);
  }
  ~AccountFixture() override {
    account.reset();
    if (segment) segment.reset();
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
  }

  void start() {
    imapd = std::make_unique<testimapd::TestImapd>(options);
    imapd->start();
    server_options.endpoint = {"127.0.0.1", imapd->port()};
    auto made = session::Server::make(loop, server_options);
    ASSERT_TRUE(made) << made.error().to_string();
    server = std::move(*made);
    open_segment();
    open_account();
  }
  void open_segment() {
    store::RecoveryReport report;
    store::SegmentOptions segment_options;
    segment_options.path = directory + "/segment";
    segment_options.sessions_max = segment_options.accounts_max = segment_options.redirects_max = 1'024;
    auto opened = store::SegmentWriter::open(segment_options, clock, report);
    ASSERT_TRUE(opened) << opened.error().to_string();
    segment = std::move(*opened);
  }
  void open_account() {
    session::Credentials credentials;
    credentials.login = "alice";
    credentials.secret = Secret("secret");
    account = std::make_shared<Account>(AccountContext{loop, *server, *segment, fragments, mail_options}, 42,
                                        std::move(credentials), "");
  }

  // What the server was asked since the last call, without IDLE and how the connection came about.
  std::map<std::string, std::uint64_t> commands() {
    std::map<std::string, std::uint64_t> all = imapd->counts().commands;
    imapd->reset_counts();
    for (const char* name : {"IDLE", "DONE", "CAPABILITY", "ENABLE", "ID", "NAMESPACE"}) all.erase(name);
    return all;
  }

  MailboxKey mailbox(const std::string& path) {
    auto all = await(account->mailboxes());
    EXPECT_TRUE(all) << (all ? "" : all.error().to_string());
    for (const auto& data : all->data)
      if (data.mailbox.path == path) return data.mailbox.key;
    ADD_FAILURE() << "no mailbox " << path;
    return 0;
  }
  EmailQueryResult page(MailboxKey key, std::uint64_t position = 0, std::uint64_t limit = 10,
                        Sort sort = {}) {
    EmailQuery query;
    query.filter.kind = Filter::Kind::in_mailbox;
    query.filter.mailboxes = {key};
    query.sort = std::move(sort);
    query.position = static_cast<std::int64_t>(position);
    query.limit = limit;
    auto result = await(account->query(std::move(query)));
    EXPECT_TRUE(result) << (result ? "" : result.error().to_string());
    return result ? *result : EmailQueryResult{};
  }
  static FetchPlan field_plan(const std::string& field, const std::string& signature = {}) {
    FetchPlan plan;
    plan.signature = signature + field;
    plan.header_fields = {field};
    plan.render = [](const MessageSource& source) { return Fragment{source.header.value_or("?"), {}, {}}; };
    return plan;
  }
  // Fragments are the subject's header field, so that a test can tell one message from another.
  std::vector<EmailItem> fetch(std::vector<EmailKey> ids) {
    FetchPlan plan;
    auto items = await(account->fetch(std::move(ids), field_plan("SUBJECT")));
    EXPECT_TRUE(items) << (items ? "" : items.error().to_string());
    return items ? std::move(items->data) : std::vector<EmailItem>{};
  }
  std::string subject(const EmailKey& id) {
    auto items = fetch({id});
    return items.size() == 1 && items[0].found ? items[0].fragment->bytes : "not found";
  }
  SetOutcome update(EmailUpdate change) {
    auto outcomes = await(account->update({std::move(change)}, {}));
    EXPECT_TRUE(outcomes);
    return outcomes ? outcomes->front() : SetOutcome{};
  }
  // Lets what runs behind (the index being filled) come to its end, until the connection idles.
  void idle() {
    const auto before = imapd->counts().command("IDLE");
    EXPECT_TRUE(pump_until([&] {
      clock.advance(250ms);
      return imapd->counts().command("IDLE") > before;
    }));
  }
};

}  // namespace postern::mail
