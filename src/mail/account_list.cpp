// What the list of mailboxes is made of: counts, ids, the namespace, rights, asked of the server where its LIST hasn't
// told them; and the keys of mailboxes that were renamed.
#include <algorithm>

#include "mail/account_support.hpp"
#include "postern/base/encoding.hpp"

namespace postern::mail {

namespace {

// How long what is refused without a reason is taken for passing: the list fails meanwhile, or stays what it was.
constexpr Duration refusals_pass_after = std::chrono::seconds(10);

Result<imap::Command> status_command(const imap::CapabilitySet& capabilities, const std::string& name,
                                     const std::string& items) {
  imap::CommandBuilder status("STATUS", capabilities);
  status.sp().encoded_mailbox(name).raw(" (" + items + ")").expect(imap::Expect::status);
  return status.finish();
}

}  // namespace

bool Account::may_pass(const std::string& what) {
  const auto now = context_.loop.clock().now();
  if (refused_since_.size() >= mailboxes_max) refused_since_.clear();
  return now - refused_since_.try_emplace(what, now).first->second < refusals_pass_after;
}

const Mailbox* Account::known_before(const std::string& encoded_name) const {
  const auto known = std::find_if(mailboxes_.begin(), mailboxes_.end(), [&](const Mailbox& mailbox) {
    return mailbox.encoded_name == encoded_name && mailbox.selectable;
  });
  if (known == mailboxes_.end()) return nullptr;
  return known->unreadable || known->status.known || known->status.uid_validity != 0 ? &*known : nullptr;
}

// One STATUS a mailbox. One that is refused says nothing of a mailbox that is known. Of another one nobody knows then
// what it is, nor what is in it: no id is given to it until that is told, or until it is certain that it won't be.
io::Task<Result<>> Account::ask_status(session::Lease& lease, MailboxListBuilder& builder,
                                       std::vector<std::string> names) {
  const auto capabilities = lease.capabilities();
  std::string unknown;
  for (const auto& name : names) {
    imap::StatusResponse refusal;
    const auto command = [&] { return status_command(capabilities, name, status_items(capabilities)); };
    const auto take = [&builder](imap::Response& response) {
      if (auto* data = std::get_if<imap::StatusDataResponse>(&response)) builder.add(*data);
    };
    Result<> asked;
    if (known_before(name) != nullptr)
      asked = co_await run(lease, command(), take, &refusal);
    else
      asked = co_await run_or_again(lease, command, take, refusal);
    if (!asked && !is_no(asked)) co_return asked;
    if (builder.has_status(name)) {
      refused_since_.erase(name);
      continue;
    }
    auto settled = co_await settle_unknown(lease, builder, name, std::move(refusal));
    if (!settled) co_return fail(settled.error());
    if (!*settled) unknown = name;
  }
  if (unknown.empty()) co_return Result<>{};
  context_.loop.logger().warning("the mail server doesn't tell a mailbox's status", {{"mailbox", unknown}});
  co_return fail(Errc::server_unavailable, "the mail server doesn't tell what a mailbox is");
}

io::Task<Result<bool>> Account::settle_unknown(session::Lease& lease, MailboxListBuilder& builder,
                                               std::string name, imap::StatusResponse refusal) {
  if (refusal.code.name == "NONEXISTENT") {
    builder.remove(name);
    co_return true;
  }
  const auto* known = known_before(name);
  const bool unreadable = known == nullptr || known->unreadable || is_for_good(refusal);
  if (known == nullptr && !is_for_good(refusal)) {
    auto forbidden = co_await may_not_read(lease, name, false);
    if (!forbidden) co_return fail(forbidden.error());
    if (!*forbidden && may_pass(name)) co_return false;
  }
  if (unreadable) builder.mark_unreadable(name);
  co_return true;
}

// MAILBOXID, by itself (see status_items). A mailbox keeps its id for as long as it has its name and UIDVALIDITY, so
// that a list in which nothing is new costs nothing more.
io::Task<Result<>> Account::ask_mailbox_ids(session::Lease& lease, MailboxListBuilder& builder,
                                            bool utf8_names) {
  const auto capabilities = lease.capabilities();
  std::map<std::string_view, const Mailbox*> known;
  for (const auto& mailbox : mailboxes_)
    if (!mailbox.object_id.empty()) known.emplace(mailbox.encoded_name, &mailbox);
  std::vector<std::string> unknown;
  for (const auto& mailbox : builder.finish(utf8_names)) {
    if (!mailbox.selectable) continue;
    const auto found = known.find(mailbox.encoded_name);
    // A STATUS that is left out once (RFC 5819, 2), or refused, says nothing: the mailbox is still the one it was.
    if (found == known.end() && !mailbox.status.known) continue;
    if (found == known.end() || (mailbox.status.uid_validity != 0 &&
                                 found->second->status.uid_validity != mailbox.status.uid_validity)) {
      unknown.push_back(mailbox.encoded_name);
      continue;
    }
    imap::StatusDataResponse id;
    id.mailbox = mailbox.encoded_name;
    id.mailbox_id = found->second->object_id;
    builder.add(id);
  }
  auto collect = [&builder](imap::Response& response) {
    if (auto* status = std::get_if<imap::StatusDataResponse>(&response)) builder.add(*status);
  };
  if (!unknown.empty() && lease.tiers().list_status && capabilities.has(imap::Capability::list_extended)) {
    imap::CommandBuilder list("LIST", capabilities);
    list.raw(" \"\" \"*\" RETURN (STATUS (MAILBOXID))").expect(imap::Expect::list | imap::Expect::status);
    if (auto asked = co_await run(lease, list, collect); !asked) co_return asked;
  }
  bool all_known = true;
  for (const auto& name : unknown) {
    const auto what = "MAILBOXID " + name;
    imap::StatusResponse refusal;
    Result<> asked;
    if (!builder.has_id(name))
      asked = co_await run_or_again(
          lease, [&] { return status_command(capabilities, name, "MAILBOXID"); }, collect, refusal);
    if (!asked && !is_no(asked)) co_return asked;
    // Without an id it would be known by another one of ours.
    if (asked)
      refused_since_.erase(what);
    else if (refusal.code.name == "NONEXISTENT")
      builder.remove(name);
    else if (!is_for_good(refusal) && may_pass(what))
      all_known = false;
  }
  if (!all_known) co_return fail(Errc::server_unavailable, "the mail server doesn't tell what a mailbox is");
  co_return Result<>{};
}

// NAMESPACE (RFC 2342), once, and only where the list has something under INBOX that it may be about. A server without
// it, or with nothing to say, has one namespace, with the separator that INBOX has.
io::Task<Result<>> Account::ask_namespace(session::Lease& lease, const std::vector<Mailbox>& listed,
                                          bool needed) {
  if (personal_) co_return Result<>{};
  const bool matters = needed || std::any_of(listed.begin(), listed.end(), [](const Mailbox& mailbox) {
                         return mailbox.separator != 0 &&
                                mailbox.encoded_name.starts_with(std::string("INBOX") + mailbox.separator);
                       });
  if (!matters) co_return Result<>{};
  PersonalNamespace personal;
  const auto inbox = std::find_if(listed.begin(), listed.end(),
                                  [](const Mailbox& mailbox) { return mailbox.encoded_name == "INBOX"; });
  if (inbox != listed.end()) personal.separator = inbox->separator;
  if (lease.capabilities().has(imap::Capability::namespace_)) {
    const auto command = [&lease] {
      imap::CommandBuilder names("NAMESPACE", lease.capabilities());
      names.expect(imap::Expect::other);
      return names.finish();
    };
    imap::StatusResponse refusal;
    auto asked = co_await run_or_again(
        lease, command,
        [&personal](imap::Response& response) {
          auto* spaces = std::get_if<imap::NamespaceResponse>(&response);
          if (spaces == nullptr || spaces->personal.empty()) return;
          personal.prefix = spaces->personal.front().prefix;
          personal.separator = spaces->personal.front().separator.value_or('\0');
          personal.told = true;
          personal.others.clear();
          for (const auto* group : {&spaces->personal, &spaces->other_users, &spaces->shared})
            for (const auto& space : *group)
              if (&space != &spaces->personal.front()) personal.others.push_back(space.prefix);
        },
        refusal);
    if (!asked && !is_no(asked)) co_return asked;
  } else {
    personal.told = true;  // there is but one
  }
  personal_ = std::move(personal);
  co_return Result<>{};
}

// Once somebody wants to put a mailbox somewhere.
io::Task<Result<>> Account::need_namespace(session::Lease& lease) {
  if (personal_) co_return Result<>{};
  if (auto asked = co_await ask_namespace(lease, std::vector<Mailbox>(mailboxes_), true); !asked)
    co_return asked;
  auto all = mailboxes_;
  complete_list(all);
  change_list(std::move(all));
  co_return Result<>{};
}

ServerFeatures Account::known_features() {
  ServerFeatures features;
  const auto& capabilities = pool_->capabilities();
  features.known = !capabilities.empty();
  features.quotas = capabilities.has(imap::Capability::quota) || meter_->has_limits();
  features.several_mailboxes = may_copy();
  features.mailbox_levels =
      mailboxes_.empty() || std::any_of(mailboxes_.begin(), mailboxes_.end(),
                                        [](const Mailbox& mailbox) { return mailbox.separator != 0; });
  // Where the top is below a mailbox, it takes the right to create there.
  if (personal_ && !personal_->prefix.empty())
    for (const auto& mailbox : mailboxes_)
      if (mailbox.rights && personal_->prefix.size() == mailbox.encoded_name.size() + 1 &&
          personal_->prefix.starts_with(mailbox.encoded_name))
        features.may_create_top_level = mailbox.rights->find_first_of("kc") != std::string::npos;
  return features;
}

io::Task<ServerFeatures> Account::ask_features() {
  if (pool_->capabilities().empty()) (void)co_await pool_->connect();
  co_return known_features();
}

bool Account::rights_are_due() const {
  return !rights_asked_ || context_.loop.clock().now() - *rights_asked_ >= context_.options.rights_fresh ||
         std::any_of(mailboxes_.begin(), mailboxes_.end(), [this](const Mailbox& mailbox) {
           return mailbox.selectable && !rights_told_.contains(mailbox.encoded_name);
         });
}

// MYRIGHTS (RFC 4314, 3.5), where LIST hasn't brought them along (RFC 8440). They change seldom, so that a list in
// which nothing is new costs nothing more.
io::Task<Result<>> Account::ask_rights(session::Lease& lease, std::vector<Mailbox>& listed, bool with_list) {
  if (!lease.capabilities().has(imap::Capability::acl)) co_return Result<>{};
  const auto now = context_.loop.clock().now();
  if (!rights_asked_ || now - *rights_asked_ >= context_.options.rights_fresh) {
    rights_told_.clear();
    rights_confirmed_.clear();
    rights_asked_ = now;
  }
  for (auto& mailbox : listed) {
    if (!mailbox.selectable) continue;
    if (with_list) {
      rights_told_[mailbox.encoded_name] = mailbox.rights;
      continue;
    }
    auto told = rights_told_.find(mailbox.encoded_name);
    if (told == rights_told_.end()) {
      auto rights = co_await ask_my_rights(lease, mailbox.encoded_name);
      if (!rights) co_return fail(rights.error());
      const auto what = "MYRIGHTS " + mailbox.encoded_name;
      if (!*rights && may_pass(what)) {
        if (const auto* known = known_before(mailbox.encoded_name)) mailbox.rights = known->rights;
        continue;
      }
      if (*rights) refused_since_.erase(what);
      told = rights_told_.insert_or_assign(mailbox.encoded_name, std::move(*rights)).first;
    }
    mailbox.rights = told->second;
  }
  co_return Result<>{};
}

bool Account::is_another(const MailboxView& view) const {
  const auto* mailbox = find_mailbox(view.key());
  return mailbox != nullptr && mailbox->object_id.empty() && mailbox->encoded_name != "INBOX" &&
         mailbox->status.uid_validity != 0 && view.uid_validity() != 0 &&
         view.uid_validity() != mailbox->status.uid_validity;
}

void Account::complete_list(std::vector<Mailbox>& fresh) {
  std::unordered_map<std::string_view, const Mailbox*> before;
  for (const auto& mailbox : mailboxes_) before.emplace(mailbox.encoded_name, &mailbox);
  std::set<MailboxKey> taken;
  std::vector<Mailbox*> others;
  for (auto& mailbox : fresh) {
    const auto known = before.find(mailbox.encoded_name);
    // A STATUS that is left out once (RFC 5819, 2), or refused, says nothing: the mailbox is still the one it was.
    if (known != before.end() && mailbox.selectable && !mailbox.status.known) {
      mailbox.object_id = known->second->object_id;
      mailbox.status = known->second->status;
      mailbox.status.known = false;
      mailbox.unreadable = mailbox.unreadable || known->second->unreadable;
    }
    const auto natural = mailbox_key(mailbox);
    mailbox.key = key_of(natural);
    if (mailbox.key == natural || !taken.insert(mailbox.key).second) others.push_back(&mailbox);
  }
  // Those that were renamed have their keys; no other one gets any of these, nor two the same.
  for (auto* mailbox : others)
    for (int n = 1; !taken.insert(mailbox->key).second; ++n)
      mailbox->key = stable_hash64("again\n" + std::to_string(n) + "\n" + mailbox->encoded_name);
  arrange(fresh, prefix());
  for (auto& mailbox : fresh) {
    if (const auto* known = find_mailbox(mailbox.key)) mailbox.read_only = known->read_only;
    mailbox.sort_order = sort_order_of(mailbox.key, mailbox_key(mailbox)).value_or(mailbox.sort_order);
  }
}

// Mailboxes share the table of redirects with messages: UID 0 is no message's. What a key leads to is marked by a
// UIDVALIDITY of 1, so that the one is never taken for the other where names are swapped. The place that a client has
// given to a mailbox among others is kept there, too, in a UIDVALIDITY of 2^31 and more.
namespace {
constexpr std::uint32_t sort_order_mark = 0x80000000;
Place mailbox_origin(MailboxKey key) { return {key, 0, 0}; }
Place mailbox_current(MailboxKey natural) { return {natural, 1, 0}; }
Place order_origin(MailboxKey key) { return {key, 2, 0}; }
Place order_current(MailboxKey key, std::uint32_t order) { return {key, sort_order_mark | order, 0}; }
}  // namespace

// A mailbox that was renamed is known by the key that it had; once that is forgotten, with the segment, by its own.
std::optional<std::uint32_t> Account::sort_order_of(MailboxKey key, MailboxKey natural) const {
  if (sort_orders_)
    for (auto known : {key, natural})
      if (const auto found = sort_orders_->find(known); found != sort_orders_->end()) return found->second;
  const auto found = current_of_.find(order_origin(key));
  if (found == current_of_.end()) return std::nullopt;
  return found->second.uid_validity & ~sort_order_mark;
}

io::Task<> Account::load_sort_orders() {
  if (order_store_ == nullptr || sort_orders_) co_return;
  auto known = co_await order_store_->orders();
  if (known)
    sort_orders_ = std::move(*known);
  else
    context_.loop.logger().warning("the places of mailboxes can't be read",
                                   {{"error", known.error().to_string()}});
}

io::Task<bool> Account::keep_sort_order(Mailbox mailbox, std::optional<std::uint32_t> sort_order) {
  if (order_store_ == nullptr) {
    keep_in_segment(mailbox.key, sort_order);
    co_return true;
  }
  co_await load_sort_orders();
  if (!sort_orders_) co_return false;
  for (auto key : std::set{mailbox.key, mailbox_key(mailbox)}) {
    if (!sort_order && !sort_orders_->contains(key)) continue;
    if (auto put = co_await order_store_->put(key, sort_order); !put) {
      context_.loop.logger().warning("the place of a mailbox can't be kept",
                                     {{"error", put.error().to_string()}});
      co_return false;
    }
    if (sort_order)
      sort_orders_->insert_or_assign(key, *sort_order);
    else
      sort_orders_->erase(key);
  }
  keep_in_segment(mailbox.key, std::nullopt);  // where it was before there was a store
  co_return true;
}

void Account::keep_in_segment(MailboxKey key, std::optional<std::uint32_t> sort_order) {
  if (const auto before = current_of_.find(order_origin(key)); before != current_of_.end())
    drop_redirect_to(Place(before->second));
  if (sort_order) add_redirect(order_origin(key), order_current(key, *sort_order));
}

MailboxKey Account::key_of(MailboxKey natural) const {
  const auto found = origin_of_.find(mailbox_current(natural));
  return found == origin_of_.end() ? natural : found->second.mailbox;
}

void Account::set_natural_key(MailboxKey key, MailboxKey natural) {
  const auto origin = mailbox_origin(key), current = mailbox_current(natural);
  if (const auto before = current_of_.find(origin); before != current_of_.end() && before->second == current)
    return;
  drop_redirect_to(current);  // of one that had the name before, and is gone
  if (key == natural) {
    if (const auto before = current_of_.find(origin); before != current_of_.end())
      drop_redirect_to(Place(before->second));
    return;
  }
  add_redirect(origin, current);
}

}  // namespace postern::mail
