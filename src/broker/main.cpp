// posternd - the broker of Postern
//
// SYNOPSIS     posternd [--config FILE] [--check-config] [--version]
// PROTOCOL     Workers speak the frame protocol on [ipc] socket (docs/frame-protocol.md); IMAP as a client.
// SECURITY     Drops to [server] user. Credentials are kept on its heap while an account is open, and sealed in
//              the segment; core dumps are off. See docs/threat-model.md.
// SIGNALS      SIGTERM stops, SIGHUP reloads, SIGUSR2 executes the program on disk anew.
// DIAGNOSTICS  One line an event to stderr, syslog or the journal. Exit status 0; 1 on failure; 2 for a
//              configuration that can't be used.
#include <grp.h>
#include <malloc.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <CLI/CLI.hpp>

#include "broker/daemon.hpp"

namespace {

using postern::broker::Config;

[[noreturn]] void die(int status, const std::string& why) {
  std::fprintf(stderr, "posternd: %s\n", why.c_str());
  std::exit(status);
}

void protect_process() {
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error of the write, as a full disk is
  umask(0027);
}

// A page of answers comes and goes in the heap's topmost pages. Given back each time, they would have to be cleared and
// mapped anew for the next request, which costs more than making the answer.
void keep_heap() {
  constexpr int heap_kept_bytes = 4 * 1024 * 1024;
  mallopt(M_TRIM_THRESHOLD, heap_kept_bytes);
  mallopt(M_TOP_PAD, heap_kept_bytes / 4);
  mallopt(M_MMAP_THRESHOLD, heap_kept_bytes / 4);
}

void make_runtime_dir(const Config& config, uid_t uid, gid_t gid) {
  const auto& dir = config.server.runtime_dir;
  if (mkdir(dir.c_str(), 0750) == 0) {
    if (geteuid() == 0 && chown(dir.c_str(), uid, gid) != 0) die(1, dir + ": " + std::strerror(errno));
  } else if (errno != EEXIST) {
    die(1, dir + ": " + std::strerror(errno));
  }
}

void drop_privileges(const Config& config) {
  uid_t uid = geteuid();
  gid_t gid = getegid();
  std::string name;
  if (geteuid() == 0 && !config.server.user.empty()) {
    const auto* user = getpwnam(config.server.user.c_str());
    if (user == nullptr) die(2, "[server] user: no such user: " + config.server.user);
    uid = user->pw_uid;
    gid = user->pw_gid;
    name = user->pw_name;
    if (!config.server.group.empty()) {
      const auto* group = getgrnam(config.server.group.c_str());
      if (group == nullptr) die(2, "[server] group: no such group: " + config.server.group);
      gid = group->gr_gid;
    }
  }
  make_runtime_dir(config, uid, gid);
  // An upgrade keeps the process's number, and may not write any more where root has written it.
  if (!config.server.pid_file.empty() && !postern::broker::is_upgrade()) {
    std::ofstream pid(config.server.pid_file);
    pid << getpid() << "\n";
    if (!pid.flush()) die(1, config.server.pid_file + " can't be written");
  }
  if (name.empty()) return;
  if (initgroups(name.c_str(), gid) != 0 || setgid(gid) != 0 || setuid(uid) != 0)
    die(1, "can't become " + name + ": " + std::strerror(errno));
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"The broker of Postern, an IMAP gateway for web servers", "posternd"};
  std::string config_path = "/etc/postern/postern.toml";
  bool check = false;
  app.add_option("-c,--config", config_path, "Configuration file")->capture_default_str();
  app.add_flag("--check-config", check, "Read the configuration, say what is wrong with it, and end");
  app.set_version_flag("--version", "posternd " POSTERN_VERSION);
  CLI11_PARSE(app, argc, argv);

  auto config =
      check ? postern::broker::load_and_check(config_path) : postern::broker::load_config(config_path);
  if (!config) die(2, config.error().context.empty() ? config.error().to_string() : config.error().context);
  if (check) {
    std::printf("%s: the configuration is right\n", config_path.c_str());
    return 0;
  }
  protect_process();
  keep_heap();
  drop_privileges(*config);
  // As the user who is going to read the certificates.
  if (auto fits = postern::broker::check_machine(*config); !fits)
    die(2, config_path + ": " + fits.error().context);
#if !defined(__SANITIZE_ADDRESS__) && !(defined(__has_feature) && __has_feature(address_sanitizer))
  // No debugger or dump of another process of this user gets at the credentials on the heap. (The leak
  // sanitizer is such a debugger.)
  prctl(PR_SET_DUMPABLE, 0);
#endif
  try {
    postern::broker::Daemon daemon(std::make_shared<const Config>(std::move(*config)), config_path,
                                   std::vector<std::string>(argv, argv + argc));
    if (daemon.run()) {
      daemon.exec_again();
      return 1;
    }
  } catch (const std::exception& error) {
    die(1, error.what());
  }
  return 0;
}
