// Mailbox/query and Mailbox/queryChanges (RFC 8621, 2.3 and 2.4). Bounds: query_support.hpp, kept_lists.hpp.
//
// A state stands for a list of Mailboxes and for what the query goes by of each, so whichever query it was told for,
// the difference from that list to the one of now is what became of it.
#include "jmap/mailbox_query.hpp"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "jmap/mailbox_json.hpp"
#include "postern/base/encoding.hpp"

namespace postern::jmap {
namespace {

using Parsed = std::expected<MailboxCondition, MethodError>;

Parsed parse_condition(const CallContext& context, std::string_view name, const rapidjson::Value& value,
                       const std::string& pointer) {
  using Kind = MailboxCondition::Kind;
  MailboxCondition condition;
  if (name == "parentId" || name == "role" || name == "name") {
    condition.kind = name == "parentId" ? Kind::parent_id : name == "role" ? Kind::role : Kind::name;
    if (value.IsString())
      condition.text = name == "parentId" ? context.created_ids.resolve(text_of(value)) : text_of(value);
    else if (!value.IsNull() || name == "name")
      return invalid_arguments({pointer, "must be a String"});
    if (name == "name") condition.text = mail::folded_mailbox_name(*condition.text);
    return condition;
  }
  if (name == "hasAnyRole" || name == "isSubscribed") {
    if (!value.IsBool()) return invalid_arguments({pointer, "must be a Boolean"});
    condition.kind = name == "hasAnyRole" ? Kind::has_any_role : Kind::is_subscribed;
    condition.on = value.GetBool();
    return condition;
  }
  return method_error("unsupportedFilter", "unknown condition: " + std::string(name));
}

// A Mailbox and what it is found and sorted by.
struct Entry {
  const mail::Mailbox* mailbox = nullptr;
  std::string name, id, parent_id;
  std::vector<std::size_t> ancestors;  // from the top, with itself as the last
};

bool matches(const MailboxCondition& condition, const Entry& entry) {
  const auto& mailbox = *entry.mailbox;
  switch (condition.kind) {
    case MailboxCondition::Kind::parent_id: return entry.parent_id == condition.text.value_or(std::string());
    case MailboxCondition::Kind::name: return entry.name.find(*condition.text) != std::string::npos;
    case MailboxCondition::Kind::role:
      return condition.text ? mailbox.role != mail::Role::none && to_string(mailbox.role) == *condition.text
                            : mailbox.role == mail::Role::none;
    case MailboxCondition::Kind::has_any_role: return (mailbox.role != mail::Role::none) == condition.on;
    case MailboxCondition::Kind::is_subscribed: return is_mailbox_subscribed(mailbox) == condition.on;
  }
  return false;
}

bool goes_by(const MailboxFilter& filter, MailboxCondition::Kind kind) {
  if (filter.kind == MailboxFilter::Kind::condition) return filter.condition.kind == kind;
  return std::any_of(filter.children.begin(), filter.children.end(),
                     [kind](const MailboxFilter& child) { return goes_by(child, kind); });
}

bool goes_by(const MailboxQuery& query, std::string_view property) {
  return std::any_of(query.sort.begin(), query.sort.end(),
                     [property](const Comparator& by) { return by.property == property; });
}

// RFC 8620, 5.6: one of which these have changed may match, or have its place, for another reason now.
std::uint64_t properties_of(const MailboxQuery& query, const Entry& entry) {
  using Kind = MailboxCondition::Kind;
  const auto& mailbox = *entry.mailbox;
  std::string text;
  if (goes_by(query, "sortOrder")) text += std::to_string(mailbox.sort_order);
  text += '\n';
  if (goes_by(query, "name") || goes_by(query.filter, Kind::name)) text += entry.name;
  text += '\n';
  if (goes_by(query, "parentId") || goes_by(query.filter, Kind::parent_id)) text += entry.parent_id;
  text += '\n';
  if (goes_by(query.filter, Kind::role) || goes_by(query.filter, Kind::has_any_role))
    text += to_string(mailbox.role);
  text += '\n';
  if (goes_by(query.filter, Kind::is_subscribed)) text += is_mailbox_subscribed(mailbox) ? '1' : '0';
  return stable_hash64(text);
}

int three_way(const auto& a, const auto& b) { return a < b ? -1 : b < a ? 1 : 0; }

int compare(const std::vector<Comparator>& sort, const Entry& a, const Entry& b) {
  for (const auto& comparator : sort) {
    const int order = comparator.property == "sortOrder"
                          ? three_way(a.mailbox->sort_order, b.mailbox->sort_order)
                      : comparator.property == "name" ? three_way(a.name, b.name)
                                                      : three_way(a.parent_id, b.parent_id);
    if (order != 0) return comparator.ascending ? order : -order;
  }
  if (const int order = three_way(a.name, b.name); order != 0) return order;
  return three_way(a.id, b.id);
}

// Ancestors come first; else the nearest ancestors with the same parent are compared.
bool precedes_in_tree(const std::vector<Entry>& all, const std::vector<Comparator>& sort, const Entry& a,
                      const Entry& b) {
  const auto [x, y] =
      std::mismatch(a.ancestors.begin(), a.ancestors.end(), b.ancestors.begin(), b.ancestors.end());
  if (x == a.ancestors.end() || y == b.ancestors.end()) return a.ancestors.size() < b.ancestors.size();
  return compare(sort, all[*x], all[*y]) < 0;
}

std::vector<Entry> entries_of(const std::vector<mail::MailboxData>& all) {
  std::unordered_map<mail::MailboxKey, std::size_t> at;
  for (std::size_t i = 0; i < all.size(); ++i) at[all[i].mailbox.key] = i;
  std::vector<Entry> entries;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto& mailbox = all[i].mailbox;
    Entry entry{&mailbox,
                mail::folded_mailbox_name(shown_mailbox_name(mailbox)),
                mail::mailbox_id(mailbox.key),
                mailbox.parent ? mail::mailbox_id(*mailbox.parent) : std::string(),
                {i}};
    // A loop can't be, as names have no loops; nothing here relies on it.
    for (auto parent = mailbox.parent; parent && entry.ancestors.size() <= all.size();) {
      const auto found = at.find(*parent);
      if (found == at.end()) break;
      entry.ancestors.push_back(found->second);
      parent = all[found->second].mailbox.parent;
    }
    std::reverse(entry.ancestors.begin(), entry.ancestors.end());
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace

std::expected<MailboxQuery, MethodError> parse_mailbox_query(const CallContext& context,
                                                             const rapidjson::Value& arguments) {
  MailboxQuery query;
  if (const auto* filter = find_member(arguments, "filter"); filter != nullptr) {
    std::size_t conditions = 0;
    auto parsed = parse_filter_tree<MailboxCondition>(
        *filter, "/filter", 1, conditions,
        [&context](std::string_view name, const rapidjson::Value& value, const std::string& pointer) {
          return parse_condition(context, name, value, pointer);
        });
    if (!parsed) return std::unexpected(parsed.error());
    query.filter = std::move(*parsed);
  }
  auto sort = parse_comparators(arguments, {"sortOrder", "name", "parentId"});
  if (!sort) return std::unexpected(sort.error());
  query.sort = std::move(*sort);
  if (query.sort.empty()) query.sort.push_back({"sortOrder", true});
  auto sort_as_tree = get_bool(arguments, "sortAsTree", false);
  if (!sort_as_tree) return invalid_arguments(sort_as_tree.error());
  query.sort_as_tree = *sort_as_tree;
  auto filter_as_tree = get_bool(arguments, "filterAsTree", false);
  if (!filter_as_tree) return invalid_arguments(filter_as_tree.error());
  query.filter_as_tree = *filter_as_tree;
  return query;
}

mail::KeptLists::List run_mailbox_query(const MailboxQuery& query,
                                        const std::vector<mail::MailboxData>& all) {
  const auto entries = entries_of(all);
  std::vector<bool> match(entries.size());
  for (std::size_t i = 0; i < entries.size(); ++i)
    match[i] = matches_filter(
        query.filter, [&](const MailboxCondition& condition) { return matches(condition, entries[i]); });
  std::vector<const Entry*> found;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto& ancestors = entries[i].ancestors;
    if (query.filter_as_tree
            ? std::all_of(ancestors.begin(), ancestors.end(), [&](std::size_t a) { return match[a]; })
            : match[i])
      found.push_back(&entries[i]);
  }
  std::sort(found.begin(), found.end(), [&](const Entry* a, const Entry* b) {
    return query.sort_as_tree ? precedes_in_tree(entries, query.sort, *a, *b)
                              : compare(query.sort, *a, *b) < 0;
  });
  mail::KeptLists::List list;
  list.reserve(found.size());
  for (const auto* entry : found) list.push_back({entry->mailbox->key, properties_of(query, *entry)});
  return list;
}

std::string mailbox_query_state(const mail::KeptLists::List& list) {
  std::string all;
  for (const auto& [key, properties] : list)
    ((all += mail::mailbox_id(key)) += std::to_string(properties)) += '\n';
  return std::to_string(stable_hash64(all));
}

io::Task<MethodResult> mailbox_query(CallContext& context, const rapidjson::Value& arguments) {
  auto window = parse_query_arguments(context, arguments, {"sortAsTree", "filterAsTree"});
  if (!window) co_return std::unexpected(window.error());
  auto query = parse_mailbox_query(context, arguments);
  if (!query) co_return std::unexpected(query.error());
  auto all = co_await context.store.mailboxes();
  if (!all) co_return method_error_of(all.error());
  context.freshness = both(context.freshness, all->freshness);
  auto list = run_mailbox_query(*query, all->data);
  std::vector<std::string> ids;
  ids.reserve(list.size());
  for (const auto& entry : list) ids.push_back(mail::mailbox_id(entry.key));
  const auto state = mailbox_query_state(list);
  auto* kept = context.store.kept_lists();
  const bool can_calculate = kept != nullptr && kept->keep(state, std::move(list));
  co_return query_response(context, *window, ids, state, can_calculate);
}

namespace {

// As ids of the kind that differences are made of.
std::vector<mail::EmailKey> keys_of(const mail::KeptLists::List& list) {
  std::vector<mail::EmailKey> keys;
  keys.reserve(list.size());
  for (const auto& entry : list) keys.push_back({entry.key, 0, 0});
  return keys;
}

std::string id_of_key(const mail::EmailKey& key) { return mail::mailbox_id(key.mailbox); }

}  // namespace

// upToId is for queries by properties that never change (RFC 8620, 5.6): there are none here.
io::Task<MethodResult> mailbox_query_changes(CallContext& context, const rapidjson::Value& arguments) {
  const auto asked = parse_query_changes_arguments(context, arguments, {"sortAsTree", "filterAsTree"});
  if (!asked) co_return std::unexpected(asked.error());
  const auto query = parse_mailbox_query(context, arguments);
  if (!query) co_return std::unexpected(query.error());
  auto all = co_await context.store.mailboxes();
  if (!all) co_return method_error_of(all.error());
  context.freshness = both(context.freshness, all->freshness);
  auto* kept = context.store.kept_lists();
  const auto* known = kept == nullptr ? nullptr : kept->find(asked->since);
  if (known == nullptr) co_return method_error("cannotCalculateChanges");
  std::unordered_map<mail::MailboxKey, std::uint64_t> was;
  for (const auto& entry : *known) was.emplace(entry.key, entry.properties);
  const auto before = keys_of(*known);
  auto list = run_mailbox_query(*query, all->data);
  std::unordered_set<mail::MailboxKey> changed;
  for (const auto& entry : list)
    if (const auto then = was.find(entry.key); then != was.end() && then->second != entry.properties)
      changed.insert(entry.key);
  mail::QueryDiffOptions options;
  options.reinserted = [&changed](const mail::EmailKey& id) { return changed.contains(id.mailbox); };
  const auto diff = diff_results(before, keys_of(list), options);
  if (diff.removed.size() + diff.added.size() > asked->max) co_return method_error("tooManyChanges");
  const auto total = list.size();
  const auto state = mailbox_query_state(list);
  if (!kept->keep(state, std::move(list))) co_return method_error("cannotCalculateChanges");
  co_return query_changes_response(context, *asked, state, total, diff.removed, diff.added, id_of_key);
}

}  // namespace postern::jmap
