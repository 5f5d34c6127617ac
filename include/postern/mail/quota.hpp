// Quotas of an account (RFC 9425) from QUOTA responses (RFC 9208), and what has changed in them. No I/O.
//
// A QuotaLog belongs to one account. It keeps quota_log_entries_max changes; what is older can't be told.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "postern/imap/types.hpp"
#include "postern/limits/meter.hpp"

namespace postern::mail {

inline constexpr std::size_t quota_log_entries_max = 64;
inline constexpr std::size_t quotas_max = 100;  // of one account; more are not shown

struct Quota {
  enum class Resource : std::uint8_t { octets, count };
  enum class Scope : std::uint8_t { account, domain, global };
  std::string id;
  std::string name;
  Resource resource = Resource::octets;
  Scope scope = Scope::account;
  std::uint64_t used = 0, hard_limit = 0;
  std::optional<std::uint64_t> warn_limit, soft_limit;
  std::optional<std::string> description;
  std::vector<std::string> types;  // of the JMAP Types Names registry: what counts
  friend bool operator==(const Quota&, const Quota&) = default;
};

// Of one quota root: STORAGE (in units of 1,024 octets, RFC 9208, 5.1), MESSAGE and MAILBOX; other resources are none
// that JMAP has a type for.
std::vector<Quota> quotas_of(const imap::QuotaResponse& response);

// Of a plan (docs/limits.md): each limit that it sets, of octets, of messages and of recipients.
std::vector<Quota> quotas_of(const limits::Meter& meter);

struct QuotaChanges {
  std::vector<std::string> created, updated, destroyed;
  bool only_used = true;    // nothing else of the updated ones has changed
  std::uint64_t state = 0;  // what they lead to
};

class QuotaLog {
 public:
  // What there is now. True if it is another than before: then `next_state` is its state.
  bool take(std::vector<Quota> fresh, std::uint64_t next_state);
  const std::vector<Quota>& all() const { return quotas_; }
  bool empty() const { return state_ == 0; }  // nothing has been taken yet
  // `now` is the present state. nullopt: `since` is none whose changes are known.
  std::optional<QuotaChanges> since(std::uint64_t state, std::uint64_t now) const;

 private:
  struct Entry {
    std::uint64_t before = 0, after = 0;
    std::vector<std::string> created, updated, destroyed;
    bool only_used = true;
  };
  std::vector<Quota> quotas_;
  std::vector<Entry> entries_;
  std::uint64_t state_ = 0;  // of quotas_; 0: nothing has been taken yet
};

}  // namespace postern::mail
