// A Mailbox as JSON (RFC 8621, 2), for the methods that tell it. Private to the jmap layer.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "postern/jmap/json.hpp"
#include "postern/mail/mailstore.hpp"

namespace postern::jmap {

inline constexpr std::array<std::string_view, 11> mailbox_properties{
    "id",           "name",         "parentId",      "role",     "sortOrder",   "totalEmails",
    "unreadEmails", "totalThreads", "unreadThreads", "myRights", "isSubscribed"};

std::string_view shown_mailbox_name(const mail::Mailbox& mailbox);
bool is_mailbox_subscribed(const mail::Mailbox& mailbox);
// The property's name and value.
void write_mailbox_property(JsonWriter& writer, std::string_view property, const mail::MailboxData& data);
// All properties.
std::string mailbox_json(const mail::MailboxData& data);

}  // namespace postern::jmap
