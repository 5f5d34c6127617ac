// What the administrator asks for over the control socket: figures, sessions, limits, and what the daemon is to do.
#include <unistd.h>

#include <algorithm>

#include "broker/daemon_parts.hpp"

namespace postern::broker {
namespace {

SessionInfo info_of(const store::SessionRecord& record) {
  return {store::session_tag(record.token_hash),
          record.login,
          mail::account_id(record.account),
          record.created,
          record.last_used,
          record.expires};
}

}  // namespace

ControlActions Daemon::Parts::control_actions() {
  ControlActions actions;
  actions.snapshot = [this] { return take_snapshot(); };
  actions.sessions = [this](const std::string& login) { return sessions(login); };
  actions.accounts = [this](std::string login) {
    return open_accounts(loop(), all_shards(), std::move(login));
  };
  actions.limits = limits_actions();
  actions.end_session = [this](std::string tag) { return end_session(std::move(tag)); };
  actions.set_draining = [this](bool on) { set_draining(on); };
  actions.reload = [this] { return reload(); };
  actions.set_log_level = [this](LogLevel level) {
    logger->set_level(level);
    logger->info("log level set", {{"level", to_string(level)}});
  };
  actions.may_upgrade = [this] { return may_upgrade(); };
  actions.upgrade = [this] { stop(true); };
  return actions;
}

LimitsActions Daemon::Parts::limits_actions() {
  LimitsActions actions;
  const auto key_of = [this](const std::string& login) { return account_key(config->imap, login); };
  actions.canonical = [this](const std::string& login) { return router->canonical_login(login); };
  actions.show = [this, key_of](const std::string& login) { return book->use_of(key_of(login), login); };
  actions.top = [this](limits::Limit by, std::size_t count) { return book->top(by, count); };
  actions.grant = [this, key_of](const std::string& login, limits::Limit limit, std::uint64_t amount,
                                 std::int64_t until) {
    book->grant(key_of(login), login, limit, amount, until);
    logger->info("allowance granted by the administrator", {{"login", login},
                                                            {"limit", to_string(limit)},
                                                            {"amount", amount},
                                                            {"until", limits::utc_date(until)}});
  };
  actions.reset = [this, key_of](const std::string& login) {
    book->reset(key_of(login), login);
    logger->info("use reset by the administrator", {{"login", login}});
  };
  actions.now = [this] { return unix_seconds(clock.wall()); };
  return actions;
}

io::Task<Snapshot> Daemon::Parts::take_snapshot() {
  Snapshot snapshot;
  for (const auto& use : co_await ask_shards(loop(), all_shards())) add_to(snapshot, use);
  snapshot.pid = getpid();
  snapshot.started = unix_seconds(started_wall);
  snapshot.uptime_seconds = std::chrono::duration_cast<std::chrono::seconds>(clock.now() - started).count();
  snapshot.draining = ipc->draining();
  snapshot.log_level = logger->level();
  snapshot.imap_server = config->imap.endpoint.host + ":" + std::to_string(config->imap.endpoint.port);
  snapshot.ipc = ipc->counters();
  snapshot.requests = router->counters();
  snapshot.segment = segment->use();
  snapshot.plans = plan_uses(book->totals());
  if (subscriptions) snapshot.subscriptions = subscriptions->counters();
  if (events) snapshot.events = events->counters();
  co_return snapshot;
}

std::vector<SessionInfo> Daemon::Parts::sessions(const std::string& login) const {
  std::vector<SessionInfo> all;
  segment->for_each_session([&](const store::SessionRecord& record) {
    if (login.empty() || record.login == login) all.push_back(info_of(record));
  });
  std::sort(all.begin(), all.end(),
            [](const SessionInfo& a, const SessionInfo& b) { return a.last_used > b.last_used; });
  return all;
}

io::Task<std::vector<SessionInfo>> Daemon::Parts::end_session(std::string tag) {
  std::vector<store::SessionRecord> ending;
  segment->for_each_session([&](const store::SessionRecord& record) {
    if (store::session_tag(record.token_hash) == tag) ending.push_back(record);
  });
  std::vector<SessionInfo> ended;
  for (const auto& record : ending) {
    if (!segment->end_session(record.token_hash)) continue;
    if (events) events->end_session(record.account, session_name(record.token_hash));
    ended.push_back(info_of(record));
    logger->info("session ended by the administrator", {{"login", record.login}, {"session", tag}});
    if (segment->sessions_of(record.account) > 0) continue;
    auto& shard = router->shard_of(record.account);
    co_await on_loop(shard.loop(), loop(), [&shard, key = record.account]() -> io::Task<Result<>> {
      co_await shard.close_unused(key);
      co_return Result<>{};
    });
  }
  co_return ended;
}

void Daemon::Parts::set_draining(bool on) {
  if (stopping) return;
  segment->set_draining(on);
  if (on)
    ipc->drain();
  else
    ipc->undrain();
  logger->info(on ? "draining: no new requests" : "no longer draining");
}

}  // namespace postern::broker
