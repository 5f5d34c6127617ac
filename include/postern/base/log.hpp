// Structured logging: one event, some fields, one line.
//
// The event is a fixed text an administrator can search for; what varies goes into fields. A session is
// named by its tag (store::session_tag), never by its token. Loggers are injected; there is no global.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

namespace postern {

enum class LogLevel { trace, debug, info, warning, error };
std::string_view to_string(LogLevel level);
bool parse_log_level(std::string_view text, LogLevel& level);

struct LogField {
  std::string_view key;
  std::string value;
  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const std::string& v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(v) {}
  template <typename Int>
    requires std::is_integral_v<Int>
  LogField(std::string_view k, Int v) : key(k), value(std::to_string(v)) {}
};

class Logger {
 public:
  virtual ~Logger() = default;
  bool enabled(LogLevel level) const { return level >= this->level(); }
  LogLevel level() const { return level_.load(std::memory_order_relaxed); }
  void set_level(LogLevel level) { level_.store(level, std::memory_order_relaxed); }

  void log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields = {}) {
    if (enabled(level)) write(level, event, fields);
  }
  void debug(std::string_view event, std::initializer_list<LogField> f = {}) {
    log(LogLevel::debug, event, f);
  }
  void info(std::string_view event, std::initializer_list<LogField> f = {}) { log(LogLevel::info, event, f); }
  void warning(std::string_view event, std::initializer_list<LogField> f = {}) {
    log(LogLevel::warning, event, f);
  }
  void error(std::string_view event, std::initializer_list<LogField> f = {}) {
    log(LogLevel::error, event, f);
  }

 private:
  // May be called from several threads at once.
  virtual void write(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) = 0;
  std::atomic<LogLevel> level_ = LogLevel::info;
};

enum class LogTarget { stderr_text, syslog, journal };
// Throws std::runtime_error where the journal isn't there or this build has no support for it (start-up).
// Syslog is taken as it comes (facility mail): its daemon may start later than we do.
std::unique_ptr<Logger> make_logger(LogTarget target, std::string_view program);

// event key=value key="value with spaces": control characters, quotes and backslashes are escaped, so
// that one event is always one line. Values are cut at log_value_bytes_max.
std::string format_logfmt(std::string_view event, std::initializer_list<LogField> fields);
inline constexpr std::size_t log_value_bytes_max = 1024;

class NullLogger final : public Logger {
  void write(LogLevel, std::string_view, std::initializer_list<LogField>) override {}
};

}  // namespace postern
