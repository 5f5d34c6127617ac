// When the plans of a shard's people are looked up, and by what: once in plan_cache for each account that is used.
#include <algorithm>

#include "broker/shard.hpp"

namespace postern::broker {

void Shard::look_up_plan(Entry& entry) {
  const auto& limits = config_->limits;
  if (!limits.table || !limits.table->looked_up || book_ == nullptr || loop_.clock().now() < entry.plan_due)
    return;
  const bool by_command = !limits.lookup.command.empty();
  // The command's answers are remembered where it is run.
  entry.plan_due =
      loop_.clock().now() +
      (by_command ? std::min<Duration>(plan_lookup_pause, limits.lookup.cache) : limits.lookup.cache);
  const auto& account = entry.account;
  if (limits.table->map.find(account->login()) != nullptr) return;
  if (!by_command)
    loop_.spawn(read_plan(account, limits.plan_metadata));
  else if (plan_lookup_ != nullptr)
    plan_lookup_->ask(account->key(), account->login());
}

// The entry of the server as a whole. Where there is none, the plan is the default one; where nobody knows, it stays.
io::Task<> Shard::read_plan(AccountPtr account, std::string metadata_entry) {
  const auto value = co_await account->server_metadata(std::move(metadata_entry));
  const auto plan = value ? parse_plan_answer(value->value_or("")) : std::nullopt;
  std::string wrong;
  if (!value)
    wrong = value.error().to_string();
  else if (!plan)
    wrong = "the entry is no name of a plan";
  else if (!book_->found_plan(account->key(), account->login(), *plan))
    wrong = "no such plan: " + *plan;
  if (wrong.empty()) co_return;
  loop_.logger().warning("plan not looked up", {{"login", account->login()}, {"reason", wrong}});
  if (const auto it = accounts_.find(account->key()); it != accounts_.end())
    it->second.plan_due = std::min(it->second.plan_due, loop_.clock().now() + plan_lookup_pause);
}

}  // namespace postern::broker
