// Plans: what a person may use, as data. docs/limits.md says to the octet what each count counts.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "postern/store/session_table.hpp"

namespace postern::limits {

// What is counted.
enum class Count : std::uint8_t { received, sent, files, messages, recipients };
inline constexpr std::size_t count_kinds = 5;
std::string_view to_string(Count count);
using Amounts = std::array<std::uint64_t, count_kinds>;  // by Count
constexpr Amounts amount_of(Count count, std::uint64_t amount) {
  Amounts amounts{};
  amounts[static_cast<std::size_t>(count)] = amount;
  return amounts;
}

// The windows that limits are set for, in the order of store::UsageTerms; then what is limited at a time.
enum class Limit : std::uint8_t {
  received_hour,
  sent_hour,
  mail_hour,  // received and sent
  mail_day,
  files_hour,
  files_day,
  messages_hour,
  messages_day,
  recipients_hour,
  recipients_day,
  sessions,  // from here on not counted in windows: no limit_at() of an index below limit_kinds
  uploads,
};
inline constexpr std::size_t limit_kinds = store::usage_limits;
inline constexpr std::size_t refusal_kinds = limit_kinds + 2;  // with what is limited at a time
constexpr Limit limit_at(std::size_t index) { return static_cast<Limit>(index); }
std::string_view to_string(Limit limit);  // "mailReceivedPerHour": in answers, logs, metrics
std::string_view key_of(Limit limit);     // "mail_received_hour": in the configuration
std::optional<Limit> limit_of_key(std::string_view key);
bool is_daily(Limit limit);
bool is_octets(Limit limit);  // else messages, recipients or sessions

inline constexpr std::uint64_t unlimited = store::usage_unlimited;
inline constexpr std::uint64_t limit_max = (1ULL << 40) - 1;  // a bucket holds no more
inline constexpr std::size_t plan_name_bytes_max = store::usage_plan_bytes;
inline constexpr std::size_t plans_max = 1'000;

struct Plan {
  std::array<std::uint64_t, limit_kinds> limits = store::UsageTerms::unlimited();
  // At a time; unlimited where the plan says nothing. Requests are bounded by [jmap] max_concurrent_requests as well.
  std::uint64_t requests = unlimited, sessions = unlimited;
  std::uint64_t uploads =
      unlimited;  // octets of uploads that are kept; [uploads] account_bytes bounds them as well
  bool sent_times_recipients = false;  // mail sent counts once for each recipient
  // What a message of so many octets to so many recipients counts as when it is submitted.
  Amounts submission(std::uint64_t octets, std::uint64_t recipients) const;
  std::uint64_t of(Limit limit) const { return limits[static_cast<std::size_t>(limit)]; }
};
using Plans = std::map<std::string, Plan, std::less<>>;
inline constexpr std::string_view unlimited_plan = "unlimited";  // always there

// 1 to plan_name_bytes_max of a-z, A-Z, 0-9, "-", "_" and ".".
bool is_plan_name(std::string_view name);

}  // namespace postern::limits
