// What a coroutine works for (a web request's id), so that what it causes further down can be logged under that name.
//
// A label goes with the coroutine that labelled() starts and with all that it awaits, however often that is suspended
// and whatever runs in between: it is part of the coroutine's executor. What it spawn()s has none.
#pragma once

#include <memory>
#include <string>

#include "postern/io/loop.hpp"
#include "postern/io/task.hpp"

namespace postern::io {

using Label = std::shared_ptr<const std::string>;  // null: none

// Runs `task` on `loop`, whose coroutine the caller is, and waits for its end.
Task<> labelled(Loop& loop, std::string label, Task<> task);
// The label of the coroutine that awaits this.
Task<Label> current_label();

}  // namespace postern::io
