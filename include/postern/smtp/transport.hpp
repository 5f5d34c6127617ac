// Handing a message over to the outgoing mail server: the port, and the server behind it.
//
// A Transport belongs to one loop and lives as long as it; each send() is a connection of its own, at most
// connections_max of them at a time, the rest wait in order (sends_waiting_max). The message is streamed. Nothing is
// ever sent twice by this layer: whoever asked decides by the Outcome.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "postern/base/clock.hpp"
#include "postern/base/secret.hpp"
#include "postern/io/loop.hpp"
#include "postern/io/stream.hpp"
#include "postern/smtp/reply.hpp"

namespace postern::smtp {

inline constexpr std::size_t sends_waiting_max = 1'000;
inline constexpr std::size_t commands_in_flight = 50;  // with PIPELINING

// How to sign in; `none` where the server takes mail from this machine as it is.
struct Credentials {
  enum class Kind : std::uint8_t { none, password, oauth };
  Kind kind = Kind::none;
  std::string login;    // authentication identity
  std::string authzid;  // authorization identity (SASL PLAIN only), or empty
  Secret secret;
  Credentials clone() const { return {kind, login, authzid, secret.clone()}; }
};

// Addresses and parameters have passed is_mailbox() and encode_parameter(); `parameters` begin with a space each.
struct EnvelopeAddress {
  std::string address;  // of MAIL FROM also empty: the null return path
  std::string parameters;
};
struct Envelope {
  EnvelopeAddress from;
  std::vector<EnvelopeAddress> recipients;
  std::vector<std::string> extensions;  // that the parameters belong to: the server must offer them
  std::uint64_t size = 0;               // of the message, before dots are doubled
  bool eight_bit = false;
  bool all_or_none = false;  // one recipient that is refused for good stops it all
};

enum class Stage : std::uint8_t { connect, authenticate, mail_from, recipients, content };

struct Outcome {
  enum class Kind : std::uint8_t {
    accepted,     // the server has taken it, for those recipients it has accepted
    refused,      // by `reply`, or by the replies to all recipients: nobody gets it
    unavailable,  // nobody gets it: the connection can't be had, or broke before the end of the message was sent
    aborted,      // commit said no: nobody gets it
    unknown,      // the end of the message was sent, and no answer came
  };
  Kind kind = Kind::unavailable;
  Stage stage = Stage::connect;
  std::optional<Reply> reply;                    // that accepted or refused the message
  std::vector<std::optional<Reply>> recipients;  // to RCPT TO, in the order of the envelope; none: not asked
  std::optional<std::uint64_t> size_max;         // the server's SIZE
  Error error;                                   // of `unavailable` and `unknown`
};

// The message with CRLF line ends, piece by piece; empty at its end. After an error nothing of it is committed.
using ContentReader = std::function<io::Task<Result<std::string>>()>;
// Asked once, when all of the message but its end has been sent: only after true the end is.
using Commit = std::function<io::Task<bool>()>;

class Transport {
 public:
  virtual ~Transport() = default;
  virtual io::Task<Outcome> send(Envelope envelope, Credentials credentials, ContentReader content,
                                 Commit commit) = 0;
};

enum class TlsMode : std::uint8_t { implicit, starttls, none };

struct ServerOptions {
  io::Endpoint endpoint;
  TlsMode tls = TlsMode::starttls;
  io::TlsOptions tls_options;
  bool allow_plaintext = false;  // otherwise `none` is for loopback only
  std::string helo_name;         // of EHLO; empty: this machine's name
  unsigned connections_max = 20;
  Duration connect_timeout = std::chrono::seconds(10);
  Duration command_timeout = std::chrono::minutes(1);  // until the server answers a command, or takes a piece
  Duration data_timeout = std::chrono::minutes(10);    // until it answers the message (RFC 5321, 4.5.3.2.6)
};

// io::Errc::tls for TLS options that can't be used.
Result<std::unique_ptr<Transport>> make_transport(io::Loop& loop, ServerOptions options);

}  // namespace postern::smtp
