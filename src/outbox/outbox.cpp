// Attempts: at once with somebody waiting, and behind the scenes by a timer for the next that is due.
#include "postern/outbox/outbox.hpp"

#include <algorithm>

namespace postern::outbox {
namespace {

using records::Delivered;
using records::Phase;
using records::UndoStatus;
using smtp::Stage;
using Kind = smtp::Outcome::Kind;

std::int64_t seconds_of(Duration duration) {
  return std::chrono::duration_cast<std::chrono::seconds>(duration).count();
}

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = std::min(text.find(' ', begin), text.size());
    if (end > begin) words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

smtp::Envelope envelope_of(const records::Submission& submission, bool all_or_none) {
  smtp::Envelope envelope;
  envelope.from = {submission.mail_from, submission.mail_parameters};
  for (const auto& recipient : submission.recipients)
    if (recipient.delivered == Delivered::queued)
      envelope.recipients.push_back({recipient.address, recipient.parameters});
  envelope.extensions = words_of(submission.extensions);
  envelope.size = submission.size;
  envelope.eight_bit = submission.eight_bit;
  envelope.all_or_none = all_or_none;
  return envelope;
}

}  // namespace

Outbox::Outbox(io::Loop& loop, std::unique_ptr<records::Records> records,
               std::unique_ptr<smtp::Transport> transport, Options options)
    : loop_(loop),
      records_(std::move(records)),
      transport_(std::move(transport)),
      options_(std::move(options)),
      none_sending_(loop),
      load_pause_(options_.retry_min) {}

Outbox::~Outbox() {
  loop_.timers().cancel(timer_);
  loop_.timers().cancel(load_timer_);
}

// --- What waits ---

void Outbox::start(unsigned shard, unsigned shards) { loop_.spawn(load(shard, shards)); }

io::Task<> Outbox::load(unsigned shard, unsigned shards) {
  auto found = co_await records_->waiting(shard, shards);
  if (!found) {
    loop_.logger().error("messages that wait can't be read", {{"error", found.error().to_string()}});
    if (stopping_) co_return;
    load_timer_ = loop_.timers().add_after(load_pause_, [this, shard, shards] {
      load_timer_ = 0;
      start(shard, shards);
    });
    load_pause_ = std::min(2 * load_pause_, options_.retry_max);
    co_return;
  }
  for (auto& waiting : *found) add_waiting(std::move(waiting));
  wake();
}

void Outbox::add_waiting(records::Waiting waiting) {
  const auto [place, fresh] = waiting_.try_emplace(waiting.id);
  if (fresh) ++waiting_of_[waiting.owner];
  place->second = {std::move(waiting.owner), waiting.due, false};
}

void Outbox::remove_waiting(std::uint64_t id) {
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return;
  const auto of = waiting_of_.find(found->second.owner);
  if (--of->second == 0) {
    credentials_.erase(of->first);
    waiting_of_.erase(of);
  }
  waiting_.erase(found);
}

void Outbox::take_credentials(const records::Owner& owner, smtp::Credentials credentials) {
  if (options_.sign_in != SignInAs::person || !has_waiting(owner)) return;
  const bool first = !credentials_.contains(owner);
  credentials_.insert_or_assign(owner, std::move(credentials));
  if (first) wake();
}

bool Outbox::can_sign_in(const records::Owner& owner) const {
  return options_.sign_in != SignInAs::person || credentials_.contains(owner);
}

smtp::Credentials Outbox::credentials_of(const records::Owner& owner) const {
  if (options_.sign_in == SignInAs::relay) return options_.relay->clone();
  if (options_.sign_in == SignInAs::nobody) return {};
  return credentials_.at(owner).clone();
}

void Outbox::try_later(std::uint64_t id) {
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return;
  found->second.due = now() + seconds_of(options_.retry_min);
  found->second.sending = false;
}

void Outbox::wake() {
  loop_.timers().cancel(std::exchange(timer_, 0));
  if (holding_ || stopping_) return;
  const auto at = now();
  std::optional<std::int64_t> next;
  for (auto& [id, entry] : waiting_) {
    if (entry.sending) continue;
    // Without its sender it is only given up, in the end.
    const bool able = entry.unwritten || can_sign_in(entry.owner);
    const auto due = able ? entry.due : entry.due + seconds_of(options_.late_max);
    if (due > at) {
      next = std::min(next.value_or(due), due);
    } else if (sending_behind_ < background_sends_max) {
      entry.sending = true;
      ++sending_behind_;
      loop_.spawn(work_on(id));
    }
  }
  if (!next) return;
  // A clock that was set meanwhile must not make it late.
  const auto pause = std::min<std::int64_t>(*next - at, 60);
  timer_ = loop_.timers().add_after(std::chrono::seconds(std::max<std::int64_t>(pause, 1)), [this] {
    timer_ = 0;
    wake();
  });
}

void Outbox::end_sending() {
  if (--sending_ == 0) none_sending_.set();
}

io::Task<> Outbox::work_on(std::uint64_t id) {
  ++sending_;
  if (const auto entry = waiting_.find(id); entry != waiting_.end()) {
    auto owner = entry->second.owner;
    if (const auto unwritten = entry->second.unwritten) {
      co_await write_down(owner, *unwritten);
      (void)co_await records_->tell(id);  // which then couldn't be done either
    } else {
      co_await send_waiting(id, std::move(owner));
    }
  }
  --sending_behind_;
  end_sending();
  wake();
}

io::Task<> Outbox::send_waiting(std::uint64_t id, records::Owner owner) {
  auto submission = co_await records_->submission(id);
  if (!submission && submission.error().code != records::Errc::not_found) {
    loop_.logger().error("a message that waits can't be read",
                         {{"submission", id}, {"error", submission.error().to_string()}});
    co_return try_later(id);
  }
  // Canceled meanwhile?
  if (!submission || submission->phase != Phase::waiting) co_return remove_waiting(id);
  if (now() - submission->next_attempt >= seconds_of(options_.late_max)) {
    loop_.logger().warning("a message that waits is too old to be sent", {{"submission", id}});
    smtp::Outcome outcome;
    outcome.error = Error(Errc::too_late);
    settle(*submission, outcome, true);
    co_return co_await write_down(owner, *submission);
  }
  // The credentials that it was begun for can have been refused meanwhile.
  if (!can_sign_in(owner)) {
    if (const auto entry = waiting_.find(id); entry != waiting_.end()) entry->second.sending = false;
    co_return;
  }
  co_await send_again(std::move(owner), std::move(*submission));
}

io::Task<> Outbox::send_again(records::Owner owner, records::Submission submission) {
  auto [outcome, unmarked] = co_await attempt(submission, credentials_of(owner), false);
  if (unmarked) co_return try_later(submission.id);
  if (outcome.kind == Kind::aborted) co_return remove_waiting(submission.id);
  if (outcome.kind == Kind::refused && outcome.stage == Stage::authenticate &&
      options_.sign_in == SignInAs::person)
    credentials_.erase(owner);  // until they come again
  settle(submission, outcome, is_too_late(submission));
  co_await write_down(owner, submission);
}

// What has come of an attempt becomes durable, now or as soon as that is possible. If the broker ends before, its next
// start finds the submission as it was before, and if it was being sent, tells it as unknown.
io::Task<> Outbox::write_down(records::Owner owner, records::Submission submission) {
  auto written = co_await records_->end_attempt(submission);
  if (written || written.error().code == records::Errc::not_found) {
    if (written && submission.phase == Phase::waiting)
      add_waiting({submission.id, owner, submission.next_attempt});
    else
      remove_waiting(submission.id);
    co_return;
  }
  loop_.logger().error("what became of a message can't be written down",
                       {{"submission", submission.id}, {"error", written.error().to_string()}});
  const auto id = submission.id;
  add_waiting({id, owner, now()});
  waiting_.at(id).unwritten = std::make_shared<records::Submission>(std::move(submission));
  try_later(id);
}

// --- Attempts ---

io::Task<Outbox::Attempt> Outbox::attempt(const records::Submission& submission,
                                          smtp::Credentials credentials, bool all_or_none) {
  auto piece = std::make_shared<std::uint32_t>(0);
  auto* records = records_.get();
  smtp::ContentReader content = [records, piece, id = submission.content]() -> io::Task<Result<std::string>> {
    return records->content_piece(id, (*piece)++);
  };
  Attempt made;
  const auto commit_of = [](records::Records* all, std::uint64_t id,
                            std::optional<Error>& unmarked) -> io::Task<bool> {
    const auto begun = co_await all->begin_sending(id);
    if (!begun) unmarked = begun.error();
    co_return begun && *begun;
  };
  smtp::Commit commit = [commit_of, records, id = submission.id, &made] {
    return commit_of(records, id, made.unmarked);
  };
  auto& outcome = made.outcome;
  outcome = co_await transport_->send(envelope_of(submission, all_or_none), std::move(credentials),
                                      std::move(content), std::move(commit));
  using enum smtp::Outcome::Kind;
  const auto* result = outcome.kind == accepted      ? "accepted"
                       : outcome.kind == refused     ? "refused"
                       : outcome.kind == unavailable ? "not possible"
                       : made.unmarked               ? "the records can't be written"
                       : outcome.kind == aborted     ? "canceled"
                                                     : "unknown";
  loop_.logger().log(outcome.kind == accepted ? LogLevel::info : LogLevel::warning, "message handed over",
                     {{"submission", submission.id},
                      {"result", result},
                      {"reply", outcome.reply   ? outcome.reply->to_string()
                                : made.unmarked ? made.unmarked->to_string()
                                                : outcome.error.to_string()}});
  co_return made;
}

bool Outbox::is_too_late(const records::Submission& submission) const {
  return now() - std::max(submission.created_at, submission.send_at) >= seconds_of(options_.retry_for);
}

void Outbox::settle(records::Submission& submission, const smtp::Outcome& outcome, bool is_last) const {
  ++submission.attempts;
  // For everybody: what the server said of the message, or why it wasn't asked.
  std::string all = outcome.reply ? outcome.reply->to_string() : "451 4.4.1 " + outcome.error.to_string();
  const bool about_message = outcome.stage == Stage::mail_from || outcome.stage == Stage::content;
  const bool all_refused =
      outcome.kind == Kind::refused && outcome.reply && about_message && outcome.reply->permanent();
  std::size_t asked = 0;
  bool queued = false, relayed = false;
  for (auto& recipient : submission.recipients) {
    if (recipient.delivered == Delivered::queued) {
      const auto& reply = asked < outcome.recipients.size() ? outcome.recipients[asked] : std::nullopt;
      ++asked;
      const bool taken = reply && reply->positive();
      recipient.reply = reply && (!taken || outcome.kind == Kind::accepted) ? reply->to_string() : all;
      if ((outcome.kind == Kind::unknown && (taken || !reply)) || (outcome.kind == Kind::accepted && taken))
        recipient.delivered = Delivered::unknown;
      else if (all_refused || is_last || (reply && reply->permanent()))
        recipient.delivered = Delivered::no;
    }
    queued = queued || recipient.delivered == Delivered::queued;
    relayed = relayed || recipient.delivered == Delivered::unknown;
  }
  submission.phase = queued ? Phase::waiting : Phase::done;
  if (relayed) submission.undo_status = UndoStatus::final;
  // RFC 8621, 7: "will not be delivered to any recipient".
  else
    submission.undo_status = queued ? UndoStatus::pending : UndoStatus::canceled;
  auto pause = seconds_of(options_.retry_min);
  for (std::uint32_t i = 1; i < submission.attempts && pause < seconds_of(options_.retry_max); ++i)
    pause *= 2;
  submission.next_attempt = now() + std::min(pause, seconds_of(options_.retry_max));
}

io::Task<Result<Submitted>> Outbox::submit(records::Owner owner, records::Submission submission,
                                           smtp::Credentials credentials) {
  if (stopping_) {
    (void)co_await records_->drop_content(submission.content);
    co_return fail(Errc::stopping);
  }
  ++sending_;
  auto submitted = co_await submit_new(std::move(owner), std::move(submission), std::move(credentials));
  end_sending();
  co_return submitted;
}

io::Task<Result<Submitted>> Outbox::submit_new(records::Owner owner, records::Submission submission,
                                               smtp::Credentials credentials) {
  auto id = co_await records_->add_submission(owner, submission);
  if (!id) {
    (void)co_await records_->drop_content(submission.content);
    co_return fail(id.error());
  }
  submission.id = *id;
  if (options_.sign_in == SignInAs::relay) credentials = options_.relay->clone();
  if (options_.sign_in == SignInAs::nobody) credentials = {};
  if (submission.send_at <= now())
    co_return co_await submit_now(std::move(owner), std::move(submission), std::move(credentials));
  if (auto told = co_await records_->tell(*id); !told) {
    if (auto gone = co_await records_->forget(*id); !gone) co_return fail(Errc::outcome_unknown);
    co_return fail(told.error());
  }
  add_waiting({*id, owner, submission.send_at});
  take_credentials(owner, std::move(credentials));
  wake();
  co_return Submitted{*id, {}};
}

io::Task<Result<Submitted>> Outbox::submit_now(records::Owner owner, records::Submission submission,
                                               smtp::Credentials credentials) {
  auto again = credentials.clone();
  auto outcome = (co_await attempt(submission, std::move(credentials), true)).outcome;
  if (outcome.kind != Kind::accepted && outcome.kind != Kind::unknown) {
    // Nobody gets it, and the client is told so: it must not go out later.
    if (auto gone = co_await records_->forget(submission.id); !gone) {
      loop_.logger().error("a message that wasn't sent can't be forgotten, and may be sent after a restart",
                           {{"submission", submission.id}, {"error", gone.error().to_string()}});
      co_return fail(Errc::outcome_unknown);
    }
    co_return Submitted{0, std::move(outcome)};
  }
  settle(submission, outcome, is_too_late(submission));
  co_await write_down(owner, submission);
  if (auto told = co_await records_->tell(submission.id);
      !told && told.error().code != records::Errc::not_found)
    loop_.logger().error("a message that was sent can't be told before the next start",
                         {{"submission", submission.id}, {"error", told.error().to_string()}});
  take_credentials(owner, std::move(again));
  wake();
  co_return Submitted{submission.id, std::move(outcome)};
}

io::Task<Result<bool>> Outbox::cancel(records::Owner owner, std::uint64_t id) {
  auto canceled = co_await records_->cancel(std::move(owner), id);
  // One that is being sent has a coroutine that finds it canceled.
  const auto found = waiting_.find(id);
  if (canceled && *canceled && found != waiting_.end() && !found->second.sending) remove_waiting(id);
  co_return canceled;
}

void Outbox::hold() {
  holding_ = true;
  loop_.timers().cancel(std::exchange(timer_, 0));
}

io::Task<> Outbox::stop(MonotonicTime deadline) {
  stopping_ = true;
  loop_.timers().cancel(std::exchange(timer_, 0));
  loop_.timers().cancel(std::exchange(load_timer_, 0));
  while (sending_ > 0 && loop_.clock().now() < deadline) {
    none_sending_.reset();
    if (!co_await none_sending_.wait_until(deadline)) break;
  }
}

const std::error_category& outbox_category() {
  static const struct final : std::error_category {
    const char* name() const noexcept override { return "outbox"; }
    std::string message(int code) const override {
      switch (static_cast<Errc>(code)) {
        case Errc::outcome_unknown: return "its outcome is unknown";
        case Errc::too_late: return "it could not be sent in time";
        case Errc::stopping: return "the gateway is being stopped";
      }
      return "unknown outbox error";
    }
  } category;
  return category;
}

}  // namespace postern::outbox
