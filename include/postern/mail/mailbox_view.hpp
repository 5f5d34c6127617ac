// What Postern knows of one mailbox: its index, its cached orders, and how far they are right. No I/O.
//
// Owned by the account; hears the IMAP server through session::MailboxObserver while its mailbox is
// selected (attached). What it needs fetched it says by sync_need(); the account's coroutines fetch it
// and feed it back. A view is right while it is attached and sync_need() is none.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "postern/imap/uid_set.hpp"
#include "postern/mail/ids.hpp"
#include "postern/mail/mailbox_index.hpp"
#include "postern/mail/mailbox_list.hpp"
#include "postern/mail/query.hpp"
#include "postern/session/pool.hpp"

namespace postern::mail {

class MailboxView;

// Hears about changes as they become known; called on the loop, must not suspend.
class ViewEvents {
 public:
  virtual ~ViewEvents() = default;
  virtual void on_message_arrived(MailboxView& view, std::uint32_t uid) = 0;
  virtual void on_message_changed(MailboxView& view, std::uint32_t uid) = 0;  // its keywords
  // It was listed, and is known now, with its keywords: they are others than those that were told, or may be.
  virtual void on_message_filled(MailboxView& view, std::uint32_t uid, bool changed) {
    (void)view, (void)uid, (void)changed;
  }
  // \Deleted was set, which hides it; it may be taken off again.
  virtual void on_message_hidden(MailboxView& view, std::uint32_t uid) = 0;
  // \Deleted was taken off.
  virtual void on_message_shown(MailboxView& view, std::uint32_t uid) { on_message_arrived(view, uid); }
  virtual void on_message_gone(MailboxView& view, const MessageEntry& message) = 0;  // as it was
  // Messages have gone that were announced and not listed yet: by their UIDs, or the nth of so many.
  virtual void on_unlisted_gone(MailboxView& view, const imap::UidSet& uids) = 0;
  virtual void on_unlisted_gone(MailboxView& view, std::uint32_t nth, std::uint32_t unlisted) = 0;
  // The server counts what the view has yet to ask about: something is new, and not known.
  virtual void on_behind(MailboxView& view) = 0;
  // The mailbox isn't heard any more; what the view knows is from now.
  virtual void on_left(MailboxView& view) = 0;
  // Keywords may have changed of messages whose keywords aren't known: nobody can say of which.
  virtual void on_untold(MailboxView& view) = 0;
  // Nothing known of the mailbox holds any more (UIDVALIDITY changed).
  virtual void on_reset(MailboxView& view) = 0;
};

using UidList = std::vector<std::uint32_t>;

enum class SyncNeed : std::uint8_t {
  none,
  list,           // the UIDs of all messages (and which are \Deleted)
  arrivals,       // UID, flags, date and size of what lies behind the largest UID
  changes_since,  // flags changed since modseq(), by CHANGEDSINCE; then list if the count doesn't fit
  flags,          // UIDs and flags of everything: no CONDSTORE
};

inline constexpr std::size_t orders_max = 12;               // cached orders a view
inline constexpr std::size_t query_results_max = 8;         // cached filtered results a view
inline constexpr std::size_t known_uids_bytes_max = 2'000;  // in SELECT (QRESYNC ...)

class MailboxView final : public session::MailboxObserver {
 public:
  MailboxView(MailboxKey key, std::string encoded_name, ViewEvents& events);

  MailboxKey key() const { return key_; }
  const std::string& encoded_name() const { return encoded_name_; }
  void rename(std::string encoded_name) { encoded_name_ = std::move(encoded_name); }
  bool attached() const { return attached_; }
  std::uint32_t uid_validity() const { return uid_validity_; }
  bool validity_told() const { return validity_told_; }  // by the server; else made up for one selection
  std::uint32_t uid_next() const { return uid_next_; }   // 0: the server doesn't tell
  std::uint64_t modseq() const { return modseq_; }
  const imap::Flags& permanent_flags() const { return permanent_flags_; }
  bool read_only() const { return read_only_; }
  std::uint32_t exists() const { return exists_; }
  // How many have gone while the mailbox was heard: with exists(), whether a list is still that of now.
  std::uint64_t expunges() const { return expunges_; }
  // Does a STATUS say that nothing has come or gone since this view was right?
  bool is_current(const MailboxStatus& status) const {
    if (attached_ && sync_need() == SyncNeed::none) return true;
    return index_.listed() && !relist_ && status.known && status.messages == index_.size() &&
           status.uid_validity == uid_validity_ && status.uid_next != 0 && status.uid_next == uid_next_;
  }
  const MailboxIndex& index() const { return index_; }
  // Grows with every change that a client could see.
  std::uint64_t version() const { return version_; }
  SyncNeed sync_need() const;

  // --- What the account's coroutines feed in ---
  // A cold view is listed in several steps, of which no event tells. Until the last one has been made there is need of
  // a list, whatever became of those before.
  void begin_listing() { listing_ = true; }
  void end_listing() { listing_ = false; }
  bool listing() const { return listing_; }
  // Clients know its messages from before it was listed. What has another MODSEQ than that, when its flags are fetched,
  // has changed since. 0: nobody knows any.
  void set_told_modseq(std::uint64_t modseq) { told_modseq_ = modseq; }
  std::uint64_t told_modseq() const { return told_modseq_; }
  // Answer to a SORT or SEARCH of all, any order. What is at `end` or behind it is left to come as arrivals, which are
  // known when they are told, unless that was tried and they didn't.
  void take_uid_list(UidList uids, std::uint32_t end = UINT32_MAX);
  void take_deleted(const UidList& uids);  // answer to SEARCH DELETED: hidden
  void sync_finished(SyncNeed what);
  // The server leaves these out of a completed FETCH: known from now on, as far as they are.
  void settle(const imap::UidSet& uids);
  bool set_thread(std::uint32_t uid, ThreadKey thread) { return index_.set_thread(uid, thread); }
  void set_attachment(std::uint32_t uid, bool has_attachment) { index_.set_attachment(uid, has_attachment); }

  // --- Orders and results ---
  // Visible messages in this order, if that is known now. Made from the index where it holds the keys.
  const UidList* order(const Sort& sort);
  // The same, if it has been made already.
  const UidList* known_order(const Sort& sort);
  // The server's answer to SORT over all messages, or what such an order was made into elsewhere.
  const UidList* install_order(const Sort& sort, const UidList& uids);
  bool has_keys(const Sort& sort) const;  // all that order() needs to make it
  imap::UidSet missing_keys(SortKey::Property property) const;
  void put_key(SortKey::Property property, std::uint32_t uid, std::string key) {
    texts_.put(property, uid, std::move(key));
  }
  bool has_key(SortKey::Property property, std::uint32_t uid) const {
    return texts_.find(property, uid) != nullptr;
  }
  SortEntry sort_entry(const MessageEntry* entry) const { return {&index_, &texts_, entry}; }
  std::shared_ptr<const UidList> cached_result(const std::string& signature) const;
  void cache_result(std::string signature, std::shared_ptr<const UidList> result);

  // Threads with a message here, and with one here that is neither $seen nor $draft; nullopt while some
  // thread keys are not known.
  struct ThreadCounts {
    std::uint64_t total = 0, unread = 0;
  };
  std::optional<ThreadCounts> thread_counts();
  imap::UidSet missing_threads() const;

  std::size_t memory_bytes() const;
  // Gives back all memory but what makes the next SELECT cheap is lost, too: the view is cold again.
  void evict();

  // --- session::MailboxObserver ---
  std::optional<session::SelectParameters> select_parameters() const override;
  void begin_select() override;
  void on_selected(const session::SelectInfo& info) override;
  void on_exists(std::uint32_t count) override;
  void on_expunge(std::uint32_t seq) override;
  void on_vanished(const imap::VanishedResponse& vanished) override;
  void on_fetch(const imap::FetchData& data) override;
  void on_modseq(std::uint64_t highest) override;
  void on_deselected() override;

 private:
  struct Order {
    std::string signature;
    Sort sort;
    UidList uids;
    bool stale = false;      // something arrived whose place is unknown
    std::uint64_t used = 0;  // for eviction: the least recently used goes
  };
  struct CachedResult {
    std::string signature;
    std::uint64_t version = 0;
    std::shared_ptr<const UidList> uids;
  };

  void reset();
  void changed() { ++version_; }
  void messages_gone(const UidList& ascending);
  void insert_into_orders(std::uint32_t uid);
  void remove_from_orders(std::uint32_t uid);
  Order* find_order(const std::string& signature);
  Order& add_order(const Sort& sort, std::string signature);

  const MailboxKey key_;
  std::string encoded_name_;
  ViewEvents& events_;
  MailboxIndex index_;
  TextKeys texts_;
  std::vector<Order> orders_;
  std::vector<CachedResult> results_;
  imap::Flags permanent_flags_;
  std::uint64_t version_ = 1, modseq_ = 0, selected_modseq_ = 0, told_modseq_ = 0, uses_ = 0;
  std::uint32_t uid_validity_ = 0, uid_next_ = 0, exists_ = 0;
  bool attached_ = false, selecting_ = false, read_only_ = false;
  bool validity_told_ = false;
  std::uint64_t expunges_ = 0;
  bool relist_ = false;   // the list of UIDs doesn't fit the server's count
  bool missed_ = false;   // nor after its arrivals were asked for
  bool listing_ = false;  // for the first time
  std::uint64_t thread_counts_version_ = 0;
  ThreadCounts thread_counts_;
  SyncNeed resync_ = SyncNeed::none;  // what a new selection left open: changes_since or flags
};

}  // namespace postern::mail
