// IMAP's lexical elements (RFC 3501, section 9), and the liberties that servers take with them.
#include "imap/cursor.hpp"

#include <algorithm>
#include <limits>

#include "postern/imap/limits.hpp"

namespace postern::imap {

bool Cursor::set_error(Errc errc, std::string_view what) {
  if (!failed_) {
    failed_ = true;
    errc_ = errc;
    what_ = what;
    error_offset_ = offset();
  }
  return false;
}

Error Cursor::error(std::string_view where) const {
  std::string context(where);
  context += ": ";
  context += what_;
  context += " (octet " + std::to_string(error_offset_) + ")";
  return Error(make_error_code(errc_), std::move(context));
}

bool Cursor::number(std::uint64_t& out) {
  const char* p = at_;
  std::uint64_t value = 0;
  for (; p != end_ && is_digit(*p); ++p) {
    const auto digit = static_cast<std::uint64_t>(*p - '0');
    if (value > (std::numeric_limits<std::uint64_t>::max() - digit) / 10) return false;
    value = value * 10 + digit;
  }
  if (p == at_) return false;
  at_ = p;
  out = value;
  return true;
}

bool Cursor::number(std::uint32_t& out) {
  const char* start = at_;
  std::uint64_t value = 0;
  if (!number(value)) return false;
  if (value > std::numeric_limits<std::uint32_t>::max()) {
    at_ = start;
    return false;
  }
  out = static_cast<std::uint32_t>(value);
  return true;
}

bool Cursor::lenient_number(std::optional<std::uint64_t>& out) {
  out.reset();
  std::uint64_t value = 0;
  if (number(value)) {
    out = value;
    return true;
  }
  if (accept_nil()) return true;
  if (peek() == '"') {
    std::string text;
    if (!quoted(text)) return false;
    Cursor inner(text);
    inner.spaces();
    if (inner.number(value)) out = value;
    return true;
  }
  const char* p = at_;
  if (p != end_ && (*p == '-' || *p == '+')) ++p;
  const char* digits = p;
  while (p != end_ && is_digit(*p)) ++p;
  if (p == digits) return fail("no number");
  at_ = p;  // negative, or too large to hold: as if the server hadn't said it
  return true;
}

bool Cursor::lenient_number(std::optional<std::uint32_t>& out) {
  std::optional<std::uint64_t> value;
  out.reset();
  if (!lenient_number(value)) return false;
  if (value && *value <= std::numeric_limits<std::uint32_t>::max()) out = static_cast<std::uint32_t>(*value);
  return true;
}

std::string_view Cursor::word() {
  const char* start = at_;
  while (at_ != end_ && *at_ != ' ' && *at_ != '(' && *at_ != ')' && *at_ != '"' && *at_ != '\r' &&
         *at_ != '\n' && *at_ != '\t') {
    ++at_;
  }
  return {start, static_cast<std::size_t>(at_ - start)};
}

std::string_view Cursor::item_name() {
  const char* start = at_;
  while (at_ != end_ && *at_ != ' ' && *at_ != '(' && *at_ != ')' && *at_ != '"' && *at_ != '[' &&
         *at_ != '{' && *at_ != '\r' && *at_ != '\n' && *at_ != '\t') {
    ++at_;
  }
  return {start, static_cast<std::size_t>(at_ - start)};
}

bool Cursor::at_nil() const {
  if (end_ - at_ < 3 || upper(at_[0]) != 'N' || upper(at_[1]) != 'I' || upper(at_[2]) != 'L') return false;
  if (end_ - at_ == 3) return true;
  const char c = at_[3];
  return c == ' ' || c == ')' || c == '(' || c == '"' || c == ']' || c == '\t';
}

bool Cursor::accept_nil() {
  if (!at_nil()) return false;
  at_ += 3;
  return true;
}

// literal = "{" number ["+"] "}" CRLF *CHAR8; literal8 (RFC 3516) has "~" in front.
bool Cursor::literal(std::string_view& out) {
  const char* start = at_;
  std::uint64_t size = 0;
  accept('~');
  const bool head = accept('{') && number(size) && (accept('+'), accept('}')) && (accept('\r'), accept('\n'));
  if (!head || size > static_cast<std::uint64_t>(end_ - at_)) {
    at_ = start;
    return fail("broken literal");
  }
  out = {at_, static_cast<std::size_t>(size)};
  at_ += size;
  return true;
}

// Whether a value of a structure, none of them an atom, can begin here.
bool Cursor::value_begins(const char* at) const {
  const auto next = [&] { return end_ - at > 1 ? at[1] : '\0'; };
  switch (*at) {
    case '"':
    case '(':
    case ')':
    case '{': return true;
    case '~': return next() == '{';
    case '-': return is_digit(next());
    default: break;
  }
  return is_digit(*at) || Cursor(std::string_view(at, static_cast<std::size_t>(end_ - at))).at_nil();
}

// Whether a double quote ends its string, by what stands behind it.
bool Cursor::closes(const char* behind) const {
  if (behind == end_) return true;
  switch (*behind) {
    case '(':
    case '{':
    case '"':
    case '\t':
    case ']':
    case '>': return true;
    case ' ': break;
    case ')':
      if (!structured_) return true;
      while (behind != end_ && *behind == ')') ++behind;
      return behind == end_ || *behind == ' ' || value_begins(behind);
    default: return false;
  }
  if (!structured_) return true;
  while (behind != end_ && *behind == ' ') ++behind;
  return behind == end_ || value_begins(behind);
}

// quoted = DQUOTE *QUOTED-CHAR DQUOTE
// A backslash stands for itself unless it escapes a quoted-special; 8-bit octets are taken as they are.
bool Cursor::quoted(std::string& out) {
  const char* start = at_;
  out.clear();
  ++at_;
  const char* run = at_;
  while (at_ != end_) {
    if (*at_ == '\\' && end_ - at_ > 1 && (at_[1] == '"' || at_[1] == '\\')) {
      out.append(run, at_);
      run = at_ + 1;
      at_ += 2;
    } else if (*at_ == '"' && closes(at_ + 1)) {
      out.append(run, at_);
      ++at_;
      return true;
    } else {
      ++at_;
    }
  }
  at_ = start;
  return fail("quoted string without an end");
}

bool Cursor::skip_quoted() {
  const char* start = at_++;
  while (at_ != end_) {
    if (*at_ == '\\' && end_ - at_ > 1 && (at_[1] == '"' || at_[1] == '\\')) {
      at_ += 2;
      continue;
    }
    const bool quote = *at_ == '"';
    ++at_;
    if (quote && closes(at_)) return true;
  }
  at_ = start;
  return fail("quoted string without an end");
}

bool Cursor::astring(std::string& out) {
  if (peek() == '"') return quoted(out);
  if (at_literal()) {
    std::string_view octets;
    if (!literal(octets)) return false;
    out.assign(octets);
    return true;
  }
  const std::string_view atom = word();
  if (atom.empty()) return fail("string expected");
  out.assign(atom);
  return true;
}

bool Cursor::nstring(NString& out) {
  if (accept_nil()) {
    out.reset();
    return true;
  }
  return astring(out.emplace());
}

bool Cursor::field(NString& out) {
  spaces();
  out.reset();
  if (at_end() || peek() == ')') return true;
  if (peek() == '(') return skip_value();
  return nstring(out);
}

namespace {

struct SystemFlag {
  std::string_view name;
  Flags::Bit bit;
};
constexpr SystemFlag system_flags[] = {{"\\SEEN", Flags::seen},       {"\\ANSWERED", Flags::answered},
                                       {"\\FLAGGED", Flags::flagged}, {"\\DELETED", Flags::deleted},
                                       {"\\DRAFT", Flags::draft},     {"\\RECENT", Flags::recent}};

void add_flag(Flags& flags, std::string_view flag) {
  if (flag.empty() || flag == "\\" || is_word(flag, "NIL")) return;
  if (flag == "\\*") {
    flags.any_keyword = true;
    return;
  }
  if (flag[0] == '\\') {
    for (const SystemFlag& f : system_flags) {
      if (is_word(flag, f.name)) {
        flags.system |= f.bit;
        return;
      }
    }
  }
  const auto same = [flag](const std::string& k) { return same_word(flag, k); };
  if (std::none_of(flags.keywords.begin(), flags.keywords.end(), same)) flags.keywords.emplace_back(flag);
}

}  // namespace

bool Cursor::flags(Flags& out) {
  spaces();
  if (accept_nil()) return true;
  if (!accept('(')) return fail("flags expected");
  std::size_t count = 0;
  for (;;) {
    spaces();
    if (accept(')')) return true;
    if (at_end()) return fail("flags without an end");
    if (++count > flags_max) return too_large("flags");
    if (peek() == '"' || at_literal()) {
      std::string flag;
      if (!astring(flag)) return false;
      add_flag(out, flag);
      continue;
    }
    const std::string_view flag = word();
    if (flag.empty()) return fail("flag expected");
    add_flag(out, flag);
  }
}

bool Cursor::string_list(std::vector<std::string>& out, std::size_t max) {
  spaces();
  if (accept_nil()) return true;
  if (peek() != '(') return astring(out.emplace_back());
  advance();
  for (;;) {
    spaces();
    if (accept(')')) return true;
    if (at_end()) return fail("list without an end");
    if (out.size() >= max) return too_large("list");
    if (accept_nil()) continue;
    if (peek() == '(') {
      if (!skip_value()) return false;
      continue;
    }
    if (!astring(out.emplace_back())) return false;
  }
}

bool Cursor::skip_value() {
  std::size_t depth = 0;
  do {
    spaces();
    if (at_end()) return fail("value without an end");
    if (accept('(')) {
      ++depth;
    } else if (peek() == ')') {
      if (depth == 0) return fail("value expected");
      --depth;
      advance();
    } else if (peek() == '"') {
      if (!skip_quoted()) return false;
    } else {
      std::string_view octets;
      const std::size_t here = offset();
      if (at_literal() && literal(octets)) continue;
      clear_error();
      seek(here);
      if (word().empty()) return fail("value expected");
    }
  } while (depth > 0);
  return true;
}

}  // namespace postern::imap
