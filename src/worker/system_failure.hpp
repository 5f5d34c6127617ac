// What the last system call left in errno, as an Error.
#pragma once

#include <cerrno>
#include <expected>
#include <string>
#include <system_error>
#include <utility>

#include "postern/base/error.hpp"

namespace postern {

// What the last system call left in errno; `what` says what was done, and to what.
inline std::unexpected<Error> system_failure(std::string what) {
  return fail(Error(std::error_code(errno, std::system_category()), std::move(what)));
}

}  // namespace postern
