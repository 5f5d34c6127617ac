// Search text as people type it, taken apart.
#include "postern/mail/mime/search_text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postern::mail {
namespace {

using ::testing::ElementsAre;

SearchTerm word(std::string text) { return {std::move(text), false, false}; }
SearchTerm prefix(std::string text) { return {std::move(text), false, true}; }
SearchTerm phrase(std::string text) { return {std::move(text), true, false}; }

std::vector<SearchTerm> terms(std::string_view text) {
  auto parsed = parse_search_text(text);
  EXPECT_TRUE(parsed) << text;
  return parsed.value_or(std::vector<SearchTerm>{});
}

TEST(SearchText, WhiteSpaceDividesWords) {
  EXPECT_THAT(terms(" one\ttwo\r\nthree "), ElementsAre(word("one"), word("two"), word("three")));
  EXPECT_THAT(terms("eins\u00A0zwei\u3000drei"), ElementsAre(word("eins"), word("zwei"), word("drei")));
  EXPECT_THAT(terms(std::string_view("a\0b \0", 5)), ElementsAre(word("a"), word("b")));
  EXPECT_TRUE(terms("").empty());
  EXPECT_TRUE(terms(" \t ").empty());
}

TEST(SearchText, MatchedQuotesMakeAPhrase) {
  EXPECT_THAT(terms("one \"two  three\" four"), ElementsAre(word("one"), phrase("two three"), word("four")));
  EXPECT_THAT(terms("'two three'"), ElementsAre(phrase("two three")));
  EXPECT_THAT(terms("\"it's\""), ElementsAre(phrase("it's")));
  EXPECT_THAT(terms("\u201Ctwo three\u201D"), ElementsAre(phrase("two three")));
  EXPECT_THAT(terms("a\"b c\"d"), ElementsAre(word("a"), phrase("b c"), word("d")));
  EXPECT_TRUE(terms("\"\" '' \"  \"").empty());
}

TEST(SearchText, AQuoteThatNothingMatchesIsNone) {
  EXPECT_THAT(terms("\"one two"), ElementsAre(word("one"), word("two")));
  EXPECT_THAT(terms("one\""), ElementsAre(word("one")));
  EXPECT_THAT(terms("'tis rock'n'roll don't"), ElementsAre(word("'tis"), word("rock'n'roll"), word("don't")));
  EXPECT_THAT(terms("dogs' bones"), ElementsAre(word("dogs'"), word("bones")));
}

TEST(SearchText, BackslashesInPhrases) {
  EXPECT_THAT(terms(R"("say \"hello\" twice")"), ElementsAre(phrase("say \"hello\" twice")));
  EXPECT_THAT(terms(R"('a\'b' "c\\")"), ElementsAre(phrase("a'b"), phrase("c\\")));
  EXPECT_THAT(terms(R"("C:\temp")"), ElementsAre(phrase(R"(C:\temp)")));
  EXPECT_THAT(terms(R"(C:\temp)"), ElementsAre(word(R"(C:\temp)")));
  EXPECT_THAT(terms(R"("open\")"), ElementsAre(word(R"(open\)")));
}

TEST(SearchText, AsteriskMakesAPrefix) {
  EXPECT_THAT(terms("invoi* *ing a*b **"), ElementsAre(prefix("invoi"), word("ing"), word("a*b")));
  EXPECT_THAT(terms("\"two*\""), ElementsAre(phrase("two*")));
}

TEST(SearchText, OneNormalizationFormAndNoTermTwice) {
  EXPECT_THAT(terms("cafe\u0301 caf\u00E9"), ElementsAre(word("caf\u00E9")));
  EXPECT_THAT(terms("a a \"a\" a*"), ElementsAre(word("a"), phrase("a"), prefix("a")));
  EXPECT_THAT(terms("\xFFx"), ElementsAre(word("\uFFFDx")));
}

TEST(SearchText, SoManyTerms) {
  std::string text;
  for (std::size_t i = 0; i < search_terms_max; ++i) text += std::to_string(i) + " ";
  EXPECT_EQ(terms(text).size(), search_terms_max);
  EXPECT_FALSE(parse_search_text(text + "more"));
}

TEST(SearchText, ManyQuotesTakeLinearTime) {
  const std::string text(200'000, '\'');
  EXPECT_FALSE(terms(text + "x").empty());
}

}  // namespace
}  // namespace postern::mail
