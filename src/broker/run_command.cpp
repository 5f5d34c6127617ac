// posix_spawn, and a wait for its output and its end together (a pidfd), so that neither can be missed.
#include "broker/run_command.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

namespace postern::broker {
namespace {

constexpr unsigned nobody = 65'534;

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { close(); }
  int get() const { return fd_; }
  void close() {
    if (const int fd = std::exchange(fd_, -1); fd >= 0) ::close(fd);
  }

 private:
  int fd_;
};

std::string text_of(int error) { return std::error_code(error, std::generic_category()).message(); }

// The child's descriptors, signals and group.
class Setup {
 public:
  explicit Setup(int output) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions_, output, 1);
    posix_spawn_file_actions_addopen(&actions_, 2, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addclosefrom_np(&actions_, 3);
    posix_spawnattr_init(&attributes_);
    posix_spawnattr_setflags(&attributes_,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
  }
  Setup(const Setup&) = delete;
  Setup& operator=(const Setup&) = delete;
  ~Setup() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  int spawn(pid_t& pid, std::vector<std::string> arguments) const {
    std::vector<char*> argv;
    argv.reserve(arguments.size() + 1);
    for (auto& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    std::string path = "PATH=/usr/local/bin:/usr/bin:/bin", language = "LANG=C.UTF-8";
    std::array<char*, 3> environment{path.data(), language.data(), nullptr};
    return posix_spawn(&pid, argv.front(), &actions_, &attributes_, argv.data(), environment.data());
  }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

int milliseconds_until(std::chrono::steady_clock::time_point end) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
  return static_cast<int>(std::max<std::int64_t>(left.count(), 0));
}

// What there is to read now. False: too much.
bool read_available(int fd, std::string& out, std::size_t output_max, bool& ended) {
  std::array<char, 4'096> piece{};
  while (true) {
    const auto got = ::read(fd, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    ended = ended || got == 0 || (got < 0 && errno != EAGAIN);
    if (got <= 0) return true;
    if (out.size() + static_cast<std::size_t>(got) > output_max) return false;
    out.append(piece.data(), static_cast<std::size_t>(got));
  }
}

// Until the program has ended, whatever those that it has started do.
Result<std::string> collect(int output, int process, Duration timeout, std::size_t output_max) {
  const auto end = std::chrono::steady_clock::now() + timeout;
  std::string out;
  bool output_ended = false;
  while (true) {
    std::array<pollfd, 2> polled{{{output_ended ? -1 : output, POLLIN, 0}, {process, POLLIN, 0}}};
    const int ready = ::poll(polled.data(), polled.size(), milliseconds_until(end));
    if (ready < 0 && errno != EINTR) return fail(CommandErrc::not_started, text_of(errno));
    if (ready == 0) return fail(CommandErrc::timeout);
    if (ready < 0) continue;
    const bool over = polled[1].revents != 0;
    if (!output_ended && !read_available(output, out, output_max, output_ended))
      return fail(CommandErrc::too_much);
    if (over) return out;
  }
}

}  // namespace

const std::error_category& command_category() {
  static const struct final : std::error_category {
    const char* name() const noexcept override { return "command"; }
    std::string message(int code) const override {
      switch (static_cast<CommandErrc>(code)) {
        case CommandErrc::not_started: return "the command can't be started";
        case CommandErrc::timeout: return "the command took too long";
        case CommandErrc::too_much: return "the command printed too much";
        case CommandErrc::failed: return "the command failed";
      }
      return "unknown error of a command";
    }
  } category;
  return category;
}

Result<std::string> run_command(const std::vector<std::string>& arguments, Duration timeout,
                                std::size_t output_max) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail(CommandErrc::not_started, text_of(errno));
  const Fd output(ends[0]);
  Fd theirs(ends[1]);
  ::fcntl(output.get(), F_SETFL, O_NONBLOCK);
  pid_t pid = 0;
  if (const int error = Setup(theirs.get()).spawn(pid, arguments); error != 0)
    return fail(CommandErrc::not_started, arguments.front() + ": " + text_of(error));
  theirs.close();
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  auto out = process.get() < 0 ? fail(CommandErrc::not_started, text_of(errno))
                               : collect(output.get(), process.get(), timeout, output_max);
  // Before it is waited for, its number can't be another's.
  ::kill(-pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  if (!out) return out;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return fail(CommandErrc::failed, WIFEXITED(status) ? "status " + std::to_string(WEXITSTATUS(status))
                                                       : "signal " + std::to_string(WTERMSIG(status)));
  return out;
}

bool give_up_privileges_of_thread() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  if (::geteuid() != 0) return true;
  // The calls of the C library would change all threads.
  return ::syscall(SYS_setgroups, 0, nullptr) == 0 && ::syscall(SYS_setresgid, nobody, nobody, nobody) == 0 &&
         ::syscall(SYS_setresuid, nobody, nobody, nobody) == 0;
}

}  // namespace postern::broker
