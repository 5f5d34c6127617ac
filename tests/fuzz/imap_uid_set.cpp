// UidSet: what is read is kept sorted and disjoint, is written and read back, and survives being split.
#include <cstdint>
#include <cstdlib>
#include <ranges>
#include <string_view>

#include "postern/imap/uid_set.hpp"

namespace postern::imap {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto set = UidSet::parse(text);
  if (!set) return 0;
  std::uint64_t last = 0;
  for (const auto& r : set->ranges()) {
    if (r.first > r.last || (last != 0 && r.first <= last + 1) || r.first == 0) std::abort();
    last = r.last;
  }
  if (*UidSet::parse(set->to_string()) != *set) std::abort();
  UidSet joined, added;
  for (const UidSet& piece : set->split(30)) {
    if (piece.to_string().size() > 30) std::abort();
    for (const auto& r : piece.ranges()) joined.add(r.first, r.last);
  }
  for (const auto& r : std::ranges::reverse_view(set->ranges())) added.add(r.last, r.first);
  if (joined != *set || added != *set) std::abort();
  return 0;
}

}  // namespace postern::imap
