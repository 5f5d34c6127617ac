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
  std::vector<std::unique_ptr<Shard>> shards;
  std::unique_ptr<Router> router;
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
    open_segment();
    const auto login_slots = session::make_login_slots(config->imap.logins_in_flight);
    for (unsigned i = 0; i < config->server.shards; ++i)
      shards.push_back(std::make_unique<Shard>(i, config, *segment, clock, random, *logger, login_slots));
    router = std::make_unique<Router>(loop(), config, all_shards(), *segment);
    open_sockets();
    open_control();
    signals = std::make_unique<boost::asio::signal_set>(loop().context(), SIGTERM, SIGINT, SIGHUP);
    signals->add(SIGUSR2);
    wait_for_signal();
  }

  ~Parts() {
    for (std::size_t i = 1; i < shards.size(); ++i) shards[i]->stop_thread();
    metrics.reset();
    control.reset();
    ipc.reset();
    router.reset();
  }

  io::Loop& loop() { return shards.front()->loop(); }

  std::vector<Shard*> all_shards() const {
    std::vector<Shard*> all;
    all.reserve(shards.size());
    for (const auto& shard : shards) all.push_back(shard.get());
    return all;
  }

  void open_segment() {
    auto options = config->segment;
    options.lock_fd = inherited.lock_fd;
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
                                  {"redirects_dropped", report.redirects_dropped}});
  }

  void open_sockets() {
    auto listener = inherited.ipc_fd >= 0
                        ? io::UnixListener::adopt(loop(), inherited.ipc_fd)
                        : io::UnixListener::open(loop(), config->ipc.socket, config->ipc.socket_mode);
    if (!listener)
      throw std::runtime_error("the workers' socket can't be opened: " + listener.error().to_string());
    if (!config->ipc.socket_group.empty() && inherited.ipc_fd < 0) {
      const auto* group = getgrnam(config->ipc.socket_group.c_str());
      if (group == nullptr)
        throw std::runtime_error("[ipc] socket_group: no such group: " + config->ipc.socket_group);
      if (chown(config->ipc.socket.c_str(), static_cast<uid_t>(-1), group->gr_gid) != 0)
        throw std::runtime_error("[ipc] socket_group: " + std::string(std::strerror(errno)));
    }
    ipc = std::make_unique<IpcServer>(
        loop(), std::move(*listener), IpcOptions{allowed_uids(config->ipc), config->ipc.connections_max},
        [this](std::shared_ptr<RequestStream> stream) { return router->handle(std::move(stream)); });
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
    actions.end_session = [this](std::string tag) { return end_session(std::move(tag)); };
    actions.set_draining = [this](bool on) { set_draining(on); };
    actions.reload = [this] { return reload(); };
    actions.set_log_level = [this](LogLevel level) {
      logger->set_level(level);
      logger->info("log level set", {{"level", to_string(level)}});
    };
    actions.may_upgrade = [this]() -> Result<> {
      if (auto fresh = load_and_check(config_path); !fresh) return fail(fresh.error());
      return {};
    };
    actions.upgrade = [this] { stop(true); };
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
      ended.push_back(info_of(record));
      logger->info("session ended by the administrator", {{"login", record.login}, {"session", tag}});
      bool others = false;
      segment->for_each_session(
          [&](const store::SessionRecord& other) { others = others || other.account == record.account; });
      if (others) continue;
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
      else
        stop(signal == SIGUSR2);
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
    router->set_config(shared);
    for (auto& shard : shards) shard->loop().post([s = shard.get(), shared] { s->set_config(shared); });
    logger->info("configuration reloaded", {{"file", config_path}});
    return need_restart;
  }

  void stop(bool for_upgrade) {
    if (stopping) return;
    stopping = true;
    upgrade = for_upgrade;
    logger->info(for_upgrade ? "upgrading" : "stopping");
    notify_service_manager(for_upgrade ? "RELOADING=1" : "STOPPING=1");
    loop().spawn(finish());
  }

  static io::Task<> close_accounts(Shard& shard, io::Loop& home, std::size_t& left, io::Event& all_closed) {
    co_await on_loop(shard.loop(), home, [&shard]() -> io::Task<Result<>> {
      co_await shard.close_all();
      co_return Result<>{};
    });
    if (--left == 0) all_closed.set();
  }

  // No new requests; those under way get their grace; then the IMAP connections say LOGOUT.
  io::Task<> finish() {
    segment->set_draining(true);  // until the next broker's segment
    ipc->drain();
    const auto deadline = clock.now() + config->server.stop_grace;
    while (ipc->counters().streams_open > 0 && clock.now() < deadline)
      co_await loop().sleep(std::chrono::milliseconds(20));
    // All shards at once: each may have to wait for the IMAP server.
    std::size_t left = shards.size();
    io::Event closed(loop());
    for (auto& shard : shards) loop().spawn(close_accounts(*shard, loop(), left, closed));
    co_await closed.wait();
    if (upgrade) {
      ipc->listener().keep_path();
      control->listener().keep_path();
    }
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
