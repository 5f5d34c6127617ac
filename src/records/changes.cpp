// State strings and /changes (RFC 8620, 5.2): each change of an object has a number, its state is the last one's.
// changes_kept_max objects that were destroyed are remembered; states from before the oldest of them are unknown.
#include <algorithm>
#include <charconv>

#include "records/database.hpp"

namespace postern::records {
namespace {

struct TypeNames {
  const char *add, *read, *floor, *set_floor, *changed;
};
constexpr TypeNames names[] = {
    {"UPDATE account SET identity_counter = identity_counter + 1 WHERE id = ?",
     "SELECT identity_counter FROM account WHERE id = ?", "SELECT identity_floor FROM account WHERE id = ?",
     "UPDATE account SET identity_floor = ? WHERE id = ?",
     "SELECT id, created, changed FROM identity WHERE account = ? AND changed > ?"},
    {"UPDATE account SET submission_counter = submission_counter + 1 WHERE id = ?",
     "SELECT submission_counter FROM account WHERE id = ?",
     "SELECT submission_floor FROM account WHERE id = ?",
     "UPDATE account SET submission_floor = ? WHERE id = ?",
     "SELECT id, created, changed FROM submission WHERE account = ? AND changed > ? AND told = 1"},
};
const TypeNames& of(Type type) { return names[static_cast<std::size_t>(type)]; }

enum class What : std::uint8_t { created, updated, destroyed };
struct Change {
  std::int64_t at = 0;  // in the order of which they are told
  std::uint64_t id = 0;
  What what = What::updated;
};

}  // namespace

Result<std::int64_t> Database::bump(std::int64_t account, Type type) {
  if (auto added = sqlite_.prepare(of(type).add).bind(account).run(); !added) return fail(added.error());
  bumped_.emplace(account, type);
  return counter(account, type);
}

Result<std::int64_t> Database::counter(std::int64_t account, Type type) {
  return count(of(type).read, account);
}

Result<TypeStates> Database::states(const Owner& owner) {
  auto find =
      sqlite_.prepare("SELECT identity_counter, submission_counter FROM account WHERE key = ? AND login = ?");
  auto row = find.bind(static_cast<std::int64_t>(owner.key)).bind(owner.login).step();
  if (!row) return fail(row.error());
  if (!*row) return TypeStates{state_of(0), state_of(0)};
  return TypeStates{state_of(find.number(0)), state_of(find.number(1))};
}

std::vector<Database::NewState> Database::take_new_states() {
  std::vector<NewState> all;
  for (const auto& [account, type] : std::exchange(bumped_, {})) {
    auto find = sqlite_.prepare("SELECT key, login FROM account WHERE id = ?");
    const auto row = find.bind(account).step();
    // What was undone has left no account, or a state that is known.
    if (!row || !*row) continue;
    const auto now = counter(account, type);
    if (now) all.push_back({{find.id(0), find.text(1)}, type, state_of(*now)});
  }
  return all;
}

Result<> Database::remember_destroyed(std::int64_t account, Type type, std::uint64_t id,
                                      std::int64_t created) {
  const auto kind = static_cast<std::int64_t>(type);
  const auto change = bump(account, type);
  if (!change) return fail(change.error());
  if (auto noted = sqlite_.prepare("INSERT INTO destroyed VALUES (?, ?, ?, ?, ?)")
                       .bind(account)
                       .bind(kind)
                       .bind(static_cast<std::int64_t>(id))
                       .bind(created)
                       .bind(*change)
                       .run();
      !noted)
    return noted;
  // The oldest that is too many, and all before it, are forgotten.
  auto oldest = sqlite_.prepare(
      "SELECT changed FROM destroyed WHERE account = ? AND type = ? ORDER BY changed DESC LIMIT 1 OFFSET ?");
  auto row = oldest.bind(account).bind(kind).bind(static_cast<std::int64_t>(changes_kept_max)).step();
  if (!row) return fail(row.error());
  if (!*row) return {};
  const auto floor = oldest.number(0);
  if (auto raised = sqlite_.prepare(of(type).set_floor).bind(floor).bind(account).run(); !raised)
    return raised;
  return sqlite_.prepare("DELETE FROM destroyed WHERE account = ? AND type = ? AND changed <= ?")
      .bind(account)
      .bind(kind)
      .bind(floor)
      .run();
}

Result<Changes> Database::changes(const Owner& owner, Type type, const std::string& since,
                                  std::size_t changes_max) {
  const auto account = account_of(owner);
  if (!account) return fail(account.error());
  const auto now = counter(*account, type), floor = count(of(type).floor, *account);
  if (!now) return fail(now.error());
  if (!floor) return fail(floor.error());
  std::int64_t from = -1;
  if (since.starts_with(epoch_ + "-")) {
    const auto* begin = since.data() + epoch_.size() + 1;
    const auto* end = since.data() + since.size();
    if (const auto [last, error] = std::from_chars(begin, end, from); error != std::errc{} || last != end)
      from = -1;
  }
  if (from < *floor || from > *now) return fail(Errc::unknown_state, since);

  std::vector<Change> all;
  const auto read = [&](Statement& statement, bool destroyed) -> Result<> {
    for (;;) {
      auto row = statement.step();
      if (!row) return fail(row.error());
      if (!*row) return {};
      const auto created = statement.number(1), changed = statement.number(2);
      if (destroyed && created > from) continue;  // come and gone
      // Told where it was created, so that nobody hears of an update before: of a later one in the next answer.
      all.push_back({created > from ? created : changed, statement.id(0),
                     destroyed        ? What::destroyed
                     : created > from ? What::created
                                      : What::updated});
    }
  };
  auto living = sqlite_.prepare(of(type).changed);
  living.bind(*account).bind(from);
  if (auto done = read(living, false); !done) return fail(done.error());
  auto gone = sqlite_.prepare(
      "SELECT id, created, changed FROM destroyed WHERE account = ? AND changed > ? AND type = ?");
  gone.bind(*account).bind(from).bind(static_cast<std::int64_t>(type));
  if (auto done = read(gone, true); !done) return fail(done.error());

  std::sort(all.begin(), all.end(), [](const Change& a, const Change& b) { return a.at < b.at; });
  Changes changes;
  changes.has_more = changes_max > 0 && all.size() > changes_max;
  if (changes.has_more) all.resize(changes_max);
  changes.new_state = state_of(changes.has_more ? all.back().at : *now);
  for (const auto& change : all)
    (change.what == What::created   ? changes.created
     : change.what == What::updated ? changes.updated
                                    : changes.destroyed)
        .push_back(change.id);
  return changes;
}

}  // namespace postern::records
