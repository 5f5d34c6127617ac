// What has changed and under which state, for Mailbox/changes, Email/changes and Thread/changes (RFC 8620, 5.2).
//
// Of a mailbox that has a view, the view tells: it hears the server, and compares when it is selected anew. Of all
// others account_baseline.cpp knows. What is known not to be known is forgotten by the log: the states of before can't
// be told from then on. Bounds: change_log_entries_max, moved_from_max.
#include <algorithm>
#include <charconv>
#include <unordered_set>

#include "mail/account_support.hpp"

namespace postern::mail {

// --- States ---

std::uint64_t& Account::counter(StateType type) {
  switch (type) {
    case StateType::mailbox: return counters_.mailbox;
    case StateType::email: return counters_.email;
    case StateType::email_delivery: return counters_.email_delivery;
    case StateType::quota: return counters_.quota;
    case StateType::vacation: return counters_.vacation;
    case StateType::thread: break;
  }
  return counters_.thread;
}

void Account::count_up(StateType type) {
  ++counter(type);
  counters_dirty_ = true;
}

std::uint64_t Account::next_state(StateType type) {
  // A state that was made for something yet to be told, and that nobody has seen, is for this.
  if (std::exchange(rumoured(type), false)) return counter(type);
  count_up(type);
  if (context_.states != nullptr) context_.states->on_state_changed(*this, type);
  if (type == StateType::email) look_at_quotas_soon();
  return counter(type);
}

void Account::bump(StateType type) {
  next_state(type);
  rumoured(type) = true;
}

void Account::bump_all() {
  bump(StateType::email);
  bump(StateType::mailbox);
  bump(StateType::thread);
}

std::optional<std::uint64_t> Account::parse_state(std::string_view state) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(state.data(), state.data() + state.size(), value);
  if (error != std::errc{} || end != state.data() + state.size() || std::to_string(value) != state)
    return std::nullopt;
  return value;
}

std::string Account::old_state(std::string since, std::span<const EmailKey> changed) {
  const auto from = parse_state(since);
  if (!from) return since;
  std::unordered_set<EmailKey, PlaceHash> own;
  for (const auto& id : changed) own.insert({id, whole_of(id)});
  const auto is_own = [&own](const EmailKey& id) { return own.contains(id); };
  return std::to_string(log_.email.last_of_others(*from, counters_.email, is_own));
}

std::string Account::old_state(std::string since, std::span<const MailboxKey> changed) {
  const auto from = parse_state(since);
  if (!from) return since;
  const auto is_own = [changed](MailboxKey key) {
    return std::find(changed.begin(), changed.end(), key) != changed.end();
  };
  return std::to_string(log_.mailbox.last_of_others(*from, counters_.mailbox, is_own));
}

// --- Telling ---

void Account::tell_mailbox(ChangeKind kind, MailboxKey key) {
  log_.mailbox.add(next_state(StateType::mailbox), kind, key);
}

void Account::tell_email(ChangeKind kind, const EmailKey& id) {
  log_.email.add(next_state(StateType::email), kind, id);
}

void Account::tell_arrived(const EmailKey& id, ThreadKey thread) {
  tell_email(ChangeKind::created, id);
  log_.thread.add(next_state(StateType::thread), true, id, thread);
}

void Account::tell_gone(const EmailKey& id, ThreadKey thread) {
  tell_email(ChangeKind::destroyed, id);
  log_.thread.add(next_state(StateType::thread), false, id, thread);
}

void Account::tell_left(const Place& place, ThreadKey thread) {
  const auto id = id_of(place);
  is_elsewhere(id, place) ? tell_email(ChangeKind::updated, id) : tell_gone(id, thread);
}

void Account::tell_shown(const Place& place, ThreadKey thread) {
  const auto id = id_of(place);
  is_elsewhere(id, place) ? tell_email(ChangeKind::updated, id) : tell_arrived(id, thread);
}

void Account::note_moved(const EmailKey& id, const Place& from) {
  if (moved_from_.size() >= moved_from_max) {
    moved_from_.clear();
    kept_.clear();  // their places can't be told from each other any more
  }
  moved_from_[from] = id;
}

// Its new mailbox may have been heard before us: there it was taken for a new Email.
void Account::forget_arrival(const Place& to) {
  if (const auto view = views_.find(to.mailbox); view != views_.end() && !view->second->listing())
    if (const auto* entry = visible_entry(*view->second, to)) tell_gone(to, entry->thread);
}

void Account::tell_moved(const EmailKey& id, const Place& from, const Place& to) {
  note_moved(id, from);
  forget_arrival(to);
  tell_email(ChangeKind::updated, id);
}

void Account::tell_copied(const EmailKey& id, const Place& to) {
  forget_arrival(to);
  tell_email(ChangeKind::updated, id);
}

void Account::end_move(const Place& from, const EmailKey& id) {
  const auto moving = moving_.find(from);
  if (moving == moving_.end()) return;
  const auto gone = moving->second;
  moving_.erase(moving);
  if (gone && !moved_from_.contains(from)) tell_gone(id, *gone);
  if (auto ended = std::exchange(move_ended_, nullptr)) ended->set();
}

io::Task<> Account::wait_for_move(Place from) {
  while (moving_.contains(from)) {
    if (!move_ended_) move_ended_ = std::make_shared<io::Event>(context_.loop);
    const auto ended = move_ended_;
    co_await ended->wait();
  }
}

void Account::lose_track_of_emails() { log_.email.forget(next_state(StateType::email)); }
void Account::lose_track_of_threads() { log_.thread.forget(next_state(StateType::thread)); }

void Account::tell_mailbox_lost(MailboxKey key) {
  const auto view = views_.find(key);
  const auto baseline = baselines_.find(key);
  if (view != views_.end() && view->second->index().listed() && !view->second->listing()) {
    const auto& index = view->second->index();
    if (index.visible() > change_log_entries_max)
      lose_track();
    else
      for (const auto& entry : index.entries()) {
        const Place place{key, view->second->uid_validity(), entry.uid};
        if (!entry.is_deleted()) tell_left(place, entry.thread);
        if (is_shared(id_of(place))) forget_place(place);
      }
  } else if (baseline != baselines_.end()) {
    const auto& [status, modseq, shown, complete, unknown, unseen_known] = baseline->second;
    if (unknown || shown.count() > change_log_entries_max) {
      lose_track();
    } else if (!shown.empty()) {
      for (auto uid : shown.to_vector()) {
        const Place place{key, status.uid_validity, uid};
        const auto id = id_of(place);
        tell_email(is_elsewhere(id, place) ? ChangeKind::updated : ChangeKind::destroyed, id);
        if (is_shared(id)) forget_place(place);
      }
      lose_track_of_threads();
    }
  }
  baselines_.erase(key);
  counts_left_.erase(key);
  counts_told_.erase(key);
}

// --- What views hear ---

void Account::on_message_arrived(MailboxView& view, std::uint32_t uid) {
  const Place place{view.key(), view.uid_validity(), uid};
  // What we have put there has been told, and what we have moved there is an Email of before.
  const auto* entry = view.index().find(uid);
  const bool told = expected_.erase({view.key(), uid}) > 0;
  if (!told && !origin_of_.contains(place)) {
    if (entry == nullptr || !join_arrival(view, *entry))
      tell_arrived(place, entry != nullptr ? entry->thread : 0);
  } else if (is_shared(id_of(place))) {
    tell_email(ChangeKind::updated, id_of(place));  // its keywords may be others here
  }
  note_counts(view);
}

void Account::on_message_changed(MailboxView& view, std::uint32_t uid) {
  tell_email(ChangeKind::updated, id_of(Place{view.key(), view.uid_validity(), uid}));
  note_counts(view);
}

void Account::on_message_filled(MailboxView& view, std::uint32_t uid, bool changed) {
  const auto id = id_of(Place{view.key(), view.uid_validity(), uid});
  // It has come as an Email of its own.
  if (const auto* entry = view.index().find(uid); entry != nullptr && !departures_.empty())
    if (const auto left = departures_.find(entry->identity);
        left != departures_.end() && !left->second.ambiguous)
      departures_.erase(left);
  // The keywords of an Email in several mailboxes are those of all copies that are known.
  if (changed || is_shared(id)) tell_email(ChangeKind::updated, id);
}

void Account::on_message_hidden(MailboxView& view, std::uint32_t uid) {
  const Place place{view.key(), view.uid_validity(), uid};
  const auto* entry = view.index().find(uid);
  const auto thread = entry != nullptr ? entry->thread : 0;
  if (const auto moving = moving_.find(place); moving != moving_.end() && !is_elsewhere(id_of(place), place))
    moving->second = thread;
  else if (!moved_from_.contains(place))
    tell_left(place, thread);
  note_counts(view);
}

void Account::on_message_shown(MailboxView& view, std::uint32_t uid) {
  const Place place{view.key(), view.uid_validity(), uid};
  const auto* entry = view.index().find(uid);
  if (const auto moving = moving_.find(place); moving != moving_.end() && moving->second)
    moving->second.reset();
  else if (!moved_from_.contains(place))
    tell_shown(place, entry != nullptr ? entry->thread : 0);
  note_counts(view);
}

void Account::on_message_gone(MailboxView& view, const MessageEntry& message) {
  const Place place{view.key(), view.uid_validity(), message.uid};
  if (const auto moving = moving_.find(place); moving != moving_.end() && !is_elsewhere(id_of(place), place))
    moving->second = message.thread;
  else if (!message.is_deleted() && !moved_from_.contains(place))
    tell_left(place, message.thread);
  note_departure(view, message);
  forget_place(place);
  note_counts(view);
}

// What we have put there, and another program has taken away before we heard of it.
void Account::tell_unheard_gone(const Place& place) {
  const auto id = id_of(place);
  const bool elsewhere = is_elsewhere(id, place);
  tell_email(elsewhere ? ChangeKind::updated : ChangeKind::destroyed, id);
  if (!elsewhere) lose_track_of_threads();  // nobody knows any more which it was in
  forget_place(place);
}

void Account::on_unlisted_gone(MailboxView& view, const imap::UidSet& uids) {
  auto it = expected_.lower_bound({view.key(), 0});
  while (it != expected_.end() && it->first == view.key()) {
    const auto uid = it->second;
    if (!uids.contains(uid) || view.index().find(uid) != nullptr) {
      ++it;
      continue;
    }
    it = expected_.erase(it);
    tell_unheard_gone({view.key(), view.uid_validity(), uid});
  }
}

void Account::on_unlisted_gone(MailboxView& view, std::uint32_t nth, std::uint32_t unlisted) {
  const auto first = expected_.lower_bound({view.key(), view.index().largest_uid() + 1});
  const auto last = expected_.upper_bound({view.key(), UINT32_MAX});
  if (first == last) return;
  if (static_cast<std::size_t>(std::distance(first, last)) == unlisted) {  // all of them are ours
    const auto gone = std::next(first, static_cast<std::ptrdiff_t>(nth) - 1);
    const Place place{view.key(), view.uid_validity(), gone->second};
    expected_.erase(gone);
    return tell_unheard_gone(place);
  }
  // One of several, and not known which.
  expected_.erase(first, last);
  lose_track();
}

void Account::on_behind(MailboxView& view) {
  const auto known = view.index().size();
  if (view.exists() > known) {
    // What was moved there through us is no news, and has been told.
    const auto first = expected_.lower_bound({view.key(), view.index().largest_uid() + 1});
    const auto last = expected_.upper_bound({view.key(), UINT32_MAX});
    if (view.exists() - known <= static_cast<std::size_t>(std::distance(first, last))) return;
    bump(StateType::email_delivery);
  }
  bump_all();
}

void Account::on_untold(MailboxView& view) {
  lose_track_of_emails();
  note_counts(view);
}

void Account::on_reset(MailboxView& view) {
  context_.loop.logger().info("UIDVALIDITY changed", {{"mailbox", view.encoded_name()}});
  lose_track();
  forget_expected(view.key());
  forget_departures(view.key());
  baselines_[view.key()] = Baseline{};
  baselines_[view.key()].unknown = true;
  note_counts(view);
}

void Account::note_counts(MailboxView& view) {
  const auto told = counts_told_.find(view.key());
  if (told != counts_told_.end()) {
    auto& [counts, open] = told->second;
    const auto total = view.index().visible(), unread = view.index().unread();
    if (view.index().filled()) {
      if (counts.total_emails == total && counts.unread_emails == unread) return;
      counts.total_emails = total;
      counts.unread_emails = unread;
    }
    open = true;
  }
  if (!view.index().filled()) {  // the server has to tell them: those of the last list are old
    counts_left_.erase(view.key());
    note_uncounted(view.key(), 0);
  }
  tell_mailbox(ChangeKind::counts, view.key());
}

void Account::tell_counts(bool given) {
  for (const auto& mailbox : mailboxes_) {
    const auto now = counts_of(mailbox);
    const auto [at, first] = counts_told_.try_emplace(mailbox.key, ToldCounts{now, true});
    auto& told = at->second;
    if (told.counts != now && !told.open) {
      tell_mailbox(ChangeKind::counts, mailbox.key);
      told.open = true;
    }
    told.counts = now;
    if (given) told.open = false;
  }
}

// --- /changes ---

io::Task<Result<Freshness>> Account::hear_all() {
  auto listed = co_await refresh_mailboxes(context_.options.mailbox_list_fresh);
  if (!listed) co_return fail(listed.error());
  // What is heard goes first: a mailbox that is behind may take the connection on which another one has been announced.
  auto freshness = both(*listed, co_await catch_up());
  std::vector<MailboxKey> behind;
  for (const auto& mailbox : mailboxes_)
    if (has_news(mailbox)) behind.push_back(mailbox.key);
  for (auto key : behind) {
    auto view = co_await view_of(key);
    if (!view && view.error().code != make_error_code(Errc::not_found)) co_return fail(view.error());
    if (!view) continue;  // it has gone meanwhile
    auto attached = co_await attach(*view);
    if (attached) {
      freshness = both(freshness, *attached);
      // What isn't in the index can't be compared the next time.
      if ((*view)->modseq() == 0) fill_behind(*view);
      continue;
    }
    if (attached.error().code == make_error_code(Errc::server_unavailable)) {
      freshness = Freshness::stale;
      continue;
    }
    if (attached.error().code != make_error_code(Errc::forbidden) &&
        !co_await has_gone(key, attached.error()))
      co_return fail(attached.error());
    // Nobody can read it, so nobody knows what is in it.
    if (const auto* mailbox = find_mailbox(key))
      if (auto known = baselines_.find(key); known != baselines_.end())
        known->second.status = mailbox->status;
  }
  co_return both(freshness, co_await catch_up());
}

namespace {

// As the Mailstore's users want it.
template <typename Id>
Result<Changes<Id>> told(std::optional<ChangeSet<Id>> changes, Freshness freshness) {
  if (!changes) return fail(Errc::cannot_calculate_changes);
  auto state = std::to_string(changes->new_state);
  return Changes<Id>{std::move(*changes), std::move(state), freshness};
}

}  // namespace

io::Task<Result<Changes<MailboxKey>>> Account::mailbox_changes(std::string since, std::size_t max) {
  auto listed = co_await refresh_mailboxes(context_.options.mailbox_list_fresh);
  if (!listed) co_return fail(listed.error());
  const auto freshness = both(*listed, co_await catch_up());
  // From here on nothing suspends.
  tell_counts(false);
  (void)state(StateType::mailbox);  // it is seen
  const auto from = parse_state(since);
  if (!from) co_return fail(Errc::cannot_calculate_changes);
  co_return told(log_.mailbox.since(*from, counters_.mailbox, max), freshness);
}

io::Task<Result<Changes<EmailKey>>> Account::email_changes(std::string since, std::size_t max) {
  const Working working(*this);
  const auto heard = co_await hear_all();
  if (!heard) co_return fail(heard.error());
  (void)state(StateType::email);
  const auto from = parse_state(since);
  if (!from) co_return fail(Errc::cannot_calculate_changes);
  co_return told(log_.email.since(*from, counters_.email, max), *heard);
}

io::Task<Result<Changes<ThreadKey>>> Account::thread_changes(std::string since, std::size_t max) {
  const Working working(*this);
  const auto heard = co_await hear_all();
  if (!heard) co_return fail(heard.error());
  auto freshness = *heard;
  const auto from = parse_state(since);
  if (!from || !log_.thread.reaches(*from, counters_.thread)) co_return fail(Errc::cannot_calculate_changes);
  ThreadViews known;
  if (log_.thread.has_news(*from)) {
    auto all = co_await thread_views(false);
    if (!all) co_return fail(all.error());
    known = std::move(*all);
    freshness = both(freshness, known.freshness);
  }
  // From here on nothing suspends.
  (void)state(StateType::thread);
  const auto thread_of = [this](const EmailKey& id) -> ThreadKey {
    for (const auto& place : places_of(id)) {
      const auto view = views_.find(place.mailbox);
      const auto* entry = view == views_.end() ? nullptr : visible_entry(*view->second, place);
      if (entry != nullptr) return entry->thread;
    }
    return 0;
  };
  std::unordered_map<ThreadKey, std::set<std::string>> members;
  for (auto key : log_.thread.threads_since(*from, thread_of)) members[key];
  for (const auto& view : known.views)
    for (const auto& entry : view->index().entries())
      if (auto thread = members.find(entry.thread); thread != members.end() && !entry.is_deleted())
        thread->second.insert(email_id(id_of(Place{view->key(), view->uid_validity(), entry.uid})));
  const auto emails_in = [&members](ThreadKey key) { return members[key].size(); };
  co_return told(log_.thread.since(*from, counters_.thread, max, thread_of, emails_in), freshness);
}

}  // namespace postern::mail
