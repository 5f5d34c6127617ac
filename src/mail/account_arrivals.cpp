// New mail as lists show it: the FETCH by which a view learns of arrivals brings along what its lists were fetched
// with, so that a list with them costs no other. What it brings is kept among the fragments, within their budget, until
// a list asks for it. Bounds: shown_arrivals_max, listed_fields_max.
#include <algorithm>

#include "mail/account_fetch.hpp"
#include "mail/account_support.hpp"

namespace postern::mail {
namespace {

// Of more at a time only what the index holds is fetched: a page shows some of them.
constexpr std::size_t shown_arrivals_max = 50;
// Header fields that all lists of a mailbox have asked for.
constexpr std::size_t listed_fields_max = 40;

bool has_content(const FetchPlan& plan) {
  return plan.body_structure || plan.preview || plan.thread || !plan.header_fields.empty();
}

}  // namespace

// One message by itself is opened, several are a list.
void Account::note_listed(const MailboxView& view, const FetchPlan& plan, std::size_t messages) {
  if (messages < 2 || plan.full_header || !has_content(plan)) return;
  auto& listed = listed_with_[view.key()];
  listed.body_structure = listed.body_structure || plan.body_structure;
  listed.preview = listed.preview || plan.preview;
  listed.thread = listed.thread || plan.thread;
  auto& fields = listed.header_fields;
  for (const auto& field : plan.header_fields)
    if (std::find(fields.begin(), fields.end(), field) == fields.end()) fields.push_back(field);
  if (fields.size() > listed_fields_max) fields = plan.header_fields;
  if (fields.size() > listed_fields_max) listed_with_.erase(view.key());
}

io::Task<Result<>> Account::sync_arrivals(session::Lease& lease, ViewPtr view) {
  // Whose they are is decided as they come.
  if (!personal_ && !identity_item(lease.capabilities()).empty() && may_join_arrivals(*view)) {
    auto asked = co_await need_namespace(lease);
    if (!asked && is_lost(asked.error())) co_return asked;
  }
  const auto arrived = view->exists() - view->index().size();
  // Taken out meanwhile: where a server fails at it, for one message perhaps, the index's own items are asked for.
  auto listed =
      arrived <= shown_arrivals_max ? listed_with_.extract(view->key()) : decltype(listed_with_)::node_type();
  if (!listed.empty()) {
    auto fetched = co_await fetch_arrivals(lease, view, listed.mapped());
    if (fetched) listed_with_.insert(std::move(listed));
    if (fetched || is_lost(fetched.error())) co_return fetched;
  }
  co_return co_await fetch_arrivals(lease, view, FetchPlan{});
}

io::Task<Result<>> Account::fetch_arrivals(session::Lease& lease, ViewPtr view, FetchPlan plan) {
  const auto capabilities = lease.capabilities();
  const auto uid_validity = view->uid_validity();
  const auto first = std::uint64_t{view->index().largest_uid()} + 1;
  std::map<std::uint32_t, MessageSource> sources;
  imap::CommandBuilder fetch("UID FETCH", capabilities);
  fetch.raw(" " + std::to_string(first) + ":* (" +
            first_items(plan, capabilities, false, context_.options.join_by_identity) + ")");
  fetch.expect(has_content(plan) ? content_fetch : imap::Expect::fetch);
  // The view hears it as its observer.
  auto fetched = co_await run(lease, fetch, [&](imap::Response& response) {
    auto* answer = std::get_if<imap::FetchResponse>(&response);
    if (answer == nullptr || !has_content(plan) || answer->data.uid.value_or(0) < first) return;
    const auto uid = *answer->data.uid;
    if (sources.size() >= shown_arrivals_max && !sources.contains(uid)) return;
    auto& source = sources[uid];
    source.place = Place{view->key(), uid_validity, uid};
    source.id = id_of(source.place);
    if (const auto thread = plan.thread ? thread_of(answer->data, capabilities, source.id) : 0; thread != 0)
      source.thread = thread;
    take_fetched(source, answer->data);
  });
  if (!fetched) co_return fetched;
  for (auto& [uid, source] : sources) {
    // It has turned out to be an Email of before, and its thread with it.
    if (const auto id = id_of(source.place); id != source.id) {
      const auto* entry = view->index().find(uid);
      if (entry != nullptr && entry->thread != 0) source.thread = 0;
      source.id = id;
    }
    if (view->uid_validity() == uid_validity) keep_arrival(*view, plan, std::move(source));
  }
  co_return Result<>{};
}

}  // namespace postern::mail
