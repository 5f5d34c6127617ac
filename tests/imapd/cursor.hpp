// Reads the arguments of one IMAP command: RFC 3501 section 9, as a client may send them.
//
// A Cursor is a view of a command whose literals are in place (`{n}` CRLF octets). A read that doesn't find
// what it wants sets failed(), which stays set; results after that are empty. So a command is read to its
// end and checked once. Bounds: the length of the command (Options::command_bytes_max and
// literal_bytes_max); nesting is the caller's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace postern::testimapd {

// Ranges as sent; 0 stands for '*'.
struct NumberSet {
  std::vector<std::pair<std::uint32_t, std::uint32_t>> ranges;
  bool saved_result = false;  // "$", RFC 5182

  // Sorted, joined, with '*' as `largest`.
  NumberSet resolved(std::uint32_t largest) const;
  bool contains(std::uint32_t number) const;  // of a resolved set
  void add(std::uint32_t number);             // in ascending order
  std::string text() const;                   // 1:4,7
};

class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}

  bool failed() const { return failed_; }
  void fail() { failed_ = true; }
  bool at_end() const { return at_ >= text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  bool try_char(char c);
  bool try_word(std::string_view word);  // case-insensitive, and not followed by another atom character
  void expect(char c);
  void sp() { expect(' '); }
  void end();  // nothing may be left
  std::string_view rest() { return text_.substr(at_); }

  std::string_view atom();
  std::string upper_atom();
  std::string astring();
  std::string string();
  std::string list_mailbox();
  std::optional<std::string> nstring();
  std::uint32_t number();
  std::uint64_t number64();
  NumberSet number_set();
  std::vector<std::string> flag_list();        // in parentheses
  std::vector<std::string> flags();            // with or without
  bool literal8() const { return literal8_; }  // the last literal was ~{n}

 private:
  std::string quoted();
  std::string literal();
  std::string_view take(std::string_view stop, bool controls = false);
  std::uint32_t range_end();

  std::string_view text_;
  std::size_t at_ = 0;
  bool failed_ = false;
  bool literal8_ = false;
};

}  // namespace postern::testimapd
