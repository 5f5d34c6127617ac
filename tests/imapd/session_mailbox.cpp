// CREATE, DELETE, RENAME, SUBSCRIBE, STATUS, quota and rights: RFC 3501 section 6.3, RFC 8438 (SIZE),
// RFC 8474 (MAILBOXID), RFC 9208 (QUOTA), RFC 4314 (MYRIGHTS), RFC 6855 (names in UTF-8).
#include "session.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "server.hpp"

namespace postern::testimapd {

std::string Session::read_mailbox(Cursor& args) const {
  auto name = args.astring();
  if (name.empty()) args.fail();
  return Store::canonical(utf8_ ? mutf7_encode(name) : name);
}

void Session::append_mailbox(std::string& out, const std::string& name) const {
  append_astring(out, utf8_ ? mutf7_decode(name) : name);
}

std::string Session::separator_text() const {
  auto separator = server_.store().separator();
  return separator.empty() ? "NIL" : "\"" + separator + "\"";
}

Reply Session::create(Cursor& args) {
  auto name = read_mailbox(args);
  std::string special_use;
  if (args.try_char(' ')) {  // CREATE-SPECIAL-USE, RFC 6154 section 5.3
    if (!offers("CREATE-SPECIAL-USE")) args.fail();
    args.expect('(');
    if (!args.try_word("USE")) args.fail();
    args.sp();
    for (const std::string& use : args.flag_list()) special_use += (special_use.empty() ? "" : " ") + use;
    args.expect(')');
  }
  args.end();
  if (args.failed()) return Reply::bad("CREATE expects a mailbox name");
  auto separator = server_.store().separator();
  if (!separator.empty() && name.ends_with(separator)) name.resize(name.size() - separator.size());
  if (!name.starts_with(server_.options().prefix) || name.size() > 1000)
    return Reply::no("[CANNOT] Not in the personal namespace");
  auto mailbox = name == "INBOX" ? nullptr : server_.store().create(*user_, name);
  if (!mailbox) return Reply::no("[ALREADYEXISTS] Mailbox exists");
  mailbox->special_use = special_use;
  if (offers("OBJECTID")) return Reply::ok(fmt::format("[MAILBOXID (F{})] Create completed", mailbox->id));
  return Reply::ok("Create completed");
}

Reply Session::remove(Cursor& args) {
  auto name = read_mailbox(args);
  args.end();
  if (args.failed()) return Reply::bad("DELETE expects a mailbox name");
  Mailbox* mailbox = server_.store().find(*user_, name);
  if (mailbox == nullptr) return Reply::no("[NONEXISTENT] No such mailbox");
  if (name == "INBOX") return Reply::no("[CANNOT] INBOX stays");
  if (mailbox_.get() == mailbox && server_.options().quirks.no_delete_selected)
    return Reply::no("Cannot delete currently-open folder.");
  auto separator = server_.store().separator();
  bool children =
      !separator.empty() && std::any_of(user_->mailboxes.begin(), user_->mailboxes.end(), [&](auto& entry) {
        return entry.first.starts_with(mailbox->name + separator);
      });
  if (children && mailbox->no_select) return Reply::no("[HASCHILDREN] It has children");
  if (mailbox_.get() == mailbox) leave_mailbox();
  if (!children) {
    server_.store().remove(*user_, name);
    return Reply::ok("Delete completed");
  }
  // The messages go, the name stays as \NoSelect.
  std::vector<std::uint32_t> uids;
  for (const Message& message : mailbox->messages()) uids.push_back(message.uid);
  server_.store().expunge(*mailbox, uids, this);
  mailbox->no_select = true;
  return Reply::ok("Delete completed");
}

Reply Session::rename(Cursor& args) {
  auto from = read_mailbox(args);
  args.sp();
  auto to = read_mailbox(args);
  args.end();
  if (args.failed()) return Reply::bad("RENAME expects two mailbox names");
  auto separator = server_.store().separator();
  if (server_.store().find(*user_, from) == nullptr) return Reply::no("[NONEXISTENT] No such mailbox");
  if (!separator.empty() && to.starts_with(from + separator) && from != "INBOX")
    return Reply::no("[CANNOT] Into itself");
  if (!to.starts_with(server_.options().prefix)) return Reply::no("[CANNOT] Not in the personal namespace");
  if (!server_.store().rename(*user_, from, to)) return Reply::no("[ALREADYEXISTS] Mailbox exists");
  if (server_.options().quirks.rename_uidvalidity)
    for (auto& [renamed, mailbox] : user_->mailboxes)
      if (renamed == to || (!separator.empty() && renamed.starts_with(to + separator)))
        server_.store().roll_uidvalidity(*mailbox);
  return Reply::ok("Rename completed");
}

Reply Session::subscribe(Cursor& args) {
  auto name = read_mailbox(args);
  args.end();
  if (args.failed()) return Reply::bad("SUBSCRIBE expects a mailbox name");
  Mailbox* mailbox = server_.store().find(*user_, name);
  if (mailbox == nullptr) return Reply::no("[NONEXISTENT] No such mailbox");
  mailbox->subscribed = true;
  return Reply::ok("Subscribe completed");
}

Reply Session::unsubscribe(Cursor& args) {
  auto name = read_mailbox(args);
  args.end();
  if (args.failed()) return Reply::bad("UNSUBSCRIBE expects a mailbox name");
  if (Mailbox* mailbox = server_.store().find(*user_, name)) mailbox->subscribed = false;
  user_->subscriptions_only.erase(name);
  return Reply::ok("Unsubscribe completed");
}

bool Session::read_status_items(Cursor& args, std::vector<std::string>& items) const {
  args.expect('(');
  do {
    auto item = args.upper_atom();
    bool known = item == "MESSAGES" || item == "RECENT" || item == "UIDNEXT" || item == "UIDVALIDITY" ||
                 item == "UNSEEN" || (item == "HIGHESTMODSEQ" && offers("CONDSTORE")) ||
                 (item == "SIZE" && offers("STATUS=SIZE")) || (item == "MAILBOXID" && offers("OBJECTID")) ||
                 (item == "X-GUID" && offers("X-GUID")) || (item == "DELETED" && offers("IMAP4REV2"));
    if (!known) args.fail();
    items.push_back(std::move(item));
  } while (!args.failed() && args.try_char(' '));
  args.expect(')');
  return !args.failed();
}

void Session::status_line_of(const Mailbox& mailbox, const std::vector<std::string>& items) {
  const auto& messages = mailbox.messages();
  auto count = [&](auto predicate) { return std::count_if(messages.begin(), messages.end(), predicate); };
  std::string out = "STATUS ";
  append_mailbox(out, mailbox.name);
  out += " (";
  for (const std::string& item : items) {
    if (out.back() != '(') out += ' ';
    out += item + " ";
    if (item == "MESSAGES") {
      out += std::to_string(messages.size());
    } else if (item == "RECENT") {
      out += std::to_string(messages.size() - mailbox.count_up_to(mailbox.first_recent_uid - 1));
    } else if (item == "UIDNEXT") {
      out += std::to_string(mailbox.uidnext);
    } else if (item == "UIDVALIDITY") {
      out += std::to_string(mailbox.uidvalidity);
    } else if (item == "UNSEEN") {
      out += std::to_string(count([](const Message& m) { return (m.flags & flag_seen) == 0; }));
    } else if (item == "DELETED") {
      out += std::to_string(count([](const Message& m) { return (m.flags & flag_deleted) != 0; }));
    } else if (item == "HIGHESTMODSEQ") {
      out += std::to_string(mailbox.highestmodseq);
    } else if (item == "MAILBOXID") {
      out += fmt::format("(F{})", mailbox.id);
    } else if (item == "X-GUID") {
      out += fmt::format("{:032x}", mailbox.id);
    } else if (item == "SIZE") {
      std::uint64_t size = 0;
      for (const Message& message : messages) size += message.size();
      out += std::to_string(size);
    }
  }
  untagged(out + ")");
}

Reply Session::status(Cursor& args) {
  auto name = read_mailbox(args);
  args.sp();
  std::vector<std::string> items;
  read_status_items(args, items);
  args.end();
  if (args.failed()) return Reply::bad("Malformed STATUS");
  const Mailbox* mailbox = server_.store().find(*user_, name);
  if (mailbox == nullptr || mailbox->no_select) return Reply::no("[NONEXISTENT] No such mailbox");
  if (mailbox == mailbox_.get() && server_.options().quirks.status_no_selected)
    return Reply::no("That one is selected");
  status_line_of(*mailbox, items);
  if (std::find(items.begin(), items.end(), "HIGHESTMODSEQ") != items.end())
    condstore_ = true;  // a CONDSTORE-enabling command, RFC 7162 section 3.1
  return Reply::ok("Status completed");
}

Reply Session::get_quota_root(Cursor& args) {
  auto name = read_mailbox(args);
  args.end();
  if (args.failed()) return Reply::bad("GETQUOTAROOT expects a mailbox name");
  if (server_.store().find(*user_, name) == nullptr) return Reply::no("[NONEXISTENT] No such mailbox");
  std::string out = "QUOTAROOT ";
  append_mailbox(out, name);
  untagged(out + " \"User quota\"");
  Cursor root("\"User quota\"");
  return get_quota(root);
}

Reply Session::get_quota(Cursor& args) {
  auto root = args.astring();
  args.end();
  if (args.failed()) return Reply::bad("GETQUOTA expects a quota root");
  if (root != "User quota") return Reply::no("[NONEXISTENT] No such quota root");
  std::uint64_t bytes = 0;
  for (const auto& [name, mailbox] : user_->mailboxes)
    for (const Message& message : mailbox->messages()) bytes += message.size();
  untagged(
      fmt::format("QUOTA \"User quota\" (STORAGE {} {})", (bytes + 1023) / 1024, server_.options().quota_kb));
  return Reply::ok("Getquota completed");
}

Reply Session::my_rights(Cursor& args) {
  auto name = read_mailbox(args);
  args.end();
  if (args.failed()) return Reply::bad("MYRIGHTS expects a mailbox name");
  if (server_.store().find(*user_, name) == nullptr) return Reply::no("[NONEXISTENT] No such mailbox");
  rights_line(name);
  return Reply::ok("Myrights completed");
}

void Session::rights_line(const std::string& name) {
  std::string out = "MYRIGHTS ";
  append_mailbox(out, name);
  const auto* mailbox = server_.store().find(*user_, name);
  if (mailbox != nullptr && !mailbox->rights.empty()) return untagged(out + " " + mailbox->rights);
  untagged(out + (name == "INBOX" ? " lrswipkteacd" : " lrswipkxteacd"));
}

}  // namespace postern::testimapd
