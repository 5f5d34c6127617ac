// The command line and environment of postern-fcgi. One immutable struct, checked at start.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>

#include "postern/base/log.hpp"

namespace postern::worker {

struct Options {
  std::string broker_path = "/run/postern/broker.sock";
  std::string segment_path = "/run/postern/segment";
  std::string listen_path;  // empty: a socket that is inherited
  unsigned listen_mode = 0660;
  std::optional<gid_t> listen_gid;
  std::optional<uid_t> broker_uid;
  std::size_t threads = 0;  // 0: 1 with an inherited socket on descriptor 0, else threads_default
  std::size_t processes = 1;
  std::chrono::milliseconds broker_wait{5'000};
  std::chrono::seconds stop_wait{25};
  std::uint64_t request_bytes_max = 64 * 1024 * 1024;
  std::string cookie_name = "__Host-postern";
  std::string prefix;
  LogLevel log_level = LogLevel::info;

  static constexpr std::size_t threads_default = 8;
};

// Not an Options: the program is to end now, with this status; what was to be said has been said.
struct Exit {
  int status = 0;
};
std::expected<Options, Exit> parse_options(int argc, char** argv);

}  // namespace postern::worker
