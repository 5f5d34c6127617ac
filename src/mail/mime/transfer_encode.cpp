// Transfer encodings, written. Output is at most three times the input, and a little, for quoted-printable.
#include "postern/mail/mime/transfer_encode.hpp"

#include <algorithm>

#include "postern/mail/mime/limits.hpp"

namespace postern::mail {
namespace {

constexpr std::size_t encoded_line_max = 76;  // RFC 2045, 6.7 and 6.8
constexpr std::string_view base64_digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view hex_digits = "0123456789ABCDEF";

// CRLF for each CRLF and each lone LF. A lone CR is no line end of any text in JSON: it stays.
std::string with_crlf(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 32);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r')) out += '\r';
    out += text[i];
  }
  return out;
}

// With CRLF line ends. "From " at a line's start is changed by mailboxes in mbox format.
bool is_seven_bit(std::string_view text) {
  std::size_t line = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\r' && i + 1 < text.size() && text[i + 1] == '\n') {
      ++i;
      line = 0;
      continue;
    }
    if (static_cast<unsigned char>(c) >= 0x80 || c == '\0' || c == '\r') return false;
    if (line == 0 && text.substr(i).starts_with("From ")) return false;
    if (++line > message_line_bytes_max) return false;
  }
  return true;
}

// True if quoted-printable has the first octet of `rest` as it is.
bool is_literal(std::string_view rest, bool ends_line, bool begins_line) {
  const char c = rest.front();
  if (c == ' ' || c == '\t') return !ends_line;
  if (begins_line && (rest.starts_with("From ") || (c == '.' && ends_line))) return false;
  return c > ' ' && c < 0x7F && c != '=';
}

}  // namespace

bool ContentTraits::fits_lines() const { return !nul && longest_line <= message_line_bytes_max; }

void ContentScan::feed(std::string_view piece) {
  traits_.octets += piece.size();
  for (const char c : piece) {
    if (after_cr_ && c != '\n') ++traits_.bare_line_ends;
    if (c == '\n' && !after_cr_) ++traits_.bare_line_ends;
    after_cr_ = c == '\r';
    if (c == '\r' || c == '\n') {
      line_ = 0;
      continue;
    }
    traits_.longest_line = std::max(traits_.longest_line, ++line_);
    if (c == '\0') traits_.nul = true;
    if (static_cast<unsigned char>(c) >= 0x80) traits_.eight_bit = true;
  }
}

ContentTraits ContentScan::finish() {
  if (after_cr_) ++traits_.bare_line_ends;
  after_cr_ = false;
  return traits_;
}

std::uint64_t base64_size(std::uint64_t octets) {
  const std::uint64_t digits = (octets / 3 + (octets % 3 != 0 ? 1 : 0)) * 4;
  return digits == 0 ? 0 : digits + (digits - 1) / encoded_line_max * 2;
}

void TransferEncoder::feed(std::string_view piece, std::string& out) {
  if (encoding_ == WrittenEncoding::base64) {
    feed_base64(piece, out);
  } else {
    feed_crlf(piece, out);
  }
}

void TransferEncoder::finish(std::string& out) {
  if (held_size_ > 0) quantum(out);
  if (after_cr_) out += '\n';
  after_cr_ = false;
}

void TransferEncoder::feed_base64(std::string_view piece, std::string& out) {
  out.reserve(out.size() + static_cast<std::size_t>(base64_size(piece.size() + 3)) + 2);
  for (const char c : piece) {
    held_[held_size_++] = static_cast<unsigned char>(c);
    if (held_size_ == 3) quantum(out);
  }
}

void TransferEncoder::quantum(std::string& out) {
  if (column_ == encoded_line_max) {
    out += "\r\n";
    column_ = 0;
  }
  for (std::size_t i = held_size_; i < 3; ++i) held_[i] = 0;
  const unsigned bits =
      static_cast<unsigned>(held_[0]) << 16 | static_cast<unsigned>(held_[1]) << 8 | held_[2];
  out += base64_digits[bits >> 18];
  out += base64_digits[bits >> 12 & 63];
  out += held_size_ > 1 ? base64_digits[bits >> 6 & 63] : '=';
  out += held_size_ > 2 ? base64_digits[bits & 63] : '=';
  column_ += 4;
  held_size_ = 0;
}

void TransferEncoder::feed_crlf(std::string_view piece, std::string& out) {
  for (const char c : piece) {
    if (after_cr_ && c != '\n') out += '\n';
    if (c == '\n' && !after_cr_) out += '\r';
    after_cr_ = c == '\r';
    out += c;
  }
}

std::string base64_lines(std::string_view octets) {
  std::string out;
  TransferEncoder encoder(WrittenEncoding::base64);
  encoder.feed(octets, out);
  encoder.finish(out);
  return out;
}

std::string quoted_printable(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  std::size_t column = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const std::string_view rest = text.substr(i);
    if (rest.starts_with("\r\n")) {
      out += "\r\n";
      column = 0;
      ++i;
      continue;
    }
    // RFC 2045, 6.7, (3): white space may not end an encoded line.
    const bool ends_line = rest.size() == 1 || rest.substr(1).starts_with("\r\n");
    bool literal = is_literal(rest, ends_line, column == 0);
    // The "=" of a soft line break needs room, unless this ends the line.
    if (column + (literal ? 1 : 3) > encoded_line_max - (ends_line ? 0 : 1)) {
      out += "=\r\n";
      column = 0;
      literal = is_literal(rest, ends_line, true);
    }
    column += literal ? 1 : 3;
    if (literal) {
      out += c;
    } else {
      const auto octet = static_cast<unsigned char>(c);
      out += '=';
      out += hex_digits[octet >> 4];
      out += hex_digits[octet & 15];
    }
  }
  return out;
}

EncodedText encode_text(std::string_view text) {
  std::string canonical = with_crlf(text);
  if (is_seven_bit(canonical)) return {"7bit", std::move(canonical)};
  std::string quoted = quoted_printable(canonical);
  if (quoted.size() <= base64_size(canonical.size())) return {"quoted-printable", std::move(quoted)};
  return {"base64", base64_lines(canonical)};
}

}  // namespace postern::mail
