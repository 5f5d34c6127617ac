// Keeps the lines as they would have been written, behind a mutex: other threads log as well.
#include "capture_log.hpp"

#include <algorithm>

namespace postern::test {

std::vector<std::string> CaptureLogger::lines() const {
  const std::lock_guard lock(mutex_);
  return lines_;
}

std::size_t CaptureLogger::count(std::string_view text) const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(std::count_if(
      lines_.begin(), lines_.end(), [&](const auto& line) { return line.find(text) != std::string::npos; }));
}

void CaptureLogger::write(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  const std::lock_guard lock(mutex_);
  lines_.push_back(std::string(to_string(level)) + " " + format_logfmt(event, fields));
}

}  // namespace postern::test
