// What the parts of Account share. Private to the mail layer.
#pragma once

#include <string>
#include <utility>

#include "postern/imap/command.hpp"
#include "postern/mail/account.hpp"

namespace postern::mail {

// An error of a lower layer as the Mailstore's users know it; mail errors as they are.
Error mail_error(const Error& error);

// A message's keywords as JMAP has them: in lower case, system flags among them (RFC 8621, 4.1.1).
std::vector<std::string> jmap_keywords(const MailboxIndex& index, const MessageEntry& entry);

// FETCH responses reach every command in flight that expects FETCH, and nothing in them says whose they are:
// two that ask for content (sections, structures) are never in flight at once, else one would take what was
// fetched for the other.
inline constexpr imap::Expect content_fetch = imap::Expect::fetch | imap::Expect::other;

// The message of that place, if it can be seen. The live UIDVALIDITY is compared on every use: an id never reaches
// another message.
inline const MessageEntry* visible_entry(const MailboxView& view, const Place& place) {
  const auto* entry = view.uid_validity() == place.uid_validity ? view.index().find(place.uid) : nullptr;
  return entry != nullptr && !entry->is_deleted() ? entry : nullptr;
}
// A message may be moved while we wait for something: how often it is looked for where it is now.
inline constexpr int place_tries_max = 3;

// A list of mailboxes of any age will do: which mailboxes there are, not what is in them.
inline constexpr Duration any_age = Duration::max();

// The lease's connection has ended, before or after the command was sent: a read may be tried on another.
inline bool is_lost(const Error& error) {
  return error.code == make_error_code(session::Errc::connection_lost) ||
         error.code == make_error_code(session::Errc::unavailable);
}

// Sends a command and waits for its end.
inline io::Task<Result<>> run(session::Lease& lease, Result<imap::Command> command,
                              session::Lease::OnData on_data = {}, imap::StatusResponse* refusal = nullptr) {
  if (!command) co_return fail(command.error());
  auto done = co_await lease.execute(std::move(*command), std::move(on_data), refusal);
  if (!done) co_return fail(done.error());
  co_return Result<>{};
}
inline io::Task<Result<>> run(session::Lease& lease, imap::CommandBuilder& builder,
                              session::Lease::OnData on_data = {}, imap::StatusResponse* refusal = nullptr) {
  return run(lease, builder.finish(), std::move(on_data), refusal);
}

// A FETCH. NO [EXPUNGEISSUED] (RFC 5530, 3) says that some of the messages are gone without our having heard of it:
// after a NOOP we have, and on_mailbox() asks once more for those that are left.
inline io::Task<Result<>> run_fetch(session::Lease& lease, imap::CommandBuilder& builder,
                                    session::Lease::OnData on_data = {}) {
  imap::StatusResponse refusal;
  auto done = co_await run(lease, builder, std::move(on_data), &refusal);
  if (done || refusal.code.name != "EXPUNGEISSUED") co_return done;
  imap::CommandBuilder noop("NOOP", lease.capabilities());
  if (auto heard = co_await run(lease, noop); !heard) co_return heard;
  co_return fail(Errc::messages_expunged);
}

// Runs op(Lease&) with the view's mailbox selected and the view in step. It must be repeatable: tried once more on
// a new connection when its own is lost, and when messages were gone that it asked for.
template <typename Op>
io::Task<Result<>> Account::on_mailbox(ViewPtr view, Op op) {
  for (int attempt = 0;; ++attempt) {
    auto lease = co_await pool_->select(view->encoded_name(), *view);
    if (!lease) co_return fail(mail_error(lease.error()));
    Result<> result = co_await sync(*lease, view, nullptr);
    if (result) result = co_await op(*lease);
    if (result) co_return result;
    const bool again =
        is_lost(result.error()) || result.error().code == make_error_code(Errc::messages_expunged);
    if (attempt > 0 || !again) co_return fail(mail_error(result.error()));
  }
}

}  // namespace postern::mail
