// What a broker opens when it starts: the segment, uploads and records, its sockets, and what hangs on them.
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <stdexcept>

#include "broker/daemon_parts.hpp"

namespace postern::broker {
namespace {

std::uint32_t uid_of(const std::string& user) {
  if (const auto* entry = getpwnam(user.c_str()); entry != nullptr) return entry->pw_uid;
  throw std::runtime_error("[ipc] allowed_users: no such user: " + user);
}

std::set<std::uint32_t> allowed_uids(const IpcConfig& ipc) {
  std::set<std::uint32_t> uids{geteuid()};
  for (const auto& user : ipc.allowed_users) uids.insert(uid_of(user));
  return uids;
}

}  // namespace

bool Daemon::Parts::open_segment() {
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

void Daemon::Parts::open_uploads(bool keep_existing) {
  Result<> problem;
  uploads = blobs::UploadStore::open(
      {config->uploads.directory, config->uploads.limits(config->jmap.max_size_upload), keep_existing}, clock,
      random, problem);
  if (!problem)
    logger->error("uploads are refused: the directory can't be used",
                  {{"error", problem.error().to_string()}});
  else
    logger->info("uploads open",
                 {{"directory", config->uploads.directory}, {"kept", uploads->counters().uploads}});
}

void Daemon::Parts::tell_body_limits() {
  segment->set_body_limits({config->jmap.max_size_request, config->jmap.max_size_upload});
}

void Daemon::Parts::open_records() {
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

void Daemon::Parts::open_sockets() {
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

void Daemon::Parts::open_events() {
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

void Daemon::Parts::open_subscriptions(const std::string& credential_key) {
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

void Daemon::Parts::give_to_group(const std::string& socket) const {
  const auto& name = config->ipc.socket_group;
  if (name.empty()) return;
  const auto* group = getgrnam(name.c_str());
  if (group == nullptr) throw std::runtime_error("[ipc] socket_group: no such group: " + name);
  if (chown(socket.c_str(), static_cast<uid_t>(-1), group->gr_gid) != 0)
    throw std::runtime_error("[ipc] socket_group: " + std::string(std::strerror(errno)));
}

void Daemon::Parts::open_control() {
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

}  // namespace postern::broker
