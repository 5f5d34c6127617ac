// Modified UTF-7 (RFC 3501, 5.1.3): printable US-ASCII stands for itself but for "&", which is "&-"; anything
// else is UTF-16 (big-endian) in base64 without padding and with "," for "/", between "&" and "-".
#include <array>
#include <cstdint>
#include <optional>

#include "postern/imap/command.hpp"

namespace postern::imap {
namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

constexpr std::array<std::int8_t, 256> make_values() {
  std::array<std::int8_t, 256> out{};
  for (auto& v : out) v = -1;
  for (std::size_t i = 0; i < alphabet.size(); ++i) {
    out[static_cast<unsigned char>(alphabet[i])] = static_cast<std::int8_t>(i);
  }
  return out;
}
constexpr std::array<std::int8_t, 256> base64_values = make_values();

// One code point of UTF-8; what is ill-formed is U+FFFD, an octet at a time.
char32_t next_code_point(std::string_view& in) {
  const auto octet = [&](std::size_t i) { return static_cast<unsigned char>(in[i]); };
  const unsigned char lead = octet(0);
  std::size_t size = 1;
  char32_t value = lead, smallest = 0;
  if (lead >= 0xF0 && lead <= 0xF4) {
    size = 4, value = lead & 0x07, smallest = 0x10000;
  } else if (lead >= 0xE0 && lead < 0xF0) {
    size = 3, value = lead & 0x0F, smallest = 0x800;
  } else if (lead >= 0xC2 && lead < 0xE0) {
    size = 2, value = lead & 0x1F, smallest = 0x80;
  } else if (lead >= 0x80) {
    in.remove_prefix(1);
    return 0xFFFD;
  }
  bool ok = size <= in.size();
  for (std::size_t i = 1; ok && i < size; ++i) {
    ok = (octet(i) & 0xC0) == 0x80;
    value = (value << 6) | (octet(i) & 0x3F);
  }
  ok = ok && value >= smallest && value <= 0x10FFFF && (value < 0xD800 || value > 0xDFFF);
  in.remove_prefix(ok ? size : 1);
  return ok ? value : 0xFFFD;
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&](char32_t octet) { out += static_cast<char>(static_cast<unsigned char>(octet)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | (c >> 6)), put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | (c >> 12)), put(0x80 | ((c >> 6) & 0x3F)), put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | (c >> 18)), put(0x80 | ((c >> 12) & 0x3F)), put(0x80 | ((c >> 6) & 0x3F)),
        put(0x80 | (c & 0x3F));
  }
}

// What stands between "&" and "-"; nullopt if it is no UTF-16 in base64, or says a control character.
std::optional<std::string> decode_shifted(std::string_view text) {
  std::string out;
  std::uint32_t bits = 0;
  unsigned held = 0;
  char32_t high = 0;
  for (const char c : text) {
    const std::int8_t value = base64_values[static_cast<unsigned char>(c)];
    if (value < 0) return std::nullopt;
    bits = (bits << 6) | static_cast<std::uint32_t>(value);
    held += 6;
    if (held < 16) continue;
    held -= 16;
    const char32_t unit = (bits >> held) & 0xFFFF;
    const bool is_high = unit >= 0xD800 && unit < 0xDC00, is_low = unit >= 0xDC00 && unit < 0xE000;
    if ((high != 0) != is_low) return std::nullopt;
    if (is_high) {
      high = unit;
      continue;
    }
    const char32_t code_point = is_low ? 0x10000 + ((high - 0xD800) << 10) + (unit - 0xDC00) : unit;
    if (code_point < 0x20 || code_point == 0x7F) return std::nullopt;
    append_utf8(out, code_point);
    high = 0;
  }
  if (out.empty() || high != 0 || held >= 6 || (bits & ((1u << held) - 1)) != 0) return std::nullopt;
  return out;
}

class Shifted {
 public:
  explicit Shifted(std::string& out) : out_(out) {}
  void unit(char32_t value) {
    if (!open_) {
      out_ += '&';
      open_ = true;
    }
    bits_ = (bits_ << 16) | static_cast<std::uint32_t>(value);
    for (held_ += 16; held_ >= 6; held_ -= 6) out_ += alphabet[(bits_ >> (held_ - 6)) & 0x3F];
    bits_ &= (1u << held_) - 1;
  }
  void close() {
    if (!open_) return;
    if (held_ > 0) out_ += alphabet[(bits_ << (6 - held_)) & 0x3F];
    out_ += '-';
    open_ = false;
    bits_ = held_ = 0;
  }

 private:
  std::string& out_;
  bool open_ = false;
  std::uint32_t bits_ = 0;
  std::uint32_t held_ = 0;
};

}  // namespace

std::string encode_mailbox_utf7(std::string_view utf8) {
  std::string out;
  Shifted shifted(out);
  while (!utf8.empty()) {
    const char32_t c = next_code_point(utf8);
    if (c >= 0x20 && c <= 0x7E) {
      shifted.close();
      out += static_cast<char>(c);
      if (c == '&') out += '-';
    } else if (c >= 0x10000) {
      shifted.unit(0xD800 + ((c - 0x10000) >> 10));
      shifted.unit(0xDC00 + ((c - 0x10000) & 0x3FF));
    } else {
      shifted.unit(c);
    }
  }
  shifted.close();
  return out;
}

std::string decode_mailbox_utf7(std::string_view name) {
  std::string out;
  while (!name.empty()) {
    const std::size_t shift = name.find('&');
    out.append(name.substr(0, shift));
    if (shift == std::string_view::npos) break;
    name.remove_prefix(shift);
    std::size_t end = 1;
    while (end < name.size() && base64_values[static_cast<unsigned char>(name[end])] >= 0) ++end;
    if (end < name.size() && name[end] == '-') {
      if (end == 1) {
        out += '&';
        name.remove_prefix(2);
        continue;
      }
      if (const auto text = decode_shifted(name.substr(1, end - 1))) {
        out += *text;
        name.remove_prefix(end + 1);
        continue;
      }
    }
    out += '&';
    name.remove_prefix(1);
  }
  return out;
}

}  // namespace postern::imap
