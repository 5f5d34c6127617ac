// The fragmenter finds the same responses in the same octets, whether they come at once or in pieces, and keeps
// to its limits. The first octet of the input is the size of the pieces.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "postern/imap/parser.hpp"

namespace postern::imap {

namespace {

constexpr FragmenterLimits limits{.line_bytes = 200, .literal_bytes = 300, .response_bytes = 400};

std::vector<std::string> fragments(std::string_view octets, std::size_t step) {
  Fragmenter fragmenter(limits);
  std::vector<std::string> out;
  while (!octets.empty()) {
    std::string_view piece = octets.substr(0, step);
    octets.remove_prefix(piece.size());
    for (;;) {
      const auto next = fragmenter.next(piece);
      if (next && !*next) break;
      if (next && (*next)->size() > limits.response_bytes) std::abort();
      out.emplace_back(next ? **next : "too large");
    }
    if (!piece.empty()) std::abort();
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view octets(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t step = 1 + data[0] % 64;
  // A response over its limit is refused once, at whatever octet that becomes clear.
  if (fragments(octets, step) != fragments(octets, std::max<std::size_t>(octets.size(), 1))) std::abort();
  return 0;
}

}  // namespace postern::imap
