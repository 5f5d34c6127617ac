// Finds and decodes encoded words; each octet is looked at a constant number of times.
#include "mail/mime/encoded_words.hpp"

#include <algorithm>
#include <cstdint>

#include "mail/mime/characters.hpp"
#include "postern/base/encoding.hpp"
#include "postern/mail/mime/charset.hpp"
#include "postern/mail/mime/transfer_decode.hpp"

namespace postern::mail {
namespace {

// RFC 2047, 4.2.
void decode_q(std::string_view text, std::string& out) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '_') {
      out += ' ';
    } else if (text[i] == '=' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
               hex_digit(text[i + 2]) >= 0) {
      out += static_cast<char>(hex_digit(text[i + 1]) << 4 | hex_digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
}

// RFC 8621, 4.1.2.2: "Any NUL octets or control characters encoded per RFC 2047 are dropped".
void append_without_controls(std::string_view utf8, std::string& out) {
  for (std::size_t i = 0; i < utf8.size(); ++i) {
    const auto c = static_cast<unsigned char>(utf8[i]);
    if (c < 0x20 || c == 0x7F) continue;
    if (c == 0xC2 && i + 1 < utf8.size() && static_cast<unsigned char>(utf8[i + 1]) < 0xA0) {
      ++i;  // U+0080 to U+009F
      continue;
    }
    out += utf8[i];
  }
}

}  // namespace

std::string unfold(std::string_view raw) {
  std::string clean;
  if (!is_valid_utf8(raw)) {
    clean = sanitize_utf8(raw);
    raw = clean;
  }
  std::string out;
  out.reserve(raw.size());
  for (std::size_t i = 0; i < raw.size(); ++i) {
    const char c = raw[i];
    if (c == '\0') continue;
    if (c != '\r' && c != '\n') {
      out += c;
      continue;
    }
    std::size_t end = i;
    while (end < raw.size() && (raw[end] == '\r' || raw[end] == '\n')) ++end;
    if (end < raw.size() && !is_wsp(raw[end])) out += ' ';
    i = end - 1;
  }
  return out;
}

// RFC 2047, 2:  encoded-word = "=?" charset "?" encoding "?" encoded-text "?="
//               encoded-text = 1*<Any printable ASCII character other than "?" or SPACE>
// Words longer than 75 characters, and empty ones, are sent and decoded everywhere.
std::optional<EncodedWord> match_encoded_word(std::string_view s) {
  if (!s.starts_with("=?")) return std::nullopt;
  EncodedWord word;
  std::size_t i = 2;
  while (i < s.size() && s[i] > ' ' && s[i] < 0x7F &&
         std::string_view("()<>@,;:\"/[]?.=").find(s[i]) == std::string_view::npos)
    ++i;
  word.charset = s.substr(2, i - 2);
  if (word.charset.empty() || i + 2 >= s.size() || s[i] != '?' || s[i + 2] != '?') return std::nullopt;
  word.charset = word.charset.substr(0, word.charset.find('*'));
  const char encoding = static_cast<char>(s[i + 1] | 0x20);
  if (encoding != 'q' && encoding != 'b') return std::nullopt;
  word.encoding = encoding;
  const std::size_t begin = i + 3;
  i = begin;
  while (i < s.size() && s[i] > ' ' && s[i] < 0x7F && s[i] != '?') ++i;
  if (i + 1 >= s.size() || s[i] != '?' || s[i + 1] != '=') return std::nullopt;
  word.text = s.substr(begin, i - begin);
  word.length = i + 2;
  if (!is_known_charset(word.charset)) return std::nullopt;
  return word;
}

void WordJoiner::flush() {
  if (octets_.empty()) return;
  append_without_controls(to_utf8(octets_, charset_).text, out_);
  octets_.clear();
}

void WordJoiner::add_text(std::string_view text, std::string_view space_before) {
  flush();
  after_word_ = false;
  out_ += space_before;
  out_ += text;
}

void WordJoiner::add_word(const EncodedWord& word, std::string_view space_before) {
  if (!after_word_) {
    out_ += space_before;
  } else if (!iequals_ascii(charset_, word.charset)) {
    flush();
  }
  after_word_ = true;
  charset_ = word.charset;
  if (word.encoding == 'q') {
    decode_q(word.text, octets_);
    return;
  }
  TransferDecoder decoder(TransferEncoding::base64);
  decoder.feed(word.text, octets_);
  decoder.finish(octets_);
}

std::string WordJoiner::finish() {
  flush();
  return to_nfc(std::move(out_));
}

std::string decode_words(std::string_view unfolded) {
  if (unfolded.find("=?") == std::string_view::npos) return to_nfc(std::string(unfolded));
  WordJoiner joiner;
  std::size_t i = 0;
  while (i < unfolded.size()) {
    const std::size_t space = i;
    while (i < unfolded.size() && is_wsp(unfolded[i])) ++i;
    const std::size_t begin = i;
    while (i < unfolded.size() && !is_wsp(unfolded[i])) ++i;
    const std::string_view before = unfolded.substr(space, begin - space);
    const std::string_view text = unfolded.substr(begin, i - begin);
    const auto word = match_encoded_word(text);
    if (word && word->length == text.size()) {
      joiner.add_word(*word, before);
    } else {
      joiner.add_text(text, before);
    }
  }
  return joiner.finish();
}

bool is_encoded_words_only(std::string_view unfolded) {
  bool any = false;
  for (std::size_t i = 0; i < unfolded.size();) {
    if (is_wsp(unfolded[i])) {
      ++i;
      continue;
    }
    const auto word = match_encoded_word(unfolded.substr(i));
    if (!word) return false;
    i += word->length;
    if (i < unfolded.size() && !is_wsp(unfolded[i])) return false;
    any = true;
  }
  return any;
}

}  // namespace postern::mail
