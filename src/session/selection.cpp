// Untagged responses given to the observer of the right mailbox, and the response codes of SELECT collected.
#include "session/selection.hpp"

#include <utility>

namespace postern::session {

namespace {

std::optional<std::uint64_t> number_of(const imap::ResponseCode& code) {
  const auto* value = std::get_if<std::uint64_t>(&code.value);
  return value != nullptr ? std::optional(*value) : std::nullopt;
}

}  // namespace

void Selection::tell_deselected() {
  state_ = State::none;
  pending_.reset();
  mailbox_.clear();
  if (auto* observer = std::exchange(observer_, nullptr)) observer->on_deselected();
}

void Selection::begin(std::string mailbox, MailboxObserver& observer,
                      std::optional<SelectParameters> parameters) {
  const bool had_one = state_ != State::none;
  tell_deselected();
  state_ = State::selecting;
  mailbox_ = std::move(mailbox);
  observer_ = &observer;
  pending_ = std::make_unique<Pending>();
  pending_->parameters = std::move(parameters);
  pending_->behind_border = !had_one;
  observer.begin_select();
}

void Selection::succeeded(const imap::StatusResponse& ok) {
  if (state_ != State::selecting) return;
  note_code(ok.code);
  auto pending = std::move(pending_);
  state_ = State::selected;
  auto& info = pending->info;
  info.qresync_used = pending->parameters && pending->behind_border && info.highest_modseq &&
                      info.uid_validity == pending->parameters->uid_validity;
  if (observer_ != nullptr) observer_->on_selected(info);
}

void Selection::failed() { tell_deselected(); }

void Selection::forget(const MailboxObserver& observer) {
  if (observer_ == &observer) observer_ = nullptr;
}

// RFC 3501, 7.1; RFC 7162, 3.1.2; RFC 8474, 4.2.
void Selection::note_code(const imap::ResponseCode& code) {
  auto& info = pending_->info;
  if (code.name == "CLOSED") {
    pending_->behind_border = true;
    info = SelectInfo();
  } else if (code.name == "UIDVALIDITY") {
    info.uid_validity = static_cast<std::uint32_t>(number_of(code).value_or(0));
  } else if (code.name == "UIDNEXT") {
    info.uid_next = static_cast<std::uint32_t>(number_of(code).value_or(0));
  } else if (code.name == "HIGHESTMODSEQ") {
    info.highest_modseq = number_of(code);
    if (info.highest_modseq == 0u) info.highest_modseq.reset();
  } else if (code.name == "NOMODSEQ") {
    info.highest_modseq.reset();
  } else if (code.name == "PERMANENTFLAGS") {
    if (const auto* flags = std::get_if<imap::Flags>(&code.value)) info.permanent_flags = *flags;
  } else if (code.name == "READ-ONLY") {
    info.read_only = true;
  } else if (code.name == "MAILBOXID") {
    if (const auto* id = std::get_if<std::string>(&code.value)) info.mailbox_id = *id;
  }
}

bool Selection::while_selecting(imap::Response& response) {
  auto& info = pending_->info;
  if (const auto* status = std::get_if<imap::StatusResponse>(&response)) {
    note_code(status->code);
    return true;
  }
  if (const auto* exists = std::get_if<imap::ExistsResponse>(&response)) {
    info.exists = exists->count;
    return true;
  }
  if (const auto* flags = std::get_if<imap::FlagsResponse>(&response)) {
    info.flags = flags->flags;
    return true;
  }
  const bool resync = pending_->parameters && pending_->behind_border && observer_ != nullptr;
  if (const auto* vanished = std::get_if<imap::VanishedResponse>(&response)) {
    if (resync) observer_->on_vanished(*vanished);
    return true;
  }
  if (const auto* fetch = std::get_if<imap::FetchResponse>(&response)) {
    if (resync) observer_->on_fetch(fetch->data);
    return true;
  }
  return std::holds_alternative<imap::ExpungeResponse>(response) ||
         std::holds_alternative<imap::RecentResponse>(response);
}

bool Selection::on_untagged(imap::Response& response) {
  if (state_ == State::selecting) return while_selecting(response);
  if (state_ == State::none || observer_ == nullptr) return false;
  if (const auto* exists = std::get_if<imap::ExistsResponse>(&response)) {
    observer_->on_exists(exists->count);
  } else if (const auto* expunge = std::get_if<imap::ExpungeResponse>(&response)) {
    observer_->on_expunge(expunge->seq);
  } else if (const auto* vanished = std::get_if<imap::VanishedResponse>(&response)) {
    observer_->on_vanished(*vanished);
  } else if (const auto* fetch = std::get_if<imap::FetchResponse>(&response)) {
    observer_->on_fetch(fetch->data);
  } else if (const auto* flags = std::get_if<imap::FlagsResponse>(&response)) {
    observer_->on_flags(flags->flags);
  } else if (const auto* status = std::get_if<imap::StatusResponse>(&response)) {
    const auto highest = number_of(status->code);
    if (status->code.name == "HIGHESTMODSEQ" && highest) observer_->on_modseq(*highest);
  } else {
    return false;
  }
  return true;
}

}  // namespace postern::session
