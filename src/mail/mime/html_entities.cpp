// The names of Latin-1 and of punctuation that mail uses, and numeric references. Other names stay as text.
#include "mail/mime/html_entities.hpp"

#include <array>

namespace postern::mail {
namespace {

// U+00A0 to U+00FF, in order.
constexpr std::array<std::string_view, 96> latin1_names = {
    "nbsp",   "iexcl",  "cent",   "pound",  "curren", "yen",    "brvbar", "sect",   "uml",    "copy",
    "ordf",   "laquo",  "not",    "shy",    "reg",    "macr",   "deg",    "plusmn", "sup2",   "sup3",
    "acute",  "micro",  "para",   "middot", "cedil",  "sup1",   "ordm",   "raquo",  "frac14", "frac12",
    "frac34", "iquest", "Agrave", "Aacute", "Acirc",  "Atilde", "Auml",   "Aring",  "AElig",  "Ccedil",
    "Egrave", "Eacute", "Ecirc",  "Euml",   "Igrave", "Iacute", "Icirc",  "Iuml",   "ETH",    "Ntilde",
    "Ograve", "Oacute", "Ocirc",  "Otilde", "Ouml",   "times",  "Oslash", "Ugrave", "Uacute", "Ucirc",
    "Uuml",   "Yacute", "THORN",  "szlig",  "agrave", "aacute", "acirc",  "atilde", "auml",   "aring",
    "aelig",  "ccedil", "egrave", "eacute", "ecirc",  "euml",   "igrave", "iacute", "icirc",  "iuml",
    "eth",    "ntilde", "ograve", "oacute", "ocirc",  "otilde", "ouml",   "divide", "oslash", "ugrave",
    "uacute", "ucirc",  "uuml",   "yacute", "thorn",  "yuml"};

struct NamedReference {
  std::string_view name;
  std::uint32_t code_point;
};
constexpr NamedReference other_names[] = {
    {"amp", '&'},       {"lt", '<'},        {"gt", '>'},        {"quot", '"'},      {"apos", '\''},
    {"OElig", 0x152},   {"oelig", 0x153},   {"Scaron", 0x160},  {"scaron", 0x161},  {"Yuml", 0x178},
    {"circ", 0x2C6},    {"tilde", 0x2DC},   {"ensp", 0x2002},   {"emsp", 0x2003},   {"thinsp", 0x2009},
    {"zwnj", 0x200C},   {"zwj", 0x200D},    {"lrm", 0x200E},    {"rlm", 0x200F},    {"ndash", 0x2013},
    {"mdash", 0x2014},  {"lsquo", 0x2018},  {"rsquo", 0x2019},  {"sbquo", 0x201A},  {"ldquo", 0x201C},
    {"rdquo", 0x201D},  {"bdquo", 0x201E},  {"dagger", 0x2020}, {"Dagger", 0x2021}, {"bull", 0x2022},
    {"hellip", 0x2026}, {"permil", 0x2030}, {"prime", 0x2032},  {"lsaquo", 0x2039}, {"rsaquo", 0x203A},
    {"euro", 0x20AC},   {"trade", 0x2122},  {"larr", 0x2190},   {"uarr", 0x2191},   {"rarr", 0x2192},
    {"darr", 0x2193},   {"minus", 0x2212},  {"infin", 0x221E},  {"ne", 0x2260},     {"le", 0x2264},
    {"ge", 0x2265},     {"check", 0x2713},  {"star", 0x2606},   {"starf", 0x2605},  {"hearts", 0x2665},
    {"Tab", '\t'},      {"NewLine", '\n'},  {"num", '#'},       {"dollar", '$'},    {"percnt", '%'},
    {"commat", '@'},    {"colon", ':'},     {"semi", ';'},      {"comma", ','},     {"period", '.'},
    {"excl", '!'},      {"quest", '?'},     {"lpar", '('},      {"rpar", ')'},      {"plus", '+'},
    {"equals", '='},    {"sol", '/'},       {"bsol", '\\'},     {"lowbar", '_'},    {"hyphen", 0x2010}};

constexpr std::size_t name_length_max = 8;

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

std::uint32_t named_code_point(std::string_view name) {
  for (const auto& entry : other_names)
    if (entry.name == name) return entry.code_point;
  for (std::size_t i = 0; i < latin1_names.size(); ++i)
    if (latin1_names[i] == name) return static_cast<std::uint32_t>(0xA0 + i);
  return 0;
}

HtmlReference numeric_reference(std::string_view s) {
  std::size_t i = 2;
  const bool hex = i < s.size() && (s[i] == 'x' || s[i] == 'X');
  if (hex) ++i;
  const std::size_t begin = i;
  std::uint32_t value = 0;
  for (; i < s.size(); ++i) {
    const char lower = static_cast<char>(s[i] | 0x20);
    std::uint32_t digit = 0;
    if (s[i] >= '0' && s[i] <= '9') {
      digit = static_cast<std::uint32_t>(s[i] - '0');
    } else if (hex && lower >= 'a' && lower <= 'f') {
      digit = static_cast<std::uint32_t>(lower - 'a') + 10;
    } else {
      break;
    }
    if (value < 0x110000) value = value * (hex ? 16 : 10) + digit;
  }
  if (i == begin) return {};
  if (i < s.size() && s[i] == ';') ++i;
  if (value == 0 || value >= 0x110000 || (value >= 0xD800 && value < 0xE000)) value = 0xFFFD;
  return {value, i};
}

}  // namespace

HtmlReference parse_html_reference(std::string_view s) {
  if (s.size() < 3) return {};
  if (s[1] == '#') return numeric_reference(s);
  std::size_t end = 1;
  while (end < s.size() && end <= name_length_max && is_name_char(s[end])) ++end;
  const bool closed = end < s.size() && s[end] == ';';
  const std::uint32_t code_point = named_code_point(s.substr(1, end - 1));
  if (code_point == 0) return {};
  return {code_point, end + (closed ? 1 : 0)};
}

}  // namespace postern::mail
