// What a Unix socket's path may be, for those who look at one before they listen there.
#pragma once

#include <cstddef>
#include <string>

#include "postern/base/error.hpp"

namespace postern::io {

// unix(7): sockaddr_un has room for 108 octets, of which the last is a NUL.
inline constexpr std::size_t unix_path_bytes_max = 107;

// Errc::io where no socket can have this path: it is empty or longer than that.
Result<> check_unix_path(const std::string& path);

}  // namespace postern::io
