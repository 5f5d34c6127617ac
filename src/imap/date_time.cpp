// RFC 3501, 9:
// date-time      = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE
// date-day-fixed = (SP DIGIT) / 2DIGIT
// time           = 2DIGIT ":" 2DIGIT ":" 2DIGIT
// zone           = ("+" / "-") 4DIGIT
// Seen from servers too: one-digit days and hours, no seconds, no zone or a named one, "+02:00", years of two
// digits, and dates as in RFC 5322 ("Mon, 7 Feb 1994 21:52:25 -0800").
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>

#include "imap/ascii.hpp"
#include "postern/imap/parser.hpp"

namespace postern::imap {
namespace {

constexpr std::array<std::string_view, 12> months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

struct Scanner {
  std::string_view text;

  bool accept(char c) {
    if (!text.starts_with(c)) return false;
    text.remove_prefix(1);
    return true;
  }
  void spaces() {
    while (accept(' ') || accept('\t')) {
    }
  }
  // Up to `max` digits; how many there were, 0 if none.
  int digits(int max, int& value) {
    int count = 0;
    value = 0;
    while (count < max && !text.empty() && is_digit(text.front())) {
      value = value * 10 + (text.front() - '0');
      text.remove_prefix(1);
      ++count;
    }
    return count;
  }
  std::string_view letters() {
    std::size_t n = 0;
    while (n < text.size() && upper(text[n]) >= 'A' && upper(text[n]) <= 'Z') ++n;
    const std::string_view out = text.substr(0, n);
    text.remove_prefix(n);
    return out;
  }
};

bool month(Scanner& in, int& value) {
  const std::string_view name = in.letters();
  if (name.size() < 3) return false;
  for (std::size_t i = 0; i < months.size(); ++i) {
    if (same_word(name.substr(0, 3), months[i])) {
      value = static_cast<int>(i) + 1;
      return true;
    }
  }
  return false;
}

bool time_of_day(Scanner& in, std::int64_t& seconds) {
  int h = 0, m = 0, s = 0;
  if (in.digits(2, h) == 0 || !in.accept(':') || in.digits(2, m) == 0) return false;
  if (in.accept(':') && in.digits(2, s) == 0) return false;
  if (in.accept('.')) {
    int fraction = 0;
    in.digits(9, fraction);
  }
  if (h > 24 || m > 59 || s > 60) return false;
  seconds = h * 3600 + m * 60 + std::min(s, 59);
  return true;
}

// Seconds east of Greenwich. What is no known zone is UTC: better a date some hours out than none.
std::int64_t zone(Scanner& in) {
  in.spaces();
  const bool west = in.text.starts_with('-');
  if (in.accept('-') || in.accept('+')) {
    int hours = 0, minutes = 0;
    const int count = in.digits(4, hours);
    if (count == 0) return 0;
    if (count > 2) {
      minutes = hours % 100;
      hours /= 100;
    } else if (in.accept(':')) {
      in.digits(2, minutes);
    }
    if (hours > 24 || minutes > 59) return 0;
    return (west ? -1 : 1) * (hours * 3600 + minutes * 60);
  }
  struct Named {
    std::string_view name;
    int hours;
  };
  constexpr Named zones[] = {{"EST", -5}, {"EDT", -4}, {"CST", -6}, {"CDT", -5}, {"MST", -7},
                             {"MDT", -6}, {"PST", -8}, {"PDT", -7}, {"BST", 1},  {"CET", 1},
                             {"CEST", 2}, {"EET", 2},  {"EEST", 3}, {"MSK", 3},  {"JST", 9}};
  const std::string_view name = in.letters();
  for (const Named& z : zones) {
    if (is_word(name, z.name)) return z.hours * 3600;
  }
  return 0;
}

std::chrono::year_month_day day_of(std::int64_t unix_seconds, std::int64_t& second_of_day) {
  // 0000-01-01 and 9999-12-31: what four digits of a year can say.
  constexpr std::int64_t first = -62'167'219'200, last = 253'402'300'799;
  const std::int64_t t = std::clamp(unix_seconds, first, last);
  const auto days = std::chrono::floor<std::chrono::days>(std::chrono::sys_seconds(std::chrono::seconds(t)));
  second_of_day = t - std::chrono::duration_cast<std::chrono::seconds>(days.time_since_epoch()).count();
  return std::chrono::year_month_day(days);
}

}  // namespace

std::optional<std::int64_t> parse_date_time(std::string_view text) {
  Scanner in{text};
  in.spaces();
  if (!in.text.empty() && !is_digit(in.text.front())) {  // a day of the week
    if (in.letters().empty()) return std::nullopt;
    in.accept(',');
    in.spaces();
  }
  int d = 0, m = 0, y = 0;
  if (in.digits(2, d) == 0) return std::nullopt;
  if (!in.accept('-')) in.spaces();
  if (!month(in, m)) return std::nullopt;
  if (!in.accept('-')) in.spaces();
  const int year_digits = in.digits(4, y);
  if (year_digits == 2) {
    y += y < 70 ? 2000 : 1900;
  } else if (year_digits == 3) {
    y += 1900;  // as written by programs that count from 1900
  } else if (year_digits != 4) {
    return std::nullopt;
  }
  const std::chrono::year_month_day date{std::chrono::year(y), std::chrono::month(static_cast<unsigned>(m)),
                                         std::chrono::day(static_cast<unsigned>(d))};
  if (!date.ok()) return std::nullopt;
  in.spaces();
  std::int64_t seconds = 0;
  if (!in.text.empty() && !time_of_day(in, seconds)) return std::nullopt;
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return days * 86'400 + seconds - zone(in);
}

// date-text = date-day "-" date-month "-" date-year
std::string format_date(std::int64_t unix_seconds) {
  std::int64_t second = 0;
  const auto date = day_of(unix_seconds, second);
  char out[32];
  const int size =
      std::snprintf(out, sizeof out, "%u-%s-%04d", static_cast<unsigned>(date.day()),
                    months[static_cast<unsigned>(date.month()) - 1].data(), static_cast<int>(date.year()));
  return std::string(out, static_cast<std::size_t>(size));
}

std::string format_date_time(std::int64_t unix_seconds) {
  std::int64_t second = 0;
  const auto date = day_of(unix_seconds, second);
  char out[64];
  const int size = std::snprintf(
      out, sizeof out, "%2u-%s-%04d %02d:%02d:%02d +0000", static_cast<unsigned>(date.day()),
      months[static_cast<unsigned>(date.month()) - 1].data(), static_cast<int>(date.year()),
      static_cast<int>(second / 3600), static_cast<int>(second / 60 % 60), static_cast<int>(second % 60));
  return std::string(out, static_cast<std::size_t>(size));
}

}  // namespace postern::imap
