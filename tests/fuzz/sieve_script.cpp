// Scripts of others are scanned without harm; what is known as ours is written again as it was.
#include <cstdint>
#include <string_view>

#include "postern/base/encoding.hpp"
#include "postern/sieve/vacation_script.hpp"
#include "require.hpp"

using namespace postern;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  require(sieve::scan_script(text).includes.size() <= sieve::script_includes_max);
  require(!sieve::read_vacation_script(text) || text.starts_with("# postern-vacation 1 "));
  // Any text as a response's: it can be read again, and does not get out of its string.
  if (!is_valid_utf8(text) || text.find('\0') != std::string_view::npos || size > 4096) return 0;
  sieve::VacationScript script;
  script.response.is_enabled = size % 2 == 0;
  script.response.subject = std::string(text.substr(0, text.find_first_of("\r\n")));
  script.response.text_body = text;
  if (size % 3 == 0) script.response.html_body = text;
  const auto written = sieve::write_vacation_script(script);
  require(sieve::read_vacation_script(written) == script);
  const auto use = sieve::scan_script(written);
  require(use.answers == script.response.is_enabled && use.includes.empty());
  return 0;
}
