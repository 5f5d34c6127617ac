// Filters decided for a mailbox, told apart, and written as SEARCH programs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mail/search_program.hpp"
#include "postern/mail/mime/search_text.hpp"

namespace postern::mail {
namespace {

Filter condition(Filter::Kind kind, std::string text = {}) {
  Filter f;
  f.kind = kind;
  f.text = std::move(text);
  return f;
}
Filter group(Filter::Kind kind, std::vector<Filter> children) {
  Filter f;
  f.kind = kind;
  f.children = std::move(children);
  return f;
}
Filter in_mailbox(MailboxKey key) {
  auto f = condition(Filter::Kind::in_mailbox);
  f.mailboxes = {key};
  return f;
}

TEST(Filters, MailboxConditionsAreDecided) {
  const auto seen = condition(Filter::Kind::has_keyword, "$seen");
  auto both = group(Filter::Kind::all_of, {in_mailbox(1), seen});
  EXPECT_EQ(both.in(1).kind, Filter::Kind::has_keyword);
  EXPECT_EQ(both.in(2).kind, Filter::Kind::never);
  auto either = group(Filter::Kind::any_of, {in_mailbox(1), seen});
  EXPECT_EQ(either.in(1).kind, Filter::Kind::always);
  EXPECT_EQ(either.in(2).kind, Filter::Kind::has_keyword);
  auto neither = group(Filter::Kind::none_of, {in_mailbox(1)});
  EXPECT_EQ(neither.in(1).kind, Filter::Kind::never);
  EXPECT_EQ(neither.in(2).kind, Filter::Kind::always);
}

TEST(Filters, SignaturesTellFiltersApart) {
  EXPECT_NE(condition(Filter::Kind::text, "a").signature(), condition(Filter::Kind::text, "b").signature());
  EXPECT_NE(group(Filter::Kind::all_of, {condition(Filter::Kind::text, "a")}).signature(),
            group(Filter::Kind::any_of, {condition(Filter::Kind::text, "a")}).signature());
  EXPECT_NE(
      group(Filter::Kind::all_of, {condition(Filter::Kind::text, "1:a"), condition(Filter::Kind::text, "b")})
          .signature(),
      group(Filter::Kind::all_of, {condition(Filter::Kind::text, "1:a1:b")}).signature());
}

std::string search_line(const Filter& filter, const std::vector<std::string>& capabilities = {"IMAP4REV1"},
                        SearchCharset charset = SearchCharset::utf8) {
  const imap::CapabilitySet set{capabilities};
  auto command = search_command(filter, set, charset);
  if (!command) return command.error().to_string();
  std::string line;
  for (const auto& chunk : command->chunks) line += chunk;
  return line;
}

TEST(Filters, NothingAClientTypesLeavesItsPlaceInSearch) {
  EXPECT_EQ(search_line(condition(Filter::Kind::subject, "x OR(ALL)\\ \r\nA1 LOGOUT")),
            R"(UID SEARCH (SUBJECT "x" SUBJECT "OR(ALL)\\" SUBJECT "A1" SUBJECT "LOGOUT"))");
  EXPECT_EQ(search_line(condition(Filter::Kind::body, "\"a\\\"b\"")), R"(UID SEARCH BODY "a\"b")");
  // A NUL, which no IMAP string can hold, divides words.
  EXPECT_EQ(search_line(condition(Filter::Kind::subject, std::string("a\0b", 3))),
            R"(UID SEARCH (SUBJECT "a" SUBJECT "b"))");
}

TEST(Filters, SearchOfWordsAndPhrases) {
  EXPECT_EQ(search_line(condition(Filter::Kind::text, "one")), "UID SEARCH TEXT \"one\"");
  EXPECT_EQ(search_line(condition(Filter::Kind::subject, "one \"two three\" fo*")),
            "UID SEARCH (SUBJECT \"one\" SUBJECT \"two three\" SUBJECT \"fo\")");
  EXPECT_EQ(search_line(condition(Filter::Kind::body, "  ")), "UID SEARCH ALL");
  EXPECT_EQ(search_line(group(Filter::Kind::none_of,
                              {condition(Filter::Kind::from, "a"), condition(Filter::Kind::to, "b")})),
            "UID SEARCH NOT (OR FROM \"a\" TO \"b\")");
  auto header = condition(Filter::Kind::header);
  header.header_name = "List-Id";
  EXPECT_EQ(search_line(header), "UID SEARCH HEADER List-Id \"\"");
  std::string many;
  for (std::size_t i = 0; i <= search_terms_max; ++i) many += std::to_string(i) + " ";
  EXPECT_NE(search_line(condition(Filter::Kind::text, many)).find("too many words"), std::string::npos);
}

TEST(Filters, FuzzyIsAskedForWordsOfBodies) {
  const std::vector<std::string> fuzzy{"IMAP4REV1", "SEARCH=FUZZY"};
  EXPECT_EQ(search_line(condition(Filter::Kind::text, "a \"b c\" d*"), fuzzy),
            "UID SEARCH (FUZZY TEXT \"a\" TEXT \"b c\" TEXT \"d\")");
  EXPECT_EQ(search_line(condition(Filter::Kind::subject, "a"), fuzzy), "UID SEARCH SUBJECT \"a\"");
  // What an index without words in it would make wrong, rather than empty.
  const std::vector two{condition(Filter::Kind::text, "a"), condition(Filter::Kind::subject, "b")};
  EXPECT_EQ(search_line(group(Filter::Kind::all_of, two), fuzzy),
            "UID SEARCH (FUZZY TEXT \"a\" SUBJECT \"b\")");
  EXPECT_EQ(search_line(group(Filter::Kind::any_of, two), fuzzy), "UID SEARCH OR TEXT \"a\" SUBJECT \"b\"");
  EXPECT_EQ(search_line(group(Filter::Kind::none_of, {two[0]}), fuzzy), "UID SEARCH NOT (TEXT \"a\")");
}

TEST(Filters, CharsetsOfSearch) {
  EXPECT_EQ(search_line(condition(Filter::Kind::text, "Grüße")),
            "UID SEARCH CHARSET UTF-8 TEXT {7}\r\nGrüße");
  EXPECT_EQ(search_line(condition(Filter::Kind::text, "Grüße"), {"IMAP4REV1"}, SearchCharset::latin1),
            "UID SEARCH CHARSET ISO-8859-1 TEXT {5}\r\nGr\xFC\xDF"
            "e");
  EXPECT_NE(search_line(condition(Filter::Kind::text, "€"), {"IMAP4REV1"}, SearchCharset::latin1)
                .find("can't search for these"),
            std::string::npos);
  imap::CapabilitySet utf8{std::vector<std::string>{"IMAP4REV1", "UTF8=ACCEPT"}};
  utf8.set_utf8_enabled();
  auto command = search_command(condition(Filter::Kind::text, "Grüße"), utf8);
  ASSERT_TRUE(command);
  EXPECT_EQ(command->chunks.front(), "UID SEARCH TEXT \"Grüße\"");
}

}  // namespace
}  // namespace postern::mail
