// The decoders as state machines that may be interrupted after any octet. What is malformed is passed over as its
// RFC advises, and noted.
#include "postern/mail/mime/transfer_decode.hpp"

#include <array>

#include "mail/mime/characters.hpp"
#include "postern/base/encoding.hpp"

namespace postern::mail {
namespace {

constexpr std::uint8_t no_value = 0xFF;

// RFC 2045, 6.8, and the URL-safe letters of RFC 4648, 5, which some writers use.
constexpr std::array<std::uint8_t, 256> make_base64_values() {
  std::array<std::uint8_t, 256> values{};
  values.fill(no_value);
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t i = 0; i < alphabet.size(); ++i)
    values[static_cast<unsigned char>(alphabet[i])] = static_cast<std::uint8_t>(i);
  values[static_cast<unsigned char>('-')] = 62;
  values[static_cast<unsigned char>('_')] = 63;
  return values;
}
constexpr std::array<std::uint8_t, 256> base64_values = make_base64_values();

}  // namespace

NamedTransferEncoding transfer_encoding(std::string_view name) {
  // Some write a comment or parameters behind it.
  name = trim_ascii(name.substr(0, name.find_first_of(";(")));
  if (iequals_ascii(name, "base64")) return {TransferEncoding::base64, true};
  if (iequals_ascii(name, "quoted-printable")) return {TransferEncoding::quoted_printable, true};
  for (const std::string_view uu : {"x-uuencode", "uuencode", "x-uue", "uue"})
    if (iequals_ascii(name, uu)) return {TransferEncoding::uuencode, true};
  for (const std::string_view identity : {"", "7bit", "8bit", "binary", "7-bit", "8-bit"})
    if (iequals_ascii(name, identity)) return {TransferEncoding::identity, true};
  return {TransferEncoding::identity, false};
}

void TransferDecoder::feed(std::string_view piece, std::string& out) {
  switch (encoding_) {
    case TransferEncoding::identity: out += piece; break;
    case TransferEncoding::base64: feed_base64(piece, out); break;
    case TransferEncoding::quoted_printable: feed_quoted_printable(piece, out); break;
    case TransferEncoding::uuencode: feed_uuencode(piece, out); break;
  }
}

void TransferDecoder::finish(std::string& out) {
  switch (encoding_) {
    case TransferEncoding::identity: break;
    case TransferEncoding::base64: flush_base64(out); break;
    case TransferEncoding::quoted_printable:
      // White space at the end of the body is padding like that at the end of a line.
      if (qp_ == QpState::equals_hex) {
        out += '=';
        out += hex_;
        damaged_ = true;
      }
      held_.clear();
      qp_ = QpState::text;
      break;
    case TransferEncoding::uuencode:
      if (!held_.empty()) uuencode_line(out);
      if (uu_ != UuState::after) damaged_ = true;
      break;
  }
}

// --- base64 (RFC 2045, 6.8) ---

void TransferDecoder::feed_base64(std::string_view piece, std::string& out) {
  out.reserve(out.size() + piece.size() / 4 * 3 + 3);
  for (const char c : piece) {
    const std::uint8_t value = base64_values[static_cast<unsigned char>(c)];
    if (value != no_value) {
      padded_ = false;  // a further base64 text behind padding: some join them
      quantum_ = quantum_ << 6 | value;
      if (++quantum_size_ < 4) continue;
      out += static_cast<char>(quantum_ >> 16);
      out += static_cast<char>(quantum_ >> 8);
      out += static_cast<char>(quantum_);
      quantum_ = 0;
      quantum_size_ = 0;
    } else if (c == '=') {
      if (quantum_size_ == 0 && !padded_) damaged_ = true;
      flush_base64(out);
      padded_ = true;
    } else if (!is_wsp(c) && c != '\r' && c != '\n') {
      damaged_ = true;
    }
  }
}

// Missing padding does no harm; a single character is too little for an octet.
void TransferDecoder::flush_base64(std::string& out) {
  if (quantum_size_ == 1) damaged_ = true;
  if (quantum_size_ >= 2) out += static_cast<char>(quantum_ >> (quantum_size_ == 2 ? 4 : 10));
  if (quantum_size_ == 3) out += static_cast<char>(quantum_ >> 2);
  quantum_ = 0;
  quantum_size_ = 0;
}

// --- quoted-printable (RFC 2045, 6.7) ---

void TransferDecoder::feed_quoted_printable(std::string_view piece, std::string& out) {
  for (const char c : piece) quoted_printable_octet(c, out);
}

void TransferDecoder::quoted_printable_octet(char c, std::string& out) {
  switch (qp_) {
    case QpState::text: quoted_printable_text(c, out); return;
    case QpState::equals:
      if (hex_digit(c) >= 0) {
        hex_ = c;
        qp_ = QpState::equals_hex;
      } else if (c == '\n') {
        qp_ = QpState::text;  // soft line break
      } else if (c == '\r') {
        qp_ = QpState::equals_cr;
      } else if (is_wsp(c)) {
        held_ = c;
        qp_ = QpState::equals_space;
      } else {
        damaged_ = true;
        out += '=';
        qp_ = QpState::text;
        quoted_printable_text(c, out);
      }
      return;
    case QpState::equals_hex:
      qp_ = QpState::text;
      if (hex_digit(c) >= 0) {
        out += static_cast<char>(hex_digit(hex_) << 4 | hex_digit(c));
      } else {
        damaged_ = true;
        out += '=';
        out += hex_;
        quoted_printable_text(c, out);
      }
      return;
    case QpState::equals_space:  // a soft line break with padding behind the "="
      if (is_wsp(c) && held_.size() < held_space_max) {
        held_ += c;
      } else if (c == '\r') {
        held_.clear();
        qp_ = QpState::equals_cr;
      } else if (c == '\n') {
        held_.clear();
        qp_ = QpState::text;
      } else {
        damaged_ = true;
        out += '=';
        out += held_;
        held_.clear();
        qp_ = QpState::text;
        quoted_printable_text(c, out);
      }
      return;
    case QpState::equals_cr:
      qp_ = QpState::text;
      if (c != '\n') quoted_printable_text(c, out);
      return;
  }
}

// "Any TAB or SPACE characters [at the end of an encoded line] MUST be deleted".
void TransferDecoder::quoted_printable_text(char c, std::string& out) {
  if (is_wsp(c) && held_.size() < held_space_max) {
    held_ += c;
    return;
  }
  if (c != '\r' && c != '\n') out += held_;
  held_.clear();
  if (c == '=') {
    qp_ = QpState::equals;
  } else {
    out += c;
  }
}

// --- uuencode (POSIX uuencode, historical algorithm) ---

void TransferDecoder::feed_uuencode(std::string_view piece, std::string& out) {
  for (const char c : piece) {
    if (c == '\n') {
      uuencode_line(out);
    } else if (held_.size() < uuencode_line_max) {
      held_ += c;
    } else {
      line_too_long_ = true;
    }
  }
}

void TransferDecoder::uuencode_line(std::string& out) {
  std::string line;
  line.swap(held_);
  const bool too_long = line_too_long_;
  line_too_long_ = false;
  if (line.ends_with('\r')) line.pop_back();
  if (uu_ == UuState::before && line.starts_with("begin ")) {
    uu_ = UuState::body;
    return;
  }
  if (uu_ != UuState::body) return;
  if (line == "end") {
    uu_ = UuState::after;
    return;
  }
  if (line.empty()) return;
  const auto value = [](char c) { return static_cast<unsigned>(c - ' ') & 0x3FU; };
  std::size_t left = value(line.front());
  // One character for the length, four for three octets; some strip spaces from the line's end.
  if (too_long || line.size() > 1 + (left + 2) / 3 * 4 + 1) damaged_ = true;
  for (std::size_t i = 1; left > 0 && i < line.size(); i += 4) {
    unsigned quantum = 0;
    for (std::size_t k = 0; k < 4; ++k)
      quantum = quantum << 6 | (i + k < line.size() ? value(line[i + k]) : 0);
    for (int shift = 16; shift >= 0 && left > 0; shift -= 8, --left)
      out += static_cast<char>(quantum >> shift);
  }
  if (left > 0) damaged_ = true;
}

}  // namespace postern::mail
