// A Mailbox as JSON.
#include "jmap/mailbox_json.hpp"

namespace postern::jmap {
namespace {

void write_rights(JsonWriter& writer, const mail::MailboxRights& rights) {
  writer.start_object();
  writer.member_bool("mayReadItems", rights.may_read_items);
  writer.member_bool("mayAddItems", rights.may_add_items);
  writer.member_bool("mayRemoveItems", rights.may_remove_items);
  writer.member_bool("maySetSeen", rights.may_set_seen);
  writer.member_bool("maySetKeywords", rights.may_set_keywords);
  writer.member_bool("mayCreateChild", rights.may_create_child);
  writer.member_bool("mayRename", rights.may_rename);
  writer.member_bool("mayDelete", rights.may_delete);
  writer.member_bool("maySubmit", rights.may_submit);
  writer.end_object();
}

}  // namespace

std::string_view shown_mailbox_name(const mail::Mailbox& mailbox) {
  return mailbox.encoded_name == "INBOX" || mailbox.role == mail::Role::inbox
             ? std::string_view("Inbox")
             : std::string_view(mailbox.name);
}

bool is_mailbox_subscribed(const mail::Mailbox& mailbox) {
  return mailbox.subscribed || mailbox.role == mail::Role::inbox;
}

void write_mailbox_property(JsonWriter& writer, std::string_view property, const mail::MailboxData& data) {
  const auto& mailbox = data.mailbox;
  writer.key(property);
  if (property == "id") {
    writer.string(mail::mailbox_id(mailbox.key));
  } else if (property == "name") {
    writer.string(shown_mailbox_name(mailbox));
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
    write_rights(writer, mail::rights_of(mailbox));
  } else {
    writer.boolean(is_mailbox_subscribed(mailbox));
  }
}

std::string mailbox_json(const mail::MailboxData& data) {
  std::string out;
  JsonWriter writer(out);
  writer.start_object();
  for (auto property : mailbox_properties) write_mailbox_property(writer, property, data);
  writer.end_object();
  return out;
}

}  // namespace postern::jmap
