// Threads (RFC 8621, 3): by the server's own ids where it has such, else by header fields; those of all mailboxes.
#include <algorithm>
#include <tuple>
#include <unordered_set>

#include "mail/account_support.hpp"
#include "mail/sort_keys.hpp"
#include "postern/base/encoding.hpp"
#include "postern/imap/limits.hpp"

namespace postern::mail {

ThreadKey thread_of(const imap::FetchData& data, const imap::CapabilitySet& capabilities,
                    const EmailKey& id) {
  if (data.thread_id) return stable_hash64("objectid\n" + *data.thread_id) | 1;
  if (data.gm_thrid) return stable_hash64("gmail\n" + std::to_string(*data.gm_thrid)) | 1;
  // THREADID NIL; but data that weren't asked for (a flag that somebody sets) come without it, and tell nothing.
  if (capabilities.has(imap::Capability::objectid)) return data.internal_date ? thread_key_of({}, id) : 0;
  for (const auto& section : data.sections)
    if (is_header(section.section)) return thread_key_of(section.data.value_or(""), id);
  return 0;
}

// --- Threads ---

io::Task<Result<Freshness>> Account::load_threads(ViewPtr view) {
  if (is_quiet(*view) && view->index().listed() && view->missing_threads().empty())
    co_return Freshness::current;
  auto attached = co_await attach(view);
  if (!attached || view->missing_threads().empty()) co_return attached;
  if (*attached == Freshness::stale) co_return fail(Errc::server_unavailable);
  FetchPlan plan;
  plan.thread = true;
  auto loaded = co_await on_mailbox(view, [this, &view, &plan](session::Lease& lease) -> io::Task<Result<>> {
    const auto missing = view->missing_threads();
    if (missing.empty()) co_return Result<>{};
    const auto capabilities = lease.capabilities();
    const auto items = first_items(plan, capabilities, false, context_.options.join_by_identity) +
                       (view->told_modseq() != 0 ? " MODSEQ" : "");
    for (const auto& piece : missing.split(imap::command_line_bytes_max / 2)) {
      imap::CommandBuilder fetch("UID FETCH", capabilities);
      fetch.sp().set(piece).raw(" (" + items + ")").expect(content_fetch);
      auto fetched = co_await run_fetch(lease, fetch, [&](imap::Response& response) {
        auto* answer = std::get_if<imap::FetchResponse>(&response);
        if (answer == nullptr || !answer->data.uid || !piece.contains(*answer->data.uid)) return;
        const auto id = id_of(Place{view->key(), view->uid_validity(), *answer->data.uid});
        if (auto thread = thread_of(answer->data, capabilities, id); thread != 0)
          view->set_thread(*answer->data.uid, thread);
      });
      if (!fetched) co_return fetched;
    }
    co_return Result<>{};
  });
  if (!loaded) co_return fail(loaded.error());
  co_return Freshness::current;
}

io::Task<Result<Account::ThreadViews>> Account::thread_views(bool filled) {
  auto listed = co_await refresh_mailboxes(context_.options.mailbox_list_fresh);
  if (!listed) co_return fail(listed.error());
  ThreadViews found;
  found.freshness = *listed;
  std::vector<MailboxKey> selectable;
  for (const auto& mailbox : mailboxes_)
    if (mailbox.selectable) selectable.push_back(mailbox.key);
  for (auto key : selectable) {
    auto view = co_await view_of(key);
    if (!view && view.error().code != make_error_code(Errc::not_found)) co_return fail(view.error());
    if (!view) continue;
    // A mailbox that has not changed since it was last heard need not be opened again.
    const auto* mailbox = find_mailbox(key);
    const bool current = mailbox != nullptr && (*view)->is_current(mailbox->status);
    const bool empty = mailbox != nullptr && mailbox->status.known && mailbox->status.messages == 0;
    if (!current || !(*view)->missing_threads().empty() || (filled && !(*view)->index().filled())) {
      if (empty && !(*view)->attached()) continue;
      auto loaded = co_await load_threads(*view);
      if (loaded && filled) loaded = co_await fill(*view);
      if (!loaded) {
        // Left out as they are of a query over all mailboxes.
        const auto& why = loaded.error();
        if (why.code == make_error_code(Errc::forbidden) || co_await has_gone(key, why)) continue;
        co_return fail(why);
      }
      found.freshness = both(found.freshness, *loaded);
    }
    found.views.push_back(*view);
  }
  co_return found;
}

io::Task<Result<Snapshot<std::vector<ThreadData>>>> Account::threads(std::vector<ThreadKey> keys) {
  auto known = co_await thread_views(false);
  if (!known) co_return fail(known.error());
  const auto& views = known->views;
  Snapshot<std::vector<ThreadData>> found;
  found.freshness = known->freshness;
  // From here on nothing suspends.
  struct Member {
    std::int64_t received;
    EmailKey id;
  };
  std::map<ThreadKey, std::vector<Member>> members;
  for (auto key : keys)
    if (key != 0) members[key];                  // 0 is no thread: those whose thread isn't known
  std::unordered_set<EmailKey, PlaceHash> seen;  // an Email may be in several mailboxes
  for (const auto& view : views) {
    for (const auto& entry : view->index().entries()) {
      if (entry.is_deleted()) continue;
      auto it = members.find(entry.thread);
      if (it == members.end()) continue;
      const auto id = id_of(Place{view->key(), view->uid_validity(), entry.uid});
      if (seen.insert(id).second) it->second.push_back(Member{entry.received, id});
    }
  }
  for (auto key : keys) {
    auto& list = members[key];
    std::sort(list.begin(), list.end(), [](const Member& a, const Member& b) {
      return std::tie(a.received, a.id.mailbox, a.id.uid) < std::tie(b.received, b.id.mailbox, b.id.uid);
    });
    ThreadData data{key, {}};
    for (const auto& member : list) data.emails.push_back(member.id);
    found.data.push_back(std::move(data));
  }
  found.state = state(StateType::thread);
  co_return found;
}

}  // namespace postern::mail
