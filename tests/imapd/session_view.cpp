// What the client knows of the selected mailbox, and telling it the rest: EXISTS, EXPUNGE or VANISHED, and
// FETCH (FLAGS). RFC 3501 sections 5.2 and 7.4.1, RFC 7162, RFC 2177 (IDLE).
#include "session.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "connection.hpp"
#include "server.hpp"

namespace postern::testimapd {

// The view is the mailbox's messages up to last_uid_, and those in gone_.
std::size_t Session::view_size() const { return mailbox_->count_up_to(last_uid_) + gone_.size(); }

std::uint32_t Session::sequence_of(std::uint32_t uid) const {
  auto gone_before = std::lower_bound(gone_.begin(), gone_.end(), uid) - gone_.begin();
  return static_cast<std::uint32_t>(mailbox_->count_up_to(uid) + static_cast<std::size_t>(gone_before));
}

std::uint32_t Session::uid_at(std::uint32_t sequence) const {
  std::uint32_t shift = 0;
  for (std::size_t i = 0; i < gone_.size(); ++i) {
    auto place = mailbox_->count_up_to(gone_[i]) + i + 1;
    if (place == sequence) return 0;
    if (place > sequence) break;
    ++shift;
  }
  auto index = static_cast<std::size_t>(sequence) - 1 - shift;
  return index < mailbox_->messages().size() ? mailbox_->messages()[index].uid : 0;
}

std::uint32_t Session::largest_uid() const {
  auto count = mailbox_->count_up_to(last_uid_);
  return count == 0 ? 0 : mailbox_->messages()[count - 1].uid;
}

std::optional<std::vector<std::uint32_t>> Session::resolve(const NumberSet& set, bool by_uid) {
  std::vector<std::uint32_t> uids;
  if (set.saved_result || by_uid) {
    auto wanted = set.saved_result ? saved_ : set.resolved(largest_uid());
    for (auto [first, last] : wanted.ranges) {
      auto index = first == 0 ? 0 : mailbox_->count_up_to(first - 1);
      const auto& messages = mailbox_->messages();
      for (; index < messages.size() && messages[index].uid <= std::min(last, last_uid_); ++index)
        uids.push_back(messages[index].uid);
    }
    return uids;
  }
  auto size = static_cast<std::uint32_t>(view_size());
  auto wanted = set.resolved(size);
  for (auto [first, last] : wanted.ranges) {
    if (first == 0 || last > size) return std::nullopt;
    for (std::uint32_t sequence = first; sequence <= last; ++sequence) {
      auto uid = uid_at(sequence);
      if (uid != 0) uids.push_back(uid);
    }
  }
  return uids;
}

std::string Session::flags_of(const Message& message) const {
  auto flags = mailbox_->flag_names(message.flags);
  if (message.uid >= recent_from_) flags += flags.empty() ? "\\Recent" : " \\Recent";
  return flags;
}

void Session::fetch_flags_line(const Message& message, bool with_uid) {
  std::string items;
  if (with_uid || qresync_) items += fmt::format("UID {} ", message.uid);
  items += fmt::format("FLAGS ({})", flags_of(message));
  if (condstore_) items += fmt::format(" MODSEQ ({})", message.modseq);
  untagged(fmt::format("{} FETCH ({})", sequence_of(message.uid), items));
}

void Session::flush_expunges() {
  if (gone_.empty()) return;
  auto gone = std::exchange(gone_, {});
  if (qresync_) {
    NumberSet set;
    for (std::uint32_t uid : gone) set.add(uid);
    untagged("VANISHED " + set.text());
    return;
  }
  // From the last to the first, so that each number is right when it is read.
  for (std::size_t i = gone.size(); i-- > 0;)
    untagged(fmt::format("{} EXPUNGE", mailbox_->count_up_to(gone[i]) + i + 1));
}

void Session::flush_arrivals() {
  const auto& messages = mailbox_->messages();
  if (messages.empty() || messages.back().uid <= last_uid_) return;
  auto old_last = last_uid_;
  last_uid_ = messages.back().uid;
  if (!read_only_) mailbox_->first_recent_uid = std::max(mailbox_->first_recent_uid, mailbox_->uidnext);
  recent_from_ = std::min(recent_from_, old_last + 1);
  untagged(fmt::format("{} EXISTS", view_size()));
  untagged(fmt::format("{} RECENT", messages.size() - mailbox_->count_up_to(recent_from_ - 1)));
  const NotifyGroup* group = selected_group();
  if (group != nullptr && !group->items.empty())
    for (auto i = mailbox_->count_up_to(old_last); i < messages.size(); ++i)
      fetch_line(messages[i], group->items);
}

void Session::flush_flags() {
  if (keywords_sent_ != mailbox_->keywords.size()) {
    keywords_sent_ = mailbox_->keywords.size();
    untagged(fmt::format("FLAGS ({})", mailbox_->flag_names(~0ULL)));
  }
  for (std::uint32_t uid : std::exchange(flagged_, {}))
    if (const Message* message = mailbox_->find(uid); message != nullptr && uid <= last_uid_)
      fetch_flags_line(*message, false);
}

void Session::flush_updates(bool may_expunge) {
  if (may_expunge) flush_expunges();
  if (!flagged_.empty()) flush_flags();
  flush_arrivals();
}

// Outside a command only IDLE and NOTIFY let the server speak.
void Session::push_if_allowed() {
  if (!mailbox_) return;
  if (idling_) {
    flush_updates(true);
    return;
  }
  const NotifyGroup* group = selected_group();
  if (in_command_ || group == nullptr) return;
  if (group->message_expunge && group->scope == NotifyGroup::Scope::selected) flush_expunges();
  if (group->flag_change && !flagged_.empty()) flush_flags();
  if (group->message_new) flush_arrivals();
}

void Session::message_added(Mailbox& mailbox, const Message& /*message*/, Session* /*by*/) {
  for (Session* session : std::vector(mailbox.selected_by)) session->push_if_allowed();
  for (Session* session : mailbox.user->sessions) session->notify_status(mailbox);
}

void Session::flags_changed(Mailbox& mailbox, const Message& message, Session* by) {
  for (Session* session : std::vector(mailbox.selected_by)) {
    if (session == by) continue;
    auto& pending = session->flagged_;
    if (pending.empty() || pending.back() != message.uid)
      if (std::find(pending.begin(), pending.end(), message.uid) == pending.end())
        pending.push_back(message.uid);
    session->push_if_allowed();
  }
  for (Session* session : mailbox.user->sessions)
    if (session->mailbox_.get() != &mailbox) session->notify_status(mailbox);
}

void Session::messages_expunged(Mailbox& mailbox, const std::vector<std::uint32_t>& uids,
                                std::uint64_t /*modseq*/, Session* /*by*/) {
  for (Session* session : std::vector(mailbox.selected_by)) {
    for (std::uint32_t uid : uids)
      if (uid <= session->last_uid_) session->gone_.push_back(uid);
    std::sort(session->gone_.begin(), session->gone_.end());
    session->push_if_allowed();
  }
  for (Session* session : mailbox.user->sessions) session->notify_status(mailbox);
}

void Session::name_changed(User& user, Mailbox& mailbox, const std::string& old_name) {
  for (Session* session : user.sessions) session->notify_name(mailbox, old_name);
}

void Session::forget_view() {
  gone_.clear();
  flagged_.clear();
  last_uid_ = mailbox_->uidnext - 1;
  recent_from_ = mailbox_->uidnext;
}

Reply Session::idle(Cursor& args) {
  args.end();
  if (args.failed()) return Reply::bad("No arguments expected");
  idling_ = true;
  continuation("idling");
  if (mailbox_) flush_updates(true);
  return Reply::later();
}

Reply Session::check(Cursor& args) {
  args.end();
  return args.failed() ? Reply::bad("No arguments expected") : Reply::ok("Check completed");
}

}  // namespace postern::testimapd
