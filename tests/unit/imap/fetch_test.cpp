// FETCH items one by one (ENVELOPE and BODYSTRUCTURE have their own tests).
#include <gmock/gmock.h>

#include "parse_support.hpp"

namespace postern::imap {
namespace {

using testing::ElementsAre;

TEST(Fetch, AnIndexLine) {
  const auto d = fetched(
      "(UID 34 FLAGS (\\Seen $Work) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" RFC822.SIZE 999 "
      "MODSEQ (624140003))");
  EXPECT_EQ(d.seq, 7u);
  EXPECT_EQ(d.uid, 34u);
  ASSERT_TRUE(d.flags);
  EXPECT_EQ(d.flags->system, Flags::seen);
  EXPECT_THAT(d.flags->keywords, ElementsAre("$Work"));
  EXPECT_EQ(d.internal_date, 837'596'665);
  EXPECT_EQ(d.size, 999u);
  EXPECT_EQ(d.modseq, 624140003u);
}

TEST(Fetch, AllSystemFlags) {
  const auto d = fetched("(FLAGS (\\SEEN \\answered \\Flagged \\Deleted \\Draft \\Recent))");
  EXPECT_EQ(d.flags->system, 63);
  EXPECT_TRUE(d.flags->keywords.empty());
}

TEST(Fetch, KeywordsComeOnceInTheServersSpelling) {
  const auto d = fetched("(FLAGS ($Work Junk $WORK \\Custom))");
  EXPECT_THAT(d.flags->keywords, ElementsAre("$Work", "Junk", "\\Custom"));
}

TEST(Fetch, NoFlagsIsNotUnknownFlags) {
  EXPECT_TRUE(fetched("(FLAGS ())").flags);
  EXPECT_FALSE(fetched("(UID 1)").flags);
}

TEST(Fetch, BodySections) {
  const auto d = fetched(
      "(BODY[] {3}\r\na)b BODY[HEADER] \"x\" BODY[1.2.MIME]<512> NIL BODY[HEADER.FIELDS (FROM TO)] {0}\r\n)");
  ASSERT_EQ(d.sections.size(), 4u);
  EXPECT_EQ(d.sections[0].section, "");
  EXPECT_EQ(d.sections[0].data, "a)b");
  EXPECT_EQ(d.sections[0].origin, std::nullopt);
  EXPECT_EQ(d.sections[1].section, "HEADER");
  EXPECT_EQ(d.sections[1].data, "x");
  EXPECT_EQ(d.sections[2].section, "1.2.MIME");
  EXPECT_EQ(d.sections[2].origin, 512u);
  EXPECT_EQ(d.sections[2].data, std::nullopt);
  EXPECT_EQ(d.sections[3].section, "HEADER.FIELDS (FROM TO)");
  EXPECT_EQ(d.sections[3].data, "");
}

TEST(Fetch, BinarySections) {
  using namespace std::string_literals;
  const auto e = fetched("(BINARY[1] ~{3}\r\na\0b BINARY.SIZE[2.1] 77)"s);
  ASSERT_EQ(e.sections.size(), 1u);
  EXPECT_TRUE(e.sections[0].binary);
  EXPECT_EQ(e.sections[0].section, "1");
  EXPECT_EQ(e.sections[0].data, std::string("a\0b", 3));
  EXPECT_THAT(e.binary_sizes, ElementsAre(std::pair<std::string, std::uint64_t>("2.1", 77)));
}

TEST(Fetch, TheOldNamesOfSections) {
  const auto d = fetched("(RFC822 {1}\r\na RFC822.HEADER \"b\" RFC822.TEXT NIL)");
  ASSERT_EQ(d.sections.size(), 3u);
  EXPECT_EQ(d.sections[0].section, "");
  EXPECT_EQ(d.sections[1].section, "HEADER");
  EXPECT_EQ(d.sections[1].data, "b");
  EXPECT_EQ(d.sections[2].section, "TEXT");
}

TEST(Fetch, ObjectIds) {
  auto d = fetched("(EMAILID (M6d99ac3275bb4e) THREADID (T64b478a75b7ea9))");
  EXPECT_EQ(d.email_id, "M6d99ac3275bb4e");
  EXPECT_EQ(d.thread_id, "T64b478a75b7ea9");
  d = fetched("(EMAILID (M1) THREADID NIL X-GUID 3b5c2e7d)");
  EXPECT_EQ(d.thread_id, std::nullopt);
  EXPECT_EQ(d.guid, "3b5c2e7d");
}

TEST(Fetch, GmailsItems) {
  const auto d = fetched(
      "(X-GM-THRID 1278455344230334865 X-GM-MSGID 1278455344230334866 X-GM-LABELS (\\Inbox \"\\\\Sent\" "
      "Important \"Muy Importante\") UID 4)");
  EXPECT_EQ(d.gm_thrid, 1278455344230334865u);
  EXPECT_EQ(d.gm_msgid, 1278455344230334866u);
  EXPECT_THAT(*d.gm_labels, ElementsAre("\\Inbox", "\\Sent", "Important", "Muy Importante"));
}

TEST(Fetch, PreviewAndSaveDate) {
  auto d = fetched("(PREVIEW \"Hello\" SAVEDATE \"17-Jul-1996 02:44:25 -0700\")");
  EXPECT_EQ(d.preview, "Hello");
  EXPECT_EQ(d.save_date, 837'596'665);
  d = fetched("(SAVEDATE NIL PREVIEW NIL)");
  EXPECT_EQ(d.preview, std::nullopt);
  EXPECT_EQ(d.save_date, std::nullopt);
  EXPECT_EQ(fetched("(PREVIEW (FUZZY \"Hi\"))").preview, "Hi") << "as before RFC 8970";
}

TEST(Fetch, SplitAtEveryByteItIsRefusedOrPartOfTheWhole) {
  const std::string whole =
      "* 7 FETCH (UID 34 FLAGS (\\Seen) BODY[] {3}\r\nabc ENVELOPE (\"d\" \"s\" NIL NIL NIL NIL NIL NIL NIL "
      "\"<x>\") X-UNKNOWN (a (b \"c\")) RFC822.SIZE 5)";
  for (std::size_t end = 0; end < whole.size(); ++end) {
    const auto r = parse_response(whole.substr(0, end));
    if (!r || !std::holds_alternative<FetchResponse>(*r)) continue;
    const auto& d = std::get<FetchResponse>(*r).data;
    if (!d.sections.empty()) EXPECT_EQ(d.sections[0].data, "abc");
    if (d.envelope) EXPECT_EQ(d.envelope->subject, "s");
  }
}

TEST(Fetch, AnotherSequenceNumber) {
  EXPECT_EQ(parsed<FetchResponse>("* 4294967295 FETCH (UID 4294967295)").data.uid, 4294967295u);
  EXPECT_EQ(refusal("* 4294967296 FETCH (UID 1)"), Errc::syntax);
}

}  // namespace
}  // namespace postern::imap
