// Text encodings. Pure functions: any thread, no state, output bounded by a small multiple of the input.
#include "postern/base/encoding.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "postern/base/crypto.hpp"

namespace postern {
namespace {

constexpr std::string_view base64_alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view base64url_alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::uint8_t not_base64 = 0xff;

constexpr std::array<std::uint8_t, 256> reverse_table(std::string_view alphabet) {
  std::array<std::uint8_t, 256> table{};
  table.fill(not_base64);
  for (std::size_t i = 0; i < alphabet.size(); ++i)
    table[static_cast<unsigned char>(alphabet[i])] = static_cast<std::uint8_t>(i);
  return table;
}
constexpr auto base64_values = reverse_table(base64_alphabet);
constexpr auto base64url_values = reverse_table(base64url_alphabet);

std::uint32_t octet(std::string_view s, std::size_t i) { return static_cast<unsigned char>(s[i]); }

// Writes base64url_size(bytes.size()) characters; ids are made by the hundred for a page: no growing one by one.
void encode(std::string_view bytes, std::string_view alphabet, char* to) {
  const std::size_t rest = bytes.size() % 3, whole = bytes.size() - rest;
  const char* const from = alphabet.data();
  for (std::size_t i = 0; i < whole; i += 3) {
    const std::uint32_t v = octet(bytes, i) << 16 | octet(bytes, i + 1) << 8 | octet(bytes, i + 2);
    *to++ = from[v >> 18];
    *to++ = from[v >> 12 & 63];
    *to++ = from[v >> 6 & 63];
    *to++ = from[v & 63];
  }
  if (rest == 0) return;
  const std::uint32_t v = octet(bytes, whole) << 16 | (rest == 2 ? octet(bytes, whole + 1) << 8 : 0);
  *to++ = from[v >> 18];
  *to++ = from[v >> 12 & 63];
  if (rest == 2) *to = from[v >> 6 & 63];
}

// Decodes characters that were already freed of padding. A last group of one character, or bits left
// over that aren't zero, are refused (RFC 4648, 3.5): one value has one encoding.
class Base64Decoder {
 public:
  explicit Base64Decoder(const std::array<std::uint8_t, 256>& values) : values_(values) {}

  bool add(char c, std::string& out) {
    const std::uint8_t value = values_[static_cast<unsigned char>(c)];
    if (value == not_base64) return false;
    bits_ = (bits_ << 6 | value) & 0xffffff;
    ++count_;
    if (count_ % 4 != 1) out += static_cast<char>(bits_ >> left_over() & 0xff);
    return true;
  }
  bool finish() const { return count_ % 4 != 1 && (bits_ & ((1U << left_over()) - 1)) == 0; }
  std::size_t count() const { return count_; }

 private:
  unsigned left_over() const { return count_ % 4 == 2 ? 4 : count_ % 4 == 3 ? 2 : 0; }

  const std::array<std::uint8_t, 256>& values_;
  std::uint32_t bits_ = 0;
  std::size_t count_ = 0;
};

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// Well-formed UTF-8 (RFC 3629, 4). Gives the length of the sequence at `i`, and for an ill-formed one 0
// with `bad` the length of its maximal subpart (Unicode, 3.9: what one U+FFFD replaces).
std::size_t utf8_sequence(std::string_view s, std::size_t i, std::size_t& bad) {
  const std::uint32_t lead = octet(s, i);
  if (lead < 0x80) return 1;
  bad = 1;
  std::size_t size = 0;
  std::uint32_t low = 0x80, high = 0xbf;  // the range of the second octet
  if (lead >= 0xc2 && lead <= 0xdf) {
    size = 2;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    size = 3;
    if (lead == 0xe0) low = 0xa0;   // no overlong forms
    if (lead == 0xed) high = 0x9f;  // no surrogates
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    size = 4;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;  // nothing past U+10FFFF
  } else {
    return 0;
  }
  for (std::size_t k = 1; k < size; ++k) {
    if (i + k >= s.size() || octet(s, i + k) < low || octet(s, i + k) > high) return 0;
    bad = k + 1;
    low = 0x80;
    high = 0xbf;
  }
  return size;
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace

std::string base64_encode(std::string_view bytes) {
  std::string out((bytes.size() + 2) / 3 * 4, '=');
  encode(bytes, base64_alphabet, out.data());
  return out;
}

std::string base64url_encode(std::string_view bytes) {
  std::string out(base64url_size(bytes.size()), '\0');
  encode(bytes, base64url_alphabet, out.data());
  return out;
}

void base64url_encode_to(std::string_view bytes, std::span<char> to) {
  assert(to.size() == base64url_size(bytes.size()));
  encode(bytes, base64url_alphabet, to.data());
}

std::optional<std::string> base64_decode(std::string_view s) {
  std::string out;
  out.reserve(s.size() / 4 * 3 + 3);
  Base64Decoder decoder(base64_values);
  std::size_t padding = 0;
  for (const char c : s) {
    if (is_space(c)) continue;
    if (c == '=') {
      ++padding;
    } else if (padding != 0 || !decoder.add(c, out)) {
      return std::nullopt;
    }
  }
  if (padding > 2 || (decoder.count() + padding) % 4 != 0 || !decoder.finish()) return std::nullopt;
  return out;
}

// Four characters at a time; the same strictness as Base64Decoder's.
bool base64url_decode_to(std::string_view s, std::span<char> octets) {
  const auto value = [s](std::size_t i) -> std::uint32_t {
    return base64url_values[static_cast<unsigned char>(s[i])];
  };
  if (s.size() != base64url_size(octets.size())) return false;
  const std::size_t rest = s.size() % 4, whole = s.size() - rest;
  char* to = octets.data();
  for (std::size_t i = 0; i < whole; i += 4) {
    const std::uint32_t a = value(i), b = value(i + 1), c = value(i + 2), d = value(i + 3);
    if ((a | b | c | d) > 63) return false;
    const std::uint32_t bits = a << 18 | b << 12 | c << 6 | d;
    *to++ = static_cast<char>(bits >> 16);
    *to++ = static_cast<char>(bits >> 8 & 0xff);
    *to++ = static_cast<char>(bits & 0xff);
  }
  if (rest == 0) return true;
  const std::uint32_t a = value(whole), b = value(whole + 1), c = rest == 3 ? value(whole + 2) : 0;
  if ((a | b | c) > 63) return false;
  const std::uint32_t bits = a << 12 | b << 6 | c;
  if ((bits & (rest == 2 ? 0x3ffU : 3U)) != 0) return false;
  *to++ = static_cast<char>(bits >> 10);
  if (rest == 3) *to = static_cast<char>(bits >> 2 & 0xff);
  return true;
}

std::optional<std::string> base64url_decode(std::string_view s) {
  if (s.size() % 4 == 1) return std::nullopt;
  std::string out(s.size() / 4 * 3 + (s.size() % 4 == 0 ? 0 : s.size() % 4 - 1), '\0');
  if (!base64url_decode_to(s, out)) return std::nullopt;
  return out;
}

std::string hex_encode(std::string_view bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    out += digits[static_cast<unsigned char>(c) >> 4];
    out += digits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

std::uint64_t stable_hash64(std::string_view bytes) {
  const Digest digest = sha256(bytes);
  std::uint64_t hash = 0;
  for (std::size_t i = 0; i < 8; ++i) hash = hash << 8 | digest[i];
  return hash;
}

bool is_ascii(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

std::string ascii_lower(std::string_view s) {
  std::string out(s);
  std::transform(out.begin(), out.end(), out.begin(), lower);
  return out;
}

std::string ascii_upper(std::string_view s) {
  std::string out(s);
  for (char& c : out)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return out;
}

bool iequals_ascii(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trim_ascii(std::string_view s) {
  while (!s.empty() && is_space(s.front())) s.remove_prefix(1);
  while (!s.empty() && is_space(s.back())) s.remove_suffix(1);
  return s;
}

bool is_valid_utf8(std::string_view s) {
  std::size_t bad = 0;
  for (std::size_t i = 0; i < s.size();) {
    std::uint64_t eight = 0;
    if (s.size() - i >= sizeof eight) {
      std::memcpy(&eight, s.data() + i, sizeof eight);
      if ((eight & 0x8080808080808080U) == 0) {  // all ASCII
        i += sizeof eight;
        continue;
      }
    }
    const std::size_t size = utf8_sequence(s, i, bad);
    if (size == 0) return false;
    i += size;
  }
  return true;
}

std::string sanitize_utf8(std::string_view s) {
  std::string out;
  out.reserve(s.size());
  std::size_t bad = 0;
  for (std::size_t i = 0; i < s.size();) {
    const std::size_t size = utf8_sequence(s, i, bad);
    if (size == 0) {
      out += "\xEF\xBF\xBD";
      i += bad;
    } else {
      out.append(s, i, size);
      i += size;
    }
  }
  return out;
}

}  // namespace postern
