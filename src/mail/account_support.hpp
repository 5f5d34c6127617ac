// What the parts of Account share. Private to the mail layer.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "postern/imap/command.hpp"
#include "postern/mail/account.hpp"

namespace postern::mail {

// An error of a lower layer as the Mailstore's users know it; mail errors as they are.
Error mail_error(const Error& error);

// A message's keywords as JMAP has them: in lower case, system flags among them (RFC 8621, 4.1.1).
std::vector<std::string> jmap_keywords(const MailboxIndex& index, const MessageEntry& entry);

// Which part of a message a FETCH item is about: "HEADER.FIELDS (...)" and "HEADER" are its header.
inline bool is_header(std::string_view section) { return section.starts_with("HEADER"); }
// What the index holds of a message comes at once, so that all of it is known or nothing.
inline std::string index_items(const imap::CapabilitySet& capabilities, bool identified) {
  return "UID FLAGS INTERNALDATE RFC822.SIZE" +
         std::string(identified ? identity_item(capabilities) : std::string_view());
}
// The FETCH items that a plan wants of every message.
std::string first_items(const FetchPlan& plan, const imap::CapabilitySet& capabilities, bool threads_known,
                        bool identified);
// The thread that FETCH data tell; 0 where they tell none.
ThreadKey thread_of(const imap::FetchData& data, const imap::CapabilitySet& capabilities, const EmailKey& id);

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
inline constexpr std::size_t place_tries_max = 3;

// --- account_set.cpp ---
// Flags that may be set, as the server has told it.
bool may_store(const MailboxView& view, std::string_view keyword);
// "\Seen" for "$seen"; a keyword in the spelling that the mailbox has it in.
std::string imap_flag(const MailboxView& view, std::string_view keyword);
// What a refused command means for the messages it was about: SetError and description.
std::pair<std::string, std::string> set_error_of(const Error& error, const imap::StatusResponse& refusal);

// A list of mailboxes of any age will do: which mailboxes there are, not what is in them.
inline constexpr Duration any_age = Duration::max();

inline constexpr std::size_t expected_places_max = 10'000;
// Results that are kept: of how many Emails at most, and how many that were put together of several mailboxes.
inline constexpr std::size_t kept_result_ids_max = 200'000;
inline constexpr std::size_t merged_results_max = 4;
// Places that messages have left, with the ids they had there.
inline constexpr std::size_t moved_from_max = 4'096;

// --- account_baseline.cpp ---
// Whether messages have come that weren't there (RFC 8621, 1.5). What was put there through us, `before` knows; null:
// the mailbox itself is new.
bool has_arrivals(const MailboxStatus* before, const MailboxStatus& now);

// The lease's connection has ended, before or after the command was sent: a read may be tried on another.
inline bool is_lost(const Error& error) {
  return error.code == make_error_code(session::Errc::connection_lost) ||
         error.code == make_error_code(session::Errc::unavailable);
}

// Lets everything else of the loop that is ready run first.
inline io::Task<> next_turn(io::Loop& loop) {
  auto turn = std::make_shared<io::Event>(loop);
  loop.post([turn] { turn->set(); });
  co_await turn->wait();
}

// At most `count` UIDs each, and short enough for a command line.
std::vector<imap::UidSet> groups_of(const imap::UidSet& uids, std::uint64_t count);

// hasAttachment (RFC 8621, 4.1.4), the same for a filter as for Email/get.
bool has_attachment(const imap::BodyStructure& structure);

// What STATUS is asked for of each mailbox. MAILBOXID (RFC 8474, 4.3) is asked for by itself: together with items for
// which it opens the mailbox, Cyrus 3.6 answers with memory that it has freed.
inline std::string status_items(const imap::CapabilitySet& capabilities) {
  std::string items = "MESSAGES UNSEEN UIDNEXT UIDVALIDITY";
  if (capabilities.has(imap::Capability::condstore)) items += " HIGHESTMODSEQ";
  if (capabilities.has(imap::Capability::x_guid)) items += " X-GUID";
  return items;
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

// The server says that it would refuse the same always (RFC 5530).
inline bool is_for_good(const imap::StatusResponse& refusal) {
  const auto& code = refusal.code.name;
  return code == "NONEXISTENT" || code == "NOPERM" || code == "AUTHORIZATIONFAILED";
}
inline bool is_no(const Result<>& asked) {
  return !asked && asked.error().code == make_error_code(imap::Errc::no);
}
// A read. A NO that gives no reason may be one of the moment: asked once more.
inline io::Task<Result<>> run_or_again(session::Lease& lease, std::function<Result<imap::Command>()> command,
                                       session::Lease::OnData on_data, imap::StatusResponse& refusal) {
  auto asked = co_await run(lease, command(), on_data, &refusal);
  if (is_no(asked) && !is_for_good(refusal)) asked = co_await run(lease, command(), on_data, &refusal);
  co_return asked;
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
    auto lease = co_await open(view);
    if (!lease) co_return fail(lease.error());
    Result<> result = co_await sync(*lease, view, nullptr);
    if (result) result = co_await op(*lease);
    if (result) co_return result;
    const bool again =
        is_lost(result.error()) || result.error().code == make_error_code(Errc::messages_expunged);
    if (attempt > 0 || !again) co_return fail(mail_error(result.error()));
  }
}

}  // namespace postern::mail
