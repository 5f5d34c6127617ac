// What is pushed (RFC 8620, 7.1): the states of an account's data types, the StateChange that tells them, and the id of
// an event, which says all of them, so that whoever shows it again is told what it has missed. Pure values, no I/O.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::push {

// Types that clients are told about. Their order is that of the event id: new ones go to the end.
enum class DataType : std::uint8_t {
  mailbox,
  email,
  thread,
  email_delivery,
  email_submission,
  identity,
  vacation_response,
  quota
};
inline constexpr std::size_t data_types = 8;
std::string_view name_of(DataType type);  // "EmailDelivery"

class TypeSet {
 public:
  constexpr TypeSet() = default;
  constexpr TypeSet(std::initializer_list<DataType> types) {
    for (auto type : types) add(type);
  }
  static constexpr TypeSet all() {
    TypeSet set;
    set.bits_ = (1u << data_types) - 1;
    return set;
  }
  constexpr void add(DataType type) { bits_ |= 1u << static_cast<unsigned>(type); }
  constexpr bool has(DataType type) const { return (bits_ >> static_cast<unsigned>(type) & 1u) != 0; }
  constexpr bool empty() const { return bits_ == 0; }
  constexpr TypeSet operator|(TypeSet other) const { return TypeSet(bits_ | other.bits_); }
  constexpr TypeSet operator&(TypeSet other) const { return TypeSet(bits_ & other.bits_); }
  friend constexpr bool operator==(TypeSet, TypeSet) = default;

 private:
  constexpr explicit TypeSet(std::uint32_t bits) : bits_(bits) {}
  std::uint32_t bits_ = 0;
};

// types = "*" / type-name *("," type-name)  (RFC 8620, 7.3). Names that aren't known are passed over, as a client may
// speak with servers that know more. nullopt: no such list, or longer than types_bytes_max.
inline constexpr std::size_t types_bytes_max = 1'024;
std::optional<TypeSet> parse_types(std::string_view text);
// The same of a JSON list of names; nullopt: all (RFC 8620, 7.2.2; RFC 8887, 4.3.5.2).
TypeSet types_of(const std::optional<std::vector<std::string>>& names);

struct States {
  std::array<std::string, data_types> of;  // empty: not known
  std::string& operator[](DataType type) { return of[static_cast<std::size_t>(type)]; }
  const std::string& operator[](DataType type) const { return of[static_cast<std::size_t>(type)]; }
  friend bool operator==(const States&, const States&) = default;
};
// The types that are known in `now` and are something else in `before`.
TypeSet changed_types(const States& before, const States& now);
// Takes over what is known in `news`, of these types.
void merge_states(States& states, const States& news, TypeSet types = TypeSet::all());

// {"@type":"StateChange","changed":{ACCOUNT:{"Email":"12",...}}} with those of `types` that are known.
std::string state_change_json(std::string_view account_id, const States& states, TypeSet types);

// The id of an event (RFC 8620, 7.3: "the entire server state visible to the user"): "1", and for each type "." and its
// state. States are of [A-Za-z0-9_-], at most state_bytes_max; another one is left out, and so told again.
inline constexpr std::size_t state_bytes_max = 40;
inline constexpr std::size_t event_id_bytes_max = 1 + data_types * (state_bytes_max + 1);
std::string event_id(const States& states);
inline constexpr std::string_view no_states_id = "1.";  // of an event of which nothing is known
// nullopt: none of ours. What it leaves out is unknown.
std::optional<States> parse_event_id(std::string_view text);

// ping (RFC 8620, 7.3): seconds, 0 for none. nullopt: no number. Too large or small ones are clamped.
inline constexpr std::uint32_t ping_seconds_min = 10, ping_seconds_max = 600;
std::optional<std::uint32_t> parse_ping(std::string_view text);

// The channel of a person's session: base64url of an HMAC-SHA256, so that nobody who hasn't the key can guess it, and
// the same session comes back to the same one.
std::string channel_id(std::string_view key, std::uint64_t account, std::string_view session);
inline constexpr std::size_t channel_id_bytes = 32;

}  // namespace postern::push
