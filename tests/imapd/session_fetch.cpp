// FETCH and UID FETCH: the arguments, and carrying them out piece by piece. RFC 3501 section 6.4.5, RFC 7162
// (CHANGEDSINCE, VANISHED), RFC 9394 (PARTIAL), RFC 3516 (BINARY), RFC 8474, RFC 8514, RFC 8970.
#include "session.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "connection.hpp"
#include "server.hpp"

namespace postern::testimapd {

namespace {
using Kind = FetchItem::Kind;
using Text = FetchItem::Text;

struct PlainItem {
  std::string_view name;
  Kind kind;
  std::string_view needs;
};
constexpr PlainItem plain_items[] = {
    {"ENVELOPE", Kind::envelope, ""},
    {"BODYSTRUCTURE", Kind::body_structure, ""},
    {"FLAGS", Kind::flags, ""},
    {"INTERNALDATE", Kind::internal_date, ""},
    {"RFC822.SIZE", Kind::size, ""},
    {"RFC822.HEADER", Kind::rfc822_header, ""},
    {"RFC822.TEXT", Kind::rfc822_text, ""},
    {"RFC822", Kind::rfc822, ""},
    {"UID", Kind::uid, ""},
    {"MODSEQ", Kind::modseq, "CONDSTORE"},
    {"EMAILID", Kind::email_id, "OBJECTID"},
    {"THREADID", Kind::thread_id, "OBJECTID"},
    {"X-GUID", Kind::guid, "X-GUID"},
    {"PREVIEW", Kind::preview, "PREVIEW"},
    {"SAVEDATE", Kind::save_date, "SAVEDATE"},
    {"X-GM-MSGID", Kind::gm_msgid, "X-GM-EXT-1"},
    {"X-GM-THRID", Kind::gm_thrid, "X-GM-EXT-1"},
    {"X-GM-LABELS", Kind::gm_labels, "X-GM-EXT-1"},
};

}  // namespace

// section = "[" [section-spec] "]" ["<" number "." nz-number ">"]
// section-spec = section-msgtext / (section-part ["." section-text])
bool Session::read_section(Cursor& args, FetchItem& item) {
  args.expect('[');
  std::string label = "[";
  while (args.peek() >= '0' && args.peek() <= '9') {
    item.path.push_back(args.number());
    label += std::to_string(item.path.back());
    if (item.path.back() == 0) args.fail();
    if (!args.try_char('.')) break;
    label += '.';
  }
  if (args.peek() != ']' && (item.path.empty() || label.ends_with('.'))) {
    std::string word;
    if (item.kind == Kind::section) word = args.upper_atom();
    bool fields = word == "HEADER.FIELDS" || word == "HEADER.FIELDS.NOT";
    if (word == "HEADER")
      item.text = Text::header;
    else if (fields)
      item.text = word == "HEADER.FIELDS" ? Text::fields : Text::fields_not;
    else if (word == "TEXT")
      item.text = Text::text;
    else if (word == "MIME" && !item.path.empty())
      item.text = Text::mime;
    else
      args.fail();
    label += word;
    if (fields) {
      args.sp();
      args.expect('(');
      label += " (";
      do {
        item.fields.push_back(args.astring());
        label += (item.fields.size() > 1 ? " " : "") + upper(item.fields.back());
      } while (!args.failed() && args.try_char(' '));
      args.expect(')');
      label += ')';
    }
  }
  args.expect(']');
  label += ']';
  if (args.try_char('<')) {
    item.partial = true;
    item.offset = args.number();
    args.expect('.');
    item.length = args.number();
    args.expect('>');
    label += fmt::format("<{}>", item.offset);
  }
  item.label += label;
  return !args.failed();
}

bool Session::read_fetch_item(Cursor& args, std::vector<FetchItem>& items) {
  FetchItem item;
  for (const PlainItem& plain : plain_items)
    if ((plain.needs.empty() || offers(plain.needs)) && args.try_word(plain.name)) {
      item.kind = plain.kind;
      item.label = plain.name;
      if (item.kind == Kind::modseq) condstore_ = true;
      if (item.kind == Kind::preview && args.try_char(' ')) {  // "(LAZY)", RFC 8970 section 3.2
        if (args.peek() == '(') {
          args.expect('(');
          if (!args.try_word("LAZY")) args.fail();
          args.expect(')');
        } else {
          items.push_back(std::move(item));
          return read_fetch_item(args, items);
        }
      }
      items.push_back(std::move(item));
      return !args.failed();
    }
  if (args.try_word("BODY")) {
    item.label = "BODY";
    item.kind = args.peek() == '[' ? Kind::section : Kind::body;
  } else if (args.try_word("BODY.PEEK")) {
    item.label = "BODY";
    item.kind = Kind::section;
    item.peek = true;
  } else if (offers("BINARY") && args.try_word("BINARY")) {
    item.label = "BINARY";
    item.kind = Kind::binary;
  } else if (offers("BINARY") && args.try_word("BINARY.PEEK")) {
    item.label = "BINARY";
    item.kind = Kind::binary;
    item.peek = true;
  } else if (offers("BINARY") && args.try_word("BINARY.SIZE")) {
    item.label = "BINARY.SIZE";
    item.kind = Kind::binary_size;
    item.peek = true;
  } else {
    args.fail();
    return false;
  }
  if (item.kind != Kind::body) read_section(args, item);
  items.push_back(std::move(item));
  return !args.failed();
}

bool Session::read_fetch_items(Cursor& args, std::vector<FetchItem>& items) {
  auto add = [&](Kind kind, std::string_view label) {
    FetchItem item;
    item.kind = kind;
    item.label = label;
    items.push_back(std::move(item));
  };
  bool all = args.try_word("ALL");
  bool full = !all && args.try_word("FULL");
  if (all || full || args.try_word("FAST")) {
    add(Kind::flags, "FLAGS");
    add(Kind::internal_date, "INTERNALDATE");
    add(Kind::size, "RFC822.SIZE");
    if (all || full) add(Kind::envelope, "ENVELOPE");
    if (full) add(Kind::body, "BODY");
    return true;
  }
  if (!args.try_char('(')) return read_fetch_item(args, items);
  do read_fetch_item(args, items);
  while (!args.failed() && args.try_char(' '));
  args.expect(')');
  return !args.failed();
}

// fetch-modifiers = "(" *(("CHANGEDSINCE" SP mod-sequence) / "VANISHED" / ("PARTIAL" SP range)) ")"
Reply Session::fetch(Cursor& args) {
  auto set = args.number_set();
  args.sp();
  auto job = std::make_unique<FetchJob>();
  read_fetch_items(args, job->items);
  std::optional<std::uint64_t> changed_since;
  bool vanished = false;
  std::int64_t partial_first = 0;
  std::int64_t partial_last = 0;
  if (args.try_char(' ')) {
    args.expect('(');
    do {
      if (offers("CONDSTORE") && args.try_word("CHANGEDSINCE")) {
        args.sp();
        changed_since = args.number64();
      } else if (qresync_ && uid_ && args.try_word("VANISHED")) {
        vanished = true;
      } else if (offers("PARTIAL") && uid_ && args.try_word("PARTIAL")) {
        args.sp();
        bool from_end = args.try_char('-');
        partial_first = args.number();
        args.expect(':');
        args.try_char('-');
        partial_last = args.number();
        if (partial_first > partial_last) std::swap(partial_first, partial_last);
        if (from_end) std::tie(partial_first, partial_last) = std::pair(-partial_last, -partial_first);
      } else {
        args.fail();
      }
    } while (!args.failed() && args.try_char(' '));
    args.expect(')');
  }
  args.end();
  if (args.failed() || (vanished && !changed_since)) return Reply::bad("Malformed FETCH");
  auto uids = resolve(set, uid_);
  if (!uids) return Reply::bad("No such message");
  auto has = [&](Kind kind) {
    return std::any_of(job->items.begin(), job->items.end(),
                       [&](const FetchItem& i) { return i.kind == kind; });
  };
  FetchItem implied;
  if (uid_ && !has(Kind::uid)) {
    implied.kind = Kind::uid;
    implied.label = "UID";
    job->items.insert(job->items.begin(), implied);
  }
  bool quirk = server_.options().quirks.fetch_flags_always;
  if (quirk && !has(Kind::flags)) {
    implied.kind = Kind::flags;
    implied.label = "FLAGS";
    job->items.push_back(implied);
  }
  if (changed_since) {
    condstore_ = true;
    if (!has(Kind::modseq)) {
      implied.kind = Kind::modseq;
      implied.label = "MODSEQ";
      job->items.push_back(implied);
    }
    std::erase_if(*uids, [&](std::uint32_t uid) { return mailbox_->find(uid)->modseq <= *changed_since; });
  }
  if (vanished) {
    auto wanted = set.resolved(0xFFFFFFFFU);
    NumberSet gone;
    for (std::uint32_t uid : expunged_since(*changed_since))
      if (wanted.contains(uid)) gone.add(uid);
    if (!gone.ranges.empty()) untagged("VANISHED (EARLIER) " + gone.text());
  }
  if (partial_first != 0) {
    auto size = static_cast<std::int64_t>(uids->size());
    auto first =
        std::clamp<std::int64_t>(partial_first > 0 ? partial_first - 1 : size + partial_first, 0, size);
    auto last =
        std::clamp<std::int64_t>(partial_last > 0 ? partial_last : size + partial_last + 1, first, size);
    *uids = std::vector(uids->begin() + first, uids->begin() + last);
  }
  for (const FetchItem& item : job->items)
    job->sets_seen = job->sets_seen || item.kind == Kind::rfc822 || item.kind == Kind::rfc822_text ||
                     ((item.kind == Kind::section || item.kind == Kind::binary) && !item.peek);
  job->sets_seen = job->sets_seen && !read_only_;
  job->by_uid = uid_;
  job->uids = std::move(*uids);
  job->expunge_at = expunge_at_;
  job->expunge_uid = expunge_uid_;
  fetch_ = std::move(job);
  run_fetch();
  return Reply::later();
}

void Session::run_fetch() {
  FetchJob& job = *fetch_;
  for (; job.next < job.uids.size(); ++job.next) {
    if (connection_.pending() > output_bytes_high) return;
    if (job.expunge_at > 0 && job.next + 1 == job.expunge_at) {
      job.expunge_at = 0;
      server_.store().expunge(*mailbox_, {job.expunge_uid}, nullptr);
      flush_expunges();
    }
    auto uid = job.uids[job.next];
    const Message* message = mailbox_->find(uid);
    if (message == nullptr) {
      job.missing = true;
      continue;
    }
    if (job.sets_seen && (message->flags & flag_seen) == 0) {
      Message* own = mailbox_->find_writable(uid);
      server_.store().set_flags(*mailbox_, *own, own->flags | flag_seen, this);
      auto items = job.items;
      FetchItem flags;
      flags.label = "FLAGS";
      if (std::none_of(items.begin(), items.end(), [](auto& i) { return i.kind == Kind::flags; }))
        items.push_back(flags);
      fetch_line(*own, items);
    } else {
      fetch_line(*message, job.items);
    }
  }
  auto reply =
      job.missing ? Reply::no("[EXPUNGEISSUED] Some of the messages are gone") : Reply::ok("Fetch completed");
  fetch_.reset();
  finish(reply);
}

void Session::fetch_line(const Message& message, const std::vector<FetchItem>& items) {
  std::string out = fmt::format("{} FETCH (", sequence_of(message.uid));
  std::string raw;
  bool spaces = server_.options().quirks.extra_spaces;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += spaces ? "  " : " ";
    append_item(out, message, items[i], raw);
  }
  out += spaces ? " )" : ")";
  untagged(out);
}

}  // namespace postern::testimapd
