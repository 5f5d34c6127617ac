// LIST with its extensions, LSUB and XLIST: RFC 3501 section 6.3.8, RFC 5258, RFC 5819, RFC 6154, RFC 8440.
#include "session.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "server.hpp"

namespace postern::testimapd {

struct Session::ListOptions {
  bool select_subscribed = false, select_special = false, recursive = false, extended = false;
  bool subscribed = false, children = false, special_use = false, my_rights = false;
  std::vector<std::string> status_items;
  std::string reference;
  std::vector<std::string> patterns;
};

namespace {

// '*' matches anything, '%' anything but the separator.
bool matches(std::string_view pattern, std::string_view name, char separator) {
  while (!pattern.empty()) {
    char p = pattern.front();
    if (p == '*' || p == '%') {
      pattern.remove_prefix(1);
      for (std::size_t i = 0; i <= name.size(); ++i) {
        if (matches(pattern, name.substr(i), separator)) return true;
        if (i < name.size() && p == '%' && separator != '\0' && name[i] == separator) return false;
      }
      return false;
    }
    if (name.empty() || name.front() != p) return false;
    pattern.remove_prefix(1);
    name.remove_prefix(1);
  }
  return name.empty();
}

constexpr std::size_t wildcards_max = 16;  // matching is exponential in them at worst

}  // namespace

// list = "LIST" [SP "(" [selection] ")"] SP mailbox SP (pattern / "(" patterns ")") [SP "RETURN" SP "(" ... ")"]
bool Session::read_list_options(Cursor& args, ListOptions& options) const {
  bool extended = offers("LIST-EXTENDED");
  if (args.try_char('(')) {
    options.extended = true;
    while (!args.failed() && !args.try_char(')')) {
      args.try_char(' ');
      if (extended && args.try_word("SUBSCRIBED"))
        options.select_subscribed = true;
      else if (extended && args.try_word("RECURSIVEMATCH"))
        options.recursive = true;
      else if (offers("SPECIAL-USE") && args.try_word("SPECIAL-USE"))
        options.select_special = true;
      else if (!extended || !args.try_word("REMOTE"))
        args.fail();
    }
    args.sp();
  }
  options.reference = args.astring();
  args.sp();
  if (extended && args.try_char('(')) {
    options.extended = true;
    do options.patterns.push_back(args.list_mailbox());
    while (!args.failed() && args.try_char(' '));
    args.expect(')');
  } else {
    options.patterns.push_back(args.list_mailbox());
  }
  if (!args.try_char(' ')) return !args.failed();
  if (!args.try_word("RETURN")) args.fail();
  options.extended = true;
  args.sp();
  args.expect('(');
  while (!args.failed() && !args.try_char(')')) {
    args.try_char(' ');
    if (extended && args.try_word("SUBSCRIBED")) {
      options.subscribed = true;
    } else if (extended && args.try_word("CHILDREN")) {
      options.children = true;
    } else if (offers("SPECIAL-USE") && args.try_word("SPECIAL-USE")) {
      options.special_use = true;
    } else if (offers("LIST-MYRIGHTS") && args.try_word("MYRIGHTS")) {
      options.my_rights = true;
    } else if (offers("LIST-STATUS") && args.try_word("STATUS")) {
      args.sp();
      read_status_items(args, options.status_items);
    } else {
      args.fail();
    }
  }
  return !args.failed();
}

std::string Session::list_attributes(const std::string& name, const Mailbox* mailbox,
                                     const ListOptions& options) const {
  std::string out;
  auto add = [&](std::string_view attribute) {
    if (!out.empty()) out += ' ';
    out += attribute;
  };
  if (mailbox == nullptr)
    add(options.extended ? "\\NonExistent" : "\\Noselect");
  else if (mailbox->no_select)
    add("\\Noselect");
  auto separator = server_.store().separator();
  bool children = !separator.empty() &&
                  std::any_of(user_->mailboxes.begin(), user_->mailboxes.end(),
                              [&](auto& entry) { return entry.first.starts_with(name + separator); });
  if (separator.empty())
    add("\\Noinferiors");
  else if (options.children || offers("CHILDREN") || offers("LIST-EXTENDED"))
    add(children ? "\\HasChildren" : "\\HasNoChildren");
  bool subscribed = mailbox != nullptr ? mailbox->subscribed : user_->subscriptions_only.contains(name);
  if (subscribed && (options.subscribed || (options.select_subscribed && options.extended)))
    add("\\Subscribed");
  bool special = offers("SPECIAL-USE") || options.special_use || options.select_special;
  if (mailbox != nullptr && !mailbox->special_use.empty() && special) add(mailbox->special_use);
  if (server_.options().quirks.list_unknown_flags) add("\\X-Unknown $weird");
  return out;
}

void Session::list_line(std::string_view verb, const std::string& name, const ListOptions& options) {
  Mailbox* mailbox = server_.store().find(*user_, name);
  auto out = fmt::format("{} ({}) {} ", verb, list_attributes(name, mailbox, options), separator_text());
  append_mailbox(out, name);
  auto separator = server_.store().separator();
  if (options.recursive && options.select_subscribed && !separator.empty())
    for (const auto& [child, box] : user_->mailboxes)
      if (box->subscribed && child.starts_with(name + separator)) {
        out += " (\"CHILDINFO\" (\"SUBSCRIBED\"))";
        break;
      }
  untagged(out);
  if (mailbox != nullptr && !mailbox->no_select && options.my_rights) rights_line(name);
  if (mailbox != nullptr && !mailbox->no_select && !options.status_items.empty())
    status_line_of(*mailbox, options.status_items);
}

Reply Session::run_list(Cursor& args, std::string_view verb) {
  ListOptions options;
  read_list_options(args, options);
  args.end();
  if (args.failed()) return Reply::bad("Malformed LIST");
  if (verb == "LSUB") options.select_subscribed = true;
  if (options.patterns.size() == 1 && options.patterns[0].empty()) {
    untagged(fmt::format("{} (\\Noselect) {} \"\"", verb, separator_text()));
    return Reply::ok("List completed");
  }
  std::set<std::string> names;  // in the order of names
  for (const auto& [name, mailbox] : user_->mailboxes) {
    bool wanted = !options.select_subscribed || mailbox->subscribed;
    auto separator = server_.store().separator();
    if (!wanted && options.recursive && !separator.empty())
      for (const auto& [child, box] : user_->mailboxes)
        wanted = wanted || (box->subscribed && child.starts_with(name + separator));
    if (wanted && (!options.select_special || !mailbox->special_use.empty())) names.insert(name);
  }
  if (options.select_subscribed)
    for (const auto& [name, unused] : user_->subscriptions_only) names.insert(name);
  for (const std::string& name : names) {
    bool match = false;
    for (const std::string& pattern : options.patterns) {
      auto full = Store::canonical(options.reference + (utf8_ ? mutf7_encode(pattern) : pattern));
      if (static_cast<std::size_t>(std::count_if(
              full.begin(), full.end(), [](char c) { return c == '*' || c == '%'; })) > wildcards_max)
        return Reply::no("[LIMIT] Too many wildcards");
      match = match || matches(full, name, server_.options().separator);
    }
    if (match) list_line(verb, name, options);
  }
  return Reply::ok(verb == "LSUB" ? "Lsub completed" : "List completed");
}

Reply Session::list(Cursor& args) { return run_list(args, "LIST"); }
Reply Session::xlist(Cursor& args) { return run_list(args, "XLIST"); }
Reply Session::lsub(Cursor& args) { return run_list(args, "LSUB"); }

}  // namespace postern::testimapd
