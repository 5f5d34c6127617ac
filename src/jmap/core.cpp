// Core/echo (RFC 8620, 4) and the session resource (RFC 8620, 2).
#include "jmap/methods.hpp"
#include "postern/base/encoding.hpp"

namespace postern::jmap {

io::Task<MethodResult> core_echo(CallContext&, const rapidjson::Value& arguments) {
  std::string out;
  JsonWriter(out).value(arguments);
  co_return out;
}

namespace {

void write_core_capability(JsonWriter& writer, const Limits& limits) {
  writer.key(capability_core);
  writer.start_object();
  writer.member_uint("maxSizeUpload", limits.max_size_upload);
  writer.member_uint("maxConcurrentUpload", limits.max_concurrent_upload);
  writer.member_uint("maxSizeRequest", limits.max_size_request);
  writer.member_uint("maxConcurrentRequests", limits.max_concurrent_requests);
  writer.member_uint("maxCallsInRequest", limits.max_calls_in_request);
  writer.member_uint("maxObjectsInGet", limits.max_objects_in_get);
  writer.member_uint("maxObjectsInSet", limits.max_objects_in_set);
  writer.key("collationAlgorithms");
  writer.start_array();
  writer.string("i;unicode-casemap");
  writer.end_array();
  writer.end_object();
}

// RFC 8621, 1.3.1
void write_mail_account_capability(JsonWriter& writer) {
  writer.key(capability_mail);
  writer.start_object();
  writer.member_uint("maxMailboxesPerEmail", 1);
  writer.member_null("maxMailboxDepth");
  writer.member_uint("maxSizeMailboxName", 255);
  writer.member_uint("maxSizeAttachmentsPerEmail", 0);
  writer.key("emailQuerySortOptions");
  writer.start_array();
  for (std::string_view property : {"receivedAt", "sentAt", "size", "from", "to", "subject", "hasKeyword"})
    writer.string(property);
  writer.end_array();
  writer.member_bool("mayCreateTopLevelMailbox", false);
  writer.end_object();
}

void write_session(JsonWriter& writer, const SessionInfo& info, const Limits& limits) {
  writer.key("capabilities");
  writer.start_object();
  write_core_capability(writer, limits);
  writer.key(capability_mail);
  writer.start_object();
  writer.end_object();
  writer.end_object();

  writer.key("accounts");
  writer.start_object();
  writer.key(info.account_id);
  writer.start_object();
  writer.member("name", info.username);
  writer.member_bool("isPersonal", true);
  writer.member_bool("isReadOnly", false);
  writer.key("accountCapabilities");
  writer.start_object();
  writer.key(capability_core);
  writer.start_object();
  writer.end_object();
  write_mail_account_capability(writer);
  writer.end_object();
  writer.end_object();
  writer.end_object();

  writer.key("primaryAccounts");
  writer.start_object();
  writer.member(capability_core, info.account_id);
  writer.member(capability_mail, info.account_id);
  writer.end_object();

  writer.member("username", info.username);
  writer.member("apiUrl", info.base_url + "/jmap/api");
  writer.member("downloadUrl", info.base_url + "/jmap/download/{accountId}/{blobId}/{name}?accept={type}");
  writer.member("uploadUrl", info.base_url + "/jmap/upload/{accountId}/");
  writer.member("eventSourceUrl",
                info.base_url + "/jmap/events/?types={types}&closeafter={closeafter}&ping={ping}");
}

}  // namespace

// From what the document is made of and not from the document: it goes with each answer of the API.
std::string session_state_of(const SessionInfo& info, const Limits& limits) {
  std::string all(POSTERN_VERSION);
  for (std::uint64_t limit :
       {limits.max_size_upload, std::uint64_t{limits.max_concurrent_upload}, limits.max_size_request,
        std::uint64_t{limits.max_concurrent_requests}, std::uint64_t{limits.max_calls_in_request},
        std::uint64_t{limits.max_objects_in_get}, std::uint64_t{limits.max_objects_in_set}})
    (all += ' ') += std::to_string(limit);
  for (const auto* text : {&info.username, &info.account_id, &info.base_url}) (all += '\n') += *text;
  return std::to_string(stable_hash64(all));
}

std::string session_resource(const SessionInfo& info, const Limits& limits, std::string& state) {
  state = session_state_of(info, limits);
  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  write_session(writer, info, limits);
  writer.member("state", state);
  writer.end_object();
  return out;
}

}  // namespace postern::jmap
