// Multiplexer: commands that are ended early, abandoned or failed, and sinks that call back.
#include <gmock/gmock.h>

#include "multiplexer_support.hpp"

namespace postern::imap {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Multiplexer, IdleEndsWithDone) {
  Connection c;
  RecordingSink sink, next;
  const CommandId id = c.submit(command("IDLE"), sink);
  c.submit(command("NOOP"), next);
  EXPECT_EQ(c.mux.take_output(), "a1 IDLE\r\n");
  c.feed("+ idling\r\n* 5 EXISTS\r\n");
  EXPECT_THAT(sink.continuations, ElementsAre("idling"));
  EXPECT_FALSE(c.mux.wants_output());
  c.mux.finish_idle(id);
  EXPECT_TRUE(c.mux.wants_output());
  EXPECT_EQ(c.mux.take_output(), "DONE\r\na2 NOOP\r\n");
  c.mux.finish_idle(id);
  EXPECT_FALSE(c.mux.wants_output()) << "once";
  c.feed("* 6 EXISTS\r\na1 OK idled\r\n");
  EXPECT_TRUE(sink.ok);
  EXPECT_EQ(next.done, 0) << "that was the end of the IDLE";
  c.feed("a2 OK\r\n");
  EXPECT_EQ(next.done, 1);
}

TEST(Multiplexer, BehindDoneAllButAContinuationMayFollow) {
  for (const char* name : {"SELECT INBOX", "UID SORT ALL", "IDLE", "AUTHENTICATE PLAIN", "STARTTLS"}) {
    Connection c;
    RecordingSink sink, next, last;
    const CommandId id = c.submit(command("IDLE"), sink);
    c.mux.take_output();
    c.feed("+\r\n");
    const bool exclusive = std::string_view(name).starts_with("SELECT");
    auto second = command(name);
    second.exclusive = exclusive;
    c.submit(std::move(second), next);
    c.submit(command("NOOP"), last);
    c.mux.finish_idle(id);
    const bool waits = !exclusive && !std::string_view(name).starts_with("UID");
    const auto line = "a2 " + std::string(name) + "\r\n";
    const std::string noop = exclusive ? "" : "a3 NOOP\r\n";
    EXPECT_EQ(c.mux.take_output(), "DONE\r\n" + (waits ? "" : line + noop));
    c.feed("a1 OK\r\n");
    EXPECT_EQ(sink.done, 1);
    EXPECT_EQ(c.mux.take_output(), waits ? line : "");
  }
}

TEST(Multiplexer, IdleIsFinishedAsSoonAsThePlusComes) {
  for (const bool written : {false, true}) {
    Connection c;
    RecordingSink sink;
    const CommandId id = c.submit(command("IDLE"), sink);
    if (written) c.mux.take_output();
    c.mux.finish_idle(id);
    if (!written) c.mux.take_output();
    EXPECT_FALSE(c.mux.wants_output());
    c.feed("+\r\n");
    EXPECT_EQ(c.mux.take_output(), "DONE\r\n");
  }
}

TEST(Multiplexer, IdleThatTheServerEndsGetsNoDone) {
  Connection c;
  RecordingSink sink;
  const CommandId id = c.submit(command("IDLE"), sink);
  c.mux.take_output();
  c.feed("+\r\n");
  c.mux.finish_idle(id);
  c.feed("a1 OK timeout\r\n");
  EXPECT_EQ(c.mux.take_output(), "");
  EXPECT_EQ(sink.done, 1);
  c.mux.finish_idle(id);
  EXPECT_FALSE(c.mux.wants_output());
}

TEST(Multiplexer, FinishIdleIsForIdleAlone) {
  Connection c;
  RecordingSink sink;
  const CommandId id = c.submit(command("NOOP"), sink);
  c.mux.take_output();
  c.mux.finish_idle(id);
  c.mux.finish_idle(99);
  EXPECT_FALSE(c.mux.wants_output());
}

TEST(Multiplexer, AnAbandonedCommandKeepsItsPlace) {
  Connection c;
  RecordingSink gone, next;
  const CommandId id = c.submit(command("UID SORT ALL", Expect::sort), gone);
  c.submit(command("UID SORT 1", Expect::sort), next);
  c.mux.take_output();
  c.mux.abandon(id);
  EXPECT_EQ(c.mux.in_flight(), 1u);
  EXPECT_FALSE(c.mux.wants_output()) << "its SORT is still to come";
  c.feed("* SORT 1 2 3\r\na1 OK\r\n");
  EXPECT_THAT(gone.data, IsEmpty());
  EXPECT_EQ(gone.done, 0);
  c.mux.take_output();
  c.feed("* SORT 7\r\na2 OK\r\n");
  EXPECT_THAT(next.numbers, ElementsAre(7u));
}

TEST(Multiplexer, AnAbandonedCommandThatWaitsIsDropped) {
  Connection c;
  RecordingSink a, b;
  const CommandId id = c.submit(command("NOOP"), a);
  c.submit(command("CHECK"), b);
  c.mux.abandon(id);
  EXPECT_EQ(c.mux.take_output(), "a2 CHECK\r\n");
  c.mux.fail_all(Error(make_error_code(Errc::closed)));
  EXPECT_EQ(a.done, 0);
  EXPECT_EQ(b.done, 1);
  c.mux.abandon(id);
}

TEST(Multiplexer, AnAbandonedLiteralIsSentToItsEnd) {
  Connection c;
  RecordingSink sink;
  Command literal = command("APPEND");
  literal.chunks = {"APPEND x {2}\r\n", "ab"};
  const CommandId id = c.submit(std::move(literal), sink);
  c.mux.take_output();
  c.mux.abandon(id);
  c.feed("+\r\n");
  EXPECT_EQ(c.mux.take_output(), "ab\r\n");
  c.feed("a1 OK\r\n");
  EXPECT_EQ(sink.done, 0);
  EXPECT_TRUE(c.mux.idle());
}

TEST(Multiplexer, AnAbandonedIdleEndsAndAnAbandonedAuthenticateIsCancelled) {
  Connection c;
  RecordingSink sink;
  CommandId id = c.submit(command("IDLE"), sink);
  c.mux.take_output();
  c.feed("+\r\n");
  c.mux.abandon(id);
  EXPECT_EQ(c.mux.take_output(), "DONE\r\n");
  c.feed("a1 OK\r\n");
  id = c.submit(command("AUTHENTICATE PLAIN"), sink);
  c.mux.take_output();
  c.mux.abandon(id);
  c.feed("+\r\n");
  EXPECT_EQ(c.mux.take_output(), "*\r\n");
}

TEST(Multiplexer, ASinkMaySubmitFromItsCallbacks) {
  Connection c;
  RecordingSink a, b, d;
  a.when_data = [&] { c.submit(command("CHECK"), b); };
  a.when_done = [&] { c.submit(command("NOOP"), d); };
  c.submit(command("UID FETCH 1 FLAGS", Expect::fetch), a);
  c.mux.take_output();
  c.feed("* 1 FETCH (UID 1)\r\na1 OK\r\n");
  EXPECT_EQ(c.mux.take_output(), "a2 CHECK\r\na3 NOOP\r\n");
}

TEST(Multiplexer, ASinkMayAbandonOthersAndItself) {
  Connection c;
  RecordingSink a, b;
  const CommandId first = c.submit(command("UID FETCH 1 FLAGS", Expect::fetch), a);
  const CommandId second = c.submit(command("UID FETCH 2 FLAGS", Expect::fetch), b);
  a.when_data = [&] {
    c.mux.abandon(first);
    c.mux.abandon(second);
  };
  c.mux.take_output();
  c.feed("* 1 FETCH (UID 1)\r\na1 OK\r\na2 OK\r\n");
  EXPECT_EQ(a.data.size(), 1u);
  EXPECT_THAT(b.data, IsEmpty());
  EXPECT_EQ(a.done + b.done, 0);
}

TEST(Multiplexer, ASinkMayFailEverything) {
  Connection c;
  RecordingSink a, b;
  a.when_data = [&] { c.mux.fail_all(Error(make_error_code(Errc::closed))); };
  c.submit(command("UID FETCH 1 FLAGS", Expect::fetch), a);
  c.submit(command("UID FETCH 2 FLAGS", Expect::fetch), b);
  c.mux.take_output();
  EXPECT_EQ(c.refused("* 1 FETCH (UID 1)\r\na1 OK\r\n"), Errc::closed);
  EXPECT_EQ(a.done, 1);
  EXPECT_EQ(b.done, 1);
  EXPECT_THAT(b.data, IsEmpty());
}

TEST(Multiplexer, AfterTheEndNothingIsTaken) {
  Connection c;
  RecordingSink sink, late;
  sink.when_done = [&] { EXPECT_EQ(c.mux.submit(command("NOOP"), late).error().code, Errc::closed); };
  c.submit(command("NOOP"), sink);
  c.mux.fail_all(Error(make_error_code(Errc::closed), "reset by peer"));
  EXPECT_EQ(sink.error.context, "reset by peer");
  EXPECT_EQ(c.mux.take_output(), "");
  EXPECT_EQ(c.refused("* OK\r\n"), Errc::closed);
  c.mux.fail_all(Error(make_error_code(Errc::closed)));
  EXPECT_EQ(sink.done, 1);
}

TEST(Multiplexer, SinksAreFailedInOrderAndMayAbandonThoseBehind) {
  Connection c;
  std::vector<int> order;
  RecordingSink sinks[4];
  std::vector<CommandId> ids;
  for (int i = 0; i < 4; ++i) {
    sinks[i].when_done = [&, i] {
      order.push_back(i);
      if (i == 1) c.mux.abandon(ids[2]);
    };
    ids.push_back(c.submit(command("SEARCH", Expect::search), sinks[i]));
  }
  c.mux.take_output();
  c.mux.fail_all(Error(make_error_code(Errc::closed)));
  EXPECT_THAT(order, ElementsAre(0, 1, 3));
}

TEST(Multiplexer, ACommandWithoutOctetsIsRefused) {
  Connection c;
  RecordingSink sink;
  EXPECT_EQ(c.mux.submit(Command{}, sink).error().code, Errc::unencodable);
}

}  // namespace
}  // namespace postern::imap
