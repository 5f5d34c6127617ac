// What a script of the person's own does, as far as Postern's must know before it includes it: a tokenizer of RFC 5228,
// 8.1, and no parser. Identifiers count wherever they stand; that errs to the safe side.
#include <algorithm>

#include "postern/base/encoding.hpp"
#include "postern/sieve/vacation_script.hpp"

namespace postern::sieve {
namespace {

struct Token {
  enum class Kind : unsigned char { end, identifier, tag, string, other } kind = Kind::end;
  std::string text;
};

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

class Tokens {
 public:
  explicit Tokens(std::string_view in) : in_(in) {}

  Token next() {
    skip_blank();
    if (at_ >= in_.size()) return {};
    const char c = in_[at_];
    if (c == '"') return {Token::Kind::string, quoted()};
    if (c == ':') {
      ++at_;
      return {Token::Kind::tag, name()};
    }
    if (!is_name_char(c)) {
      ++at_;
      return {Token::Kind::other, std::string(1, c)};
    }
    auto text = name();
    if (text == "text" && at_ < in_.size() && in_[at_] == ':') return {Token::Kind::string, multi_line()};
    return {Token::Kind::identifier, std::move(text)};
  }

 private:
  // White space, "#" comments to the end of the line, "/* */" comments.
  void skip_blank() {
    while (at_ < in_.size()) {
      const auto rest = in_.substr(at_);
      if (rest.starts_with('#')) {
        at_ = std::min(in_.find('\n', at_), in_.size());
      } else if (rest.starts_with("/*")) {
        const auto end = in_.find("*/", at_ + 2);
        at_ = end == std::string_view::npos ? in_.size() : end + 2;
      } else if (rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r' || rest[0] == '\n') {
        ++at_;
      } else {
        return;
      }
    }
  }
  std::string name() {
    const auto begin = at_;
    while (at_ < in_.size() && is_name_char(in_[at_])) ++at_;
    return ascii_lower(in_.substr(begin, at_ - begin));
  }
  std::string quoted() {
    std::string out;
    for (++at_; at_ < in_.size() && in_[at_] != '"'; ++at_) {
      if (in_[at_] == '\\' && at_ + 1 < in_.size()) ++at_;
      out += in_[at_];
    }
    if (at_ < in_.size()) ++at_;
    return out;
  }
  // "text:" up to a line that is a dot.
  std::string multi_line() {
    auto line = std::min(in_.find('\n', at_), in_.size());
    while (line < in_.size()) {
      const auto begin = line + 1;
      line = std::min(in_.find('\n', begin), in_.size());
      auto text = in_.substr(begin, line - begin);
      if (text.ends_with('\r')) text.remove_suffix(1);
      if (text == ".") break;
    }
    at_ = std::min(line + 1, in_.size());
    return {};
  }

  std::string_view in_;
  std::size_t at_ = 0;
};

}  // namespace

// include [":personal" / ":global"] [":once"] [":optional"] <value: string> (RFC 6609, 3.2)
ScriptUse scan_script(std::string_view text) {
  ScriptUse use;
  Tokens tokens(text);
  bool including = false, global = false;
  for (auto token = tokens.next(); token.kind != Token::Kind::end; token = tokens.next()) {
    if (including && token.kind == Token::Kind::tag) {
      global = global || token.text == "global";
      continue;
    }
    if (including && token.kind == Token::Kind::string && !global &&
        use.includes.size() < script_includes_max)
      use.includes.push_back(std::move(token.text));
    including = token.kind == Token::Kind::identifier && token.text == "include";
    if (including) global = false;
    if (token.kind == Token::Kind::identifier &&
        (token.text == "vacation" || token.text == "reject" || token.text == "ereject"))
      use.answers = true;
  }
  return use;
}

}  // namespace postern::sieve
