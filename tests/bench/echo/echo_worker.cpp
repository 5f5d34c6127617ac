// echo-worker: a plain libfcgi program that answers every request with the same octets itself. The floor for
// benchmarks: what the way through the web server and libfcgi costs without any work behind it.
//
//   echo-worker [--listen PATH] [--bytes N] [--threads N]     (without --listen: the socket on descriptor 0;
//                                                              ECHO_BYTES where mod_fcgid passes no arguments)
//
// Written as libfcgi's own examples are: each thread a FCGX_Accept_r loop, the answer through FCGX_PutStr.
// With fastcgi_keep_conn it needs as many threads as nginx keeps connections. SIGTERM ends it.
#include <fcgiapp.h>
#include <signal.h>
#include <sys/stat.h>

#include <cstdio>
#include <string>
#include <thread>
#include <vector>
#include <CLI/CLI.hpp>

namespace {

void serve(int listener, const std::string& answer) {
  FCGX_Request request;
  FCGX_InitRequest(&request, listener, 0);
  while (FCGX_Accept_r(&request) == 0) {
    char buffer[8192];
    while (FCGX_GetStr(buffer, sizeof buffer, request.in) == static_cast<int>(sizeof buffer)) {
    }
    FCGX_PutStr(answer.data(), static_cast<int>(answer.size()), request.out);
    FCGX_Finish_r(&request);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::string path;
  std::size_t bytes = 4096, threads = 1;
  CLI::App app("Answers every request with the same octets", "echo-worker");
  app.add_option("--listen", path, "Unix socket");
  app.add_option("--bytes", bytes, "Octets of an answer")->envname("ECHO_BYTES");
  app.add_option("--threads", threads, "Requests served at a time")->check(CLI::Range(1, 512));
  CLI11_PARSE(app, argc, argv);
  ::signal(SIGTERM, SIG_DFL);
  if (FCGX_Init() != 0) return 1;
  ::signal(SIGTERM, SIG_DFL);  // libfcgi's handler would keep an idle program from ending
  const int listener = path.empty() ? 0 : FCGX_OpenSocket(path.c_str(), 1024);
  if (listener < 0) {
    std::perror(path.c_str());
    return 1;
  }
  if (!path.empty()) ::chmod(path.c_str(), 0666);
  const std::string answer =
      "Status: 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(bytes) +
      "\r\n\r\n" + std::string(bytes, 'x');
  std::vector<std::thread> pool;
  for (std::size_t i = 1; i < threads; ++i) pool.emplace_back(serve, listener, std::cref(answer));
  serve(listener, answer);
  for (auto& thread : pool) thread.join();
}
