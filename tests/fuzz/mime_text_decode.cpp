// Body values: transfer encoding, charset and limit from the first octets, the rest is the content. Fed whole and
// in pieces it gives the same, valid UTF-8 within the limit.
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>

#include "postern/base/encoding.hpp"
#include "postern/mail/mime/text_decode.hpp"
#include "require.hpp"

using namespace postern;
using namespace postern::mail;

namespace {

constexpr const char* encodings[] = {"7bit", "base64", "quoted-printable", "x-uuencode", "x-unknown"};
constexpr const char* charsets[] = {
    "",          "us-ascii",  "utf-8",  "iso-8859-1", "iso-2022-jp", "gb2312",     "utf-7",  "ks_c_5601-1987",
    "big5",      "shift_jis", "euc-jp", "utf-16",     "utf-32",      "hz-gb-2312", "koi8-r", "iso-2022-kr",
    "x-unknown", "utf-16le",  "euc-tw", "johab"};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size < 4) return 0;
  TextDecodeOptions options;
  options.encoding = encodings[bytes[0] % std::size(encodings)];
  options.charset = charsets[bytes[1] % std::size(charsets)];
  options.html = (bytes[2] & 1) != 0;
  const bool cut = (bytes[2] & 2) != 0;
  options.value_bytes_max = bytes[3];
  const std::string_view input(reinterpret_cast<const char*>(bytes) + 4, size - 4);

  const EmailBodyValue whole = decode_text(input, options, cut);
  require(is_valid_utf8(whole.value));
  require(whole.value.find('\0') == std::string::npos);
  require(options.value_bytes_max == 0 || whole.value.size() <= options.value_bytes_max);

  TextDecoder decoder(options);
  for (std::size_t i = 0; i < input.size();) {
    const std::size_t piece = 1 + (static_cast<unsigned char>(input[i]) + i) % 7;
    decoder.feed(input.substr(i, piece));
    i += piece;
  }
  const EmailBodyValue pieces = decoder.finish(cut);
  require(pieces.value == whole.value && pieces.is_truncated == whole.is_truncated);
  return 0;
}
