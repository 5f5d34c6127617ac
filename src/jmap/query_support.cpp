// Arguments and response of a /query over ids that are all known. How many ids are returned at most, Limits says.
#include "jmap/query_support.hpp"

#include <algorithm>

#include "postern/base/encoding.hpp"

namespace postern::jmap {

std::expected<QueryArguments, MethodError> parse_query_arguments(
    const CallContext& context, const rapidjson::Value& arguments,
    std::initializer_list<std::string_view> more) {
  if (auto ok = check_account(context, arguments); !ok) return std::unexpected(ok.error());
  std::vector<std::string_view> known{"accountId", "filter",       "sort",  "position",
                                      "anchor",    "anchorOffset", "limit", "calculateTotal"};
  known.insert(known.end(), more.begin(), more.end());
  if (auto ok = check_names(arguments, known); !ok) return std::unexpected(ok.error());
  QueryArguments query;
  auto position = get_int(arguments, "position");
  if (!position) return invalid_arguments(position.error());
  query.position = position->value_or(0);
  auto offset = get_int(arguments, "anchorOffset");
  if (!offset) return invalid_arguments(offset.error());
  query.anchor_offset = offset->value_or(0);
  auto anchor = get_id(arguments, "anchor");
  if (!anchor) return invalid_arguments(anchor.error());
  query.anchor = *anchor;
  auto limit = get_uint(arguments, "limit");
  if (!limit) return invalid_arguments(limit.error());
  query.limit = *limit;
  auto total = get_bool(arguments, "calculateTotal", false);
  if (!total) return invalid_arguments(total.error());
  query.calculate_total = *total;
  return query;
}

std::expected<QueryChangesArguments, MethodError> parse_query_changes_arguments(
    const CallContext& context, const rapidjson::Value& arguments,
    std::initializer_list<std::string_view> more) {
  if (auto ok = check_account(context, arguments); !ok) return std::unexpected(ok.error());
  std::vector<std::string_view> known{"accountId",  "filter", "sort",          "sinceQueryState",
                                      "maxChanges", "upToId", "calculateTotal"};
  known.insert(known.end(), more.begin(), more.end());
  if (auto ok = check_names(arguments, known); !ok) return std::unexpected(ok.error());
  QueryChangesArguments asked;
  const auto since = require_string(arguments, "sinceQueryState");
  if (!since) return invalid_arguments(since.error());
  asked.since = *since;
  const auto max = get_max_changes(arguments);
  if (!max) return std::unexpected(max.error());
  asked.max = *max;
  const auto up_to = get_id(arguments, "upToId");
  if (!up_to) return invalid_arguments(up_to.error());
  asked.up_to = *up_to;
  const auto total = get_bool(arguments, "calculateTotal", false);
  if (!total) return invalid_arguments(total.error());
  asked.calculate_total = *total;
  return asked;
}

std::expected<std::vector<Comparator>, MethodError> parse_comparators(
    const rapidjson::Value& arguments, std::initializer_list<std::string_view> properties) {
  std::vector<Comparator> comparators;
  const auto* sort = find_member(arguments, "sort");
  if (sort == nullptr) return comparators;
  if (!sort->IsArray()) return invalid_arguments({"/sort", "must be an array of Comparators"});
  if (sort->Size() > mail::sort_keys_max) return method_error("unsupportedSort", "too many comparators");
  for (rapidjson::SizeType i = 0; i < sort->Size(); ++i) {
    const auto pointer = json_pointer("/sort", i);
    const auto& given = (*sort)[i];
    if (!given.IsObject()) return invalid_arguments({pointer, "must be a Comparator"});
    auto property = require_string(given, "property", pointer);
    if (!property) return invalid_arguments(property.error());
    const auto* known = std::find(properties.begin(), properties.end(), *property);
    if (known == properties.end())
      return method_error("unsupportedSort", "unknown property: " + std::string(*property));
    auto ascending = get_bool(given, "isAscending", true, pointer);
    if (!ascending) return invalid_arguments(ascending.error());
    auto collation = get_string(given, "collation", pointer);
    if (!collation) return invalid_arguments(collation.error());
    if (*collation && **collation != "i;unicode-casemap")
      return method_error("unsupportedSort", "unknown collation: " + std::string(**collation));
    comparators.push_back({*known, *ascending});
  }
  return comparators;
}

std::expected<std::optional<std::string_view>, MethodError> filter_operator(const rapidjson::Value& filter,
                                                                            const std::string& pointer) {
  const auto op = filter.FindMember("operator");
  if (op == filter.MemberEnd()) return std::nullopt;
  const auto name = op->value.IsString() ? text_of(op->value) : std::string_view();
  if (name != "AND" && name != "OR" && name != "NOT")
    return invalid_arguments({pointer + "/operator", "must be AND, OR or NOT"});
  const auto* children = find_member(filter, "conditions");
  if (children == nullptr || !children->IsArray())
    return invalid_arguments({pointer + "/conditions", "must be an array of filters"});
  return name;
}

std::expected<QueryWindow, MethodError> query_window(const QueryArguments& query,
                                                     const std::vector<std::string>& ids,
                                                     std::size_t ids_max) {
  const auto total = static_cast<std::int64_t>(ids.size());
  std::int64_t position = 0;
  if (query.anchor) {
    const auto anchor = std::find(ids.begin(), ids.end(), *query.anchor);
    if (anchor == ids.end()) return method_error("anchorNotFound");
    position = (anchor - ids.begin()) + query.anchor_offset;
  } else {
    position = query.position < 0 ? query.position + total : query.position;
  }
  QueryWindow window;
  window.position = static_cast<std::size_t>(std::max<std::int64_t>(position, 0));
  if (window.position < ids.size())
    window.count = std::min<std::uint64_t>(ids.size() - window.position,
                                           std::min<std::uint64_t>(query.limit.value_or(ids_max), ids_max));
  return window;
}

std::string query_state_of(const std::vector<std::string>& ids) {
  std::string all;
  for (const auto& id : ids) (all += id) += '\n';
  return std::to_string(stable_hash64(all));
}

MethodResult query_response(const CallContext& context, const QueryArguments& query,
                            const std::vector<std::string>& ids, std::string_view state,
                            bool can_calculate_changes) {
  const std::size_t ids_max = context.limits.query_ids_max;
  const auto window = query_window(query, ids, ids_max);
  if (!window) return std::unexpected(window.error());
  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  writer.member("accountId", context.account_id);
  writer.member("queryState", state);
  writer.member_bool("canCalculateChanges", can_calculate_changes);
  writer.member_uint("position", window->position);
  writer.key("ids");
  writer.start_array();
  for (std::size_t i = 0; i < window->count; ++i) writer.string(ids[window->position + i]);
  writer.end_array();
  if (query.calculate_total) writer.member_uint("total", ids.size());
  // The limit the server has used, where it is not the client's.
  if (query.limit.value_or(ids_max + 1) > ids_max && window->position + ids_max < ids.size())
    writer.member_uint("limit", ids_max);
  writer.end_object();
  return out;
}

}  // namespace postern::jmap
