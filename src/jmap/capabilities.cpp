// The table of capabilities: a data type that has one of its own adds a row here, and what decides whether an account
// has it to AccountFeatures.
#include "jmap/capabilities.hpp"

#include <algorithm>
#include <array>

#include "jmap/methods.hpp"
#include "postern/mail/vacation.hpp"

namespace postern::jmap {
namespace {

struct Capability {
  std::string_view name;
  bool (*has)(const AccountFeatures& features);
  // The members of its objects in "capabilities" and in "accountCapabilities".
  void (*server_members)(JsonWriter& writer, const AccountFeatures& features, const Limits& limits);
  // null: it is the server's alone
  void (*account_members)(JsonWriter& writer, const AccountFeatures& features, const Limits& limits);
};

bool always(const AccountFeatures&) { return true; }
bool has_vacation(const AccountFeatures& features) { return features.vacation; }
bool has_quota(const AccountFeatures& features) { return features.quota; }
void no_server_members(JsonWriter&, const AccountFeatures&, const Limits&) {}
void no_account_members(JsonWriter&, const AccountFeatures&, const Limits&) {}

// RFC 8620, 2
void write_core_members(JsonWriter& writer, const AccountFeatures&, const Limits& limits) {
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
}

// RFC 8621, 1.3.1
void write_mail_account_members(JsonWriter& writer, const AccountFeatures& features, const Limits& limits) {
  features.several_mailboxes ? writer.member_null("maxMailboxesPerEmail")
                             : writer.member_uint("maxMailboxesPerEmail", 1);
  features.mailbox_levels ? writer.member_null("maxMailboxDepth") : writer.member_uint("maxMailboxDepth", 1);
  writer.member_uint("maxSizeMailboxName", mail::mailbox_name_bytes_max);
  writer.member_uint("maxSizeAttachmentsPerEmail", limits.max_size_attachments_per_email);
  writer.key("emailQuerySortOptions");
  writer.start_array();
  for (std::string_view property : {"receivedAt", "sentAt", "size", "from", "to", "subject", "hasKeyword",
                                    "allInThreadHaveKeyword", "someInThreadHaveKeyword"})
    writer.string(property);
  writer.end_array();
  writer.member_bool("mayCreateTopLevelMailbox", features.may_create_top_level);
}

// RFC 9404, 3.1
void write_blob_account_members(JsonWriter& writer, const AccountFeatures&, const Limits& limits) {
  writer.member_uint("maxSizeBlobSet", limits.max_size_upload);
  writer.member_uint("maxDataSources", blob_data_sources_max);
  writer.key("supportedTypeNames");
  writer.start_array();
  for (const auto type : blob_type_names) writer.string(type);
  writer.end_array();
  writer.key("supportedDigestAlgorithms");
  writer.start_array();
  for (std::string_view algorithm : {"sha", "sha-256"}) writer.string(algorithm);
  writer.end_array();
}

// RFC 8621, 1.3.2
bool has_submission(const AccountFeatures& features) { return features.submission != nullptr; }
void write_submission_account_members(JsonWriter& writer, const AccountFeatures& features, const Limits&) {
  const auto& options = *features.submission;
  const auto delay_s = std::chrono::duration_cast<std::chrono::seconds>(options.delay_max).count();
  writer.member_uint("maxDelayedSend", static_cast<std::uint64_t>(delay_s));
  writer.key("submissionExtensions");
  writer.start_object();
  const auto extension = [&](std::string_view name, const std::vector<std::string>& arguments) {
    writer.key(name);
    writer.start_array();
    for (const auto& argument : arguments) writer.string(argument);
    writer.end_array();
  };
  // Messages are held here and not by the server behind: RFC 4865, 3.
  if (delay_s > 0) extension("FUTURERELEASE", {std::to_string(delay_s)});
  for (const auto& name : options.extensions) extension(name, {});
  writer.end_object();
}

// RFC 9749, 3
bool has_vapid(const AccountFeatures& features) { return !features.application_server_key.empty(); }
void write_vapid_members(JsonWriter& writer, const AccountFeatures& features, const Limits&) {
  writer.member("applicationServerKey", features.application_server_key);
}

// RFC 8887, 3
bool has_websocket(const AccountFeatures& features) { return !features.websocket_url.empty(); }
void write_websocket_members(JsonWriter& writer, const AccountFeatures& features, const Limits&) {
  writer.member("url", features.websocket_url);
  writer.member_bool("supportsPush", true);
}

constexpr auto all_capabilities = std::to_array<Capability>({
    {capability_core, always, write_core_members, no_account_members},
    {capability_mail, always, no_server_members, write_mail_account_members},
    {capability_blob, always, no_server_members, write_blob_account_members},
    {capability_submission, has_submission, no_server_members, write_submission_account_members},
    {capability_vacation, has_vacation, no_server_members, no_account_members},  // RFC 8621, 1.3.3
    {capability_quota, has_quota, no_server_members, no_account_members},
    {capability_vapid, has_vapid, write_vapid_members, nullptr},
    {capability_websocket, has_websocket, write_websocket_members, nullptr},
});

AccountFeatures features_of(const mail::ServerFeatures& server) {
  AccountFeatures features;
  features.quota = server.quotas;
  features.may_create_top_level = server.may_create_top_level;
  features.mailbox_levels = server.mailbox_levels;
  features.several_mailboxes = server.several_mailboxes;
  return features;
}

}  // namespace

AccountFeatures known_features(mail::Mailstore& store) {
  auto features = features_of(store.known_features());
  const auto* vacation = store.vacation();
  features.vacation = vacation != nullptr && vacation->is_offered();
  return features;
}

io::Task<AccountFeatures> ask_features(mail::Mailstore& store) {
  auto features = features_of(co_await store.ask_features());
  if (auto* vacation = store.vacation(); vacation != nullptr)
    features.vacation = co_await vacation->ask_whether_offered();
  co_return features;
}

bool is_known_capability(std::string_view name) {
  return std::any_of(all_capabilities.begin(), all_capabilities.end(),
                     [&](const Capability& capability) { return capability.name == name; });
}

bool has_capability(std::string_view name, const AccountFeatures& features) {
  return std::any_of(all_capabilities.begin(), all_capabilities.end(), [&](const Capability& capability) {
    return capability.name == name && capability.has(features);
  });
}

void write_capabilities(JsonWriter& writer, const SessionInfo& info, const Limits& limits) {
  const auto each = [&](auto write) {
    writer.start_object();
    for (const auto& capability : all_capabilities)
      if (capability.has(info.features)) write(capability);
    writer.end_object();
  };
  const auto each_of_accounts = [&](auto write) {
    each([&](const Capability& capability) {
      if (capability.account_members != nullptr) write(capability);
    });
  };
  writer.key("capabilities");
  each([&](const Capability& capability) {
    writer.key(capability.name);
    writer.start_object();
    capability.server_members(writer, info.features, limits);
    writer.end_object();
  });

  writer.key("accounts");
  writer.start_object();
  writer.key(info.account_id);
  writer.start_object();
  writer.member("name", info.username);
  writer.member_bool("isPersonal", true);
  writer.member_bool("isReadOnly", false);
  writer.key("accountCapabilities");
  each_of_accounts([&](const Capability& capability) {
    writer.key(capability.name);
    writer.start_object();
    capability.account_members(writer, info.features, limits);
    writer.end_object();
  });
  writer.end_object();
  writer.end_object();

  writer.key("primaryAccounts");
  each_of_accounts([&](const Capability& capability) { writer.member(capability.name, info.account_id); });
}

}  // namespace postern::jmap
