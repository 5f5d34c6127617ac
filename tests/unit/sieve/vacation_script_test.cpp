// Postern's own script: what it says, and that it is known again exactly; and the scan of other people's.
#include "postern/sieve/vacation_script.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace postern::sieve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

VacationScript enabled(std::string text = "Back on Monday.") {
  VacationScript script;
  script.response.is_enabled = true;
  script.response.text_body = std::move(text);
  return script;
}

// Without the comments.
std::string code_of(const std::string& script) {
  std::string out;
  for (std::size_t at = 0; at < script.size();) {
    const auto end = script.find('\n', at) + 1;
    if (script[at] != '#') out += script.substr(at, end - at);
    at = end;
  }
  return out;
}

TEST(VacationScript, SaysWhatIsToBeSent) {
  EXPECT_EQ(code_of(write_vacation_script(enabled())),
            "require [\"vacation\"];\r\nvacation \"Back on Monday.\";\r\n");
  auto script = enabled("a \"b\" \\ ${hex:22}\n.\nc\rd");
  script.response.subject = "I'm \"out\"";
  EXPECT_EQ(
      code_of(write_vacation_script(script, {"anna@example.com"})),
      "require [\"vacation\"];\r\nvacation :subject \"I'm \\\"out\\\"\" :addresses [\"anna@example.com\"] "
      "\"a \\\"b\\\" \\\\ ${hex:22}\r\n.\r\nc\r\nd\";\r\n");
  script.response = {};
  script.response.is_enabled = true;
  EXPECT_THAT(write_vacation_script(script), HasSubstr(default_vacation_text));
}

TEST(VacationScript, IncludesBehindTheRule) {
  auto script = enabled();
  script.include = "my \"rules\"";
  EXPECT_EQ(code_of(write_vacation_script(script)),
            "require [\"include\", \"vacation\"];\r\nvacation \"Back on Monday.\";\r\n"
            "include :personal :optional \"my \\\"rules\\\"\";\r\n");
  script.response.is_enabled = false;
  EXPECT_EQ(code_of(write_vacation_script(script)),
            "require [\"include\"];\r\ninclude :personal :optional \"my \\\"rules\\\"\";\r\n");
  script.include.clear();
  EXPECT_EQ(code_of(write_vacation_script(script)), "");
}

TEST(VacationScript, AsksForTheDate) {
  auto script = enabled();
  script.response.from_date = 1'782'892'800;  // 2026-07-01T08:00:00Z
  const auto from = code_of(write_vacation_script(script));
  EXPECT_THAT(from, HasSubstr("require [\"date\", \"relational\", \"vacation\"];"));
  EXPECT_THAT(from,
              HasSubstr("if allof(anyof(currentdate :zone \"+0000\" :value \"gt\" \"date\" \"2026-07-01\","));
  EXPECT_THAT(from, HasSubstr("currentdate :zone \"+0000\" :value \"ge\" \"time\" \"08:00:00\""));
  script.response.to_date = 1'782'892'801;
  const auto both = code_of(write_vacation_script(script));
  EXPECT_THAT(both, HasSubstr(":value \"lt\" \"date\" \"2026-07-01\""));
  EXPECT_THAT(both, HasSubstr(":value \"lt\" \"time\" \"08:00:01\""));
  script.response.from_date = -62'167'219'200;  // 0000-01-01
  EXPECT_THAT(code_of(write_vacation_script(script)), HasSubstr("\"0000-01-01\""));
}

TEST(VacationScript, SendsHtmlAsMime) {
  auto script = enabled();
  script.response.html_body =
      "<p>Gr\xc3\xbc\xc3\x9f"
      "e</p>";
  const auto both = code_of(write_vacation_script(script));
  EXPECT_THAT(both, HasSubstr("vacation :mime \"Content-Type: multipart/alternative; boundary=\\\"=_"));
  EXPECT_THAT(both,
              HasSubstr("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
                        "QmFjayBvbiBNb25kYXku\r\n"));
  EXPECT_THAT(both, HasSubstr("PHA+R3LDvMOfZTwvcD4="));
  script.response.text_body.reset();
  const auto html = code_of(write_vacation_script(script));
  EXPECT_THAT(html, HasSubstr("vacation :mime \"Content-Type: text/html; charset=utf-8\r\n"));
  EXPECT_THAT(html, Not(HasSubstr("multipart")));
}

TEST(VacationScript, IsKnownAgainOnlyAsItWas) {
  auto script = enabled();
  script.include = "mine";
  const auto text = write_vacation_script(script);
  EXPECT_EQ(read_vacation_script(text), script);
  std::string with_lf;
  for (const char c : text)
    if (c != '\r') with_lf += c;
  EXPECT_EQ(read_vacation_script(with_lf), script);
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto edited = text;
    edited[i] = edited[i] == 'x' ? 'y' : 'x';
    if (text[i] != '\r') EXPECT_FALSE(read_vacation_script(edited)) << i;
  }
  EXPECT_FALSE(read_vacation_script(text + "keep;\r\n"));
  EXPECT_FALSE(read_vacation_script("keep;\r\n"));
  EXPECT_FALSE(read_vacation_script(""));
}

// Any response can be read again, and its strings stay strings.
TEST(VacationScript, HoldsAnyText) {
  std::mt19937 random(11);
  const std::vector<std::string> parts{
      "\"", "\\",     "\r\n",     "\n",       "\r",        ".", "text:", "#: text ", "/*", "*/",
      ";",  "reject", "vacation", "\xc3\xa4", "${hex:22}", "a", " ",     "# ",       "]",  "}"};
  const auto text = [&]() -> std::optional<std::string> {
    if (random() % 4 == 0) return std::nullopt;
    std::string out;
    for (auto n = random() % 40; n > 0; --n) out += parts[random() % parts.size()];
    return out;
  };
  for (int i = 0; i < 500; ++i) {
    VacationScript script;
    auto& response = script.response;
    response.is_enabled = random() % 2 == 0;
    if (random() % 2 == 0) response.from_date = static_cast<std::int64_t>(random()) * 60 - 62'000'000'000;
    if (random() % 2 == 0) response.to_date = random();
    response.subject = text(), response.text_body = text(), response.html_body = text();
    if (random() % 2 == 0) script.include = "a \"b\" " + std::to_string(random());
    const auto written = write_vacation_script(script);
    ASSERT_EQ(read_vacation_script(written), script);
    const auto use = scan_script(written);
    ASSERT_EQ(use.answers, response.is_enabled);
    ASSERT_EQ(use.includes.size(), script.include.empty() ? 0U : 1U);
    if (!script.include.empty()) ASSERT_EQ(use.includes[0], script.include);
  }
}

TEST(ScriptScan, TellsCodeFromStringsAndComments) {
  EXPECT_FALSE(scan_script("require [\"vacation\", \"reject\"]; # vacation\n/* reject */ keep;").answers);
  EXPECT_FALSE(scan_script("fileinto text:\r\nvacation\r\n..\r\n.\r\n;").answers);
  EXPECT_FALSE(scan_script("if body :text \"x\" { keep; }").answers);
  EXPECT_TRUE(scan_script("if true { Vacation :days 3 \"x\"; }").answers);
  EXPECT_TRUE(scan_script("REJECT \"no\";").answers);
  EXPECT_TRUE(scan_script("fileinto text:\n.\n;ereject \"no\";").answers);
  // What never ends is looked at as far as it goes.
  for (const char* text : {"\"vacation", "/* vacation", "text:\nvacation", "\"\\", ":", "#"})
    EXPECT_FALSE(scan_script(text).answers) << text;
}

TEST(ScriptScan, FindsWhatIsIncluded) {
  EXPECT_THAT(
      scan_script(
          "include \"a\"; include :personal :once \"b\"; include :global \"c\"; include :optional \"d\";"
          "fileinto \"e\"; include text:\n.\n;")
          .includes,
      ElementsAre("a", "b", "d", ""));
  std::string many;
  for (std::size_t i = 0; i <= script_includes_max; ++i) many += "include \"x\";";
  EXPECT_EQ(scan_script(many).includes.size(), script_includes_max);
}

}  // namespace
}  // namespace postern::sieve
