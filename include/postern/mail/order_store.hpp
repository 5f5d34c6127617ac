// Where the places that a client has given to Mailboxes (sortOrder; RFC 8621, 2) are kept, beyond a restart of the
// machine: IMAP has no room for them.
//
// One object an account, on the account's shard.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "postern/io/task.hpp"
#include "postern/mail/ids.hpp"

namespace postern::mail {

class OrderStore {
 public:
  virtual ~OrderStore() = default;
  virtual io::Task<Result<std::unordered_map<MailboxKey, std::uint32_t>>> orders() = 0;
  // nullopt: none any more. Without an error, it is kept when it comes back.
  virtual io::Task<Result<>> put(MailboxKey key, std::optional<std::uint32_t> order) = 0;
};

}  // namespace postern::mail
