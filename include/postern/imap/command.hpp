// A command to be sent: octets, and the places where the server must answer "+" first.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "postern/base/error.hpp"
#include "postern/base/secret.hpp"
#include "postern/imap/capabilities.hpp"
#include "postern/imap/errors.hpp"
#include "postern/imap/types.hpp"
#include "postern/imap/uid_set.hpp"

namespace postern::imap {

// Untagged data a command waits for. Kinds that carry no correlator are never in flight twice at once.
enum class Expect : std::uint16_t {
  none = 0,
  fetch = 1,  // matched by UID: any number of these in flight
  search = 2,
  sort = 4,
  thread = 8,
  list = 16,
  status = 32,
  esearch = 64,  // matched by tag
  other = 128,   // NAMESPACE, ID, QUOTA, MYRIGHTS, ...
};
constexpr Expect operator|(Expect a, Expect b) {
  return static_cast<Expect>(static_cast<std::uint16_t>(a) | static_cast<std::uint16_t>(b));
}
constexpr bool any(Expect a, Expect b) {
  return (static_cast<std::uint16_t>(a) & static_cast<std::uint16_t>(b)) != 0;
}

struct Command {
  std::string name;                 // "UID FETCH": for logs and counters, never with arguments
  std::vector<std::string> chunks;  // sent in order; the server's "+" is awaited between two of them.
                                    // The tag and the last CRLF are not part of it.
  // A literal behind all chunks whose octets come from CommandSink::on_literal(); 0: there is none.
  std::uint64_t streamed_octets = 0;
  bool streamed_waits = false;  // for the server's "+"
  Expect expect = Expect::none;
  bool repeatable = true;  // may be sent again on a new connection (reads)
  bool exclusive = false;  // nothing else in flight with it: SELECT, IDLE, AUTHENTICATE, STARTTLS, ...
  bool secret = false;     // chunks hold a credential: wiped after sending, never logged
};

// Builds a command line in one piece, so that it leaves in one segment. `name` is the line's beginning:
// CommandBuilder("UID FETCH", c).sp().set(uids).sp().raw("(FLAGS)").finish().
// Everything that comes from outside goes through astring(), string(), mailbox() or flag(); raw() is for our
// own words and refuses CR, LF and NUL. Errors (a NUL, a keyword that is no atom, an empty set) are remembered
// and come out of finish(); so does Errc::too_large when a line without its literals is over
// command_line_bytes_max: split the set before (UidSet::split), or send a long SASL response at the "+".
// `capabilities` must outlive the builder.
class CommandBuilder {
 public:
  CommandBuilder(std::string_view name, const CapabilitySet& capabilities);
  CommandBuilder(const CommandBuilder&) = delete;
  CommandBuilder& operator=(const CommandBuilder&) = delete;
  ~CommandBuilder();  // wipes what a secret command held

  CommandBuilder& sp();
  CommandBuilder& raw(std::string_view text);
  CommandBuilder& number(std::uint64_t n);
  CommandBuilder& set(const UidSet& set);
  CommandBuilder& astring(std::string_view text);    // atom, quoted or literal, whichever is right
  CommandBuilder& string(std::string_view text);     // quoted or literal
  CommandBuilder& literal(std::string_view octets);  // always a literal (APPEND); NUL is unencodable
  // A literal of so many octets (not 0) that are sent as they come; nothing may follow it. It waits for the server's
  // leave where it must, and where it is larger than streamed_at_once_bytes_max: the server can refuse it beforehand.
  CommandBuilder& streamed_literal(std::uint64_t octets);
  CommandBuilder& mailbox(std::string_view utf8_name);     // modified UTF-7 or, once utf8_enabled(), UTF-8
  CommandBuilder& encoded_mailbox(std::string_view name);  // a name as a LIST response had it
  CommandBuilder& flag(std::string_view flag);  // a system flag with its backslash, or a keyword (an atom)
  CommandBuilder& expect(Expect e);
  CommandBuilder& write();  // not repeatable
  CommandBuilder& exclusive();
  CommandBuilder& secret();  // to be called before anything secret is added

  Result<Command> finish();

 private:
  void append(std::string_view octets);
  void append_literal(std::string_view octets);
  void append_quoted(std::string_view text);
  bool may_quote(std::string_view text) const;
  void error(Errc code, std::string_view what);
  const CapabilitySet& capabilities_;
  Command command_;
  Error error_;
  std::size_t line_bytes_ = 0;  // without literals
};

// Wipes a secret command's chunks.
void wipe(Command& command) noexcept;

// Modified UTF-7 (RFC 3501, 5.1.3). Decoding is lenient: what is no valid encoding stands for itself.
std::string encode_mailbox_utf7(std::string_view utf8);
std::string decode_mailbox_utf7(std::string_view name);

}  // namespace postern::imap
