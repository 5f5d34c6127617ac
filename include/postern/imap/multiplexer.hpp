// One IMAP connection's commands: waiting, staged, written, done. No I/O and no clock.
//
// Owned by the connection's driver; one thread. Commands are pipelined by tag; the driver writes what
// take_output() gives and feeds what it reads. A cancelled command that was already sent is abandoned:
// it keeps its place so that answers stay aligned, and its data goes nowhere.
//
// Commands start in the order of submission. The first one that has to wait makes those behind it wait:
//   an exclusive command, for everything in flight to end (and nothing starts beside it), except that both it and
//   what comes behind it may follow right behind the DONE of an IDLE (but not AUTHENTICATE, IDLE, STARTTLS);
//   one that expects data without a correlator (SEARCH, SORT, THREAD, LIST, STATUS, other), for the one in
//   flight that expects the same kind; and any, for the "+" to a literal that is being sent, and its end.
// AUTHENTICATE, IDLE, STARTTLS and LOGOUT are known by their Command::name ("AUTHENTICATE PLAIN" and so on); the
// first three are always exclusive. A multiplexer serves one connection: after fail_all() nothing can be submitted.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "postern/base/error.hpp"
#include "postern/imap/command.hpp"
#include "postern/imap/parser.hpp"
#include "postern/imap/types.hpp"

namespace postern::imap {

// Receives one command's answer. The multiplexer calls it from feed() and fail_all(); from there it may
// submit(), abandon(), finish_idle(), and fail_all(), but not feed(), nor destroy the multiplexer.
class CommandSink {
 public:
  virtual ~CommandSink() = default;
  // Untagged data that this command expects. FETCH, and VANISHED (EARLIER), reach every sink that expects
  // FETCH, so one moves out of it only what is its own. An exclusive command (SELECT) that expects `other`
  // gets FLAGS, EXISTS, RECENT, EXPUNGE, VANISHED and untagged OK, NO and BAD as well.
  virtual void on_data(Response& response) { (void)response; }
  // "+": for AUTHENTICATE and IDLE, i.e. when all chunks have been sent.
  // The answer, without CRLF, sent at once; nullopt sends nothing (IDLE: end it later with finish_idle()).
  virtual std::optional<std::string> on_continuation(const Continuation& continuation) {
    (void)continuation;
    return std::nullopt;
  }
  // The next octets of the command's streamed literal, of which `left` have yet to be sent, and not more. None: they
  // aren't there yet; whoever has them later lets the driver take output again. Called from take_output(), and must
  // call nothing of the multiplexer.
  virtual std::string on_literal(std::uint64_t left) {
    (void)left;
    return {};
  }
  // The end: a tagged OK, or Error{no|bad (context = code and text)|closed|bye}. Called exactly once,
  // unless abandoned. A NO or BAD carries its StatusResponse, too. Where a SEARCH, SORT, THREAD or ESEARCH
  // response had to be skipped, a tagged OK would make its command look as if it had found nothing: that is
  // Error{too_large|syntax}. Skipped FETCH and LIST responses are merely missing.
  virtual void on_done(Result<StatusResponse> result, const StatusResponse* refusal) = 0;
};

// Sees every untagged response (EXISTS, EXPUNGE, FETCH, ...) before the sinks do.
class UntaggedObserver {
 public:
  virtual ~UntaggedObserver() = default;
  virtual void on_untagged(Response& response) = 0;
};

using CommandId = std::uint64_t;

struct MultiplexerLimits {
  std::size_t in_flight = 32;  // commands written and not answered
  std::size_t waiting = 10'000;
};

class Multiplexer {
 public:
  // `observer` may be null; it must outlive the multiplexer.
  explicit Multiplexer(UntaggedObserver* observer, MultiplexerLimits limits = {});
  ~Multiplexer();

  // The sink must live until on_done or abandon(). Errc::too_large when too many wait.
  Result<CommandId> submit(Command command, CommandSink& sink);
  static std::string tag_of(CommandId id);
  // The sink is no longer called. A command not yet written is dropped. One whose streamed literal hasn't been sent
  // whole bars the connection: the driver has to close it.
  void abandon(CommandId id);
  // Ends a running IDLE by "DONE"; no effect if `id` is not an IDLE that has been answered by "+" yet
  // (then it is ended as soon as the "+" comes).
  void finish_idle(CommandId id);

  // Octets to write now, moved out; empty if none, and while the greeting is awaited. Each command leaves in
  // one piece. They may hold a credential (output_secret()): the driver wipes them once they are written.
  std::string take_output();
  bool output_secret() const;  // about what take_output() returned last
  bool wants_output() const;
  bool in_streamed_literal() const;  // one is being sent, as its octets come

  // Takes octets read. An error is fatal for the connection (out_of_step, bye, not_imap): nothing is written
  // any more, and fail_all() is the driver's next call. One broken response that can be skipped is counted
  // (skipped_responses()) and not an error. BYE is none after LOGOUT. Octets behind the OK to STARTTLS, which
  // nobody has authenticated, are out_of_step.
  Result<> feed(std::string_view octets);
  // The greeting must be taken before any command is sent; empty until it has come.
  const std::optional<StatusResponse>& greeting() const;
  // Drops what its response code brought (a list of capabilities), which is of no use after the login.
  void trim_greeting();

  // The connection has ended: every sink gets on_done(error) in order of submission. submit() is refused
  // (Errc::closed) from then on.
  void fail_all(const Error& error);

  std::size_t in_flight() const;
  std::size_t waiting() const;
  bool idle() const { return in_flight() == 0 && waiting() == 0; }
  std::uint64_t skipped_responses() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace postern::imap
