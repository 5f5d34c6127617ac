// Roles by attribute and, failing that, by name; parents by the separator; one mailbox a role. Holds mailboxes_max
// at most.
#include "postern/mail/mailbox_list.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <unordered_map>
#include <utility>

#include "postern/base/encoding.hpp"
#include "postern/imap/command.hpp"

namespace postern::mail {
namespace {

bool has(const imap::ListResponse& response, std::string_view attribute) {
  return std::any_of(response.attributes.begin(), response.attributes.end(),
                     [&](const std::string& a) { return iequals_ascii(a, attribute); });
}

// RFC 6154, XLIST's own \Inbox, \AllMail, \Starred, \Spam, and RFC 8457.
Role role_of_attributes(const imap::ListResponse& response) {
  static constexpr std::array<std::pair<std::string_view, Role>, 12> roles{{
      {"\\inbox", Role::inbox},
      {"\\archive", Role::archive},
      {"\\drafts", Role::drafts},
      {"\\flagged", Role::flagged},
      {"\\starred", Role::flagged},
      {"\\important", Role::important},
      {"\\junk", Role::junk},
      {"\\spam", Role::junk},
      {"\\sent", Role::sent},
      {"\\trash", Role::trash},
      {"\\all", Role::all},
      {"\\allmail", Role::all},
  }};
  for (const auto& [attribute, role] : roles)
    if (has(response, attribute)) return role;
  return Role::none;
}

// Where mail programs put the special mailboxes first.
std::uint32_t sort_order_of(Role role) {
  switch (role) {
    case Role::inbox: return 1;
    case Role::drafts: return 2;
    case Role::sent: return 3;
    case Role::archive: return 4;
    case Role::junk: return 5;
    case Role::trash: return 6;
    case Role::all:
    case Role::flagged:
    case Role::important:
    case Role::subscribed: return 7;
    case Role::none: return 10;
  }
  return 10;
}

}  // namespace

std::string_view to_string(Role role) {
  switch (role) {
    case Role::none: return "";
    case Role::inbox: return "inbox";
    case Role::archive: return "archive";
    case Role::drafts: return "drafts";
    case Role::flagged: return "flagged";
    case Role::important: return "important";
    case Role::junk: return "junk";
    case Role::sent: return "sent";
    case Role::trash: return "trash";
    case Role::all: return "all";
    case Role::subscribed: return "subscribed";
  }
  return "";
}

MailboxKey mailbox_key(std::string_view object_id, std::string_view encoded_name) {
  if (!object_id.empty()) return stable_hash64("objectid\n" + std::string(object_id));
  return stable_hash64("name\n" + std::string(encoded_name));
}

Role role_of_name(std::string_view utf8_name) {
  static constexpr std::array<std::pair<std::string_view, Role>, 44> names{{
      {"sent", Role::sent},
      {"sent items", Role::sent},
      {"sent mail", Role::sent},
      {"sent messages", Role::sent},
      {"gesendet", Role::sent},
      {"gesendete objekte", Role::sent},
      {"gesendete elemente", Role::sent},
      {"envoyés", Role::sent},
      {"éléments envoyés", Role::sent},
      {"enviados", Role::sent},
      {"elementos enviados", Role::sent},
      {"inviata", Role::sent},
      {"posta inviata", Role::sent},
      {"verzonden items", Role::sent},
      {"skickat", Role::sent},
      {"отправленные", Role::sent},
      {"wysłane", Role::sent},
      {"送信済み", Role::sent},
      {"已发送", Role::sent},
      {"drafts", Role::drafts},
      {"entwürfe", Role::drafts},
      {"brouillons", Role::drafts},
      {"borradores", Role::drafts},
      {"bozze", Role::drafts},
      {"concepten", Role::drafts},
      {"черновики", Role::drafts},
      {"下書き", Role::drafts},
      {"草稿", Role::drafts},
      {"trash", Role::trash},
      {"deleted items", Role::trash},
      {"deleted messages", Role::trash},
      {"papierkorb", Role::trash},
      {"gelöschte objekte", Role::trash},
      {"corbeille", Role::trash},
      {"papelera", Role::trash},
      {"cestino", Role::trash},
      {"удаленные", Role::trash},
      {"ごみ箱", Role::trash},
      {"junk", Role::junk},
      {"spam", Role::junk},
      {"junk e-mail", Role::junk},
      {"bulk mail", Role::junk},
      {"archive", Role::archive},
      {"archiv", Role::archive},
  }};
  // ASCII letters without regard to case; others as they are usually written.
  auto lower = ascii_lower(utf8_name);
  for (const auto& [name, role] : names)
    if (name == lower || name == utf8_name) return role;
  return Role::none;
}

void MailboxListBuilder::add(const imap::ListResponse& response) {
  if (response.mailbox.empty()) return;
  // Beyond the bound nothing is kept, whatever the server goes on to send.
  const bool room = subscribed_.size() < mailboxes_max;
  if (response.command == "LSUB") {
    if (room) subscribed_[response.mailbox] = true;
    return;
  }
  if (room && has(response, "\\subscribed")) subscribed_[response.mailbox] = true;
  if (listed_.size() >= mailboxes_max && !listed_.contains(response.mailbox)) {
    truncated_ = true;
    return;
  }
  if (has(response, "\\nonexistent") && !has(response, "\\haschildren")) return;
  listed_[response.mailbox] = response;
}

void MailboxListBuilder::add(const imap::StatusDataResponse& response) {
  if (status_.size() >= mailboxes_max && !status_.contains(response.mailbox)) return;
  auto& kept = status_[response.mailbox];
  // An id may come by itself.
  auto id = response.mailbox_id ? response.mailbox_id : kept.mailbox_id;
  if (response.messages || !kept.messages) kept = response;
  kept.mailbox_id = std::move(id);
}

std::vector<Mailbox> MailboxListBuilder::finish(bool utf8_names) {
  std::vector<Mailbox> made;
  std::unordered_map<std::string, std::size_t> by_name;
  std::set<MailboxKey> keys;
  std::set<Role> taken;
  bool any_special_use = false;
  for (auto& [encoded, response] : listed_) {
    Mailbox m;
    m.encoded_name = encoded;
    m.path = utf8_names ? sanitize_utf8(encoded) : imap::decode_mailbox_utf7(encoded);
    m.separator = response.separator.value_or('\0');
    auto cut = m.separator != 0 ? m.path.rfind(m.separator) : std::string::npos;
    m.name = cut == std::string::npos || cut + 1 == m.path.size() ? m.path : m.path.substr(cut + 1);
    m.selectable = !has(response, "\\noselect") && !has(response, "\\nonexistent");
    m.may_have_children = m.separator != 0 && !has(response, "\\noinferiors");
    m.subscribed = subscribed_.contains(encoded);
    if (auto it = status_.find(encoded); it != status_.end()) {
      const auto& s = it->second;
      m.object_id = s.mailbox_id.value_or("");
      m.status =
          MailboxStatus{s.messages.value_or(0),     s.unseen.value_or(0),         s.uid_next.value_or(0),
                        s.uid_validity.value_or(0), s.highest_modseq.value_or(0), s.messages.has_value()};
    }
    m.key = mailbox_key(m.object_id, encoded);
    // Two mailboxes never share a key, even if the hash (or a broken server's OBJECTID) says so.
    for (int n = 1; !keys.insert(m.key).second; ++n)
      m.key = stable_hash64("again\n" + std::to_string(n) + "\n" + encoded);
    m.role = encoded == "INBOX" ? Role::inbox : role_of_attributes(response);
    any_special_use = any_special_use || (m.role != Role::none && m.role != Role::inbox);
    // One mailbox a role, even where the server flags two.
    if (m.role != Role::none && !taken.insert(m.role).second) m.role = Role::none;
    by_name[encoded] = made.size();
    made.push_back(std::move(m));
  }
  for (auto& m : made) {
    if (!any_special_use && m.role == Role::none && m.selectable) {
      auto role = role_of_name(m.name);
      if (role != Role::none && taken.insert(role).second) m.role = role;
    }
    m.sort_order = sort_order_of(m.role);
    if (m.separator == 0) continue;
    if (auto cut = m.encoded_name.rfind(m.separator); cut != std::string::npos)
      if (auto parent = by_name.find(m.encoded_name.substr(0, cut)); parent != by_name.end())
        m.parent = made[parent->second].key;
  }
  return made;
}

}  // namespace postern::mail
