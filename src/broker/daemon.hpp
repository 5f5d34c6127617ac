// posternd put together: what main() owns and how it starts, reloads, upgrades and stops.
//
// Shard 0's loop runs in the main thread, and the worker connections, the control socket and the signals
// with it; other shards have a thread each.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "broker/config.hpp"
#include "broker/ipc_server.hpp"
#include "broker/router.hpp"
#include "broker/shard.hpp"

namespace postern::broker {

// File descriptors that an upgrade hands to the new program (environment variable POSTERN_UPGRADE).
struct Inherited {
  int ipc_fd = -1, control_fd = -1, lock_fd = -1;
  bool any() const { return ipc_fd >= 0; }
};
Inherited inherited_from_environment();
// Was this program executed by another posternd for an upgrade? Until inherited_from_environment() was called.
bool is_upgrade();

class Daemon {
 public:
  // Throws std::runtime_error with a message for the administrator.
  Daemon(std::shared_ptr<const Config> config, std::string config_path, std::vector<std::string> arguments);
  ~Daemon();
  // Until a stop. True: an upgrade was asked for and everything is ready for exec_again().
  bool run();
  // Replaces this process by the program on disk; returns only if that failed.
  void exec_again();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace postern::broker
