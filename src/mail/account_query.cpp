// Email/query over views (RFC 8621, 4.4): from the index and the cached orders where they tell, from the
// server's SEARCH and SORT where they don't.
#include <algorithm>
#include <tuple>

#include "mail/account_support.hpp"
#include "mail/search_program.hpp"

namespace postern::mail {

struct Account::Found {
  ViewPtr view;
  std::shared_ptr<const UidList> uids;
  // The UIDs' own, and the view's when they were found: while others were waited for, both can have changed.
  std::uint32_t uid_validity = 0;
  std::uint64_t version = 0;
  Freshness freshness = Freshness::current;
};

namespace {

bool only_search_conditions(const Filter& filter) {
  if (filter.children.empty()) return is_search_condition(filter.kind);
  return std::all_of(filter.children.begin(), filter.children.end(), only_search_conditions);
}

// The largest parts of a filter that one SEARCH can answer.
void collect_searches(const Filter& filter, std::vector<const Filter*>& searches) {
  if (only_search_conditions(filter)) {
    searches.push_back(&filter);
    return;
  }
  for (const auto& child : filter.children) collect_searches(child, searches);
}

// What SEARCH has found for the parts of a filter that it was asked about.
using SearchResults = std::map<const Filter*, UidList>;

bool matches_with(const Filter& filter, const MailboxIndex& index, const MessageEntry& entry,
                  const SearchResults& found) {
  if (auto it = found.find(&filter); it != found.end())
    return std::binary_search(it->second.begin(), it->second.end(), entry.uid);
  auto each = [&](const Filter& child) { return matches_with(child, index, entry, found); };
  switch (filter.kind) {
    case Filter::Kind::all_of: return std::all_of(filter.children.begin(), filter.children.end(), each);
    case Filter::Kind::any_of: return std::any_of(filter.children.begin(), filter.children.end(), each);
    case Filter::Kind::none_of: return std::none_of(filter.children.begin(), filter.children.end(), each);
    default: return matches(filter, index, entry);
  }
}

bool has_kind(const Filter& filter, Filter::Kind kind) {
  return filter.kind == kind || std::any_of(filter.children.begin(), filter.children.end(),
                                            [&](const Filter& child) { return has_kind(child, kind); });
}

}  // namespace

io::Task<Result<UidList>> Account::search(ViewPtr view, Filter filter) {
  UidList uids;
  imap::StatusResponse refusal;
  auto done = co_await on_mailbox(
      view, [&view, &filter, &uids, &refusal](session::Lease& lease) -> io::Task<Result<>> {
        const auto capabilities = lease.capabilities();
        uids.clear();
        auto command = search_command(filter, capabilities);
        // The server is there, but these words are none that a SEARCH can say: too many, or with a NUL.
        if (!command) co_return fail(Errc::unsupported_filter, command.error().to_string());
        co_return co_await run(
            lease, command,
            [&view, &uids](imap::Response& response) {
              auto found = search_result(response);
              // No more than there are messages, however many answers come.
              if (found && uids.size() + found->size() <= view->exists())
                uids.insert(uids.end(), found->begin(), found->end());
            },
            &refusal);
      });
  if (!done) {
    if (refusal.code.name == "BADCHARSET")
      co_return fail(Errc::unsupported_filter, "the server can't search in UTF-8");
    co_return fail(done.error());
  }
  std::sort(uids.begin(), uids.end());
  co_return uids;
}

io::Task<Result<>> Account::search_all(ViewPtr view, const Filter& filter,
                                       std::map<const Filter*, UidList>& found) {
  std::vector<const Filter*> searches;
  collect_searches(filter, searches);
  if (searches.size() > filter_searches_max)
    co_return fail(Errc::unsupported_filter, "too many searches between other conditions");
  for (const auto* part : searches) {
    auto uids = co_await search(view, *part);
    if (!uids) co_return fail(uids.error());
    found.emplace(part, std::move(*uids));
  }
  co_return Result<>{};
}

// Afterwards view->order(sort) is there, unless the mailbox changed once more meanwhile.
io::Task<Result<>> Account::ensure_order(ViewPtr view, Sort sort) {
  if (view->order(sort) != nullptr) co_return Result<>{};
  if (!server_can_sort(sort, pool_->capabilities())) co_return co_await load_sort_keys(view, std::move(sort));
  co_return co_await on_mailbox(view, [view, &sort](session::Lease& lease) -> io::Task<Result<>> {
    if (view->order(sort) != nullptr) co_return Result<>{};
    const auto capabilities = lease.capabilities();
    auto command = sort_command(sort, capabilities);
    co_return co_await run(lease, command, [&view, &sort](imap::Response& response) {
      if (auto* sorted = std::get_if<imap::SortResponse>(&response))
        view->install_order(sort, sorted->numbers);
    });
  });
}

// All that view->has_keys() wants for sorting here.
io::Task<Result<>> Account::load_sort_keys(ViewPtr view, Sort sort) {
  if (auto filled = co_await fill(view); !filled) co_return fail(filled.error());
  for (const auto& key : sort.keys) {
    if (!is_text_property(key.property)) continue;
    if (auto loaded = co_await load_text_keys(view, key.property); !loaded) co_return loaded;
  }
  co_return Result<>{};
}

// The messages of one mailbox that match, in order. `filter` has been decided for this mailbox.
io::Task<Result<Account::Found>> Account::result_of(ViewPtr view, Filter filter, Sort sort) {
  const auto signature = sort.signature() + '|' + filter.signature();
  const auto found_now = [&view](std::shared_ptr<const UidList> uids, Freshness freshness) {
    return Found{view, std::move(uids), view->uid_validity(), view->version(), freshness};
  };
  constexpr int tries_max = 4;  // new mail can come between any two steps
  for (int i = 0; i < tries_max; ++i) {
    const auto attached = co_await attach(view, &sort);
    if (!attached) co_return fail(attached.error());
    if (auto cached = view->cached_result(signature)) co_return found_now(std::move(cached), *attached);
    if (*attached == Freshness::stale && view->order(sort) == nullptr)
      co_return fail(Errc::server_unavailable);
    if (auto ordered = co_await ensure_order(view, sort); !ordered) co_return fail(ordered.error());
    SearchResults found;
    if (filter.kind != Filter::Kind::always) {
      if (filter.needs_index() && !view->index().filled())
        if (auto filled = co_await fill(view); !filled) co_return fail(filled.error());
      const auto version = view->version();
      if (auto searched = co_await search_all(view, filter, found); !searched)
        co_return fail(searched.error());
      // What came after the server had searched isn't among what it found.
      if (view->version() != version) continue;
    }
    const auto* order = view->order(sort);
    if (order == nullptr) continue;
    auto result = std::make_shared<UidList>();
    if (filter.kind == Filter::Kind::always) {
      *result = *order;
    } else {
      for (auto uid : *order) {
        const auto* entry = view->index().find(uid);
        if (entry != nullptr && matches_with(filter, view->index(), *entry, found)) result->push_back(uid);
      }
    }
    view->cache_result(signature, result);
    co_return found_now(std::move(result), *attached);
  }
  co_return fail(Errc::server_unavailable, "the mailbox changes too fast to be sorted");
}

EmailQueryResult Account::slice(const EmailQuery& query, const std::vector<Place>& all, Result<>& status) {
  EmailQueryResult result;
  result.total = all.size();
  const auto total = static_cast<std::int64_t>(all.size());
  std::int64_t position = query.position;
  if (query.anchor) {
    const auto place = place_of(*query.anchor);
    auto at = std::find(all.begin(), all.end(), place);
    if (at == all.end()) {
      status = fail(Errc::anchor_not_found);
      return result;
    }
    position = std::max<std::int64_t>(0, at - all.begin() + query.anchor_offset);
  } else if (position < 0) {
    position = std::max<std::int64_t>(0, total + position);
  }
  const auto first = std::min(position, total);
  const auto count = std::min<std::uint64_t>(query.limit, static_cast<std::uint64_t>(total - first));
  result.position = static_cast<std::uint64_t>(first);
  result.ids.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) result.ids.push_back(id_of(all[result.position + i]));
  return result;
}

// What each mailbox has that can have matches at all, with the keys that are needed to put it together.
io::Task<Result<std::vector<Account::Found>>> Account::results_of(const EmailQuery& query) {
  std::vector<std::pair<MailboxKey, Filter>> scope;
  for (const auto& mailbox : mailboxes_) {
    if (!mailbox.selectable) continue;
    auto decided = query.filter.in(mailbox.key);
    if (decided.kind != Filter::Kind::never) scope.emplace_back(mailbox.key, std::move(decided));
  }
  std::vector<Found> parts;
  std::optional<Error> refused;
  for (auto& [key, filter] : scope) {
    auto view = co_await view_of(key);
    if (!view) {
      if (view.error().code == make_error_code(Errc::not_found)) continue;  // gone since the list was made
      co_return fail(view.error());
    }
    // One mailbox of many that can't be opened (no right to read it) must not hide the others.
    if (scope.size() > 1) {
      if (auto attached = co_await attach(*view, &query.sort); !attached) {
        refused = attached.error();
        if (refused->code == make_error_code(Errc::not_found) ||
            refused->code == make_error_code(Errc::server_refused))
          continue;
        co_return fail(*refused);
      }
    }
    auto found = co_await result_of(*view, filter, query.sort);
    if (!found && scope.size() > 1 && found.error().code == make_error_code(Errc::not_found)) continue;
    if (!found) co_return fail(found.error());
    // Results of several mailboxes are merged by keys of our own.
    if (scope.size() > 1 && !(*view)->has_keys(query.sort))
      if (auto loaded = co_await load_sort_keys(*view, query.sort); !loaded) co_return fail(loaded.error());
    parts.push_back(std::move(*found));
  }
  if (parts.empty() && refused) co_return fail(*refused);
  if (query.collapse_threads) {
    for (auto& part : parts) {
      auto loaded = co_await load_threads(part.view);
      if (!loaded) co_return fail(loaded.error());
      part.freshness = both(part.freshness, *loaded);
    }
  }
  co_return parts;
}

io::Task<Result<EmailQueryResult>> Account::query(EmailQuery query) {
  const Working working(*this);
  if (has_kind(query.filter, Filter::Kind::has_attachment))
    co_return fail(Errc::unsupported_filter, "hasAttachment");
  if (query.sort.keys.empty()) query.sort = Sort::newest_first();
  if (auto listed = co_await refresh_mailboxes(any_age); !listed) co_return fail(listed.error());
  auto parts = co_await results_of(query);
  if (!parts) co_return fail(parts.error());
  // From here on nothing suspends.
  Result<> status;
  EmailQueryResult result;
  if (parts->size() == 1 && !query.anchor && !query.collapse_threads)
    result = slice_of_one(query, parts->front());
  else
    result = slice(query, merged(query, *parts), status);
  if (!status) co_return fail(status.error());
  // A change that came to one mailbox while another was waited for isn't in the result: so not in its state either,
  // and others may have been given other ids under the one before.
  const bool unchanged = std::all_of(parts->begin(), parts->end(),
                                     [](const Found& part) { return part.version == part.view->version(); });
  result.query_state = state(StateType::email);
  if (!unchanged) result.query_state += "-" + std::to_string(++mixed_states_);
  for (const auto& part : *parts) {
    result.freshness = both(result.freshness, part.freshness);
    fill_behind(part.view);
  }
  co_return result;
}

// What the mailboxes have, in one order; one of each thread where that is asked for.
std::vector<Place> Account::merged(const EmailQuery& query, const std::vector<Found>& parts) {
  struct Item {
    Place place;
    SortEntry sort;
  };
  std::vector<Item> items;
  for (const auto& part : parts) {
    const auto& view = *part.view;
    if (part.uid_validity != view.uid_validity()) continue;  // these UIDs are of other messages now
    for (auto uid : *part.uids)
      if (const auto* entry = view.index().find(uid))
        items.push_back(Item{Place{view.key(), part.uid_validity, uid}, view.sort_entry(entry)});
  }
  if (parts.size() > 1)
    std::sort(items.begin(), items.end(), [&](const Item& a, const Item& b) {
      const int c = compare(query.sort, a.sort, b.sort);
      return c != 0 ? c < 0 : std::tie(a.place.mailbox, a.place.uid) < std::tie(b.place.mailbox, b.place.uid);
    });
  std::vector<Place> all;
  all.reserve(items.size());
  std::set<ThreadKey> threads_seen;
  for (const auto& item : items) {
    const auto thread = item.sort.entry->thread;  // 0: not known, so like no other
    if (!query.collapse_threads || thread == 0 || threads_seen.insert(thread).second)
      all.push_back(item.place);
  }
  return all;
}

// The usual case, at a cost that doesn't grow with the mailbox.
EmailQueryResult Account::slice_of_one(const EmailQuery& query, const Found& found) {
  EmailQueryResult result;
  const auto& uids = *found.uids;
  const auto total = static_cast<std::int64_t>(uids.size());
  const auto position =
      query.position < 0 ? std::max<std::int64_t>(0, total + query.position) : query.position;
  const auto first = std::min(position, total);
  const auto count = std::min<std::uint64_t>(query.limit, static_cast<std::uint64_t>(total - first));
  result.total = uids.size();
  result.position = static_cast<std::uint64_t>(first);
  result.ids.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i)
    result.ids.push_back(id_of(Place{found.view->key(), found.uid_validity, uids[result.position + i]}));
  return result;
}

}  // namespace postern::mail
