// SEARCH, SORT, THREAD, ESEARCH and VANISHED.
#include <gmock/gmock.h>

#include "parse_support.hpp"

namespace postern::imap {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Search, Numbers) {
  EXPECT_THAT(parsed<SearchResponse>("* SEARCH 2 84 882").numbers, ElementsAre(2u, 84u, 882u));
  EXPECT_THAT(parsed<SearchResponse>("* SEARCH").numbers, IsEmpty());
  const auto r = parsed<SearchResponse>("* SEARCH 2 5 6 (MODSEQ 917162500)");
  EXPECT_THAT(r.numbers, ElementsAre(2u, 5u, 6u));
  EXPECT_EQ(r.modseq, 917162500u);
}

TEST(Sort, KeepsTheOrder) {
  EXPECT_THAT(parsed<SortResponse>("* SORT 882 2 84").numbers, ElementsAre(882u, 2u, 84u));
  EXPECT_EQ(parsed<SortResponse>("* SORT 1 (MODSEQ 5)").modseq, 5u);
}

TEST(Search, GarbageIsRefused) {
  EXPECT_EQ(refusal("* SEARCH 1 x 2"), Errc::syntax);
  EXPECT_EQ(refusal("* SORT 1,2"), Errc::syntax);
  EXPECT_EQ(refusal("* SORT 4294967296"), Errc::syntax);
}

std::string shape(const std::vector<ThreadNode>& nodes) {
  std::string out;
  for (const ThreadNode& node : nodes) out += "(" + std::to_string(node.number) + shape(node.children) + ")";
  return out;
}

TEST(Thread, TheRfcsExamples) {
  EXPECT_EQ(shape(parsed<ThreadResponse>("* THREAD (2)(3 6 (4 23)(44 7 96))").threads),
            "(2)(3(6(4(23))(44(7(96)))))");
  EXPECT_EQ(shape(parsed<ThreadResponse>("* THREAD ((3)(5))").threads), "(0(3)(5))");
  EXPECT_EQ(shape(parsed<ThreadResponse>("* THREAD").threads), "");
  EXPECT_EQ(shape(parsed<ThreadResponse>("* THREAD (166)(167)(168 (169 (170)(171)) (172))").threads),
            "(166)(167)(168(169(170)(171))(172))");
}

TEST(Thread, DummyParentsAndSpaces) {
  EXPECT_EQ(shape(parsed<ThreadResponse>("* THREAD ( (1 2) (3) ) ( 4 ) ").threads), "(0(1(2))(3))(4)");
  EXPECT_EQ(shape(parsed<ThreadResponse>("* THREAD (((1)(2))(3))").threads), "(0(0(1)(2))(3))");
  EXPECT_EQ(shape(parsed<ThreadResponse>("* THREAD 1 2 (3 4)").threads), "(1)(2)(3(4))");
}

TEST(Thread, Unbalanced) {
  for (const char* text : {"* THREAD (1", "* THREAD 1)", "* THREAD (1))", "* THREAD ((1)", "* THREAD (x)",
                           "* THREAD (4294967296)"}) {
    EXPECT_EQ(refusal(text), Errc::syntax) << text;
  }
}

TEST(Esearch, AllItems) {
  const auto r = parsed<EsearchResponse>(
      "* ESEARCH (TAG \"A283\") UID MIN 2 MAX 47 COUNT 17 ALL 4:18,2,47 MODSEQ 917162500");
  EXPECT_EQ(r.tag, "A283");
  EXPECT_TRUE(r.uid);
  EXPECT_EQ(r.min, 2u);
  EXPECT_EQ(r.max, 47u);
  EXPECT_EQ(r.count, 17u);
  EXPECT_EQ(r.modseq, 917162500u);
  EXPECT_EQ(r.all->to_string(), "2,4:18,47");
  EXPECT_EQ(r.all_ordered.size(), 17u);
  EXPECT_EQ(r.all_ordered.front(), 4u);
  EXPECT_EQ(r.all_ordered.back(), 47u);
}

TEST(Esearch, NothingFound) {
  const auto r = parsed<EsearchResponse>("* ESEARCH (TAG \"A\") UID COUNT 0");
  EXPECT_EQ(r.count, 0u);
  EXPECT_FALSE(r.all);
  EXPECT_EQ(parsed<EsearchResponse>("* ESEARCH (TAG A)").tag, "A");
}

TEST(Esearch, Partial) {
  auto r = parsed<EsearchResponse>("* ESEARCH (TAG \"A01\") UID PARTIAL (-1:-100 200:203,100)");
  ASSERT_TRUE(r.partial);
  EXPECT_THAT(*r.partial, ElementsAre(200u, 201u, 202u, 203u, 100u));
  r = parsed<EsearchResponse>("* ESEARCH (TAG \"A01\") UID PARTIAL (1:500 NIL)");
  ASSERT_TRUE(r.partial);
  EXPECT_THAT(*r.partial, IsEmpty());
}

TEST(Esearch, UnknownItemsAreSkipped) {
  const auto r = parsed<EsearchResponse>(
      "* ESEARCH (TAG \"B\" MAILBOX folder1 UIDVALIDITY 1) UID ADDTO (1 2731) RELEVANCY (4 99) COUNT 3 X");
  EXPECT_EQ(r.tag, "B");
  EXPECT_EQ(r.count, 3u);
}

TEST(Esearch, Garbage) {
  for (const char* text :
       {"* ESEARCH (TAG \"A\"", "* ESEARCH (TAG \"A\") ALL x", "* ESEARCH (TAG \"A\") PARTIAL 1:2",
        "* ESEARCH (TAG \"A\") ALL 0", "* ESEARCH (TAG \"A\") COUNT x", "* ESEARCH )"}) {
    EXPECT_EQ(refusal(text), Errc::syntax) << text;
  }
}

TEST(Vanished, WithAndWithoutEarlier) {
  auto r = parsed<VanishedResponse>("* VANISHED 405,407,410,425");
  EXPECT_FALSE(r.earlier);
  EXPECT_EQ(r.uids.to_string(), "405,407,410,425");
  r = parsed<VanishedResponse>("* VANISHED (EARLIER) 41,43:116,118");
  EXPECT_TRUE(r.earlier);
  EXPECT_EQ(r.uids.to_string(), "41,43:116,118");
  EXPECT_EQ(refusal("* VANISHED x"), Errc::syntax);
  EXPECT_EQ(refusal("* VANISHED (EARLIER"), Errc::syntax);
}

}  // namespace
}  // namespace postern::imap
