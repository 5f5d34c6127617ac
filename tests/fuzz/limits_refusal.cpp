// A refusal as it travels in an error's context: what is read from one is written the same, and tells a person
// something whatever it holds.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "postern/limits/meter.hpp"

namespace postern::limits {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  const auto refusal = Refusal::decode(text);
  if (!refusal) return 0;
  if (Refusal::decode(refusal->encode()) != refusal) std::abort();
  if (refusal->description().find(refusal->plan) == std::string::npos) std::abort();
  if (refusal->retry_after(1'700'000'000) < 1) std::abort();
  return 0;
}

}  // namespace postern::limits
