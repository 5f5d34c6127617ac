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
      case mail::Errc::too_large: return method_error("requestTooLarge", error.code.message());
      case mail::Errc::not_found:
      case mail::Errc::server_refused:
      case mail::Errc::outcome_unknown:
      case mail::Errc::messages_expunged: break;
    }
  }
  return method_error("serverFail", sanitize_utf8(error.to_string()));
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
                                             std::initializer_list<std::string_view> known) {
  for (const auto& member : arguments.GetObject()) {
    const auto name = text_of(member.name);
    if (std::find(known.begin(), known.end(), name) == known.end())
      return invalid_arguments({json_pointer({}, name), "unknown argument"});
  }
  return {};
}

std::expected<std::optional<std::vector<std::string_view>>, MethodError> get_ids(
    const CallContext& context, const rapidjson::Value& arguments) {
  const auto* ids = find_member(arguments, "ids");
  if (ids != nullptr && ids->IsArray() && ids->Size() > context.limits.max_objects_in_get)
    return method_error("requestTooLarge", "more than maxObjectsInGet ids");
  auto list = get_strings(arguments, "ids", context.limits.max_objects_in_get);
  if (!list) return invalid_arguments(list.error());
  if (*list)
    for (std::size_t i = 0; i < (*list)->size(); ++i)
      if (!is_valid_id((**list)[i])) return invalid_arguments({json_pointer("/ids", i), "must be an Id"});
  return *std::move(list);
}

}  // namespace postern::jmap
