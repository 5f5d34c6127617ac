// What LIST, LSUB, STATUS and MYRIGHTS have told, put together; roles by attribute and, failing that, by name; parents
// by the separator. Holds mailboxes_max at most.
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

bool is_selectable(const imap::ListResponse& response) {
  return !has(response, "\\noselect") && !has(response, "\\nonexistent");
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

void take_told(imap::StatusDataResponse& told, const imap::StatusDataResponse& fresh) {
  if (told.uid_validity && fresh.uid_validity && *told.uid_validity != *fresh.uid_validity) {
    told = fresh;
    return;
  }
  const auto take = [](auto& known, const auto& now) { known = now ? now : known; };
  told.mailbox = fresh.mailbox;
  take(told.messages, fresh.messages);
  take(told.unseen, fresh.unseen);
  take(told.uid_next, fresh.uid_next);
  take(told.uid_validity, fresh.uid_validity);
  take(told.highest_modseq, fresh.highest_modseq);
  take(told.mailbox_id, fresh.mailbox_id);
}

void MailboxListBuilder::add(const imap::StatusDataResponse& response) {
  if (status_.size() >= mailboxes_max && !status_.contains(response.mailbox)) return;
  take_told(status_[response.mailbox], response);
}

const imap::StatusDataResponse* MailboxListBuilder::status_of(const std::string& encoded_name) const {
  const auto found = status_.find(encoded_name);
  return found == status_.end() ? nullptr : &found->second;
}

void MailboxListBuilder::add(const imap::MyRightsResponse& response) {
  if (rights_.size() < mailboxes_max || rights_.contains(response.mailbox))
    rights_[response.mailbox] = response.rights;
}

bool MailboxListBuilder::has_status(const std::string& encoded_name) const {
  const auto* told = status_of(encoded_name);
  return told != nullptr && told->messages.has_value();
}

bool MailboxListBuilder::has_id(const std::string& encoded_name) const {
  const auto* told = status_of(encoded_name);
  return told != nullptr && told->mailbox_id.has_value();
}

std::vector<std::string> MailboxListBuilder::selectable() const {
  std::vector<std::string> names;
  for (const auto& [name, response] : listed_)
    if (is_selectable(response)) names.push_back(name);
  return names;
}

std::string utf8_mailbox_name(std::string_view encoded, bool utf8_names) {
  return utf8_names ? sanitize_utf8(encoded) : imap::decode_mailbox_utf7(encoded);
}

MailboxKey mailbox_key(const Mailbox& mailbox) {
  if (!mailbox.object_id.empty()) return stable_hash64("objectid\n" + mailbox.object_id);
  auto identity = "name\n" + mailbox.encoded_name;
  // There is but one INBOX, whatever becomes of its messages.
  if (mailbox.encoded_name != "INBOX" && mailbox.status.uid_validity != 0)
    identity += "\n" + std::to_string(mailbox.status.uid_validity);
  return stable_hash64(identity);
}

std::vector<Mailbox> MailboxListBuilder::finish(bool utf8_names, std::string_view prefix) {
  std::vector<Mailbox> made;
  made.reserve(listed_.size());
  std::set<MailboxKey> keys;
  for (auto& [encoded, response] : listed_) {
    Mailbox m;
    m.encoded_name = encoded;
    m.path = utf8_mailbox_name(encoded, utf8_names);
    m.separator = response.separator.value_or('\0');
    // The last level by the name as it came: a separator may stand encoded within it.
    auto cut = m.separator != 0 ? encoded.rfind(m.separator) : std::string::npos;
    m.name = cut == std::string::npos || cut + 1 == encoded.size()
                 ? m.path
                 : utf8_mailbox_name(std::string_view(encoded).substr(cut + 1), utf8_names);
    m.selectable = is_selectable(response);
    m.unreadable = unreadable_.contains(encoded);
    m.may_have_children = m.separator != 0 && !has(response, "\\noinferiors");
    m.subscribed = subscribed_.contains(encoded);
    if (auto it = status_.find(encoded); it != status_.end()) {
      const auto& s = it->second;
      m.object_id = s.mailbox_id.value_or("");
      m.status =
          MailboxStatus{s.messages.value_or(0),     s.unseen.value_or(0),         s.uid_next.value_or(0),
                        s.uid_validity.value_or(0), s.highest_modseq.value_or(0), s.messages.has_value()};
    }
    if (auto it = rights_.find(encoded); it != rights_.end()) m.rights = it->second;
    m.key = mailbox_key(m);
    // Two mailboxes never share a key, even if the hash (or a broken server's OBJECTID) says so.
    for (int n = 1; !keys.insert(m.key).second; ++n)
      m.key = stable_hash64("again\n" + std::to_string(n) + "\n" + encoded);
    m.flagged = encoded == "INBOX" ? Role::inbox : role_of_attributes(response);
    made.push_back(std::move(m));
  }
  arrange(made, prefix);
  return made;
}

void arrange(std::vector<Mailbox>& mailboxes, std::string_view prefix) {
  std::sort(mailboxes.begin(), mailboxes.end(),
            [](const Mailbox& a, const Mailbox& b) { return a.encoded_name < b.encoded_name; });
  const auto is_special = [](const Mailbox& m) {
    return m.flagged != Role::none && m.flagged != Role::inbox;
  };
  const bool any_special_use = std::any_of(mailboxes.begin(), mailboxes.end(), is_special);
  std::unordered_map<std::string_view, MailboxKey> by_name;
  std::vector<Mailbox*> by_depth;  // a mailbox of the person's own comes before one in somebody's folders
  for (auto& m : mailboxes) {
    by_name[m.encoded_name] = m.key;
    by_depth.push_back(&m);
    m.role = Role::none;
    m.parent.reset();
  }
  const auto depth = [](const Mailbox* m) {
    return m->separator == 0 ? 0 : std::count(m->encoded_name.begin(), m->encoded_name.end(), m->separator);
  };
  std::sort(by_depth.begin(), by_depth.end(), [&](const Mailbox* a, const Mailbox* b) {
    return std::pair(depth(a), a) < std::pair(depth(b), b);
  });
  // One mailbox a role, even where the server flags two.
  std::set<Role> taken;
  for (auto* m : by_depth)
    if (m->flagged != Role::none && taken.insert(m->flagged).second) m->role = m->flagged;
  for (auto* m : by_depth) {
    if (any_special_use || m->role != Role::none || !m->selectable) continue;
    const auto role = role_of_name(m->name);
    if (role != Role::none && taken.insert(role).second) m->role = role;
  }
  for (auto& m : mailboxes) {
    m.sort_order = sort_order_of(m.role);
    // What is below the mailbox that the namespace begins with is at the top.
    if (prefix.size() == m.encoded_name.size() + 1 && prefix.starts_with(m.encoded_name) &&
        prefix.back() == m.separator)
      m.may_have_children = false;
    const auto cut = m.separator != 0 ? m.encoded_name.rfind(m.separator) : std::string::npos;
    // The first level of the personal namespace is nobody's child: on a server that keeps all under INBOX the person
    // has folders, not INBOX's children.
    if (cut == std::string::npos || (m.encoded_name.starts_with(prefix) && cut < prefix.size())) continue;
    if (const auto parent = by_name.find(std::string_view(m.encoded_name).substr(0, cut));
        parent != by_name.end())
      m.parent = parent->second;
  }
}

}  // namespace postern::mail
