// ManageSieve replies, whole and octet by octet: both ways give the same lines, within the limits.
#include <cstdint>
#include <string_view>
#include <vector>

#include "postern/sieve/protocol.hpp"
#include "require.hpp"

using namespace postern;

namespace {

constexpr sieve::ReplyLimits limits{.line_bytes_max = 256, .literal_bytes_max = 1024, .words_max = 4};

struct Heard {
  std::vector<sieve::Line> lines;
  bool failed = false;
};

void hear(sieve::ReplyParser& parser, Heard& heard) {
  while (!heard.failed) {
    const auto line = parser.next();
    heard.failed = !line;
    if (!line || !*line) return;
    require((*line)->size() <= limits.words_max);
    (void)sieve::parse_completion(**line);
    sieve::Capabilities capabilities;
    capabilities.add(**line);
    heard.lines.push_back(**line);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Heard at_once, bit_by_bit;
  sieve::ReplyParser whole(limits), pieces(limits);
  whole.feed(text);
  hear(whole, at_once);
  for (const char c : text) {
    pieces.feed({&c, 1});
    hear(pieces, bit_by_bit);
  }
  require(at_once.lines == bit_by_bit.lines);
  require(at_once.failed == bit_by_bit.failed);
  // What a command carries comes back as it was.
  if (text.find('\0') == std::string_view::npos && size <= 64) {
    sieve::ReplyParser echo(limits);
    echo.feed(sieve::wire_string(text) + "\r\n");
    const auto line = echo.next();
    require(line && *line && (**line).size() == 1 && (**line)[0].is_string && (**line)[0].text == text);
  }
  return 0;
}
