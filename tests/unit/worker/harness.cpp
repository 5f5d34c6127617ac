// The worker's process, sockets in a temporary folder, and both peers' protocols, each wait bounded.
#include "harness.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace postern::worker::test {
namespace {

[[noreturn]] void give_up(const std::string& what) { throw std::runtime_error("harness: " + what); }

int check(int result, const char* what) {
  if (result < 0) give_up(std::string(what) + ": " + std::strerror(errno));
  return result;
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) give_up("path is too long");
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

void send_all(int fd, std::string_view data) {
  while (!data.empty()) {
    const auto sent = ::send(fd, data.data(), data.size(), MSG_NOSIGNAL);
    if (sent < 0) give_up(std::string("send: ") + std::strerror(errno));
    data.remove_prefix(static_cast<std::size_t>(sent));
  }
}

bool readable(int fd, std::chrono::milliseconds time) {
  pollfd state{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&state, 1, static_cast<int>(time.count())) == 1;
}

// Appends what can be read. False at the end of the connection.
bool read_some(int fd, std::string& input) {
  if (!readable(fd, patience)) give_up("nothing to read for too long");
  char buffer[65536];
  const auto got = ::recv(fd, buffer, sizeof buffer, 0);
  if (got <= 0) return false;
  input.append(buffer, static_cast<std::size_t>(got));
  return true;
}

void put_record(std::string& out, int type, std::string_view content) {
  const char header[] = {1,
                         static_cast<char>(type),
                         0,
                         1,
                         static_cast<char>(content.size() >> 8),
                         static_cast<char>(content.size() & 0xff),
                         0,
                         0};
  out.append(header, sizeof header);
  out.append(content);
}

void put_length(std::string& out, std::size_t length) {
  if (length < 128) {
    out.push_back(static_cast<char>(length));
    return;
  }
  for (int shift : {24, 16, 8, 0})
    out.push_back(static_cast<char>((length >> shift) | (shift == 24 ? 0x80 : 0)));
}

}  // namespace

Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}

TemporaryFolder::TemporaryFolder() {
  std::string name = std::filesystem::temp_directory_path() / "postern-worker-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) give_up("mkdtemp");
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Fd listen_unix(const std::string& path) {
  ::unlink(path.c_str());
  Fd fd(check(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
  const auto address = address_of(path);
  check(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), "bind");
  check(::listen(fd.get(), 256), "listen");
  return fd;
}

// ---- the broker

std::optional<BrokerPeer::Owned> BrokerPeer::cut() {
  std::string_view data = input_;
  const auto frame = ipc::next_frame(data);
  if (!frame) give_up("the worker sent a " + frame.error().to_string());
  if (!*frame) return std::nullopt;
  Owned owned{(*frame)->type, (*frame)->flags, (*frame)->stream, std::string((*frame)->payload)};
  input_.erase(0, input_.size() - data.size());
  return owned;
}

BrokerPeer::Owned BrokerPeer::next() {
  for (;;) {
    if (auto frame = cut()) return std::move(*frame);
    if (!read_some(fd_.get(), input_)) give_up("the worker closed the broker's connection");
  }
}

std::optional<BrokerPeer::Owned> BrokerPeer::next_within(std::chrono::milliseconds time) {
  for (;;) {
    if (auto frame = cut()) return frame;
    if (!readable(fd_.get(), time)) return std::nullopt;
    if (!read_some(fd_.get(), input_)) give_up("the worker closed the broker's connection");
  }
}

BrokerPeer::Owned BrokerPeer::expect(ipc::FrameType type) {
  auto frame = next();
  if (frame.type != type) {
    give_up("a " + std::string(to_string(frame.type)) + " frame where " + std::string(to_string(type)) +
            " should be");
  }
  return frame;
}

std::pair<std::uint32_t, ipc::RequestHead> BrokerPeer::request() {
  auto frame = next();
  while (frame.type == ipc::FrameType::cancel) frame = next();
  if (frame.type != ipc::FrameType::request) give_up("no request but " + std::string(to_string(frame.type)));
  auto head = ipc::parse_request_head(frame.payload);
  if (!head) give_up(head.error().to_string());
  return {frame.stream, std::move(*head)};
}

bool BrokerPeer::ended() {
  std::string more;
  return !read_some(fd_.get(), more);
}

void BrokerPeer::send(std::string_view frames) { send_all(fd_.get(), frames); }

void BrokerPeer::respond(std::uint32_t stream, std::string_view body, std::uint16_t status) {
  std::string frames;
  const auto head = ipc::encode_response_head({status, {{"content-type", "text/plain"}}});
  ipc::append_frame(frames, ipc::FrameType::response, body.empty() ? ipc::end_stream : std::uint8_t{0},
                    stream, head.value());
  if (!body.empty()) ipc::append_body(frames, stream, body, true);
  send(frames);
}

Fd ScriptedBroker::accept_raw() {
  if (!readable(listener_.get(), patience)) give_up("nobody connects to the broker");
  return Fd(check(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC), "accept"));
}

BrokerPeer ScriptedBroker::accept() {
  BrokerPeer peer(accept_raw());
  peer.expect(ipc::FrameType::hello);
  std::string hello;
  ipc::append_hello(hello, "scripted broker");
  peer.send(hello);
  return peer;
}

bool ScriptedBroker::nobody_connects(std::chrono::milliseconds time) {
  return !readable(listener_.get(), time);
}

// ---- the web server

Parameters basic_parameters(std::string_view method, std::string_view target) {
  return {{"REQUEST_METHOD", std::string(method)},
          {"REQUEST_URI", std::string(target)},
          {"REQUEST_SCHEME", "https"},
          {"HTTP_HOST", "mail.example.org"},
          {"REMOTE_ADDR", "192.0.2.1"},
          {"CONTENT_TYPE", ""}};
}

WebServer::WebServer(const std::string& path)
    : fd_(check(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket")) {
  const auto address = address_of(path);
  check(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), "connect");
}

void WebServer::begin(const Parameters& parameters, bool keep) {
  std::string out;
  const char body[8] = {0, 1, static_cast<char>(keep ? 1 : 0), 0, 0, 0, 0, 0};
  put_record(out, 1, {body, sizeof body});
  std::string encoded;
  for (const auto& [name, value] : parameters) {
    put_length(encoded, name.size());
    put_length(encoded, value.size());
    encoded += name + value;
  }
  for (std::string_view rest = encoded; !rest.empty();
       rest.remove_prefix(std::min<std::size_t>(rest.size(), 60'000))) {
    put_record(out, 4, rest.substr(0, 60'000));
  }
  put_record(out, 4, {});
  complete_ = closed_ = false;
  send_all(fd_.get(), out);
}

void WebServer::send_body(std::string_view data) {
  std::string out;
  for (; !data.empty(); data.remove_prefix(std::min<std::size_t>(data.size(), 32'768))) {
    put_record(out, 5, data.substr(0, 32'768));
  }
  send_all(fd_.get(), out);
}

void WebServer::end_body() {
  std::string out;
  put_record(out, 5, {});
  send_all(fd_.get(), out);
}

void WebServer::request(std::string_view method, std::string_view target, std::string_view body,
                        const Parameters& more, bool keep) {
  auto parameters = basic_parameters(method, target);
  parameters.emplace_back("CONTENT_LENGTH", body.empty() ? "" : std::to_string(body.size()));
  parameters.insert(parameters.end(), more.begin(), more.end());
  begin(parameters, keep);
  send_body(body);
  end_body();
}

void WebServer::take_records() {
  while (!complete_ && input_.size() >= 8) {
    const auto octet = [this](std::size_t at) { return static_cast<unsigned char>(input_[at]); };
    const std::size_t content = octet(4) * 256u + octet(5);
    const std::size_t whole = 8 + content + octet(6);
    if (input_.size() < whole) return;
    if (octet(1) == 6) output_.append(input_, 8, content);
    if (octet(1) == 3) complete_ = true;
    input_.erase(0, whole);
  }
}

bool WebServer::read_more() {
  if (!read_some(fd_.get(), input_)) closed_ = true;
  take_records();
  return !closed_;
}

WebServer::Response WebServer::take_response() {
  Response response;
  const auto end = output_.find("\r\n\r\n");
  response.head = output_.substr(0, end);
  if (end != std::string::npos) response.body = output_.substr(end + 4);
  response.complete = complete_;
  response.closed = closed_;
  if (complete_ || closed_) output_.clear();
  return response;
}

WebServer::Response WebServer::read() {
  take_records();
  while (!complete_ && read_more()) {
  }
  return take_response();
}

WebServer::Response WebServer::read_until(std::size_t bytes_min) {
  take_records();
  while (!complete_ && output_.size() < bytes_min && read_more()) {
  }
  return take_response();
}

bool WebServer::closed_by_worker() {
  std::string more;
  return !read_some(fd_.get(), more);
}

std::string WebServer::Response::status() const {
  constexpr std::string_view begin = "Status: ";
  return head.starts_with(begin) ? head.substr(begin.size(), 3) : "none";
}

// ---- the worker

WorkerProcess::WorkerProcess(const std::vector<std::string>& arguments, int descriptor_0) {
  int pipe_fds[2];
  check(::pipe2(pipe_fds, O_CLOEXEC), "pipe");
  output_ = Fd(pipe_fds[0]);
  const Fd write_end(pipe_fds[1]);
  std::vector<char*> argv{const_cast<char*>(POSTERN_FCGI)};
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_ = check(::fork(), "fork");
  if (pid_ == 0) {
    // A small quarantine: freed memory must not look like memory that is held.
    ::setenv("ASAN_OPTIONS", "quarantine_size_mb=1", 1);
    if (descriptor_0 >= 0) {
      ::dup2(descriptor_0, 0);
    } else {
      ::dup2(::open("/dev/null", O_RDONLY), 0);
    }
    ::dup2(write_end.get(), 2);
    ::execv(POSTERN_FCGI, argv.data());
    ::_exit(127);
  }
  reader_ = std::thread([this] {
    std::string text;
    char buffer[4096];
    for (ssize_t got = 0; (got = ::read(output_.get(), buffer, sizeof buffer)) > 0;) {
      text.append(buffer, static_cast<std::size_t>(got));
      const std::lock_guard lock(mutex_);
      for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n')) {
        lines_.push_back(text.substr(0, end));
        text.erase(0, end + 1);
      }
      changed_.notify_all();
    }
    const std::lock_guard lock(mutex_);
    output_ended_ = true;
    changed_.notify_all();
  });
}

WorkerProcess::~WorkerProcess() {
  if (!status_) {
    ::kill(pid_, SIGTERM);
    try {
      wait_exit();
    } catch (const std::exception&) {
    }
  }
  reader_.join();
}

void WorkerProcess::signal(int number) const { ::kill(pid_, number); }

int WorkerProcess::wait_exit(std::chrono::seconds bound) {
  if (status_) return *status_;
  const Fd handle(check(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)), "pidfd_open"));
  const bool in_time = readable(handle.get(), bound);
  if (!in_time) ::kill(pid_, SIGKILL);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  status_ = status;
  if (!in_time) give_up("postern-fcgi does not exit");
  return status;
}

bool WorkerProcess::running() const { return !status_ && ::kill(pid_, 0) == 0; }

std::string WorkerProcess::wait_log(std::string_view text, std::size_t nth) {
  std::unique_lock lock(mutex_);
  std::string found;
  const bool seen = changed_.wait_for(lock, patience, [&] {
    std::size_t count = 0;
    for (const auto& line : lines_) {
      if (line.find(text) == std::string::npos) continue;
      found = line;
      if (++count == nth) return true;
    }
    found.clear();
    return output_ended_;
  });
  if (!seen || found.empty()) {
    std::string all;
    for (const auto& line : lines_) all += line + "\n";
    give_up("no log line with \"" + std::string(text) + "\" in:\n" + all);
  }
  return found;
}

std::string WorkerProcess::log() {
  const std::lock_guard lock(mutex_);
  std::string all;
  for (const auto& line : lines_) all += line + "\n";
  return all;
}

std::size_t WorkerProcess::peak_kb() const {
  std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmHWM:")) return std::strtoul(line.c_str() + 6, nullptr, 10);
  }
  return 0;
}

}  // namespace postern::worker::test
