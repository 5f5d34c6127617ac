// A message on its way out: without Bcc, with CRLF line ends; and as DATA wants it (RFC 5321, 4.5.2).
//
// Plain objects that belong to one message; fed pieces cut anywhere, they hold a header field's name at most. Every
// line end, also a lone CR or LF, becomes CRLF before anything is looked at: what one server takes for the end of a
// line and the next doesn't could end a message within it (SMTP smuggling), or hide a Bcc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace postern::smtp {

// Takes Bcc and Resent-Bcc out of the header (RFC 8621, 7.5; RFC 5322, 3.6.3 and 3.6.6), with their continuations,
// and nothing else; what stands in the body stays.
class OutgoingMessage {
 public:
  // Appends what goes out.
  void feed(std::string_view piece, std::string& out);
  // The end of the message: appends what was held back, and the end of its last line.
  void finish(std::string& out);

  bool has_nul() const { return nul_; }              // which no SMTP server takes
  bool has_eight_bit() const { return eight_bit_; }  // SMTP wants 8BITMIME
  std::uint64_t size() const { return size_; }       // octets that went out

 private:
  enum class In : std::uint8_t { line_begin, name, kept_field, dropped_field, body };
  void octet(char c, std::string& out);
  void header_octet(char c, std::string& out);
  void line_end(std::string& out);
  void emit(std::string_view text, std::string& out);
  bool is_blind() const;

  In in_ = In::line_begin;
  bool field_dropped_ = false;  // the field that a continuation belongs to
  bool cr_ = false, nul_ = false, eight_bit_ = false, body_line_open_ = false;
  std::string name_;  // of a field, until it is known whether it goes out
  std::uint64_t size_ = 0;
};

// RFC 5321, 4.5.2: a dot at the beginning of a line is doubled. For content with CRLF line ends that ends with one.
class DotStuffing {
 public:
  void feed(std::string_view piece, std::string& out);

 private:
  bool line_begin_ = true;
};
inline constexpr std::string_view end_of_data = ".\r\n";

}  // namespace postern::smtp
