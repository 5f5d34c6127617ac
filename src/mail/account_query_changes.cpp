// Email/queryChanges (RFC 8621, 4.5): the results of late are kept with the states they were told under, and compared
// with those of now. Bounds: kept_results_max, kept_results_of_query_max and kept_result_ids_max; their memory counts
// as that of views, and they go when views are given up.
#include <algorithm>
#include <unordered_set>

#include "mail/account_support.hpp"

namespace postern::mail {
namespace {

constexpr std::size_t kept_results_max = 16;
constexpr std::size_t kept_results_of_query_max = 4;

std::string signature_of(const EmailQuery& query) {
  return query.sort.signature() + (query.collapse_threads ? "|collapsed|" : "|") + query.filter.signature();
}

// Nothing that an Email's keywords decide. That an Email leaves or enters its Mailbox is found by comparing.
bool is_immutable(const Filter& filter) {
  switch (filter.kind) {
    case Filter::Kind::all_of:
    case Filter::Kind::any_of:
    case Filter::Kind::none_of:
      return std::all_of(filter.children.begin(), filter.children.end(), is_immutable);
    case Filter::Kind::always:
    case Filter::Kind::never:
    case Filter::Kind::in_mailbox:
    case Filter::Kind::in_mailbox_other_than:
    case Filter::Kind::before:
    case Filter::Kind::after:
    case Filter::Kind::min_size:
    case Filter::Kind::max_size:
    case Filter::Kind::has_attachment: return true;
    default: return is_search_condition(filter.kind);
  }
}

bool is_immutable(const Sort& sort) {
  return std::none_of(sort.keys.begin(), sort.keys.end(),
                      [](const SortKey& key) { return is_keyword_property(key.property); });
}

}  // namespace

bool Account::Ranked::is_same(const Ranked& other) const {
  if (uids && uids == other.uids && mailbox == other.mailbox && uid_validity == other.uid_validity)
    return true;
  if (size() != other.size()) return false;
  for (std::size_t i = 0; i < size(); ++i)
    if (at(i) != other.at(i)) return false;
  return true;
}

std::size_t Account::Ranked::memory_bytes() const {
  return (uids ? uids->capacity() * sizeof(std::uint32_t) : 0) +
         (places ? places->capacity() * sizeof(Place) : 0);
}

std::size_t Account::kept_bytes() const {
  std::size_t bytes = log_.memory_bytes() + kept_lists_.memory_bytes() +
                      departures_.size() * (sizeof(Identity) + sizeof(Departure) + 2 * sizeof(void*));
  for (const auto& [signature, places] : merged_)
    bytes += signature.size() + places->capacity() * sizeof(Place);
  for (const auto& kept : kept_) bytes += sizeof(kept) + kept.signature.size() + kept.ranked.memory_bytes();
  return bytes;
}

// The ids that these places had when the result was told: one that a message has left since is no place of its now.
std::vector<EmailKey> Account::ids_of(const Ranked& ranked) const {
  std::vector<EmailKey> ids;
  ids.reserve(ranked.size());
  for (std::size_t i = 0; i < ranked.size(); ++i) {
    const auto place = ranked.at(i);
    const auto left = moved_from_.find(place);
    const auto gone = gone_from_.find(place);
    ids.push_back(left != moved_from_.end()  ? left->second
                  : gone != gone_from_.end() ? gone->second
                                             : id_of(place));
  }
  return ids;
}

std::vector<Account::KeptResult>::iterator Account::find_kept(const std::string& signature,
                                                              const std::string& query_state) {
  return std::find_if(kept_.begin(), kept_.end(), [&](const KeptResult& known) {
    return known.query_state == query_state && known.signature == signature;
  });
}

bool Account::keep_result(const EmailQuery& query, const Ranked& ranked, bool unchanged,
                          std::string& query_state) {
  const auto signature = signature_of(query);
  query_state = state(StateType::email);
  const auto known = find_kept(signature, query_state);
  if (known != kept_.end() && unchanged && known->ranked.is_same(ranked)) {
    std::rotate(known, std::next(known), kept_.end());  // the latest is behind
    return true;
  }
  // Other ids are never told under the same state.
  if (known != kept_.end() || !unchanged) query_state += "-" + std::to_string(++mixed_states_);
  if (ranked.size() > kept_result_ids_max) return false;
  const auto of_query = std::count_if(kept_.begin(), kept_.end(),
                                      [&](const KeptResult& kept) { return kept.signature == signature; });
  if (static_cast<std::size_t>(of_query) >= kept_results_of_query_max)
    kept_.erase(std::find_if(kept_.begin(), kept_.end(),
                             [&](const KeptResult& kept) { return kept.signature == signature; }));
  if (kept_.size() >= kept_results_max) kept_.erase(kept_.begin());
  kept_.push_back({signature, query_state, counters_.email, ranked});
  return true;
}

io::Task<Result<EmailQueryChanges>> Account::query_changes(EmailQueryChangesRequest request) {
  const Working working(*this);
  if (request.query.sort.keys.empty()) request.query.sort = Sort::newest_first();
  const auto kept = find_kept(signature_of(request.query), request.since_query_state);
  if (kept == kept_.end()) co_return fail(Errc::cannot_calculate_changes);
  const auto before = KeptResult(*kept);  // another request may push it out meanwhile
  Ranked ranked;
  EmailQueryResult result;
  auto found = co_await rank(request.query, ranked, result);
  if (!found) co_return fail(found.error());
  EmailQueryChanges changes;
  changes.total = ranked.size();
  changes.query_state = result.query_state;
  changes.freshness = result.freshness;
  QueryDiffOptions options;
  options.immutable = is_immutable(request.query.filter) && is_immutable(request.query.sort);
  options.up_to = request.up_to;
  // RFC 8620, 5.6: all whose property may have changed that the filter or sort goes by.
  std::unordered_set<EmailKey, PlaceHash> updated;
  if (!options.immutable) {
    if (const auto since = log_.email.since(before.email_state, counters_.email))
      updated.insert(since->updated.begin(), since->updated.end());
    if (!updated.empty())
      options.reinserted = [&updated](const EmailKey& id) { return updated.contains(id); };
  }
  changes.diff = diff_results(ids_of(before.ranked), ids_of(ranked), options);
  if (changes.diff.removed.size() + changes.diff.added.size() > request.max)
    co_return fail(Errc::too_many_changes);
  co_return changes;
}

}  // namespace postern::mail
