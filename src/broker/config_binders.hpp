// What a key's value may be: one binder for each kind of value, which checks it and puts it in its place.
//
// Private to the reading of the configuration; what a binder refers to outlives it.
#pragma once

#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>
#include <toml++/toml.h>

#include "broker/config.hpp"

namespace postern::broker {

// Returns what is wrong with a value, or nothing.
using Wrong = std::optional<std::string>;
using Binder = std::function<Wrong(const toml::node&)>;
using Section = std::map<std::string, Binder, std::less<>>;

Binder text(std::string& out);
Binder texts(std::vector<std::string>& out);
Binder boolean(bool& out);
Binder duration(Duration& out, Duration min, Duration max);    // "500ms" to "30d"
Binder mode(std::uint32_t& out);                               // "0660"
Binder listen_address(std::string& out);                       // as check_listen() has it
Binder location(std::string& out);                             // "/a/b/"
Binder push_targets(std::vector<std::string>& out);            // hosts, addresses, networks
Binder frontends(std::map<std::string, FrontendConfig>& out);  // [push.frontends.NAME]
// Octets of "64MB" or of a plain number; nullopt: neither.
std::optional<std::uint64_t> octets_of(const toml::node& node);

template <typename T>
Binder number(T& out, std::uint64_t min, std::uint64_t max) {
  return [&out, min, max](const toml::node& node) -> Wrong {
    const auto* value = node.as_integer();
    const bool fits = value != nullptr && value->get() >= 0 &&
                      static_cast<std::uint64_t>(value->get()) >= min &&
                      static_cast<std::uint64_t>(value->get()) <= max;
    if (!fits) return "must be a number from " + std::to_string(min) + " to " + std::to_string(max);
    out = static_cast<T>(value->get());
    return {};
  };
}

template <typename T>
Binder size(T& out, std::uint64_t min, std::uint64_t max) {
  return [&out, min, max](const toml::node& node) -> Wrong {
    const auto bytes = octets_of(node);
    if (!bytes || *bytes < min || *bytes > max)
      return "must be a size such as \"64MB\", from " + std::to_string(min) + " to " + std::to_string(max) +
             " octets";
    out = static_cast<T>(*bytes);
    return {};
  };
}

template <typename E>
Binder choice(E& out, std::vector<std::pair<std::string_view, E>> choices) {
  return [&out, choices = std::move(choices)](const toml::node& node) -> Wrong {
    std::string all;
    for (const auto& [name, value] : choices) {
      if (node.is_string() && node.as_string()->get() == name) {
        out = value;
        return {};
      }
      all += (all.empty() ? "\"" : ", \"") + std::string(name) + "\"";
    }
    return "must be one of " + all;
  };
}

}  // namespace postern::broker
