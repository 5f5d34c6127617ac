// Runs a program of the administrator's and takes what it prints. Blocking: for a thread of its own.
//
// No shell is involved: the program is executed with its arguments as they are, in a process group of its own, with
// nothing open but its output, a plain environment and no terminal. When it has ended, taken too long or printed too
// much, all of its group is killed.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "postern/base/clock.hpp"
#include "postern/base/error.hpp"

namespace postern::broker {

enum class CommandErrc { not_started = 1, timeout, too_much, failed };
const std::error_category& command_category();
inline std::error_code make_error_code(CommandErrc e) { return {static_cast<int>(e), command_category()}; }

// What it has written to its standard output, `output_max` octets at most; what else it writes is dropped. `arguments`
// begins with the program's path. failed: it has ended with another status than 0.
Result<std::string> run_command(const std::vector<std::string>& arguments, Duration timeout,
                                std::size_t output_max);

// From now on nothing that this thread starts has more rights than it has itself; and where the process is root's, no
// more than `nobody`. False: that can't be had.
bool give_up_privileges_of_thread();

}  // namespace postern::broker
template <>
struct std::is_error_code_enum<postern::broker::CommandErrc> : std::true_type {};
