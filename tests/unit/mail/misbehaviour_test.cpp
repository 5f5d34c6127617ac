// Servers that misbehave: what is answered is right or an error, what is on the server stays there, and once the server
// behaves again all is as if nothing had been.
#include "postern/base/encoding.hpp"
#include "unit/mail/account_fixture.hpp"

namespace postern::mail {
namespace {

using ::testing::AnyOf;
using ::testing::Eq;
using ::testing::HasSubstr;

struct MisbehaviourTest : AccountFixture {
  MailboxKey inbox = 0, archive = 0;

  void open() {
    options.mailboxes = {{"INBOX", "", 20}, {"Archive", "\\Archive", 5}};
    start();
    inbox = mailbox("INBOX");
    archive = mailbox("Archive");
  }
  // An account that knows nothing yet.
  void begin_anew() {
    account.reset();
    open_account();
    pump_until([] { return true; });
  }
  static FetchPlan plan() {
    FetchPlan plan;
    plan.signature = "all";
    plan.header_fields = {"SUBJECT", "FROM"};
    plan.body_structure = plan.preview = plan.thread = true;
    plan.more = [](const MessageSource& source) {
      const auto* part = source.body_structure.get();
      std::string section = "1";
      for (; part != nullptr && part->is_multipart() && !part->parts.empty(); part = &part->parts.front())
        section += part->parts.front().is_multipart() ? ".1" : "";
      return std::vector<WantedSection>{{section, 500}};
    };
    plan.render = [](const MessageSource& source) {
      std::string all = std::to_string(stable_hash64(source.header.value_or("none"))) + " " +
                        std::to_string(source.size) + " ";
      if (source.body_structure) all += source.body_structure->type + "/" + source.body_structure->subtype;
      for (const auto& [section, octets] : source.sections)
        all += " " + section + ":" + std::to_string(stable_hash64(octets));
      return Fragment{all, {}, {}};
    };
    return plan;
  }
  // What a person sees of a mailbox; an error's text otherwise.
  std::string seen(MailboxKey key, Sort sort = {}) {
    EmailQuery query;
    query.filter.kind = Filter::Kind::in_mailbox;
    query.filter.mailboxes = {key};
    query.sort = std::move(sort);
    query.limit = 50;
    auto found = await(account->query(std::move(query)));
    if (!found) return "query: " + found.error().code.message();
    auto items = await(account->fetch(found->ids, plan()));
    if (!items) return "fetch: " + items.error().code.message();
    std::string all;
    for (const auto& item : items->data) {
      if (!item.found) continue;
      all += item.fragment->bytes;
      for (const auto& keyword : *item.keywords) all += " " + keyword;
      all += "\n";
    }
    return all;
  }
  std::string everything() {
    SortKey by_subject;
    by_subject.property = SortKey::Property::subject;
    return seen(inbox) + "--\n" + seen(archive) + "--\n" + seen(inbox, Sort{{by_subject}});
  }
  std::uint64_t on_server(const std::string& name) {
    const auto told = imapd->control("mailbox alice " + name);
    return std::stoull(told.substr(told.find(':') + 1));
  }
  // It is settled when the backoff is over and a page is answered.
  bool recovers(const std::string& expected) {
    imapd->control("clear_rules");
    return pump_until([&] {
      clock.advance(5s);
      return everything() == expected;
    });
  }
};

TEST_F(MisbehaviourTest, OddFormsMeanTheSame) {
  open();
  const auto expected = everything();
  EXPECT_THAT(expected, HasSubstr("text/plain"));
  const std::vector<std::pair<const char*, bool testimapd::Quirks::*>> quirks{
      {"nil_strings", &testimapd::Quirks::nil_strings},
      {"eight_bit_quoted", &testimapd::Quirks::eight_bit_quoted},
      {"extra_spaces", &testimapd::Quirks::extra_spaces},
      {"no_text", &testimapd::Quirks::no_text},
      {"lower_case", &testimapd::Quirks::lower_case},
      {"capability_untagged", &testimapd::Quirks::capability_untagged},
      {"list_unknown_flags", &testimapd::Quirks::list_unknown_flags},
      {"literal8", &testimapd::Quirks::literal8},
      {"fetch_flags_always", &testimapd::Quirks::fetch_flags_always},
      {"status_no_selected", &testimapd::Quirks::status_no_selected}};
  for (const auto& [name, quirk] : quirks) {
    SCOPED_TRACE(name);
    account.reset();
    server.reset();
    segment.reset();
    imapd.reset();
    options.quirks = {};
    options.quirks.*quirk = true;
    open();
    EXPECT_EQ(everything(), expected);
  }
}

TEST_F(MisbehaviourTest, AConnectionThatBreaksAtAnyOctetOfAReadIsOvercome) {
  open();
  const auto expected = everything();
  for (const std::string command : {"LIST", "SELECT", "UID SORT", "UID SEARCH", "UID FETCH"}) {
    for (int octets : {0, 1, 7, 19, 50, 111, 240, 701, 1'500, 4'000, 9'999}) {
      SCOPED_TRACE(command + " at " + std::to_string(octets));
      begin_anew();
      imapd->control("on " + command + " do drop_at " + std::to_string(octets));
      // The account waits before it connects again, and nobody moves the clock while a request does.
      EXPECT_THAT(everything(), AnyOf(Eq(expected), HasSubstr("can't be reached")));
      EXPECT_TRUE(recovers(expected)) << everything();
    }
  }
}

TEST_F(MisbehaviourTest, WhatNobodyAskedForChangesNothing) {
  open();
  const auto expected = everything();
  for (const std::string line :
       {"1 FETCH (FLAGS (\\Seen))", "99 FETCH (UID 4 FLAGS (\\Seen))", "3 FETCH (UID 77 BODY[] \"other\")",
        "0 EXISTS", "5 EXISTS", "999 EXISTS", "0 EXPUNGE", "999 EXPUNGE", "VANISHED 4000:5000",
        "OK [UIDNEXT 1] x", "OK [HIGHESTMODSEQ 1] going back", "SEARCH 1 2 3", "SORT 3 2 1",
        "LIST () \"/\" Nothing", "STATUS INBOX (MESSAGES 3 UIDNEXT 2 UNSEEN 1)",
        "X-UNKNOWN (a \"b\" {3}\r\nabc)", "NO careful", "FLAGS (\\Odd)", "CAPABILITY IMAP4rev1"}) {
    for (const std::string command : {"UID FETCH", "UID SORT"}) {
      SCOPED_TRACE(command + ": " + line);
      begin_anew();
      everything();
      // A message that comes makes something be asked for, in the midst of which it is told.
      imapd->control("on " + command + " do before " + line);
      SortKey by_size;
      by_size.property = SortKey::Property::from;
      (void)seen(inbox, Sort{{by_size}});
      EXPECT_TRUE(recovers(expected)) << everything();
    }
  }
  EXPECT_EQ(on_server("INBOX"), 20u);
}

TEST_F(MisbehaviourTest, AModseqThatGoesBackIsNotBelieved) {
  open();
  page(inbox);
  idle();
  imapd->control("flag alice INBOX 3 +\\Flagged");
  imapd->control("highestmodseq alice INBOX 1");
  // Another mailbox takes the connections, so that INBOX is selected anew.
  page(archive);
  imapd->control("drop alice");
  auto flagged = [&] {
    for (const auto& item : fetch(page(inbox, 0, 20).ids))
      if (item.id.uid == 3 && item.found)
        return std::find(item.keywords->begin(), item.keywords->end(), "$flagged") != item.keywords->end();
    return false;
  };
  EXPECT_TRUE(pump_until([&] {
    clock.advance(1s);
    return flagged();
  }));
}

// RFC 8620, 5.3: an update is made as a whole or not at all, and what can't be known is never told as not done.
TEST_F(MisbehaviourTest, AnUpdateThatIsRefusedHalfWayIsTakenBack) {
  open();
  const EmailUpdate wanted{
      {inbox, options.uidvalidity, 1}, {}, {{"$flagged", true}, {"$seen", false}}, {}, {}};
  ASSERT_TRUE(update(EmailUpdate{wanted.id, {}, {{"$flagged", false}, {"$seen", true}}, {}, {}}).done);
  const auto before = *fetch({wanted.id})[0].keywords;
  imapd->control("on UID STORE nth=2 do reply NO not now");
  EXPECT_EQ(update(wanted).error_type, "forbidden");
  EXPECT_EQ(*fetch({wanted.id})[0].keywords, before);
  // Where that is refused, too, it is not told as undone.
  imapd->control("on UID STORE nth=2 times=2 do reply NO not now");
  EXPECT_EQ(update(wanted).error_type, "serverFail");
  ASSERT_TRUE(update(EmailUpdate{wanted.id, before, {}, {}, {}}).done);
  // Behind a command whose outcome is unknown nothing can be sent: it stays unknown.
  imapd->control("on UID STORE do drop_at 0");
  EXPECT_EQ(update(wanted).error_type, "serverFail");
}

// Only on the message that they were taken off: once it has gone, its number may be another one's.
TEST_F(MisbehaviourTest, FlagsArePutBackWhereTheirMessageStillIs) {
  open();
  const EmailKey id{inbox, options.uidvalidity, 1};
  imapd->control("on UID MOVE do before * 1 EXPUNGE");
  imapd->control("on UID MOVE do reply NO not now");
  const EmailUpdate wanted{id, {}, {{"$flagged", true}}, std::vector{mailbox("Archive")}, {}};
  EXPECT_EQ(update(wanted).error_type, "serverFail");
  EXPECT_EQ(imapd->counts().command("UID STORE"), 1u);
}

}  // namespace
}  // namespace postern::mail
