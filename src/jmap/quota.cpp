// Quota/get, Quota/changes and Quota/query (RFC 9425, 4). Bounds: query_support.hpp.
#include <algorithm>
#include <array>

#include "jmap/query_support.hpp"

namespace postern::jmap {
namespace {

constexpr std::array<std::string_view, 10> quota_properties{"id",        "resourceType", "used",  "hardLimit",
                                                            "scope",     "name",         "types", "warnLimit",
                                                            "softLimit", "description"};

std::string_view resource_name(mail::Quota::Resource resource) {
  return resource == mail::Quota::Resource::octets ? "octets" : "count";
}

std::string_view scope_name(mail::Quota::Scope scope) {
  switch (scope) {
    case mail::Quota::Scope::account: return "account";
    case mail::Quota::Scope::domain: return "domain";
    case mail::Quota::Scope::global: return "global";
  }
  return {};
}

void write_limit(JsonWriter& writer, const std::optional<std::uint64_t>& limit) {
  limit ? writer.uint(*limit) : writer.null();
}

void write_quota_property(JsonWriter& writer, std::string_view property, const mail::Quota& quota) {
  writer.key(property);
  if (property == "id") {
    writer.string(quota.id);
  } else if (property == "resourceType") {
    writer.string(resource_name(quota.resource));
  } else if (property == "used") {
    writer.uint(quota.used);
  } else if (property == "hardLimit") {
    writer.uint(quota.hard_limit);
  } else if (property == "scope") {
    writer.string(scope_name(quota.scope));
  } else if (property == "name") {
    writer.string(quota.name);
  } else if (property == "types") {
    writer.start_array();
    for (const auto& type : quota.types) writer.string(type);
    writer.end_array();
  } else if (property == "warnLimit") {
    write_limit(writer, quota.warn_limit);
  } else if (property == "softLimit") {
    write_limit(writer, quota.soft_limit);
  } else {
    writer.string_or_null(quota.description);
  }
}

struct QuotaCondition {
  enum class Kind : std::uint8_t { name, scope, resource_type, type };
  Kind kind = Kind::name;
  std::string text;
};

std::expected<QuotaCondition, MethodError> parse_quota_condition(std::string_view name,
                                                                 const rapidjson::Value& value,
                                                                 const std::string& pointer) {
  using Kind = QuotaCondition::Kind;
  static constexpr std::array<std::pair<std::string_view, Kind>, 4> kinds{
      {{"name", Kind::name},
       {"scope", Kind::scope},
       {"resourceType", Kind::resource_type},
       {"type", Kind::type}}};
  const auto known = std::find_if(kinds.begin(), kinds.end(), [&](const auto& k) { return k.first == name; });
  if (known == kinds.end())
    return method_error("unsupportedFilter", "unknown condition: " + std::string(name));
  if (!value.IsString()) return invalid_arguments({pointer, "must be a String"});
  return QuotaCondition{known->second, std::string(text_of(value))};
}

bool matches(const QuotaCondition& condition, const mail::Quota& quota) {
  switch (condition.kind) {
    case QuotaCondition::Kind::name:
      return mail::folded_mailbox_name(quota.name).find(mail::folded_mailbox_name(condition.text)) !=
             std::string::npos;
    case QuotaCondition::Kind::scope: return scope_name(quota.scope) == condition.text;
    case QuotaCondition::Kind::resource_type: return resource_name(quota.resource) == condition.text;
    case QuotaCondition::Kind::type:
      return std::find(quota.types.begin(), quota.types.end(), condition.text) != quota.types.end();
  }
  return false;
}

struct QuotaQuery {
  FilterTree<QuotaCondition> filter;
  std::vector<Comparator> sort;
};

std::expected<QuotaQuery, MethodError> parse_quota_query(const rapidjson::Value& arguments) {
  QuotaQuery query;
  if (const auto* filter = find_member(arguments, "filter"); filter != nullptr) {
    std::size_t conditions = 0;
    auto parsed = parse_filter_tree<QuotaCondition>(*filter, "/filter", 1, conditions, parse_quota_condition);
    if (!parsed) return std::unexpected(parsed.error());
    query.filter = std::move(*parsed);
  }
  auto sort = parse_comparators(arguments, {"name", "used"});
  if (!sort) return std::unexpected(sort.error());
  query.sort = std::move(*sort);
  return query;
}

std::vector<std::string> run_quota_query(const QuotaQuery& query, const std::vector<mail::Quota>& all) {
  std::vector<const mail::Quota*> found;
  for (const auto& quota : all)
    if (matches_filter(query.filter, [&](const QuotaCondition& c) { return matches(c, quota); }))
      found.push_back(&quota);
  std::sort(found.begin(), found.end(), [&](const mail::Quota* a, const mail::Quota* b) {
    for (const auto& comparator : query.sort) {
      const auto name_a = mail::folded_mailbox_name(a->name), name_b = mail::folded_mailbox_name(b->name);
      const bool by_name = comparator.property == "name";
      if (by_name ? name_a == name_b : a->used == b->used) continue;
      return (by_name ? name_a < name_b : a->used < b->used) == comparator.ascending;
    }
    return a->id < b->id;
  });
  std::vector<std::string> ids;
  ids.reserve(found.size());
  for (const auto* quota : found) ids.push_back(quota->id);
  return ids;
}

}  // namespace

io::Task<MethodResult> quota_get(CallContext& context, const rapidjson::Value& arguments) {
  if (auto ok = check_account(context, arguments); !ok) co_return std::unexpected(ok.error());
  if (auto ok = check_names(arguments, {"accountId", "ids", "properties"}); !ok)
    co_return std::unexpected(ok.error());
  auto ids = get_ids(context, arguments);
  if (!ids) co_return std::unexpected(ids.error());
  const auto asked = get_properties(arguments, quota_properties);
  if (!asked) co_return std::unexpected(asked.error());
  auto all = co_await context.store.quotas();
  if (!all) co_return method_error_of(all.error());
  context.freshness = both(context.freshness, all->freshness);

  std::string out;
  JsonWriter writer(out);
  begin_get_response(writer, context, all->state);
  std::vector<std::string_view> missing = *ids ? **ids : std::vector<std::string_view>{};
  std::sort(missing.begin(), missing.end());
  missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
  for (const auto& quota : all->data) {
    if (*ids && std::erase(missing, std::string_view(quota.id)) == 0) continue;
    writer.start_object();
    for (auto property : quota_properties)
      if (property == "id" || !*asked ||
          std::find((*asked)->begin(), (*asked)->end(), property) != (*asked)->end())
        write_quota_property(writer, property, quota);
    writer.end_object();
  }
  end_get_response(writer, missing);
  co_return out;
}

io::Task<MethodResult> quota_changes(CallContext& context, const rapidjson::Value& arguments) {
  const auto asked = parse_changes_arguments(context, arguments);
  if (!asked) co_return std::unexpected(asked.error());
  auto changes = co_await context.store.quota_changes(asked->since);
  if (!changes) co_return method_error_of(changes.error());
  // An account has so few that nobody needs them in parts.
  const bool told =
      *changes &&
      (*changes)->created.size() + (*changes)->updated.size() + (*changes)->destroyed.size() <= asked->max;
  if (!told) co_return method_error("cannotCalculateChanges");
  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  writer.member("accountId", context.account_id);
  writer.member("oldState", asked->since);
  writer.member("newState", std::to_string((*changes)->state));
  writer.member_bool("hasMoreChanges", false);
  write_ids(writer, "created", (*changes)->created);
  write_ids(writer, "updated", (*changes)->updated);
  write_ids(writer, "destroyed", (*changes)->destroyed);
  if ((*changes)->only_used && !(*changes)->updated.empty())
    write_ids(writer, "updatedProperties", std::array<std::string_view, 1>{"used"});
  else
    writer.member_null("updatedProperties");
  writer.end_object();
  co_return out;
}

io::Task<MethodResult> quota_query(CallContext& context, const rapidjson::Value& arguments) {
  auto window = parse_query_arguments(context, arguments);
  if (!window) co_return std::unexpected(window.error());
  auto query = parse_quota_query(arguments);
  if (!query) co_return std::unexpected(query.error());
  auto all = co_await context.store.quotas();
  if (!all) co_return method_error_of(all.error());
  context.freshness = both(context.freshness, all->freshness);
  const auto ids = run_quota_query(*query, all->data);
  co_return query_response(context, *window, ids, query_state_of(ids));
}

}  // namespace postern::jmap
