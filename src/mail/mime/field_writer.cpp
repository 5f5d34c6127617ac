// Folding (RFC 5322, 2.2.3), encoded words (RFC 2047), phrases (RFC 5322, 3.2.5) and parameters (RFC 2231).
#include "mail/mime/field_writer.hpp"

#include <algorithm>

#include "mail/mime/characters.hpp"
#include "postern/base/encoding.hpp"
#include "postern/mail/mime/limits.hpp"

namespace postern::mail {
namespace {

constexpr std::size_t encoded_word_max = 75;  // RFC 2047, 2
constexpr std::string_view encoded_word_q = "=?utf-8?Q?", encoded_word_b = "=?utf-8?B?";
// Atoms and white space longer than this can't be folded well: encoded words can.
constexpr std::size_t plain_word_max = 70, plain_space_max = 40;
constexpr std::size_t parameter_value_max = 56;  // "filename*12*=", the value and ";" in one line

bool is_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }
// RFC 2047, 5, (3): what may stand in an encoded word of a phrase.
bool is_q_literal(char c) {
  return is_alnum(c) || std::string_view("!*+-/").find(c) != std::string_view::npos;
}
// RFC 5322, 3.2.3.
bool is_atext(char c) {
  return is_alnum(c) || std::string_view("!#$%&'*+-/=?^_`{|}~").find(c) != std::string_view::npos;
}
bool is_token_char(char c) {  // RFC 2045, 5.1
  return c > ' ' && c < 0x7F && std::string_view("()<>@,;:\\\"/[]?=").find(c) == std::string_view::npos;
}
bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

// Octets of the UTF-8 character that `s` begins with.
std::size_t character_size(std::string_view s) {
  std::size_t size = 1;
  while (size < s.size() && (static_cast<unsigned char>(s[size]) & 0xC0) == 0x80) ++size;
  return size;
}

void append_hex(char c, std::string& out) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  out += digits[static_cast<unsigned char>(c) >> 4];
  out += digits[static_cast<unsigned char>(c) & 15];
}

std::size_t q_size(std::string_view text) {
  std::size_t size = 0;
  for (const char c : text) size += is_q_literal(c) || c == ' ' ? 1 : 3;
  return size;
}

void append_q(std::string_view text, std::string& out) {
  for (const char c : text) {
    if (c == ' ') {
      out += '_';
    } else if (is_q_literal(c)) {
      out += c;
    } else {
      out += '=';
      append_hex(c, out);
    }
  }
}

struct Word {
  std::string_view space, text;
};
std::vector<Word> split_words(std::string_view text) {
  std::vector<Word> words;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t begin = i;
    while (i < text.size() && is_wsp(text[i])) ++i;
    const std::size_t word = i;
    while (i < text.size() && !is_wsp(text[i])) ++i;
    words.push_back({text.substr(begin, word - begin), text.substr(word, i - word)});
  }
  return words;
}

bool needs_encoding(std::string_view word) {
  return word.size() > plain_word_max || word.find("=?") != std::string_view::npos || !is_ascii(word);
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
  return out;
}

}  // namespace

FieldWriter::FieldWriter(std::string& out, std::string_view name) : out_(out), column_(name.size() + 1) {
  out_ += name;
  out_ += ':';
}

void FieldWriter::piece(std::string_view space, std::string_view octets) {
  if (column_ + space.size() + octets.size() > line_max && !space.empty()) {
    out_ += "\r\n";
    column_ = 0;
  }
  out_ += space;
  out_ += octets;
  column_ += space.size() + octets.size();
}

void FieldWriter::encoded_words(std::string_view space, std::string_view text, std::string_view suffix) {
  const bool q = q_size(text) <= (text.size() + 2) / 3 * 4;
  const std::string_view begin = q ? encoded_word_q : encoded_word_b;
  while (!text.empty()) {
    // The rest of this line, if it is worth while; otherwise a line of its own.
    std::size_t room = encoded_word_max;
    const std::size_t used = column_ + space.size();
    if (used + 30 <= line_max) room = std::min(room, line_max - used);
    room -= begin.size() + 2;
    std::size_t size = 0, encoded = 0;
    while (size < text.size()) {
      const std::size_t character = character_size(text.substr(size));
      const std::size_t with_it =
          q ? encoded + q_size(text.substr(size, character)) : (size + character + 2) / 3 * 4;
      if (with_it > room && size > 0) break;
      encoded = with_it;
      size += character;
    }
    std::string word(begin);
    if (q) {
      append_q(text.substr(0, size), word);
    } else {
      word += base64_encode(text.substr(0, size));
    }
    word += "?=";
    text.remove_prefix(size);
    if (text.empty()) word += suffix;
    piece(space, word);
    space = " ";
  }
}

void FieldWriter::unstructured(std::string_view text) {
  if (text.empty()) return;
  const std::vector<Word> words = split_words(text);
  const bool whole = is_wsp(text.front()) || is_wsp(text.back()) ||
                     std::any_of(words.begin(), words.end(),
                                 [](const Word& word) { return word.space.size() > plain_space_max; });
  if (whole) {
    encoded_words(" ", text);
    return;
  }
  const auto needs = [](const Word& word) { return needs_encoding(word.text); };
  const auto first = std::find_if(words.begin(), words.end(), needs);
  const auto last = std::find_if(words.rbegin(), words.rend(), needs).base();  // behind it
  for (auto word = words.begin(); word != words.end(); ++word) {
    const std::string_view space = word == words.begin() ? std::string_view(" ") : word->space;
    if (word != first) {
      piece(space, word->text);
      continue;
    }
    const char* end = (last - 1)->text.data() + (last - 1)->text.size();
    encoded_words(space, {word->text.data(), static_cast<std::size_t>(end - word->text.data())});
    word = last - 1;
  }
}

void FieldWriter::phrase(std::string_view text, std::string_view suffix) {
  const std::vector<Word> words = split_words(text);
  const bool atoms = std::all_of(words.begin(), words.end(), [](const Word& word) {
    return word.space.size() <= 1 && word.space != "\t" && !needs_encoding(word.text) &&
           std::all_of(word.text.begin(), word.text.end(), is_atext);
  });
  if (atoms && !is_wsp(text.front()) && !is_wsp(text.back())) {
    for (std::size_t i = 0; i + 1 < words.size(); ++i) piece(" ", words[i].text);
    piece(" ", std::string(words.back().text).append(suffix));
    return;
  }
  if (!is_ascii(text) || text.find("=?") != std::string_view::npos || quoted(text).size() > plain_word_max) {
    encoded_words(" ", text, suffix);
    return;
  }
  piece(" ", quoted(text).append(suffix));
}

std::optional<std::string> check_field_name(std::string_view name) {
  if (name.empty()) return "must name a header field";
  if (name.size() > written_field_name_bytes_max) return "names a header field with too long a name";
  if (!std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < 0x7F && c != ':'; }))
    return "names no header field";
  return std::nullopt;
}

std::optional<std::string> check_text(std::string_view text) {
  if (std::any_of(text.begin(), text.end(), [](char c) { return is_control(c) && c != '\t'; }))
    return "must not have line ends or other control characters";
  if (!is_valid_utf8(text)) return "must be valid UTF-8";
  return std::nullopt;
}

std::optional<std::string> check_token(std::string_view text) {
  if (text.empty() || text.size() > plain_word_max || !std::all_of(text.begin(), text.end(), is_token_char))
    return "must be a token";
  return std::nullopt;
}

std::optional<std::string> check_bracketed(std::string_view text) {
  if (text.empty()) return "must not be empty";
  if (text.size() > written_token_bytes_max) return "is too long";
  if (!std::all_of(text.begin(), text.end(),
                   [](char c) { return c > ' ' && c < 0x7F && c != '<' && c != '>'; }))
    return "must be printable ASCII, without white space or angle brackets";
  return std::nullopt;
}

// RFC 2231, 4.1:  parameter = attribute ["*" section] ["*"] "=" value, the value "utf-8''" and percent escapes. What
// could be taken for an encoded word is escaped too, since readers decode those in parameters.
std::vector<std::string> parameter_pieces(std::string_view name, std::string_view value) {
  std::string prefix(name);
  if (is_ascii(value) && value.find("=?") == std::string_view::npos &&
      quoted(value).size() <= parameter_value_max) {
    const bool token = !value.empty() && std::all_of(value.begin(), value.end(), is_token_char);
    return {prefix + '=' + (token ? std::string(value) : quoted(value))};
  }
  std::vector<std::string> values = {"utf-8''"};
  for (std::string_view rest = value; !rest.empty();) {
    const std::size_t size = character_size(rest);
    std::string character;
    for (const char c : rest.substr(0, size)) {
      // RFC 2231, 7: attribute-char
      if (is_token_char(c) && c != '*' && c != '\'' && c != '%') {
        character += c;
      } else {
        character += '%';
        append_hex(c, character);
      }
    }
    if (values.back().size() + character.size() > parameter_value_max) values.emplace_back();
    values.back() += character;
    rest.remove_prefix(size);
  }
  if (values.size() == 1) return {prefix + "*=" + values.front()};
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i].insert(0, prefix + '*' + std::to_string(i) + "*=");
  return values;
}

}  // namespace postern::mail
