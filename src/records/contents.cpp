// The content of messages that wait or are being sent, piece by piece, and how much room it takes: StoreOptions for an
// account and for all. How much there is, is counted in memory, by what is in the database.
#include "records/database.hpp"

namespace postern::records {
namespace {

std::int64_t row_of(std::uint64_t content) { return static_cast<std::int64_t>(content); }

}  // namespace

Result<std::uint64_t> Database::begin_content(const Owner& owner, bool delayed) {
  const auto account = account_of(owner);
  if (!account) return fail(account.error());
  if (auto room = check_room(*account, delayed, 1); !room) return fail(room.error());
  if (auto made = sqlite_.execute("INSERT INTO content DEFAULT VALUES"); !made) return fail(made.error());
  const auto id = sqlite_.last_id();
  held_[id] = {*account, 0, delayed};
  return id;
}

Result<> Database::check_room(std::int64_t account, bool delayed, std::uint64_t octets) const {
  const auto of_account = held_of_.find(account);
  if ((of_account == held_of_.end() ? 0 : of_account->second) + octets > room_.account_bytes)
    return fail(Errc::no_room, "of this account");
  if (delayed && held_octets_ + octets > room_.total_bytes) return fail(Errc::no_room, "of all accounts");
  return {};
}

Result<> Database::append_content(std::uint64_t content, std::uint32_t piece, const std::string& octets) {
  if (octets.size() > content_piece_bytes_max) return fail(Errc::too_large, "a piece");
  const auto held = held_.find(content);
  if (held == held_.end()) return fail(Errc::not_found);
  if (auto room = check_room(held->second.account, held->second.delayed, octets.size()); !room) return room;
  (void)sqlite_.execute("PRAGMA synchronous = NORMAL");
  auto written = sqlite_.prepare("INSERT INTO piece VALUES (?, ?, ?)")
                     .bind(row_of(content))
                     .bind(std::int64_t{piece})
                     .bind_blob(octets)
                     .run();
  if (auto set = sqlite_.execute("PRAGMA synchronous = FULL"); !set) return set;
  if (written) hold(content, octets.size());
  return written;
}

Result<std::string> Database::content_piece(std::uint64_t content, std::uint32_t piece) {
  auto read = sqlite_.prepare("SELECT octets FROM piece WHERE content = ? AND number = ?");
  auto row = read.bind(row_of(content)).bind(std::int64_t{piece}).step();
  if (!row) return fail(row.error());
  return *row ? read.text(0) : std::string{};
}

Result<> Database::drop_content(std::uint64_t content) {
  auto gone = delete_content(content);
  if (gone) release(content);
  return gone;
}

Result<> Database::delete_content(std::uint64_t content) {
  auto pieces = sqlite_.prepare("DELETE FROM piece WHERE content = ?").bind(row_of(content)).run();
  if (!pieces) return pieces;
  auto gone = sqlite_.prepare("DELETE FROM content WHERE id = ?").bind(row_of(content)).run();
  if (gone) (void)sqlite_.execute("PRAGMA incremental_vacuum");
  return gone;
}

// --- Room ---

Result<> Database::count_contents() {
  auto read = sqlite_.prepare("SELECT content, account, size FROM submission WHERE phase < 2");
  for (;;) {
    auto row = read.step();
    if (!row) return fail(row.error());
    if (!*row) return {};
    held_[read.id(0)] = {read.number(1), 0, true};
    hold(read.id(0), read.id(2));
  }
}

void Database::hold(std::uint64_t content, std::uint64_t octets) {
  auto& held = held_[content];
  held.octets += octets;
  held_of_[held.account] += octets;
  held_octets_ += octets;
}

void Database::release(std::uint64_t content) {
  const auto held = held_.find(content);
  if (held == held_.end()) return;
  held_octets_ -= held->second.octets;
  const auto of_account = held_of_.find(held->second.account);
  if (of_account != held_of_.end()) {
    of_account->second -= held->second.octets;
    if (of_account->second == 0) held_of_.erase(of_account);
  }
  held_.erase(held);
}

}  // namespace postern::records
