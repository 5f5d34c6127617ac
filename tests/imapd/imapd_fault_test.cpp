// The test server's pushes, TLS, quirks and misbehaviour on cue.
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "imapd/test_fixture.hpp"
#include "imapd/test_imapd.hpp"
#include "support/test_ca.hpp"

namespace postern::testimapd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST(Push, Idle) {
  Fixture fixture;
  TestClient other(fixture.server.port());
  other.run("LOGIN alice secret");
  other.run("SELECT INBOX");
  other.send("i IDLE\r\n");
  EXPECT_TRUE(fixture.server.wait_for([](const Counts& counts) { return counts.command("IDLE") == 1; }));
  EXPECT_FALSE(fixture.server.wait_for([](const Counts& counts) { return counts.command("IDLE") == 2; },
                                       std::chrono::milliseconds(1)));
  EXPECT_EQ(other.line(), "+ idling");
  fixture.server.control("deliver alice INBOX");
  EXPECT_EQ(other.line(), "* 21 EXISTS");
  EXPECT_EQ(other.line(), "* 1 RECENT");
  fixture.client->run("UID STORE 2 +FLAGS (\\Flagged)");
  EXPECT_EQ(other.line(), "* 2 FETCH (FLAGS (\\Flagged \\Seen))");
  fixture.client->run("UID MOVE 1 Trash");
  EXPECT_EQ(other.line(), "* 1 EXPUNGE");
  other.send("DONE\r\n");
  EXPECT_EQ(other.line(), "i OK Idle completed");
  EXPECT_EQ(fixture.server.counts().command("IDLE"), 1U);
  other.send("j IDLE\r\n");
  other.line();
  other.send("NOOP\r\n");
  EXPECT_THAT(other.line(), StartsWith("j BAD"));
}

TEST(Push, Notify) {
  Fixture fixture;
  auto& client = *fixture.client;
  auto answer = client.all(
      "NOTIFY SET STATUS (selected (MessageNew (UID FLAGS) MessageExpunge FlagChange)) "
      "(personal (MessageNew MessageExpunge MailboxName))");
  EXPECT_THAT(answer, HasSubstr("* STATUS Archive (MESSAGES 5 UIDNEXT 6 UIDVALIDITY 1000001"));
  EXPECT_THAT(answer, Not(HasSubstr("STATUS INBOX")));
  fixture.server.control("deliver alice INBOX");
  EXPECT_EQ(client.line(), "* 21 EXISTS");
  EXPECT_EQ(client.line(), "* 1 RECENT");
  EXPECT_EQ(client.line(), "* 21 FETCH (UID 21 FLAGS (\\Recent))");
  fixture.server.control("expunge alice INBOX 1");
  EXPECT_EQ(client.line(), "* 1 EXPUNGE");
  fixture.server.control("flag alice INBOX 2 +\\Flagged");
  EXPECT_THAT(client.line(), HasSubstr("* 1 FETCH (FLAGS (\\Flagged"));
  fixture.server.control("deliver alice Sent");
  EXPECT_THAT(client.line(), StartsWith("* STATUS Sent (MESSAGES 6 UIDNEXT 7"));
  fixture.server.control("create alice Fresh");
  EXPECT_THAT(client.line(), StartsWith("* LIST () \"/\" Fresh"));
  fixture.server.control("rename alice Fresh Stale");
  EXPECT_THAT(client.line(), StartsWith("* LIST () \"/\" Stale (\"OLDNAME\" (Fresh))"));
  fixture.server.control("delete alice Stale");
  EXPECT_THAT(client.line(), StartsWith("* LIST (\\NonExistent) \"/\" Stale"));
  EXPECT_THAT(client.status("NOTIFY NONE"), StartsWith("OK"));
  fixture.server.control("deliver alice Sent");
  EXPECT_EQ(client.all("CHECK"), "OK Check completed\n");
  EXPECT_THAT(client.status("NOTIFY SET (nonsense (MessageNew))"), StartsWith("BAD"));
}

class TlsTest : public testing::Test {
 protected:
  static Options options(bool implicit) {
    postern::test::TestCa ca;
    auto identity = ca.issue();
    Options options;
    options.tls_certificate_pem = identity.certificate_pem;
    options.tls_key_pem = identity.key_pem;
    options.listen = {{"127.0.0.1", 0, implicit}};
    options.plain_text_login = false;
    return options;
  }
};

TEST_F(TlsTest, Implicit) {
  TestImapd server(options(true));
  server.start();
  TestClient client(server.port(), true);
  EXPECT_THAT(client.greeting(), StartsWith("* OK"));
  EXPECT_THAT(client.greeting(), Not(HasSubstr("STARTTLS")));
  EXPECT_THAT(client.status("LOGIN alice secret"), StartsWith("OK"));
  client.run("SELECT INBOX");
  EXPECT_EQ(client.run("FETCH 1:* (BODY.PEEK[])").size(), 21U);
  EXPECT_THAT(client.status("LOGOUT"), StartsWith("OK"));
  EXPECT_TRUE(server.wait_for([](const Counts& counts) { return counts.connections_open == 0; }));
  EXPECT_EQ(server.counts().tls_handshakes, 1U);
  EXPECT_EQ(server.counts().tls_resumed, 0U);
}

TEST_F(TlsTest, StartTls) {
  TestImapd server(options(false));
  server.start();
  TestClient client(server.port());
  EXPECT_THAT(client.greeting(), HasSubstr("STARTTLS LOGINDISABLED"));
  EXPECT_THAT(client.status("LOGIN alice secret"), StartsWith("NO [PRIVACYREQUIRED]"));
  EXPECT_THAT(client.status("STARTTLS"), StartsWith("OK"));
  ASSERT_TRUE(client.start_tls());
  EXPECT_THAT(client.all("CAPABILITY"), Not(HasSubstr("STARTTLS")));
  EXPECT_THAT(client.status("LOGIN alice secret"), StartsWith("OK"));
}

TEST(Counting, PerCommandAndUser) {
  Fixture fixture;
  fixture.server.reset_counts();
  fixture.client->run("UID FETCH 1 FLAGS");
  fixture.client->run("FETCH 1 FLAGS");
  fixture.client->run("NONSENSE");
  auto counts = fixture.server.counts();
  EXPECT_EQ(counts.command("UID FETCH"), 1U);
  EXPECT_EQ(counts.command("FETCH"), 1U);
  EXPECT_EQ(counts.command("UNKNOWN"), 1U);
  EXPECT_EQ(counts.commands_total(), 3U);
  EXPECT_EQ(counts.connections_open, 1U);
  EXPECT_EQ(counts.connections_total, 0U);
  EXPECT_EQ(counts.bytes_in,
            std::string("T3 UID FETCH 1 FLAGS\r\nT4 FETCH 1 FLAGS\r\nT5 NONSENSE\r\n").size());
  EXPECT_EQ(fixture.server.counts("alice").commands_total(), 3U);
  EXPECT_THAT(counts.json(), HasSubstr("\"UID FETCH\":1"));
  auto log = fixture.server.log();
  ASSERT_EQ(log.size(), 3U);
  EXPECT_EQ(log[0].line, "T3 UID FETCH 1 FLAGS");
  EXPECT_EQ(log[0].user, "alice");
}

TEST(Counting, SecretsAreNotLogged) {
  TestImapd server({});
  server.start();
  TestClient client(server.port());
  client.run("AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA=");
  TestClient second(server.port());
  second.run("LOGIN {5+}\r\nalice {6+}\r\nsecret");
  for (const LogEntry& entry : server.log()) {
    EXPECT_THAT(entry.line, Not(HasSubstr("secret")));
    EXPECT_THAT(entry.line, Not(HasSubstr("AGFs")));
    EXPECT_THAT(entry.line, HasSubstr("<redacted>"));
  }
}

TEST(Counting, LogIsBounded) {
  Options options;
  options.log_entries_max = 3;
  Fixture fixture(options);
  for (int i = 0; i < 5; ++i) fixture.client->run("NOOP");
  EXPECT_EQ(fixture.server.log().size(), 3U);
}

TEST(Bounds, CommandAndLiteral) {
  Options options;
  options.command_bytes_max = 100;
  options.literal_bytes_max = 50;
  Fixture fixture(options);
  auto line_of = [](std::size_t bytes) { return "T3 NOOP" + std::string(bytes - 7, ' '); };
  fixture.client->send(line_of(100) + "\r\n");
  EXPECT_THAT(fixture.client->line(), StartsWith("T3 BAD"));
  EXPECT_THAT(fixture.client->status("APPEND INBOX {50+}\r\n" + std::string(50, 'x')), StartsWith("OK"));
  EXPECT_THAT(fixture.client->status("APPEND INBOX {51}"), StartsWith("NO [TOOBIG]"));
  fixture.client->send(line_of(101) + "\r\n");
  EXPECT_THAT(fixture.client->until("BYE"), StartsWith("* BYE"));
  EXPECT_EQ(fixture.client->rest(), "");
}

TEST(Bounds, LiteralPlusOnlyWhereOffered) {
  Options options;
  options.capabilities = {"IMAP4rev1", "LITERAL-"};
  Fixture fixture(options);
  EXPECT_THAT(fixture.client->status("APPEND INBOX {4096+}\r\n" + std::string(4096, 'x')), StartsWith("OK"));
  fixture.client->send("x APPEND INBOX {4097+}\r\n");
  EXPECT_THAT(fixture.client->until("BYE"), StartsWith("* BYE"));
}

TEST(Bounds, Connections) {
  Options options;
  options.connections_max = 1;
  Fixture fixture(options);
  TestClient second(fixture.server.port());
  EXPECT_EQ(second.greeting(), "");
}

TEST(Rules, ReplyOnTheNthOfOneUser) {
  Fixture fixture;
  fixture.rule("UID FETCH nth=2 user=alice do reply NO [INUSE] busy");
  fixture.rule("UID FETCH user=bob do reply BAD never");
  EXPECT_THAT(fixture.client->status("UID FETCH 1 FLAGS"), StartsWith("OK"));
  EXPECT_EQ(fixture.client->status("UID FETCH 1 FLAGS"), "NO [INUSE] busy");
  EXPECT_THAT(fixture.client->status("UID FETCH 1 FLAGS"), StartsWith("OK"));
  fixture.rule("NOOP times=always do reply BAD no");
  EXPECT_EQ(fixture.client->status("NOOP"), "BAD no");
  EXPECT_EQ(fixture.client->status("NOOP"), "BAD no");
  fixture.server.control("clear_rules");
  EXPECT_THAT(fixture.client->status("NOOP"), StartsWith("OK"));
}

TEST(Rules, DropAtByteAndInLiteral) {
  for (bool literal : {false, true}) {
    Fixture fixture;
    fixture.rule(literal ? "UID FETCH do drop_in_literal 5" : "UID FETCH do drop_at 10");
    fixture.client->send("x UID FETCH 1 BODY.PEEK[HEADER.FIELDS (Message-ID)]\r\n");
    EXPECT_EQ(fixture.client->rest(),
              literal ? "* 1 FETCH (UID 1 BODY[HEADER.FIELDS (MESSAGE-ID)] {42}\r\nMessa" : "* 1 FETCH ");
  }
}

TEST(Rules, DropWithinALiteralThatComes) {
  Fixture fixture;
  fixture.server.control("drop_literal 10");
  EXPECT_THAT(fixture.client->status("APPEND Sent {9+}\r\n123456789"), StartsWith("OK"));
  fixture.client->send("x APPEND Sent {20}\r\n");
  EXPECT_THAT(fixture.client->line(), StartsWith("+"));
  fixture.client->send("1234567890");
  EXPECT_EQ(fixture.client->rest(), "");
  EXPECT_THAT(fixture.server.control("mailbox alice Sent"), HasSubstr("\"messages\":6"));
}

TEST(Rules, AllMessagesOfAUser) {
  Options options;
  options.mailboxes = {{"INBOX", "", 2}, {"Sent", "", 0}};
  Fixture fixture(options);
  fixture.server.deliver("alice", "Sent", "Message-ID: <\"q\"@x>\r\n\r\n", "\\Seen work");
  EXPECT_EQ(fixture.server.control("messages alice"),
            R"({"INBOX":[{"uid":1,"id":"00000001@postern.example","flags":"\\Seen"},)"
            R"({"uid":2,"id":"00000002@postern.example","flags":"\\Seen"}],)"
            R"("Sent":[{"uid":1,"id":"\"q\"@x","flags":"\\Seen work"}]})");
  EXPECT_THAT(fixture.server.control("messages nobody"), StartsWith("ERR"));
}

TEST(Rules, HangInLiteral) {
  Fixture fixture;
  fixture.rule("UID FETCH do hang_in_literal 3");
  fixture.client->send("x UID FETCH 1 BODY.PEEK[]\r\n");
  EXPECT_TRUE(fixture.server.wait_for([](const Counts& counts) { return counts.command("UID FETCH") == 1; }));
  TestClient second(fixture.server.port());  // the server itself goes on
  EXPECT_THAT(second.status("NOOP"), StartsWith("OK"));
  EXPECT_EQ(fixture.server.counts().connections_open, 2U);
}

TEST(Rules, ByeDropHangRefuse) {
  Fixture fixture;
  fixture.rule("NOOP do bye Going down");
  fixture.client->send("x NOOP\r\n");
  EXPECT_EQ(fixture.client->rest(), "* BYE Going down\r\n");
  TestClient second(fixture.server.port());
  fixture.rule("NOOP do drop");
  second.send("x NOOP\r\n");
  EXPECT_EQ(second.rest(), "");
  fixture.server.control("refuse on");
  TestClient third(fixture.server.port());
  EXPECT_EQ(third.greeting(), "");
  fixture.server.control("refuse off");
  TestClient fourth(fixture.server.port());
  EXPECT_THAT(fourth.greeting(), StartsWith("* OK"));
  fourth.run("LOGIN alice secret");
  fixture.server.control("bye alice");
  EXPECT_EQ(fourth.rest(), "* BYE Shutting down\r\n");
}

TEST(Rules, Greetings) {
  Fixture fixture;
  auto greeting = [&](std::string_view rule) {
    fixture.rule(rule);
    return TestClient(fixture.server.port()).greeting();
  };
  EXPECT_EQ(greeting("connect do greeting 220 smtp.example ESMTP"), "220 smtp.example ESMTP");
  EXPECT_EQ(greeting("connect do bye Full"), "* BYE Full");
  EXPECT_EQ(greeting("connect do refuse"), "");
  EXPECT_THAT(greeting("connect do preauth alice"), StartsWith("* PREAUTH"));
  EXPECT_THAT(greeting("connect do delay 20"), StartsWith("* OK"));
  fixture.rule("connect do silence");
  TestClient silent(fixture.server.port(), false, false);
  EXPECT_TRUE(silent.silent(50));
}

TEST(Rules, UntaggedBeforeAndAfter) {
  Fixture fixture;
  fixture.rule("NOOP do before * 999 EXISTS");
  fixture.rule("NOOP do after * OK [HIGHESTMODSEQ 1] back");
  EXPECT_THAT(fixture.client->run("NOOP"),
              ElementsAre("* 999 EXISTS", "* OK [HIGHESTMODSEQ 1] back", "OK Noop completed"));
  fixture.server.control("push alice * 7 FETCH (FLAGS ())");
  EXPECT_EQ(fixture.client->line(), "* 7 FETCH (FLAGS ())");
}

TEST(Rules, ExpungeInTheMiddleOfAFetch) {
  Fixture fixture;
  fixture.rule("UID FETCH do expunge_at 2 4");
  EXPECT_THAT(fixture.client->run("UID FETCH 1:5 UID"),
              ElementsAre("* 1 FETCH (UID 1)", "* 2 FETCH (UID 2)", "* 4 EXPUNGE", "* 3 FETCH (UID 3)",
                          "* 4 FETCH (UID 5)", "NO [EXPUNGEISSUED] Some of the messages are gone"));
}

TEST(Rules, HugeLiteral) {
  Fixture fixture;
  fixture.rule("NOOP do huge_literal 5000000");
  auto lines = fixture.client->run("NOOP");
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_GT(lines[0].size(), 5000000U);
  EXPECT_EQ(lines[1], "OK Noop completed");
  fixture.rule("NOOP do drop_in_literal 100000");
  fixture.rule("NOOP do huge_literal 5000000");
  fixture.client->send("x NOOP\r\n");
  auto rest = fixture.client->rest();
  EXPECT_EQ(rest.size(), std::string("* 1 FETCH (UID 1 BODY[] {5000000}\r\n").size() + 100000);
}

TEST(Rules, RunAndDelay) {
  Fixture fixture;
  fixture.rule("UID FETCH do run deliver alice INBOX 2");
  fixture.rule("UID FETCH do delay 20");
  EXPECT_THAT(fixture.client->all("UID FETCH 1 UID"), HasSubstr("* 22 EXISTS"));
  fixture.rule("UID STORE do run_after expunge alice INBOX 1");
  EXPECT_THAT(fixture.client->run("UID STORE 1 +FLAGS (\\Draft)"),
              ElementsAre("* 1 FETCH (UID 1 FLAGS (\\Seen \\Draft))", "* 1 EXPUNGE", "OK Store completed"));
}

TEST(Rules, MalformedOnesAreRefused) {
  TestImapd server({});
  for (std::string_view rule :
       {"on", "on NOOP", "on NOOP do", "on NOOP do fly", "on NOOP do drop_at", "on do drop",
        "on NOOP do reply", "flag alice INBOX x +a", "deliver nobody INBOX", "unheard"})
    EXPECT_THAT(server.control(rule), StartsWith("ERR")) << rule;
}

// Commands with random damage get an answer or the end of the connection, and the server lives on.
TEST(Robustness, DamagedCommands) {
  constexpr std::string_view commands[] = {
      "a UID FETCH 1:5 (FLAGS BODY.PEEK[HEADER.FIELDS (DATE FROM)]<0.9> ENVELOPE) (CHANGEDSINCE 3)",
      "b UID SEARCH RETURN (MIN COUNT PARTIAL 1:5) OR (SUBJECT \"x\" 2:4) NOT SINCE 1-Jan-2020",
      "c UID SORT RETURN (ALL) (REVERSE DATE SUBJECT) UTF-8 UNSEEN",
      "d UID STORE 2:3 (UNCHANGEDSINCE 9) +FLAGS.SILENT (\\Seen $x)",
      "e LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (% INBOX.*) RETURN (STATUS (MESSAGES UNSEEN) CHILDREN)",
      "f SELECT INBOX (QRESYNC (1000000 5 1:9 (1:2 1:2)))",
      "g NOTIFY SET STATUS (selected (MessageNew (UID) MessageExpunge)) (subtree (A B) (MailboxName))",
      "h THREAD REFERENCES UTF-8 OR FROM a TO b",
      "i UID COPY 1,3:* Trash",
      "j STATUS INBOX (MESSAGES HIGHESTMODSEQ)",
      "k APPEND INBOX (\\Seen) \"01-Jan-2020 00:00:00 +0000\" \"x\"",
      "l RENAME Archive &AOQ-/b",
      "m ENABLE QRESYNC",
  };
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  SCOPED_TRACE(fmt::format("seed {}", seed));
  Fixture fixture;
  for (int round = 0; round < 1000; ++round) {
    std::string line(commands[random() % std::size(commands)]);
    for (auto damage = random() % 4; damage > 0; --damage) {
      auto at = random() % line.size();
      if (random() % 2 == 0)
        line[at] = static_cast<char>(random() % 256);
      else
        line.erase(at, random() % 5);
      line += line.empty() ? "x" : "";
    }
    std::erase(line, '{');  // a literal would swallow what follows
    if (fixture.client->eof()) {
      fixture.client.emplace(fixture.server.port());
      fixture.client->run("LOGIN alice secret");
      fixture.client->run("SELECT INBOX");
    }
    fixture.client->send(line + "\r\nz1 NOOP\r\nz2 NOOP\r\nz3 NOOP\r\n");  // IDLE may take the first
    auto answer = fixture.client->until("z3 ");
    EXPECT_TRUE(fixture.client->eof() || answer.starts_with("z3 ")) << line;
  }
  TestClient client(fixture.server.port());
  EXPECT_THAT(client.status("LOGIN alice secret"), StartsWith("OK"));
}

TEST(Outside, UidvalidityModseqDelete) {
  Fixture fixture;
  EXPECT_THAT(fixture.client->all("UID FETCH 1 BODY.PEEK[HEADER.FIELDS (Message-ID)]"),
              HasSubstr("<00000001@"));
  EXPECT_THAT(fixture.server.control("roll_uidvalidity alice INBOX"), StartsWith("OK "));
  auto text = fixture.client->all("SELECT INBOX");
  EXPECT_THAT(text, HasSubstr("[UIDVALIDITY 1000007]"));
  EXPECT_THAT(fixture.client->all("UID FETCH 1 BODY.PEEK[HEADER.FIELDS (Message-ID)]"),
              HasSubstr("<00000002@"));
  fixture.server.control("highestmodseq alice INBOX 3");
  EXPECT_THAT(fixture.client->all("STATUS INBOX (HIGHESTMODSEQ)"), HasSubstr("HIGHESTMODSEQ 3"));
  fixture.client->run("SELECT Archive");
  fixture.server.control("delete alice Archive");
  EXPECT_THAT(fixture.client->all("NOOP"), HasSubstr("OK Noop"));
  EXPECT_THAT(fixture.client->line(), StartsWith("* BYE"));
}

TEST(Outside, StopAndStartKeepTheMail) {
  Fixture fixture;
  auto port = fixture.server.port();
  fixture.server.control("deliver alice INBOX");
  fixture.server.stop();
  EXPECT_EQ(fixture.client->rest(), "");
  fixture.server.start();
  EXPECT_EQ(fixture.server.port(), port);
  TestClient client(port);
  client.run("LOGIN alice secret");
  EXPECT_THAT(client.all("SELECT INBOX"), HasSubstr("* 21 EXISTS"));
}

TEST(Quirks, AllAtOnce) {
  Options options;
  options.separator = '\0';
  auto& quirks = options.quirks;
  quirks.nil_strings = quirks.eight_bit_quoted = quirks.extra_spaces = quirks.no_text = quirks.lower_case =
      true;
  quirks.capability_code = false;
  quirks.capability_untagged = quirks.list_unknown_flags = quirks.literal8 = quirks.fetch_flags_always = true;
  quirks.status_no_selected = true;
  TestImapd server(options);
  server.start();
  TestClient client(server.port());
  EXPECT_EQ(client.greeting(), "* ok ready");
  EXPECT_THAT(client.run("LOGIN alice secret"), ElementsAre(StartsWith("* capability IMAP4rev1"), "ok "));
  server.deliver("alice", "INBOX", "Subject: caf\xC3\xA9\r\n\r\nx");
  EXPECT_EQ(client.run("SELECT INBOX").back(), "ok [READ-WRITE] ");
  auto text = client.all("UID FETCH 21 (ENVELOPE BODYSTRUCTURE BODY.PEEK[TEXT])");
  EXPECT_THAT(text, HasSubstr("* 21 fetch (UID 21  ENVELOPE (NIL \"caf\xC3\xA9\" NIL"));
  EXPECT_THAT(text, HasSubstr("(\"CHARSET\" NIL) NIL NIL NIL 1 1"));
  EXPECT_THAT(text, HasSubstr("BODY[TEXT] ~{1}\r\nx  FLAGS (\\Recent) )"));
  EXPECT_THAT(client.all("LIST \"\" INBOX"),
              HasSubstr("* list (\\Noinferiors \\X-Unknown $weird) NIL INBOX"));
  EXPECT_EQ(client.run("SEARCH UID 21")[0], "* search 21 ");
  EXPECT_THAT(client.status("STATUS INBOX (MESSAGES)"), StartsWith("no"));
}

TEST(TestCa, KindsOfCertificates) {
  postern::test::TestCa ca;
  auto valid = ca.issue({"imap.example", "127.0.0.1"});
  auto expired = ca.issue({"imap.example"}, postern::test::TestCa::Validity::expired);
  EXPECT_THAT(ca.certificate_pem(), StartsWith("-----BEGIN CERTIFICATE-----"));
  EXPECT_THAT(valid.key_pem, HasSubstr("PRIVATE KEY"));
  EXPECT_NE(valid.certificate_pem, expired.certificate_pem);
  EXPECT_EQ(postern::test::public_key_pin(valid.certificate_pem).size(), 44U);
}

}  // namespace
}  // namespace postern::testimapd
