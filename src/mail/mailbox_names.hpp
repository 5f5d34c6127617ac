// What a Mailbox may be called and where it may be (RFC 8621, 2 and 2.5), over the list of mailboxes as it is. Pure;
// private to the mail layer.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "postern/mail/mailstore.hpp"

namespace postern::mail {

// Why a name can't be a level of a mailbox's name on a server with that separator; null: it can.
const char* wrong_with_mailbox_name(std::string_view name, char separator);

// A Mailbox as it is to be: its place among the others.
struct MailboxPlace {
  std::string encoded_name;  // as the server is to be told
  char separator = 0;
};
// Where a Mailbox of this name below `parent` belongs, or why it can't be there. `self` is the one that is to be
// renamed or moved; null: a new one.
std::expected<MailboxPlace, MailboxOutcome> mailbox_place(const std::vector<Mailbox>& mailboxes,
                                                          const PersonalNamespace& personal,
                                                          const Mailbox* parent, std::string_view name,
                                                          bool utf8_names, const Mailbox* self = nullptr);

// Is `name` the mailbox's, or that of one below it?
bool is_within(std::string_view name, std::string_view mailbox, char separator);
bool has_child(const std::vector<Mailbox>& mailboxes, const Mailbox& mailbox);

// The rights as MYRIGHTS tells them: whether the mailbox opens read-only is known by its view.
MailboxRights told_rights(Mailbox mailbox);
// Why these flags ("\\Seen") can't be set or taken off by these rights; null: they can.
const char* forbidden_flags(const MailboxRights& rights, const std::vector<std::string>& flags);

// A failed outcome, of something that nothing was sent for.
MailboxOutcome refused(std::string type, std::string description, std::vector<std::string> properties = {});
MailboxOutcome blocked(std::string type, std::string description, std::vector<std::string> properties = {});

}  // namespace postern::mail
