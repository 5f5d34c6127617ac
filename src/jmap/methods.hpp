// The methods, by name. Private to the jmap layer: each data type has a file of its own.
#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "postern/jmap/api.hpp"
#include "postern/jmap/json.hpp"

namespace postern::jmap {

// `arguments` has its result references resolved, and lives until the method ends.
using MethodHandler = io::Task<MethodResult> (*)(CallContext& context, const rapidjson::Value& arguments);

struct Method {
  std::string_view name;
  std::string_view capability;
  MethodHandler handler;
};

io::Task<MethodResult> core_echo(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> mailbox_changes(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> mailbox_get(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> email_changes(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> mailbox_query(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> mailbox_query_changes(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> mailbox_set(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> email_get(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> email_query(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> blob_copy(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> blob_get(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> blob_lookup(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> blob_upload(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> email_copy(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> email_import(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> email_parse(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> email_query_changes(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> email_set(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> search_snippet_get(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> thread_changes(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> quota_get(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> quota_changes(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> quota_query(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> thread_get(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> vacation_response_get(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> vacation_response_set(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> identity_get(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> identity_changes(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> identity_set(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> push_subscription_get(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> push_subscription_set(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> submission_get(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> submission_changes(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> submission_query(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> submission_query_changes(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> submission_set(CallContext& context, const rapidjson::Value& arguments);

inline constexpr std::string_view capability_blob = "urn:ietf:params:jmap:blob";
// What Blob/lookup knows of, and how many pieces Blob/upload puts together (RFC 9404, 3.1).
inline constexpr std::string_view blob_type_names[] = {"Mailbox", "Thread", "Email"};
inline constexpr std::size_t blob_data_sources_max = 100;

// --- What methods share (src/jmap/method_support.cpp) ---

// A JSON Pointer token with ~0 and ~1 resolved (RFC 6901, 4).
std::string unescape_pointer(std::string_view token);
std::unexpected<MethodError> method_error(std::string type, std::string description = {});
std::unexpected<MethodError> invalid_arguments(const ArgumentError& error);
std::unexpected<MethodError> method_error_of(const Error& error);
// What a plan doesn't allow now (docs/limits.md): members limit, plan, amount, used, asked, availableAt.
std::unexpected<MethodError> rate_limit(limits::Refusal refusal);
void write_refusal(JsonWriter& writer, const limits::Refusal& refusal);
// {"accountId", "state", "list": [ of a /get (RFC 8620, 5.1), and what follows the list.
void begin_get_response(JsonWriter& writer, const CallContext& context, std::string_view state);
// A member that is an array of ids, each as `id_of` tells it.
template <typename Ids, typename IdOf = std::identity>
void write_ids(JsonWriter& writer, std::string_view name, const Ids& ids, IdOf id_of = {}) {
  writer.key(name);
  writer.start_array();
  for (const auto& id : ids) writer.string(id_of(id));
  writer.end_array();
}
template <typename Ids>
void end_get_response(JsonWriter& writer, const Ids& not_found) {
  writer.end_array();
  write_ids(writer, "notFound", not_found);
  writer.end_object();
}
// accountNotFound, or invalidArguments where accountId is missing.
std::expected<void, MethodError> check_account(const CallContext& context, const rapidjson::Value& arguments);
// Unknown arguments are invalidArguments (RFC 8620, 3.6.2).
std::expected<void, MethodError> check_names(const rapidjson::Value& arguments,
                                             std::span<const std::string_view> known);
inline std::expected<void, MethodError> check_names(const rapidjson::Value& arguments,
                                                    std::initializer_list<std::string_view> known) {
  return check_names(arguments, std::span(known.begin(), known.size()));
}
// The `maxChanges` of a /changes or /queryChanges (RFC 8620, 5.2): 1 or more; without one, all there are.
std::expected<std::size_t, MethodError> get_max_changes(const rapidjson::Value& arguments);
// The arguments of a /changes (RFC 8620, 5.2).
struct ChangesArguments {
  std::string since;
  std::size_t max = mail::changes_unlimited;
};
std::expected<ChangesArguments, MethodError> parse_changes_arguments(const CallContext& context,
                                                                     const rapidjson::Value& arguments);
// The `properties` of a /get: nullopt for all of them; "id" needn't be named.
std::expected<std::optional<std::vector<std::string_view>>, MethodError> get_properties(
    const rapidjson::Value& arguments, std::span<const std::string_view> known);
// The `ids` of a /get: nullopt for null. requestTooLarge over maxObjectsInGet.
std::expected<std::optional<std::vector<std::string_view>>, MethodError> get_ids(
    const CallContext& context, const rapidjson::Value& arguments, std::string_view name = "ids");

}  // namespace postern::jmap
