// What an idle account costs: 1,000 pools, each with one connection in IDLE, against the test IMAP server in
// a process of its own. Prints heap bytes for each, without and with TLS, and fails past the bounds.
// Exit code 77 (skipped) under a sanitizer, whose allocator says nothing about memory.
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "imapd/test_imapd.hpp"
#include "postern/session/pool.hpp"
#include "postern/session/server.hpp"
#include "support/temporary_file.hpp"
#include "support/test_ca.hpp"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define POSTERN_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define POSTERN_SANITIZED 1
#endif

namespace {

using namespace postern;
using namespace std::chrono_literals;

constexpr int accounts = 1000;
// OpenSSL's own share of a resumed connection is about 18.7 KB.
constexpr std::size_t plain_bytes_max = 3072, tls_bytes_max = 18'700 + 3072;

struct NullObserver final : session::MailboxObserver {
  void begin_select() override {}
  void on_selected(const session::SelectInfo&) override {}
  void on_exists(std::uint32_t) override {}
  void on_expunge(std::uint32_t) override {}
  void on_vanished(const imap::VanishedResponse&) override {}
  void on_fetch(const imap::FetchData&) override {}
  void on_deselected() override {}
};

// The server in a child; its ports come through a pipe.
struct ServerProcess {
  ServerProcess(const test::Identity& identity) {
    int ends[2];
    if (::pipe(ends) != 0) ::_exit(1);
    pid = ::fork();
    if (pid == 0) {
      ::close(ends[0]);
      testimapd::Options options;
      options.listen = {{"127.0.0.1", 0, false}, {"127.0.0.1", 0, true}};
      options.tls_certificate_pem = identity.certificate_pem;
      options.tls_key_pem = identity.key_pem;
      options.generated_users = 2 * accounts;
      testimapd::TestImapd imapd(options);
      imapd.start();
      const std::uint16_t ports[] = {imapd.port(0), imapd.port(1)};
      if (::write(ends[1], ports, sizeof ports) != sizeof ports) ::_exit(1);
      for (;;) ::pause();
    }
    ::close(ends[1]);
    if (::read(ends[0], port, sizeof port) != sizeof port) ::_exit(1);
    ::close(ends[0]);
  }
  ~ServerProcess() {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  pid_t pid = -1;
  std::uint16_t port[2] = {};
};

std::size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * 4096;
}

io::Task<> sign_in(session::Pool& pool, NullObserver& observer, int& ready) {
  auto lease = co_await pool.select("INBOX", observer);
  if (!lease) {
    std::fprintf(stderr, "%s\n", lease.error().to_string().c_str());
    ::_exit(1);
  }
  ++ready;
}

bool measure(const ServerProcess& process, bool tls, const std::string& ca_file) {
  SystemClock clock;
  SystemRandom random;
  NullLogger logger;
  io::Loop loop(clock, random, logger);
  session::ServerOptions options;
  options.endpoint = {"127.0.0.1", process.port[tls ? 1 : 0]};
  options.tls = tls ? session::TlsMode::implicit : session::TlsMode::none;
  options.tls_options.ca_file = ca_file;
  options.idle_after = 10ms;
  auto server = session::Server::make(loop, options);
  if (!server) return false;
  NullObserver observer;
  std::vector<std::unique_ptr<session::Pool>> pools;
  pools.reserve(accounts + 10);
  int ready = 0;
  const auto add = [&](int first, int count) {
    const int target = ready + count;
    for (int i = first; i < first + count; ++i) {
      session::Credentials credentials;
      credentials.login = "user" + std::to_string(i);
      credentials.secret = Secret("secret");
      pools.push_back(session::Pool::make(loop, **server, std::move(credentials), nullptr, "192.0.2.1"));
      loop.spawn(sign_in(*pools.back(), observer, ready));
    }
    while (ready < target) {
      loop.context().run_one_for(10ms);
      loop.poll();
    }
    const auto all_idle = [&] {
      for (const auto& pool : pools) {
        if (pool->connections().front().state != "idle") return false;
      }
      return true;
    };
    while (!all_idle()) {
      loop.context().run_one_for(10ms);
      loop.poll();
    }
  };
  add(0, 10);  // what is made once
  const auto heap = ::mallinfo2().uordblks;
  const auto resident = resident_bytes();
  add(10, accounts);
  const auto each = (::mallinfo2().uordblks - heap) / accounts;
  std::printf("%s: %zu bytes of heap, %zu resident for each idle account\n", tls ? "TLS" : "plain", each,
              (resident_bytes() - resident) / accounts);

  // At rest they cost no time either.
  const auto cpu = [] {
    timespec t{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
  };
  const double before = cpu();
  const auto end = std::chrono::steady_clock::now() + 500ms;
  std::size_t handlers = 0;
  while (std::chrono::steady_clock::now() < end) handlers += loop.context().run_one_for(100ms);
  std::printf("%s: %zu wake-ups and %.1f ms of CPU in half a second of rest\n", tls ? "TLS" : "plain",
              handlers, (cpu() - before) * 1e3);
  return each <= (tls ? tls_bytes_max : plain_bytes_max);
}

}  // namespace

int main() {
#ifdef POSTERN_SANITIZED
  return 77;
#endif
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_max < 2 * accounts) return 77;
  const test::TestCa authority;
  const ServerProcess process(authority.issue({"127.0.0.1"}));
  const test::TemporaryFile ca(authority.certificate_pem());
  const bool plain = measure(process, false, ca.path());
  const bool tls = measure(process, true, ca.path());
  return plain && tls ? 0 : 1;
}
