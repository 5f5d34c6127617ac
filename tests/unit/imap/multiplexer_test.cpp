// Multiplexer: what is written when, and who is told what.
#include <gmock/gmock.h>

#include "multiplexer_support.hpp"
#include "postern/imap/limits.hpp"

namespace postern::imap {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Multiplexer, NothingIsWrittenBeforeTheGreeting) {
  Multiplexer mux(nullptr);
  RecordingSink sink;
  ASSERT_TRUE(mux.submit(command("NOOP"), sink));
  EXPECT_FALSE(mux.wants_output());
  EXPECT_EQ(mux.take_output(), "");
  EXPECT_FALSE(mux.greeting());
  ASSERT_TRUE(mux.feed("* OK [CAPABILITY IDLE] hi\r\n"));
  EXPECT_EQ(mux.greeting()->code.name, "CAPABILITY");
  EXPECT_TRUE(mux.wants_output());
  EXPECT_EQ(mux.take_output(), "a1 NOOP\r\n");
  EXPECT_FALSE(mux.wants_output());
}

TEST(Multiplexer, GreetingsThatAreNone) {
  for (const char* text :
       {"+OK POP3\r\n", "220 smtp ESMTP\r\n", "HTTP/1.1 400 Bad Request\r\n", "\x16\x03\x01", "a1 OK hi\r\n",
        "* 5 EXISTS\r\n", "*\r\n", "\r\nSSH-2.0-x\r\n", "* X\r\n"}) {
    Multiplexer mux(nullptr);
    const auto ok = mux.feed(text);
    ASSERT_FALSE(ok) << text;
    EXPECT_EQ(ok.error().code, Errc::not_imap) << text;
    EXPECT_EQ(mux.feed("* OK hi\r\n").error().code, Errc::closed);
  }
}

TEST(Multiplexer, GreetingsThatSayNo) {
  Multiplexer bye(nullptr), no(nullptr);
  const auto ok = bye.feed("* BYE too many connections\r\n");
  EXPECT_EQ(ok.error().code, Errc::bye);
  EXPECT_EQ(ok.error().context, "too many connections");
  EXPECT_EQ(bye.greeting()->status, Status::bye);
  EXPECT_EQ(no.feed("* NO busy\r\n").error().code, Errc::bye);
}

TEST(Multiplexer, PreauthIsAGreetingAndEmptyLinesMayComeBefore) {
  Multiplexer mux(nullptr);
  ASSERT_TRUE(mux.feed("\r\n\r\n* PREAUTH hi\r\n"));
  EXPECT_EQ(mux.greeting()->status, Status::preauth);
}

TEST(Multiplexer, AGreetingEndsAtItsBound) {
  const auto greeting = [](std::size_t octets) { return "* OK " + std::string(octets - 5, 'x'); };
  Multiplexer at(nullptr), past(nullptr), blank(nullptr);
  EXPECT_TRUE(at.feed(greeting(greeting_bytes_max)));
  EXPECT_TRUE(at.feed("\r\n"));
  EXPECT_EQ(past.feed(greeting(greeting_bytes_max + 1)).error().code, Errc::not_imap);
  EXPECT_EQ(blank.feed(std::string(greeting_bytes_max + 1, '\n')).error().code, Errc::not_imap);
}

TEST(Multiplexer, CommandsArePipelinedInOnePiece) {
  Connection c;
  RecordingSink a, b;
  c.submit(command("UID FETCH 1 FLAGS", Expect::fetch), a);
  c.submit(command("UID FETCH 2 FLAGS", Expect::fetch), b);
  EXPECT_EQ(c.mux.waiting(), 2u);
  EXPECT_EQ(c.mux.take_output(), "a1 UID FETCH 1 FLAGS\r\na2 UID FETCH 2 FLAGS\r\n");
  EXPECT_EQ(c.mux.in_flight(), 2u);
  EXPECT_EQ(c.mux.waiting(), 0u);
  c.feed("a2 OK second\r\n");
  EXPECT_EQ(a.done, 0);
  EXPECT_EQ(b.text, "second");
  c.feed("* 1 FETCH (UID 1 FLAGS ())\r\nA1 ok first\r\n");
  EXPECT_EQ(a.text, "first") << "the tag in other case";
  EXPECT_THAT(a.data, ElementsAre(index_of<FetchResponse>));
  EXPECT_TRUE(c.mux.idle());
}

TEST(Multiplexer, FetchReachesEverySinkThatExpectsIt) {
  Connection c;
  RecordingSink a, b, other;
  c.submit(command("UID FETCH 1 FLAGS", Expect::fetch), a);
  c.submit(command("UID FETCH 2 FLAGS", Expect::fetch), b);
  c.submit(command("NOOP"), other);
  c.mux.take_output();
  c.feed("* 1 FETCH (UID 1)\r\n* VANISHED (EARLIER) 3\r\n* VANISHED 4\r\n* 5 EXISTS\r\n");
  EXPECT_EQ(a.data.size(), 2u);
  EXPECT_EQ(b.data.size(), 2u);
  EXPECT_THAT(other.data, IsEmpty());
  EXPECT_EQ(c.observer.seen.size(), 4u);
}

TEST(Multiplexer, KindsWithoutACorrelatorAreNeverTwiceInFlight) {
  for (const Expect kind :
       {Expect::search, Expect::sort, Expect::thread, Expect::list, Expect::status, Expect::other}) {
    Connection c;
    RecordingSink a, b;
    c.submit(command("FIRST", kind), a);
    c.submit(command("SECOND", kind | Expect::fetch), b);
    EXPECT_EQ(c.mux.take_output(), "a1 FIRST\r\n");
    EXPECT_FALSE(c.mux.wants_output());
    c.feed("a1 OK\r\n");
    EXPECT_TRUE(c.mux.wants_output());
    EXPECT_EQ(c.mux.take_output(), "a2 SECOND\r\n");
  }
}

TEST(Multiplexer, DifferentKindsAreInFlightTogether) {
  Connection c;
  RecordingSink search, sort, thread, esearch;
  c.submit(command("UID SEARCH ALL", Expect::search), search);
  c.submit(command("UID SORT ALL", Expect::sort), sort);
  c.submit(command("UID THREAD", Expect::thread), thread);
  c.mux.take_output();
  EXPECT_EQ(c.mux.in_flight(), 3u);
  c.feed("* SORT 3 2 1\r\n* SEARCH 1 2\r\n* THREAD (1)\r\n");
  EXPECT_THAT(sort.numbers, ElementsAre(3u, 2u, 1u));
  EXPECT_THAT(search.numbers, ElementsAre(1u, 2u));
  EXPECT_THAT(thread.data, ElementsAre(index_of<ThreadResponse>));
}

TEST(Multiplexer, EsearchIsMatchedByItsTag) {
  Connection c;
  RecordingSink a, b;
  c.submit(command("UID SEARCH RETURN (ALL) 1", Expect::esearch), a);
  c.submit(command("UID SEARCH RETURN (ALL) 2", Expect::esearch), b);
  c.mux.take_output();
  EXPECT_EQ(c.mux.in_flight(), 2u);
  c.feed("* ESEARCH (TAG \"A2\") UID ALL 5\r\n* ESEARCH (TAG \"zz\") UID ALL 6\r\n");
  EXPECT_THAT(a.data, IsEmpty());
  EXPECT_EQ(b.data.size(), 1u);
}

TEST(Multiplexer, EsearchWithoutATagIsForTheOnlyOneItCanBeFor) {
  Connection c;
  RecordingSink a, b;
  c.submit(command("UID SEARCH RETURN () 1", Expect::esearch), a);
  c.mux.take_output();
  c.feed("* ESEARCH COUNT 5\r\n");
  EXPECT_EQ(a.data.size(), 1u);
  c.submit(command("UID SEARCH RETURN () 2", Expect::esearch), b);
  c.mux.take_output();
  c.feed("* ESEARCH COUNT 5\r\na1 OK\r\na2 OK\r\n");
  EXPECT_EQ(a.error.code, Errc::syntax) << "rather no answer than the other's";
  EXPECT_EQ(b.error.code, Errc::syntax);
}

TEST(Multiplexer, OtherDataGoesToTheOneThatExpectsIt) {
  Connection c;
  RecordingSink a;
  c.submit(command("NAMESPACE", Expect::other), a);
  c.mux.take_output();
  c.feed("* NAMESPACE NIL NIL NIL\r\n* 5 EXISTS\r\n* LIST () \"/\" a\r\n");
  EXPECT_THAT(a.data, ElementsAre(index_of<NamespaceResponse>));
}

TEST(Multiplexer, AnExclusiveCommandIsAlone) {
  Connection c;
  RecordingSink before, select, after;
  c.submit(command("NOOP"), before);
  c.submit(command("SELECT INBOX", Expect::other, true), select);
  c.submit(command("NOOP"), after);
  EXPECT_EQ(c.mux.take_output(), "a1 NOOP\r\n");
  c.feed("a1 OK\r\n");
  EXPECT_EQ(c.mux.take_output(), "a2 SELECT INBOX\r\n");
  c.feed("* FLAGS (\\Seen)\r\n* 3 EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY 1] x\r\n");
  EXPECT_THAT(select.data, ElementsAre(index_of<FlagsResponse>, index_of<ExistsResponse>,
                                       index_of<RecentResponse>, index_of<StatusResponse>));
  EXPECT_EQ(c.mux.take_output(), "");
  c.feed("a2 OK [READ-WRITE] done\r\n");
  EXPECT_EQ(c.mux.take_output(), "a3 NOOP\r\n");
}

TEST(Multiplexer, CommandsInFlightEndAtTheirBound) {
  Connection c({.in_flight = 2, .waiting = 3});
  RecordingSink sink;
  for (int i = 0; i < 3; ++i) c.submit(command("NOOP"), sink);
  EXPECT_EQ(c.mux.submit(command("NOOP"), sink).error().code, Errc::too_large);
  EXPECT_EQ(c.mux.take_output(), "a1 NOOP\r\na2 NOOP\r\n");
  EXPECT_EQ(c.mux.in_flight(), 2u);
  EXPECT_TRUE(c.mux.submit(command("NOOP"), sink)) << "there is room again";
  c.feed("a1 OK\r\n");
  EXPECT_EQ(c.mux.take_output(), "a3 NOOP\r\n");
}

TEST(Multiplexer, LiteralsAwaitTheServersPlus) {
  Connection c;
  RecordingSink login, other;
  Command literal = command("LOGIN {2}\r\n");
  literal.chunks = {"LOGIN {2}\r\n", "ab {3}\r\n", "cde"};
  c.submit(std::move(literal), login);
  c.submit(command("NOOP"), other);
  EXPECT_EQ(c.mux.take_output(), "a1 LOGIN {2}\r\n");
  EXPECT_FALSE(c.mux.wants_output()) << "nothing else is written while + is awaited";
  c.feed("+ go\r\n");
  EXPECT_EQ(c.mux.take_output(), "ab {3}\r\n");
  c.feed("* 1 EXISTS\r\n+\r\n");
  EXPECT_EQ(c.mux.take_output(), "cde\r\na2 NOOP\r\n");
  EXPECT_THAT(login.continuations, IsEmpty());
  c.feed("a1 OK in\r\n");
  EXPECT_TRUE(login.ok);
}

TEST(Multiplexer, ANoInPlaceOfThePlusEndsTheCommand) {
  for (const char* answer : {"a1 NO [TOOBIG] too large\r\n", "a1 BAD what\r\n"}) {
    Connection c;
    RecordingSink append, other;
    Command literal = command("APPEND");
    literal.chunks = {"APPEND x {2}\r\n", "ab"};
    c.submit(std::move(literal), append);
    c.submit(command("NOOP"), other);
    c.mux.take_output();
    c.feed(answer);
    EXPECT_EQ(append.done, 1);
    EXPECT_FALSE(append.ok);
    EXPECT_EQ(c.mux.take_output(), "a2 NOOP\r\n") << "its other chunks are dropped";
  }
}

TEST(Multiplexer, AnOkBeforeTheLiteralIsOutOfStep) {
  Connection c;
  RecordingSink sink;
  Command literal = command("APPEND");
  literal.chunks = {"APPEND x {2}\r\n", "ab"};
  c.submit(std::move(literal), sink);
  c.mux.take_output();
  EXPECT_EQ(c.refused("a1 OK\r\n"), Errc::out_of_step);
  EXPECT_EQ(sink.done, 0);
  c.mux.fail_all(Error(make_error_code(Errc::closed)));
  EXPECT_EQ(sink.done, 1);
}

TEST(Multiplexer, AuthenticateAnswersContinuations) {
  Connection c;
  RecordingSink sink;
  sink.answers = {"", "AGEAYg==", "x\r\na2 DELETE INBOX"};
  Command authenticate = command("AUTHENTICATE PLAIN");
  authenticate.name = "AUTHENTICATE PLAIN";
  authenticate.secret = true;
  c.submit(std::move(authenticate), sink);
  EXPECT_EQ(c.mux.take_output(), "a1 AUTHENTICATE PLAIN\r\n");
  c.feed("+ \r\n");
  EXPECT_EQ(c.mux.take_output(), "\r\n");
  EXPECT_FALSE(c.mux.wants_output());
  c.feed("+ eA==\r\n");
  EXPECT_EQ(c.mux.take_output(), "AGEAYg==\r\n");
  EXPECT_TRUE(c.mux.output_secret());
  c.feed("+\r\n");
  EXPECT_EQ(c.mux.take_output(), "*\r\n") << "no answer holds a line break";
  EXPECT_THAT(sink.continuations, ElementsAre("", "eA==", ""));
  c.feed("a1 NO [AUTHENTICATIONFAILED] wrong\r\n");
  EXPECT_EQ(sink.error.code, Errc::no);
  EXPECT_EQ(sink.error.context, "[AUTHENTICATIONFAILED] wrong");
}

TEST(Multiplexer, AContinuationNobodyAskedForIsOutOfStep) {
  Connection none, one;
  RecordingSink sink;
  EXPECT_EQ(none.refused("+ go\r\n"), Errc::out_of_step);
  one.submit(command("NOOP"), sink);
  one.mux.take_output();
  EXPECT_EQ(one.refused("+ go\r\n"), Errc::out_of_step);
}

TEST(Multiplexer, ATagNobodyWaitsForIsOutOfStep) {
  Connection c;
  RecordingSink sink;
  EXPECT_EQ(c.refused("a1 OK\r\n"), Errc::out_of_step);
  Connection d;
  d.submit(command("NOOP"), sink);
  EXPECT_EQ(d.refused("a1 OK\r\n"), Errc::out_of_step) << "not written yet";
  EXPECT_EQ(d.mux.take_output(), "") << "a broken connection is not written to";
}

TEST(Multiplexer, ByeIsReportedBehindWhatCameWithIt) {
  Connection c;
  RecordingSink a, b;
  c.submit(command("NOOP"), a);
  c.submit(command("NOOP"), b);
  c.mux.take_output();
  const auto ok = c.mux.feed("* BYE [UNAVAILABLE] restart\r\na1 OK\r\n");
  EXPECT_EQ(ok.error().code, Errc::bye);
  EXPECT_EQ(ok.error().context, "[UNAVAILABLE] restart");
  EXPECT_EQ(a.done, 1);
  EXPECT_EQ(b.done, 0);
}

TEST(Multiplexer, ByeAfterLogoutIsNoError) {
  Connection c;
  RecordingSink sink;
  c.submit(command("LOGOUT"), sink);
  c.mux.take_output();
  c.feed("* BYE logging out\r\na1 OK bye\r\n");
  EXPECT_TRUE(sink.ok);
}

TEST(Multiplexer, ABrokenResponseIsSkippedAndCounted) {
  Connection c;
  RecordingSink sink;
  c.submit(command("UID FETCH 1:2 FLAGS", Expect::fetch), sink);
  c.mux.take_output();
  c.feed("* 1 FETCH nonsense\r\n\r\nhello\r\n* 2 FETCH (UID 2)\r\na1 OK\r\n");
  EXPECT_EQ(c.mux.skipped_responses(), 3u);
  EXPECT_EQ(sink.data.size(), 1u);
  EXPECT_TRUE(sink.ok);
}

TEST(Multiplexer, ASearchWhoseAnswerWasSkippedFails) {
  Connection c;
  RecordingSink search, sort, fetch;
  c.submit(command("UID SEARCH ALL", Expect::search), search);
  c.submit(command("UID SORT ALL", Expect::sort), sort);
  c.submit(command("UID FETCH 1 FLAGS", Expect::fetch), fetch);
  c.mux.take_output();
  c.feed("* SEARCH 1 x\r\na1 OK\r\na2 OK\r\na3 OK\r\n");
  EXPECT_EQ(search.error.code, Errc::syntax);
  EXPECT_TRUE(sort.ok);
  EXPECT_TRUE(fetch.ok);
}

TEST(Multiplexer, ASortThatIsTooLargeFails) {
  Connection c;
  RecordingSink sort;
  c.submit(command("UID SORT ALL", Expect::sort), sort);
  c.mux.take_output();
  std::string line = "* SORT";
  while (line.size() <= line_bytes_max) line += " 4000000000";
  c.feed(line + "\r\na1 OK\r\n");
  EXPECT_EQ(sort.error.code, Errc::too_large);
  EXPECT_EQ(c.mux.skipped_responses(), 1u);
}

TEST(Multiplexer, OctetsBehindStarttlsAreOutOfStep) {
  Connection good, bad;
  RecordingSink a, b;
  good.submit(command("STARTTLS"), a);
  good.mux.take_output();
  good.feed("a1 OK go\r\n");
  EXPECT_TRUE(a.ok);
  bad.submit(command("STARTTLS"), b);
  bad.mux.take_output();
  EXPECT_EQ(bad.refused("a1 OK go\r\n* CAPABILITY X\r\n"), Errc::out_of_step);
  EXPECT_THAT(bad.observer.seen, IsEmpty());
}

TEST(Multiplexer, SecretsAreToldFromTheRest) {
  Connection c;
  RecordingSink sink;
  c.submit(command("NOOP"), sink);
  EXPECT_EQ(c.mux.take_output(), "a1 NOOP\r\n");
  EXPECT_FALSE(c.mux.output_secret());
  Command login = command("LOGIN a b");
  login.secret = true;
  c.submit(std::move(login), sink);
  EXPECT_EQ(c.mux.take_output(), "a2 LOGIN a b\r\n");
  EXPECT_TRUE(c.mux.output_secret());
  EXPECT_EQ(c.mux.take_output(), "");
  EXPECT_FALSE(c.mux.output_secret());
}

}  // namespace
}  // namespace postern::imap
