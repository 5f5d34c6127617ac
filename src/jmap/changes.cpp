// Mailbox/changes, Email/changes and Thread/changes (RFC 8620, 5.2; RFC 8621, 2.2, 3.2 and 4.3).
#include "jmap/methods.hpp"

namespace postern::jmap {
namespace {

template <typename Id>
std::string changes_response(CallContext& context, const ChangesArguments& asked,
                             const mail::Changes<Id>& changes, std::string (*id_of)(const Id&),
                             bool with_updated_properties = false) {
  context.freshness = both(context.freshness, changes.freshness);
  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  writer.member("accountId", context.account_id);
  writer.member("oldState", asked.since);
  writer.member("newState", changes.state);
  writer.member_bool("hasMoreChanges", changes.data.has_more);
  write_ids(writer, "created", changes.data.created, id_of);
  write_ids(writer, "updated", changes.data.updated, id_of);
  write_ids(writer, "destroyed", changes.data.destroyed, id_of);
  if (with_updated_properties) {
    writer.key("updatedProperties");
    if (changes.data.counts_only) {
      writer.start_array();
      for (std::string_view name : {"totalEmails", "unreadEmails", "totalThreads", "unreadThreads"})
        writer.string(name);
      writer.end_array();
    } else {
      writer.null();
    }
  }
  writer.end_object();
  return out;
}

std::string mailbox_key_id(const std::uint64_t& key) { return mail::mailbox_id(key); }
std::string thread_key_id(const std::uint64_t& key) { return mail::thread_id(key); }

}  // namespace

io::Task<MethodResult> mailbox_changes(CallContext& context, const rapidjson::Value& arguments) {
  const auto asked = parse_changes_arguments(context, arguments);
  if (!asked) co_return std::unexpected(asked.error());
  const auto changes = co_await context.store.mailbox_changes(asked->since, asked->max);
  if (!changes) co_return method_error_of(changes.error());
  co_return changes_response(context, *asked, *changes, mailbox_key_id, true);
}

io::Task<MethodResult> email_changes(CallContext& context, const rapidjson::Value& arguments) {
  const auto asked = parse_changes_arguments(context, arguments);
  if (!asked) co_return std::unexpected(asked.error());
  const auto changes = co_await context.store.email_changes(asked->since, asked->max);
  if (!changes) co_return method_error_of(changes.error());
  co_return changes_response(context, *asked, *changes, mail::email_id);
}

io::Task<MethodResult> thread_changes(CallContext& context, const rapidjson::Value& arguments) {
  const auto asked = parse_changes_arguments(context, arguments);
  if (!asked) co_return std::unexpected(asked.error());
  const auto changes = co_await context.store.thread_changes(asked->since, asked->max);
  if (!changes) co_return method_error_of(changes.error());
  co_return changes_response(context, *asked, *changes, thread_key_id);
}

}  // namespace postern::jmap
