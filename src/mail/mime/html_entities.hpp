// Character references of HTML (https://html.spec.whatwg.org/#named-character-references), as far as mail has them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace postern::mail {

struct HtmlReference {
  std::uint32_t code_point = 0;  // 0: `s` begins with no reference, the "&" is text
  std::size_t length = 0;
};
// `s` begins with "&".
HtmlReference parse_html_reference(std::string_view s);

}  // namespace postern::mail
