// Text functions of the test server; see text.hpp.
#include "text.hpp"

#include <array>
#include <chrono>

#include <fmt/format.h>

namespace postern::testimapd {

namespace {

constexpr std::array<std::string_view, 12> month_names{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
constexpr std::array<std::string_view, 7> weekday_names{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::string_view base64_alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char upper_char(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; }
char lower_char(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::optional<unsigned> month_of(std::string_view name) {
  for (unsigned i = 0; i < month_names.size(); ++i)
    if (iequals(month_names[i], name)) return i + 1;
  return std::nullopt;
}

std::optional<std::int64_t> day_number(std::uint64_t year, unsigned month, std::uint64_t day) {
  if (year > 9999 || day < 1 || day > 31) return std::nullopt;
  std::chrono::year_month_day date{std::chrono::year(static_cast<int>(year)), std::chrono::month(month),
                                   std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return std::nullopt;
  return std::chrono::sys_days(date).time_since_epoch().count();
}

// "15:04:05" or "15:04" as seconds.
std::optional<std::int64_t> parse_clock(std::string_view text) {
  if (text.size() != 8 && text.size() != 5) return std::nullopt;
  auto hour = to_number(text.substr(0, 2));
  auto minute = to_number(text.substr(3, 2));
  auto second = text.size() == 8 ? to_number(text.substr(6, 2)) : std::optional<std::uint64_t>(0);
  if (!hour || !minute || !second || text[2] != ':' || *hour > 23 || *minute > 59 || *second > 60)
    return std::nullopt;
  return static_cast<std::int64_t>(*hour * 3600 + *minute * 60 + *second);
}

// "+0130" as seconds; names of zones count as UTC.
std::int64_t parse_zone(std::string_view text) {
  if (text.size() != 5 || (text[0] != '+' && text[0] != '-')) return 0;
  auto hours = to_number(text.substr(1, 2));
  auto minutes = to_number(text.substr(3, 2));
  if (!hours || !minutes) return 0;
  auto seconds = static_cast<std::int64_t>(*hours * 3600 + *minutes * 60);
  return text[0] == '-' ? -seconds : seconds;
}

struct CivilTime {
  int year;
  unsigned month, day, weekday, hour, minute, second;
};

CivilTime civil(std::int64_t time) {
  std::chrono::sys_seconds point{std::chrono::seconds(time)};
  auto days = std::chrono::floor<std::chrono::days>(point);
  std::chrono::year_month_day date{days};
  auto rest = static_cast<unsigned>((point - days).count());
  return {static_cast<int>(date.year()),
          static_cast<unsigned>(date.month()),
          static_cast<unsigned>(date.day()),
          std::chrono::weekday(days).c_encoding(),
          rest / 3600,
          rest / 60 % 60,
          rest % 60};
}

void append_utf8(std::string& out, std::uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | (code >> 12));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (code >> 18));
    out += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

}  // namespace

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = upper_char(c);
  return out;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = lower_char(c);
  return out;
}

bool iequals(std::string_view left, std::string_view right) {
  if (left.size() != right.size()) return false;
  for (std::size_t i = 0; i < left.size(); ++i)
    if (upper_char(left[i]) != upper_char(right[i])) return false;
  return true;
}

bool icontains(std::string_view haystack, std::string_view needle) {
  if (needle.empty()) return true;
  for (std::size_t i = 0; i + needle.size() <= haystack.size(); ++i) {
    std::size_t k = 0;
    while (k < needle.size() && lower_char(haystack[i + k]) == needle[k]) ++k;
    if (k == needle.size()) return true;
  }
  return false;
}

std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> out;
  std::size_t at = 0;
  while (at < text.size()) {
    auto end = text.find(' ', at);
    if (end == std::string_view::npos) end = text.size();
    if (end > at) out.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

std::optional<std::uint64_t> to_number(std::string_view digits) {
  if (digits.empty() || digits.size() > 19) return std::nullopt;
  std::uint64_t value = 0;
  for (char c : digits) {
    if (!is_digit(c)) return std::nullopt;
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return value;
}

std::string_view trim(std::string_view text) {
  auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

void append_string(std::string& out, std::string_view text, bool eight_bit_quoted) {
  bool quotable = text.size() < 4000;
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (byte == 0 || c == '\r' || c == '\n' || (byte >= 0x80 && !eight_bit_quoted)) quotable = false;
  }
  if (!quotable) {
    fmt::format_to(std::back_inserter(out), "{{{}}}\r\n", text.size());
    out += text;
    return;
  }
  out += '"';
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
}

void append_astring(std::string& out, std::string_view text) {
  bool atom = !text.empty() && !iequals(text, "NIL");
  for (char c : text)
    if (static_cast<unsigned char>(c) <= 0x20 || static_cast<unsigned char>(c) >= 0x7F ||
        std::string_view("(){%*\"\\").find(c) != std::string_view::npos)
      atom = false;
  if (atom)
    out += text;
  else
    append_string(out, text, true);
}

std::string base64_encode(std::string_view bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = static_cast<unsigned char>(bytes[i]) << 16U;
    if (i + 1 < bytes.size())
      group |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i + 1]) << 8U);
    if (i + 2 < bytes.size()) group |= static_cast<unsigned char>(bytes[i + 2]);
    out += base64_alphabet[group >> 18U];
    out += base64_alphabet[(group >> 12U) & 63U];
    out += i + 1 < bytes.size() ? base64_alphabet[(group >> 6U) & 63U] : '=';
    out += i + 2 < bytes.size() ? base64_alphabet[group & 63U] : '=';
  }
  return out;
}

std::optional<std::string> base64_decode(std::string_view text) {
  std::string out;
  std::uint32_t group = 0;
  unsigned bits = 0;
  for (char c : text) {
    if (c == '=' || c == '\r' || c == '\n') continue;
    auto value = base64_alphabet.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    group = (group << 6U) | static_cast<std::uint32_t>(value);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out += static_cast<char>((group >> bits) & 0xFFU);
    }
  }
  return out;
}

std::string mutf7_encode(std::string_view utf8) {
  std::string out;
  for (std::size_t i = 0; i < utf8.size();) {
    auto c = static_cast<unsigned char>(utf8[i]);
    if (c < 0x80) {
      out += utf8[i++];
      if (c == '&') out += '-';
      continue;
    }
    std::string units;  // UTF-16BE
    while (i < utf8.size() && static_cast<unsigned char>(utf8[i]) >= 0x80) {
      auto lead = static_cast<unsigned char>(utf8[i]);
      std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
      std::uint32_t code = lead & (0xFFU >> (length + 1));
      for (std::size_t k = 1; k < length && i + k < utf8.size(); ++k)
        code = (code << 6U) | (static_cast<unsigned char>(utf8[i + k]) & 0x3FU);
      i += std::min(length, utf8.size() - i);
      auto unit = [&](std::uint32_t value) {
        units += static_cast<char>(value >> 8U);
        units += static_cast<char>(value & 0xFFU);
      };
      if (code >= 0x10000) {
        unit(0xD800U + ((code - 0x10000) >> 10U));
        unit(0xDC00U + ((code - 0x10000) & 0x3FFU));
      } else {
        unit(code);
      }
    }
    std::string encoded = base64_encode(units);
    while (!encoded.empty() && encoded.back() == '=') encoded.pop_back();
    for (char& e : encoded)
      if (e == '/') e = ',';
    out += '&';
    out += encoded;
    out += '-';
  }
  return out;
}

std::string mutf7_decode(std::string_view name) {
  std::string out;
  for (std::size_t i = 0; i < name.size();) {
    auto end = name[i] == '&' ? name.find('-', i) : std::string_view::npos;
    if (name[i] != '&' || end == std::string_view::npos) {
      out += name[i++];
      continue;
    }
    if (end == i + 1) {
      out += '&';
      i = end + 1;
      continue;
    }
    std::string encoded(name.substr(i + 1, end - i - 1));
    for (char& e : encoded)
      if (e == ',') e = '/';
    auto units = base64_decode(encoded);
    if (!units) return std::string(name);
    for (std::size_t k = 0; k + 1 < units->size(); k += 2) {
      auto unit = [&](std::size_t at) {
        return static_cast<std::uint32_t>(static_cast<unsigned char>((*units)[at]) << 8U) |
               static_cast<unsigned char>((*units)[at + 1]);
      };
      std::uint32_t code = unit(k);
      if (code >= 0xD800 && code < 0xDC00 && k + 3 < units->size()) {
        code = 0x10000 + ((code - 0xD800) << 10U) + (unit(k + 2) - 0xDC00);
        k += 2;
      }
      append_utf8(out, code);
    }
    i = end + 1;
  }
  return out;
}

std::string internal_date_text(std::int64_t time) {
  auto t = civil(time);
  return fmt::format("{:02}-{}-{:04} {:02}:{:02}:{:02} +0000", t.day, month_names[t.month - 1], t.year,
                     t.hour, t.minute, t.second);
}

std::string rfc5322_date_text(std::int64_t time) {
  auto t = civil(time);
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} +0000", weekday_names[t.weekday], t.day,
                     month_names[t.month - 1], t.year, t.hour, t.minute, t.second);
}

std::optional<std::int64_t> parse_search_day(std::string_view text) {
  auto first = text.find('-');
  auto second = text.find('-', first + 1);
  if (first == std::string_view::npos || second == std::string_view::npos) return std::nullopt;
  auto day = to_number(text.substr(0, first));
  auto month = month_of(text.substr(first + 1, second - first - 1));
  auto year = to_number(text.substr(second + 1));
  if (!day || !month || !year) return std::nullopt;
  return day_number(*year, *month, *day);
}

std::optional<std::int64_t> parse_internal_date(std::string_view text) {
  auto parts = words(text);
  if (parts.size() != 3) return std::nullopt;
  auto day = parse_search_day(parts[0]);
  auto clock = parse_clock(parts[1]);
  if (!day || !clock) return std::nullopt;
  return *day * 86400 + *clock - parse_zone(parts[2]);
}

std::optional<SentDate> parse_rfc5322_date(std::string_view text) {
  auto parts = words(trim(text));
  std::size_t at = !parts.empty() && parts[0].ends_with(',') ? 1 : 0;
  if (parts.size() < at + 4) return std::nullopt;
  auto day = to_number(parts[at]);
  auto month = month_of(parts[at + 1].substr(0, 3));
  auto year = to_number(parts[at + 2]);
  auto clock = parse_clock(parts[at + 3]);
  if (!day || !month || !year || !clock) return std::nullopt;
  auto days = day_number(*year < 50 ? *year + 2000 : *year < 1000 ? *year + 1900 : *year, *month, *day);
  if (!days) return std::nullopt;
  auto zone = parts.size() > at + 4 ? parse_zone(parts[at + 4]) : 0;
  return SentDate{*days * 86400 + *clock - zone, *days};
}

}  // namespace postern::testimapd
