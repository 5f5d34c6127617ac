// Quotas from QUOTA responses, and the log of their changes; quota_log_entries_max in it.
#include "postern/mail/quota.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <utility>

#include "postern/base/encoding.hpp"

namespace postern::mail {
namespace {

struct Known {
  std::string_view resource, name;
  Quota::Resource unit;
  std::uint64_t factor;
  std::string_view type;
};
constexpr std::array<Known, 3> known_resources{{
    {"STORAGE", "Storage", Quota::Resource::octets, 1'024, "Email"},
    {"MESSAGE", "Messages", Quota::Resource::count, 1, "Email"},
    {"MAILBOX", "Mailboxes", Quota::Resource::count, 1, "Mailbox"},
}};

// An UnsignedInt (RFC 8620, 1.3) at most.
std::uint64_t scaled(std::uint64_t value, std::uint64_t factor) {
  constexpr std::uint64_t uint_max = (std::uint64_t{1} << 53) - 1;
  return value > uint_max / factor ? uint_max : value * factor;
}

void merge(std::vector<std::string>& into, const std::vector<std::string>& from) {
  for (const auto& id : from)
    if (std::find(into.begin(), into.end(), id) == into.end()) into.push_back(id);
}

}  // namespace

std::vector<Quota> quotas_of(const imap::QuotaResponse& response) {
  std::vector<Quota> quotas;
  for (const auto& known : known_resources) {
    const auto resource = std::find_if(response.resources.begin(), response.resources.end(),
                                       [&](const auto& r) { return r.name == known.resource; });
    if (resource == response.resources.end()) continue;
    Quota quota;
    quota.id =
        "q" + hex_encode(std::to_string(stable_hash64(response.root + "\n" + std::string(known.resource))));
    quota.name = response.root.empty() ? std::string(known.name)
                                       : sanitize_utf8(response.root) + " (" + std::string(known.name) + ")";
    quota.resource = known.unit;
    quota.used = scaled(resource->usage, known.factor);
    quota.hard_limit = scaled(resource->limit, known.factor);
    quota.types = {std::string(known.type)};
    quotas.push_back(std::move(quota));
  }
  return quotas;
}

namespace {

std::string_view name_of(limits::Limit limit) {
  using limits::Limit;
  switch (limit) {
    case Limit::received_hour: return "Mail received in an hour";
    case Limit::sent_hour: return "Mail sent in an hour";
    case Limit::mail_hour: return "Mail received and sent in an hour";
    case Limit::mail_day: return "Mail received and sent in a day";
    case Limit::files_hour: return "Files in an hour";
    case Limit::files_day: return "Files in a day";
    case Limit::messages_hour: return "Messages sent in an hour";
    case Limit::messages_day: return "Messages sent in a day";
    case Limit::recipients_hour: return "Recipients in an hour";
    case Limit::recipients_day: return "Recipients in a day";
    case Limit::sessions:
    case Limit::uploads: break;
  }
  return "";
}

// What counts (RFC 9425, 4.1): types of the registry of JMAP Data Types.
std::vector<std::string> types_of(limits::Limit limit) {
  using limits::Limit;
  switch (limit) {
    case Limit::received_hour: return {"Email"};
    case Limit::sent_hour:
    case Limit::mail_hour:
    case Limit::mail_day: return {"Email", "EmailSubmission"};
    case Limit::files_hour:
    case Limit::files_day: return {"Blob"};
    case Limit::messages_hour:
    case Limit::messages_day:
    case Limit::recipients_hour:
    case Limit::recipients_day: return {"EmailSubmission"};
    case Limit::sessions:
    case Limit::uploads: break;
  }
  return {};
}

}  // namespace

std::vector<Quota> quotas_of(const limits::Meter& meter) {
  std::vector<Quota> quotas;
  if (!meter.has_limits()) return quotas;
  const auto plan = meter.plan_name();
  for (const auto& standing : meter.standings()) {
    Quota quota;
    quota.id = "plan-" + std::string(to_string(standing.limit));
    quota.name = name_of(standing.limit);
    quota.resource = is_octets(standing.limit) ? Quota::Resource::octets : Quota::Resource::count;
    quota.used = scaled(standing.used, 1);
    quota.hard_limit = standing.most;
    quota.warn_limit = limits::warn_at(standing.most);
    quota.soft_limit = limits::soft_at(standing.most);
    quota.description = "the plan " + plan;
    quota.types = types_of(standing.limit);
    quotas.push_back(std::move(quota));
  }
  return quotas;
}

bool QuotaLog::take(std::vector<Quota> fresh, std::uint64_t next_state) {
  if (fresh.size() > quotas_max) fresh.resize(quotas_max);
  const bool first = state_ == 0;
  if (!first && fresh == quotas_) return false;
  Entry entry;
  entry.before = state_;
  entry.after = next_state;
  std::map<std::string_view, const Quota*> before;
  for (const auto& quota : quotas_) before.emplace(quota.id, &quota);
  for (const auto& quota : fresh) {
    const auto known = before.find(quota.id);
    if (known == before.end()) {
      entry.created.push_back(quota.id);
    } else if (quota != *known->second) {
      auto same = quota;
      same.used = known->second->used;
      entry.updated.push_back(quota.id);
      entry.only_used = entry.only_used && same == *known->second;
    }
    if (known != before.end()) before.erase(known);
  }
  for (const auto& [id, quota] : before) entry.destroyed.emplace_back(id);
  quotas_ = std::move(fresh);
  state_ = next_state;
  if (first) return true;
  entries_.push_back(std::move(entry));
  if (entries_.size() > quota_log_entries_max) entries_.erase(entries_.begin());
  return true;
}

std::optional<QuotaChanges> QuotaLog::since(std::uint64_t state, std::uint64_t now) const {
  QuotaChanges changes;
  changes.state = now;
  if (state == now) return changes;
  auto entry =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.before == state; });
  if (entry == entries_.end()) return std::nullopt;
  for (; entry != entries_.end(); ++entry) {
    merge(changes.created, entry->created);
    merge(changes.updated, entry->updated);
    merge(changes.destroyed, entry->destroyed);
    changes.only_used = changes.only_used && entry->only_used;
  }
  // Each id in one list (RFC 8620, 5.2).
  const auto is_in = [](const std::vector<std::string>& ids, const std::string& id) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  };
  const auto there = [this](const std::string& id) {
    return std::any_of(quotas_.begin(), quotas_.end(), [&](const Quota& quota) { return quota.id == id; });
  };
  // What has gone and come again is another value of what was known.
  const auto again = [&](const std::string& id) { return is_in(changes.destroyed, id) && there(id); };
  for (const auto& id : changes.created)
    if (again(id) && !is_in(changes.updated, id)) changes.updated.push_back(id), changes.only_used = false;
  const auto created = changes.created;
  std::erase_if(changes.updated,
                [&](const std::string& id) { return !there(id) || (is_in(created, id) && !again(id)); });
  std::erase_if(changes.created, [&](const std::string& id) { return !there(id) || again(id); });
  std::erase_if(changes.destroyed, [&](const std::string& id) { return there(id) || is_in(created, id); });
  return changes;
}

}  // namespace postern::mail
