// Line ends, Bcc, and dots.
#include "postern/smtp/content.hpp"

#include "postern/base/encoding.hpp"

namespace postern::smtp {
namespace {

// A name that is longer is none of those that are taken out.
constexpr std::size_t name_bytes_held = 64;

}  // namespace

void OutgoingMessage::emit(std::string_view text, std::string& out) {
  out += text;
  size_ += text.size();
}

// "Bcc :" with white space before the colon is the same field (RFC 5322, 4.5.3).
bool OutgoingMessage::is_blind() const {
  const auto name = trim_ascii(name_);
  return iequals_ascii(name, "bcc") || iequals_ascii(name, "resent-bcc");
}

void OutgoingMessage::line_end(std::string& out) {
  switch (in_) {
    case In::line_begin:  // an empty line: the end of the header
      emit("\r\n", out);
      in_ = In::body;
      return;
    case In::name:  // no field at all: it goes out as it is, unless its colon may stand in the next line
      field_dropped_ = is_blind();
      in_ = In::line_begin;
      if (!field_dropped_) {
        emit(name_, out);
        emit("\r\n", out);
      }
      name_.clear();
      return;
    case In::kept_field:
      emit("\r\n", out);
      in_ = In::line_begin;
      return;
    case In::dropped_field: in_ = In::line_begin; return;
    case In::body:
      emit("\r\n", out);
      body_line_open_ = false;
      return;
  }
}

void OutgoingMessage::header_octet(char c, std::string& out) {
  const std::string_view one(&c, 1);
  if (in_ == In::line_begin) {
    const bool continues = c == ' ' || c == '\t';
    if (continues) {
      in_ = field_dropped_ ? In::dropped_field : In::kept_field;
    } else {
      in_ = In::name;
      name_.clear();
    }
  }
  if (in_ == In::kept_field) return emit(one, out);
  if (in_ == In::dropped_field) return;
  // White space behind a name that may be blind is as long as it likes.
  const bool is_space = trim_ascii(one).empty();
  if (is_space && name_.size() == name_bytes_held && is_blind()) return;
  if (c != ':' && name_.size() < name_bytes_held) {
    name_ += c;
    return;
  }
  field_dropped_ = c == ':' && is_blind();
  in_ = field_dropped_ ? In::dropped_field : In::kept_field;
  if (!field_dropped_) {
    emit(name_, out);
    emit(one, out);
  }
  name_.clear();
}

void OutgoingMessage::octet(char c, std::string& out) {
  if (cr_) {
    cr_ = false;
    line_end(out);
    if (c == '\n') return;
  }
  if (c == '\r') {
    cr_ = true;
    return;
  }
  if (c == '\n') return line_end(out);
  nul_ = nul_ || c == '\0';
  eight_bit_ = eight_bit_ || static_cast<unsigned char>(c) >= 0x80;
  if (in_ != In::body) return header_octet(c, out);
  emit(std::string_view(&c, 1), out);
  body_line_open_ = true;
}

void OutgoingMessage::feed(std::string_view piece, std::string& out) {
  while (!piece.empty()) {
    if (in_ != In::body || cr_) {
      octet(piece.front(), out);
      piece.remove_prefix(1);
      continue;
    }
    // The body goes out in runs.
    const auto run = piece.substr(0, std::min(piece.find_first_of("\r\n"), piece.size()));
    for (const char c : run) {
      nul_ = nul_ || c == '\0';
      eight_bit_ = eight_bit_ || static_cast<unsigned char>(c) >= 0x80;
    }
    if (!run.empty()) {
      emit(run, out);
      body_line_open_ = true;
    }
    piece.remove_prefix(run.size());
    if (piece.empty()) return;
    cr_ = piece.front() == '\r';
    if (!cr_) line_end(out);
    piece.remove_prefix(1);
  }
}

void OutgoingMessage::finish(std::string& out) {
  if (cr_ || (in_ == In::body ? body_line_open_ : in_ != In::line_begin)) line_end(out);
  cr_ = false;
}

void DotStuffing::feed(std::string_view piece, std::string& out) {
  while (!piece.empty()) {
    if (line_begin_ && piece.front() == '.') out += '.';
    const auto end = piece.find('\n');
    const auto line = piece.substr(0, end == std::string_view::npos ? piece.size() : end + 1);
    out += line;
    line_begin_ = end != std::string_view::npos;
    piece.remove_prefix(line.size());
  }
}

}  // namespace postern::smtp
