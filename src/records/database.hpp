// The records as tables: the schema, and each operation of the port as one transaction. Private to the records layer.
//
// One thread. A crash at any point leaves what was committed; open() settles what was under way then (see recover()).
#pragma once

#include <map>
#include <set>
#include <utility>

#include "records/sqlite.hpp"

namespace postern::records {

inline constexpr int schema_version = 1;
inline constexpr std::int64_t forget_pause_s = 3'600;  // between two looks for what is too old
inline constexpr std::size_t forgotten_at_once_max = 1'000;

class Database {
 public:
  static Result<std::unique_ptr<Database>> open(const StoreOptions& options, std::int64_t now,
                                                Random& random);
  const Recovery& recovery() const { return recovery_; }

  // --- identities.cpp ---
  Result<Snapshot<Identity>> identities(const Owner& owner, const std::string& first,
                                        const Selection& selection);
  Result<std::uint64_t> create_identity(const Owner& owner, const Identity& identity);
  Result<> update_identity(const Owner& owner, const IdentityChange& identity);
  Result<> destroy_identity(const Owner& owner, std::uint64_t id);

  // --- mailbox_orders.cpp ---
  Result<std::vector<std::pair<std::uint64_t, std::uint32_t>>> mailbox_orders(const Owner& owner);
  Result<> put_mailbox_order(const Owner& owner, std::uint64_t mailbox, std::optional<std::uint32_t> order);

  // --- changes.cpp ---
  Result<Changes> changes(const Owner& owner, Type type, const std::string& since, std::size_t changes_max);
  Result<TypeStates> states(const Owner& owner);
  // Those that may be others since the last call.
  struct NewState {
    Owner owner;
    Type type = Type::identity;
    std::string state;
  };
  std::vector<NewState> take_new_states();

  // --- contents.cpp ---
  Result<std::uint64_t> begin_content(const Owner& owner, bool delayed);
  Result<> append_content(std::uint64_t content, std::uint32_t piece, const std::string& octets);
  Result<std::string> content_piece(std::uint64_t content, std::uint32_t piece);
  Result<> drop_content(std::uint64_t content);

  // --- submissions.cpp ---
  Result<Snapshot<Submission>> submissions(const Owner& owner, const Selection& selection);
  Result<Snapshot<SubmissionSummary>> summaries(const Owner& owner);
  Result<std::uint64_t> add_submission(const Owner& owner, const Submission& submission);
  Result<Submission> submission(std::uint64_t id);
  Result<bool> begin_sending(std::uint64_t id);
  Result<> end_attempt(const Submission& submission, std::int64_t now);
  Result<> tell(std::uint64_t id);
  Result<> forget(std::uint64_t id);
  Result<bool> cancel(const Owner& owner, std::uint64_t id, std::int64_t now);
  Result<> destroy_submission(const Owner& owner, std::uint64_t id);
  Result<std::vector<Waiting>> waiting(unsigned shard, unsigned shards);
  // Submissions that were done longer ago than StoreOptions::keep. Cheap where it was called a short time ago.
  Result<> forget_old(std::int64_t now);

  // --- push_subscriptions.cpp ---
  Result<std::vector<PushSubscription>> push_subscriptions();
  Result<std::uint64_t> add_push_subscription(const PushSubscription& subscription);
  Result<> update_push_subscription(const PushSubscription& subscription);
  Result<> remove_push_subscriptions(const std::vector<std::uint64_t>& ids);

 private:
  Database(Sqlite sqlite, std::string epoch, const StoreOptions& options)
      : sqlite_(std::move(sqlite)),
        epoch_(std::move(epoch)),
        keep_(options.keep),
        room_{options.account_bytes, options.total_bytes} {}

  // --- database.cpp ---
  static Result<std::string> make_schema(const Sqlite& sqlite, Random& random);
  Result<> recover(std::int64_t now);
  Result<std::int64_t> count(const char* sql, std::int64_t account);
  // The account's row, made if there is none.
  Result<std::int64_t> account_of(const Owner& owner);

  // --- identities.cpp ---
  Result<> make_first_identity(std::int64_t account, const std::string& email);

  // --- changes.cpp ---
  // One more change of this type: its number.
  Result<std::int64_t> bump(std::int64_t account, Type type);
  Result<std::int64_t> counter(std::int64_t account, Type type);
  std::string state_of(std::int64_t counter) const { return epoch_ + "-" + std::to_string(counter); }
  Result<> remember_destroyed(std::int64_t account, Type type, std::uint64_t id, std::int64_t created);

  std::set<std::pair<std::int64_t, Type>> bumped_;

  // --- contents.cpp ---
  Result<> check_room(std::int64_t account, bool delayed, std::uint64_t octets) const;
  Result<> delete_content(std::uint64_t content);
  Result<> count_contents();
  void hold(std::uint64_t content, std::uint64_t octets);
  void release(std::uint64_t content);  // once it is gone for certain

  // --- submissions.cpp ---
  // end_attempt() within a transaction of the caller's: the room is still taken.
  Result<> finish(const Submission& submission, std::int64_t now);
  Result<> read_recipients(Submission& submission);
  Result<> write_recipients(const Submission& submission);
  // Ends a transaction in which a submission was told for the first time, or changed.
  Result<> note_change(std::uint64_t id);
  Result<> make_room(std::int64_t account);
  Result<std::size_t> forget_done(Statement& find);  // how many
  Result<> remove(std::uint64_t id);

  Sqlite sqlite_;
  const std::string epoch_;  // of this file: states of another one, or of one that was lost, are none of ours
  const Duration keep_;
  Recovery recovery_;
  std::int64_t next_look_ = 0;  // for what is too old

  // A message that is written, or will be.
  struct Held {
    std::int64_t account = 0;
    std::uint64_t octets = 0;
    bool delayed = false;
  };
  const struct {
    std::uint64_t account_bytes, total_bytes;
  } room_;
  std::map<std::uint64_t, Held> held_;  // by content
  std::map<std::int64_t, std::uint64_t> held_of_;
  std::uint64_t held_octets_ = 0;
};

}  // namespace postern::records
