// The view follows the server's untagged responses: what it can't place exactly makes it ask (sync_need) rather than
// guess. Bounds: orders_max, query_results_max, known_uids_bytes_max.
#include "postern/mail/mailbox_view.hpp"

#include <algorithm>
#include <random>
#include <utility>

namespace postern::mail {
namespace {

std::uint32_t made_up_validity() {
  std::random_device random;
  return random() | 0x80000000u;
}

}  // namespace

MailboxView::MailboxView(MailboxKey key, std::string encoded_name, ViewEvents& events)
    : key_(key), encoded_name_(std::move(encoded_name)), events_(events) {}

SyncNeed MailboxView::sync_need() const {
  if (!index_.listed() || relist_ || listing_) return SyncNeed::list;
  if (resync_ != SyncNeed::none) return resync_;
  return exists_ > index_.size() ? SyncNeed::arrivals : SyncNeed::none;
}

void MailboxView::reset() {
  index_.clear();
  texts_.clear();
  orders_.clear();
  results_.clear();
  modseq_ = told_modseq_ = 0;
  relist_ = missed_ = listing_ = false;
  resync_ = SyncNeed::none;
  changed();
}

void MailboxView::evict() {
  reset();
  orders_.shrink_to_fit();
  results_.shrink_to_fit();
}

// --- Lists and syncs ---

void MailboxView::take_uid_list(UidList uids, std::uint32_t end) {
  std::sort(uids.begin(), uids.end());
  uids.erase(std::unique(uids.begin(), uids.end()), uids.end());
  // What the server hasn't announced by EXISTS has no sequence number yet: it comes as an arrival.
  if (uids.size() > exists_) uids.resize(exists_);
  if (!std::exchange(missed_, false)) uids.erase(std::lower_bound(uids.begin(), uids.end(), end), uids.end());
  const bool first = !index_.listed();
  if (!first) {
    UidList gone;
    for (const auto& entry : index_.entries())
      if (!std::binary_search(uids.begin(), uids.end(), entry.uid)) gone.push_back(entry.uid);
    messages_gone(gone);
  }
  UidList arrived;
  if (!first) {
    for (auto uid : uids)
      if (index_.find(uid) == nullptr) arrived.push_back(uid);
  }
  index_.set_uids(uids);
  relist_ = false;
  if (first || !arrived.empty()) changed();
  if (arrived.empty()) return;
  for (auto& order : orders_) order.stale = true;  // what is new among them has no place yet
  if (listing_) return;
  for (auto uid : arrived) events_.on_message_arrived(*this, uid);
}

void MailboxView::take_deleted(const UidList& uids) {
  for (auto uid : uids) {
    if (!index_.set_deleted(uid)) continue;
    remove_from_orders(uid);
    changed();
    if (!listing_) events_.on_message_hidden(*this, uid);
  }
}

void MailboxView::sync_finished(SyncNeed what) {
  switch (what) {
    case SyncNeed::changes_since:
    case SyncNeed::flags:
      resync_ = SyncNeed::none;
      modseq_ = std::max(modseq_, selected_modseq_);
      break;
    case SyncNeed::arrivals:
      // Asked for everything behind the largest UID, and the count still doesn't fit.
      if (exists_ > index_.size()) relist_ = missed_ = true;
      break;
    case SyncNeed::list:
    case SyncNeed::none: break;
  }
}

void MailboxView::settle(const imap::UidSet& uids) {
  for (const auto& range : uids.ranges()) index_.settle(range.first, range.last);
}

// --- Orders ---

MailboxView::Order* MailboxView::find_order(const std::string& signature) {
  auto it =
      std::find_if(orders_.begin(), orders_.end(), [&](const Order& o) { return o.signature == signature; });
  if (it == orders_.end()) return nullptr;
  it->used = ++uses_;
  return &*it;
}

MailboxView::Order& MailboxView::add_order(const Sort& sort, std::string signature) {
  if (auto* known = find_order(signature)) return *known;
  if (orders_.size() >= orders_max) {
    auto oldest = std::min_element(orders_.begin(), orders_.end(),
                                   [](const Order& a, const Order& b) { return a.used < b.used; });
    orders_.erase(oldest);
  }
  orders_.push_back(Order{std::move(signature), sort, {}, false, ++uses_});
  return orders_.back();
}

bool MailboxView::has_keys(const Sort& sort) const {
  if (!index_.filled()) return false;
  if (sort.is_local()) return true;
  for (const auto& key : sort.keys)
    if (is_text_property(key.property))
      for (const auto& entry : index_.entries())
        if (!entry.is_deleted() && texts_.find(key.property, entry.uid) == nullptr) return false;
  return true;
}

imap::UidSet MailboxView::missing_keys(SortKey::Property property) const {
  imap::UidSet missing;
  for (const auto& entry : index_.entries())
    if (texts_.find(property, entry.uid) == nullptr) missing.add(entry.uid);
  return missing;
}

const UidList* MailboxView::known_order(const Sort& sort) {
  const auto* known = find_order(sort.signature());
  return known != nullptr && !known->stale ? &known->uids : nullptr;
}

const UidList* MailboxView::order(const Sort& sort) {
  auto signature = sort.signature();
  auto* known = find_order(signature);
  if (known != nullptr && !known->stale) return &known->uids;
  if (!has_keys(sort)) return nullptr;
  std::vector<const MessageEntry*> visible;
  visible.reserve(index_.visible());
  for (const auto& entry : index_.entries())
    if (!entry.is_deleted()) visible.push_back(&entry);
  std::sort(visible.begin(), visible.end(), [&](const MessageEntry* a, const MessageEntry* b) {
    const int c = compare(sort, sort_entry(a), sort_entry(b));
    return c != 0 ? c < 0 : a->uid < b->uid;
  });
  auto& made = known != nullptr ? *known : add_order(sort, std::move(signature));
  made.uids.clear();
  made.uids.reserve(visible.size());
  for (const auto* entry : visible) made.uids.push_back(entry->uid);
  made.stale = false;
  return &made.uids;
}

const UidList* MailboxView::install_order(const Sort& sort, const UidList& uids) {
  auto& made = add_order(sort, sort.signature());
  made.uids.clear();
  made.uids.reserve(uids.size());
  for (auto uid : uids) {
    const auto* entry = index_.find(uid);
    if (entry != nullptr && !entry->is_deleted()) made.uids.push_back(uid);
  }
  made.stale = made.uids.size() != index_.visible();
  return made.stale ? nullptr : &made.uids;
}

void MailboxView::insert_into_orders(std::uint32_t uid) {
  const auto* entry = index_.find(uid);
  if (entry == nullptr || entry->is_deleted()) return;
  for (auto& order : orders_) {
    if (order.stale) continue;
    if (!has_keys(order.sort)) {
      order.stale = true;
      continue;
    }
    auto at =
        std::lower_bound(order.uids.begin(), order.uids.end(), uid, [&](std::uint32_t other, std::uint32_t) {
          const auto* there = index_.find(other);
          int c = there == nullptr ? 0 : compare(order.sort, sort_entry(there), sort_entry(entry));
          return c != 0 ? c < 0 : other < uid;
        });
    order.uids.insert(at, uid);
  }
}

void MailboxView::remove_from_orders(std::uint32_t uid) {
  for (auto& order : orders_) std::erase(order.uids, uid);
}

std::shared_ptr<const UidList> MailboxView::cached_result(const std::string& signature) const {
  for (const auto& result : results_)
    if (result.version == version_ && result.signature == signature) return result.uids;
  return nullptr;
}

void MailboxView::cache_result(std::string signature, std::shared_ptr<const UidList> result) {
  std::erase_if(results_,
                [&](const CachedResult& r) { return r.version != version_ || r.signature == signature; });
  if (results_.size() >= query_results_max) results_.erase(results_.begin());
  results_.push_back(CachedResult{std::move(signature), version_, std::move(result)});
}

imap::UidSet MailboxView::missing_threads() const {
  imap::UidSet missing;
  for (const auto& entry : index_.entries())
    if (entry.thread == 0) missing.add(entry.uid);
  return missing;
}

std::optional<MailboxView::ThreadCounts> MailboxView::thread_counts() {
  if (thread_counts_version_ == version_) return thread_counts_;
  std::unordered_map<ThreadKey, bool> threads;  // has it an unread one?
  for (const auto& entry : index_.entries()) {
    if (entry.is_deleted()) continue;
    if (entry.thread == 0) return std::nullopt;
    const bool unread = (entry.flags & (MessageEntry::seen | MessageEntry::draft)) == 0;
    threads[entry.thread] = threads[entry.thread] || unread;
  }
  thread_counts_ = {};
  thread_counts_.total = threads.size();
  for (const auto& [key, unread] : threads) thread_counts_.unread += unread ? 1u : 0u;
  thread_counts_version_ = version_;
  return thread_counts_;
}

std::size_t MailboxView::memory_bytes() const {
  auto bytes = sizeof(*this) + index_.memory_bytes() + texts_.memory_bytes();
  for (const auto& order : orders_) bytes += sizeof(order) + order.uids.capacity() * sizeof(std::uint32_t);
  for (const auto& result : results_)
    bytes += sizeof(result) + result.uids->capacity() * sizeof(std::uint32_t);
  return bytes;
}

// --- What the server says ---

std::optional<session::SelectParameters> MailboxView::select_parameters() const {
  if (!index_.listed() || relist_ || !validity_told_ || modseq_ == 0) return std::nullopt;
  session::SelectParameters parameters{uid_validity_, modseq_, {}};
  imap::UidSet known;
  for (const auto& entry : index_.entries()) known.add(entry.uid);
  auto text = known.to_string();
  if (text.size() <= known_uids_bytes_max) parameters.known_uids = std::move(text);
  return parameters;
}

void MailboxView::begin_select() {
  attached_ = false;
  selecting_ = true;
}

void MailboxView::on_selected(const session::SelectInfo& info) {
  selecting_ = false;
  attached_ = true;
  permanent_flags_ = info.permanent_flags;
  read_only_ = info.read_only;
  // Without a UIDVALIDITY nothing says that the UIDs are still those of before (RFC 3501, 2.3.1.1).
  const bool rolled = index_.listed() ? info.uid_validity == 0 || uid_validity_ != info.uid_validity
                                      : uid_validity_ != 0 && uid_validity_ != info.uid_validity;
  if (rolled) {
    reset();
    events_.on_reset(*this);
  }
  // UIDs of this selection and ids made of them end with it, where the server doesn't say how long they hold.
  validity_told_ = info.uid_validity != 0;
  uid_validity_ = validity_told_ ? info.uid_validity : made_up_validity();
  exists_ = info.exists;
  const auto modseq = info.highest_modseq.value_or(0);
  selected_modseq_ = modseq;
  if (index_.listed()) {
    const bool nothing_happened = modseq != 0 && modseq == modseq_ && exists_ == index_.size();
    if (!info.qresync_used && !nothing_happened) {
      resync_ = modseq != 0 && modseq_ != 0 && modseq >= modseq_ ? SyncNeed::changes_since : SyncNeed::flags;
      // The same count can hide as many arrivals as expunges; UIDNEXT tells.
      if (exists_ != index_.size() || info.uid_next == 0 || info.uid_next != uid_next_) relist_ = true;
      // Flags that have never been fetched can't be compared.
      if (resync_ == SyncNeed::flags && !index_.filled()) events_.on_untold(*this);
    }
    if (exists_ < index_.size()) relist_ = true;
  }
  uid_next_ = info.uid_next;
  // With changes still to be asked for, the older value must stay until they have come.
  if (resync_ != SyncNeed::changes_since) modseq_ = modseq;
}

void MailboxView::on_exists(std::uint32_t count) {
  const bool same = count == exists_;
  exists_ = count;
  if (selecting_ || !index_.listed()) return;
  if (count < index_.size()) relist_ = true;
  if (!same && count != index_.size() && !listing_) events_.on_behind(*this);
}

// Many at once cost one pass over the index and each order.
void MailboxView::messages_gone(const UidList& ascending) {
  if (ascending.empty()) return;
  std::vector<MessageEntry> gone;
  gone.reserve(ascending.size());
  for (auto uid : ascending)
    if (const auto* entry = index_.find(uid)) gone.push_back(*entry);
  index_.remove_all(ascending);
  for (auto uid : ascending) texts_.erase(uid);
  for (auto& order : orders_)
    std::erase_if(order.uids, [&](std::uint32_t uid) {
      return std::binary_search(ascending.begin(), ascending.end(), uid);
    });
  changed();
  if (listing_) return;
  for (const auto& entry : gone) events_.on_message_gone(*this, entry);
}

void MailboxView::on_expunge(std::uint32_t seq) {
  if (selecting_) return;
  ++expunges_;
  const auto exists = exists_;
  if (exists_ > 0) --exists_;
  if (!index_.listed()) return;
  if (seq > index_.size()) {  // one that had not been asked about yet
    const auto listed = static_cast<std::uint32_t>(index_.size());
    if (!listing_ && seq <= exists) events_.on_unlisted_gone(*this, seq - listed, exists - listed);
    return;
  }
  if (const auto* entry = index_.at_seq(seq)) messages_gone({entry->uid});
}

void MailboxView::on_vanished(const imap::VanishedResponse& vanished) {
  UidList gone;
  for (const auto& range : vanished.uids.ranges()) {
    auto from = std::lower_bound(index_.entries().begin(), index_.entries().end(), range.first,
                                 [](const MessageEntry& e, std::uint32_t uid) { return e.uid < uid; });
    for (; from != index_.entries().end() && from->uid <= range.last; ++from) gone.push_back(from->uid);
  }
  if (index_.listed() && !listing_ && gone.size() < vanished.uids.count())
    events_.on_unlisted_gone(*this, vanished.uids);
  messages_gone(gone);
  if (vanished.earlier || selecting_) return;
  // RFC 7162, 3.2.10.2: each UID lowers the count by one, whether we had seen it or not.
  const auto count = vanished.uids.count();
  expunges_ += count;
  exists_ = count >= exists_ ? 0 : exists_ - static_cast<std::uint32_t>(count);
  if (index_.listed() && gone.size() < count && exists_ < index_.size()) relist_ = true;
}

void MailboxView::on_fetch(const imap::FetchData& data) {
  std::uint32_t uid = data.uid.value_or(0);
  if (uid == 0) {
    const auto* entry = selecting_ ? nullptr : index_.at_seq(data.seq);
    if (entry == nullptr) return;
    uid = entry->uid;
  }
  if (!index_.listed()) return;
  bool arrived = false;
  if (uid > index_.largest_uid() && !selecting_) {
    // The sequence number tells whether it is really the next one, or some lie between.
    if (data.seq != index_.size() + 1 || data.seq > exists_) return;
    index_.append_uid(uid);
    uid_next_ = std::max(uid_next_, uid + 1);
    arrived = true;
  }
  const auto* before = index_.find(uid);
  if (before == nullptr) return;
  const bool was_deleted = before->is_deleted();
  const bool was_known = before->is_known();
  const auto change = index_.apply(uid, data);
  const auto* after = index_.find(uid);
  if (arrived ||
      (!was_known && change == MailboxIndex::Change::filled && was_deleted != after->is_deleted())) {
    if (after->is_deleted())
      remove_from_orders(uid);
    else
      insert_into_orders(uid);
    changed();
    if (listing_) return;
    if (!arrived)
      after->is_deleted() ? events_.on_message_hidden(*this, uid) : events_.on_message_shown(*this, uid);
    else if (!after->is_deleted())
      events_.on_message_arrived(*this, uid);
    return;
  }
  if (change == MailboxIndex::Change::filled && !listing_ && !after->is_deleted())
    events_.on_message_filled(*this, uid, told_modseq_ != 0 && data.modseq.value_or(0) > told_modseq_);
  // Flags by themselves, of a message whose flags nobody knew: the server tells because they have changed.
  const bool unknown = !was_known && !after->is_known();
  if (change != MailboxIndex::Change::flags && !(unknown && data.flags)) return;
  changed();
  const bool silent = listing_ || (unknown && resync_ == SyncNeed::flags);  // on_untold() has told of all
  if (was_deleted != after->is_deleted()) {
    remove_from_orders(uid);
    if (!after->is_deleted()) insert_into_orders(uid);
    if (silent) return;
    after->is_deleted() ? events_.on_message_hidden(*this, uid) : events_.on_message_shown(*this, uid);
    return;
  }
  // An order by keyword follows the flags.
  for (auto& order : orders_)
    for (const auto& key : order.sort.keys)
      if (key.property == SortKey::Property::has_keyword) order.stale = true;
  if (!silent && !after->is_deleted()) events_.on_message_changed(*this, uid);
}

void MailboxView::on_modseq(std::uint64_t highest) {
  if (attached_ && resync_ == SyncNeed::none && highest > modseq_ && modseq_ != 0) modseq_ = highest;
}

void MailboxView::on_deselected() {
  selecting_ = false;
  if (std::exchange(attached_, false)) events_.on_left(*this);
}

}  // namespace postern::mail
