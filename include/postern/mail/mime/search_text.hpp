// What people type into a search field, taken apart (RFC 8621, 4.4.1).
//
// Free functions: any thread. Input is bounded by who calls (filter_text_bytes_max); time is linear in it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::mail {

// Terms of one text; more than that is no search of a person's.
inline constexpr std::size_t search_terms_max = 100;

// One word or phrase; all of them must be there for a message to match.
struct SearchTerm {
  std::string text;     // valid UTF-8 in Normalization Form C; in a phrase, white space is single spaces
  bool phrase = false;  // stood in quotes: these words, in this order
  bool prefix = false;  // ended with "*": the beginning of a word
  friend bool operator==(const SearchTerm&, const SearchTerm&) = default;
};

// White space divides words. What stands in matched quotes (" anywhere, ' around whole words; typographic ones
// count as ") is a phrase, in which a backslash takes the meaning of a quote or of a backslash away. A quote that
// nothing matches is a word's character (') or ignored ("). "*" at a word's end makes it a prefix; a word of nothing
// else is left out, and so is one that came before. nullopt: more than search_terms_max.
std::optional<std::vector<SearchTerm>> parse_search_text(std::string_view text);

}  // namespace postern::mail
