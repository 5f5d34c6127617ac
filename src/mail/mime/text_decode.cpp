// Transfer decoding, charset and line ends of one body value, in portions; cut at body_value_bytes_max or earlier,
// never inside a character or a tag.
#include "postern/mail/mime/text_decode.hpp"

#include <algorithm>
#include <utility>

#include "mail/mime/characters.hpp"
#include "postern/base/encoding.hpp"
#include "postern/mail/mime/charset.hpp"
#include "postern/mail/mime/limits.hpp"

namespace postern::mail {
namespace {

// Pieces are decoded in portions, so that a large piece costs no more memory than the value may have.
constexpr std::size_t portion_bytes = 64 * 1024;

// The position where the tag begins that `html`'s end lies in; npos if it lies in none. A comment is no tag.
std::size_t open_tag(std::string_view html) {
  for (std::size_t i = html.find('<'); i != std::string_view::npos; i = html.find('<', i)) {
    const std::size_t begin = i++;
    if (html.substr(i).starts_with("!--")) {
      const std::size_t end = html.find("-->", i);
      if (end == std::string_view::npos) return std::string_view::npos;
      i = end;
      continue;
    }
    if (i == html.size()) return begin;
    if (!is_alpha(html[i]) && html[i] != '/' && html[i] != '!' && html[i] != '?') continue;
    char quote = 0;
    for (; i < html.size() && (quote != 0 || html[i] != '>'); ++i) {
      if (quote != 0) {
        if (html[i] == quote) quote = 0;
      } else if ((html[i] == '"' || html[i] == '\'') && html[i - 1] == '=') {
        quote = html[i];
      }
    }
    if (i == html.size()) return begin;
  }
  return std::string_view::npos;
}

// RFC 8621, 4.1.4: "any CRLF replaced with a single LF". NULs go too: they are in no text.
void normalise_line_ends(std::string& text) {
  std::size_t to = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\0' || (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n')) continue;
    text[to++] = text[i];
  }
  text.resize(to);
}

// UTF-8 in name only: there are octets that are none, and no character that is.
bool is_lying_utf8(const Utf8Text& decoded, std::string_view charset) {
  if (!decoded.malformed || !(iequals_ascii(charset, "utf-8") || iequals_ascii(charset, "utf8")))
    return false;
  constexpr std::string_view replacement = "\xEF\xBF\xBD";
  for (std::size_t i = 0; i < decoded.text.size();) {
    if (static_cast<unsigned char>(decoded.text[i]) < 0x80) {
      ++i;
    } else if (std::string_view(decoded.text).substr(i, 3) == replacement) {
      i += 3;
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

std::string_view truncate_text(std::string_view text, std::size_t bytes_max, bool html) {
  if (text.size() <= bytes_max) return text;
  text = utf8_prefix(text, bytes_max);
  if (!html) return text;
  return text.substr(0, open_tag(text));
}

TextDecoder::TextDecoder(TextDecodeOptions options)
    : options_(std::move(options)),
      value_bytes_max_(body_value_bytes_max),
      decoded_bytes_max_(body_value_bytes_max),
      transfer_(transfer_encoding(options_.encoding).encoding),
      encoding_known_(transfer_encoding(options_.encoding).known) {
  if (options_.value_bytes_max > 0 && options_.value_bytes_max < body_value_bytes_max)
    value_bytes_max_ = static_cast<std::size_t>(options_.value_bytes_max);
  // One octet of UTF-8 comes from up to four (UTF-32); escape sequences and CRs come on top. What lies beyond
  // can't change the value, unless the whole would be larger than any value may be.
  decoded_bytes_max_ = std::min(value_bytes_max_ * 4, body_value_bytes_max) + 4'096;
}

void TextDecoder::feed(std::string_view piece) {
  while (!piece.empty() && !full_) {
    const std::string_view portion = piece.substr(0, std::min(piece.size(), portion_bytes));
    piece.remove_prefix(portion.size());
    transfer_.feed(portion, decoded_);
    if (decoded_.size() > decoded_bytes_max_) {
      decoded_.resize(decoded_bytes_max_);
      full_ = true;
    }
  }
}

EmailBodyValue TextDecoder::finish(bool cut) {
  if (!full_ && !cut) transfer_.finish(decoded_);
  cut = cut || full_;
  EmailBodyValue out;
  if (!cut) out.part_size = decoded_.size();
  Utf8Text text = to_utf8(decoded_, options_.charset, cut);
  if (is_lying_utf8(text, options_.charset)) text.text = to_utf8(decoded_, "windows-1252").text;
  std::string().swap(decoded_);
  out.is_encoding_problem = text.malformed || !text.charset_known || !encoding_known_ || transfer_.damaged();
  out.value = std::move(text.text);
  normalise_line_ends(out.value);
  if (cut && out.value.ends_with('\r')) out.value.pop_back();
  const std::size_t size = truncate_text(out.value, value_bytes_max_, options_.html).size();
  out.is_truncated = cut || size < out.value.size();
  out.value.resize(size);
  return out;
}

EmailBodyValue decode_text(std::string_view bytes, TextDecodeOptions options, bool cut) {
  TextDecoder decoder(std::move(options));
  decoder.feed(bytes);
  return decoder.finish(cut);
}

}  // namespace postern::mail
