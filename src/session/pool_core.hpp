// The inside of a Pool: who waits for which connection, and which connection does what.
//
// Shared by the Pool, its leases and the coroutines it started, so that any of them may end first. One
// loop. Whoever waits stands in one queue, in the order of coming; pump() serves it from the front. Bounds:
// pool_waiting_max in the queue, connections_per_account connections, one being opened at a time; all but one are
// closed when unused for surplus_idle.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>
#include <boost/intrusive/list.hpp>

#include "postern/io/event.hpp"
#include "postern/session/pool.hpp"
#include "session/backoff.hpp"
#include "session/connection.hpp"
#include "session/server_impl.hpp"

namespace postern::session {

class PoolCore;  // NOLINT(cppcoreguidelines-virtual-class-destructor): it is final, as its definition says

struct Lease::Impl {
  std::shared_ptr<PoolCore> core;
  std::shared_ptr<Connection> connection;
  bool pinned = false;  // needs the mailbox to stay selected
  MailboxMatch bars;    // mailboxes that are selected nowhere while it lasts
  ~Impl();
};

class PoolCore final : public Connection::Owner, public std::enable_shared_from_this<PoolCore> {
 public:
  enum class Kind : std::uint8_t { connect, any, select, without };

  PoolCore(io::Loop& loop, std::shared_ptr<ServerImpl> server, Credentials credentials,
           AccountObserver* observer, std::string client_address);

  static io::Task<Result<Lease>> acquire(std::shared_ptr<PoolCore> self, Kind kind, std::string mailbox,
                                         MailboxObserver* observer, MailboxMatch bars = {});
  static io::Task<> close(std::shared_ptr<PoolCore> self);
  void replace_credentials(Credentials credentials);
  Credentials credentials() const { return credentials_.clone(); }
  void forget(MailboxObserver& observer);
  void set_home(std::string encoded_mailbox) { home_ = std::move(encoded_mailbox); }
  bool is_selected(std::string_view encoded_mailbox) const;
  void set_idle(bool on);
  // Everything ends now; nobody is called any more.
  void shut_down();
  void released(Lease::Impl& lease);

  bool connected() const;
  bool refused() const { return refused_ && connections_.empty(); }
  std::vector<ConnectionInfo> connections() const;
  MonotonicTime retry_at() const;

  io::Loop& loop() { return loop_; }
  imap::CapabilitySet capabilities;
  imap::Tiers tiers;
  MonotonicTime last_used{};

 private:
  struct Waiting
      : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
    Kind kind = Kind::any;
    std::string mailbox;
    MailboxObserver* observer = nullptr;
    MailboxMatch bars;
    io::Label label;  // whose request it is, for the log
    std::optional<Result<Lease>> result;
    std::optional<io::Event> done;    // once it has to wait
    Connection* selecting = nullptr;  // waits for the end of a SELECT there
  };
  using Queue = boost::intrusive::list<Waiting, boost::intrusive::constant_time_size<false>>;
  // What could be done for one who waits: served; a connection is being opened for it; or nothing yet.
  enum class Outcome : std::uint8_t { served, opening, blocked };

  void pump();
  bool serve_next();
  void schedule_pump();
  Outcome serve(Waiting& waiting, bool join_only);
  Outcome serve_select(Waiting& waiting, bool join_only);
  Outcome serve_without(Waiting& waiting, bool join_only);
  bool is_barred(const std::string& mailbox) const;
  Outcome want_connection(const io::Label& label);
  Connection* least_busy() const;
  Connection* free_for_select(bool home_too) const;
  bool is_home(const Connection& connection) const;
  void finish(Waiting& waiting, Result<Lease> result);
  void grant(Waiting& waiting, Connection& connection, bool pinned);
  void fail_waiting(const Error& error);

  static io::Task<> open(std::shared_ptr<PoolCore> self, io::Label label);
  static io::Task<Result<std::shared_ptr<Connection>>> sign_in(std::shared_ptr<PoolCore> self,
                                                               io::Label label);
  void opened(Result<std::shared_ptr<Connection>> result);
  void note_failure(const Error& error, bool server_was_there, MonotonicTime started);

  // --- What the account has more than one of, and has not used for surplus_idle ---
  void arm_surplus_timer();
  void close_surplus();
  static io::Task<> retire(std::shared_ptr<PoolCore> self, std::shared_ptr<Connection> connection);

  void on_account_data(imap::Response& response) override;
  void on_unheard(const std::string& mailbox, const imap::Response& response) override;
  void on_notification_overflow() override;
  void on_select_done(Connection& connection, const Result<>& result) override;
  void on_deselected() override { schedule_pump(); }
  void on_lost(Connection& connection, const Error& reason) override;

  io::Loop& loop_;
  const std::shared_ptr<ServerImpl> server_;
  Credentials credentials_;
  AccountObserver* observer_;
  std::string client_address_;
  std::string home_;                                      // the mailbox that stays selected where possible
  std::vector<std::shared_ptr<Connection>> connections_;  // those that are up
  std::shared_ptr<Connection> opening_connection_;
  std::vector<Lease::Impl*> barring_;  // leases that bar mailboxes
  Queue queue_, selecting_;            // who waits for a connection; who waits for a SELECT under way
  Backoff backoff_;                    // of logins; the server's own is for reaching it
  std::optional<Error> last_failure_;
  std::optional<Error> refused_;  // the credentials; with a connection up, for a further one only
  int short_lives_ = 0;           // connections in a row that didn't last
  bool opening_ = false, pump_scheduled_ = false, pumping_ = false;
  bool closing_ = false, closed_ = false;
  bool may_idle_ = true, was_connected_ = false;
  TimerId surplus_timer_ = 0;  // while there is more than one connection
};

}  // namespace postern::session
