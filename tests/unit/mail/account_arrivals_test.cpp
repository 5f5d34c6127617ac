// New mail in a mailbox whose list has been shown: the FETCH that tells of it brings what the list shows.
#include <algorithm>

#include "unit/mail/account_fixture.hpp"

namespace postern::mail {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

struct AccountArrivalsTest : AccountFixture {
  MailboxKey inbox = 0;
  void open() {
    start();
    inbox = mailbox("INBOX");
    fetch(page(inbox).ids);
    idle();
    commands();
  }
  void deliver(const std::string& subject) {
    ASSERT_NE(imapd->deliver("alice", "INBOX",
                             "Subject: " + subject + "\r\nMessage-ID: <" + subject +
                                 "@example.org>\r\nTo: bob@example.org\r\n\r\nhello\r\n"),
              0u);
  }
  static bool shows(const std::vector<EmailItem>& items, const std::string& text) {
    return std::ranges::any_of(items, [&](const EmailItem& item) {
      return item.found && item.fragment->bytes.find(text) != std::string::npos;
    });
  }
  // Its newest messages, once there are so many.
  std::vector<EmailKey> newest(std::uint64_t total, std::uint64_t limit = 10) {
    EmailQueryResult shown;
    EXPECT_TRUE(pump_until([&] {
      shown = page(inbox, 0, limit);
      return shown.total == total;
    }));
    return shown.ids;
  }
};

TEST_F(AccountArrivalsTest, OneFetchBringsAllThatTheListShows) {
  open();
  for (unsigned n = 1; n <= 3; ++n) {
    deliver("new" + std::to_string(n));
    const auto items = fetch(newest(20 + n));
    EXPECT_TRUE(shows(items, "Subject: new" + std::to_string(n)));
    idle();
    EXPECT_THAT(commands(), ElementsAre(Pair("UID FETCH", 1)));
  }
  fetch(newest(23));
  EXPECT_TRUE(commands().empty());
}

TEST_F(AccountArrivalsTest, SeveralAtATime) {
  open();
  for (const auto* subject : {"one", "two", "three"}) deliver(subject);
  const auto items = fetch(newest(23));
  for (const auto& item : items) EXPECT_TRUE(item.found);
  EXPECT_LE(commands()["UID FETCH"], 3u);  // as they are heard of
}

TEST_F(AccountArrivalsTest, ThreadsComeWithThem) {
  options.capabilities = testimapd::capabilities_of("full");
  std::erase(options.capabilities, "OBJECTID");
  start();
  inbox = mailbox("INBOX");
  const auto list = [this](std::vector<EmailKey> ids) {
    auto plan = field_plan("SUBJECT", "threads");
    plan.thread = plan.body_structure = plan.preview = true;
    plan.render = [](const MessageSource& source) {
      return Fragment{std::to_string(source.thread) + source.preview.value_or("none"), {}, {}};
    };
    return await(account->fetch(std::move(ids), std::move(plan))).value().data;
  };
  list(page(inbox).ids);
  idle();
  commands();
  deliver("first");
  const auto first = list(newest(21));
  EXPECT_THAT(first[0].fragment->bytes, HasSubstr("hello"));
  EXPECT_FALSE(first[0].fragment->bytes.starts_with('0')) << "its thread isn't known";
  EXPECT_THAT(commands(), ElementsAre(Pair("UID FETCH", 1)));
}

TEST_F(AccountArrivalsTest, OtherFieldsAreFetched) {
  open();
  deliver("new");
  const auto ids = newest(21);
  const auto items = await(account->fetch(ids, field_plan("TO")));
  ASSERT_TRUE(items);
  EXPECT_TRUE(shows(items->data, "bob@example.org"));
  fetch(ids);
  idle();
  EXPECT_THAT(commands(), ElementsAre(Pair("UID FETCH", 2)));
  // From now on both come.
  deliver("newer");
  const auto more = newest(22);
  ASSERT_TRUE(await(account->fetch(more, field_plan("TO"))));
  EXPECT_TRUE(shows(fetch(more), "Subject: newer"));
  EXPECT_THAT(commands(), ElementsAre(Pair("UID FETCH", 1)));
}

TEST_F(AccountArrivalsTest, AServerThatCantBringItIsAskedForLess) {
  open();
  for (const std::string rule : {"reply NO internal error", "reply BAD what?", "drop"}) {
    SCOPED_TRACE(rule);
    imapd->control("on UID FETCH do " + rule);
    const auto total = page(inbox).total + 1;
    deliver("new" + std::to_string(total));
    EXPECT_TRUE(shows(fetch(newest(total)), "Subject: new" + std::to_string(total)));
    idle();
  }
}

TEST_F(AccountArrivalsTest, OfMoreThanAPageOnlyTheIndexIsFetched) {
  open();
  imapd->control("deliver alice INBOX 51");
  EmailQueryResult shown;
  ASSERT_TRUE(pump_until([&] {
    shown = page(inbox);
    return shown.total == 71;
  }));
  bool plain = false;
  for (const auto& entry : imapd->log())
    plain =
        plain || entry.line.find("UID FETCH 21:* (UID FLAGS INTERNALDATE RFC822.SIZE)") != std::string::npos;
  EXPECT_TRUE(plain);
  for (const auto& item : fetch(shown.ids)) EXPECT_TRUE(item.found);
}

TEST_F(AccountArrivalsTest, WhereNoListWasShownOnlyTheIndexIsFetched) {
  start();
  inbox = mailbox("INBOX");
  subject(page(inbox).ids[0]);  // opened
  idle();
  deliver("new");
  newest(21);
  EXPECT_THAT(imapd->log().back().line, ::testing::Not(HasSubstr("SUBJECT")));
}

}  // namespace
}  // namespace postern::mail
