// Previews of HTML and of plain text: valid UTF-8, short, on one line, without control characters.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "postern/base/encoding.hpp"
#include "postern/mail/mime/limits.hpp"
#include "postern/mail/mime/preview.hpp"

using namespace postern;
using namespace postern::mail;

namespace {

void check(const std::string& preview) {
  std::size_t units = 0;
  for (const char c : preview) {
    const auto octet = static_cast<unsigned char>(c);
    if (octet < 0x20 || octet == 0x7F) std::abort();
    units += (octet & 0xC0) == 0x80 ? 0 : octet >= 0xF0 ? 2 : 1;
  }
  if (units > preview_characters_max || !is_valid_utf8(preview)) std::abort();
  if (preview.starts_with(' ') || preview.ends_with(' ')) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(bytes), size);
  check(preview_of_html(input));
  check(preview_of_text(input));
  return 0;
}
