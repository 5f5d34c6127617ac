// Threads out of what came and went. How many Emails a Thread had at an earlier state is how many it has now, less what
// came and plus what went since then: so nothing has to be known beforehand.
#include "postern/mail/change_log.hpp"

#include <iterator>

namespace postern::mail {

// Of every Email in these entries: an entry may have been made before its Thread was known.
ThreadLog::Threads ThreadLog::threads_of_entries(Iterator from, const ThreadOf& thread_of) const {
  Threads threads;
  for (; from != log_.end(); ++from) {
    auto& thread = threads[from->email];
    if (from->thread != 0) thread = from->thread;
  }
  for (auto& [email, thread] : threads)
    if (thread == 0) thread = thread_of(email);
  return threads;
}

std::vector<ThreadKey> ThreadLog::threads_since(std::uint64_t since, const ThreadOf& thread_of) const {
  std::vector<ThreadKey> keys;
  for (const auto& [email, thread] : threads_of_entries(log_.after(since), thread_of))
    if (thread != 0) keys.push_back(thread);
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return keys;
}

std::optional<std::vector<ThreadLog::Delta>> ThreadLog::deltas(Iterator from, Iterator to,
                                                               const Threads& threads) {
  struct Net {
    EmailKey email;
    bool existed, exists;
  };
  std::vector<Net> emails;
  std::unordered_map<EmailKey, std::size_t, PlaceHash> email_at;
  for (; from != to; ++from) {
    const auto [at, first] = email_at.try_emplace(from->email, emails.size());
    if (first) emails.push_back({from->email, !from->arrived, false});
    emails[at->second].exists = from->arrived;
  }
  std::vector<Delta> all;
  std::unordered_map<ThreadKey, std::size_t> thread_at;
  for (const auto& email : emails) {
    const auto thread = threads.at(email.email);
    if (thread == 0 && email.exists && !email.existed) return std::nullopt;
    if (thread == 0) continue;
    const auto [at, first] = thread_at.try_emplace(thread, all.size());
    if (first) all.push_back({thread, 0, false});
    auto& delta = all[at->second];
    delta.emails += (email.exists ? 1 : 0) - (email.existed ? 1 : 0);
    delta.changed = delta.changed || email.exists != email.existed;
  }
  return all;
}

std::optional<ChangeSet<ThreadKey>> ThreadLog::since(std::uint64_t since, std::uint64_t now, std::size_t max,
                                                     const ThreadOf& thread_of,
                                                     const EmailsIn& emails_in) const {
  if (!log_.reaches(since, now)) return std::nullopt;
  const auto from = log_.after(since);
  const auto threads = threads_of_entries(from, thread_of);
  ChangeSet<ThreadKey> changes;
  changes.new_state = now;
  auto to = log_.end();
  auto here = deltas(from, to, threads);
  if (here && here->size() > max) {
    // As far as `max` Emails go: they can't be of more Threads.
    std::unordered_map<EmailKey, bool, PlaceHash> emails;
    to = from;
    while (emails.contains(to->email) || emails.size() < max) emails[(to++)->email] = true;
    here = deltas(from, to, threads);
    changes.new_state = std::prev(to)->state;
    changes.has_more = true;
  }
  const auto rest = deltas(to, log_.end(), threads);
  if (!here || !rest) return std::nullopt;
  std::unordered_map<ThreadKey, std::int64_t> later;
  for (const auto& delta : *rest) later[delta.thread] = delta.emails;
  for (const auto& delta : *here) {
    if (!delta.changed) continue;
    const auto after = static_cast<std::int64_t>(emails_in(delta.thread)) - later[delta.thread];
    const auto before = after - delta.emails;
    if (before <= 0 && after <= 0) continue;
    auto& list = before <= 0 ? changes.created : after <= 0 ? changes.destroyed : changes.updated;
    list.push_back(delta.thread);
  }
  return changes;
}

}  // namespace postern::mail
