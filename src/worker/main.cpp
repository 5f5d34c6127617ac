// NAME
//      postern-fcgi - FastCGI worker of the Postern IMAP gateway
//
// SYNOPSIS
//      postern-fcgi [--broker PATH] [--segment PATH] [--listen PATH | an inherited socket]
//                   [--threads N] [--processes N] [--broker-wait SECONDS] ...
//
// DESCRIPTION
//      Stands between the web server and the broker, posternd(8). It reads requests by FastCGI, refuses at
//      once what it can judge itself (a session that has ended, a body that is too large), passes the rest to
//      the broker over a Unix socket, and streams the answer back. It holds nothing that outlives a request:
//      any worker serves any session, and killing one loses only the requests inside it.
//
//      The socket of the web server is, in this order: the one --listen names; the one systemd passes
//      (LISTEN_FDS); the one on descriptor 0, which is how mod_fcgid and spawn-fcgi start a worker. In the
//      last case a process serves one request at a time unless --threads says otherwise.
//
//      With --processes above 1 a parent process starts that many workers, starts those again that die, and
//      passes SIGTERM and SIGHUP on to them.
//
//      Every option can also be given by the environment: --broker-wait as POSTERN_BROKER_WAIT and so on. The
//      command line goes first.
//
// PROTOCOL
//      docs/frame-protocol.md. The threads of a process share one connection to the broker.
//
//      When the broker is lost while a request is with it, the request is sent to the next broker, as long as
//      it can have changed nothing, nothing of the answer went out, and its body was kept (1 MB). It waits for
//      that broker --broker-wait seconds, then it is answered 503 with Retry-After.
//
// SIGNALS
//      SIGTERM, SIGINT, SIGUSR1   No new requests; those in work are finished; exit, after --stop-wait seconds
//                                 at the latest. mod_fcgid sends SIGTERM.
//      SIGHUP                     New requests go over a new connection to the broker.
//
// SECURITY
//      Needs no privilege but to connect to the broker's socket and to read the segment, which it maps
//      read-only. The broker checks who connects; with --broker-user the worker checks the broker as well.
//      Only a fixed list of request header fields is passed on. No token, cookie or Authorization value is
//      logged.
//
// BUGS
//      FastCGI tells a worker that the browser has gone only by the web server closing the connection. nginx
//      does that, and it is noticed within a second; mod_fcgid doesn't, so there a long request whose browser
//      has gone goes on until there is something to write.
//
// DIAGNOSTICS
//      One line an event to standard error, key=value. "broker is away" and "broker is back" mark an outage;
//      "request not answered" names each request that was answered 503 because of one, by its id.
//      Exit status: 0 after a signal, 1 if it could not start or a thread failed, 2 for a wrong command line.
#include <fcgiapp.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <memory>
#include <string>

#include "postern/base/clock.hpp"
#include "postern/base/crypto.hpp"
#include "postern/base/log.hpp"
#include "postern/store/session_table.hpp"
#include "worker/listener.hpp"
#include "worker/options.hpp"
#include "worker/server.hpp"
#include "worker/supervisor.hpp"

namespace postern::worker {
namespace {

// The signals that main waits for with sigtimedwait(); blocked in all threads, so that no handler is needed
// (libfcgi installs one of its own for SIGTERM, which never runs).
sigset_t block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGUSR1, SIGHUP, SIGCHLD}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  struct sigaction ignore{};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, nullptr);
  return signals;
}

HandlerOptions handler_options(const Options& options) {
  HandlerOptions out;
  out.head.prefix_from_script_name = options.prefix == "script-name";
  if (!out.head.prefix_from_script_name) out.head.prefix = options.prefix;
  out.gate.cookie_name = options.cookie_name;
  out.gate.request_bytes_max = options.request_bytes_max;
  out.broker_wait = options.broker_wait;
  return out;
}

// Until a signal says stop, or a thread has failed. Returns the exit status.
// `socket_file`: to be removed where the process has to end without returning.
int serve(Server& server, BrokerLink& link, const sigset_t& signals, const Options& options,
          const std::string& socket_file, Logger& logger) {
  for (;;) {
    const timespec time{.tv_sec = 5, .tv_nsec = 0};
    const int number = ::sigtimedwait(&signals, nullptr, &time);
    if (number == SIGHUP) {
      logger.info("renewing the broker connection");
      link.renew();
    } else if (number == SIGTERM || number == SIGINT || number == SIGUSR1) {
      break;
    } else if (server.wait_for(std::chrono::milliseconds(0))) {
      return 1;
    }
  }
  logger.info("stopping");
  server.stop();
  link.stop();
  if (server.wait_for(options.stop_wait)) return 0;
  logger.warning("requests were cut off", {{"stop_wait_s", options.stop_wait.count()}});
  if (!socket_file.empty()) ::unlink(socket_file.c_str());
  server.abandon();
  ::_exit(0);
}

// What a worker process does.
int work(const Options& options, const Listener& listener, const sigset_t& signals, Logger& logger) {
  const SystemClock clock;
  SystemRandom random;
  const auto threads = options.threads != 0       ? options.threads
                       : listener.on_descriptor_0 ? std::size_t{1}
                                                  : Options::threads_default;
  const auto segment = store::SegmentReader::open(options.segment_path, clock);
  LinkOptions link_options{.path = options.broker_path,
                           .broker_uid = options.broker_uid,
                           .waiters_max = threads,
                           .program = "postern-fcgi " POSTERN_VERSION};
  BrokerLink link(std::move(link_options), clock, logger);
  const auto handling = handler_options(options);
  Server server(listener.fd, threads, {handling, link, *segment, clock, random, logger});
  server.start();
  return serve(server, link, signals, options, options.processes > 1 ? std::string() : listener.path, logger);
}

int run(const Options& options) {
  const auto signals = block_signals();
  const auto logger = make_logger(LogTarget::stderr_text, "postern-fcgi");
  logger->set_level(options.log_level);
  if (FCGX_Init() != 0) {
    logger->error("cannot start", {{"reason", "FCGX_Init failed"}});
    return 1;
  }
  const auto listener = open_listener(options);
  if (!listener) {
    logger->error("cannot start", {{"reason", listener.error().to_string()}});
    return 1;
  }
  logger->info("started", {{"version", POSTERN_VERSION}, {"broker", options.broker_path}});
  int status = 0;
  bool is_child = false;
  const auto job = [&] { return work(options, *listener, signals, *logger); };
  if (options.processes > 1) {
    const SystemClock clock;
    Supervisor supervisor(options.processes, signals, options.stop_wait, job, clock, *logger);
    status = supervisor.run(is_child);
  } else {
    status = job();
  }
  if (!is_child && !listener->path.empty()) ::unlink(listener->path.c_str());
  return status;
}

}  // namespace
}  // namespace postern::worker

int main(int argc, char** argv) {
  const auto options = postern::worker::parse_options(argc, argv);
  if (!options) return options.error().status;
  try {
    return postern::worker::run(*options);
  } catch (const std::exception& error) {
    const auto logger = postern::make_logger(postern::LogTarget::stderr_text, "postern-fcgi");
    logger->error("cannot start", {{"reason", error.what()}});
    return 1;
  }
}
