// Email/set's update and destroy (RFC 8621, 4.6): STORE, MOVE (or COPY and UID EXPUNGE), never repeated
// blindly. Every half-done outcome leaves a message in at least one mailbox.
#include <algorithm>

#include "mail/account_support.hpp"
#include "postern/base/encoding.hpp"
#include "postern/imap/limits.hpp"

namespace postern::mail {

struct Account::Change {
  EmailKey id;
  Place place;
  std::vector<std::string> add, remove;  // IMAP flags
  std::optional<MailboxKey> target;
  const EmailUpdate* update = nullptr;  // null: to be destroyed
  bool moved = false;                   // by us
  SetOutcome outcome;

  bool failed() const { return !outcome.error_type.empty(); }
  void fail_with(std::string type, std::string description, std::vector<std::string> properties = {}) {
    outcome = {false, std::move(type), std::move(description), std::move(properties)};
  }
  bool is_lost() const { return outcome.error_type == not_found; }
  void begin(const Place& at) {
    place = at;
    add.clear();
    remove.clear();
    target.reset();
    outcome = {};
  }
  void lost() { fail_with(not_found, "no such Email"); }
  bool has_effect() const { return update == nullptr || !add.empty() || !remove.empty() || target; }

 private:
  static constexpr const char* not_found = "notFound";
};

namespace {

// Flags that may be set, as the server has told it; nothing told means all (RFC 3501, 7.1).
bool may_store(const MailboxView& view, std::string_view keyword) {
  const auto& permanent = view.permanent_flags();
  const bool told = permanent.system != 0 || !permanent.keywords.empty() || permanent.any_keyword;
  if (!told || permanent.any_keyword) return true;
  if (auto bit = system_flag_of_keyword(keyword)) return (permanent.system & bit) != 0;
  return std::any_of(permanent.keywords.begin(), permanent.keywords.end(),
                     [&](const std::string& known) { return iequals_ascii(known, keyword); });
}

// "\Seen" for "$seen"; a keyword in the spelling that the mailbox has it in.
std::string imap_flag(const MailboxView& view, std::string_view keyword) {
  if (auto bit = system_flag_of_keyword(keyword)) return std::string(imap_name_of_system_flag(bit));
  const auto& table = view.index().keyword_table();
  if (auto number = table.find(keyword)) return table.name(*number);
  return std::string(keyword);
}

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& n) { return iequals_ascii(n, name); });
}

// What a refused command means for the messages it was about.
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

}  // namespace

// A mailbox that can't be brought into step isn't changed either: its changes say so.
io::Task<Result<std::string>> Account::email_state_of(std::vector<EmailKey> ids) {
  if (auto listed = co_await refresh_mailboxes(any_age); !listed) co_return fail(listed.error());
  std::set<MailboxKey> mailboxes;
  for (const auto& id : ids) mailboxes.insert(place_of(id).mailbox);
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

// Mailbox by mailbox. A message that is missing because it has been moved meanwhile is looked for where it is now;
// nothing has been written for it then.
io::Task<Result<std::vector<SetOutcome>>> Account::change_all(std::vector<Change> changes,
                                                              EffectsHook effects) {
  if (auto listed = co_await refresh_mailboxes(any_age); !listed) co_return fail(listed.error());
  for (int i = 0; i < place_tries_max; ++i) {
    std::map<MailboxKey, std::vector<Change*>> by_mailbox;
    for (auto& change : changes) {
      const auto place = place_of(change.id);
      if (i > 0 && (!change.is_lost() || place == change.place)) continue;
      change.begin(place);
      if (find_mailbox(place.mailbox) == nullptr)
        change.lost();
      else
        by_mailbox[place.mailbox].push_back(&change);
    }
    if (by_mailbox.empty()) break;
    for (auto& [mailbox, here] : by_mailbox) co_await change_in(mailbox, std::move(here), effects);
  }
  std::vector<SetOutcome> outcomes;
  outcomes.reserve(changes.size());
  for (auto& change : changes) outcomes.push_back(std::move(change.outcome));
  co_return outcomes;
}

io::Task<> Account::change_in(MailboxKey mailbox, std::vector<Change*> changes, EffectsHook effects) {
  auto view = co_await view_of(mailbox);
  if (view)
    if (auto attached = co_await attach_current(*view); !attached) view = fail(attached.error());
  // A change of keywords is told from what is there.
  if (view && std::any_of(changes.begin(), changes.end(), [&](const Change* change) {
        const auto* entry = visible_entry(**view, change->place);
        return change->update != nullptr && entry != nullptr && !entry->is_known();
      }))
    if (auto filled = co_await fill(*view); !filled) view = fail(filled.error());
  if (!view) {
    const bool gone = view.error().code == make_error_code(Errc::not_found);
    for (auto* change : changes)
      gone ? change->lost() : change->fail_with("serverUnavailable", "the mail server can't be reached");
    co_return;
  }
  for (auto* change : changes) plan_change(**view, *change);
  std::erase_if(changes, [](Change* change) { return change->failed(); });
  co_await apply_changes(*view, std::move(changes), std::move(effects));
}

// Decides what one change comes to, or says why it can't be made.
void Account::plan_change(const MailboxView& view, Change& change) {
  const auto* entry = visible_entry(view, change.place);
  if (entry == nullptr) return change.lost();
  if (change.update != nullptr) {
    plan_keywords(view, *entry, change);
    if (!change.failed()) plan_mailboxes(change);
    if (change.failed()) return;
  }
  if (view.read_only() && change.has_effect())
    return change.fail_with("forbidden", "the mailbox is read-only");
  change.outcome.done = true;  // unless one of the commands fails
}

void Account::plan_keywords(const MailboxView& view, const MessageEntry& entry, Change& change) {
  const auto& update = *change.update;
  const auto current = jmap_keywords(view.index(), entry);
  auto want = [&](const std::string& keyword, bool on) {
    if (contains(current, keyword) == on) return;
    (on ? change.add : change.remove).push_back(imap_flag(view, keyword));
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
  for (const auto& flag : change.add) {
    std::string_view keyword = flag;
    for (std::uint8_t bit :
         {imap::Flags::seen, imap::Flags::answered, imap::Flags::flagged, imap::Flags::draft})
      if (flag == imap_name_of_system_flag(bit)) keyword = keyword_of_system_flag(bit);
    if (!may_store(view, keyword))
      return change.fail_with("invalidProperties", "the mail server doesn't keep this keyword here: " + flag,
                              {"keywords"});
  }
}

void Account::plan_mailboxes(Change& change) {
  const auto& update = *change.update;
  std::set<MailboxKey> mailboxes{change.place.mailbox};
  if (update.mailboxes) mailboxes = {update.mailboxes->begin(), update.mailboxes->end()};
  for (const auto& [key, in] : update.mailbox_changes)
    in ? (void)mailboxes.insert(key) : (void)mailboxes.erase(key);
  for (auto key : mailboxes) {
    const auto* mailbox = find_mailbox(key);
    if (mailbox == nullptr || !mailbox->selectable)
      return change.fail_with("invalidProperties", "no such Mailbox: " + mailbox_id(key), {"mailboxIds"});
  }
  if (mailboxes.empty())
    return change.fail_with("invalidProperties", "an Email must be in at least one Mailbox", {"mailboxIds"});
  if (mailboxes.size() > 1)
    return change.fail_with("tooManyMailboxes", "an Email can be in one Mailbox only", {"mailboxIds"});
  if (*mailboxes.begin() != change.place.mailbox) change.target = *mailboxes.begin();
}

// Writes, on one lease, in an order that a break in the middle can't turn into a loss.
io::Task<> Account::apply_changes(ViewPtr view, std::vector<Change*> changes, EffectsHook effects) {
  if (std::none_of(changes.begin(), changes.end(), [](const Change* c) { return c->has_effect(); }))
    co_return;
  auto lease = co_await pool_->select(view->encoded_name(), *view);
  // Selected anew, its UIDVALIDITY can be another one: look again before the first write.
  Result<> synced = lease ? co_await sync(*lease, view, nullptr) : fail(lease.error());
  for (auto* change : changes) {
    if (!synced)
      change->fail_with("serverUnavailable", "the mail server can't be reached");
    else if (visible_entry(*view, change->place) == nullptr)
      change->lost();
  }
  std::erase_if(changes, [](Change* change) { return change->failed(); });
  if (changes.empty()) co_return;
  if (effects && !co_await effects()) {
    for (auto* change : changes) change->fail_with("serverFail", "nobody waits for this request any more");
    co_return;
  }
  co_await store_keywords(*lease, changes);
  std::map<MailboxKey, std::vector<Change*>> moves;
  std::vector<Change*> destroyed;
  for (auto* change : changes) {
    if (change->failed()) continue;
    if (change->target) moves[*change->target].push_back(change);
    if (change->update == nullptr) destroyed.push_back(change);
  }
  for (auto& [target, group] : moves) co_await move_messages(*lease, target, group);
  if (!destroyed.empty()) co_await expunge_messages(*lease, destroyed);
}

namespace {

// Messages of one command: a piece of a UID set that a line holds, and the changes it is for.
template <typename Change>
std::vector<std::pair<imap::UidSet, std::vector<Change*>>> pieces_of(const std::vector<Change*>& changes) {
  imap::UidSet all;
  for (auto* change : changes) all.add(change->place.uid);
  std::vector<std::pair<imap::UidSet, std::vector<Change*>>> pieces;
  for (auto& piece : all.split(imap::command_line_bytes_max / 2)) {
    std::vector<Change*> those;
    for (auto* change : changes)
      if (piece.contains(change->place.uid)) those.push_back(change);
    pieces.emplace_back(std::move(piece), std::move(those));
  }
  return pieces;
}

// A command about a message that another request has moved meanwhile does nothing, and says nothing. An id that leads
// nowhere else any more is no such message: the command's own EXPUNGE takes its redirect away.
template <typename Change>
void find_lost(const std::vector<Change*>& changes, const auto& place_of) {
  for (auto* change : changes) {
    const auto now = place_of(change->id);
    if (!change->failed() && now != change->place && now != change->id) change->lost();
  }
}

template <typename Change>
void fail_all(const std::vector<Change*>& changes, const Error& error, const imap::StatusResponse& refusal) {
  const auto [type, description] = set_error_of(error, refusal);
  for (auto* change : changes) change->fail_with(type, description);
}

}  // namespace

io::Task<> Account::store_keywords(session::Lease& lease, std::vector<Change*>& changes) {
  std::map<std::pair<bool, std::vector<std::string>>, std::vector<Change*>> groups;
  for (auto* change : changes) {
    if (!change->add.empty()) groups[{true, change->add}].push_back(change);
    if (!change->remove.empty()) groups[{false, change->remove}].push_back(change);
  }
  for (auto& [what, group] : groups) {
    for (auto& [uids, those] : pieces_of(group)) {
      imap::CommandBuilder store("UID STORE", lease.capabilities());
      store.sp().set(uids).raw(what.first ? " +FLAGS (" : " -FLAGS (");
      for (std::size_t i = 0; i < what.second.size(); ++i) {
        if (i > 0) store.sp();
        store.flag(what.second[i]);
      }
      store.raw(")").expect(imap::Expect::fetch).write();
      imap::StatusResponse refusal;
      auto stored = co_await run(lease, store, {}, &refusal);
      if (!stored) fail_all(those, stored.error(), refusal);
      find_lost(those, [this](const EmailKey& id) { return place_of(id); });
    }
  }
}

io::Task<> Account::move_messages(session::Lease& lease, MailboxKey target, std::vector<Change*> changes) {
  const auto* mailbox = find_mailbox(target);
  if (mailbox == nullptr) {
    for (auto* change : changes)
      change->fail_with("invalidProperties", "the Mailbox has gone", {"mailboxIds"});
    co_return;
  }
  const auto target_name = mailbox->encoded_name;
  const bool can_move = lease.tiers().move == imap::MoveTier::move;
  for (auto& [uids, those] : pieces_of(changes)) {
    imap::CommandBuilder command(can_move ? "UID MOVE" : "UID COPY", lease.capabilities());
    command.sp().set(uids).sp().encoded_mailbox(target_name).expect(imap::Expect::other).exclusive().write();
    std::optional<imap::CopyUid> copied;
    auto take = [&copied](const imap::ResponseCode& code) {
      if (const auto* value = std::get_if<imap::CopyUid>(&code.value)) copied = *value;
    };
    imap::StatusResponse refusal;
    auto built = command.finish();
    Result<imap::StatusResponse> done = built ? Result<imap::StatusResponse>{} : fail(built.error());
    if (built)
      done = co_await lease.execute(
          std::move(*built),
          [&](imap::Response& response) {
            auto* status = std::get_if<imap::StatusResponse>(&response);
            if (status == nullptr) return;
            take(status->code);
            // RFC 6851, 4.3: COPYUID comes before the EXPUNGEs, so that nobody finds the message nowhere.
            if (can_move && copied) follow_moves(target, *copied, those, can_move);
          },
          &refusal);
    if (done)
      take(done->code);
    else
      fail_all(those, done.error(), refusal);
    // A message is where the copy is only once the original is gone.
    if (done && !can_move) co_await expunge_messages(lease, those);
    // What a MOVE that broke off has told counts, too.
    if (copied) follow_moves(target, *copied, those, can_move);
    std::erase_if(those, [](const Change* change) { return change->moved; });
    find_lost(those, [this](const EmailKey& id) { return place_of(id); });
    bump(StateType::email);
    bump(StateType::mailbox);
  }
  counts_moved_ = true;
}

// The id goes on meaning the message where it is now (RFC 8621, 4: ids don't change by moving).
void Account::follow_moves(MailboxKey target, const imap::CopyUid& copied,
                           const std::vector<Change*>& changes, bool can_move) {
  if (copied.source.size() != copied.destination.size()) return;
  std::map<std::uint32_t, std::uint32_t> to;
  for (std::size_t i = 0; i < copied.source.size(); ++i) to[copied.source[i]] = copied.destination[i];
  for (auto* change : changes) {
    auto it = to.find(change->place.uid);
    if (it == to.end() || change->moved || (!can_move && change->failed())) continue;
    origin_of_.erase(change->place);
    add_redirect(change->id, Place{target, copied.uid_validity, it->second});
    change->moved = true;
    expect_at(target, it->second);
  }
}

// What STATUS will say of the mailbox that a message was moved to: no news then.
void Account::expect_at(MailboxKey target, std::uint32_t uid) {
  const auto at = mailbox_at_.find(target);
  if (at == mailbox_at_.end() || !mailboxes_[at->second].status.known) return;
  auto& status = mailboxes_[at->second].status;
  ++status.messages;
  if (status.uid_next != 0) status.uid_next = std::max(status.uid_next, uid + 1);
}

// \Deleted, then UID EXPUNGE of exactly these. Without UIDPLUS nothing is expunged: a plain EXPUNGE would take
// what others have marked, too. Marked messages are hidden here, and other programs expunge them.
io::Task<> Account::expunge_messages(session::Lease& lease, std::vector<Change*> changes) {
  const bool uid_expunge = lease.tiers().move != imap::MoveTier::copy_only;
  for (auto& [uids, those] : pieces_of(changes)) {
    const auto mark = [&lease, &uids](std::string_view how) {
      imap::CommandBuilder store("UID STORE", lease.capabilities());
      store.sp().set(uids).raw(how).raw("FLAGS (\\Deleted)").expect(imap::Expect::fetch).write();
      return store.finish();
    };
    imap::StatusResponse refusal;
    auto done = co_await run(lease, mark(" +"), {}, &refusal);
    if (done && uid_expunge) {
      imap::CommandBuilder expunge("UID EXPUNGE", lease.capabilities());
      expunge.sp().set(uids).write();
      done = co_await run(lease, expunge, {}, &refusal);
      // What stays must be seen again.
      if (!done && !is_lost(done.error())) (void)co_await run(lease, mark(" -"));
    }
    if (!done) fail_all(those, done.error(), refusal);
    find_lost(those, [this](const EmailKey& id) { return place_of(id); });
  }
}

}  // namespace postern::mail
