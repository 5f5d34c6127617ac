// What a fuzz target says when something doesn't hold that has to.
#pragma once

#include <cstdlib>

namespace postern {

// Ends the process, in release builds too: libFuzzer then keeps the input.
inline void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace postern
