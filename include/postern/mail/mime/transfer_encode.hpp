// Content-Transfer-Encoding of what is sent (RFC 2045, 6): which one fits, how large it gets, and the octets.
//
// A ContentScan and a TransferEncoder belong to one content and one thread at a time. They are fed pieces cut
// anywhere and hold a few octets, so that a large attachment is never in memory as a whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace postern::mail {

// What a content is like, as far as its transfer encoding depends on it.
struct ContentTraits {
  std::uint64_t octets = 0;
  std::uint64_t bare_line_ends = 0;  // CR without LF and LF without CR
  std::uint64_t longest_line = 0;    // octets, without line ends
  bool eight_bit = false;
  bool nul = false;

  // RFC 5322, 2.1.1 and RFC 2045, 2.7 and 2.8: true if it may stand in a message as it is, but for bare line ends.
  bool fits_lines() const;
  std::uint64_t crlf_octets() const { return octets + bare_line_ends; }  // with CRLF for every line end
};

class ContentScan {
 public:
  void feed(std::string_view piece);
  ContentTraits finish();

 private:
  ContentTraits traits_;
  std::uint64_t line_ = 0;
  bool after_cr_ = false;
};

// crlf: as it is, with CRLF for every line end. base64: in lines of 76, without a line end behind the last.
enum class WrittenEncoding : std::uint8_t { crlf, base64 };

// Octets of base64 for that many, with its line ends.
std::uint64_t base64_size(std::uint64_t octets);

class TransferEncoder {
 public:
  explicit TransferEncoder(WrittenEncoding encoding) : encoding_(encoding) {}

  // Appends what the piece encodes to.
  void feed(std::string_view piece, std::string& out);
  // Appends what was held back. Nothing may be fed after it.
  void finish(std::string& out);

 private:
  void feed_base64(std::string_view piece, std::string& out);
  void feed_crlf(std::string_view piece, std::string& out);
  void quantum(std::string& out);

  WrittenEncoding encoding_;
  unsigned char held_[3] = {};  // base64: octets that are no quantum yet
  std::size_t held_size_ = 0;
  std::size_t column_ = 0;  // base64
  bool after_cr_ = false;   // crlf
};

std::string base64_lines(std::string_view octets);
// RFC 2045, 6.7, of text with CRLF line ends. Lines that begin with "From " or are a single dot are encoded, since
// mailboxes and transports alter them.
std::string quoted_printable(std::string_view text);

// A text, whatever its line ends, encoded in the way that is smallest: 7bit if it can be, else quoted-printable or
// base64. What is no line end (a lone CR) stays what it is.
struct EncodedText {
  std::string_view encoding;  // "7bit", "quoted-printable", "base64"
  std::string octets;
};
EncodedText encode_text(std::string_view text);

}  // namespace postern::mail
