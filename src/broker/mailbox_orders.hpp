// An account's places of Mailboxes, among the durable records. On the account's shard, whose Records outlive it.
#pragma once

#include "postern/mail/order_store.hpp"
#include "postern/records/records.hpp"

namespace postern::broker {

class MailboxOrders final : public mail::OrderStore {
 public:
  MailboxOrders(records::Records& records, records::Owner owner)
      : records_(records), owner_(std::move(owner)) {}
  io::Task<Result<std::unordered_map<mail::MailboxKey, std::uint32_t>>> orders() override {
    auto all = co_await records_.mailbox_orders(owner_);
    if (!all) co_return fail(all.error());
    co_return std::unordered_map<mail::MailboxKey, std::uint32_t>(all->begin(), all->end());
  }
  io::Task<Result<>> put(mail::MailboxKey key, std::optional<std::uint32_t> order) override {
    return records_.put_mailbox_order(owner_, key, order);
  }

 private:
  records::Records& records_;
  const records::Owner owner_;
};

}  // namespace postern::broker
