// Arguments of IMAP commands; see cursor.hpp.
#include "cursor.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "text.hpp"

namespace postern::testimapd {

namespace {
constexpr std::string_view atom_specials = "(){ %*\"\\]";
constexpr std::string_view astring_specials = "(){ %*\"\\";
constexpr std::string_view list_specials = "(){ \"\\";
}  // namespace

NumberSet NumberSet::resolved(std::uint32_t largest) const {
  NumberSet out;
  out.saved_result = saved_result;
  for (auto [first, last] : ranges) {
    first = first == 0 ? largest : first;
    last = last == 0 ? largest : last;
    out.ranges.emplace_back(std::min(first, last), std::max(first, last));
  }
  std::sort(out.ranges.begin(), out.ranges.end());
  std::size_t kept = 0;
  for (std::size_t i = 1; i < out.ranges.size(); ++i) {
    if (out.ranges[i].first <= static_cast<std::uint64_t>(out.ranges[kept].second) + 1)
      out.ranges[kept].second = std::max(out.ranges[kept].second, out.ranges[i].second);
    else
      out.ranges[++kept] = out.ranges[i];
  }
  if (!out.ranges.empty()) out.ranges.resize(kept + 1);
  return out;
}

bool NumberSet::contains(std::uint32_t number) const {
  auto after = std::upper_bound(ranges.begin(), ranges.end(), number,
                                [](std::uint32_t value, const auto& range) { return value < range.first; });
  return after != ranges.begin() && number <= std::prev(after)->second;
}

void NumberSet::add(std::uint32_t number) {
  if (!ranges.empty() && ranges.back().second + 1 == number)
    ranges.back().second = number;
  else
    ranges.emplace_back(number, number);
}

std::string NumberSet::text() const {
  std::string out;
  for (auto [first, last] : ranges) {
    if (!out.empty()) out += ',';
    if (first == last)
      fmt::format_to(std::back_inserter(out), "{}", first);
    else
      fmt::format_to(std::back_inserter(out), "{}:{}", first, last);
  }
  return out;
}

bool Cursor::try_char(char c) {
  if (failed_ || at_end() || text_[at_] != c) return false;
  ++at_;
  return true;
}

bool Cursor::try_word(std::string_view word) {
  if (failed_ || !iequals(text_.substr(at_, word.size()), word)) return false;
  auto next = at_ + word.size();
  if (next < text_.size() && std::string_view(" ()[]\"<").find(text_[next]) == std::string_view::npos)
    return false;
  at_ = next;
  return true;
}

void Cursor::expect(char c) {
  if (!try_char(c)) failed_ = true;
}

void Cursor::end() {
  if (!at_end()) failed_ = true;
}

std::string_view Cursor::take(std::string_view stop, bool controls) {
  auto begin = at_;
  while (!failed_ && at_ < text_.size() && stop.find(text_[at_]) == std::string_view::npos &&
         (controls || (static_cast<unsigned char>(text_[at_]) > 0x1F && text_[at_] != 0x7F)))
    ++at_;
  if (at_ == begin) failed_ = true;
  return text_.substr(begin, at_ - begin);
}

std::string_view Cursor::atom() { return take(atom_specials); }
std::string Cursor::upper_atom() { return upper(atom()); }

std::string Cursor::quoted() {
  std::string out;
  expect('"');
  while (!failed_ && peek() != '"') {
    if (peek() == '\\') ++at_;
    if (at_end() || peek() == '\r' || peek() == '\n') {
      failed_ = true;
      break;
    }
    out += text_[at_++];
  }
  expect('"');
  return out;
}

// literal = "{" number ["+"] "}" CRLF *CHAR8; literal8 = "~" literal
std::string Cursor::literal() {
  literal8_ = try_char('~');
  expect('{');
  auto size = number64();
  try_char('+');
  expect('}');
  expect('\r');
  expect('\n');
  if (failed_ || size > text_.size() - at_) {
    failed_ = true;
    return {};
  }
  std::string out(text_.substr(at_, size));
  at_ += size;
  return out;
}

std::string Cursor::string() {
  if (failed_) return {};
  if (peek() == '"') return quoted();
  if (peek() == '{' || (peek() == '~' && text_.substr(at_ + 1, 1) == "{")) return literal();
  failed_ = true;
  return {};
}

std::string Cursor::astring() {
  if (peek() == '"' || peek() == '{') return string();
  return std::string(take(astring_specials));
}

std::string Cursor::list_mailbox() {
  if (peek() == '"' || peek() == '{') return string();
  return std::string(take(list_specials));
}

std::optional<std::string> Cursor::nstring() {
  if (try_word("NIL")) return std::nullopt;
  return string();
}

std::uint64_t Cursor::number64() {
  auto begin = at_;
  while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
  auto value = to_number(text_.substr(begin, at_ - begin));
  if (!value) failed_ = true;
  return value.value_or(0);
}

std::uint32_t Cursor::number() {
  auto value = number64();
  if (value > 0xFFFFFFFFU) {
    failed_ = true;
    return 0;
  }
  return static_cast<std::uint32_t>(value);
}

std::uint32_t Cursor::range_end() {
  if (try_char('*')) return 0;
  auto value = number();
  if (value == 0) failed_ = true;
  return value;
}

// sequence-set = (seq-number / seq-range) *("," sequence-set); "$"
NumberSet Cursor::number_set() {
  NumberSet set;
  if (try_char('$')) {
    set.saved_result = true;
    return set;
  }
  do {
    auto first = range_end();
    auto last = try_char(':') ? range_end() : first;
    set.ranges.emplace_back(first, last);
  } while (!failed_ && try_char(','));
  return set;
}

std::vector<std::string> Cursor::flag_list() {
  std::vector<std::string> out;
  expect('(');
  while (!failed_ && !try_char(')')) {
    if (!out.empty()) sp();
    std::string flag = try_char('\\') ? "\\" : "";
    flag += atom();
    out.push_back(std::move(flag));
  }
  return out;
}

std::vector<std::string> Cursor::flags() {
  if (peek() == '(') return flag_list();
  std::vector<std::string> out;
  do {
    std::string flag = try_char('\\') ? "\\" : "";
    flag += atom();
    out.push_back(std::move(flag));
  } while (!failed_ && try_char(' '));
  return out;
}

}  // namespace postern::testimapd
