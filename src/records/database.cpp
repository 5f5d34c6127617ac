// The file: its schema, and what is settled when it is opened.
//
// WAL with synchronous=FULL: a commit that has come back is on the disk. Pieces of content alone are written with
// NORMAL; the commit of the submission that they belong to brings them there as well, since it syncs the same log.
#include "records/database.hpp"

#include "postern/base/encoding.hpp"

namespace postern::records {
namespace {

// Every change of an object has a number of its own within account and type ("changed"), from which /changes is made.
// No table is WITHOUT ROWID: SQLite 3.40's quick_check takes columns of such tables for NULL that aren't.
// A submission is told: 0, not yet; 1, yes; 2, its record was destroyed by the client while it waited.
constexpr const char* schema = R"(
CREATE TABLE meta (epoch TEXT NOT NULL);
CREATE TABLE account (
  id INTEGER PRIMARY KEY, key INTEGER NOT NULL, login TEXT NOT NULL,
  identity_counter INTEGER NOT NULL DEFAULT 0, submission_counter INTEGER NOT NULL DEFAULT 0,
  identity_floor INTEGER NOT NULL DEFAULT 0, submission_floor INTEGER NOT NULL DEFAULT 0,
  seeded INTEGER NOT NULL DEFAULT 0,
  UNIQUE (key, login));
CREATE TABLE identity (
  id INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER NOT NULL REFERENCES account,
  email TEXT NOT NULL, name TEXT NOT NULL, reply_to TEXT NOT NULL, bcc TEXT NOT NULL,
  text_signature TEXT NOT NULL, html_signature TEXT NOT NULL, may_delete INTEGER NOT NULL,
  created INTEGER NOT NULL, changed INTEGER NOT NULL);
CREATE INDEX identity_account ON identity (account);
CREATE TABLE content (id INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE TABLE piece (
  content INTEGER NOT NULL, number INTEGER NOT NULL, octets BLOB NOT NULL,
  PRIMARY KEY (content, number));
CREATE TABLE submission (
  id INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER NOT NULL REFERENCES account,
  identity INTEGER NOT NULL, email TEXT NOT NULL, thread TEXT NOT NULL, envelope TEXT NOT NULL,
  mail_from TEXT NOT NULL, mail_parameters TEXT NOT NULL, extensions TEXT NOT NULL,
  created_at INTEGER NOT NULL, send_at INTEGER NOT NULL, undo_status INTEGER NOT NULL, phase INTEGER NOT NULL,
  content INTEGER NOT NULL, size INTEGER NOT NULL, eight_bit INTEGER NOT NULL,
  attempts INTEGER NOT NULL, next_attempt INTEGER NOT NULL, done_at INTEGER NOT NULL DEFAULT 0,
  told INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL DEFAULT 0, changed INTEGER NOT NULL DEFAULT 0);
CREATE INDEX submission_account ON submission (account);
CREATE INDEX submission_open ON submission (phase) WHERE phase < 2;
CREATE TABLE recipient (
  submission INTEGER NOT NULL, number INTEGER NOT NULL, address TEXT NOT NULL, parameters TEXT NOT NULL,
  delivered INTEGER NOT NULL, reply TEXT NOT NULL,
  PRIMARY KEY (submission, number));
CREATE TABLE destroyed (
  account INTEGER NOT NULL, type INTEGER NOT NULL, id INTEGER NOT NULL,
  created INTEGER NOT NULL, changed INTEGER NOT NULL,
  PRIMARY KEY (account, type, changed));
)";

// Tables that earlier versions don't know, and that do them no harm: the version stays.
constexpr const char* schema_additions = R"(
CREATE TABLE IF NOT EXISTS push_subscription (
  id INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER NOT NULL REFERENCES account,
  credential TEXT NOT NULL, device TEXT NOT NULL, url TEXT NOT NULL, p256dh BLOB, auth BLOB,
  server_key TEXT NOT NULL, code TEXT NOT NULL, verified INTEGER NOT NULL,
  created_at INTEGER NOT NULL, expires INTEGER NOT NULL, types TEXT);
CREATE TABLE IF NOT EXISTS mailbox_order (
  id INTEGER PRIMARY KEY, account INTEGER NOT NULL REFERENCES account, mailbox INTEGER NOT NULL,
  place INTEGER NOT NULL, UNIQUE (account, mailbox));
)";

constexpr std::string_view lost_reply =
    "451 4.3.0 The gateway was stopped while it handed this message over; it may have been delivered";

}  // namespace

Result<std::string> Database::make_schema(const Sqlite& sqlite, Random& random) {
  Transaction transaction(sqlite);
  if (!transaction.begun()) return fail(transaction.begun().error());
  auto version = sqlite.prepare("PRAGMA user_version");
  auto row = version.step();
  if (!row) return fail(row.error());
  const auto found = version.number(0);
  if (found > schema_version) return fail(Errc::newer, "schema " + std::to_string(found));
  if (found == 0) {
    if (auto made = sqlite.execute(schema); !made) return fail(made.error());
    const auto epoch = std::to_string(random.u64() >> 24);
    if (auto noted = sqlite.prepare("INSERT INTO meta VALUES (?)").bind(epoch).run(); !noted)
      return fail(noted.error());
    if (auto set = sqlite.execute("PRAGMA user_version = 1"); !set) return fail(set.error());
  }
  if (auto made = sqlite.execute(schema_additions); !made) return fail(made.error());
  auto meta = sqlite.prepare("SELECT epoch FROM meta");
  row = meta.step();
  if (!row) return fail(row.error());
  if (!*row) return fail(Errc::damaged, "no epoch");
  auto epoch = meta.text(0);
  (void)meta.run();
  if (auto done = transaction.commit(); !done) return fail(done.error());
  return epoch;
}

Result<std::unique_ptr<Database>> Database::open(const StoreOptions& options, std::int64_t now,
                                                 Random& random) {
  auto sqlite = Sqlite::open(options.path);
  if (!sqlite) return fail(sqlite.error());
  // What has been deleted is overwritten.
  auto set = sqlite->execute(
      "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF;"
      "PRAGMA cell_size_check = ON;"
      "PRAGMA journal_size_limit = 4194304");
  if (!set) return fail(set.error());
  if (options.pages_max > 0)
    (void)sqlite->execute(("PRAGMA max_page_count = " + std::to_string(options.pages_max)).c_str());
  auto check = sqlite->prepare("PRAGMA quick_check(1)");
  auto row = check.step();
  if (!row) return fail(row.error());
  if (*row && check.text(0) != "ok") return fail(Errc::damaged, check.text(0));
  (void)check.run();
  auto epoch = make_schema(*sqlite, random);
  if (!epoch) return fail(epoch.error());
  std::unique_ptr<Database> database(new Database(std::move(*sqlite), std::move(*epoch), options));
  if (auto settled = database->recover(now); !settled) return fail(settled.error());
  if (auto counted = database->count_contents(); !counted) return fail(counted.error());
  return database;
}

// What a crash has left: a submission in the doubtful moment (its end may have been sent, its answer wasn't written
// down) isn't sent again, and told as unknown; one that no client has heard of is told from now on, since it will be
// sent; messages that no submission wants are dropped.
Result<> Database::recover(std::int64_t now) {
  Transaction transaction(sqlite_);
  if (!transaction.begun()) return transaction.begun();
  std::vector<std::uint64_t> doubtful, untold;
  auto open_ones = sqlite_.prepare("SELECT id, phase, told FROM submission WHERE phase < 2 OR told = 0");
  for (;;) {
    auto row = open_ones.step();
    if (!row) return fail(row.error());
    if (!*row) break;
    if (open_ones.number(1) == static_cast<int>(Phase::sending)) doubtful.push_back(open_ones.id(0));
    if (open_ones.number(1) == static_cast<int>(Phase::waiting)) ++recovery_.waiting;
    if (open_ones.number(2) == 0) untold.push_back(open_ones.id(0));
  }
  recovery_.sending = doubtful.size();
  for (const auto id : doubtful) {
    auto lost = submission(id);
    if (!lost) return fail(lost.error());
    lost->phase = Phase::done;
    lost->undo_status = UndoStatus::final;
    for (auto& recipient : lost->recipients)
      if (recipient.delivered == Delivered::queued) {
        recipient.delivered = Delivered::unknown;
        recipient.reply = lost_reply;
      }
    if (auto ended = finish(*lost, now); !ended) return ended;
  }
  for (const auto id : untold)
    if (auto told = tell(id); !told && told.error().code != Errc::not_found) return told;
  if (auto dropped = sqlite_.execute(
          "DELETE FROM piece WHERE content NOT IN (SELECT content FROM submission WHERE phase < 2);"
          "DELETE FROM content WHERE id NOT IN (SELECT content FROM submission WHERE phase < 2)");
      !dropped)
    return dropped;
  return transaction.commit();
}

Result<std::int64_t> Database::account_of(const Owner& owner) {
  const auto key = static_cast<std::int64_t>(owner.key);
  auto find = sqlite_.prepare("SELECT id FROM account WHERE key = ? AND login = ?");
  auto row = find.bind(key).bind(owner.login).step();
  if (!row) return fail(row.error());
  if (*row) return find.number(0);
  auto made =
      sqlite_.prepare("INSERT INTO account (key, login) VALUES (?, ?)").bind(key).bind(owner.login).run();
  if (!made) return fail(made.error());
  return static_cast<std::int64_t>(sqlite_.last_id());
}

Result<std::int64_t> Database::count(const char* sql, std::int64_t account) {
  auto statement = sqlite_.prepare(sql);
  auto row = statement.bind(account).step();
  if (!row) return fail(row.error());
  return *row ? statement.number(0) : 0;
}

const std::error_category& records_category() {
  static const struct final : std::error_category {
    const char* name() const noexcept override { return "records"; }
    std::string message(int code) const override {
      switch (static_cast<Errc>(code)) {
        case Errc::unavailable: return "the records can't be read or written";
        case Errc::full: return "there is no room for records";
        case Errc::damaged: return "the records are damaged";
        case Errc::newer: return "the records were written by a later version";
        case Errc::not_found: return "no such record";
        case Errc::too_many: return "too many records";
        case Errc::too_large: return "too large";
        case Errc::no_room: return "there is no more room for messages that wait";
        case Errc::unknown_state: return "the state isn't known";
      }
      return "unknown records error";
    }
  } category;
  return category;
}

}  // namespace postern::records
