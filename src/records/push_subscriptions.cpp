// Push subscriptions (RFC 8620, 7.2). How many there may be is said where they are made.
#include "records/database.hpp"

namespace postern::records {
namespace {

std::shared_ptr<const Secret> secret_in(const Statement& row, int column) {
  auto text = row.text(column);
  if (text.empty()) return nullptr;
  auto secret = std::make_shared<const Secret>(text);
  wipe(text.data(), text.size());
  return secret;
}

std::string_view exposed(const std::shared_ptr<const Secret>& secret) {
  return secret ? secret->expose() : std::string_view{};
}

// Names with commas between, behind a "+"; empty: all types.
std::string joined(const std::optional<std::vector<std::string>>& types) {
  if (!types) return {};
  std::string text;
  for (const auto& name : *types) text += (text.empty() ? "+" : ",") + name;
  return text.empty() ? "+" : text;
}

std::optional<std::vector<std::string>> split(std::string_view text) {
  if (text.empty()) return std::nullopt;
  text.remove_prefix(1);
  std::vector<std::string> types;
  while (!text.empty()) {
    const auto comma = std::min(text.find(','), text.size());
    types.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return types;
}

}  // namespace

Result<std::vector<PushSubscription>> Database::push_subscriptions() {
  std::vector<PushSubscription> all;
  auto read = sqlite_.prepare(
      "SELECT push_subscription.id, key, login, credential, device, url, p256dh, auth, server_key, code,"
      " verified, created_at, expires, types FROM push_subscription"
      " JOIN account ON account.id = push_subscription.account ORDER BY push_subscription.id");
  for (;;) {
    auto row = read.step();
    if (!row) return fail(row.error());
    if (!*row) return all;
    auto& one = all.emplace_back();
    one.id = read.id(0);
    one.owner = {read.id(1), read.text(2)};
    one.credential = read.text(3);
    one.device = read.text(4);
    one.url = secret_in(read, 5);
    one.p256dh = secret_in(read, 6);
    one.auth = secret_in(read, 7);
    one.server_key = read.text(8);
    one.code = read.text(9);
    one.verified = read.number(10) != 0;
    one.created_at = read.number(11);
    one.expires = read.number(12);
    one.types = split(read.text(13));
  }
}

Result<std::uint64_t> Database::add_push_subscription(const PushSubscription& one) {
  Transaction transaction(sqlite_);
  if (!transaction.begun()) return fail(transaction.begun().error());
  const auto account = account_of(one.owner);
  if (!account) return fail(account.error());
  auto added = sqlite_
                   .prepare(
                       "INSERT INTO push_subscription (account, credential, device, url, p256dh, auth,"
                       " server_key, code, verified, created_at, expires, types)"
                       " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
                   .bind(*account)
                   .bind(one.credential)
                   .bind(one.device)
                   .bind(exposed(one.url))
                   .bind_blob(exposed(one.p256dh))
                   .bind_blob(exposed(one.auth))
                   .bind(one.server_key)
                   .bind(one.code)
                   .bind(std::int64_t{one.verified})
                   .bind(one.created_at)
                   .bind(one.expires)
                   .bind(joined(one.types))
                   .run();
  if (!added) return fail(added.error());
  const auto id = sqlite_.last_id();
  if (auto done = transaction.commit(); !done) return fail(done.error());
  return id;
}

Result<> Database::update_push_subscription(const PushSubscription& one) {
  auto updated =
      sqlite_.prepare("UPDATE push_subscription SET verified = ?, expires = ?, types = ? WHERE id = ?")
          .bind(std::int64_t{one.verified})
          .bind(one.expires)
          .bind(joined(one.types))
          .bind(static_cast<std::int64_t>(one.id))
          .run();
  if (updated && sqlite_.changed() == 0) return fail(Errc::not_found);
  return updated;
}

// RFC 8620, 7.2: "MUST securely erase the URL and encryption keys from memory and storage". Pages are overwritten
// (secure_delete); what the log still holds of them goes with it.
Result<> Database::remove_push_subscriptions(const std::vector<std::uint64_t>& ids) {
  Transaction transaction(sqlite_);
  if (!transaction.begun()) return transaction.begun();
  for (const auto id : ids)
    if (auto gone = sqlite_.prepare("DELETE FROM push_subscription WHERE id = ?")
                        .bind(static_cast<std::int64_t>(id))
                        .run();
        !gone)
      return gone;
  if (auto done = transaction.commit(); !done) return done;
  // The rows are gone; a log that can't be emptied now is at the next removal.
  (void)sqlite_.execute("PRAGMA wal_checkpoint(TRUNCATE)");
  return {};
}

}  // namespace postern::records
