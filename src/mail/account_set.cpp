// Email/set's update and destroy (RFC 8621, 4.6): what each change comes to at each of the places that its Email is at.
// The commands are in account_write.cpp.
#include "mail/account_set.hpp"

#include <algorithm>
#include <iterator>

#include "mail/mailbox_names.hpp"
#include "postern/base/encoding.hpp"

namespace postern::mail {

// Nothing told means all (RFC 3501, 7.1).
bool may_store(const MailboxView& view, std::string_view keyword) {
  const auto& permanent = view.permanent_flags();
  const bool told = permanent.system != 0 || !permanent.keywords.empty() || permanent.any_keyword;
  if (!told || permanent.any_keyword) return true;
  if (auto bit = system_flag_of_keyword(keyword)) return (permanent.system & bit) != 0;
  return std::any_of(permanent.keywords.begin(), permanent.keywords.end(),
                     [&](const std::string& known) { return iequals_ascii(known, keyword); });
}

std::string imap_flag(const MailboxView& view, std::string_view keyword) {
  if (auto bit = system_flag_of_keyword(keyword)) return std::string(imap_name_of_system_flag(bit));
  const auto& table = view.index().keyword_table();
  if (auto number = table.find(keyword)) return table.name(*number);
  return std::string(keyword);
}

namespace {

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& n) { return iequals_ascii(n, name); });
}

}  // namespace

std::pair<std::string, std::string> set_error_of(const Error& error, const imap::StatusResponse& refusal) {
  if (refusal.code.name == "OVERQUOTA") return {"overQuota", "the mailbox is over its quota"};
  if (refusal.code.name == "NOPERM") return {"forbidden", "the mail server doesn't permit it"};
  if (error.code == make_error_code(session::Errc::connection_lost))
    return {"serverFail",
            "the connection to the mail server broke after the change was sent: its outcome is unknown"};
  if (error.code == make_error_code(imap::Errc::no) || error.code == make_error_code(imap::Errc::bad))
    return {"forbidden", "the mail server refused: " + sanitize_utf8(refusal.text)};
  return {"serverUnavailable", "the mail server can't be reached"};
}

// A mailbox that can't be brought into step isn't changed either: its changes say so.
io::Task<Result<std::string>> Account::email_state_of(std::vector<EmailKey> ids) {
  if (auto listed = co_await refresh_mailboxes(any_age); !listed) co_return fail(listed.error());
  std::set<MailboxKey> mailboxes;
  for (const auto& id : ids)
    for (const auto& place : live_places_of(id)) mailboxes.insert(place.mailbox);
  for (auto key : mailboxes) {
    if (find_mailbox(key) == nullptr) continue;
    if (auto view = co_await view_of(key); view) (void)co_await attach(*view);
  }
  co_return state(StateType::email);
}

io::Task<Result<std::vector<SetOutcome>>> Account::update(std::vector<EmailUpdate> updates,
                                                          EffectsHook effects) {
  std::vector<Change> changes(updates.size());
  for (std::size_t i = 0; i < updates.size(); ++i) {
    changes[i].id = updates[i].id;
    changes[i].update = &updates[i];
  }
  co_return co_await change_all(std::move(changes), std::move(effects));
}

io::Task<Result<std::vector<SetOutcome>>> Account::destroy(std::vector<EmailKey> ids, EffectsHook effects) {
  std::vector<Change> changes(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) changes[i].id = ids[i];
  co_return co_await change_all(std::move(changes), std::move(effects));
}

// Mailbox by mailbox; Emails that are in several, behind those that are in one. A message that is missing because it
// has been moved meanwhile is looked for where it is now; nothing has been written for it then.
io::Task<Result<std::vector<SetOutcome>>> Account::change_all(std::vector<Change> changes,
                                                              EffectsHook effects) {
  if (auto listed = co_await refresh_mailboxes(any_age); !listed) co_return fail(listed.error());
  for (std::size_t i = 0; i < place_tries_max; ++i) {
    std::map<MailboxKey, std::vector<Change*>> by_mailbox;
    std::vector<Change*> shared;
    for (auto& change : changes) {
      bool moving = false;
      if (i > 0 && !change.is_lost()) continue;
      for (const auto& place : change.places) {
        if (!moving_.contains(place)) continue;
        moving = true;
        co_await wait_for_move(place);
      }
      const auto places = places_of(change.id);
      if (i > 0 && !moving && places == change.places) continue;
      change.begin(whole_of(change.id), places);
      if (places.size() > 1)
        shared.push_back(&change);
      else if (find_mailbox(places.front().mailbox) == nullptr)
        change.lost();
      else
        by_mailbox[places.front().mailbox].push_back(&change);
    }
    if (by_mailbox.empty() && shared.empty()) break;
    for (auto& [mailbox, here] : by_mailbox) co_await change_in(mailbox, std::move(here), effects);
    if (!shared.empty()) co_await change_shared(std::move(shared), effects);
  }
  std::vector<SetOutcome> outcomes;
  outcomes.reserve(changes.size());
  for (auto& change : changes) outcomes.push_back(std::move(change.outcome));
  co_return outcomes;
}

// The mailbox's view, in step with the server, with the keywords that are needed to tell what changes.
io::Task<Result<ViewPtr>> Account::look_into(MailboxKey mailbox, const std::vector<Change*>& changes) {
  auto view = co_await view_of(mailbox);
  if (!view) co_return view;
  if (auto attached = co_await attach_current(*view); !attached) co_return fail(attached.error());
  const bool unknown = std::any_of(changes.begin(), changes.end(), [&](const Change* change) {
    return change->update != nullptr &&
           std::any_of(change->places.begin(), change->places.end(), [&](const Place& place) {
             const auto* entry = place.mailbox == mailbox ? visible_entry(**view, place) : nullptr;
             return entry != nullptr && !entry->is_known();
           });
  });
  if (unknown)
    if (auto filled = co_await fill(*view); !filled) co_return fail(filled.error());
  co_return view;
}

io::Task<> Account::change_in(MailboxKey mailbox, std::vector<Change*> changes, EffectsHook effects) {
  co_await confirm_rights_of(changes);
  auto view = co_await look_into(mailbox, changes);
  if (!view) {
    for (auto* change : changes) change->closed(view.error());
    co_return;
  }
  std::vector<Part*> parts;
  for (auto* change : changes) {
    plan_change(*change);
    if (!change->failed()) parts.push_back(&change->parts.front());
  }
  Writing writing{std::move(effects)};
  co_await write_parts(*view, std::move(parts), Phase::all, writing);
  co_await take_back_keywords(changes);
}

// All mailboxes that they are in are looked into before anything is written. Then flags and copies everywhere, and what
// takes a message out of a mailbox when all of that is done.
io::Task<> Account::change_shared(std::vector<Change*> changes, EffectsHook effects) {
  co_await confirm_rights_of(changes);
  std::set<MailboxKey> mailboxes;
  for (const auto* change : changes)
    for (const auto& place : change->places) mailboxes.insert(place.mailbox);
  std::map<MailboxKey, ViewPtr> views;
  for (auto key : mailboxes) {
    if (find_mailbox(key) == nullptr) continue;
    auto view = co_await look_into(key, changes);
    if (view) {
      views.emplace(key, *view);
    } else if (view.error().code != make_error_code(Errc::not_found)) {
      for (auto* change : changes)
        if (std::any_of(change->places.begin(), change->places.end(),
                        [key](const Place& place) { return place.mailbox == key; }))
          change->closed(view.error());
    }
  }
  std::map<MailboxKey, std::vector<Part*>> parts;
  for (auto* change : changes) {
    std::erase_if(change->parts, [&](const Part& part) { return !views.contains(part.place.mailbox); });
    if (!change->failed()) plan_change(*change);
    if (change->failed()) continue;
    for (auto& part : change->parts) parts[part.place.mailbox].push_back(&part);
  }
  Writing writing{std::move(effects)};
  for (const auto phase : {Phase::add, Phase::take})
    for (const auto& [key, here] : parts) co_await write_parts(views.at(key), here, phase, writing);
  co_await take_back_keywords(changes);
}

// Decides what one change comes to, or says why it can't be made. Nothing has to be waited for.
void Account::plan_change(Change& change) {
  std::erase_if(change.parts, [this](const Part& part) {
    const auto view = views_.find(part.place.mailbox);
    return view == views_.end() || visible_entry(*view->second, part.place) == nullptr;
  });
  if (change.parts.empty()) return change.lost();
  for (auto& part : change.parts) {
    const auto& view = *views_.at(part.place.mailbox);
    if (change.update == nullptr)
      part.expunge = true;
    else
      plan_keywords(view, *visible_entry(view, part.place), part);
    if (change.failed()) return;
  }
  if (change.update != nullptr) plan_mailboxes(change);
  if (change.failed()) return;
  check_rights(change);
  if (change.failed()) return;
  for (const auto& part : change.parts)
    if (part.changes_mailbox() && views_.at(part.place.mailbox)->read_only())
      return change.fail_with("forbidden", "the mailbox is read-only");
  change.outcome.done = true;  // unless one of the commands fails
}

void Account::plan_keywords(const MailboxView& view, const MessageEntry& entry, Part& part) {
  auto& change = *part.change;
  const auto& update = *change.update;
  const auto current = jmap_keywords(view.index(), entry);
  auto want = [&](const std::string& keyword, bool on) {
    if (contains(current, keyword) == on) return;
    (on ? part.add : part.remove).push_back(imap_flag(view, keyword));
  };
  std::vector<std::string> named = update.keywords.value_or(std::vector<std::string>{});
  for (const auto& [keyword, on] : update.keyword_changes) named.push_back(keyword);
  for (const auto& keyword : named) {
    if (!is_keyword(keyword))
      return change.fail_with("invalidProperties", "not a keyword: " + sanitize_utf8(keyword), {"keywords"});
  }
  if (update.keywords) {
    for (const auto& keyword : *update.keywords) want(keyword, true);
    for (const auto& keyword : current)
      if (!contains(*update.keywords, keyword)) want(keyword, false);
  }
  for (const auto& [keyword, on] : update.keyword_changes) want(keyword, on);
  for (const auto& flag : part.add) {
    std::string_view keyword = flag;
    for (std::uint8_t bit :
         {imap::Flags::seen, imap::Flags::answered, imap::Flags::flagged, imap::Flags::draft})
      if (flag == imap_name_of_system_flag(bit)) keyword = keyword_of_system_flag(bit);
    if (!may_store(view, keyword))
      return change.fail_with("invalidProperties", "the mail server doesn't keep this keyword here: " + flag,
                              {"keywords"});
  }
}

// From the mailboxes that it is in to those that it is to be in: copies for all that are added but one, which gets what
// is taken out of another one, if any is; the rest of those is expunged.
void Account::plan_mailboxes(Change& change) {
  const auto& update = *change.update;
  std::set<MailboxKey> current;
  for (const auto& part : change.parts) current.insert(part.place.mailbox);
  auto wanted = current;
  if (update.mailboxes) wanted = {update.mailboxes->begin(), update.mailboxes->end()};
  for (const auto& [key, in] : update.mailbox_changes)
    in ? (void)wanted.insert(key) : (void)wanted.erase(key);
  for (auto key : wanted) {
    const auto* mailbox = find_mailbox(key);
    if (mailbox == nullptr || !mailbox->selectable)
      return change.fail_with("invalidProperties", "no such Mailbox: " + mailbox_id(key), {"mailboxIds"});
  }
  if (wanted.empty())
    return change.fail_with("invalidProperties", "an Email must be in at least one Mailbox", {"mailboxIds"});
  std::vector<MailboxKey> added;
  std::set_difference(wanted.begin(), wanted.end(), current.begin(), current.end(),
                      std::back_inserter(added));
  std::vector<Part*> taken;
  for (auto& part : change.parts)
    if (!wanted.contains(part.place.mailbox)) taken.push_back(&part);
  auto& source = taken.empty() ? change.parts.front() : *taken.front();
  for (auto* part : taken) part->expunge = true;
  if (!taken.empty() && !added.empty()) {
    source.expunge = false;
    source.move_to = added.back();
    added.pop_back();
  }
  source.copy_to = std::move(added);
  if (!source.copy_to.empty() && !may_copy())
    change.fail_with("tooManyMailboxes", "the mail server doesn't tell where copies are", {"mailboxIds"});
}

io::Task<> Account::confirm_rights_of(const std::vector<Change*>& changes) {
  std::set<MailboxKey> mailboxes;
  for (const auto* change : changes) {
    for (const auto& place : change->places) mailboxes.insert(place.mailbox);
    if (change->update == nullptr) continue;
    if (const auto& all = change->update->mailboxes) mailboxes.insert(all->begin(), all->end());
    for (const auto& [key, in] : change->update->mailbox_changes) mailboxes.insert(key);
  }
  return confirm_rights(std::move(mailboxes));
}

// RFC 8621, 4.6: what the person may not do is forbidden, where the server tells what that is.
void Account::check_rights(Change& change) const {
  for (const auto& part : change.parts) {
    const auto* here = find_mailbox(part.place.mailbox);
    if (here == nullptr) return change.lost();
    const auto rights = told_rights(*here);
    if ((part.expunge || part.move_to) && !rights.may_remove_items)
      return change.fail_with("forbidden",
                              "you may not remove Emails from the Mailbox " + mailbox_id(here->key));
    for (const auto* flags : {&part.add, &part.remove})
      if (const char* why = forbidden_flags(rights, *flags)) return change.fail_with("forbidden", why);
    auto targets = part.copy_to;
    if (part.move_to) targets.push_back(*part.move_to);
    for (auto key : targets)
      if (const auto* target = find_mailbox(key); target != nullptr && !told_rights(*target).may_add_items)
        return change.fail_with("forbidden", "you may not add Emails to the Mailbox " + mailbox_id(key));
  }
}

io::Task<bool> Account::Writing::begin() {
  if (!told) told = !effects || co_await effects();
  co_return *told;
}

bool Account::may_copy() const {
  const auto& capabilities = pool_->capabilities();
  return capabilities.empty() || capabilities.has(imap::Capability::uidplus);
}

}  // namespace postern::mail
