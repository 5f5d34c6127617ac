// APPEND, STORE, COPY, MOVE, EXPUNGE: RFC 3501 section 6.4, RFC 4315 (UIDPLUS), RFC 6851 (MOVE), RFC 7162
// (UNCHANGEDSINCE). An APPEND carries one message.
#include "session.hpp"

#include <algorithm>
#include <ctime>

#include <fmt/format.h>

#include "server.hpp"

namespace postern::testimapd {

std::uint64_t Session::flag_bits(Mailbox& mailbox, const std::vector<std::string>& names, bool create) const {
  const auto& permanent = server_.options().permanent_flags;
  auto allowed = [&](std::string_view name) {
    return std::any_of(permanent.begin(), permanent.end(),
                       [&](const std::string& flag) { return iequals(flag, name); });
  };
  bool new_keywords = allowed("\\*");
  std::uint64_t bits = 0;
  for (const std::string& name : names) {
    bool known = mailbox.flag_bit(name, false) != 0 && !name.starts_with('\\');
    if (allowed(name) || known || (new_keywords && !name.starts_with('\\')))
      bits |= mailbox.flag_bit(name, create);
  }
  return bits;
}

// append = "APPEND" SP mailbox [SP flag-list] [SP date-time] SP (literal / "UTF8" SP "(" literal8 ")")
Reply Session::append(Cursor& args) {
  auto name = read_mailbox(args);
  args.sp();
  std::vector<std::string> flags;
  std::int64_t date = std::time(nullptr);
  if (args.peek() == '(') {
    flags = args.flag_list();
    args.sp();
  }
  if (args.peek() == '"') {
    auto parsed = parse_internal_date(args.string());
    if (!parsed) args.fail();
    date = parsed.value_or(0);
    args.sp();
  }
  bool wrapped = utf8_ && args.try_word("UTF8");
  if (wrapped) {
    args.sp();
    args.expect('(');
  }
  if (args.peek() != '{' && args.peek() != '~') args.fail();
  auto raw = args.string();
  if (wrapped) args.expect(')');
  args.end();
  if (args.failed()) return Reply::bad("Malformed APPEND");
  Mailbox* mailbox = server_.store().find(*user_, name);
  if (mailbox == nullptr || mailbox->no_select) return Reply::no("[TRYCREATE] No such mailbox");
  Message message;
  message.flags = flag_bits(*mailbox, flags, true);
  message.internal_date = date;
  message.save_date = std::time(nullptr);
  message.body = server_.store().body_of(std::move(raw));
  auto uid = server_.store().add(*mailbox, std::move(message), this).uid;
  if (offers("UIDPLUS"))
    return Reply::ok(fmt::format("[APPENDUID {} {}] Append completed", mailbox->uidvalidity, uid));
  return Reply::ok("Append completed");
}

Reply Session::expunge(Cursor& args) {
  std::optional<std::vector<std::uint32_t>> only;
  if (uid_) only = resolve(args.number_set(), true);
  args.end();
  if (args.failed()) return Reply::bad("Malformed EXPUNGE");
  if (read_only_) return Reply::no("Mailbox is read-only");
  std::vector<std::uint32_t> uids;
  for (const Message& message : mailbox_->messages())
    if ((message.flags & flag_deleted) != 0 &&
        (!only || std::binary_search(only->begin(), only->end(), message.uid)))
      uids.push_back(message.uid);
  if (!uids.empty()) server_.store().expunge(*mailbox_, uids, this);
  if (condstore_ && !uids.empty())
    return Reply::ok(fmt::format("[HIGHESTMODSEQ {}] Expunge completed", mailbox_->highestmodseq));
  return Reply::ok("Expunge completed");
}

// store = "STORE" SP sequence-set [SP "(UNCHANGEDSINCE" SP mod-sequence ")"]
//         SP ["+" / "-"] "FLAGS" [".SILENT"] SP flags
Reply Session::store(Cursor& args) {
  auto set = args.number_set();
  args.sp();
  std::optional<std::uint64_t> unchanged_since;
  if (args.peek() == '(' && offers("CONDSTORE")) {
    args.expect('(');
    if (!args.try_word("UNCHANGEDSINCE")) args.fail();
    args.sp();
    unchanged_since = args.number64();
    args.expect(')');
    args.sp();
    condstore_ = true;
  }
  char mode = args.try_char('+') ? '+' : args.try_char('-') ? '-' : '=';
  bool silent = args.try_word("FLAGS.SILENT");
  if (!silent && !args.try_word("FLAGS")) args.fail();
  args.sp();
  auto names = args.flags();
  args.end();
  if (args.failed()) return Reply::bad("Malformed STORE");
  if (read_only_) return Reply::no("Mailbox is read-only");
  auto uids = resolve(set, uid_);
  if (!uids) return Reply::bad("No such message");
  auto bits = flag_bits(*mailbox_, names, mode != '-');
  if (keywords_sent_ != mailbox_->keywords.size()) flush_flags();  // the new keyword's FLAGS response
  NumberSet modified;
  for (std::uint32_t uid : *uids) {
    const Message* message = mailbox_->find(uid);
    if (unchanged_since && message->modseq > *unchanged_since) {
      modified.add(uid_ ? uid : sequence_of(uid));
      continue;
    }
    auto flags = mode == '+' ? message->flags | bits : mode == '-' ? message->flags & ~bits : bits;
    if (flags != message->flags) {
      Message* own = mailbox_->find_writable(uid);
      server_.store().set_flags(*mailbox_, *own, flags, this);
      message = own;
    }
    std::erase(flagged_, uid);
    if (!silent) {
      fetch_flags_line(*message, uid_);
    } else if (condstore_) {
      auto items = uid_ ? fmt::format("UID {} ", uid) : std::string();
      untagged(fmt::format("{} FETCH ({}MODSEQ ({}))", sequence_of(uid), items, message->modseq));
    }
  }
  if (!modified.ranges.empty())
    return Reply::ok(fmt::format("[MODIFIED {}] Conditional store failed for some", modified.text()));
  return Reply::ok("Store completed");
}

Reply Session::copy(Cursor& args) { return copy_or_move(args, false); }
Reply Session::move(Cursor& args) { return copy_or_move(args, true); }

Reply Session::copy_or_move(Cursor& args, bool move) {
  auto set = args.number_set();
  args.sp();
  auto name = read_mailbox(args);
  args.end();
  if (args.failed()) return Reply::bad("Malformed COPY or MOVE");
  auto uids = resolve(set, uid_);
  if (!uids) return Reply::bad("No such message");
  Mailbox* target = server_.store().find(*user_, name);
  if (target == nullptr || target->no_select) return Reply::no("[TRYCREATE] No such mailbox");
  if (move && read_only_) return Reply::no("Mailbox is read-only");
  NumberSet from;
  NumberSet to;
  for (std::uint32_t uid : *uids) {
    Message message = *mailbox_->find(uid);
    std::vector<std::string> names;
    for (auto word : words(mailbox_->flag_names(message.flags))) names.emplace_back(word);
    message.flags = flag_bits(*target, names, true);
    message.save_date = std::time(nullptr);
    from.add(uid);
    to.add(server_.store().add(*target, std::move(message), this).uid);
  }
  std::string code;
  if (offers("UIDPLUS") && !uids->empty())
    code = fmt::format("[COPYUID {} {} {}] ", target->uidvalidity, from.text(), to.text());
  if (!move) return Reply::ok(code + "Copy completed");
  if (!uids->empty()) {
    untagged("OK " + code + "Moved");
    server_.store().expunge(*mailbox_, *uids, this);
  }
  if (condstore_ && !uids->empty())
    return Reply::ok(fmt::format("[HIGHESTMODSEQ {}] Move completed", mailbox_->highestmodseq));
  return Reply::ok("Move completed");
}

}  // namespace postern::testimapd
