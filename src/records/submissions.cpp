// Submissions (RFC 8621, 7): submissions_max of an account, the oldest of those that are done give way.
#include <algorithm>

#include "records/database.hpp"

namespace postern::records {
namespace {

constexpr const char* columns =
    "SELECT id, identity, email, thread, envelope, mail_from, mail_parameters, extensions, created_at, "
    "send_at,"
    " undo_status, phase, content, size, eight_bit, attempts, next_attempt FROM submission ";

Submission submission_in(const Statement& row) {
  Submission all;
  all.id = row.id(0);
  all.identity_id = row.id(1);
  all.email_id = row.text(2);
  all.thread_id = row.text(3);
  all.envelope = row.text(4);
  all.mail_from = row.text(5);
  all.mail_parameters = row.text(6);
  all.extensions = row.text(7);
  all.created_at = row.number(8);
  all.send_at = row.number(9);
  all.undo_status = static_cast<UndoStatus>(row.number(10));
  all.phase = static_cast<Phase>(row.number(11));
  all.content = row.id(12);
  all.size = row.id(13);
  all.eight_bit = row.number(14) != 0;
  all.attempts = static_cast<std::uint32_t>(row.number(15));
  all.next_attempt = row.number(16);
  return all;
}

std::int64_t as_number(std::uint64_t id) { return static_cast<std::int64_t>(id); }

}  // namespace

Result<> Database::read_recipients(Submission& submission) {
  auto read = sqlite_.prepare(
      "SELECT address, parameters, delivered, reply FROM recipient WHERE submission = ? ORDER BY number");
  read.bind(as_number(submission.id));
  for (;;) {
    auto row = read.step();
    if (!row) return fail(row.error());
    if (!*row) return {};
    submission.recipients.push_back(
        {read.text(0), read.text(1), static_cast<Delivered>(read.number(2)), read.text(3)});
  }
}

Result<> Database::write_recipients(const Submission& submission) {
  std::int64_t number = 0;
  for (const auto& recipient : submission.recipients)
    if (auto written = sqlite_.prepare("INSERT OR REPLACE INTO recipient VALUES (?, ?, ?, ?, ?, ?)")
                           .bind(as_number(submission.id))
                           .bind(number++)
                           .bind(recipient.address)
                           .bind(recipient.parameters)
                           .bind(static_cast<std::int64_t>(recipient.delivered))
                           .bind(recipient.reply)
                           .run();
        !written)
      return written;
  return {};
}

namespace {

// About what it takes when it is told.
std::size_t octets_of(const Submission& submission) {
  auto octets = submission.envelope.size() + 512;
  for (const auto& recipient : submission.recipients)
    octets += 2 * recipient.address.size() + recipient.parameters.size() + recipient.reply.size() + 128;
  return octets;
}

}  // namespace

Result<Snapshot<Submission>> Database::submissions(const Owner& owner, const Selection& selection) {
  const auto account = account_of(owner);
  if (!account) return fail(account.error());
  Snapshot<Submission> all;
  std::size_t octets = 0;
  const auto read_all = [&](Statement& read) -> Result<> {
    for (;;) {
      auto row = read.step();
      if (!row) return fail(row.error());
      if (!*row) return {};
      auto one = submission_in(read);
      if (auto done = read_recipients(one); !done) return done;
      octets += octets_of(one);
      if (octets > selection.octets_max) return fail(Errc::too_large);
      all.list.push_back(std::move(one));
    }
  };
  const auto sql = std::string(columns) + "WHERE account = ? AND told = 1";
  if (selection.ids) {
    auto ids = *selection.ids;
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    for (const auto id : ids) {
      auto read = sqlite_.prepare((sql + " AND id = ?").c_str());
      read.bind(*account).bind(as_number(id));
      if (auto done = read_all(read); !done) return fail(done.error());
    }
  } else {
    auto read = sqlite_.prepare((sql + " ORDER BY id").c_str());
    read.bind(*account);
    if (auto done = read_all(read); !done) return fail(done.error());
  }
  const auto state = counter(*account, Type::submission);
  if (!state) return fail(state.error());
  all.state = state_of(*state);
  return all;
}

Result<Snapshot<SubmissionSummary>> Database::summaries(const Owner& owner) {
  const auto account = account_of(owner);
  if (!account) return fail(account.error());
  Snapshot<SubmissionSummary> all;
  auto read = sqlite_.prepare(
      "SELECT id, identity, email, thread, send_at, undo_status FROM submission"
      " WHERE account = ? AND told = 1 ORDER BY id");
  read.bind(*account);
  for (;;) {
    auto row = read.step();
    if (!row) return fail(row.error());
    if (!*row) break;
    all.list.push_back({read.id(0), read.id(1), read.text(2), read.text(3), read.number(4),
                        static_cast<UndoStatus>(read.number(5))});
  }
  const auto state = counter(*account, Type::submission);
  if (!state) return fail(state.error());
  all.state = state_of(*state);
  return all;
}

Result<Submission> Database::submission(std::uint64_t id) {
  auto read = sqlite_.prepare((std::string(columns) + "WHERE id = ?").c_str());
  auto row = read.bind(as_number(id)).step();
  if (!row) return fail(row.error());
  if (!*row) return fail(Errc::not_found);
  auto submission = submission_in(read);
  if (auto done = read_recipients(submission); !done) return fail(done.error());
  return submission;
}

Result<std::uint64_t> Database::add_submission(const Owner& owner, const Submission& submission) {
  Transaction transaction(sqlite_);
  if (!transaction.begun()) return fail(transaction.begun().error());
  const auto account = account_of(owner);
  if (!account) return fail(account.error());
  if (auto done = make_room(*account); !done) return fail(done.error());
  const auto there = count("SELECT COUNT(*) FROM submission WHERE account = ?", *account);
  if (!there) return fail(there.error());
  if (static_cast<std::size_t>(*there) >= submissions_max) return fail(Errc::too_many);
  auto added = sqlite_
                   .prepare(
                       "INSERT INTO submission (account, identity, email, thread, envelope, mail_from,"
                       " mail_parameters, extensions, created_at, send_at, undo_status, phase, content, size,"
                       " eight_bit, attempts, next_attempt)"
                       " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
                   .bind(*account)
                   .bind(as_number(submission.identity_id))
                   .bind(submission.email_id)
                   .bind(submission.thread_id)
                   .bind(submission.envelope)
                   .bind(submission.mail_from)
                   .bind(submission.mail_parameters)
                   .bind(submission.extensions)
                   .bind(submission.created_at)
                   .bind(submission.send_at)
                   .bind(static_cast<std::int64_t>(submission.undo_status))
                   .bind(static_cast<std::int64_t>(submission.phase))
                   .bind(as_number(submission.content))
                   .bind(as_number(submission.size))
                   .bind(std::int64_t{submission.eight_bit})
                   .bind(std::int64_t{submission.attempts})
                   .bind(submission.next_attempt)
                   .run();
  if (!added) return fail(added.error());
  auto made = submission;
  made.id = sqlite_.last_id();
  if (auto written = write_recipients(made); !written) return fail(written.error());
  if (auto done = transaction.commit(); !done) return fail(done.error());
  return made.id;
}

Result<bool> Database::begin_sending(std::uint64_t id) {
  Transaction transaction(sqlite_);
  if (!transaction.begun()) return fail(transaction.begun().error());
  auto marked = sqlite_
                    .prepare(
                        "UPDATE submission SET phase = 1, undo_status = 1, attempts = attempts + 1"
                        " WHERE id = ? AND phase = 0")
                    .bind(as_number(id))
                    .run();
  if (!marked) return fail(marked.error());
  const bool is_ours = sqlite_.changed() == 1;
  if (is_ours)
    if (auto noted = note_change(id); !noted) return fail(noted.error());
  if (auto done = transaction.commit(); !done) return fail(done.error());
  return is_ours;
}

Result<> Database::note_change(std::uint64_t id) {
  auto find = sqlite_.prepare("SELECT account FROM submission WHERE id = ? AND told = 1");
  auto row = find.bind(as_number(id)).step();
  if (!row) return fail(row.error());
  if (!*row) return {};
  const auto change = bump(find.number(0), Type::submission);
  if (!change) return fail(change.error());
  return sqlite_.prepare("UPDATE submission SET changed = ? WHERE id = ?")
      .bind(*change)
      .bind(as_number(id))
      .run();
}

Result<> Database::end_attempt(const Submission& submission, std::int64_t now) {
  auto done = finish(submission, now);
  if (done && submission.phase == Phase::done) release(submission.content);
  return done;
}

Result<> Database::finish(const Submission& submission, std::int64_t now) {
  Transaction transaction(sqlite_);
  if (!transaction.begun()) return transaction.begun();
  const bool done = submission.phase == Phase::done;
  auto written = sqlite_
                     .prepare(
                         "UPDATE submission SET phase = ?, undo_status = ?, attempts = ?, next_attempt = ?,"
                         " done_at = ? WHERE id = ? AND phase < 2")
                     .bind(static_cast<std::int64_t>(submission.phase))
                     .bind(static_cast<std::int64_t>(submission.undo_status))
                     .bind(std::int64_t{submission.attempts})
                     .bind(submission.next_attempt)
                     .bind(done ? now : std::int64_t{0})
                     .bind(as_number(submission.id))
                     .run();
  if (!written) return written;
  if (sqlite_.changed() == 0) return fail(Errc::not_found);
  if (written = write_recipients(submission); !written) return written;
  if (done)
    if (auto dropped = delete_content(submission.content); !dropped) return dropped;
  if (auto noted = note_change(submission.id); !noted) return noted;
  // Its record was destroyed while it waited: now there is nothing left to know it for.
  auto unwanted = sqlite_.prepare("SELECT 1 FROM submission WHERE id = ? AND told = 2");
  auto row = unwanted.bind(as_number(submission.id)).step();
  if (!row) return fail(row.error());
  if (done && *row)
    if (auto removed = remove(submission.id); !removed) return removed;
  return transaction.commit();
}

Result<> Database::tell(std::uint64_t id) {
  Transaction transaction(sqlite_);
  if (!transaction.begun()) return transaction.begun();
  auto told =
      sqlite_.prepare("UPDATE submission SET told = 1 WHERE id = ? AND told = 0").bind(as_number(id)).run();
  if (!told) return told;
  if (sqlite_.changed() == 0) return fail(Errc::not_found);
  if (auto noted = note_change(id); !noted) return noted;
  if (auto made =
          sqlite_.prepare("UPDATE submission SET created = changed WHERE id = ?").bind(as_number(id)).run();
      !made)
    return made;
  return transaction.commit();
}

Result<> Database::remove(std::uint64_t id) {
  auto recipients = sqlite_.prepare("DELETE FROM recipient WHERE submission = ?").bind(as_number(id)).run();
  if (!recipients) return recipients;
  return sqlite_.prepare("DELETE FROM submission WHERE id = ?").bind(as_number(id)).run();
}

Result<> Database::forget(std::uint64_t id) {
  Transaction transaction(sqlite_);
  if (!transaction.begun()) return transaction.begun();
  auto content = count("SELECT content FROM submission WHERE id = ?", as_number(id));
  if (!content) return fail(content.error());
  if (auto dropped = delete_content(static_cast<std::uint64_t>(*content)); !dropped) return dropped;
  if (auto removed = remove(id); !removed) return removed;
  auto done = transaction.commit();
  if (done) release(static_cast<std::uint64_t>(*content));
  return done;
}

Result<bool> Database::cancel(const Owner& owner, std::uint64_t id, std::int64_t now) {
  Transaction transaction(sqlite_);
  if (!transaction.begun()) return fail(transaction.begun().error());
  const auto account = account_of(owner);
  if (!account) return fail(account.error());
  auto find = sqlite_.prepare(
      (std::string(columns) + "WHERE id = ? AND account = ? AND phase = 0 AND undo_status = 0").c_str());
  auto row = find.bind(as_number(id)).bind(*account).step();
  if (!row) return fail(row.error());
  if (!*row) return false;
  auto canceled = submission_in(find);
  (void)find.run();
  if (auto read = read_recipients(canceled); !read) return fail(read.error());
  canceled.undo_status = UndoStatus::canceled;
  canceled.phase = Phase::done;
  for (auto& recipient : canceled.recipients) {
    recipient.delivered = Delivered::no;
    recipient.reply = "250 2.0.0 Canceled before it was sent";
  }
  if (auto done = finish(canceled, now); !done) return fail(done.error());
  if (auto done = transaction.commit(); !done) return fail(done.error());
  release(canceled.content);
  return true;
}

Result<> Database::destroy_submission(const Owner& owner, std::uint64_t id) {
  Transaction transaction(sqlite_);
  if (!transaction.begun()) return transaction.begun();
  const auto account = account_of(owner);
  if (!account) return fail(account.error());
  auto find =
      sqlite_.prepare("SELECT created, phase FROM submission WHERE id = ? AND account = ? AND told = 1");
  auto row = find.bind(as_number(id)).bind(*account).step();
  if (!row) return fail(row.error());
  if (!*row) return fail(Errc::not_found);
  const auto created = find.number(0);
  const bool done = find.number(1) == static_cast<int>(Phase::done);
  auto gone = done ? remove(id)
                   : sqlite_.prepare("UPDATE submission SET told = 2 WHERE id = ?").bind(as_number(id)).run();
  if (!gone) return gone;
  if (auto noted = remember_destroyed(*account, Type::submission, id, created); !noted) return noted;
  return transaction.commit();
}

// RFC 8621, 7: a server may destroy them at any time after they were sent. The oldest go where there would be too many
// with one more.
Result<> Database::make_room(std::int64_t account) {
  const auto there = count("SELECT COUNT(*) FROM submission WHERE account = ?", account);
  if (!there) return fail(there.error());
  const auto too_many = *there + 1 - static_cast<std::int64_t>(submissions_max);
  if (too_many <= 0) return {};
  auto find = sqlite_.prepare(
      "SELECT id, created, account FROM submission WHERE account = ? AND phase = 2 ORDER BY id LIMIT ?");
  find.bind(account).bind(too_many);
  auto forgotten = forget_done(find);
  if (!forgotten) return fail(forgotten.error());
  return {};
}

Result<> Database::forget_old(std::int64_t now) {
  if (now < next_look_) return {};
  Transaction transaction(sqlite_);
  if (!transaction.begun()) return transaction.begun();
  const auto keep_s = std::chrono::duration_cast<std::chrono::seconds>(keep_).count();
  auto find = sqlite_.prepare(
      "SELECT id, created, account FROM submission WHERE phase = 2 AND done_at < ? ORDER BY id LIMIT ?");
  find.bind(now - keep_s).bind(static_cast<std::int64_t>(forgotten_at_once_max));
  auto forgotten = forget_done(find);
  if (!forgotten) return fail(forgotten.error());
  if (auto done = transaction.commit(); !done) return done;
  if (*forgotten < forgotten_at_once_max) next_look_ = now + forget_pause_s;
  return {};
}

// Those whose id, `created` and account are the rows.
Result<std::size_t> Database::forget_done(Statement& find) {
  struct Old {
    std::uint64_t id = 0;
    std::int64_t created = 0, account = 0;
  };
  std::vector<Old> old;
  for (;;) {
    auto row = find.step();
    if (!row) return fail(row.error());
    if (!*row) break;
    old.push_back({find.id(0), find.number(1), find.number(2)});
  }
  for (const auto& one : old) {
    if (auto gone = remove(one.id); !gone) return fail(gone.error());
    if (auto noted = remember_destroyed(one.account, Type::submission, one.id, one.created); !noted)
      return fail(noted.error());
  }
  return old.size();
}

Result<std::vector<Waiting>> Database::waiting(unsigned shard, unsigned shards) {
  std::vector<Waiting> all;
  auto read = sqlite_.prepare(
      "SELECT submission.id, account.key, account.login, next_attempt FROM submission"
      " JOIN account ON account.id = submission.account WHERE phase = 0 ORDER BY submission.id");
  for (;;) {
    auto row = read.step();
    if (!row) return fail(row.error());
    if (!*row) return all;
    if (read.id(1) % shards == shard) all.push_back({read.id(0), {read.id(1), read.text(2)}, read.number(3)});
  }
}

}  // namespace postern::records
