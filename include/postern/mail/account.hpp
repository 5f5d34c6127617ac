// One login on one IMAP server: the Mailstore over its pool of connections, its mailboxes and views.
//
// Lives on one shard and is only touched there. Web sessions of the same login share it. Requests hold a
// shared pointer to it for as long as they run. What accounts of a shard have in common comes in through
// AccountContext and outlives them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "postern/io/event.hpp"
#include "postern/io/loop.hpp"
#include "postern/mail/fragment_cache.hpp"
#include "postern/mail/mailbox_view.hpp"
#include "postern/mail/mailstore.hpp"
#include "postern/session/pool.hpp"
#include "postern/store/session_table.hpp"

namespace postern::mail {

struct MailOptions {
  Duration mailbox_list_fresh = std::chrono::seconds(30);  // LIST and STATUS are asked again after that
  std::uint32_t fill_messages = 10'000;  // UIDs asked about by one command while an index fills
  std::uint32_t fetch_messages = 1'000;  // messages in one FETCH of header fields
};

struct AccountContext {
  io::Loop& loop;
  session::Server& server;
  store::SegmentWriter& segment;
  FragmentCache& fragments;
  MailOptions options;
};

using ViewPtr = std::shared_ptr<MailboxView>;

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

  // --- Mailstore ---
  std::string state(StateType type) override;
  io::Task<Result<Snapshot<std::vector<MailboxData>>>> mailboxes() override;
  io::Task<Result<EmailQueryResult>> query(EmailQuery query) override;
  io::Task<Result<Snapshot<std::vector<EmailItem>>>> fetch(std::vector<EmailKey> ids,
                                                           FetchPlan plan) override;
  io::Task<Result<Snapshot<std::vector<ThreadData>>>> threads(std::vector<ThreadKey> keys) override;
  io::Task<Result<std::string>> email_state_of(std::vector<EmailKey> ids) override;
  io::Task<Result<std::vector<SetOutcome>>> update(std::vector<EmailUpdate> updates,
                                                   EffectsHook effects) override;
  io::Task<Result<std::vector<SetOutcome>>> destroy(std::vector<EmailKey> ids, EffectsHook effects) override;
  io::Task<Result<std::unique_ptr<BlobReader>>> open_blob(BlobKey blob) override;

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
  // The list, at most `fresh` old and with the counts as they are since the last move; with any_age, if there
  // is one. Whoever wants it while it is being asked for waits for that answer.
  io::Task<Result<Freshness>> refresh_mailboxes(Duration fresh);
  io::Task<Result<Freshness>> ask_for_mailboxes();
  io::Task<Result<>> list_mailboxes(session::Lease& lease);
  io::Task<Result<>> ask_status(session::Lease& lease, MailboxListBuilder& builder,
                                std::vector<std::string> names);
  io::Task<Result<>> ask_mailbox_ids(session::Lease& lease, MailboxListBuilder& builder, bool utf8_names);
  io::Task<Result<>> ask_personal_prefix(session::Lease& lease, const std::vector<Mailbox>& listed);
  const Mailbox* find_mailbox(MailboxKey key) const;
  // Looks the mailbox up (asking the server for its list if need be); its view, made if there is none.
  io::Task<Result<ViewPtr>> view_of(MailboxKey key);
  Place place_of(const EmailKey& id) const;
  EmailKey id_of(const Place& place) const;
  void add_redirect(const EmailKey& origin, const Place& current);
  void drop_redirect_to(const Place& place);
  void bump(StateType type);
  void bump_all();

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
  // A list that differs from the one before changes states: Emails have come or gone where nobody hears them.
  void take_list(std::vector<Mailbox> fresh);
  // Brings the views that hear their mailbox into step, so that their counts are those of now.
  io::Task<Freshness> catch_up();
  io::Task<Result<>> sync(session::Lease& lease, ViewPtr view, const Sort* cold_sort);
  io::Task<Result<>> sync_list(session::Lease& lease, ViewPtr view, const Sort* cold_sort);
  io::Task<Result<>> sync_flags(session::Lease& lease, ViewPtr view, std::uint64_t changed_since);
  io::Task<Result<Freshness>> fill(ViewPtr view);
  void fill_behind(ViewPtr view);
  io::Task<> quiet();
  io::Task<Result<>> load_text_keys(ViewPtr view, SortKey::Property property);
  template <typename Op>
  io::Task<Result<>> on_mailbox(ViewPtr view, Op op);

  // --- account_query.cpp ---
  struct Found;  // the messages of one mailbox that match
  io::Task<Result<Found>> result_of(ViewPtr view, Filter filter, Sort sort);
  io::Task<Result<std::vector<Found>>> results_of(const EmailQuery& query);
  io::Task<Result<>> ensure_order(ViewPtr view, Sort sort);
  io::Task<Result<>> load_sort_keys(ViewPtr view, Sort sort);
  io::Task<Result<UidList>> search(ViewPtr view, Filter filter);
  io::Task<Result<>> search_all(ViewPtr view, const Filter& filter, std::map<const Filter*, UidList>& found);
  EmailQueryResult slice(const EmailQuery& query, const std::vector<Place>& all, Result<>& status);
  EmailQueryResult slice_of_one(const EmailQuery& query, const Found& found);
  std::vector<Place> merged(const EmailQuery& query, const std::vector<Found>& parts);

  // --- account_fetch.cpp ---
  struct Wanted;
  struct Gathering;
  io::Task<Result<>> gather(Gathering& gathering);
  io::Task<Result<>> gather_in(ViewPtr view, std::vector<Wanted*> wanted, Gathering& gathering);
  void assemble(Wanted& wanted, Gathering& gathering);
  io::Task<Result<>> fetch_sources(ViewPtr view, const FetchPlan& plan,
                                   std::map<std::uint32_t, MessageSource>& sources, std::uint64_t& octets);
  io::Task<Result<>> fetch_sections(ViewPtr view, std::map<std::uint32_t, MessageSource>& sources,
                                    const FetchPlan& plan, std::uint64_t& octets);
  io::Task<Result<Freshness>> load_threads(ViewPtr view);

  // --- account_blob.cpp ---
  // Where the blob's message is; not_found.
  io::Task<Result<std::pair<ViewPtr, Place>>> locate(EmailKey id);

  // --- account_set.cpp ---
  struct Change;
  io::Task<Result<std::vector<SetOutcome>>> change_all(std::vector<Change> changes, EffectsHook effects);
  // From here on errors are those of single changes, in their outcomes.
  io::Task<> change_in(MailboxKey mailbox, std::vector<Change*> changes, EffectsHook effects);
  io::Task<> apply_changes(ViewPtr view, std::vector<Change*> changes, EffectsHook effects);
  void plan_change(const MailboxView& view, Change& change);
  void plan_keywords(const MailboxView& view, const MessageEntry& entry, Change& change);
  void plan_mailboxes(Change& change);
  io::Task<> store_keywords(session::Lease& lease, std::vector<Change*>& changes);
  io::Task<> move_messages(session::Lease& lease, MailboxKey target, std::vector<Change*> changes);
  void follow_moves(MailboxKey target, const imap::CopyUid& copied, const std::vector<Change*>& changes,
                    bool can_move);
  void expect_at(MailboxKey target, std::uint32_t uid);
  io::Task<> expunge_messages(session::Lease& lease, std::vector<Change*> changes);

  // --- ViewEvents ---
  void on_message_arrived(MailboxView& view, std::uint32_t uid) override;
  void on_message_changed(MailboxView& view, std::uint32_t uid) override;
  void on_message_hidden(MailboxView& view, std::uint32_t uid) override;
  void on_message_gone(MailboxView& view, std::uint32_t uid) override;
  void on_behind(MailboxView& view) override;
  void on_left(MailboxView& view) override;
  void on_reset(MailboxView& view) override;

  AccountContext context_;
  const store::AccountKey key_;
  const std::string login_;
  // By mailbox: of views that were left since the list was asked for, and as they were told last. Both hear of views
  // that end, and outlive them.
  std::unordered_map<MailboxKey, Counts> counts_left_, counts_told_;
  std::shared_ptr<session::Pool> pool_;  // views tell it when they end
  std::vector<Mailbox> mailboxes_;
  std::optional<std::string> personal_prefix_;  // once it has been asked for
  std::unordered_map<MailboxKey, std::size_t> mailbox_at_;
  std::optional<MonotonicTime> mailboxes_listed_;
  bool counts_moved_ = false;  // by a move since the list was asked for
  struct Listing;
  std::shared_ptr<Listing> listing_;  // one coroutine asks for the list at a time
  std::map<MailboxKey, ViewPtr> views_;
  std::map<MailboxKey, std::shared_ptr<io::Event>> syncing_;  // one coroutine syncs a view at a time
  std::set<MailboxKey> filling_;
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
  std::unordered_map<Place, Place, PlaceHash> current_of_, origin_of_;
  store::StateCounters counters_;
  bool counters_dirty_ = false;
  std::uint64_t mixed_states_ = 0;  // query states that are none of a counter's
};

}  // namespace postern::mail
