// Email/query over views (RFC 8621, 4.4): from the index and the cached orders where they tell, from the
// server's SEARCH and SORT where they don't. The results of mailboxes are put together here.
#include "mail/account_query.hpp"

#include <algorithm>
#include <unordered_set>

#include "mail/search_program.hpp"
#include "mail/slices.hpp"
#include "mail/sort_rows.hpp"

namespace postern::mail {
namespace {

bool asks_the_server(const Filter& filter) {
  return is_search_condition(filter.kind) ||
         std::any_of(filter.children.begin(), filter.children.end(), asks_the_server);
}

}  // namespace

// Afterwards view->known_order(sort) is there, unless the mailbox changed once more meanwhile.
io::Task<Result<>> Account::ensure_order(ViewPtr view, const Sort& sort) {
  if (view->known_order(sort) != nullptr) co_return Result<>{};
  if (!view->has_keys(sort)) {
    if (server_can_sort(sort, pool_->capabilities()))
      co_return co_await on_mailbox(view, [view, &sort](session::Lease& lease) -> io::Task<Result<>> {
        if (view->known_order(sort) != nullptr) co_return Result<>{};
        const auto capabilities = lease.capabilities();
        auto command = sort_command(sort, capabilities);
        co_return co_await run(lease, command, [&view, &sort](imap::Response& response) {
          if (auto* sorted = std::get_if<imap::SortResponse>(&response))
            view->install_order(sort, sorted->numbers);
        });
      });
    if (auto loaded = co_await load_sort_keys(view, sort); !loaded) co_return loaded;
  }
  const auto version = view->version();
  const ThreadKeywords none;
  SortRows rows(sort, none);
  rows.begin(*view);
  for (const auto& entry : view->index().entries())
    if (!entry.is_deleted()) rows.add(entry);
  co_await sort_in_slices(*lane_, rows.rows(),
                          [&rows](const SortRow& a, const SortRow& b) { return rows.less(a, b); });
  if (view->version() != version) co_return Result<>{};
  UidList order;
  order.reserve(rows.rows().size());
  for (const auto& row : rows.rows()) order.push_back(row.place.uid);
  view->install_order(sort, order);
  co_return Result<>{};
}

// All that view->has_keys() wants for sorting here.
io::Task<Result<>> Account::load_sort_keys(ViewPtr view, const Sort& sort) {
  if (auto filled = co_await fill(view); !filled) co_return fail(filled.error());
  for (const auto& key : sort.keys) {
    if (!is_text_property(key.property)) continue;
    if (auto loaded = co_await load_text_keys(view, key.property); !loaded) co_return loaded;
  }
  co_return Result<>{};
}

// Is it as it was when it was heard last, as far as the list of mailboxes says? Where that tells no more of flags than
// how many messages are unseen, it is so for as long as a list is fresh.
bool Account::is_quiet(const MailboxView& view) const {
  if (view.attached())
    return view.sync_need() == SyncNeed::none && !syncing_.contains(view.key()) && !has_unheard(view);
  const auto* mailbox = find_mailbox(view.key());
  const auto now = context_.loop.clock().now();
  const auto fresh = context_.options.mailbox_list_fresh;
  if (mailbox == nullptr || counts_moved_ || uncounted_.contains(view.key()) || !mailboxes_listed_ ||
      now - *mailboxes_listed_ >= fresh || !view.is_current(mailbox->status) || is_another(view))
    return false;
  if (view.modseq() != 0 && mailbox->status.highest_modseq != 0)
    return view.modseq() == mailbox->status.highest_modseq;
  const auto left = left_at_.find(view.key());
  return left != left_at_.end() && now - left->second < fresh && !has_news(*mailbox);
}

std::string Account::result_signature(const Filter& filter, const Sort& sort, const QueryThreads& threads) {
  auto signature = sort.signature() + '|' + filter.signature();
  if (filter.is_about_threads()) signature += threads.signature;
  return signature;
}

// Without the server.
bool Account::can_tell(MailboxView& view, const Filter& filter, const Sort& sort,
                       const QueryThreads& threads) const {
  if (!view.has_keys(sort)) return false;
  if (view.cached_result(result_signature(filter, sort, threads))) return true;
  return filter.is_local() ||
         (filter.is_about_threads() && !filter.has(Filter::Kind::has_attachment) && !asks_the_server(filter));
}

// The messages of one mailbox that match, in order. `filter` has been decided for this mailbox.
io::Task<Result<Account::Found>> Account::result_of(ViewPtr view, const Filter& filter, const Sort& sort,
                                                    const QueryThreads& threads, bool quiet) {
  const auto signature = result_signature(filter, sort, threads);
  const auto found_now = [&view](std::shared_ptr<const UidList> uids, Freshness freshness) {
    return Found{view, std::move(uids), view->uid_validity(), view->version(), freshness};
  };
  constexpr int tries_max = 4;  // new mail can come between any two steps
  for (int i = 0; i < tries_max; ++i) {
    Result<Freshness> attached = Freshness::current;
    if (i > 0 || !quiet) attached = co_await attach(view, &sort);
    if (!attached) co_return fail(attached.error());
    if (auto cached = view->cached_result(signature)) co_return found_now(std::move(cached), *attached);
    if (*attached == Freshness::stale && view->order(sort) == nullptr)
      co_return fail(Errc::server_unavailable);
    if (auto ordered = co_await ensure_order(view, sort); !ordered) co_return fail(ordered.error());
    std::optional<UidList> result;
    if (filter.kind == Filter::Kind::always) {
      if (const auto* order = view->known_order(sort)) result = *order;
    } else {
      if (filter.needs_index() && !view->index().filled())
        if (auto filled = co_await fill(view); !filled) co_return fail(filled.error());
      const auto version = view->version();
      SearchResults searched;
      if (auto done = co_await search_all(view, filter, searched); !done) co_return fail(done.error());
      // What came after the server had searched isn't among what it found.
      if (view->version() != version) continue;
      const FilterProgram program(filter, view->index(), searched, threads.keywords);
      if (filter.has(Filter::Kind::has_attachment))
        if (auto loaded = co_await load_attachments(view, program); !loaded) co_return fail(loaded.error());
      const auto* order = view->known_order(sort);
      if (order == nullptr || view->version() != version) continue;
      result = co_await matching(view, program, *order);
    }
    if (!result) continue;
    auto shared = std::make_shared<const UidList>(std::move(*result));
    view->cache_result(signature, shared);
    co_return found_now(std::move(shared), *attached);
  }
  co_return fail(Errc::server_unavailable, "the mailbox changes too fast to be sorted");
}

Result<> Account::slice(const EmailQuery& query, const Ranked& all, EmailQueryResult& result) const {
  result.total = all.size();
  const auto total = static_cast<std::int64_t>(all.size());
  std::int64_t position = query.position;
  if (query.anchor) {
    // An Email in several mailboxes is in the list by one of its places.
    const auto places = places_of(*query.anchor);
    std::size_t at = 0;
    while (at < all.size() && std::find(places.begin(), places.end(), all.at(at)) == places.end()) ++at;
    if (at == all.size()) return fail(Errc::anchor_not_found);
    position = std::max<std::int64_t>(0, static_cast<std::int64_t>(at) + query.anchor_offset);
  } else if (position < 0) {
    position = std::max<std::int64_t>(0, total + position);
  }
  const auto first = std::min(position, total);
  const auto count = std::min<std::uint64_t>(query.limit, static_cast<std::uint64_t>(total - first));
  result.position = static_cast<std::uint64_t>(first);
  result.ids.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) result.ids.push_back(id_of(all.at(result.position + i)));
  return {};
}

// A mailbox that a filter names and the list hasn't got may have been made since.
bool Account::names_unlisted(const Filter& filter) const {
  if (filter.kind == Filter::Kind::in_mailbox)
    return std::any_of(filter.mailboxes.begin(), filter.mailboxes.end(),
                       [this](MailboxKey key) { return find_mailbox(key) == nullptr; });
  return std::any_of(filter.children.begin(), filter.children.end(),
                     [this](const Filter& child) { return names_unlisted(child); });
}

io::Task<std::optional<bool>> Account::is_listed(MailboxKey key) {
  if (auto listed = co_await refresh_mailboxes(Duration::zero()); !listed || *listed == Freshness::stale)
    co_return std::nullopt;
  co_return find_mailbox(key) != nullptr;
}

io::Task<Result<session::Lease>> Account::open(ViewPtr view) {
  auto lease = co_await pool_->select(view->encoded_name(), *view);
  if (lease) co_return lease;
  if (lease.error().code == make_error_code(imap::Errc::no))
    co_return fail(Error(make_error_code(Errc::forbidden), lease.error().context));
  co_return fail(co_await why_closed(view->key(), mail_error(lease.error())));
}

// Some servers say no more than NO, whatever is wrong. A mailbox that is in no list any more has gone, and one that the
// server says there isn't, and lists, is there for others; without the right to read nobody gets in.
io::Task<Error> Account::why_closed(MailboxKey key, Error error) {
  const bool told_gone = error.code == make_error_code(Errc::not_found);
  if (!told_gone && error.code != make_error_code(Errc::server_refused)) co_return error;
  if (const auto* known = find_mailbox(key); known != nullptr && known->unreadable) {
    error.code = make_error_code(Errc::forbidden);
    co_return error;
  }
  const auto listed = co_await is_listed(key);
  const auto* mailbox = find_mailbox(key);
  if (told_gone || listed != true || mailbox == nullptr) {
    if (listed) error.code = make_error_code(*listed ? Errc::forbidden : Errc::not_found);
    co_return error;
  }
  bool forbidden = mailbox->unreadable;
  const auto name = mailbox->encoded_name;
  if (auto lease = co_await pool_->any(); lease && !forbidden) {
    const auto told = co_await may_not_read(*lease, name, true);
    forbidden = told && *told;
  }
  if (forbidden) error.code = make_error_code(Errc::forbidden);
  co_return error;
}

io::Task<bool> Account::has_gone(MailboxKey key, Error error) {
  if (error.code == make_error_code(Errc::not_found)) co_return true;
  if (error.code != make_error_code(Errc::server_refused)) co_return false;
  co_return co_await is_listed(key) == false;
}

Account::SharedMatches Account::shared_matches(const Filter& filter) const {
  using Kind = Filter::Kind;
  SharedMatches matches;
  if (!filter.has(Kind::in_mailbox) && !filter.has(Kind::in_mailbox_other_than)) return matches;
  std::map<std::vector<MailboxKey>, std::pair<Filter, std::string>> decided;  // with its signature
  const auto decide = [&](const std::vector<MailboxKey>& mailboxes) -> const std::pair<Filter, std::string>& {
    auto [known, first] = decided.try_emplace(mailboxes);
    if (first) {
      known->second.first = filter.in(mailboxes);
      known->second.second = known->second.first.signature();
    }
    return known->second;
  };
  std::map<std::pair<MailboxKey, std::string>, std::size_t> added_at;
  for (const auto& [id, copies] : copies_of_) {
    const auto mailboxes = mailboxes_of(id);
    if (mailboxes.size() < 2) continue;
    const auto& whole = decide(mailboxes);
    std::optional<Place> other;
    bool included = whole.first.kind == Kind::never;
    for (const auto& place : live_places_of(id)) {
      const auto& own = decide({place.mailbox});
      if (own.second == whole.second)
        included = true;
      else if (own.first.kind != Kind::never)
        matches.dropped.insert(place);
      const auto view = views_.find(place.mailbox);
      if (!other || (view != views_.end() && view->second->attached())) other = place;
    }
    if (included || !other) continue;
    const auto [at, first] = added_at.try_emplace({other->mailbox, whole.second}, matches.added.size());
    if (first) matches.added.push_back({other->mailbox, whole.first, {}});
    matches.added[at->second].uids.add(other->uid);
  }
  return matches;
}

// Leaves only those UIDs of a result that are wanted.
void Account::keep_only(Found& found, const std::function<bool(std::uint32_t)>& wanted) {
  UidList kept;
  std::copy_if(found.uids->begin(), found.uids->end(), std::back_inserter(kept), wanted);
  found.uids = std::make_shared<const UidList>(std::move(kept));
  found.restricted = true;
}

// What one mailbox of the query's has, with the keys and threads that are needed to put it together with others.
io::Task<Result<Account::Found>> Account::found_in(ViewPtr view, const Filter& filter,
                                                   const EmailQuery& query, const QueryThreads& threads,
                                                   bool alone) {
  // No mailbox has an order of its own by what is in others.
  const bool by_threads = query.sort.is_about_threads();
  const auto sort = by_threads ? Sort::newest_first() : query.sort;
  const bool quiet = !alone && is_quiet(*view) && can_tell(*view, filter, sort, threads);
  if (!quiet)
    if (auto attached = co_await attach(view, &sort); !attached) co_return fail(attached.error());
  auto found = co_await result_of(view, filter, sort, threads, quiet);
  if (!found) co_return found;
  // Results of several mailboxes are merged by keys of our own.
  if ((!alone || by_threads) && !view->has_keys(query.sort))
    if (auto loaded = co_await load_sort_keys(view, query.sort); !loaded) co_return fail(loaded.error());
  co_return found;
}

// What each mailbox has that can have matches at all.
io::Task<Result<std::vector<Account::Found>>> Account::results_of(const EmailQuery& query,
                                                                  const QueryThreads& threads) {
  std::vector<std::pair<MailboxKey, Filter>> scope;
  for (const auto& mailbox : mailboxes_) {
    if (!mailbox.selectable) continue;
    auto decided = query.filter.in(mailbox.key);
    if (decided.kind != Filter::Kind::never) scope.emplace_back(mailbox.key, std::move(decided));
  }
  const auto shared = shared_matches(query.filter);
  const auto mailboxes = scope.size();  // behind them, what is added
  for (const auto& more : shared.added) scope.emplace_back(more.mailbox, more.filter);
  const bool alone = scope.size() == 1;
  // What is open already goes first: opening another mailbox may take its connection.
  std::partition(scope.begin(), scope.begin() + static_cast<std::ptrdiff_t>(mailboxes),
                 [this](const auto& one) {
                   const auto view = views_.find(one.first);
                   return view != views_.end() && view->second->attached();
                 });
  std::vector<Found> parts;
  for (std::size_t i = 0; i < scope.size(); ++i) {
    const auto& [key, filter] = scope[i];
    auto view = co_await view_of(key);
    if (!view && view.error().code == make_error_code(Errc::not_found))
      continue;  // gone since the list was made
    if (!view) co_return fail(view.error());
    // Among many, one that is empty needn't be opened to be known as that.
    const auto* mailbox = find_mailbox(key);
    if (!alone && !(*view)->attached() && mailbox != nullptr && mailbox->status.known &&
        mailbox->status.messages == 0)
      continue;
    auto found = co_await found_in(*view, filter, query, threads, alone);
    if (!found) {
      // Nothing is in a mailbox that has gone. One of many that may not be read must not hide the others; what
      // another refusal hides, nobody knows.
      const bool forbidden = found.error().code == make_error_code(Errc::forbidden);
      if ((forbidden && !alone) || co_await has_gone(key, found.error())) continue;
      co_return fail(found.error());
    }
    if (i >= mailboxes)
      keep_only(*found, [&](std::uint32_t uid) { return shared.added[i - mailboxes].uids.contains(uid); });
    else if (!shared.dropped.empty())
      keep_only(*found, [&](std::uint32_t uid) {
        return !shared.dropped.contains({found->view->key(), found->uid_validity, uid});
      });
    parts.push_back(std::move(*found));
  }
  if (query.collapse_threads) {
    for (auto& part : parts) {
      auto loaded = co_await load_threads(part.view);
      if (!loaded) co_return fail(loaded.error());
      part.freshness = both(part.freshness, *loaded);
    }
  }
  co_return parts;
}

// All that matches, in order, with the state that it belongs to.
io::Task<Result<>> Account::rank(EmailQuery& query, Ranked& ranked, EmailQueryResult& result) {
  if (query.sort.keys.empty()) query.sort = Sort::newest_first();
  if (auto listed = co_await refresh_mailboxes(any_age); !listed) co_return fail(listed.error());
  // Only what is said to be in one mailbox is looked for in a list that may be old.
  if (query.filter.kind != Filter::Kind::never &&
      (names_unlisted(query.filter) || !query.filter.has(Filter::Kind::in_mailbox)))
    if (auto listed = co_await refresh_mailboxes(context_.options.mailbox_list_fresh); !listed)
      co_return fail(listed.error());
  QueryThreads threads;
  if (auto scanned = co_await scan_threads(query, threads); !scanned) co_return fail(scanned.error());
  auto parts = co_await results_of(query, threads);
  if (!parts) co_return fail(parts.error());
  if (parts->size() == 1 && !query.collapse_threads && !query.sort.is_about_threads())
    ranked = {parts->front().view->key(), parts->front().uid_validity, parts->front().uids, {}};
  else
    ranked.places = co_await merged(query, *parts, threads);
  // From here on nothing suspends.
  // A change that came to one mailbox while another was waited for isn't in the result: so not in its state either,
  // and others may have been given other ids under the one before.
  const bool unchanged =
      threads.is_unchanged() &&
      std::all_of(parts->begin(), parts->end(), [](const Found& part) { return part.is_unchanged(); });
  result.can_calculate_changes = keep_result(query, ranked, unchanged, result.query_state);
  result.freshness = both(result.freshness, threads.freshness);
  for (const auto& part : *parts) {
    result.freshness = both(result.freshness, part.freshness);
    fill_behind(part.view);
  }
  co_return Result<>{};
}

io::Task<Result<EmailQueryResult>> Account::query(EmailQuery query) {
  const Working working(*this);
  Ranked ranked;
  EmailQueryResult result;
  if (auto found = co_await rank(query, ranked, result); !found) co_return fail(found.error());
  if (auto sliced = slice(query, ranked, result); !sliced) co_return fail(sliced.error());
  co_return result;
}

// What the mailboxes have, in one order, each Email once; one of each thread where that is asked for. The last few are
// kept for the next page.
io::Task<std::shared_ptr<const std::vector<Place>>> Account::merged(const EmailQuery& query,
                                                                    const std::vector<Found>& parts,
                                                                    const QueryThreads& threads) {
  if (std::any_of(parts.begin(), parts.end(), [](const Found& part) { return part.restricted; }))
    co_return std::make_shared<const std::vector<Place>>(co_await merge(query, parts, threads));
  auto signature = query.sort.signature() + (query.collapse_threads ? "|collapsed|" : "|") +
                   query.filter.signature() + '|' + std::to_string(places_version_) + '|' + threads.signature;
  for (const auto& part : parts)
    signature += std::to_string(part.view->key()) + ':' + std::to_string(part.uid_validity) + ':' +
                 std::to_string(part.version) + ' ';
  const auto known =
      std::find_if(merged_.begin(), merged_.end(), [&](const auto& one) { return one.first == signature; });
  if (known != merged_.end()) co_return known->second;
  const bool unchanged =
      std::all_of(parts.begin(), parts.end(), [](const Found& part) { return part.is_unchanged(); });
  auto places = std::make_shared<const std::vector<Place>>(co_await merge(query, parts, threads));
  if (unchanged && places->size() <= kept_result_ids_max &&
      std::all_of(parts.begin(), parts.end(), [](const Found& part) { return part.is_unchanged(); })) {
    if (merged_.size() >= merged_results_max) merged_.erase(merged_.begin());
    merged_.emplace_back(std::move(signature), places);
  }
  co_return places;
}

io::Task<std::vector<Place>> Account::merge(const EmailQuery& query, const std::vector<Found>& parts,
                                            const QueryThreads& threads) {
  SortRows rows(query.sort, threads.keywords);
  Slices slices;
  for (const auto& part : parts) {
    const auto& view = *part.view;
    rows.begin(view);
    for (auto uid : *part.uids) {
      if (part.uid_validity != view.uid_validity()) break;  // these UIDs are of other messages now
      if (const auto* entry = view.index().find(uid)) rows.add(*entry);
      if (!slices.over(10)) continue;
      co_await lane_->turn();
      rows.begin(view);
    }
  }
  if (parts.size() > 1 || query.sort.is_about_threads())
    co_await sort_in_slices(*lane_, rows.rows(),
                            [&rows](const SortRow& a, const SortRow& b) { return rows.less(a, b); });
  std::vector<Place> all;
  all.reserve(rows.rows().size());
  std::unordered_set<ThreadKey> threads_seen;
  std::unordered_set<EmailKey, PlaceHash> emails_seen;
  for (const auto& row : rows.rows()) {
    const bool first = parts.size() == 1 || emails_seen.insert(id_of(row.place)).second;
    // A thread that isn't known is like no other.
    if (first && (!query.collapse_threads || row.thread == 0 || threads_seen.insert(row.thread).second))
      all.push_back(row.place);
    if (slices.over(10)) co_await lane_->turn();
  }
  co_return all;
}

}  // namespace postern::mail
