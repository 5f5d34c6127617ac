// SQLite with values and Results. Private to the records layer; used by its thread only.
//
// A Statement belongs to its Sqlite, which is opened once and closed when it ends. Strings are bound by copy.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "postern/records/records.hpp"

namespace postern::records {

class Statement {
 public:
  Statement(sqlite3* database, const char* sql);

  Statement& bind(std::int64_t value);
  Statement& bind(std::string_view text);
  Statement& bind_if(const std::optional<std::string>& text);  // NULL where there is none
  Statement& bind_blob(std::string_view octets);
  // True: there is a row.
  Result<bool> step();
  // All of it, where no row is expected.
  Result<> run();

  std::int64_t number(int column) const { return sqlite3_column_int64(statement_.get(), column); }
  std::uint64_t id(int column) const { return static_cast<std::uint64_t>(number(column)); }
  std::string text(int column) const;

 private:
  struct Finalizer {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  sqlite3* database_;
  std::unique_ptr<sqlite3_stmt, Finalizer> statement_;
  int error_ = SQLITE_OK;  // of preparing or binding
  int next_ = 1;
};

class Sqlite {
 public:
  static Result<Sqlite> open(const std::string& path);
  Statement prepare(const char* sql) const { return {database_.get(), sql}; }
  Result<> execute(const char* sql) const;
  std::uint64_t last_id() const {
    return static_cast<std::uint64_t>(sqlite3_last_insert_rowid(database_.get()));
  }
  std::size_t changed() const { return static_cast<std::size_t>(sqlite3_changes(database_.get())); }

 private:
  struct Closer {
    void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
  };
  explicit Sqlite(sqlite3* database) : database_(database) {}
  std::unique_ptr<sqlite3, Closer> database_;
};

// Undone at its end unless commit() has said that it is written. They nest: what is inside of another is written with
// that.
class Transaction {
 public:
  explicit Transaction(const Sqlite& sqlite) : sqlite_(sqlite), begun_(sqlite.execute("SAVEPOINT step")) {}
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction() {
    // After some errors SQLite has undone it all by itself.
    if (begun_ && !committed_) (void)sqlite_.execute("ROLLBACK TO step; RELEASE step");
  }
  const Result<>& begun() const { return begun_; }
  Result<> commit() {
    auto done = sqlite_.execute("RELEASE step");
    committed_ = done.has_value();
    return done;
  }

 private:
  const Sqlite& sqlite_;
  Result<> begun_;
  bool committed_ = false;
};

Error error_of(int code, sqlite3* database);

}  // namespace postern::records
