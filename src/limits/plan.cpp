// Names of counts and limits.
#include "postern/limits/plan.hpp"

#include <algorithm>

namespace postern::limits {
namespace {

struct Names {
  std::string_view key, name;
};
constexpr std::array<Names, refusal_kinds> limit_names{{
    {"mail_received_hour", "mailReceivedPerHour"},
    {"mail_sent_hour", "mailSentPerHour"},
    {"mail_hour", "mailPerHour"},
    {"mail_day", "mailPerDay"},
    {"files_hour", "filesPerHour"},
    {"files_day", "filesPerDay"},
    {"messages_hour", "messagesPerHour"},
    {"messages_day", "messagesPerDay"},
    {"recipients_hour", "recipientsPerHour"},
    {"recipients_day", "recipientsPerDay"},
    {"sessions", "sessions"},
    {"uploads", "uploads"},
}};

}  // namespace

std::string_view to_string(Count count) {
  constexpr std::array<std::string_view, count_kinds> names{"received", "sent", "files", "messages",
                                                            "recipients"};
  return names[static_cast<std::size_t>(count)];
}

std::string_view to_string(Limit limit) { return limit_names[static_cast<std::size_t>(limit)].name; }
std::string_view key_of(Limit limit) { return limit_names[static_cast<std::size_t>(limit)].key; }

std::optional<Limit> limit_of_key(std::string_view key) {
  for (std::size_t i = 0; i < limit_kinds; ++i)
    if (limit_names[i].key == key || limit_names[i].name == key) return limit_at(i);
  return std::nullopt;
}

bool is_daily(Limit limit) { return key_of(limit).ends_with("_day"); }
bool is_octets(Limit limit) { return limit < Limit::messages_hour || limit == Limit::uploads; }

Amounts Plan::submission(std::uint64_t octets, std::uint64_t recipients) const {
  Amounts amounts{};
  const auto times = sent_times_recipients ? std::max<std::uint64_t>(recipients, 1) : 1;
  amounts[static_cast<std::size_t>(Count::sent)] = octets > limit_max / times ? limit_max : octets * times;
  amounts[static_cast<std::size_t>(Count::messages)] = 1;
  amounts[static_cast<std::size_t>(Count::recipients)] = recipients;
  return amounts;
}

bool is_plan_name(std::string_view name) {
  return !name.empty() && name.size() <= plan_name_bytes_max &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                  c == '_' || c == '.';
         });
}

}  // namespace postern::limits
