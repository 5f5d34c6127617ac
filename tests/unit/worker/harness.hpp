// What the tests of the real postern-fcgi need: the process, a broker and a web server, both scripted by the
// test, which runs them by turns in its own thread. Everything waits with a bound and throws when it passes.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "postern/ipc/frame.hpp"

namespace postern::worker::test {

inline constexpr std::chrono::seconds patience{30};

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd();
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

Fd listen_unix(const std::string& path);

// One connection that the worker made to the broker.
class BrokerPeer {
 public:
  explicit BrokerPeer(Fd fd) : fd_(std::move(fd)) {}

  struct Owned {
    ipc::FrameType type{};
    std::uint8_t flags = 0;
    std::uint32_t stream = 0;
    std::string payload;
  };
  Owned next();                       // the next frame, whatever it is; throws when the connection ends
  Owned expect(ipc::FrameType type);  // throws if it is another
  std::pair<std::uint32_t, ipc::RequestHead> request();  // passes over cancels of earlier streams
  std::optional<Owned> next_within(std::chrono::milliseconds time);
  bool ended();  // the next thing is the end

  void send(std::string_view frames);
  void respond(std::uint32_t stream, std::string_view body, std::uint16_t status = 200);
  void close() { fd_ = Fd(); }

 private:
  std::optional<Owned> cut();

  Fd fd_;
  std::string input_;
};

class ScriptedBroker {
 public:
  explicit ScriptedBroker(const std::string& path) : listener_(listen_unix(path)) {}
  BrokerPeer accept();  // with hellos exchanged
  Fd accept_raw();
  bool nobody_connects(std::chrono::milliseconds time);

 private:
  Fd listener_;
};

using Parameters = std::vector<std::pair<std::string, std::string>>;

// A web server's connection to the worker.
class WebServer {
 public:
  explicit WebServer(const std::string& path);

  // A whole request; the body's length goes into CONTENT_LENGTH.
  void request(std::string_view method, std::string_view target, std::string_view body = {},
               const Parameters& more = {}, bool keep = false);
  void begin(const Parameters& parameters, bool keep);
  void send_body(std::string_view data);
  void end_body();

  struct Response {
    std::string head, body;
    bool complete = false;  // FCGI_END_REQUEST has come
    bool closed = false;    // the worker closed the connection (seen only where that comes before the end)
    std::string status() const;  // "503"
  };
  Response read();                             // until the end of the answer
  Response read_until(std::size_t bytes_min);  // at least so much of head and body
  bool closed_by_worker();
  int fd() const { return fd_.get(); }

 private:
  bool read_more();
  void take_records();
  Response take_response();

  Fd fd_;
  std::string input_;
  std::string output_;
  bool complete_ = false, closed_ = false;
};

Parameters basic_parameters(std::string_view method, std::string_view target);

class WorkerProcess {
 public:
  // Starts POSTERN_FCGI; with `descriptor_0` that socket is its descriptor 0. Returns when it has started.
  WorkerProcess(const std::vector<std::string>& arguments, int descriptor_0 = -1);
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  pid_t pid() const { return pid_; }
  void signal(int number) const;
  int wait_exit(std::chrono::seconds bound = patience);  // status; kills it and throws when the bound passes
  bool running() const;
  // Waits for the nth line that holds `text`.
  std::string wait_log(std::string_view text, std::size_t nth = 1);
  std::string log();
  std::size_t peak_kb() const;  // VmHWM

 private:
  pid_t pid_ = -1;
  std::optional<int> status_;
  Fd output_;
  std::thread reader_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> lines_;
  bool output_ended_ = false;
};

}  // namespace postern::worker::test
