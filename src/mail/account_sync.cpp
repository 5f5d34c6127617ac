// How an account's views are made right: lists, arrivals, flags, and the index filled behind.
#include <algorithm>

#include "mail/account_support.hpp"
#include "mail/search_program.hpp"
#include "mail/sort_keys.hpp"
#include "postern/imap/limits.hpp"

namespace postern::mail {
namespace {

// Each round fetches what sync_need() says; a mailbox that changes all the time must end some time.
constexpr int sync_rounds_max = 8;
// How long filling an index waits for requests to end. One that needs it fills it without waiting.
constexpr Duration fill_wait_max = std::chrono::seconds(5);

}  // namespace

io::Task<Result<Freshness>> Account::attach(ViewPtr view, const Sort* cold_sort) {
  // While somebody is at it, the list may be there, and what is \Deleted in it not yet.
  if (view->attached() && view->sync_need() == SyncNeed::none && !syncing_.contains(view->key()) &&
      !has_unheard(*view))
    co_return Freshness::current;
  // What `cold_sort` points to belongs to the caller, who waits for us.
  Result<> result;
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto lease = co_await open(view);
    if (!lease) {
      result = fail(lease.error());
      break;
    }
    result = co_await sync(*lease, view, cold_sort);
    if (result && has_unheard(*view)) result = co_await hear_expected(*lease, view);
    if (result && is_another(*view)) {
      counts_moved_ = true;  // the list is asked for anew
      co_return fail(Errc::not_found);
    }
    if (result) co_return Freshness::current;
    if (!is_lost(result.error())) break;
  }
  result = fail(mail_error(result.error()));
  // What is known from before is still answered, and marked.
  if (result.error().code == make_error_code(Errc::server_unavailable) && view->index().listed())
    co_return Freshness::stale;
  co_return fail(result.error());
}

// Those below the next UID have been announced, or have gone (settle_expected).
bool Account::has_unheard(const MailboxView& view) const {
  auto it = expected_.lower_bound({view.key(), view.index().largest_uid() + 1});
  for (; it != expected_.end() && it->first == view.key(); ++it)
    if (!asked_for_.contains(*it)) return true;
  return false;
}

// A server tells with its next answer, whatever that is to; one that has nothing to say isn't asked again.
io::Task<Result<>> Account::hear_expected(session::Lease& lease, ViewPtr view) {
  imap::CommandBuilder noop("NOOP", lease.capabilities());
  if (auto heard = co_await run(lease, noop); !heard) co_return heard;
  if (auto synced = co_await sync(lease, view, nullptr); !synced) co_return synced;
  if (asked_for_.size() >= expected_places_max) asked_for_.clear();
  auto it = expected_.lower_bound({view->key(), view->index().largest_uid() + 1});
  for (; it != expected_.end() && it->first == view->key(); ++it) asked_for_.insert(*it);
  co_return Result<>{};
}

io::Task<Result<>> Account::attach_current(ViewPtr view) {
  auto attached = co_await attach(std::move(view));
  if (!attached) co_return fail(attached.error());
  if (*attached == Freshness::stale) co_return fail(Errc::server_unavailable);
  co_return Result<>{};
}

io::Task<Freshness> Account::catch_up() {
  std::vector<ViewPtr> behind;
  for (const auto& [key, view] : views_)
    if (view->attached() &&
        (view->sync_need() != SyncNeed::none || syncing_.contains(key) || has_unheard(*view)))
      behind.push_back(view);
  auto freshness = Freshness::current;
  // One that can't be brought into step is answered for by what the list says.
  for (const auto& view : behind)
    if (auto attached = co_await attach(view); attached) freshness = both(freshness, *attached);
  co_return freshness;
}

Account::Counts Account::counts_of(MailboxView& view) {
  Counts counts{view.index().visible(), view.index().unread(), view.index().visible(), view.index().unread()};
  if (auto threads = view.thread_counts()) {
    counts.total_threads = threads->total;
    counts.unread_threads = threads->unread;
  }
  return counts;
}

Account::Counts Account::counts_of(const Mailbox& mailbox) {
  const auto view = views_.find(mailbox.key);
  if (view != views_.end() && view->second->attached() && view->second->index().filled() &&
      view->second->sync_need() == SyncNeed::none && !syncing_.contains(mailbox.key))
    return counts_of(*view->second);
  if (const auto left = counts_left_.find(mailbox.key); left != counts_left_.end()) return left->second;
  return {mailbox.status.messages, mailbox.status.unseen, mailbox.status.messages, mailbox.status.unseen};
}

io::Task<Result<>> Account::sync(session::Lease& lease, ViewPtr view, const Sort* cold_sort) {
  const auto key = view->key();
  while (true) {
    auto it = syncing_.find(key);
    if (it == syncing_.end()) break;
    auto other = it->second;  // keeps the event alive while we wait
    co_await other->wait();
  }
  if (view->sync_need() == SyncNeed::none) {
    settle_expected(*view);
    co_return Result<>{};
  }
  auto done = std::make_shared<io::Event>(context_.loop);
  syncing_[key] = done;
  Result<> result;
  for (int round = 0; round < sync_rounds_max && result; ++round) {
    const auto need = view->sync_need();
    if (need == SyncNeed::none) break;
    switch (need) {
      case SyncNeed::none: break;
      case SyncNeed::list: result = co_await sync_list(lease, view, cold_sort); break;
      case SyncNeed::changes_since: result = co_await sync_flags(lease, view, view->modseq()); break;
      case SyncNeed::flags: result = co_await sync_flags(lease, view, 0); break;
      case SyncNeed::arrivals: result = co_await sync_arrivals(lease, view); break;
    }
    if (result) view->sync_finished(need);
  }
  syncing_.erase(key);
  done->set();
  if (result && view->sync_need() != SyncNeed::none) {
    // What the server counts isn't what it lists: sequence numbers can't be trusted.
    context_.loop.logger().warning("mailbox doesn't come into step",
                                   {{"mailbox", view->encoded_name()}, {"rounds", sync_rounds_max}});
    co_return fail(Errc::server_unavailable, "the mailbox doesn't come into step");
  }
  if (result) settle_expected(*view);
  co_return result;
}

// A cold view is compared with what was known when the mailbox was heard last.
io::Task<Result<>> Account::sync_list(session::Lease& lease, ViewPtr view, const Sort* cold_sort) {
  if (view->index().listed() && !view->listing()) co_return co_await list_messages(lease, view, cold_sort);
  view->begin_listing();
  if (auto listed = co_await list_messages(lease, view, cold_sort); !listed) co_return listed;
  imap::UidSet changed;
  if (const auto since = changed_since_shown(*view)) {
    imap::CommandBuilder fetch("UID FETCH", lease.capabilities());
    fetch.raw(" 1:* (UID FLAGS) (CHANGEDSINCE " + std::to_string(*since) + ")").expect(imap::Expect::fetch);
    auto asked = co_await run(lease, fetch, [&changed](imap::Response& response) {
      if (auto* data = std::get_if<imap::FetchResponse>(&response); data != nullptr && data->data.uid)
        changed.add(*data->data.uid);
    });
    if (!asked) co_return asked;
  }
  view->end_listing();
  if (const auto before = baselines_.find(view->key());
      before != baselines_.end() && !before->second.shown.empty() && view->modseq() != 0)
    view->set_told_modseq(view->modseq());
  tell_listing(*view, changed);
  settle_places(*view);
  co_return Result<>{};
}

// The UIDs of all messages and which of them are \Deleted. A cold view is listed by the SORT its first page
// needs anyway, or, where the server can't sort, by the FETCH that fills the index.
io::Task<Result<>> Account::list_messages(session::Lease& lease, ViewPtr view, const Sort* cold_sort) {
  const auto capabilities = lease.capabilities();
  if (view->exists() == 0) {
    view->take_uid_list({});
    co_return Result<>{};
  }
  const bool cold = !view->index().listed();
  const bool sorted = cold && cold_sort != nullptr && server_can_sort(*cold_sort, capabilities);
  if (cold && cold_sort != nullptr && !sorted) {
    const auto exists = view->exists();
    const auto expunges = view->expunges();
    bool beyond = false;  // more than the server counts
    std::vector<imap::FetchData> all;
    imap::CommandBuilder fetch("UID FETCH", capabilities);
    fetch.raw(" 1:* (" + index_items(capabilities, context_.options.join_by_identity) + ")")
        .expect(imap::Expect::fetch);
    UidList uids;
    auto fetched = co_await run(lease, fetch, [&](imap::Response& response) {
      auto* data = std::get_if<imap::FetchResponse>(&response);
      if (data == nullptr || !data->data.uid) return;
      beyond = beyond || uids.size() >= exists;
      if (beyond) return;
      uids.push_back(*data->data.uid);
      all.push_back(std::move(data->data));
    });
    if (!fetched) co_return fetched;
    // An EXPUNGE in the middle spoke of numbers that nobody knew yet: then the list is asked for once more.
    if (!beyond && view->exists() == exists && view->expunges() == expunges && uids.size() == exists) {
      view->take_uid_list(std::move(uids));
      for (const auto& data : all) view->on_fetch(data);
      co_return Result<>{};
    }
  }
  // Taken at the moment the line is there: an EXPUNGE behind it finds the numbers it speaks of.
  UidList order, deleted;
  auto list_command = sorted ? sort_command(*cold_sort, capabilities) : search_all_command(capabilities);
  if (!list_command) co_return fail(std::move(list_command.error()));
  const bool may_join = !sorted && !identity_item(capabilities).empty();
  const auto end = may_join ? end_of_known(*view) : UINT32_MAX;
  const auto take_list = [&](imap::Response& response) {
    if (auto* numbers = std::get_if<imap::SortResponse>(&response); sorted && numbers != nullptr) {
      order = std::move(numbers->numbers);
      view->take_uid_list(order, end);
    } else if (auto found = search_result(response); !sorted && found) {
      view->take_uid_list(std::move(*found), end);
    }
  };
  auto deleted_command = search_deleted_command(capabilities);
  if (!deleted_command) co_return fail(std::move(deleted_command.error()));
  const auto take_deleted = [&deleted](imap::Response& response) {
    if (auto found = search_result(response)) deleted = std::move(*found);
  };
  auto listed = co_await lease.execute_both({std::move(*list_command), take_list},
                                            {std::move(*deleted_command), take_deleted});
  if (!listed) co_return listed;
  if (!view->index().listed()) co_return fail(Errc::server_refused, "no list of the mailbox's messages");
  view->take_deleted(deleted);
  if (sorted) view->install_order(*cold_sort, order);
  co_return Result<>{};
}

io::Task<Result<>> Account::sync_flags(session::Lease& lease, ViewPtr view, std::uint64_t changed_since) {
  auto last = std::string("*");
  // What is new is to come as an arrival, with all that is known of one.
  if (!identity_item(lease.capabilities()).empty() && may_join_arrivals(*view)) {
    if (view->index().entries().empty()) co_return Result<>{};
    last = std::to_string(view->index().largest_uid());
  }
  imap::CommandBuilder fetch("UID FETCH", lease.capabilities());
  fetch.raw(" 1:" + last + " (UID FLAGS)").expect(imap::Expect::fetch);
  if (changed_since != 0) fetch.raw(" (CHANGEDSINCE " + std::to_string(changed_since) + ")");
  co_return co_await run(lease, fetch);
}

// Everything the index holds, for all messages, in pieces that other requests can come between.
io::Task<Result<Freshness>> Account::fill(ViewPtr view) {
  auto attached = co_await attach(view);
  if (!attached || view->index().filled()) co_return attached;
  if (*attached == Freshness::stale) co_return fail(Errc::server_unavailable);
  // Each piece makes at least one message known, or the mailbox has changed; both end.
  for (std::size_t before = view->index().unknown() + 1; !view->index().filled();) {
    const auto unknown = view->index().unknown();
    if (unknown >= before) co_return fail(Errc::server_refused, "FETCH leaves out messages of the mailbox");
    before = unknown;
    const auto piece = context_.options.fill_messages;
    auto filled = co_await on_mailbox(view, [this, view, piece](session::Lease& lease) -> io::Task<Result<>> {
      imap::UidSet missing;
      std::uint32_t count = 0;
      std::uint32_t first = 0, last = 0;
      for (const auto& entry : view->index().entries()) {
        if (entry.is_known() || count == piece) continue;
        ++count;
        if (first == 0) first = entry.uid;
        last = entry.uid;
        missing.add(entry.uid);
      }
      if (count == 0) co_return Result<>{};
      // Nearly all are missing in a cold mailbox: a range says it in a few octets.
      imap::CommandBuilder fetch("UID FETCH", lease.capabilities());
      fetch.sp().set(imap::UidSet::range(first, last)).sp().expect(imap::Expect::fetch);
      fetch.raw("(" + index_items(lease.capabilities(), context_.options.join_by_identity) +
                (view->told_modseq() != 0 ? " MODSEQ)" : ")"));
      const auto uid_validity = view->uid_validity();
      auto done = co_await run_fetch(lease, fetch);
      // What the server leaves out is about to be expunged, or it can't read it: not asked for again and again.
      if (done && view->uid_validity() == uid_validity) view->settle(missing);
      co_return done;
    });
    if (!filled) co_return fail(filled.error());
  }
  co_return Freshness::current;
}

// Until no query or fetch is at work, but for fill_wait_max at most.
io::Task<> Account::quiet() {
  const auto deadline = context_.loop.clock().now() + fill_wait_max;
  do {
    // A request whose query has ended begins its fetch in the same turn of the loop.
    co_await next_turn(context_.loop);
    if (working_ == 0) co_return;
    idle_.reset();
  } while (co_await idle_.wait_until(deadline));
}

// Not beside the page that is being fetched: Dovecot answers OK to none of several FETCH commands until the last one
// is done, so the page would wait for the whole index.
void Account::fill_behind(ViewPtr view) {
  if (view->index().filled() || !filling_.insert(view->key()).second) return;
  auto task = [](std::shared_ptr<Account> self, ViewPtr filled) -> io::Task<> {
    co_await self->quiet();
    auto result = co_await self->fill(filled);
    if (!result)
      self->context_.loop.logger().debug("index not filled", {{"error", result.error().to_string()}});
    self->filling_.erase(filled->key());
  };
  context_.loop.spawn(task(shared_from_this(), std::move(view)));
}

// The sort keys that only header fields have, of all messages that miss them.
io::Task<Result<>> Account::load_text_keys(ViewPtr view, SortKey::Property property) {
  const std::string field(header_field_of(property));
  co_return co_await on_mailbox(view, [view, property, field](session::Lease& lease) -> io::Task<Result<>> {
    auto missing = view->missing_keys(property);
    if (missing.empty()) co_return Result<>{};
    for (const auto& piece : missing.split(imap::command_line_bytes_max / 2)) {
      imap::CommandBuilder fetch("UID FETCH", lease.capabilities());
      fetch.sp().set(piece).raw(" (UID BODY.PEEK[HEADER.FIELDS (" + field + ")])").expect(content_fetch);
      auto fetched = co_await run_fetch(lease, fetch, [&view, property, &piece](imap::Response& response) {
        auto* data = std::get_if<imap::FetchResponse>(&response);
        if (data == nullptr || !data->data.uid || !piece.contains(*data->data.uid)) return;
        for (const auto& section : data->data.sections)
          view->put_key(property, *data->data.uid, text_sort_key(property, section.data.value_or("")));
      });
      if (!fetched) co_return fetched;
    }
    // What the server left out sorts as empty, rather than being asked for again and again.
    for (const auto& entry : view->index().entries())
      if (missing.contains(entry.uid) && !view->has_key(property, entry.uid))
        view->put_key(property, entry.uid, {});
    co_return Result<>{};
  });
}

}  // namespace postern::mail
