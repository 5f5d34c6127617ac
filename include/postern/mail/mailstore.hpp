// The port through which JMAP sees a person's mail: no IMAP in it, no HTTP.
//
// One object an account, on the account's shard. Everything that can wait is a coroutine; what a method
// returns is valid after the next suspension, too (values and shared pointers, no references into caches).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "postern/base/error.hpp"
#include "postern/imap/types.hpp"
#include "postern/io/task.hpp"
#include "postern/mail/ids.hpp"
#include "postern/mail/mailbox_list.hpp"
#include "postern/mail/query.hpp"

namespace postern::mail {

enum class Errc {
  not_found = 1,     // no such mailbox
  unsupported_sort,  // neither we nor the server can do it
  unsupported_filter,
  anchor_not_found,
  server_refused,      // tagged NO or BAD; the context has the server's words
  server_unavailable,  // no connection can be had
  outcome_unknown,     // the connection broke after a write had been sent
  authentication,      // the server refuses the account's credentials
  too_large,
  messages_expunged,  // NO [EXPUNGEISSUED] to a FETCH: to be asked again for those that are left
};
const std::error_category& mail_category();
inline std::error_code make_error_code(Errc e) { return {static_cast<int>(e), mail_category()}; }

// Whether what is known of a mailbox, or of their list, is in step with the IMAP server. Stale is what was known
// when the server could last be reached.
enum class Freshness : std::uint8_t { current, stale };
constexpr Freshness both(Freshness a, Freshness b) { return a == Freshness::stale ? a : b; }

// What a method has read, with the state that it belongs to: a change that isn't in the data isn't in the state.
template <typename T>
struct Snapshot {
  T data;
  std::string state;
  Freshness freshness = Freshness::current;
};

// --- Mailboxes ---

struct MailboxData {  // a Mailbox with counts as they are now
  Mailbox mailbox;
  std::uint64_t total_emails = 0, unread_emails = 0, total_threads = 0, unread_threads = 0;
};

// --- Queries ---

struct EmailQuery {
  Filter filter;
  Sort sort;
  std::int64_t position = 0;
  std::optional<EmailKey> anchor;
  std::int64_t anchor_offset = 0;
  std::uint64_t limit = 0;
  bool collapse_threads = false;
};
struct EmailQueryResult {
  std::vector<EmailKey> ids;
  std::uint64_t position = 0, total = 0;
  std::string query_state;
  Freshness freshness = Freshness::current;
};

// --- Fetching ---

// What was fetched of one message. Handed to a renderer and then dropped.
struct MessageSource {
  EmailKey id;
  Place place;
  ThreadKey thread = 0;
  std::uint64_t size = 0;
  std::int64_t received_at = 0;
  std::optional<std::string> header;  // the header fields asked for, or all, as they are in the message
  std::shared_ptr<const imap::BodyStructure> body_structure;
  std::optional<std::string> preview;                         // the server's own (RFC 8970)
  std::vector<std::pair<std::string, std::string>> sections;  // "1" -> its octets (cut where so asked)
  bool whole = true;  // false: the server has left out a section that was asked for
};

struct WantedSection {
  std::string section;
  std::uint64_t octets_max = 0;  // 0: all of it
  friend auto operator<=>(const WantedSection&, const WantedSection&) = default;
};

// A message's JSON object, in which the values that change (keywords, mailboxIds) have been left out:
// the positions say where they belong.
struct Fragment {
  static constexpr std::uint32_t nowhere = 0xFFFFFFFFu;
  std::string bytes;
  std::uint32_t keywords_at = nowhere, mailbox_ids_at = nowhere;
};

struct FetchPlan {
  std::string signature;                   // equal plans have equal fragments
  std::vector<std::string> header_fields;  // upper case; empty with full_header
  bool full_header = false, body_structure = false, preview = false, thread = false;
  bool cacheable = true;
  // Asked once the first round is there: sections to fetch in a second one.
  std::function<std::vector<WantedSection>(const MessageSource&)> more;
  std::function<Fragment(const MessageSource&)> render;
};

struct EmailItem {
  EmailKey id;
  bool found = false;
  std::shared_ptr<const Fragment> fragment;
  std::vector<std::string> keywords;  // JMAP's, lower case
  std::vector<MailboxKey> mailboxes;
};

// --- Changing ---

// What one update may name. Flags and half a line of UIDs fit into one STORE (imap::command_line_bytes_max).
inline constexpr std::size_t update_keywords_max = 200;
inline constexpr std::size_t update_keywords_bytes_max = 3'000;
inline constexpr std::size_t update_mailboxes_max = 100;

struct EmailUpdate {
  EmailKey id;
  std::optional<std::vector<std::string>> keywords;           // all of them, or
  std::vector<std::pair<std::string, bool>> keyword_changes;  // each set or not
  std::optional<std::vector<MailboxKey>> mailboxes;
  std::vector<std::pair<MailboxKey, bool>> mailbox_changes;
};
struct SetOutcome {
  bool done = false;
  std::string error_type;  // a SetError type of RFC 8620, 5.3 or RFC 8621
  std::string description;
  std::vector<std::string> properties;
  friend bool operator==(const SetOutcome&, const SetOutcome&) = default;
};

struct ThreadData {
  ThreadKey key = 0;
  std::vector<EmailKey> emails;  // oldest first; empty: not found
};

// Octets of a message or part, piece by piece, decoded. Owns nothing that others wait for between pieces.
class BlobReader {
 public:
  virtual ~BlobReader() = default;
  // Octets in all, where that is known beforehand (a whole message).
  virtual std::optional<std::uint64_t> size() const = 0;
  // The next piece; empty at the end.
  virtual io::Task<Result<std::string>> next() = 0;
};

enum class StateType : std::uint8_t { mailbox, email, thread };

// Called before the first thing is sent that may change the mailbox on the server: from then on the web
// request must not be repeated. True: the worker's socket has it. False: nobody waits for this request any more, or
// it is being repeated elsewhere: nothing may be changed.
using EffectsHook = std::function<io::Task<bool>()>;

class Mailstore {
 public:
  virtual ~Mailstore() = default;
  virtual std::string state(StateType type) = 0;

  virtual io::Task<Result<Snapshot<std::vector<MailboxData>>>> mailboxes() = 0;
  virtual io::Task<Result<EmailQueryResult>> query(EmailQuery query) = 0;
  virtual io::Task<Result<Snapshot<std::vector<EmailItem>>>> fetch(std::vector<EmailKey> ids,
                                                                   FetchPlan plan) = 0;
  virtual io::Task<Result<Snapshot<std::vector<ThreadData>>>> threads(std::vector<ThreadKey> keys) = 0;
  // The Email state once the mailboxes of these messages are in step with the server: what is known just before
  // they are changed (oldState of RFC 8620, 5.3).
  virtual io::Task<Result<std::string>> email_state_of(std::vector<EmailKey> ids) = 0;
  // Writes need a server: nothing is changed by what is stale.
  virtual io::Task<Result<std::vector<SetOutcome>>> update(std::vector<EmailUpdate> updates,
                                                           EffectsHook effects) = 0;
  virtual io::Task<Result<std::vector<SetOutcome>>> destroy(std::vector<EmailKey> ids,
                                                            EffectsHook effects) = 0;
  // not_found where there is no such message; sections that don't exist come as an empty first piece.
  virtual io::Task<Result<std::unique_ptr<BlobReader>>> open_blob(BlobKey blob) = 0;
};

}  // namespace postern::mail
template <>
struct std::is_error_code_enum<postern::mail::Errc> : std::true_type {};
