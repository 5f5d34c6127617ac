// One account's IMAP connections, and how the mail layer gets at them.
//
// A mailbox is selected on at most one connection of the pool, so that one observer hears everything
// about it. Operations on the mailbox that is selected run side by side, pipelined; one for another
// mailbox takes an idle connection, opens a further one (up to connections_per_account) when all are
// busy, or waits its turn (FIFO). When nothing runs, the connection idles (IDLE) where it is.
//
// Whoever holds a lease of select() must not wait for another mailbox's: two that do so may wait for each
// other. any() never waits for leases. A pool and its leases belong to one loop; leases may outlive the pool
// and then fail. Bounds: connections_per_account, MultiplexerLimits, pool_waiting_max, acquire_timeout.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "postern/base/error.hpp"
#include "postern/imap/capabilities.hpp"
#include "postern/imap/command.hpp"
#include "postern/imap/types.hpp"
#include "postern/io/loop.hpp"
#include "postern/io/task.hpp"
#include "postern/session/server.hpp"

namespace postern::session {

inline constexpr std::size_t pool_waiting_max = 1'000;  // who waits for a connection of one account
// How long select() and any() wait at most for their turn (not counting the time for a login).
inline constexpr Duration acquire_timeout = std::chrono::seconds(120);

struct SelectInfo {                                          // RFC 3501, 6.3.1; RFC 7162
  std::uint32_t exists = 0, uid_validity = 0, uid_next = 0;  // uid_next 0: not told
  std::optional<std::uint64_t> highest_modseq;               // nullopt: NOMODSEQ or no CONDSTORE
  imap::Flags flags, permanent_flags;
  bool read_only = false;
  std::string mailbox_id;     // OBJECTID
  bool qresync_used = false;  // VANISHED (EARLIER) and FETCH since the given modseq have been delivered
};

struct SelectParameters {  // what the observer already knows, for QRESYNC
  std::uint32_t uid_validity = 0;
  std::uint64_t modseq = 0;
  std::string known_uids;  // may be empty
};

// Hears what the server says about one selected mailbox. Called on the loop, between suspension points
// of whoever holds a lease; must not suspend. Events before on_selected() of a new selection belong to it
// (QRESYNC data come before the tagged OK): begin_select() marks where they start.
class MailboxObserver {
 public:
  virtual ~MailboxObserver() = default;
  virtual std::optional<SelectParameters> select_parameters() const { return std::nullopt; }
  virtual void begin_select() = 0;
  virtual void on_selected(const SelectInfo& info) = 0;
  virtual void on_exists(std::uint32_t count) = 0;
  virtual void on_expunge(std::uint32_t seq) = 0;
  virtual void on_vanished(const imap::VanishedResponse& vanished) = 0;
  // Solicited or not; with UID where the server sent it.
  virtual void on_fetch(const imap::FetchData& data) = 0;
  virtual void on_flags(const imap::Flags& flags) { (void)flags; }
  virtual void on_modseq(std::uint64_t highest) { (void)highest; }  // OK [HIGHESTMODSEQ n]
  // No more events until the next begin_select(): another mailbox was selected there, or the connection ended.
  virtual void on_deselected() = 0;
};

// Untagged data outside of a mailbox, with NOTIFY: STATUS and LIST of others. Also hears what commands
// asked for (STATUS always, LIST unless a command for it is in flight).
class AccountObserver {
 public:
  virtual ~AccountObserver() = default;
  virtual void on_status(const imap::StatusDataResponse& status) { (void)status; }
  virtual void on_list(const imap::ListResponse& list) { (void)list; }
  // After each login.
  virtual void on_connected(const imap::CapabilitySet& capabilities) { (void)capabilities; }
  virtual void on_disconnected(const Error& reason) { (void)reason; }  // no connection is up any more
  virtual void on_connection_lost() {}                                 // one of them has ended
  // Too much has happened at once for the server to go on with what NOTIFY asked for (RFC 5465, 5.8): it tells nothing
  // more, on that connection, until it is asked again.
  virtual void on_notification_overflow() {}
  // About the mailbox that is selected where its observer has been forgotten: EXISTS, EXPUNGE, VANISHED, FETCH.
  virtual void on_unheard(const std::string& encoded_mailbox, const imap::Response& response) {
    (void)encoded_mailbox, (void)response;
  }
};

// The right to send commands on a connection with a certain mailbox selected. Movable; ends by itself.
class Lease {
 public:
  using OnData = std::function<void(imap::Response&)>;

  Lease() = default;
  Lease(Lease&&) noexcept;
  Lease& operator=(Lease&&) noexcept;
  ~Lease();

  const imap::CapabilitySet& capabilities() const;
  const imap::Tiers& tiers() const;
  const imap::StatusResponse& greeting() const;
  // Sends one command and waits for its end. Data it expects go to on_data (on the loop, must not
  // suspend). Tagged NO/BAD: imap::Errc::no / bad, and `refusal` (if given) has the response.
  // connection_lost: the command may have been written and its outcome is unknown (for a repeatable one
  // also when it was not written); take a new lease. unavailable: a command that is not repeatable was
  // certainly not written. Data of FETCH responses to other commands in flight reach on_data, too: check
  // the UID. Destroying the waiting coroutine abandons the command.
  io::Task<Result<imap::StatusResponse>> execute(imap::Command command, OnData on_data = {},
                                                 imap::StatusResponse* refusal = nullptr);
  struct Request {
    imap::Command command;
    OnData on_data;
  };
  // Two commands in one go, neither of which needs the other's outcome; the server works at the second while the first
  // one's answer is on its way. Waits for the end of both. An error is the first one's, if it has failed.
  io::Task<Result<>> execute_both(Request first, Request second);
  // The same as execute() for a command with a streamed literal (CommandBuilder::streamed_literal), whose octets
  // `literal` gives piece by piece as the server takes them: as many as were announced, none empty. It must not wait
  // for this connection. When it fails, or gives too few, the connection is closed, and its error is what comes back.
  // unavailable means here, too, that the server can't have got the whole command.
  using LiteralPieces = std::function<io::Task<Result<std::string>>()>;
  io::Task<Result<imap::StatusResponse>> execute_streamed(imap::Command command, LiteralPieces literal,
                                                          imap::StatusResponse* refusal = nullptr);
  explicit operator bool() const { return impl_ != nullptr; }
  bool alive() const;  // its connection is up

  struct Impl;
  explicit Lease(std::shared_ptr<Impl> impl);

 private:
  std::shared_ptr<Impl> impl_;
};

struct ConnectionInfo {  // for posternctl
  std::string state, peer, selected, tier;
  bool tls = false;
  std::int64_t connected_since = 0;  // Unix seconds
  std::uint64_t commands = 0, bytes_in = 0, bytes_out = 0;
};

using MailboxMatch = std::function<bool(const std::string& encoded_mailbox)>;

class Pool {
 public:
  // `server`, `loop`, `observer` outlive the pool. `client_address` is for ID, where configured.
  static std::unique_ptr<Pool> make(io::Loop& loop, Server& server, Credentials credentials,
                                    AccountObserver* observer, std::string client_address);
  // Closes its connections at once and calls no observer; close() says LOGOUT first.
  virtual ~Pool() = default;

  // Signs in now if no connection is up: how credentials are tried. authentication / unavailable / ...
  virtual io::Task<Result<>> connect() = 0;
  // Credentials that came later (a fresh OAuth token): used from the next login on.
  virtual void replace_credentials(Credentials credentials) = 0;
  // A copy of what the next login would use, for the account's other servers.
  virtual Credentials credentials() const = 0;

  // A connection with `encoded_mailbox` selected for `observer`; SELECTs only where it isn't selected yet.
  virtual io::Task<Result<Lease>> select(std::string encoded_mailbox, MailboxObserver& observer) = 0;
  // A connection in whatever state (LIST, STATUS, CREATE, APPEND, ...).
  virtual io::Task<Result<Lease>> any() = 0;
  // Like any(), with none of these mailboxes selected on any connection of the pool while the lease lasts: servers
  // don't delete or rename what is selected, or end the connection that it is selected on. Whoever holds a lease of
  // select() for one of them must not ask for this.
  virtual io::Task<Result<Lease>> without(MailboxMatch mailboxes) = 0;
  // The observer is about to go away: it hears nothing more. If its mailbox is selected it stays so, unheard.
  virtual void forget(MailboxObserver& observer) = 0;

  virtual bool connected() const = 0;
  virtual const imap::CapabilitySet& capabilities() const = 0;  // of the last login; empty before
  virtual const imap::Tiers& tiers() const = 0;
  // The connection on which this mailbox is selected is turned to another one only if no further connection can be
  // had, and is not surplus: what happens there shall be heard. Empty: none.
  virtual void set_home(std::string encoded_mailbox) = 0;
  // Is it selected, or being selected, on some connection?
  virtual bool is_selected(std::string_view encoded_mailbox) const = 0;
  // May connections IDLE when nothing runs? (They do by default.)
  virtual void set_idle(bool on) = 0;
  virtual std::vector<ConnectionInfo> connections() const = 0;
  virtual MonotonicTime last_used() const = 0;
  // With backing_off: when it is worth to try again; otherwise a time that is past.
  virtual MonotonicTime retry_at() const = 0;
  // True once the server has refused the credentials, until replace_credentials(). Not with a connection up, which
  // was opened with them: a further one that is refused is not tried again before that one has ended.
  virtual bool refused() const = 0;
  // LOGOUT, and waits a little for the server's answer. Whoever waits for a lease gets unavailable.
  virtual io::Task<> close() = 0;
};

}  // namespace postern::session
