// The list of mailboxes when it is due, and the counts of those that something was put into through us: what they are,
// the server tells by NOTIFY before anybody asks, or a STATUS of that one mailbox does; nothing is reckoned. One
// coroutine asks at a time.
#include <algorithm>

#include "mail/account_support.hpp"

namespace postern::mail {
namespace {

// So many are asked about by a STATUS each, where LIST brings the counts of all.
constexpr std::size_t asked_apart_max = 3;

}  // namespace

// What is being asked for, and what came of it for those who wait.
struct Account::Listing {
  Listing(io::Loop& loop, bool is_whole) : done(loop), whole(is_whole) {}
  io::Event done;
  bool whole;  // else the counts of some
  Result<Freshness> outcome = fail(Errc::server_unavailable);
};

bool Account::is_listing() const { return listing_ && listing_->whole; }

bool Account::list_is_fresh(Duration fresh) const {
  if (!mailboxes_listed_ || fresh == any_age) return mailboxes_listed_.has_value();
  return !counts_moved_ && (context_.loop.clock().now() - *mailboxes_listed_ < fresh ||
                            (fresh > Duration::zero() && hears_of_all()));
}

io::Task<Result<Freshness>> Account::refresh_mailboxes(Duration fresh) {
  while (true) {
    const bool whole = !list_is_fresh(fresh);
    if (!whole && (fresh == any_age || !lacks_counts())) co_return Freshness::current;
    if (auto other = listing_) {
      co_await other->done.wait();
      // It has asked for counts, perhaps for others, and perhaps in vain; or for all, before something was moved.
      const bool is_old = other->whole && other->outcome && *other->outcome == Freshness::current &&
                          fresh != any_age && fresh != Duration::zero() && (counts_moved_ || lacks_counts());
      if (other->whole && !is_old) co_return other->outcome;
      continue;
    }
    auto listing = listing_ = std::make_shared<Listing>(context_.loop, whole);
    if (whole)
      listing->outcome = co_await ask_for_mailboxes();
    else
      listing->outcome = co_await ask_for_counts();
    listing_.reset();
    listing->done.set();
    co_return listing->outcome;
  }
}

io::Task<Result<Freshness>> Account::ask_for_mailboxes() {
  Result<> result;
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto lease = co_await pool_->any();
    if (!lease) {
      result = fail(mail_error(lease.error()));
      break;
    }
    // What is moved from now on may not be in the answer.
    const bool moved = std::exchange(counts_moved_, false);
    const auto uncounted = std::exchange(uncounted_, {});
    result = co_await list_mailboxes(*lease);
    if (result) {
      mailboxes_listed_ = context_.loop.clock().now();
      co_return Freshness::current;
    }
    counts_moved_ = counts_moved_ || moved;
    for (const auto& [key, uid_next] : uncounted) note_uncounted(key, uid_next);
    if (!is_lost(result.error())) break;
  }
  result = fail(mail_error(result.error()));
  // What was listed last is still better than nothing.
  if (mailboxes_listed_ && result.error().code == make_error_code(Errc::server_unavailable))
    co_return Freshness::stale;
  co_return fail(result.error());
}

// One STATUS for each mailbox whose counts aren't known. Where that doesn't tell them, the whole list is asked for.
io::Task<Result<Freshness>> Account::ask_for_counts() {
  std::map<MailboxKey, std::uint32_t> asked;
  std::vector<std::string> names;
  for (const auto& [key, uid_next] : uncounted_) {
    if (tells_its_counts(key)) continue;
    asked.emplace(key, uid_next);
    names.push_back(find_mailbox(key)->encoded_name);
  }
  if (asked.size() > asked_apart_max && pool_->tiers().list_status) {
    listing_->whole = true;
    co_return co_await ask_for_mailboxes();
  }
  left_while_listing_.clear();
  for (const auto& [key, uid_next] : asked) {
    uncounted_.erase(key);  // as in ask_for_mailboxes()
    hold_status(key);
  }
  const auto changes = mailbox_changes_;
  MailboxListBuilder builder;
  Result<> result;
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto lease = co_await pool_->any();
    result = lease ? Result<>{} : fail(lease.error());
    if (lease) result = co_await ask_status(*lease, builder, names);
    if (result || !is_lost(result.error())) break;
  }
  // From here on nothing suspends, but to ask for the list.
  const bool told = result && changes == mailbox_changes_ && take_counts(asked, builder);
  listing_->whole = result && !told;
  for (const auto& [key, uid_next] : asked) {
    if (!result) note_uncounted(key, uid_next);
    release_status(key);
  }
  if (told) co_return Freshness::current;
  if (result) co_return co_await ask_for_mailboxes();
  const auto error = mail_error(result.error());
  if (error.code == make_error_code(Errc::server_unavailable)) co_return Freshness::stale;
  co_return fail(error);
}

// False: they haven't all been told, or one is of another mailbox.
bool Account::take_counts(const std::map<MailboxKey, std::uint32_t>& asked, const MailboxListBuilder& told) {
  News news;
  bool all = true;
  for (const auto& [key, uid_next] : asked) {
    const auto at = mailbox_at_.find(key);
    if (at == mailbox_at_.end()) continue;
    auto& mailbox = mailboxes_[at->second];
    const auto last = mailbox.status;
    const auto* status = told.status_of(mailbox.encoded_name);
    if (status == nullptr || !status->messages || status->uid_validity.value_or(0) != last.uid_validity) {
      all = false;
      continue;
    }
    mailbox.status.messages = *status->messages;
    mailbox.status.unseen = status->unseen.value_or(0);
    mailbox.status.uid_next = status->uid_next.value_or(0);
    mailbox.status.highest_modseq = status->highest_modseq.value_or(0);
    mailbox.status.known = true;
    compare_status(mailbox, &last, false, news);
  }
  tell_news(news);
  return all;
}

void Account::note_uncounted(MailboxKey mailbox, std::uint32_t uid_next) {
  auto& least = uncounted_[mailbox];
  least = std::max(least, uid_next);
}

bool Account::tells_its_counts(MailboxKey mailbox) const {
  const auto view = views_.find(mailbox);
  return view != views_.end() && view->second->attached() && view->second->index().filled();
}

bool Account::lacks_counts() {
  std::erase_if(uncounted_, [this](const auto& one) {
    const auto* mailbox = find_mailbox(one.first);
    return mailbox == nullptr || !mailbox->selectable;
  });
  return std::any_of(uncounted_.begin(), uncounted_.end(),
                     [this](const auto& one) { return !tells_its_counts(one.first); });
}

bool Account::has_mailboxes_made_of_others() const {
  return pool_->capabilities().has(imap::Capability::gmail) ||
         std::any_of(mailboxes_.begin(), mailboxes_.end(), [](const Mailbox& mailbox) {
           return mailbox.flagged == Role::all || mailbox.flagged == Role::flagged ||
                  mailbox.flagged == Role::important;
         });
}

std::optional<bool> Account::is_seen_at(const Place& place) const {
  const auto view = views_.find(place.mailbox);
  const auto* entry = view == views_.end() ? nullptr : visible_entry(*view->second, place);
  if (entry == nullptr || !entry->is_known()) return std::nullopt;
  return (entry->flags & MessageEntry::seen) != 0;
}

// What STATUS will say of the mailbox that a message was put into: no news then.
void Account::expect_at(const Place& place, std::optional<bool> seen) {
  const auto& [target, uid_validity, uid] = place;
  expect_in_baseline(target, uid_validity, uid);
  note_uncounted(target, uid == UINT32_MAX ? uid : uid + 1);
  counts_left_.erase(target);  // those of before
  const auto at = mailbox_at_.find(target);
  const auto view = views_.find(target);
  if (view != views_.end() && view->second->index().listed() && expected_.size() < expected_places_max &&
      view->second->index().find(uid) == nullptr)
    expected_.emplace(target, uid);
  if (at == mailbox_at_.end() || !mailboxes_[at->second].status.known) return;
  auto& status = mailboxes_[at->second].status;
  ++status.messages;
  if (seen == false) ++status.unseen;
  status.highest_modseq = 0;
  if (status.uid_next != 0) status.uid_next = std::max(status.uid_next, uid + 1);
}

// --- What NOTIFY tells ---

void Account::hold_status(MailboxKey mailbox) { ++held_[mailbox].commands; }

void Account::release_status(MailboxKey mailbox) {
  const auto held = held_.find(mailbox);
  if (held == held_.end() || --held->second.commands > 0) return;
  const auto told = std::move(held->second.told);
  held_.erase(held);
  const auto at = mailbox_at_.find(mailbox);
  if (told && watch_ && !is_listing() && at != mailbox_at_.end()) hear_status(mailboxes_[at->second], *told);
}

void Account::hear_status(Mailbox& mailbox, const imap::StatusDataResponse& status) {
  if (const auto held = held_.find(mailbox.key); held != held_.end()) {
    auto& told = held->second.told;
    if (!told) told.emplace();
    return take_told(*told, status);
  }
  const auto uncounted = uncounted_.find(mailbox.key);
  if (uncounted == uncounted_.end()) {
    // RFC 5465, 5.3: servers needn't say how many are unseen now.
    if (take_status(mailbox, status) && !status.unseen) note_uncounted(mailbox.key, 0);
    return;
  }
  // Some connection may have brought it after what was put there, and it is from before that. Where nobody knows what
  // was put there it is news, and settles nothing.
  const bool is_unknown = uncounted->second == unknown_uid_next;
  const bool is_late = !is_unknown && status.uid_next && *status.uid_next < uncounted->second;
  const bool with_modseq = status.highest_modseq || !pool_->capabilities().has(imap::Capability::condstore);
  if (is_unknown || is_late || !status.uid_next || !status.messages || !status.unseen || !with_modseq) {
    if (!is_late) take_status(mailbox, status);
    return;
  }
  uncounted_.erase(uncounted);
  const auto last = mailbox.status;
  if (take_status(mailbox, status)) return;
  News none;  // it is as it was expected to be
  compare_status(mailbox, &last, false, none);
}

}  // namespace postern::mail
