// The places that clients have given to Mailboxes: mailbox_orders_max of an account.
#include "records/database.hpp"

namespace postern::records {

Result<std::vector<std::pair<std::uint64_t, std::uint32_t>>> Database::mailbox_orders(const Owner& owner) {
  std::vector<std::pair<std::uint64_t, std::uint32_t>> all;
  auto statement = sqlite_.prepare(
      "SELECT mailbox, place FROM mailbox_order JOIN account ON account.id = mailbox_order.account"
      " WHERE key = ? AND login = ?");
  statement.bind(static_cast<std::int64_t>(owner.key)).bind(owner.login);
  for (;;) {
    auto row = statement.step();
    if (!row) return fail(row.error());
    if (!*row) return all;
    all.emplace_back(statement.id(0), static_cast<std::uint32_t>(statement.number(1)));
  }
}

Result<> Database::put_mailbox_order(const Owner& owner, std::uint64_t mailbox,
                                     std::optional<std::uint32_t> order) {
  Transaction transaction(sqlite_);
  if (!transaction.begun()) return transaction.begun();
  const auto account = account_of(owner);
  if (!account) return fail(account.error());
  const auto key = static_cast<std::int64_t>(mailbox);
  auto put =
      order
          ? sqlite_.prepare("INSERT OR REPLACE INTO mailbox_order (account, mailbox, place) VALUES (?, ?, ?)")
                .bind(*account)
                .bind(key)
                .bind(std::int64_t{*order})
                .run()
          : sqlite_.prepare("DELETE FROM mailbox_order WHERE account = ? AND mailbox = ?")
                .bind(*account)
                .bind(key)
                .run();
  if (!put) return put;
  // One more at a time, so that one less is enough.
  const auto there = count("SELECT COUNT(*) FROM mailbox_order WHERE account = ?", *account);
  if (!there) return fail(there.error());
  if (static_cast<std::size_t>(*there) > mailbox_orders_max) {
    auto dropped = sqlite_
                       .prepare(
                           "DELETE FROM mailbox_order WHERE id = (SELECT MIN(id) FROM mailbox_order"
                           " WHERE account = ?)")
                       .bind(*account)
                       .run();
    if (!dropped) return dropped;
  }
  return transaction.commit();
}

}  // namespace postern::records
