// Previews: RFC 8621, 4.1.4.
#include "postern/mail/mime/preview.hpp"

#include <gtest/gtest.h>

#include "postern/base/encoding.hpp"
#include "postern/mail/mime/limits.hpp"

namespace postern::mail {
namespace {

TEST(PreviewOfText, CollapsesWhiteSpace) {
  EXPECT_EQ(preview_of_text("  Hello,\n\n\tworld \xC2\xA0 again\xE2\x80\x8B!\n"), "Hello, world again!");
  EXPECT_EQ(preview_of_text(""), "");
  EXPECT_EQ(preview_of_text(" \n \n"), "");
}

TEST(PreviewOfText, SkipsQuotesAttributionsAndSignatures) {
  EXPECT_EQ(preview_of_text("I agree.\n\nOn Monday, Joe wrote:\n> No.\n> Yes.\n\nReally.\n-- \nMary\n"),
            "I agree. Really.");
  EXPECT_EQ(preview_of_text("Am 13. Oktober 2013 schrieb Joe Bloggs\n<joe@example.com>:\n\n> No.\nYes.\n"),
            "Yes.");
  EXPECT_EQ(preview_of_text("Two things:\nfirst"), "Two things: first");
  EXPECT_EQ(preview_of_text("Yes.\n\n-----Original Message-----\nFrom: x\n"), "Yes.");
  EXPECT_EQ(preview_of_text("Title\n=====\ntext\n----------\nmore"), "Title text more");
  EXPECT_EQ(preview_of_text("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nHello"), "Hello");
}

TEST(PreviewOfText, ShowsQuotesWhereNothingElseIs) {
  EXPECT_EQ(preview_of_text("> only\n>> quotes\n"), "only quotes");
  EXPECT_EQ(preview_of_text("-- \nMary"), "-- Mary");
}

TEST(Preview, BoundsLength) {
  EXPECT_EQ(preview_of_text(std::string(256, 'x')).size(), 256u);
  EXPECT_EQ(preview_of_text(std::string(257, 'x')).size(), 256u);
  // 300 times U+1F600, two UTF-16 code units each.
  std::string emoji;
  for (int i = 0; i < 300; ++i) emoji += "\xF0\x9F\x98\x80";
  EXPECT_EQ(preview_of_text(emoji).size(), 128u * 4);
  std::string words;
  for (int i = 0; i < 300; ++i) words += "a \n";
  EXPECT_EQ(preview_of_text(words).size(), 255u);
}

TEST(PreviewOfHtml, TakesTheTextOnly) {
  EXPECT_EQ(preview_of_html(
                "<!DOCTYPE html><html><head><title>T</title><style>p { x: y }</style></head><body>"
                "<!-- no --><p class=\"a>b\">Hello,</p><p>w<b>or</b>ld&nbsp;&amp; caf&eacute; &#8364;&#x20AC;"
                "</p><script>if (a < b) x('</p>')</script><br>end</body></html>"),
            "Hello, world & caf\xC3\xA9 \xE2\x82\xAC\xE2\x82\xAC end");
}

TEST(PreviewOfHtml, References) {
  EXPECT_EQ(preview_of_html("a &lt b &unknown; &; & &#; &#x; &#xD800; &#99999999999; &hearts;"),
            "a < b &unknown; &; & &#; &#x; \xEF\xBF\xBD \xEF\xBF\xBD \xE2\x99\xA5");
}

TEST(PreviewOfHtml, SkipsQuotes) {
  EXPECT_EQ(preview_of_html("Yes.<blockquote>No.<blockquote>x</blockquote></blockquote>Really."),
            "Yes. Really.");
  EXPECT_EQ(
      preview_of_html("Yes.<div class=\"gmail_quote\">On Monday Joe wrote<blockquote>No.</blockquote></div>"),
      "Yes.");
  EXPECT_EQ(preview_of_html("<blockquote>Only that.</blockquote>"), "Only that.");
}

TEST(PreviewOfHtml, DropsPadding) {
  std::string html = "<div>Sale!</div>";
  for (int i = 0; i < 100; ++i) html += "&nbsp;&zwnj;&#847;&#8199;&shy;";
  EXPECT_EQ(preview_of_html(html + "<p>Body"), "Sale! Body");
  // Joiners between letters stay: emoji and Persian need them.
  EXPECT_EQ(preview_of_html("\xF0\x9F\x91\xA9&zwj;\xF0\x9F\x91\xA7"),
            "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7");
  // Nothing that turns the line around.
  EXPECT_EQ(preview_of_html("a\xE2\x80\xAE"
                            "b"),
            "ab");
}

TEST(PreviewOfHtml, SurvivesBeingCutAnywhere) {
  const std::string html =
      "<html><style>a</style><p class='x y'>T&eacute;xt<!-- c --><a "
      "href=\"x\">link</a><script>s</script>&#233;</p>";
  for (std::size_t i = 0; i <= html.size(); ++i) {
    const std::string preview = preview_of_html(html.substr(0, i));
    EXPECT_TRUE(is_valid_utf8(preview));
    EXPECT_EQ(preview.find('<'), std::string::npos) << preview;
  }
  EXPECT_EQ(preview_of_html("<style>never closed"), "");
  EXPECT_EQ(preview_of_html("<p title=\"never closed>text</p>"), "text");
  EXPECT_EQ(preview_of_html("a <"), "a");
  EXPECT_EQ(preview_of_html("1 < 2"), "1 < 2");
}

TEST(PreviewOfHtml, HostileInputIsLinear) {
  for (const std::string_view piece : {"<", "<a ", "<a x=\"", "<!--", "<style>", "&", "&#", "<blockquote>",
                                       "</", "<a x='>", "</style", "<script></x>"}) {
    std::string html;
    while (html.size() < 2 * preview_input_bytes_max) html += piece;
    EXPECT_LE(preview_of_html(html).size(), 4 * preview_characters_max);
    EXPECT_LE(preview_of_text(html).size(), 4 * preview_characters_max);
  }
  std::string lines;
  while (lines.size() < 2 * preview_input_bytes_max) lines += "\n:\n";
  EXPECT_LE(preview_of_text(lines).size(), 4 * preview_characters_max);
}

TEST(PreviewOfText, LooksAtABoundedInput) {
  EXPECT_EQ(preview_of_text(std::string(preview_input_bytes_max - 1, ' ') + "x"), "x");
  EXPECT_EQ(preview_of_text(std::string(preview_input_bytes_max, ' ') + "x"), "");
}

TEST(MakePreview, DecodesThePart) {
  EmailBodyPart part;
  part.section = "1";
  part.type = "text/html";
  part.encoding = "quoted-printable";
  part.charset = "iso-8859-1";
  part.encoded_size = 100;
  EXPECT_EQ(make_preview(part, "<p>caf=E9 cr=E8=\r\nme</p><p>cut =E"), "caf\xC3\xA9 cr\xC3\xA8me cut");
  part.type = "text/plain";
  EXPECT_EQ(make_preview(part, "<p>caf=E9"), "<p>caf\xC3\xA9");
}

// What is fetched of a longer part is its beginning.
TEST(MakePreview, OfWhatIsFetched) {
  EmailBodyPart part;
  part.type = "text/plain";
  part.encoding = "7bit";
  const auto preview = [&](const std::string& body) {
    part.encoded_size = body.size();
    return make_preview(part, std::string_view(body).substr(0, preview_fetch_bytes));
  };
  EXPECT_EQ(preview(std::string(preview_fetch_bytes - 1, ' ') + "x"), "x");
  EXPECT_EQ(preview(std::string(preview_fetch_bytes - 1, ' ') + "xy"), "x");
  EXPECT_EQ(preview(std::string(preview_fetch_bytes, ' ') + "x"), "");
}

TEST(PreviewPart, PrefersPlainText) {
  EmailBodyPart plain, html, image;
  plain.type = "text/plain";
  html.type = "text/html";
  image.type = "image/png";
  BodyLists lists;
  EXPECT_EQ(preview_part(lists), nullptr);
  lists.text_body = {&image};
  EXPECT_EQ(preview_part(lists), nullptr);
  lists.html_body = {&image, &html};
  EXPECT_EQ(preview_part(lists), &html);
  lists.text_body = {&image, &plain};
  EXPECT_EQ(preview_part(lists), &plain);
}

}  // namespace
}  // namespace postern::mail
