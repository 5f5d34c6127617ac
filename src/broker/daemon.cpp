// Start and end of posternd: sockets opened or inherited, shards started, signals obeyed, and the program executed
// anew for an upgrade, with its listening sockets and the segment's lock handed over. Daemon::Parts owns all of it.
#include "broker/daemon.hpp"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <boost/asio/signal_set.hpp>

#include "broker/control.hpp"
#include "broker/metrics.hpp"
#include "postern/base/log.hpp"

namespace postern::broker {
namespace {

// For messages under way when a stop's other waits are over.
constexpr Duration sending_grace = std::chrono::seconds(5);
constexpr const char* upgrade_variable = "POSTERN_UPGRADE";

std::uint32_t uid_of(const std::string& user) {
  if (const auto* entry = getpwnam(user.c_str()); entry != nullptr) return entry->pw_uid;
  throw std::runtime_error("[ipc] allowed_users: no such user: " + user);
}

std::set<std::uint32_t> allowed_uids(const IpcConfig& ipc) {
  std::set<std::uint32_t> uids{geteuid()};
  for (const auto& user : ipc.allowed_users) uids.insert(uid_of(user));
  return uids;
}

// READY=1 and the like to systemd (sd_notify's protocol), where it listens.
void notify_service_manager(std::string_view state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || std::strlen(path) >= sizeof(sockaddr_un::sun_path)) return;
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, path);
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + std::strlen(path));
  [[maybe_unused]] auto sent =
      sendto(fd, state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&address), length);
  ::close(fd);
}

void keep_open_on_exec(int fd) {
  if (fd >= 0) fcntl(fd, F_SETFD, fcntl(fd, F_GETFD) & ~FD_CLOEXEC);
}

}  // namespace

bool is_upgrade() { return std::getenv(upgrade_variable) != nullptr; }

Inherited inherited_from_environment() {
  Inherited inherited;
  if (const char* text = std::getenv(upgrade_variable); text != nullptr) {
    if (std::sscanf(text, "%d,%d,%d", &inherited.ipc_fd, &inherited.control_fd, &inherited.lock_fd) != 3)
      inherited = {};
    unsetenv(upgrade_variable);
    for (int fd : {inherited.ipc_fd, inherited.control_fd, inherited.lock_fd})
      if (fd >= 0) fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  return inherited;
}

struct Daemon::Parts {
  std::shared_ptr<const Config> config;
  const std::string config_path;
  const std::vector<std::string> arguments;
  const Inherited inherited;
  SystemClock clock;
  SystemRandom random;
  std::unique_ptr<Logger> logger;
  std::unique_ptr<store::SegmentWriter> segment;
  std::unique_ptr<EventService>
      events;  // shut down before the shards end; their accounts' observers until then
  std::unique_ptr<blobs::UploadStore> uploads;
  std::unique_ptr<limits::Book> book;
  std::unique_ptr<PlanLookup> plan_lookup;
  std::unique_ptr<records::Store> records;  // null: nothing is sent, and state_dir can't be used
  std::vector<std::unique_ptr<Shard>> shards;
  std::unique_ptr<Router> router;
  std::unique_ptr<Subscriptions> subscriptions;  // null: none; ends before the events do
  std::unique_ptr<IpcServer> ipc;
  std::unique_ptr<ControlServer> control;
  std::unique_ptr<MetricsServer> metrics;
  MonotonicTime started = clock.now();
  WallTime started_wall = clock.wall();
  std::unique_ptr<boost::asio::signal_set> signals;
  bool stopping = false, upgrade = false;

  Parts(std::shared_ptr<const Config> c, std::string path, std::vector<std::string> args)
      : config(std::move(c)),
        config_path(std::move(path)),
        arguments(std::move(args)),
        inherited(inherited_from_environment()) {
    logger = make_logger(config->log.target, "posternd");
    logger->set_level(config->log.level);
    open_uploads(open_segment());
    book = std::make_unique<limits::Book>(*segment, clock, *logger, config->limits.table);
    plan_lookup = std::make_unique<PlanLookup>(*book, clock, *logger, config->limits.lookup);
    tell_body_limits();
    open_records();
    const auto login_slots = session::make_login_slots(config->imap.logins_in_flight);
    for (unsigned i = 0; i < config->server.shards; ++i)
      shards.push_back(
          std::make_unique<Shard>(i, config, *segment, clock, random, *logger, login_slots, records.get()));
    for (const auto& shard : shards) {
      shard->set_uploads(*uploads);
      shard->use_book(*book);
      shard->use_plan_lookup(*plan_lookup);
    }
    router = std::make_unique<Router>(loop(), config, all_shards(), *segment, *uploads);
    open_sockets();
    open_events();
    open_control();
    signals = std::make_unique<boost::asio::signal_set>(loop().context(), SIGTERM, SIGINT, SIGHUP);
    signals->add(SIGUSR2);
    wait_for_signal();
  }

  void stop_threads() {
    for (std::size_t i = 1; i < shards.size(); ++i) shards[i]->stop_thread();
    if (records) records->stop();
  }

  ~Parts() {
    stop_threads();
    metrics.reset();
    control.reset();
    ipc.reset();
    subscriptions.reset();
    if (events) events->shut_down();
    router.reset();
  }

  io::Loop& loop() { return shards.front()->loop(); }

  std::vector<Shard*> all_shards() const {
    std::vector<Shard*> all;
    all.reserve(shards.size());
    for (const auto& shard : shards) all.push_back(shard.get());
    return all;
  }

  // True if it is that of an earlier broker.
  bool open_segment() {
    auto options = config->segment;
    options.lock_fd = inherited.lock_fd;
    options.something_counted = &limits::something_counted;
    store::RecoveryReport report;
    auto opened = store::SegmentWriter::open(options, clock, report);
    if (!opened) throw std::runtime_error("the segment can't be opened: " + opened.error().to_string());
    segment = std::move(*opened);
    if (!report.discarded_reason.empty())
      logger->warning("segment or part of it discarded", {{"reason", report.discarded_reason}});
    if (report.bytes_missing > 0)
      logger->warning("the file system has no room for a full segment",
                      {{"bytes_missing", report.bytes_missing}});
    logger->info("segment open", {{"path", options.path},
                                  {"created", report.created ? "yes" : "no"},
                                  {"sessions_kept", report.sessions_kept},
                                  {"sessions_dropped", report.sessions_dropped},
                                  {"redirects_kept", report.redirects_kept},
                                  {"redirects_dropped", report.redirects_dropped},
                                  {"use_kept", report.usage_kept},
                                  {"use_dropped", report.usage_dropped}});
    return !report.created;
  }

  // Mail can be read without it: a directory that can't be used is no reason not to start. What is in it holds as long
  // as the segment does.
  void open_uploads(bool keep_existing) {
    Result<> problem;
    uploads = blobs::UploadStore::open(
        {config->uploads.directory, config->uploads.limits(config->jmap.max_size_upload), keep_existing},
        clock, random, problem);
    if (!problem)
      logger->error("uploads are refused: the directory can't be used",
                    {{"error", problem.error().to_string()}});
    else
      logger->info("uploads open",
                   {{"directory", config->uploads.directory}, {"kept", uploads->counters().uploads}});
  }

  // Workers refuse what is larger, before they read it.
  void tell_body_limits() {
    segment->set_body_limits({config->jmap.max_size_request, config->jmap.max_size_upload});
  }

  // Mail can be read without them: where they are broken, only sending is refused. Where nothing is sent, they hold
  // little that anybody would miss.
  void open_records() {
    const auto& dir = config->server.state_dir;
    const bool needed = config->smtp.is_on();
    if (mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST) {
      const std::string why = dir + ": " + std::strerror(errno);
      if (needed) throw std::runtime_error("[server] state_dir: " + why);
      logger->info("what people set beside their mail isn't kept beyond a reboot", {{"state_dir", why}});
      return;
    }
    const auto& smtp = config->smtp;
    const auto account_bytes = std::max(smtp.held_account_bytes, smtp.outbox.message_bytes_max);
    auto opened = records::Store::open(
        {dir + "/records.sqlite", smtp.keep, 0, account_bytes, smtp.held_total_bytes}, clock, random);
    if (opened) {
      records = std::move(*opened);
      const auto found = records->recovery();
      logger->log(found.sending > 0 ? LogLevel::warning : LogLevel::info, "records open",
                  {{"messages_waiting", found.waiting}, {"messages_of_unknown_outcome", found.sending}});
      return;
    }
    const auto& error = opened.error();
    if (!needed) {
      logger->warning(
          "the records can't be opened: what people set beside their mail isn't kept beyond a reboot",
          {{"folder", dir}, {"error", error.to_string()}});
      return;
    }
    if (error.code == records::Errc::unavailable && !inherited.any())
      throw std::runtime_error("the records in " + dir + " can't be opened: " + error.to_string());
    logger->error("the records can't be opened: nothing can be sent",
                  {{"folder", dir}, {"error", error.to_string()}});
    records = records::Store::closed(error);
  }

  void open_sockets() {
    auto listener = inherited.ipc_fd >= 0
                        ? io::UnixListener::adopt(loop(), inherited.ipc_fd)
                        : io::UnixListener::open(loop(), config->ipc.socket, config->ipc.socket_mode);
    if (!listener)
      throw std::runtime_error("the workers' socket can't be opened: " + listener.error().to_string());
    if (inherited.ipc_fd < 0) give_to_group(config->ipc.socket);
    ipc = std::make_unique<IpcServer>(
        loop(), std::move(*listener), IpcOptions{allowed_uids(config->ipc), config->ipc.connections_max},
        [this](std::shared_ptr<RequestStream> stream) { return router->handle(std::move(stream)); });
  }

  void open_events() {
    if (!config->push.enabled) return;
    auto key = load_channel_key(config->server.runtime_dir + "/push.key", random);
    if (!key) throw std::runtime_error("the key of the push channels: " + key.error().context);
    // Not handed over in an upgrade: its streams end with this program.
    auto listener = io::UnixListener::open(loop(), config->push.socket, config->push.socket_mode);
    if (!listener)
      throw std::runtime_error("the event streams' socket can't be opened: " + listener.error().to_string());
    give_to_group(config->push.socket);
    events = std::make_unique<EventService>(config, *segment);
    open_subscriptions(*key);
    events->start(all_shards(), std::move(*key));
    if (config->smtp.is_on()) events->observe(*records);
    router->set_events(events.get());
    events->listen(std::move(*listener),
                   [this](push::StreamRequest request) { return router->open_stream(std::move(request)); });
  }

  // Event streams do without.
  void open_subscriptions(const std::string& credential_key) {
    if (!config->webpush.enabled || !records) return;
    auto vapid = push::VapidKey::load(config->server.state_dir + "/vapid.pem", random);
    if (!vapid) {
      logger->error("there are no push subscriptions: their key can't be used",
                    {{"error", vapid.error().to_string()}});
      return;
    }
    subscriptions = std::make_unique<Subscriptions>(config, *segment, *events, all_shards(), *records,
                                                    std::move(*vapid), credential_key);
    router->set_subscriptions(subscriptions.get());
  }

  void give_to_group(const std::string& socket) const {
    const auto& name = config->ipc.socket_group;
    if (name.empty()) return;
    const auto* group = getgrnam(name.c_str());
    if (group == nullptr) throw std::runtime_error("[ipc] socket_group: no such group: " + name);
    if (chown(socket.c_str(), static_cast<uid_t>(-1), group->gr_gid) != 0)
      throw std::runtime_error("[ipc] socket_group: " + std::string(std::strerror(errno)));
  }

  void open_control() {
    auto listener = inherited.control_fd >= 0
                        ? io::UnixListener::adopt(loop(), inherited.control_fd)
                        : io::UnixListener::open(loop(), config->control.socket, config->control.socket_mode);
    if (!listener)
      throw std::runtime_error("the control socket can't be opened: " + listener.error().to_string());
    control = std::make_unique<ControlServer>(loop(), std::move(*listener), control_actions());
    if (config->metrics.listen.empty()) return;
    auto server = MetricsServer::open(loop(), config->metrics.listen, [this] { return take_snapshot(); });
    if (server) {
      metrics = std::move(*server);
    } else if (inherited.any()) {
      // Nobody is to lose their mail for want of figures in the middle of an upgrade.
      logger->error("metrics are not served", {{"error", server.error().to_string()}});
    } else {
      throw std::runtime_error("[metrics] listen: " + server.error().to_string());
    }
  }

  ControlActions control_actions() {
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

  LimitsActions limits_actions() {
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

  io::Task<Snapshot> take_snapshot() {
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

  static SessionInfo info_of(const store::SessionRecord& record) {
    return {store::session_tag(record.token_hash),
            record.login,
            mail::account_id(record.account),
            record.created,
            record.last_used,
            record.expires};
  }

  // The one used last first.
  std::vector<SessionInfo> sessions(const std::string& login) const {
    std::vector<SessionInfo> all;
    segment->for_each_session([&](const store::SessionRecord& record) {
      if (login.empty() || record.login == login) all.push_back(info_of(record));
    });
    std::sort(all.begin(), all.end(),
              [](const SessionInfo& a, const SessionInfo& b) { return a.last_used > b.last_used; });
    return all;
  }

  io::Task<std::vector<SessionInfo>> end_session(std::string tag) {
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

  void set_draining(bool on) {
    if (stopping) return;
    segment->set_draining(on);
    if (on)
      ipc->drain();
    else
      ipc->undrain();
    logger->info(on ? "draining: no new requests" : "no longer draining");
  }

  void wait_for_signal() {
    signals->async_wait([this](const boost::system::error_code& error, int signal) {
      if (error) return;
      if (signal == SIGHUP)
        (void)reload();
      else if (signal != SIGUSR2)
        stop(false);
      else if (const auto ok = may_upgrade(); ok)
        stop(true);
      else
        logger->error("not upgraded: the configuration is not right", {{"error", ok.error().context}});
      wait_for_signal();
    });
  }

  // What may change in a running broker does; the rest is told to need a restart. A bad file changes nothing.
  // Returns the sections and keys that need a restart.
  Result<std::vector<std::string>> reload() {
    auto fresh = load_and_check(config_path);
    if (!fresh) {
      logger->error("configuration not reloaded, the running one stays in force",
                    {{"error", fresh.error().context}});
      return fail(fresh.error());
    }
    auto need_restart = keep_fixed_sections(*fresh, *config);
    for (const auto& name : need_restart)
      logger->warning("a section or key of the configuration has changed that only a restart takes over",
                      {{"name", name}});
    auto shared = std::make_shared<const Config>(std::move(*fresh));
    logger->set_level(shared->log.level);
    config = shared;
    book->set_plans(shared->limits.table);
    plan_lookup->set_options(shared->limits.lookup);
    tell_body_limits();
    router->set_config(shared);
    uploads->set_limits(shared->uploads.limits(shared->jmap.max_size_upload));
    for (auto& shard : shards) shard->loop().post([s = shard.get(), shared] { s->set_config(shared); });
    logger->info("configuration reloaded", {{"file", config_path}});
    return need_restart;
  }

  // Could a new broker start with what is in the file now?
  Result<> may_upgrade() const {
    if (auto fresh = load_and_check(config_path); !fresh) return fail(fresh.error());
    return {};
  }

  void stop(bool for_upgrade) {
    if (stopping && upgrade && !for_upgrade) {
      // Whoever stops the service means this program and the next one.
      upgrade = false;
      logger->info("stopping, not upgrading");
      notify_service_manager("STOPPING=1");
    }
    if (stopping) return;
    stopping = true;
    upgrade = for_upgrade;
    logger->info(for_upgrade ? "upgrading" : "stopping");
    notify_service_manager(for_upgrade ? "RELOADING=1" : "STOPPING=1");
    loop().spawn(finish());
  }

  static io::Task<> close_accounts(Shard& shard, io::Loop& home, MonotonicTime deadline, std::size_t& left,
                                   io::Event& all_closed) {
    co_await on_loop(shard.loop(), home, [&shard, deadline]() -> io::Task<Result<>> {
      co_await shard.stop_sending(deadline);
      co_await shard.close_all();
      co_return Result<>{};
    });
    if (--left == 0) all_closed.set();
  }

  // No new requests; those under way get their grace; then the IMAP connections say LOGOUT.
  io::Task<> finish() {
    segment->set_draining(true);  // until the next broker's segment
    ipc->drain();
    for (auto& shard : shards) shard->loop().post([s = shard.get()] { s->hold_sending(); });
    const auto deadline = clock.now() + config->server.stop_grace;
    router->refuse_sockets();
    while (ipc->counters().streams_open + router->socket_requests() > 0 && clock.now() < deadline)
      co_await loop().sleep(std::chrono::milliseconds(20));
    // Streams that are held here end; those in nginx stay open for the next broker.
    router->set_subscriptions(nullptr);
    subscriptions.reset();
    if (events) {
      router->set_events(nullptr);
      events->shut_down();
    }
    // All shards at once: each may have to wait for the IMAP server.
    std::size_t left = shards.size();
    io::Event closed(loop());
    // A message between its end and the server's answer is of unknown outcome if nobody waits for that.
    const auto sent = std::max(deadline, clock.now() + sending_grace);
    for (auto& shard : shards) loop().spawn(close_accounts(*shard, loop(), sent, left, closed));
    co_await closed.wait();
    if (upgrade) {
      ipc->listener().keep_path();
      control->listener().keep_path();
    }
    // What is cut off now, the workers send to the next broker.
    book->leave_as_is();
    loop().stop();
  }
};

Daemon::Daemon(std::shared_ptr<const Config> config, std::string config_path,
               std::vector<std::string> arguments)
    : parts_(std::make_unique<Parts>(std::move(config), std::move(config_path), std::move(arguments))) {}
Daemon::~Daemon() = default;

bool Daemon::run() {
  auto& p = *parts_;
  for (std::size_t i = 1; i < p.shards.size(); ++i) p.shards[i]->start_thread();
  p.segment->set_draining(false);
  p.ipc->start();
  p.control->start();
  p.logger->info("started",
                 {{"version", POSTERN_VERSION},
                  {"imap", p.config->imap.endpoint.host + ":" + std::to_string(p.config->imap.endpoint.port)},
                  {"socket", p.config->ipc.socket},
                  {"shards", p.config->server.shards}});
  notify_service_manager("READY=1");
  p.loop().run();
  p.logger->info("stopped");
  return p.upgrade;
}

void Daemon::exec_again() {
  auto& p = *parts_;
  // Nothing may be in the middle of a write to the segment, or of a commit, when this program is replaced.
  p.stop_threads();
  const int ipc_fd = p.ipc->listener().native_handle();
  const int control_fd = p.control->listener().native_handle();
  const int lock_fd = p.segment->lock_fd();
  keep_open_on_exec(ipc_fd);
  keep_open_on_exec(control_fd);
  keep_open_on_exec(lock_fd);
  const auto value =
      std::to_string(ipc_fd) + "," + std::to_string(control_fd) + "," + std::to_string(lock_fd);
  setenv(upgrade_variable, value.c_str(), 1);
  std::vector<char*> argv;
  argv.reserve(p.arguments.size() + 1);
  for (const auto& argument : p.arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  // The path the program was started by, so that a new file there is what runs.
  execvp(argv[0], argv.data());
  p.logger->error("upgrade failed", {{"error", std::strerror(errno)}});
}

}  // namespace postern::broker
