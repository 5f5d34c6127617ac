// Search terms marked in texts: SearchSnippet (RFC 8621, 5).
//
// Free functions over values: any thread. Letters compare without regard to case and accents, as the searches of
// servers mostly do; white space of any length is one space. Output is HTML: &, < and > as entities, <mark> around
// what matched.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "postern/mail/mime/search_text.hpp"

namespace postern::mail {

// RFC 8621, 5: a preview "MUST NOT be bigger than 255 octets in size".
inline constexpr std::size_t snippet_preview_bytes_max = 255;
// Matches in one text that are looked at; further ones are not marked.
inline constexpr std::size_t snippet_matches_max = 500;

// Terms with their letters folded, to be looked for in many texts.
class SnippetTerms {
 public:
  SnippetTerms() = default;
  explicit SnippetTerms(const std::vector<SearchTerm>& terms);
  bool empty() const { return terms_.empty(); }

  struct Term {
    std::u32string text;
    bool prefix = false;
  };
  const std::vector<Term>& all() const { return terms_; }

 private:
  std::vector<Term> terms_;
};

// Octets of a text that a term matches: a word or a part of one, a phrase, or, for a prefix, the whole word.
struct SnippetMatch {
  std::size_t begin = 0, end = 0;
  std::size_t term = 0;
};
// Ascending by `begin`; none is empty, each begins and ends between characters. `text` is valid UTF-8.
std::vector<SnippetMatch> find_terms(std::string_view text, const SnippetTerms& terms);

// The whole text; nullopt if no term is in it.
std::optional<std::string> mark_text(std::string_view text, const SnippetTerms& terms);

// The part of the text that has the most of the terms, with white space collapsed and an ellipsis where it was cut, in
// `bytes_max` octets (at least 64) at most; nullopt if no term is in it.
std::optional<std::string> mark_excerpt(std::string_view text, const SnippetTerms& terms,
                                        std::size_t bytes_max = snippet_preview_bytes_max);

}  // namespace postern::mail
