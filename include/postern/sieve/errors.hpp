// What can go wrong between Postern and a ManageSieve server, as values.
#pragma once

#include <system_error>

#include "postern/base/error.hpp"

namespace postern::sieve {

enum class Errc {
  syntax = 1,      // the server's answer is no ManageSieve
  too_large,       // it is longer than ReplyLimits allow
  bad_argument,    // a string that no command may carry (a NUL, a script name with control characters)
  unavailable,     // it can't be reached, answers too late, or says BYE
  not_secure,      // TLS is demanded and can't be had
  authentication,  // it refuses the credentials, or has no mechanism for them
  refused,         // NO to a command
  connection_lost  // after a command that changes something had been sent
};
const std::error_category& sieve_category();
inline std::error_code make_error_code(Errc e) { return {static_cast<int>(e), sieve_category()}; }

}  // namespace postern::sieve
template <>
struct std::is_error_code_enum<postern::sieve::Errc> : std::true_type {};
