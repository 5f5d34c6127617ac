// Search text as people type it: valid terms, no more than there may be, and the same ones when they are written down
// as phrases and read again.
#include <algorithm>
#include <cstdint>
#include <string>

#include "postern/base/encoding.hpp"
#include "postern/mail/mime/search_text.hpp"
#include "require.hpp"

using namespace postern;
using namespace postern::mail;

namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\" ";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const auto terms = parse_search_text({reinterpret_cast<const char*>(bytes), size});
  if (!terms) return 0;
  require(terms->size() <= search_terms_max);
  std::string written;
  for (const auto& term : *terms) {
    require(!term.text.empty() && is_valid_utf8(term.text));
    require(!(term.phrase && term.prefix));
    require(term.phrase || term.text.find(' ') == std::string::npos);
    require(std::count(terms->begin(), terms->end(), term) == 1);
    written += quoted(term.text);
  }
  const auto again = parse_search_text(written);
  require(again.has_value());
  for (const auto& term : *terms)
    require(std::any_of(again->begin(), again->end(),
                        [&](const SearchTerm& other) { return other.phrase && other.text == term.text; }));
  return 0;
}
