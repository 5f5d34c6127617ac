// What a server can do, and the tiers that follow from it: data, so that nobody asks for a capability by
// name anywhere else.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::imap {

enum class Capability : std::uint8_t {
  imap4rev1,
  imap4rev2,
  starttls,
  logindisabled,
  sasl_ir,
  auth_plain,
  auth_login,
  auth_oauthbearer,
  auth_xoauth2,
  literal_plus,
  literal_minus,
  enable,
  id,
  namespace_,
  idle,
  notify,
  unselect,
  uidplus,
  move,
  condstore,
  qresync,
  esearch,
  searchres,
  sort,
  sort_display,
  esort,
  context_search,
  context_sort,
  partial,
  thread_references,
  thread_refs,
  thread_orderedsubject,
  list_extended,
  list_status,
  special_use,
  create_special_use,
  xlist,
  children,
  status_size,
  list_myrights,
  objectid,
  preview,
  savedate,
  binary,
  multiappend,
  catenate,
  utf8_accept,
  utf8_only,
  compress_deflate,
  quota,
  acl,
  metadata,
  metadata_server,
  within,
  search_fuzzy,
  i18nlevel_1,
  gmail,
  x_guid,
  replace,
  uidonly,
  appendlimit,
  login_referrals,
  count_
};

class CapabilitySet {
 public:
  CapabilitySet() = default;
  // Names as in a CAPABILITY response; unknown ones are ignored. IMAP4rev2 implies what RFC 9051 folded in.
  explicit CapabilitySet(const std::vector<std::string>& names);
  bool has(Capability c) const { return bits_[static_cast<std::size_t>(c)]; }
  void set(Capability c, bool on = true) { bits_[static_cast<std::size_t>(c)] = on; }
  bool empty() const { return bits_.none(); }
  std::optional<std::uint64_t> append_limit() const { return append_limit_; }
  // UTF-8 in quoted strings and mailbox names: true only once the server has answered ENABLE UTF8=ACCEPT or
  // ENABLE IMAP4rev2 with ENABLED (RFC 6855, section 3; RFC 9051, 6.3.1). Being able to is not being asked to.
  bool utf8_enabled() const { return utf8_enabled_; }
  void set_utf8_enabled(bool on = true) { utf8_enabled_ = on; }
  std::string to_string() const;  // for posternctl

 private:
  std::bitset<static_cast<std::size_t>(Capability::count_)> bits_;
  std::optional<std::uint64_t> append_limit_;
  bool utf8_enabled_ = false;
};

// Dovecot has X-GUID without saying so in CAPABILITY: whoever reads ID sets Capability::x_guid.

enum class SyncTier : std::uint8_t { plain, condstore, qresync };
enum class WatchTier : std::uint8_t { poll, idle, notify };
enum class MoveTier : std::uint8_t { copy_only, copy_uid_expunge, move };
enum class ThreadTier : std::uint8_t { own, server_thread, object_id, gmail };
enum class IdentityTier : std::uint8_t { none, guid, gmail, object_id };

struct Tiers {
  SyncTier sync = SyncTier::plain;
  WatchTier watch = WatchTier::poll;
  MoveTier move = MoveTier::copy_only;
  ThreadTier thread = ThreadTier::own;
  IdentityTier identity = IdentityTier::none;
  bool server_sort = false, esort = false, esearch = false, partial = false;
  bool list_status = false, special_use = false, unselect = false, idle_ok = false;
};
Tiers tiers_of(const CapabilitySet& capabilities);
std::string_view to_string(SyncTier t);
std::string_view to_string(WatchTier t);

}  // namespace postern::imap
