// SEARCH, SORT and THREAD with their result options: RFC 4731 (ESEARCH), RFC 5267 (ESORT, PARTIAL),
// RFC 5182 ($), RFC 9394 (PARTIAL from the end).
#include "session.hpp"

#include <algorithm>
#include <ctime>

#include <fmt/format.h>

#include "search.hpp"
#include "server.hpp"

namespace postern::testimapd {

struct Session::ResultOptions {
  bool extended = false;  // RETURN was there
  bool min = false, max = false, count = false, all = false, save = false, partial = false;
  std::int64_t first = 0, last = 0;  // negative: from the end
  std::string partial_text;
};

// search-return-opts = SP "RETURN" SP "(" [option *(SP option)] ")"; nothing means ALL
bool Session::read_result_options(Cursor& args, ResultOptions& options, bool sorting) const {
  if (!offers(sorting ? "ESORT" : "ESEARCH") || !args.try_word("RETURN")) return true;
  options.extended = true;
  args.sp();
  args.expect('(');
  bool partial_offered = offers("PARTIAL") || offers(sorting ? "CONTEXT=SORT" : "CONTEXT=SEARCH");
  bool any = false;
  while (!args.failed() && !args.try_char(')')) {
    args.try_char(' ');
    any = true;
    if (args.try_word("MIN")) {
      options.min = true;
    } else if (args.try_word("MAX")) {
      options.max = true;
    } else if (args.try_word("COUNT")) {
      options.count = true;
    } else if (args.try_word("ALL")) {
      options.all = true;
    } else if (offers("SEARCHRES") && args.try_word("SAVE")) {
      options.save = true;
    } else if (partial_offered && args.try_word("PARTIAL")) {
      args.sp();
      options.partial = true;
      auto sign = [&] { return args.try_char('-') ? -1 : 1; };
      auto first_sign = sign();
      options.first = first_sign * static_cast<std::int64_t>(args.number());
      args.expect(':');
      auto last_sign = sign();
      options.last = last_sign * static_cast<std::int64_t>(args.number());
      if (options.first == 0 || options.last == 0 || first_sign != last_sign) args.fail();
      options.partial_text = fmt::format("{}:{}", options.first, options.last);
      if (options.first > options.last) std::swap(options.first, options.last);
    } else {
      args.fail();
    }
  }
  options.all = options.all || !any;
  args.sp();
  return !args.failed();
}

namespace {

// Sequence numbers and $ become UIDs, so that matching needs no view of the mailbox.
template <class Resolve>
bool resolve_sets(SearchKey& key, const Resolve& resolve) {
  for (SearchKey& child : key.children)
    if (!resolve_sets(child, resolve)) return false;
  if (key.kind != SearchKey::Kind::sequence && key.kind != SearchKey::Kind::uid) return true;
  auto uids = resolve(key.set, key.kind == SearchKey::Kind::uid);
  if (!uids) return false;
  key.set = {};
  for (std::uint32_t uid : *uids) key.set.add(uid);
  return true;
}

std::vector<const Message*> matching(const SearchKey& key, const Mailbox& mailbox, std::uint32_t last_uid,
                                     std::uint32_t recent_from) {
  SearchContext context{&mailbox, recent_from, std::time(nullptr)};
  std::vector<const Message*> found;
  for (const Message& message : mailbox.messages())
    if (message.uid <= last_uid && matches(key, message, context)) found.push_back(&message);
  return found;
}

}  // namespace

Reply Session::search_reply(const std::vector<std::uint32_t>& uids, const ResultOptions& options,
                            bool sorting, bool with_modseq) {
  auto number_of = [&](std::uint32_t uid) { return uid_ ? uid : sequence_of(uid); };
  if (options.save) {
    auto sorted = uids;
    std::sort(sorted.begin(), sorted.end());
    saved_ = {};
    bool everything = options.all || options.count || options.partial || (!options.min && !options.max);
    for (std::size_t i = 0; i < sorted.size(); ++i)
      if (everything || (options.min && i == 0) || (options.max && i + 1 == sorted.size()))
        saved_.add(sorted[i]);
  }
  std::uint64_t modseq = 0;
  if (with_modseq)
    for (std::uint32_t uid : uids) modseq = std::max(modseq, mailbox_->find(uid)->modseq);
  auto set_text = [&](auto begin, auto end) {
    NumberSet set;
    for (auto at = begin; at != end; ++at) set.add(number_of(*at));
    return set.text();
  };
  const char* done = sorting ? "Sort completed" : "Search completed";
  if (!options.extended) {
    std::string out = sorting ? "SORT" : "SEARCH";
    for (std::uint32_t uid : uids) fmt::format_to(std::back_inserter(out), " {}", number_of(uid));
    if (with_modseq && !uids.empty()) fmt::format_to(std::back_inserter(out), " (MODSEQ {})", modseq);
    untagged(out);
    return Reply::ok(done);
  }
  if (options.save && !options.min && !options.max && !options.count && !options.all && !options.partial)
    return Reply::ok(done);
  auto out = fmt::format("ESEARCH (TAG \"{}\"){}", tag_, uid_ ? " UID" : "");
  if (!uids.empty()) {
    auto [low, high] = std::minmax_element(uids.begin(), uids.end());
    // In a sort, MIN and MAX are the first and the last of the order, RFC 5267 section 3.1.
    if (options.min) out += fmt::format(" MIN {}", number_of(sorting ? uids.front() : *low));
    if (options.max) out += fmt::format(" MAX {}", number_of(sorting ? uids.back() : *high));
    if (options.all) out += " ALL " + set_text(uids.begin(), uids.end());
  }
  if (options.count) out += fmt::format(" COUNT {}", uids.size());
  if (options.partial) {
    auto size = static_cast<std::int64_t>(uids.size());
    auto first =
        std::clamp<std::int64_t>(options.first > 0 ? options.first - 1 : size + options.first, 0, size);
    auto last =
        std::clamp<std::int64_t>(options.last > 0 ? options.last : size + options.last + 1, first, size);
    out += fmt::format(" PARTIAL ({} {})", options.partial_text,
                       first == last ? "NIL" : set_text(uids.begin() + first, uids.begin() + last));
  }
  if (with_modseq && !uids.empty()) out += fmt::format(" MODSEQ {}", modseq);
  untagged(out);
  return Reply::ok(done);
}

Reply Session::search(Cursor& args) {
  ResultOptions options;
  read_result_options(args, options, false);
  std::function<bool(std::string_view)> offered = [this](std::string_view name) { return offers(name); };
  SearchParser parser(offered, args);
  auto key = parser.parse();
  if (args.failed()) return Reply::bad("Malformed SEARCH");
  condstore_ = condstore_ || parser.modseq_seen();
  if (!resolve_sets(key, [&](const NumberSet& set, bool by_uid) { return resolve(set, by_uid); }))
    return Reply::bad("No such message");
  std::vector<std::uint32_t> uids;
  for (const Message* message : matching(key, *mailbox_, last_uid_, recent_from_))
    uids.push_back(message->uid);
  return search_reply(uids, options, false, parser.modseq_seen());
}

// sort = "SORT" [return-opts] SP "(" sort-criterion *(SP sort-criterion) ")" SP charset 1*(SP search-key)
Reply Session::sort(Cursor& args) {
  using SortKind = SortKey::Kind;
  static constexpr std::pair<std::string_view, SortKind> names[] = {
      {"ARRIVAL", SortKind::arrival},
      {"CC", SortKind::cc},
      {"DATE", SortKind::date},
      {"FROM", SortKind::from},
      {"SIZE", SortKind::size},
      {"SUBJECT", SortKind::subject},
      {"TO", SortKind::to},
      {"DISPLAYFROM", SortKind::display_from},
      {"DISPLAYTO", SortKind::display_to},
  };
  ResultOptions options;
  read_result_options(args, options, true);
  std::vector<SortKey> keys;
  args.expect('(');
  do {
    SortKey key;
    auto word = args.upper_atom();
    if (word == "REVERSE") {
      key.reverse = true;
      args.sp();
      word = args.upper_atom();
    }
    bool known = false;
    for (auto [name, kind] : names)
      if (name == word && (!name.starts_with("DISPLAY") || offers("SORT=DISPLAY"))) {
        key.kind = kind;
        known = true;
      }
    if (!known) args.fail();
    keys.push_back(key);
  } while (!args.failed() && args.try_char(' '));
  args.expect(')');
  args.sp();
  auto charset = upper(args.astring());
  args.sp();
  if (!args.failed() && charset != "UTF-8" && charset != "US-ASCII")
    return Reply::no("[BADCHARSET (UTF-8 US-ASCII)] Unknown charset");
  std::function<bool(std::string_view)> offered = [this](std::string_view name) { return offers(name); };
  SearchParser parser(offered, args);
  auto key = parser.parse();
  if (args.failed()) return Reply::bad("Malformed SORT");
  if (!resolve_sets(key, [&](const NumberSet& set, bool by_uid) { return resolve(set, by_uid); }))
    return Reply::bad("No such message");
  auto uids = sort_messages(matching(key, *mailbox_, last_uid_, recent_from_), keys);
  return search_reply(uids, options, true, parser.modseq_seen());
}

Reply Session::thread(Cursor& args) {
  auto algorithm = args.upper_atom();
  args.sp();
  auto charset = upper(args.astring());
  args.sp();
  std::function<bool(std::string_view)> offered = [this](std::string_view name) { return offers(name); };
  SearchParser parser(offered, args);
  auto key = parser.parse();
  if (args.failed() || !offers("THREAD=" + algorithm) || (charset != "UTF-8" && charset != "US-ASCII"))
    return Reply::bad("Malformed THREAD");
  if (!resolve_sets(key, [&](const NumberSet& set, bool by_uid) { return resolve(set, by_uid); }))
    return Reply::bad("No such message");
  auto number_of = [&](std::uint32_t uid) { return uid_ ? uid : sequence_of(uid); };
  auto found = matching(key, *mailbox_, last_uid_, recent_from_);
  auto threads = algorithm == "REFERENCES" ? thread_by_references(found, number_of)
                                           : thread_by_subject(found, number_of);
  untagged(threads.empty() ? "THREAD" : "THREAD " + threads);
  return Reply::ok("Thread completed");
}

}  // namespace postern::testimapd
