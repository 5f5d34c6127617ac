// What of a text is its author's own, and what of HTML is to be seen: a reader of tags that skips and never builds a
// tree. Linear in the input, of which preview_input_bytes_max is looked at.
#include "postern/mail/mime/preview.hpp"

#include <algorithm>
#include <cstdint>

#include "mail/mime/characters.hpp"
#include "mail/mime/html_entities.hpp"
#include "postern/base/encoding.hpp"
#include "postern/mail/mime/charset.hpp"
#include "postern/mail/mime/limits.hpp"
#include "postern/mail/mime/text_decode.hpp"

namespace postern::mail {
namespace {

bool is_space(std::uint32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

// Control, formatting and padding characters: nothing to see, and used to fill or to turn preview lines around.
bool is_invisible(std::uint32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xAD || c == 0x34F || c == 0x61C || c == 0x180E ||
         c == 0x200B || c == 0x200E || c == 0x200F || (c >= 0x202A && c <= 0x202E) ||
         (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF || c == 0xFFFC;
}

void append_utf8(std::uint32_t c, std::string& out) {
  if (c < 0x80) {
    out += static_cast<char>(c);
    return;
  }
  if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
  }
  out += static_cast<char>(0x80 | (c & 0x3F));
}

// The character at `i` of valid UTF-8; moves `i` behind it.
std::uint32_t next_character(std::string_view s, std::size_t& i) {
  const auto lead = static_cast<unsigned char>(s[i++]);
  if (lead < 0x80) return lead;
  const int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
  std::uint32_t c = lead & (0x3FU >> more);
  for (int k = 0; k < more && i < s.size(); ++k) c = c << 6 | (static_cast<unsigned char>(s[i++]) & 0x3FU);
  return c;
}

// Collects what is to be seen, with single spaces, until it is long enough.
class Collector {
 public:
  explicit Collector(std::size_t units_max = preview_characters_max) : units_max_(units_max) {}
  bool full() const { return full_; }
  bool empty() const { return out_.empty(); }
  std::string take() { return std::move(out_); }

  void add(std::uint32_t c) {
    if (full_) return;
    if (is_space(c)) {
      space_ = true;
      return;
    }
    // Joiners belong between letters; beside white space they are padding.
    const bool joiner = c == 0x200C || c == 0x200D;
    if (is_invisible(c) || (joiner && (space_ || out_.empty()))) return;
    const bool needs_space = space_ && !out_.empty();
    const std::size_t units = (needs_space ? 1 : 0) + (c >= 0x10000 ? 2 : 1);
    if (units_ + units > units_max_) {
      full_ = true;
      return;
    }
    if (needs_space) out_ += ' ';
    space_ = false;
    append_utf8(c, out_);
    units_ += units;
  }

  void add_text(std::string_view text) {
    for (std::size_t i = 0; i < text.size() && !full_;) add(next_character(text, i));
  }

 private:
  std::string out_;
  std::size_t units_max_, units_ = 0;  // UTF-16 code units
  bool space_ = false;
  bool full_ = false;
};

// --- Plain text ---

std::string_view next_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return trim_ascii(line);
}

std::string_view first_line_with_text(std::string_view text) {
  while (!text.empty()) {
    const std::string_view line = next_line(text);
    if (!line.empty()) return line;
  }
  return {};
}

// "On Monday, Joe wrote:", perhaps on two lines, in front of quoted lines.
bool is_attribution(std::string_view line, std::string_view rest) {
  if (line.ends_with(':')) return first_line_with_text(rest).starts_with('>');
  if (rest.empty() || line.size() < 10 || line.ends_with('.')) return false;
  std::string_view next = next_line(rest);
  return next.ends_with(':') && first_line_with_text(rest).starts_with('>');
}

bool is_ruler(std::string_view line) {
  return line.size() >= 3 && line.find_first_not_of("-=_*~#+ ") == std::string_view::npos;
}

bool ends_own_text(std::string_view line) {
  if (!line.starts_with("-----")) return false;
  const std::string lower = ascii_lower(line.substr(0, 80));
  return lower.find("original message") != std::string_view::npos ||
         lower.find("forwarded message") != std::string_view::npos ||
         lower.find("ursprüngliche nachricht") != std::string_view::npos ||
         lower.find("message d'origine") != std::string_view::npos;
}

std::string own_lines(std::string_view text) {
  Collector out;
  while (!text.empty() && !out.full()) {
    const std::string_view line = next_line(text);
    // Looking for attributions looks ahead; a few lines are as far as they are.
    const std::string_view ahead = utf8_prefix(text, 400);
    if (line.empty() || line.starts_with('>') || is_ruler(line)) continue;
    if (line == "--") break;  // signature (RFC 3676, 4.3)
    if (line.starts_with("-----BEGIN PGP")) {
      while (!text.empty() && !next_line(text).empty()) {
      }
      continue;
    }
    if (ends_own_text(line) && !out.empty()) break;
    if (is_attribution(line, ahead)) {
      if (!line.ends_with(':')) next_line(text);
      continue;
    }
    out.add_text(line);
    out.add(' ');
  }
  return out.take();
}

std::string all_lines(std::string_view text) {
  Collector out;
  while (!text.empty() && !out.full()) {
    std::string_view line = next_line(text);
    while (line.starts_with('>') || line.starts_with(' ')) line.remove_prefix(1);
    if (is_ruler(line)) continue;
    out.add_text(line);
    out.add(' ');
  }
  return out.take();
}

// --- HTML ---

bool is_inline_element(std::string_view name) {
  constexpr std::string_view names[] = {"a",   "abbr", "b",  "big",   "code", "em",     "font",
                                        "i",   "mark", "s",  "small", "span", "strike", "strong",
                                        "sub", "sup",  "tt", "u",     "wbr",  "o:p"};
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

bool has_hidden_content(std::string_view name) {
  constexpr std::string_view names[] = {"script", "style", "title", "template", "noframes", "textarea"};
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

class HtmlReader {
 public:
  HtmlReader(std::string_view html, bool with_quotes, std::size_t units_max = preview_characters_max)
      : html_(html), with_quotes_(with_quotes), out_(units_max) {}

  std::string read() {
    while (pos_ < html_.size() && !out_.full() && !done_) {
      const char c = html_[pos_];
      if (c == '<') {
        markup();
      } else if (c == '&') {
        reference();
      } else {
        add(next_character(html_, pos_));
      }
    }
    return out_.take();
  }

 private:
  void add(std::uint32_t c) {
    if (quote_depth_ == 0 || with_quotes_) out_.add(c);
  }

  void reference() {
    const HtmlReference reference = parse_html_reference(html_.substr(pos_, 16));
    add(reference.code_point == 0 ? '&' : reference.code_point);
    pos_ += std::max<std::size_t>(reference.length, 1);
  }

  void markup() {
    const std::string_view rest = html_.substr(pos_ + 1);
    if (rest.starts_with("!--")) {
      const std::size_t end = html_.find("-->", pos_ + 3);
      pos_ = end == std::string_view::npos ? html_.size() : end + 3;
    } else if (rest.empty()) {
      pos_ = html_.size();
    } else if (is_alpha(rest.front()) || (rest.front() == '/' && rest.size() > 1 && is_alpha(rest[1]))) {
      tag();
    } else if (rest.front() == '!' || rest.front() == '?' || rest.front() == '/') {
      const std::size_t end = html_.find('>', pos_);
      pos_ = end == std::string_view::npos ? html_.size() : end + 1;
    } else {
      add('<');
      ++pos_;
    }
  }

  void tag() {
    const std::size_t end = tag_end();
    const std::string_view tag = html_.substr(pos_ + 1, end - pos_ - 1);
    pos_ = std::min(end + 1, html_.size());
    const bool closing = tag.starts_with('/');
    const std::size_t name_begin = closing ? 1 : 0;
    const std::size_t name_end = std::min(tag.find_first_of(" \t\r\n/", name_begin), tag.size());
    const std::string name =
        ascii_lower(tag.substr(name_begin, std::min<std::size_t>(name_end - name_begin, 16)));
    if (!closing && has_hidden_content(name)) {
      skip_content(name);
      return;
    }
    if (name == "blockquote") {
      if (!closing) {
        ++quote_depth_;
      } else if (quote_depth_ > 0) {
        --quote_depth_;
      }
    }
    if (!closing && !with_quotes_ && !out_.empty() && begins_quoted_message(tag)) done_ = true;
    if (!is_inline_element(name)) add(' ');
  }

  // What mail programs put around the message that is answered or forwarded.
  static bool begins_quoted_message(std::string_view tag) {
    for (const std::string_view mark : {"gmail_quote", "divRplyFwdMsg", "moz-cite-prefix", "yahoo_quoted"})
      if (tag.find(mark) != std::string_view::npos) return true;
    return false;
  }

  // The position of the ">"; the end if there is none.
  std::size_t tag_end() {
    char quote = 0;
    for (std::size_t i = pos_ + 1; i < html_.size() && !quotes_are_text_; ++i) {
      const char c = html_[i];
      if (quote != 0) {
        if (c == quote) quote = 0;
      } else if (c == '>') {
        return i;
      } else if ((c == '"' || c == '\'') && html_[i - 1] == '=') {
        quote = c;
      }
    }
    quotes_are_text_ = true;  // one doesn't close: from here on, a ">" is a tag's end wherever it stands
    return std::min(html_.find('>', pos_), html_.size());
  }

  void skip_content(std::string_view name) {
    while (pos_ < html_.size()) {
      const std::size_t open = html_.find("</", pos_);
      if (open == std::string_view::npos) {
        pos_ = html_.size();
        return;
      }
      pos_ = open + 2;
      if (!iequals_ascii(html_.substr(pos_, name.size()), name)) continue;
      pos_ = std::min(html_.find('>', pos_), html_.size() - 1) + 1;
      return;
    }
  }

  std::string_view html_;
  bool with_quotes_;
  std::size_t pos_ = 0;
  std::size_t quote_depth_ = 0;
  bool quotes_are_text_ = false;
  bool done_ = false;
  Collector out_;
};

// Within the bound, and valid UTF-8 whoever calls.
std::string bounded(std::string_view text) {
  return sanitize_utf8(utf8_prefix(text, preview_input_bytes_max));
}

}  // namespace

std::string preview_of_text(std::string_view text) {
  const std::string input = bounded(text);
  std::string preview = own_lines(input);
  return preview.empty() ? all_lines(input) : preview;
}

std::string preview_of_html(std::string_view html) {
  const std::string input = bounded(html);
  std::string preview = HtmlReader(input, false).read();
  return preview.empty() ? HtmlReader(input, true).read() : preview;
}

std::string text_of_html(std::string_view html, std::size_t characters_max) {
  const std::string input = bounded(html);
  return HtmlReader(input, true, characters_max).read();
}

const EmailBodyPart* preview_part(const BodyLists& lists) {
  for (const auto* part : lists.text_body)
    if (part->type == "text/plain") return part;
  for (const auto* list : {&lists.html_body, &lists.text_body})
    for (const auto* part : *list)
      if (part->is_html()) return part;
  return nullptr;
}

std::string make_preview(const EmailBodyPart& part, std::string_view bytes) {
  TextDecodeOptions options;
  options.encoding = part.encoding;
  options.charset = part.charset.value_or("");
  options.html = part.is_html();
  options.value_bytes_max = preview_input_bytes_max;
  const EmailBodyValue text = decode_text(bytes, std::move(options), bytes.size() < part.encoded_size);
  return part.is_html() ? preview_of_html(text.value) : preview_of_text(text.value);
}

}  // namespace postern::mail
