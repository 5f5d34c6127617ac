// RFC 2045, 5.1:
//
//   content   = type "/" subtype *(";" parameter)
//   parameter = attribute "=" value
//   value     = token / quoted-string
//
// with comments and white space anywhere between. Beyond it: values with white space or other characters that want
// quotes, up to the next semicolon; quotes that don't close; semicolons too many.
#include "postern/mail/mime/content_type.hpp"

#include "mail/mime/characters.hpp"
#include "mail/mime/encoded_words.hpp"
#include "postern/base/encoding.hpp"
#include "postern/mail/mime/limits.hpp"

namespace postern::mail {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view s) : s_(s) {}

  ParameterizedValue parse() {
    ParameterizedValue out;
    out.value = ascii_lower(text_up_to(";"));
    while (pos_ < s_.size() && out.parameters.size() < header_parameters_max) {
      ++pos_;  // the semicolon
      std::string name = ascii_lower(text_up_to(";="));
      if (pos_ >= s_.size() || s_[pos_] != '=') continue;
      ++pos_;
      std::string value = parameter_value();
      if (!name.empty()) out.parameters.emplace_back(std::move(name), std::move(value));
    }
    return out;
  }

 private:
  void skip_space() {
    while (pos_ < s_.size() && (is_wsp(s_[pos_]) || s_[pos_] == '(')) {
      if (s_[pos_] == '(') {
        if (!skip_comment()) return;
      } else {
        ++pos_;
      }
    }
  }

  // False: it isn't closed, and is text.
  bool skip_comment() {
    if (comments_are_text_) return false;
    std::size_t depth = 0;
    for (std::size_t i = pos_; i < s_.size(); ++i) {
      if (s_[i] == '\\') {
        ++i;
      } else if (s_[i] == '(') {
        ++depth;
      } else if (s_[i] == ')' && --depth == 0) {
        pos_ = i + 1;
        return true;
      }
    }
    comments_are_text_ = true;
    return false;
  }

  // Without any white space or comment.
  std::string text_up_to(std::string_view ends) {
    std::string out;
    while (pos_ < s_.size() && ends.find(s_[pos_]) == std::string_view::npos) {
      if (s_[pos_] == '(' && skip_comment()) continue;
      if (!is_wsp(s_[pos_])) out += s_[pos_];
      ++pos_;
    }
    return out;
  }

  // Leaves pos_ at the next semicolon, or the end.
  std::string parameter_value() {
    skip_space();
    std::string out;
    if (pos_ < s_.size() && s_[pos_] == '"') {
      for (++pos_; pos_ < s_.size() && s_[pos_] != '"'; ++pos_) {
        if (s_[pos_] == '\\' && pos_ + 1 < s_.size()) ++pos_;
        out += s_[pos_];
      }
      while (pos_ < s_.size() && s_[pos_] != ';') ++pos_;
      return out;
    }
    while (pos_ < s_.size() && s_[pos_] != ';') {
      if (s_[pos_] == '(' && (out.empty() || is_wsp(s_[pos_ - 1])) && skip_comment()) continue;
      out += s_[pos_++];
    }
    return std::string(trim_ascii(out));
  }

  std::string_view s_;
  std::size_t pos_ = 0;
  bool comments_are_text_ = false;
};

}  // namespace

ParameterizedValue parse_parameterized(std::string_view raw) {
  const std::string unfolded = unfold(raw);
  return Parser(unfolded).parse();
}

}  // namespace postern::mail
