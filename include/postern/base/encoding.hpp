// Text encodings of bytes, and a stable 64-bit hash for keys that are written down.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace postern {

std::string base64_encode(std::string_view bytes);             // RFC 4648, 4, with padding
std::optional<std::string> base64_decode(std::string_view s);  // strict but for white space
std::string base64url_encode(std::string_view bytes);          // RFC 4648, 5, without padding
std::optional<std::string> base64url_decode(std::string_view s);
// The same for what has a fixed size, in memory of the caller's. `to` has base64url_size(bytes.size()) characters;
// decoding says whether `s` is what so many octets as `to` has are encoded as.
constexpr std::size_t base64url_size(std::size_t bytes) {
  return bytes / 3 * 4 + (bytes % 3 == 0 ? 0 : bytes % 3 + 1);
}
void base64url_encode_to(std::string_view bytes, std::span<char> to);
bool base64url_decode_to(std::string_view s, std::span<char> to);
std::string hex_encode(std::string_view bytes);

// The first 64 bits of SHA-256, big-endian: the same on every machine and in every version.
std::uint64_t stable_hash64(std::string_view bytes);

std::string ascii_lower(std::string_view s);
std::string ascii_upper(std::string_view s);
// True if every octet is below 0x80.
bool is_ascii(std::string_view s);
bool iequals_ascii(std::string_view a, std::string_view b);
std::string_view trim_ascii(std::string_view s);

// Valid UTF-8 by RFC 3629 (no surrogates, no overlong forms).
bool is_valid_utf8(std::string_view s);
// Replaces each ill-formed sequence by U+FFFD.
std::string sanitize_utf8(std::string_view s);

}  // namespace postern
