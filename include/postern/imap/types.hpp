// What an IMAP server says, as values (RFC 3501, RFC 9051 and the extensions named at each type).
//
// Plain data without behaviour; strings are as the server sent them unless a comment says otherwise.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "postern/imap/uid_set.hpp"

namespace postern::imap {

using NString = std::optional<std::string>;  // NIL is nullopt

// --- Flags (RFC 3501, 2.3.2) ---

struct Flags {
  enum Bit : std::uint8_t { seen = 1, answered = 2, flagged = 4, deleted = 8, draft = 16, recent = 32 };
  std::uint8_t system = 0;
  std::vector<std::string>
      keywords;              // in the server's spelling, once each, without "\*"; unknown ones keep their "\"
  bool any_keyword = false;  // "\*" was among them (PERMANENTFLAGS)
};

// --- Envelope and body structure (RFC 3501, 7.4.2) ---

struct Address {
  NString name;     // raw: RFC 2047 encoded words or 8-bit as the server sent them
  NString mailbox;  // with host nullopt: start of a group (its name), or, nullopt too, its end
  NString host;
};

struct Envelope {
  NString date, subject;
  std::vector<Address> from, sender, reply_to, to, cc, bcc;
  NString in_reply_to, message_id;
};

using Parameters = std::vector<std::pair<std::string, std::string>>;  // names in lower case

struct BodyStructure {
  std::string type, subtype;  // lower case; "multipart" for a multipart
  Parameters parameters;
  NString id, description;
  std::string encoding;  // lower case
  std::uint64_t size = 0;
  std::uint64_t lines = 0;  // text/* and message/rfc822
  NString md5;
  NString disposition;  // lower case
  Parameters disposition_parameters;
  std::vector<std::string> languages;
  NString location;
  std::vector<BodyStructure> parts;    // multipart: its parts; message/rfc822: its one body, none if left out
  std::unique_ptr<Envelope> envelope;  // message/rfc822

  bool is_multipart() const { return type == "multipart"; }
};

// --- FETCH (RFC 3501, 7.4.2; RFC 7162; RFC 8474; RFC 8970; RFC 3516) ---

struct BodySection {
  std::string section;  // as in the brackets, upper case: "", "HEADER", "1.2.MIME", "HEADER.FIELDS (FROM TO)"
  std::optional<std::uint64_t> origin;
  bool binary = false;  // BINARY[...]: the server has decoded the transfer encoding
  NString data;
};

struct FetchData {
  std::uint32_t seq = 0;
  std::optional<std::uint32_t> uid;
  std::optional<Flags> flags;
  std::optional<std::int64_t> internal_date;  // seconds since 1970
  std::optional<std::uint64_t> size;          // RFC822.SIZE
  std::optional<std::uint64_t> modseq;
  std::unique_ptr<Envelope> envelope;
  std::unique_ptr<BodyStructure> body_structure;
  std::vector<BodySection> sections;  // RFC822, RFC822.HEADER and RFC822.TEXT too: as "", "HEADER", "TEXT"
  std::vector<std::pair<std::string, std::uint64_t>> binary_sizes;
  NString email_id, thread_id;  // OBJECTID
  NString guid;                 // Dovecot's X-GUID
  std::optional<std::uint64_t> gm_msgid, gm_thrid;
  std::optional<std::vector<std::string>> gm_labels;
  NString preview;
  std::optional<std::int64_t> save_date;
};

// --- Response codes (RFC 3501, 7.1; RFC 5530; RFC 4315; RFC 7162 and others) ---

struct CopyUid {
  std::uint32_t uid_validity = 0;
  std::vector<std::uint32_t> source, destination;  // in pairs, equally long
};
struct AppendUid {
  std::uint32_t uid_validity = 0;
  std::vector<std::uint32_t> uids;
};

struct ResponseCode {
  std::string name;       // upper case: "UIDVALIDITY", "TRYCREATE", "AUTHENTICATIONFAILED"; empty if none
  std::string arguments;  // raw text behind the name, without the bracket
  // By name: a number (UIDVALIDITY, UIDNEXT, UNSEEN, HIGHESTMODSEQ), flags (PERMANENTFLAGS), sets
  // (MODIFIED), atoms (CAPABILITY, BADCHARSET), an object id (MAILBOXID).
  std::variant<std::monostate, std::uint64_t, Flags, UidSet, CopyUid, AppendUid, std::vector<std::string>,
               std::string>
      value;
};

enum class Status : std::uint8_t { ok, no, bad, preauth, bye };

// --- Responses ---

struct StatusResponse {  // tagged (tag not empty) or untagged
  std::string tag;
  Status status = Status::ok;
  ResponseCode code;
  std::string text;
};
struct Continuation {
  std::string text;  // behind "+ "
  ResponseCode code;
};
struct CapabilityResponse {
  std::vector<std::string> names;  // upper case
};
struct EnabledResponse {
  std::vector<std::string> names;
};
struct FlagsResponse {
  Flags flags;
};
struct ExistsResponse {
  std::uint32_t count = 0;
};
struct RecentResponse {
  std::uint32_t count = 0;
};
struct ExpungeResponse {
  std::uint32_t seq = 0;
};
struct VanishedResponse {  // RFC 7162, 3.2.10
  bool earlier = false;
  UidSet uids;
};
struct FetchResponse {
  FetchData data;
};
struct SearchResponse {
  std::vector<std::uint32_t> numbers;
  std::optional<std::uint64_t> modseq;
};
struct SortResponse {
  std::vector<std::uint32_t> numbers;
  std::optional<std::uint64_t> modseq;
};
struct EsearchResponse {  // RFC 4731, RFC 5267, RFC 9394
  std::string tag;
  bool uid = false;
  std::optional<std::uint32_t> min, max;
  std::optional<std::uint64_t> count, modseq;
  std::optional<UidSet> all;                          // for SEARCH: unordered
  std::vector<std::uint32_t> all_ordered;             // ALL expanded in the order sent: for SORT (ESORT)
  std::optional<std::vector<std::uint32_t>> partial;  // PARTIAL: in the order sent
};
struct ThreadNode {
  std::uint32_t number = 0;  // 0: a parent that isn't there
  std::vector<ThreadNode> children;
};
struct ThreadResponse {
  std::vector<ThreadNode> threads;
};
struct ListResponse {                   // LIST, LSUB and XLIST (RFC 3501; RFC 5258; RFC 6154; RFC 8440)
  std::string command;                  // "LIST", "LSUB", "XLIST"
  std::vector<std::string> attributes;  // lower case, with the backslash: "\\noselect"
  std::optional<char> separator;
  std::string
      mailbox;       // as sent: modified UTF-7, or UTF-8 under UTF8=ACCEPT / IMAP4rev2; INBOX in upper case
  NString old_name;  // OLDNAME
  std::vector<std::string> child_info;  // CHILDINFO
};
struct StatusDataResponse {  // STATUS
  std::string mailbox;
  std::optional<std::uint32_t> messages, recent, uid_next, uid_validity, unseen, deleted;
  std::optional<std::uint64_t> highest_modseq, size, append_limit;
  NString mailbox_id;
};
struct NamespaceResponse {  // RFC 2342
  struct Entry {
    std::string prefix;
    std::optional<char> separator;
  };
  std::vector<Entry> personal, other_users, shared;
};
struct IdResponse {
  std::vector<std::pair<std::string, NString>> fields;
};
struct QuotaResponse {  // RFC 9208
  std::string root;
  struct Resource {
    std::string name;
    std::uint64_t usage = 0, limit = 0;
  };
  std::vector<Resource> resources;
};
struct QuotaRootResponse {
  std::string mailbox;
  std::vector<std::string> roots;
};
struct MyRightsResponse {
  std::string mailbox, rights;
};
struct MetadataResponse {  // RFC 5464
  std::string mailbox;
  std::vector<std::pair<std::string, NString>> entries;
};
struct UnknownResponse {
  std::string name;  // upper case
};

using Response =
    std::variant<StatusResponse, Continuation, CapabilityResponse, EnabledResponse, FlagsResponse,
                 ExistsResponse, RecentResponse, ExpungeResponse, VanishedResponse, FetchResponse,
                 SearchResponse, SortResponse, EsearchResponse, ThreadResponse, ListResponse,
                 StatusDataResponse, NamespaceResponse, IdResponse, QuotaResponse, QuotaRootResponse,
                 MyRightsResponse, MetadataResponse, UnknownResponse>;

}  // namespace postern::imap
