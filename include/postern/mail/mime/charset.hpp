// Character sets of mail to UTF-8.
//
// Free functions: any thread. Only the charsets of a fixed table are ever handed to iconv, never a name that
// came from outside as it stands. Output is at most three octets for one of input, or four for two.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace postern::mail {

struct Utf8Text {
  std::string text;           // valid UTF-8; malformed sections are U+FFFD
  bool malformed = false;     // there were malformed sections
  bool charset_known = true;  // false: guessed, because the label is not in the table
};

// True if to_utf8 has a decoder of that label (RFC 2978 name, alias, or what mailers write instead).
bool is_known_charset(std::string_view label);

// Decodes by the label as it is meant by mailers rather than by the letter (as the WHATWG Encoding Standard):
// iso-8859-1 as windows-1252, gb2312 as GB18030, ks_c_5601-1987 as CP949, shift_jis as CP932.
// No label, us-ascii with 8-bit octets, and unknown labels are guessed: UTF-8 if valid, else windows-1252
// (ISO-2022-JP, if its escape sequences are there). Western single-octet labels on valid multi-octet UTF-8 are
// taken for a lie. `cut`: the bytes were cut off, so an incomplete character at the end is no malformed section.
Utf8Text to_utf8(std::string_view bytes, std::string_view label, bool cut = false);

// Normalization Form C of valid UTF-8.
std::string to_nfc(std::string text);

// The longest prefix of valid UTF-8 with at most `bytes_max` octets that doesn't end inside a character.
std::string_view utf8_prefix(std::string_view text, std::size_t bytes_max);

}  // namespace postern::mail
