// Which message it is, whatever mailbox it is in: what a server tells that outlives COPY and MOVE (EMAILID of RFC 8474,
// Gmail's X-GM-MSGID, Dovecot's X-GUID). Pure.
//
// 128 bits of the item's SHA-256 are kept, and not the item, which may have 255 octets: two that differ have the same
// ones by nobody's doing, since who could make them would need 2^64 items that he chooses, and servers choose them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "postern/imap/capabilities.hpp"
#include "postern/imap/types.hpp"

namespace postern::mail {

struct Identity {
  std::uint64_t high = 0, low = 0;
  bool is_known() const { return (high | low) != 0; }
  friend bool operator==(const Identity&, const Identity&) = default;
};
struct IdentityHash {
  std::size_t operator()(const Identity& identity) const { return static_cast<std::size_t>(identity.low); }
};

// The FETCH item that tells it, with a space before it; empty: this server tells none.
std::string_view identity_item(const imap::CapabilitySet& capabilities);
// Of the message that the data name by its UID; not known where they tell none.
Identity identity_of(const imap::FetchData& data);

// UIDs of one mailbox by identity, made when something is looked up for the first time. UIDs that have gone stay until
// it is made anew: whoever looks one up has to compare.
class IdentityTable {
 public:
  bool is_made() const { return !slots_.empty(); }
  bool has_room() const { return used_ + slots_.size() / 20 + 1 < slots_.size(); }
  void make(std::size_t messages) {
    slots_.assign(messages + messages / 8 + 32, 0);
    used_ = 0;
  }
  void clear() { slots_ = {}; }
  void add(const Identity& identity, std::uint32_t uid) {
    auto at = identity.low % slots_.size();
    while (slots_[at] != 0) at = at + 1 == slots_.size() ? 0 : at + 1;
    slots_[at] = uid;
    ++used_;
  }
  // Of each UID that may have it: visit(uid).
  template <typename Visit>
  void each(const Identity& identity, const Visit& visit) const {
    if (slots_.empty()) return;
    for (auto at = identity.low % slots_.size(); slots_[at] != 0; at = at + 1 == slots_.size() ? 0 : at + 1)
      visit(slots_[at]);
  }
  std::size_t memory_bytes() const { return slots_.capacity() * sizeof(std::uint32_t); }

 private:
  std::vector<std::uint32_t> slots_;  // open addressing, a twentieth of them free at least; 0: free
  std::size_t used_ = 0;
};

}  // namespace postern::mail
