// Mailbox/get (RFC 8621, 2).
#include <algorithm>
#include <array>

#include "jmap/methods.hpp"

namespace postern::jmap {
namespace {

constexpr std::array<std::string_view, 11> mailbox_properties{
    "id",           "name",         "parentId",      "role",     "sortOrder",   "totalEmails",
    "unreadEmails", "totalThreads", "unreadThreads", "myRights", "isSubscribed"};

void write_rights(JsonWriter& writer, const mail::Mailbox& mailbox) {
  writer.start_object();
  writer.member_bool("mayReadItems", mailbox.selectable);
  writer.member_bool("mayAddItems", mailbox.selectable);
  writer.member_bool("mayRemoveItems", mailbox.selectable);
  writer.member_bool("maySetSeen", mailbox.selectable);
  writer.member_bool("maySetKeywords", mailbox.selectable);
  // Mailboxes themselves can't be changed through this version of the API.
  writer.member_bool("mayCreateChild", false);
  writer.member_bool("mayRename", false);
  writer.member_bool("mayDelete", false);
  writer.member_bool("maySubmit", false);
  writer.end_object();
}

void write_property(JsonWriter& writer, std::string_view property, const mail::MailboxData& data) {
  const auto& mailbox = data.mailbox;
  writer.key(property);
  if (property == "id") {
    writer.string(mail::mailbox_id(mailbox.key));
  } else if (property == "name") {
    writer.string(mailbox.role == mail::Role::inbox ? "Inbox" : mailbox.name);
  } else if (property == "parentId") {
    mailbox.parent ? writer.string(mail::mailbox_id(*mailbox.parent)) : writer.null();
  } else if (property == "role") {
    mailbox.role == mail::Role::none ? writer.null() : writer.string(to_string(mailbox.role));
  } else if (property == "sortOrder") {
    writer.uint(mailbox.sort_order);
  } else if (property == "totalEmails") {
    writer.uint(data.total_emails);
  } else if (property == "unreadEmails") {
    writer.uint(data.unread_emails);
  } else if (property == "totalThreads") {
    writer.uint(data.total_threads);
  } else if (property == "unreadThreads") {
    writer.uint(data.unread_threads);
  } else if (property == "myRights") {
    write_rights(writer, mailbox);
  } else {
    writer.boolean(mailbox.subscribed || mailbox.role == mail::Role::inbox);
  }
}

}  // namespace

io::Task<MethodResult> mailbox_get(CallContext& context, const rapidjson::Value& arguments) {
  if (auto ok = check_account(context, arguments); !ok) co_return std::unexpected(ok.error());
  if (auto ok = check_names(arguments, {"accountId", "ids", "properties"}); !ok)
    co_return std::unexpected(ok.error());
  auto ids = get_ids(context, arguments);
  if (!ids) co_return std::unexpected(ids.error());
  auto asked = get_strings(arguments, "properties", mailbox_properties.size() * 2);
  if (!asked) co_return invalid_arguments(asked.error());
  std::vector<std::string_view> properties{mailbox_properties.begin(), mailbox_properties.end()};
  if (*asked) {
    for (std::size_t i = 0; i < (*asked)->size(); ++i)
      if (std::find(mailbox_properties.begin(), mailbox_properties.end(), (**asked)[i]) ==
          mailbox_properties.end())
        co_return invalid_arguments({json_pointer("/properties", i), "unknown property"});
    std::erase_if(properties, [&](std::string_view p) {
      return p != "id" && std::find((*asked)->begin(), (*asked)->end(), p) == (*asked)->end();
    });
  }
  auto all = co_await context.store.mailboxes();
  if (!all) co_return method_error_of(all.error());
  context.freshness = both(context.freshness, all->freshness);

  std::string out;
  JsonWriter writer(out);
  begin_get_response(writer, context, all->state);
  std::vector<std::string_view> missing = *ids ? **ids : std::vector<std::string_view>{};
  std::sort(missing.begin(), missing.end());
  missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
  for (const auto& data : all->data) {
    const auto id = mail::mailbox_id(data.mailbox.key);
    if (*ids) {
      auto it = std::find(missing.begin(), missing.end(), id);
      if (it == missing.end()) continue;
      missing.erase(it);
    }
    writer.start_object();
    for (auto property : properties) write_property(writer, property, data);
    writer.end_object();
  }
  end_get_response(writer, missing);
  co_return out;
}

}  // namespace postern::jmap
