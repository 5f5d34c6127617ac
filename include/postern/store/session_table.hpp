// Web sessions in the shared segment, as the broker (the only writer) and the workers (readers) see them.
//
// docs/segment-format.md has the file's format, what a crash can do to it, and what a copy of it reveals.
// The segment outlives the broker; opening it copies what is intact into a fresh file and retires the old.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "postern/base/clock.hpp"
#include "postern/base/crypto.hpp"
#include "postern/base/error.hpp"
#include "postern/base/log.hpp"

namespace postern::store {

using TokenHash = Digest;          // SHA-256 of a session token
using AccountKey = std::uint64_t;  // stable_hash64 of server and login: what shards go by

inline constexpr std::size_t sealed_bytes_max = 4096;      // a sealed credential (OAuth tokens are long)
inline constexpr std::size_t credential_bytes_max = 4028;  // what fits in that
inline constexpr std::size_t login_bytes_max = 320;

enum class Errc { full = 1, not_found, too_large, damaged, version, io, in_use };
const std::error_category& store_category();
inline std::error_code make_error_code(Errc e) { return {static_cast<int>(e), store_category()}; }

struct SessionRecord {
  TokenHash token_hash{};
  AccountKey account = 0;
  std::string login;   // the IMAP login
  std::string sealed;  // credential, sealed under a key derived from the token
  // Unix seconds; the session ends at `expires`, however much it is used. last_used is 0 to 2^32-1.
  std::int64_t created = 0, last_used = 0, expires = 0;
  // Lifetime without use, 0: without limit. Uses are written once a minute, so a session that is not used
  // ends up to a minute later than that, and never earlier.
  std::uint32_t idle_seconds = 0;
  std::uint32_t flags = 0;
};

struct StateCounters {  // per account: RFC 8620 state strings come from these
  std::uint64_t mailbox = 0, email = 0, thread = 0, email_delivery = 0, identity = 0, submission = 0,
                vacation = 0, quota = 0;
  friend bool operator==(const StateCounters&, const StateCounters&) = default;
};
// What an account that isn't known starts from, so that no state string of an earlier life (before a reboot
// emptied the runtime directory, or the account was the oldest of a full table) is ever used again: all
// greater than anything that was counted before, at fewer than a million changes a second; below 2^53.
StateCounters first_counters(WallTime now);

// Where a message was, and where it is now (an id names where it was first seen).
struct Place {
  std::uint64_t mailbox = 0;  // mailbox key
  std::uint32_t uid_validity = 0, uid = 0;
  friend bool operator==(const Place&, const Place&) = default;
};
struct Redirect {
  AccountKey account = 0;
  Place origin, current;
  bool copy = false;  // the message is there, too: one of several places beside where it is otherwise
  friend bool operator==(const Redirect&, const Redirect&) = default;
};

// --- Use against plans (docs/limits.md); what the numbers mean, the limits layer says ---

// A person's windowed counts: pending reservations, then the buckets of the hours, then those of the days. Each is one
// word that is read and written atomically, by any thread; none is ever half written.
inline constexpr std::size_t usage_pending_words = 16, usage_hour_words = 65, usage_day_words = 100;
inline constexpr std::size_t usage_words = usage_pending_words + usage_hour_words + usage_day_words;
using UsageWords = std::array<std::uint64_t, usage_words>;
inline constexpr std::size_t usage_limits = 10;
inline constexpr std::uint64_t usage_unlimited = ~std::uint64_t{0};
inline constexpr std::size_t usage_login_bytes = 96, usage_plan_bytes = 32;  // longer ones are cut

// What a person may use: written seldom.
struct UsageTerms {
  std::string login, plan;
  std::array<std::uint64_t, usage_limits> limits = unlimited();
  std::array<std::uint64_t, usage_limits> extra{};  // on top, until then
  std::int64_t extra_until = 0;                     // Unix seconds
  static constexpr std::array<std::uint64_t, usage_limits> unlimited() {
    std::array<std::uint64_t, usage_limits> all{};
    all.fill(usage_unlimited);
    return all;
  }
  friend bool operator==(const UsageTerms&, const UsageTerms&) = default;
};
struct UsageRecord {
  AccountKey account = 0;
  UsageTerms terms;
  UsageWords words{};
};
// The words themselves, in the segment, to be read and written by std::atomic_ref. While somebody holds them they stay
// that account's.
using UsageCell = std::shared_ptr<UsageWords>;
// Do these words count anything at that time (Unix seconds)? Any thread.
using SomethingCounted = bool (*)(const UsageWords& words, std::int64_t now);

// What a request's body may hold at most, in octets.
struct BodyLimits {
  std::uint64_t request_bytes_max = 0, upload_bytes_max = 0;
  friend bool operator==(const BodyLimits&, const BodyLimits&) = default;
};

struct SegmentOptions {
  std::string path;  // a file in the runtime directory
  std::uint32_t sessions_max = 65'536;
  std::uint32_t sessions_per_account_max = 100;  // so that nobody fills the table alone
  std::uint32_t accounts_max = 65'536;
  std::uint32_t redirects_max = 262'144;
  // Room for login and sealed credential, on average over sessions_max sessions. The file is sparse: room
  // that isn't used costs nothing.
  std::uint32_t credential_bytes_mean = 1024;
  std::uint32_t mode = 0640;  // of the segment file; not writable for anybody else
  // The lock file's descriptor, inherited from the program that executed this one (an upgrade); -1: none.
  int lock_fd = -1;
  // Whose use makes room first (open_usage); null: words that aren't zero count something.
  SomethingCounted something_counted = nullptr;
};

struct RecoveryReport {
  bool created = false;          // there was none, or none that could be used
  std::string discarded_reason;  // why the old one, or a part of it, could not be used
  std::uint64_t sessions_kept = 0, sessions_dropped = 0, accounts_kept = 0, accounts_dropped = 0,
                redirects_kept = 0, redirects_dropped = 0, usage_kept = 0, usage_dropped = 0;
  std::uint64_t sessions_expired = 0;  // had run out meanwhile: neither kept nor dropped
  std::uint64_t bytes_missing = 0;     // what the file system lacks for full tables: warn
};

struct SegmentUse {
  std::uint32_t sessions = 0, sessions_max = 0, accounts = 0, accounts_max = 0, redirects = 0,
                redirects_max = 0, usage = 0;
  std::uint64_t bytes = 0;
};

// The broker's side. All methods may be called from any shard's thread.
class SegmentWriter {
 public:
  // Opens and recovers, or creates. Holds a lock file so that two brokers never write one segment (in_use);
  // an upgraded broker takes it over (options.lock_fd). damaged is never returned: what is damaged is
  // dropped, reported. io: the directory or the disk; too_large: an option.
  static Result<std::unique_ptr<SegmentWriter>> open(SegmentOptions options, const Clock& clock,
                                                     RecoveryReport& report);
  virtual ~SegmentWriter() = default;

  // Replaces one of the same token. full, too_large; io: no space left on the file system. Where the account has
  // sessions_per_account_max, the one used the longest ago ends: returns those that did.
  virtual Result<std::vector<TokenHash>> put_session(const SessionRecord& record) = 0;
  virtual std::optional<SessionRecord> find_session(const TokenHash& hash) const = 0;  // live ones only
  virtual void touch_session(const TokenHash& hash) = 0;  // last_used = now, at most once a minute written
  virtual Result<> reseal_session(const TokenHash& hash, std::string sealed) = 0;  // a fresh credential
  virtual bool end_session(const TokenHash& hash) = 0;
  virtual std::size_t end_sessions_of(AccountKey account) = 0;
  virtual std::size_t sessions_of(AccountKey account) const = 0;  // live ones; costs as much as there are
  // Unix seconds: when the first of them ends, if none is used any more.
  virtual std::optional<std::int64_t> first_session_end(AccountKey account) const = 0;
  virtual std::size_t expire_sessions() = 0;  // frees what has expired; the broker calls it now and then
  virtual void for_each_session(const std::function<void(const SessionRecord&)>& visit) const = 0;

  virtual StateCounters counters(AccountKey account) const = 0;  // zeros if unknown
  // When full, the account goes whose counters were put the longest ago. io: as above.
  virtual Result<> put_counters(AccountKey account, const StateCounters& counters) = 0;

  // Bounded: when full, the oldest go. Replaces the one of the same account and origin. Those that led to
  // its origin lead to its current place from now on; one that leads back to its own origin goes. A copy has its
  // current place to itself: it replaces the copy of the same account that is there. io: as above.
  virtual Result<> put_redirect(const Redirect& redirect) = 0;
  virtual std::vector<Redirect> redirects(AccountKey account) const = 0;
  virtual void drop_redirect(AccountKey account, const Place& origin) = 0;
  virtual void drop_copy(AccountKey account, const Place& current) = 0;

  // The account's counts, made if there are none. The segment must outlive what is returned. When accounts_max have
  // counts, one goes that nobody holds: where nothing is counted and nothing granted, else the one let go of the
  // longest ago; full: all are held. io: as above.
  virtual Result<UsageCell> open_usage(AccountKey account) = 0;
  // full, io: as above. The counts stay as they are.
  virtual Result<> put_usage_terms(AccountKey account, const UsageTerms& terms) = 0;
  virtual std::optional<UsageRecord> usage(AccountKey account) const = 0;
  virtual void for_each_usage(const std::function<void(const UsageRecord&)>& visit) const = 0;

  // posternd tells the workers how to behave: draining, and how large a request's body may be.
  virtual void set_draining(bool draining) = 0;
  virtual void set_body_limits(const BodyLimits& limits) = 0;
  virtual SegmentUse use() const = 0;
  // For an upgrade: clear FD_CLOEXEC on it just before exec, and tell the new program its number.
  virtual int lock_fd() const = 0;
};

enum class Liveness : std::uint8_t { live, unknown_token, expired, no_segment };

// A worker's side: a read-only mapping. It notices when the broker has made a new segment and maps that.
// Never waits: not for the broker, not for another thread. One a process, any thread; survives fork().
class SegmentReader {
 public:
  static std::unique_ptr<SegmentReader> open(std::string path, const Clock& clock);
  virtual ~SegmentReader() = default;
  // no_segment: there is none (yet), or none this version can read, or it can't be read just now: the broker
  // decides.
  virtual Liveness liveness(const TokenHash& hash) = 0;
  virtual bool draining() = 0;  // false without a segment
  // What the person of a live session has used, and may use. nullopt: not known here, the broker decides.
  virtual std::optional<UsageRecord> usage(const TokenHash& hash) = 0;
  virtual std::optional<BodyLimits> body_limits() = 0;  // nullopt: not told
};

// A session token: 256 random bits. It is shown once, to the client; everything else knows its hash.
Secret make_token(Random& random);                            // "pst_" and 43 base64url characters
std::optional<TokenHash> hash_token(std::string_view token);  // nullopt: not of a token's form
std::string session_tag(const TokenHash& hash);               // 8 hex digits, for logs
// Seals and opens a credential under a token. What is longer than credential_bytes_max can be sealed, but not put.
// CryptoErrc: not_authentic (another token's, or altered), malformed.
std::string seal_credential(const Secret& token, const TokenHash& hash, const Secret& plain, Random& random);
Result<Secret> unseal_credential(std::string_view token, const TokenHash& hash, std::string_view sealed);

}  // namespace postern::store
template <>
struct std::is_error_code_enum<postern::store::Errc> : std::true_type {};
