// Mailboxes created, renamed, moved, subscribed and deleted (RFC 8621, 2.5), one at a time in an account. What has been
// done is put into the list as it is known, so that nothing is listed anew. A mailbox is looked at by its UIDVALIDITY
// right before it is changed.
#include <algorithm>

#include "mail/account_support.hpp"
#include "mail/mailbox_names.hpp"
#include "postern/base/encoding.hpp"

namespace postern::mail {

// Whoever changes mailboxes holds it, others wait.
class Account::MailboxTurn {
 public:
  explicit MailboxTurn(Account& account) : account_(account) {
    account_.changing_mailboxes_ = std::make_shared<io::Event>(account_.context_.loop);
  }
  ~MailboxTurn() { std::exchange(account_.changing_mailboxes_, nullptr)->set(); }
  MailboxTurn(const MailboxTurn&) = delete;
  MailboxTurn& operator=(const MailboxTurn&) = delete;

 private:
  Account& account_;
};

io::Task<std::shared_ptr<Account::MailboxTurn>> Account::mailbox_turn() {
  while (auto other = changing_mailboxes_) co_await other->wait();
  co_return std::make_shared<MailboxTurn>(*this);
}

namespace {

MailboxOutcome unavailable() { return refused("serverUnavailable", "the mail server can't be reached"); }
MailboxOutcome gone() { return refused("notFound", "no such Mailbox"); }
MailboxOutcome nobody_waits() { return refused("serverFail", "nobody waits for this request any more"); }

MailboxOutcome done(MailboxKey key = 0) { return {SetOutcome{true, {}, {}, {}}, key, false}; }

imap::CommandBuilder& about(imap::CommandBuilder& command, const std::string& encoded_name) {
  return command.sp().encoded_mailbox(encoded_name).write();
}

// RFC 5530; RFC 6154, 5.3; RFC 9051, 7.1. Empty: the code says nothing about what is wrong.
std::string set_error_type(std::string_view code) {
  if (code == "ALREADYEXISTS") return "alreadyExists";
  if (code == "NONEXISTENT") return "notFound";
  if (code == "NOPERM" || code == "AUTHORIZATIONFAILED") return "forbidden";
  if (code == "OVERQUOTA" || code == "LIMIT") return "overQuota";
  if (code == "HASCHILDREN") return "mailboxHasChild";
  if (code == "CANNOT" || code == "USEATTR") return "invalidProperties";
  if (code == "INUSE" || code == "UNAVAILABLE" || code == "SERVERBUG" || code == "CONTACTADMIN" ||
      code == "CORRUPTION" || code == "EXPIRED")
    return "serverFail";
  return {};
}

// Cyrus keeps what has been deleted for a while, under the name and the second: what is made anew and deleted again in
// that second "already exists".
constexpr int delete_tries_max = 3;
constexpr Duration delete_again_after = std::chrono::milliseconds(1'100);
bool is_kept_for_now(const Error& error, const imap::StatusResponse& refusal) {
  return error.code == make_error_code(imap::Errc::no) &&
         (refusal.code.name == "ALREADYEXISTS" ||
          ascii_lower(refusal.text).find("already exists") != std::string::npos);
}

}  // namespace

// What a command that was refused, or broke off, comes to. A server that gives no reason is asked what there is now.
io::Task<MailboxOutcome> Account::why_refused(Error error, imap::StatusResponse refusal, MailboxKey key,
                                              std::string name, std::vector<std::string> properties) {
  counts_moved_ = true;  // whatever is known of the list is doubtful
  if (error.code == make_error_code(session::Errc::connection_lost))
    co_return refused(
        "serverFail",
        "the connection to the mail server broke after the change was sent: its outcome is unknown");
  if (error.code != make_error_code(imap::Errc::no) && error.code != make_error_code(imap::Errc::bad))
    co_return unavailable();
  const auto said = "the mail server refused: " + sanitize_utf8(refusal.text);
  auto type = set_error_type(refusal.code.name);
  if (type.empty()) {
    (void)co_await refresh_mailboxes(context_.options.mailbox_list_fresh);
    const bool exists = std::any_of(mailboxes_.begin(), mailboxes_.end(),
                                    [&](const Mailbox& mailbox) { return mailbox.encoded_name == name; });
    if (!name.empty() && exists)
      type = "alreadyExists";
    else if (key != 0 && find_mailbox(key) == nullptr)
      type = "notFound";
    else
      type = name.empty() ? "forbidden" : "invalidProperties";
  }
  // Nothing was there of what a Mailbox was to be made of, or below.
  if (type == "notFound" && key == 0) type = "invalidProperties";
  if (refusal.code.name == "USEATTR") properties = {"role"};
  if (type == "alreadyExists") properties = {"name"};
  if (type == "invalidProperties" && name.empty()) type = "forbidden";
  if (type != "invalidProperties" && type != "alreadyExists") properties.clear();
  co_return refused(std::move(type), said, std::move(properties));
}

io::Task<bool> Account::subscribe(session::Lease& lease, std::string name, bool on) {
  imap::CommandBuilder command(on ? "SUBSCRIBE" : "UNSUBSCRIBE", lease.capabilities());
  about(command, name);
  co_return (co_await run(lease, command)).has_value();
}

// UIDVALIDITY, counts and id of a mailbox that has just been made or renamed.
io::Task<Result<>> Account::ask_identity(session::Lease& lease, Mailbox& mailbox) {
  MailboxListBuilder builder;
  imap::ListResponse listed;
  listed.mailbox = mailbox.encoded_name;
  builder.add(listed);
  if (auto asked = co_await ask_status(lease, builder, {mailbox.encoded_name}); !asked) co_return asked;
  auto made = builder.finish(lease.capabilities().utf8_enabled());
  if (made.empty() || !made.front().status.known) co_return fail(Errc::not_found);
  mailbox.status = made.front().status;
  if (!made.front().object_id.empty()) mailbox.object_id = made.front().object_id;
  if (mailbox.object_id.empty() && lease.capabilities().has(imap::Capability::objectid)) {
    imap::CommandBuilder ask("STATUS", lease.capabilities());
    ask.sp().encoded_mailbox(mailbox.encoded_name).raw(" (MAILBOXID)").expect(imap::Expect::status);
    auto asked = co_await run(lease, ask, [&mailbox](imap::Response& response) {
      auto* status = std::get_if<imap::StatusDataResponse>(&response);
      if (status != nullptr && status->mailbox == mailbox.encoded_name)
        mailbox.object_id = status->mailbox_id.value_or("");
    });
    if (!asked && asked.error().code != make_error_code(imap::Errc::no)) co_return asked;
  }
  co_return Result<>{};
}

// --- Create ---

std::optional<MailboxOutcome> Account::check_role(const MailboxCreate& create) const {
  if (create.role == Role::none) return std::nullopt;
  const auto wrong = [](std::string description) {
    return refused("invalidProperties", std::move(description), {"role"});
  };
  if (special_use_of(create.role).empty()) return wrong("no Mailbox can be given this role");
  if (std::any_of(mailboxes_.begin(), mailboxes_.end(),
                  [&](const Mailbox& m) { return m.role == create.role; }))
    return blocked("invalidProperties", "another Mailbox has this role", {"role"});
  if (pool_->capabilities().has(imap::Capability::create_special_use)) return std::nullopt;
  const bool by_name = std::none_of(mailboxes_.begin(), mailboxes_.end(), [](const Mailbox& m) {
    return m.flagged != Role::none && m.flagged != Role::inbox;
  });
  if (by_name && role_of_name(create.name) == create.role) return std::nullopt;
  return wrong("the mail server keeps no roles that it is told");
}

io::Task<MailboxOutcome> Account::create_mailbox(MailboxCreate create, EffectsHook effects) {
  const auto turn = co_await mailbox_turn();
  if (auto listed = co_await refresh_mailboxes(any_age); !listed) co_return unavailable();
  if (create.parent) co_await confirm_rights({*create.parent});
  auto lease = co_await pool_->any();
  if (!lease) co_return unavailable();
  if (!(co_await need_namespace(*lease))) co_return unavailable();
  const auto& capabilities = lease->capabilities();
  const auto* parent = create.parent ? find_mailbox(*create.parent) : nullptr;
  if (create.parent && parent == nullptr)
    co_return refused("invalidProperties", "no such Mailbox", {"parentId"});
  if (parent != nullptr && parent->may_have_children && !rights_of(*parent).may_create_child)
    co_return refused("forbidden", "you may not create a Mailbox below this one");
  if (parent == nullptr && !known_features().may_create_top_level)
    co_return refused("forbidden", "you may not create a Mailbox at the top");
  auto place = mailbox_place(mailboxes_, *personal_, parent, create.name, capabilities.utf8_enabled());
  if (!place) co_return place.error();
  if (auto wrong = check_role(create)) co_return *wrong;
  if (mailboxes_.size() >= mailboxes_max)
    co_return refused("overQuota", "the account has too many Mailboxes");

  Mailbox made;
  made.encoded_name = place->encoded_name;
  made.name = create.name;
  made.path = utf8_mailbox_name(made.encoded_name, capabilities.utf8_enabled());
  made.separator = place->separator;
  made.may_have_children = made.separator != 0;
  if (capabilities.has(imap::Capability::create_special_use)) made.flagged = create.role;
  imap::CommandBuilder command("CREATE", capabilities);
  about(command, made.encoded_name);
  if (made.flagged != Role::none) command.raw(" (USE (").raw(special_use_of(made.flagged)).raw("))");
  if (effects && !co_await effects()) co_return nobody_waits();
  imap::StatusResponse refusal;
  auto built = command.finish();
  if (!built) co_return refused("invalidProperties", "the name is too long", {"name"});
  auto created = co_await lease->execute(std::move(*built), {}, &refusal);
  if (!created)
    co_return co_await why_refused(
        created.error(), refusal, 0, made.encoded_name,
        create.parent ? std::vector<std::string>{"name", "parentId"} : std::vector<std::string>{"name"});
  if (const auto* id = std::get_if<std::string>(&created->code.value);
      id && created->code.name == "MAILBOXID")
    made.object_id = *id;
  if (create.subscribed) made.subscribed = co_await subscribe(*lease, made.encoded_name, true);
  const auto known = co_await ask_identity(*lease, made);
  std::vector<Mailbox> alone{made};
  if (known && !(co_await ask_rights(*lease, alone, false))) alone.front().rights.reset();
  made.rights = alone.front().rights;
  auto outcome = take_created(std::move(made), known.has_value());
  // What isn't kept isn't told: the response has the place that it has.
  if (outcome.outcome.done && create.sort_order)
    (void)co_await set_sort_order(outcome.key, *create.sort_order);
  co_return outcome;
}

// It is there; where the server hasn't told what names it, the next list does.
MailboxOutcome Account::take_created(Mailbox made, bool known) {
  if (!known) {
    counts_moved_ = true;
    return refused("serverFail", "the Mailbox was created, and the mail server doesn't tell what it is");
  }
  auto all = mailboxes_;
  std::erase_if(all, [&](const Mailbox& other) { return other.encoded_name == made.encoded_name; });
  const auto name = made.encoded_name;
  all.push_back(std::move(made));
  complete_list(all);
  const auto key =
      std::find_if(all.begin(), all.end(), [&](const Mailbox& m) { return m.encoded_name == name; })->key;
  ++mailbox_changes_;
  change_list(std::move(all));
  return done(key);
}

io::Task<bool> Account::set_sort_order(MailboxKey key, std::uint32_t sort_order) {
  const auto* mailbox = find_mailbox(key);
  if (mailbox == nullptr || !co_await keep_sort_order(Mailbox(*mailbox), sort_order)) co_return false;
  const auto at = mailbox_at_.find(key);
  if (at == mailbox_at_.end() || mailboxes_[at->second].sort_order == sort_order) co_return true;
  ++mailbox_changes_;
  mailboxes_[at->second].sort_order = sort_order;
  tell_mailbox(ChangeKind::updated, key);
  co_return true;
}

// --- Update ---

// A mailbox of that name and another UIDVALIDITY is another one.
io::Task<std::optional<MailboxOutcome>> Account::look_at(session::Lease& lease, const Mailbox& mailbox,
                                                         std::uint32_t* messages) {
  if (!mailbox.selectable) co_return std::nullopt;
  imap::CommandBuilder ask("STATUS", lease.capabilities());
  ask.sp().encoded_mailbox(mailbox.encoded_name).raw(" (MESSAGES UIDVALIDITY)").expect(imap::Expect::status);
  std::optional<imap::StatusDataResponse> status;
  imap::StatusResponse refusal;
  auto asked = co_await run(
      lease, ask,
      [&](imap::Response& response) {
        auto* data = std::get_if<imap::StatusDataResponse>(&response);
        if (data != nullptr && data->mailbox == mailbox.encoded_name) status = *data;
      },
      &refusal);
  if (!asked && !is_no(asked)) co_return unavailable();
  if (!asked) {
    lease = session::Lease();
    co_return co_await why_unknown(std::move(refusal), mailbox.key);
  }
  const bool same = status && (mailbox.status.uid_validity == 0 || !status->uid_validity ||
                               *status->uid_validity == mailbox.status.uid_validity);
  if (!same) {
    counts_moved_ = true;
    co_return gone();
  }
  if (messages != nullptr) *messages = status->messages.value_or(0);
  co_return std::nullopt;
}

// Nothing has been written. Only what the server says has gone, or lists no more, is gone.
io::Task<MailboxOutcome> Account::why_unknown(imap::StatusResponse refusal, MailboxKey key) {
  counts_moved_ = true;
  const auto said = "the mail server refused: " + sanitize_utf8(refusal.text);
  if (refusal.code.name == "NONEXISTENT" || co_await is_listed(key) == false) co_return gone();
  co_return refused(is_for_good(refusal) ? "forbidden" : "serverUnavailable", said);
}

io::Task<MailboxOutcome> Account::update_mailbox(MailboxUpdate update, EffectsHook effects) {
  const auto turn = co_await mailbox_turn();
  if (auto listed = co_await refresh_mailboxes(any_age); !listed) co_return unavailable();
  const auto* mailbox = find_mailbox(update.key);
  if (mailbox == nullptr) co_return gone();
  const auto parent_key = update.parent.value_or(mailbox->parent);
  if ((update.name && *update.name != mailbox->name) || parent_key != mailbox->parent) {
    auto lease = co_await pool_->any();
    if (!lease || !(co_await need_namespace(*lease))) co_return unavailable();
    lease = session::Lease();
    std::set<MailboxKey> concerned{update.key};
    if (parent_key) concerned.insert(*parent_key);
    co_await confirm_rights(std::move(concerned));
    mailbox = find_mailbox(update.key);
    if (mailbox == nullptr) co_return gone();
    const auto* parent = parent_key ? find_mailbox(*parent_key) : nullptr;
    if (parent_key && parent == nullptr)
      co_return refused("invalidProperties", "no such Mailbox", {"parentId"});
    if (!rights_of(*mailbox).may_rename) co_return refused("forbidden", "you may not rename this Mailbox");
    if (parent != nullptr && parent_key != mailbox->parent && parent->may_have_children &&
        !rights_of(*parent).may_create_child)
      co_return refused("forbidden", "you may not move a Mailbox below this one");
    auto place = mailbox_place(mailboxes_, *personal_, parent, update.name.value_or(mailbox->name),
                               pool_->capabilities().utf8_enabled(), mailbox);
    if (!place) co_return place.error();
    if (place->separator != mailbox->separator)
      co_return refused("invalidProperties", "a Mailbox can't go to another namespace", {"parentId"});
    if (auto wrong = co_await rename_mailbox(*mailbox, place->encoded_name, effects)) co_return *wrong;
  }
  if (update.subscribed)
    if (auto wrong = co_await set_subscribed(update.key, *update.subscribed, effects)) co_return *wrong;
  if (update.sort_order && !co_await set_sort_order(update.key, *update.sort_order))
    co_return refused("serverFail", "the place of the Mailbox can't be kept");
  co_return done(update.key);
}

io::Task<std::optional<MailboxOutcome>> Account::set_subscribed(MailboxKey key, bool on,
                                                                EffectsHook effects) {
  const auto* mailbox = find_mailbox(key);
  if (mailbox == nullptr || mailbox->subscribed == on) co_return std::nullopt;
  const auto name = mailbox->encoded_name;
  auto lease = co_await pool_->any();
  if (!lease) co_return unavailable();
  if (effects && !co_await effects()) co_return nobody_waits();
  imap::CommandBuilder command(on ? "SUBSCRIBE" : "UNSUBSCRIBE", lease->capabilities());
  imap::StatusResponse refusal;
  if (auto told = co_await run(*lease, about(command, name), {}, &refusal); !told)
    co_return co_await why_refused(told.error(), refusal, key, {}, {"isSubscribed"});
  if (const auto at = mailbox_at_.find(key); at != mailbox_at_.end()) {
    ++mailbox_changes_;
    mailboxes_[at->second].subscribed = on;
    tell_mailbox(ChangeKind::updated, key);
  }
  co_return std::nullopt;
}

// RENAME takes along what is below (RFC 3501, 6.3.5), though not the subscriptions.
io::Task<std::optional<MailboxOutcome>> Account::rename_mailbox(Mailbox mailbox, std::string name,
                                                                EffectsHook effects) {
  const auto inside = [old = mailbox.encoded_name, separator = mailbox.separator](const std::string& other) {
    return is_within(other, old, separator);
  };
  auto lease = co_await pool_->without(inside);
  if (!lease) co_return unavailable();
  if (auto wrong = co_await look_at(*lease, mailbox)) co_return wrong;
  if (effects && !co_await effects()) co_return nobody_waits();
  imap::CommandBuilder command("RENAME", lease->capabilities());
  about(command, mailbox.encoded_name).sp().encoded_mailbox(name);
  imap::StatusResponse refusal;
  if (auto renamed = co_await run(*lease, command, {}, &refusal); !renamed) {
    auto why = renamed.error();
    if (why.code == make_error_code(imap::Errc::too_large))
      co_return refused("invalidProperties", "the name is too long", {"name"});
    lease = session::Lease();
    co_return co_await why_refused(std::move(why), refusal, mailbox.key, name, {"name", "parentId"});
  }
  const bool utf8_names = lease->capabilities().utf8_enabled();
  std::vector<Mailbox> before, after;
  for (const auto& known : mailboxes_) {
    if (!inside(known.encoded_name)) continue;
    before.push_back(known);
    auto& renamed = after.emplace_back(known);
    renamed.encoded_name = name + known.encoded_name.substr(mailbox.encoded_name.size());
    renamed.path = utf8_mailbox_name(renamed.encoded_name, utf8_names);
    const auto cut =
        renamed.separator != 0 ? renamed.encoded_name.rfind(renamed.separator) : std::string::npos;
    renamed.name =
        cut == std::string::npos
            ? renamed.path
            : utf8_mailbox_name(std::string_view(renamed.encoded_name).substr(cut + 1), utf8_names);
  }
  // Most servers keep UIDVALIDITY. Where the first has another one now, so may those below.
  for (auto& mailbox_now : after) {
    if (!mailbox_now.selectable) continue;
    const auto validity = mailbox_now.status.uid_validity;
    if (!(co_await ask_identity(*lease, mailbox_now))) counts_moved_ = true;
    if (mailbox_now.status.uid_validity == validity) break;
  }
  take_rename(before, after);
  // Known by their new names as well, for when it is forgotten which keys they had.
  if (sort_orders_)
    for (const auto& renamed : after)
      if (const auto order = sort_orders_->find(renamed.key); order != sort_orders_->end())
        (void)co_await keep_sort_order(renamed, std::uint32_t{order->second});
  co_await move_subscriptions(*lease, before, after);
  co_return std::nullopt;
}

void Account::take_rename(const std::vector<Mailbox>& before, std::vector<Mailbox> after) {
  auto all = mailboxes_;
  for (std::size_t i = 0; i < after.size(); ++i) {
    set_natural_key(after[i].key, mailbox_key(after[i]));
    std::erase_if(all, [&](const Mailbox& other) {
      return other.key == after[i].key || other.encoded_name == after[i].encoded_name;
    });
    if (auto told = rights_told_.extract(before[i].encoded_name); !told.empty()) {
      told.key() = after[i].encoded_name;
      rights_told_.insert(std::move(told));
    }
    all.push_back(std::move(after[i]));
  }
  complete_list(all);
  ++mailbox_changes_;
  change_list(std::move(all));
}

io::Task<> Account::move_subscriptions(session::Lease& lease, const std::vector<Mailbox>& before,
                                       const std::vector<Mailbox>& after) {
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (!before[i].subscribed) continue;
    const bool moved = co_await subscribe(lease, after[i].encoded_name, true);
    if (moved) (void)co_await subscribe(lease, before[i].encoded_name, false);
    if (const auto at = mailbox_at_.find(before[i].key); at != mailbox_at_.end())
      mailboxes_[at->second].subscribed = moved;
  }
}

// --- Destroy ---

io::Task<MailboxOutcome> Account::destroy_mailbox(MailboxKey key, bool remove_emails, EffectsHook effects) {
  const auto turn = co_await mailbox_turn();
  if (auto listed = co_await refresh_mailboxes(any_age); !listed) co_return unavailable();
  co_await confirm_rights({key});
  const auto* found = find_mailbox(key);
  if (found == nullptr) co_return gone();
  const Mailbox mailbox = *found;
  if (has_child(mailboxes_, mailbox)) co_return blocked("mailboxHasChild", "it has child Mailboxes");
  if (!rights_of(mailbox).may_delete) co_return refused("forbidden", "you may not destroy this Mailbox");
  std::uint32_t messages = 0;
  const auto messages_max = remove_emails ? std::numeric_limits<std::uint32_t>::max() : 0;
  auto wrong = co_await delete_mailbox(mailbox, messages_max, effects, messages);
  if (wrong && wrong->outcome.error_type == "mailboxHasEmail") {
    // Messages that are marked \Deleted are no Emails.
    auto view = co_await view_of(key);
    Result<> attached = view ? co_await attach_current(*view) : fail(view.error());
    if (!attached)
      co_return attached.error().code == make_error_code(Errc::not_found) ? gone() : unavailable();
    if ((*view)->index().visible() > 0) co_return *wrong;
    const auto hidden = static_cast<std::uint32_t>((*view)->index().size());
    view = fail(Errc::not_found);
    wrong = co_await delete_mailbox(mailbox, hidden, effects, messages);
  }
  if (wrong) co_return *wrong;
  forget_mailbox(key, messages > 0);
  (void)co_await keep_sort_order(mailbox, std::nullopt);
  co_return done(key);
}

// With `messages_max` in it at most. Between the look at it and DELETE nothing else is waited for.
io::Task<std::optional<MailboxOutcome>> Account::delete_mailbox(Mailbox mailbox, std::uint32_t messages_max,
                                                                EffectsHook effects,
                                                                std::uint32_t& messages) {
  auto lease = co_await pool_->without(
      [name = mailbox.encoded_name](const std::string& other) { return other == name; });
  if (!lease) co_return unavailable();
  if (effects && !co_await effects()) co_return nobody_waits();
  for (int tries = 1;; ++tries) {
    if (auto wrong = co_await look_at(*lease, mailbox, &messages)) co_return wrong;
    if (messages > messages_max) co_return refused("mailboxHasEmail", "there are Emails in it");
    imap::CommandBuilder command("DELETE", lease->capabilities());
    imap::StatusResponse refusal;
    auto deleted = co_await run(*lease, about(command, mailbox.encoded_name), {}, &refusal);
    if (deleted) break;
    if (tries < delete_tries_max && is_kept_for_now(deleted.error(), refusal)) {
      co_await context_.loop.sleep(delete_again_after);
      continue;
    }
    auto why = deleted.error();
    lease = session::Lease();
    co_return co_await why_refused(std::move(why), refusal, mailbox.key, {}, {});
  }
  // A subscription outlives its mailbox (RFC 3501, 6.3.6), and would be that of the next one of this name.
  if (mailbox.subscribed) (void)co_await subscribe(*lease, mailbox.encoded_name, false);
  co_return std::nullopt;
}

void Account::forget_mailbox(MailboxKey key, bool had_emails) {
  const auto* mailbox = find_mailbox(key);
  if (mailbox == nullptr) return;
  set_natural_key(key, key);
  rights_told_.erase(mailbox->encoded_name);
  auto all = mailboxes_;
  std::erase_if(all, [key](const Mailbox& other) { return other.key == key; });
  complete_list(all);
  ++mailbox_changes_;
  change_list(std::move(all));
  // What was in it has been told by its ids: they are needed no longer.
  std::vector<Place> places;
  for (const auto& [place, origin] : origin_of_)
    if (place.mailbox == key && place.uid != 0) places.push_back(place);
  for (const auto& [id, copies] : copies_of_)
    if (const auto place = place_of(id); place == id && place.mailbox == key) places.push_back(place);
  for (const auto& place : places) forget_place(place);
  if (had_emails) bump_all();
}

}  // namespace postern::mail
