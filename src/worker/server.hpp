// The threads of one worker process, and the connections of the web server they serve.
//
// All connections, idle ones too, and the listening socket are in one epoll set; a thread takes one that is
// ready, serves one request on it and puts it back. A thread thus never belongs to an idle connection that
// nginx keeps (fastcgi_keep_conn), as it does in a plain FCGX_Accept_r loop.
//
// Ownership: main owns the Server and joins it; connections belong to the epoll set, or to the thread that
// serves them. Bounds: threads_max, web_connections_max.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "worker/handler.hpp"
#include "worker/limits.hpp"

namespace postern::worker {

class Server {
 public:
  // `listener` is a listening socket; the caller keeps it. Throws std::system_error (start-up).
  Server(int listener, std::size_t threads, HandlerContext context,
         std::size_t connections_max = web_connections_max);
  // Stops, and waits for what is in work without a bound: wait_for() first.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void start();
  // No new connections and requests; those in work are finished.
  void stop();
  // True when all threads have ended.
  bool wait_for(std::chrono::milliseconds time);
  // Gives up threads that don't end. The process must _exit() at once: they still use this object.
  void abandon();

 private:
  void run();
  void accept_one();
  void serve(int fd, Handler& handler);
  bool watch(int fd, bool again);
  void forget(int fd);

  const int listener_;
  const std::size_t thread_count_;
  const std::size_t connections_max_;
  HandlerContext context_;
  int epoll_ = -1;
  int stop_event_ = -1;
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;

  std::mutex mutex_;
  std::condition_variable ended_;
  std::size_t running_ = 0;
  std::set<int> connections_;  // all that are open
};

}  // namespace postern::worker
