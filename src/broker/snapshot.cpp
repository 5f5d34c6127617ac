// Asking the shards, and adding up what they say.
#include "broker/snapshot.hpp"

#include <algorithm>

namespace postern::broker {
namespace {

void add(session::Counters& sum, const session::Counters& part) {
  sum.connects += part.connects;
  sum.connect_failures += part.connect_failures;
  sum.tls_resumptions += part.tls_resumptions;
  sum.logins += part.logins;
  sum.login_refusals += part.login_refusals;
  sum.login_failures += part.login_failures;
  sum.reconnects += part.reconnects;
  sum.connections_lost += part.connections_lost;
  sum.selects += part.selects;
  sum.bytes_in += part.bytes_in;
  sum.bytes_out += part.bytes_out;
  for (const auto& [name, count] : part.commands) sum.commands[name] += count;
  sum.connections_open += part.connections_open;
  sum.logins_in_flight += part.logins_in_flight;
  sum.logins_waiting += part.logins_waiting;
}

ShardUse use_of(const Shard& shard) {
  ShardUse use;
  use.imap = shard.imap_counters();
  use.backing_off = shard.backing_off();
  for (const auto& account : shard.accounts()) {
    ++use.cache.accounts;
    use.cache.views += account.views;
    use.cache.view_bytes += account.view_bytes;
    use.cache.requests_in_flight += account.requests_in_flight;
  }
  use.cache.fragments = shard.fragments().size();
  use.cache.fragment_bytes = shard.fragments().bytes();
  use.cache.fragment_hits = shard.fragments().hits();
  use.cache.fragment_misses = shard.fragments().misses();
  return use;
}

}  // namespace

void add_to(Snapshot& snapshot, const ShardUse& use) {
  ++snapshot.shards;
  snapshot.imap_backing_off = snapshot.imap_backing_off || use.backing_off;
  add(snapshot.imap, use.imap);
  auto& cache = snapshot.cache;
  cache.accounts += use.cache.accounts;
  cache.views += use.cache.views;
  cache.view_bytes += use.cache.view_bytes;
  cache.fragments += use.cache.fragments;
  cache.fragment_bytes += use.cache.fragment_bytes;
  cache.fragment_hits += use.cache.fragment_hits;
  cache.fragment_misses += use.cache.fragment_misses;
  cache.requests_in_flight += use.cache.requests_in_flight;
}

std::vector<PlanUse> plan_uses(const std::vector<const limits::PlanTotals*>& totals) {
  std::vector<PlanUse> uses;
  for (const auto* of_plan : totals) {
    PlanUse use;
    use.plan = of_plan->plan;
    for (std::size_t i = 0; i < use.moved.size(); ++i) use.moved[i] = of_plan->moved[i];
    for (std::size_t i = 0; i < use.refused.size(); ++i) use.refused[i] = of_plan->refused[i];
    uses.push_back(std::move(use));
  }
  return uses;
}

io::Task<std::vector<ShardUse>> ask_shards(io::Loop& home, std::vector<Shard*> shards) {
  std::vector<ShardUse> all;
  for (auto* shard : shards) {
    auto use = co_await on_loop(shard->loop(), home,
                                [shard]() -> io::Task<Result<ShardUse>> { co_return use_of(*shard); });
    if (use) all.push_back(std::move(*use));
  }
  co_return all;
}

io::Task<std::vector<AccountInfo>> open_accounts(io::Loop& home, std::vector<Shard*> shards,
                                                 std::string login) {
  std::vector<AccountInfo> all;
  for (auto* shard : shards) {
    auto part = co_await on_loop(
        shard->loop(), home,
        [shard]() -> io::Task<Result<std::vector<AccountInfo>>> { co_return shard->accounts(); });
    if (!part) continue;
    for (auto& account : *part)
      if (login.empty() || account.login == login) all.push_back(std::move(account));
  }
  std::sort(all.begin(), all.end(),
            [](const AccountInfo& a, const AccountInfo& b) { return a.login < b.login; });
  co_return all;
}

}  // namespace postern::broker
