// The table of labels, decoders of our own for the commonest charsets, and iconv for the rest. Malformed octets
// become U+FFFD, one by one for malformed_sections_max of them.
#include "postern/mail/mime/charset.hpp"

#include <glib.h>
#include <iconv.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "postern/base/encoding.hpp"

namespace postern::mail {
namespace {

constexpr std::string_view replacement_character = "\xEF\xBF\xBD";  // U+FFFD
// Malformed sections of one text that are replaced one by one; past them the rest is one malformed section, so
// that hostile text costs no more than a constant number of extra iconv calls.
constexpr std::size_t malformed_sections_max = 10'000;

enum class Kind : std::uint8_t { ascii, utf8, windows_1252, western, table, iso_2022_jp, hz, utf16, utf32 };

struct Charset {
  Kind kind = Kind::table;
  const char* iconv_name = nullptr;
};

// Names are in lower case with '-' for '_', and without a leading "x-".
struct NamedCharset {
  std::string_view name;
  Charset charset;
};
constexpr NamedCharset charsets[] = {
    {"utf-8", {Kind::utf8}},
    {"us-ascii", {Kind::ascii}},
    {"iso-8859-1", {Kind::windows_1252}},
    {"windows-1252", {Kind::windows_1252}},
    {"utf8", {Kind::utf8}},
    {"utf-8n", {Kind::utf8}},
    {"unicode-1-1-utf-8", {Kind::utf8}},
    {"cp65001", {Kind::utf8}},
    {"ascii", {Kind::ascii}},
    {"ansi-x3.4-1968", {Kind::ascii}},
    {"ansi-x3.4-1986", {Kind::ascii}},
    {"iso646-us", {Kind::ascii}},
    {"iso-ir-6", {Kind::ascii}},
    {"us", {Kind::ascii}},
    {"646", {Kind::ascii}},
    {"ibm367", {Kind::ascii}},
    {"cp367", {Kind::ascii}},
    {"csascii", {Kind::ascii}},
    {"latin1", {Kind::windows_1252}},
    {"latin-1", {Kind::windows_1252}},
    {"l1", {Kind::windows_1252}},
    {"iso-ir-100", {Kind::windows_1252}},
    {"ibm819", {Kind::windows_1252}},
    {"cp819", {Kind::windows_1252}},
    {"csisolatin1", {Kind::windows_1252}},
    {"ansi", {Kind::windows_1252}},
    {"iso-8859-15", {Kind::western, "ISO-8859-15"}},
    {"latin9", {Kind::western, "ISO-8859-15"}},
    {"latin-9", {Kind::western, "ISO-8859-15"}},
    {"l9", {Kind::western, "ISO-8859-15"}},
    {"iso-8859-2", {Kind::table, "ISO-8859-2"}},
    {"latin2", {Kind::table, "ISO-8859-2"}},
    {"l2", {Kind::table, "ISO-8859-2"}},
    {"csisolatin2", {Kind::table, "ISO-8859-2"}},
    {"iso-8859-3", {Kind::table, "ISO-8859-3"}},
    {"iso-8859-4", {Kind::table, "ISO-8859-4"}},
    {"iso-8859-5", {Kind::table, "ISO-8859-5"}},
    {"cyrillic", {Kind::table, "ISO-8859-5"}},
    {"iso-8859-6", {Kind::table, "ISO-8859-6"}},
    {"arabic", {Kind::table, "ISO-8859-6"}},
    {"iso-8859-7", {Kind::table, "ISO-8859-7"}},
    {"greek", {Kind::table, "ISO-8859-7"}},
    {"iso-8859-8", {Kind::table, "ISO-8859-8"}},
    {"iso-8859-8-i", {Kind::table, "ISO-8859-8"}},
    {"iso-8859-8-e", {Kind::table, "ISO-8859-8"}},
    {"logical", {Kind::table, "ISO-8859-8"}},
    {"hebrew", {Kind::table, "ISO-8859-8"}},
    {"iso-8859-9", {Kind::table, "CP1254"}},
    {"latin5", {Kind::table, "CP1254"}},
    {"iso-8859-10", {Kind::table, "ISO-8859-10"}},
    {"iso-8859-11", {Kind::table, "CP874"}},
    {"tis-620", {Kind::table, "CP874"}},
    {"windows-874", {Kind::table, "CP874"}},
    {"cp874", {Kind::table, "CP874"}},
    {"iso-8859-13", {Kind::table, "ISO-8859-13"}},
    {"iso-8859-14", {Kind::table, "ISO-8859-14"}},
    {"iso-8859-16", {Kind::table, "ISO-8859-16"}},
    {"windows-1250", {Kind::table, "CP1250"}},
    {"windows-1251", {Kind::table, "CP1251"}},
    {"windows-1253", {Kind::table, "CP1253"}},
    {"windows-1254", {Kind::table, "CP1254"}},
    {"windows-1255", {Kind::table, "CP1255"}},
    {"windows-1256", {Kind::table, "CP1256"}},
    {"windows-1257", {Kind::table, "CP1257"}},
    {"windows-1258", {Kind::table, "CP1258"}},
    {"koi8-r", {Kind::table, "KOI8-R"}},
    {"koi8", {Kind::table, "KOI8-R"}},
    {"koi", {Kind::table, "KOI8-R"}},
    {"koi8r", {Kind::table, "KOI8-R"}},
    {"cskoi8r", {Kind::table, "KOI8-R"}},
    {"koi8-u", {Kind::table, "KOI8-U"}},
    {"koi8u", {Kind::table, "KOI8-U"}},
    {"koi8-ru", {Kind::table, "KOI8-U"}},
    {"ibm866", {Kind::table, "IBM866"}},
    {"cp866", {Kind::table, "IBM866"}},
    {"ibm437", {Kind::table, "CP437"}},
    {"cp437", {Kind::table, "CP437"}},
    {"ibm850", {Kind::table, "IBM850"}},
    {"cp850", {Kind::table, "IBM850"}},
    {"ibm852", {Kind::table, "CP852"}},
    {"cp852", {Kind::table, "CP852"}},
    {"ibm855", {Kind::table, "CP855"}},
    {"cp855", {Kind::table, "CP855"}},
    {"macintosh", {Kind::table, "MACINTOSH"}},
    {"mac", {Kind::table, "MACINTOSH"}},
    {"mac-roman", {Kind::table, "MACINTOSH"}},
    {"mac-cyrillic", {Kind::table, "MAC-CYRILLIC"}},
    {"viscii", {Kind::table, "VISCII"}},
    {"tcvn", {Kind::table, "TCVN"}},
    {"armscii-8", {Kind::table, "ARMSCII-8"}},
    {"georgian-ps", {Kind::table, "GEORGIAN-PS"}},
    {"gb2312", {Kind::table, "GB18030"}},
    {"gb-2312-80", {Kind::table, "GB18030"}},
    {"csgb2312", {Kind::table, "GB18030"}},
    {"euc-cn", {Kind::table, "GB18030"}},
    {"gbk", {Kind::table, "GB18030"}},
    {"cp936", {Kind::table, "GB18030"}},
    {"ms936", {Kind::table, "GB18030"}},
    {"windows-936", {Kind::table, "GB18030"}},
    {"chinese", {Kind::table, "GB18030"}},
    {"gb18030", {Kind::table, "GB18030"}},
    {"hz-gb-2312", {Kind::hz, "GB18030"}},
    {"hz", {Kind::hz, "GB18030"}},
    {"big5", {Kind::table, "BIG5-HKSCS"}},
    {"big-5", {Kind::table, "BIG5-HKSCS"}},
    {"big5-hkscs", {Kind::table, "BIG5-HKSCS"}},
    {"cn-big5", {Kind::table, "BIG5-HKSCS"}},
    {"csbig5", {Kind::table, "BIG5-HKSCS"}},
    {"cp950", {Kind::table, "BIG5-HKSCS"}},
    {"windows-950", {Kind::table, "BIG5-HKSCS"}},
    {"euc-tw", {Kind::table, "EUC-TW"}},
    {"ks-c-5601-1987", {Kind::table, "CP949"}},
    {"ks-c-5601-1989", {Kind::table, "CP949"}},
    {"ks-c-5601", {Kind::table, "CP949"}},
    {"ksc5601", {Kind::table, "CP949"}},
    {"ksc-5601", {Kind::table, "CP949"}},
    {"euc-kr", {Kind::table, "CP949"}},
    {"cseuckr", {Kind::table, "CP949"}},
    {"korean", {Kind::table, "CP949"}},
    {"cp949", {Kind::table, "CP949"}},
    {"uhc", {Kind::table, "CP949"}},
    {"windows-949", {Kind::table, "CP949"}},
    {"iso-2022-kr", {Kind::table, "ISO-2022-KR"}},
    {"johab", {Kind::table, "JOHAB"}},
    {"shift-jis", {Kind::table, "CP932"}},
    {"shiftjis", {Kind::table, "CP932"}},
    {"sjis", {Kind::table, "CP932"}},
    {"ms-kanji", {Kind::table, "CP932"}},
    {"csshiftjis", {Kind::table, "CP932"}},
    {"cp932", {Kind::table, "CP932"}},
    {"windows-31j", {Kind::table, "CP932"}},
    {"windows-932", {Kind::table, "CP932"}},
    {"euc-jp", {Kind::table, "EUC-JP-MS"}},
    {"eucjp", {Kind::table, "EUC-JP-MS"}},
    {"ujis", {Kind::table, "EUC-JP-MS"}},
    {"iso-2022-jp", {Kind::iso_2022_jp, "CP932"}},
    {"iso-2022-jp-1", {Kind::iso_2022_jp, "CP932"}},
    {"iso-2022-jp-ms", {Kind::iso_2022_jp, "CP932"}},
    {"csiso2022jp", {Kind::iso_2022_jp, "CP932"}},
    {"jis", {Kind::iso_2022_jp, "CP932"}},
    {"cp50220", {Kind::iso_2022_jp, "CP932"}},
    {"cp50221", {Kind::iso_2022_jp, "CP932"}},
    {"utf-7", {Kind::table, "UTF-7"}},
    {"utf7", {Kind::table, "UTF-7"}},
    {"unicode-1-1-utf-7", {Kind::table, "UTF-7"}},
    {"utf-16", {Kind::utf16}},
    {"utf16", {Kind::utf16}},
    {"unicode", {Kind::utf16}},
    {"iso-10646-ucs-2", {Kind::utf16}},
    {"ucs-2", {Kind::utf16}},
    {"utf-16le", {Kind::utf16, "UTF-16LE"}},
    {"utf-16be", {Kind::utf16, "UTF-16BE"}},
    {"utf-32", {Kind::utf32}},
    {"utf-32le", {Kind::utf32, "UTF-32LE"}},
    {"utf-32be", {Kind::utf32, "UTF-32BE"}},
};

std::string normalised_label(std::string_view label) {
  label = trim_ascii(label);
  while (!label.empty() && (label.front() == '"' || label.front() == '\'')) label.remove_prefix(1);
  while (!label.empty() && (label.back() == '"' || label.back() == '\'' || label.back() == ';'))
    label.remove_suffix(1);
  label = trim_ascii(label.substr(0, std::min<std::size_t>(label.size(), 64)));
  std::string name = ascii_lower(label.substr(0, label.find(':')));
  std::replace(name.begin(), name.end(), '_', '-');
  if (name.starts_with("x-")) name.erase(0, 2);
  if (name.starts_with("iso8859-")) name.insert(3, "-");
  if (name.starts_with("iso-8859") && name.size() > 8 && name[8] != '-') name.insert(8, "-");
  for (const std::string_view prefix : {"cp125", "cp-125", "win-125", "win125", "ansi-125", "windows125"})
    if (name.starts_with(prefix) && name.size() == prefix.size() + 1)
      name = "windows-125" + name.substr(prefix.size());
  return name;
}

std::optional<Charset> find_charset(std::string_view label) {
  const std::string name = normalised_label(label);
  for (const auto& entry : charsets)
    if (entry.name == name) return entry.charset;
  return std::nullopt;
}

void append_code_point(std::uint32_t c, std::string& out) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xE0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

// The octets without an incomplete UTF-8 sequence at their end.
std::string_view without_incomplete_tail(std::string_view bytes) {
  for (std::size_t back = 1; back <= 3 && back <= bytes.size(); ++back) {
    const auto c = static_cast<unsigned char>(bytes[bytes.size() - back]);
    if ((c & 0xC0) == 0x80) continue;
    const std::size_t needs = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;
    return needs > back ? bytes.substr(0, bytes.size() - back) : bytes;
  }
  return bytes;
}

Utf8Text from_utf8(std::string_view bytes, bool cut) {
  if (bytes.starts_with("\xEF\xBB\xBF")) bytes.remove_prefix(3);
  if (cut) bytes = without_incomplete_tail(bytes);
  Utf8Text out;
  if (is_valid_utf8(bytes)) {
    out.text = bytes;
  } else {
    out.text = sanitize_utf8(bytes);
    out.malformed = true;
  }
  return out;
}

// https://encoding.spec.whatwg.org/#windows-1252: the octets 0x80 to 0x9F.
constexpr std::array<std::uint16_t, 32> windows_1252_c1 = {
    0x20AC, 0x0081, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
    0x2039, 0x0152, 0x008D, 0x017D, 0x008F, 0x0090, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x009D, 0x017E, 0x0178};

Utf8Text from_windows_1252(std::string_view bytes) {
  Utf8Text out;
  out.text.reserve(bytes.size() + bytes.size() / 8);
  for (const char c : bytes) {
    const auto octet = static_cast<unsigned char>(c);
    append_code_point(octet >= 0x80 && octet < 0xA0 ? windows_1252_c1[octet - 0x80U] : octet, out.text);
  }
  return out;
}

struct IconvCloser {
  void operator()(void* descriptor) const { iconv_close(descriptor); }
};

// `unit`: octets to skip where nothing can be made of them.
Utf8Text from_iconv(std::string_view bytes, const char* name, std::size_t unit, bool cut) {
  Utf8Text out;
  void* const descriptor = iconv_open("UTF-8", name);
  // -1 is how iconv_open fails: the C library was installed without that converter.
  if (reinterpret_cast<std::intptr_t>(descriptor) == -1) {  // NOLINT(performance-no-int-to-ptr)
    out = from_utf8(bytes, cut);
    out.charset_known = false;
    return out;
  }
  const std::unique_ptr<void, IconvCloser> closer(descriptor);
  std::string input(bytes);  // iconv wants it writable
  char* in = input.data();
  std::size_t in_left = input.size();
  std::size_t malformed_sections = 0;
  out.text.reserve(bytes.size());
  std::array<char, 4096> buffer;
  for (bool flushing = false;;) {
    char* to = buffer.data();
    std::size_t to_left = buffer.size();
    const std::size_t rc = flushing ? iconv(descriptor, nullptr, nullptr, &to, &to_left)
                                    : iconv(descriptor, &in, &in_left, &to, &to_left);
    const int error = rc == static_cast<std::size_t>(-1) ? errno : 0;
    out.text.append(buffer.data(), buffer.size() - to_left);
    if (error == E2BIG) continue;
    if (flushing) break;
    if (error == 0 || (error == EINVAL && cut)) {
      flushing = true;
      continue;
    }
    out.malformed = true;
    out.text += replacement_character;
    const std::size_t skip = std::min(unit, in_left);
    in += skip;
    in_left -= skip;
    if (error == EINVAL || in_left == 0 || ++malformed_sections == malformed_sections_max) flushing = true;
  }
  return out;
}

// ISO-2022-JP (RFC 1468) to Shift_JIS octets, so that the extensions that mailers send under that label (NEC
// row 13, half-width katakana by ESC ( I) have the table that knows them. A line end returns to ASCII.
std::string shift_jis_of_iso_2022_jp(std::string_view bytes) {
  enum class Set : std::uint8_t { ascii, kanji, katakana, unknown_pairs };
  Set set = Set::ascii;
  std::string out;
  out.reserve(bytes.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto c = static_cast<unsigned char>(bytes[i]);
    if (c == 0x1B) {
      const std::string_view rest = bytes.substr(i + 1, 3);
      if (rest.starts_with("$B") || rest.starts_with("$@")) {
        set = Set::kanji, i += 2;
      } else if (rest.starts_with("(B") || rest.starts_with("(J") || rest.starts_with("(H")) {
        set = Set::ascii, i += 2;
      } else if (rest.starts_with("(I")) {
        set = Set::katakana, i += 2;
      } else if (rest.starts_with("$(")) {
        set = rest.ends_with("B") || rest.ends_with("@") ? Set::kanji : Set::unknown_pairs;
        i += rest.size();
      } else if (rest.starts_with("&@")) {
        i += 2;  // announces a revision of the next set
      }
      continue;
    }
    if (c == '\r' || c == '\n') set = Set::ascii;
    if (set == Set::ascii || c < 0x21 || c > 0x7E) {
      out += static_cast<char>(c);
    } else if (set == Set::katakana) {
      out += c < 0x60 ? static_cast<char>(c + 0x80) : '\xFF';
    } else if (i + 1 == bytes.size()) {
      out += '\xFF';
    } else {
      const auto d = static_cast<unsigned char>(bytes[i + 1]);
      if (set == Set::unknown_pairs || d < 0x21 || d > 0x7E) {
        out += '\xFF';  // in no table: becomes U+FFFD
        if (d >= 0x21 && d <= 0x7E) ++i;
        continue;
      }
      ++i;
      const unsigned row = (c - 0x21U) / 2;
      out += static_cast<char>(row + (row < 31 ? 0x81 : 0xC1));
      const unsigned cell = c % 2 != 0 ? d + 0x1FU + (d >= 0x60 ? 1 : 0) : d + 0x7EU;
      out += static_cast<char>(cell);
    }
  }
  return out;
}

// HZ (RFC 1843) to GB2312 octets.
std::string gb_of_hz(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  bool gb = false;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const char c = bytes[i];
    if (c == '~' && i + 1 < bytes.size()) {
      const char next = bytes[i + 1];
      if (next == '{' || next == '}' || next == '\n' || (next == '~' && !gb)) {
        if (next == '~') out += '~';
        if (next == '{' || next == '}') gb = next == '{';
        ++i;
        continue;
      }
    }
    if (c == '\n') gb = false;
    out += gb && c >= 0x21 && c <= 0x7E ? static_cast<char>(c | 0x80) : c;
  }
  return out;
}

// RFC 2781, 4.3 asks for big-endian without a byte order mark; what is really sent is told by where the zeros
// of ASCII text are.
Utf8Text from_utf16_or_32(std::string_view bytes, const Charset& charset, bool cut) {
  const bool wide = charset.kind == Kind::utf32;
  const std::size_t unit = wide ? 4 : 2;
  bool little = false;
  if (charset.iconv_name != nullptr) {
    little = std::string_view(charset.iconv_name).ends_with("LE");
  } else if (bytes.starts_with("\xFF\xFE")) {
    little = true;
  } else if (!bytes.starts_with("\xFE\xFF")) {
    std::size_t first_zeros = 0, last_zeros = 0;
    for (std::size_t i = 0; i + unit <= std::min<std::size_t>(bytes.size(), 1024); i += unit) {
      first_zeros += bytes[i] == 0 ? 1 : 0;
      last_zeros += bytes[i + unit - 1] == 0 ? 1 : 0;
    }
    little = last_zeros > first_zeros;
  }
  const char* name = wide ? (little ? "UTF-32LE" : "UTF-32BE") : (little ? "UTF-16LE" : "UTF-16BE");
  Utf8Text out = from_iconv(bytes, name, unit, cut);
  if (out.text.starts_with("\xEF\xBB\xBF")) out.text.erase(0, 3);
  return out;
}

bool is_utf8_beyond_ascii(std::string_view bytes) { return !is_ascii(bytes) && is_valid_utf8(bytes); }

bool looks_like_iso_2022_jp(std::string_view bytes) {
  return (bytes.find("\x1B$B") != std::string_view::npos || bytes.find("\x1B$@") != std::string_view::npos) &&
         is_ascii(bytes);
}

Utf8Text guessed(std::string_view bytes, bool cut) {
  if (looks_like_iso_2022_jp(bytes)) return from_iconv(shift_jis_of_iso_2022_jp(bytes), "CP932", 1, cut);
  if (is_valid_utf8(cut ? without_incomplete_tail(bytes) : bytes)) return from_utf8(bytes, cut);
  Utf8Text out = from_windows_1252(bytes);
  out.malformed = true;
  return out;
}

}  // namespace

bool is_known_charset(std::string_view label) { return find_charset(label).has_value(); }

Utf8Text to_utf8(std::string_view bytes, std::string_view label, bool cut) {
  const std::optional<Charset> charset = find_charset(label);
  if (!charset) {
    Utf8Text out = guessed(bytes, cut);
    out.charset_known = trim_ascii(label).empty();
    return out;
  }
  switch (charset->kind) {
    case Kind::ascii: return guessed(bytes, cut);
    case Kind::utf8: return from_utf8(bytes, cut);
    case Kind::windows_1252:
    case Kind::western:
      if (is_utf8_beyond_ascii(cut ? without_incomplete_tail(bytes) : bytes)) return from_utf8(bytes, cut);
      if (charset->kind == Kind::windows_1252) return from_windows_1252(bytes);
      return from_iconv(bytes, charset->iconv_name, 1, cut);
    case Kind::table: return from_iconv(bytes, charset->iconv_name, 1, cut);
    case Kind::iso_2022_jp: return from_iconv(shift_jis_of_iso_2022_jp(bytes), charset->iconv_name, 1, cut);
    case Kind::hz: return from_iconv(gb_of_hz(bytes), charset->iconv_name, 1, cut);
    case Kind::utf16:
    case Kind::utf32: return from_utf16_or_32(bytes, *charset, cut);
  }
  return guessed(bytes, cut);
}

std::string to_nfc(std::string text) {
  // Nothing below U+0300 changes in NFC (UAX #15), and U+0300 is CC 80 in UTF-8.
  if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0xCC; }))
    return text;
  const std::unique_ptr<char, decltype(&g_free)> normal(
      g_utf8_normalize(text.data(), static_cast<gssize>(text.size()), G_NORMALIZE_NFC), &g_free);
  if (!normal) return text;
  return normal.get();
}

std::string_view utf8_prefix(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  std::size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end);
}

}  // namespace postern::mail
