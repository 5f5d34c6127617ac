// Strings, lists, durations, sizes, modes and front ends out of TOML's values.
#include "broker/config_binders.hpp"

#include <algorithm>
#include <charconv>

#include "broker/metrics.hpp"
#include "postern/base/encoding.hpp"
#include "postern/io/http_client.hpp"
#include "postern/push/target_policy.hpp"

namespace postern::broker {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

// "64MB": digits and one of the units.
std::optional<std::uint64_t> with_unit(std::string_view text, std::initializer_list<Unit> units) {
  std::uint64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return std::nullopt;
  const auto rest = trim_ascii(text.substr(static_cast<std::size_t>(end - text.data())));
  for (const auto& unit : units)
    if (unit.name == rest) {
      if (number > std::numeric_limits<std::uint64_t>::max() / unit.factor) return std::nullopt;
      return number * unit.factor;
    }
  return std::nullopt;
}

constexpr std::size_t frontend_name_bytes_max = 64;

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
         c == '-';
}

// "/a/b/", of characters that need no escape.
bool is_location(std::string_view text) {
  return text.starts_with('/') && text.ends_with('/') && text.find("//") == std::string_view::npos &&
         std::ranges::all_of(text, [](char c) { return is_name_char(c) || c == '/'; });
}

}  // namespace

std::optional<std::uint64_t> octets_of(const toml::node& node) {
  std::optional<std::uint64_t> bytes;
  if (const auto* plain = node.as_integer(); plain != nullptr && plain->get() >= 0)
    bytes = static_cast<std::uint64_t>(plain->get());
  if (const auto* value = node.as_string(); value != nullptr)
    bytes = with_unit(value->get(), {{"B", 1},
                                     {"kB", 1'000},
                                     {"KB", 1'000},
                                     {"MB", 1'000'000},
                                     {"GB", 1'000'000'000},
                                     {"KiB", 1ull << 10},
                                     {"MiB", 1ull << 20},
                                     {"GiB", 1ull << 30}});
  return bytes;
}

Binder text(std::string& out) {
  return [&out](const toml::node& node) -> Wrong {
    const auto* value = node.as_string();
    if (value == nullptr) return "must be a string";
    out = value->get();
    if (out.find('\0') != std::string::npos) return "must not hold a NUL";
    return {};
  };
}

Binder texts(std::vector<std::string>& out) {
  return [&out](const toml::node& node) -> Wrong {
    const auto* array = node.as_array();
    if (array == nullptr) return "must be an array of strings";
    out.clear();
    for (const auto& item : *array) {
      if (!item.is_string()) return "must be an array of strings";
      out.push_back(item.as_string()->get());
    }
    return {};
  };
}

Binder listen_address(std::string& out) {
  return [&out](const toml::node& node) -> Wrong {
    if (auto wrong = text(out)(node)) return wrong;
    if (out.empty()) return {};
    if (auto usable = check_listen(out); !usable) return usable.error().context;
    return {};
  };
}

// [push.frontends.NAME]
Binder frontends(std::map<std::string, FrontendConfig>& out) {
  return [&out](const toml::node& node) -> Wrong {
    const auto* table = node.as_table();
    if (table == nullptr) return "must be tables [push.frontends.NAME]";
    out.clear();
    for (const auto& [name, value] : *table) {
      const auto key = std::string(name.str());
      const auto* entry = value.as_table();
      if (entry == nullptr) return "must be tables [push.frontends.NAME]";
      if (key.empty() || key.size() > frontend_name_bytes_max ||
          !std::ranges::all_of(key, [](char c) { return is_name_char(c); }))
        return "\"" + key + "\": a front end's name is of letters, digits, '.', '_' and '-'";
      auto& frontend = out[key];
      for (const auto& [field, text_node] : *entry) {
        auto* place = field == "publisher"    ? &frontend.publisher
                      : field == "subscriber" ? &frontend.subscriber
                                              : nullptr;
        if (place == nullptr) return key + ": unknown key " + std::string(field.str());
        if (auto wrong = text(*place)(text_node)) return key + ": " + std::string(field.str()) + " " + *wrong;
      }
      const auto publisher = io::parse_local_http(frontend.publisher);
      if (!publisher || !publisher->path.ends_with('/'))
        return key + ": publisher must be \"http://unix:/SOCKET:/PATH/\" or \"http://127.0.0.1:PORT/PATH/\"";
      if (!is_location(frontend.subscriber)) return key + ": subscriber must be a path such as \"/nchan/\"";
    }
    return {};
  };
}

Binder push_targets(std::vector<std::string>& out) {
  return [&out](const toml::node& node) -> Wrong {
    if (auto wrong = texts(out)(node)) return wrong;
    push::TargetPolicy policy;
    for (const auto& target : out)
      if (!policy.allow(target)) return "no host, address or network: " + target;
    return {};
  };
}

Binder location(std::string& out) {
  return [&out](const toml::node& node) -> Wrong {
    if (auto wrong = text(out)(node)) return wrong;
    if (!is_location(out)) return "must be a path that begins and ends with \"/\"";
    return {};
  };
}

Binder boolean(bool& out) {
  return [&out](const toml::node& node) -> Wrong {
    if (!node.is_boolean()) return "must be true or false";
    out = node.as_boolean()->get();
    return {};
  };
}

Binder duration(Duration& out, Duration min, Duration max) {
  return [&out, min, max](const toml::node& node) -> Wrong {
    const auto* value = node.as_string();
    std::optional<std::uint64_t> ms;
    if (value != nullptr)
      ms = with_unit(value->get(),
                     {{"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}});
    const auto in_ms = [](Duration d) {
      return std::chrono::duration_cast<std::chrono::milliseconds>(d).count();
    };
    if (!ms || *ms < static_cast<std::uint64_t>(in_ms(min)) || *ms > static_cast<std::uint64_t>(in_ms(max)))
      return "must be a duration such as \"500ms\", \"30s\", \"5m\", \"12h\" or \"30d\", from " +
             std::to_string(in_ms(min)) + "ms to " + std::to_string(in_ms(max)) + "ms";
    out = std::chrono::milliseconds(*ms);
    return {};
  };
}

Binder mode(std::uint32_t& out) {
  return [&out](const toml::node& node) -> Wrong {
    const auto* value = node.as_string();
    const std::string digits = value == nullptr ? "" : value->get();
    if (digits.size() < 3 || digits.size() > 4 || digits.find_first_not_of("01234567") != std::string::npos)
      return "must be a file mode in octal digits, such as \"0660\"";
    out = static_cast<std::uint32_t>(std::stoul(digits, nullptr, 8));
    return {};
  };
}

}  // namespace postern::broker
