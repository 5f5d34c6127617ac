// What an SMTP server says (RFC 5321, 4.2): replies out of octets, and the extensions of EHLO. No I/O.
//
// A ReplyParser belongs to one connection. It is fed octets cut anywhere and gives whole replies. Bounded by
// reply_line_bytes_max and reply_lines_max; whatever breaks them or the grammar ends the connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "postern/base/error.hpp"

namespace postern::smtp {

inline constexpr std::size_t reply_line_bytes_max = 4'096;  // RFC 5321, 4.5.3.1.5 says 512
inline constexpr std::size_t reply_lines_max = 200;
inline constexpr std::size_t reply_text_bytes_max = 1'024;  // as it is told and kept

struct Reply {
  int code = 0;  // 200 to 599
  std::vector<std::string>
      lines;  // behind the code and its separator, as they came but for octets that aren't UTF-8

  bool is(int kind) const { return code / 100 == kind; }
  bool positive() const { return is(2); }
  bool permanent() const { return is(5); }
  // RFC 3463: "5.7.1"; empty where there is none.
  std::string_view enhanced() const;
  // As smtpReply of RFC 8621, 7 has it: one line, without what its lines have in common with the first, cut where it
  // is too long.
  std::string to_string() const;
};

class ReplyParser {
 public:
  // Takes octets up to the end of one reply, or all of them; how many it took. Errc::protocol.
  Result<std::size_t> feed(std::string_view octets);
  // A reply that is complete.
  std::optional<Reply> take();

 private:
  Result<> line(std::string_view text);

  std::string line_;
  Reply reply_;
  bool complete_ = false;
};

// RFC 5321, 4.1.1.1: keywords in upper case, and what stands behind them.
class Extensions {
 public:
  Extensions() = default;
  explicit Extensions(const Reply& ehlo);

  bool has(std::string_view keyword) const { return all_.contains(keyword); }
  // RFC 1870; nullopt where it isn't offered or not said.
  std::optional<std::uint64_t> size_max() const;
  // Of AUTH, in upper case.
  std::vector<std::string> mechanisms() const;

 private:
  std::map<std::string, std::string, std::less<>> all_;
};

enum class Errc {
  unavailable = 1,  // can't be reached, or breaks off before the message is committed
  not_secure,       // TLS can't be had, or not be trusted
  no_mechanism,     // no way to sign in that both know
  protocol,         // no SMTP
};
const std::error_category& smtp_category();
inline std::error_code make_error_code(Errc e) { return {static_cast<int>(e), smtp_category()}; }

}  // namespace postern::smtp
template <>
struct std::is_error_code_enum<postern::smtp::Errc> : std::true_type {};
