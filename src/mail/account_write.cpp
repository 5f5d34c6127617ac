// Email/set's commands (RFC 8621, 4.6): STORE, COPY, MOVE (or COPY and UID EXPUNGE), never repeated blindly. Every
// half-done outcome leaves a message in at least one mailbox.
#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "mail/account_set.hpp"
#include "postern/imap/limits.hpp"

namespace postern::mail {

// Writes, on one lease, in an order that a break in the middle can't turn into a loss.
io::Task<> Account::write_parts(ViewPtr view, std::vector<Part*> parts, Phase phase, Writing& writing) {
  const bool adds = phase != Phase::take, takes = phase != Phase::add;
  std::erase_if(parts, [&](const Part* part) {
    const bool adding = !part->add.empty() || !part->remove.empty() || !part->copy_to.empty();
    const bool taking = part->move_to || part->expunge;
    return part->change->failed() || !((adds && adding) || (takes && taking));
  });
  if (parts.empty()) co_return;
  auto lease = co_await pool_->select(view->encoded_name(), *view);
  // Selected anew, its UIDVALIDITY can be another one: look again before the first write.
  Result<> synced = lease ? co_await sync(*lease, view, nullptr) : fail(lease.error());
  for (auto* part : parts) {
    if (!synced)
      part->change->fail_with("serverUnavailable", "the mail server can't be reached");
    else if (visible_entry(*view, part->place) == nullptr)
      part->change->lost();
  }
  const auto drop_failed = [&parts] {
    std::erase_if(parts, [](const Part* part) { return part->change->failed(); });
  };
  drop_failed();
  if (parts.empty()) co_return;
  if (!co_await writing.begin()) {
    for (auto* part : parts) part->change->fail_with("serverFail", "nobody waits for this request any more");
    co_return;
  }
  if (adds) {
    co_await store_keywords(*lease, parts);
    drop_failed();
    std::map<MailboxKey, std::vector<Part*>> copies;
    for (auto* part : parts)
      for (auto target : part->copy_to) copies[target].push_back(part);
    for (auto& [target, group] : copies) {
      std::erase_if(group, [](const Part* part) { return part->change->failed(); });
      if (!group.empty()) co_await copy_messages(*lease, target, group);
    }
    drop_failed();
  }
  if (!takes) co_return;
  std::map<MailboxKey, std::vector<Part*>> moves;
  std::vector<Part*> expunged;
  for (auto* part : parts) {
    if (part->move_to) moves[*part->move_to].push_back(part);
    if (part->expunge) expunged.push_back(part);
  }
  for (auto& [target, group] : moves) co_await move_messages(*lease, target, group);
  if (!expunged.empty()) co_await expunge_messages(*lease, expunged);
}

namespace {

// Messages of one command: a piece of a UID set that a line holds, and the parts it is for.
template <typename Part>
std::vector<std::pair<imap::UidSet, std::vector<Part*>>> pieces_of(const std::vector<Part*>& parts) {
  imap::UidSet all;
  for (auto* part : parts) all.add(part->place.uid);
  std::vector<std::pair<imap::UidSet, std::vector<Part*>>> pieces;
  for (auto& piece : all.split(imap::command_line_bytes_max / 2)) {
    std::vector<Part*> those;
    for (auto* part : parts)
      if (piece.contains(part->place.uid)) those.push_back(part);
    pieces.emplace_back(std::move(piece), std::move(those));
  }
  return pieces;
}

// A command about a message that another request has moved meanwhile does nothing, and says nothing.
template <typename Part>
void find_lost(const std::vector<Part*>& parts, const auto& moved_from) {
  for (auto* part : parts)
    if (!part->change->failed() && !part->moved && moved_from.contains(part->place)) part->change->lost();
}

template <typename Part>
void fail_all(const std::vector<Part*>& parts, const Error& error, const imap::StatusResponse& refusal) {
  const auto [type, description] = set_error_of(error, refusal);
  // The first failure stands: after a command whose outcome is unknown, none of those behind it can be sent.
  for (auto* part : parts)
    if (!part->change->failed()) part->change->fail_with(type, description);
}

std::map<std::uint32_t, std::uint32_t> pairs_of(const imap::CopyUid& copied) {
  std::map<std::uint32_t, std::uint32_t> pairs;
  if (copied.source.size() != copied.destination.size()) return pairs;
  for (std::size_t i = 0; i < copied.source.size(); ++i) pairs[copied.source[i]] = copied.destination[i];
  return pairs;
}

}  // namespace

io::Task<> Account::store_keywords(session::Lease& lease, const std::vector<Part*>& parts) {
  std::map<std::pair<bool, std::vector<std::string>>, std::vector<Part*>> groups;
  for (auto* part : parts) {
    if (!part->add.empty()) groups[{true, part->add}].push_back(part);
    if (!part->remove.empty()) groups[{false, part->remove}].push_back(part);
  }
  for (auto& [what, group] : groups) {
    for (auto& [uids, those] : pieces_of(group)) {
      imap::CommandBuilder store("UID STORE", lease.capabilities());
      store.sp().set(uids).raw(what.first ? " +FLAGS (" : " -FLAGS (");
      for (std::size_t i = 0; i < what.second.size(); ++i) {
        if (i > 0) store.sp();
        store.flag(what.second[i]);
      }
      store.raw(")").expect(imap::Expect::fetch).write();
      imap::StatusResponse refusal;
      auto stored = co_await run(lease, store, {}, &refusal);
      if (!stored) fail_all(those, stored.error(), refusal);
      for (auto* part : those)
        if (stored) (what.first ? part->added : part->removed) = what.second;
      find_lost(those, moved_from_);
    }
  }
}

// RFC 8620, 5.3: an update is made as a whole or not at all. Where the server has refused some of it, flags that have
// been set or taken off are put back; an answer never says that nothing was done where something was.
io::Task<> Account::take_back_keywords(const std::vector<Change*>& changes) {
  std::map<Change*, SetOutcome> refused;
  std::set<const Change*> half_done;
  std::map<MailboxKey, std::vector<Part*>> stored;
  for (auto* change : changes) {
    if (!change->is_refused()) continue;
    for (auto& part : change->parts) {
      if (part.placed) half_done.insert(change);
      if (!part.added.empty() || !part.removed.empty()) stored[part.place.mailbox].push_back(&part);
    }
    refused.emplace(change, std::exchange(change->outcome, {}));
  }
  for (auto& [mailbox, parts] : stored) {
    auto view = co_await view_of(mailbox);
    Result<session::Lease> lease = fail(Errc::server_unavailable);
    if (view) lease = co_await pool_->select((*view)->encoded_name(), **view);
    Result<> there = fail(Errc::server_unavailable);
    if (lease) there = co_await sync(*lease, *view, nullptr);
    std::vector<Part*> present;
    for (auto* part : parts) {
      part->add = std::exchange(part->removed, {});
      part->remove = std::exchange(part->added, {});
      // Selected anew, another message may have its number.
      if (there && visible_entry(**view, part->place) != nullptr)
        present.push_back(part);
      else
        half_done.insert(part->change);
    }
    if (!present.empty()) co_await store_keywords(*lease, present);
  }
  for (auto& [change, outcome] : refused) {
    const bool put_back = !change->failed() && !half_done.contains(change);
    change->outcome = std::move(outcome);
    if (!put_back)
      change->fail_with("serverFail", "the mail server has made a part of the change, and no more");
  }
}

// UID COPY or UID MOVE, and where the messages are now, as far as the server has told it, even where it failed. `heard`
// is called as soon as that is known: RFC 6851, 4.3: COPYUID comes before the EXPUNGEs.
io::Task<Result<>> Account::transfer(session::Lease& lease, const char* name, const imap::UidSet& uids,
                                     MailboxKey target, const std::vector<Part*>& parts,
                                     std::function<void(const imap::CopyUid&)> heard) {
  const auto* mailbox = find_mailbox(target);
  if (mailbox == nullptr) {
    for (auto* part : parts)
      if (!part->change->failed())
        part->change->fail_with("invalidProperties", "the Mailbox has gone", {"mailboxIds"});
    co_return fail(Errc::not_found);
  }
  imap::CommandBuilder command(name, lease.capabilities());
  command.sp()
      .set(uids)
      .sp()
      .encoded_mailbox(mailbox->encoded_name)
      .expect(imap::Expect::other)
      .exclusive()
      .write();
  std::size_t told = 0;  // of how many it is known where they are
  const auto take = [&heard, &told](const imap::ResponseCode& code) {
    const auto* copied = std::get_if<imap::CopyUid>(&code.value);
    if (copied == nullptr) return;
    told += copied->destination.size();
    heard(*copied);
  };
  imap::StatusResponse refusal;
  auto built = command.finish();
  Result<imap::StatusResponse> done = built ? Result<imap::StatusResponse>{} : fail(built.error());
  hold_status(target);
  if (built)
    done = co_await lease.execute(
        std::move(*built),
        [&take](imap::Response& response) {
          if (auto* status = std::get_if<imap::StatusResponse>(&response)) take(status->code);
        },
        &refusal);
  if (done) take(done->code);
  if (done && told < uids.count()) note_uncounted(target, unknown_uid_next);
  release_status(target);
  if (!done) {
    counts_moved_ = true;
    fail_all(parts, done.error(), refusal);
    co_return fail(done.error());
  }
  // What is left in a mailbox of which not all is known, its STATUS tells.
  if (const auto from = parts.front()->place.mailbox; !tells_its_counts(from))
    note_uncounted(from, unknown_uid_next);
  if (has_mailboxes_made_of_others()) counts_moved_ = true;
  co_return Result<>{};
}

// One more mailbox for each of them. Copies whose place isn't told are Emails of their own.
io::Task<> Account::copy_messages(session::Lease& lease, MailboxKey target, std::vector<Part*> parts) {
  for (auto& [uids, those] : pieces_of(parts)) {
    std::set<Part*> copied;
    auto done = co_await transfer(lease, "UID COPY", uids, target, those, [&](const imap::CopyUid& code) {
      take_copies(target, code, those, copied);
    });
    if (!done) continue;
    find_lost(those, moved_from_);
    for (auto* part : those)
      if (!copied.contains(part) && !part->change->failed())
        part->change->fail_with("serverFail", "the mail server doesn't tell whether the message was copied");
  }
}

void Account::take_copies(MailboxKey target, const imap::CopyUid& code, const std::vector<Part*>& parts,
                          std::set<Part*>& copied) {
  const auto to = pairs_of(code);
  for (auto* part : parts) {
    const auto it = to.find(part->place.uid);
    if (it == to.end() || !copied.insert(part).second) continue;
    part->placed = true;
    const Place place{target, code.uid_validity, it->second};
    tell_copied(part->change->whole, place);
    add_copy(part->change->whole, place);
    expect_at(place, is_seen_at(part->place));
  }
}

io::Task<> Account::move_messages(session::Lease& lease, MailboxKey target, std::vector<Part*> parts) {
  const bool can_move = lease.tiers().move == imap::MoveTier::move;
  for (auto& [uids, those] : pieces_of(parts)) {
    // Until it is known where they are, nobody is told that they have gone.
    for (const auto* part : those) moving_.try_emplace(part->place, std::nullopt);
    std::set<Part*> copied;
    auto done = co_await transfer(
        lease, can_move ? "UID MOVE" : "UID COPY", uids, target, those, [&](const imap::CopyUid& code) {
          can_move ? follow_moves(target, code, those) : take_copies(target, code, those, copied);
        });
    // A copy that is known is the Email's second place, until the first one is expunged.
    for (auto* part : copied) end_move(part->place, part->change->whole);
    if (done && !can_move) co_await expunge_messages(lease, those);
    for (auto* part : copied) {
      if (part->change->failed()) continue;
      note_moved(part->change->whole, part->place);
      part->moved = true;
    }
    for (const auto* part : those) end_move(part->place, part->change->whole);
    find_lost(those, moved_from_);
  }
}

// The id goes on meaning the message where it is now (RFC 8621, 4: ids don't change by moving).
void Account::follow_moves(MailboxKey target, const imap::CopyUid& code, const std::vector<Part*>& parts) {
  const auto to = pairs_of(code);
  for (auto* part : parts) {
    const auto it = to.find(part->place.uid);
    if (it == to.end() || part->moved) continue;
    const Place place{target, code.uid_validity, it->second};
    const auto seen = is_seen_at(part->place);
    tell_moved(part->change->whole, part->place, place);
    replace_place(part->change->whole, part->place, place);
    part->moved = part->placed = true;
    expect_at(place, seen);
  }
}

// Messages are announced in the order of their UIDs: one below the next UID has been, or has gone before that.
void Account::settle_expected(const MailboxView& view) {
  const auto next = std::max(view.uid_next(), view.index().largest_uid() + 1);
  auto it = expected_.lower_bound({view.key(), 0});
  while (it != expected_.end() && it->first == view.key() && it->second < next) {
    const Place place{view.key(), view.uid_validity(), it->second};
    it = expected_.erase(it);
    const auto* entry = view.index().find(place.uid);
    if (entry == nullptr)
      tell_unheard_gone(place);
    else if (entry->is_deleted())
      tell_left(place, entry->thread);
  }
}

// \Deleted, then UID EXPUNGE of exactly these. Without UIDPLUS nothing is expunged: a plain EXPUNGE would take
// what others have marked, too. Marked messages are hidden here, and other programs expunge them.
io::Task<> Account::expunge_messages(session::Lease& lease, std::vector<Part*> parts) {
  const bool uid_expunge = lease.tiers().move != imap::MoveTier::copy_only;
  for (auto& [uids, those] : pieces_of(parts)) {
    const auto mark = [&lease, &uids](std::string_view how) {
      imap::CommandBuilder store("UID STORE", lease.capabilities());
      store.sp().set(uids).raw(how).raw("FLAGS (\\Deleted)").expect(imap::Expect::fetch).write();
      return store.finish();
    };
    imap::StatusResponse refusal;
    auto done = co_await run(lease, mark(" +"), {}, &refusal);
    if (done && uid_expunge) {
      imap::CommandBuilder expunge("UID EXPUNGE", lease.capabilities());
      expunge.sp().set(uids).write();
      done = co_await run(lease, expunge, {}, &refusal);
      // What stays must be seen again; as long as it is marked, it goes as soon as anybody expunges.
      if (!done && (is_lost(done.error()) || !co_await run(lease, mark(" -"))))
        done = fail(session::Errc::connection_lost);
    }
    if (!done) fail_all(those, done.error(), refusal);
    std::vector<Place> destroyed;
    for (auto* part : those) {
      part->placed = part->placed || done.has_value();
      if (part->change->update == nullptr) destroyed.push_back(part->place);
    }
    forget_departures(destroyed);
    find_lost(those, moved_from_);
  }
}

}  // namespace postern::mail
