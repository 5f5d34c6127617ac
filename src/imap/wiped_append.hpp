// Appends to a string that holds a secret, leaving no copy behind when it grows.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "postern/base/secret.hpp"

namespace postern::imap {

inline void wiped_append(std::string& to, std::string_view octets) {
  // Never in the small-string buffer, which a move would leave behind.
  constexpr std::size_t capacity_min = 512;
  if (to.capacity() - to.size() < octets.size() || to.capacity() < capacity_min) {
    std::string larger;
    larger.reserve(std::max(2 * to.size() + octets.size(), capacity_min));
    larger = to;
    postern::wipe(to.data(), to.size());
    to.swap(larger);
  }
  to += octets;
}

inline void wipe_and_free(std::string& text) {
  postern::wipe(text.data(), text.size());
  std::string().swap(text);
}

}  // namespace postern::imap
