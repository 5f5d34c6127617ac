// Texts are folded to code points that know where in the text they came from; terms are looked for among these.
#include "postern/mail/mime/snippet.hpp"

#include <glib.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

namespace postern::mail {
namespace {

constexpr std::string_view mark_begin = "<mark>", mark_end = "</mark>", ellipsis = "\u2026";
constexpr std::size_t excerpt_bytes = 160;         // of text in which an excerpt's terms are counted
constexpr std::size_t prefix_characters_max = 60;  // of a word that is marked for its beginning

struct Character {
  char32_t code = 0;
  std::size_t size = 1;  // octets
};

Character character_at(std::string_view text, std::size_t i) {
  const auto lead = static_cast<unsigned char>(text[i]);
  if (lead < 0x80) return {lead, 1};
  const std::size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  char32_t code = lead & (0x7FU >> size);
  for (std::size_t k = 1; k < size && i + k < text.size(); ++k)
    code = code << 6 | (static_cast<unsigned char>(text[i + k]) & 0x3FU);
  return {code, std::min(size, text.size() - i)};
}

bool is_space(char32_t c) {
  return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x80 && g_unichar_isspace(c) != 0) || c == 0xA0;
}

bool is_word(char32_t c) {
  if (c < 0x80) return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return g_unichar_isalnum(c) != 0;
}

// Accents, joiners, soft hyphens: not there as far as searching goes.
bool is_ignored(char32_t c) {
  if (c < 0xAD) return c < 0x20 || c == 0x7F;
  switch (g_unichar_type(c)) {
    case G_UNICODE_NON_SPACING_MARK:
    case G_UNICODE_ENCLOSING_MARK:
    case G_UNICODE_FORMAT: return true;
    default: return false;
  }
}

// The text's letters as they are compared, each with the octet at which what it was made from begins.
struct Folded {
  std::u32string letters;
  std::vector<std::uint32_t> origins;

  void add(char32_t letter, std::size_t origin) {
    letters += letter;
    origins.push_back(static_cast<std::uint32_t>(origin));
  }

  void add_character(char32_t c, std::size_t origin) {
    if (c < 0x80) {
      if (!is_ignored(c)) add(c >= 'A' && c <= 'Z' ? c + 32 : c, origin);
      return;
    }
    std::array<gunichar, 18> parts{};  // G_UNICHAR_MAX_DECOMPOSITION_LENGTH
    const auto count = g_unichar_fully_decompose(c, TRUE, parts.data(), parts.size());
    for (std::size_t i = 0; i < std::min<std::size_t>(count, parts.size()); ++i) {
      const char32_t lower = g_unichar_tolower(parts[i]);
      if (is_ignored(lower)) continue;
      switch (
          lower) {  // what folds to something that isn't its lower case (CaseFolding.txt), and the dotless i
        case 0xDF:
          add('s', origin);
          add('s', origin);
          break;
        case 0x3C2: add(0x3C3, origin); break;
        case 0x131: add('i', origin); break;
        default: add(lower, origin); break;
      }
    }
  }
};

Folded fold(std::string_view text) {
  Folded folded;
  folded.letters.reserve(text.size());
  folded.origins.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const auto [code, size] = character_at(text, i);
    if (!is_space(code))
      folded.add_character(code, i);
    else if (!folded.letters.empty() && folded.letters.back() != ' ')
      folded.add(' ', i);
    i += size;
  }
  return folded;
}

// The octet behind the letter at `last` and all that was made from the same character.
std::size_t end_of(const Folded& folded, std::size_t last, std::size_t text_size) {
  const auto origin = folded.origins[last];
  auto next = last + 1;
  while (next < folded.origins.size() && folded.origins[next] == origin) ++next;
  return next < folded.origins.size() ? folded.origins[next] : text_size;
}

void find_term(const Folded& folded, const SnippetTerms::Term& term, std::size_t number,
               std::size_t text_size, std::vector<SnippetMatch>& matches) {
  const auto& letters = folded.letters;
  for (auto at = letters.find(term.text);
       at != std::u32string::npos && matches.size() < snippet_matches_max;) {
    auto last = at + term.text.size() - 1;
    const bool begins_word = at == 0 || !is_word(letters[at - 1]) || !is_word(letters[at]);
    if (term.prefix)
      for (std::size_t n = 0;
           n < prefix_characters_max && last + 1 < letters.size() && is_word(letters[last + 1]); ++n)
        ++last;
    if (!term.prefix || begins_word)
      matches.push_back({folded.origins[at], end_of(folded, last, text_size), number});
    at = letters.find(term.text, at + term.text.size());
  }
}

std::string_view escaped(std::string_view character) {
  switch (character.front()) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    default: return character;
  }
}

// What is marked, without overlaps.
std::vector<std::pair<std::size_t, std::size_t>> ranges_of(const std::vector<SnippetMatch>& matches) {
  std::vector<std::pair<std::size_t, std::size_t>> ranges;
  for (const auto& match : matches) {
    if (!ranges.empty() && match.begin < ranges.back().second)
      ranges.back().second = std::max(ranges.back().second, match.end);
    else
      ranges.emplace_back(match.begin, match.end);
  }
  return ranges;
}

// Where the excerpt's first match begins: in front of the most different terms, the earliest such place.
std::size_t best_place(const std::vector<SnippetMatch>& matches, std::size_t terms) {
  std::size_t best = matches.front().begin, most = 0;
  for (std::size_t i = 0; i < matches.size() && most < terms; ++i) {
    std::vector<bool> seen(terms);
    std::size_t count = 0;
    for (auto k = i; k < matches.size() && matches[k].begin < matches[i].begin + excerpt_bytes; ++k) {
      if (seen[matches[k].term]) continue;
      seen[matches[k].term] = true;
      ++count;
    }
    if (count > most) {
      most = count;
      best = matches[i].begin;
    }
  }
  return best;
}

// Some words in front of `place`, in `bytes_max` octets of output at most.
std::size_t excerpt_begin(std::string_view text, std::size_t place, std::size_t bytes_max) {
  auto begin = place;
  for (std::size_t bytes = 0; begin > 0;) {
    auto before = begin - 1;
    while (before > 0 && (static_cast<unsigned char>(text[before]) & 0xC0U) == 0x80) --before;
    const auto character = text.substr(before, begin - before);
    bytes += escaped(character).size();
    if (bytes > bytes_max) break;
    begin = before;
  }
  if (begin == 0) return 0;
  for (auto i = begin; i < place; ++i)
    if (text[i] == ' ' || text[i] == '\n') return i + 1;
  return begin;
}

// An excerpt while it is being written: never over its bound, whatever has to be closed at the end.
class Excerpt {
 public:
  explicit Excerpt(std::size_t bytes_max) : bytes_max_(bytes_max - ellipsis.size()) {}

  void begin_cut() { out_ += ellipsis; }
  // False: no room for it.
  bool add(std::string_view character, bool marked) {
    const auto piece = escaped(character);
    const std::size_t opening = marked && !in_mark_ ? mark_begin.size() : 0;
    const std::size_t closing = marked ? mark_end.size() : 0;
    if (!marked) close();
    if (out_.size() + opening + piece.size() + closing > bytes_max_) return false;
    if (opening > 0) out_ += mark_begin;
    in_mark_ = marked;
    out_ += piece;
    return true;
  }
  bool add_space(bool marked) {
    if (!marked) close();
    if (!in_mark_) word_end_ = out_.size();
    return add(" ", marked && in_mark_);
  }
  void end_cut() {
    close();
    // Not in the middle of a word, unless it is one that is marked or has no end.
    if (word_end_ > last_mark_end_ && word_end_ + 40 > out_.size()) out_.resize(word_end_);
    out_ += ellipsis;
  }
  std::string finish() {
    close();
    while (out_.ends_with(' ')) out_.pop_back();
    return std::move(out_);
  }

 private:
  void close() {
    if (!in_mark_) return;
    out_ += mark_end;
    in_mark_ = false;
    last_mark_end_ = out_.size();
  }
  std::string out_;
  std::size_t bytes_max_, word_end_ = 0, last_mark_end_ = 0;
  bool in_mark_ = false;
};

}  // namespace

SnippetTerms::SnippetTerms(const std::vector<SearchTerm>& terms) {
  for (const auto& term : terms) {
    auto letters = fold(term.text).letters;
    while (!letters.empty() && letters.back() == ' ') letters.pop_back();
    if (!letters.empty()) terms_.push_back({std::move(letters), term.prefix});
  }
}

std::vector<SnippetMatch> find_terms(std::string_view text, const SnippetTerms& terms) {
  std::vector<SnippetMatch> matches;
  if (terms.empty() || text.empty()) return matches;
  const auto folded = fold(text);
  for (std::size_t i = 0; i < terms.all().size(); ++i) {
    std::vector<SnippetMatch> of_term;
    find_term(folded, terms.all()[i], i, text.size(), of_term);
    matches.insert(matches.end(), of_term.begin(), of_term.end());
  }
  std::sort(matches.begin(), matches.end(), [](const SnippetMatch& a, const SnippetMatch& b) {
    return std::pair(a.begin, a.term) < std::pair(b.begin, b.term);
  });
  if (matches.size() > snippet_matches_max) matches.resize(snippet_matches_max);
  return matches;
}

std::optional<std::string> mark_text(std::string_view text, const SnippetTerms& terms) {
  const auto ranges = ranges_of(find_terms(text, terms));
  if (ranges.empty()) return std::nullopt;
  std::string out;
  out.reserve(text.size() + ranges.size() * (mark_begin.size() + mark_end.size()));
  auto range = ranges.begin();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (range != ranges.end() && i == range->first) out += mark_begin;
    out += escaped(text.substr(i, 1));
    if (range != ranges.end() && i + 1 == range->second) {
      out += mark_end;
      ++range;
    }
  }
  return out;
}

std::optional<std::string> mark_excerpt(std::string_view text, const SnippetTerms& terms,
                                        std::size_t bytes_max) {
  const auto matches = find_terms(text, terms);
  if (matches.empty()) return std::nullopt;
  const auto ranges = ranges_of(matches);
  bytes_max = std::max<std::size_t>(bytes_max, 64);
  const auto begin = excerpt_begin(text, best_place(matches, terms.all().size()), bytes_max / 4);
  Excerpt out(bytes_max);
  if (begin > 0) out.begin_cut();
  auto range = ranges.begin();
  bool space = false, any = false;
  for (auto i = begin; i < text.size();) {
    const auto [code, size] = character_at(text, i);
    while (range != ranges.end() && range->second <= i) ++range;
    const bool marked = range != ranges.end() && i >= range->first;
    const bool inside = marked && i > range->first;
    if (is_space(code)) {
      space = any;
    } else if (code >= 0x20 && code != 0x7F) {
      if ((space && !out.add_space(inside)) || !out.add(text.substr(i, size), marked)) {
        out.end_cut();
        break;
      }
      space = false;
      any = true;
    }
    i += size;
  }
  return out.finish();
}

}  // namespace postern::mail
