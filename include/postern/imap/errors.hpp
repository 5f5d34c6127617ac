// What can go wrong with an IMAP server, as codes of the category "imap".
#pragma once
#include <system_error>

namespace postern::imap {

enum class Errc {
  syntax = 1,   // a response that can't be understood: the connection goes on where it can
  too_large,    // a bound of limits.hpp
  out_of_step,  // a tagged response nobody waits for, or a continuation nobody asked for
  not_imap,     // no IMAP greeting
  no,           // tagged NO
  bad,          // tagged BAD
  bye,          // the server says it closes
  closed,       // the connection ended
  unencodable,  // a value that IMAP can't carry (NUL, CR or LF where no literal is allowed)
};

const std::error_category& imap_category();
inline std::error_code make_error_code(Errc e) { return {static_cast<int>(e), imap_category()}; }

}  // namespace postern::imap
template <>
struct std::is_error_code_enum<postern::imap::Errc> : std::true_type {};
