// A blocking IMAP client for tests of the test server: sends lines, reads lines and literals, no grammar.
//
// Owns its socket; one thread. Each read gives up after read_timeout_s and then fails the test by an empty
// line and eof().
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <openssl/ssl.h>

namespace postern::testimapd {

constexpr int read_timeout_s = 10;

class TestClient {
 public:
  explicit TestClient(std::uint16_t port, bool tls = false, bool read_greeting = true);
  ~TestClient();
  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;

  // Sends `tag command` and reads to the tagged line. Gives all lines; the tagged one, without tag, is last.
  std::vector<std::string> run(std::string_view command);
  std::string status(std::string_view command) { return run(command).back(); }
  // All lines of a command's answer, joined by '\n'.
  std::string all(std::string_view command);
  void send(std::string_view bytes);
  std::string line();                        // literals included
  std::string until(std::string_view part);  // the first line that contains it, or "" at the end
  std::string rest();                        // everything up to the end of the connection
  bool eof() const { return eof_; }
  bool silent(int milliseconds);  // nothing comes for that long
  bool start_tls();               // the handshake only
  const std::string& greeting() const { return greeting_; }

 private:
  bool more();
  int socket_ = -1;
  SSL_CTX* context_ = nullptr;
  SSL* ssl_ = nullptr;
  std::string input_, greeting_;
  unsigned next_tag_ = 1;
  bool eof_ = false;
};

}  // namespace postern::testimapd
