// Which observer hears which untagged response, before, during and after SELECT.
#include "session/selection.hpp"

#include "postern/imap/parser.hpp"
#include "session_fixture.hpp"

namespace postern::session {
namespace {

using ::testing::ElementsAre;

struct SelectionTest : ::testing::Test {
  Selection selection;
  RecordingObserver inbox, archive;
  bool say(std::string_view line) {
    auto response = imap::parse_response(line);
    EXPECT_TRUE(response) << line;
    return selection.on_untagged(*response);
  }
  static imap::StatusResponse ok(std::string_view line) {
    return std::get<imap::StatusResponse>(*imap::parse_response(line));
  }
};

TEST_F(SelectionTest, WhatTheServerTellsAboutAMailbox) {
  selection.begin("INBOX", inbox, std::nullopt);
  say("* FLAGS (\\Seen custom)");
  say("* OK [PERMANENTFLAGS (\\Seen \\*)] limited");
  say("* 3 EXISTS");
  say("* OK [UIDVALIDITY 17] valid");
  say("* OK [UIDNEXT 99] next");
  say("* OK [HIGHESTMODSEQ 1234] modseq");
  say("* OK [MAILBOXID (F1)] id");
  selection.succeeded(ok("a1 OK [READ-ONLY] done"));
  EXPECT_THAT(inbox.events, ElementsAre("begin", "selected 3"));
  EXPECT_EQ(inbox.info.uid_validity, 17u);
  EXPECT_EQ(inbox.info.uid_next, 99u);
  EXPECT_EQ(inbox.info.highest_modseq, 1234u);
  EXPECT_TRUE(inbox.info.read_only);
  EXPECT_TRUE(inbox.info.permanent_flags.any_keyword);
  EXPECT_EQ(inbox.info.mailbox_id, "F1");
  EXPECT_FALSE(inbox.info.qresync_used);

  say("* 4 EXISTS");
  say("* 1 EXPUNGE");
  say("* VANISHED 5,7");
  say("* 2 FETCH (UID 12 FLAGS ())");
  EXPECT_THAT(inbox.events,
              ElementsAre("begin", "selected 3", "exists 4", "expunge 1", "vanished 5,7", "fetch 12"));
  EXPECT_FALSE(say("* STATUS Archive (MESSAGES 1)"));
}

TEST_F(SelectionTest, NoModseqIsNone) {
  selection.begin("INBOX", inbox, std::nullopt);
  say("* OK [HIGHESTMODSEQ 5] x");
  say("* OK [NOMODSEQ] no");
  selection.succeeded(ok("a1 OK done"));
  EXPECT_FALSE(inbox.info.highest_modseq);
}

// While another mailbox is being selected, what comes may still be about the one before.
TEST_F(SelectionTest, TheBorderBetweenTwoMailboxes) {
  selection.begin("INBOX", inbox, std::nullopt);
  selection.succeeded(ok("a1 OK done"));
  archive.parameters = SelectParameters{17, 5, ""};
  selection.begin("Archive", archive, archive.parameters);
  EXPECT_EQ(inbox.events.back(), "deselected");
  say("* 9 EXISTS");
  say("* VANISHED 1");
  say("* 2 FETCH (UID 3 FLAGS ())");
  say("* 1 EXPUNGE");
  say("* OK [CLOSED] bye");
  say("* 2 EXISTS");
  say("* OK [UIDVALIDITY 17] v");
  say("* OK [HIGHESTMODSEQ 8] m");
  say("* VANISHED (EARLIER) 4");
  say("* 1 FETCH (UID 6 FLAGS (\\Seen))");
  selection.succeeded(ok("a2 OK done"));
  EXPECT_THAT(archive.events, ElementsAre("begin", "vanished earlier 4", "fetch 6", "selected 2"));
  EXPECT_TRUE(archive.info.qresync_used);
}

TEST_F(SelectionTest, WithoutABorderNoResynchronisationIsBelieved) {
  selection.begin("INBOX", inbox, std::nullopt);
  selection.succeeded(ok("a1 OK done"));
  selection.begin("Archive", archive, SelectParameters{17, 5, ""});
  say("* 2 EXISTS");
  say("* OK [UIDVALIDITY 17] v");
  say("* OK [HIGHESTMODSEQ 8] m");
  say("* VANISHED (EARLIER) 4");
  selection.succeeded(ok("a2 OK done"));
  EXPECT_THAT(archive.events, ElementsAre("begin", "selected 2"));
  EXPECT_FALSE(archive.info.qresync_used);
}

TEST_F(SelectionTest, AnotherUidValidityIsNoResynchronisation) {
  selection.begin("INBOX", inbox, SelectParameters{17, 5, ""});
  say("* OK [UIDVALIDITY 18] v");
  say("* OK [HIGHESTMODSEQ 8] m");
  selection.succeeded(ok("a1 OK done"));
  EXPECT_FALSE(inbox.info.qresync_used);
}

TEST_F(SelectionTest, FailureLeavesNothingSelected) {
  selection.begin("INBOX", inbox, std::nullopt);
  selection.failed();
  EXPECT_THAT(inbox.events, ElementsAre("begin", "deselected"));
  EXPECT_EQ(selection.state(), Selection::State::none);
  EXPECT_FALSE(say("* 3 EXISTS"));
}

TEST_F(SelectionTest, WhoIsForgottenHearsNothing) {
  selection.begin("INBOX", inbox, std::nullopt);
  selection.forget(archive);
  selection.forget(inbox);
  say("* 3 EXISTS");
  selection.succeeded(ok("a1 OK done"));
  say("* 4 EXISTS");
  selection.failed();
  EXPECT_THAT(inbox.events, ElementsAre("begin"));
}

}  // namespace
}  // namespace postern::session
