// Content-Transfer-Encoding, decoded while it streams (RFC 2045, 6; x-uuencode).
//
// A TransferDecoder belongs to one body and one thread at a time. It may be fed pieces cut anywhere; it holds
// less than 1.2 KB and writes at most what it is fed plus that. It never fails: what isn't well-formed is
// decoded as well as can be, and damaged() says so afterwards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace postern::mail {

enum class TransferEncoding : std::uint8_t { identity, base64, quoted_printable, uuencode };

struct NamedTransferEncoding {
  TransferEncoding encoding = TransferEncoding::identity;
  bool known = true;  // false: RFC 8621, 4.1.4: "treated as though it had no transfer encoding"
};
// By the name in the message, in any case; an empty one is 7bit.
NamedTransferEncoding transfer_encoding(std::string_view name);

class TransferDecoder {
 public:
  explicit TransferDecoder(TransferEncoding encoding) : encoding_(encoding) {}

  // Appends what the piece decodes to.
  void feed(std::string_view piece, std::string& out);
  // Appends what was held back. Nothing may be fed after it.
  void finish(std::string& out);
  bool damaged() const { return damaged_; }

 private:
  enum class QpState : std::uint8_t { text, equals, equals_hex, equals_space, equals_cr };
  enum class UuState : std::uint8_t { before, body, after };

  void feed_base64(std::string_view piece, std::string& out);
  void flush_base64(std::string& out);
  void feed_quoted_printable(std::string_view piece, std::string& out);
  void quoted_printable_octet(char c, std::string& out);
  void quoted_printable_text(char c, std::string& out);
  void feed_uuencode(std::string_view piece, std::string& out);
  void uuencode_line(std::string& out);

  // White space that may turn out to be padding at a line's end; a longer run is written out as text.
  static constexpr std::size_t held_space_max = 1'000;
  static constexpr std::size_t uuencode_line_max = 128;

  TransferEncoding encoding_;
  bool damaged_ = false;
  std::uint32_t quantum_ = 0;      // base64: bits so far
  std::uint8_t quantum_size_ = 0;  // base64: characters in them
  bool padded_ = false;            // base64: inside padding
  QpState qp_ = QpState::text;
  char hex_ = 0;
  UuState uu_ = UuState::before;
  bool line_too_long_ = false;
  std::string held_;  // quoted-printable: white space; uuencode: the line so far
};

}  // namespace postern::mail
