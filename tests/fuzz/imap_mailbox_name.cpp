// Modified UTF-7: what is written is printable US-ASCII and is read back; reading takes anything.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "postern/imap/command.hpp"

namespace postern::imap {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string encoded = encode_mailbox_utf7(text);
  bool control = false;
  for (const char c : encoded) {
    if (c < 0x20 || c > 0x7e) std::abort();
  }
  for (const char c : text) control = control || (c >= 0 && c < 0x20) || c == 0x7f;
  // A name with control characters is written, but nobody's is read; and ill-formed UTF-8 is replaced, once.
  const std::string decoded = decode_mailbox_utf7(encoded);
  if (!control && encode_mailbox_utf7(decoded) != encoded) std::abort();
  decode_mailbox_utf7(text);
  return 0;
}

}  // namespace postern::imap
