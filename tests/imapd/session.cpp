// Reading and dispatching commands; see session.hpp.
#include "session.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "connection.hpp"
#include "server.hpp"

namespace postern::testimapd {

// A line that ends in {n} or {n+} goes on behind n octets, RFC 3501 section 4.3 and RFC 7888.
CommandReader::Event CommandReader::next(std::string& input, std::size_t command_bytes_max,
                                         std::size_t literal_bytes_max, std::size_t plus_bytes_max) {
  if (done_) {
    command_.clear();
    literal_total_ = 0;
    done_ = false;
  }
  for (;;) {
    if (literal_left_ > 0) {
      auto take = std::min(literal_left_, input.size());
      command_.append(input, 0, take);
      input.erase(0, take);
      literal_left_ -= take;
      if (literal_left_ > 0) return Event::none;
    }
    auto end = input.find('\n');
    auto line_bytes = end == std::string::npos ? input.size() : end;
    if (line_bytes > 0 && input[line_bytes - 1] == '\r') --line_bytes;
    if (command_.size() - literal_total_ + line_bytes > command_bytes_max) return Event::too_long;
    if (end == std::string::npos) return Event::none;
    std::string_view line = std::string_view(input).substr(0, line_bytes);
    command_ += line;
    auto open = line.rfind('{');
    bool literal = line.ends_with('}') && open != std::string_view::npos;
    auto inner = literal ? line.substr(open + 1, line.size() - open - 2) : std::string_view();
    bool wait = !inner.ends_with('+');
    if (!wait) inner.remove_suffix(1);
    auto size = to_number(inner);
    input.erase(0, end + 1);
    if (!literal || !size) {
      done_ = true;
      return Event::command;
    }
    if (*size > (wait ? literal_bytes_max : plus_bytes_max)) {
      done_ = true;
      return wait ? Event::literal_too_big_sync : Event::literal_too_big;
    }
    command_ += "\r\n";
    literal_left_ = *size;
    literal_total_ += *size;
    if (wait) return Event::literal;
  }
}

Session::Session(Server& server, Connection& connection) : server_(server), connection_(connection) {}

Session::~Session() { release(); }

void Session::release() {
  leave_mailbox();
  if (user_ != nullptr) std::erase(user_->sessions, this);
  user_ = nullptr;
  fetch_.reset();
}

bool Session::offers(std::string_view capability) const { return server_.offers(capability); }

bool Session::busy() const { return fetch_ != nullptr || delayed_ || state_ == State::logout; }

void Session::line(std::string text) {
  text += "\r\n";
  connection_.write(text);
}

void Session::continuation(std::string_view text) { line(fmt::format("+ {}", text)); }

void Session::untagged(std::string_view text) {
  std::string out = "* ";
  out += text;
  const Quirks& quirks = server_.options().quirks;
  if (quirks.lower_case) {
    std::size_t at = 2;
    while (at < out.size() && ((out[at] >= '0' && out[at] <= '9') || out[at] == ' ')) ++at;
    for (; at < out.size() && ((out[at] >= 'A' && out[at] <= 'Z') || (out[at] >= 'a' && out[at] <= 'z'));
         ++at)
      out[at] = lower(out.substr(at, 1))[0];
  }
  if (quirks.extra_spaces && text.starts_with("SEARCH")) out += ' ';
  out += "\r\n";
  connection_.write(out);
}

void Session::greet(std::string_view preauth_login) {
  std::string status = "OK";
  if (!preauth_login.empty()) {
    logged_in(std::string(preauth_login));
    status = "PREAUTH";
  }
  std::string code;
  if (server_.options().quirks.capability_code)
    code = fmt::format("[CAPABILITY {}] ", server_.capability_text(user_ != nullptr, connection_.tls_up()));
  untagged(fmt::format("{} {}ready", status, code));
}

void Session::on_input(std::string_view bytes) {
  input_ += bytes;
  pump();
}

void Session::pump() {
  while (!busy() && connection_.alive()) {
    if (input_.empty()) break;
    const Options& options = server_.options();
    auto plus_bytes_max = offers("LITERAL+")   ? options.literal_bytes_max
                          : offers("LITERAL-") ? std::min<std::size_t>(options.literal_bytes_max, 4096)
                                               : 0;
    switch (reader_.next(input_, options.command_bytes_max, options.literal_bytes_max, plus_bytes_max)) {
      case CommandReader::Event::none:
        if (reader_.in_literal() && server_.drops_literal(reader_.literal_octets())) connection_.abort();
        return;
      case CommandReader::Event::literal: continuation("OK"); break;
      case CommandReader::Event::command: {
        std::string text = std::move(reader_.command());
        run_command(text);
        break;
      }
      case CommandReader::Event::literal_too_big_sync:
        line(fmt::format("{} NO [TOOBIG] Literal too big",
                         std::string_view(reader_.command()).substr(0, reader_.command().find(' '))));
        break;
      case CommandReader::Event::literal_too_big:
      case CommandReader::Event::too_long:
        untagged("BYE [TOOBIG] Too long");
        state_ = State::logout;
        connection_.close_when_sent();
        break;
    }
  }
  if (input_.empty()) std::string().swap(input_);
  connection_.reread();
}

const Session::Command* Session::find_command(std::string_view name) {
  for (const Command& command : commands())
    if (command.name == name) return &command;
  return nullptr;
}

const std::vector<Session::Command>& Session::commands() {
  using S = Session;
  static const std::vector<Command> table{
      {"CAPABILITY", &S::capability, "", 'a'},
      {"NOOP", &S::noop, "", 'a'},
      {"LOGOUT", &S::logout, "", 'a'},
      {"ID", &S::id, "ID", 'a'},
      {"STARTTLS", &S::starttls, "STARTTLS", 'n'},
      {"LOGIN", &S::login, "", 'n'},
      {"AUTHENTICATE", &S::authenticate, "", 'n'},
      {"ENABLE", &S::enable, "ENABLE", 'u'},
      {"NAMESPACE", &S::namespaces, "NAMESPACE", 'u'},
      {"SELECT", &S::select, "", 'u'},
      {"EXAMINE", &S::examine, "", 'u'},
      {"CREATE", &S::create, "", 'u'},
      {"DELETE", &S::remove, "", 'u'},
      {"RENAME", &S::rename, "", 'u'},
      {"SUBSCRIBE", &S::subscribe, "", 'u'},
      {"UNSUBSCRIBE", &S::unsubscribe, "", 'u'},
      {"LIST", &S::list, "", 'u'},
      {"XLIST", &S::xlist, "XLIST", 'u'},
      {"LSUB", &S::lsub, "", 'u'},
      {"STATUS", &S::status, "", 'u'},
      {"APPEND", &S::append, "", 'u'},
      {"IDLE", &S::idle, "IDLE", 'u'},
      {"NOTIFY", &S::notify, "NOTIFY", 'u'},
      {"GETQUOTAROOT", &S::get_quota_root, "QUOTA", 'u'},
      {"GETQUOTA", &S::get_quota, "QUOTA", 'u'},
      {"MYRIGHTS", &S::my_rights, "ACL", 'u'},
      {"CHECK", &S::check, "", 's'},
      {"CLOSE", &S::close, "", 's'},
      {"UNSELECT", &S::unselect, "UNSELECT", 's'},
      {"EXPUNGE", &S::expunge, "", 's'},
      {"SEARCH", &S::search, "", 's'},
      {"FETCH", &S::fetch, "", 's'},
      {"STORE", &S::store, "", 's'},
      {"COPY", &S::copy, "", 's'},
      {"MOVE", &S::move, "MOVE", 's'},
      {"SORT", &S::sort, "SORT", 's'},
      {"THREAD", &S::thread, "", 's'},
      {"UID EXPUNGE", &S::expunge, "UIDPLUS", 's'},
      {"UID SEARCH", &S::search, "", 's'},
      {"UID FETCH", &S::fetch, "", 's'},
      {"UID STORE", &S::store, "", 's'},
      {"UID COPY", &S::copy, "", 's'},
      {"UID MOVE", &S::move, "MOVE", 's'},
      {"UID SORT", &S::sort, "SORT", 's'},
      {"UID THREAD", &S::thread, "", 's'},
  };
  return table;
}

void Session::run_command(std::string_view text) {
  if (!auth_mechanism_.empty()) {
    auto reply = auth_line(text);
    if (!reply.pending) finish(reply);
    return;
  }
  if (idling_) {
    idling_ = false;
    finish(iequals(trim(text), "DONE") ? Reply::ok("Idle completed") : Reply::bad("Expected DONE"));
    return;
  }
  auto space = text.find(' ');
  tag_ = std::string(text.substr(0, space));
  bool tag_valid = !tag_.empty() && tag_.find_first_of("(){%*\"\\+") == std::string::npos;
  std::string_view rest = space == std::string_view::npos ? std::string_view() : text.substr(space + 1);
  auto name_end = std::min(rest.find(' '), rest.size());
  name_ = upper(rest.substr(0, name_end));
  rest.remove_prefix(name_end);
  uid_ = name_ == "UID";
  if (uid_ && rest.starts_with(' ')) {
    auto end = std::min(rest.find(' ', 1), rest.size());
    name_ += " " + upper(rest.substr(1, end - 1));
    rest.remove_prefix(end);
  }
  if (!tag_valid) {
    tag_ = "*";
    name_.clear();
  }
  begin(find_command(name_), rest);
}

void Session::begin(const Command* command, std::string_view arguments) {
  command_ = command;
  if (command == nullptr) name_ = "UNKNOWN";
  if (arguments.starts_with(' ')) arguments.remove_prefix(1);
  arguments_ = arguments;
  server_.count_command(user_counts_, name_);
  log(arguments);
  in_command_ = true;
  if (apply_rules(name_)) execute();
}

void Session::log(std::string_view arguments) {
  if (server_.options().log_entries_max == 0) return;
  std::string shown;
  if (name_ == "LOGIN" || name_ == "AUTHENTICATE") {
    auto end = name_ == "LOGIN" ? 0 : std::min(arguments.find(' '), arguments.size());
    shown = arguments.substr(0, end);
    if (end < arguments.size()) shown += end > 0 ? " <redacted>" : "<redacted>";
  } else {
    // "{n}" CRLF and its n octets become {n}<redacted>.
    std::size_t at = 0;
    for (auto open = arguments.find("}\r\n"); open != std::string_view::npos;
         open = arguments.find("}\r\n", at)) {
      auto brace = arguments.rfind('{', open);
      auto digits = arguments.substr(brace + 1, open - brace - 1);
      if (digits.ends_with('+')) digits.remove_suffix(1);
      shown += arguments.substr(at, open + 1 - at);
      shown += "<redacted>";
      at = std::min(arguments.size(), open + 3 + to_number(digits).value_or(0));
    }
    shown += arguments.substr(at);
  }
  server_.log_command({connection_.id(), user_ == nullptr ? "" : user_->name, name_,
                       fmt::format("{} {}{}{}", tag_, name_, shown.empty() ? "" : " ", shown)});
}

// False: the command waits or is dropped.
bool Session::apply_rules(std::string_view event) {
  std::uint32_t delay_ms = server_.latency_ms();
  for (const Rule& rule : server_.take_rules(event, user_ == nullptr ? std::string_view() : user_->name)) {
    switch (rule.action) {
      case Action::bye:
        untagged("BYE " + rule.text);
        state_ = State::logout;
        connection_.close_when_sent();
        return false;
      case Action::drop:
        state_ = State::logout;
        connection_.abort();
        return false;
      case Action::hang:
        state_ = State::logout;
        connection_.hang();
        return false;
      case Action::delay: delay_ms = static_cast<std::uint32_t>(rule.value); break;
      default: run_rule(rule, reply_override_); break;
    }
  }
  if (delay_ms == 0) return true;
  delayed_ = true;
  connection_.wake_after(delay_ms);
  return false;
}

void Session::run_rule(const Rule& rule, std::string& reply) {
  switch (rule.action) {
    case Action::reply: reply = rule.text; break;
    case Action::drop_at:
    case Action::hang_at:
    case Action::drop_in_literal:
    case Action::hang_in_literal: connection_.arm(rule.action, rule.value); break;
    case Action::before: line(rule.text); break;
    case Action::after: before_finish_ += rule.text + "\r\n"; break;
    case Action::expunge_at:
      expunge_at_ = rule.value + 1;
      expunge_uid_ = static_cast<std::uint32_t>(to_number(rule.text).value_or(0));
      break;
    case Action::huge_literal:
      connection_.write(fmt::format("* 1 FETCH (UID 1 BODY[] {{{}}}\r\n", rule.value));
      connection_.fill(rule.value);
      connection_.write(")\r\n");
      break;
    case Action::run: server_.control(rule.text); break;
    case Action::run_after: run_after_ = rule.text; break;
    default: break;  // connection events, and what apply_rules() did itself
  }
}

void Session::on_timer() {
  if (!delayed_) return;
  delayed_ = false;
  execute();
  pump();
}

void Session::execute() {
  if (!reply_override_.empty()) {
    finish({std::exchange(reply_override_, {})});
    return;
  }
  bool allowed = command_ != nullptr && (command_->needs.empty() || offers(command_->needs));
  if (allowed && command_->state == 'n') allowed = state_ == State::not_authenticated;
  if (allowed && command_->state == 'u') allowed = user_ != nullptr;
  if (allowed && command_->state == 's') allowed = mailbox_ != nullptr;
  if (!allowed) {
    finish(Reply::bad(command_ == nullptr ? "Unknown command" : "Not possible now"));
    return;
  }
  std::string arguments = std::move(arguments_);
  Cursor cursor(arguments);
  auto reply = (this->*command_->handler)(cursor);
  if (!reply.pending)
    finish(reply);
  else
    server_.changed();  // IDLE has begun
}

std::string Session::status_line(const Reply& reply) const {
  std::string_view text = reply.line;
  const Quirks& quirks = server_.options().quirks;
  std::string out(text);
  if (quirks.no_text) {
    auto code = text.find("] ");
    auto space = text.find(' ');
    bool has_code = code != std::string_view::npos && text.substr(space + 1, 1) == "[";
    out = text.substr(0, has_code ? code + 1 : space);
  }
  if (quirks.lower_case)
    for (std::size_t i = 0; i < out.size() && out[i] != ' '; ++i) out[i] = lower(out.substr(i, 1))[0];
  if (quirks.extra_spaces) out += ' ';
  return out;
}

void Session::finish(const Reply& reply) {
  if (!run_after_.empty()) server_.control(std::exchange(run_after_, {}));
  bool sequence_command =
      name_ == "FETCH" || name_ == "STORE" || name_ == "SEARCH" || name_ == "SORT" || name_ == "THREAD";
  if (mailbox_) flush_updates(!sequence_command);
  if (!before_finish_.empty()) connection_.write(std::exchange(before_finish_, {}));
  line(fmt::format("{} {}", tag_, status_line(reply)));
  if (fetch_ == nullptr) connection_.disarm();
  expunge_at_ = 0;
  in_command_ = false;
  if (mailbox_ && mailbox_->deleted) {
    untagged("BYE Mailbox was deleted");
    state_ = State::logout;
    connection_.close_when_sent();
  }
  server_.changed();
}

void Session::on_drained() {
  if (fetch_ == nullptr) return;
  run_fetch();
  pump();
}

}  // namespace postern::testimapd
