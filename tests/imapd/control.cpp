// The control verbs: one line in, one line out. "OK ...", JSON, or "ERR reason".
//
//   counts [USER]                      JSON
//   reset                              counts and log
//   log [N]                            JSON: the last N (100) commands
//   on EVENT [nth=N] [times=N|always] [user=LOGIN] do ACTION [ARGUMENT...]      see test_imapd.hpp
//   clear_rules
//   deliver USER MAILBOX [N] [FLAG...] N generated messages (1), from outside; answers OK and the last UID
//   flag USER MAILBOX UIDS +|-FLAG...  flags from outside; UIDS is a set or *
//   expunge USER MAILBOX UIDS          from outside
//   copy USER MAILBOX UIDS TARGET      from outside, with flags, EMAILID and X-GUID; answers OK and the last UID
//   move USER MAILBOX UIDS TARGET [expunged_first]      the same, and gone from the first; told in that order
//   roll_uidvalidity USER MAILBOX      new UIDVALIDITY; UID n now names the message that was n + 1
//   highestmodseq USER MAILBOX N       sets it, backwards too
//   rights USER MAILBOX LETTERS        what MYRIGHTS tells from now on; nothing is refused by them
//   special_use USER MAILBOX [ATTR]    as another client sets it
//   create|delete USER MAILBOX, rename USER MAILBOX NEW      from outside
//   mailbox USER MAILBOX               JSON of its state
//   messages USER                      JSON: by mailbox its messages' uid, Message-ID and flags
//   drop_literal N                     a reset, once, when N octets of a command's literals have come, and not all
//   push USER LINE                     LINE (with "* ") to all connections of the user, whatever they do
//   bye [USER] / drop [USER]           all connections (of the user) get BYE / a reset
//   hang USER                          the user's connections never answer again
//   refuse on|off                      new connections are reset
//   latency MS                         before each command
//   password USER NEW / token USER NEW
#include <algorithm>
#include <ctime>

#include <fmt/format.h>

#include "connection.hpp"
#include "cursor.hpp"
#include "server.hpp"

namespace postern::testimapd {

namespace {

std::string_view next_word(std::string_view& rest) {
  rest = trim(rest);
  auto end = std::min(rest.find(' '), rest.size());
  auto word = rest.substr(0, end);
  rest.remove_prefix(end);
  rest = trim(rest);
  return word;
}

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      (out += '\\') += c;
    else if (static_cast<unsigned char>(c) < 0x20)
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    else
      out += c;
  }
  return out + "\"";
}

struct ActionName {
  std::string_view name;
  Action action;
  bool value;  // the first argument is a number
};
constexpr ActionName action_names[] = {
    {"reply", Action::reply, false},
    {"bye", Action::bye, false},
    {"drop", Action::drop, false},
    {"hang", Action::hang, false},
    {"drop_at", Action::drop_at, true},
    {"hang_at", Action::hang_at, true},
    {"drop_in_literal", Action::drop_in_literal, true},
    {"hang_in_literal", Action::hang_in_literal, true},
    {"delay", Action::delay, true},
    {"before", Action::before, false},
    {"after", Action::after, false},
    {"expunge_at", Action::expunge_at, true},
    {"huge_literal", Action::huge_literal, true},
    {"run", Action::run, false},
    {"run_after", Action::run_after, false},
    {"greeting", Action::greeting, false},
    {"preauth", Action::preauth, false},
    {"silence", Action::silence, false},
    {"refuse", Action::refuse, false},
};

std::string error(std::string_view reason) { return fmt::format("ERR {}", reason); }

}  // namespace

std::string Server::control(std::string_view line) {
  std::string_view rest = line;
  auto verb = next_word(rest);
  if (verb == "counts") return (rest.empty() ? total_ : counts_of(rest)).json();
  if (verb == "reset") {
    reset();
    return "OK";
  }
  if (verb == "log") return log_control(rest);
  if (verb == "on") return rule_control(rest);
  if (verb == "clear_rules") {
    clear_rules();
    return "OK";
  }
  if (verb == "messages") return messages_control(rest);
  if (verb == "drop_literal") {
    drop_literal_ = to_number(rest);
    return "OK";
  }
  for (std::string_view known :
       {"deliver", "flag", "expunge", "copy", "move", "roll_uidvalidity", "highestmodseq", "create", "delete",
        "rename", "mailbox", "rights", "special_use"})
    if (verb == known) return mailbox_control(verb, rest);
  return misc_control(verb, rest);
}

std::string Server::log_control(std::string_view rest) const {
  auto count = std::min<std::size_t>(to_number(rest).value_or(100), log_.size());
  std::string out = "[";
  for (auto at = log_.end() - static_cast<std::ptrdiff_t>(count); at != log_.end(); ++at) {
    if (out.size() > 1) out += ',';
    out += fmt::format("{{\"connection\":{},\"user\":{},\"name\":{},\"line\":{}}}", at->connection,
                       json_string(at->user), json_string(at->name), json_string(at->line));
  }
  return out + "]";
}

std::string Server::rule_control(std::string_view rest) {
  Rule rule;
  for (;;) {
    if (rest.empty()) return error("`do` is missing");
    auto word = next_word(rest);
    if (word == "do") break;
    if (word.starts_with("nth=") && to_number(word.substr(4)))
      rule.nth = std::max<std::uint64_t>(1, *to_number(word.substr(4)));
    else if (word == "times=always")
      rule.times = 0;
    else if (word.starts_with("times=") && to_number(word.substr(6)))
      rule.times = *to_number(word.substr(6));
    else if (word.starts_with("user="))
      rule.user = word.substr(5);
    else
      rule.event += (rule.event.empty() ? "" : " ") + std::string(word);
  }
  rule.event = iequals(rule.event, "connect") ? "connect" : upper(rule.event);
  auto name = next_word(rest);
  const auto* found = std::find_if(std::begin(action_names), std::end(action_names),
                                   [&](const ActionName& entry) { return entry.name == name; });
  if (found == std::end(action_names)) return error("unknown action");
  rule.action = found->action;
  if (found->value) {
    auto value = to_number(next_word(rest));
    if (!value) return error("a number is missing");
    rule.value = *value;
  }
  rule.text = rest;
  if (rule.event.empty() || (rule.action == Action::reply && rule.text.empty()))
    return error("incomplete rule");
  add_rule(std::move(rule));
  return "OK";
}

std::string Server::messages_control(std::string_view user_name) {
  const User* user = store_.open_user(user_name);
  if (user == nullptr) return error("no such user");
  std::string out = "{";
  for (const auto& [name, mailbox] : user->mailboxes) {
    out += (out.size() > 1 ? "," : "") + json_string(name) + ":[";
    for (const Message& message : mailbox->messages())
      out += fmt::format("{}{{\"uid\":{},\"id\":{},\"flags\":{}}}", out.ends_with('[') ? "" : ",",
                         message.uid, json_string(message.body->message_id.fill(message.slots())),
                         json_string(mailbox->flag_names(message.flags)));
    out += "]";
  }
  return out + "}";
}

std::uint32_t Server::deliver(std::string_view user_name, std::string_view mailbox_name, std::string_view raw,
                              std::string_view flags, std::int64_t internal_date) {
  User* user = store_.open_user(user_name);
  Mailbox* mailbox = user == nullptr ? nullptr : store_.find(*user, mailbox_name);
  if (mailbox == nullptr) return 0;
  Message message;
  for (auto flag : words(flags)) message.flags |= mailbox->flag_bit(flag, true);
  message.save_date = std::time(nullptr);
  message.internal_date = internal_date == 0 ? message.save_date : internal_date;
  message.body = store_.body_of(std::string(raw));
  return store_.add(*mailbox, std::move(message), nullptr).uid;
}

std::string Server::mailbox_control(std::string_view verb, std::string_view rest) {
  User* user = store_.open_user(next_word(rest));
  if (user == nullptr) return error("no such user");
  std::string name(next_word(rest));
  if (verb == "create") return store_.create(*user, name) ? "OK" : error("exists");
  Mailbox* mailbox = store_.find(*user, name);
  if (mailbox == nullptr) return error("no such mailbox");
  if (verb == "delete") {
    store_.remove(*user, name);
    return "OK";
  }
  if (verb == "rename") return store_.rename(*user, name, rest) ? "OK" : error("can't be renamed");
  if (verb == "roll_uidvalidity") {
    store_.roll_uidvalidity(*mailbox);
    return fmt::format("OK {}", mailbox->uidvalidity);
  }
  if (verb == "rights" || verb == "special_use") {
    (verb == "rights" ? mailbox->rights : mailbox->special_use) = rest;
    return "OK";
  }
  if (verb == "highestmodseq") {
    mailbox->highestmodseq = to_number(rest).value_or(1);
    return "OK";
  }
  if (verb == "mailbox")
    return fmt::format(
        "{{\"messages\":{},\"uidvalidity\":{},\"uidnext\":{},\"highestmodseq\":{},\"selected\":{}}}",
        mailbox->messages().size(), mailbox->uidvalidity, mailbox->uidnext, mailbox->highestmodseq,
        mailbox->selected_by.size());
  if (verb == "deliver") {
    auto count = std::max<std::uint64_t>(1, to_number(rest.substr(0, rest.find(' '))).value_or(1));
    if (to_number(rest.substr(0, rest.find(' ')))) next_word(rest);
    std::uint32_t uid = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
      auto number = mailbox->uidnext;
      auto raw = fmt::format(
          "Date: {}\r\nFrom: \"Delivered\" <sender{}@outside.example>\r\n"
          "To: {}@postern.example\r\nSubject: Delivered {}\r\n"
          "Message-ID: <delivered-{}-{}-{}@outside.example>\r\n\r\nMessage {}.\r\n",
          rfc5322_date_text(std::time(nullptr)), number % 10, user->name, number, user->name, mailbox->id,
          number, number);
      uid = deliver(user->name, name, raw, rest, 0);
    }
    return fmt::format("OK {}", uid);
  }
  Cursor cursor(rest);  // flag and expunge: a set of UIDs
  auto wanted = cursor.number_set().resolved(mailbox->uidnext - 1);
  if (cursor.failed()) return error("a set of UIDs is missing");
  std::vector<std::uint32_t> uids;
  for (const Message& message : mailbox->messages())
    if (wanted.contains(message.uid)) uids.push_back(message.uid);
  if (verb == "expunge") {
    store_.expunge(*mailbox, uids, nullptr);
    return fmt::format("OK {}", uids.size());
  }
  if (verb == "copy" || verb == "move") {
    auto last = cursor.rest();
    Mailbox* target = store_.find(*user, next_word(last));
    if (target == nullptr) return error("no such target");
    std::vector<Message> messages;
    for (std::uint32_t uid : uids) {
      messages.push_back(*mailbox->find(uid));
      std::uint64_t flags = 0;
      for (auto flag : words(mailbox->flag_names(messages.back().flags)))
        flags |= target->flag_bit(flag, true);
      messages.back().flags = flags;
    }
    const bool expunged_first = last == "expunged_first";
    if (verb == "move" && expunged_first) store_.expunge(*mailbox, uids, nullptr);
    std::uint32_t uid = 0;
    for (auto& message : messages) uid = store_.add(*target, std::move(message), nullptr).uid;
    if (verb == "move" && !expunged_first) store_.expunge(*mailbox, uids, nullptr);
    return fmt::format("OK {}", uid);
  }
  for (std::uint32_t uid : uids) {
    Message* message = mailbox->find_writable(uid);
    auto flags = message->flags;
    for (auto word : words(cursor.rest())) {
      auto bit = mailbox->flag_bit(word.substr(1), true);
      flags = word.starts_with('-') ? flags & ~bit : flags | bit;
    }
    store_.set_flags(*mailbox, *message, flags, nullptr);
  }
  return fmt::format("OK {}", uids.size());
}

std::string Server::misc_control(std::string_view verb, std::string_view rest) {
  auto each_connection = [&](std::string_view user, auto function) {
    for (const auto& connection : std::set(connections_))
      if (user.empty() ||
          (connection->session().user() != nullptr && connection->session().user()->name == user))
        function(*connection);
    return std::string("OK");
  };
  if (verb == "push") {
    auto user = next_word(rest);
    auto text = std::string(rest) + "\r\n";
    return each_connection(user, [&](Connection& connection) { connection.write(text); });
  }
  if (verb == "bye")
    return each_connection(rest, [](Connection& connection) {
      connection.write("* BYE Shutting down\r\n");
      connection.close_when_sent();
    });
  if (verb == "drop") return each_connection(rest, [](Connection& connection) { connection.abort(); });
  if (verb == "hang") return each_connection(rest, [](Connection& connection) { connection.hang(); });
  if (verb == "refuse") {
    refusing_ = rest == "on";
    return "OK";
  }
  if (verb == "latency") {
    latency_ms_ = static_cast<std::uint32_t>(to_number(rest).value_or(0));
    return "OK";
  }
  if (verb == "password" || verb == "token") {
    auto user = next_word(rest);
    (verb == "password" ? passwords_ : tokens_)[std::string(user)] = rest;
    return "OK";
  }
  return error("unknown verb");
}

}  // namespace postern::testimapd
