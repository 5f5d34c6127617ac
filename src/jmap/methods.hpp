// The methods, by name. Private to the jmap layer: each data type has a file of its own.
#pragma once

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
std::span<const Method> methods();

io::Task<MethodResult> core_echo(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> mailbox_get(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> email_get(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> email_query(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> email_set(CallContext& context, const rapidjson::Value& arguments);
io::Task<MethodResult> thread_get(CallContext& context, const rapidjson::Value& arguments);

// --- What methods share (src/jmap/method_support.cpp) ---

// A JSON Pointer token with ~0 and ~1 resolved (RFC 6901, 4).
std::string unescape_pointer(std::string_view token);
std::unexpected<MethodError> method_error(std::string type, std::string description = {});
std::unexpected<MethodError> invalid_arguments(const ArgumentError& error);
std::unexpected<MethodError> method_error_of(const Error& error);
// {"accountId", "state", "list": [ of a /get (RFC 8620, 5.1), and what follows the list.
void begin_get_response(JsonWriter& writer, const CallContext& context, std::string_view state);
template <typename Ids>
void end_get_response(JsonWriter& writer, const Ids& not_found) {
  writer.end_array();
  writer.key("notFound");
  writer.start_array();
  for (const auto& id : not_found) writer.string(id);
  writer.end_array();
  writer.end_object();
}
// accountNotFound, or invalidArguments where accountId is missing.
std::expected<void, MethodError> check_account(const CallContext& context, const rapidjson::Value& arguments);
// Unknown arguments are invalidArguments (RFC 8620, 3.6.2).
std::expected<void, MethodError> check_names(const rapidjson::Value& arguments,
                                             std::initializer_list<std::string_view> known);
// The `ids` of a /get: nullopt for null. requestTooLarge over maxObjectsInGet.
std::expected<std::optional<std::vector<std::string_view>>, MethodError> get_ids(
    const CallContext& context, const rapidjson::Value& arguments);

}  // namespace postern::jmap
