// Start and end of posternd: sockets opened or inherited, shards started, signals obeyed, and the program executed
// anew for an upgrade, with its listening sockets and the segment's lock handed over. Daemon::Parts owns all of it.
#include "broker/daemon.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "broker/daemon_parts.hpp"

namespace postern::broker {
namespace {

// For messages under way when a stop's other waits are over.
constexpr Duration sending_grace = std::chrono::seconds(5);
constexpr const char* upgrade_variable = "POSTERN_UPGRADE";

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

io::Task<> close_accounts(Shard& shard, io::Loop& home, MonotonicTime deadline, std::size_t& left,
                          io::Event& all_closed) {
  co_await on_loop(shard.loop(), home, [&shard, deadline]() -> io::Task<Result<>> {
    co_await shard.stop_sending(deadline);
    co_await shard.close_all();
    co_return Result<>{};
  });
  if (--left == 0) all_closed.set();
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

Daemon::Parts::Parts(std::shared_ptr<const Config> c, std::string path, std::vector<std::string> args)
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

Daemon::Parts::~Parts() {
  stop_threads();
  metrics.reset();
  control.reset();
  ipc.reset();
  subscriptions.reset();
  if (events) events->shut_down();
  router.reset();
}

void Daemon::Parts::stop_threads() {
  for (std::size_t i = 1; i < shards.size(); ++i) shards[i]->stop_thread();
  if (records) records->stop();
}

std::vector<Shard*> Daemon::Parts::all_shards() const {
  std::vector<Shard*> all;
  all.reserve(shards.size());
  for (const auto& shard : shards) all.push_back(shard.get());
  return all;
}

void Daemon::Parts::wait_for_signal() {
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

Result<std::vector<std::string>> Daemon::Parts::reload() {
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

Result<> Daemon::Parts::may_upgrade() const {
  if (auto fresh = load_and_check(config_path); !fresh) return fail(fresh.error());
  return {};
}

void Daemon::Parts::stop(bool for_upgrade) {
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

io::Task<> Daemon::Parts::finish() {
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
