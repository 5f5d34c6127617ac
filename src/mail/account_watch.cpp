// Watching an account for those who listen: NOTIFY (RFC 5465) for all mailboxes where the server has it; else INBOX
// stays selected, so that its connection's IDLE tells what happens there, and the others' counts are looked at once in
// a while. One coroutine while somebody listens: it sleeps but for connections that end and the next LIST.
#include <algorithm>
#include <iterator>

#include "mail/account_support.hpp"
#include "postern/base/encoding.hpp"

namespace postern::mail {
namespace {

// How long at least before a connection that was lost, or couldn't be had, is asked for again. The pool's own backoff
// comes on top.
constexpr Duration again_after = std::chrono::seconds(1);
// INBOX is selected again so long after somebody else has needed its connection.
constexpr Duration home_after = std::chrono::seconds(2);
// NOTIFY tells that a mailbox was made, renamed or subscribed: several such events cost one LIST.
constexpr Duration list_after = std::chrono::milliseconds(500);
constexpr Duration poll_without_idle_max = std::chrono::minutes(5);
constexpr Duration far_away = std::chrono::hours(24);
// Behind a NOTIFICATIONOVERFLOW, NOTIFY is said again and all is listed: soon, and later each time it happens again.
constexpr Duration overflow_pause_min = std::chrono::seconds(1), overflow_pause_max = std::chrono::minutes(5);
constexpr Duration overflow_forgotten = std::chrono::minutes(30);
// What NOTIFY doesn't tell (rights, roles) is looked at so often all the same, when somebody asks.
constexpr Duration heard_list_max = std::chrono::hours(1);

// RFC 5465, 5: changes of the mailbox that is selected come as they do anyway; of all others as STATUS.
constexpr std::string_view notify_set =
    " SET (selected-delayed (MessageNew MessageExpunge FlagChange))"
    " (personal (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))";
// When the watch ends and the connection lives on. NOTIFY NONE would end what is told of the selected mailbox as well
// (RFC 5465, 3), which views live on.
constexpr std::string_view notify_selected_set =
    " SET (selected-delayed (MessageNew MessageExpunge FlagChange))";

// Hears INBOX for an account that has no view of it: what changes is counted, and nothing kept.
class Ear final : public session::MailboxObserver {
 public:
  std::function<void(const session::SelectInfo&)> selected;
  std::function<void(std::uint32_t)> exists;
  std::function<void(const imap::Response&)> other;
  std::function<void()> left;

 private:
  void begin_select() override {}
  void on_selected(const session::SelectInfo& info) override { selected(info); }
  void on_exists(std::uint32_t count) override { exists(count); }
  void on_expunge(std::uint32_t seq) override { other(imap::ExpungeResponse{seq}); }
  void on_vanished(const imap::VanishedResponse& vanished) override { other(vanished); }
  void on_fetch(const imap::FetchData& data) override {
    imap::FetchResponse fetch;
    fetch.data.seq = data.seq;
    fetch.data.flags = data.flags;
    other(std::move(fetch));
  }
  void on_deselected() override { left(); }
};

}  // namespace

struct Account::Watch {
  explicit Watch(io::Loop& loop) : changed(loop) {}
  io::Event changed;  // wakes the coroutine: something below, or a connection has ended
  bool ended = false, lost = false, notify = false, inbox_left = false, overflowed = false;
  bool in_step = false;                 // listed since NOTIFY was said
  std::optional<session::Lease> lease;  // of the connection that NOTIFY was said on
  Ear ear;
  MonotonicTime list_at{};
  MonotonicTime quotas_at = MonotonicTime::max(), vacation_at = MonotonicTime::max();
  Duration pace{};
  MonotonicTime overflowed_at{};
  Duration overflow_pause = overflow_pause_min;
  std::uint64_t email_then = 0, mailbox_then = 0;  // counters at the last LIST

  void list_soon(MonotonicTime at) {
    list_at = std::min(list_at, at);
    changed.set();
  }
};

void Account::set_watched(bool on) {
  if (on == watched()) return;
  if (!on) {
    watch_->ended = true;
    watch_->changed.set();
    watch_.reset();
    pool_->set_home({});
    return;
  }
  auto watch = watch_ = std::make_shared<Watch>(context_.loop);
  auto& ear = watch->ear;
  const auto inbox = [this]() -> Mailbox* {
    const auto* found = find_inbox();
    return found == nullptr ? nullptr : &mailboxes_[mailbox_at_.at(found->key)];
  };
  ear.selected = [this, inbox](const session::SelectInfo& info) {
    imap::StatusDataResponse status;
    status.messages = info.exists;
    if (info.uid_next != 0) status.uid_next = info.uid_next;
    if (info.uid_validity != 0) status.uid_validity = info.uid_validity;
    status.highest_modseq = info.highest_modseq;
    if (auto* mailbox = inbox()) take_status(*mailbox, status);
  };
  ear.exists = [this, inbox](std::uint32_t count) {
    if (auto* mailbox = inbox()) heard_count(*mailbox, count);
  };
  ear.other = [this, inbox](const imap::Response& response) {
    if (const auto* mailbox = inbox()) on_unheard(mailbox->encoded_name, response);
  };
  ear.left = [weak = std::weak_ptr(watch)] {
    if (const auto self = weak.lock()) {
      self->inbox_left = true;
      self->changed.set();
    }
  };
  context_.loop.spawn(run_watch(shared_from_this(), watch));
}

io::Task<> Account::run_watch(std::shared_ptr<Account> self, std::shared_ptr<Watch> watch) {
  auto& clock = self->context_.loop.clock();
  while (!watch->ended) {
    watch->lost = false;
    watch->changed.reset();
    auto begun = co_await self->begin_watch(*watch);
    if (watch->ended) break;
    if (begun) {
      co_await watch_while_up(self, watch);
      if (watch->ended) break;
      if (!std::exchange(watch->overflowed, false)) {
        watch->lease.reset();
        continue;
      }
      const auto since = clock.now() - std::exchange(watch->overflowed_at, clock.now());
      if (since > overflow_forgotten) watch->overflow_pause = overflow_pause_min;
      co_await rest_until(*watch, clock, clock.now() + watch->overflow_pause);
      watch->overflow_pause = std::min(watch->overflow_pause * 2, overflow_pause_max);
      continue;
    }
    watch->lease.reset();
    self->context_.loop.logger().debug("account can't be watched",
                                       {{"user", self->login_}, {"error", begun.error().to_string()}});
    if (begun.error().code == make_error_code(Errc::authentication)) {
      // With other credentials it may be watched again.
      if (self->watch_ == watch) {
        self->watch_.reset();
        self->pool_->set_home({});
      }
      if (self->context_.states != nullptr) self->context_.states->on_watch_refused(*self);
      break;
    }
    co_await rest_until(*watch, clock, std::max(self->pool_->retry_at(), clock.now() + again_after));
  }
  self->pool_->forget(watch->ear);
  // Another watch says its own, perhaps on this connection, and none must come behind that.
  if (watch->notify && watch->lease && watch->lease->alive() && !self->watch_) {
    imap::CommandBuilder notify("NOTIFY", watch->lease->capabilities());
    notify.raw(notify_selected_set);
    (void)co_await run(*watch->lease, notify);
  }
  watch->lease.reset();
}

// Then, or when the watch ends.
io::Task<> Account::rest_until(Watch& watch, const Clock& clock, MonotonicTime until) {
  while (!watch.ended && clock.now() < until) {
    watch.changed.reset();
    co_await watch.changed.wait_until(until);
  }
}

// How long until the next LIST. A long time becomes one that ends where IDLE would be renewed anyway: LIST ends it, and
// what begins behind that is the renewal.
Duration Account::list_pace(Duration wanted) const {
  const auto& options = context_.options;
  if (pool_->tiers().watch == imap::WatchTier::poll)
    return std::min({wanted, options.watch_poll_max, poll_without_idle_max});
  const auto pace = std::min(wanted, options.watch_poll_max);
  const auto renewal = context_.server.options().idle_renew;
  if (pace <= renewal) return pace;
  return (pace + renewal - Duration(1)) / renewal * renewal;
}

// Until the watch ends or has to begin anew.
io::Task<> Account::watch_while_up(std::shared_ptr<Account> self, std::shared_ptr<Watch> watch) {
  auto& clock = self->context_.loop.clock();
  while (!watch->ended && !watch->lost) {
    auto until = std::min({watch->list_at, watch->quotas_at, watch->vacation_at});
    if (watch->inbox_left) until = std::min(until, clock.now() + home_after);
    watch->changed.reset();
    const bool woken = co_await watch->changed.wait_until(until);
    if (watch->ended || watch->lost) co_return;
    if (!woken && watch->inbox_left) {
      // Who has the connection just now goes on; it comes back when it is free.
      if (auto done = co_await self->ensure_inbox(*watch); !done) co_return;
    }
    co_await self->look_at_what_is_due(*watch);
    if (watch->ended || watch->lost) co_return;
    if (clock.now() < watch->list_at) continue;
    const auto before = std::pair(self->counters_.email, self->counters_.mailbox);
    const bool quiet = before == std::pair(watch->email_then, watch->mailbox_then);
    if (auto listed = co_await self->refresh_mailboxes(Duration::zero()); !listed) co_return;
    const auto now = std::pair(self->counters_.email, self->counters_.mailbox);
    watch->pace =
        self->list_pace(quiet && now == before ? watch->pace * 2 : self->context_.options.watch_poll_min);
    watch->email_then = now.first;
    watch->mailbox_then = now.second;
    watch->list_at = clock.now() + (watch->notify ? far_away : watch->pace);
  }
}

// The events are asked for first and the counts then, so that nothing falls between.
io::Task<Result<>> Account::begin_watch(Watch& watch) {
  // Behind an overflow the connection is deaf, for its selected mailbox, too, until NOTIFY is said on it again
  // (RFC 5465, 5.8).
  if (!watch.lease || !watch.lease->alive()) {
    auto lease = co_await pool_->any();
    if (!lease) co_return fail(mail_error(lease.error()));
    watch.lease = std::move(*lease);
  }
  watch.notify = watch.in_step = false;
  if (watch.lease->tiers().watch == imap::WatchTier::notify) {
    auto said = co_await say_notify(watch);
    if (!said) co_return fail(said.error());
    watch.notify = *said;
  }
  if (!watch.notify) watch.lease.reset();
  if (watch.ended) co_return Result<>{};
  auto listed = co_await refresh_mailboxes(Duration::zero());
  if (!listed) co_return fail(listed.error());
  if (*listed == Freshness::stale) co_return fail(Errc::server_unavailable);
  if (!watch.notify && !watch.ended && pool_->tiers().watch != imap::WatchTier::poll) {
    if (auto done = co_await ensure_inbox(watch); !done) co_return done;
  }
  watch.in_step = true;
  watch.email_then = counters_.email;
  watch.mailbox_then = counters_.mailbox;
  watch.pace = context_.options.watch_poll_min;
  watch.list_at = context_.loop.clock().now() + (watch.notify ? far_away : watch.pace);
  // What it was before isn't known any more.
  const auto now = context_.loop.clock().now();
  if (quotas_asked_) watch.quotas_at = now + context_.options.quota_fresh;
  if (vacation_) watch.vacation_at = now + context_.options.watch_poll_max;
  co_return Result<>{};
}

void Account::look_at_quotas_soon() {
  if (!watch_ || !quotas_asked_ || watch_->quotas_at != MonotonicTime::max()) return;
  watch_->quotas_at = context_.loop.clock().now() + context_.options.quota_fresh;
  watch_->changed.set();
}

io::Task<> Account::look_at_what_is_due(Watch& watch) {
  const auto now = context_.loop.clock().now();
  if (now >= watch.quotas_at) {
    watch.quotas_at = MonotonicTime::max();
    (void)co_await refresh_quotas();
  }
  if (now < watch.vacation_at) co_return;
  watch.vacation_at = now + context_.options.watch_poll_max;
  if (vacation_->known_state().empty()) co_return;
  // Its server may be slow, and mail is waited for here.
  context_.loop.spawn([](std::shared_ptr<Account> self) -> io::Task<> {
    (void)co_await self->vacation_->get();
  }(shared_from_this()));
}

io::Task<Result<bool>> Account::say_notify(Watch& watch) {
  imap::CommandBuilder notify("NOTIFY", watch.lease->capabilities());
  notify.raw(notify_set);
  auto said = co_await run(*watch.lease, notify);
  if (said) co_return true;
  const auto& code = said.error().code;
  if (code == make_error_code(imap::Errc::no) || code == make_error_code(imap::Errc::bad)) co_return false;
  co_return fail(mail_error(said.error()));
}

const Mailbox* Account::find_inbox() const {
  const auto it = std::find_if(mailboxes_.begin(), mailboxes_.end(), [](const Mailbox& mailbox) {
    return iequals_ascii(mailbox.encoded_name, "INBOX");
  });
  return it == mailboxes_.end() ? nullptr : &*it;
}

Mailbox* Account::find_mailbox(const std::string& encoded_name) {
  const auto it = std::find_if(mailboxes_.begin(), mailboxes_.end(),
                               [&](const Mailbox& mailbox) { return mailbox.encoded_name == encoded_name; });
  return it == mailboxes_.end() ? nullptr : &*it;
}

// INBOX selected on some connection, for its view if there is one.
io::Task<Result<>> Account::ensure_inbox(Watch& watch) {
  watch.inbox_left = false;
  const auto* inbox = find_inbox();
  if (inbox == nullptr) co_return Result<>{};
  const auto name = inbox->encoded_name;
  const auto view = views_.find(inbox->key);
  pool_->set_home(name);
  if (pool_->is_selected(name)) co_return Result<>{};
  if (view != views_.end()) co_return co_await attach_current(view->second);
  auto lease = co_await pool_->select(name, watch.ear);
  if (!lease) co_return fail(mail_error(lease.error()));
  co_return Result<>{};
}

// What would come by LIST has come by NOTIFY, and what NOTIFY has only announced is asked for soon.
bool Account::hears_of_all() const {
  const auto now = context_.loop.clock().now();
  return watch_ && watch_->notify && watch_->in_step && !watch_->lost && !watch_->overflowed &&
         watch_->lease && watch_->lease->alive() && watch_->list_at - now > list_after &&
         now - *mailboxes_listed_ < heard_list_max;
}

// --- What is heard ---

void Account::on_connection_lost() {
  if (!watch_) return;
  // With NOTIFY, its own connection counts; else INBOX was perhaps on this one.
  if (watch_->lease && watch_->lease->alive()) return;
  watch_->lost = true;
  watch_->changed.set();
}

void Account::on_notification_overflow() {
  if (!watch_ || !watch_->notify) return;
  watch_->lost = watch_->overflowed = true;
  watch_->changed.set();
}

void Account::on_list(const imap::ListResponse&) {
  if (watch_ && watch_->notify && !is_listing()) watch_->list_soon(context_.loop.clock().now() + list_after);
}

void Account::on_status(const imap::StatusDataResponse& status) {
  if (!watch_ || is_listing()) return;
  auto* mailbox = find_mailbox(status.mailbox);
  if (mailbox == nullptr) {
    if (watch_->notify) watch_->list_soon(context_.loop.clock().now() + list_after);
    return;
  }
  const auto view = views_.find(mailbox->key);
  if (view != views_.end() && view->second->attached()) return;  // it hears for itself
  hear_status(*mailbox, status);
}

bool Account::take_status(Mailbox& mailbox, const imap::StatusDataResponse& status) {
  auto& known = mailbox.status;
  const auto take = [](auto& old, const auto& fresh) {
    if (!fresh || *fresh == 0 || *fresh == old) return false;
    old = *fresh;
    return true;
  };
  const auto before = known;
  const auto modseq = known.highest_modseq;
  bool mail = status.messages && *status.messages != known.messages;
  if (status.messages) known.messages = *status.messages;
  const bool seen = status.unseen && *status.unseen != known.unseen;
  if (status.unseen) known.unseen = *status.unseen;
  mail = take(known.uid_next, status.uid_next) || mail;
  mail = take(known.uid_validity, status.uid_validity) || mail;
  const bool flags = take(known.highest_modseq, status.highest_modseq) && modseq != 0;
  if (!mail && !seen && !flags) return false;
  counts_left_.erase(mailbox.key);
  if (mail) bump(StateType::thread);
  // RFC 8621, 1.5: it must change with every new Email, also one that came read, or while another was read. One that
  // another program has moved here looks the same.
  const bool delivered =
      before.known ? has_arrivals(&before, known) : before.uid_next != 0 && known.uid_next > before.uid_next;
  if (delivered) bump(StateType::email_delivery);
  bump(StateType::email);
  if (mail || seen) bump(StateType::mailbox);
  return true;
}

void Account::heard_count(Mailbox& mailbox, std::uint32_t exists) {
  imap::StatusDataResponse status;
  status.messages = exists;
  if (exists > mailbox.status.messages && mailbox.status.uid_next != 0)
    status.uid_next = mailbox.status.uid_next + (exists - mailbox.status.messages);
  take_status(mailbox, status);
}

void Account::on_unheard(const std::string& encoded_mailbox, const imap::Response& response) {
  auto* mailbox = watch_ ? find_mailbox(encoded_mailbox) : nullptr;
  if (mailbox == nullptr) return;
  auto& messages = mailbox->status.messages;
  if (const auto* exists = std::get_if<imap::ExistsResponse>(&response)) {
    heard_count(*mailbox, exists->count);
  } else if (std::holds_alternative<imap::ExpungeResponse>(response)) {
    heard_count(*mailbox, messages - std::min(messages, 1u));
  } else if (const auto* vanished = std::get_if<imap::VanishedResponse>(&response)) {
    const auto gone = static_cast<std::uint32_t>(std::min<std::uint64_t>(vanished->uids.count(), messages));
    if (!vanished->earlier) heard_count(*mailbox, messages - gone);
  } else if (const auto* fetch = std::get_if<imap::FetchResponse>(&response)) {
    if (!fetch->data.flags) return;
    counts_left_.erase(mailbox->key);
    bump(StateType::email);
    bump(StateType::mailbox);
  }
}

}  // namespace postern::mail
