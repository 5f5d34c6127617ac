// Lines of ManageSieve replies (RFC 5804, 4). Bounds: ReplyLimits. A line is read from its beginning whenever more of
// it has come; while a literal is incomplete, nothing is.
//
//   quoted     = <"> *QUOTED-CHAR <">     ; "\" before <"> and "\"
//   literal    = "{" number ["+"] "}" CRLF *OCTET
//   response   = ("OK" / "NO" / "BYE") [SP "(" resp-code ")"] [SP string] CRLF
//   data       = string [SP string] CRLF  /  string [SP "ACTIVE"] CRLF
#include <algorithm>
#include <charconv>

#include "postern/base/encoding.hpp"
#include "postern/sieve/protocol.hpp"

namespace postern::sieve {
namespace {

enum class Step : unsigned char { done, incomplete, bad, too_large };

bool is_space(char c) { return c == ' ' || c == '\t'; }

// Reads one line. `wanted` is set with incomplete: how many octets there must be at least to get further.
class LineReader {
 public:
  LineReader(std::string_view in, const ReplyLimits& limits) : in_(in), limits_(limits) {}

  Step read(Line& line) {
    for (;;) {
      while (at_ < in_.size() && is_space(in_[at_])) ++at_;
      if (at_ >= in_.size()) return more();
      if (in_[at_] == '\r' || in_[at_] == '\n') return end();
      if (line.size() >= limits_.words_max) return Step::too_large;
      Word word;
      const auto step = read_word(word);
      if (step != Step::done) return step;
      line.push_back(std::move(word));
    }
  }
  std::size_t at() const { return at_; }
  std::size_t wanted() const { return wanted_; }

 private:
  // Octets of the line that are not a literal's.
  Step more() {
    if (in_.size() - literal_bytes_ > limits_.line_bytes_max) return Step::too_large;
    wanted_ = std::max(wanted_, in_.size() + 1);
    return Step::incomplete;
  }
  // CRLF; a bare LF is tolerated.
  Step end() {
    if (in_[at_] == '\r') {
      if (at_ + 1 >= in_.size()) return more();
      if (in_[at_ + 1] != '\n') return Step::bad;
      ++at_;
    }
    ++at_;
    return at_ - literal_bytes_ > limits_.line_bytes_max ? Step::too_large : Step::done;
  }
  Step read_word(Word& word) {
    switch (in_[at_]) {
      case '"': return read_quoted(word);
      case '{': return read_literal(word);
      case '(': return read_code(word);
      default: return read_atom(word);
    }
  }
  Step read_quoted(Word& word) {
    word.is_string = true;
    for (++at_; at_ < in_.size(); ++at_) {
      char c = in_[at_];
      if (c == '"') {
        ++at_;
        return Step::done;
      }
      if (c == '\r' || c == '\n' || c == '\0') return Step::bad;
      if (c == '\\') {
        if (++at_ >= in_.size()) return more();
        c = in_[at_];
        if (c == '\r' || c == '\n' || c == '\0') return Step::bad;
      }
      word.text += c;
    }
    return more();
  }
  Step read_literal(Word& word) {
    word.is_string = true;
    const auto close = in_.find('}', at_);
    const auto eol = in_.find('\n', at_);
    if (eol == std::string_view::npos) return more();
    if (close == std::string_view::npos || close > eol) return Step::bad;
    auto digits = in_.substr(at_ + 1, close - at_ - 1);
    if (digits.ends_with('+')) digits.remove_suffix(1);
    std::size_t size = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), size);
    if (error == std::errc::result_out_of_range) return Step::too_large;
    if (error != std::errc{} || end != digits.data() + digits.size()) return Step::bad;
    const auto behind = in_.substr(close + 1, eol - close);
    if (behind != "\r\n" && behind != "\n") return Step::bad;
    if (size > limits_.literal_bytes_max - std::min(literal_bytes_, limits_.literal_bytes_max))
      return Step::too_large;
    if (in_.size() - (eol + 1) < size) {
      wanted_ = eol + 1 + size;
      return Step::incomplete;
    }
    literal_bytes_ += size;
    word.text = in_.substr(eol + 1, size);
    at_ = eol + 1 + size;
    return Step::done;
  }
  // "(" resp-code ")", whose strings may hold parentheses. Kept as it stands.
  Step read_code(Word& word) {
    const auto begin = at_;
    bool quoted = false;
    for (++at_; at_ < in_.size(); ++at_) {
      const char c = in_[at_];
      if (c == '\r' || c == '\n' || c == '\0') return Step::bad;
      if (quoted && c == '\\') {
        ++at_;
      } else if (c == '"') {
        quoted = !quoted;
      } else if (c == ')' && !quoted) {
        word.text = in_.substr(begin, ++at_ - begin);
        return Step::done;
      }
    }
    return more();
  }
  Step read_atom(Word& word) {
    const auto end = in_.find_first_of(" \t\r\n\"({", at_);
    if (end == std::string_view::npos) return more();
    word.text = in_.substr(at_, end - at_);
    at_ = end;
    const bool plain =
        std::all_of(word.text.begin(), word.text.end(), [](char c) { return c > ' ' && c < 0x7f; });
    return plain && !word.text.empty() ? Step::done : Step::bad;
  }

  std::string_view in_;
  const ReplyLimits& limits_;
  std::size_t at_ = 0, wanted_ = 0, literal_bytes_ = 0;
};

}  // namespace

Result<std::optional<Line>> ReplyParser::next() {
  if (buffer_.empty() || buffer_.size() < wanted_) return std::nullopt;
  LineReader reader(buffer_, limits_);
  Line line;
  switch (reader.read(line)) {
    case Step::incomplete: wanted_ = reader.wanted(); return std::nullopt;
    case Step::bad: return fail(Errc::syntax);
    case Step::too_large: return fail(Errc::too_large);
    case Step::done: break;
  }
  buffer_.erase(0, reader.at());
  wanted_ = 0;
  return std::optional<Line>(std::move(line));
}

// resp-code: an atom, and for some a string behind it.
Result<std::optional<Completion>> parse_completion(const Line& line) {
  if (line.empty()) return fail(Errc::syntax, "an empty line");
  if (line[0].is_string) return std::nullopt;
  Completion completion;
  if (iequals_ascii(line[0].text, "OK"))
    completion.status = Status::ok;
  else if (iequals_ascii(line[0].text, "NO"))
    completion.status = Status::no;
  else if (iequals_ascii(line[0].text, "BYE"))
    completion.status = Status::bye;
  else
    return fail(Errc::syntax, "an unknown status");
  std::size_t next = 1;
  if (next < line.size() && !line[next].is_string && line[next].text.starts_with('(')) {
    auto inside = std::string_view(line[next].text).substr(1);
    inside.remove_suffix(1);
    inside = trim_ascii(inside);
    const auto space = inside.find(' ');
    completion.code = ascii_upper(inside.substr(0, space));
    if (space != std::string_view::npos) {
      auto argument = trim_ascii(inside.substr(space));
      if (argument.size() >= 2 && argument.front() == '"' && argument.back() == '"')
        argument = argument.substr(1, argument.size() - 2);
      completion.code_argument = argument;
    }
    ++next;
  }
  if (next < line.size() && line[next].is_string) completion.text = line[next++].text;
  if (next != line.size()) return fail(Errc::syntax, "something behind a status");
  return completion;
}

}  // namespace postern::sieve
