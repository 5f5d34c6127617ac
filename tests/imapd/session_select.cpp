// SELECT, EXAMINE, CLOSE, UNSELECT: RFC 3501 section 6.3, CONDSTORE and QRESYNC parameters by RFC 7162.
#include "session.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "server.hpp"

namespace postern::testimapd {

struct Session::Qresync {
  std::uint32_t uidvalidity = 0;
  std::uint64_t modseq = 0;
  std::optional<NumberSet> known_uids;
};

Reply Session::select(Cursor& args) { return open_mailbox(args, false); }
Reply Session::examine(Cursor& args) { return open_mailbox(args, true); }

// select-params = "(" ("CONDSTORE" / "QRESYNC" SP "(" uidvalidity SP mod-sequence [SP known-uids]
//                 [SP "(" known-sequence-set SP known-uid-set ")"] ")") ")"
Reply Session::open_mailbox(Cursor& args, bool read_only) {
  auto name = read_mailbox(args);
  std::optional<Qresync> qresync;
  bool condstore = false;
  if (args.try_char(' ')) {
    args.expect('(');
    do {
      if (args.try_word("CONDSTORE") && offers("CONDSTORE")) {
        condstore = true;
      } else if (args.try_word("QRESYNC") && offers("QRESYNC") && qresync_) {
        qresync.emplace();
        args.sp();
        args.expect('(');
        qresync->uidvalidity = args.number();
        args.sp();
        qresync->modseq = args.number64();
        if (args.try_char(' ') && args.peek() != '(')
          qresync->known_uids = args.number_set().resolved(0xFFFFFFFFU);
        args.try_char(' ');
        if (args.try_char('(')) {
          args.number_set();
          args.sp();
          args.number_set();
          args.expect(')');
        }
        args.expect(')');
      } else {
        args.fail();
      }
    } while (!args.failed() && args.try_char(' '));
    args.expect(')');
  }
  args.end();
  if (args.failed()) return Reply::bad("Malformed SELECT");
  bool had_mailbox = mailbox_ != nullptr;
  leave_mailbox();
  if (had_mailbox && qresync_) untagged("OK [CLOSED] Previous mailbox is closed");
  Mailbox* found = server_.store().find(*user_, name);
  if (found == nullptr || found->no_select) return Reply::no("[NONEXISTENT] No such mailbox");
  mailbox_ = user_->mailboxes.find(found->name)->second;
  mailbox_->selected_by.push_back(this);
  state_ = State::selected;
  read_only_ = read_only;
  condstore_ = condstore_ || condstore;
  last_uid_ = mailbox_->uidnext - 1;
  recent_from_ = mailbox_->first_recent_uid;
  if (!read_only) mailbox_->first_recent_uid = mailbox_->uidnext;
  keywords_sent_ = mailbox_->keywords.size();

  const auto& messages = mailbox_->messages();
  untagged(fmt::format("FLAGS ({})", mailbox_->flag_names(~0ULL)));
  std::string permanent;
  for (const std::string& flag : server_.options().permanent_flags)
    permanent += (permanent.empty() ? "" : " ") + flag;
  for (const std::string& keyword : mailbox_->keywords) permanent += " " + keyword;
  untagged(fmt::format("OK [PERMANENTFLAGS ({})] Flags", read_only ? "" : permanent));
  untagged(fmt::format("{} EXISTS", messages.size()));
  untagged(fmt::format("{} RECENT", messages.size() - mailbox_->count_up_to(recent_from_ - 1)));
  auto unseen = std::find_if(messages.begin(), messages.end(),
                             [](const Message& message) { return (message.flags & flag_seen) == 0; });
  if (unseen != messages.end())
    untagged(fmt::format("OK [UNSEEN {}] First unseen", unseen - messages.begin() + 1));
  untagged(fmt::format("OK [UIDVALIDITY {}] UIDs valid", mailbox_->uidvalidity));
  if (!server_.options().quirks.select_no_uidnext)
    untagged(fmt::format("OK [UIDNEXT {}] Predicted next UID", mailbox_->uidnext));
  if (offers("CONDSTORE")) untagged(fmt::format("OK [HIGHESTMODSEQ {}] Highest", mailbox_->highestmodseq));
  if (offers("OBJECTID")) untagged(fmt::format("OK [MAILBOXID (F{})] Ok", mailbox_->id));
  if (qresync && qresync->uidvalidity == mailbox_->uidvalidity) send_changes_since(*qresync);
  return Reply::ok(read_only ? "[READ-ONLY] Examine completed" : "[READ-WRITE] Select completed");
}

std::vector<std::uint32_t> Session::expunged_since(std::uint64_t modseq) const {
  std::vector<std::uint32_t> uids;
  for (const Expunged& expunged : mailbox_->expunged)
    if (expunged.modseq > modseq) uids.push_back(expunged.uid);
  std::sort(uids.begin(), uids.end());
  return uids;
}

void Session::send_changes_since(const Qresync& qresync) {
  auto wanted = [&](std::uint32_t uid) { return !qresync.known_uids || qresync.known_uids->contains(uid); };
  NumberSet vanished;
  for (std::uint32_t uid : expunged_since(qresync.modseq))
    if (wanted(uid)) vanished.add(uid);
  if (!vanished.ranges.empty()) untagged("VANISHED (EARLIER) " + vanished.text());
  for (const Message& message : mailbox_->messages())
    if (message.modseq > qresync.modseq && wanted(message.uid)) fetch_flags_line(message, true);
}

void Session::leave_mailbox() {
  if (!mailbox_) return;
  std::erase(mailbox_->selected_by, this);
  mailbox_.reset();
  gone_.clear();
  flagged_.clear();
  saved_ = {};
  if (state_ == State::selected) state_ = State::authenticated;
}

Reply Session::close(Cursor& args) {
  args.end();
  if (args.failed()) return Reply::bad("No arguments expected");
  auto mailbox = mailbox_;
  bool read_only = read_only_;
  leave_mailbox();
  if (!read_only) {
    std::vector<std::uint32_t> uids;
    for (const Message& message : mailbox->messages())
      if ((message.flags & flag_deleted) != 0) uids.push_back(message.uid);
    if (!uids.empty()) server_.store().expunge(*mailbox, uids, this);
  }
  return Reply::ok("Close completed");
}

Reply Session::unselect(Cursor& args) {
  args.end();
  if (args.failed()) return Reply::bad("No arguments expected");
  leave_mailbox();
  return Reply::ok("Unselect completed");
}

}  // namespace postern::testimapd
