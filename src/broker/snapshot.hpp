// What the broker is doing at one moment, put together from all shards: for posternctl and for metrics.
//
// Taken on the loop of the control socket; what belongs to a shard is asked on the shard's own loop. It holds
// logins and counts, and never a token, a password or what is in a message.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "broker/ipc_server.hpp"
#include "broker/router.hpp"
#include "broker/shard.hpp"
#include "broker/subscriptions.hpp"

namespace postern::broker {

struct CacheUse {
  std::size_t accounts = 0, views = 0, view_bytes = 0, fragments = 0, fragment_bytes = 0;
  std::uint64_t fragment_hits = 0, fragment_misses = 0;
  std::uint64_t requests_in_flight = 0;
};

// What the people of one plan have moved since the start, and what was refused to them.
struct PlanUse {
  std::string plan;
  limits::Amounts moved{};
  std::array<std::uint64_t, limits::refusal_kinds> refused{};
};
std::vector<PlanUse> plan_uses(const std::vector<const limits::PlanTotals*>& totals);

struct Snapshot {
  std::int64_t pid = 0, started = 0, uptime_seconds = 0;  // started: Unix seconds
  bool draining = false;
  LogLevel log_level = LogLevel::info;
  std::string imap_server;  // host:port
  unsigned shards = 0;
  bool imap_backing_off = false;  // the server can't be reached, and is tried again later
  IpcCounters ipc;
  RequestCounters requests;
  session::Counters imap;
  CacheUse cache;
  store::SegmentUse segment;
  SubscriptionCounters subscriptions;
  std::vector<PlanUse> plans;
  EventCounters events;
};

// What one shard adds; also runs the sums up in tests.
struct ShardUse {
  session::Counters imap;
  CacheUse cache;
  bool backing_off = false;
};
void add_to(Snapshot& snapshot, const ShardUse& use);

// Both on `home`. The shards' loops must be running.
io::Task<std::vector<ShardUse>> ask_shards(io::Loop& home, std::vector<Shard*> shards);
// All accounts that are open, or only one login's; sorted by login.
io::Task<std::vector<AccountInfo>> open_accounts(io::Loop& home, std::vector<Shard*> shards,
                                                 std::string login);

}  // namespace postern::broker
