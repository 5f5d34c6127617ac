// Which places an Email is at. Its id names the first one (mailbox, UIDVALIDITY, UID); redirects say where the message
// has been moved to since, and copies where else it is. All of that is in the segment, bounded there (redirects_max),
// and here as the segment has it. A record that was lost makes two Emails of one; none ever leads to another message,
// since UIDVALIDITY is compared at each use.
#include <algorithm>

#include "mail/account_support.hpp"

namespace postern::mail {

void Account::load_places() {
  const auto all = context_.segment.redirects(key_);
  for (const auto& redirect : all) {
    if (redirect.copy) continue;
    origin_of_[redirect.current] = redirect.origin;
    current_of_[redirect.origin] = redirect.current;
  }
  // A broker that ended between the two records of one change has left a copy that is the message itself.
  for (const auto& redirect : all)
    if (redirect.copy && redirect.current != redirect.origin &&
        origin_of_.emplace(redirect.current, redirect.origin).second)
      copies_of_[redirect.origin].push_back(redirect.current);
}

EmailKey Account::id_of(const Place& place) const {
  const auto it = origin_of_.find(place);
  return it == origin_of_.end() ? place : it->second;
}

Place Account::place_of(const EmailKey& id) const {
  const auto it = current_of_.find(id);
  return it == current_of_.end() ? id : it->second;
}

// A place names an Email, too: it may have been taken for one of its own once.
EmailKey Account::whole_of(const EmailKey& id) const {
  return current_of_.contains(id) || is_shared(id) ? id : id_of(id);
}

std::vector<Place> Account::places_of(const EmailKey& id) const {
  const auto whole = whole_of(id);
  std::vector<Place> places{place_of(whole)};
  if (const auto copies = copies_of_.find(whole); copies != copies_of_.end())
    places.insert(places.end(), copies->second.begin(), copies->second.end());
  return places;
}

bool Account::is_there(const Place& place) const {
  const auto* mailbox = find_mailbox(place.mailbox);
  if (mailbox == nullptr || !mailbox->selectable) return false;
  const auto view = views_.find(place.mailbox);
  if (view == views_.end() || !view->second->index().listed() || view->second->listing())
    return mailbox->status.uid_validity == 0 || mailbox->status.uid_validity == place.uid_validity;
  if (view->second->uid_validity() != place.uid_validity) return false;
  const auto& index = view->second->index();
  if (const auto* entry = index.find(place.uid)) return !entry->is_deleted();
  // What wasn't announced yet can't be listed.
  return expected_.contains({place.mailbox, place.uid}) ||
         place.uid >= std::max(view->second->uid_next(), index.largest_uid() + 1);
}

bool Account::is_elsewhere(const EmailKey& id, const Place& place) const {
  if (!is_shared(id)) return false;
  const auto places = places_of(id);
  return std::any_of(places.begin(), places.end(),
                     [&](const Place& other) { return other != place && is_there(other); });
}

std::vector<Place> Account::live_places_of(const EmailKey& id) const {
  auto places = places_of(id);
  std::erase_if(places, [this](const Place& place) { return !is_there(place); });
  return places;
}

std::vector<MailboxKey> Account::mailboxes_of(const EmailKey& id) const {
  std::vector<MailboxKey> mailboxes;
  for (const auto& place : live_places_of(id)) mailboxes.push_back(place.mailbox);
  std::sort(mailboxes.begin(), mailboxes.end());
  mailboxes.erase(std::unique(mailboxes.begin(), mailboxes.end()), mailboxes.end());
  return mailboxes;
}

// --- Records ---

void Account::add_redirect(const EmailKey& origin, const Place& current) {
  ++places_version_;
  if (const auto before = current_of_.find(origin); before != current_of_.end())
    origin_of_.erase(before->second);
  if (origin == current) {  // it came back to where it was first seen
    current_of_.erase(origin);
    context_.segment.drop_redirect(key_, origin);
    return;
  }
  current_of_[origin] = current;
  origin_of_[current] = origin;
  if (auto put = context_.segment.put_redirect({key_, origin, current}); !put)
    context_.loop.logger().warning("redirect not saved", {{"error", put.error().to_string()}});
}

void Account::drop_redirect_to(const Place& place) {
  ++places_version_;
  const auto it = origin_of_.find(place);
  if (it == origin_of_.end()) return;
  context_.segment.drop_redirect(key_, it->second);
  current_of_.erase(it->second);
  origin_of_.erase(it);
}

void Account::add_copy(const EmailKey& id, const Place& place) {
  if (place == id || !origin_of_.emplace(place, id).second) return;
  ++places_version_;
  copies_of_[id].push_back(place);
  if (auto put = context_.segment.put_redirect({key_, id, place, true}); !put)
    context_.loop.logger().warning("copy not saved", {{"error", put.error().to_string()}});
}

void Account::drop_copy(const Place& place) {
  ++places_version_;
  const auto it = origin_of_.find(place);
  if (it == origin_of_.end()) return;
  if (const auto copies = copies_of_.find(it->second); copies != copies_of_.end()) {
    std::erase(copies->second, place);
    if (copies->second.empty()) copies_of_.erase(copies);
  }
  context_.segment.drop_copy(key_, place);
  origin_of_.erase(it);
}

void Account::replace_place(const EmailKey& id, const Place& from, const Place& to) {
  if (place_of(id) == from) return add_redirect(id, to);
  // The new one first: whatever ends in between, the Email is known to be at one of them.
  add_copy(id, to);
  if (id_of(from) == id) drop_copy(from);
}

void Account::forget_place(const Place& place) {
  const auto id = id_of(place);
  const auto copies = copies_of_.find(id);
  if (id != place || copies != copies_of_.end()) {
    if (gone_from_.size() >= moved_from_max) {
      gone_from_.clear();
      kept_.clear();  // their places can't be told from each other any more
    }
    gone_from_[place] = id;
  }
  if (copies == copies_of_.end()) return drop_redirect_to(place);
  if (place_of(id) != place) return drop_copy(place);
  // One of the copies is the message from now on.
  const auto heir = copies->second.front();
  copies->second.erase(copies->second.begin());
  if (copies->second.empty()) copies_of_.erase(copies);
  add_redirect(id, heir);
  context_.segment.drop_copy(key_, heir);
}

// What isn't in a mailbox that has just been listed has left it while nobody heard; and of a copy with \Deleted, which
// isn't there either, nobody knew before that it has it.
void Account::settle_places(const MailboxView& view) {
  std::vector<Place> gone;
  const auto look = [&](const Place& place) {
    if (place.mailbox != view.key() || place.uid == 0) return;
    const auto* entry = place.uid_validity == view.uid_validity() ? view.index().find(place.uid) : nullptr;
    if (entry == nullptr && (place.uid_validity != view.uid_validity() ||
                             place.uid < std::max(view.uid_next(), view.index().largest_uid() + 1)))
      gone.push_back(place);
    if (const auto id = id_of(place); entry != nullptr && entry->is_deleted() && is_elsewhere(id, place))
      tell_email(ChangeKind::updated, id);
  };
  for (const auto& [place, id] : origin_of_) look(place);
  for (const auto& [id, copies] : copies_of_)
    if (place_of(id) == id) look(id);
  for (const auto& place : gone) {
    const auto id = id_of(place);
    if (is_elsewhere(id, place)) tell_email(ChangeKind::updated, id);
    forget_place(place);
  }
}

}  // namespace postern::mail
