// Addresses and GroupedAddresses: RFC 8621, 4.1.2.3 and 4.1.2.4; RFC 5322, 3.4 and what is sent instead.
#include <gtest/gtest.h>

#include <ostream>

#include "postern/mail/mime/headers.hpp"
#include "postern/mail/mime/limits.hpp"

namespace postern::mail {

void PrintTo(const EmailAddress& address, std::ostream* out) {
  *out << (address.name ? "\"" + *address.name + "\"" : "null") << " <" << address.email << ">";
}

namespace {

using List = std::vector<EmailAddress>;
constexpr auto none = std::nullopt;

TEST(AsAddresses, ExampleOfRfc8621) {
  const std::string_view value =
      "\"  James Smythe\" <james@example.com>, Friends:\r\n  jane@example.com, "
      "=?UTF-8?Q?John_Sm=C3=AEth?=\r\n"
      "  <john@example.com>;";
  EXPECT_EQ(as_addresses(value), (List{{"James Smythe", "james@example.com"},
                                       {none, "jane@example.com"},
                                       {"John Sm\xC3\xAEth", "john@example.com"}}));
  const std::vector<EmailAddressGroup> groups = {
      {none, {{"James Smythe", "james@example.com"}}},
      {"Friends", {{none, "jane@example.com"}, {"John Sm\xC3\xAEth", "john@example.com"}}}};
  EXPECT_EQ(as_grouped_addresses(value), groups);
}

// RFC 5322, A.1.2, A.1.3, A.5 and A.6.1.
TEST(AsAddresses, ExamplesOfRfc5322) {
  EXPECT_EQ(as_addresses("\"Joe Q. Public\" <john.q.public@example.com>"),
            (List{{"Joe Q. Public", "john.q.public@example.com"}}));
  EXPECT_EQ(as_addresses("Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>"),
            (List{{"Mary Smith", "mary@x.test"}, {none, "jdoe@example.org"}, {"Who?", "one@y.test"}}));
  EXPECT_EQ(as_addresses("<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>"),
            (List{{none, "boss@nil.test"}, {"Giant; \"Big\" Box", "sysservices@example.net"}}));
  EXPECT_EQ(as_addresses("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>"),
            (List{{"Pete", "pete@silly.test"}}));
  EXPECT_EQ(
      as_addresses(
          "A Group(Some people)\r\n     :Chris Jones <c@(Chris's host.)public.example>,\r\n"
          "         joe@example.org,\r\n  John <jdoe@one.test> (my dear friend); (the end of the group)"),
      (List{{"Chris Jones", "c@public.example"}, {none, "joe@example.org"}, {"John", "jdoe@one.test"}}));
  EXPECT_EQ(as_addresses("(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;"), List{});
  EXPECT_EQ(as_addresses("Joe Q. Public <john.q.public@example.com>"),
            (List{{"Joe Q. Public", "john.q.public@example.com"}}));
  EXPECT_EQ(as_addresses("Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example"),
            (List{{"Mary Smith", "mary@example.net"}, {none, "jdoe@test.example"}}));
}

TEST(AsAddresses, EmptyGroupIsKeptAsGroup) {
  const std::vector<EmailAddressGroup> groups = {{"undisclosed-recipients", {}}};
  EXPECT_EQ(as_grouped_addresses(" undisclosed-recipients:;"), groups);
}

TEST(AsAddresses, GroupsAndOthersAlternate) {
  const std::vector<EmailAddressGroup> groups = {
      {none, {{none, "a@x"}}}, {"G", {{none, "b@x"}}}, {none, {{none, "c@x"}, {none, "d@x"}}}, {"H", {}}};
  EXPECT_EQ(as_grouped_addresses("a@x, G: b@x; c@x, d@x, H:;"), groups);
}

TEST(AsAddresses, NothingGivesAnEmptyList) {
  for (const std::string_view value : {"", " ", ",", ", ,;", "<>", "()", "(comment)", ":", ";"})
    EXPECT_EQ(as_addresses(value), List{}) << value;
}

TEST(AsAddresses, CommentBehindTheAddressIsTheName) {
  EXPECT_EQ(as_addresses("joe@example.com (Joe Bloggs)"), (List{{"Joe Bloggs", "joe@example.com"}}));
  EXPECT_EQ(as_addresses("<joe@example.com> (Joe (the) B\\)loggs)"),
            (List{{"Joe (the) B)loggs", "joe@example.com"}}));
  EXPECT_EQ(as_addresses("joe@example.com (=?utf-8?Q?J=C3=B6?=)"), (List{{"J\xC3\xB6", "joe@example.com"}}));
  EXPECT_EQ(as_addresses("Joe <joe@example.com> (work)"), (List{{"Joe", "joe@example.com"}}));
  EXPECT_EQ(as_addresses("(first) joe@example.com"), (List{{none, "joe@example.com"}}));
}

TEST(AsAddresses, QuotedNames) {
  EXPECT_EQ(as_addresses("\"Bloggs, Joe\" <joe@x>"), (List{{"Bloggs, Joe", "joe@x"}}));
  EXPECT_EQ(as_addresses("\"a\\\\b\\\"c\" <joe@x>"), (List{{"a\\b\"c", "joe@x"}}));
  EXPECT_EQ(as_addresses("\"Joe\r\n Bloggs \" <joe@x>"), (List{{"Joe Bloggs", "joe@x"}}));
  EXPECT_EQ(as_addresses("\"\" <joe@x>"), (List{{"", "joe@x"}}));
  EXPECT_EQ(as_addresses("\"Joe\" Q. \"Bloggs\" <joe@x>"), (List{{"Joe Q. Bloggs", "joe@x"}}));
  EXPECT_EQ(as_addresses("\"joe@work\" <joe@x>"), (List{{"joe@work", "joe@x"}}));
}

TEST(AsAddresses, QuotedLocalParts) {
  EXPECT_EQ(as_addresses("\"joe bloggs\"@x.org"), (List{{none, "\"joe bloggs\"@x.org"}}));
  EXPECT_EQ(as_addresses("Joe <\"joe > bloggs\"@x.org>"), (List{{"Joe", "\"joe > bloggs\"@x.org"}}));
  EXPECT_EQ(as_addresses("Joe <joe@[IPv6:::1]>, bob@[127.0.0.1]"),
            (List{{"Joe", "joe@[IPv6:::1]"}, {none, "bob@[127.0.0.1]"}}));
}

TEST(AsAddresses, EncodedWords) {
  EXPECT_EQ(as_addresses("=?utf-8?Q?Bl=C3=B6ggs=2C_Joe?= <joe@x>"), (List{{"Bl\xC3\xB6ggs, Joe", "joe@x"}}));
  EXPECT_EQ(as_addresses("=?utf-8?Q?J=C3?= =?utf-8?Q?=B6?= Bloggs <joe@x>"),
            (List{{"J\xC3\xB6 Bloggs", "joe@x"}}));
  EXPECT_EQ(as_addresses("=?utf-8?Q?Joe?=<joe@x>"), (List{{"Joe", "joe@x"}}));
  // Specials inside the word.
  EXPECT_EQ(as_addresses("=?utf-8?Q?Bloggs,_Joe_(x)_<y>;?= <joe@x>"),
            (List{{"Bloggs, Joe (x) <y>;", "joe@x"}}));
  // In a quoted-string: decoded only where there is nothing else.
  EXPECT_EQ(as_addresses("\"=?utf-8?Q?Bl=C3=B6ggs?= =?utf-8?Q?_Joe?=\" <joe@x>"),
            (List{{"Bl\xC3\xB6ggs Joe", "joe@x"}}));
  EXPECT_EQ(as_addresses("\"x =?utf-8?Q?a?=\" <joe@x>"), (List{{"x =?utf-8?Q?a?=", "joe@x"}}));
  EXPECT_EQ(as_addresses("x=?utf-8?Q?a?= <joe@x>"), (List{{"x=?utf-8?Q?a?=", "joe@x"}}));
  EXPECT_EQ(as_addresses("=?nonsense?Q?a?= <joe@x>"), (List{{"=?nonsense?Q?a?=", "joe@x"}}));
}

TEST(AsAddresses, UnquotedCommas) {
  EXPECT_EQ(as_addresses("Bloggs, Joe <joe@x>"), (List{{"Bloggs, Joe", "joe@x"}}));
  EXPECT_EQ(as_addresses("a@x, Bloggs, Joe, Jr. <joe@x>, b@x"),
            (List{{none, "a@x"}, {"Bloggs, Joe, Jr.", "joe@x"}, {none, "b@x"}}));
  EXPECT_EQ(as_addresses("root, joe@x"), (List{{none, "root"}, {none, "joe@x"}}));
  EXPECT_EQ(as_addresses("root, <joe@x>"), (List{{none, "root"}, {none, "joe@x"}}));
  EXPECT_EQ(as_addresses("a, b, c, D <d@x>"), (List{{none, "a"}, {none, "b"}, {"c, D", "d@x"}}));
}

TEST(AsAddresses, BrokenBrackets) {
  EXPECT_EQ(as_addresses("Joe Bloggs joe@x.org"), (List{{"Joe Bloggs", "joe@x.org"}}));
  EXPECT_EQ(as_addresses("joe@x.org Joe Bloggs"), (List{{"Joe Bloggs", "joe@x.org"}}));
  EXPECT_EQ(as_addresses("Joe <joe@x.org"), (List{{"Joe", "joe@x.org"}}));
  EXPECT_EQ(as_addresses("Joe <joe@x.org, Mary <mary@x.org>"),
            (List{{"Joe", "joe@x.org"}, {"Mary", "mary@x.org"}}));
  EXPECT_EQ(as_addresses("joe@x.org>"), (List{{none, "joe@x.org"}}));
  EXPECT_EQ(as_addresses("Joe <<joe@x.org>>"), (List{{"Joe", "joe@x.org"}}));
  EXPECT_EQ(as_addresses("Joe < joe @ x.org >"), (List{{"Joe", "joe@x.org"}}));
  EXPECT_EQ(as_addresses("<a@x> <b@x>"), (List{{none, "a@x"}, {none, "b@x"}}));
  EXPECT_EQ(as_addresses("a@x b@x"), (List{{none, "a@x"}, {none, "b@x"}}));
  EXPECT_EQ(as_addresses("Joe <mailto:joe@x.org>"), (List{{"Joe", "joe@x.org"}}));
  EXPECT_EQ(as_addresses("joe @ x.org"), (List{{none, "joe@x.org"}}));
  EXPECT_EQ(as_addresses("MAILER-DAEMON <>"), (List{{"MAILER-DAEMON", ""}}));
}

TEST(AsAddresses, BrokenQuotesAndComments) {
  EXPECT_EQ(as_addresses("\"Joe Bloggs <joe@x.org>, mary@x.org"),
            (List{{"Joe Bloggs", "joe@x.org"}, {none, "mary@x.org"}}));
  EXPECT_EQ(as_addresses("Joe (unclosed <joe@x.org>"), (List{{"Joe unclosed", "joe@x.org"}}));
  EXPECT_EQ(as_addresses("Joe) <joe@x.org>"), (List{{"Joe", "joe@x.org"}}));
  EXPECT_EQ(as_addresses("joe@[1.2.3.4, mary@x"), (List{{none, "joe@[1.2.3.4"}, {none, "mary@x"}}));
  EXPECT_EQ(as_addresses("<\"joe@x.org>, \"Mary\" <mary@x.org>"),
            (List{{none, "\"joe@x.org"}, {"Mary", "mary@x.org"}}));
}

TEST(AsAddresses, OtherSeparators) {
  EXPECT_EQ(as_addresses("a@x; b@x;"), (List{{none, "a@x"}, {none, "b@x"}}));
  EXPECT_EQ(as_addresses("G: a@x, b@x"), (List{{none, "a@x"}, {none, "b@x"}}));
  EXPECT_EQ(as_addresses("Re: Foo <a@x>"), (List{{"Foo", "a@x"}}));
  EXPECT_EQ(as_addresses("G: H: a@x;"), (List{{"H:", "a@x"}}));
}

TEST(AsAddresses, WithoutAnyAt) {
  EXPECT_EQ(as_addresses("undisclosed-recipients"), (List{{none, "undisclosed-recipients"}}));
  EXPECT_EQ(as_addresses("Joe Bloggs"), (List{{none, "Joe Bloggs"}}));
  EXPECT_EQ(as_addresses("\"Joe Bloggs\""), (List{{none, "Joe Bloggs"}}));
  EXPECT_EQ(as_addresses("root (Cron Daemon)"), (List{{"Cron Daemon", "root"}}));
  EXPECT_EQ(as_addresses("Joe <joe>"), (List{{"Joe", "joe"}}));
}

TEST(AsAddresses, EightBitNames) {
  EXPECT_EQ(as_addresses("Bl\xC3\xB6ggs <j\xC3\xB6@x>"), (List{{"Bl\xC3\xB6ggs", "j\xC3\xB6@x"}}));
  EXPECT_EQ(as_addresses("Bl\xF6ggs <joe@x>"), (List{{"Bl\xEF\xBF\xBDggs", "joe@x"}}));
}

TEST(AsAddresses, BoundsAddresses) {
  std::string value;
  for (std::size_t i = 0; i < header_addresses_max; ++i) value += "a@x,";
  EXPECT_EQ(as_addresses(value).size(), header_addresses_max);
  value += "b@x";
  EXPECT_EQ(as_addresses(value).size(), header_addresses_max);
  EXPECT_EQ(as_addresses(value).back().email, "a@x");
}

TEST(AsAddresses, BoundsGroups) {
  std::string value;
  for (std::size_t i = 0; i < header_groups_max; ++i) value += "G:;";
  EXPECT_EQ(as_grouped_addresses(value).size(), header_groups_max);
  value += "H: a@x;";
  EXPECT_EQ(as_grouped_addresses(value).size(), header_groups_max);
  EXPECT_EQ(as_grouped_addresses(value + "b@x").size(), header_groups_max);
}

// Each of these costs time in proportion to its length; quadratic time would be minutes.
TEST(AsAddresses, HostileInputIsLinear) {
  for (const std::string_view piece : {"\"", "(", "[", "<", "\\\"", "=?utf-8?Q?", ":", ";", "a ", "a@b ", ",",
                                       "<\"", "G:", "a,", "\"\\", "(\\", "@", "(a)"}) {
    std::string value;
    while (value.size() < 300'000) value += piece;
    EXPECT_LE(as_addresses(value).size(), header_addresses_max) << piece;
  }
}

TEST(AsAddresses, SurvivesBeingCutAnywhere) {
  const std::string value = "\"a, \\\"b\" (c (d)) <@r:e@[f]>, G: =?utf-8?Q?x,y?= <z@z>, \"q\"@r;;";
  for (std::size_t i = 0; i <= value.size(); ++i) EXPECT_LE(as_addresses(value.substr(0, i)).size(), 4u);
  for (std::size_t i = 0; i <= value.size(); ++i) EXPECT_LE(as_addresses(value.substr(i)).size(), 4u);
}

}  // namespace
}  // namespace postern::mail
