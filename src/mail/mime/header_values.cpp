// Message ids, dates and URLs of header fields.
#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "mail/mime/characters.hpp"
#include "mail/mime/encoded_words.hpp"
#include "postern/base/encoding.hpp"
#include "postern/mail/mime/headers.hpp"
#include "postern/mail/mime/limits.hpp"

namespace postern::mail {
namespace {

// The position behind the comment that starts at `pos`; the text's end if it isn't closed.
std::size_t skip_comment(std::string_view s, std::size_t pos) {
  std::size_t depth = 0;
  for (; pos < s.size(); ++pos) {
    if (s[pos] == '\\') {
      ++pos;
    } else if (s[pos] == '(') {
      ++depth;
    } else if (s[pos] == ')' && --depth == 0) {
      return pos + 1;
    }
  }
  return s.size();
}

std::string without_space(std::string_view s) {
  std::string out;
  std::copy_if(s.begin(), s.end(), std::back_inserter(out), [](char c) { return !is_wsp(c); });
  return out;
}

// --- Date ---

struct DateParts {
  int year = -1, month = 0, day = 0;
  int hour = -1, minute = 0, second = 0;
  int offset_minutes = 0;
  bool has_offset = false;
};

std::optional<int> number(std::string_view s) {
  int value = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), value);
  if (error != std::errc() || end != s.data() + s.size() || s.empty() || s.front() == '-')
    return std::nullopt;
  return value;
}

int month_of(std::string_view s) {
  constexpr std::string_view names = "janfebmaraprmayjunjulaugsepoctnovdec";
  if (s.size() < 3) return 0;
  const std::size_t at = names.find(ascii_lower(s.substr(0, 3)));
  return at == std::string_view::npos || at % 3 != 0 ? 0 : static_cast<int>(at / 3) + 1;
}

// time-of-day = hour ":" minute [ ":" second ], tolerating a fraction.
bool parse_time(std::string_view s, DateParts& date) {
  std::array<int, 3> fields = {0, 0, 0};
  std::size_t count = 0;
  while (count < 3) {
    const std::size_t colon = s.find(':');
    std::string_view digits = s.substr(0, colon);
    if (count == 2) digits = digits.substr(0, digits.find_first_of(".,"));
    const auto value = number(digits);
    if (!value || digits.size() > 2) return false;
    fields[count++] = *value;
    if (colon == std::string_view::npos) break;
    s.remove_prefix(colon + 1);
  }
  if (count < 2 || fields[0] > 23 || fields[1] > 59 || fields[2] > 60) return false;
  date.hour = fields[0];
  date.minute = fields[1];
  date.second = std::min(fields[2], 59);  // a leap second: most clients can't read :60
  return true;
}

// zone = ("+" / "-") 4DIGIT, tolerating "+02:00" and "+02".
bool parse_offset(std::string_view s, DateParts& date) {
  std::string digits;
  for (const char c : s.substr(1))
    if (c != ':') digits += c;
  if (digits.size() == 2) digits += "00";
  if (digits.size() != 4) return false;
  const auto value = number(digits);
  if (!value) return false;
  date.has_offset = true;
  // RFC 3339 has no room for more than 23:59; an impossible offset is an unknown one.
  if (*value / 100 <= 23 && *value % 100 <= 59)
    date.offset_minutes = (*value / 100 * 60 + *value % 100) * (s.front() == '-' ? -1 : 1);
  return true;
}

// obs-zone (RFC 5322, 4.3); unknown names are UTC.
int zone_minutes(std::string_view name) {
  struct Zone {
    std::string_view name;
    int hours;
  };
  constexpr Zone zones[] = {{"est", -5}, {"edt", -4}, {"cst", -6}, {"cdt", -5},
                            {"mst", -7}, {"mdt", -6}, {"pst", -8}, {"pdt", -7}};
  for (const auto& zone : zones)
    if (iequals_ascii(zone.name, name)) return zone.hours * 60;
  return 0;
}

bool parse_iso_date(std::string_view token, DateParts& date) {
  if (token.size() < 10 || token[4] != '-' || token[7] != '-') return false;
  const auto year = number(token.substr(0, 4)), month = number(token.substr(5, 2)),
             day = number(token.substr(8, 2));
  if (!year || !month || !day) return false;
  date.year = *year;
  date.month = *month;
  date.day = *day;
  return true;
}

void parse_number(std::string_view token, DateParts& date) {
  const auto value = number(token);
  if (!value) return;
  if (date.day == 0 && token.size() <= 2) {
    date.day = *value;
  } else if (date.year < 0) {
    // RFC 5322, 4.3: two digits are 2000 to 2049 or 1950 to 1999, three digits are added to 1900.
    date.year = token.size() >= 4 ? *value : *value + (token.size() == 2 && *value < 50 ? 2000 : 1900);
  }
}

void parse_date_token(std::string_view token, DateParts& date) {
  if (is_digit(token.front())) {
    if (date.day == 0 && parse_iso_date(token, date)) {
      if (token.size() > 11 && (token[10] == 'T' || token[10] == 't'))
        parse_date_token(token.substr(11), date);
      return;
    }
    if (token.find(':') != std::string_view::npos) {
      // The zone may follow at once: "14:12:00+0200", "14:12:00Z", "14:12:00GMT".
      const std::size_t end = std::min(token.find_first_not_of("0123456789:.,"), token.size());
      if (date.hour >= 0 || !parse_time(token.substr(0, end), date)) return;
      if (end < token.size()) parse_date_token(token.substr(end), date);
      return;
    }
    // "13-Oct-2013"
    const std::size_t dash = token.find_first_of("-/");
    if (dash != std::string_view::npos && dash + 1 < token.size()) {
      parse_number(token.substr(0, dash), date);
      parse_date_token(token.substr(dash + 1), date);
      return;
    }
    parse_number(token, date);
    return;
  }
  if ((token.front() == '+' || token.front() == '-') && token.size() > 1) {
    if (date.hour >= 0 && !date.has_offset) parse_offset(token, date);
    return;
  }
  if (!is_alpha(token.front())) return;
  const auto letters_end = std::find_if_not(token.begin(), token.end(), is_alpha);
  const std::string_view letters = token.substr(0, static_cast<std::size_t>(letters_end - token.begin()));
  const std::string_view rest = token.substr(letters.size());
  if (date.month == 0 && month_of(letters) != 0) {
    date.month = month_of(letters);
    if (rest.size() > 1 && (rest.front() == '-' || rest.front() == '/')) parse_number(rest.substr(1), date);
  } else if (date.hour >= 0 && !date.has_offset) {
    if (rest.size() > 1 && (rest.front() == '+' || rest.front() == '-')) {  // "GMT+0200"
      parse_offset(rest, date);
    } else {
      date.offset_minutes = zone_minutes(letters);
      // asctime() has the year behind the zone, and some put the number behind a name: "UTC +0200".
      date.has_offset = !iequals_ascii(letters, "UTC") && !iequals_ascii(letters, "GMT");
    }
  }
}

// RFC 5322, 3.3:  date-time = [ day-of-week "," ] day month year time-of-day zone
// Read in any order that leaves no doubt, so that asctime(), ISO 8601 and the like are dates too.
std::optional<DateParts> parse_date(std::string_view raw) {
  const std::string unfolded = unfold(raw.substr(0, std::min<std::size_t>(raw.size(), 1'000)));
  const std::string_view s = unfolded;
  DateParts date;
  for (std::size_t i = 0; i < s.size();) {
    if (s[i] == '(') {
      i = skip_comment(s, i);
      continue;
    }
    if (is_wsp(s[i]) || s[i] == ',') {
      ++i;
      continue;
    }
    const std::size_t end = std::min(s.find_first_of(" \t,(", i), s.size());
    parse_date_token(s.substr(i, end - i), date);
    i = end;
  }
  using namespace std::chrono;  // NOLINT(google-build-using-namespace)
  const year_month_day ymd{year{date.year}, month{static_cast<unsigned>(date.month)},
                           day{static_cast<unsigned>(date.day)}};
  if (date.year < 1900 || date.year > 9999 || date.hour < 0 || !ymd.ok()) return std::nullopt;
  return date;
}

// --- URLs ---

// RFC 3986, 3.1:  scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )
bool has_scheme(std::string_view s) {
  const std::size_t colon = s.find(':');
  if (colon == std::string_view::npos || colon == 0 || !is_alpha(s.front()) || colon + 1 == s.size())
    return false;
  return std::all_of(s.begin(), s.begin() + static_cast<std::ptrdiff_t>(colon),
                     [](char c) { return is_alpha(c) || is_digit(c) || c == '+' || c == '-' || c == '.'; });
}

template <typename T>
std::optional<std::vector<T>> if_any(std::vector<T> items) {
  if (items.empty()) return std::nullopt;
  return items;
}

// For fields whose brackets were forgotten: the words that `accept` takes.
template <typename Accept>
std::vector<std::string> bare_words(std::string_view s, std::size_t items_max, Accept accept) {
  std::vector<std::string> words;
  for (std::size_t i = 0; i < s.size() && words.size() < items_max;) {
    if (s[i] == '(') {
      i = skip_comment(s, i);
    } else if (is_wsp(s[i]) || s[i] == ',') {
      ++i;
    } else {
      const std::size_t end = std::min(s.find_first_of(" \t,(", i), s.size());
      if (accept(s.substr(i, end - i))) words.emplace_back(s.substr(i, end - i));
      i = end;
    }
  }
  return words;
}

}  // namespace

// RFC 5322, 3.6.4:  msg-id = [CFWS] "<" id-left "@" id-right ">" [CFWS];  4.5.4: phrases may stand between.
std::optional<std::vector<std::string>> as_message_ids(std::string_view raw) {
  const std::string unfolded = unfold(raw);
  const std::string_view s = unfolded;
  std::vector<std::string> ids;
  bool brackets = false;
  for (std::size_t i = 0; i < s.size() && ids.size() < header_message_ids_max;) {
    if (s[i] == '(') {
      i = skip_comment(s, i);
    } else if (s[i] == '"') {  // a phrase of the obsolete form
      const std::size_t close = s.find('"', i + 1);
      i = close == std::string_view::npos ? i + 1 : close + 1;
      if (close == std::string_view::npos && s.find('<', i) == std::string_view::npos) break;
    } else if (s[i] != '<') {
      ++i;
    } else {
      brackets = true;
      // Without ">", an id ends where the next begins.
      const std::size_t end = std::min(s.find_first_of("<>", i + 1), s.size());
      std::string id = without_space(s.substr(i + 1, end - i - 1));
      if (!id.empty()) ids.push_back(std::move(id));
      i = end < s.size() && s[end] == '>' ? end + 1 : end;
    }
  }
  if (!brackets) {
    ids = bare_words(s, header_message_ids_max, [](std::string_view word) {
      const std::size_t at = word.find('@');
      return at != std::string_view::npos && at > 0 && at + 1 < word.size();
    });
  }
  return if_any(std::move(ids));
}

std::optional<std::string> as_date(std::string_view raw) {
  const auto date = parse_date(raw);
  if (!date) return std::nullopt;
  std::string out = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", date->year, date->month, date->day,
                                date->hour, date->minute, date->second);
  if (date->offset_minutes == 0) {
    out += 'Z';
  } else {
    const int minutes = std::abs(date->offset_minutes);
    out += fmt::format("{}{:02}:{:02}", date->offset_minutes < 0 ? '-' : '+', minutes / 60, minutes % 60);
  }
  return out;
}

std::optional<std::int64_t> as_date_seconds(std::string_view raw) {
  const auto date = parse_date(raw);
  if (!date) return std::nullopt;
  using namespace std::chrono;  // NOLINT(google-build-using-namespace)
  const sys_days days = year_month_day{year{date->year}, month{static_cast<unsigned>(date->month)},
                                       day{static_cast<unsigned>(date->day)}};
  return std::int64_t{days.time_since_epoch().count()} * 86'400 + date->hour * 3'600 +
         (date->minute - date->offset_minutes) * 60 + date->second;
}

// RFC 2369, 2: a list of <URL>s, separated by commas, with comments. Something else before the first bracket
// ("NO" in List-Post) means that there is no URL.
std::optional<std::vector<std::string>> as_urls(std::string_view raw) {
  const std::string unfolded = unfold(raw);
  const std::string_view s = unfolded;
  if (s.find('<') == std::string_view::npos) return if_any(bare_words(s, header_urls_max, has_scheme));
  std::vector<std::string> urls;
  for (std::size_t i = 0; i < s.size() && urls.size() < header_urls_max;) {
    if (s[i] == '(') {
      i = skip_comment(s, i);
    } else if (is_wsp(s[i]) || s[i] == ',') {
      ++i;
    } else if (s[i] == '<') {
      const std::size_t close = std::min(s.find('>', i), s.size());
      std::string url = without_space(s.substr(i + 1, close - i - 1));
      if (!url.empty()) urls.push_back(std::move(url));
      i = close + 1;
    } else {
      break;  // RFC 2369, 2: what is no bracket ends it
    }
  }
  return if_any(std::move(urls));
}

}  // namespace postern::mail
