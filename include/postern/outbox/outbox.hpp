// What is to be sent, from the moment that it is written down until it is done: at once, later, and again.
//
// One object a shard, on its loop, for the accounts of that shard. It owns no record: those are in the database, and
// what is here is which of them wait. A message is handed to the outgoing mail server at most once for each recipient
// that it accepts: before the end of the message is sent, the record says so durably (Records::begin_sending); who
// finds it like that after a crash doesn't send it again (docs/architecture.md, "Sending exactly once").
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "postern/io/event.hpp"
#include "postern/io/loop.hpp"
#include "postern/records/records.hpp"
#include "postern/smtp/transport.hpp"

namespace postern::outbox {

inline constexpr std::size_t background_sends_max = 4;  // at a time, of an outbox

// Whose addresses a person may send from.
enum class FromPolicy : std::uint8_t { login, domain, any };
// Who signs in to the outgoing mail server.
enum class SignInAs : std::uint8_t { person, relay, nobody };

struct Options {
  FromPolicy from = FromPolicy::login;
  std::string domain;  // of the addresses of logins that are none; empty: they have no address
  std::uint64_t message_bytes_max = 50'000'000;
  std::uint32_t recipients_max = 100;
  Duration delay_max = std::chrono::hours(24 * 30);  // of a delayed send; 0: there is none
  std::vector<std::string> extensions;               // of SMTP, whose parameters clients may give ("DSN")
  SignInAs sign_in = SignInAs::person;
  std::shared_ptr<const smtp::Credentials> relay;  // SignInAs::relay
  // What was refused for the moment is tried again: first after the one, at most as far apart as the other, and for how
  // long in all.
  Duration retry_min = std::chrono::minutes(1), retry_max = std::chrono::minutes(30),
           retry_for = std::chrono::hours(24);
  // How long after it was due a message may still begin to go out: its sender, or the broker, was away.
  Duration late_max = std::chrono::hours(24 * 7);
};

struct Submitted {
  std::uint64_t id = 0;   // 0: nobody gets it, and there is no record of it
  smtp::Outcome outcome;  // of the attempt, where there was one
};

class Outbox {
 public:
  Outbox(io::Loop& loop, std::unique_ptr<records::Records> records,
         std::unique_ptr<smtp::Transport> transport, Options options);
  ~Outbox();
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;

  records::Records& records() { return *records_; }
  const Options& options() const { return options_; }

  // Takes up what waits for accounts whose key modulo `shards` is `shard`.
  void start(unsigned shard, unsigned shards);
  // Before a stop: of what waits nothing more is begun. Requests under way may still send.
  void hold();
  // No further attempt; those under way have until then.
  io::Task<> stop(MonotonicTime deadline);

  // Writes it down and sends it, or has it wait until send_at. The content has been written; it is dropped where this
  // fails. An attempt fails as a whole if the server refuses any recipient for good. `credentials` are the person's.
  // Errors are of records, and nobody gets it then; outbox::Errc::outcome_unknown where that can't be said.
  io::Task<Result<Submitted>> submit(records::Owner owner, records::Submission submission,
                                     smtp::Credentials credentials);
  // False if it can't be canceled any more.
  io::Task<Result<bool>> cancel(records::Owner owner, std::uint64_t id);
  // The person has signed in: what waits for their credentials goes on. Cheap where nothing waits.
  bool has_waiting(const records::Owner& owner) const { return waiting_of_.contains(owner); }
  void take_credentials(const records::Owner& owner, smtp::Credentials credentials);

  std::size_t waiting() const { return waiting_.size(); }
  std::int64_t now() const { return unix_seconds(loop_.clock().wall()); }

 private:
  struct Entry {
    records::Owner owner;
    std::int64_t due = 0;
    bool sending = false;
    // What became of it, where that couldn't be written down yet: nothing more is sent of it before it is.
    std::shared_ptr<records::Submission> unwritten = {};
  };
  struct Attempt {
    smtp::Outcome outcome;
    std::optional<Error> unmarked = {};  // why the records couldn't be told that its end is about to be sent
  };
  io::Task<> load(unsigned shard, unsigned shards);
  void add_waiting(records::Waiting waiting);
  void remove_waiting(std::uint64_t id);
  void try_later(std::uint64_t id);  // what the records can't be asked or told now
  void wake();                       // now, or when the next one is due
  bool can_sign_in(const records::Owner& owner) const;
  smtp::Credentials credentials_of(const records::Owner& owner) const;
  void end_sending();
  io::Task<> work_on(std::uint64_t id);
  io::Task<> send_waiting(std::uint64_t id, records::Owner owner);
  io::Task<> send_again(records::Owner owner, records::Submission submission);
  io::Task<Attempt> attempt(const records::Submission& submission, smtp::Credentials credentials,
                            bool all_or_none);
  io::Task<Result<Submitted>> submit_new(records::Owner owner, records::Submission submission,
                                         smtp::Credentials credentials);
  io::Task<Result<Submitted>> submit_now(records::Owner owner, records::Submission submission,
                                         smtp::Credentials credentials);
  io::Task<> write_down(records::Owner owner, records::Submission submission);
  // What an attempt has come to, for each recipient and for all.
  void settle(records::Submission& submission, const smtp::Outcome& outcome, bool is_last) const;
  bool is_too_late(const records::Submission& submission) const;  // to be tried again

  io::Loop& loop_;
  std::unique_ptr<records::Records> records_;
  std::unique_ptr<smtp::Transport> transport_;
  const Options options_;
  std::map<std::uint64_t, Entry> waiting_;
  std::map<records::Owner, std::size_t> waiting_of_;
  std::map<records::Owner, smtp::Credentials> credentials_;  // of people for whom something waits
  std::size_t sending_ = 0, sending_behind_ = 0;             // messages at work; those that nobody waits for
  io::Event none_sending_;
  TimerId timer_ = 0, load_timer_ = 0;
  Duration load_pause_;
  bool holding_ = false, stopping_ = false;
};

enum class Errc { outcome_unknown = 1, stopping, too_late };
const std::error_category& outbox_category();
inline std::error_code make_error_code(Errc e) { return {static_cast<int>(e), outbox_category()}; }

}  // namespace postern::outbox
template <>
struct std::is_error_code_enum<postern::outbox::Errc> : std::true_type {};
