// The broker's side of the segment: opening with recovery, and every change.
//
// Any thread. One mutex for every change and for what is found by the broker's own indexes; sessions are read
// without it, as workers read them.
#include <array>
#include <mutex>

#include "account_tables.hpp"
#include "old_segment.hpp"
#include "session_area.hpp"
#include "usage_table.hpp"

namespace postern::store {
namespace {

// How many slots are looked at under one hold of the mutex by what walks over all sessions.
constexpr std::uint64_t walk_slots = 1024;
// A full table is searched for expired sessions at most this often.
constexpr Duration full_expiry_interval = std::chrono::seconds(1);

class Writer final : public SegmentWriter {
 public:
  Writer(SegmentOptions options, const Clock& clock, FileDescriptor lock, SegmentFile file,
         const Layout& layout)
      : options_(std::move(options)),
        clock_(clock),
        lock_(std::move(lock)),
        file_(std::move(file)),
        live_(reinterpret_cast<Header*>(file_.data())->live),
        sessions_(file_, layout, options_.sessions_max),
        counters_(file_, layout, options_.accounts_max),
        redirects_(file_, layout, options_.redirects_max),
        usage_(file_, layout, options_.accounts_max, options_.something_counted) {}

  Result<> initialise(const Layout& layout);
  Result<> recover(const OldSegment& old, RecoveryReport& report);
  Result<> publish() { return file_.publish(); }
  std::uint64_t bytes_missing() const { return file_.bytes_missing(); }
  const std::string& path() const { return options_.path; }

  Result<std::vector<TokenHash>> put_session(const SessionRecord& record) override;
  std::optional<SessionRecord> find_session(const TokenHash& hash) const override;
  void touch_session(const TokenHash& hash) override;
  Result<> reseal_session(const TokenHash& hash, std::string sealed) override;
  bool end_session(const TokenHash& hash) override;
  std::size_t end_sessions_of(AccountKey account) override;
  std::size_t sessions_of(AccountKey account) const override;
  std::optional<std::int64_t> first_session_end(AccountKey account) const override;
  std::size_t expire_sessions() override;
  void for_each_session(const std::function<void(const SessionRecord&)>& visit) const override;

  StateCounters counters(AccountKey account) const override;
  Result<> put_counters(AccountKey account, const StateCounters& counters) override;

  Result<> put_redirect(const Redirect& redirect) override;
  std::vector<Redirect> redirects(AccountKey account) const override;
  void drop_redirect(AccountKey account, const Place& origin) override;
  void drop_copy(AccountKey account, const Place& current) override;

  Result<UsageCell> open_usage(AccountKey account) override;
  Result<> put_usage_terms(AccountKey account, const UsageTerms& terms) override;
  std::optional<UsageRecord> usage(AccountKey account) const override;
  void for_each_usage(const std::function<void(const UsageRecord&)>& visit) const override;

  void set_draining(bool draining) override;
  void set_body_limits(const BodyLimits& limits) override;
  SegmentUse use() const override;
  int lock_fd() const override { return lock_.get(); }

 private:
  template <typename Slot, typename Key, typename Take>
  static Result<> recover_table(const OldSegment& old, const TableEntry& table, std::uint64_t max, Key key_of,
                                Take take, std::uint64_t& kept, std::uint64_t& dropped);
  Result<> recover_sessions(const OldSegment& old, RecoveryReport& report);

  std::int64_t now() const { return unix_seconds(clock_.wall()); }
  std::optional<SessionRecord> find_live(const TokenHash& hash) const;  // without the mutex
  std::size_t expire_locked();

  const SegmentOptions options_;
  const Clock& clock_;
  FileDescriptor lock_;
  SegmentFile file_;
  HeaderLive& live_;
  mutable std::mutex mutex_;
  SessionTable sessions_;
  CounterTable counters_;
  RedirectTable redirects_;
  UsageTable usage_;
  std::uint64_t serial_ = 0;
  std::optional<MonotonicTime> last_full_expiry_;
};

// ---- Opening ----

Result<> Writer::initialise(const Layout& layout) {
  // Headers and index are touched at any place by workers' lookups, so they are reserved as a whole. Every
  // other table is reserved in steps as it fills.
  const std::uint64_t index_end =
      layout.session_index.offset + layout.session_index.entries * layout.session_index.entry_bytes;
  if (auto reserved = file_.reserve(0, index_end); !reserved) return reserved;
  SystemRandom random;  // tells files apart for whoever looks at them; nothing depends on it
  const HeaderFixed header = make_header(layout, random.u64(), now());
  std::memcpy(file_.data(), &header, sizeof header);
  std::memcpy(file_.data() + header_bytes, &header, sizeof header);
  return {};
}

Result<> Writer::recover(const OldSegment& old, RecoveryReport& report) {
  // Before the sessions, which say where their account's use is counted.
  auto done = recover_table<UsageSlot>(
      old, old.layout().usage, options_.accounts_max, [](const UsageSlot& slot) { return slot.account; },
      [this](const UsageSlot& slot) { return usage_.put(slot, ++serial_, now()); }, report.usage_kept,
      report.usage_dropped);
  if (!done) return done;
  if (done = recover_sessions(old, report); !done) return done;
  done = recover_table<CounterSlot>(
      old, old.layout().counters, options_.accounts_max, [](const CounterSlot& slot) { return slot.account; },
      [this](const CounterSlot& slot) { return counters_.put(slot.account, counters_of(slot), ++serial_); },
      report.accounts_kept, report.accounts_dropped);
  if (!done) return done;
  return recover_table<RedirectSlot>(
      old, old.layout().redirects, options_.redirects_max,
      [](const RedirectSlot& slot) { return key_of(redirect_of(slot)); },
      [this](const RedirectSlot& slot) { return redirects_.put_unchanged(redirect_of(slot), serial_); },
      report.redirects_kept, report.redirects_dropped);
}

struct TokenHashHash {
  std::size_t operator()(const TokenHash& hash) const { return index_tag(hash); }
};
template <typename Key>
struct RecoveryHash : AccountPlaceHash {};
template <>
struct RecoveryHash<AccountKey> : AccountHash {};

// Oldest first, so that the order is kept; of two for one key the newer; of too many the newest.
template <typename Slot, typename Key, typename Take>
Result<> Writer::recover_table(const OldSegment& old, const TableEntry& table, std::uint64_t max, Key key_of,
                               Take take, std::uint64_t& kept, std::uint64_t& dropped) {
  using KeyType = decltype(key_of(std::declval<const Slot&>()));
  struct Candidate {
    std::uint64_t serial;
    std::uint32_t number;
  };
  boost::unordered_flat_map<KeyType, Candidate, RecoveryHash<KeyType>> newest;
  old.scan<Slot>(table, [&](std::uint32_t number, const Slot& slot, SlotCondition condition) {
    if (condition == SlotCondition::damaged) {
      ++dropped;
      return;
    }
    const auto [place, fresh] = newest.try_emplace(key_of(slot), Candidate{slot.serial, number});
    if (!fresh && slot.serial > place->second.serial) place->second = {slot.serial, number};
  });
  std::vector<Candidate> order;
  order.reserve(newest.size());
  for (const auto& [key, candidate] : newest) order.push_back(candidate);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.serial < b.serial; });
  const std::size_t skipped = order.size() - std::min<std::size_t>(order.size(), max);
  dropped += skipped;
  for (std::size_t i = skipped; i < order.size(); ++i) {
    const auto slot = old.read<Slot>(table, order[i].number);
    if (!slot || condition_of(*slot, order[i].number) != SlotCondition::intact) {
      ++dropped;
      continue;
    }
    if (auto taken = take(*slot); !taken) return taken;
    ++kept;
  }
  return {};
}

// The most recently used first: where there is room for fewer than there were, those go on.
Result<> Writer::recover_sessions(const OldSegment& old, RecoveryReport& report) {
  struct Candidate {
    std::uint64_t serial;
    std::int64_t last_used;
    std::uint32_t number;
  };
  const std::int64_t time = now();
  boost::unordered_flat_map<TokenHash, Candidate, TokenHashHash> newest;
  old.scan<SessionSlot>(old.layout().sessions,
                        [&](std::uint32_t number, const SessionSlot& slot, SlotCondition condition) {
                          if (condition == SlotCondition::damaged) {
                            ++report.sessions_dropped;
                          } else if (!session_is_live(slot, time)) {
                            ++report.sessions_expired;
                          } else {
                            const Candidate candidate{slot.serial, last_used_seconds(slot), number};
                            const auto [place, fresh] = newest.try_emplace(slot.token_hash, candidate);
                            if (!fresh && slot.serial > place->second.serial) place->second = candidate;
                          }
                        });
  std::vector<Candidate> order;
  order.reserve(newest.size());
  for (const auto& [hash, candidate] : newest) order.push_back(candidate);
  std::sort(order.begin(), order.end(), [](const Candidate& a, const Candidate& b) {
    return a.last_used != b.last_used ? a.last_used > b.last_used : a.serial > b.serial;
  });
  for (const Candidate& candidate : order) {
    const auto record = old.session(candidate.number);
    if (!record) {
      ++report.sessions_dropped;
      continue;
    }
    auto put = sessions_.put(*record, usage_.hint(record->account), ++serial_);
    if (put) {
      ++report.sessions_kept;
    } else if (put.error().code == Errc::full) {
      ++report.sessions_dropped;
    } else {
      return put;
    }
  }
  return {};
}

// ---- Sessions ----

std::optional<SessionRecord> Writer::find_live(const TokenHash& hash) const {
  SessionSlot slot;
  std::uint32_t number = 0;
  SessionRecord record;
  for (int attempt = 0; attempt < read_attempts_max; ++attempt) {
    const Lookup found = sessions_.area().find(hash, slot, number);
    if (found == Lookup::absent) return std::nullopt;
    if (found == Lookup::busy) break;
    if (!session_is_live(slot, now())) return std::nullopt;
    const Lookup data = sessions_.area().read_data(slot, number, record);
    if (data == Lookup::found) return record;
    if (data == Lookup::absent) return std::nullopt;
  }
  // Somebody is changing it all the time, or was interrupted in the middle: wait for them.
  const std::lock_guard lock(mutex_);
  if (sessions_.area().find(hash, slot, number) != Lookup::found || !session_is_live(slot, now()) ||
      sessions_.area().read_data(slot, number, record) != Lookup::found)
    return std::nullopt;
  return record;
}

Result<std::vector<TokenHash>> Writer::put_session(const SessionRecord& record) {
  const std::lock_guard lock(mutex_);
  SessionSlot slot;
  std::uint32_t number = 0;
  std::vector<TokenHash> ended;
  if (sessions_.area().find(record.token_hash, slot, number) != Lookup::found)
    ended = sessions_.make_room_of(record.account, options_.sessions_per_account_max, now());
  const auto put = [&] { return sessions_.put(record, usage_.hint(record.account), ++serial_); };
  auto done = put();
  if (!done && done.error().code == Errc::full) {
    const MonotonicTime time = clock_.now();
    if (!last_full_expiry_ || time - *last_full_expiry_ >= full_expiry_interval) {
      last_full_expiry_ = time;
      if (expire_locked() > 0) done = put();
    }
  }
  if (!done) return fail(std::move(done.error()));
  return ended;
}

std::optional<SessionRecord> Writer::find_session(const TokenHash& hash) const { return find_live(hash); }

void Writer::touch_session(const TokenHash& hash) {
  SessionSlot slot;
  std::uint32_t number = 0;
  const std::int64_t time = now();
  if (sessions_.area().find(hash, slot, number) == Lookup::found) {
    const std::int64_t age = time - last_used_seconds(slot);
    if (age > -touch_interval_seconds && age < touch_interval_seconds) return;
  }
  const std::lock_guard lock(mutex_);
  sessions_.touch(hash, time);
}

Result<> Writer::reseal_session(const TokenHash& hash, std::string sealed) {
  const std::lock_guard lock(mutex_);
  SessionSlot slot;
  std::uint32_t number = 0;
  SessionRecord record;
  if (sessions_.area().find(hash, slot, number) != Lookup::found || !session_is_live(slot, now()) ||
      sessions_.area().read_data(slot, number, record) != Lookup::found)
    return fail(Errc::not_found, "session " + session_tag(hash));
  record.sealed = std::move(sealed);
  return sessions_.put(record, usage_.hint(record.account), ++serial_);
}

bool Writer::end_session(const TokenHash& hash) {
  const std::lock_guard lock(mutex_);
  return sessions_.end(hash);
}

std::size_t Writer::sessions_of(AccountKey account) const {
  const std::lock_guard lock(mutex_);
  return sessions_.live_of(account, now());
}

std::optional<std::int64_t> Writer::first_session_end(AccountKey account) const {
  const std::lock_guard lock(mutex_);
  return sessions_.first_end_of(account, now());
}

// In one go, so that none escapes by moving to another slot (a reseal does that).
std::size_t Writer::end_sessions_of(AccountKey account) {
  const std::lock_guard lock(mutex_);
  return sessions_.end_if(0, sessions_.high_water(),
                          [account](const SessionSlot& slot) { return slot.account == account; });
}

std::size_t Writer::expire_sessions() {
  std::size_t expired = 0;
  const std::int64_t time = now();
  for (std::uint64_t from = 0;; from += walk_slots) {
    const std::lock_guard lock(mutex_);
    if (from >= sessions_.high_water()) return expired;
    expired += sessions_.end_if(from, from + walk_slots,
                                [time](const SessionSlot& slot) { return !session_is_live(slot, time); });
  }
}

std::size_t Writer::expire_locked() {
  const std::int64_t time = now();
  return sessions_.end_if(0, sessions_.high_water(),
                          [time](const SessionSlot& slot) { return !session_is_live(slot, time); });
}

void Writer::for_each_session(const std::function<void(const SessionRecord&)>& visit) const {
  std::vector<SessionRecord> records;
  const std::int64_t time = now();
  for (std::uint64_t from = 0;; from += walk_slots) {
    records.clear();
    {
      const std::lock_guard lock(mutex_);
      if (from >= sessions_.high_water()) return;
      for (std::uint64_t i = from; i < std::min(from + walk_slots, sessions_.high_water()); ++i)
        if (auto record = sessions_.live_at(i, time)) records.push_back(std::move(*record));
    }
    for (const SessionRecord& record : records) visit(record);
  }
}

// ---- Accounts ----

StateCounters Writer::counters(AccountKey account) const {
  const std::lock_guard lock(mutex_);
  return counters_.get(account);
}

Result<> Writer::put_counters(AccountKey account, const StateCounters& counters) {
  const std::lock_guard lock(mutex_);
  return counters_.put(account, counters, ++serial_);
}

Result<> Writer::put_redirect(const Redirect& redirect) {
  const std::lock_guard lock(mutex_);
  return redirects_.put(redirect, serial_);
}

std::vector<Redirect> Writer::redirects(AccountKey account) const {
  const std::lock_guard lock(mutex_);
  return redirects_.of(account);
}

void Writer::drop_redirect(AccountKey account, const Place& origin) {
  const std::lock_guard lock(mutex_);
  redirects_.drop({account, origin, false});
}

void Writer::drop_copy(AccountKey account, const Place& current) {
  const std::lock_guard lock(mutex_);
  redirects_.drop({account, current, true});
}

// ---- Use ----

Result<UsageCell> Writer::open_usage(AccountKey account) {
  const std::lock_guard lock(mutex_);
  const auto slot = usage_.open(account, serial_, now());
  if (!slot) return fail(slot.error());
  return UsageCell(&usage_.words(*slot), [this, number = *slot](UsageWords*) {
    const std::lock_guard releasing(mutex_);
    usage_.release(number, now());
  });
}

Result<> Writer::put_usage_terms(AccountKey account, const UsageTerms& terms) {
  const std::lock_guard lock(mutex_);
  return usage_.put_terms(account, terms, serial_, now());
}

std::optional<UsageRecord> Writer::usage(AccountKey account) const {
  const std::lock_guard lock(mutex_);
  return usage_.get(account);
}

void Writer::for_each_usage(const std::function<void(const UsageRecord&)>& visit) const {
  std::vector<AccountKey> accounts;
  {
    const std::lock_guard lock(mutex_);
    accounts = usage_.accounts();
  }
  for (const AccountKey account : accounts)
    if (const auto record = usage(account)) visit(*record);
}

void Writer::set_draining(bool draining) {
  atomic_store(live_.draining, draining ? flag_draining : 0U, std::memory_order_release);
}

void Writer::set_body_limits(const BodyLimits& limits) {
  const std::lock_guard lock(mutex_);
  const auto put = [](std::uint64_t& value, std::uint64_t& check, std::uint64_t fresh) {
    atomic_store(value, fresh, std::memory_order_release);
    atomic_store(check, ~fresh, std::memory_order_release);
  };
  put(live_.request_bytes_max, live_.request_bytes_check, limits.request_bytes_max);
  put(live_.upload_bytes_max, live_.upload_bytes_check, limits.upload_bytes_max);
}

SegmentUse Writer::use() const {
  const std::lock_guard lock(mutex_);
  SegmentUse use;
  use.sessions = sessions_.used();
  use.sessions_max = options_.sessions_max;
  use.accounts = counters_.used();
  use.accounts_max = options_.accounts_max;
  use.redirects = redirects_.used();
  use.redirects_max = options_.redirects_max;
  use.usage = usage_.used();
  use.bytes = file_.bytes_in_use();
  return use;
}

}  // namespace

Result<std::unique_ptr<SegmentWriter>> SegmentWriter::open(SegmentOptions options, const Clock& clock,
                                                           RecoveryReport& report) {
  report = {};
  const auto layout = layout_for(options);
  if (!layout) return fail(layout.error());
  auto lock = lock_for_writing(options.path, options.lock_fd);
  if (!lock) return fail(lock.error());
  auto file = SegmentFile::create(options.path, layout->file_bytes, options.mode);
  if (!file) return fail(file.error());
  auto writer =
      std::make_unique<Writer>(std::move(options), clock, std::move(*lock), std::move(*file), *layout);
  if (auto done = writer->initialise(*layout); !done) return fail(done.error());
  const std::optional<OldSegment> old = OldSegment::open(writer->path(), report);
  report.created = !old;
  if (old)
    if (auto done = writer->recover(*old, report); !done) return fail(done.error());
  if (auto done = writer->publish(); !done) return fail(done.error());
  if (old) old->retire();
  report.bytes_missing = writer->bytes_missing();
  return writer;
}

}  // namespace postern::store
