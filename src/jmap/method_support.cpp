// What the methods share: errors of mail as method errors, and the arguments accountId and ids, bounded as Limits
// says.
#include <algorithm>

#include "jmap/methods.hpp"
#include "postern/base/encoding.hpp"

namespace postern::jmap {

std::string unescape_pointer(std::string_view token) {
  std::string out;
  for (std::size_t i = 0; i < token.size(); ++i) {
    if (token[i] == '~' && i + 1 < token.size() && (token[i + 1] == '0' || token[i + 1] == '1')) {
      out += token[++i] == '0' ? '~' : '/';
    } else {
      out += token[i];
    }
  }
  return out;
}

std::unexpected<MethodError> method_error(std::string type, std::string description) {
  return std::unexpected(MethodError{std::move(type), std::move(description)});
}

std::unexpected<MethodError> invalid_arguments(const ArgumentError& error) {
  return method_error("invalidArguments", error.description());
}

std::unexpected<MethodError> method_error_of(const Error& error) {
  if (error.code.category() == mail::mail_category()) {
    switch (static_cast<mail::Errc>(error.code.value())) {
      case mail::Errc::unsupported_sort: return method_error("unsupportedSort", error.context);
      case mail::Errc::unsupported_filter: return method_error("unsupportedFilter", error.context);
      case mail::Errc::anchor_not_found: return method_error("anchorNotFound");
      case mail::Errc::server_unavailable:
      case mail::Errc::authentication: return method_error("serverUnavailable", error.code.message());
      case mail::Errc::cannot_calculate_changes: return method_error("cannotCalculateChanges");
      case mail::Errc::too_many_changes: return method_error("tooManyChanges");
      case mail::Errc::too_large: return method_error("requestTooLarge", error.code.message());
      case mail::Errc::forbidden: return method_error("forbidden", error.code.message());
      case mail::Errc::over_limit:
        if (auto refusal = limits::Refusal::decode(error.context)) return rate_limit(std::move(*refusal));
        return method_error("rateLimit");
      case mail::Errc::not_found:
      case mail::Errc::server_refused:
      case mail::Errc::outcome_unknown:
      case mail::Errc::messages_expunged:
      case mail::Errc::no_room: break;
    }
  }
  return method_error("serverFail", sanitize_utf8(error.to_string()));
}

std::unexpected<MethodError> rate_limit(limits::Refusal refusal) {
  auto description = refusal.description();
  return std::unexpected(MethodError{"rateLimit", std::move(description), std::move(refusal)});
}

void write_refusal(JsonWriter& writer, const limits::Refusal& refusal) {
  writer.member("limit", to_string(refusal.limit));
  writer.member("plan", refusal.plan);
  writer.member_uint("amount", refusal.most);
  writer.member_uint("used", refusal.used);
  writer.member_uint("asked", refusal.asked);
  if (refusal.free_at) return writer.member_utc_date("availableAt", *refusal.free_at);
  writer.key("availableAt");
  writer.null();
}

bool CreatedIds::add(std::string_view creation_id, std::string_view id) {
  auto known = ids_.find(creation_id);
  if (known != ids_.end())
    replaced_.insert(ids_.extract(known));
  else if (ids_.size() >= created_ids_max)
    return false;
  ids_.emplace(creation_id, id);
  return true;
}

std::string_view CreatedIds::resolve(std::string_view id) const {
  if (!id.starts_with('#')) return id;
  const auto known = ids_.find(id.substr(1));
  return known == ids_.end() ? id : std::string_view(known->second);
}

void begin_get_response(JsonWriter& writer, const CallContext& context, std::string_view state) {
  writer.start_object();
  writer.member("accountId", context.account_id);
  writer.member("state", state);
  writer.key("list");
  writer.start_array();
}

std::expected<void, MethodError> check_account(const CallContext& context,
                                               const rapidjson::Value& arguments) {
  auto id = require_id(arguments, "accountId");
  if (!id) return invalid_arguments(id.error());
  if (*id != context.account_id) return method_error("accountNotFound");
  return {};
}

std::expected<void, MethodError> check_names(const rapidjson::Value& arguments,
                                             std::span<const std::string_view> known) {
  for (const auto& member : arguments.GetObject()) {
    const auto name = text_of(member.name);
    if (std::find(known.begin(), known.end(), name) == known.end())
      return invalid_arguments({json_pointer({}, name), "unknown argument"});
  }
  return {};
}

std::expected<std::size_t, MethodError> get_max_changes(const rapidjson::Value& arguments) {
  auto max = get_uint(arguments, "maxChanges");
  if (!max) return invalid_arguments(max.error());
  if (*max && **max == 0) return invalid_arguments({"/maxChanges", "must be greater than 0"});
  return *max ? static_cast<std::size_t>(**max) : mail::changes_unlimited;
}

std::expected<ChangesArguments, MethodError> parse_changes_arguments(const CallContext& context,
                                                                     const rapidjson::Value& arguments) {
  if (auto ok = check_account(context, arguments); !ok) return std::unexpected(ok.error());
  if (auto ok = check_names(arguments, {"accountId", "sinceState", "maxChanges"}); !ok)
    return std::unexpected(ok.error());
  auto since = require_string(arguments, "sinceState");
  if (!since) return invalid_arguments(since.error());
  auto max = get_max_changes(arguments);
  if (!max) return std::unexpected(max.error());
  return ChangesArguments{std::string(*since), *max};
}

std::expected<std::optional<std::vector<std::string_view>>, MethodError> get_properties(
    const rapidjson::Value& arguments, std::span<const std::string_view> known) {
  auto asked = get_strings(arguments, "properties", known.size() * 2);
  if (!asked) return invalid_arguments(asked.error());
  if (!*asked) return std::nullopt;
  for (std::size_t i = 0; i < (*asked)->size(); ++i)
    if (std::find(known.begin(), known.end(), (**asked)[i]) == known.end())
      return invalid_arguments({json_pointer("/properties", i), "unknown property"});
  return *std::move(asked);
}

std::expected<std::optional<std::vector<std::string_view>>, MethodError> get_ids(
    const CallContext& context, const rapidjson::Value& arguments, std::string_view name) {
  const auto* ids = find_member(arguments, name);
  if (ids != nullptr && ids->IsArray() && ids->Size() > context.limits.max_objects_in_get)
    return method_error("requestTooLarge", "more than maxObjectsInGet ids");
  auto list = get_strings(arguments, name, context.limits.max_objects_in_get);
  if (!list) return invalid_arguments(list.error());
  if (*list)
    for (std::size_t i = 0; i < (*list)->size(); ++i)
      if (!is_valid_id((**list)[i]))
        return invalid_arguments({json_pointer(json_pointer({}, name), i), "must be an Id"});
  return *std::move(list);
}

}  // namespace postern::jmap
