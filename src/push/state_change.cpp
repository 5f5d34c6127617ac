// StateChange, event ids, and the parameters of an event stream's URL, read and written.
#include "postern/push/state_change.hpp"

#include <algorithm>
#include <charconv>

#include "postern/base/crypto.hpp"
#include "postern/base/encoding.hpp"

namespace postern::push {
namespace {

constexpr std::array<std::string_view, data_types> names = {
    "Mailbox",         "Email",    "Thread",           "EmailDelivery",
    "EmailSubmission", "Identity", "VacationResponse", "Quota"};

constexpr DataType type_at(std::size_t at) { return static_cast<DataType>(at); }

bool is_letter_or_digit(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}
bool is_plain_state(std::string_view state) {
  return state.size() <= state_bytes_max &&
         std::ranges::all_of(state, [](char c) { return is_letter_or_digit(c) || c == '-' || c == '_'; });
}

// As a JSON string. States and account ids are ASCII; what isn't becomes an escape all the same.
void append_string(std::string& out, std::string_view text) {
  out += '"';
  for (char c : text) {
    const auto octet = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (octet < 0x20 || octet > 0x7E) {
      constexpr std::string_view digits = "0123456789abcdef";
      out += "\\u00";
      out += digits[octet >> 4];
      out += digits[octet & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace

std::string_view name_of(DataType type) { return names[static_cast<std::size_t>(type)]; }

std::optional<TypeSet> parse_types(std::string_view text) {
  if (text.empty() || text.size() > types_bytes_max) return std::nullopt;
  if (text == "*") return TypeSet::all();
  TypeSet set;
  while (true) {
    const auto comma = std::min(text.find(','), text.size());
    const auto name = text.substr(0, comma);
    if (name.empty() || !std::ranges::all_of(name, is_letter_or_digit)) return std::nullopt;
    for (std::size_t i = 0; i < data_types; ++i)
      if (names[i] == name) set.add(type_at(i));
    if (comma == text.size()) return set;
    text.remove_prefix(comma + 1);
  }
}

TypeSet types_of(const std::optional<std::vector<std::string>>& names_wanted) {
  if (!names_wanted) return TypeSet::all();
  TypeSet set;
  for (std::size_t i = 0; i < data_types; ++i)
    if (std::ranges::find(*names_wanted, names[i]) != names_wanted->end()) set.add(type_at(i));
  return set;
}

TypeSet changed_types(const States& before, const States& now) {
  TypeSet changed;
  for (std::size_t i = 0; i < data_types; ++i)
    if (!now.of[i].empty() && now.of[i] != before.of[i]) changed.add(type_at(i));
  return changed;
}

void merge_states(States& states, const States& news, TypeSet types) {
  for (std::size_t i = 0; i < data_types; ++i)
    if (types.has(type_at(i)) && !news.of[i].empty()) states.of[i] = news.of[i];
}

std::string state_change_json(std::string_view account_id, const States& states, TypeSet types) {
  std::string json = R"({"@type":"StateChange","changed":{)";
  append_string(json, account_id);
  json += ":{";
  bool first = true;
  for (std::size_t i = 0; i < data_types; ++i) {
    if (!types.has(type_at(i)) || states.of[i].empty()) continue;
    if (!first) json += ',';
    first = false;
    append_string(json, names[i]);
    json += ':';
    append_string(json, states.of[i]);
  }
  json += "}}}";
  return json;
}

std::string event_id(const States& states) {
  std::string id = "1";
  for (const auto& state : states.of) {
    id += '.';
    if (is_plain_state(state)) id += state;
  }
  return id;
}

std::optional<States> parse_event_id(std::string_view text) {
  if (text.size() > event_id_bytes_max || !text.starts_with("1.")) return std::nullopt;
  text.remove_prefix(2);
  States states;
  for (auto& state : states.of) {
    const auto dot = std::min(text.find('.'), text.size());
    const auto part = text.substr(0, dot);
    if (!is_plain_state(part)) return std::nullopt;
    state = part;
    if (dot == text.size()) return states;  // of a version that knew fewer types
    text.remove_prefix(dot + 1);
  }
  return std::nullopt;
}

std::optional<std::uint32_t> parse_ping(std::string_view text) {
  constexpr std::size_t digits_max = 9;
  if (text.empty() || !std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; }))
    return std::nullopt;
  text.remove_prefix(std::min(text.find_first_not_of('0'), text.size()));
  if (text.empty()) return 0;
  if (text.size() > digits_max) return ping_seconds_max;
  std::uint32_t seconds = 0;
  std::from_chars(text.data(), text.data() + text.size(), seconds);
  return std::clamp(seconds, ping_seconds_min, ping_seconds_max);
}

std::string channel_id(std::string_view key, std::uint64_t account, std::string_view session) {
  const auto digest = hmac_sha256(key, "channel " + std::to_string(account) + " " + std::string(session));
  constexpr std::size_t octets = channel_id_bytes * 3 / 4;
  return base64url_encode({reinterpret_cast<const char*>(digest.data()), octets});
}

}  // namespace postern::push
