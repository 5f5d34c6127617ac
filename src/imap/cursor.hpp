// Reads IMAP's lexical elements from one whole response: liberal where servers are known to err.
//
// A cursor lives on the stack of parse_response and points into its text. Readers return false when the
// text can't be that element; the first such failure is remembered, with the place. Nothing here recurses,
// and what is read is bounded by the response's own size (FragmenterLimits).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "imap/ascii.hpp"
#include "postern/base/error.hpp"
#include "postern/imap/errors.hpp"
#include "postern/imap/types.hpp"

namespace postern::imap {

class Cursor {
 public:
  explicit Cursor(std::string_view text) : begin_(text.data()), at_(begin_), end_(begin_ + text.size()) {}

  bool at_end() const { return at_ == end_; }
  char peek() const { return at_ == end_ ? '\0' : *at_; }
  bool accept(char c) {
    if (at_ == end_ || *at_ != c) return false;
    ++at_;
    return true;
  }
  void advance() { at_ += at_ != end_; }
  void spaces() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\t')) ++at_;
  }
  std::string_view rest() const { return {at_, static_cast<std::size_t>(end_ - at_)}; }
  std::size_t offset() const { return static_cast<std::size_t>(at_ - begin_); }
  void seek(std::size_t offset) { at_ = begin_ + offset; }

  // Digits, leading zeros allowed. False, with nothing taken, where there is no digit or on overflow.
  bool number(std::uint64_t& out);
  bool number(std::uint32_t& out);
  // A number as servers err: quoted, negative or NIL or too large for the field (nullopt then).
  bool lenient_number(std::optional<std::uint64_t>& out);
  bool lenient_number(std::optional<std::uint32_t>& out);

  // Octets up to SP, "(", ")" or a double quote; may be empty.
  std::string_view word();
  // A word that ends at "[" and "{" too: the name of a FETCH item.
  std::string_view item_name();
  bool at_nil() const;  // NIL as a whole word
  bool accept_nil();

  // string / atom. NIL is the atom here.
  bool astring(std::string& out);
  // nstring, or an atom in its place.
  bool nstring(NString& out);
  // As nstring(), in the places of a list: nothing is left (")" or the end) or a list is in the string's
  // place: nullopt.
  bool field(NString& out);
  bool quoted(std::string& out);
  bool literal(std::string_view& out);
  bool at_literal() const { return peek() == '{' || (peek() == '~' && end_ - at_ > 1 && at_[1] == '{'); }

  // flag-list = "(" [flag *(SP flag)] ")"; NIL is an empty one.
  bool flags(Flags& out);
  // "(" astring ... ")", or NIL, or one astring.
  bool string_list(std::vector<std::string>& out, std::size_t max);
  // One value of any kind, with balanced parentheses.
  bool skip_value();

  // In ENVELOPE and BODYSTRUCTURE a string is followed by ")" or by SP and the next value, never by an
  // atom, so that a double quote which the server forgot to escape can be told from the closing one.
  void set_structured(bool on) { structured_ = on; }

  bool fail(std::string_view what) { return set_error(Errc::syntax, what); }
  bool too_large(std::string_view what) { return set_error(Errc::too_large, what); }
  bool failed() const { return failed_; }
  bool is_too_large() const { return failed_ && errc_ == Errc::too_large; }
  void clear_error() { failed_ = false; }
  Error error(std::string_view where) const;

 private:
  bool set_error(Errc errc, std::string_view what);
  bool value_begins(const char* at) const;
  bool closes(const char* behind) const;
  bool skip_quoted();

  const char* begin_;
  const char* at_;
  const char* end_;
  bool structured_ = false;
  bool failed_ = false;
  Errc errc_ = Errc::syntax;
  std::string_view what_;
  std::size_t error_offset_ = 0;
};

}  // namespace postern::imap
