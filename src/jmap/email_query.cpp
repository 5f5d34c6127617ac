// Email/query and Email/queryChanges (RFC 8621, 4.4 and 4.5).
#include <algorithm>

#include "jmap/email_filter.hpp"
#include "jmap/query_support.hpp"

namespace postern::jmap {
namespace {

std::expected<mail::EmailQuery, MethodError> parse_query(const CallContext& context,
                                                         const rapidjson::Value& arguments) {
  mail::EmailQuery query;
  auto filter = parse_email_filter(find_member(arguments, "filter"));
  if (!filter) return std::unexpected(filter.error());
  query.filter = std::move(*filter);
  auto sort = parse_email_sort(find_member(arguments, "sort"));
  if (!sort) return std::unexpected(sort.error());
  query.sort = std::move(*sort);
  auto position = get_int(arguments, "position");
  if (!position) return invalid_arguments(position.error());
  query.position = position->value_or(0);
  auto offset = get_int(arguments, "anchorOffset");
  if (!offset) return invalid_arguments(offset.error());
  query.anchor_offset = offset->value_or(0);
  auto anchor = get_id(arguments, "anchor");
  if (!anchor) return invalid_arguments(anchor.error());
  if (*anchor) {
    query.anchor = mail::parse_email_id(**anchor);
    if (!query.anchor) return method_error("anchorNotFound");
  }
  auto limit = get_uint(arguments, "limit");
  if (!limit) return invalid_arguments(limit.error());
  query.limit =
      std::min<std::uint64_t>(limit->value_or(context.limits.query_ids_max), context.limits.query_ids_max);
  auto collapse = get_bool(arguments, "collapseThreads", false);
  if (!collapse) return invalid_arguments(collapse.error());
  query.collapse_threads = *collapse;
  return query;
}

}  // namespace

io::Task<MethodResult> email_query(CallContext& context, const rapidjson::Value& arguments) {
  if (auto ok = check_account(context, arguments); !ok) co_return std::unexpected(ok.error());
  if (auto ok = check_names(arguments, {"accountId", "filter", "sort", "position", "anchor", "anchorOffset",
                                        "limit", "calculateTotal", "collapseThreads"});
      !ok)
    co_return std::unexpected(ok.error());
  auto total = get_bool(arguments, "calculateTotal", false);
  if (!total) co_return invalid_arguments(total.error());
  auto query = parse_query(context, arguments);
  if (!query) co_return std::unexpected(query.error());
  const auto* asked = find_member(arguments, "limit");
  const bool capped = asked == nullptr || asked->GetUint64() > query->limit;
  auto result = co_await context.store.query(std::move(*query));
  if (!result) co_return method_error_of(result.error());
  context.freshness = both(context.freshness, result->freshness);

  std::string out;
  out.reserve(256 + result->ids.size() * 28);
  JsonWriter writer(out);
  writer.start_object();
  writer.member("accountId", context.account_id);
  writer.member("queryState", result->query_state);
  writer.member_bool("canCalculateChanges", result->can_calculate_changes);
  writer.member_uint("position", result->position);
  writer.key("ids");
  writer.start_array();
  for (const auto& id : result->ids) {
    const auto text = mail::email_id_text(id);
    writer.string({text.data(), text.size()});
  }
  writer.end_array();
  if (*total) writer.member_uint("total", result->total);
  // RFC 8620, 5.5: the limit the server has used, where it is not the client's.
  if (capped && result->position + result->ids.size() < result->total)
    writer.member_uint("limit", context.limits.query_ids_max);
  writer.end_object();
  co_return out;
}

io::Task<MethodResult> email_query_changes(CallContext& context, const rapidjson::Value& arguments) {
  const auto asked = parse_query_changes_arguments(context, arguments, {"collapseThreads"});
  if (!asked) co_return std::unexpected(asked.error());
  mail::EmailQueryChangesRequest request;
  auto query = parse_query(context, arguments);
  if (!query) co_return std::unexpected(query.error());
  request.query = std::move(*query);
  request.since_query_state = asked->since;
  request.max = asked->max;
  if (asked->up_to) request.up_to = mail::parse_email_id(*asked->up_to);
  auto changes = co_await context.store.query_changes(std::move(request));
  if (!changes) co_return method_error_of(changes.error());
  context.freshness = both(context.freshness, changes->freshness);
  co_return query_changes_response(context, *asked, changes->query_state, changes->total,
                                   changes->diff.removed, changes->diff.added, mail::email_id);
}

}  // namespace postern::jmap
