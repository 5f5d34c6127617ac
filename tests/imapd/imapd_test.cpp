// The test server's protocol: what it answers when nothing goes wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "imapd/test_fixture.hpp"
#include "imapd/test_imapd.hpp"
#include "imapd/text.hpp"

namespace postern::testimapd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr std::string_view plain_message =
    "Date: Mon, 02 Jan 2023 10:00:00 +0100\r\nFrom: Zoe <zoe@a.example>\r\n"
    "To: alice@b.example\r\nSubject: Re: [list] Plums\r\n"
    "Message-ID: <one@a.example>\r\n\r\nTwo\r\nlines with caf\xC3\xA9\r\n";

Options with_capabilities(std::vector<std::string> capabilities) {
  Options options;
  options.capabilities = std::move(capabilities);
  return options;
}

TEST(Login, RightAndWrong) {
  TestImapd server({});
  server.start();
  TestClient client(server.port());
  EXPECT_THAT(client.greeting(), StartsWith("* OK [CAPABILITY IMAP4rev1 SASL-IR"));
  EXPECT_THAT(client.greeting(), Not(HasSubstr("NOTIFY")));
  EXPECT_THAT(client.status("LOGIN alice wrong"), StartsWith("NO [AUTHENTICATIONFAILED]"));
  EXPECT_THAT(client.status("SELECT INBOX"), StartsWith("BAD"));
  EXPECT_THAT(client.status("LOGIN {5}\r\nalice \"secret\""), StartsWith("OK [CAPABILITY IMAP4rev1"));
  EXPECT_THAT(client.status("LOGIN alice secret"), StartsWith("BAD"));
  auto counts = server.counts();
  EXPECT_EQ(counts.logins, 1U);
  EXPECT_EQ(counts.login_failures, 1U);
  EXPECT_EQ(counts.command("LOGIN"), 3U);
  EXPECT_EQ(server.counts("alice").connections_open, 1U);
  EXPECT_EQ(server.counts("nobody").connections_open, 0U);
}

TEST(Login, Sasl) {
  Options options;
  options.oauth_tokens["alice"] = "token";
  options.master_user = "master";
  options.master_password = "key";
  TestImapd server(options);
  server.start();
  auto status = [&](std::string_view command) {
    return TestClient(server.port()).status(command).substr(0, 2);
  };
  using namespace std::string_literals;
  EXPECT_EQ(status("AUTHENTICATE PLAIN " + base64_encode("\0alice\0secret"s)), "OK");
  EXPECT_EQ(status("AUTHENTICATE PLAIN " + base64_encode("\0alice\0no"s)), "NO");
  EXPECT_EQ(status("AUTHENTICATE PLAIN " + base64_encode("alice\0master\0key"s)), "OK");
  EXPECT_EQ(status("AUTHENTICATE PLAIN " + base64_encode("bob\0alice\0secret"s)), "NO");
  EXPECT_EQ(status("AUTHENTICATE PLAIN !!!"), "BA");
  EXPECT_EQ(status("AUTHENTICATE CRAM-MD5"), "NO");
  EXPECT_EQ(status("LOGIN \"alice*master\" key"), "OK");
  EXPECT_EQ(status("AUTHENTICATE XOAUTH2 " + base64_encode("user=alice\1auth=Bearer token\1\1")), "OK");
  EXPECT_EQ(status("AUTHENTICATE OAUTHBEARER " + base64_encode("n,a=alice,\1auth=Bearer token\1\1")), "OK");
  EXPECT_EQ(server.control("token alice other"), "OK");
  TestClient client(server.port());
  client.send("a AUTHENTICATE OAUTHBEARER " + base64_encode("n,a=alice,\1auth=Bearer token\1\1") + "\r\n");
  EXPECT_THAT(base64_decode(client.line().substr(2)).value_or(""), HasSubstr("invalid_token"));
  client.send("AQ==\r\n");
  EXPECT_THAT(client.line(), StartsWith("a NO"));
  client.send("b AUTHENTICATE LOGIN\r\n");
  client.line();
  client.send(base64_encode("alice") + "\r\n");
  client.line();
  client.send(base64_encode("secret") + "\r\n");
  EXPECT_THAT(client.line(), StartsWith("b OK"));
}

TEST(Login, InitialResponseNeedsSaslIr) {
  TestImapd server(with_capabilities({"IMAP4rev1", "AUTH=PLAIN"}));
  server.start();
  TestClient client(server.port());
  using namespace std::string_literals;
  EXPECT_THAT(client.status("AUTHENTICATE PLAIN " + base64_encode("\0alice\0secret"s)), StartsWith("BAD"));
  client.send("b AUTHENTICATE PLAIN\r\n");
  EXPECT_EQ(client.line(), "+ ");
  client.send(base64_encode("\0alice\0secret"s) + "\r\n");
  EXPECT_THAT(client.line(), StartsWith("b OK"));
}

TEST(Capabilities, WhatIsNotOfferedIsBad) {
  Fixture minimal(with_capabilities(capabilities_of("minimal")));
  for (std::string_view command : {"UID MOVE 1 Trash",
                                   "IDLE",
                                   "NAMESPACE",
                                   "ENABLE CONDSTORE",
                                   "UNSELECT",
                                   "UID EXPUNGE 1",
                                   "SORT (DATE) UTF-8 ALL",
                                   "THREAD REFERENCES UTF-8 ALL",
                                   "ID NIL",
                                   "NOTIFY NONE",
                                   "GETQUOTAROOT INBOX",
                                   "MYRIGHTS INBOX",
                                   "SELECT INBOX (CONDSTORE)",
                                   "LIST \"\" * RETURN (CHILDREN)",
                                   "SEARCH RETURN (COUNT) ALL",
                                   "FETCH 1 MODSEQ",
                                   "FETCH 1 EMAILID",
                                   "FETCH 1 PREVIEW",
                                   "STATUS INBOX (HIGHESTMODSEQ)",
                                   "SEARCH YOUNGER 5",
                                   "FETCH 1 X-GUID"})
    EXPECT_THAT(minimal.status(command), StartsWith("BAD")) << command;
  EXPECT_EQ(minimal.all("CAPABILITY"), "* CAPABILITY IMAP4rev1\nOK Capability completed\n");
  EXPECT_THROW(capabilities_of("unheard"), std::invalid_argument);
}

TEST(Select, TellsEverything) {
  Fixture fixture({}, false);
  auto text = fixture.all("SELECT INBOX");
  for (std::string_view part :
       {"* 20 EXISTS\n", "* 0 RECENT\n", "* OK [UIDVALIDITY 1000000]", "* OK [UIDNEXT 21]",
        "* OK [HIGHESTMODSEQ 20]", "* OK [UNSEEN 4]", "* FLAGS (\\Answered", "\\*", "OK [READ-WRITE] Select"})
    EXPECT_THAT(text, HasSubstr(part));
  EXPECT_THAT(fixture.status("EXAMINE Archive"), StartsWith("OK [READ-ONLY]"));
  EXPECT_THAT(fixture.status("STORE 1 +FLAGS (\\Seen)"), StartsWith("NO"));
  EXPECT_THAT(fixture.status("SELECT None"), StartsWith("NO [NONEXISTENT]"));
  EXPECT_THAT(fixture.status("CHECK"), StartsWith("BAD"));
}

TEST(Fetch, ItemsOfAnAppendedMessage) {
  Fixture fixture;
  auto uid = fixture.server.deliver("alice", "INBOX", plain_message, "\\Seen $Junk", 1672650000);
  ASSERT_EQ(uid, 21U);
  fixture.status("NOOP");
  auto text = fixture.all("UID FETCH 21 (FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE)");
  EXPECT_THAT(
      text,
      HasSubstr(
          "* 21 FETCH (UID 21 FLAGS (\\Seen $Junk \\Recent) INTERNALDATE \"02-Jan-2023 09:00:00 +0000\""));
  EXPECT_THAT(text, HasSubstr(fmt::format("RFC822.SIZE {}", plain_message.size())));
  EXPECT_THAT(text, HasSubstr("ENVELOPE (\"Mon, 02 Jan 2023 10:00:00 +0100\" \"Re: [list] Plums\" "
                              "((\"Zoe\" NIL \"zoe\" \"a.example\"))"));
  EXPECT_THAT(text, HasSubstr("BODY (\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 23 2)"));
  EXPECT_THAT(fixture.all("UID FETCH 21 BODY.PEEK[HEADER.FIELDS (subject X-None)]"),
              HasSubstr("BODY[HEADER.FIELDS (SUBJECT X-NONE)] {29}\r\nSubject: Re: [list] Plums\r\n\r\n)"));
  EXPECT_THAT(fixture.all("UID FETCH 21 BODY.PEEK[TEXT]<3.7>"), HasSubstr("BODY[TEXT]<3> {7}\r\n\r\nlines)"));
  EXPECT_THAT(fixture.all("UID FETCH 21 BODY.PEEK[TEXT]<100.7>"), HasSubstr("BODY[TEXT]<100> {0}\r\n)"));
  EXPECT_THAT(fixture.all("UID FETCH 21 BODY.PEEK[2]"), HasSubstr("BODY[2] NIL"));
  EXPECT_THAT(fixture.status("FETCH 22 FLAGS"), StartsWith("BAD"));
  EXPECT_EQ(fixture.all("UID FETCH 99 FLAGS"), "OK Fetch completed\n");
  for (std::string_view bad :
       {"FETCH 1 (FLAGS", "FETCH 0 FLAGS", "FETCH 1 BODY[", "FETCH 1 BODY[0]", "FETCH 1 BODY[MIME]",
        "FETCH x FLAGS", "FETCH 1 NONSENSE", "FETCH 1 BODY[]<1>", "FETCH 1"})
    EXPECT_THAT(fixture.status(bad), StartsWith("BAD")) << bad;
}

TEST(Fetch, SetsSeenUnlessPeeked) {
  Fixture fixture;
  EXPECT_THAT(fixture.all("FETCH 4 BODY.PEEK[]"), Not(HasSubstr("FLAGS")));
  EXPECT_THAT(fixture.all("FETCH 4 BODY[1]"), HasSubstr("FLAGS (\\Seen)"));
  EXPECT_THAT(fixture.all("FETCH 4 BODY[1]"), Not(HasSubstr("FLAGS")));
}

TEST(Fetch, NestedParts) {
  Fixture fixture;
  std::string inner =
      "Subject: Inner\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\nfirst\r\n--i\r\n"
      "Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+\r\n--i--\r\n";
  std::string raw =
      "Subject: Outer\r\nContent-Type: multipart/mixed; boundary=\"o\"\r\n\r\npreamble\r\n--o\r\n\r\n"
      "text\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n" +
      inner + "--o--\r\nepilogue\r\n";
  fixture.server.deliver("alice", "INBOX", raw);
  fixture.status("NOOP");
  auto fetch = [&](std::string_view item) { return fixture.all(fmt::format("UID FETCH 21 {}", item)); };
  EXPECT_THAT(fetch("BODY.PEEK[1]"), HasSubstr("{4}\r\ntext)"));
  EXPECT_THAT(fetch("BODY.PEEK[2.HEADER]"), HasSubstr("Subject: Inner\r\n"));
  EXPECT_THAT(fetch("BODY.PEEK[2.1]"), HasSubstr("{5}\r\nfirst)"));
  EXPECT_THAT(fetch("BODY.PEEK[2.2.MIME]"), HasSubstr("Content-Type: text/html\r\n"));
  EXPECT_THAT(fetch("BINARY.PEEK[2.2]"), HasSubstr("BINARY[2.2] {3}\r\n<b>)"));
  EXPECT_THAT(fetch("BINARY.SIZE[2.2]"), HasSubstr("BINARY.SIZE[2.2] 3"));
  EXPECT_THAT(fetch("BODY.PEEK[2.3]"), HasSubstr("BODY[2.3] NIL"));
  EXPECT_THAT(fetch("BODY.PEEK[1.HEADER]"), HasSubstr("BODY[1.HEADER] NIL"));
  auto structure = fetch("BODYSTRUCTURE");
  EXPECT_THAT(structure, HasSubstr("(\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\""));
  EXPECT_THAT(structure, HasSubstr("(NIL \"Inner\" NIL NIL NIL NIL NIL NIL NIL NIL) ((\"TEXT\" \"PLAIN\""));
}

TEST(Fetch, GeneratedMessagesAreConsistent) {
  Fixture fixture;
  for (int uid = 1; uid <= 20; ++uid) {
    auto text = fixture.all(fmt::format("UID FETCH {} (RFC822.SIZE BODY.PEEK[])", uid));
    auto size = text.substr(text.find("RFC822.SIZE ") + 12);
    auto literal = text.substr(text.find('{') + 1);
    EXPECT_EQ(to_number(size.substr(0, size.find(' '))), to_number(literal.substr(0, literal.find('}'))))
        << uid;
    EXPECT_THAT(text, HasSubstr(fmt::format("Message-ID: <{:08}@postern.example>", uid)));
    EXPECT_THAT(text, Not(HasSubstr("~")));
  }
}

TEST(Append, LiteralKindsAndUid) {
  Fixture fixture;
  auto size = plain_message.size();
  EXPECT_EQ(
      fixture.status(fmt::format("APPEND INBOX (\\Flagged foo) \"02-Jan-2023 10:00:00 +0100\" {{{}+}}\r\n{}",
                                 size, plain_message)),
      "OK [APPENDUID 1000000 21] Append completed");
  fixture.client->send(fmt::format("x APPEND Archive {{{}}}\r\n", size));
  EXPECT_EQ(fixture.client->until("+ "), "+ OK");
  fixture.client->send(std::string(plain_message) + "\r\n");
  EXPECT_EQ(fixture.client->until("x "), "x OK [APPENDUID 1000001 6] Append completed");
  EXPECT_THAT(fixture.all("UID FETCH 21 (FLAGS INTERNALDATE)"),
              HasSubstr("FLAGS (\\Flagged foo \\Recent) INTERNALDATE \"02-Jan-2023 09:00:00 +0000\""));
  EXPECT_THAT(fixture.status("APPEND None {1+}\r\nx"), StartsWith("NO [TRYCREATE]"));
  auto log = fixture.server.log();
  EXPECT_THAT(log.back().line, HasSubstr("APPEND None {1+}<redacted>"));
}

TEST(Store, AllModes) {
  Fixture fixture;
  EXPECT_THAT(fixture.all("STORE 1 FLAGS (\\Draft)"), HasSubstr("* 1 FETCH (FLAGS (\\Draft))"));
  EXPECT_THAT(fixture.all("UID STORE 1 +FLAGS new"), HasSubstr("FETCH (UID 1 FLAGS (\\Draft new))"));
  EXPECT_EQ(fixture.all("STORE 1 -FLAGS.SILENT (\\Draft)"), "OK Store completed\n");
  EXPECT_THAT(fixture.all("STORE 1 (UNCHANGEDSINCE 20) +FLAGS (\\Seen)"), HasSubstr("OK [MODIFIED 1]"));
  EXPECT_THAT(fixture.all("STORE 2 (UNCHANGEDSINCE 20) +FLAGS (\\Draft)"), HasSubstr("MODSEQ (24)"));
}

TEST(Store, OnlyPermanentFlags) {
  Options options;
  options.permanent_flags = {"\\Seen"};
  Fixture fixture(options);
  EXPECT_THAT(fixture.all("STORE 4 +FLAGS (\\Seen \\Flagged new)"), HasSubstr("FLAGS (\\Seen)"));
}

TEST(CopyMoveExpunge, Uids) {
  Fixture fixture;
  EXPECT_EQ(fixture.status("UID COPY 3:4,7 Trash"), "OK [COPYUID 1000005 3:4,7 1:3] Copy completed");
  auto moved = fixture.client->run("UID MOVE 5:6 Trash");
  EXPECT_THAT(moved, ElementsAre("* OK [COPYUID 1000005 5:6 4:5] Moved", "* 6 EXPUNGE", "* 5 EXPUNGE",
                                 "OK Move completed"));
  fixture.status("UID STORE 1,7 +FLAGS.SILENT (\\Deleted)");
  EXPECT_THAT(fixture.client->run("UID EXPUNGE 7"), ElementsAre("* 5 EXPUNGE", "OK Expunge completed"));
  EXPECT_THAT(fixture.client->run("EXPUNGE"), ElementsAre("* 1 EXPUNGE", "OK Expunge completed"));
  EXPECT_THAT(fixture.status("COPY 1 None"), StartsWith("NO [TRYCREATE]"));
  EXPECT_THAT(fixture.all("UID FETCH 2 EMAILID"), HasSubstr("EMAILID (M0000000000000002)"));
}

TEST(Search, Keys) {
  Fixture fixture;
  fixture.server.deliver("alice", "INBOX", plain_message, "\\Seen $Junk", 1672650000);
  fixture.status("NOOP");
  auto search = [&](std::string_view keys) {
    return fixture.client->run(fmt::format("UID SEARCH {}", keys))[0];
  };
  EXPECT_EQ(search("UNSEEN"), "* SEARCH 4 8 12 16");
  EXPECT_EQ(search("KEYWORD $Junk"), "* SEARCH 21");
  EXPECT_EQ(search("SUBJECT plums FROM zoe BODY lines TEXT list"), "* SEARCH 21");
  EXPECT_EQ(search("HEADER Message-ID one@"), "* SEARCH 21");
  EXPECT_EQ(search("SINCE 2-Jan-2023 BEFORE 3-Jan-2023"), "* SEARCH 21");
  EXPECT_EQ(search("SENTON 2-Jan-2023"), "* SEARCH 21");
  EXPECT_EQ(search("1:3 NOT 2"), "* SEARCH 1 3");
  EXPECT_EQ(search("OR UID 2 (UID 4 UNSEEN)"), "* SEARCH 2 4");
  EXPECT_EQ(search("RECENT"), "* SEARCH 21");
  EXPECT_EQ(search("SMALLER 300"), "* SEARCH 21");
  EXPECT_EQ(search("YOUNGER 60"), "* SEARCH");
  EXPECT_EQ(search("MODSEQ 21"), "* SEARCH 21 (MODSEQ 21)");
  EXPECT_EQ(search("CHARSET UTF-8 BODY {5+}\r\ncaf\xC3\xA9"), "* SEARCH 21");
  EXPECT_EQ(search("RETURN (MIN MAX COUNT ALL) 3:6"),
            "* ESEARCH (TAG \"T17\") UID MIN 3 MAX 6 ALL 3:6 COUNT 4");
  EXPECT_EQ(search("RETURN (SAVE) 2:3"), "OK Search completed");
  EXPECT_EQ(search("$"), "* SEARCH 2 3");
  EXPECT_EQ(search("RETURN (PARTIAL -1:-3) ALL"), "* ESEARCH (TAG \"T20\") UID PARTIAL (-1:-3 19:21)");
  EXPECT_EQ(search("UID 100:*"), "* SEARCH 21");
  for (std::string_view bad : {"SEARCH", "SEARCH (", "SEARCH NOT", "SEARCH OR 1", "SEARCH 22", "SEARCH ON x",
                               "SEARCH CHARSET KOI8-R ALL"})
    EXPECT_THAT(fixture.status(bad), StartsWith("BAD")) << bad;
}

TEST(Search, DepthBound) {
  Fixture fixture;
  auto nested = [](unsigned depth) {
    return "SEARCH " + std::string(depth, '(') + "ALL" + std::string(depth, ')');
  };
  EXPECT_THAT(fixture.status(nested(50)), StartsWith("OK"));
  EXPECT_THAT(fixture.status(nested(51)), StartsWith("BAD"));
}

TEST(Sort, KeysAndOptions) {
  Options options;
  options.mailboxes = {{"INBOX", "", 0}};
  Fixture fixture(options);
  auto deliver = [&](std::string_view from, std::string_view subject, std::int64_t day,
                     std::string_view padding) {
    fixture.server.deliver("alice", "INBOX",
                           fmt::format("Date: {}\r\nFrom: {}\r\nTo: x@y\r\nSubject: {}\r\n\r\n{}",
                                       rfc5322_date_text(day * 86400), from, subject, padding),
                           "", (100 - day) * 86400);
  };
  deliver("Zed <b@x>", "Re: apples", 1, "long text");
  deliver("Amy <c@x>", "Cherries", 2, "");
  deliver("Mid <a@x>", "apples", 3, "x");
  fixture.status("NOOP");
  auto sort = [&](std::string_view keys) {
    return fixture.client->run(fmt::format("UID SORT {} UTF-8 ALL", keys))[0];
  };
  EXPECT_EQ(sort("(ARRIVAL)"), "* SORT 3 2 1");
  EXPECT_EQ(sort("(REVERSE DATE)"), "* SORT 3 2 1");
  EXPECT_EQ(sort("(FROM)"), "* SORT 3 1 2");
  EXPECT_EQ(sort("(DISPLAYFROM)"), "* SORT 2 3 1");
  EXPECT_EQ(sort("(SUBJECT)"), "* SORT 1 3 2");
  EXPECT_EQ(sort("(SUBJECT REVERSE DATE)"), "* SORT 3 1 2");
  EXPECT_EQ(sort("(REVERSE SIZE)"), "* SORT 1 2 3");
  EXPECT_EQ(sort("(TO CC REVERSE SIZE)"), "* SORT 1 2 3");
  EXPECT_EQ(sort("RETURN (COUNT ALL MIN) (ARRIVAL)"), "* ESEARCH (TAG \"T12\") UID MIN 3 ALL 3,2,1 COUNT 3");
  EXPECT_EQ(sort("RETURN (PARTIAL 2:9) (ARRIVAL)"), "* ESEARCH (TAG \"T13\") UID PARTIAL (2:9 2,1)");
  EXPECT_THAT(fixture.status("SORT (NONSENSE) UTF-8 ALL"), StartsWith("BAD"));
  EXPECT_THAT(fixture.status("SORT (DATE) KOI8-R ALL"), StartsWith("NO [BADCHARSET"));
}

TEST(Thread, BothAlgorithms) {
  Options options;
  options.mailboxes = {{"INBOX", "", 0}};
  Fixture fixture(options);
  auto deliver = [&](std::string_view id, std::string_view references, std::string_view subject, int day) {
    fixture.server.deliver(
        "alice", "INBOX",
        fmt::format("Date: {}\r\nMessage-ID: <{}>\r\nReferences: {}\r\nSubject: {}\r\n\r\nx",
                    rfc5322_date_text(day * 86400), id, references, subject));
  };
  deliver("a", "", "One", 1);             // 1
  deliver("b", "<a>", "Re: One", 2);      // 2
  deliver("c", "<a> <b>", "Re: One", 4);  // 3
  deliver("d", "<a>", "Re: One", 3);      // 4
  deliver("e", "<lost>", "Two", 5);       // 5
  deliver("f", "<lost>", "Two", 6);       // 6
  deliver("g", "", "Re: One", 7);         // 7: joins by subject
  deliver("h", "", "Three", 8);           // 8
  fixture.status("NOOP");
  EXPECT_EQ(fixture.client->run("UID THREAD REFERENCES UTF-8 ALL")[0], "* THREAD (1 (2 3)(4)(7))((5)(6))(8)");
  EXPECT_EQ(fixture.client->run("THREAD ORDEREDSUBJECT UTF-8 ALL")[0], "* THREAD (1 (2)(4)(3)(7))(5 6)(8)");
  EXPECT_THAT(fixture.status("THREAD REFS UTF-8 ALL"), StartsWith("BAD"));
}

TEST(List, OptionsAndPatterns) {
  Fixture fixture({}, false);
  fixture.status("CREATE A/B/C");
  fixture.status("SUBSCRIBE A/B/C");
  EXPECT_THAT(fixture.client->run("LIST \"\" %"),
              testing::Contains(std::string("* LIST (\\HasChildren) \"/\" A")));
  EXPECT_THAT(fixture.client->run("LIST \"\" A/%"),
              ElementsAre("* LIST (\\HasChildren) \"/\" A/B", "OK List completed"));
  EXPECT_THAT(fixture.client->run("LIST A/ *C"),
              ElementsAre("* LIST (\\HasNoChildren) \"/\" A/B/C", "OK List completed"));
  EXPECT_THAT(
      fixture.client->run("LIST (SUBSCRIBED RECURSIVEMATCH) \"\" A"),
      ElementsAre("* LIST (\\HasChildren) \"/\" A (\"CHILDINFO\" (\"SUBSCRIBED\"))", "OK List completed"));
  EXPECT_THAT(
      fixture.all("LIST \"\" (INBOX Sent) RETURN (SUBSCRIBED SPECIAL-USE CHILDREN STATUS (MESSAGES UNSEEN))"),
      HasSubstr("* LIST (\\HasNoChildren \\Subscribed) \"/\" INBOX\n* STATUS INBOX (MESSAGES 20 UNSEEN 4)\n"
                "* LIST (\\HasNoChildren \\Subscribed \\Sent) \"/\" Sent\n* STATUS Sent (MESSAGES 5"));
  EXPECT_THAT(fixture.client->run("LIST (SPECIAL-USE) \"\" *"), testing::SizeIs(6));
  EXPECT_THAT(fixture.client->run("LIST \"\" \"\""),
              ElementsAre("* LIST (\\Noselect) \"/\" \"\"", "OK List completed"));
  EXPECT_THAT(fixture.client->run("LSUB \"\" A/*"),
              ElementsAre("* LSUB (\\HasNoChildren) \"/\" A/B/C", "OK Lsub completed"));
  EXPECT_THAT(fixture.status("LIST \"\" *****************"), StartsWith("NO [LIMIT]"));
}

TEST(Mailboxes, CreateRenameDelete) {
  Fixture fixture;
  EXPECT_THAT(fixture.status("CREATE \"R\xC3\xA9sum\xC3\xA9\""), StartsWith("OK [MAILBOXID"));
  EXPECT_THAT(fixture.status("CREATE Work (USE (\\Important))"), StartsWith("OK"));
  EXPECT_THAT(fixture.all("LIST \"\" Work"), HasSubstr("\\Important"));
  EXPECT_THAT(fixture.status("CREATE inbox"), StartsWith("NO [ALREADYEXISTS]"));
  EXPECT_THAT(fixture.status("RENAME Archive Old/Archive"), StartsWith("OK"));
  EXPECT_THAT(fixture.all("STATUS Old/Archive (MESSAGES)"), HasSubstr("MESSAGES 5"));
  EXPECT_THAT(fixture.status("RENAME Old Old/Sub"), StartsWith("NO"));
  EXPECT_THAT(fixture.status("DELETE Old"), StartsWith("OK"));
  EXPECT_THAT(fixture.all("LIST \"\" Old"), HasSubstr("\\Noselect"));
  EXPECT_THAT(fixture.status("DELETE INBOX"), StartsWith("NO"));
  EXPECT_THAT(fixture.status("RENAME INBOX Moved"), StartsWith("OK"));
  EXPECT_THAT(fixture.all("STATUS Moved (MESSAGES)"), HasSubstr("MESSAGES 20"));
  EXPECT_THAT(fixture.all("STATUS INBOX (MESSAGES)"), HasSubstr("MESSAGES 0"));
  EXPECT_THAT(fixture.all("GETQUOTAROOT INBOX"), HasSubstr("* QUOTA \"User quota\" (STORAGE "));
  EXPECT_THAT(fixture.all("MYRIGHTS INBOX"), HasSubstr("* MYRIGHTS INBOX lrswipkteacd"));
}

TEST(Mailboxes, CourierNamespace) {
  Options options = with_capabilities(capabilities_of("courier"));
  options.separator = '.';
  options.prefix = "INBOX.";
  Fixture fixture(options);
  EXPECT_THAT(fixture.all("NAMESPACE"), HasSubstr("* NAMESPACE ((\"INBOX.\" \".\")) NIL NIL"));
  EXPECT_THAT(fixture.all("LIST \"\" *"), HasSubstr("* LIST (\\HasNoChildren) \".\" INBOX.Sent"));
  EXPECT_THAT(fixture.all("LIST \"\" *"), HasSubstr("* LIST (\\HasChildren) \".\" INBOX\n"));
  EXPECT_THAT(fixture.status("CREATE Outside"), StartsWith("NO"));
  EXPECT_THAT(fixture.status("CREATE INBOX.Inside"), StartsWith("OK"));
}

TEST(Mailboxes, Utf8Names) {
  Options options;
  options.mailboxes = {{"INBOX", "", 0}, {"Entw\xC3\xBCrfe & Co", "", 0}};
  Fixture fixture(options);
  EXPECT_THAT(fixture.all("LIST \"\" E*"), HasSubstr("\"Entw&APw-rfe &- Co\""));
  EXPECT_THAT(fixture.all("ENABLE UTF8=ACCEPT"), HasSubstr("* ENABLED UTF8=ACCEPT"));
  EXPECT_THAT(fixture.all("LIST \"\" E*"), HasSubstr("\"Entw\xC3\xBCrfe & Co\""));
  EXPECT_THAT(fixture.status("SELECT \"Entw\xC3\xBCrfe & Co\""), StartsWith("OK"));
  EXPECT_EQ(mutf7_decode(mutf7_encode("\xF0\x9F\x93\xA7 & \xE2\x82\xAC")), "\xF0\x9F\x93\xA7 & \xE2\x82\xAC");
}

TEST(Qresync, TellsWhatHappened) {
  Fixture fixture;
  fixture.server.control("expunge alice INBOX 3:5");
  fixture.server.control("flag alice INBOX 7 +\\Flagged");
  TestClient client(fixture.server.port());
  client.run("LOGIN alice secret");
  EXPECT_THAT(client.status("SELECT INBOX (QRESYNC (1000000 20))"), StartsWith("BAD"));
  EXPECT_THAT(client.all("ENABLE QRESYNC"), HasSubstr("* ENABLED QRESYNC"));
  auto text = client.all("SELECT INBOX (QRESYNC (1000000 20))");
  EXPECT_THAT(text, HasSubstr("* VANISHED (EARLIER) 3:5\n"));
  EXPECT_THAT(text, HasSubstr("* 4 FETCH (UID 7 FLAGS (\\Flagged \\Seen) MODSEQ (22))\n"));
  EXPECT_THAT(client.all("SELECT INBOX (QRESYNC (999 20))"), Not(HasSubstr("VANISHED")));
  EXPECT_THAT(client.all("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 20 VANISHED)"),
              StartsWith("* VANISHED (EARLIER) 3:5\n* 4 FETCH (UID 7 FLAGS"));
  fixture.server.control("expunge alice INBOX 1");
  EXPECT_THAT(client.all("NOOP"), StartsWith("* VANISHED 1\n"));
  EXPECT_THAT(fixture.all("FETCH 1 UID"),
              Not(HasSubstr("EXPUNGE")));  // the other session, which doesn't know
}

TEST(View, ExpungesWaitForACommandThatAllowsThem) {
  Fixture fixture;
  fixture.server.control("expunge alice INBOX 2");
  fixture.server.control("deliver alice INBOX");
  auto lines = fixture.client->run("FETCH 3 UID");
  EXPECT_THAT(lines, ElementsAre("* 3 FETCH (UID 3)", "* 21 EXISTS", "* 1 RECENT", "OK Fetch completed"));
  EXPECT_THAT(fixture.client->run("FETCH 1:2 UID"), ElementsAre("* 1 FETCH (UID 1)", "OK Fetch completed"));
  EXPECT_THAT(fixture.client->run("UID FETCH 3 UID"),
              ElementsAre("* 3 FETCH (UID 3)", "* 2 EXPUNGE", "OK Fetch completed"));
  EXPECT_THAT(fixture.client->run("FETCH 20 UID"), ElementsAre("* 20 FETCH (UID 21)", "OK Fetch completed"));
}

TEST(Scale, UsersShareGeneratedMessages) {
  Options options;
  options.generated_users = 3;
  options.mailboxes = {{"INBOX", "", 100000}};
  TestImapd server(options);
  server.start();
  for (int i = 0; i < 3; ++i) {
    TestClient client(server.port());
    EXPECT_THAT(client.status(fmt::format("LOGIN user{} secret", i)), StartsWith("OK"));
    EXPECT_THAT(client.all("SELECT INBOX"), HasSubstr("* 100000 EXISTS"));
    EXPECT_THAT(client.all("UID FETCH 99999 (FLAGS ENVELOPE)"), HasSubstr("<00099999@postern.example>"));
    EXPECT_THAT(client.all(fmt::format("UID STORE {} +FLAGS (\\Draft)", i + 1)), HasSubstr("\\Draft"));
  }
  TestClient client(server.port());
  EXPECT_THAT(client.status("LOGIN user3 secret"), StartsWith("NO"));
  client.run("LOGIN user0 secret");
  client.run("SELECT INBOX");
  EXPECT_EQ(client.run("SEARCH DRAFT")[0], "* SEARCH 1");
  EXPECT_EQ(client.run("FETCH 1:* FLAGS").size(), 100001U);  // more than the output buffer takes at once
}

}  // namespace
}  // namespace postern::testimapd
