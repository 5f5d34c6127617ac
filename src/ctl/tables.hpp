// The broker's answers as a person wants to read them. Pure functions from JSON to text.
#pragma once

#include <rapidjson/document.h>

#include <string>
#include <string_view>
#include <vector>

namespace postern::ctl {

// Rows under a heading, in columns as wide as they need to be. Nothing in a cell moves a terminal's cursor: control
// characters become "?".
class Table {
 public:
  explicit Table(std::vector<std::string> heading) { rows_.push_back(std::move(heading)); }
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

std::string printable(std::string_view text);
std::string human_bytes(std::uint64_t bytes);     // "12.3 MB"
std::string human_seconds(std::int64_t seconds);  // "3d 4h", "12m 5s"

// What a command's answer says, with a line end. `answer` has {"ok": true}.
std::string describe(std::string_view command, const rapidjson::Value& answer);

}  // namespace postern::ctl
