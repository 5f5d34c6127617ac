// Search terms marked in texts, and excerpts within their bound.
#include "postern/mail/mime/snippet.hpp"

#include <gtest/gtest.h>

#include <random>

#include "postern/base/encoding.hpp"
#include "postern/mail/mime/preview.hpp"

namespace postern::mail {
namespace {

SnippetTerms snippet_terms(std::string_view text) { return SnippetTerms(*parse_search_text(text)); }
std::string marked(std::string_view text, std::string_view search) {
  return mark_text(text, snippet_terms(search)).value_or("(none)");
}
std::string excerpt(std::string_view text, std::string_view search,
                    std::size_t bytes_max = snippet_preview_bytes_max) {
  return mark_excerpt(text, snippet_terms(search), bytes_max).value_or("(none)");
}

TEST(Snippets, MarksWordsWhateverTheirCaseAndAccents) {
  EXPECT_EQ(marked("The Foosball competition", "foo"), "The <mark>Foo</mark>sball competition");
  EXPECT_EQ(marked("Ein Café in KÖLN", "cafe köln"), "Ein <mark>Café</mark> in <mark>KÖLN</mark>");
  EXPECT_EQ(marked("cafe\u0301s", "café"), "<mark>cafe\u0301</mark>s");
  EXPECT_EQ(marked("Grüße", "grusse"), "<mark>Grüße</mark>");
  EXPECT_EQ(marked("GRÜSSE", "grüße"), "<mark>GRÜSSE</mark>");
  EXPECT_EQ(marked("Όσος ΌΣΟΣ", "όσος"), "<mark>Όσος</mark> <mark>ΌΣΟΣ</mark>");
  EXPECT_EQ(marked("İstanbul ırmak", "istanbul irmak"), "<mark>İstanbul</mark> <mark>ırmak</mark>");
  EXPECT_EQ(marked("of\u00ADfice", "office"), "<mark>of\u00ADfice</mark>");
  EXPECT_EQ(marked("\uFB01ne", "fine"), "<mark>\uFB01ne</mark>");
  EXPECT_EQ(marked("東京都に行く", "京都"), "東<mark>京都</mark>に行く");
  EXPECT_EQ(marked("nothing of it", "else"), "(none)");
  EXPECT_EQ(marked("", "x"), "(none)");
  EXPECT_EQ(mark_text("anything", SnippetTerms{}), std::nullopt);
}

TEST(Snippets, EscapesWhatHtmlWouldTake) {
  EXPECT_EQ(marked("a <b> & c", "b"), "a &lt;<mark>b</mark>&gt; &amp; c");
  EXPECT_EQ(marked("<script>x</script>", "script x"),
            "&lt;<mark>script</mark>&gt;<mark>x</mark>&lt;/<mark>script</mark>&gt;");
  EXPECT_EQ(marked("R&D", "r&d"), "<mark>R&amp;D</mark>");
}

TEST(Snippets, PhrasesOverAnyWhiteSpace) {
  EXPECT_EQ(marked("one  two\nthree", "\"one two three\""), "<mark>one  two\nthree</mark>");
  EXPECT_EQ(marked("one, two", "\"one two\""), "(none)");
}

TEST(Snippets, PrefixesAreBeginningsOfWords) {
  EXPECT_EQ(marked("jewel well Welcome", "wel*"), "jewel <mark>well</mark> <mark>Welcome</mark>");
  EXPECT_EQ(marked("jewel", "wel*"), "(none)");
}

TEST(Snippets, OverlapsAreOneMark) {
  EXPECT_EQ(marked("foobarbaz", "foobar barbaz"), "<mark>foobarbaz</mark>");
  EXPECT_EQ(marked("foobar", "foo bar"), "<mark>foo</mark><mark>bar</mark>");
}

TEST(Snippets, ExcerptIsWhereMostOfTheTermsAre) {
  const std::string filler(400, '.');
  EXPECT_EQ(excerpt("short  text\r\nof\tit", "of"), "short text <mark>of</mark> it");
  const auto found = excerpt("alpha " + filler + " then alpha meets beta " + filler, "alpha beta");
  EXPECT_NE(found.find("<mark>alpha</mark> meets <mark>beta</mark>"), std::string::npos) << found;
  EXPECT_TRUE(found.starts_with("\u2026")) << found;
  EXPECT_TRUE(found.ends_with("\u2026")) << found;
  EXPECT_LE(found.size(), snippet_preview_bytes_max);
}

TEST(Snippets, ExcerptsEndBetweenWords) {
  std::string text = "needle";
  for (int i = 0; i < 100; ++i) text += " words" + std::to_string(i);
  const auto found = excerpt(text, "needle");
  EXPECT_LE(found.size(), snippet_preview_bytes_max);
  EXPECT_GE(found.size(), 230u);
  const auto cut = found.substr(0, found.size() - std::string_view("\u2026").size());
  const auto last = cut.substr(cut.rfind(' ') + 1);
  EXPECT_NE(text.find(" " + last + " "), std::string::npos) << found;
}

TEST(Snippets, NoMatchIsTooLongForItsBound) {
  EXPECT_EQ(excerpt(std::string(1'000, 'x'), std::string(900, 'x'), 64),
            "<mark>" + std::string(64 - 3 - 13, 'x') + "</mark>\u2026");
}

// Marks taken out and entities put back, a marked text is the text again; an excerpt is never over its bound.
TEST(Snippets, PropertiesOfRandomTexts) {
  std::mt19937 random(7);
  static constexpr std::string_view pieces[] = {"a",  "B", "ä", "ß", "é",  "e\u0301", " ",
                                                "\n", "&", "<", ">", "日", "𝔘",       "*"};
  for (int round = 0; round < 400; ++round) {
    auto made = [&](std::size_t count) {
      std::string text;
      for (std::size_t i = 0; i < count; ++i) text += pieces[random() % std::size(pieces)];
      return text;
    };
    const auto text = made(random() % 300);
    const auto parsed = parse_search_text(made(1 + random() % 4));
    const SnippetTerms wanted(*parsed);
    for (std::size_t last = 0; const auto& match : find_terms(text, wanted)) {
      EXPECT_LT(match.begin, match.end);
      EXPECT_LE(match.end, text.size());
      EXPECT_LE(last, match.begin);
      EXPECT_TRUE(is_valid_utf8(text.substr(match.begin, match.end - match.begin)));
      last = match.begin;
    }
    if (auto whole = mark_text(text, wanted))
      EXPECT_EQ(
          text_of_html("<pre>" + *whole + "</pre>", 10'000),
          text_of_html(
              "<pre>" +
                  [&] {
                    std::string html;
                    for (char c : text)
                      html += c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : std::string(1, c);
                    return html;
                  }() +
                  "</pre>",
              10'000))
          << text;
    for (std::size_t bytes_max : {64U, 100U, 255U})
      if (auto part = mark_excerpt(text, wanted, bytes_max)) {
        EXPECT_LE(part->size(), bytes_max) << *part;
        EXPECT_TRUE(is_valid_utf8(*part));
        EXPECT_NE(part->find("<mark>"), std::string::npos);
        EXPECT_EQ(mark_excerpt(text, wanted, bytes_max), part);
      }
  }
}

TEST(Snippets, TextOfHtml) {
  EXPECT_EQ(text_of_html("<p>one<blockquote>two</blockquote><style>x</style>three &amp; four", 1'000),
            "one two three & four");
  EXPECT_EQ(text_of_html("<p>12345", 3), "123");
}

}  // namespace
}  // namespace postern::mail
