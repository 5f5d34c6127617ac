// One ManageSieve connection (RFC 5804): connect, STARTTLS, sign in, commands one after another, LOGOUT.
//
// Lives in the coroutine that uses it, one loop. Nothing is sent before TLS is up where TLS is demanded (but STARTTLS
// itself), and nothing that was heard before is believed afterwards. Bounds: ReplyLimits, lines_max; its owner limits
// the time by close().
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "postern/io/loop.hpp"
#include "postern/io/stream.hpp"
#include "postern/session/server.hpp"
#include "postern/sieve/protocol.hpp"

namespace postern::sieve {

inline constexpr std::size_t reply_lines_max = 2'000;  // data lines of one reply: scripts of one person

struct Reply {
  std::vector<Line> data;
  Completion completion;
};

class Connection {
 public:
  // All outlive it. `tls` is null where none is used.
  Connection(io::Loop& loop, const session::ServerOptions& options, std::shared_ptr<io::TlsContext> tls)
      : loop_(loop), options_(options), tls_(std::move(tls)) {}

  // Connected, secured, capabilities heard. unavailable, not_secure, syntax, too_large.
  io::Task<Result<>> open();
  // Those, and authentication.
  io::Task<Result<>> authenticate(const session::Credentials& credentials);
  // Sends a command and waits for the reply, whatever it is but BYE. unavailable: it was not sent as a whole;
  // connection_lost: it may have been.
  io::Task<Result<Reply>> execute(Result<std::string> command);
  io::Task<> log_out();
  // Ends what is being waited for. May be called at any time.
  void close();

  const Capabilities& capabilities() const { return capabilities_; }

 private:
  io::Task<Result<>> connect();
  io::Task<Result<>> secure();
  io::Task<Result<>> hear_capabilities();
  io::Task<Result<Line>> read_line();
  io::Task<Result<Reply>> read_reply();
  io::Task<Result<>> write(std::string text, bool secret = false);

  io::Loop& loop_;
  const session::ServerOptions& options_;
  std::shared_ptr<io::TlsContext> tls_;
  std::unique_ptr<io::ByteStream> stream_;
  ReplyParser parser_;
  Capabilities capabilities_;
  bool closed_ = false;
};

}  // namespace postern::sieve
