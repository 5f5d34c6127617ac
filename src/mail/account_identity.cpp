// Emails that other programs move and copy. A message that appears in a mailbox, and that the server says is one that
// has just left another mailbox, is the Email of before, moved; one that is still in another mailbox is the Email of
// before, in one mailbox more. Both become records like those of what is moved and copied through us.
//
// It is decided once, when a message is heard of for the first time with its identity, so no id that a client may have
// been given ends for it. Whatever isn't known for certain makes two Emails: nothing is ever asked for to find out but
// the namespaces, once. Bounds: departures_max, joined_places_max, joined_copies_max.
#include <algorithm>
#include <set>

#include "mail/account_support.hpp"

namespace postern::mail {
namespace {

// Messages that have left a mailbox and were heard of nowhere else yet; a move of more at a time is none.
constexpr std::size_t departures_max = 4'096;
// Records of places that an account may have, and Emails in several mailboxes among them, and still be given more for
// what others do. Each query over mailboxes looks at the latter.
constexpr std::size_t joined_places_max = 20'000;
constexpr std::size_t joined_copies_max = 5'000;

// Mailboxes that show what is in others: what is taken out of them stays, or goes from all of them.
bool shows_others(Role role) {
  return role == Role::all || role == Role::flagged || role == Role::important || role == Role::subscribed;
}

}  // namespace

bool Account::may_hold_joined(const Mailbox& mailbox) {
  return mailbox.selectable && !shows_others(mailbox.flagged) && !shows_others(mailbox.role);
}

// The first personal namespace: copies in other people's mailboxes are theirs, and a second namespace of one's own is
// where virtual mailboxes are. The longest prefix decides.
bool Account::is_personal(const Mailbox& mailbox) const {
  if (!personal_ || !personal_->told) return false;
  const auto& name = mailbox.encoded_name;
  if (name == "INBOX") return true;
  if (!name.starts_with(personal_->prefix)) return false;
  return std::none_of(personal_->others.begin(), personal_->others.end(), [&](const std::string& other) {
    if (other.size() <= personal_->prefix.size()) return other == personal_->prefix;
    return name.starts_with(other) || (name.size() + 1 == other.size() && other.starts_with(name));
  });
}

// All of the view's messages are known, so that one that is there twice is known to be.
bool Account::is_identified(const MailboxView& view) {
  return view.index().filled() && !view.listing() && view.validity_told();
}

// Is there anything that an arrival in this mailbox could be?
bool Account::may_join_arrivals(const MailboxView& view) const {
  if (!context_.options.join_by_identity) return false;
  const auto* mailbox = find_mailbox(view.key());
  if (mailbox == nullptr || !may_hold_joined(*mailbox)) return false;
  return !departures_.empty() || std::any_of(views_.begin(), views_.end(), [&](const auto& other) {
    return other.first != view.key() && other.second->index().size() > 0 && is_identified(*other.second);
  });
}

std::uint32_t Account::end_of_known(const MailboxView& view) const {
  if (!may_join_arrivals(view)) return UINT32_MAX;
  if (view.index().listed() && !view.listing()) return view.index().largest_uid() + 1;
  // A cold one: where something has just left another mailbox, and it is known what was there before.
  const auto found = baselines_.find(view.key());
  if (departures_.empty() || found == baselines_.end()) return UINT32_MAX;
  const auto& [status, modseq, shown, complete, unknown, unseen_known] = found->second;
  if (unknown || !status.known || status.uid_next == 0 || status.uid_validity != view.uid_validity())
    return UINT32_MAX;
  // Nothing that has been told or has a record is new.
  for (const auto& range : shown.ranges())
    if (range.last >= status.uid_next) return UINT32_MAX;
  const auto is_new = [&](const Place& place) {
    return place.mailbox == view.key() && place.uid >= status.uid_next;
  };
  for (const auto& [place, id] : origin_of_)
    if (is_new(place)) return UINT32_MAX;
  for (const auto& [id, copies] : copies_of_)
    if (is_new(id)) return UINT32_MAX;
  return status.uid_next;
}

// Before its place is forgotten.
void Account::note_departure(const MailboxView& view, const MessageEntry& message) {
  if (!context_.options.join_by_identity || !message.identity.is_known() || !is_identified(view)) return;
  const auto* mailbox = find_mailbox(view.key());
  if (mailbox == nullptr || !may_hold_joined(*mailbox)) return;
  const Place place{view.key(), view.uid_validity(), message.uid};
  const auto id = id_of(place);
  if (moved_from_.contains(place) || is_elsewhere(id, place)) return;
  if (departures_.size() >= departures_max) departures_.clear();
  const auto [at, first] = departures_.try_emplace(
      message.identity, Departure{id, place, message.thread, message.size, message.received, false});
  // Of several that were the same nobody knows which one comes back.
  if (!first || view.index().identified(message.identity).entry != nullptr) at->second.ambiguous = true;
}

// Destroyed through us: another one like it is another Email.
void Account::forget_departures(const std::vector<Place>& from) {
  if (departures_.empty()) return;
  std::set<std::tuple<MailboxKey, std::uint32_t, std::uint32_t>> places;
  for (const auto& place : from) places.insert({place.mailbox, place.uid_validity, place.uid});
  std::erase_if(departures_, [&](const auto& departure) {
    const auto& place = departure.second.from;
    return places.contains({place.mailbox, place.uid_validity, place.uid});
  });
}

void Account::forget_departures(MailboxKey mailbox) {
  std::erase_if(departures_,
                [mailbox](const auto& departure) { return departure.second.from.mailbox == mailbox; });
}

// The one Email that a message which has just appeared is of, if there is one, and one only.
std::optional<Account::Joining> Account::email_of_arrival(const MailboxView& view,
                                                          const MessageEntry& entry) const {
  const auto is_alike = [&entry](const auto& other) {
    return other.size == entry.size && other.received == entry.received;
  };
  std::optional<Joining> found;
  for (const auto& [key, other] : views_) {
    if (key == view.key() || !other->index().listed() || other->listing()) continue;
    const auto* mailbox = find_mailbox(key);
    if (mailbox == nullptr || !may_hold_joined(*mailbox)) continue;
    const auto same = other->index().identified(entry.identity);
    if (same.entry == nullptr) continue;
    if (same.several || !is_identified(*other) || !is_personal(*mailbox) || !is_alike(*same.entry))
      return std::nullopt;
    const auto id = id_of(Place{key, other->uid_validity(), same.entry->uid});
    if (found && found->id != id) return std::nullopt;
    found = Joining{id, same.entry->thread, true};
  }
  const auto left = departures_.find(entry.identity);
  if (left == departures_.end()) return found;
  const auto& departure = left->second;
  const auto* from = find_mailbox(departure.from.mailbox);
  if (departure.ambiguous || !is_alike(departure) || from == nullptr || !is_personal(*from))
    return std::nullopt;
  if (found) return found->id == departure.id ? found : std::nullopt;
  // It has been given another place since.
  if (current_of_.contains(departure.id) || is_shared(departure.id)) return std::nullopt;
  return Joining{departure.id, departure.thread, false};
}

bool Account::join_arrival(MailboxView& view, const MessageEntry& entry) {
  if (!context_.options.join_by_identity) return false;
  if (!entry.identity.is_known() || !entry.is_known() || !view.validity_told()) return false;
  const auto* mailbox = find_mailbox(view.key());
  if (mailbox == nullptr || !may_hold_joined(*mailbox) || !is_personal(*mailbox)) return false;
  // What we are just putting there ourselves, the answer to our command tells.
  if (held_.contains(view.key()) || origin_of_.size() >= joined_places_max) return false;
  const Place place{view.key(), view.uid_validity(), entry.uid};
  if (current_of_.contains(place) || copies_of_.contains(place)) return false;
  if (view.index().identified(entry.identity).several) return false;
  const auto joining = email_of_arrival(view, entry);
  if (!joining) return false;
  if (joining->is_elsewhere && copies_of_.size() >= joined_copies_max) return false;
  const auto id = joining->id;
  const auto places = places_of(id);
  // An Email is in a mailbox once.
  if (joining->is_elsewhere && std::any_of(places.begin(), places.end(), [&](const Place& other) {
        return other.mailbox == place.mailbox;
      }))
    return false;
  // Going from where we are taking it hasn't been told.
  bool untold = false;
  const auto stays = [&](const Place& other) {
    const auto moving = moving_.find(other);
    if (moving == moving_.end() || !moving->second) return;
    moving->second.reset();
    untold = true;
  };
  std::for_each(places.begin(), places.end(), stays);
  if (const auto left = departures_.find(entry.identity); left != departures_.end()) {
    stays(left->second.from);
    departures_.erase(left);
  }
  const auto thread = entry.thread != 0 ? entry.thread : joining->thread;
  const auto uid = entry.uid;
  if (thread != 0) view.set_thread(uid, thread);
  joining->is_elsewhere ? add_copy(id, place) : add_redirect(id, place);
  untold ? tell_email(ChangeKind::updated, id) : tell_shown(place, thread);
  return true;
}

}  // namespace postern::mail
