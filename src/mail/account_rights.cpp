// What the person may do with a mailbox (RFC 4314; myRights of RFC 8621, 2), where the server tells it. A change that
// isn't allowed is refused before anything is sent; what was told a while ago is asked for again first, so that nobody
// waits for a right that they have been given.
#include <algorithm>

#include "mail/account_support.hpp"
#include "mail/mailbox_names.hpp"

namespace postern::mail {
namespace {

bool has_every_right(const Mailbox& mailbox) {
  auto unlimited = mailbox;
  unlimited.rights.reset();
  auto told = told_rights(mailbox);
  const auto all = told_rights(unlimited);
  told.may_submit = all.may_submit;
  return told == all;
}

}  // namespace

MailboxRights told_rights(Mailbox mailbox) {
  mailbox.read_only = false;
  return rights_of(mailbox);
}

const char* forbidden_flags(const MailboxRights& rights, const std::vector<std::string>& flags) {
  const auto seen = std::count(flags.begin(), flags.end(), "\\Seen");
  if (seen > 0 && !rights.may_set_seen) return "you may not set $seen in this Mailbox";
  if (flags.size() > static_cast<std::size_t>(seen) && !rights.may_set_keywords)
    return "you may not set keywords in this Mailbox";
  return nullptr;
}

io::Task<Result<std::optional<std::string>>> Account::ask_my_rights(session::Lease& lease, std::string name) {
  const auto command = [&] {
    imap::CommandBuilder ask("MYRIGHTS", lease.capabilities());
    ask.sp().encoded_mailbox(name).expect(imap::Expect::other);
    return ask.finish();
  };
  std::optional<std::string> rights;
  imap::StatusResponse refusal;
  auto asked = co_await run_or_again(
      lease, command,
      [&rights](imap::Response& response) {
        if (auto* mine = std::get_if<imap::MyRightsResponse>(&response)) rights = mine->rights;
      },
      refusal);
  // NO means that nothing is known.
  if (!asked && !is_no(asked)) co_return fail(asked.error());
  co_return rights;
}

io::Task<Result<bool>> Account::may_not_read(session::Lease& lease, std::string name, bool now) {
  if (!lease.capabilities().has(imap::Capability::acl)) co_return false;
  auto told = rights_told_.find(name);
  if (now || told == rights_told_.end()) {
    auto rights = co_await ask_my_rights(lease, name);
    if (!rights) co_return fail(rights.error());
    if (!*rights) co_return false;
    told = rights_told_.insert_or_assign(name, std::move(*rights)).first;
  }
  co_return told->second && told->second->find('r') == std::string::npos;
}

io::Task<> Account::confirm_rights(std::set<MailboxKey> mailboxes) {
  for (auto key : mailboxes) {
    const auto* mailbox = find_mailbox(key);
    if (mailbox == nullptr || !mailbox->rights || has_every_right(*mailbox)) continue;
    const auto name = mailbox->encoded_name;
    const auto now = context_.loop.clock().now();
    const auto confirmed = rights_confirmed_.find(name);
    if (confirmed != rights_confirmed_.end() && now - confirmed->second < context_.options.mailbox_list_fresh)
      continue;
    auto lease = co_await pool_->any();
    if (!lease) co_return;
    auto rights = co_await ask_my_rights(*lease, name);
    if (!rights) co_return;
    rights_confirmed_[name] = now;
    rights_told_[name] = *rights;
    const auto at = mailbox_at_.find(key);
    if (at == mailbox_at_.end() || mailboxes_[at->second].encoded_name != name) continue;
    if (mailboxes_[at->second].rights == *rights) continue;
    mailboxes_[at->second].rights = std::move(*rights);
    tell_mailbox(ChangeKind::updated, key);
  }
}

}  // namespace postern::mail
