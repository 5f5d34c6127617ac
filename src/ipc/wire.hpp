// Little-endian integers, written and read an octet at a time (the compiler makes one move of it).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace postern::ipc::wire {

template <typename Int>
void put(std::string& out, Int value) {
  for (std::size_t i = 0; i < sizeof(Int); ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

// `at` must have sizeof(Int) octets.
template <typename Int>
Int get(const char* at) {
  Int value = 0;
  for (std::size_t i = 0; i < sizeof(Int); ++i) {
    value = static_cast<Int>(
        value | static_cast<Int>(static_cast<Int>(static_cast<unsigned char>(at[i])) << (8 * i)));
  }
  return value;
}

// Takes one integer off the front; false if there are too few octets.
template <typename Int>
bool take(std::string_view& data, Int& value) {
  if (data.size() < sizeof(Int)) return false;
  value = get<Int>(data.data());
  data.remove_prefix(sizeof(Int));
  return true;
}

}  // namespace postern::ipc::wire
