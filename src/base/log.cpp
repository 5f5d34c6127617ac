// Loggers over spdlog's sinks, and our one-line format. A logger may be used from any thread: the sinks
// lock. Bounded: a value is cut at log_value_bytes_max.
#include "postern/base/log.hpp"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#ifdef POSTERN_HAS_JOURNAL
#include <spdlog/sinks/systemd_sink.h>
#endif
#include <unistd.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include "postern/base/encoding.hpp"

namespace postern {
namespace {

constexpr std::array<std::pair<LogLevel, std::string_view>, 5> level_names{{
    {LogLevel::trace, "trace"},
    {LogLevel::debug, "debug"},
    {LogLevel::info, "info"},
    {LogLevel::warning, "warning"},
    {LogLevel::error, "error"},
}};

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::trace: return spdlog::level::trace;
    case LogLevel::debug: return spdlog::level::debug;
    case LogLevel::info: return spdlog::level::info;
    case LogLevel::warning: return spdlog::level::warn;
    case LogLevel::error: return spdlog::level::err;
  }
  return spdlog::level::err;
}

class SpdlogLogger final : public Logger {
 public:
  SpdlogLogger(std::string name, spdlog::sink_ptr sink) : logger_(std::move(name), std::move(sink)) {
    logger_.set_level(spdlog::level::trace);  // ours decides
  }

 private:
  void write(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) override {
    const std::string line = format_logfmt(event, fields);
    logger_.log(spdlog_level(level), spdlog::string_view_t(line.data(), line.size()));
  }
  spdlog::logger logger_;
};

spdlog::sink_ptr stderr_sink() {
  auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  sink->set_formatter(std::make_unique<spdlog::pattern_formatter>("%Y-%m-%dT%H:%M:%S.%eZ %l %n[%P]: %v",
                                                                  spdlog::pattern_time_type::utc));
  return sink;
}

// LOG_NDELAY: the socket is opened now, while we may still have to drop privileges.
spdlog::sink_ptr syslog_sink(const std::string& program) {
  return std::make_shared<spdlog::sinks::syslog_sink_mt>(program, LOG_PID | LOG_NDELAY, LOG_MAIL, false);
}

spdlog::sink_ptr journal_sink([[maybe_unused]] const std::string& program) {
#ifdef POSTERN_HAS_JOURNAL
  constexpr const char* journal_socket = "/run/systemd/journal/socket";
  if (::access(journal_socket, W_OK) != 0)
    throw std::runtime_error(std::string("the systemd journal can't be reached: ") + journal_socket);
  return std::make_shared<spdlog::sinks::systemd_sink_mt>(program);
#else
  throw std::runtime_error("this build has no support for the systemd journal");
#endif
}

bool is_plain(std::string_view value) {
  return !value.empty() && std::all_of(value.begin(), value.end(), [](char c) {
    return c > ' ' && c != 0x7f && c != '"' && c != '\\' && c != '=';
  });
}

void append_escaped(std::string& out, char c) {
  constexpr std::string_view digits = "0123456789abcdef";
  const auto octet = static_cast<unsigned char>(c);
  switch (c) {
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    case '"': out += "\\\""; return;
    case '\\': out += "\\\\"; return;
    default: break;
  }
  if (octet < 0x20 || octet == 0x7f) {
    out += "\\x";
    out += digits[octet >> 4];
    out += digits[octet & 15];
  } else {
    out += c;
  }
}

// Cuts without leaving half a character, and makes what is left valid UTF-8, for the journal's sake. C1
// controls, which some terminals obey, and the line and paragraph separators (U+2028, U+2029) become "?".
std::string clean_value(std::string_view value) {
  const bool cut = value.size() > log_value_bytes_max;
  if (cut) {
    std::size_t end = log_value_bytes_max;
    while (end > log_value_bytes_max - 4 && (static_cast<unsigned char>(value[end]) & 0xc0) == 0x80) --end;
    value = value.substr(0, end);
  }
  std::string text = sanitize_utf8(value);
  for (std::size_t i = 0; i + 1 < text.size(); ++i) {
    const auto a = static_cast<unsigned char>(text[i]), b = static_cast<unsigned char>(text[i + 1]);
    if (a == 0xc2 && b < 0xa0)
      text.replace(i, 2, "?");
    else if (a == 0xe2 && b == 0x80 && i + 2 < text.size() &&
             (static_cast<unsigned char>(text[i + 2]) & 0xfe) == 0xa8)
      text.replace(i, 3, "?");
  }
  if (cut) text += "...";
  return text;
}

}  // namespace

std::string_view to_string(LogLevel level) {
  for (const auto& [known, name] : level_names)
    if (known == level) return name;
  return "unknown";
}

bool parse_log_level(std::string_view text, LogLevel& level) {
  for (const auto& [known, name] : level_names) {
    if (name != text) continue;
    level = known;
    return true;
  }
  return false;
}

std::string format_logfmt(std::string_view event, std::initializer_list<LogField> fields) {
  std::string out;
  for (const char c : clean_value(event)) append_escaped(out, c);
  for (const LogField& field : fields) {
    out += ' ';
    out += field.key;  // a literal in our source
    out += '=';
    const std::string value = clean_value(field.value);
    if (is_plain(value)) {
      out += value;
      continue;
    }
    out += '"';
    for (const char c : value) append_escaped(out, c);
    out += '"';
  }
  return out;
}

std::unique_ptr<Logger> make_logger(LogTarget target, std::string_view program) {
  const std::string name(program);
  switch (target) {
    case LogTarget::stderr_text: return std::make_unique<SpdlogLogger>(name, stderr_sink());
    case LogTarget::syslog: return std::make_unique<SpdlogLogger>(name, syslog_sink(name));
    case LogTarget::journal: return std::make_unique<SpdlogLogger>(name, journal_sink(name));
  }
  throw std::logic_error("unknown log target");
}

}  // namespace postern
