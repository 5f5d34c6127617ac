// The names of capabilities, what implies what, and which tier follows: the only place that knows.
#include "postern/imap/capabilities.hpp"

#include <array>
#include <charconv>

#include "imap/ascii.hpp"

namespace postern::imap {
namespace {

struct Name {
  std::string_view name;  // in capitals
  Capability capability;
};

// The first name of each is the one to_string() writes.
constexpr Name capability_names[] = {
    {"IMAP4REV1", Capability::imap4rev1},
    {"IMAP4REV2", Capability::imap4rev2},
    {"STARTTLS", Capability::starttls},
    {"LOGINDISABLED", Capability::logindisabled},
    {"SASL-IR", Capability::sasl_ir},
    {"AUTH=PLAIN", Capability::auth_plain},
    {"AUTH=LOGIN", Capability::auth_login},
    {"AUTH=OAUTHBEARER", Capability::auth_oauthbearer},
    {"AUTH=XOAUTH2", Capability::auth_xoauth2},
    {"LITERAL+", Capability::literal_plus},
    {"LITERAL-", Capability::literal_minus},
    {"ENABLE", Capability::enable},
    {"ID", Capability::id},
    {"NAMESPACE", Capability::namespace_},
    {"IDLE", Capability::idle},
    {"NOTIFY", Capability::notify},
    {"UNSELECT", Capability::unselect},
    {"UIDPLUS", Capability::uidplus},
    {"MOVE", Capability::move},
    {"CONDSTORE", Capability::condstore},
    {"QRESYNC", Capability::qresync},
    {"ESEARCH", Capability::esearch},
    {"SEARCHRES", Capability::searchres},
    {"SORT", Capability::sort},
    {"SORT=DISPLAY", Capability::sort_display},
    {"ESORT", Capability::esort},
    {"CONTEXT=SEARCH", Capability::context_search},
    {"CONTEXT=SORT", Capability::context_sort},
    {"PARTIAL", Capability::partial},
    {"THREAD=REFERENCES", Capability::thread_references},
    {"THREAD=REFS", Capability::thread_refs},
    {"THREAD=ORDEREDSUBJECT", Capability::thread_orderedsubject},
    {"LIST-EXTENDED", Capability::list_extended},
    {"LIST-STATUS", Capability::list_status},
    {"SPECIAL-USE", Capability::special_use},
    {"CREATE-SPECIAL-USE", Capability::create_special_use},
    {"XLIST", Capability::xlist},
    {"CHILDREN", Capability::children},
    {"STATUS=SIZE", Capability::status_size},
    {"LIST-MYRIGHTS", Capability::list_myrights},
    {"OBJECTID", Capability::objectid},
    {"PREVIEW", Capability::preview},
    {"PREVIEW=FUZZY", Capability::preview},
    {"SAVEDATE", Capability::savedate},
    {"BINARY", Capability::binary},
    {"MULTIAPPEND", Capability::multiappend},
    {"CATENATE", Capability::catenate},
    {"UTF8=ACCEPT", Capability::utf8_accept},
    {"UTF8=ONLY", Capability::utf8_only},
    {"COMPRESS=DEFLATE", Capability::compress_deflate},
    {"QUOTA", Capability::quota},
    {"ACL", Capability::acl},
    {"METADATA", Capability::metadata},
    {"METADATA-SERVER", Capability::metadata_server},
    {"WITHIN", Capability::within},
    {"SEARCH=FUZZY", Capability::search_fuzzy},
    {"I18NLEVEL=1", Capability::i18nlevel_1},
    {"I18NLEVEL=2", Capability::i18nlevel_1},
    {"X-GM-EXT-1", Capability::gmail},
    {"X-GUID", Capability::x_guid},
    {"REPLACE", Capability::replace},
    {"UIDONLY", Capability::uidonly},
    {"APPENDLIMIT", Capability::appendlimit},
    {"LOGIN-REFERRALS", Capability::login_referrals},
};

// RFC 9051, Appendix E: the extensions that IMAP4rev2 includes. LITERAL- is among them; of BINARY only FETCH.
constexpr Capability in_imap4rev2[] = {
    Capability::literal_minus, Capability::enable,   Capability::namespace_,    Capability::idle,
    Capability::unselect,      Capability::uidplus,  Capability::move,          Capability::esearch,
    Capability::searchres,     Capability::sasl_ir,  Capability::list_extended, Capability::list_status,
    Capability::special_use,   Capability::children, Capability::status_size,
};

}  // namespace

CapabilitySet::CapabilitySet(const std::vector<std::string>& given) {
  for (const std::string& name : given) {
    for (const Name& known : capability_names) {
      if (is_word(name, known.name)) set(known.capability);
    }
    // RFC 7889: "APPENDLIMIT" ["=" number]
    constexpr std::string_view limit = "APPENDLIMIT=";
    if (starts_with_word(name, limit)) {
      std::uint64_t octets = 0;
      const auto [end, ec] = std::from_chars(name.data() + limit.size(), name.data() + name.size(), octets);
      if (ec == std::errc() && end == name.data() + name.size()) {
        set(Capability::appendlimit);
        append_limit_ = octets;
      }
    }
  }
  if (has(Capability::imap4rev2)) {
    for (const Capability c : in_imap4rev2) set(c);
  }
  if (has(Capability::utf8_only)) set(Capability::utf8_accept);  // RFC 6855, section 6
  if (has(Capability::qresync)) {                                // RFC 7162, 3.2.3: both are implied
    set(Capability::condstore);
    set(Capability::enable);
  }
}

std::string CapabilitySet::to_string() const {
  std::string out;
  std::optional<Capability> last;
  for (const Name& known : capability_names) {
    if (!has(known.capability) || last == known.capability) continue;
    last = known.capability;
    if (!out.empty()) out += ' ';
    out += known.name;
    if (known.capability == Capability::appendlimit && append_limit_)
      out += '=' + std::to_string(*append_limit_);
  }
  return out;
}

Tiers tiers_of(const CapabilitySet& c) {
  Tiers t;
  if (c.has(Capability::qresync)) {
    t.sync = SyncTier::qresync;
  } else if (c.has(Capability::condstore)) {
    t.sync = SyncTier::condstore;
  }
  if (c.has(Capability::notify)) {
    t.watch = WatchTier::notify;
  } else if (c.has(Capability::idle)) {
    t.watch = WatchTier::idle;
  }
  if (c.has(Capability::move)) {
    t.move = MoveTier::move;
  } else if (c.has(Capability::uidplus)) {
    t.move = MoveTier::copy_uid_expunge;
  }
  if (c.has(Capability::gmail)) {
    t.thread = ThreadTier::gmail;
  } else if (c.has(Capability::objectid)) {
    t.thread = ThreadTier::object_id;
  } else if (c.has(Capability::thread_references) || c.has(Capability::thread_refs)) {
    t.thread = ThreadTier::server_thread;
  }
  if (c.has(Capability::objectid)) {
    t.identity = IdentityTier::object_id;
  } else if (c.has(Capability::gmail)) {
    t.identity = IdentityTier::gmail;
  } else if (c.has(Capability::x_guid)) {
    t.identity = IdentityTier::guid;
  }
  t.server_sort = c.has(Capability::sort);
  t.esort = t.server_sort && c.has(Capability::esort);
  t.esearch = c.has(Capability::esearch);
  t.partial =
      c.has(Capability::partial) || (c.has(Capability::context_search) && c.has(Capability::context_sort));
  t.list_status = c.has(Capability::list_status);
  t.special_use = c.has(Capability::special_use);
  t.unselect = c.has(Capability::unselect);
  t.idle_ok = c.has(Capability::idle);
  return t;
}

std::string_view to_string(SyncTier t) {
  switch (t) {
    case SyncTier::plain: return "plain";
    case SyncTier::condstore: return "condstore";
    case SyncTier::qresync: return "qresync";
  }
  return "unknown";
}

std::string_view to_string(WatchTier t) {
  switch (t) {
    case WatchTier::poll: return "poll";
    case WatchTier::idle: return "idle";
    case WatchTier::notify: return "notify";
  }
  return "unknown";
}

}  // namespace postern::imap
