// Email/get: fragments from the cache, the rest from the server in as few commands as it takes; threads
// (RFC 8621, 3).
#include <algorithm>
#include <functional>
#include <set>
#include <tuple>

#include "mail/account_support.hpp"
#include "mail/sort_keys.hpp"
#include "postern/base/encoding.hpp"
#include "postern/imap/limits.hpp"

namespace postern::mail {

struct Account::Wanted {
  EmailItem item;
  Place place;
  ViewPtr view;  // null: no such mailbox
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
};

namespace {

// Which part of a message a FETCH item is about: "HEADER.FIELDS (...)" and "HEADER" are its header.
bool is_header(std::string_view section) { return section.starts_with("HEADER"); }

void take(MessageSource& source, imap::FetchData& data) {
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

std::string first_items(const FetchPlan& plan, const imap::CapabilitySet& capabilities, bool threads_known) {
  using imap::Capability;
  std::string items = "UID FLAGS INTERNALDATE RFC822.SIZE";
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

// Content of message parts that one call may hold at a time.
constexpr std::uint64_t fetch_octets_max = 64 * 1024 * 1024;

// All of a plan is there: what a server leaves out, or can't read, is no Email that can be shown.
bool is_complete(const FetchPlan& plan, const MessageSource& source, const MessageEntry& entry) {
  return entry.is_known() && (!plan.body_structure || source.body_structure != nullptr) &&
         (!plan.thread || entry.thread != 0) &&
         ((plan.header_fields.empty() && !plan.full_header) || source.header);
}

// The FETCH items of a message's sections, as many as a command line holds beside its UIDs.
struct SectionLine {
  std::string items = "UID";
  std::set<std::string, std::less<>> sections;
};

std::vector<SectionLine> lines_of(const std::vector<WantedSection>& sections) {
  constexpr std::size_t items_bytes_max = imap::command_line_bytes_max / 2 - 100;  // 100: tag, "UID FETCH"
  std::vector<SectionLine> lines(1);
  for (const auto& wanted : sections) {
    auto item = " BODY.PEEK[" + wanted.section + "]";
    if (wanted.octets_max != 0) item += "<0." + std::to_string(wanted.octets_max) + ">";
    if (lines.back().items.size() + item.size() > items_bytes_max && !lines.back().sections.empty())
      lines.emplace_back();
    lines.back().items += item;
    lines.back().sections.insert(wanted.section);
  }
  return lines;
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

// At most `count` UIDs each, and short enough for a command line.
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

// Header field names come from clients: only what is a field name (RFC 5322, 2.2) is put into a command.
bool is_field_name(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return c > 32 && c < 127 && c != ':' && c != '(' && c != ')' && c != '"' && c != '\\' && c != '{' &&
           c != '%' && c != '*' && c != ']';
  });
}

}  // namespace

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

// Fetches what the cache hasn't got, mailbox by mailbox. A message may be moved while another one's mailbox is
// waited for: it is looked for again before it is reported missing.
io::Task<Result<>> Account::gather(Gathering& gathering) {
  for (int i = 0; i < place_tries_max; ++i) {
    std::map<MailboxKey, std::vector<Wanted*>> by_mailbox;
    for (auto& wanted : gathering.all) {
      const auto place = place_of(wanted.item.id);
      if (i > 0 && place == wanted.place) continue;
      wanted.place = place;
      wanted.view.reset();
      if (find_mailbox(place.mailbox) != nullptr) by_mailbox[place.mailbox].push_back(&wanted);
    }
    if (by_mailbox.empty()) break;
    for (auto& [mailbox, wanted] : by_mailbox) {
      auto view = co_await view_of(mailbox);
      if (!view && view.error().code == make_error_code(Errc::not_found)) continue;
      if (!view) co_return fail(view.error());
      auto gathered = co_await gather_in(*view, wanted, gathering);
      if (!gathered && gathered.error().code == make_error_code(Errc::not_found)) continue;
      if (!gathered) co_return fail(gathered.error());
    }
  }
  co_return Result<>{};
}

io::Task<Result<>> Account::gather_in(ViewPtr view, std::vector<Wanted*> wanted, Gathering& gathering) {
  auto attached = co_await attach(view);
  if (!attached) co_return fail(attached.error());
  gathering.freshness = both(gathering.freshness, *attached);
  std::map<std::uint32_t, MessageSource> missing;
  for (auto* w : wanted) {
    w->view = view;
    const auto* entry = visible_entry(*view, w->place);
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

// One item of what was gathered; not found where it is gone by now, or was left out by the server.
void Account::assemble(Wanted& wanted, Gathering& gathering) {
  const auto* entry = wanted.view ? visible_entry(*wanted.view, wanted.place) : nullptr;
  if (entry == nullptr) return;
  auto& item = wanted.item;
  auto& sources = gathering.sources[wanted.place.mailbox];
  if (auto it = sources.find(wanted.place.uid); it != sources.end()) {
    auto& source = it->second;
    if (source.place != wanted.place || !is_complete(gathering.plan, source, *entry)) return;
    source.id = item.id;  // two ids can mean one place
    source.size = entry->size;
    source.received_at = entry->received;
    source.thread = entry->thread;
    item.fragment = std::make_shared<const Fragment>(gathering.plan.render(source));
    if (gathering.plan.cacheable && source.whole)
      context_.fragments.put({key_, item.id, gathering.key}, item.fragment);
  }
  if (item.fragment == nullptr) return;
  item.found = true;
  item.keywords = jmap_keywords(wanted.view->index(), *entry);
  item.mailboxes = {wanted.view->key()};
}

// The first round: what every message needs; the second: what depends on its structure.
io::Task<Result<>> Account::fetch_sources(ViewPtr view, const FetchPlan& plan,
                                          std::map<std::uint32_t, MessageSource>& sources,
                                          std::uint64_t& octets) {
  auto first =
      co_await on_mailbox(view, [&view, &plan, &sources](session::Lease& lease) -> io::Task<Result<>> {
        const auto capabilities = lease.capabilities();
        imap::UidSet uids;
        bool all_threads_known = true;
        for (const auto& [uid, source] : sources) {
          const auto* entry = view->index().find(uid);
          if (entry == nullptr) continue;  // gone meanwhile
          uids.add(uid);
          all_threads_known = all_threads_known && entry->thread != 0;
        }
        if (uids.empty()) co_return Result<>{};
        const auto items = first_items(plan, capabilities, all_threads_known);
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
            take(it->second, answer->data);
          });
          if (!fetched) co_return fetched;
        }
        co_return Result<>{};
      });
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
    auto fetched = co_await on_mailbox(view, [&](session::Lease& lease) -> io::Task<Result<>> {
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
          if (!done) co_return done;
          in_piece += octets - before;
        }
      }
      co_return Result<>{};
    });
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

// --- Threads ---

io::Task<Result<Freshness>> Account::load_threads(ViewPtr view) {
  auto attached = co_await attach(view);
  if (!attached || view->missing_threads().empty()) co_return attached;
  if (*attached == Freshness::stale) co_return fail(Errc::server_unavailable);
  FetchPlan plan;
  plan.thread = true;
  auto loaded = co_await on_mailbox(view, [this, &view, &plan](session::Lease& lease) -> io::Task<Result<>> {
    const auto missing = view->missing_threads();
    if (missing.empty()) co_return Result<>{};
    const auto capabilities = lease.capabilities();
    const auto items = first_items(plan, capabilities, false);
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

io::Task<Result<Snapshot<std::vector<ThreadData>>>> Account::threads(std::vector<ThreadKey> keys) {
  auto listed = co_await refresh_mailboxes(context_.options.mailbox_list_fresh);
  if (!listed) co_return fail(listed.error());
  Snapshot<std::vector<ThreadData>> found;
  found.freshness = *listed;
  std::vector<MailboxKey> selectable;
  for (const auto& mailbox : mailboxes_)
    if (mailbox.selectable) selectable.push_back(mailbox.key);
  std::vector<ViewPtr> views;
  for (auto key : selectable) {
    auto view = co_await view_of(key);
    if (!view) continue;
    // A mailbox that has not changed since it was last heard need not be opened again.
    const auto* mailbox = find_mailbox(key);
    const bool current = mailbox != nullptr && (*view)->is_current(mailbox->status);
    const bool empty = mailbox != nullptr && mailbox->status.known && mailbox->status.messages == 0;
    if (!current || !(*view)->missing_threads().empty()) {
      if (empty && !(*view)->attached()) continue;
      auto loaded = co_await load_threads(*view);
      if (!loaded && loaded.error().code == make_error_code(Errc::server_unavailable))
        co_return fail(loaded.error());
      if (!loaded) continue;
      found.freshness = both(found.freshness, *loaded);
    }
    views.push_back(*view);
  }
  // From here on nothing suspends.
  struct Member {
    std::int64_t received;
    EmailKey id;
  };
  std::map<ThreadKey, std::vector<Member>> members;
  for (auto key : keys)
    if (key != 0) members[key];  // 0 is no thread: those whose thread isn't known
  for (const auto& view : views) {
    for (const auto& entry : view->index().entries()) {
      if (entry.is_deleted()) continue;
      auto it = members.find(entry.thread);
      if (it == members.end()) continue;
      it->second.push_back(
          Member{entry.received, id_of(Place{view->key(), view->uid_validity(), entry.uid})});
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
