// A logger that keeps its lines, so that a test can look for what must be there, and what mustn't.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "postern/base/log.hpp"

namespace postern::test {

class CaptureLogger final : public Logger {
 public:
  CaptureLogger() { set_level(LogLevel::trace); }
  std::vector<std::string> lines() const;
  // How many lines contain `text`.
  std::size_t count(std::string_view text) const;

 private:
  void write(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) override;
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

}  // namespace postern::test
