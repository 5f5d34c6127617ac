// What was created, updated and destroyed under which state (RFC 8620, 5.2), for Mailboxes, Emails and Threads. Pure.
//
// Owned by an account, one thread. States are counters that grow; each entry has one of its own, so that every state
// can be an intermediate one. Bound: change_log_entries_max of each type; the oldest go, and what was before them can't
// be told any more, as what came before forget() can't.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "postern/mail/ids.hpp"

namespace postern::mail {

inline constexpr std::size_t change_log_entries_max = 4'096;  // of each type

enum class ChangeKind : std::uint8_t {
  created,
  updated,
  counts,  // of a Mailbox: none of its properties but the four counts
  destroyed,
};

template <typename Id>
struct ChangeSet {
  std::vector<Id> created, updated, destroyed;  // in the order in which they were first heard of
  bool counts_only = false;                     // nothing but counts has changed of any of `updated`
  std::uint64_t new_state = 0;
  bool has_more = false;  // there is more behind new_state
};

inline constexpr std::size_t changes_unlimited = static_cast<std::size_t>(-1);

// Entries in order, and which states they reach back to.
template <typename Entry>
class StateLog {
 public:
  using Entries = std::vector<Entry>;
  using Iterator = typename Entries::const_iterator;
  explicit StateLog(std::uint64_t state = 0) : floor_(state) {}

  // `entry.state` is greater than any before it.
  void add(Entry entry) {
    if (entries_.size() >= change_log_entries_max) {
      // A quarter at a time, so that an entry costs a constant on average.
      const auto kept = entries_.begin() + static_cast<std::ptrdiff_t>(change_log_entries_max / 4);
      floor_ = std::max(floor_, std::prev(kept)->state);
      entries_.erase(entries_.begin(), kept);
    }
    entries_.push_back(std::move(entry));
  }
  // What happened before `state` can't be told.
  void forget(std::uint64_t state) {
    entries_ = {};
    floor_ = state;
  }
  bool reaches(std::uint64_t since, std::uint64_t now) const { return since >= floor_ && since <= now; }
  Iterator after(std::uint64_t since) const {
    return std::upper_bound(entries_.begin(), entries_.end(), since,
                            [](std::uint64_t state, const Entry& entry) { return state < entry.state; });
  }
  Iterator end() const { return entries_.end(); }
  std::size_t size() const { return entries_.size(); }
  std::size_t memory_bytes() const { return entries_.capacity() * sizeof(Entry); }

 private:
  Entries entries_;
  std::uint64_t floor_;
};

template <typename Id>
struct ObjectEntry {
  std::uint64_t state = 0;
  Id id{};
  ChangeKind kind = ChangeKind::updated;
};

// Mailboxes and Emails.
template <typename Id, typename Hash = std::hash<Id>>
class ObjectLog {
 public:
  explicit ObjectLog(std::uint64_t state = 0) : log_(state) {}
  void add(std::uint64_t state, ChangeKind kind, const Id& id) { log_.add({state, id, kind}); }
  void forget(std::uint64_t state) { log_.forget(state); }
  std::size_t size() const { return log_.size(); }
  std::size_t memory_bytes() const { return log_.memory_bytes(); }

  // The last state up to `now` that isn't that of a change of these objects (counts are anybody's); `since`, where
  // there is none behind it.
  template <typename IsOne>
  std::uint64_t last_of_others(std::uint64_t since, std::uint64_t now, const IsOne& is_one_of_these) const {
    auto entry = log_.end();
    for (const auto begin = log_.after(since); now > since && entry != begin; --now) {
      --entry;
      if (entry->state != now || entry->kind == ChangeKind::counts || !is_one_of_these(entry->id)) break;
    }
    return now;
  }

  // The changes from `since` to `now`, several of one object as one, at most `max` (1 or more) of them; nullopt where
  // that can't be told.
  std::optional<ChangeSet<Id>> since(std::uint64_t since, std::uint64_t now,
                                     std::size_t max = changes_unlimited) const {
    if (!log_.reaches(since, now)) return std::nullopt;
    ChangeSet<Id> changes;
    std::vector<Net> net;
    std::unordered_map<Id, std::size_t, Hash> at;
    std::size_t told = 0;
    auto entry = log_.after(since);
    for (; entry != log_.end(); ++entry) {
      const auto [known, first] = at.try_emplace(entry->id, net.size());
      if (first) net.push_back(Net{entry->id, entry->kind != ChangeKind::created, false, true});
      auto& object = net[known->second];
      const auto before = object;
      told -= !first && before.is_told() ? 1u : 0u;
      object.exists = entry->kind != ChangeKind::destroyed;
      object.counts_only = object.counts_only && entry->kind == ChangeKind::counts;
      told += object.is_told() ? 1u : 0u;
      if (told > max) {  // so that the state before this entry is as far as it goes
        if (first)
          net.pop_back();
        else
          object = before;
        changes.has_more = true;
        break;
      }
      changes.new_state = entry->state;
    }
    if (!changes.has_more) changes.new_state = now;
    changes.counts_only = true;
    for (const auto& object : net) {
      if (!object.is_told()) continue;
      auto& list = !object.existed ? changes.created : object.exists ? changes.updated : changes.destroyed;
      list.push_back(object.id);
      if (object.existed && object.exists) changes.counts_only = changes.counts_only && object.counts_only;
    }
    changes.counts_only = changes.counts_only && !changes.updated.empty();
    return changes;
  }

 private:
  struct Net {  // what several changes of one object come to
    Id id;
    bool existed, exists, counts_only;
    bool is_told() const { return existed || exists; }
  };
  StateLog<ObjectEntry<Id>> log_;
};

// Threads: told by the Emails that came and went. A Thread is created with its first Email, destroyed with its last,
// and updated by every other (RFC 8621, 3).
class ThreadLog {
 public:
  explicit ThreadLog(std::uint64_t state = 0) : log_(state) {}
  // `thread` is 0 where it isn't known; that of an Email that went and was never known has been told to nobody.
  void add(std::uint64_t state, bool arrived, const EmailKey& email, ThreadKey thread) {
    log_.add({state, email, thread, arrived});
  }
  void forget(std::uint64_t state) { log_.forget(state); }
  bool reaches(std::uint64_t since, std::uint64_t now) const { return log_.reaches(since, now); }
  // Has something come or gone since then?
  bool has_news(std::uint64_t since) const { return log_.after(since) != log_.end(); }
  std::size_t size() const { return log_.size(); }
  std::size_t memory_bytes() const { return log_.memory_bytes(); }

  // The Thread of an Email that is there now, 0 if it isn't known; how many Emails each Thread has now.
  using ThreadOf = std::function<ThreadKey(const EmailKey&)>;
  using EmailsIn = std::function<std::size_t(ThreadKey)>;
  std::optional<ChangeSet<ThreadKey>> since(std::uint64_t since, std::uint64_t now, std::size_t max,
                                            const ThreadOf& thread_of, const EmailsIn& emails_in) const;
  // The Threads that emails_in can be asked about.
  std::vector<ThreadKey> threads_since(std::uint64_t since, const ThreadOf& thread_of) const;

 private:
  struct Entry {
    std::uint64_t state = 0;
    EmailKey email;
    ThreadKey thread = 0;
    bool arrived = false;
  };
  using Iterator = StateLog<Entry>::Iterator;
  using Threads = std::unordered_map<EmailKey, ThreadKey, PlaceHash>;
  struct Delta {
    ThreadKey thread;
    std::int64_t emails;
    bool changed;  // one has come or gone for good
  };
  Threads threads_of_entries(Iterator from, const ThreadOf& thread_of) const;
  // nullopt where the Thread of an Email that came isn't known.
  static std::optional<std::vector<Delta>> deltas(Iterator from, Iterator to, const Threads& threads);

  StateLog<Entry> log_;
};

struct ChangeLog {
  ObjectLog<MailboxKey> mailbox;
  ObjectLog<EmailKey, PlaceHash> email;
  ThreadLog thread;
  std::size_t memory_bytes() const {
    return mailbox.memory_bytes() + email.memory_bytes() + thread.memory_bytes();
  }
};

}  // namespace postern::mail
