// What servers really send. One test a quirk, named after what is odd; those of ENVELOPE, BODYSTRUCTURE and
// dates stand with their parsers' tests.
#include <gmock/gmock.h>

#include "parse_support.hpp"

namespace postern::imap {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Quirk, NoTextBehindOk) {
  EXPECT_EQ(parsed<StatusResponse>("a1 OK").status, Status::ok);
  EXPECT_EQ(parsed<StatusResponse>("* OK").text, "");
  EXPECT_EQ(parsed<StatusResponse>("* OK [ALERT]").code.name, "ALERT");
}

TEST(Quirk, NoSpaceBehindTheCode) {
  const auto r = parsed<StatusResponse>("a1 OK [READ-WRITE]Done");
  EXPECT_EQ(r.code.name, "READ-WRITE");
  EXPECT_EQ(r.text, "Done");
}

TEST(Quirk, NoSpaceBeforeTheCode) {
  EXPECT_EQ(parsed<StatusResponse>("* OK[UIDNEXT 5] x").code.name, "UIDNEXT");
}

TEST(Quirk, ACodeWithoutItsBracket) {
  auto r = parsed<StatusResponse>("* OK [PERMANENTFLAGS (\\Answered \\Deleted \\*) Limited");
  EXPECT_EQ(r.code.name, "PERMANENTFLAGS");
  EXPECT_EQ(std::get<Flags>(r.code.value).system, Flags::answered | Flags::deleted);
  r = parsed<StatusResponse>("* OK [UIDVALIDITY 7");
  EXPECT_EQ(std::get<std::uint64_t>(r.code.value), 7u);
}

TEST(Quirk, ACodeWithUnbalancedParentheses) {
  const auto r = parsed<StatusResponse>("* OK [PERMANENTFLAGS (\\Answered \\Seen] Limited");
  EXPECT_EQ(std::get<Flags>(r.code.value).system, Flags::answered | Flags::seen);
  EXPECT_EQ(r.text, "Limited");
}

TEST(Quirk, BracketsInsideTheCode) {
  auto r = parsed<StatusResponse>("* OK [PERMANENTFLAGS ([a] x] \\Seen)] Limited");
  EXPECT_THAT(std::get<Flags>(r.code.value).keywords, ElementsAre("[a]", "x]"));
  EXPECT_EQ(r.text, "Limited");
  r = parsed<StatusResponse>("* NO [X \"a]b\"] text");
  EXPECT_EQ(r.code.arguments, "\"a]b\"");
}

TEST(Quirk, AQuoteThatNeverCloses) {
  const auto r = parsed<StatusResponse>("* NO [X don\"t] text");
  EXPECT_EQ(r.code.name, "X");
  EXPECT_EQ(r.text, "text");
}

TEST(Quirk, QuotedNumbersInCodes) {
  EXPECT_EQ(std::get<std::uint64_t>(parsed<StatusResponse>("* OK [UIDVALIDITY \"12345\"] x").code.value),
            12345u);
}

TEST(Quirk, NonsenseInCodesLeavesTheText) {
  for (const char* code : {"UIDNEXT", "UIDNEXT x", "UIDNEXT -1", "UIDNEXT NIL", "COPYUID", "COPYUID 1 2:3 4",
                           "COPYUID x y z", "COPYUID 1 * 2", "APPENDUID 1", "APPENDUID", "MODIFIED x",
                           "MAILBOXID ()", "COPYUID 1 1:4294967295 1:4294967295"}) {
    const auto r = parsed<StatusResponse>("a1 OK [" + std::string(code) + "] done");
    EXPECT_TRUE(std::holds_alternative<std::monostate>(r.code.value)) << code;
    EXPECT_EQ(r.text, "done");
  }
}

TEST(Quirk, CopyUidWithEmptySets) {
  const auto r = parsed<StatusResponse>("a1 OK [COPYUID 1234  ] done");
  const auto& copy = std::get<CopyUid>(r.code.value);
  EXPECT_EQ(copy.uid_validity, 1234u);
  EXPECT_THAT(copy.source, IsEmpty());
}

TEST(Quirk, CapabilitiesInTheGreeting) {
  const auto r = parsed<StatusResponse>("* OK [CAPABILITY IMAP4rev1 SASL-IR  ] Dovecot ready.");
  EXPECT_THAT(std::get<std::vector<std::string>>(r.code.value), ElementsAre("IMAP4REV1", "SASL-IR"));
}

TEST(Quirk, APlusWithoutASpace) {
  EXPECT_EQ(parsed<Continuation>("+").text, "");
  EXPECT_EQ(parsed<Continuation>("+idling").text, "idling");
  EXPECT_EQ(parsed<Continuation>("+\r\n").text, "");
}

TEST(Quirk, UntaggedWithoutASpace) {
  EXPECT_EQ(parsed<ExistsResponse>("*5 EXISTS").count, 5u);
  EXPECT_EQ(parsed<StatusResponse>("*OK hi").text, "hi");
}

TEST(Quirk, ExtraSpaces) {
  EXPECT_EQ(parsed<ExistsResponse>("*  5  EXISTS ").count, 5u);
  EXPECT_EQ(parsed<StatusResponse>("a1  OK  done").status, Status::ok);
  EXPECT_EQ(fetched(" ( UID  5   FLAGS  ( \\Seen  ) ) ").uid, 5u);
}

TEST(Quirk, LowerCase) {
  EXPECT_EQ(parsed<ExistsResponse>("* 5 exists").count, 5u);
  EXPECT_EQ(parsed<StatusResponse>("a1 ok done").status, Status::ok);
  EXPECT_EQ(parsed<FetchResponse>("* 1 Fetch (uid 5 Rfc822.Size 7)").data.size, 7u);
}

TEST(Quirk, NumbersWithLeadingZeros) {
  EXPECT_EQ(parsed<ExistsResponse>("* 0005 EXISTS").count, 5u);
  EXPECT_EQ(fetched("(UID 007 RFC822.SIZE 000000000000000000000000099)").size, 99u);
}

TEST(Quirk, EmptyFlagLists) {
  EXPECT_EQ(fetched("(FLAGS ( ))").flags->system, 0);
  EXPECT_EQ(fetched("(FLAGS NIL UID 3)").uid, 3u);
}

TEST(Quirk, OddFlags) {
  const auto flags = *fetched("(FLAGS (\\ \\* \\Seen \"quoted\" NIL a]b {3}\r\nlit $))").flags;
  EXPECT_EQ(flags.system, Flags::seen);
  EXPECT_TRUE(flags.any_keyword);
  EXPECT_THAT(flags.keywords, ElementsAre("quoted", "a]b", "lit", "$"));
}

TEST(Quirk, UnknownItemsAreSkippedWithTheirParentheses) {
  const auto d =
      fetched("(X-A (1 (2 \"a)b\") {2}\r\n)) NIL) UID 5 X-B x X-C \"y\" X-D[1.2]<0> (z) RFC822.SIZE 7)");
  EXPECT_EQ(d.uid, 5u);
  EXPECT_EQ(d.size, 7u);
}

TEST(Quirk, SizesThatAreNegativeOrQuoted) {
  EXPECT_EQ(fetched("(RFC822.SIZE \"999\" UID 5)").size, 999u);
  const auto d = fetched("(RFC822.SIZE -1 UID 5)");
  EXPECT_EQ(d.size, std::nullopt);
  EXPECT_EQ(d.uid, 5u);
  EXPECT_EQ(fetched("(RFC822.SIZE 99999999999999999999999 UID 5)").uid, 5u);
  EXPECT_EQ(fetched("(RFC822.SIZE NIL UID 5)").uid, 5u);
}

TEST(Quirk, AUidOfZeroIsNone) { EXPECT_EQ(fetched("(UID 0 FLAGS ())").uid, std::nullopt); }

TEST(Quirk, ADateThatIsNone) {
  EXPECT_EQ(fetched("(INTERNALDATE NIL UID 5)").uid, 5u);
  const auto d = fetched("(INTERNALDATE \"yesterday\" UID 5)");
  EXPECT_EQ(d.internal_date, std::nullopt);
  EXPECT_EQ(d.uid, 5u);
  EXPECT_EQ(fetched("(INTERNALDATE {26}\r\n17-Jul-1996 02:44:25 -0700 UID 5)").internal_date, 837'596'665);
}

TEST(Quirk, SectionsInOtherSpellings) {
  const auto section = [](const std::string& text) {
    const auto d = fetched("(" + text + " \"x\" UID 5)");
    EXPECT_EQ(d.uid, 5u) << text;
    return d.sections.empty() ? std::string("none") : d.sections[0].section;
  };
  EXPECT_EQ(section("body[header.fields (from to)]"), "HEADER.FIELDS (FROM TO)");
  EXPECT_EQ(section("BODY[HEADER.FIELDS (\"From\" \"To\")]"), "HEADER.FIELDS (FROM TO)");
  EXPECT_EQ(section("BODY[HEADER.FIELDS ( From  To )]"), "HEADER.FIELDS (FROM TO)");
  EXPECT_EQ(section("BODY[HEADER.FIELDS(From To) ]"), "HEADER.FIELDS (FROM TO)");
  EXPECT_EQ(section("BODY[HEADER.FIELDS ({4}\r\nFrom \"a]b\")]"), "HEADER.FIELDS (FROM A]B)");
  EXPECT_EQ(section("BODY[ TEXT ]"), "TEXT");
  EXPECT_EQ(section("BODY []"), "");
  EXPECT_EQ(section("BODY.PEEK[HEADER]"), "HEADER");
  EXPECT_EQ(section("BODY[]<0.512>"), "");
}

TEST(Quirk, NoSpaceBeforeALiteral) { EXPECT_EQ(fetched("(BODY[]{3}\r\nabc UID 5)").sections[0].data, "abc"); }

TEST(Quirk, NoSpaceBehindALiteral) { EXPECT_EQ(fetched("(BODY[] {3}\r\nabcUID 5)").uid, 5u); }

TEST(Quirk, AnAtomForABody) { EXPECT_EQ(fetched("(BODY[TEXT] hello UID 5)").sections[0].data, "hello"); }

TEST(Quirk, FetchWithoutItsLastParenthesis) { EXPECT_EQ(fetched("(UID 5 FLAGS (\\Seen)").uid, 5u); }

TEST(Quirk, WordsBehindFetch) { EXPECT_EQ(fetched("(UID 5) trailing (").uid, 5u); }

TEST(Quirk, ABrokenItemCostsOnlyItself) {
  const auto d = fetched("(UID 5 FLAGS x MODSEQ (a b) RFC822.SIZE 7 X-GM-LABELS (\"a\") EMAILID (M1 M2))");
  EXPECT_EQ(d.uid, 5u);
  EXPECT_EQ(d.size, 7u);
  EXPECT_FALSE(d.flags);
  EXPECT_FALSE(d.modseq);
  EXPECT_TRUE(d.gm_labels);
}

TEST(Quirk, WhatCantBeSkippedCostsTheRest) {
  const auto d = fetched("(UID 5 FLAGS (\\Seen) X-A \"never closed RFC822.SIZE 7)");
  EXPECT_EQ(d.uid, 5u);
  EXPECT_TRUE(d.flags);
  EXPECT_EQ(refusal("* 7 FETCH (FLAGS () X-A \"never closed UID 5)"), Errc::syntax)
      << "it isn't known whose it is";
}

TEST(Quirk, SearchWithSpacesAtItsEnd) {
  EXPECT_THAT(parsed<SearchResponse>("* SEARCH ").numbers, IsEmpty());
  EXPECT_THAT(parsed<SearchResponse>("* SEARCH 1 2  ").numbers, ElementsAre(1u, 2u));
  EXPECT_THAT(parsed<SortResponse>("* SORT  1  0 2").numbers, ElementsAre(1u, 2u));
}

TEST(Quirk, EmptySets) {
  EXPECT_TRUE(parsed<VanishedResponse>("* VANISHED (EARLIER) ").uids.empty());
  EXPECT_TRUE(parsed<VanishedResponse>("* VANISHED").uids.empty());
  const auto r = parsed<EsearchResponse>("* ESEARCH (TAG \"a1\") UID ALL");
  ASSERT_TRUE(r.all);
  EXPECT_TRUE(r.all->empty());
  EXPECT_TRUE(parsed<EsearchResponse>("* ESEARCH (TAG \"a1\") UID ALL NIL").all->empty());
}

TEST(Quirk, EsearchWithoutTagOrUid) {
  const auto r = parsed<EsearchResponse>("* ESEARCH COUNT 3 ALL 1:3");
  EXPECT_EQ(r.tag, "");
  EXPECT_FALSE(r.uid);
  EXPECT_EQ(r.all->to_string(), "1:3");
  EXPECT_EQ(parsed<EsearchResponse>("* ESEARCH").count, std::nullopt);
}

TEST(Quirk, Xlist) {
  const auto r = parsed<ListResponse>("* XLIST (\\HasNoChildren \\Inbox) \"/\" \"Eingang\"");
  EXPECT_EQ(r.command, "XLIST");
  EXPECT_THAT(r.attributes, ElementsAre("\\hasnochildren", "\\inbox"));
}

TEST(Quirk, MailboxesAsAtomsWithAnythingInThem) {
  for (const char* name : {"a%b", "a*b", "a{b", "a\\b", "Sent Items", "[Gmail]/All", "a]b", "Entw\xc3\xbcrfe",
                           "a&b", "123", "a\"b"}) {
    EXPECT_EQ(parsed<ListResponse>("* LIST () \"/\" " + std::string(name)).mailbox, name);
  }
}

TEST(Quirk, MailboxesWithQuotesThatAreNotEscaped) {
  EXPECT_EQ(parsed<ListResponse>("* LIST () \"/\" \"a \"b\" c\"").mailbox, "a \"b\" c");
  EXPECT_EQ(parsed<ListResponse>("* LIST () \"/\" \"\"b\" c\"").mailbox, "\"b\" c");
  const auto r = parsed<ListResponse>("* LIST () \"/\" \"a \"b\" c\" (\"OLDNAME\" (\"x\"))");
  EXPECT_EQ(r.mailbox, "a \"b\" c");
  EXPECT_EQ(r.old_name, "x");
  const auto status = parsed<StatusDataResponse>("* STATUS \"a \"b\" c\" (MESSAGES 5)");
  EXPECT_EQ(status.mailbox, "a \"b\" c");
  EXPECT_EQ(status.messages, 5u);
}

TEST(Quirk, OddSeparators) {
  EXPECT_EQ(parsed<ListResponse>("* LIST () nil a").separator, std::nullopt);
  EXPECT_EQ(parsed<ListResponse>("* LIST () \"\" a").separator, std::nullopt);
  EXPECT_EQ(parsed<ListResponse>("* LIST () / a").separator, '/');
  EXPECT_EQ(parsed<ListResponse>("* LIST () \"\\\" a").separator, '\\');
  EXPECT_EQ(parsed<ListResponse>("* LIST () \"\\\" \"a\"").mailbox, "a");
  EXPECT_EQ(parsed<ListResponse>("* LIST () {1}\r\n. a").separator, '.');
}

TEST(Quirk, OddAttributes) {
  EXPECT_THAT(parsed<ListResponse>("* LIST NIL \"/\" a").attributes, IsEmpty());
  EXPECT_THAT(parsed<ListResponse>("* LIST ( ) \"/\" a").attributes, IsEmpty());
  EXPECT_THAT(parsed<ListResponse>("* LIST (\\ \\Foo NoInferiors)\"/\" a").attributes,
              ElementsAre("\\foo", "noinferiors"));
}

TEST(Quirk, ListWithABrokenExtension) {
  EXPECT_EQ(parsed<ListResponse>("* LIST () \"/\" \"a\" (\"CHILDINFO\" (").mailbox, "a");
  EXPECT_EQ(parsed<ListResponse>("* LIST () \"/\" \"a\" ").mailbox, "a");
}

TEST(Quirk, StatusValuesOutOfRange) {
  const auto r = parsed<StatusDataResponse>(
      "* STATUS a (MESSAGES 4294967296 UNSEEN -1 UIDNEXT 5 SIZE 5000000000 HIGHESTMODSEQ "
      "99999999999999999999999 UIDVALIDITY \"7\" RECENT NIL)");
  EXPECT_EQ(r.messages, std::nullopt);
  EXPECT_EQ(r.unseen, std::nullopt);
  EXPECT_EQ(r.uid_next, 5u);
  EXPECT_EQ(r.size, 5'000'000'000u);
  EXPECT_EQ(r.highest_modseq, std::nullopt);
  EXPECT_EQ(r.uid_validity, 7u);
}

TEST(Quirk, StatusOfANameWithSpacesAndParentheses) {
  const auto r = parsed<StatusDataResponse>("* STATUS My (old) mail (MESSAGES 5 )");
  EXPECT_EQ(r.mailbox, "My (old) mail");
  EXPECT_EQ(r.messages, 5u);
}

TEST(Quirk, StatusWithoutItems) { EXPECT_EQ(parsed<StatusDataResponse>("* STATUS a ()").mailbox, "a"); }

TEST(Quirk, OddNamespaces) {
  EXPECT_EQ(parsed<NamespaceResponse>("* NAMESPACE ((\"INBOX.\" NIL)) NIL NIL").personal[0].separator,
            std::nullopt);
  EXPECT_EQ(parsed<NamespaceResponse>("* NAMESPACE ((NIL \"/\"))").personal[0].prefix, "");
  EXPECT_EQ(parsed<NamespaceResponse>("* NAMESPACE ((\"\")) () ()").personal.size(), 1u);
  EXPECT_THAT(parsed<NamespaceResponse>("* NAMESPACE").personal, IsEmpty());
  EXPECT_EQ(parsed<NamespaceResponse>("* NAMESPACE ((\"\" \"\\\")) NIL NIL").personal[0].separator, '\\');
}

TEST(Quirk, IdNil) {
  EXPECT_THAT(parsed<IdResponse>("* ID NIL").fields, IsEmpty());
  EXPECT_THAT(parsed<IdResponse>("* ID").fields, IsEmpty());
  EXPECT_THAT(parsed<IdResponse>("* ID ()").fields, IsEmpty());
  EXPECT_EQ(parsed<IdResponse>("* ID (\"name\" Dovecot \"x\")").fields.size(), 2u);
}

TEST(Quirk, QuotaWithoutALimit) {
  const auto r = parsed<QuotaResponse>("* QUOTA \"\" (STORAGE 5 -1 MESSAGE 3 10)");
  ASSERT_EQ(r.resources.size(), 1u);
  EXPECT_EQ(r.resources[0].name, "MESSAGE");
}

TEST(Quirk, StrayCharactersAmongCapabilities) {
  EXPECT_THAT(parsed<CapabilityResponse>("* CAPABILITY IMAP4 (IDLE) \"X\"").names,
              ElementsAre("IMAP4", "IDLE", "X"));
}

}  // namespace
}  // namespace postern::imap
