// One connection to an SMTP server, and one message on it (RFC 5321, 3.3). Private to the smtp layer.
//
// Lives in the frame of Transport::send(), on its loop. Each wait has a limit; the server's text in errors is cleaned.
#pragma once

#include <memory>
#include <string>

#include "postern/io/loop.hpp"
#include "postern/smtp/transport.hpp"

namespace postern::smtp {

class Client {
 public:
  Client(io::Loop& loop, const ServerOptions& options, std::shared_ptr<io::TlsContext> tls);

  // Each is told in the outcome as well: false once it is clear that nobody gets the message.
  io::Task<bool> connect(Outcome& outcome);
  io::Task<bool> authenticate(const Credentials& credentials, Outcome& outcome);
  io::Task<> deliver(const Envelope& envelope, const ContentReader& content, const Commit& commit,
                     Outcome& outcome);
  // Says QUIT if there is somebody to say it to, and waits for nothing.
  void quit();

 private:
  io::Task<Result<>> write(std::string_view octets);
  io::Task<Result<Reply>> read(Duration timeout);
  io::Task<Result<Reply>> ask(std::string_view line);
  io::Task<Result<>> open();
  io::Task<Result<>> hello();
  io::Task<Result<>> start_tls();
  io::Task<bool> send_envelope(const Envelope& envelope, Outcome& outcome);
  io::Task<bool> send_content(const Envelope& envelope, const ContentReader& content, const Commit& commit,
                              Outcome& outcome);
  static bool is_offered(const Envelope& envelope, const Extensions& extensions, Outcome& outcome);
  void fail_with(Error error, Outcome& outcome);
  void refuse(Stage stage, Reply reply, Outcome& outcome);

  io::Loop& loop_;
  const ServerOptions& options_;
  std::shared_ptr<io::TlsContext> tls_;
  std::unique_ptr<io::ByteStream> stream_;
  ReplyParser parser_;
  std::string ahead_;  // octets behind a reply: those of the next one
  Extensions extensions_;
  bool timed_out_ = false;
};

}  // namespace postern::smtp
