// Marking in any text for any search: the input's first line is the search, the rest the text. What comes out is valid
// UTF-8 within its bound, with marks that open and close in turn and hold something, and no other markup.
#include <algorithm>
#include <cstdint>
#include <string>

#include "postern/base/encoding.hpp"
#include "postern/mail/mime/snippet.hpp"
#include "require.hpp"

using namespace postern;
using namespace postern::mail;

namespace {

void check(std::string_view html) {
  require(is_valid_utf8(html));
  std::size_t marks = 0;
  while (true) {
    const auto open = html.find('<');
    require(html.substr(0, open).find('>') == std::string_view::npos);
    if (open == std::string_view::npos) break;
    html.remove_prefix(open);
    require(html.starts_with("<mark>"));
    html.remove_prefix(6);
    const auto close = html.find('<');
    require(close != 0 && close != std::string_view::npos && html.substr(close).starts_with("</mark>"));
    html.remove_prefix(close + 7);
    ++marks;
  }
  require(marks > 0 && marks <= snippet_matches_max);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(bytes), size);
  const auto line = std::min(input.find('\n'), input.size());
  const auto parsed = parse_search_text(input.substr(0, line));
  if (!parsed) return 0;
  const SnippetTerms terms(*parsed);
  const auto text = sanitize_utf8(input.substr(std::min(line + 1, size)));
  const auto whole = mark_text(text, terms);
  if (whole) check(*whole);
  for (const std::size_t bytes_max : {64U, 100U, 255U}) {
    const auto excerpt = mark_excerpt(text, terms, bytes_max);
    require(excerpt.has_value() == whole.has_value());
    if (!excerpt) continue;
    require(excerpt->size() <= bytes_max);
    check(*excerpt);
  }
  return 0;
}
