// The port through which JMAP sees a person's mail: no IMAP in it, no HTTP.
//
// One object an account, on the account's shard. Everything that can wait is a coroutine; what a method
// returns is valid after the next suspension, too (values and shared pointers, no references into caches).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "postern/base/error.hpp"
#include "postern/imap/types.hpp"
#include "postern/io/task.hpp"
#include "postern/mail/change_log.hpp"
#include "postern/mail/ids.hpp"
#include "postern/mail/kept_lists.hpp"
#include "postern/mail/mailbox_list.hpp"
#include "postern/mail/query.hpp"
#include "postern/mail/query_diff.hpp"
#include "postern/mail/quota.hpp"

namespace postern::limits {
class Tab;
}
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
  forbidden,                 // a mailbox that may not be read
  messages_expunged,         // NO [EXPUNGEISSUED] to a FETCH: to be asked again for those that are left
  no_room,                   // for uploads, or for what has to be put aside
  cannot_calculate_changes,  // since that state
  too_many_changes,          // between two results of a query
  over_limit,                // of the person's plan; the context is a limits::Refusal's encode()
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

// RFC 8621, 2: MailboxRights.
struct MailboxRights {
  bool may_read_items = false, may_add_items = false, may_remove_items = false, may_set_seen = false,
       may_set_keywords = false, may_create_child = false, may_rename = false, may_delete = false,
       may_submit = false;
  friend bool operator==(const MailboxRights&, const MailboxRights&) = default;
};
// From what the server has told: MYRIGHTS by the letters of RFC 4314 or RFC 2086, attributes, READ-ONLY.
MailboxRights rights_of(const Mailbox& mailbox);

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
  bool can_calculate_changes = false;
  Freshness freshness = Freshness::current;
};

// --- Changes ---

// The data are the changes since the state that was asked about; the state is that after them (RFC 8620, 5.2).
template <typename Id>
using Changes = Snapshot<ChangeSet<Id>>;

struct EmailQueryChangesRequest {
  EmailQuery query;  // filter, sort, collapse_threads
  std::string since_query_state;
  std::size_t max = changes_unlimited;
  std::optional<EmailKey> up_to;
};
struct EmailQueryChanges {
  QueryDiff diff;
  std::uint64_t total = 0;
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

// What of a message never changes and says which of its parts are to be fetched. Shared by the plans that need it.
struct MessageShape {
  std::shared_ptr<const imap::BodyStructure> body_structure;  // null: only what came with its arrival is kept
  std::optional<std::string> preview;                         // the server's own; nullopt: not known
  // Until the first list shows it: the header fields that came with its arrival, and which were asked for.
  std::optional<std::string> header = {};
  std::vector<std::string> header_fields = {};
  std::size_t memory_bytes = 0;
};

// A message's JSON object, in which the values that change (keywords, mailboxIds) have been left out:
// the positions say where they belong.
struct Fragment {
  static constexpr std::uint32_t nowhere = 0xFFFFFFFFu;
  std::string bytes;
  std::uint32_t keywords_at = nowhere, mailbox_ids_at = nowhere;
  std::shared_ptr<const MessageShape> shape = nullptr;  // of the fragment that is kept for it alone
};

struct FetchPlan {
  std::string signature;                   // equal plans have equal fragments
  std::vector<std::string> header_fields;  // upper case; empty with full_header
  bool full_header = false, body_structure = false, preview = false, thread = false;
  bool cacheable = true;
  // Asked once the first round is there: sections to fetch in a second one.
  std::function<std::vector<WantedSection>(const MessageSource&)> more;
  std::function<Fragment(const MessageSource&)> render;
  std::shared_ptr<limits::Tab> tab = nullptr;  // what is read is counted there; null: by itself
};

struct EmailItem {
  EmailKey id;
  bool found = false;
  std::shared_ptr<const Fragment> fragment;
  // Set where found. Messages of one list mostly have the same, and share it.
  std::shared_ptr<const std::vector<std::string>> keywords;  // JMAP's, lower case
  std::shared_ptr<const std::vector<MailboxKey>> mailboxes;
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
  std::vector<std::string> not_found = {};  // of blobNotFound: blob ids
  std::string refusal = {};  // what the person's plan didn't allow: a limits::Refusal's encode()
  friend bool operator==(const SetOutcome&, const SetOutcome&) = default;
};

// Octets of a Mailbox's name in UTF-8: as many as fit into a file name of 255 octets in modified UTF-7, whatever they
// are. What Maildir++ makes of a name is such a file name.
inline constexpr std::size_t mailbox_name_bytes_max = 120;
inline constexpr std::uint32_t sort_order_max = 0x7FFFFFFF;  // RFC 8621, 2

struct MailboxCreate {
  std::string name;
  std::optional<MailboxKey> parent;  // nullopt: at the top
  Role role = Role::none;
  bool subscribed = true;
  std::optional<std::uint32_t> sort_order;
};
struct MailboxUpdate {
  MailboxKey key = 0;
  std::optional<std::string> name;
  std::optional<std::optional<MailboxKey>> parent;
  std::optional<bool> subscribed;
  std::optional<std::uint32_t> sort_order;
};
struct MailboxOutcome {
  SetOutcome outcome;
  MailboxKey key = 0;  // of what was created
  // It failed before anything was sent, and may do once other Mailboxes of the same call have been changed: they have
  // its name, its role, or are its children.
  bool blocked = false;
};

struct ThreadData {
  ThreadKey key = 0;
  std::vector<EmailKey> emails;  // oldest first; empty: not found
};

// Octets of a message or part, piece by piece, decoded. Owns nothing that others wait for between pieces.
class BlobReader {
 public:
  virtual ~BlobReader() = default;
  // Octets that are to come, where that is known beforehand (a whole message).
  virtual std::optional<std::uint64_t> size() const = 0;
  // The next piece; empty at the end.
  virtual io::Task<Result<std::string>> next() = 0;
  // Begins so many octets later. Once, before the first piece.
  virtual void skip(std::uint64_t octets) = 0;
  // Is it read without the mail server?
  virtual bool is_local() const { return false; }
};

// Octets that are put aside in a file, piece by piece. They are gone with the writer, unless they are kept; readers
// read on.
class BlobWriter {
 public:
  virtual ~BlobWriter() = default;
  virtual Result<> write(std::string_view piece) = 0;  // no_room
  // As an upload of the account's. Nothing can be written any more.
  virtual Result<BlobKey> keep() = 0;
  // A local reader of what has been written.
  virtual Result<std::unique_ptr<BlobReader>> read() const = 0;
};
enum class BlobUse : std::uint8_t { upload, scratch };  // scratch can't be kept

// A message to be filed (APPEND).
struct EmailAppend {
  std::vector<MailboxKey> mailboxes;
  std::vector<std::string> keywords;        // JMAP's
  std::optional<std::int64_t> received_at;  // the server's time, where it isn't given
  std::string header;                   // of the message: what its thread and its Message-ID are told from
  std::uint64_t size = 0;               // octets of the content, exactly
  std::unique_ptr<BlobReader> content;  // local: it is read while the connection waits for it
};
struct AppendedEmail {
  SetOutcome outcome;
  EmailKey id;
  ThreadKey thread = 0;
};

// email_delivery: new mail has come (RFC 8621, 1.5); it is pushed, and no method has it. vacation: as its store has
// seen it last, empty where it has not.
enum class StateType : std::uint8_t { mailbox, email, thread, email_delivery, quota, vacation };

// Called before the first thing is sent that may change the mailbox on the server: from then on the web
// request must not be repeated. True: the worker's socket has it. False: nobody waits for this request any more, or
// it is being repeated elsewhere: nothing may be changed.
using EffectsHook = std::function<io::Task<bool>()>;

class VacationStore;

// What the account's mail server lets it do.
struct ServerFeatures {
  bool known = false;  // the server has been asked
  bool quotas = false;
  bool may_create_top_level = true;  // Mailboxes
  bool mailbox_levels = true;
  bool several_mailboxes = true;  // for one Email
};

class Mailstore {
 public:
  virtual ~Mailstore() = default;
  virtual std::string state(StateType type) = 0;
  virtual ServerFeatures known_features() { return {}; }
  // Signs in, where nothing is known yet and that can be done.
  virtual io::Task<ServerFeatures> ask_features() { co_return known_features(); }

  virtual io::Task<Result<Snapshot<std::vector<MailboxData>>>> mailboxes() = 0;
  // Where results of Mailbox/query are kept; null: nowhere, and what became of them can't be told.
  virtual KeptLists* kept_lists() { return nullptr; }
  virtual io::Task<Result<EmailQueryResult>> query(EmailQuery query) = 0;
  virtual io::Task<Result<Snapshot<std::vector<EmailItem>>>> fetch(std::vector<EmailKey> ids,
                                                                   FetchPlan plan) = 0;
  virtual io::Task<Result<Snapshot<std::vector<ThreadData>>>> threads(std::vector<ThreadKey> keys) = 0;
  // The Email state once the mailboxes of these messages are in step with the server: what is known just before
  // they are changed (oldState of RFC 8620, 5.3).
  virtual io::Task<Result<std::string>> email_state_of(std::vector<EmailKey> ids) = 0;
  // The oldState of a /set (RFC 8620, 5.3) that began to write in the state `since`, and has changed these: `since`, if
  // nothing else has changed since then, else the last state that something else has led to. A client whose state is an
  // older one sees by it that there is more to be asked for than what it has changed itself.
  virtual std::string old_state(std::string since, std::span<const EmailKey> changed) {
    (void)changed;
    return since;
  }
  virtual std::string old_state(std::string since, std::span<const MailboxKey> changed) {
    (void)changed;
    return since;
  }
  // Writes need a server: nothing is changed by what is stale.
  virtual io::Task<Result<std::vector<SetOutcome>>> update(std::vector<EmailUpdate> updates,
                                                           EffectsHook effects) = 0;
  virtual io::Task<Result<std::vector<SetOutcome>>> destroy(std::vector<EmailKey> ids,
                                                            EffectsHook effects) = 0;
  // Files a message. A broken connection is an outcome that is unknown only where the message isn't found either.
  virtual io::Task<Result<AppendedEmail>> append(EmailAppend email, EffectsHook effects) = 0;
  // What changed since that state, in step with the server, in all mailboxes; `max` objects of it at most.
  // cannot_calculate_changes.
  virtual io::Task<Result<Changes<MailboxKey>>> mailbox_changes(std::string since, std::size_t max) = 0;
  virtual io::Task<Result<Changes<EmailKey>>> email_changes(std::string since, std::size_t max) = 0;
  virtual io::Task<Result<Changes<ThreadKey>>> thread_changes(std::string since, std::size_t max) = 0;
  // RFC 8620, 5.6. cannot_calculate_changes, too_many_changes, and what query() says.
  virtual io::Task<Result<EmailQueryChanges>> query_changes(EmailQueryChangesRequest request) = 0;
  // Mailboxes are changed one by one, in the order that the caller wants.
  virtual io::Task<MailboxOutcome> create_mailbox(MailboxCreate create, EffectsHook effects) = 0;
  virtual io::Task<MailboxOutcome> update_mailbox(MailboxUpdate update, EffectsHook effects) = 0;
  // With its Emails, where remove_emails says so; mailboxHasEmail otherwise.
  virtual io::Task<MailboxOutcome> destroy_mailbox(MailboxKey key, bool remove_emails,
                                                   EffectsHook effects) = 0;
  // What limits the account, by the server's word and by the person's plan.
  virtual io::Task<Result<Snapshot<std::vector<Quota>>>> quotas() = 0;
  // What has changed in them since that state; nullopt: it can't be told.
  virtual io::Task<Result<std::optional<QuotaChanges>>> quota_changes(std::string since) = 0;
  // not_found where there is no such message; sections that don't exist come as an empty first piece.
  // What is read of the mail server counts as mail received (docs/limits.md), on the request's tab where there is one;
  // over_limit before a piece is read.
  virtual io::Task<Result<std::unique_ptr<BlobReader>>> open_blob(BlobKey blob,
                                                                  std::shared_ptr<limits::Tab> tab) = 0;
  // The same for what is counted elsewhere: a download, or a message that is sent.
  virtual io::Task<Result<std::unique_ptr<BlobReader>>> open_uncounted_blob(BlobKey blob) {
    return open_blob(std::move(blob), nullptr);
  }
  virtual Result<std::unique_ptr<BlobWriter>> new_blob(BlobUse use) = 0;
  // The person's vacation response; null where there is none.
  virtual VacationStore* vacation() { return nullptr; }
};

}  // namespace postern::mail
template <>
struct std::is_error_code_enum<postern::mail::Errc> : std::true_type {};
