// What a keyword may be (RFC 8621, 4.1.1).
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace postern::mail {

inline constexpr std::size_t keyword_bytes_max = 255;

// 1 to 255 characters, of %x21 to %x7e without ( ) { ] % * " \ .
inline bool is_keyword(std::string_view keyword) {
  return !keyword.empty() && keyword.size() <= keyword_bytes_max &&
         std::all_of(keyword.begin(), keyword.end(), [](char c) {
           return c > ' ' && c < 0x7F && std::string_view("(){]%*\"\\").find(c) == std::string_view::npos;
         });
}

}  // namespace postern::mail
