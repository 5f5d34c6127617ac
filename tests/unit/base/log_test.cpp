// The one-line format, levels, and what reaches stderr.
#include "postern/base/log.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace postern {
namespace {

class KeepingLogger final : public Logger {
 public:
  std::vector<std::string> lines;

 private:
  void write(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) override {
    lines.push_back(std::string(to_string(level)) + " " + format_logfmt(event, fields));
  }
};

TEST(FormatLogfmt, PlainAndQuoted) {
  EXPECT_EQ(format_logfmt("session started", {}), "session started");
  EXPECT_EQ(format_logfmt("session started", {{"session", "ab12cd34"}, {"count", 3}, {"delta", -1}}),
            "session started session=ab12cd34 count=3 delta=-1");
  EXPECT_EQ(format_logfmt("e", {{"k", "two words"}, {"empty", ""}, {"eq", "a=b"}}),
            "e k=\"two words\" empty=\"\" eq=\"a=b\"");
}

TEST(FormatLogfmt, OneEventIsOneLine) {
  const std::string line =
      format_logfmt("e", {{"v", std::string("a\r\nfake error\t\"x\\y\x1b[31m\x7f") + '\0' +
                                    "\xC2\x9b"
                                    "1m\xE2\x80\xA8"}});
  EXPECT_EQ(line, "e v=\"a\\r\\nfake error\\t\\\"x\\\\y\\x1b[31m\\x7f\\x00?1m?\"");
  EXPECT_EQ(format_logfmt("ev\nent", {}), "ev\\nent");
}

TEST(FormatLogfmt, ValueIsCutAtTheLimit) {
  EXPECT_EQ(format_logfmt("e", {{"v", std::string(log_value_bytes_max, 'x')}}),
            "e v=" + std::string(log_value_bytes_max, 'x'));
  EXPECT_EQ(format_logfmt("e", {{"v", std::string(log_value_bytes_max + 1, 'x')}}),
            "e v=" + std::string(log_value_bytes_max, 'x') + "...");
}

TEST(FormatLogfmt, CutNeverSplitsACharacter) {
  const std::string euro = "\xE2\x82\xAC";
  for (std::size_t lead = 0; lead < 3; ++lead) {
    std::string value(lead, 'x');
    while (value.size() <= log_value_bytes_max) value += euro;
    const std::string line = format_logfmt("e", {{"v", value}});
    EXPECT_EQ(line.find("\xEF\xBF\xBD"), std::string::npos);
    EXPECT_TRUE(line.ends_with(euro + "...\""));
    EXPECT_LE(line.size(), log_value_bytes_max + 10);
  }
}

TEST(Logger, LevelDecides) {
  KeepingLogger logger;
  logger.debug("hidden");
  logger.info("seen", {{"n", 1}});
  logger.set_level(LogLevel::error);
  logger.warning("hidden");
  logger.error("seen too");
  logger.set_level(LogLevel::trace);
  logger.log(LogLevel::trace, "now");
  EXPECT_EQ(logger.lines, (std::vector<std::string>{"info seen n=1", "error seen too", "trace now"}));
}

TEST(LogLevel, NamesGoBothWays) {
  for (const LogLevel level :
       {LogLevel::trace, LogLevel::debug, LogLevel::info, LogLevel::warning, LogLevel::error}) {
    LogLevel parsed = level == LogLevel::info ? LogLevel::debug : LogLevel::info;
    ASSERT_TRUE(parse_log_level(to_string(level), parsed));
    EXPECT_EQ(parsed, level);
  }
  LogLevel level = LogLevel::warning;
  EXPECT_FALSE(parse_log_level("loud", level));
  EXPECT_FALSE(parse_log_level("", level));
  EXPECT_EQ(level, LogLevel::warning);
}

TEST(MakeLogger, StderrLineHasTimeLevelProgramAndEvent) {
  ::testing::internal::CaptureStderr();
  {
    const auto logger = make_logger(LogTarget::stderr_text, "posternd");
    logger->warning("odd {}", {{"v", "%n{0}"}});
    logger->debug("hidden");
  }
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_TRUE(text.ends_with(": odd {} v=%n{0}\n")) << text;
  EXPECT_NE(text.find("Z warning posternd["), std::string::npos) << text;
  EXPECT_EQ(text.find("hidden"), std::string::npos);
}

}  // namespace
}  // namespace postern
