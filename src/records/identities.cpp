// Identities (RFC 8621, 6): identities_max of an account, identity_bytes_max each.
#include <algorithm>

#include "records/database.hpp"

namespace postern::records {
namespace {

constexpr const char* insert_identity =
    "INSERT INTO identity (account, email, name, reply_to, bcc, text_signature, html_signature, may_delete, "
    "created,"
    " changed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

Result<> insert(const Sqlite& sqlite, std::int64_t account, const Identity& identity, std::int64_t change) {
  return sqlite.prepare(insert_identity)
      .bind(account)
      .bind(identity.email)
      .bind(identity.name)
      .bind(identity.reply_to)
      .bind(identity.bcc)
      .bind(identity.text_signature)
      .bind(identity.html_signature)
      .bind(std::int64_t{identity.may_delete})
      .bind(change)
      .bind(change)
      .run();
}

Identity identity_in(const Statement& statement) {
  Identity identity;
  identity.id = statement.id(0);
  identity.email = statement.text(1);
  identity.name = statement.text(2);
  identity.reply_to = statement.text(3);
  identity.bcc = statement.text(4);
  identity.text_signature = statement.text(5);
  identity.html_signature = statement.text(6);
  identity.may_delete = statement.number(7) != 0;
  return identity;
}

std::size_t octets_of(const Identity& identity) {
  return identity.email.size() + identity.name.size() + identity.reply_to.size() + identity.bcc.size() +
         identity.text_signature.size() + identity.html_signature.size();
}

bool is_selected(const Selection& selection, std::uint64_t id) {
  return !selection.ids ||
         std::find(selection.ids->begin(), selection.ids->end(), id) != selection.ids->end();
}

}  // namespace

// An account begins with one of its own.
Result<> Database::make_first_identity(std::int64_t account, const std::string& email) {
  const auto seeded = count("SELECT seeded FROM account WHERE id = ?", account);
  if (!seeded) return fail(seeded.error());
  if (*seeded != 0 || email.empty()) return {};
  const auto change = bump(account, Type::identity);
  if (!change) return fail(change.error());
  Identity identity;
  identity.email = email;
  identity.may_delete = false;
  if (auto made = insert(sqlite_, account, identity, *change); !made) return made;
  bumped_.erase({account, Type::identity});  // nobody has seen a state without it
  return sqlite_.prepare("UPDATE account SET seeded = 1 WHERE id = ?").bind(account).run();
}

Result<Snapshot<Identity>> Database::identities(const Owner& owner, const std::string& first,
                                                const Selection& selection) {
  Transaction transaction(sqlite_);
  if (!transaction.begun()) return fail(transaction.begun().error());
  const auto account = account_of(owner);
  if (!account) return fail(account.error());
  if (auto made = make_first_identity(*account, first); !made) return fail(made.error());
  Snapshot<Identity> all;
  std::size_t octets = 0;
  auto statement = sqlite_.prepare(
      "SELECT id, email, name, reply_to, bcc, text_signature, html_signature, may_delete FROM identity"
      " WHERE account = ? ORDER BY id");
  statement.bind(*account);
  for (;;) {
    auto row = statement.step();
    if (!row) return fail(row.error());
    if (!*row) break;
    if (!is_selected(selection, statement.id(0))) continue;
    auto identity = identity_in(statement);
    octets += octets_of(identity);
    if (octets > selection.octets_max) return fail(Errc::too_large);
    all.list.push_back(std::move(identity));
  }
  const auto state = counter(*account, Type::identity);
  if (!state) return fail(state.error());
  all.state = state_of(*state);
  if (auto done = transaction.commit(); !done) return fail(done.error());
  return all;
}

Result<std::uint64_t> Database::create_identity(const Owner& owner, const Identity& identity) {
  Transaction transaction(sqlite_);
  if (!transaction.begun()) return fail(transaction.begun().error());
  const auto account = account_of(owner);
  if (!account) return fail(account.error());
  const auto there = count("SELECT COUNT(*) FROM identity WHERE account = ?", *account);
  if (!there) return fail(there.error());
  if (static_cast<std::size_t>(*there) >= identities_max) return fail(Errc::too_many);
  if (octets_of(identity) - identity.email.size() > identity_bytes_max) return fail(Errc::too_large);
  const auto change = bump(*account, Type::identity);
  if (!change) return fail(change.error());
  if (auto made = insert(sqlite_, *account, identity, *change); !made) return fail(made.error());
  const auto id = sqlite_.last_id();
  if (auto done = transaction.commit(); !done) return fail(done.error());
  return id;
}

Result<> Database::update_identity(const Owner& owner, const IdentityChange& identity) {
  Transaction transaction(sqlite_);
  if (!transaction.begun()) return transaction.begun();
  const auto account = account_of(owner);
  if (!account) return fail(account.error());
  const auto change = bump(*account, Type::identity);
  if (!change) return fail(change.error());
  const auto id = static_cast<std::int64_t>(identity.id);
  auto updated = sqlite_
                     .prepare(
                         "UPDATE identity SET name = COALESCE(?, name), reply_to = COALESCE(?, reply_to),"
                         " bcc = COALESCE(?, bcc), text_signature = COALESCE(?, text_signature),"
                         " html_signature = COALESCE(?, html_signature), changed = ?"
                         " WHERE account = ? AND id = ?")
                     .bind_if(identity.name)
                     .bind_if(identity.reply_to)
                     .bind_if(identity.bcc)
                     .bind_if(identity.text_signature)
                     .bind_if(identity.html_signature)
                     .bind(*change)
                     .bind(*account)
                     .bind(id)
                     .run();
  if (!updated) return updated;
  if (sqlite_.changed() == 0) return fail(Errc::not_found);
  const auto octets = count(
      "SELECT LENGTH(CAST(name AS BLOB)) + LENGTH(CAST(reply_to AS BLOB)) + LENGTH(CAST(bcc AS BLOB))"
      " + LENGTH(CAST(text_signature AS BLOB)) + LENGTH(CAST(html_signature AS BLOB)) FROM identity"
      " WHERE id = ?",
      id);
  if (!octets) return fail(octets.error());
  if (static_cast<std::size_t>(*octets) > identity_bytes_max) return fail(Errc::too_large);
  return transaction.commit();
}

Result<> Database::destroy_identity(const Owner& owner, std::uint64_t id) {
  Transaction transaction(sqlite_);
  if (!transaction.begun()) return transaction.begun();
  const auto account = account_of(owner);
  if (!account) return fail(account.error());
  auto find = sqlite_.prepare("SELECT created FROM identity WHERE account = ? AND id = ? AND may_delete = 1");
  auto row = find.bind(*account).bind(static_cast<std::int64_t>(id)).step();
  if (!row) return fail(row.error());
  if (!*row) return fail(Errc::not_found);
  const auto created = find.number(0);
  auto gone = sqlite_.prepare("DELETE FROM identity WHERE id = ?").bind(static_cast<std::int64_t>(id)).run();
  if (!gone) return gone;
  if (auto noted = remember_destroyed(*account, Type::identity, id, created); !noted) return noted;
  return transaction.commit();
}

}  // namespace postern::records
