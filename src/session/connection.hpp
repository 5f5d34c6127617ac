// One IMAP connection that is signed in: reads, writes, idles, keeps its time limits, and says when it's over.
//
// Owned (shared_ptr) by its pool and by leases; one loop. While nothing happens it holds no buffers and no
// coroutine, and wakes only to renew IDLE. Bounds: the time-outs of ServerOptions,
// MultiplexerLimits. Writing never waits for reading and the other way round.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "postern/imap/multiplexer.hpp"
#include "postern/io/event.hpp"
#include "postern/io/label.hpp"
#include "postern/io/stream.hpp"
#include "postern/session/pool.hpp"
#include "session/login.hpp"
#include "session/selection.hpp"
#include "session/server_impl.hpp"

namespace postern::session {

class Connection final : public imap::UntaggedObserver, public std::enable_shared_from_this<Connection> {
 public:
  // Its pool. Not called any more after detach().
  class Owner {
   public:
    virtual void on_account_data(imap::Response& response) = 0;  // STATUS, LIST
    // See AccountObserver.
    virtual void on_unheard(const std::string& mailbox, const imap::Response& response) = 0;
    virtual void on_notification_overflow() = 0;
    virtual void on_select_done(Connection& connection, const Result<>& result) = 0;
    virtual void on_deselected() = 0;  // deselect() has ended
    virtual void on_lost(Connection& connection, const Error& reason) = 0;

   protected:
    ~Owner() = default;
  };

  Connection(io::Loop& loop, std::shared_ptr<ServerImpl> server, Owner& owner, bool may_idle);
  ~Connection() override;

  // Signs in; once, before all else. Errors: session::Errc; `reached` tells whether the server was there.
  static io::Task<Result<>> open(std::shared_ptr<Connection> self, Credentials credentials,
                                 std::string client_address, bool& reached, io::Label label);
  // Submits a command, ending IDLE if need be. The sink lives until on_done() or abandon(). It is logged under the
  // label.
  Result<imap::CommandId> submit(imap::Command command, imap::CommandSink& sink,
                                 const io::Label& label = nullptr);
  void abandon(imap::CommandId id) { mux_.abandon(id); }
  // There are more octets of a streamed literal.
  void literal_ready() { schedule_flush(); }
  // While a sink hears on_done(connection_lost): whether its command was never written.
  bool was_not_sent() const { return mux_.waiting() < waiting_at_end_; }
  // Sends SELECT; on_select_done() tells how it ended. Not while another one runs.
  void select(std::string mailbox, MailboxObserver& observer, const io::Label& label);
  // Lets go of the mailbox that is selected, where nobody needs it; nothing in it is expunged.
  void deselect(const io::Label& label);
  bool deselecting() const { return deselecting_; }
  Selection& selection() { return selection_; }
  const Selection& selection() const { return selection_; }

  void set_idle(bool on);
  // LOGOUT; `done` is set when the connection has ended.
  void log_out(std::shared_ptr<io::Event> done);
  void close(const Error& reason);
  void detach() { owner_ = nullptr; }

  bool up() const { return state_ == State::up; }
  bool busy() const;
  std::size_t commands_in_flight() const {
    return mux_.in_flight() + mux_.waiting() - (idle_id_ != 0 ? 1 : 0);
  }
  const imap::CapabilitySet& capabilities() const { return capabilities_; }
  const imap::Tiers& tiers() const { return tiers_; }
  const imap::StatusResponse& greeting() const { return *mux_.greeting(); }
  MonotonicTime last_used() const { return last_used_; }
  MonotonicTime connected_at() const { return connected_at_; }
  ConnectionInfo info() const;

  unsigned pins = 0;    // leases that need the selection to stay
  unsigned leases = 0;  // all of them

 private:
  enum class State : std::uint8_t { opening, up, logging_out, closed };
  struct IdleSink final : imap::CommandSink {
    explicit IdleSink(Connection& c) : connection(c) {}
    std::optional<std::string> on_continuation(const imap::Continuation&) override;
    void on_done(Result<imap::StatusResponse> result, const imap::StatusResponse*) override;
    Connection& connection;
  };
  struct NoopSink final : imap::CommandSink {
    void on_done(Result<imap::StatusResponse>, const imap::StatusResponse*) override {}
  };
  struct SelectSink final : imap::CommandSink {
    explicit SelectSink(Connection& c) : connection(c) {}
    void on_done(Result<imap::StatusResponse> result, const imap::StatusResponse* refusal) override;
    Connection& connection;
  };

  struct DeselectSink final : imap::CommandSink {
    explicit DeselectSink(Connection& c) : connection(c) {}
    void on_done(Result<imap::StatusResponse> result, const imap::StatusResponse* refusal) override;
    Connection& connection;
  };

  void listen();
  void on_readable();
  static io::Task<> write_rest(std::shared_ptr<Connection> self, std::string rest, bool secret);
  void on_untagged(imap::Response& response) override;
  Result<imap::Command> select_command(const std::string& mailbox,
                                       const std::optional<SelectParameters>& known);
  void fed(std::size_t octets);
  void schedule_flush();
  void flush();
  // No two ends: the first reason counts.
  void lose(const Error& reason);

  bool idle_parked() const { return idle_id_ != 0 && idle_continued_ && !idle_ending_; }
  void start_idle();
  void end_idle();
  // Time limits: one timer, armed for the earliest that can matter; on_timer() looks what is due.
  MonotonicTime next_deadline() const;
  void arm_timer();
  void on_timer();
  void act_on_deadline();

  io::Loop& loop_;
  const std::shared_ptr<ServerImpl> server_;
  Owner* owner_;
  std::unique_ptr<io::ByteStream> stream_;
  imap::Multiplexer mux_;
  Login* login_ = nullptr;  // while opening
  imap::CapabilitySet capabilities_;
  imap::Tiers tiers_;
  Selection selection_;
  IdleSink idle_sink_{*this};
  NoopSink noop_sink_;
  SelectSink select_sink_{*this};
  DeselectSink deselect_sink_{*this};
  std::shared_ptr<io::Event> logged_out_;

  State state_ = State::opening;
  bool may_idle_;
  bool idle_refused_ = false, idle_continued_ = false, idle_ending_ = false, idle_again_ = false;
  bool flush_scheduled_ = false, writing_ = false, deselecting_ = false;
  imap::CommandId idle_id_ = 0;
  std::size_t waiting_at_end_ = 0;
  TimerId timer_ = 0;
  MonotonicTime timer_at_{};
  MonotonicTime connected_at_{};
  MonotonicTime last_used_{};      // a command was submitted, or answered
  MonotonicTime last_progress_{};  // an octet came or went while something is in flight
  MonotonicTime idle_since_{};
  std::uint64_t commands_ = 0, bytes_in_ = 0, bytes_out_ = 0;
};

}  // namespace postern::session
