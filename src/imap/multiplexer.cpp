// The multiplexer: queues and rules. Bounded by MultiplexerLimits and, for what is read, by limits.hpp; memory is
// that of the commands waiting, of the output not taken yet and of one incomplete response.
#include "postern/imap/multiplexer.hpp"

#include <algorithm>
#include <list>
#include <utility>

#include "imap/ascii.hpp"
#include "imap/wiped_append.hpp"
#include "postern/imap/limits.hpp"

namespace postern::imap {
namespace {

// waiting: in the queue. sending: begun, the server's "+" is awaited before the next chunk. streaming: octets of the
// literal behind the chunks are being sent. sent: all written, the tagged response is awaited. idling: as sent, and
// "+" has come. ending: as idling, and DONE is written.
enum class Phase : std::uint8_t { waiting, sending, streaming, sent, idling, ending };

struct Entry {
  CommandId id = 0;
  std::string tag;
  Command command;
  CommandSink* sink = nullptr;  // null: abandoned
  Phase phase = Phase::waiting;
  std::size_t next_chunk = 0;
  std::uint64_t literal_left = 0;  // of the streamed literal
  bool finish_wanted = false;      // IDLE: end it as soon as possible
  std::error_code lost;            // why a response this command expects had to be skipped

  bool is(std::string_view name) const { return is_word(command.name, name); }
  bool idle() const { return is("IDLE"); }
  // A "+" is theirs without anybody's saying so, so that nothing else may be in flight.
  bool has_continuation() const {
    return idle() || is("STARTTLS") || starts_with_word(command.name, "AUTHENTICATE");
  }
  // DONE is written only when output is taken: until then the server may have ended the IDLE by itself.
  bool wants_done() const { return phase == Phase::idling && finish_wanted; }
};

using Entries = std::list<Entry>;  // empty, it holds no heap memory

constexpr Expect without_correlator =
    Expect::search | Expect::sort | Expect::thread | Expect::list | Expect::status | Expect::other;

bool conflict(Expect a, Expect b) {
  const auto both = static_cast<std::uint16_t>(a) & static_cast<std::uint16_t>(b);
  return any(static_cast<Expect>(both), without_correlator);
}

struct KindOf {
  Expect operator()(const FetchResponse&) const { return Expect::fetch; }
  Expect operator()(const VanishedResponse& r) const { return r.earlier ? Expect::fetch : Expect::none; }
  Expect operator()(const SearchResponse&) const { return Expect::search; }
  Expect operator()(const SortResponse&) const { return Expect::sort; }
  Expect operator()(const ThreadResponse&) const { return Expect::thread; }
  Expect operator()(const ListResponse&) const { return Expect::list; }
  Expect operator()(const StatusDataResponse&) const { return Expect::status; }
  Expect operator()(const EsearchResponse&) const { return Expect::esearch; }
  Expect operator()(const CapabilityResponse&) const { return Expect::other; }
  Expect operator()(const EnabledResponse&) const { return Expect::other; }
  Expect operator()(const NamespaceResponse&) const { return Expect::other; }
  Expect operator()(const IdResponse&) const { return Expect::other; }
  Expect operator()(const QuotaResponse&) const { return Expect::other; }
  Expect operator()(const QuotaRootResponse&) const { return Expect::other; }
  Expect operator()(const MyRightsResponse&) const { return Expect::other; }
  Expect operator()(const MetadataResponse&) const { return Expect::other; }
  Expect operator()(const UnknownResponse&) const { return Expect::other; }
  // What tells of the mailbox or the server rather than answering a command.
  Expect operator()(const StatusResponse&) const { return Expect::none; }
  Expect operator()(const Continuation&) const { return Expect::none; }
  Expect operator()(const FlagsResponse&) const { return Expect::none; }
  Expect operator()(const ExistsResponse&) const { return Expect::none; }
  Expect operator()(const RecentResponse&) const { return Expect::none; }
  Expect operator()(const ExpungeResponse&) const { return Expect::none; }
};

// The kind of a response that couldn't be read, where missing it would turn into a wrong answer.
Expect kind_of_skipped(std::string_view head) {
  if (!head.starts_with('*')) return Expect::none;
  head.remove_prefix(1);
  while (head.starts_with(' ')) head.remove_prefix(1);
  const std::string_view name = head.substr(0, head.find_first_of(" (\r\n"));
  if (is_word(name, "SEARCH")) return Expect::search;
  if (is_word(name, "SORT")) return Expect::sort;
  if (is_word(name, "THREAD")) return Expect::thread;
  if (is_word(name, "ESEARCH")) return Expect::esearch;
  return Expect::none;
}

std::string refusal_text(const StatusResponse& r) {
  if (r.code.name.empty()) return r.text;
  return "[" + r.code.name + "] " + r.text;
}

}  // namespace

struct Multiplexer::State {
  State(UntaggedObserver* o, MultiplexerLimits l) : observer(o), limits(l) {}

  // greeting: it is awaited. open. broken: a fatal error was reported. closed: fail_all() was called.
  enum class Link : std::uint8_t { greeting, open, broken, closed };

  UntaggedObserver* observer;
  MultiplexerLimits limits;
  Fragmenter fragmenter;
  Link link = Link::greeting;
  std::optional<StatusResponse> greeting;
  bool greeting_begun = false;
  std::size_t greeting_bytes = 0;  // and empty lines before it
  Entries waiting, in_flight;
  std::string output;
  bool output_is_secret = false;
  bool taken_was_secret = false;
  CommandId last_id = 0;
  std::uint64_t skipped = 0;
  std::optional<Error> bye;
  bool starttls_done = false;

  void write(std::string_view octets, bool secret) {
    output_is_secret = output_is_secret || secret;
    if (output_is_secret) {
      wiped_append(output, octets);
    } else {
      output += octets;
    }
  }

  bool is_in(Phase phase) const { return !in_flight.empty() && in_flight.back().phase == phase; }
  bool awaits_literal() const { return is_in(Phase::sending); }

  bool may_start(const Entry& entry) const {
    if (link != Link::open || awaits_literal() || is_in(Phase::streaming)) return false;
    if (in_flight.empty()) return true;
    if (in_flight.size() >= limits.in_flight || entry.has_continuation()) return false;
    // Behind DONE the server reads on (RFC 2177): the IDLE that it ends bars nothing. What the server says about the
    // mailbox before the IDLE's tagged response comes unasked, as at any other time.
    return std::none_of(in_flight.begin(), in_flight.end(), [&](const Entry& other) {
      return other.phase != Phase::ending && (entry.command.exclusive || other.command.exclusive ||
                                              conflict(entry.command.expect, other.command.expect));
    });
  }

  void write_chunk(Entry& entry) {
    std::string& chunk = entry.command.chunks[entry.next_chunk++];
    const bool last = entry.next_chunk == entry.command.chunks.size();
    if (entry.command.secret) {
      write(chunk, true);
      wipe_and_free(chunk);
    } else if (output.empty() && !output_is_secret && chunk.size() > 4096) {
      output = std::move(chunk);  // a big literal isn't copied
    } else {
      write(chunk, false);
      std::string().swap(chunk);
    }
    entry.phase = last ? Phase::sent : Phase::sending;
    if (!last) return;
    const auto& command = entry.command;
    entry.literal_left = command.streamed_octets;
    if (command.streamed_octets == 0)
      write("\r\n", false);
    else
      entry.phase = command.streamed_waits ? Phase::sending : Phase::streaming;
  }

  // What there is of the streamed literal. It is the last command that was begun.
  void write_literal() {
    Entry& entry = in_flight.back();
    if (entry.sink == nullptr) return;
    std::string piece = entry.sink->on_literal(entry.literal_left);
    if (piece.size() > entry.literal_left) piece.resize(static_cast<std::size_t>(entry.literal_left));
    entry.literal_left -= piece.size();
    if (output.empty() && !output_is_secret)
      output = std::move(piece);  // a big one isn't copied
    else
      write(piece, false);
    if (entry.literal_left > 0) return;
    write("\r\n", false);
    entry.phase = Phase::sent;
  }

  void stage() {
    if (link != Link::open) return;
    if (is_in(Phase::streaming)) write_literal();
    for (Entry& entry : in_flight) {
      if (!entry.wants_done()) continue;
      write("DONE\r\n", false);
      entry.phase = Phase::ending;
    }
    while (!waiting.empty() && may_start(waiting.front())) {
      in_flight.splice(in_flight.end(), waiting, waiting.begin());
      Entry& entry = in_flight.back();
      write(entry.tag, false);
      write(" ", false);
      write_chunk(entry);
      if (is_in(Phase::streaming)) write_literal();
    }
  }

  void route(Response& response);
  void route_esearch(Response& response, const std::string& tag);
  void give(Entry& entry, Response& response) {
    if (entry.sink) entry.sink->on_data(response);
  }
  void mark_lost(Expect kind, Errc why);
  Result<> handle(std::string_view text);
  Result<> handle_greeting(std::string_view text);
  Result<> handle_untagged(Response& response);
  Result<> handle_continuation(const Continuation& continuation);
  Result<> handle_tagged(StatusResponse& response);
  static void tell_end(Entry& entry, StatusResponse& response);
  Result<> broken(Error error) {
    if (link != Link::closed) link = Link::broken;
    return fail(std::move(error));
  }
};

// An ESEARCH names its command by the tag. Servers that leave the tag out are understood as long as only one
// command can be meant.
void Multiplexer::State::route_esearch(Response& response, const std::string& tag) {
  Entry* found = nullptr;
  std::size_t candidates = 0;
  for (Entry& entry : in_flight) {
    if (!any(entry.command.expect, Expect::esearch)) continue;
    if (!tag.empty() && !same_word(entry.tag, tag)) continue;
    found = &entry;
    ++candidates;
  }
  if (candidates == 1) {
    give(*found, response);
  } else if (candidates > 1) {
    ++skipped;
    mark_lost(Expect::esearch, Errc::syntax);
  }
}

void Multiplexer::State::route(Response& response) {
  if (const auto* esearch = std::get_if<EsearchResponse>(&response)) {
    return route_esearch(response, std::string(esearch->tag));
  }
  const Expect kind = std::visit(KindOf{}, response);
  for (auto it = in_flight.begin(); it != in_flight.end();) {
    Entry& entry = *it;
    const bool all_of_it = entry.command.exclusive && any(entry.command.expect, Expect::other);
    if (kind == Expect::none ? all_of_it : any(entry.command.expect, kind)) {
      give(entry, response);
      if (link == Link::closed) return;  // from within the sink: the entries are gone
      if (kind != Expect::fetch) return;
    }
    ++it;
  }
}

void Multiplexer::State::mark_lost(Expect kind, Errc why) {
  for (Entry& entry : in_flight) {
    if (any(entry.command.expect, kind)) entry.lost = why;
  }
}

Result<> Multiplexer::State::handle_greeting(std::string_view text) {
  if (text.find_first_not_of(" \t") == std::string_view::npos) return {};  // an empty line before it
  auto response = parse_response(text);
  auto* status = response ? std::get_if<StatusResponse>(&*response) : nullptr;
  if (!status || !status->tag.empty()) return fail(Errc::not_imap, "no greeting");
  greeting = std::move(*status);
  if (greeting->status != Status::ok && greeting->status != Status::preauth) {
    return fail(Errc::bye, refusal_text(*greeting));
  }
  link = Link::open;
  return {};
}

Result<> Multiplexer::State::handle_untagged(Response& response) {
  if (const auto* status = std::get_if<StatusResponse>(&response); status && status->status == Status::bye) {
    const auto logout = [](const Entry& e) { return e.is("LOGOUT"); };
    // What else has come still counts: the error is reported behind it.
    if (!bye && std::none_of(in_flight.begin(), in_flight.end(), logout)) {
      bye = Error(make_error_code(Errc::bye), refusal_text(*status));
    }
  }
  if (observer) observer->on_untagged(response);
  if (link != Link::closed) route(response);
  return {};
}

Result<> Multiplexer::State::handle_continuation(const Continuation& continuation) {
  if (awaits_literal()) {
    Entry& sending = in_flight.back();
    if (sending.next_chunk == sending.command.chunks.size())
      sending.phase = Phase::streaming;
    else
      write_chunk(sending);
    return {};
  }
  if (in_flight.size() != 1 || !in_flight.front().command.exclusive) {
    return fail(Errc::out_of_step, "continuation");
  }
  Entry& entry = in_flight.front();
  if (entry.idle()) {
    if (entry.phase == Phase::sent) entry.phase = Phase::idling;
    if (entry.sink) entry.sink->on_continuation(continuation);
    return {};
  }
  // An AUTHENTICATE that nobody waits for any more is cancelled (RFC 3501, 6.2.2).
  std::optional<std::string> answer = entry.sink ? entry.sink->on_continuation(continuation) : "*";
  if (link == Link::closed || !answer) return {};
  if (answer->find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
    wipe_and_free(*answer);
    *answer = "*";
  }
  write(*answer, entry.command.secret);
  write("\r\n", false);
  if (entry.command.secret) wipe_and_free(*answer);
  return {};
}

Result<> Multiplexer::State::handle_tagged(StatusResponse& response) {
  const auto it = std::find_if(in_flight.begin(), in_flight.end(),
                               [&](const Entry& e) { return same_word(e.tag, response.tag); });
  if (it == in_flight.end()) return fail(Errc::out_of_step, "tag of no command");
  // OK to a command of which only a part was sent: what is left of it would be read as commands.
  const bool in_literal = it->phase == Phase::streaming;
  if ((in_literal || it->phase == Phase::sending) && response.status == Status::ok) {
    return fail(Errc::out_of_step, it->command.name + ": OK before its literal");
  }
  Entries ended;
  ended.splice(ended.begin(), in_flight, it);
  Entry& entry = ended.front();
  if (entry.command.secret) wipe(entry.command);
  if (entry.is("STARTTLS") && response.status == Status::ok) starttls_done = true;
  if (entry.sink) tell_end(entry, response);
  // The server goes on reading the literal, of which the rest won't come.
  if (in_literal) return fail(Errc::out_of_step, entry.command.name + ": refused within its literal");
  return {};
}

void Multiplexer::State::tell_end(Entry& entry, StatusResponse& response) {
  switch (response.status) {
    case Status::ok:
    case Status::preauth:
      if (entry.lost) {
        entry.sink->on_done(fail(Error(entry.lost, entry.command.name)), nullptr);
      } else {
        entry.sink->on_done(std::move(response), nullptr);
      }
      break;
    case Status::no: entry.sink->on_done(fail(Errc::no, refusal_text(response)), &response); break;
    case Status::bad: entry.sink->on_done(fail(Errc::bad, refusal_text(response)), &response); break;
    case Status::bye: entry.sink->on_done(fail(Errc::bye, refusal_text(response)), &response); break;
  }
}

Result<> Multiplexer::State::handle(std::string_view text) {
  if (link == Link::greeting) return handle_greeting(text);
  auto response = parse_response(text);
  if (!response) {
    ++skipped;
    mark_lost(kind_of_skipped(text),
              response.error().code == Errc::too_large ? Errc::too_large : Errc::syntax);
    return {};
  }
  if (const auto* continuation = std::get_if<Continuation>(&*response))
    return handle_continuation(*continuation);
  auto* status = std::get_if<StatusResponse>(&*response);
  if (status && !status->tag.empty()) return handle_tagged(*status);
  return handle_untagged(*response);
}

Multiplexer::Multiplexer(UntaggedObserver* observer, MultiplexerLimits limits)
    : state_(std::make_unique<State>(observer, limits)) {}

Multiplexer::~Multiplexer() {
  for (Entries* entries : {&state_->in_flight, &state_->waiting}) {
    for (Entry& entry : *entries) {
      if (entry.command.secret) wipe(entry.command);
    }
  }
  if (state_->output_is_secret) wipe_and_free(state_->output);
}

Result<CommandId> Multiplexer::submit(Command command, CommandSink& sink) {
  const auto refuse = [&](Errc why) {
    if (command.secret) wipe(command);
    return fail(why, command.name);
  };
  if (state_->link == State::Link::closed) return refuse(Errc::closed);
  if (state_->waiting.size() >= state_->limits.waiting) return refuse(Errc::too_large);
  if (command.chunks.empty()) return refuse(Errc::unencodable);
  Entry& entry = state_->waiting.emplace_back();
  entry.id = ++state_->last_id;
  entry.tag = tag_of(entry.id);
  entry.command = std::move(command);
  if (entry.has_continuation()) entry.command.exclusive = true;
  entry.sink = &sink;
  return entry.id;
}

std::string Multiplexer::tag_of(CommandId id) { return "a" + std::to_string(id); }

void Multiplexer::abandon(CommandId id) {
  const auto same = [id](const Entry& e) { return e.id == id; };
  Entries& waiting = state_->waiting;
  if (const auto it = std::find_if(waiting.begin(), waiting.end(), same); it != waiting.end()) {
    if (it->command.secret) wipe(it->command);
    waiting.erase(it);
    return;
  }
  Entries& in_flight = state_->in_flight;
  if (const auto it = std::find_if(in_flight.begin(), in_flight.end(), same); it != in_flight.end()) {
    it->sink = nullptr;
    it->finish_wanted = it->idle();
  }
}

void Multiplexer::finish_idle(CommandId id) {
  for (Entries* entries : {&state_->in_flight, &state_->waiting}) {
    for (Entry& entry : *entries) {
      if (entry.id == id && entry.idle()) entry.finish_wanted = true;
    }
  }
}

std::string Multiplexer::take_output() {
  state_->stage();
  state_->taken_was_secret = std::exchange(state_->output_is_secret, false);
  return std::exchange(state_->output, {});
}

bool Multiplexer::output_secret() const { return state_->taken_was_secret; }

bool Multiplexer::wants_output() const {
  if (state_->link != State::Link::open) return false;
  if (!state_->output.empty() || in_streamed_literal()) return true;
  if (!state_->waiting.empty() && state_->may_start(state_->waiting.front())) return true;
  return std::any_of(state_->in_flight.begin(), state_->in_flight.end(),
                     [](const Entry& e) { return e.wants_done(); });
}

bool Multiplexer::in_streamed_literal() const { return state_->is_in(Phase::streaming); }

Result<> Multiplexer::feed(std::string_view octets) {
  State& s = *state_;
  using Link = State::Link;
  if (s.link == Link::broken || s.link == Link::closed) return fail(Errc::closed);
  if (s.link == Link::greeting) {
    const std::size_t first = octets.find_first_not_of(" \t\r\n");
    if (!s.greeting_begun && first != std::string_view::npos && octets[first] != '*') {
      return s.broken(Error(make_error_code(Errc::not_imap), "no greeting"));
    }
    s.greeting_begun = s.greeting_begun || first != std::string_view::npos;
    s.greeting_bytes += octets.size();
  }
  for (;;) {
    auto next = s.fragmenter.next(octets);
    if (!next) {
      ++s.skipped;
      s.mark_lost(kind_of_skipped(s.fragmenter.skipped_head()), Errc::too_large);
      continue;
    }
    if (!*next) break;
    if (auto ok = s.handle(**next); !ok) return s.broken(ok.error());
    if (s.link == Link::closed) return fail(Errc::closed);
    if (std::exchange(s.starttls_done, false) && !octets.empty()) {
      return s.broken(Error(make_error_code(Errc::out_of_step), "octets behind the OK to STARTTLS"));
    }
  }
  if (s.link == Link::greeting && s.greeting_bytes > greeting_bytes_max) {
    return s.broken(Error(make_error_code(Errc::not_imap), "greeting too long"));
  }
  if (s.bye) return s.broken(*s.bye);
  return {};
}

const std::optional<StatusResponse>& Multiplexer::greeting() const { return state_->greeting; }

void Multiplexer::trim_greeting() {
  if (!state_->greeting) return;
  state_->greeting->code.value = std::monostate();
  std::string().swap(state_->greeting->code.arguments);
}

void Multiplexer::fail_all(const Error& error) {
  State& s = *state_;
  // A copy, since the caller's may belong to a sink that goes.
  const Error reason = error;  // NOLINT(performance-unnecessary-copy-initialization)
  s.link = State::Link::closed;
  s.fragmenter = Fragmenter();
  if (std::exchange(s.output_is_secret, false)) wipe_and_free(s.output);
  std::string().swap(s.output);
  // One by one: a sink may abandon others that have not been told yet.
  while (!s.in_flight.empty() || !s.waiting.empty()) {
    Entries& from = s.in_flight.empty() ? s.waiting : s.in_flight;
    Entries ended;
    ended.splice(ended.begin(), from, from.begin());
    Entry& entry = ended.front();
    if (entry.command.secret) wipe(entry.command);
    if (entry.sink) entry.sink->on_done(fail(reason), nullptr);
  }
}

std::size_t Multiplexer::in_flight() const { return state_->in_flight.size(); }
std::size_t Multiplexer::waiting() const { return state_->waiting.size(); }
std::uint64_t Multiplexer::skipped_responses() const { return state_->skipped; }

}  // namespace postern::imap
