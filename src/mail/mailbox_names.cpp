// Names and places of Mailboxes, and the rights on them. How long a name may be, mailbox_name_bytes_max says.
#include "mail/mailbox_names.hpp"

#include <algorithm>
#include <utility>

#include "postern/base/encoding.hpp"
#include "postern/imap/command.hpp"

namespace postern::mail {
namespace {

// Control characters, and line and paragraph separators (RFC 5198, 2).
bool has_controls(std::string_view utf8) {
  for (std::size_t i = 0; i < utf8.size(); ++i) {
    const auto octet = static_cast<unsigned char>(utf8[i]);
    if (octet < 0x20 || octet == 0x7F) return true;
    const auto next = [&](std::size_t at) {
      return i + at < utf8.size() ? static_cast<unsigned char>(utf8[i + at]) : 0u;
    };
    if (octet == 0xC2 && next(1) >= 0x80 && next(1) <= 0x9F) return true;  // U+0080 to U+009F
    if (octet == 0xE2 && next(1) == 0x80 && (next(2) == 0xA8 || next(2) == 0xA9))
      return true;  // U+2028, U+2029
  }
  return false;
}

bool is_called(const Mailbox& mailbox, std::string_view name) {
  // INBOX is one name, however it is written (RFC 3501, 5.1).
  return mailbox.name == name || (mailbox.role == Role::inbox && iequals_ascii(name, "INBOX"));
}

}  // namespace

MailboxOutcome refused(std::string type, std::string description, std::vector<std::string> properties) {
  return {SetOutcome{false, std::move(type), std::move(description), std::move(properties)}, 0, false};
}
MailboxOutcome blocked(std::string type, std::string description, std::vector<std::string> properties) {
  auto outcome = refused(std::move(type), std::move(description), std::move(properties));
  outcome.blocked = true;
  return outcome;
}

const char* wrong_with_mailbox_name(std::string_view name, char separator) {
  if (name.empty()) return "a name has one character at least";
  if (name.size() > mailbox_name_bytes_max) return "the name is longer than maxSizeMailboxName";
  if (!is_valid_utf8(name) || has_controls(name)) return "the name holds a control character";
  if (separator != 0 && name.find(separator) != std::string_view::npos)
    return "the name holds what separates levels on the mail server";
  return nullptr;
}

bool is_within(std::string_view name, std::string_view mailbox, char separator) {
  if (!name.starts_with(mailbox)) return false;
  return name.size() == mailbox.size() || (separator != 0 && name[mailbox.size()] == separator);
}

bool has_child(const std::vector<Mailbox>& mailboxes, const Mailbox& mailbox) {
  return std::any_of(mailboxes.begin(), mailboxes.end(),
                     [&](const Mailbox& other) { return other.parent == mailbox.key; });
}

std::expected<MailboxPlace, MailboxOutcome> mailbox_place(const std::vector<Mailbox>& mailboxes,
                                                          const PersonalNamespace& personal,
                                                          const Mailbox* parent, std::string_view name,
                                                          bool utf8_names, const Mailbox* self) {
  MailboxPlace place;
  place.separator = parent != nullptr ? parent->separator : personal.separator;
  const bool renamed = self == nullptr || self->name != name;
  if (const char* wrong = renamed ? wrong_with_mailbox_name(name, place.separator) : nullptr)
    return std::unexpected(refused("invalidProperties", wrong, {"name"}));
  // A name that stays is told as it came, however the server spells it.
  std::string level;
  if (!renamed) {
    const auto cut = self->separator != 0 ? self->encoded_name.rfind(self->separator) : std::string::npos;
    level = cut == std::string::npos ? self->encoded_name : self->encoded_name.substr(cut + 1);
  } else {
    level = utf8_names ? std::string(name) : imap::encode_mailbox_utf7(name);
  }
  if (parent == nullptr) {
    place.encoded_name = personal.prefix + level;
  } else {
    if (self != nullptr && is_within(parent->encoded_name, self->encoded_name, self->separator))
      return std::unexpected(blocked("invalidProperties", "a Mailbox can't be below itself", {"parentId"}));
    if (!parent->may_have_children || parent->separator == 0)
      return std::unexpected(
          refused("invalidProperties", "there can be no Mailbox below this one", {"parentId"}));
    place.encoded_name = parent->encoded_name + parent->separator + level;
  }
  const auto parent_key = parent != nullptr ? std::optional(parent->key) : std::nullopt;
  for (const auto& other : mailboxes)
    if (&other != self &&
        (other.encoded_name == place.encoded_name || (other.parent == parent_key && is_called(other, name))))
      return std::unexpected(blocked("alreadyExists", "there is a Mailbox of this name", {"name"}));
  return place;
}

// RFC 8621, 2, "myRights". RFC 4314, 2.1.1: servers of before know c (create, and what is about the mailbox itself)
// and d (flag as \Deleted, expunge); those of now tell both kinds.
MailboxRights rights_of(const Mailbox& mailbox) {
  const bool inbox = mailbox.role == Role::inbox;
  MailboxRights rights;
  auto letters = mailbox.rights.value_or("lrswipkxte");
  if (letters.find_first_of("kxte") == std::string::npos) {
    if (letters.find('c') != std::string::npos) letters += "kx";
    if (letters.find('d') != std::string::npos) letters += "te";
  }
  const auto all_of = [&letters](std::string_view needed) {
    return std::all_of(needed.begin(), needed.end(),
                       [&](char c) { return letters.find(c) != std::string::npos; });
  };
  const bool writable = mailbox.selectable && !mailbox.read_only;
  rights.may_read_items = mailbox.selectable && !mailbox.unreadable && all_of("lr");
  rights.may_add_items = writable && all_of("i");
  rights.may_remove_items = writable && all_of("te");
  rights.may_set_seen = writable && all_of("s");
  rights.may_set_keywords = writable && all_of("w");
  rights.may_create_child = mailbox.may_have_children && all_of("k");
  rights.may_rename = rights.may_delete = !inbox && all_of("x");
  rights.may_submit = mailbox.selectable && mailbox.rights.has_value() && all_of("p");
  return rights;
}

}  // namespace postern::mail
