// ManageSieve (RFC 5804) without I/O: replies out of octets, commands into octets, what a server says it can do.
//
// A ReplyParser belongs to one connection and holds at most what ReplyLimits allow. One thread at a time.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "postern/base/error.hpp"
#include "postern/sieve/errors.hpp"

namespace postern::sieve {

struct ReplyLimits {
  std::size_t line_bytes_max = 16 * 1024;           // of a line without its literals
  std::size_t literal_bytes_max = 4 * 1024 * 1024;  // of all literals of a line together
  std::size_t words_max = 16;                       // of a line
};

// One word of a line: a string (quoted or literal), or an atom or a parenthesised response code as it stands.
struct Word {
  std::string text;
  bool is_string = false;
  friend bool operator==(const Word&, const Word&) = default;
};
using Line = std::vector<Word>;

enum class Status : unsigned char { ok, no, bye };
// The line that ends a reply: OK, NO or BYE.
struct Completion {
  Status status = Status::ok;
  std::string code;           // upper case: "QUOTA/MAXSIZE", "NONEXISTENT"; empty: none
  std::string code_argument;  // of SASL, REFERRAL, TAG: their string
  std::string text;           // for people
};

class ReplyParser {
 public:
  explicit ReplyParser(ReplyLimits limits = {}) : limits_(limits) {}
  void feed(std::string_view octets) { buffer_.append(octets); }
  // The next whole line, if there is one. syntax and too_large are final.
  Result<std::optional<Line>> next();
  // Octets that belong to no line that next() has given.
  std::size_t pending() const { return buffer_.size(); }

 private:
  ReplyLimits limits_;
  std::string buffer_;
  std::size_t wanted_ = 0;  // next() needs at least so many octets to get further
};

// nullopt if the line is data. syntax for an OK, NO or BYE that has something wrong behind it.
Result<std::optional<Completion>> parse_completion(const Line& line);

// --- Commands ---

inline constexpr std::size_t quoted_octets_max = 1024;  // RFC 5804, 4: between the quotes

// "PUTSCRIPT" SP string SP string CRLF. Strings are quoted where they may be, else non-synchronising literals.
class CommandBuilder {
 public:
  explicit CommandBuilder(std::string_view name) : text_(name) {}
  CommandBuilder& string(std::string_view value);
  // RFC 5804, 1.6: no control characters, nor line and paragraph separators. Empty only where that means "none".
  CommandBuilder& script_name(std::string_view name);
  // bad_argument: nothing may be sent.
  Result<std::string> finish();

 private:
  std::string text_;
  std::string wrong_;
};
// A string as it goes over the wire: of AUTHENTICATE's responses.
std::string wire_string(std::string_view value);
bool is_script_name(std::string_view name);

// --- What the server can do (RFC 5804, 1.7) ---

struct Capabilities {
  std::string implementation;
  std::vector<std::string> sasl;   // mechanisms
  std::vector<std::string> sieve;  // extensions, lower case
  bool starttls = false;
  bool has(std::string_view extension) const;
  // One line of a capability response.
  void add(const Line& line);
};

}  // namespace postern::sieve
