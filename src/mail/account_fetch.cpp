// Email/get: fragments from the cache, the rest from the server in as few commands as it takes.
#include <algorithm>
#include <functional>
#include <set>
#include <tuple>

#include "mail/account_fetch.hpp"
#include "mail/account_support.hpp"
#include "mail/slices.hpp"
#include "mail/sort_keys.hpp"
#include "postern/base/encoding.hpp"
#include "postern/imap/limits.hpp"
#include "postern/mail/mime/body_parts.hpp"

namespace postern::mail {

struct Account::Wanted {
  EmailItem item;
  Place place;   // where it is looked for
  ViewPtr view;  // null: no such mailbox
  std::vector<Place> tried;
  bool seen = false;  // there
  bool rendered = false;
  bool is_found() const { return seen && view && visible_entry(*view, place) != nullptr; }
};

// One call of fetch(), until nothing has to be waited for any more.
struct Account::Gathering {
  explicit Gathering(FetchPlan p) : plan(std::move(p)), key(FragmentCache::plan_key(plan.signature)) {}
  FetchPlan plan;
  FragmentCache::PlanKey key;
  std::vector<Wanted> all;
  std::map<MailboxKey, std::map<std::uint32_t, MessageSource>> sources;
  std::uint64_t octets = 0;  // of content, see fetch_octets_max
  Freshness freshness = Freshness::current;
  EmailItem last;  // that was assembled
  const MailboxIndex* last_index = nullptr;
  std::uint64_t last_flags = 0;  // MessageEntry::flags
};

namespace {

// Of messages and what becomes of them: some tenths of a millisecond on a slow machine.
constexpr std::size_t rendered_octets_per_turn = 32 * 1024;

// All of a plan is there: what a server leaves out, or can't read, is no Email that can be shown.
bool is_complete(const FetchPlan& plan, const MessageSource& source, const MessageEntry& entry) {
  return entry.is_known() && (!plan.body_structure || source.body_structure != nullptr) &&
         (!plan.thread || entry.thread != 0) &&
         ((plan.header_fields.empty() && !plan.full_header) || source.header);
}

std::shared_ptr<const Fragment> rendered(const FetchPlan& plan, MessageSource& source, const EmailKey& id,
                                         const MessageEntry& entry) {
  source.id = id;  // two ids can mean one place
  source.size = entry.size;
  source.received_at = entry.received;
  source.thread = entry.thread;
  return std::make_shared<const Fragment>(plan.render(source));
}

// Sections come once for each message, and none that was not asked for: what a server sends beyond is dropped.
io::Task<Result<>> fetch_line(session::Lease& lease, const imap::UidSet& uids, const SectionLine& line,
                              std::map<std::uint32_t, MessageSource>& sources, std::uint64_t& octets) {
  imap::CommandBuilder fetch("UID FETCH", lease.capabilities());
  fetch.sp().set(uids).raw(" (" + line.items + ")").expect(content_fetch);
  std::set<std::pair<std::uint32_t, std::string>> taken;
  co_return co_await run_fetch(lease, fetch, [&](imap::Response& response) {
    auto* answer = std::get_if<imap::FetchResponse>(&response);
    if (answer == nullptr || !answer->data.uid || !uids.contains(*answer->data.uid)) return;
    auto it = sources.find(*answer->data.uid);
    if (it == sources.end()) return;
    for (auto& section : answer->data.sections) {
      if (!line.sections.contains(section.section)) continue;
      if (!taken.emplace(it->first, section.section).second) continue;
      it->second.sections.emplace_back(section.section, section.data.value_or(""));
      octets += it->second.sections.back().second.size();
    }
  });
}

// Header field names come from clients: only what is a field name (RFC 5322, 2.2) is put into a command.
bool is_field_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return c > 32 && c < 127 && c != ':' && c != '(' && c != ')' && c != '"' && c != '\\' && c != '{' &&
           c != '%' && c != '*' && c != ']';
  });
}

}  // namespace

void take_fetched(MessageSource& source, imap::FetchData& data) {
  for (auto& section : data.sections) {
    if (!section.data) continue;
    if (is_header(section.section))
      source.header = std::move(*section.data);
    else
      source.sections.emplace_back(section.section, std::move(*section.data));
  }
  if (data.body_structure) source.body_structure = std::move(data.body_structure);
  if (data.preview) source.preview = std::move(*data.preview);
}

std::string first_items(const FetchPlan& plan, const imap::CapabilitySet& capabilities, bool threads_known,
                        bool identified) {
  using imap::Capability;
  auto items = index_items(capabilities, identified);
  if (plan.body_structure) items += " BODYSTRUCTURE";
  if (plan.preview && capabilities.has(Capability::preview)) items += " PREVIEW";
  auto fields = plan.header_fields;
  if (plan.thread && !threads_known) {
    if (capabilities.has(Capability::objectid))
      items += " THREADID";
    else if (capabilities.has(Capability::gmail))
      items += " X-GM-THRID";
    else
      for (std::string_view field : {"IN-REPLY-TO", "MESSAGE-ID", "REFERENCES"})
        if (std::find(fields.begin(), fields.end(), field) == fields.end()) fields.emplace_back(field);
  }
  if (plan.full_header) {
    items += " BODY.PEEK[HEADER]";
  } else if (!fields.empty()) {
    items += " BODY.PEEK[HEADER.FIELDS (";
    for (std::size_t i = 0; i < fields.size(); ++i) items += (i > 0 ? " " : "") + fields[i];
    items += ")]";
  }
  return items;
}

std::vector<imap::UidSet> groups_of(const imap::UidSet& uids, std::uint64_t count) {
  std::vector<imap::UidSet> groups;
  for (const auto& line : uids.split(imap::command_line_bytes_max / 2)) {
    std::uint64_t in_group = count;
    for (auto uid : line.to_vector()) {
      if (in_group == count) {
        groups.emplace_back();
        in_group = 0;
      }
      groups.back().add(uid);
      ++in_group;
    }
  }
  return groups;
}

bool has_attachment(const imap::BodyStructure& structure) {
  return make_body_lists(make_body_parts(structure)).has_attachment;
}

io::Task<Result<Snapshot<std::vector<EmailItem>>>> Account::fetch(std::vector<EmailKey> ids, FetchPlan plan) {
  const Working working(*this);
  std::erase_if(plan.header_fields, [](const std::string& name) { return !is_field_name(name); });
  if (auto listed = co_await refresh_mailboxes(any_age); !listed) co_return fail(listed.error());
  Gathering gathering(std::move(plan));
  gathering.all.resize(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) gathering.all[i].item.id = ids[i];
  if (auto gathered = co_await gather(gathering); !gathered) co_return fail(gathered.error());
  // From here on nothing suspends: data and state are those of one moment.
  Snapshot<std::vector<EmailItem>> found;
  found.data.reserve(gathering.all.size());
  for (auto& wanted : gathering.all) {
    assemble(wanted, gathering);
    found.data.push_back(std::move(wanted.item));
  }
  found.state = state(StateType::email);
  found.freshness = gathering.freshness;
  co_return found;
}

// Where an Email is looked for next: in a mailbox that is open if it is in one, and nowhere twice.
std::optional<Place> Account::next_place(const EmailKey& id, const std::vector<Place>& tried) const {
  std::optional<Place> next;
  for (const auto& place : places_of(id)) {
    if (std::find(tried.begin(), tried.end(), place) != tried.end()) continue;
    const auto view = views_.find(place.mailbox);
    if (view != views_.end() && view->second->attached() && is_there(place)) return place;
    if (!next || (!is_there(*next) && is_there(place))) next = place;
  }
  return next;
}

// Fetches what the cache hasn't got, mailbox by mailbox. A message may be moved while another one's mailbox is
// waited for: it is looked for again before it is reported missing.
io::Task<Result<>> Account::gather(Gathering& gathering) {
  for (std::size_t i = 0; i < place_tries_max + update_mailboxes_max; ++i) {
    std::map<MailboxKey, std::vector<Wanted*>> by_mailbox;
    for (auto& wanted : gathering.all) {
      // One that is being moved isn't seen where it was, and where it is nobody knows yet.
      if (wanted.is_found()) continue;
      if (i > 0 && moving_.contains(wanted.place)) {
        co_await wait_for_move(wanted.place);
        std::erase(wanted.tried, wanted.place);  // it may be there again
      }
      const auto place = next_place(wanted.item.id, wanted.tried);
      if (!place) continue;
      wanted.place = *place;
      wanted.tried.push_back(*place);
      wanted.view.reset();
      wanted.seen = false;
      wanted.rendered = false;
      if (find_mailbox(place->mailbox) != nullptr) by_mailbox[place->mailbox].push_back(&wanted);
    }
    if (by_mailbox.empty()) break;
    for (auto& [mailbox, wanted] : by_mailbox) {
      auto view = co_await view_of(mailbox);
      if (!view && view.error().code == make_error_code(Errc::not_found)) continue;
      if (!view) co_return fail(view.error());
      auto gathered = co_await gather_in(*view, wanted, gathering, by_mailbox.size() > 1);
      // What may not be read isn't there, and may be elsewhere.
      if (!gathered && gathered.error().code == make_error_code(Errc::forbidden)) continue;
      if (!gathered && co_await has_gone(mailbox, gathered.error())) continue;
      if (!gathered) co_return fail(gathered.error());
    }
    co_await render_in_turns(gathering);
  }
  co_return Result<>{};
}

// `one_of_many`: of several mailboxes, those aren't opened anew that have nothing new and nothing to fetch.
io::Task<Result<>> Account::gather_in(ViewPtr view, std::vector<Wanted*> wanted, Gathering& gathering,
                                      bool one_of_many) {
  const auto is_ready = [&](const Wanted* w) {
    const auto* entry = visible_entry(*view, w->place);
    return entry != nullptr && entry->is_known() &&
           context_.fragments.find({key_, w->item.id, gathering.key}) != nullptr;
  };
  Result<Freshness> attached = Freshness::current;
  if (!one_of_many || !is_quiet(*view) || !std::all_of(wanted.begin(), wanted.end(), is_ready))
    attached = co_await attach(view);
  if (!attached) co_return fail(attached.error());
  gathering.freshness = both(gathering.freshness, *attached);
  note_listed(*view, gathering.plan, wanted.size());
  std::map<std::uint32_t, MessageSource> missing;
  for (auto* w : wanted) {
    w->view = view;
    const auto* entry = visible_entry(*view, w->place);
    w->seen = entry != nullptr;
    if (entry == nullptr) continue;
    w->item.fragment = context_.fragments.find({key_, w->item.id, gathering.key});
    if (w->item.fragment != nullptr && entry->is_known()) continue;
    auto& source = missing[w->place.uid];
    source.id = w->item.id;
    source.place = w->place;
  }
  if (missing.empty()) co_return Result<>{};
  if (*attached == Freshness::stale) co_return fail(Errc::server_unavailable);
  if (auto fetched = co_await fetch_sources(view, gathering.plan, missing, gathering.octets); !fetched)
    co_return fetched;
  gathering.sources[view->key()].merge(missing);
  co_return Result<>{};
}

// What takes long: texts are decoded and written as JSON, as much in one turn of the loop as it has time for. A message
// that is moved meanwhile is looked for again, as behind every suspension here; whether it is still there, assemble()
// sees.
io::Task<> Account::render_in_turns(Gathering& gathering) {
  std::size_t octets = 0;
  for (auto& wanted : gathering.all) {
    const bool here = wanted.view && !wanted.rendered;
    const auto* entry = here ? visible_entry(*wanted.view, wanted.place) : nullptr;
    auto& sources = gathering.sources[wanted.place.mailbox];
    const auto it = entry == nullptr ? sources.end() : sources.find(wanted.place.uid);
    if (it == sources.end()) continue;
    auto& source = it->second;
    if (source.place != wanted.place || !is_complete(gathering.plan, source, *entry)) continue;
    wanted.rendered = true;
    wanted.item.fragment = rendered(gathering.plan, source, wanted.item.id, *entry);
    octets += wanted.item.fragment->bytes.size() + (source.header ? source.header->size() : 0);
    for (const auto& [section, data] : source.sections) octets += data.size();
    if (octets < rendered_octets_per_turn) continue;
    octets = 0;
    co_await lane_->turn();
  }
}

// One item of what was gathered; not found where it is gone by now, or was left out by the server.
void Account::assemble(Wanted& wanted, Gathering& gathering) {
  const auto* entry = wanted.view ? visible_entry(*wanted.view, wanted.place) : nullptr;
  if (entry == nullptr) return;
  auto& item = wanted.item;
  auto& sources = gathering.sources[wanted.place.mailbox];
  if (auto it = sources.find(wanted.place.uid); it != sources.end()) {
    auto& source = it->second;
    if (source.place != wanted.place || !is_complete(gathering.plan, source, *entry)) return;
    if (item.fragment == nullptr) item.fragment = rendered(gathering.plan, source, item.id, *entry);
    if (gathering.plan.cacheable && source.whole)
      context_.fragments.put({key_, item.id, gathering.key}, item.fragment);
  }
  if (item.fragment == nullptr) return;
  item.found = true;
  const auto& index = wanted.view->index();
  if (is_shared(whole_of(item.id))) {
    item.keywords = std::make_shared<const std::vector<std::string>>(keywords_of(item.id));
    item.mailboxes = std::make_shared<const std::vector<MailboxKey>>(mailboxes_of(item.id));
    return;
  }
  auto& last = gathering.last;
  const bool same_mailbox = gathering.last_index == &index;
  const bool same_flags =
      same_mailbox && gathering.last_flags == entry->flags && (entry->flags & MessageEntry::overflow) == 0;
  if (!same_flags)
    last.keywords = std::make_shared<const std::vector<std::string>>(jmap_keywords(index, *entry));
  if (!same_mailbox) last.mailboxes = std::make_shared<const std::vector<MailboxKey>>(1, wanted.view->key());
  gathering.last_index = &index;
  gathering.last_flags = entry->flags;
  item.keywords = last.keywords;
  item.mailboxes = last.mailboxes;
}

// Of copies that other programs have marked differently: what any of them has, and $seen if all have it.
std::vector<std::string> Account::keywords_of(const EmailKey& id) const {
  std::set<std::string> all;
  bool seen = true;
  for (const auto& place : places_of(id)) {
    const auto view = views_.find(place.mailbox);
    const auto* entry = view == views_.end() ? nullptr : visible_entry(*view->second, place);
    if (entry == nullptr || !entry->is_known()) continue;
    const auto keywords = jmap_keywords(view->second->index(), *entry);
    seen = seen && (entry->flags & MessageEntry::seen) != 0;
    all.insert(keywords.begin(), keywords.end());
  }
  if (!seen) all.erase("$seen");
  return {all.begin(), all.end()};
}

// The first round: what every message needs; the second: what depends on its structure.
io::Task<Result<>> Account::fetch_sources(ViewPtr view, const FetchPlan& plan,
                                          std::map<std::uint32_t, MessageSource>& sources,
                                          std::uint64_t& octets) {
  std::set<std::uint32_t> known;
  for (auto& [uid, source] : sources)
    if (take_known(*view, plan, uid, source)) known.insert(uid);
  if (plan.more && sources.size() == 1 && known.empty()) {
    auto at_once = co_await fetch_known(view, plan, sources, octets);
    if (!at_once) co_return fail(at_once.error());
    if (*at_once) co_return Result<>{};
  }
  auto granted = grant_read(header_octets_expected(plan, sources.size()), plan.tab.get());
  if (!granted) co_return fail(granted.error());
  Result<> first;
  if (known.size() < sources.size())
    first = co_await on_mailbox(
        view,
        [&view, &plan, &sources, &known,
         identified = context_.options.join_by_identity](session::Lease& lease) -> io::Task<Result<>> {
          const auto capabilities = lease.capabilities();
          imap::UidSet uids;
          bool all_threads_known = true;
          for (const auto& [uid, source] : sources) {
            const auto* entry = view->index().find(uid);
            if (entry == nullptr || known.contains(uid)) continue;  // gone meanwhile
            uids.add(uid);
            all_threads_known = all_threads_known && entry->thread != 0;
          }
          if (uids.empty()) co_return Result<>{};
          const auto items = first_items(plan, capabilities, all_threads_known, identified) +
                             (view->told_modseq() != 0 ? " MODSEQ" : "");
          for (const auto& piece : uids.split(imap::command_line_bytes_max / 2)) {
            imap::CommandBuilder fetch("UID FETCH", capabilities);
            fetch.sp().set(piece).raw(" (" + items + ")").expect(content_fetch);
            auto fetched = co_await run_fetch(lease, fetch, [&](imap::Response& response) {
              auto* answer = std::get_if<imap::FetchResponse>(&response);
              if (answer == nullptr || !answer->data.uid) return;
              auto it = sources.find(*answer->data.uid);
              if (it == sources.end()) return;
              // Where all threads were known, the fields that tell a thread may not be in the answer.
              if (plan.thread && !all_threads_known)
                if (auto thread = thread_of(answer->data, capabilities, it->second.id); thread != 0)
                  view->set_thread(it->first, thread);
              if (answer->data.body_structure)
                view->set_attachment(it->first, has_attachment(*answer->data.body_structure));
              take_fetched(it->second, answer->data);
            });
            if (!fetched) co_return fetched;
          }
          co_return Result<>{};
        });
  granted->settle(header_octets(sources));
  if (first && plan.body_structure)
    for (const auto& [uid, source] : sources)
      if (!known.contains(uid)) keep_shape(plan, source);
  if (!first || !plan.more) co_return first;
  co_return co_await fetch_sections(view, sources, plan, octets);
}

io::Task<Result<>> Account::fetch_sections(ViewPtr view, std::map<std::uint32_t, MessageSource>& sources,
                                           const FetchPlan& plan, std::uint64_t& octets) {
  // Messages that want the same sections share a command.
  std::map<std::vector<WantedSection>, imap::UidSet> groups;
  for (auto& [uid, source] : sources) {
    auto wanted = plan.more(source);
    if (!wanted.empty()) groups[std::move(wanted)].add(uid);
  }
  for (const auto& [sections, uids] : groups) {
    std::uint64_t most = 0;  // that one message can bring
    for (const auto& wanted : sections)
      most += wanted.octets_max == 0 ? imap::literal_bytes_max : wanted.octets_max;
    const auto at_once = std::max<std::uint64_t>(1, fetch_octets_max / 2 / std::max<std::uint64_t>(1, most));
    const auto lines = lines_of(sections);
    auto granted = grant_read(content_octets_expected(*view, sections, uids, sources), plan.tab.get());
    if (!granted) co_return fail(granted.error());
    const auto octets_before = octets;
    std::uint64_t octets_come = 0;               // also of what is too large to be kept
    std::map<std::uint32_t, std::size_t> known;  // sections of each message
    for (auto uid : uids.to_vector()) known[uid] = sources.at(uid).sections.size();
    auto fetched = co_await on_mailbox(view, [&](session::Lease& lease) -> io::Task<Result<>> {
      // What an attempt on a connection that broke has brought comes again.
      octets = octets_before;
      octets_come = 0;
      for (const auto& [uid, count] : known)
        if (const auto it = sources.find(uid); it != sources.end()) it->second.sections.resize(count);
      for (const auto& piece : groups_of(uids, at_once)) {
        std::uint64_t in_piece = 0;
        for (const auto& line : lines) {
          if (in_piece > fetch_octets_max && at_once == 1) {
            // More than there may be at a time, all by itself: it is missing, and nothing else.
            sources.erase(piece.ranges().front().first);
            octets -= in_piece;
            break;
          }
          if (octets > fetch_octets_max) co_return fail(Errc::too_large, "too much content for one call");
          const auto before = octets;
          auto done = co_await fetch_line(lease, piece, line, sources, octets);
          in_piece += octets - before;
          octets_come += octets - before;
          if (!done) co_return done;
        }
      }
      co_return Result<>{};
    });
    granted->settle(octets_come);
    if (!fetched) co_return fetched;
    for (auto uid : uids.to_vector()) {
      const auto it = sources.find(uid);
      if (it == sources.end()) continue;
      std::set<std::string_view> came;
      for (const auto& [section, octets_of_it] : it->second.sections) came.insert(section);
      it->second.whole = std::all_of(sections.begin(), sections.end(), [&](const WantedSection& wanted) {
        return came.contains(wanted.section);
      });
    }
  }
  co_return Result<>{};
}

}  // namespace postern::mail
