// CRC-32C (Castagnoli, RFC 3720 appendix B.4) in portable code, eight octets a step. It finds records that a
// crash tore or a bit flip changed; it is no protection against somebody who may write the file.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace postern::store {

namespace crc32c_detail {

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr Tables make_tables() {
  Tables t{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = (c & 1) != 0 ? c >> 1 ^ 0x82f63b78U : c >> 1;
    t[0][i] = c;
  }
  for (std::size_t k = 1; k < 8; ++k)
    for (std::size_t i = 0; i < 256; ++i) t[k][i] = t[k - 1][i] >> 8 ^ t[0][t[k - 1][i] & 0xff];
  return t;
}
inline constexpr Tables tables = make_tables();

}  // namespace crc32c_detail

// Continues from `seed`, the checksum of what came before (0 at the beginning).
inline std::uint32_t crc32c(const void* data, std::size_t size, std::uint32_t seed = 0) {
  const auto& t = crc32c_detail::tables;
  const auto* p = static_cast<const unsigned char*>(data);
  std::uint32_t c = ~seed;
  // The eight-octet step reads little-endian words; elsewhere the loop behind it does everything.
  for (; std::endian::native == std::endian::little && size >= 8; size -= 8, p += 8) {
    std::uint32_t low = 0, high = 0;
    std::memcpy(&low, p, 4);
    std::memcpy(&high, p + 4, 4);
    low ^= c;
    c = t[7][low & 0xff] ^ t[6][low >> 8 & 0xff] ^ t[5][low >> 16 & 0xff] ^ t[4][low >> 24] ^
        t[3][high & 0xff] ^ t[2][high >> 8 & 0xff] ^ t[1][high >> 16 & 0xff] ^ t[0][high >> 24];
  }
  for (; size != 0; --size, ++p) c = c >> 8 ^ t[0][(c ^ *p) & 0xff];
  return ~c;
}

}  // namespace postern::store
