// Which messages match a filter (RFC 8621, 4.4.1): what the server's SEARCH is asked, what has to be fetched for the
// index to tell, and the scan of the index.
#include <algorithm>

#include "mail/account_query.hpp"
#include "mail/search_program.hpp"
#include "mail/slices.hpp"
#include "postern/base/encoding.hpp"

namespace postern::mail {
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

// NO [BADCHARSET (...)]: does the server read ISO-8859-1 instead (RFC 3501, 6.4.4)? One that lists nothing may.
bool may_read_latin1(const imap::ResponseCode& code) {
  const auto* names = std::get_if<std::vector<std::string>>(&code.value);
  return names == nullptr || names->empty() ||
         std::any_of(names->begin(), names->end(),
                     [](const std::string& name) { return iequals_ascii(name, "ISO-8859-1"); });
}

}  // namespace

io::Task<Result<UidList>> Account::search(ViewPtr view, const Filter& filter) {
  UidList uids;
  bool bad_charset = false;
  auto done = co_await on_mailbox(
      view, [&view, &filter, &uids, &bad_charset](session::Lease& lease) -> io::Task<Result<>> {
        const auto capabilities = lease.capabilities();
        const auto take = [&view, &uids](imap::Response& response) {
          auto found = search_result(response);
          // No more than there are messages, however many answers come.
          if (found && uids.size() + found->size() <= view->exists())
            uids.insert(uids.end(), found->begin(), found->end());
        };
        auto charset = SearchCharset::utf8;
        auto index = SearchIndex::where_offered;
        while (true) {
          uids.clear();
          auto command = search_command(filter, capabilities, charset, index);
          // The server is there, but these words are none that a SEARCH can say: too many, or with a NUL.
          if (!command) co_return fail(Errc::unsupported_filter, command.error().to_string());
          imap::StatusResponse refusal;
          auto searched = co_await run(lease, command, take, &refusal);
          bad_charset = !searched && refusal.code.name == "BADCHARSET";
          if (bad_charset && charset == SearchCharset::utf8 && may_read_latin1(refusal.code)) {
            charset = SearchCharset::latin1;
          } else if (searched && uids.empty() && index == SearchIndex::where_offered &&
                     may_use_index(filter, capabilities)) {
            index = SearchIndex::never;  // an index that nobody keeps has nothing
          } else {
            co_return searched;
          }
        }
      });
  if (!done && bad_charset) co_return fail(Errc::unsupported_filter, "the server can't search in UTF-8");
  if (!done) co_return fail(done.error());
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

// BODYSTRUCTURE of the messages for which it decides, and of no others: a server may have to read each of them for it.
io::Task<Result<>> Account::load_attachments(ViewPtr view, const FilterProgram& program) {
  const auto uid_validity = view->uid_validity();
  const auto version = view->version();
  imap::UidSet missing;
  Slices slices;
  for (std::size_t i = 0; i < view->index().size(); ++i) {
    const auto& entry = view->index().entries()[i];
    if (!entry.is_deleted() && program.lacks_attachment(entry)) missing.add(entry.uid);
    if (!slices.over(2 * program.size())) continue;
    co_await lane_->turn();
    if (view->version() != version) co_return Result<>{};
  }
  if (missing.empty()) co_return Result<>{};
  for (const auto& piece : groups_of(missing, context_.options.fetch_messages)) {
    auto fetched =
        co_await on_mailbox(view, [&view, &piece, uid_validity](session::Lease& lease) -> io::Task<Result<>> {
          if (view->uid_validity() != uid_validity) co_return Result<>{};
          imap::CommandBuilder fetch("UID FETCH", lease.capabilities());
          fetch.sp().set(piece).raw(" (UID BODYSTRUCTURE)").expect(content_fetch);
          co_return co_await run_fetch(lease, fetch, [&](imap::Response& response) {
            auto* data = std::get_if<imap::FetchResponse>(&response);
            if (data == nullptr || !data->data.uid || !data->data.body_structure) return;
            if (view->uid_validity() == uid_validity)
              view->set_attachment(*data->data.uid, has_attachment(*data->data.body_structure));
          });
        });
    if (!fetched) co_return fetched;
    if (view->uid_validity() != uid_validity) co_return Result<>{};
    // What the server leaves out has none as far as anybody can see: it isn't asked for again and again.
    for (auto uid : piece.to_vector())
      if (const auto* entry = view->index().find(uid); entry != nullptr && !view->index().attachment(*entry))
        view->set_attachment(uid, false);
  }
  co_return Result<>{};
}

io::Task<std::optional<UidList>> Account::matching(ViewPtr view, const FilterProgram& program,
                                                   UidList order) {
  const auto version = view->version();
  UidList result;
  Slices slices;
  for (auto uid : order) {
    const auto* entry = view->index().find(uid);
    if (entry != nullptr && program.matches(*entry)) result.push_back(uid);
    if (!slices.over(program.size() + 2)) continue;
    co_await lane_->turn();
    if (view->version() != version) co_return std::nullopt;
  }
  co_return result;
}

// Which Emails of which threads have the keywords in question, over all mailboxes (RFC 8621, 4.4.1 and 4.4.2).
io::Task<Result<>> Account::scan_threads(const EmailQuery& query, QueryThreads& threads) {
  if (!threads.keywords.add(query.filter))
    co_return fail(Errc::unsupported_filter, "too many keywords of threads");
  if (!threads.keywords.add(query.sort))
    co_return fail(Errc::unsupported_sort, "too many keywords of threads");
  if (threads.keywords.empty()) co_return Result<>{};
  auto known = co_await thread_views(true);
  if (!known) co_return fail(known.error());
  threads.freshness = known->freshness;
  Slices slices;
  for (const auto& view : known->views) {
    const auto version = view->version();
    threads.views.emplace_back(view, version);
    threads.signature += std::to_string(view->key()) + ':' + std::to_string(version) + ' ';
    const auto tests = threads.keywords.tests_for(view->index());
    for (std::size_t i = 0; i < view->index().size(); ++i) {
      const auto& entry = view->index().entries()[i];
      if (!entry.is_deleted()) threads.keywords.take(entry, tests);
      if (!slices.over(tests.size() + 2)) continue;
      co_await lane_->turn();
      // A change in the middle isn't in the result; the result's state says so (QueryThreads::is_unchanged).
      if (view->version() != version) break;
    }
  }
  co_return Result<>{};
}

}  // namespace postern::mail
