// RFC 2047 encoded words and RFC 5256's base subject; see text.hpp.
#include "text.hpp"

namespace postern::testimapd {

namespace {

std::string latin1_to_utf8(std::string_view text) {
  std::string out;
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      out += c;
    } else {
      out += static_cast<char>(0xC0 | (byte >> 6));
      out += static_cast<char>(0x80 | (byte & 0x3F));
    }
  }
  return out;
}

// encoded-word = "=?" charset "?" encoding "?" encoded-text "?="; advances `at` behind it.
std::optional<std::string> decode_word(std::string_view text, std::size_t& at) {
  auto charset_end = text.find('?', at + 2);
  if (charset_end == std::string_view::npos || charset_end + 2 >= text.size() || text[charset_end + 2] != '?')
    return std::nullopt;
  auto end = text.find("?=", charset_end + 3);
  if (end == std::string_view::npos) return std::nullopt;
  auto charset = lower(text.substr(at + 2, charset_end - at - 2));
  auto encoded = text.substr(charset_end + 3, end - charset_end - 3);
  std::optional<std::string> bytes;
  if (iequals(text.substr(charset_end + 1, 1), "B"))
    bytes = base64_decode(encoded);
  else if (iequals(text.substr(charset_end + 1, 1), "Q"))
    bytes = decode_quoted_printable(encoded, true);
  if (!bytes) return std::nullopt;
  if (charset == "iso-8859-1")
    bytes = latin1_to_utf8(*bytes);
  else if (charset != "utf-8" && charset != "us-ascii")
    return std::nullopt;
  at = end + 2;
  return bytes;
}

bool strip_prefix_word(std::string_view& text) {
  for (std::string_view word : {"RE", "FWD", "FW"}) {
    if (!iequals(text.substr(0, word.size()), word)) continue;
    auto rest = trim(text.substr(word.size()));
    if (rest.starts_with('[')) {
      auto close = rest.find(']');
      if (close == std::string_view::npos) continue;
      rest = trim(rest.substr(close + 1));
    }
    if (!rest.starts_with(':')) continue;
    text = trim(rest.substr(1));
    return true;
  }
  return false;
}

// subj-blob = "[" *BLOBCHAR "]" *WSP, only where something is left behind it.
bool strip_blob(std::string_view& text) {
  if (!text.starts_with('[')) return false;
  auto close = text.find_first_of("[]", 1);
  if (close == std::string_view::npos || text[close] != ']') return false;
  auto rest = trim(text.substr(close + 1));
  if (rest.empty()) return false;
  text = rest;
  return true;
}

}  // namespace

std::string decode_quoted_printable(std::string_view text, bool underscore_is_space) {
  auto digit = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
  };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (underscore_is_space && text[i] == '_') {
      out += ' ';
    } else if (text[i] == '=' && i + 2 < text.size() && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0) {
      out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else if (text[i] == '=' && text.substr(i + 1, 2) == "\r\n") {
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string decode_words(std::string_view text) {
  std::string out;
  bool after_word = false;
  std::size_t gap = 0;  // blanks since the last encoded word
  for (std::size_t at = 0; at < text.size();) {
    if (text.substr(at, 2) == "=?") {
      if (auto word = decode_word(text, at)) {
        if (after_word) out.resize(out.size() - gap);
        out += *word;
        after_word = true;
        gap = 0;
        continue;
      }
    }
    bool blank = text[at] == ' ' || text[at] == '\t';
    if (after_word && blank)
      ++gap;
    else
      after_word = false, gap = 0;
    out += text[at++];
  }
  return out;
}

BaseSubject base_subject(std::string_view decoded_subject) {
  std::string flat;
  for (char c : decoded_subject) {
    char plain = c == '\t' ? ' ' : c;
    if (plain != ' ' || (!flat.empty() && flat.back() != ' ')) flat += plain;
  }
  BaseSubject result;
  std::string_view text = trim(flat);
  for (bool again = true; again;) {
    again = false;
    while (text.size() >= 5 && iequals(text.substr(text.size() - 5), "(fwd)")) {
      text = trim(text.substr(0, text.size() - 5));
      result.reply_or_forward = true;
    }
    for (bool stripped = true; stripped;) {
      stripped = false;
      if (strip_prefix_word(text)) {
        stripped = true;
        result.reply_or_forward = true;
      }
      if (strip_blob(text)) stripped = true;
    }
    if (text.size() >= 6 && iequals(text.substr(0, 5), "[fwd:") && text.ends_with(']')) {
      text = trim(text.substr(5, text.size() - 6));
      result.reply_or_forward = true;
      again = true;
    }
  }
  result.text = upper(text);
  return result;
}

}  // namespace postern::testimapd
