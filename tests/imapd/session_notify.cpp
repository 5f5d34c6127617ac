// NOTIFY, RFC 5465: which events of which mailboxes are told outside commands.
#include "session.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "connection.hpp"
#include "server.hpp"

namespace postern::testimapd {

namespace {
using Scope = NotifyGroup::Scope;
constexpr std::size_t notify_groups_max = 100;
}  // namespace

// notify = "NOTIFY" SP ("NONE" / "SET" [SP "STATUS"] 1*(SP event-group))
Reply Session::notify(Cursor& args) {
  if (args.try_word("NONE")) {
    args.end();
    if (args.failed()) return Reply::bad("Malformed NOTIFY");
    notify_ = std::make_unique<std::vector<NotifyGroup>>();
    return Reply::ok("Notify completed");
  }
  if (!args.try_word("SET")) args.fail();
  args.sp();
  bool status = args.try_word("STATUS");
  if (status) args.sp();
  auto groups = std::make_unique<std::vector<NotifyGroup>>();
  do {
    NotifyGroup group;
    read_notify_group(args, group);
    groups->push_back(std::move(group));
  } while (!args.failed() && groups->size() < notify_groups_max && args.try_char(' '));
  args.end();
  if (args.failed()) return Reply::bad("Malformed NOTIFY");
  notify_ = std::move(groups);
  if (status)
    for (const auto& [name, mailbox] : user_->mailboxes) notify_status(*mailbox);
  return Reply::ok("Notify completed");
}

// event-group = "(" filter-mailboxes SP ("(" event *(SP event) ")" / "NONE") ")"
bool Session::read_notify_group(Cursor& args, NotifyGroup& group) {
  static constexpr std::pair<std::string_view, Scope> scopes[] = {
      {"SELECTED", Scope::selected},     {"SELECTED-DELAYED", Scope::selected_delayed},
      {"INBOXES", Scope::inboxes},       {"PERSONAL", Scope::personal},
      {"SUBSCRIBED", Scope::subscribed}, {"SUBTREE", Scope::subtree},
      {"MAILBOXES", Scope::mailboxes},
  };
  args.expect('(');
  auto word = args.upper_atom();
  bool known = false;
  for (auto [name, scope] : scopes)
    if (name == word) {
      group.scope = scope;
      known = true;
    }
  if (!known) args.fail();
  args.sp();
  if (group.scope == Scope::subtree || group.scope == Scope::mailboxes) {
    bool list = args.try_char('(');
    do group.names.push_back(read_mailbox(args));
    while (list && !args.failed() && args.try_char(' '));
    if (list) args.expect(')');
    args.sp();
  }
  if (args.try_word("NONE")) {
    args.expect(')');
    return !args.failed();
  }
  args.expect('(');
  for (bool more = true; more && !args.failed();) {
    auto event = args.upper_atom();
    more = args.try_char(' ');
    if (event == "MESSAGENEW") {
      group.message_new = true;
      if (more && args.peek() == '(') {
        read_fetch_items(args, group.items);
        more = args.try_char(' ');
      }
    } else if (event == "MESSAGEEXPUNGE") {
      group.message_expunge = true;
    } else if (event == "FLAGCHANGE") {
      group.flag_change = true;
    } else if (event == "MAILBOXNAME") {
      group.mailbox_name = true;
    } else if (event == "SUBSCRIPTIONCHANGE") {
      group.subscription_change = true;
    } else {
      args.fail();
    }
  }
  args.expect(')');
  args.expect(')');
  return !args.failed();
}

const NotifyGroup* Session::selected_group() const {
  if (!notify_) return nullptr;
  for (const NotifyGroup& group : *notify_)
    if (group.scope == Scope::selected || group.scope == Scope::selected_delayed) return &group;
  return nullptr;
}

// The first group that covers a mailbox which isn't selected.
const NotifyGroup* Session::group_of(const Mailbox& mailbox) const {
  if (!notify_) return nullptr;
  auto separator = server_.store().separator();
  for (const NotifyGroup& group : *notify_) {
    bool covered = group.scope == Scope::personal ||
                   (group.scope == Scope::inboxes && mailbox.name == "INBOX") ||
                   (group.scope == Scope::subscribed && mailbox.subscribed);
    for (const std::string& name : group.names)
      covered =
          covered || mailbox.name == name ||
          (group.scope == Scope::subtree && !separator.empty() && mailbox.name.starts_with(name + separator));
    if (covered) return &group;
  }
  return nullptr;
}

void Session::notify_status(const Mailbox& mailbox) {
  if (&mailbox == mailbox_.get() || mailbox.no_select) return;
  const NotifyGroup* group = group_of(mailbox);
  if (group == nullptr || (!group->message_new && !group->message_expunge && !group->flag_change)) return;
  std::vector<std::string> items{"MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN"};
  if (offers("CONDSTORE")) items.emplace_back("HIGHESTMODSEQ");
  status_line_of(mailbox, items);
}

void Session::notify_name(const Mailbox& mailbox, const std::string& old_name) {
  const NotifyGroup* group = group_of(mailbox);
  if (group == nullptr || !group->mailbox_name) return;
  auto out = fmt::format("LIST ({}) {} ", mailbox.deleted ? "\\NonExistent" : "", separator_text());
  append_mailbox(out, mailbox.name);
  if (!old_name.empty()) {
    out += " (\"OLDNAME\" (";
    append_mailbox(out, old_name);
    out += "))";
  }
  untagged(out);
}

}  // namespace postern::testimapd
