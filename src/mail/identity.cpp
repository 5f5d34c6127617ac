// What servers tell of which message it is, as 128 bits.
#include "postern/mail/identity.hpp"

#include <cstring>
#include <string>

#include "postern/base/crypto.hpp"

namespace postern::mail {
namespace {

// The kind of item is part of it: a number of one is nothing to another.
Identity identity_digest(std::string_view kind, std::string_view value) {
  const auto digest = sha256(std::string(kind) + "\n" + std::string(value));
  Identity identity;
  std::memcpy(&identity.high, digest.data(), sizeof(identity.high));
  std::memcpy(&identity.low, digest.data() + sizeof(identity.high), sizeof(identity.low));
  return identity;
}

// Empty, or zeros alone: it isn't known to the server either.
bool tells_nothing(std::string_view value) { return value.find_first_not_of('0') == std::string_view::npos; }

}  // namespace

std::string_view identity_item(const imap::CapabilitySet& capabilities) {
  switch (imap::tiers_of(capabilities).identity) {
    case imap::IdentityTier::object_id: return " EMAILID";
    case imap::IdentityTier::gmail: return " X-GM-MSGID";
    case imap::IdentityTier::guid: return " X-GUID";
    case imap::IdentityTier::none: break;
  }
  return {};
}

Identity identity_of(const imap::FetchData& data) {
  if (!data.uid) return {};
  if (data.email_id)
    return tells_nothing(*data.email_id) ? Identity{} : identity_digest("EMAILID", *data.email_id);
  if (data.gm_msgid && *data.gm_msgid != 0)
    return identity_digest("X-GM-MSGID", std::to_string(*data.gm_msgid));
  if (data.guid && !tells_nothing(*data.guid)) return identity_digest("X-GUID", *data.guid);
  return {};
}

}  // namespace postern::mail
