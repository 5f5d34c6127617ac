// SQLite's codes as Errc, and its calls.
#include "records/sqlite.hpp"

#include <sys/stat.h>

namespace postern::records {

Error error_of(int code, sqlite3* database) {
  const std::string what = database != nullptr ? sqlite3_errmsg(database) : sqlite3_errstr(code);
  switch (code & 0xFF) {
    case SQLITE_FULL: return Error(Errc::full, what);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_SCHEMA:
    case SQLITE_MISMATCH: return Error(Errc::damaged, what);
    default: return Error(Errc::unavailable, what);
  }
}

Statement::Statement(sqlite3* database, const char* sql) : database_(database) {
  sqlite3_stmt* statement = nullptr;
  error_ = sqlite3_prepare_v2(database, sql, -1, &statement, nullptr);
  statement_.reset(statement);
}

Statement& Statement::bind(std::int64_t value) {
  if (error_ == SQLITE_OK) error_ = sqlite3_bind_int64(statement_.get(), next_++, value);
  return *this;
}

Statement& Statement::bind(std::string_view text) {
  if (error_ == SQLITE_OK)
    error_ = sqlite3_bind_text64(statement_.get(), next_++, text.data() == nullptr ? "" : text.data(),
                                 text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  return *this;
}

Statement& Statement::bind_if(const std::optional<std::string>& text) {
  if (text) return bind(std::string_view(*text));
  if (error_ == SQLITE_OK) error_ = sqlite3_bind_null(statement_.get(), next_++);
  return *this;
}

Statement& Statement::bind_blob(std::string_view octets) {
  if (error_ == SQLITE_OK)
    error_ = sqlite3_bind_blob64(statement_.get(), next_++, octets.data(), octets.size(), SQLITE_TRANSIENT);
  return *this;
}

Result<bool> Statement::step() {
  if (error_ != SQLITE_OK) return fail(error_of(error_, database_));
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return fail(error_of(code, database_));
}

Result<> Statement::run() {
  for (;;) {
    auto row = step();
    if (!row) return fail(row.error());
    if (!*row) return {};
  }
}

std::string Statement::text(int column) const {
  const void* octets = sqlite3_column_blob(statement_.get(), column);
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column));
  return octets == nullptr ? std::string{} : std::string(static_cast<const char*>(octets), size);
}

Result<Sqlite> Sqlite::open(const std::string& path) {
  sqlite3* opened = nullptr;
  // Nobody else reads what waits to go out, nor who wrote to whom.
  const auto mask = umask(0077);
  const int code =
      sqlite3_open_v2(path.c_str(), &opened,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                          SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE,
                      nullptr);
  Sqlite sqlite(opened);
  Result<> done;
  if (code == SQLITE_OK) {
    // Here the file is first touched; the first has to come before there is anything in it.
    done = sqlite.execute(
        "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL");
  } else {
    done = fail(error_of(code, opened));
  }
  umask(mask);
  if (!done) return fail(done.error());
  return sqlite;
}

Result<> Sqlite::execute(const char* sql) const {
  const int code = sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return fail(error_of(code, database_.get()));
  return {};
}

}  // namespace postern::records
