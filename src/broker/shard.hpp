// A shard: one thread, one loop, and the accounts that belong to it.
//
// An account belongs to the shard that its key says (shard_of) and is only ever touched on that shard's loop.
// What comes from other loops gets here by on_loop().
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "broker/config.hpp"
#include "postern/base/crypto.hpp"
#include "postern/io/event.hpp"
#include "postern/io/loop.hpp"
#include "postern/jmap/api.hpp"
#include "postern/limits/book.hpp"
#include "postern/mail/account.hpp"
#include "postern/outbox/outbox.hpp"
#include "postern/records/records.hpp"
#include "postern/session/server.hpp"
#include "postern/sieve/server.hpp"
#include "postern/store/session_table.hpp"

namespace postern::broker {

using AccountPtr = std::shared_ptr<mail::Account>;

store::AccountKey account_key(const session::ServerOptions& server, std::string_view login);

// A credential as it is sealed into the segment: its kind, whose, and the secret.
Secret pack_credentials(const session::Credentials& credentials);
std::optional<session::Credentials> unpack_credentials(const Secret& packed);

struct AccountInfo {  // for posternctl
  std::string login, account_id;
  std::vector<session::ConnectionInfo> connections;
  std::size_t views = 0, view_bytes = 0;
  std::uint32_t requests_in_flight = 0;
  std::int64_t idle_seconds = 0;
};

class Shard {
 public:
  // Throws std::runtime_error where the configuration can't be used (start-up).
  Shard(unsigned number, std::shared_ptr<const Config> config, store::SegmentWriter& segment,
        const Clock& clock, Random& random, Logger& logger, std::shared_ptr<session::LoginSlots> login_slots,
        records::Store* records = nullptr);
  ~Shard();

  // Before it is started: whose meters count what its accounts move. Outlives it.
  void use_book(limits::Book& book) { book_ = &book; }
  // Likewise: who is asked for plans, where the configuration says so.
  void use_plan_lookup(PlanLookup& lookup) { plan_lookup_ = &lookup; }

  io::Loop& loop() { return loop_; }
  // Hears of the states of all accounts; set before there is one, outlives them.
  void set_state_observer(mail::StateObserver* states) { states_ = states; }
  // Where uploads are; outlives the shard. Before the first account is made.
  void set_uploads(blobs::UploadStore& uploads) { uploads_ = &uploads; }
  void start_thread();
  void stop_thread();

  // --- All of these on the shard's loop ---

  // `key` is account_key() of the credentials' login; a key is but 64 bits of a hash, so an account is somebody's
  // only if its login is theirs as well.

  // The account of credentials that a client has shown just now. They are tried on the IMAP server unless
  // the same have been tried not long ago. Nothing is kept of credentials that were refused.
  io::Task<Result<AccountPtr>> sign_in(store::AccountKey key, session::Credentials credentials,
                                       std::string client_address);
  // The account of a live session: made of its credentials (unsealed by its token) if it isn't open any more. Where it
  // is open by another password, the session's is tried on the server. store::Errc::damaged: they are not of that
  // account; session::Errc::authentication: refused.
  io::Task<Result<AccountPtr>> resume(store::AccountKey key, store::TokenHash session,
                                      session::Credentials credentials, std::string client_address);
  // The account, if it is open and resume() has been shown that session's credentials for it; else nullptr.
  AccountPtr find_open(store::AccountKey key, const store::TokenHash& session);
  // The server has refused `refused`, an account that a session with `own` credentials used. The account to try once
  // more, with these, if it was refused because of others'; nullptr: they have been refused themselves.
  io::Task<AccountPtr> after_refusal(store::AccountKey key, const mail::Account* refused,
                                     store::TokenHash session, session::Credentials own,
                                     std::string client_address);
  // Nobody has a session there any more, or its credentials are refused: says LOGOUT and forgets it, if it is
  // `only` (where that is given) and no request uses it; else the housekeeping does when nobody does any more, unless
  // somebody has come again meanwhile.
  io::Task<> close_unused(store::AccountKey key, const mail::Account* only = nullptr);
  // LOGOUT on all, for the stop: within seconds, however many there are and whatever the server does.
  io::Task<> close_all();

  // How many requests of an account run at once; others wait their turn, in order. A slot goes from hand to hand.
  struct Turn {
    explicit Turn(io::Loop& loop) : come(loop) {}
    io::Event come;
  };
  struct Gate {
    std::uint32_t running = 0;
    std::uint32_t most = 0;                    // as of the last request
    std::list<std::shared_ptr<Turn>> waiting;  // seldom any, and an empty deque takes half a kilobyte
  };
  // One of them, while it lives.
  class InFlight {
   public:
    // Takes over a slot that has been counted.
    explicit InFlight(std::shared_ptr<Gate> gate) : gate_(std::move(gate)) {}
    InFlight(InFlight&& other) noexcept = default;
    InFlight& operator=(InFlight&&) = delete;
    ~InFlight();

   private:
    std::shared_ptr<Gate> gate_;
  };
  enum class RequestKind : std::uint8_t { api, download };
  // nullopt if too many wait already (requests_waiting_max).
  io::Task<std::optional<InFlight>> enter(store::AccountKey key, RequestKind kind);
  static constexpr std::size_t requests_waiting_max = 256;
  static constexpr std::uint32_t concurrent_downloads_max = 64;

  // A reloaded configuration: what is live in it (docs/man/posternd.8, "Reload") counts from now on.
  void set_config(std::shared_ptr<const Config> config) {
    config_ = std::move(config);
    session_states_.clear();
  }
  jmap::SessionStates& session_states() { return session_states_; }

  // Null where nothing is sent.
  outbox::Outbox* outbox() { return outbox_.get(); }
  // How this account signs in to the outgoing mail server.
  smtp::Credentials outgoing_credentials(mail::Account& account) const;
  // Before a stop: no message that waits is taken up any more.
  void hold_sending() {
    if (outbox_) outbox_->hold();
  }
  // No further message is handed over; those that are have until then.
  io::Task<> stop_sending(MonotonicTime deadline);

  std::vector<AccountInfo> accounts() const;
  const session::Counters& imap_counters() const { return server_->counters(); }
  // The IMAP server can't be reached, and is tried again later.
  bool backing_off() const { return server_->retry_at() > loop_.clock().now(); }
  const mail::FragmentCache& fragments() const { return fragments_; }
  std::size_t account_count() const { return accounts_.size(); }
  void save_states();

 private:
  struct Verifier {
    Digest digest{};
    MonotonicTime until;
  };
  struct Entry {
    AccountPtr account;
    std::vector<Verifier> verifiers;
    Digest credentials{};                    // what the pool signs in with
    bool by_password = false;                // that is one
    std::vector<store::TokenHash> sessions;  // that have shown theirs, the newest last; sessions_known_max
    std::vector<Digest> refused;             // of those, what the server has refused; refused_per_account_max
    std::shared_ptr<Gate> api = std::make_shared<Gate>(), downloads = std::make_shared<Gate>();
    bool is_busy() const { return api->running + downloads->running > 0; }
    // Somebody has it in hand: a request that is being read, runs or waits, or work behind one. Only this loop gives
    // an account to others, so what is in nobody's hand now stays so.
    bool is_used() const { return is_busy() || account.use_count() > 1; }
    MonotonicTime last_used;
    bool views_evicted = false;
    bool close_when_unused = false;
    MonotonicTime plan_due{};  // when the person's plan is looked up again
  };
  // Somebody has come to use it.
  AccountPtr use(Entry& entry);
  // Looks up the person's plan, if it is time to.
  void look_up_plan(Entry& entry);
  io::Task<> read_plan(AccountPtr account, std::string metadata_entry);
  static void know_session(Entry& entry, const store::TokenHash& session);
  void note_refusal(Entry& entry);
  Digest verifier_of(const session::Credentials& credentials) const;
  bool is_verified(Entry& entry, const Digest& digest);
  void add_verifier(Entry& entry, const Digest& digest);
  // What it moves counts as soon as it is known whose it is, and not before: who invents logins takes no place in the
  // segment.
  enum class Metered : std::uint8_t { at_once, once_proved };
  AccountPtr make_account(store::AccountKey key, session::Credentials credentials, std::string client_address,
                          Metered metered);
  // What is shown anew becomes what the pool signs in with; what a session has shown long ago only proves itself.
  enum class Proof : std::uint8_t { puts_into_force, alone };
  io::Task<Result<AccountPtr>> try_once(store::AccountKey key, session::Credentials credentials,
                                        Digest digest, std::string client_address, Proof proof);
  io::Task<Result<AccountPtr>> try_credentials(store::AccountKey key, session::Credentials credentials,
                                               Digest digest, std::string client_address, Proof proof);
  static void put_into_force(Entry& entry, const Digest& digest, bool by_password);
  void keep_house();
  bool may_close(const Entry& entry) const;
  io::Task<> close_account(store::AccountKey key);
  static io::Task<> log_out(AccountPtr account);
  void drop(store::AccountKey key);

  const unsigned number_;
  std::shared_ptr<const Config> config_;
  store::SegmentWriter& segment_;
  blobs::UploadStore* uploads_ = nullptr;
  limits::Book* book_ = nullptr;
  PlanLookup* plan_lookup_ = nullptr;
  io::Loop loop_;
  std::unique_ptr<session::Server> server_;
  std::unique_ptr<sieve::Server> sieve_;  // null: none is configured
  mail::FragmentCache fragments_;
  jmap::SessionStates session_states_;
  mail::StateObserver* states_ = nullptr;
  std::string verifier_key_;  // random, of this process
  std::unordered_map<store::AccountKey, Entry> accounts_;
  // A sign-in under way: whoever comes with the same credentials meanwhile gets its result.
  struct Trial {
    explicit Trial(io::Loop& loop) : done(loop) {}
    io::Event done;
    Result<AccountPtr> result = fail(session::Errc::unavailable, "the trial came to no end");
  };
  std::map<Digest, std::shared_ptr<Trial>> trying_;
  std::unique_ptr<outbox::Outbox> outbox_;
  std::unique_ptr<records::Records> records_;  // null: there are none; accounts that go on refer to it
  std::atomic<std::thread::id> owner_ = std::this_thread::get_id();  // whose the loop is
  TimerId housekeeping_ = 0;
  std::thread thread_;
};

// Runs a coroutine on another loop and comes back with its result. What it throws (a bug) is thrown here, so that it
// ends the request that asked and not the other loop's thread.
template <typename F>
auto on_loop(io::Loop& target, io::Loop& home, F make_task) -> std::invoke_result_t<F> {
  using Value = typename std::invoke_result_t<F>::value_type;
  if (&target == &home) co_return co_await make_task();
  struct Shared {
    explicit Shared(io::Loop& loop) : done(loop) {}
    std::optional<Value> value;
    std::exception_ptr thrown;
    io::Event done;
  };
  auto shared = std::make_shared<Shared>(home);
  auto* shared_home = &home;
  auto run = [](F task, std::shared_ptr<Shared> state, io::Loop* back) -> io::Task<> {
    try {
      state->value.emplace(co_await task());
    } catch (const std::exception&) {
      state->thrown = std::current_exception();
    }
    back->post([state] { state->done.set(); });
  };
  target.post([&target, run, make_task = std::move(make_task), shared, shared_home]() mutable {
    target.spawn(run(std::move(make_task), std::move(shared), shared_home));
  });
  co_await shared->done.wait();
  if (shared->thrown) std::rethrow_exception(std::exchange(shared->thrown, nullptr));
  co_return std::move(*shared->value);
}

}  // namespace postern::broker
