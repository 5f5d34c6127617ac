// All that a running broker is made of, in the order in which it begins. Defined in daemon.cpp (start, signals, reload,
// stop), daemon_open.cpp (what is opened) and daemon_control.cpp (what the administrator asks for).
#pragma once

#include <memory>
#include <string>
#include <vector>
#include <boost/asio/signal_set.hpp>

#include "broker/control.hpp"
#include "broker/daemon.hpp"
#include "broker/metrics.hpp"
#include "postern/base/log.hpp"

namespace postern::broker {

struct Daemon::Parts {
  std::shared_ptr<const Config> config;
  const std::string config_path;
  const std::vector<std::string> arguments;
  const Inherited inherited;
  SystemClock clock;
  SystemRandom random;
  std::unique_ptr<Logger> logger;
  std::unique_ptr<store::SegmentWriter> segment;
  // Shut down before the shards end; their accounts' observers until then.
  std::unique_ptr<EventService> events;
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

  Parts(std::shared_ptr<const Config> c, std::string path, std::vector<std::string> args);
  ~Parts();
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;

  io::Loop& loop() { return shards.front()->loop(); }
  std::vector<Shard*> all_shards() const;
  void stop_threads();

  // --- daemon_open.cpp ---
  // True if it is that of an earlier broker.
  bool open_segment();
  // Mail can be read without it: a directory that can't be used is no reason not to start. What is in it holds as long
  // as the segment does.
  void open_uploads(bool keep_existing);
  // Workers refuse what is larger, before they read it.
  void tell_body_limits();
  // Mail can be read without them: where they are broken, only sending is refused. Where nothing is sent, they hold
  // little that anybody would miss.
  void open_records();
  void open_sockets();
  void open_events();
  // Event streams do without.
  void open_subscriptions(const std::string& credential_key);
  void give_to_group(const std::string& socket) const;
  void open_control();

  // --- daemon_control.cpp ---
  ControlActions control_actions();
  LimitsActions limits_actions();
  io::Task<Snapshot> take_snapshot();
  // The one used last first.
  std::vector<SessionInfo> sessions(const std::string& login) const;
  io::Task<std::vector<SessionInfo>> end_session(std::string tag);
  void set_draining(bool on);

  // --- daemon.cpp ---
  void wait_for_signal();
  // What may change in a running broker does; the rest is told to need a restart. A bad file changes nothing.
  // Returns the sections and keys that need a restart.
  Result<std::vector<std::string>> reload();
  // Could a new broker start with what is in the file now?
  Result<> may_upgrade() const;
  void stop(bool for_upgrade);
  // No new requests; those under way get their grace; then the IMAP connections say LOGOUT.
  io::Task<> finish();
};

}  // namespace postern::broker
