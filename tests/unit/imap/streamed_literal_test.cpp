// Commands whose literal comes piece by piece: what is written when, and what bars the connection meanwhile.
#include <gmock/gmock.h>

#include "multiplexer_support.hpp"
#include "postern/imap/limits.hpp"

namespace postern::imap {
namespace {

using testing::ElementsAre;

struct StreamingSink final : RecordingSink {
  std::deque<std::string> pieces;
  std::vector<std::uint64_t> asked;
  std::string on_literal(std::uint64_t left) override {
    asked.push_back(left);
    if (pieces.empty()) return {};
    auto piece = pieces.front();
    pieces.pop_front();
    return piece;
  }
};

Command append(std::uint64_t octets, const std::vector<std::string>& names) {
  const CapabilitySet capabilities(names);
  CommandBuilder builder("APPEND", capabilities);
  builder.sp().mailbox("Drafts").sp().streamed_literal(octets).write();
  auto made = builder.finish();
  EXPECT_TRUE(made);
  return std::move(*made);
}

struct StreamedLiteral : testing::Test {
  Multiplexer mux{nullptr};
  StreamingSink sink;
  RecordingSink other;
  StreamedLiteral() {
    EXPECT_TRUE(mux.feed("* OK hi\r\n"));
    sink.pieces = {"abc", "", "de"};
  }
};

TEST_F(StreamedLiteral, WaitsForLeaveAndGoesPieceByPiece) {
  ASSERT_TRUE(mux.submit(append(5, {}), sink));
  ASSERT_TRUE(mux.submit(command("NOOP"), other));
  EXPECT_EQ(mux.take_output(), "a1 APPEND Drafts {5}\r\n");
  EXPECT_FALSE(mux.in_streamed_literal());
  EXPECT_TRUE(sink.asked.empty());
  ASSERT_TRUE(mux.feed("+ go on\r\n"));
  EXPECT_TRUE(mux.in_streamed_literal());
  EXPECT_TRUE(mux.wants_output());
  EXPECT_EQ(mux.take_output(), "abc");
  EXPECT_EQ(mux.take_output(), "") << "not there yet; and nothing else goes between";
  EXPECT_EQ(mux.take_output(), "de\r\na2 NOOP\r\n");
  EXPECT_THAT(sink.asked, ElementsAre(5u, 2u, 2u));
  EXPECT_FALSE(mux.in_streamed_literal());
  ASSERT_TRUE(mux.feed("a1 OK [APPENDUID 1 2] done\r\na2 OK\r\n"));
  EXPECT_TRUE(sink.ok && other.ok);
}

TEST_F(StreamedLiteral, GoesAtOnceWhereItMay) {
  ASSERT_TRUE(mux.submit(append(5, {"LITERAL+"}), sink));
  EXPECT_EQ(mux.take_output(), "a1 APPEND Drafts {5+}\r\nabc");
  EXPECT_EQ(mux.take_output() + mux.take_output(), "de\r\n");
}

TEST_F(StreamedLiteral, ALargeOneWaitsEvenWhereItNeedNot) {
  EXPECT_FALSE(append(streamed_at_once_bytes_max, {"LITERAL+"}).streamed_waits);
  EXPECT_TRUE(append(streamed_at_once_bytes_max + 1, {"LITERAL+"}).streamed_waits);
  EXPECT_FALSE(append(literal_minus_bytes_max, {"LITERAL-"}).streamed_waits);
  EXPECT_TRUE(append(literal_minus_bytes_max + 1, {"LITERAL-"}).streamed_waits);
  EXPECT_TRUE(append(1, {}).streamed_waits);
}

TEST_F(StreamedLiteral, IsTheLastOfItsCommandAndNotEmpty) {
  CapabilitySet capabilities;
  CommandBuilder empty("APPEND", capabilities), two("APPEND", capabilities);
  empty.sp().streamed_literal(0);
  two.sp().streamed_literal(1).sp().streamed_literal(1);
  EXPECT_FALSE(empty.finish());
  EXPECT_FALSE(two.finish());
}

TEST_F(StreamedLiteral, NoMoreGoesThanWasAnnounced) {
  sink.pieces = {"abcdefgh"};
  ASSERT_TRUE(mux.submit(append(5, {"LITERAL+"}), sink));
  EXPECT_EQ(mux.take_output(), "a1 APPEND Drafts {5+}\r\nabcde\r\n");
}

TEST_F(StreamedLiteral, IsRefusedBeforeItBegins) {
  ASSERT_TRUE(mux.submit(append(5, {}), sink));
  ASSERT_TRUE(mux.submit(command("NOOP"), other));
  EXPECT_EQ(mux.take_output(), "a1 APPEND Drafts {5}\r\n");
  ASSERT_TRUE(mux.feed("a1 NO [OVERQUOTA] full\r\n"));
  EXPECT_EQ(sink.error.code, Errc::no);
  EXPECT_EQ(mux.take_output(), "a2 NOOP\r\n") << "the connection goes on";
}

TEST_F(StreamedLiteral, RefusedInTheMiddleItEndsTheConnection) {
  ASSERT_TRUE(mux.submit(append(5, {}), sink));
  (void)mux.take_output();
  ASSERT_TRUE(mux.feed("+\r\n"));
  (void)mux.take_output();
  const auto fed = mux.feed("a1 NO [OVERQUOTA] full\r\n");
  EXPECT_EQ(sink.done, 1);
  EXPECT_EQ(sink.text, "full");
  ASSERT_FALSE(fed) << "the server takes what comes for the rest of the literal";
  EXPECT_EQ(fed.error().code, Errc::out_of_step);
}

TEST_F(StreamedLiteral, AnOkInTheMiddleIsNoAnswer) {
  ASSERT_TRUE(mux.submit(append(5, {}), sink));
  (void)mux.take_output();
  ASSERT_TRUE(mux.feed("+\r\n"));
  (void)mux.take_output();
  EXPECT_FALSE(mux.feed("a1 OK done\r\n"));
  EXPECT_EQ(sink.done, 0);
  mux.fail_all(Error(make_error_code(Errc::closed)));
  EXPECT_EQ(sink.done, 1);
}

TEST_F(StreamedLiteral, AbandonedItBarsTheConnection) {
  const auto id = mux.submit(append(5, {"LITERAL+"}), sink);
  ASSERT_TRUE(mux.submit(command("NOOP"), other));
  EXPECT_EQ(mux.take_output(), "a1 APPEND Drafts {5+}\r\nabc");
  mux.abandon(*id);
  EXPECT_EQ(mux.take_output(), "");
  EXPECT_TRUE(mux.in_streamed_literal());
}

}  // namespace
}  // namespace postern::imap
