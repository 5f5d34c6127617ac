// From nothing to a connection that is signed in: connect, TLS, greeting, STARTTLS, capabilities,
// authentication, ENABLE. A coroutine over Multiplexer and ByteStream, which its Connection owns.
//
// Nothing is sent before TLS is up where TLS is demanded (but STARTTLS itself), and nothing that was heard
// before is believed afterwards. Bounds: the time-outs of ServerOptions.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "postern/imap/multiplexer.hpp"
#include "postern/io/label.hpp"
#include "postern/io/stream.hpp"
#include "postern/io/task.hpp"
#include "session/sasl.hpp"
#include "session/server_impl.hpp"

namespace postern::session {

// Says which IMAP command a web request caused: its name and tag, never its arguments.
void log_command(Logger& logger, const io::Label& label, imap::CommandId id, std::string_view name);

class Login {
 public:
  // All but `client_address` and `label` outlive the coroutine.
  Login(io::Loop& loop, ServerImpl& server, imap::Multiplexer& mux, std::unique_ptr<io::ByteStream>& stream,
        const Credentials& credentials, std::string client_address, io::Label label);

  // Errors: session::Errc. reached() tells whether the server was there, as an IMAP server.
  io::Task<Result<>> run();
  bool reached() const { return reached_; }
  // The multiplexer's owner passes on what it hears meanwhile.
  void on_untagged(const imap::Response& response);

  // Filled by run().
  imap::CapabilitySet capabilities;
  std::uint64_t bytes_in = 0, bytes_out = 0;

 private:
  struct Reply;  // of one command
  io::Task<Result<>> connect();
  io::Task<Result<>> greet();
  io::Task<Result<>> secure();
  io::Task<Result<>> ask_capabilities();
  io::Task<Result<>> send_client_id();
  io::Task<Result<>> authenticate();
  io::Task<Result<>> enable();
  // Writes what the multiplexer has and reads, until the flag is set or the connection fails.
  io::Task<Result<>> pump(const bool& done);
  void submit(Result<imap::Command> command, Reply& reply);
  Error failure(Error error) const;
  void learn(const imap::StatusResponse& response);
  void expire();

  io::Loop& loop_;
  ServerImpl& server_;
  imap::Multiplexer& mux_;
  std::unique_ptr<io::ByteStream>& stream_;
  const Credentials& credentials_;
  const std::string client_address_;
  const io::Label label_;
  std::optional<imap::CapabilitySet> heard_;  // capabilities told since it was last reset
  bool enabled_qresync_ = false, enabled_condstore_ = false, enabled_utf8_ = false, dovecot_ = false;
  bool asked_id_ = false;
  bool reached_ = false;
  bool timed_out_ = false;
};

// What a server says, cut and without control characters, for an error's context.
std::string server_text(std::string_view text);

}  // namespace postern::session
