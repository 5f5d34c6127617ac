// A ManageSieve server as configured, and each account's vacation response on it.
//
// One Server a shard, on its loop. It keeps no connection: each use opens one, signs in, and closes it
// (connections_max at a time, one for each account; use_timeout for all of a use). What the server can do is asked once
// and remembered for capabilities_fresh.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "postern/io/loop.hpp"
#include "postern/mail/vacation.hpp"
#include "postern/session/server.hpp"

namespace postern::sieve {

struct ServerOptions {
  ServerOptions() {
    server.endpoint.port = 4190;
    server.tls = session::TlsMode::starttls;
  }
  session::ServerOptions server;  // endpoint, TLS, mechanisms, connect_timeout; an empty host: there is none
  Duration use_timeout = std::chrono::seconds(30);
  unsigned connections_max = 8;  // of one shard
  Duration capabilities_fresh = std::chrono::hours(1);
  Duration retry_after = std::chrono::minutes(1);   // where they couldn't be asked
  Duration ask_wait_max = std::chrono::seconds(3);  // that ask_whether_offered() waits for an answer
};
inline constexpr std::size_t use_waiting_max = 256;  // who waits for a connection of one shard

class Server {
 public:
  // session::Errc: TLS options that can't be used. `loop` outlives it.
  static Result<std::unique_ptr<Server>> make(io::Loop& loop, ServerOptions options);
  virtual ~Server() = default;

  // Asks what the server can do, without waiting for it.
  virtual void ask() = 0;
  // `credentials` gives those to sign in with at the time. The store may outlive the Server.
  virtual std::unique_ptr<mail::VacationStore> vacation_store(
      std::function<session::Credentials()> credentials) = 0;
};

}  // namespace postern::sieve
