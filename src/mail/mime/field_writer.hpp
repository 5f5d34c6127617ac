// Header fields, written: folding, encoded words, parameters. Private to the composer.
//
// A FieldWriter appends one field to a string of its owner's. What it is given has been checked: check_*() say what is
// wrong with a value before anything is written.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "postern/mail/mime/compose.hpp"

namespace postern::mail {

// RFC 5322, 2.1.1: lines of at most 78 characters, where they can be folded.
class FieldWriter {
 public:
  FieldWriter(std::string& out, std::string_view name);
  // Unfoldable octets behind white space; folded before that where they don't fit.
  void piece(std::string_view space, std::string_view octets);
  // RFC 2047, as many as `text` takes.
  void encoded_words(std::string_view space, std::string_view text, std::string_view suffix = {});
  void unstructured(std::string_view text);
  // RFC 5322, 3.2.5: atoms, a quoted-string or encoded words; not empty.
  void phrase(std::string_view text, std::string_view suffix = {});
  void end() { out_ += "\r\n"; }

 private:
  static constexpr std::size_t line_max = 78;
  std::string& out_;
  std::size_t column_;
};

// Appends the field; what is wrong with its value is appended to `faults` instead. False then.
bool write_field(const WrittenField& field, std::string& out, std::vector<ComposeFault>& faults);

// Each gives the reason why a value can't be written.
std::optional<std::string> check_field_name(std::string_view name);
std::optional<std::string> check_text(std::string_view text);
std::optional<std::string> check_token(std::string_view text);  // RFC 2045, 5.1
// What stands between angle brackets: printable ASCII without white space.
std::optional<std::string> check_bracketed(std::string_view text);

// name=value in the pieces that RFC 2231 makes of it, each to be preceded by ";".
std::vector<std::string> parameter_pieces(std::string_view name, std::string_view value);

}  // namespace postern::mail
