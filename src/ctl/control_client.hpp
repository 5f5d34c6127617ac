// One request to a running broker's control socket, and its answer. Blocking; no state.
//
// Bounds: control_answer_bytes_max, control_answer_wait_max.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "postern/base/error.hpp"

namespace postern::ctl {

inline constexpr std::size_t control_answer_bytes_max = 64 * 1024 * 1024;
inline constexpr std::chrono::seconds control_answer_wait_max{30};  // for each piece of it

// The answer's line, without its end. The error's context names the socket and is for the administrator.
Result<std::string> ask_broker(const std::string& socket_path, std::string_view request);

}  // namespace postern::ctl
