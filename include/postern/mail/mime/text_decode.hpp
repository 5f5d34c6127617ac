// A text part's content as JMAP shows it in bodyValues (RFC 8621, 4.1.4: EmailBodyValue).
//
// A TextDecoder belongs to one body value and one thread at a time. It is fed the part as transferred, in pieces
// cut anywhere, and holds at most about four times what it may give out (body_value_bytes_max in any case).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "postern/mail/mime/transfer_decode.hpp"

namespace postern::mail {

struct EmailBodyValue {
  std::string value;  // valid UTF-8, with LF for CRLF, without NUL
  bool is_encoding_problem = false;
  bool is_truncated = false;
  // Octets after transfer decoding (EmailBodyPart::size), where the whole part was decoded.
  std::optional<std::uint64_t> part_size = {};
};

struct TextDecodeOptions {
  std::string encoding;               // Content-Transfer-Encoding; empty: 7bit
  std::string charset;                // label; empty: guess
  bool html = false;                  // text/html: not cut inside a tag
  std::uint64_t value_bytes_max = 0;  // maxBodyValueBytes: octets of the value; 0: body_value_bytes_max
};

class TextDecoder {
 public:
  explicit TextDecoder(TextDecodeOptions options);

  // True while more input can change the value; feeding on is harmless then too.
  bool wants_more() const { return !full_; }
  void feed(std::string_view piece);
  // `cut`: the part goes on behind what was fed.
  EmailBodyValue finish(bool cut = false);

 private:
  TextDecodeOptions options_;
  std::size_t value_bytes_max_;
  std::size_t decoded_bytes_max_;
  TransferDecoder transfer_;
  bool encoding_known_;
  bool full_ = false;
  std::string decoded_;
};

EmailBodyValue decode_text(std::string_view bytes, TextDecodeOptions options, bool cut = false);

// The longest prefix of at most `bytes_max` octets that ends in no UTF-8 sequence and, for HTML, in no tag.
std::string_view truncate_text(std::string_view text, std::size_t bytes_max, bool html);

}  // namespace postern::mail
