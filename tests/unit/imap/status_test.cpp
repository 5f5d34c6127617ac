// Status responses, response codes and continuations, as the grammar has them.
#include <gmock/gmock.h>

#include "parse_support.hpp"

namespace postern::imap {
namespace {

using testing::ElementsAre;

template <typename T>
T code_value(std::string_view code) {
  const auto r = parsed<StatusResponse>("* OK [" + std::string(code) + "] text");
  EXPECT_EQ(r.text, "text") << code;
  if (!std::holds_alternative<T>(r.code.value)) {
    ADD_FAILURE() << code << ": another kind of value";
    return {};
  }
  return std::get<T>(r.code.value);
}

TEST(StatusResponse, TaggedAndUntagged) {
  auto r = parsed<StatusResponse>("a1 OK LOGIN done");
  EXPECT_EQ(r.tag, "a1");
  EXPECT_EQ(r.status, Status::ok);
  EXPECT_EQ(r.text, "LOGIN done");
  EXPECT_EQ(r.code.name, "");
  r = parsed<StatusResponse>("* PREAUTH hi");
  EXPECT_EQ(r.tag, "");
  EXPECT_EQ(r.status, Status::preauth);
  EXPECT_EQ(parsed<StatusResponse>("* NO x").status, Status::no);
  EXPECT_EQ(parsed<StatusResponse>("a1 BAD x").status, Status::bad);
  EXPECT_EQ(parsed<StatusResponse>("* BYE x").status, Status::bye);
}

TEST(StatusResponse, CodesWithoutArguments) {
  const auto r = parsed<StatusResponse>("a1 NO [AuthenticationFailed] Wrong");
  EXPECT_EQ(r.code.name, "AUTHENTICATIONFAILED");
  EXPECT_EQ(r.code.arguments, "");
  EXPECT_TRUE(std::holds_alternative<std::monostate>(r.code.value));
  EXPECT_EQ(r.text, "Wrong");
}

TEST(StatusResponse, NumbersInCodes) {
  EXPECT_EQ(code_value<std::uint64_t>("UIDVALIDITY 3857529045"), 3857529045u);
  EXPECT_EQ(code_value<std::uint64_t>("UIDNEXT 4392"), 4392u);
  EXPECT_EQ(code_value<std::uint64_t>("UNSEEN 12"), 12u);
  EXPECT_EQ(code_value<std::uint64_t>("HIGHESTMODSEQ 9223372036854775807"), 9223372036854775807u);
}

TEST(StatusResponse, FlagsInCodes) {
  const auto flags = code_value<Flags>("PERMANENTFLAGS (\\Deleted \\Seen $Junk \\*)");
  EXPECT_EQ(flags.system, Flags::deleted | Flags::seen);
  EXPECT_THAT(flags.keywords, ElementsAre("$Junk"));
  EXPECT_TRUE(flags.any_keyword);
}

TEST(StatusResponse, SetsInCodes) {
  EXPECT_EQ(code_value<UidSet>("MODIFIED 7,9:10").to_string(), "7,9:10");
  const auto copy = code_value<CopyUid>("COPYUID 38505 304,319:320 3956:3958");
  EXPECT_EQ(copy.uid_validity, 38505u);
  EXPECT_THAT(copy.source, ElementsAre(304u, 319u, 320u));
  EXPECT_THAT(copy.destination, ElementsAre(3956u, 3957u, 3958u));
  const auto append = code_value<AppendUid>("APPENDUID 38505 3955:3956");
  EXPECT_EQ(append.uid_validity, 38505u);
  EXPECT_THAT(append.uids, ElementsAre(3955u, 3956u));
}

TEST(StatusResponse, CopyUidKeepsTheOrderOfItsPairs) {
  const auto copy = code_value<CopyUid>("COPYUID 1 5,2 10:11");
  EXPECT_THAT(copy.source, ElementsAre(5u, 2u));
  EXPECT_THAT(copy.destination, ElementsAre(10u, 11u));
}

TEST(StatusResponse, WordsInCodes) {
  EXPECT_THAT(code_value<std::vector<std::string>>("CAPABILITY imap4rev1 Idle"),
              ElementsAre("IMAP4REV1", "IDLE"));
  EXPECT_THAT(code_value<std::vector<std::string>>("BADCHARSET (UTF-8 \"US-ASCII\")"),
              ElementsAre("UTF-8", "US-ASCII"));
  EXPECT_THAT(code_value<std::vector<std::string>>("BADCHARSET"), ElementsAre());
  EXPECT_EQ(code_value<std::string>("MAILBOXID (F2212ea87-6097)"), "F2212ea87-6097");
}

TEST(StatusResponse, ArgumentsAreKeptAsText) {
  const auto r = parsed<StatusResponse>("a1 NO [REFERRAL imap://x/y] Try there");
  EXPECT_EQ(r.code.name, "REFERRAL");
  EXPECT_EQ(r.code.arguments, "imap://x/y");
  EXPECT_EQ(r.text, "Try there");
}

TEST(Continuation, TextAndCode) {
  EXPECT_EQ(parsed<Continuation>("+ Ready for more").text, "Ready for more");
  EXPECT_EQ(parsed<Continuation>("+ eyJzdGF0dXMiOiI0MDAifQ==").text, "eyJzdGF0dXMiOiI0MDAifQ==");
  EXPECT_EQ(parsed<Continuation>("+ [ALERT] hm").code.name, "ALERT");
  EXPECT_EQ(parsed<Continuation>("+ ").text, "");
}

TEST(Response, ALineEndAtTheEndIsTaken) {
  EXPECT_EQ(parsed<StatusResponse>("* OK hi\r\n").text, "hi");
  EXPECT_EQ(parsed<StatusResponse>("* OK hi\n").text, "hi");
}

TEST(Response, WhatIsNoResponseIsRefused) {
  for (const char* text : {"", " ", "*", "* ", "a1", "a1 ", "a1 MAYBE", "hello world", "* 5", "* 5 ", "* (",
                           "220 smtp ESMTP", "* 99999999999 EXISTS"}) {
    EXPECT_EQ(refusal(text), Errc::syntax) << text;
  }
}

TEST(Response, UnknownKindsAreNamed) {
  EXPECT_EQ(parsed<UnknownResponse>("* Frobnicate 1 2 (3").name, "FROBNICATE");
  EXPECT_EQ(parsed<UnknownResponse>("* 12 Frobnicate").name, "FROBNICATE");
}

TEST(Response, AnErrorSaysWhereAndNotWhat) {
  const auto r = parse_response("* STATUS secret");
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().context, "STATUS: items expected (octet 15)");
}

}  // namespace
}  // namespace postern::imap
