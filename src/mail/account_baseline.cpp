// Mailboxes that nobody hears: what clients may know of them, by which a STATUS is news or isn't, and from which a
// listing is told. And the list of mailboxes, which brings these STATUS. Bound: shown_ranges_max of a mailbox.
#include <algorithm>

#include "mail/account_support.hpp"

namespace postern::mail {
namespace {

constexpr std::size_t shown_ranges_max = 1'024;  // of a mailbox whose view was given up: 8 KB
constexpr std::uint32_t never_fits = 0xFFFFFFFFu;

// STATUS's UNSEEN: without \Seen, \Deleted ones and drafts among them.
std::uint32_t unseen_of(const MailboxIndex& index) {
  return static_cast<std::uint32_t>(
      std::count_if(index.entries().begin(), index.entries().end(),
                    [](const MessageEntry& entry) { return (entry.flags & MessageEntry::seen) == 0; }));
}

MailboxStatus status_of(const MailboxView& view) {
  const auto& index = view.index();
  return {static_cast<std::uint32_t>(index.size()),
          unseen_of(index),
          view.uid_next(),
          view.uid_validity(),
          view.modseq(),
          true};
}

// Whether messages, or flags as far as they are told, are those of before.
bool is_same(const MailboxStatus& a, const MailboxStatus& b, bool unseen_known) {
  if (a.messages != b.messages || a.uid_next != b.uid_next || a.uid_validity != b.uid_validity) return false;
  if (a.highest_modseq != 0 && b.highest_modseq != 0) return a.highest_modseq == b.highest_modseq;
  return !unseen_known || a.unseen == b.unseen;
}

// All of a Mailbox but its counts.
bool has_same_properties(const Mailbox& a, const Mailbox& b) {
  return a.name == b.name && a.path == b.path && a.parent == b.parent && a.role == b.role &&
         a.sort_order == b.sort_order && a.subscribed == b.subscribed && a.selectable == b.selectable &&
         a.may_have_children == b.may_have_children && a.rights == b.rights && a.read_only == b.read_only &&
         a.unreadable == b.unreadable;
}

}  // namespace

void Account::on_left(MailboxView& view) {
  const auto at = mailbox_at_.find(view.key());
  if (at == mailbox_at_.end()) return;
  const bool right = view.sync_need() == SyncNeed::none;
  if (right)
    left_at_[view.key()] = context_.loop.clock().now();
  else
    left_at_.erase(view.key());
  left_while_listing_.insert(view.key());
  if (right && view.index().filled()) {
    counts_left_[view.key()] = counts_of(view);
    if (!has_unheard(view)) uncounted_.erase(view.key());
  } else {
    counts_left_.erase(view.key());
  }
  if (right) {  // what STATUS would say
    auto& status = mailboxes_[at->second].status;
    status.messages = static_cast<std::uint32_t>(view.index().size());
    if (view.uid_next() != 0) status.uid_next = view.uid_next();
    if (view.index().filled()) status.unseen = unseen_of(view.index());
    status.highest_modseq = std::max(status.highest_modseq, view.modseq());
  }
  if (!view.index().listed() || view.listing()) return;  // what was known before still is what was told
  auto& baseline = baselines_[view.key()];
  auto left = status_of(view);
  // Servers that don't tell it when a mailbox is selected tell it by STATUS, which the next one is compared with.
  if (const auto told = mailboxes_[at->second].status.uid_next; left.uid_next == 0 && told != 0)
    left.uid_next = std::max(told, view.index().largest_uid() + 1);
  baseline = {left, view.modseq(), expected_in(view), false, false, view.index().filled()};
  if (!right) baseline.status.messages = never_fits;
}

// What we have put there, and the view has yet to hear of.
imap::UidSet Account::expected_in(const MailboxView& view) const {
  imap::UidSet expected;
  if (const auto found = baselines_.find(view.key()); found != baselines_.end())
    for (const auto& range : found->second.shown.ranges())
      if (range.last > view.index().largest_uid())
        expected.add(std::max(range.first, view.index().largest_uid() + 1), range.last);
  return expected;
}

void Account::remember(MailboxView& view) {
  if (!view.index().listed() || view.listing() || !mailbox_at_.contains(view.key())) return;
  if (view.attached()) on_left(view);
  auto& baseline = baselines_[view.key()];
  auto shown = expected_in(view);
  for (const auto& entry : view.index().entries())
    if (!entry.is_deleted()) shown.add(entry.uid);
  baseline.unknown = !view.validity_told() || shown.ranges().size() > shown_ranges_max;
  if (baseline.unknown) {
    lose_track();
    return;
  }
  baseline.modseq = view.modseq();
  baseline.status.uid_validity = view.uid_validity();
  baseline.shown = std::move(shown);
  baseline.complete = true;
}

bool Account::has_news(const Mailbox& now) const {
  const auto view = views_.find(now.key);
  const auto found = baselines_.find(now.key);
  if (!now.selectable || !now.status.known || found == baselines_.end()) return false;
  if (view != views_.end() && view->second->attached()) return false;  // it hears for itself
  const auto& before = found->second;
  if (before.unknown) return true;
  if (!before.status.known) return false;
  if (before.status.uid_validity != now.status.uid_validity || before.status.uid_next != now.status.uid_next)
    return true;
  // Of messages that nobody has listed only new ones are told.
  const bool listed = view != views_.end() && view->second->index().listed();
  if (!listed && before.shown.empty() && !before.complete) return false;
  return !is_same(before.status, now.status, before.unseen_known);
}

// A message that we have put there ourselves. What else a STATUS says next is for that, too.
void Account::expect_in_baseline(MailboxKey target, std::uint32_t uid_validity, std::uint32_t uid) {
  const auto found = baselines_.find(target);
  if (found == baselines_.end() || found->second.unknown || found->second.status.uid_validity != uid_validity)
    return;
  auto& [status, modseq, shown, complete, unknown, unseen_known] = found->second;
  shown.add(uid);
  if (status.messages != never_fits) ++status.messages;
  // What another program has put before it is still to be told, as new.
  while (status.uid_next != 0 && shown.contains(status.uid_next)) ++status.uid_next;
  status.highest_modseq = 0;
  unseen_known = false;
}

std::optional<std::uint64_t> Account::changed_since_shown(const MailboxView& view) const {
  const auto found = baselines_.find(view.key());
  if (found == baselines_.end()) return std::nullopt;
  const auto& baseline = found->second;
  if (baseline.unknown || baseline.shown.empty() || baseline.modseq == 0 ||
      view.modseq() <= baseline.modseq || baseline.status.uid_validity != view.uid_validity())
    return std::nullopt;
  return baseline.modseq;
}

void Account::forget_expected(MailboxKey key) {
  expected_.erase(expected_.lower_bound({key, 0}), expected_.upper_bound({key, UINT32_MAX}));
}

void Account::tell_listing(const MailboxView& view, const imap::UidSet& changed) {
  forget_expected(view.key());  // they are in `shown`
  auto& kept = baselines_[view.key()];
  const auto before = std::exchange(kept, Baseline{status_of(view), view.modseq(), {}, false, false, false});
  const auto& status = before.status;
  const auto& index = view.index();
  const bool same_uids =
      status.uid_validity == 0 ? before.shown.empty() : status.uid_validity == view.uid_validity();
  // Without a UIDNEXT, nothing says which of them are new.
  const bool vague = !before.complete && status.uid_next == 0 && status.messages != index.size();
  if (before.unknown || !status.known || !same_uids || vague) return lose_track();
  // Whether their flags are still those of before. Of the few that we have put there ourselves each is told.
  const bool flags_told = before.modseq != 0 && view.modseq() >= before.modseq;
  if (before.complete && !before.shown.empty() && !flags_told) lose_track_of_emails();
  const bool all_changed = !before.complete && !flags_told;
  const auto place = [&view](std::uint32_t uid) { return Place{view.key(), view.uid_validity(), uid}; };
  for (const auto& entry : index.entries()) {
    if (entry.is_deleted()) continue;
    if (before.shown.contains(entry.uid)) {
      if (all_changed || changed.contains(entry.uid))
        tell_email(ChangeKind::updated, id_of(place(entry.uid)));
    } else if (before.complete || (status.uid_next != 0 && entry.uid >= status.uid_next)) {
      tell_shown(place(entry.uid), entry.thread);
    }
  }
  bool gone = false;
  for (auto uid : before.shown.to_vector()) {
    if (visible_entry(view, place(uid)) != nullptr || moved_from_.contains(place(uid))) continue;
    const auto id = id_of(place(uid));
    const bool elsewhere = is_elsewhere(id, place(uid));
    gone = gone || !elsewhere;
    tell_email(elsewhere ? ChangeKind::updated : ChangeKind::destroyed, id);
    if (index.find(uid) == nullptr) forget_place(place(uid));
  }
  if (gone) lose_track_of_threads();  // of those that went they are forgotten
}

// --- The list of mailboxes ---

void Account::compare_mailboxes(const std::vector<Mailbox>& fresh) {
  std::set<MailboxKey> readable;
  for (const auto& mailbox : fresh) {
    if (mailbox.selectable) readable.insert(mailbox.key);
    if (const auto* before = find_mailbox(mailbox.key)) {
      if (!has_same_properties(*before, mailbox)) tell_mailbox(ChangeKind::updated, mailbox.key);
      continue;
    }
    tell_mailbox(ChangeKind::created, mailbox.key);
    auto& baseline = baselines_[mailbox.key];
    baseline = {};
    baseline.status = {0, 0, 1, mailbox.status.uid_validity, 0, true};  // all in it is new
  }
  std::set<MailboxKey> keys;
  for (const auto& mailbox : fresh) keys.insert(mailbox.key);
  for (const auto& before : mailboxes_) {
    if (before.selectable && !readable.contains(before.key)) tell_mailbox_lost(before.key);
    if (!keys.contains(before.key)) tell_mailbox(ChangeKind::destroyed, before.key);
  }
}

bool has_arrivals(const MailboxStatus* before, const MailboxStatus& now) {
  if (!now.known) return false;
  if (before == nullptr) return now.messages > 0;
  if (!before->known && before->uid_next == 0) return false;
  if (before->uid_validity != now.uid_validity) return now.messages > 0;
  // What Postern has put there itself is reckoned with, and may have hidden another one behind it.
  if (before->uid_next != 0 && now.uid_next != 0 && now.uid_next != before->uid_next)
    return now.uid_next > before->uid_next;
  return now.messages > before->messages;
}

void Account::take_list(std::vector<Mailbox> fresh) {
  const bool first_list = !mailboxes_listed_;
  if (!first_list) compare_mailboxes(fresh);
  std::unordered_map<MailboxKey, MailboxStatus> before;
  for (const auto& mailbox : mailboxes_) before.emplace(mailbox.key, mailbox.status);
  mailboxes_ = std::move(fresh);
  mailbox_at_.clear();
  for (std::size_t i = 0; i < mailboxes_.size(); ++i) mailbox_at_[mailboxes_[i].key] = i;
  News news;
  for (const auto& mailbox : mailboxes_) {
    const auto last = before.find(mailbox.key);
    compare_status(mailbox, last == before.end() ? nullptr : &last->second, first_list, news);
  }
  tell_news(news);
}

void Account::compare_status(const Mailbox& mailbox, const MailboxStatus* last, bool first_list, News& news) {
  const auto [known, added] = baselines_.try_emplace(mailbox.key);
  auto& baseline = known->second;
  if (added) baseline.modseq = mailbox.status.highest_modseq;
  const auto view = views_.find(mailbox.key);
  const bool heard = view != views_.end() && view->second->attached();
  const bool new_here = has_news(mailbox);
  if (!heard && !first_list) news.delivered = news.delivered || has_arrivals(last, mailbox.status);
  if (new_here) {
    news.emails = news.emails || last == nullptr || !is_same(*last, mailbox.status, baseline.unseen_known);
    if (!left_while_listing_.contains(mailbox.key)) counts_left_.erase(mailbox.key);
  } else if (!heard && (added || (mailbox.status.known && !baseline.unknown))) {
    baseline.status = mailbox.status;
    baseline.unseen_known = mailbox.status.known;
  }
  if (heard) return;
  // Numbers of before that are others now.
  const auto told = counts_told_.find(mailbox.key);
  if (told == counts_told_.end() || told->second.open || told->second.counts == counts_of(mailbox)) return;
  told->second = {counts_of(mailbox), true};
  tell_mailbox(ChangeKind::counts, mailbox.key);
}

void Account::tell_news(const News& news) {
  if (news.delivered) bump(StateType::email_delivery);
  if (!news.emails) return;
  bump(StateType::email);
  bump(StateType::thread);
}

}  // namespace postern::mail
