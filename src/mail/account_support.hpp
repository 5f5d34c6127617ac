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

// Runs an operation with the view's mailbox selected and the view in step; reads are tried once more on a
// new connection when theirs is lost. `op` is called as op(Lease&) and must be repeatable.
template <typename Op>
io::Task<Result<>> Account::on_mailbox(ViewPtr view, Op op) {
  for (int attempt = 0;; ++attempt) {
    auto lease = co_await pool_->select(view->encoded_name(), *view);
    if (!lease) co_return fail(mail_error(lease.error()));
    Result<> result = co_await sync(*lease, view, nullptr);
    if (result) result = co_await op(*lease);
    if (result) co_return result;
    if (attempt > 0 || !is_lost(result.error())) co_return fail(mail_error(result.error()));
  }
}

}  // namespace postern::mail
