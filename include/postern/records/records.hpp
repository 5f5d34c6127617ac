// Durable records of accounts: identities, submissions, the messages that wait to go out, and places of Mailboxes: the
// port, its values, and how the database behind it is opened.
//
// The database is one SQLite file, used by one thread of its own; every method is a coroutine that comes back to the
// loop of its Records object. When a method that writes has come back without an error, what it wrote outlives the
// process and the machine. Everything is bounded by named limits. Errors are Errc and nothing else; after one, nothing
// of that call has been written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "postern/base/clock.hpp"
#include "postern/base/crypto.hpp"
#include "postern/base/error.hpp"
#include "postern/base/secret.hpp"
#include "postern/io/loop.hpp"
#include "postern/io/task.hpp"

namespace postern::records {

inline constexpr std::size_t identities_max = 100;             // of an account
inline constexpr std::size_t identity_bytes_max = 256 * 1024;  // of one, its lists and texts together
inline constexpr std::size_t submissions_max = 2'000;          // of an account, those that wait among them
inline constexpr std::size_t changes_kept_max = 500;  // destroyed objects of an account and type remembered
inline constexpr std::size_t mailbox_orders_max = 20'000;  // of an account; those given longest ago go
inline constexpr std::size_t content_piece_bytes_max = 1u << 20;

enum class Errc {
  unavailable = 1,  // can't be opened, read or written
  full,             // no room on the disk
  damaged,          // the file is no database of ours, or broken
  newer,            // written by a later version
  not_found,
  too_many,       // a limit above
  too_large,      // an object, or those that are asked for together
  no_room,        // the messages that wait take all that StoreOptions leaves them
  unknown_state,  // not one of ours, or too long ago: cannotCalculateChanges
};
const std::error_category& records_category();
inline std::error_code make_error_code(Errc e) { return {static_cast<int>(e), records_category()}; }

// Whose records: the account's key is but 64 bits of a hash, so the login counts as well.
struct Owner {
  std::uint64_t key = 0;
  std::string login;
  friend auto operator<=>(const Owner&, const Owner&) = default;
};

// RFC 8621, 6. Lists of addresses are JSON text as they are told to clients, "null" where there are none.
struct Identity {
  std::uint64_t id = 0;
  std::string email, name, reply_to = "null", bcc = "null", text_signature, html_signature;
  bool may_delete = true;
  friend bool operator==(const Identity&, const Identity&) = default;
};

// What is to be another value; the rest stays, whoever has changed it meanwhile.
struct IdentityChange {
  std::uint64_t id = 0;
  std::optional<std::string> name, reply_to, bcc, text_signature, html_signature;
};

enum class UndoStatus : std::uint8_t { pending, final, canceled };
enum class Phase : std::uint8_t {
  waiting,  // nobody has got it
  sending,  // the end of the message may have been sent
  done,
};
enum class Delivered : std::uint8_t { queued, no, unknown };  // RFC 8621, 7: what we can know

struct Recipient {
  std::string address, parameters;  // as they stand in RCPT TO
  Delivered delivered = Delivered::queued;
  std::string reply;
  friend bool operator==(const Recipient&, const Recipient&) = default;
};

// RFC 8621, 7, and what it takes to send it.
struct Submission {
  std::uint64_t id = 0, identity_id = 0;
  std::string email_id, thread_id;
  std::string envelope;  // JSON, as it is told to clients
  std::string mail_from, mail_parameters;
  std::string extensions;                    // that parameters belong to, with spaces between
  std::int64_t created_at = 0, send_at = 0;  // seconds since 1970
  UndoStatus undo_status = UndoStatus::pending;
  Phase phase = Phase::waiting;
  std::vector<Recipient> recipients;
  std::uint64_t content = 0;  // the message
  std::uint64_t size = 0;
  bool eight_bit = false;
  std::uint32_t attempts = 0;
  std::int64_t next_attempt = 0;
};

// Of a submission what it is found and sorted by.
struct SubmissionSummary {
  std::uint64_t id = 0, identity_id = 0;
  std::string email_id, thread_id;
  std::int64_t send_at = 0;  // seconds since 1970
  UndoStatus undo_status = UndoStatus::pending;
};

// A submission that waits.
struct Waiting {
  std::uint64_t id = 0;
  Owner owner;
  std::int64_t due = 0;
};

// Which objects of an account are read. too_large where they have more octets than that together.
struct Selection {
  std::optional<std::vector<std::uint64_t>> ids;  // those of them that there are; nullopt: all
  std::size_t octets_max = 0;
};

// Objects of a type, with the state that they belong to.
template <typename T>
struct Snapshot {
  std::vector<T> list;
  std::string state;
};

// RFC 8620, 5.2
struct Changes {
  std::string new_state;
  bool has_more = false;
  std::vector<std::uint64_t> created, updated, destroyed;
};

enum class Type : std::uint8_t { identity, submission };

// A push subscription (RFC 8620, 7.2). What must not be seen is shared by its copies, and wiped with the last one.
struct PushSubscription {
  std::uint64_t id = 0;
  Owner owner;
  std::string credential;                           // what it was made with
  std::string device;                               // deviceClientId
  std::shared_ptr<const Secret> url, p256dh, auth;  // the keys: null where there are none
  std::string server_key;                           // the public key that its messages are signed with
  std::string code;                                 // that its client has to show
  bool verified = false;
  std::int64_t created_at = 0, expires = 0;       // seconds since 1970; 0: never
  std::optional<std::vector<std::string>> types;  // nullopt: all
};

// The states of an account's types.
struct TypeStates {
  std::string identity, submission;
};

class Records {
 public:
  virtual ~Records() = default;

  // `first` is the address of the identity that an account begins with; empty: none. It may not be destroyed.
  virtual io::Task<Result<Snapshot<Identity>>> identities(Owner owner, std::string first,
                                                          Selection selection) = 0;
  virtual io::Task<Result<std::uint64_t>> create_identity(Owner owner, Identity identity) = 0;
  virtual io::Task<Result<>> update_identity(Owner owner, IdentityChange change) = 0;
  virtual io::Task<Result<>> destroy_identity(Owner owner, std::uint64_t id) = 0;

  // unknown_state; at most `changes_max` of them in all (0: as many as there are).
  virtual io::Task<Result<Changes>> changes(Owner owner, Type type, std::string since,
                                            std::size_t changes_max) = 0;

  virtual io::Task<Result<TypeStates>> states(Owner owner) = 0;

  // --- Places that a client has given to Mailboxes (sortOrder) ---
  virtual io::Task<Result<std::vector<std::pair<std::uint64_t, std::uint32_t>>>> mailbox_orders(
      Owner owner) = 0;
  // nullopt: none any more.
  virtual io::Task<Result<>> put_mailbox_order(Owner owner, std::uint64_t mailbox,
                                               std::optional<std::uint32_t> order) = 0;

  // --- Messages that wait ---
  // `delayed` ones leave some of the room to those that go out at once. no_room, here and as it grows.
  virtual io::Task<Result<std::uint64_t>> begin_content(Owner owner, bool delayed) = 0;
  virtual io::Task<Result<>> append_content(std::uint64_t content, std::uint32_t piece,
                                            std::string octets) = 0;
  virtual io::Task<Result<std::string>> content_piece(std::uint64_t content, std::uint32_t piece) = 0;
  virtual io::Task<Result<>> drop_content(std::uint64_t content) = 0;

  // --- Submissions ---
  // In the order of their ids; those that have been told to a client and not been destroyed.
  virtual io::Task<Result<Snapshot<Submission>>> submissions(Owner owner, Selection selection) = 0;
  virtual io::Task<Result<Snapshot<SubmissionSummary>>> summaries(Owner owner) = 0;
  // Durable, with its content; seen by nobody before tell(), or the next start of the broker.
  virtual io::Task<Result<std::uint64_t>> add_submission(Owner owner, Submission submission) = 0;
  // Any that is there, also when the client has destroyed it.
  virtual io::Task<Result<Submission>> submission(std::uint64_t id) = 0;
  // From waiting to sending; false if it isn't waiting any more.
  virtual io::Task<Result<bool>> begin_sending(std::uint64_t id) = 0;
  // What became of an attempt: phase, undo status, recipients, attempts, next_attempt. Phase::done drops the content.
  // not_found for one that is done already (canceled meanwhile).
  virtual io::Task<Result<>> end_attempt(Submission submission) = 0;
  virtual io::Task<Result<>> tell(std::uint64_t id) = 0;
  // As if it had never been: an attempt that failed while the client waited.
  virtual io::Task<Result<>> forget(std::uint64_t id) = 0;
  // False if it can't be canceled any more.
  virtual io::Task<Result<bool>> cancel(Owner owner, std::uint64_t id) = 0;
  // The record alone: what it stands for goes on.
  virtual io::Task<Result<>> destroy_submission(Owner owner, std::uint64_t id) = 0;
  // --- Push subscriptions ---
  virtual io::Task<Result<std::vector<PushSubscription>>> push_subscriptions() = 0;  // everybody's
  virtual io::Task<Result<std::uint64_t>> add_push_subscription(PushSubscription subscription) = 0;
  // Its verified, expires and types.
  virtual io::Task<Result<>> update_push_subscription(PushSubscription subscription) = 0;
  // What there was of them is overwritten.
  virtual io::Task<Result<>> remove_push_subscriptions(std::vector<std::uint64_t> ids) = 0;

  // Of the accounts whose key modulo `shards` is `shard`.
  virtual io::Task<Result<std::vector<Waiting>>> waiting(unsigned shard, unsigned shards) = 0;
};

struct StoreOptions {
  std::string path;                             // of the file; its folder exists
  Duration keep = std::chrono::hours(24 * 30);  // how long a submission that is done is remembered
  std::uint32_t pages_max = 0;                  // of 4 KiB, for tests of a full disk; 0: no limit
  // Octets of messages that wait or are being sent: of an account, and of all. What goes out at once isn't held up by
  // the second one.
  std::uint64_t account_bytes = 500'000'000, total_bytes = 5'000'000'000;
};

// What the start has found.
struct Recovery {
  std::size_t sending = 0;  // submissions of which nobody knows any more whether they were accepted
  std::size_t waiting = 0;
};

// The database and its thread. Outlives the Records made from it.
class Store {
 public:
  // unavailable, damaged, newer, full.
  static Result<std::unique_ptr<Store>> open(StoreOptions options, const Clock& clock, Random& random);
  // One whose every call fails with this error: a broker that can't open its records still serves mail.
  static std::unique_ptr<Store> closed(Error error);
  virtual ~Store() = default;
  // For a loop, which outlives it.
  virtual std::unique_ptr<Records> on(io::Loop& loop) = 0;
  virtual Recovery recovery() const = 0;
  // Told of each type of an account that has another state, whoever has changed it: on the store's thread, behind the
  // call that did it. What it refers to lives until stop().
  using Observer = std::function<void(const Owner&, Type, const std::string& state)>;
  virtual void observe(Observer observer) = 0;
  // Does what was asked for and ends the thread, while the loops that asked are still there. What is asked for after it
  // is never answered.
  virtual void stop() = 0;
};

}  // namespace postern::records
template <>
struct std::is_error_code_enum<postern::records::Errc> : std::true_type {};
