// What the parts of Router share. Private to the broker.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "postern/io/task.hpp"
#include "postern/jmap/api.hpp"

namespace postern::broker {

inline constexpr std::string_view retry_after_seconds = "10";

inline jmap::ApiResponse not_found() { return jmap::problem(404, "about:blank", "there is nothing here"); }

// "a/b/c" behind a prefix, each part percent-decoded.
std::optional<std::vector<std::string>> path_parts(std::string_view path, std::string_view prefix);

template <typename T>
io::Task<> store_in(T& result, io::Task<T> task) {
  result = co_await std::move(task);
}

}  // namespace postern::broker
