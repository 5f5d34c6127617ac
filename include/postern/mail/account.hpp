// One login on one IMAP server: the Mailstore over its pool of connections, its mailboxes and views.
//
// Lives on one shard and is only touched there. Web sessions of the same login share it. Requests hold a
// shared pointer to it for as long as they run. What accounts of a shard have in common comes in through
// AccountContext and outlives them.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "postern/blobs/upload_store.hpp"
#include "postern/io/event.hpp"
#include "postern/io/loop.hpp"
#include "postern/limits/meter.hpp"
#include "postern/mail/change_log.hpp"
#include "postern/mail/fragment_cache.hpp"
#include "postern/mail/mailbox_view.hpp"
#include "postern/mail/mailstore.hpp"
#include "postern/mail/order_store.hpp"
#include "postern/mail/state_observer.hpp"
#include "postern/mail/vacation.hpp"
#include "postern/session/pool.hpp"
#include "postern/store/session_table.hpp"

namespace postern::mail {

struct MailOptions {
  Duration mailbox_list_fresh = std::chrono::seconds(30);  // LIST and STATUS are asked again after that
  Duration quota_fresh = std::chrono::seconds(30);         // the same of GETQUOTAROOT
  Duration rights_fresh = std::chrono::hours(1);           // the same of MYRIGHTS
  // Emails that other programs move and copy are told by what the server says identifies a message.
  bool join_by_identity = false;
  std::uint32_t fill_messages = 10'000;  // UIDs asked about by one command while an index fills
  std::uint32_t fetch_messages = 1'000;  // messages in one FETCH of header fields
  // While somebody listens, and the server has no NOTIFY: LIST and STATUS that soon after a change, then half as
  // often each time nothing is found, and so often at least.
  Duration watch_poll_min = std::chrono::minutes(1), watch_poll_max = std::chrono::hours(1);
};

struct AccountContext {
  io::Loop& loop;
  session::Server& server;
  store::SegmentWriter& segment;
  FragmentCache& fragments;
  MailOptions options;
  StateObserver* states = nullptr;                 // hears of states that change
  blobs::UploadStore* uploads = nullptr;           // none: there are no uploads, and nothing can be put aside
  std::shared_ptr<limits::Meter> meter = nullptr;  // none: what moves is counted, and held against no plan
};

// What is read by charges up to this size may use what is kept back for lists and small pages (limits::Charge).
inline constexpr std::uint64_t small_read_octets_max = 256 * 1024;

using ViewPtr = std::shared_ptr<MailboxView>;
class FilterProgram;
class Lane;

class Account final : public Mailstore,
                      public std::enable_shared_from_this<Account>,
                      private session::AccountObserver,
                      public ViewEvents {
 public:
  Account(AccountContext context, store::AccountKey key, session::Credentials credentials,
          std::string client_address);
  ~Account() override;

  store::AccountKey key() const { return key_; }
  const std::string& login() const { return login_; }
  session::Pool& pool() { return *pool_; }
  void set_vacation(std::unique_ptr<VacationStore> vacation);
  // Without one, they are kept in the segment.
  void set_order_store(std::unique_ptr<OrderStore> orders) { order_store_ = std::move(orders); }
  // What is moved for this person is counted here.
  limits::Meter& meter() { return *meter_; }
  // Before anything has moved: what counts from now on, where none was given to begin with.
  void use_meter(std::shared_ptr<limits::Meter> meter) { meter_ = std::move(meter); }

  // --- Mailstore ---
  std::string state(StateType type) override;
  ServerFeatures known_features() override;
  io::Task<ServerFeatures> ask_features() override;
  io::Task<Result<Snapshot<std::vector<MailboxData>>>> mailboxes() override;
  KeptLists* kept_lists() override { return &kept_lists_; }
  io::Task<Result<EmailQueryResult>> query(EmailQuery query) override;
  io::Task<Result<Snapshot<std::vector<EmailItem>>>> fetch(std::vector<EmailKey> ids,
                                                           FetchPlan plan) override;
  io::Task<Result<Snapshot<std::vector<ThreadData>>>> threads(std::vector<ThreadKey> keys) override;
  io::Task<Result<std::string>> email_state_of(std::vector<EmailKey> ids) override;
  std::string old_state(std::string since, std::span<const EmailKey> changed) override;
  std::string old_state(std::string since, std::span<const MailboxKey> changed) override;
  io::Task<Result<std::vector<SetOutcome>>> update(std::vector<EmailUpdate> updates,
                                                   EffectsHook effects) override;
  io::Task<Result<std::vector<SetOutcome>>> destroy(std::vector<EmailKey> ids, EffectsHook effects) override;
  io::Task<Result<Changes<MailboxKey>>> mailbox_changes(std::string since, std::size_t max) override;
  io::Task<Result<Changes<EmailKey>>> email_changes(std::string since, std::size_t max) override;
  io::Task<Result<Changes<ThreadKey>>> thread_changes(std::string since, std::size_t max) override;
  io::Task<Result<EmailQueryChanges>> query_changes(EmailQueryChangesRequest request) override;
  io::Task<MailboxOutcome> create_mailbox(MailboxCreate create, EffectsHook effects) override;
  io::Task<MailboxOutcome> update_mailbox(MailboxUpdate update, EffectsHook effects) override;
  io::Task<MailboxOutcome> destroy_mailbox(MailboxKey key, bool remove_emails, EffectsHook effects) override;
  io::Task<Result<Snapshot<std::vector<Quota>>>> quotas() override;
  io::Task<Result<std::optional<QuotaChanges>>> quota_changes(std::string since) override;
  io::Task<Result<std::unique_ptr<BlobReader>>> open_blob(BlobKey blob,
                                                          std::shared_ptr<limits::Tab> tab = {}) override;
  io::Task<Result<std::unique_ptr<BlobReader>>> open_uncounted_blob(BlobKey blob) override;
  io::Task<Result<AppendedEmail>> append(EmailAppend email, EffectsHook effects) override;
  Result<std::unique_ptr<BlobWriter>> new_blob(BlobUse use) override;
  VacationStore* vacation() override { return vacation_.get(); }

  // --- While somebody wants to be told of changes (account_watch.cpp) ---
  // All mailboxes are watched on the server from now on, or no longer: NOTIFY where there is that, else IDLE on INBOX
  // and the counts of the others now and then. Survives lost connections, and keeps the account open.
  void set_watched(bool on);
  bool watched() const { return watch_ != nullptr; }

  // The value of an entry of the server as a whole (RFC 5464, 4.2); nullopt: it has none, or no such extension.
  io::Task<Result<std::optional<std::string>>> server_metadata(std::string entry);

  // Octets that a download of a blob has: exact for a whole message; of a part that has to be decoded an estimate by
  // what its structure tells, and that it may be so many at least. Costs a command where the structure isn't known.
  struct BlobOctets {
    std::uint64_t expected = 0, least = 0;
    std::uint64_t encoded = 0;  // as the server sends it
    bool exact() const { return expected == least; }
  };
  io::Task<Result<BlobOctets>> blob_octets(BlobKey blob);
  bool knows_structure(const EmailKey& id) const;
  // The octets of the message that a blob is of, as far as they are known without asking; 0: they aren't.
  std::uint64_t message_octets(const EmailKey& id) const;

  // Something was moved, or time has gone by: whoever listens is told if a limit of the plan has come near its end, or
  // is free again. Cheap where nothing of that is so.
  void note_use();

  // --- The shard's housekeeping ---
  std::size_t view_bytes() const;
  std::size_t views() const { return views_.size(); }
  // Drops the views that nobody uses right now.
  void evict_views();
  // Writes what has not been written yet to the segment.
  void save_state();

 private:
  friend class AccountBlobReader;

  // --- account.cpp: mailboxes, views, states ---
  io::Task<Result<>> list_mailboxes(session::Lease& lease);
  // The list from now on, and the views that go with it.
  void change_list(std::vector<Mailbox> fresh);

  // --- account_list.cpp: what the list is made of ---
  io::Task<Result<>> ask_status(session::Lease& lease, MailboxListBuilder& builder,
                                std::vector<std::string> names);
  // Of a mailbox whose status the server won't tell: false, where it may be told in a moment.
  io::Task<Result<bool>> settle_unknown(session::Lease& lease, MailboxListBuilder& builder, std::string name,
                                        imap::StatusResponse refusal);
  // Has it been refused for no longer than refusals_pass_after?
  bool may_pass(const std::string& what);
  // The mailbox of that name in the list before, if it was known then what it is.
  const Mailbox* known_before(const std::string& encoded_name) const;
  io::Task<Result<>> ask_mailbox_ids(session::Lease& lease, MailboxListBuilder& builder, bool utf8_names);
  io::Task<Result<>> ask_namespace(session::Lease& lease, const std::vector<Mailbox>& listed,
                                   bool needed = false);
  io::Task<Result<>> need_namespace(session::Lease& lease);
  // The rights on those of whom they aren't known, for rights_fresh.
  io::Task<Result<>> ask_rights(session::Lease& lease, std::vector<Mailbox>& listed, bool with_list);
  bool rights_are_due() const;
  // --- account_rights.cpp ---
  // nullopt: the server doesn't tell.
  io::Task<Result<std::optional<std::string>>> ask_my_rights(session::Lease& lease, std::string name);
  // By the rights that were told last, or with `now` by those of now; false where nobody tells them.
  io::Task<Result<bool>> may_not_read(session::Lease& lease, std::string name, bool now);
  // Of those of these mailboxes on which some right is lacking, the rights as they are now: at most
  // mailbox_list_fresh old.
  io::Task<> confirm_rights(std::set<MailboxKey> mailboxes);
  std::string prefix() const { return personal_ ? personal_->prefix : std::string(); }
  // What the server has left out this time, or tells seldom, is as it was; and their keys.
  void complete_list(std::vector<Mailbox>& fresh);
  // A mailbox that was renamed through Postern keeps its key: a redirect leads from it to the one that its name and
  // UIDVALIDITY would give it now.
  MailboxKey key_of(MailboxKey natural) const;
  void set_natural_key(MailboxKey key, MailboxKey natural);
  // The place that a client has given to it; `natural` is its mailbox_key().
  std::optional<std::uint32_t> sort_order_of(MailboxKey key, MailboxKey natural) const;
  io::Task<> load_sort_orders();
  // False: it couldn't be kept.
  io::Task<bool> keep_sort_order(Mailbox mailbox, std::optional<std::uint32_t> sort_order);
  void keep_in_segment(MailboxKey key, std::optional<std::uint32_t> sort_order);
  // Selected, it has turned out to be one that was made anew under the name: no id of the old one reaches it.
  bool is_another(const MailboxView& view) const;

  // --- account_quota.cpp ---
  io::Task<Result<Freshness>> refresh_quotas();
  void take_quotas(bool tell);  // into the log, as they are now

  // --- account_mailbox_set.cpp ---
  class MailboxTurn;
  io::Task<std::shared_ptr<MailboxTurn>> mailbox_turn();
  // Empty where the mailbox is still the one it was (UIDVALIDITY), and how many messages it has.
  io::Task<std::optional<MailboxOutcome>> look_at(session::Lease& lease, const Mailbox& mailbox,
                                                  std::uint32_t* messages = nullptr);
  io::Task<MailboxOutcome> why_unknown(imap::StatusResponse refusal, MailboxKey key);
  io::Task<Result<>> ask_identity(session::Lease& lease, Mailbox& mailbox);
  io::Task<std::optional<MailboxOutcome>> rename_mailbox(Mailbox mailbox, std::string name,
                                                         EffectsHook effects);
  io::Task<> move_subscriptions(session::Lease& lease, const std::vector<Mailbox>& before,
                                const std::vector<Mailbox>& after);
  void take_rename(const std::vector<Mailbox>& before, std::vector<Mailbox> after);
  io::Task<bool> subscribe(session::Lease& lease, std::string name, bool on);
  io::Task<std::optional<MailboxOutcome>> set_subscribed(MailboxKey key, bool on, EffectsHook effects);
  io::Task<std::optional<MailboxOutcome>> delete_mailbox(Mailbox mailbox, std::uint32_t messages_max,
                                                         EffectsHook effects, std::uint32_t& messages);
  void forget_mailbox(MailboxKey key, bool had_emails);
  io::Task<MailboxOutcome> why_refused(Error error, imap::StatusResponse refusal, MailboxKey key,
                                       std::string name, std::vector<std::string> properties);
  std::optional<MailboxOutcome> check_role(const MailboxCreate& create) const;
  MailboxOutcome take_created(Mailbox made, bool known);
  io::Task<bool> set_sort_order(MailboxKey key, std::uint32_t sort_order);

  // --- account_counts.cpp: the list when it is due, and the counts of mailboxes that we have put something into ---
  // The list, at most `fresh` old and with the counts as they are since the last move; with any_age, if there
  // is one. Whoever wants it while it is being asked for waits for that answer.
  io::Task<Result<Freshness>> refresh_mailboxes(Duration fresh);
  bool list_is_fresh(Duration fresh) const;
  io::Task<Result<Freshness>> ask_for_mailboxes();
  io::Task<Result<Freshness>> ask_for_counts();
  bool take_counts(const std::map<MailboxKey, std::uint32_t>& asked, const MailboxListBuilder& told);
  bool is_listing() const;  // the whole list
  // What the counts of a mailbox are from now on, the server has to tell, or to be asked: by a STATUS with that UIDNEXT
  // or a larger one. Where nobody knows what was put there, only the answer to a request tells.
  static constexpr std::uint32_t unknown_uid_next = UINT32_MAX;
  void note_uncounted(MailboxKey mailbox, std::uint32_t uid_next);
  bool tells_its_counts(MailboxKey mailbox) const;  // its view does
  bool lacks_counts();
  // Putting something into one mailbox, or taking it out, changes what others count (Gmail's, virtual ones).
  bool has_mailboxes_made_of_others() const;
  // A message that we have put there, if known with or without \Seen.
  void expect_at(const Place& place, std::optional<bool> seen);
  std::optional<bool> is_seen_at(const Place& place) const;
  // While a command is under way that puts something there, or asks about it, what NOTIFY tells of that mailbox waits:
  // the server may tell of a message before it says that it is ours.
  void hold_status(MailboxKey mailbox);
  void release_status(MailboxKey mailbox);
  void hear_status(Mailbox& mailbox, const imap::StatusDataResponse& status);

  const Mailbox* find_mailbox(MailboxKey key) const;
  // Looks the mailbox up (asking the server for its list if need be); its view, made if there is none.
  io::Task<Result<ViewPtr>> view_of(MailboxKey key);

  // --- account_places.cpp: an Email is where its message is, and where copies of it are ---
  // The id that a client has been told, or one that leads to the same Email.
  EmailKey id_of(const Place& place) const;
  Place place_of(const EmailKey& id) const;  // the first of them
  EmailKey whole_of(const EmailKey& id) const;
  std::vector<Place> places_of(const EmailKey& id) const;
  bool is_shared(const EmailKey& id) const { return !copies_of_.empty() && copies_of_.contains(id); }
  // As far as is known without asking: one that was heard, or was put there and isn't known to have gone.
  bool is_there(const Place& place) const;
  bool is_elsewhere(const EmailKey& id, const Place& place) const;
  std::vector<Place> live_places_of(const EmailKey& id) const;
  std::vector<MailboxKey> mailboxes_of(const EmailKey& id) const;
  void load_places();
  void add_redirect(const EmailKey& origin, const Place& current);
  void drop_redirect_to(const Place& place);
  void add_copy(const EmailKey& id, const Place& place);
  void drop_copy(const Place& place);
  void replace_place(const EmailKey& id, const Place& from, const Place& to);
  // The message has left this place for good.
  void forget_place(const Place& place);
  void settle_places(const MailboxView& view);

  // --- account_identity.cpp: Emails that other programs move and copy ---
  struct Departure {  // a message that has left a mailbox, and was nowhere else
    EmailKey id;
    Place from;
    ThreadKey thread = 0;  // 0: it was never known
    std::uint32_t size = 0;
    std::int64_t received = 0;
    bool ambiguous = false;
  };
  struct Joining {
    EmailKey id;
    ThreadKey thread = 0;
    bool is_elsewhere = false;
  };
  static bool may_hold_joined(const Mailbox& mailbox);
  static bool is_identified(const MailboxView& view);
  bool is_personal(const Mailbox& mailbox) const;
  bool may_join_arrivals(const MailboxView& view) const;
  // Where in a list of the mailbox those begin that are told as new, and could be Emails of before.
  std::uint32_t end_of_known(const MailboxView& view) const;
  void note_departure(const MailboxView& view, const MessageEntry& message);
  void forget_departures(const std::vector<Place>& from);
  void forget_departures(MailboxKey mailbox);
  std::optional<Joining> email_of_arrival(const MailboxView& view, const MessageEntry& entry) const;
  // True: it is an Email of before, which has been told.
  bool join_arrival(MailboxView& view, const MessageEntry& entry);

  // --- account_sync.cpp: views made right ---
  // Selected, heard and in step with the server; `cold_sort` makes a cold view's list by that SORT. Stale if
  // the server can't be reached, and the view is as it was then.
  io::Task<Result<Freshness>> attach(ViewPtr view, const Sort* cold_sort = nullptr);
  // The same for what stale views can't do.
  io::Task<Result<>> attach_current(ViewPtr view);
  struct Counts {
    std::uint64_t total_emails = 0, unread_emails = 0, total_threads = 0, unread_threads = 0;
    friend bool operator==(const Counts&, const Counts&) = default;
  };
  // The newest that is known: the view's, what it said when it was left, or STATUS.
  Counts counts_of(const Mailbox& mailbox);
  static Counts counts_of(MailboxView& view);
  // Brings the views that hear their mailbox into step, so that their counts are those of now.
  io::Task<Freshness> catch_up();
  io::Task<Result<>> sync(session::Lease& lease, ViewPtr view, const Sort* cold_sort);
  io::Task<Result<>> sync_list(session::Lease& lease, ViewPtr view, const Sort* cold_sort);
  io::Task<Result<>> list_messages(session::Lease& lease, ViewPtr view, const Sort* cold_sort);
  io::Task<Result<>> sync_flags(session::Lease& lease, ViewPtr view, std::uint64_t changed_since);
  io::Task<Result<Freshness>> fill(ViewPtr view);
  void fill_behind(ViewPtr view);
  io::Task<> quiet();
  io::Task<Result<>> load_text_keys(ViewPtr view, SortKey::Property property);
  template <typename Op>
  io::Task<Result<>> on_mailbox(ViewPtr view, Op op);

  // --- account_changes.cpp: what has changed, and how it is told ---
  std::uint64_t& counter(StateType type);
  bool& rumoured(StateType type) { return rumoured_[static_cast<std::size_t>(type)]; }
  void count_up(StateType type);  // without telling anybody
  // A state of its own for what is told now.
  std::uint64_t next_state(StateType type);
  // Something is new, and not known yet: the state changes; what it is, is told when it is known.
  void bump(StateType type);
  void bump_all();
  void tell_mailbox(ChangeKind kind, MailboxKey key);
  void tell_email(ChangeKind kind, const EmailKey& id);
  // An Email, not a copy of one, has come or gone. The Thread is 0 where it was never known.
  void tell_arrived(const EmailKey& id, ThreadKey thread);
  void tell_gone(const EmailKey& id, ThreadKey thread);
  // The message isn't seen there any more, or is again: the Email has come or gone only if it is nowhere else.
  void tell_left(const Place& place, ThreadKey thread);
  void tell_shown(const Place& place, ThreadKey thread);
  // The Email is in one more mailbox, through us.
  void tell_copied(const EmailKey& id, const Place& to);
  void forget_arrival(const Place& to);
  void note_moved(const EmailKey& id, const Place& from);
  // Something has happened to Emails, or to Threads, that nobody can tell.
  void lose_track_of_emails();
  void lose_track_of_threads();
  void lose_track() {
    lose_track_of_emails();
    lose_track_of_threads();
  }
  // An Email is somewhere else now, through us.
  void tell_moved(const EmailKey& id, const Place& from, const Place& to);
  // The commands that were to move it are done, whatever came of them.
  void end_move(const Place& from, const EmailKey& id);
  // Until a message that is just being moved away from there is known to be somewhere.
  io::Task<> wait_for_move(Place from);
  // The mailbox has gone, or can't be read any more, and its messages with it.
  void tell_mailbox_lost(MailboxKey key);
  // The counts of a view that hears its mailbox may be others.
  void note_counts(MailboxView& view);
  // Compares the counts of all mailboxes with those that were told last; `given`: they go to a client now.
  void tell_counts(bool given);
  // --- account_baseline.cpp ---
  // What clients may know of a mailbox that nobody hears: what is found there later is told from here.
  struct Baseline {
    MailboxStatus status;      // another one is news
    std::uint64_t modseq = 0;  // from which flags have changed unheard; 0: that can't be asked
    imap::UidSet shown;        // messages that clients may know, and no view has
    bool complete = false;  // `shown` is all there was; else what is below status.uid_next was never listed
    bool unknown = false;   // nothing is known
    bool unseen_known = false;  // status.unseen is what STATUS would say
  };
  void expect_in_baseline(MailboxKey target, std::uint32_t uid_validity, std::uint32_t uid);
  // Is there something in this mailbox that could be told?
  bool has_news(const Mailbox& now) const;
  imap::UidSet expected_in(const MailboxView& view) const;
  void forget_expected(MailboxKey key);
  // Before the view ends.
  void remember(MailboxView& view);
  // From which CHANGEDSINCE has to be asked to tell a cold view's listing.
  std::optional<std::uint64_t> changed_since_shown(const MailboxView& view) const;
  // What is new in a mailbox whose view was cold and is listed now.
  void tell_listing(const MailboxView& view, const imap::UidSet& changed);
  // A list that differs from the one before: Mailboxes and Emails have come or gone where nobody hears them.
  void take_list(std::vector<Mailbox> fresh);
  void compare_mailboxes(const std::vector<Mailbox>& fresh);
  struct News {
    bool emails = false, delivered = false;
  };
  // What the STATUS that a mailbox has now comes to, and `last` was the one before; null: there was none.
  void compare_status(const Mailbox& mailbox, const MailboxStatus* last, bool first_list, News& news);
  void tell_news(const News& news);

  // Brings all mailboxes into step of which something new is known, selected or not.
  io::Task<Result<Freshness>> hear_all();
  static std::optional<std::uint64_t> parse_state(std::string_view state);

  // --- account_query_changes.cpp: results kept to tell what became of them ---
  struct Ranked {  // a whole result, in order: of one mailbox, or else places
    MailboxKey mailbox = 0;
    std::uint32_t uid_validity = 0;
    std::shared_ptr<const UidList> uids;
    std::shared_ptr<const std::vector<Place>> places;
    std::size_t size() const { return uids ? uids->size() : places->size(); }
    Place at(std::size_t i) const { return uids ? Place{mailbox, uid_validity, (*uids)[i]} : (*places)[i]; }
    bool is_same(const Ranked& other) const;
    std::size_t memory_bytes() const;
  };
  struct KeptResult {  // one that was told under a state
    std::string signature, query_state;
    std::uint64_t email_state = 0;
    Ranked ranked;
  };
  // Gives the result's state and whether changes since then can be told.
  io::Task<Result<>> rank(EmailQuery& query, Ranked& ranked, EmailQueryResult& result);
  std::vector<EmailKey> ids_of(const Ranked& ranked) const;
  // Gives a result its state, keeps it, and says whether it could be kept. `unchanged`: it is that of now.
  bool keep_result(const EmailQuery& query, const Ranked& ranked, bool unchanged, std::string& query_state);
  std::vector<KeptResult>::iterator find_kept(const std::string& signature, const std::string& query_state);
  std::size_t kept_bytes() const;

  // --- account_query.cpp ---
  struct Found;         // the messages of one mailbox that match
  struct QueryThreads;  // what a query asks of whole threads
  struct SharedMatches;
  bool is_quiet(const MailboxView& view) const;
  static std::string result_signature(const Filter& filter, const Sort& sort, const QueryThreads& threads);
  bool can_tell(MailboxView& view, const Filter& filter, const Sort& sort, const QueryThreads& threads) const;
  SharedMatches shared_matches(const Filter& filter) const;
  static void keep_only(Found& found, const std::function<bool(std::uint32_t)>& wanted);
  // `quiet`: the view is as it was, and tells it by itself.
  io::Task<Result<Found>> result_of(ViewPtr view, const Filter& filter, const Sort& sort,
                                    const QueryThreads& threads, bool quiet);
  io::Task<Result<std::vector<Found>>> results_of(const EmailQuery& query, const QueryThreads& threads);
  io::Task<Result<Found>> found_in(ViewPtr view, const Filter& filter, const EmailQuery& query,
                                   const QueryThreads& threads, bool alone);
  // Whether the mailbox is in the server's list, which is asked for anew; nullopt where that can't be had.
  io::Task<std::optional<bool>> is_listed(MailboxKey key);
  // The view's mailbox selected. not_found where it has gone, forbidden where it may not be read, and another error
  // where the server refuses it and neither is known.
  io::Task<Result<session::Lease>> open(ViewPtr view);
  io::Task<Error> why_closed(MailboxKey key, Error error);
  // Does this error of a command within a mailbox come from that there is no such mailbox any more? Where the server
  // refused it, its list is asked for: another client may have deleted the mailbox since it was opened.
  io::Task<bool> has_gone(MailboxKey key, Error error);
  bool names_unlisted(const Filter& filter) const;
  io::Task<Result<>> ensure_order(ViewPtr view, const Sort& sort);
  io::Task<Result<>> load_sort_keys(ViewPtr view, const Sort& sort);
  Result<> slice(const EmailQuery& query, const Ranked& all, EmailQueryResult& result) const;
  io::Task<std::shared_ptr<const std::vector<Place>>> merged(const EmailQuery& query,
                                                             const std::vector<Found>& parts,
                                                             const QueryThreads& threads);
  io::Task<std::vector<Place>> merge(const EmailQuery& query, const std::vector<Found>& parts,
                                     const QueryThreads& threads);

  // --- account_search.cpp ---
  io::Task<Result<UidList>> search(ViewPtr view, const Filter& filter);
  io::Task<Result<>> search_all(ViewPtr view, const Filter& filter, std::map<const Filter*, UidList>& found);
  io::Task<Result<>> load_attachments(ViewPtr view, const FilterProgram& program);
  // The messages of `order` that match; nullopt if the mailbox has changed meanwhile.
  io::Task<std::optional<UidList>> matching(ViewPtr view, const FilterProgram& program, UidList order);
  io::Task<Result<>> scan_threads(const EmailQuery& query, QueryThreads& threads);

  // --- account_fetch.cpp ---
  struct Wanted;
  struct Gathering;
  io::Task<Result<>> gather(Gathering& gathering);
  std::optional<Place> next_place(const EmailKey& id, const std::vector<Place>& tried) const;
  std::vector<std::string> keywords_of(const EmailKey& id) const;
  io::Task<Result<>> gather_in(ViewPtr view, std::vector<Wanted*> wanted, Gathering& gathering,
                               bool one_of_many);
  io::Task<> render_in_turns(Gathering& gathering);
  void assemble(Wanted& wanted, Gathering& gathering);
  io::Task<Result<>> fetch_sources(ViewPtr view, const FetchPlan& plan,
                                   std::map<std::uint32_t, MessageSource>& sources, std::uint64_t& octets);
  io::Task<Result<>> fetch_sections(ViewPtr view, std::map<std::uint32_t, MessageSource>& sources,
                                    const FetchPlan& plan, std::uint64_t& octets);

  // --- account_shape.cpp: messages whose structure is known ---
  void keep_shape(const FetchPlan& plan, const MessageSource& source);
  void put_shape(const EmailKey& id, std::shared_ptr<MessageShape> shape);
  void keep_arrival(MailboxView& view, const FetchPlan& plan, MessageSource source);
  // False: not all is known that the plan's first round fetches of a message.
  bool take_known(const MailboxView& view, const FetchPlan& plan, std::uint32_t uid, MessageSource& source);
  io::Task<Result<bool>> fetch_known(ViewPtr view, const FetchPlan& plan,
                                     std::map<std::uint32_t, MessageSource>& sources, std::uint64_t& octets);

  // --- account_arrivals.cpp: what lists show comes with the arrival ---
  void note_listed(const MailboxView& view, const FetchPlan& plan, std::size_t messages);
  io::Task<Result<>> sync_arrivals(session::Lease& lease, ViewPtr view);
  io::Task<Result<>> fetch_arrivals(session::Lease& lease, ViewPtr view, FetchPlan plan);

  // --- account_threads.cpp ---
  io::Task<Result<Freshness>> load_threads(ViewPtr view);
  struct ThreadViews {
    std::vector<ViewPtr> views;
    Freshness freshness = Freshness::current;
  };
  // Those of all mailboxes that can be read, with the threads of their messages, and if so wanted their index, known.
  io::Task<Result<ThreadViews>> thread_views(bool filled);

  // --- account_limits.cpp ---
  // Message octets that are about to be fetched; over_limit.
  Result<limits::Reservation> grant_read(std::uint64_t octets, limits::Tab* tab);

  // --- account_blob.cpp ---
  // Where the blob's message is; not_found.
  io::Task<Result<std::pair<ViewPtr, Place>>> locate(EmailKey id);
  struct Counted {
    bool here = false;  // else somebody else counts
    std::shared_ptr<limits::Tab> tab = {};
  };
  io::Task<Result<std::unique_ptr<BlobReader>>> open_message(BlobKey blob, Counted counted);
  io::Task<Result<std::unique_ptr<BlobReader>>> open_any_blob(BlobKey blob, Counted counted);

  // --- account_append.cpp ---
  struct Appending;
  static limits::Charge charge_of(const Appending& appending);
  static io::Task<Result<std::string>> next_of_append(Appending& appending);
  io::Task<> check_append(Appending& appending);
  io::Task<Result<>> know_end(Appending& appending);
  io::Task<> send_append(Appending& appending);
  io::Task<> find_appended(Appending& appending);
  io::Task<Result<UidList>> search_appended(const Appending& appending);
  io::Task<> take_appended(Appending& appending);
  io::Task<> copy_appended(Appending& appending);

  // --- account_set.cpp ---
  struct Change;
  struct Part;
  enum class Phase : std::uint8_t {
    add,
    take,
    all
  };  // flags and copies; what takes messages out of a mailbox
  // Several mailboxes may be written to for one request: its effects are told once.
  struct Writing {
    EffectsHook effects;
    std::optional<bool> told = {};
    io::Task<bool> begin();
  };
  io::Task<Result<std::vector<SetOutcome>>> change_all(std::vector<Change> changes, EffectsHook effects);
  // From here on errors are those of single changes, in their outcomes.
  io::Task<Result<ViewPtr>> look_into(MailboxKey mailbox, const std::vector<Change*>& changes);
  io::Task<> change_in(MailboxKey mailbox, std::vector<Change*> changes, EffectsHook effects);
  io::Task<> change_shared(std::vector<Change*> changes, EffectsHook effects);
  void plan_change(Change& change);
  void plan_keywords(const MailboxView& view, const MessageEntry& entry, Part& part);
  void plan_mailboxes(Change& change);
  void check_rights(Change& change) const;
  // Those of the mailboxes that these changes are about.
  io::Task<> confirm_rights_of(const std::vector<Change*>& changes);
  // Does the server tell where copies are?
  bool may_copy() const;
  io::Task<> write_parts(ViewPtr view, std::vector<Part*> parts, Phase phase, Writing& writing);
  io::Task<> store_keywords(session::Lease& lease, const std::vector<Part*>& parts);
  io::Task<> take_back_keywords(const std::vector<Change*>& changes);
  io::Task<Result<>> transfer(session::Lease& lease, const char* name, const imap::UidSet& uids,
                              MailboxKey target, const std::vector<Part*>& parts,
                              std::function<void(const imap::CopyUid&)> heard);
  io::Task<> copy_messages(session::Lease& lease, MailboxKey target, std::vector<Part*> parts);
  void take_copies(MailboxKey target, const imap::CopyUid& code, const std::vector<Part*>& parts,
                   std::set<Part*>& copied);
  io::Task<> move_messages(session::Lease& lease, MailboxKey target, std::vector<Part*> parts);
  void follow_moves(MailboxKey target, const imap::CopyUid& code, const std::vector<Part*>& parts);
  // What was expected in a mailbox that is in step now, and isn't there, has gone unheard.
  void settle_expected(const MailboxView& view);
  // Has the server yet to announce something that we have put there?
  bool has_unheard(const MailboxView& view) const;
  io::Task<Result<>> hear_expected(session::Lease& lease, ViewPtr view);
  void tell_unheard_gone(const Place& place);
  io::Task<> expunge_messages(session::Lease& lease, std::vector<Part*> parts);

  // --- account_watch.cpp ---
  struct Watch;
  static io::Task<> run_watch(std::shared_ptr<Account> self, std::shared_ptr<Watch> watch);
  static io::Task<> watch_while_up(std::shared_ptr<Account> self, std::shared_ptr<Watch> watch);
  io::Task<Result<>> begin_watch(Watch& watch);
  static io::Task<> rest_until(Watch& watch, const Clock& clock, MonotonicTime until);
  Duration list_pace(Duration wanted) const;
  io::Task<Result<bool>> say_notify(Watch& watch);  // false: the server won't
  // What the server doesn't tell by itself, and clients have asked for: quotas behind a change, the vacation response.
  void look_at_quotas_soon();
  io::Task<> look_at_what_is_due(Watch& watch);
  io::Task<Result<>> ensure_inbox(Watch& watch);
  const Mailbox* find_inbox() const;
  // By NOTIFY: what LIST and STATUS would tell has been told.
  bool hears_of_all() const;
  // Was it news?
  bool take_status(Mailbox& mailbox, const imap::StatusDataResponse& status);
  void heard_count(Mailbox& mailbox, std::uint32_t exists);
  void on_status(const imap::StatusDataResponse& status) override;
  void on_list(const imap::ListResponse& list) override;
  void on_connection_lost() override;
  void on_notification_overflow() override;
  void on_unheard(const std::string& encoded_mailbox, const imap::Response& response) override;
  Mailbox* find_mailbox(const std::string& encoded_name);

  // --- ViewEvents (account_changes.cpp) ---
  void on_message_arrived(MailboxView& view, std::uint32_t uid) override;
  void on_message_changed(MailboxView& view, std::uint32_t uid) override;
  void on_message_filled(MailboxView& view, std::uint32_t uid, bool changed) override;
  void on_message_hidden(MailboxView& view, std::uint32_t uid) override;
  void on_message_shown(MailboxView& view, std::uint32_t uid) override;
  void on_message_gone(MailboxView& view, const MessageEntry& message) override;
  void on_unlisted_gone(MailboxView& view, const imap::UidSet& uids) override;
  void on_unlisted_gone(MailboxView& view, std::uint32_t nth, std::uint32_t unlisted) override;
  void on_behind(MailboxView& view) override;
  void on_left(MailboxView& view) override;
  void on_untold(MailboxView& view) override;
  void on_reset(MailboxView& view) override;

  AccountContext context_;
  std::shared_ptr<limits::Meter> meter_;
  const std::shared_ptr<Lane> lane_;  // for work that takes long
  const store::AccountKey key_;
  const std::string login_;
  struct ToldCounts {
    Counts counts;
    bool open =
        false;  // the state has changed since they were given to a client: others may be given with it
  };
  // By mailbox: of views that were left and have no news since, as they were told last, and what is known of those
  // that nobody hears. All hear of views that end, and outlive them.
  std::unordered_map<MailboxKey, Counts> counts_left_;
  std::unordered_map<MailboxKey, ToldCounts> counts_told_;
  std::unordered_map<MailboxKey, Baseline> baselines_;
  std::set<MailboxKey> left_while_listing_;
  std::shared_ptr<session::Pool> pool_;  // views tell it when they end
  std::unique_ptr<VacationStore> vacation_;
  std::unique_ptr<OrderStore> order_store_;
  std::optional<std::unordered_map<MailboxKey, std::uint32_t>> sort_orders_;  // once they have been read
  std::vector<Mailbox> mailboxes_;
  std::optional<PersonalNamespace> personal_;  // once it has been asked for
  // By name: MYRIGHTS, or that the server doesn't tell them.
  std::unordered_map<std::string, std::optional<std::string>> rights_told_;
  std::optional<MonotonicTime> rights_asked_;
  std::map<std::string, MonotonicTime> refused_since_;  // what the server won't tell, without a reason
  std::unordered_map<std::string, MonotonicTime> rights_confirmed_;  // by name, since rights_asked_
  QuotaLog quota_log_;
  std::vector<Quota> server_quotas_;
  limits::Levels plan_levels_{};  // that were told
  std::optional<MonotonicTime> quotas_asked_;
  std::uint64_t mailbox_changes_ = 0;              // made through us
  std::shared_ptr<io::Event> changing_mailboxes_;  // one at a time
  std::unordered_map<MailboxKey, std::size_t> mailbox_at_;
  std::optional<MonotonicTime> mailboxes_listed_;
  bool counts_moved_ = false;  // nobody knows which, since the list was asked for
  // Of these mailboxes, by what we have put into them: and what UIDNEXT is from then on, at least.
  std::map<MailboxKey, std::uint32_t> uncounted_;
  struct Held {
    unsigned commands = 0;
    std::optional<imap::StatusDataResponse> told = {};
  };
  std::map<MailboxKey, Held> held_;
  struct Listing;
  std::shared_ptr<Listing> listing_;  // one coroutine asks for the list at a time
  std::map<MailboxKey, ViewPtr> views_;
  std::map<MailboxKey, std::shared_ptr<io::Event>> syncing_;  // one coroutine syncs a view at a time
  std::set<MailboxKey> filling_;
  std::unordered_map<MailboxKey, FetchPlan> listed_with_;  // of each view, what its lists were fetched with
  std::shared_ptr<io::Event> appending_;  // one message at a time, where only a search tells which one it is
  // Queries and fetches at work; the event is set when the last one has ended.
  class Working {
   public:
    explicit Working(Account& account) : account_(account) { ++account_.working_; }
    ~Working() {
      if (--account_.working_ == 0) account_.idle_.set();
    }
    Working(const Working&) = delete;
    Working& operator=(const Working&) = delete;

   private:
    Account& account_;
  };
  std::size_t working_ = 0;
  io::Event idle_;
  // Where an Email's message is, if it isn't where the id says; copies of it; and of which Email each of these is.
  std::unordered_map<EmailKey, Place, PlaceHash> current_of_;
  std::unordered_map<EmailKey, std::vector<Place>, PlaceHash> copies_of_;
  std::unordered_map<Place, EmailKey, PlaceHash> origin_of_;
  store::StateCounters counters_;
  bool counters_dirty_ = false;
  std::shared_ptr<Watch> watch_;  // while watched
  // Places of messages that were moved there through us: no news when they are heard of. expected_places_max.
  std::set<std::pair<MailboxKey, std::uint32_t>> expected_;
  std::set<std::pair<MailboxKey, std::uint32_t>>
      asked_for_;  // of these: it was asked, and had nothing to say
  std::array<bool, 6>
      rumoured_{};  // by StateType: the state has changed for something not told, and nobody saw it
  ChangeLog log_;
  // Messages that are being moved away by us, with their Threads once they aren't seen there any more; those that have
  // left, with the ids they had there.
  std::unordered_map<Place, std::optional<ThreadKey>, PlaceHash> moving_;
  std::shared_ptr<io::Event> move_ended_;  // of any of these; where somebody waits for one
  std::unordered_map<Place, EmailKey, PlaceHash> moved_from_;         // moved_from_max
  std::unordered_map<Place, EmailKey, PlaceHash> gone_from_;          // of which Emails places were, likewise
  std::unordered_map<Identity, Departure, IdentityHash> departures_;  // departures_max
  std::vector<KeptResult> kept_;                                      // kept_results_max, the latest behind
  std::vector<std::pair<std::string, std::shared_ptr<const std::vector<Place>>>>
      merged_;                                             // merged_results_max
  std::uint64_t places_version_ = 0;                       // grows with every record of places
  std::unordered_map<MailboxKey, MonotonicTime> left_at_;  // when a mailbox was heard last
  KeptLists kept_lists_;
  std::uint64_t mixed_states_ = 0;  // query states that are none of a counter's
};

}  // namespace postern::mail
