// The listening socket: our own, systemd's, or the one a web server or spawn-fcgi left on descriptor 0.
#pragma once

#include <string>

#include "postern/base/error.hpp"
#include "worker/options.hpp"

namespace postern::worker {

struct Listener {
  int fd = -1;
  bool on_descriptor_0 = false;  // mod_fcgid, spawn-fcgi
  std::string path;              // ours, to be removed at the end; empty: somebody else's
};

// In this order: --listen, LISTEN_FDS (sd_listen_fds(3): the first), descriptor 0 if it is a listening socket.
// A socket file that a dead process left is replaced; one that somebody listens on is an error.
Result<Listener> open_listener(const Options& options);

}  // namespace postern::worker
