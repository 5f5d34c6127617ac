// A reader of search text: one pass, with a look ahead for the quote that matches.
//
//   text   = *(white / phrase / word)
//   phrase = DQUOTE *(escaped / any but DQUOTE) DQUOTE
//          / "'" *(escaped / any but "'") "'"            ; in front of and behind it: white space or nothing
//   escaped = "\" ("'" / DQUOTE / "\")
//   word   = 1*(any but white space and DQUOTE)
#include "postern/mail/mime/search_text.hpp"

#include <algorithm>
#include <array>

#include "postern/base/encoding.hpp"
#include "postern/mail/mime/charset.hpp"

namespace postern::mail {
namespace {

// Typographic double quotes are what a telephone's keyboard makes of ", and ideographic and no-break spaces what an
// input method makes of a space.
std::string with_plain_characters(std::string_view text) {
  struct Plain {
    std::string_view utf8;
    char character;
  };
  static constexpr auto plain = std::to_array<Plain>(
      {{"\u201C", '"'}, {"\u201D", '"'}, {"\u201E", '"'}, {"\u201F", '"'}, {"\u00A0", ' '}, {"\u3000", ' '}});
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    if (static_cast<unsigned char>(text[i]) < 0x80) {
      out += text[i++];
      continue;
    }
    const auto* known = std::find_if(plain.begin(), plain.end(),
                                     [&](const Plain& p) { return text.substr(i).starts_with(p.utf8); });
    out += known == plain.end() ? text[i] : known->character;
    i += known == plain.end() ? 1 : known->utf8.size();
  }
  return out;
}

// A NUL is in no text that anybody types, and would end it for GLib.
bool is_white(char c) { return c == ' ' || c == '\0' || (c >= '\t' && c <= '\r'); }

class SearchTextReader {
 public:
  explicit SearchTextReader(std::string_view text) : text_(text) {}

  std::optional<std::vector<SearchTerm>> read() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (is_white(c))
        ++at_;
      else if (c == '"' || c == '\'')
        quoted(c);
      else
        word();
      if (terms_.size() > search_terms_max) return std::nullopt;
    }
    return std::move(terms_);
  }

 private:
  void quoted(char quote) {
    if (const auto close = matching(quote); close != std::string_view::npos) {
      phrase(close);
      at_ = close + 1;
    } else if (quote == '"') {
      ++at_;
    } else {
      word();
    }
  }

  // The quote that ends what the one at at_ begins. What is looked through in vain isn't looked through again.
  std::size_t matching(char quote) {
    auto& none_from = quote == '"' ? no_double_from_ : no_single_from_;
    if (at_ >= none_from) return std::string_view::npos;
    for (auto i = at_ + 1; i < text_.size(); ++i) {
      if (text_[i] == '\\')
        ++i;
      else if (text_[i] == quote && (quote == '"' || i + 1 == text_.size() || is_white(text_[i + 1])))
        return i;
    }
    none_from = at_;
    return std::string_view::npos;
  }

  void phrase(std::size_t close) {
    SearchTerm term;
    term.phrase = true;
    bool white = false;
    for (auto i = at_ + 1; i < close; ++i) {
      char c = text_[i];
      if (c == '\\' && i + 1 < close && (text_[i + 1] == '"' || text_[i + 1] == '\'' || text_[i + 1] == '\\'))
        c = text_[++i];
      if (is_white(c)) {
        white = true;
        continue;
      }
      if (white && !term.text.empty()) term.text += ' ';
      white = false;
      term.text += c;
    }
    take(std::move(term));
  }

  void word() {
    const auto begin = at_;
    while (at_ < text_.size() && !is_white(text_[at_]) && text_[at_] != '"') ++at_;
    auto word = text_.substr(begin, at_ - begin);
    SearchTerm term;
    while (word.ends_with('*')) {
      term.prefix = true;
      word.remove_suffix(1);
    }
    while (word.starts_with('*')) word.remove_prefix(1);
    term.text = word;
    take(std::move(term));
  }

  void take(SearchTerm term) {
    if (term.text.empty()) return;
    term.text = to_nfc(std::move(term.text));
    if (std::find(terms_.begin(), terms_.end(), term) == terms_.end()) terms_.push_back(std::move(term));
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t no_double_from_ = std::string_view::npos, no_single_from_ = std::string_view::npos;
  std::vector<SearchTerm> terms_;
};

}  // namespace

std::optional<std::vector<SearchTerm>> parse_search_text(std::string_view text) {
  const auto plain = with_plain_characters(sanitize_utf8(text));
  return SearchTextReader(plain).read();
}

}  // namespace postern::mail
